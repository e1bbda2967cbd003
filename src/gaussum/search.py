"""The search for a start: short runs of EM on a bounded number of samples, and swaps of components between them."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gaussum import parallel
from gaussum.initialize import Partitions
from gaussum.mixture_pass import MixturePass
from gaussum.parameters import MixtureParameters
from gaussum.samples import Samples
from gaussum.short_em import ShortEM
from gaussum.spurious import effective_samples, spurious_components
from gaussum.statistics import SufficientStatistics
from gaussum.structures import StructuredMStep
from gaussum.typing import FloatArray, IndexArray

# Iterations of a run; of the first partition before the first swap, and of the best of "small-em" to tell them apart.
RUN, _SETTLE = 30, 80
CONSTRAINED_RUN, _CONSTRAINED_SETTLE = 20, 40
# The gain in mean log-likelihood from which on a mixture is better than another: less may be the same one, run further.
_BETTER = 1e-4
# A sample that is wholly a component's counts as if it were this much of it. Everything may be split.
_ALL, _LEAST_MISFIT = 1.0 - 1e-9, 0.1
# Keeps a uniform number's part of a sum of masses below the sum.
_BELOW_ONE = 1.0 - 1e-12


class Search:
    """The best of many short runs of EM on the samples of `partitions`; `best` is None as long as there is none."""

    iterations, settling = RUN, _SETTLE

    def __init__(self, partitions: Partitions) -> None:
        X = partitions.X
        self._n = effective_samples(partitions.sample_weight, len(X))
        ridge = np.zeros(X.shape[1]) if partitions.ridge is None else partitions.ridge
        shape = partitions.covariance_type, partitions.n_components, partitions.sample_weight
        self._pass = MixturePass(Samples(X), *shape, 1, ridge)
        self._em: ShortEM | ConstrainedShortEM = ShortEM(self._pass)
        self._scratch = np.empty(self._pass.scratch_size)
        self._X, self._weight = X, partitions.sample_weight
        self.best: MixtureParameters | None = None
        self._reached, self._doubt = -math.inf, math.inf

    @property
    def n_passes(self) -> int:
        """Passes over the samples so far."""
        return self._em.n_passes

    def run(
        self, make: Callable[..., MixtureParameters], *arguments: Any, iterations: int | None = None,
        target: float = -math.inf,
    ) -> tuple[float, MixtureParameters] | None:
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

    def offer(
        self, make: Callable[..., MixtureParameters], *arguments: Any, iterations: int | None = None,
    ) -> None:
        """Keep what comes of a short run if it is better: less doubtful than the best, or else higher."""
        found = self.run(make, *arguments, iterations=iterations, target=self._target)
        if found is not None and found[0] > self._target:
            self._receive(*found)

    def swap(self, runs: int, passes: int, rng: np.random.Generator) -> None:
        """Swap components of the best in so many runs; none is begun after so many passes."""
        draws, directions = rng.random((runs, 2)), rng.normal(size=(runs, self._X.shape[1]))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        number, start = 0, None
        while self.best is not None and number < runs and self.n_passes <= passes:
            if start is not self.best:
                start, pairs = self.best, self._pairs(self.best, draws)
            after = np.empty_like(start.buffer)
            tried, objective = self._em.swaps(
                start.buffer, pairs[number:], directions[number:], after, self.iterations, self._target, passes
            )
            number += tried
            if objective > self._target:
                shape = start.covariance_type, start.n_components, start.n_features
                self._receive(objective, MixtureParameters(*shape, after))

    @property
    def _target(self) -> float:
        """The objective that anything better is above."""
        return -math.inf if self._doubt else self._reached + _BETTER

    def _receive(self, objective: float, mixture: MixtureParameters) -> None:
        doubt = self._doubt_of(mixture)
        if doubt < self._doubt or doubt == self._doubt and objective > self._reached + _BETTER:
            self._reached, self.best, self._doubt = objective, mixture, doubt

    def _doubt_of(self, mixture: MixtureParameters) -> int:
        """2 where a component shrank onto few samples, 1 where one holds hardly more than fix it, else 0."""
        if spurious_components(mixture, self._n):
            return 2
        least = (mixture.n_features if mixture.covariance_type == "full" else 1) + 1
        return int((mixture.weights * self._n <= least).any())

    def _pairs(self, mixture: MixtureParameters, draws: FloatArray) -> IndexArray:
        """Components to take away and others to split, shape (len(draws), 2): every other pair of all alike.

        The others are likely ones. Each is drawn by two uniform numbers.
        """
        K, pairs = mixture.n_components, np.empty(draws.shape, dtype=np.intp)
        for first, masses in ((0, self._look_at(mixture)), (1, np.ones((2, K)))):
            lost = _drawn(masses[0], draws[first::2, 0])
            others = masses[1] * (np.arange(K) != lost[:, np.newaxis])
            pairs[first::2, 0], pairs[first::2, 1] = lost, _drawn(others, draws[first::2, 1])
        return pairs

    def _look_at(self, mixture: MixtureParameters) -> tuple[FloatArray, FloatArray]:
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

    def settle(self) -> None:
        """Run EM on from the best."""
        best = self.best
        settled = None if best is None else self.run(lambda: best, iterations=self.settling)
        if settled is not None:
            self._reached, self.best = settled
            self._doubt = self._doubt_of(self.best)


class ConstrainedSearch(Search):
    """The same under the constraint of an M-step."""

    iterations, settling = CONSTRAINED_RUN, _CONSTRAINED_SETTLE

    def __init__(self, partitions: Partitions, m_step: StructuredMStep) -> None:
        super().__init__(partitions)
        self._m_step = m_step
        self._em = ConstrainedShortEM(self._pass, m_step.in_single_steps(), self._scratch)

    def run(
        self, make: Callable[..., MixtureParameters], *arguments: Any, **options: Any,
    ) -> tuple[float, MixtureParameters] | None:
        return super().run(lambda: self._m_step.project(make(*arguments)), **options)


class ConstrainedShortEM:
    """As gaussum.short_em.ShortEM, with an M-step of a structure in place of the plain one."""

    def __init__(self, mixture_pass: MixturePass, m_step: StructuredMStep, scratch: FloatArray) -> None:
        self._pass, self._m_step, self._scratch = mixture_pass, m_step, scratch
        self._plain = ShortEM(mixture_pass)
        self.n_passes = 0

    def run(self, buffer: FloatArray, iterations: int, target: float = -math.inf) -> float:
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

    def swaps(
        self, parameters: FloatArray, pairs: IndexArray, directions: FloatArray, after: FloatArray, iterations: int,
        target: float, passes: int,
    ) -> tuple[int, float]:
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


def _drawn(masses: FloatArray, draws: FloatArray) -> IndexArray:
    """For each of some uniform numbers, an index drawn in proportion to masses along the last axis."""
    cumulative = np.cumsum(masses, axis=-1)
    drawn: IndexArray = (cumulative <= (_BELOW_ONE * draws)[:, np.newaxis] * cumulative[..., -1:]).sum(axis=1)
    return drawn
