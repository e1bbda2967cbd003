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

f0 may be of Gaussians that differ in width, of which the widest decides, of other kernels, or of kernels of one
covariance matrix: a reflection then reflects the matrix too, as the kernel's image has covariances of the other sign.
The exponential kernel in several features, and matrices on axes with one bound and with two, have no such period: there
the second bound decides alone, for 4096 images a side at most (1024 on each of two such axes), which is all of them up
to some 1e4 bandwidths from the sources.

Where the bandwidth is wide against the period, the sum over all images of Gaussians is uniform to rounding (Poisson's
summation formula), and the axis is left out of f0 altogether.

Reflection: Schuster, Communications in Statistics 14, 1985, 1123; Silverman, Density Estimation, 1986, section 2.10.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from gaussum.decay import ExponentialDecay
from gaussum.folded import Folded
from gaussum.image_axes import MOST_CELLS, Axis, Boxes, Images, Nothing, Place, added, flat_axes, period
from gaussum.plans import FreeSum, Make, Plan
from gaussum.typing import FloatArray, IndexArray, MaskArray, SampleArray

# Shares of rtol: of the sums themselves, and of each of the two ways to leave out images.
_OF_SUMS = 0.9
_OF_IMAGES = 0.04
_ROUNDING = 2.0**-54
# Images looked at together.
_MOST_IMAGES = 1 << 22
# What those left out may come to together, in units of the largest.
_TOGETHER = 1e4


# Blocks of queries, their limits, and the cells of the images.
Blocks: TypeAlias = Iterator[tuple[IndexArray, FloatArray, list[list[int]]]]


