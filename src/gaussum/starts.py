"""Where EM starts: a first partition, or the best of a search by short runs of EM on a bounded number of samples.

The search of "auto" is a random swap (Zhao, Hautamaki, Karkkainen and Franti 2012) with a split in the place of a new
seed (as Ueda, Nakano, Ghahramani and Hinton 2000): again and again one component is taken away, another one split, EM
run for some iterations, and the result kept if it is better. In half of the swaps both are drawn uniformly: nothing
is out of reach. In the others they are likely ones, which in many dimensions the first few have to be. Short runs are
plain EM in one compiled loop. Under a constrained structure the optima are others than those of its kernels' plain
model, so there the whole search runs under the constraint.
"""

import math
from functools import partial

import numpy as np

from gaussum import covariance, likelihood, parallel
from gaussum.initialize import INIT_PARAMS, Partitions
from gaussum.mixture_pass import MixturePass
from gaussum.parameters import MixtureParameters
from gaussum.samples import Samples
from gaussum.short_em import ShortEM
from gaussum.spurious import effective_samples, spurious_components
from gaussum.statistics import SufficientStatistics
from gaussum.validation import check_array

METHODS = ("auto", "small-em", *INIT_PARAMS)

# Samples of a search, and for every mean and covariance of a component.
_SEARCH_SAMPLES = 2048
_SAMPLES_PER_FEATURE = 32
# Runs of a search, for every component and at most, and the passes, and their seconds, after which none is begun. With
# work for fewer full runs than the fewest a partition alone is as good.
_RUNS_PER_COMPONENT, _RUNS, _FEWEST_RUNS = 8, 48, 4
_SEARCH_PASSES, _SEARCH_SECONDS = 500, 16e-3
# The same under a constraint, where the M-step takes most of the time; with fewer runs the plain search does better.
_CONSTRAINED_PASSES, _CONSTRAINED_SECONDS, _FEWEST_CONSTRAINED_RUNS = 400, 100e-3, 8
# Iterations of a run; of the first partition before the first swap, and of the best of "small-em" to tell them apart.
_RUN, _SETTLE = 30, 80
_CONSTRAINED_RUN, _CONSTRAINED_SETTLE = 20, 40
_BEST = 5
# The gain in mean log-likelihood from which on a mixture is better than another: less may be the same one, run further.
_BETTER = 1e-4
# A sample that is wholly a component's counts as if it were this much of it. Everything may be split.
_ALL, _LEAST_MISFIT = 1.0 - 1e-9, 0.1
# Keeps a uniform number's part of a sum of masses below the sum.
_BELOW_ONE = 1.0 - 1e-12
# k-means ends in the same few partitions again and again, so starts after the first use other centres in turn.
_OTHERS = ("k-means++", "random_from_data")
_ALIKE = ("kmeans", "whitened", "hierarchical")


