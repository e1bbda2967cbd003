"""Highest-density regions: the smallest sets of a given probability.

In one feature the set where the density is above a level consists of intervals. Their ends are roots of the density
between points that enclose one each, namely the nodes of a fine grid and all local extrema; their probability is known
from the distribution function; and the level is the root of that probability less the one asked for. In several
features the level is a quantile of the density at random draws (Hyndman, The American Statistician 50, 1996, 120).
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from gaussum.distribution import distribution_of
from gaussum.fitted import Fitted
from gaussum.line import Line
from gaussum.tails import Tails, increasing_root
from gaussum.typing import ArrayLike, FloatArray, IndexArray, MaskArray, RandomState
from gaussum.validation import check_integer, check_number, check_random_state, check_samples

# Nodes a bandwidth, fewer where there would be too many nodes in all; and how far from the samples they reach.
_FINE, _COARSE = 8, 2
_MOST_NODES = 1 << 21
_REACH = 9.0
_EPS = 2.0**-52
# Of densities that are no plain sums.
_DENSITY_RTOL = 1e-12
_CORRECTIONS = 2
# A probability that is off by more is that of a plateau.
_MISSED = 1e-9
_LARGEST_LOG = 700.0
_GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)
_GOLDEN_STEPS = 36              # extrema to a few 1e-8 of a bandwidth: their densities to rounding


@dataclass(frozen=True, eq=False)
class HighestDensityRegion:
    """Where a density is above a level.

    Attributes
    ----------
    probability : float
        Of the region.
    log_level : float
        The logarithm of the least density in the region, in nats.
    intervals : ndarray of float64, shape (n_intervals, 2), or None
        In one feature with Gaussian kernels, ascending; on a periodic axis a part may end at one end of the period and
        go on at the other. None in several features, with other kernels, and where the samples lie over millions of
        bandwidths.
    """

    probability: float
    log_level: float
    intervals: FloatArray | None
    _density: Fitted = field(repr=False)

    @property
    def level(self) -> float:
        """The least density in the region, a float."""
        return math.exp(self.log_level)

    def contains(self, X: ArrayLike) -> MaskArray:
        """Whether samples lie in the region.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features), or (n_samples,) for one feature

        Returns
        -------
        ndarray of bool, shape (n_samples,)
        """
        if self.intervals is None:
            inside: MaskArray = self._density.score_samples(X) >= self.log_level
            return inside
        x = check_samples(X, n_features=1)[:, 0].astype(np.float64)
        after = np.searchsorted(self.intervals[:, 0], x, side="right")
        within: MaskArray = (after > 0) & (x <= self.intervals[after - 1, 1])
        return within


def highest_density_regions(
    density: Fitted, probability: float | Sequence[float], n_samples: int = 100_000, random_state: RandomState = 0
) -> HighestDensityRegion | list[HighestDensityRegion]:
    """The regions of one or several probabilities; see KernelDensity.highest_density_region.

    Parameters
    ----------
    density : KernelDensity
        Fitted.
    probability : float or sequence of floats
    n_samples : int
    random_state : None, int, numpy.random.Generator or RandomState

    Returns
    -------
    HighestDensityRegion or list of them
    """
    single = np.ndim(probability) == 0
    asked: Any = [probability] if single else probability
    probabilities = [
        check_number(p, "probability", minimum=0.0, maximum=1.0, open_minimum=True, open_maximum=True) for p in asked
    ]
    check_integer(n_samples, "n_samples", minimum=1)
    rng = check_random_state(random_state)
    density = copy.copy(density)                    # as it is fitted now
    profile = _profile(density)
    found: list[tuple[float, float, FloatArray | None]]
    if profile is None:
        draws = np.sort(density.score_samples(density.sample(n_samples, rng)))
        found = [(p, float(np.quantile(draws, 1.0 - p)), None) for p in probabilities]
    else:
        found = [(p, *profile.level(p)) for p in probabilities]
    regions = [HighestDensityRegion(p, log_level, intervals, density) for p, log_level, intervals in found]
    return regions[0] if single else regions


def _profile(density: Fitted) -> "_Profile | None":
    """For one feature and Gaussian kernels, unless the sources are too far apart."""
    if density.n_features_in_ > 1 or density.kernel != "gaussian":
        return None
    line = distribution_of(density._sum).line
    nodes = _nodes(line)
    if nodes is None:
        return None

    def by_sum(x: FloatArray) -> FloatArray:
        logs: FloatArray = density._sum.log_density(x[:, np.newaxis], rtol=_DENSITY_RTOL, n_threads=density.n_threads)
        return logs

    log_density: Callable[[FloatArray], FloatArray] = by_sum
    if isinstance(line, Line) and line.plain:
        # by the same means for few points as for all
        log_density = partial(line.log_densities, n_threads=density.n_threads, n_points=nodes[0].size)
    return _Profile(line, log_density, density.n_threads, *nodes)


def _nodes(line: Tails) -> tuple[FloatArray, FloatArray] | None:
    """A grid about all sources, fine for the narrow ones, and the ends of what it covers; None where they are too far
    apart for it."""
    nodes: list[FloatArray] = []
    parts: list[FloatArray] = []
    for x, narrowest, widest in line.groups:
        reach = _REACH * widest
        with np.errstate(over="ignore"):
            gaps = np.flatnonzero(x[1:] - x[:-1] > 2.0 * reach)
            first, last = x[np.append(0, gaps + 1)] - reach, x[np.append(gaps, x.size - 1)] + reach
            first, last = (end.clip(*line.support) for end in (first, last))
            lengths = (last - first) / narrowest
        if not lengths.sum() * _COARSE < _MOST_NODES:
            return None
        fine = _FINE if lengths.sum() * _FINE < _MOST_NODES else _COARSE
        nodes += [np.linspace(a, b, math.ceil(n * fine) + 1) for a, b, n in zip(first, last, lengths)]
        parts.append(np.stack([first, last], axis=1))
    ends = np.concatenate(parts)
    ends = ends[np.argsort(ends[:, 0], kind="stable")]
    # what several groups cover together
    reached = np.maximum.accumulate(ends[:, 1])
    begin = np.append(True, ends[1:, 0] > reached[:-1])
    ends = np.append(ends[begin, 0], reached[np.append(np.flatnonzero(begin)[1:] - 1, len(ends) - 1)])
    # those of several groups may coincide
    return np.concatenate(nodes) if len(line.groups) == 1 else np.unique(np.concatenate(nodes)), ends


class _Profile:
    """The density between points of which no two have more than one root of any level between them."""

    def __init__(
        self, line: Tails, log_density: Callable[[FloatArray], FloatArray], n_threads: int | None, nodes: FloatArray,
        ends: FloatArray,
    ) -> None:
        self._line, self._log_density, self._n_threads = line, log_density, n_threads
        values = self._log_density(nodes)
        at = np.flatnonzero((values[1:-1] >= values[:-2]) == (values[1:-1] >= values[2:])) + 1
        if at.size:
            extrema = self._extrema(nodes, at, np.where(values[at] >= values[at - 1], 1.0, -1.0))
            nodes = np.append(nodes, extrema)
            values = np.append(values, self._log_density(extrema))
            order = np.argsort(nodes, kind="stable")
            nodes, values = nodes[order], values[order]
        self._points, self._values = nodes, values
        outer = ends[(ends > line.support[0]) & (ends < line.support[1])]
        self._lowest = self._log_density(outer).max() if outer.size else np.nextafter(values.min(), -np.inf)

    def _extrema(self, nodes: FloatArray, at: IndexArray, sign: FloatArray) -> FloatArray:
        """Where sign * f is largest between the neighbours of nodes, by golden sections."""
        a, b = nodes[at - 1], nodes[at + 1]
        c, d = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
        fc, fd = sign * self._log_density(c), sign * self._log_density(d)
        for _ in range(_GOLDEN_STEPS):
            left = fc > fd
            a, b = np.where(left, a, c), np.where(left, d, b)
            x = np.where(left, b - _GOLDEN * (b - a), a + _GOLDEN * (b - a))
            fx = sign * self._log_density(x)
            c, d, fc, fd = (np.where(left, x, d), np.where(left, c, x),
                            np.where(left, fx, fd), np.where(left, fc, fx))
        return np.where(fc > fd, c, d)

    def level(self, probability: float) -> tuple[float, FloatArray]:
        """The log level of a probability, and the intervals, shape (n_intervals, 2)."""

        def excess(log_level: float) -> float:
            return self._probability(self._intervals(log_level)) - probability

        log_level = self._lowest
        if excess(log_level) > 0.0:                 # else it is 1 but for rounding
            from scipy.optimize import brentq           # slow to load

            log_level = brentq(excess, log_level, self._values.max(), xtol=1e-300, rtol=4 * _EPS)
        intervals = self._intervals(log_level)
        if intervals.size == 0:
            intervals = np.tile(self._points[self._values.argmax()], (1, 2))
        for _ in range(_CORRECTIONS):
            # near the top the level is too coarse a number for the ends, which move by what is missing
            missing = probability - self._probability(intervals)
            free = (intervals > self._line.support[0]) & (intervals < self._line.support[1])
            if free.any():
                shift = missing / np.count_nonzero(free) * math.exp(min(-log_level, _LARGEST_LOG))
                intervals = (intervals + free * shift * np.array([-1.0, 1.0])).clip(*self._line.support)
        if abs(self._probability(intervals) - probability) > _MISSED:
            intervals = self._with_part_of_plateau(log_level, probability, intervals)
        return log_level, intervals

    def _with_part_of_plateau(self, log_level: float, probability: float, intervals: FloatArray) -> FloatArray:
        """What is above a plateau and as much of that, from the left, as is missing; else the intervals given."""
        from scipy.optimize import brentq           # slow to load

        margin = 16.0 * _EPS * max(1.0, abs(log_level))
        above, all_of_it = self._intervals(log_level + margin), self._intervals(log_level - margin)
        if not self._probability(above) < probability < self._probability(all_of_it):
            return intervals

        def cut(end: float) -> FloatArray:
            left, right = all_of_it[all_of_it[:, 0] < end].copy(), above[above[:, 1] > end]
            left[-1:, 1] = left[-1:, 1].clip(max=end)
            if len(left) and len(right) and right[0, 0] <= left[-1, 1]:
                left[-1, 1], right = right[0, 1], right[1:]
            return np.concatenate([left, right])

        end = brentq(lambda x: self._probability(cut(x)) - probability, all_of_it[0, 0], all_of_it[-1, 1])
        return cut(end)

    def _intervals(self, log_level: float) -> FloatArray:
        above = self._values > log_level
        change = np.flatnonzero(above[1:] != above[:-1])
        rising = np.where(above[change], -1.0, 1.0)
        ends = increasing_root(
            lambda x, index: rising[index] * (self._log_density(x) - log_level),
            self._points[change], self._points[change + 1],
            np.full(change.size, _EPS * max(1.0, abs(log_level))),
        )
        # a region may begin, or end, at a bound
        return np.concatenate([self._points[:1][above[:1]], ends, self._points[-1:][above[-1:]]]).reshape(-1, 2)

    def _probability(self, intervals: FloatArray) -> float:
        low, high = intervals.T
        return float(np.exp(self._line.log_intervals(low.copy(), high.copy(), self._n_threads)).sum())