class ImageSum:
    """A sum of kernels that are reflected, or periodic, along some axes.

    Parameters
    ----------
    axes : list of gaussum.support.Axis
    make : callable
        ``make(X, log_weights, h)`` is the sum without images.
    X : ndarray, shape (n_sources, n_features)
    log_weights : ndarray of float64, shape (n_sources,)
    h : ndarray of float64, shape (n_features,) or (n_features, n_features)
        Bandwidths, or a covariance matrix.
    narrowest : float
        The least factor of the bandwidth that a source has; 0 where kernels have no sum that is uniform.

    Attributes
    ----------
    factors : ndarray of float64, shape (n_sources,), or None
        Of the bandwidths at the sources, where whoever made `make` says so.
    """

    def __init__(
        self, axes: list[Axis], make: Make, X: SampleArray, log_weights: FloatArray, h: FloatArray,
        narrowest: float = 1.0,
    ) -> None:
        self._axes, self._d = axes, X.shape[1]
        self.factors: FloatArray | None = None
        X = self._folded(X)
        flat = flat_axes(axes, h, narrowest)
        self._flat = [(axis, X[:, axis.feature].astype(np.float64)) for axis in flat]
        self._log_flat = -sum(math.log(axis.high - axis.low) for axis in flat)
        self._kept = np.setdiff1d(np.arange(self._d), [axis.feature for axis in flat])
        self._images = [
            Images(axis, int(np.searchsorted(self._kept, axis.feature))) for axis in axes if axis not in flat
        ]
        X, h = X[:, self._kept], h[self._kept] if h.ndim == 1 else h[np.ix_(self._kept, self._kept)]
        self._base: FreeSum = make(X, log_weights, h) if len(h) else Nothing(log_weights)
        self._boxes = Boxes(X, h, [images.column for images in self._images])
        two_sided = [images.two_sided for images in self._images]
        self._leans = self._boxes.leans and any(two_sided)
        # whether the period says nothing
        self._by_distance = any(two_sided) and (
            self._leans and not all(two_sided)
            or isinstance(self._base.decay, ExponentialDecay) and (len(h) > 1 or self._leans)
        )
        if not self._by_distance:
            self._cells(_ROUNDING)          # refuses too many

    def distribution(self) -> Folded:
        """The distribution functions of this density, a gaussum.folded.Folded."""
        base = self._base.distribution() if len(self._kept) else None
        flat = [axis for axis, _ in self._flat]
        return Folded(base, self._kept, [axis for axis in self._axes if axis not in flat], flat)

    def sources(self, index: IndexArray | slice = slice(None)) -> FloatArray:
        """The sources themselves, shape (n_sources, n_features), periodic coordinates wrapped, or those at an index."""
        kept = self._base.sources(index)
        if not self._flat:
            return kept
        sources = np.empty((kept.shape[0], self._d))
        sources[:, self._kept] = kept
        for axis, x in self._flat:
            sources[:, axis.feature] = x[index]
        return sources

    def draw(self, index: IndexArray, rng: np.random.Generator) -> FloatArray:
        """A sample of the kernel of each source of an index, shape (n_samples, n_features)."""
        drawn = np.empty((len(index), self._d))
        drawn[:, self._kept] = self._base.draw(index, rng)
        for axis, _ in self._flat:
            drawn[:, axis.feature] = axis.low + rng.random(len(index)) * (axis.high - axis.low)
        return self.fold(drawn)

    def fold(self, X: FloatArray) -> FloatArray:
        """Points within the bounds of which others, anywhere, are images."""
        X = X.copy()
        for axis in self._axes:
            X[:, axis.feature] = axis.fold(X[:, axis.feature])
        return X

    def plan(self, X: SampleArray, rtol: float = 0.0, *, n_threads: int | None = None) -> Plan:
        """The plan for the queries, of which each is one target and has others, its images."""
        X = self._folded(X[self._inside(X)])[:, self._kept]
        if not X.size:
            reason = "no query is within the bounds" if X.shape[1] else "the density is uniform to rounding"
            return Plan("direct", reason, 0.0, {"direct": 0.0})
        Y, place = self._nearest(X)
        plan = self._base.plan(Y, _OF_SUMS * rtol, n_threads=n_threads)
        # as if every sum were a hundredth of the largest that it could be
        logs = self._base.decay.log_most(self._boxes.r2(Y).sum(axis=1)) - math.log(100.0)
        n = sum(len(others) for _, _, others, _ in self._others(X, place, logs, rtol))
        factor = 1.0 + n / len(X)
        return replace(
            plan, reason=f"{plan.reason}; for {len(X):,} queries within the bounds and some {n:,} images of them",
            seconds=plan.seconds * factor, costs={name: cost * factor for name, cost in plan.costs.items()},
        )

    def log_density(self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """The log density at every row of `X`, shape (n_targets,); minus infinity outside the bounds."""
        out, inside = np.full(X.shape[0], -np.inf), self._inside(X)
        if inside.any():
            X = self._folded(X if inside.all() else X[inside])[:, self._kept]
            Y, place = self._nearest(X)
            logs = self._base.log_density(Y, rtol=_OF_SUMS * rtol, n_threads=n_threads)
            for rows, query, others, _ in self._others(X, place, logs, rtol):
                more = self._base.log_density(others, rtol=_OF_SUMS * rtol, n_threads=n_threads)
                logs[rows] = added(logs[rows], query, more)
            out[inside] = self._log_flat + logs
        return out

    def log_density_and_gradient(
        self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """The same, and the gradient of it, shape (n_targets, n_features), which outside the bounds is not a number."""
        if not hasattr(self._base, "log_density_and_gradient"):
            raise ValueError("a bounded density has gradients here where its kernels are Gaussians of one width")
        out, gradient = np.full(X.shape[0], -np.inf), np.full(X.shape, np.nan)
        inside = self._inside(X)
        if inside.any():
            X = self._folded(X if inside.all() else X[inside])[:, self._kept]
            Y, place = self._nearest(X)
            logs, slopes = self._base.log_density_and_gradient(Y, rtol=_OF_SUMS * rtol, n_threads=n_threads)
            for rows, query, others, signs in self._others(X, place, logs, rtol):
                more, further = self._base.log_density_and_gradient(
                    others, rtol=_OF_SUMS * rtol, n_threads=n_threads
                )
                total = added(logs[rows], query, more)
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

    def leave_one_out(self, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """The log density at every source, without that source and all its images; the weights stay as they are."""
        logs, X = self._base.leave_one_out(rtol=_OF_SUMS * rtol, n_threads=n_threads), self._base.sources()
        for rows, query, others, _ in self._others(X, Place(len(X), len(self._images)), logs, rtol):
            more = self._base.log_density_without(rows[query], others, rtol=_OF_SUMS * rtol, n_threads=n_threads)
            logs[rows] = added(logs[rows], query, more)
        return self._log_flat + logs

    def _inside(self, X: SampleArray) -> MaskArray:
        inside = np.ones(X.shape[0], dtype=bool)
        for axis in self._axes:
            if axis.boundary == "reflect":
                inside &= axis.inside(X[:, axis.feature])
        return inside

    def _folded(self, X: SampleArray) -> SampleArray:
        """Queries, or sources, with periodic coordinates wrapped; `X` itself where there is nothing to do."""
        for axis in self._axes:
            if axis.boundary == "periodic":
                x = X[:, axis.feature]
                wrapped = axis.fold(x.astype(np.float64, copy=False))
                if wrapped is not x and (wrapped != x).any():
                    X = np.array(X, dtype=np.float64)
                    X[:, axis.feature] = wrapped
        return X

    def _nearest(self, X: SampleArray) -> tuple[SampleArray, Place]:
        """The images of queries nearest to the sources' box, and which of the axes' images those are.

        A reflected image is farther from every source than the query is, so this is about periods; but under a matrix
        it is the coordinates less what they lean by that are near or far.
        """
        place = Place(len(X), len(self._images))
        Y = X
        lean = self._boxes.lean(X) if self._leans else None
        if lean is not None:
            Y = np.array(X, dtype=np.float64)
            for k, images in enumerate(self._images):
                if images.two_sided:
                    j, step = images.column, period(images.axis)
                    middle = 0.5 * self._boxes.low[j] + 0.5 * self._boxes.high[j]
                    place.offset[:, k] = step * np.rint((middle + lean[:, k] - X[:, j]) / step)
                    Y[:, j] += place.offset[:, k]
            return Y, place
        for k, images in enumerate(self._images):
            j = images.column
            if images.axis.boundary == "periodic" and self._boxes.outside(j, X[:, j]).any():
                at = images.at(X[:, j].astype(np.float64, copy=False), [0, -1, 1])
                place.first[:, k] = np.argmin(self._boxes.outside(j, at), axis=1)
                if place.first[:, k].any():
                    Y = np.array(Y, dtype=np.float64)
                    Y[:, j] = at[np.arange(len(at)), place.first[:, k]]
        return Y, place

    def _cells(self, share: float, reach: float | None = None) -> list[list[int]]:
        """The cells on each axis whose images count; with a reach, those that are no farther from the box, so far."""
        boxes, decay, most = self._boxes, self._base.decay, None
        if reach is None and not self._leans:
            return [
                images.cells(share, decay, boxes.width(images.column)) if images.two_sided else images.near(1)
                for images in self._images
            ]
        if reach is None:
            # a source's nearest image is within half a period on every axis
            nearest2 = boxes.nearest2(np.array([0.5 * period(images.axis) for images in self._images]))
            reach = decay.reach(share / _TOGETHER, nearest2)
        else:
            most = min(MOST_CELLS, int(0.5 * _MOST_IMAGES ** (1.0 / len(self._images))))
        cells = []
        for images in self._images:
            j = images.column
            far = float(boxes.high[j] - boxes.low[j]) + 0.5 * period(images.axis) + boxes.width(j) * reach
            cells.append(images.within(far, most) if images.two_sided else images.near(1))
        return cells

    def _others(
        self, X: SampleArray, place: Place, logs: FloatArray, rtol: float
    ) -> Iterator[tuple[IndexArray, IndexArray, FloatArray, FloatArray]]:
        """The images that count beside the first ones, block by block of queries.

        Parameters
        ----------
        X : ndarray, shape (n_targets, n_kept)
        place : Place
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
        blocks = self._by_reach(logs, share) if self._by_distance else self._by_period(X, place, logs, share)
        for rows, limits, cells in blocks:
            query, others, signs = self._others_of(X[rows].astype(np.float64), place.of(rows), limits, cells)
            if len(query):
                yield rows, query, others, signs

    def _limits(self, logs: FloatArray, n_cells: float, share: float) -> FloatArray:
        """r^2 from which on all of so many images may be left out."""
        with np.errstate(invalid="ignore", over="ignore"):
            return self._base.decay.limits(self._base.decay.log_peak - logs + np.log(n_cells / share))

    def _by_period(self, X: SampleArray, place: Place, logs: FloatArray, share: float) -> Blocks:
        """Blocks of the queries with images that count: which, their limits, and the cells of the images."""
        cells = self._cells(share)
        n_cells = math.prod(map(len, cells))
        limits = self._limits(logs, n_cells, share)
        some = np.arange(len(X))
        if not self._leans:
            some = np.flatnonzero(self._has_others(X, limits) | place.first.any(axis=1))
        size = max(1, _MOST_IMAGES // n_cells)
        for start in range(0, some.size, size):
            rows = some[start : start + size]
            yield rows, limits[rows], cells

    def _by_reach(self, logs: FloatArray, share: float) -> Blocks:
        """The same where it is the limits that say how many cells there are."""
        limits = self._limits(logs, _TOGETHER, share)
        # where there is no limit, there is no sum that images could be told against
        order = np.argsort(limits, kind="stable")[: np.count_nonzero(limits < np.inf)]
        start = 0
        while start < len(order):
            size = len(order) - start
            while True:
                rows = order[start : start + size]
                reach = math.sqrt(limits[rows[-1]])
                n_cells = math.prod(map(len, self._cells(share, reach)))
                if size == 1 or size * n_cells <= _MOST_IMAGES:
                    break
                size = max(1, min(size // 2, _MOST_IMAGES // n_cells))
            block = self._limits(logs[rows], max(n_cells, _TOGETHER), share)
            yield rows, block, self._cells(share, math.sqrt(block.max()))
            start += size

    def _has_others(self, X: SampleArray, limits: FloatArray) -> MaskArray:
        """Whether an image in a neighbouring cell can be near enough; those beyond are farther from the box."""
        near, lean = np.zeros(X.shape[0], dtype=bool), self._boxes.lean(X)
        for k, images in enumerate(self._images):
            x = X[:, images.column].astype(np.float64, copy=False)
            for c in images.near(1)[1:]:
                y = images.at(x, [c])[:, 0]
                near |= self._boxes.r2_of(images.column, y if lean is None else y - lean[:, k]) <= limits
        return near

    def _others_of(
        self, X: FloatArray, place: Place, limits: FloatArray, cells: list[list[int]]
    ) -> tuple[IndexArray, FloatArray, FloatArray]:
        """Combinations of the axes' images, axis by axis, as long as they can still be near enough."""
        at = [
            images.at(X[:, images.column], c) + place.offset[:, k, np.newaxis]
            for k, (images, c) in enumerate(zip(self._images, cells))
        ]
        lean = self._boxes.lean(X)
        far = [
            self._boxes.r2_of(images.column, y if lean is None else y - lean[:, k, np.newaxis])
            for k, (images, y) in enumerate(zip(self._images, at))
        ]
        # what the axes to come add at least
        rest = np.cumsum([np.zeros(X.shape[0])] + [f.min(axis=1) for f in far[:0:-1]], axis=0)[::-1]
        r2 = np.delete(self._boxes.r2(X), [images.column for images in self._images], axis=1).sum(axis=1)
        query, chosen = np.arange(X.shape[0]), np.empty((X.shape[0], 0), dtype=np.intp)
        for f, least in zip(far, rest):
            combined = r2[:, np.newaxis] + f[query]
            within = combined + least[query, np.newaxis] <= limits[query, np.newaxis]
            row, which = np.nonzero(within & (combined < np.inf))
            query, chosen, r2 = query[row], np.column_stack([chosen[row], which]), combined[row, which]
        other = (chosen != place.first[query]).any(axis=1)
        query, chosen = query[other], chosen[other]
        others, signs = X[query], np.ones((len(query), X.shape[1]))
        for k, images in enumerate(self._images):
            others[:, images.column] = at[k][query, chosen[:, k]]
            signs[:, images.column] = images.signs(cells[k])[chosen[:, k]]
        return query, others, signs