def prepare(
    X, covariance_type, n_components, method, n_init, rng, *, scale, sample_weight=None, ridge=None, given=None,
    n_threads=None, searched=True, shared=None, m_step=None, search_ridge=None,
):
    """The starts of a fit.

    Parameters
    ----------
    X : ndarray, shape (n_samples, n_features)
    covariance_type : {"full", "tied", "diag", "spherical"}
    n_components, n_init : int
    method : str
        One of METHODS: those of `gaussum.initialize.Partitions.parameters`, and "auto" and "small-em", see the
        functions of these names.
    rng : numpy.random.Generator
        Every start has a generator of its own, which does not depend on `n_init`.
    scale, ridge : ndarray, shape (n_features,)
    sample_weight : ndarray, shape (n_samples,), optional
    given : tuple of array_like or None, optional
        Weights, means and precisions that the user gives; each replaces that part of the first parameters. With one of
        them there is no search, and the means take the place of the centres.
    n_threads : int, optional
        The starts do not depend on it.
    searched : bool
        Whether "auto" and "small-em" may search; without, they are the partitions that they begin with.
    shared : callable, optional
        Called as ``shared(key, make)``; gives what `make()` does, made once a key, to which samples, weights, ridge
        and scale are to be added.
    m_step : object, optional
        The M-step of the fit, in place of the plain one. Where it can `project` parameters into its structure, "auto"
        and "small-em" search there, if its `seconds` allow it; what they give has still to be projected.
    search_ridge : ndarray, shape (n_features,), optional
        That of searches; by default `ridge`.

    Returns
    -------
    list of callables
        Each returns a MixtureParameters.

    Raises
    ------
    ValueError
        What is given makes no sense.
    """
    shape, search_ridge = (covariance_type, n_components, X.shape[1]), ridge if search_ridge is None else search_ridge
    weights, means, chol = _check_given(*shape, *(given or (None, None, None)))
    if not (hasattr(m_step, "project") and searched and n_components > 1 and method in ("auto", "small-em")):
        m_step = None
    elif _effort(*shape[:2], *X.shape, m_step)[1] < _FEWEST_CONSTRAINED_RUNS * _CONSTRAINED_RUN:
        m_step = None

    def constraint(number):
        # partitions alone are the same for all
        return None if method == "auto" and number % 2 else m_step

    def start(number, rng):
        if weights is not None and means is not None and chol is not None:
            return MixtureParameters.from_precisions_chol(covariance_type, weights, means, chol)
        options = dict(scale=scale, sample_weight=sample_weight, ridge=ridge, n_threads=n_threads)
        if searched and weights is means is chol is None:
            if method == "auto":
                return auto(X, *shape[:2], rng, number, constraint(number), search_ridge, **options)
            if method == "small-em":
                return small_em(X, *shape[:2], rng, m_step, **options | {"ridge": search_ridge})
        partitions = Partitions(X, *shape[:2], rng, **options)
        first = partitions.parameters(_partition(method, number), rng, means)
        if weights is means is chol is None:
            return first
        return MixtureParameters.from_precisions_chol(
            covariance_type, first.weights if weights is None else weights, first.means if means is None else means,
            first.precisions_chol if chol is None else chol,
        )

    made = [partial(start, number, own) for number, own in enumerate(rng.spawn(n_init))]
    if shared is None or not weights is means is chol is None:
        return made
    seeds = [make.args[1].bit_generator.seed_seq for make in made]
    names = [getattr(constraint(number), "name", None) for number in range(n_init)]
    keys = [
        (*shape, name, method, searched, str(seed.entropy), seed.spawn_key)
        for name, seed in zip(names, seeds, strict=True)
    ]
    return [partial(shared, key, make) for key, make in zip(keys, made, strict=True)]


def auto(X, covariance_type, n_components, rng, number=0, m_step=None, search_ridge=None, **options):
    """The best that swaps make of the better of two partitions: by k-means as it is, and in whitened coordinates.

    The search uses at most some 2,000 samples (more where there are many parameters) and as many runs as a fixed
    amount of work allows. Where it allows too few (many components and features), the start is that of "kmeans".
    Of starts after the first, every other one is a partition alone: where optima are flat, short runs tell little, and
    it may be the better one. After the first of its kind, a start takes "k-means++" or "random_from_data" in the place
    of k-means, in turn.
    """
    size, passes = _effort(covariance_type, n_components, *X.shape, m_step)
    searched = n_components > 1 and passes >= _FEWEST_RUNS * _RUN
    turn = number // 2 if searched else number
    if not searched or number % 2:
        return Partitions(X, covariance_type, n_components, rng, **options).parameters(_partition("kmeans", turn), rng)
    if search_ridge is not None:
        options["ridge"] = search_ridge
    partitions = Partitions(X, covariance_type, n_components, rng, size=size, **options)
    search = _Search(partitions) if m_step is None else _ConstrainedSearch(partitions, m_step)
    # a single feature is whitened as it is
    for method in ("kmeans", "whitened") if X.shape[1] > 1 else ("kmeans",):
        search.offer(partitions.parameters, _partition(method, turn), rng)
    if search.best is None:
        return partitions.parameters("kmeans", rng)
    search.settle()
    search.swap(min(_RUNS, _RUNS_PER_COMPONENT * n_components), passes, rng)
    return search.best


