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
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

# Shares of rtol: of the densities themselves and of corrections that are left out.
_OF_SUMS = 0.4
_LEFT_OUT = 0.05
_ROUNDING = 2.0**-54
# Sources that make a density lie within so many bandwidths, or the density is looked at again.
_NEAR = 8.0
# Below this nothing but the direct sum will do.
_SMALLEST_RTOL = 1e-14
# Beyond so many bandwidths from a bound there is nothing to correct.
_REACH = 9.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
# The integral: panels of half a bandwidth in one feature, points of a Sobol' sequence in several.
_PANEL = 0.5
_LOG2_POINTS = 14
_INTEGRAL_RTOL = 1e-9
# A source counts so many times what the others do, and leaves nothing of their moments in a double.
_ALONE = 500.0
_MOST_DRAWN = 1 << 20
_ROOT_2_PI = math.sqrt(2.0 * math.pi)


class BoundarySum:
    """A sum of Gaussians corrected at bounds.

    Parameters
    ----------
    axes : list of gaussum.support.Axis
        With the boundary "linear".
    folded : list of gaussum.support.Axis
        The other bounded ones, on which `make` has images.
    make : callable
        ``make(X, log_weights, h)`` is the sum without corrections.
    X : ndarray, shape (n_sources, n_features)
    log_weights : ndarray of float64, shape (n_sources,)
    h : ndarray of float64, shape (n_features,)
    """

    def __init__(self, axes, folded, make, X, log_weights, h):
        self._axes, self._folded, self._make, self._h = axes, folded, make, h
        self._log_weights = log_weights
        self._base = make(X, log_weights, h)
        self._features = [axis.feature for axis in axes]
        sources = X[:, self._features].astype(np.float64, copy=False)
        self._low, self._high = sources.min(axis=0), sources.max(axis=0)
        self._log_peak = -np.log(h).sum() - 0.5 * len(h) * math.log(2.0 * math.pi)
        self._log_integral_ = None

    def sources(self, index=slice(None)):
        """The sources themselves, shape (n_sources, n_features), or those at an index."""
        return self._base.sources(index)

    def plan(self, X, rtol=0.0, *, n_threads=None):
        """The plan for the queries within the bounds."""
        inside = self._inside(X)
        return self._base.plan(X[inside], _OF_SUMS * rtol, n_threads=n_threads)

    def log_density(self, X, *, rtol=0.0, n_threads=None):
        """The log density at every row of `X`, shape (n_targets,); minus infinity outside the bounds."""
        out, inside = np.full(X.shape[0], -np.inf), self._inside(X)
        if inside.any():
            X = X if inside.all() else X[inside]
            out[inside] = self._corrected(X, rtol, n_threads) - self._log_integral(n_threads)
        return out

    def log_density_and_gradient(self, X, *, rtol=0.0, n_threads=None):
        """Refused: the corrections have no gradient that first moments would give."""
        raise ValueError("boundary is 'linear', for which there is no gradient; expected 'reflect' or 'periodic'")

    def _corrected(self, X, rtol, n_threads):
        """Log densities before they are normalised, at queries within the bounds."""
        part = self._part(X)
        out = np.empty(X.shape[0])
        near = part.limits.sum(axis=1) > max(_LEFT_OUT * min(rtol, 1.0), _ROUNDING)
        if not near.all():
            out[~near] = self._base.log_density(X[~near], rtol=_OF_SUMS * rtol, n_threads=n_threads)
        out -= np.where(near, 0.0, part.log_inside.sum(axis=1))
        if near.any():
            part = part.of(near)
            logs, moved = self._moments(X[near], part, rtol, n_threads)
            out[near] = logs - part.log_inside.sum(axis=1) - part.exponent(moved)
        return out

    def _moments(self, X, part, rtol, n_threads):
        """Log densities without corrections, and the ways to the means of sources in bandwidths on the axes.

        The error of these ways is 2 rtol (1 + r), r the root mean square of the distances of sources that make the
        density f0.  The mean of r^2 / 2 over them, -sum_s p_s log K_s with p_s = w_s K_s / f0, is -log f0 less the
        information of p against w: the density itself bounds r.
        """
        factor = part.slope.sum(axis=1).max()
        logs, moved = self._ways(X, rtol, factor * (1.0 + _NEAR), n_threads)
        r = np.sqrt(np.maximum(2.0 * (self._log_peak - logs), 0.0))
        far = np.flatnonzero(~(r <= _NEAR))
        if far.size and rtol > 0.0:
            logs[far], moved[far] = self._ways(X[far], rtol, factor * (1.0 + r[far].max()), n_threads)
        return logs, moved

    def _ways(self, X, rtol, factor, n_threads):
        rtol = _OF_SUMS * rtol / (1.0 + 2.0 * factor)
        logs, gradient = self._base.log_density_and_gradient(
            X, rtol=rtol if rtol > _SMALLEST_RTOL else 0.0, n_threads=n_threads
        )
        return logs, gradient[:, self._features] * self._h[self._features]

    def leave_one_out(self, *, rtol=0.0, n_threads=None):
        """The log density at every source by the others; the weights, and the integral, stay as they are.

        A source adds nothing to the first moments about itself, so those of the others are those of all.
        """
        X = self._base.sources()
        part = self._part(X)
        out = self._base.leave_one_out(rtol=_OF_SUMS * rtol, n_threads=n_threads) - part.log_inside.sum(axis=1)
        near = np.flatnonzero(part.limits.sum(axis=1) > max(_LEFT_OUT * min(rtol, 1.0), _ROUNDING))
        if near.size and len(X) > 1:
            part = part.of(near)
            others = out[near] + part.log_inside.sum(axis=1)
            logs, moved = self._moments(X[near], part, rtol, n_threads)
            # the error of the moments is relative to a sum of which the others are a small part
            share = logs - others
            heavy = np.flatnonzero(share > 0.5)
            if heavy.size and rtol > 0.0:
                _, moved[heavy] = self._ways(X[near[heavy]], 0.0, 0.0, n_threads)
            with np.errstate(over="ignore", invalid="ignore"):
                moved *= np.exp(share)[:, np.newaxis]
            for i in np.flatnonzero(~(share < _ALONE)):
                moved[i] = self._ways_without(X, near[i])
            out[near] -= part.exponent(moved)
        return out - self._log_integral(n_threads)

    def _ways_without(self, X, i):
        rest = np.delete(np.arange(len(X)), i)
        weights = self._log_weights[rest] - np.logaddexp.reduce(self._log_weights[rest])
        _, gradient = self._make(X[rest], weights, self._h).log_density_and_gradient(X[i : i + 1])
        return gradient[0, self._features] * self._h[self._features]

    def draw(self, index, rng):
        """Samples, shape (n_samples, n_features): draws of the kernels by index, accepted or replaced by others.

        How large a correction can be is known from the extent of the sources; its largest value anywhere makes a first
        test, its value itself a second one, to which few come.
        """
        n_samples, n_drawn, drawn = len(index), 0, []
        cumulative, most = np.cumsum(np.exp(self._log_weights)), self._log_most()
        while True:
            X = self._base.draw(index, rng)
            X = X[self._inside(X)]
            part = self._part(X)
            passed = np.log1p(-rng.random(len(X))) < part.greatest.sum(axis=1) - part.log_inside.sum(axis=1) - most
            X, part = X[passed], part.of(passed)
            log_u, near = np.log1p(-rng.random(len(X))), np.flatnonzero(part.limits.sum(axis=1) > _ROUNDING)
            if near.size:
                part = part.of(near)
                _, moved = self._moments(X[near], part, _INTEGRAL_RTOL, None)
                log_u[near] += part.greatest.sum(axis=1) + part.exponent(moved)
            drawn.append(X[log_u <= 0.0])
            n_drawn += len(drawn[-1])
            if n_drawn >= n_samples:
                return np.concatenate(drawn)[:n_samples]
            n_more = min(64 + math.ceil(1.2 * (n_samples - n_drawn) * math.exp(most)), _MOST_DRAWN)
            index = np.searchsorted(cumulative, rng.random(n_more) * cumulative[-1], side="right")
            index = index.clip(0, len(cumulative) - 1)

    def _log_most(self):
        """A bound on the logarithm of all corrections."""
        most = 0.0
        for k, axis in enumerate(self._axes):
            reach = np.linspace(0.0, _REACH * self._h[axis.feature], 1025)
            x = np.concatenate([axis.low + reach, axis.high - reach])
            part = self._part_of(k, x[np.isfinite(x) & axis.inside(x)])
            most += 0.01 + np.max(part.greatest - part.log_inside)
        return most

    def _inside(self, X):
        return np.logical_and.reduce([axis.inside(X[:, axis.feature]) for axis in self._axes])

    def _part(self, X):
        """What is within the bounds of the kernels at queries."""
        parts = [self._part_of(k, X[:, axis.feature]) for k, axis in enumerate(self._axes)]
        return Part(*(np.concatenate(values, axis=1) for values in zip(*(part.all() for part in parts))))

    def _part_of(self, k, x):
        """The same on one axis."""
        axis, h = self._axes[k], self._h[self._axes[k].feature]
        x = x.astype(np.float64, copy=False)[:, np.newaxis]
        # float32 may stand beyond a bound by its rounding
        log_inside, mean, variance, unit = truncated(np.minimum((axis.low - x) / h, 0.0),
                                                     np.maximum((axis.high - x) / h, 0.0))
        return Part(log_inside, mean, variance, unit, (self._low[k] - x) / h, (self._high[k] - x) / h)

    def _log_integral(self, n_threads):
        if self._log_integral_ is None:
            integral = self._integral_on_axis if len(self._h) == 1 else self._integral_by_points
            self._log_integral_ = math.log(integral(n_threads))
        return self._log_integral_

    def _integral_on_axis(self, n_threads):
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
        return total

    def _integral_by_points(self, n_threads):
        """The mean correction at points drawn from the sum without one, evenly: those of a Sobol' sequence."""
        sources, h = self._base.sources(), self._h
        u = qmc.Sobol(1 + len(h), scramble=False).random_base2(_LOG2_POINTS) + 0.5 ** (_LOG2_POINTS + 1)
        order = np.argsort(sources[:, self._features[0]], kind="stable")
        cumulative = np.cumsum(np.exp(self._log_weights[order]))
        index = np.searchsorted(cumulative, u[:, 0] * cumulative[-1], side="right").clip(0, len(order) - 1)
        X = sources[order[index]] + h * ndtri(u[:, 1:])
        for axis in self._folded:
            X[:, axis.feature] = axis.fold(X[:, axis.feature])
        X = X[self._inside(X)]
        part = self._part(X)
        logs = -part.log_inside.sum(axis=1)
        near = np.flatnonzero(part.limits.sum(axis=1) > _INTEGRAL_RTOL)
        if near.size:
            part = part.of(near)
            logs[near] -= part.exponent(self._moments(X[near], part, _INTEGRAL_RTOL, n_threads)[1])
        return np.exp(logs).sum() / len(u)


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
    nearest, farthest : ndarray
        The least and the largest way to a source, in bandwidths.
    """

    log_inside: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    unit: np.ndarray
    nearest: np.ndarray
    farthest: np.ndarray

    def all(self):
        """The arrays, in the order of the attributes."""
        return self.log_inside, self.mean, self.variance, self.unit, self.nearest, self.farthest

    def of(self, rows):
        """The same of some of the queries."""
        return Part(*(values[rows] for values in self.all()))

    def _exponents(self, moved):
        return self.mean * (moved / self.unit - self.mean) / self.variance

    def exponent(self, moved):
        """sum_j m_j (M_j - m_j) / v_j, shape (n_targets,), of the ways M to the means of sources, in bandwidths."""
        return self._exponents(moved).sum(axis=1)

    @property
    def slope(self):
        """The derivatives of the exponents by those ways, but for their signs."""
        return np.abs(self.mean) / (self.variance * self.unit)

    @property
    def limits(self):
        """Bounds on the size of the exponents."""
        return np.maximum(np.abs(self._exponents(self.nearest)), np.abs(self._exponents(self.farthest)))

    @property
    def greatest(self):
        """The largest that the exponents can be with the other sign."""
        return np.maximum(-self._exponents(self.nearest), -self._exponents(self.farthest))


def truncated(low, high):
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
    with np.errstate(invalid="ignore"):
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
