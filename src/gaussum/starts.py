"""Where EM starts: a first partition, or the best of a search by short runs of EM on a bounded number of samples.

The search of "auto" is a random swap (Zhao, Hautamaki, Karkkainen and Franti 2012) with a split in the place of a new
seed (as Ueda, Nakano, Ghahramani and Hinton 2000): again and again one component is taken away, another one split, EM
run for some iterations, and the result kept if it is better. In half of the swaps both are drawn uniformly: nothing
is out of reach. In the others they are likely ones, which in many dimensions the first few have to be. Short runs are
plain EM in one compiled loop. Under a constrained structure the optima are others than those of its kernels' plain
model, so there the whole search runs under the constraint.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gaussum import covariance, likelihood
from gaussum.initialize import INIT_PARAMS, Partitions
from gaussum.parameters import MixtureParameters
from gaussum.search import CONSTRAINED_RUN, RUN, ConstrainedSearch, Search
from gaussum.structures import StructuredMStep
from gaussum.typing import ArrayLike, FloatArray, SampleArray
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
# Those of "small-em" that are run on.
_BEST = 5
# k-means ends in the same few partitions again and again, so starts after the first use other centres in turn.
_OTHERS = ("k-means++", "random_from_data")
_ALIKE = ("kmeans", "whitened", "hierarchical")

_Start = Callable[[], MixtureParameters]
# The weights, means and precisions that a user gives.
_Given = tuple[ArrayLike | None, ArrayLike | None, ArrayLike | None]


def prepare(
    X: SampleArray, covariance_type: str, n_components: int, method: str, n_init: int, rng: np.random.Generator, *,
    scale: FloatArray, sample_weight: FloatArray | None = None, ridge: FloatArray | None = None,
    given: _Given | None = None, n_threads: int | None = None, searched: bool = True,
    shared: Callable[[tuple[Any, ...], _Start], MixtureParameters] | None = None,
    m_step: StructuredMStep | None = None, search_ridge: FloatArray | None = None,
) -> list[_Start]:
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
    n_samples, n_features = X.shape
    shape, search_ridge = (covariance_type, n_components, n_features), ridge if search_ridge is None else search_ridge
    weights, means, chol = _check_given(*shape, *(given or (None, None, None)))
    if not (hasattr(m_step, "project") and searched and n_components > 1 and method in ("auto", "small-em")):
        m_step = None
    else:
        passes = _effort(covariance_type, n_components, n_samples, n_features, m_step)[1]
        m_step = m_step if passes >= _FEWEST_CONSTRAINED_RUNS * CONSTRAINED_RUN else None

    def constraint(number: int) -> StructuredMStep | None:
        # partitions alone are the same for all
        return None if method == "auto" and number % 2 else m_step

    def start(number: int, rng: np.random.Generator) -> MixtureParameters:
        if weights is not None and means is not None and chol is not None:
            return MixtureParameters.from_precisions_chol(covariance_type, weights, means, chol)
        options: dict[str, Any] = dict(scale=scale, sample_weight=sample_weight, ridge=ridge, n_threads=n_threads)
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
        return list(made)
    seeds = [make.args[1].bit_generator.seed_seq for make in made]
    names = [getattr(constraint(number), "name", None) for number in range(n_init)]
    keys = [
        (*shape, name, method, searched, str(seed.entropy), seed.spawn_key)
        for name, seed in zip(names, seeds, strict=True)
    ]
    return [partial(shared, key, make) for key, make in zip(keys, made, strict=True)]


def auto(
    X: SampleArray, covariance_type: str, n_components: int, rng: np.random.Generator, number: int = 0,
    m_step: StructuredMStep | None = None, search_ridge: FloatArray | None = None, **options: Any,
) -> MixtureParameters:
    """The best that swaps make of the better of two partitions: by k-means as it is, and in whitened coordinates.

    The search uses at most some 2,000 samples (more where there are many parameters) and as many runs as a fixed
    amount of work allows. Where it allows too few (many components and features), the start is that of "kmeans".
    Of starts after the first, every other one is a partition alone: where optima are flat, short runs tell little, and
    it may be the better one. After the first of its kind, a start takes "k-means++" or "random_from_data" in the place
    of k-means, in turn.
    """
    n_samples, n_features = X.shape
    size, passes = _effort(covariance_type, n_components, n_samples, n_features, m_step)
    searched = n_components > 1 and passes >= _FEWEST_RUNS * RUN
    turn = number // 2 if searched else number
    if not searched or number % 2:
        return Partitions(X, covariance_type, n_components, rng, **options).parameters(_partition("kmeans", turn), rng)
    if search_ridge is not None:
        options["ridge"] = search_ridge
    partitions = Partitions(X, covariance_type, n_components, rng, size=size, **options)
    search = Search(partitions) if m_step is None else ConstrainedSearch(partitions, m_step)
    # a single feature is whitened as it is
    for method in ("kmeans", "whitened") if n_features > 1 else ("kmeans",):
        search.offer(partitions.parameters, _partition(method, turn), rng)
    if search.best is None:
        return partitions.parameters("kmeans", rng)
    search.settle()
    search.swap(min(_RUNS, _RUNS_PER_COMPONENT * n_components), passes, rng)
    return search.best


def small_em(
    X: SampleArray, covariance_type: str, n_components: int, rng: np.random.Generator,
    m_step: StructuredMStep | None = None, **options: Any,
) -> MixtureParameters:
    """The best of short runs of EM from many partitions: their best few are run on before one is chosen.

    Biernacki, Celeux and Govaert (2003). The partitions are "random_from_data", in as many runs as the same amount of
    work allows, four at least.
    """
    size, passes = _effort(covariance_type, n_components, X.shape[0], X.shape[1], m_step)
    partitions = Partitions(X, covariance_type, n_components, rng, size=size, **options)
    search = Search(partitions) if m_step is None else ConstrainedSearch(partitions, m_step)
    runs = []
    for i in range(min(_RUNS, _RUNS_PER_COMPONENT * n_components)):
        if i >= _FEWEST_RUNS and search.n_passes > passes:
            break
        runs.append(search.run(partitions.parameters, "random_from_data", rng))
    found = sorted((pair for pair in runs if pair is not None), key=lambda pair: -pair[0])
    for _, parameters in found[:_BEST]:
        search.offer(lambda parameters=parameters: parameters, iterations=search.settling)
    return partitions.parameters("random_from_data", rng) if search.best is None else search.best


def _effort(
    covariance_type: str, n_components: int, n_samples: int, n_features: int, m_step: StructuredMStep | None = None,
) -> tuple[int, int]:
    """Samples of a search, and passes over them."""
    size = max(_SEARCH_SAMPLES, _SAMPLES_PER_FEATURE * n_components * (n_features + 1))
    seconds = likelihood.seconds(min(size, n_samples), n_features, n_components, covariance_type)
    if m_step is not None:
        return size, min(_CONSTRAINED_PASSES, int(_CONSTRAINED_SECONDS / (seconds + m_step.seconds)))
    return size, min(_SEARCH_PASSES, int(_SEARCH_SECONDS / seconds))


def _partition(method: str, number: int) -> str:
    """The partition of a start: where a method gives the same again and again, another one's after the first."""
    method = {"auto": "kmeans", "small-em": "random_from_data"}.get(method, method)
    return _OTHERS[(number - 1) % 2] if number and method in _ALIKE else method


def _check_given(
    covariance_type: str, n_components: int, n_features: int, weights: ArrayLike | None, means: ArrayLike | None,
    precisions: ArrayLike | None,
) -> tuple[FloatArray | None, FloatArray | None, FloatArray | None]:
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