def small_em(X, covariance_type, n_components, rng, m_step=None, **options):
    """The best of short runs of EM from many partitions: their best few are run on before one is chosen.

    Biernacki, Celeux and Govaert (2003). The partitions are "random_from_data", in as many runs as the same amount of
    work allows, four at least.
    """
    size, passes = _effort(covariance_type, n_components, *X.shape, m_step)
    partitions = Partitions(X, covariance_type, n_components, rng, size=size, **options)
    search = _Search(partitions) if m_step is None else _ConstrainedSearch(partitions, m_step)
    found = []
    for i in range(min(_RUNS, _RUNS_PER_COMPONENT * n_components)):
        if i >= _FEWEST_RUNS and search.n_passes > passes:
            break
        found.append(search.run(partitions.parameters, "random_from_data", rng))
    found = sorted((pair for pair in found if pair is not None), key=lambda pair: -pair[0])
    for _, parameters in found[:_BEST]:
        search.offer(lambda parameters=parameters: parameters, iterations=search.settling)
    return partitions.parameters("random_from_data", rng) if search.best is None else search.best


class _Search:
    """The best of many short runs of EM on the samples of `partitions`; `best` is None as long as there is none."""

    iterations, settling = _RUN, _SETTLE

    def __init__(self, partitions):
        X = partitions.X
        self._n = effective_samples(partitions.sample_weight, len(X))
        ridge = np.zeros(X.shape[1]) if partitions.ridge is None else partitions.ridge
        shape = partitions.covariance_type, partitions.n_components, partitions.sample_weight
        self._pass = MixturePass(Samples(X), *shape, 1, ridge)
        self._em, self._scratch = ShortEM(self._pass), np.empty(self._pass.scratch_size)
        self._X, self._weight = X, partitions.sample_weight
        self.best, self._reached, self._doubt = None, -math.inf, math.inf

    @property
    def n_passes(self):
        """Passes over the samples so far."""
        return self._em.n_passes

    def run(self, make, *arguments, iterations=None, target=-math.inf):
        """The objective and the mixture after a short run from what is made, or None if that came to nothing."""
        # warnings of what is only tried are nobody's concern
        with np.errstate(all="ignore"):
            outcome = parallel.Outcome(partial(make, *arguments), catch=(ArithmeticError, np.linalg.LinAlgError))
        if outcome.error is not None:
            return None
        outcome.warnings.clear()
        made = outcome.result()
        parameters = MixtureParameters(made.covariance_type, made.n_components, made.n_features, made.buffer.copy())
        objective = self._em.run(parameters.buffer, iterations or self.iterations, target)
        return (objective, parameters) if objective > -math.inf else None

    def offer(self, make, *arguments, iterations=None):
        """Keep what comes of a short run if it is better: less doubtful than the best, or else higher."""
        found = self.run(make, *arguments, iterations=iterations, target=self._target)
        if found is not None and found[0] > self._target:
            self._receive(*found)

    def swap(self, runs, passes, rng):
        """Swap components of the best in so many runs; none is begun after so many passes."""
        draws, directions = rng.random((runs, 2)), rng.normal(size=(runs, self._X.shape[1]))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        number, start = 0, None
        while number < runs and self.n_passes <= passes:
            if start is not self.best:
                start, pairs = self.best, self._pairs(draws)
            after = np.empty_like(start.buffer)
            tried, objective = self._em.swaps(
                start.buffer, pairs[number:], directions[number:], after, self.iterations, self._target, passes
            )
            number += tried
            if objective > self._target:
                shape = start.covariance_type, start.n_components, start.n_features
                self._receive(objective, MixtureParameters(*shape, after))

    @property
    def _target(self):
        """The objective that anything better is above."""
        return -math.inf if self._doubt else self._reached + _BETTER

    def _receive(self, objective, mixture):
        doubt = self._doubt_of(mixture)
        if doubt < self._doubt or doubt == self._doubt and objective > self._reached + _BETTER:
            self._reached, self.best, self._doubt = objective, mixture, doubt

    def _doubt_of(self, mixture):
        """2 where a component shrank onto few samples, 1 where one holds hardly more than fix it, else 0."""
        if spurious_components(mixture, self._n):
            return 2
        least = (mixture.n_features if mixture.covariance_type == "full" else 1) + 1
        return int((mixture.weights * self._n <= least).any())

    def _pairs(self, draws):
        """Components to take away and others to split, shape (len(draws), 2): every other pair of all alike.

        The others are likely ones. Each is drawn by two uniform numbers.
        """
        K, pairs = self.best.n_components, np.empty(draws.shape, dtype=np.intp)
        for first, masses in ((0, self._look_at(self.best)), (1, np.ones((2, K)))):
            lost = _drawn(masses[0], draws[first::2, 0])
            others = masses[1] * (np.arange(K) != lost[:, np.newaxis])
            pairs[first::2, 0], pairs[first::2, 1] = lost, _drawn(others, draws[first::2, 1])
        return pairs

    def _look_at(self, mixture):
        """How well the others would do without a component, and how far from a Gaussian its own samples are.

        The first is 1 / sum_i -w_i log(1 - r_ik). The second is the distance of Mardia's (1970) kurtosis of its samples
        from a Gaussian's, in units of its standard error but for a factor.
        """
        X, K, d = self._X, mixture.n_components, mixture.n_features
        resp = np.empty((len(X), K))
        self._pass.predict(0, 1, mixture.buffer, self._scratch, resp=resp)
        loss = -np.log1p(-np.minimum(resp, _ALL))
        if self._weight is not None:
            resp *= self._weight[:, np.newaxis]
            loss *= self._weight[:, np.newaxis]
        loss = loss.sum(axis=0)
        mass, fourth = np.maximum(resp.sum(axis=0), 1.0), np.empty(K)
        for k in range(K):
            U = mixture.precisions_chol if mixture.covariance_type == "tied" else mixture.precisions_chol[k]
            y = (X - mixture.means[k]) @ U if U.ndim == 2 else (X - mixture.means[k]) * U
            # far away, squares overflow
            with np.errstate(over="ignore", invalid="ignore"):
                fourth[k] = resp[:, k] @ np.einsum("ij,ij->i", y, y) ** 2 / mass[k]
        expected = d * (d + 2.0)
        misfit = np.abs(fourth - expected) * np.sqrt(mass / expected)
        return 1.0 / np.maximum(loss, 1.0), np.where(np.isfinite(misfit), misfit, 0.0) + _LEAST_MISFIT

    def settle(self):
        """Run EM on from the best."""
        settled = self.run(lambda: self.best, iterations=self.settling)
        if settled is not None:
            self._reached, self.best = settled
            self._doubt = self._doubt_of(self.best)


