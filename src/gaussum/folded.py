"""Distributions on reflected and periodic axes: the probability of a box is that of all its images.

A kernel that is reflected, or wrapped around a period, adds up over the images of a point (see gaussum.images), and so
does its integral over those of a box: products of intervals, one of the images of each axis.

On a periodic axis an interval that leaves the period at one end comes in at the other, and one as long as the period is
all of it. An infinite end stands for that of the period: the distribution function begins at its lower bound.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy.special import logsumexp

from gaussum.distribution import HasBoxes
from gaussum.tails import Tails
from gaussum.typing import FloatArray, IndexArray, MaskArray

# Images whose bound is so far below the largest of their box, in nats, add nothing.
_NOTHING = 45.0
_LISTED = 1 << 16


class Axis(Protocol):
    """A bounded feature, as gaussum.support.Axis."""

    @property
    def feature(self) -> int:
        """Which."""

    @property
    def low(self) -> float:
        """Minus infinity where there is no bound."""

    @property
    def high(self) -> float:
        """Infinity where there is no bound."""

    @property
    def boundary(self) -> str:
        """The kind: "reflect" or "periodic"."""

    def fold(self, x: FloatArray) -> FloatArray:
        """The values within the bounds of which given ones are images."""

    def inside(self, x: FloatArray) -> MaskArray:
        """Which values lie within the bounds."""


class Folded:
    """The distribution of kernels with images.

    Parameters
    ----------
    base : the distribution without images, or None
        Of the features that are not uniform.
    kept : ndarray of int
        Those features.
    folded : sequence of gaussum.support.Axis
        On which kernels have images.
    uniform : sequence of gaussum.support.Axis
        Those that are uniform.
    """

    def __init__(
        self, base: HasBoxes | None, kept: IndexArray, folded: Sequence[Axis], uniform: Sequence[Axis]
    ) -> None:
        self._base, self._kept, self._folded, self._uniform = base, kept, folded, uniform

    @property
    def line(self) -> Tails:
        """The distribution of one feature."""
        axis = [*self._folded, *self._uniform][0]
        return FoldedLine(self, axis, self._base.line if self._base is not None else None)

    def log_bound(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """What the logarithms of the probabilities of boxes come to at most: of images nothing is said."""
        return np.zeros(low.shape[0])

    def n_images(self, column: int, length: float) -> int:
        """None: what has images is no image."""
        return 0

    def log_boxes(self, low: FloatArray, high: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of the probability of every box, shape (n_boxes,); see gaussum.distribution.Distribution."""
        out = np.zeros(len(low))
        for axis in self._uniform:
            pieces = _pieces(axis, low[:, axis.feature], high[:, axis.feature])
            with np.errstate(divide="ignore"):
                out += np.log(np.minimum(sum(b - a for a, b in pieces) / (axis.high - axis.low), 1.0))
        if self._base is None:
            return out
        columns = [int(np.searchsorted(self._kept, axis.feature)) for axis in self._folded]
        ends = [
            _ends_of_images(axis, self._base.n_images(column, axis.high - axis.low), *(
                end[:, axis.feature] for end in (low, high)
            )) for axis, column in zip(self._folded, columns)
        ]
        which = np.array(list(itertools.product(*(range(first.shape[1]) for first, _ in ends))), dtype=np.intp)
        size = max(1, _LISTED // len(which))
        for start in range(0, len(low), size):
            rows = slice(start, start + size)
            first_ends, last_ends = (
                np.repeat(end[rows, np.newaxis, self._kept], len(which), axis=1) for end in (low, high)
            )
            for (first, last), column, image in zip(ends, columns, which.T):
                first_ends[:, :, column], last_ends[:, :, column] = first[rows, image], last[rows, image]
            out[rows] += self._added(first_ends, last_ends, n_threads)
        return np.minimum(out, 0.0)

    def _added(self, low: FloatArray, high: FloatArray, n_threads: int | None) -> FloatArray:
        """The logarithms of what boxes come to together, shape (n_boxes, n_images, n_kept); some may be empty."""
        assert self._base is not None
        shape, d = low.shape[:2], low.shape[2]
        low, high = low.reshape(-1, d), high.reshape(-1, d)
        with np.errstate(invalid="ignore"):
            bound = np.where((low < high).all(axis=1), self._base.log_bound(low, high), -np.inf).reshape(shape)
        logs = np.full(shape, -np.inf)
        best = np.arange(shape[0]), bound.argmax(axis=1)
        wanted = np.zeros(shape, dtype=bool)
        wanted[best] = bound[best] > -np.inf
        for _ in range(2):
            some = np.flatnonzero(wanted)
            if some.size:
                logs.flat[some] = self._base.log_boxes(low[some], high[some], n_threads)
            # the others by what the best comes to
            wanted = (bound > -np.inf) & ~wanted & (bound > logs[best][:, np.newaxis] - _NOTHING)
        total: FloatArray = logsumexp(logs, axis=1)
        return total


class FoldedLine(Tails):
    """The distribution of one feature whose kernels have images.

    Parameters
    ----------
    folded : Folded
    axis : gaussum.support.Axis
    base : the line without images, or None where the density is uniform
    """

    def __init__(self, folded: Folded, axis: Axis, base: Tails | None) -> None:
        self._folded, self._base = folded, base
        self.support = axis.low, axis.high
        self.x = np.array([axis.low, axis.high]) if base is None else base.x
        self.groups = [(self.x, axis.high - axis.low, axis.high - axis.low)] if base is None else base.groups
        if axis.boundary == "periodic" and base is not None:
            # what leaves at one end comes in at the other
            shifts = (axis.high - axis.low) * np.array([[-1.0], [0.0], [1.0]])
            self.groups = [((x + shifts).ravel(), narrowest, widest) for x, narrowest, widest in base.groups]

    def log_intervals(self, low: FloatArray, high: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of the probability of every interval; see Tails."""
        return self._folded.log_boxes(low[:, np.newaxis], high[:, np.newaxis], n_threads)

    def _ends(self, log_q: FloatArray, upper: MaskArray) -> tuple[FloatArray, FloatArray]:
        """The bounds; towards an open end a tail is at most twice that without images."""
        low, high = super()._ends(log_q, upper)
        for side, end in ((False, low), (True, high)):
            if self._base is not None and math.isinf(self.support[side]):
                log_tail = np.where(upper == side, log_q, -math.log(2.0)) - math.log(2.0)
                end[:] = self._base._ends(log_tail, np.full(log_q.size, side))[side]
        return low, high


def _pieces(axis: Axis, low: FloatArray, high: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """The parts of intervals within the bounds of an axis; empty ones end where they begin."""
    if axis.boundary != "periodic":
        low, high = np.maximum(low, axis.low), np.minimum(high, axis.high)
        return [(np.where(low < high, low, axis.high), np.where(low < high, high, axis.high))]
    low, high = np.where(low == -np.inf, axis.low, low), np.where(high == np.inf, axis.high, high)
    nothing = ~(low < high)
    low, high = np.where(nothing, axis.low, low), np.where(nothing, axis.low, high)
    with np.errstate(over="ignore"):
        whole = high - low >= axis.high - axis.low
    a = np.where(whole, axis.low, axis.fold(low))
    b = np.where((high > axis.low) & (high <= axis.high), high, axis.fold(high))
    b = np.where(whole | (b == axis.low) & ~nothing, axis.high, b)
    over = b < a                            # comes in at the other end
    return [(a, np.where(over, axis.high, b)), (np.full_like(a, axis.low), np.where(over, b, axis.low))]


def _ends_of_images(axis: Axis, last: int, low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The ends of the images of intervals on one axis in so many cells on either side, each of shape (n, n_images)."""
    firsts, lasts = [], []
    for a, b in _pieces(axis, low, high):
        ends = np.sort(np.stack([images_of(axis, last, a), images_of(axis, last, b)]), axis=0)
        # the images of all of it are the whole line
        whole = (a <= axis.low) & (b >= axis.high)
        ends[:, whole] = np.inf
        ends[0, whole, 0] = -np.inf
        firsts.append(ends[0])
        lasts.append(ends[1])
    return np.concatenate(firsts, axis=1), np.concatenate(lasts, axis=1)


def images_of(axis: Axis, last: int, x: FloatArray) -> FloatArray:
    """The images of coordinates within the bounds, shape (n, n_images), the coordinates themselves first."""
    length, at = axis.high - axis.low, [x]
    if math.isinf(length):
        bound = axis.high if math.isinf(axis.low) else axis.low
        return np.stack([x, bound + (bound - x)], axis=1)
    # differences to the bound that is near, before any shift
    low_side, high_side = axis.low + (axis.low - x), axis.high + (axis.high - x)
    for k in range(1, last + 1):
        shift = (k - 1) * length
        if axis.boundary == "periodic" or k % 2 == 0:
            at += [x - k * length, x + k * length]
        else:
            at += [low_side - shift, high_side + shift]
    return np.stack(at, axis=1)
