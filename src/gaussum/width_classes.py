"""Bounded sums of Gaussians that differ in width, by classes of the widths.

Wide kernels have images across many periods, narrow ones hardly any: a class of sources of like widths has a sum of its
own, whose images are as many as it needs, and those so wide that they are uniform along a period need none. The error
of each is relative to its sum, so that of the whole is too.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from gaussum.distribution import Mixed
from gaussum.plans import Plan
from gaussum.typing import FloatArray, IndexArray, SampleArray

# Widths in periods: below the first all is one class, from there on each is wider by up to a factor of 2.
_NARROW = 1.0 / 16.0


def sum_by_widths(
    make: Callable[[SampleArray, FloatArray, FloatArray], Any], X: SampleArray, log_weights: FloatArray,
    factors: FloatArray, relative: float,
) -> Any:
    """The sum of kernels that have images, in classes where that pays.

    Parameters
    ----------
    make : callable
        ``make(X, log_weights, factors)`` is the sum for some of the sources, of weights that add up to 1.
    X : ndarray, shape (n_sources, n_features)
    log_weights, factors : ndarray of float64, shape (n_sources,)
    relative : float
        The largest bandwidth in periods; 0 where there are none.
    """
    if relative == 0.0:
        return make(X, log_weights, factors)
    kind = np.ceil(np.log2(np.maximum(relative * factors / _NARROW, 1.0))).astype(np.intp)
    classes = [np.flatnonzero(kind == k) for k in np.unique(kind)]
    if len(classes) == 1:
        return make(X, log_weights, factors)
    return WidthClasses(make, X, log_weights, factors, classes)


class WidthClasses:
    """A normalised weighted sum over sources in classes, with methods as of `gaussum.images.ImageSum`.

    Parameters
    ----------
    make, X, log_weights, factors
        As those of `sum_by_widths`.
    classes : list of ndarray of intp
        Which sources each class has.
    """

    def __init__(
        self, make: Callable[[SampleArray, FloatArray, FloatArray], Any], X: SampleArray, log_weights: FloatArray,
        factors: FloatArray, classes: list[IndexArray],
    ) -> None:
        self.factors, self._classes, self._sums, self._log_totals = factors, classes, [], []
        for index in classes:
            log_total = float(np.logaddexp.reduce(log_weights[index]))
            self._log_totals.append(log_total)
            self._sums.append(make(X[index], log_weights[index] - log_total, factors[index]))
        # of every source, its class and its place there
        self._class, self._place = np.empty((2, len(X)), dtype=np.intp)
        for k, index in enumerate(classes):
            self._class[index], self._place[index] = k, np.arange(len(index))

    def sources(self, index: IndexArray | slice = slice(None)) -> FloatArray:
        """The sources themselves, shape (n_sources, n_features), or those at an index."""
        return self._each(index, lambda k, place: self._sums[k].sources(place))

    def draw(self, index: IndexArray, rng: np.random.Generator) -> FloatArray:
        """A sample of the kernel of each source of an index, shape (n_samples, n_features)."""
        return self._each(index, lambda k, place: self._sums[k].draw(place, rng))

    def _each(self, index: IndexArray | slice, of: Callable[[int, IndexArray], FloatArray]) -> FloatArray:
        """What the classes give for sources of theirs, in the order of an index."""
        kind, place = self._class[index], self._place[index]
        parts = [(kind == k, of(k, place[kind == k])) for k in range(len(self._sums))]
        out = np.empty((len(kind), parts[0][1].shape[1]))
        for chosen, part in parts:
            out[chosen] = part
        return out

    def plan(self, X: SampleArray, rtol: float = 0.0, *, n_threads: int | None = None) -> Plan:
        """The plan of the class that costs most, with the costs of all."""
        plans: list[Plan] = [total.plan(X, rtol, n_threads=n_threads) for total in self._sums]
        most = max(plans, key=lambda plan: plan.seconds)
        return replace(
            most, reason=f"{most.reason}; and so on, in {len(plans)} classes of widths",
            seconds=math.fsum(plan.seconds for plan in plans),
            costs=most.costs | {most.name: math.fsum(plan.seconds for plan in plans)},
        )

    def log_density(self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """The log density at every row of `X`, shape (n_targets,); minus infinity outside the bounds."""
        return self._total([total.log_density(X, rtol=rtol, n_threads=n_threads) for total in self._sums])

    def distribution(self) -> Mixed:
        """The distribution functions of this density, a gaussum.distribution.Mixed."""
        return Mixed([total.distribution() for total in self._sums], np.array(self._log_totals))

    def log_density_and_gradient(
        self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """The same and its gradient, shape (n_targets, n_features), which outside the bounds is not a number."""
        parts = [total.log_density_and_gradient(X, rtol=rtol, n_threads=n_threads) for total in self._sums]
        logs = self._total([log for log, _ in parts])
        # gradients of logarithms are averaged by what the classes add to the density
        known = np.where(logs > -np.inf, logs, np.inf)
        gradient: FloatArray = np.sum([
            slope * np.exp(log + share - known)[:, np.newaxis]
            for (log, slope), share in zip(parts, self._log_totals)
        ], axis=0)
        return logs, gradient

    def leave_one_out(self, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """The log density at every source by the others; the weights stay as they are."""
        X, parts = self.sources(), []
        for index, total in zip(self._classes, self._sums):
            part, others = np.empty(len(X)), np.setdiff1d(np.arange(len(X)), index)
            part[index] = total.leave_one_out(rtol=rtol, n_threads=n_threads)
            part[others] = total.log_density(X[others], rtol=rtol, n_threads=n_threads)
            parts.append(part)
        return self._total(parts)

    def _total(self, parts: list[FloatArray]) -> FloatArray:
        logs: FloatArray = np.logaddexp.reduce([part + log for part, log in zip(parts, self._log_totals)], axis=0)
        return logs