class _ConstrainedSearch(_Search):
    """The same under the constraint of an M-step."""

    iterations, settling = _CONSTRAINED_RUN, _CONSTRAINED_SETTLE

    def __init__(self, partitions, m_step):
        super().__init__(partitions)
        self._m_step = m_step
        self._em = _ConstrainedShortEM(self._pass, m_step.in_single_steps(), self._scratch)

    def run(self, make, *arguments, **options):
        return super().run(lambda: self._m_step.project(make(*arguments)), **options)


class _ConstrainedShortEM:
    """As gaussum.short_em.ShortEM, with an M-step of a structure in place of the plain one."""

    def __init__(self, mixture_pass, m_step, scratch):
        self._pass, self._m_step, self._scratch = mixture_pass, m_step, scratch
        self._plain = ShortEM(mixture_pass)
        self.n_passes = 0

    def run(self, buffer, iterations, target=-math.inf):
        """At most so many EM steps from the parameters, in place; the objective that they reach."""
        kind, K, d = self._m_step.covariance_type, *self._m_step.shape
        parameters, before = MixtureParameters(kind, K, d, buffer), -math.inf
        if not np.isfinite(buffer).all():
            return -math.inf
        for left in range(iterations, -1, -1):
            self.n_passes += 1
            statistics = SufficientStatistics(kind, parameters.means, parameters=parameters)
            self._pass.em(0, self._pass.n_parts, parameters.buffer, statistics.buffer, self._scratch)
            reached = self._pass.objective(parameters.buffer, statistics.buffer)
            if not math.isfinite(reached):
                return -math.inf
            if left == 0 or reached + left * (reached - before) < target:
                break
            before, parameters = reached, self._m_step.maximize(statistics)
            if not np.isfinite(parameters.buffer).all():
                return -math.inf
        buffer[:] = parameters.buffer
        return reached

    def swaps(self, parameters, pairs, directions, after, iterations, target, passes):
        """As those of gaussum.short_em.ShortEM, each brought into the structure."""
        kind, K, d = self._m_step.covariance_type, *self._m_step.shape
        for number in range(len(pairs)):
            if self.n_passes > passes:
                return number, -math.inf
            self._plain.swap(parameters, pairs[number:], directions[number:], after)
            after[:] = self._m_step.project(MixtureParameters(kind, K, d, after)).buffer
            objective = self.run(after, iterations, target)
            if objective > target:
                return number + 1, objective
        return len(pairs), -math.inf


