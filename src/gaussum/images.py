"""Sums of kernels on reflected and periodic axes: what a query's images come to together.

A kernel that is reflected at a bound, or wrapped around a period, is the kernel at a query and at all its images:

    f(x) = sum_g f0(g x),

over the group of reflections and translations g that the axes generate. So the sources stay what they are, and any
plan for f0 serves; f is nowhere negative, adds up to 1 over the support (which the images tile the space with), and
has a slope of zero at a bound where it reflects.

Of the infinitely many images few count. Which do is decided twice, each time with a bound:

- By the period alone. Of the images of a query relative to one source, those beyond the first few are at least so much
  farther than the nearest that their sum is below a given share of its term: for every source, so for the sum.
- By the distance of an image from the box around the sources. What is left out here is compared with the sum found so
  far at the same query, so that the bound is relative in the farthest tails too.

Where the bandwidth is wide against the period, the sum over all images is uniform to rounding (Poisson's summation
formula), and the axis is left out of f0 altogether.

Reflection: Schuster, Communications in Statistics 14, 1985, 1123; Silverman, Density Estimation, 1986, section 2.10.
"""

import math
from dataclasses import replace

import numpy as np

from gaussum.folded import Folded
from gaussum.summation import Plan

# Shares of rtol: of the sums themselves, and of each of the two ways to leave out images.
_OF_SUMS = 0.9
_OF_IMAGES = 0.04
_ROUNDING = 2.0**-54
# In periods: from here on 2 exp(-2 pi^2 h^2) is below rounding.
_UNIFORM = 1.4
# Images looked at together.
_MOST_IMAGES = 1 << 22


class Images:
    """The images of coordinates on one axis, the coordinate itself first.

    Parameters
    ----------
    axis : gaussum.support.Axis
        With the boundary "reflect" or "periodic".
    column : int
        Where its feature is among those of the sum.
    h : float
        The bandwidth.
    """

    def __init__(self, axis, column, h):
        self.axis, self.column, self._h = axis, column, h

    def cells(self, share):
        """The cells, as wide as the support, whose images count; the others come to `share` of the sum at most.

        Both a query and a source are in cell 0. A periodic image in cell c is at least (|c| - 1) L from the source and
        the nearest one at most L / 2; a reflected one at least (|c| - 1) L, and the query itself at most L.
        """
        axis = self.axis
        if math.isinf(axis.low):
            return [0, 1]
        if math.isinf(axis.high):
            return [0, -1]
        nearest, last = (0.25, 1) if axis.boundary == "periodic" else (1.0, 2)
        u2 = 0.5 * ((axis.high - axis.low) / self._h) ** 2
        while 2.0 * math.exp(-(last**2 - nearest) * u2) > share * -math.expm1(-(2 * last + 1) * u2):
            last += 1
        return [0] + [c for k in range(1, last + 1) for c in (-k, k)]

    def signs(self, cells):
        """The derivatives of images by the coordinate."""
        return np.array([-1.0 if self.axis.boundary == "reflect" and c % 2 else 1.0 for c in cells])

    def at(self, x, cells):
        """Images, shape (n, n_cells), of coordinates within the bounds, shape (n,)."""
        return np.stack([self._at(x, c) for c in cells], axis=1)

    def _at(self, x, c):
        low, high = self.axis.low, self.axis.high
        if c == 0:
            return x
        if self.axis.boundary == "reflect" and c % 2:
            # differences to the bound that is near, before the shift
            if c < 0:
                return low + (low - x) + ((c + 1) * (high - low) if c < -1 else 0.0)
            return high + (high - x) + ((c - 1) * (high - low) if c > 1 else 0.0)
        return x + c * (high - low)


