"""Densities that are right at a bound to the second order, whatever their slope there.

A kernel sum loses what its kernels put beyond a bound, and a reflected one has a slope of zero there: near the bound
the error of the one is of order 1, that of the other of order h where the density has a slope. A line fitted by local
least squares, over that part of the kernel which is within the bounds, has an error of order h^2 as in the interior
(Jones, Statistics and Computing 3, 1993, 135), but can be negative. Jones and Foster (Statistica Sinica 6, 1996, 1005)
make it positive to the same order:

    f(x) = fbar(x) exp(flin(x) / fbar(x) - 1),    fbar = f0 / a

f0 is the kernel sum, a(x) the share of a kernel at x that is within the bounds. For a product of Gaussians, with the
mean m_j and the variance v_j of what is within the bounds on each axis, and M_j the mean of s_j - x_j over the sources,
weighted by their kernels (h_j^2 times the gradient of log f0), all in bandwidths,

    log f = log f0 - sum_j [log a_j + m_j (M_j - m_j) / v_j] - log Z

In the interior m_j = 0 and a_j = 1, and nothing is changed. Z makes the density one: without it the integral is
1 + O(h^2).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

import numpy as np
from scipy.special import ndtr, ndtri

from gaussum.image_axes import Axis
from gaussum.images import ImageSum
from gaussum.plans import Plan, Sum
from gaussum.strips import Strips
from gaussum.typing import FloatArray, IndexArray, MaskArray, SampleArray

# Shares of rtol: of the densities themselves and of corrections that are left out.
_OF_SUMS = 0.4
_LEFT_OUT = 0.05
_ROUNDING = 2.0**-54
# Sources that make a density lie within so many bandwidths, or the density is looked at again.
_NEAR = 8.0
# Below this nothing but the direct sum will do.
_SMALLEST_RTOL = 1e-14
# In lengths of the support.
_WIDEST = 1e8
# Beyond so many bandwidths from a bound there is nothing to correct.
_REACH = 9.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
# The integral: panels of half a bandwidth in one feature, points of a Sobol' sequence in several.
_PANEL = 0.5
_LOG2_POINTS = 13
_INTEGRAL_RTOL = 1e-9
_RATIO_RTOL = 1e-5
# A source counts so many times what the others do, and leaves nothing of their moments in a double.
_ALONE = 500.0
_MOST_DRAWN = 1 << 20
_ROOT_2_PI = math.sqrt(2.0 * math.pi)


class SlopedSum(Sum, Protocol):
    """What is asked of the sum that is corrected."""

    def distribution(self) -> Any: ...
    def log_density_and_gradient(
        self, X: SampleArray, *, rtol: float = ..., n_threads: int | None = ...
    ) -> tuple[FloatArray, FloatArray]: ...


class BoundarySum:
    """A sum of Gaussians corrected at bounds.

    Parameters
    ----------
    axes : list of gaussum.support.Axis
        With the boundary "linear".
    folded : list of gaussum.support.Axis
        The other bounded ones, on which kernels have images.
    make : callable
        ``make(X, log_weights, h)`` is the sum without any support.
    X : ndarray, shape (n_sources, n_features)
    log_weights : ndarray of float64, shape (n_sources,)
    h : ndarray of float64, shape (n_features,)
    """

    def __init__(
        self, axes: list[Axis], folded: list[Axis], make: Callable[[SampleArray, FloatArray, FloatArray], Any],
        X: SampleArray, log_weights: FloatArray, h: FloatArray
    ) -> None:
        self._axes, self._folded, self._make = axes, folded, make
        # wider kernels are as level between two bounds, to rounding
        self._h = h = h.copy()
        for axis in axes:
            h[axis.feature] = min(h[axis.feature], _WIDEST * (axis.high - axis.low))
        self._log_weights = log_weights
        self._base = self._made(X, log_weights)
        self._features = [axis.feature for axis in axes]
        sources = X[:, self._features].astype(np.float64, copy=False)
        self._low, self._high = sources.min(axis=0), sources.max(axis=0)
        self._log_peak = -np.log(h).sum() - 0.5 * len(h) * math.log(2.0 * math.pi)
        self._slope = sum(map(self._steepest, axes))
        self._log_integral_: float | None = None
        self._log_ratios_: FloatArray | None = None

    def _made(self, X: SampleArray, log_weights: FloatArray) -> SlopedSum:
        """The sum without corrections."""
        if self._folded:
            return ImageSum(self._folded, self._make, X, log_weights, self._h)
        total: SlopedSum = self._make(X, log_weights, self._h)
        return total

    def _steepest(self, axis: Axis) -> float:
        """The largest derivative of an exponent by the way to the mean of sources."""
        reach = np.linspace(0.0, _REACH * self._h[axis.feature], 257)
        x = np.concatenate([axis.low + reach, axis.high - reach])
        part = Part(*self._part_of(axis, x[np.isfinite(x) & axis.inside(x)]))
        return float(np.max(np.abs(part.mean) / (part.variance * part.unit)))

    def sources(self, index: IndexArray | slice = slice(None)) -> FloatArray:
        """The sources themselves, shape (n_sources, n_features), or those at an index."""
        return self._base.sources(index)

    def distribution(self) -> Strips:
        """The distribution functions of this density of one feature, a gaussum.strips.Strips."""
        if len(self._h) > 1:
            raise ValueError(
                "boundary is 'linear', under which boxes of several features have no simple probabilities; expected "
                "'reflect' or 'periodic', or one feature"
            )
        axis, h = self._axes[0], self._h[0]
        low, high = axis.low + _REACH * h, axis.high - _REACH * h
        log_integral = self._log_integral(None)
        return Strips(
            lambda x, n_threads: self._corrected(x[:, np.newaxis], _INTEGRAL_RTOL, n_threads) - log_integral,
            [(axis.low, low), (high, axis.high)] if low < high else [(axis.low, axis.high)], _PANEL * h,
            self._base.distribution().line, -log_integral, (axis.low, axis.high)
        )

    def plan(self, X: SampleArray, rtol: float = 0.0, *, n_threads: int | None = None) -> Plan:
        """The plan for the queries within the bounds."""
        inside = self._inside(X)
        if not inside.any():
            return Plan("direct", "no query is within the bounds", 0.0, {"direct": 0.0})
        plan, n = self._base.plan(X[inside], self._rtol(rtol), n_threads=n_threads), self._near(X[inside], rtol).sum()
        return replace(plan, reason=f"{plan.reason}; with first moments for {n:,} queries near the bounds")

    def log_density(self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """The log density at every row of `X`, shape (n_targets,); minus infinity outside the bounds."""
        out, inside = np.full(X.shape[0], -np.inf), self._inside(X)
        if inside.any():
            X = X if inside.all() else X[inside]
            out[inside] = self._corrected(X, rtol, n_threads) - self._log_integral(n_threads)
        return out

    def log_density_and_gradient(self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None) -> NoReturn:
        """Refused: the corrections have no gradient that first moments would give."""
        raise ValueError("boundary is 'linear', for which there is no gradient; expected 'reflect' or 'periodic'")

    def _rtol(self, rtol: float) -> float:
        """The bound for sums and first moments that is `rtol` for the density; 0 where nothing but that will do."""
        rtol = _OF_SUMS * rtol / (1.0 + 2.0 * self._slope * (1.0 + _NEAR))
        return rtol if rtol > _SMALLEST_RTOL else 0.0

    def _near(self, X: SampleArray, rtol: float) -> MaskArray:
        """Queries so near to a bound that the correction counts."""
        near = np.zeros(X.shape[0], dtype=bool)
        for k, axis in enumerate(self._axes):
            h = self._h[axis.feature]
            extent = min(float(self._high[k]) - float(self._low[k]), 1e200 * min(h, 1.0)) / h
            # what is beyond the bounds, and its mean, times the way to a source: both are below a share of rtol
            share = max(_LEFT_OUT * min(rtol, 1.0) / len(self._axes), _ROUNDING)
            reach = h * math.sqrt(2.0 * math.log(4.0 * (extent + 10.0) / share))
            x = X[:, axis.feature]
            near |= (x < axis.low + reach) | (x > axis.high - reach)
        return near

    def _corrected(self, X: SampleArray, rtol: float, n_threads: int | None) -> FloatArray:
        """Log densities before they are normalised, at queries within the bounds."""
        near, out = self._near(X, rtol), np.empty(X.shape[0])
        if not near.all():
            out[~near] = self._base.log_density(X[~near], rtol=self._rtol(rtol), n_threads=n_threads)
        if near.any():
            X = X[near]
            part, (logs, moved) = self._part(X), self._moments(X, rtol, n_threads)
            out[near] = logs - part.log_inside.sum(axis=1) - part.exponent(moved)
        return out

    def _moments(self, X: SampleArray, rtol: float, n_threads: int | None) -> tuple[FloatArray, FloatArray]:
        """Log densities without corrections, and the ways to the means of sources in bandwidths on the axes.

        The error of these ways is 2 rtol (1 + r), r the root mean square of the distances of sources that make the
        density f0.  The mean of r^2 / 2 over them, -sum_s p_s log K_s with p_s = w_s K_s / f0, is -log f0 less the
        information of p against w: the density itself bounds r.
        """
        bound = self._rtol(rtol)
        logs, moved = self._ways(X, bound, n_threads)
        r = np.sqrt(np.maximum(2.0 * (self._log_peak - logs), 0.0))
        far = np.flatnonzero(~(r <= _NEAR))
        if far.size and bound > 0.0:
            bound *= (1.0 + _NEAR) / (1.0 + r[far].max())
            logs[far], moved[far] = self._ways(X[far], bound if bound > _SMALLEST_RTOL else 0.0, n_threads)
        return logs, moved

    def _ways(self, X: SampleArray, rtol: float, n_threads: int | None) -> tuple[FloatArray, FloatArray]:
        logs, gradient = self._base.log_density_and_gradient(X, rtol=rtol, n_threads=n_threads)
        return logs, gradient[:, self._features] * self._h[self._features]

    def leave_one_out(self, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """The log density at every source by the others; the weights, and the integral, stay as they are.

        A source adds nothing to the first moments about itself, so those of the others are those of all.
        """
        X = self._base.sources()
        out = self._base.leave_one_out(rtol=self._rtol(rtol), n_threads=n_threads)
        near = np.flatnonzero(self._near(X, rtol))
        if near.size and len(X) > 1:
            part, (logs, moved) = self._part(X[near]), self._moments(X[near], rtol, n_threads)
            # the error of the moments is relative to a sum of which the others may be a small part
            share = logs - out[near]
            heavy = np.flatnonzero(share > 0.5)
            if heavy.size and rtol > 0.0:
                _, moved[heavy] = self._ways(X[near[heavy]], 0.0, n_threads)
            with np.errstate(over="ignore", invalid="ignore"):
                moved *= np.exp(share)[:, np.newaxis]
            for i in np.flatnonzero(~(share < _ALONE)):
                moved[i] = self._ways_without(X, near[i])
            out[near] -= part.log_inside.sum(axis=1) + part.exponent(moved)
        out -= self._log_integral(n_threads)
        return out

    def _ways_without(self, X: FloatArray, i: int) -> FloatArray:
        rest = np.delete(np.arange(len(X)), i)
        weights = self._log_weights[rest] - np.logaddexp.reduce(self._log_weights[rest])
        _, gradient = self._made(X[rest], weights).log_density_and_gradient(X[i : i + 1])
        ways: FloatArray = gradient[0, self._features] * self._h[self._features]
        return ways

    def draw(self, index: IndexArray, rng: np.random.Generator) -> FloatArray:
        """Samples, shape (n_samples, n_features): draws of the reflected kernels by index, accepted or replaced.

        A draw is accepted by the ratio of this density to the reflected one, relative to 1.2 times the largest
        that was found at the points of a Sobol' sequence (Caffo, Booth and Davis, Biometrika 89, 2002, 745).
        """
        n_samples, n_drawn, drawn = len(index), 0, []
        reflected, cumulative = self._reflected(), np.cumsum(np.exp(self._log_weights))
        most = self._log_ratios_at_points(None).max() + math.log(1.2)
        while True:
            X = reflected.draw(index, rng)
            drawn.append(X[np.log1p(-rng.random(len(X))) < self._log_ratios(X, reflected, None) - most])
            n_drawn += len(drawn[-1])
            if n_drawn >= n_samples:
                return np.concatenate(drawn)[:n_samples]
            n_more = min(64 + math.ceil(1.2 * (n_samples - n_drawn) * math.exp(most)), _MOST_DRAWN)
            index = by_weight(cumulative, rng.random(n_more))

    def _reflected(self) -> ImageSum:
        """The sum with reflected kernels in place of corrections, which is near this density everywhere."""
        axes = [replace(axis, boundary="reflect") for axis in self._axes]
        return ImageSum(self._folded + axes, self._make, self._base.sources(), self._log_weights, self._h)

    def _log_ratios(self, X: SampleArray, reflected: ImageSum, n_threads: int | None) -> FloatArray:
        """Logarithms of what the density is before it is normalised, relative to the reflected one."""
        return self._corrected(X, _RATIO_RTOL, n_threads) - reflected.log_density(
            X, rtol=_RATIO_RTOL, n_threads=n_threads
        )

    def _log_ratios_at_points(self, n_threads: int | None) -> FloatArray:
        """These at points that are evenly drawn from the reflected density, those of a Sobol' sequence."""
        if self._log_ratios_ is None:
            from scipy.stats import qmc             # takes long to import

            reflected, sources = self._reflected(), self._base.sources()
            u = qmc.Sobol(1 + len(self._h), scramble=False).random_base2(_LOG2_POINTS) + 0.5 ** (_LOG2_POINTS + 1)
            order = np.argsort(sources[:, self._axes[0].feature], kind="stable")
            index = order[by_weight(np.cumsum(np.exp(self._log_weights[order])), u[:, 0])]
            X = sources[index] + self._h * ndtri(u[:, 1:])
            self._log_ratios_ = self._log_ratios(reflected.fold(X), reflected, n_threads)
        return self._log_ratios_

    def _inside(self, X: SampleArray) -> MaskArray:
        inside: MaskArray = np.logical_and.reduce([axis.inside(X[:, axis.feature]) for axis in self._axes])
        return inside

    def _part(self, X: SampleArray) -> "Part":
        """What is within the bounds of the kernels at queries."""
        parts = [self._part_of(axis, X[:, axis.feature]) for axis in self._axes]
        return Part(*(np.stack(values, axis=1) for values in zip(*parts)))

    def _part_of(self, axis: Axis, x: SampleArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """The same on one axis, as a tuple."""
        h = self._h[axis.feature]
        x = x.astype(np.float64, copy=False)
        with np.errstate(over="ignore"):
            low, high = (axis.low - x) / h, (axis.high - x) / h
        # float32 may stand beyond a bound by its rounding
        return truncated(np.minimum(low, 0.0), np.maximum(high, 0.0))

    def _log_integral(self, n_threads: int | None) -> float:
        if self._log_integral_ is None:
            self._log_integral_ = math.log(
                self._integral_on_axis(n_threads) if len(self._h) == 1
                else np.exp(self._log_ratios_at_points(n_threads)).mean()
            )
        return self._log_integral_

    def _integral_on_axis(self, n_threads: int | None) -> float:
        """By Gauss's rule near the bounds, where there is a correction, and exactly where there is none."""
        axis, h, sources = self._axes[0], self._h[0], self._base.sources()[:, 0]
        first, last = axis.low + _REACH * h, axis.high - _REACH * h
        if first < last:
            strips = [(axis.low, first), (last, axis.high)]
            total = np.exp(self._log_weights) @ (ndtr((last - sources) / h) - ndtr((first - sources) / h))
        else:
            strips, total = [(axis.low, axis.high)], 0.0
        for low, high in strips:
            if not math.isinf(low) and not math.isinf(high):
                edges = np.linspace(low, high, 1 + math.ceil((high - low) / (_PANEL * h)))
                half = 0.5 * np.diff(edges)
                x = np.clip((edges[:-1] + half)[:, np.newaxis] + half[:, np.newaxis] * _NODES, low, high)
                f = np.exp(self._corrected(x.reshape(-1, 1), _INTEGRAL_RTOL, n_threads))
                total += half @ (f.reshape(x.shape) @ _WEIGHTS)
        return float(total)


@dataclass(frozen=True)
class Part:
    """What is within the bounds of the kernels at queries; each array of shape (n_targets, n_axes).

    Attributes
    ----------
    log_inside : ndarray
        The logarithm of the share of a kernel that is within the bounds.
    mean, variance : ndarray
        Of that part about the query, in units and their squares.
    unit : ndarray
        In bandwidths.
    """

    log_inside: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    unit: np.ndarray

    def exponent(self, moved: FloatArray) -> FloatArray:
        """sum_j m_j (M_j - m_j) / v_j, shape (n_targets,), of the ways M to the means of sources, in bandwidths."""
        exponent: FloatArray = (self.mean * (moved / self.unit - self.mean) / self.variance).sum(axis=1)
        return exponent


def by_weight(cumulative: FloatArray, u: FloatArray) -> IndexArray:
    """The sources to which uniform numbers fall, by the cumulative sums of the weights."""
    index: IndexArray = np.searchsorted(cumulative, u * cumulative[-1], side="right").clip(0, len(cumulative) - 1)
    return index


def truncated(low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """The standard normal distribution between low <= 0 and high >= 0.

    Returns
    -------
    log_inside, mean, variance : ndarray
        The logarithm of its probability there; its mean and variance there, in units.
    unit : ndarray
        The width, as long as that is below 1.
    """
    width = high - low
    unit = np.minimum(width, 1.0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        inside = ndtr(high) - ndtr(low)
        at_low, at_high = np.exp(-0.5 * low**2) / _ROOT_2_PI, np.exp(-0.5 * high**2) / _ROOT_2_PI
        mean = (at_low - at_high) / inside
        second = np.where(np.isinf(low), 0.0, low * at_low) - np.where(np.isinf(high), 0.0, high * at_high)
        variance = 1.0 + second / inside - mean**2
    narrow = width < 1.0
    if narrow.any():
        # those differences cancel
        low, width = low[narrow], width[narrow]
        density = np.exp(-0.5 * (low[:, np.newaxis] + width[:, np.newaxis] * 0.5 * (1.0 + _NODES)) ** 2) * _WEIGHTS
        total = density.sum(axis=1)
        middle = density @ _NODES / total
        inside[narrow] = width * total * 0.5 / _ROOT_2_PI
        mean[narrow] = low / width + 0.5 + 0.5 * middle
        variance[narrow] = 0.25 * (density @ _NODES**2 / total - middle**2)
    return np.log(inside), mean, variance, unit