def _effort(covariance_type, n_components, n_samples, n_features, m_step=None):
    """Samples of a search, and passes over them."""
    size = max(_SEARCH_SAMPLES, _SAMPLES_PER_FEATURE * n_components * (n_features + 1))
    seconds = likelihood.seconds(min(size, n_samples), n_features, n_components, covariance_type)
    if m_step is not None:
        return size, min(_CONSTRAINED_PASSES, int(_CONSTRAINED_SECONDS / (seconds + m_step.seconds)))
    return size, min(_SEARCH_PASSES, int(_SEARCH_SECONDS / seconds))


def _partition(method, number):
    """The partition of a start: where a method gives the same again and again, another one's after the first."""
    method = {"auto": "kmeans", "small-em": "random_from_data"}.get(method, method)
    return _OTHERS[(number - 1) % 2] if number and method in _ALIKE else method


def _drawn(masses, draws):
    """For each of some uniform numbers, an index drawn in proportion to masses along the last axis."""
    cumulative = np.cumsum(masses, axis=-1)
    return (cumulative <= (_BELOW_ONE * draws)[:, np.newaxis] * cumulative[..., -1:]).sum(axis=1)


def _check_given(covariance_type, n_components, n_features, weights, means, precisions):
    """The user's weights, means and factors of precisions; each may be None."""
    chol = None
    if weights is not None:
        weights = check_array(weights, "weights_init", (n_components,))
        if (weights < 0).any() or not math.isclose(weights.sum(), 1.0, rel_tol=1e-6):
            raise ValueError(
                f"weights_init has the smallest entry {weights.min():g} and adds up to {weights.sum():g}; "
                "expected weights >= 0 that add up to 1"
            )
    if means is not None:
        means = check_array(means, "means_init", (n_components, n_features))
    if precisions is not None:
        shape = covariance.second_shape(covariance_type, n_components, n_features)
        matrices = check_array(precisions, "precisions_init", shape)
        chol = covariance.cholesky_of_precisions(covariance_type, matrices, "precisions_init")
    return weights, means, chol