class ImageSum:
    """A sum of Gaussians whose kernels are reflected, or periodic, along some axes.

    Parameters
    ----------
    axes : list of gaussum.support.Axis
    make : callable
        ``make(X, log_weights, h)`` is the sum without images.
    X : ndarray, shape (n_sources, n_features)
    log_weights : ndarray of float64, shape (n_sources,)
    h : ndarray of float64, shape (n_features,)
    """

    def __init__(self, axes, make, X, log_weights, h):
        self._axes, self._d = axes, X.shape[1]
        X = self._folded(X)
        flat = [axis for axis in axes if h[axis.feature] >= _UNIFORM * _period(axis)]
        self._flat = [(axis, X[:, axis.feature].astype(np.float64)) for axis in flat]
        self._log_flat = -sum(math.log(axis.high - axis.low) for axis in flat)
        self._kept = np.setdiff1d(np.arange(self._d), [axis.feature for axis in flat])
        self._images = [
            Images(axis, int(np.searchsorted(self._kept, axis.feature)), h[axis.feature])
            for axis in axes if axis not in flat
        ]
        X, h = X[:, self._kept], h[self._kept]
        self._low, self._high = X.min(axis=0, initial=np.inf), X.max(axis=0, initial=-np.inf)
        self._inv_bandwidth = 1.0 / h
        self._log_peak = -np.log(h).sum() - 0.5 * len(h) * math.log(2.0 * math.pi)
        self._base = make(X, log_weights, h) if len(h) else _Nothing(log_weights)

    def distribution(self):
        """The distribution functions of this density, a gaussum.folded.Folded."""
        base = self._base.distribution() if len(self._kept) else None
        flat = [axis for axis, _ in self._flat]
        return Folded(base, self._kept, [axis for axis in self._axes if axis not in flat], flat)

    def sources(self, index=slice(None)):
        """The sources themselves, shape (n_sources, n_features), periodic coordinates wrapped, or those at an index."""
        kept = self._base.sources(index)
        if not self._flat:
            return kept
        sources = np.empty((kept.shape[0], self._d))
        sources[:, self._kept] = kept
        for axis, x in self._flat:
            sources[:, axis.feature] = x[index]
        return sources

    def draw(self, index, rng):
        """A sample of the kernel of each source of an index, shape (n_samples, n_features)."""
        drawn = np.empty((len(index), self._d))
        drawn[:, self._kept] = self._base.draw(index, rng)
        for axis, _ in self._flat:
            drawn[:, axis.feature] = axis.low + rng.random(len(index)) * (axis.high - axis.low)
        return self.fold(drawn)

    def fold(self, X):
        """Points within the bounds of which others, anywhere, are images."""
        X = X.copy()
        for axis in self._axes:
            X[:, axis.feature] = axis.fold(X[:, axis.feature])
        return X

    def plan(self, X, rtol=0.0, *, n_threads=None):
        """The plan for the queries, of which each is one target and has others, its images."""
        X = self._folded(X[self._inside(X)])[:, self._kept]
        if not X.size:
            reason = "no query is within the bounds" if X.shape[1] else "the density is uniform to rounding"
            return Plan("direct", reason, 0.0, {"direct": 0.0})
        Y, first = self._nearest(X)
        plan = self._base.plan(Y, _OF_SUMS * rtol, n_threads=n_threads)
        # as if every sum were a hundredth of the largest that it could be
        logs = self._log_peak - 0.5 * self._r2(Y).sum(axis=1) - math.log(100.0)
        n = sum(len(others) for _, _, others, _ in self._others(X, first, logs, rtol))
        factor = 1.0 + n / len(X)
        return replace(
            plan, reason=f"{plan.reason}; for {len(X):,} queries within the bounds and some {n:,} images of them",
            seconds=plan.seconds * factor, costs={name: cost * factor for name, cost in plan.costs.items()},
        )

    def log_density(self, X, *, rtol=0.0, n_threads=None):
        """The log density at every row of `X`, shape (n_targets,); minus infinity outside the bounds."""
        out, inside = np.full(X.shape[0], -np.inf), self._inside(X)
        if inside.any():
            X = self._folded(X if inside.all() else X[inside])[:, self._kept]
            Y, first = self._nearest(X)
            logs = self._base.log_density(Y, rtol=_OF_SUMS * rtol, n_threads=n_threads)
            for rows, query, others, _ in self._others(X, first, logs, rtol):
                more = self._base.log_density(others, rtol=_OF_SUMS * rtol, n_threads=n_threads)
                logs[rows] = _added(logs[rows], query, more)
            out[inside] = self._log_flat + logs
        return out

    def log_density_and_gradient(self, X, *, rtol=0.0, n_threads=None):
        """The same, and the gradient of it, shape (n_targets, n_features), which outside the bounds is not a number."""
        out, gradient = np.full(X.shape[0], -np.inf), np.full(X.shape, np.nan)
        inside = self._inside(X)
        if inside.any():
            X = self._folded(X if inside.all() else X[inside])[:, self._kept]
            Y, first = self._nearest(X)
            logs, slopes = self._base.log_density_and_gradient(Y, rtol=_OF_SUMS * rtol, n_threads=n_threads)
            for rows, query, others, signs in self._others(X, first, logs, rtol):
                more, further = self._base.log_density_and_gradient(
                    others, rtol=_OF_SUMS * rtol, n_threads=n_threads
                )
                total = _added(logs[rows], query, more)
                # gradients of logarithms are averaged by what the images add to the density
                known = np.where(total > -np.inf, total, np.inf)
                part = slopes[rows] * np.exp(logs[rows] - known)[:, np.newaxis]
                np.add.at(part, query, further * signs * np.exp(more - known[query])[:, np.newaxis])
                slopes[rows] = np.where(known[:, np.newaxis] < np.inf, part, slopes[rows])
                logs[rows] = total
            out[inside] = self._log_flat + logs
            inner = np.zeros((len(X), self._d))
            inner[:, self._kept] = slopes
            gradient[inside] = inner
        return out, gradient

    def leave_one_out(self, *, rtol=0.0, n_threads=None):
        """The log density at every source, without that source and all its images; the weights stay as they are."""
        logs, X = self._base.leave_one_out(rtol=_OF_SUMS * rtol, n_threads=n_threads), self._base.sources()
        first = np.zeros((X.shape[0], len(self._images)), dtype=np.intp)
        for rows, query, others, _ in self._others(X, first, logs, rtol):
            more = self._base.log_density_without(rows[query], others, rtol=_OF_SUMS * rtol, n_threads=n_threads)
            logs[rows] = _added(logs[rows], query, more)
        return self._log_flat + logs

    def _inside(self, X):
        inside = np.ones(X.shape[0], dtype=bool)
        for axis in self._axes:
            if axis.boundary == "reflect":
                inside &= axis.inside(X[:, axis.feature])
        return inside

    def _folded(self, X):
        """Queries, or sources, with periodic coordinates wrapped; `X` itself where there is nothing to do."""
        for axis in self._axes:
            if axis.boundary == "periodic":
                x = X[:, axis.feature]
                wrapped = axis.fold(x.astype(np.float64, copy=False))
                if wrapped is not x and (wrapped != x).any():
                    X = np.array(X, dtype=np.float64)
                    X[:, axis.feature] = wrapped
        return X

    def _r2(self, X):
        """Squared distances from the sources' box along each feature, in bandwidths; rounded down."""
        return np.stack([self._r2_of(j, x) for j, x in enumerate(X.T)], axis=1)

    def _r2_of(self, j, x):
        with np.errstate(over="ignore"):
            return (_outside(x, self._low[j], self._high[j]) * self._inv_bandwidth[j]) ** 2 * (1.0 - 1e-14)

    def _nearest(self, X):
        """The images of queries nearest to the sources' box, and which of the axes' images those are.

        A reflected image is farther from every source than the query is, so this is about periods.
        """
        first = np.zeros((X.shape[0], len(self._images)), dtype=np.intp)
        Y = X
        for k, images in enumerate(self._images):
            j = images.column
            if images.axis.boundary == "periodic" and _outside(X[:, j], self._low[j], self._high[j]).any():
                at = images.at(X[:, j].astype(np.float64, copy=False), [0, -1, 1])
                first[:, k] = np.argmin(_outside(at, self._low[j], self._high[j]), axis=1)
                if first[:, k].any():
                    Y = np.array(Y, dtype=np.float64)
                    Y[:, j] = at[np.arange(len(at)), first[:, k]]
        return Y, first

    def _others(self, X, first, logs, rtol):
        """The images that count beside the first ones, block by block of queries.

        Parameters
        ----------
        X : ndarray, shape (n_targets, n_kept)
        first : ndarray of int, shape (n_targets, n_axes)
            The images of which the sums are known.
        logs : ndarray, shape (n_targets,)
            Their logarithms.
        rtol : float

        Yields
        ------
        rows : ndarray of int
            The queries of a block.
        query : ndarray of int, shape (n_others,)
            Whose images these are, counted in the block.
        others : ndarray, shape (n_others, n_kept)
        signs : ndarray, shape (n_others, n_kept)
            The derivatives of each coordinate of an image by that of the query.
        """
        if not self._images:
            return
        share = max(_OF_IMAGES * min(rtol, 1.0) / len(self._images), _ROUNDING)
        cells = [images.cells(share) for images in self._images]
        n_cells = math.prod(map(len, cells))
        # images whose bounds are so far below the sum may be left out, all of them
        with np.errstate(invalid="ignore", over="ignore"):
            limits = 2.0 * (self._log_peak - logs + math.log(n_cells / share))
        some = np.flatnonzero(self._has_others(X, limits) | first.any(axis=1))
        size = max(1, _MOST_IMAGES // n_cells)
        for start in range(0, some.size, size):
            rows = some[start : start + size]
            query, others, signs = self._others_of(X[rows].astype(np.float64), first[rows], limits[rows], cells)
            if len(query):
                yield rows, query, others, signs

    def _has_others(self, X, limits):
        """Whether an image in a neighbouring cell can be near enough; those beyond are farther from the box."""
        near = np.zeros(X.shape[0], dtype=bool)
        for images in self._images:
            x = X[:, images.column].astype(np.float64, copy=False)
            for c in images.cells(1.0)[1:]:
                if abs(c) == 1:
                    near |= self._r2_of(images.column, images.at(x, [c])[:, 0]) <= limits
        return near

    def _others_of(self, X, first, limits, cells):
        """Combinations of the axes' images, axis by axis, as long as they can still be near enough."""
        at = [images.at(X[:, images.column], c) for images, c in zip(self._images, cells)]
        far = [self._r2_of(images.column, y) for images, y in zip(self._images, at)]
        # what the axes to come add at least
        rest = np.cumsum([np.zeros(X.shape[0])] + [f.min(axis=1) for f in far[:0:-1]], axis=0)[::-1]
        r2 = np.delete(self._r2(X), [images.column for images in self._images], axis=1).sum(axis=1)
        query, chosen = np.arange(X.shape[0]), np.empty((X.shape[0], 0), dtype=np.intp)
        for f, least in zip(far, rest):
            combined = r2[:, np.newaxis] + f[query]
            within = combined + least[query, np.newaxis] <= limits[query, np.newaxis]
            row, which = np.nonzero(within & (combined < np.inf))
            query, chosen, r2 = query[row], np.column_stack([chosen[row], which]), combined[row, which]
        other = (chosen != first[query]).any(axis=1)
        query, chosen = query[other], chosen[other]
        others, signs = X[query], np.ones((len(query), X.shape[1]))
        for k, images in enumerate(self._images):
            others[:, images.column] = at[k][query, chosen[:, k]]
            signs[:, images.column] = images.signs(cells[k])[chosen[:, k]]
        return query, others, signs


class _Nothing:
    """The sum that is left when every axis is uniform: one in no features."""

    def __init__(self, log_weights):
        self._weights = np.exp(log_weights)

    def sources(self, index=slice(None)):
        return np.empty((len(self._weights[index]), 0))

    def draw(self, index, rng):
        return np.empty((len(index), 0))

    def log_density(self, X, *, rtol=0.0, n_threads=None):
        return np.zeros(X.shape[0])

    def log_density_and_gradient(self, X, *, rtol=0.0, n_threads=None):
        return np.zeros(X.shape[0]), np.zeros(X.shape)

    def leave_one_out(self, *, rtol=0.0, n_threads=None):
        with np.errstate(divide="ignore"):
            return np.log1p(-self._weights)


def _period(axis):
    """Of the images of an axis."""
    return (axis.high - axis.low) * (1.0 if axis.boundary == "periodic" else 2.0)


def _outside(x, low, high):
    """How far coordinates are outside an interval."""
    return np.maximum(np.maximum(low - x, x - high), 0.0)


def _added(logs, query, more):
    """Logarithms of sums with further terms, given by their logarithms, of those queries."""
    largest = logs.copy()
    np.maximum.at(largest, query, more)
    largest = np.maximum(largest, -np.finfo(np.float64).max)
    with np.errstate(divide="ignore"):
        return largest + np.log(
            np.exp(logs - largest) + np.bincount(query, np.exp(more - largest[query]), minlength=len(logs))
        )
