"""The images of coordinates on reflected and periodic axes, and how far they are from the sources at least."""

import math
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from gaussum.decay import Decay, GaussianDecay
from gaussum.plans import Plan
from gaussum.spread import log_weight_of_others
from gaussum.typing import FloatArray, IndexArray, MaskArray, SampleArray

# Cells beside that of a query whose images are looked at.
MOST_CELLS = 4096
# In periods: from here on 2 exp(-2 pi^2 h^2) is below rounding.
_UNIFORM = 1.4
# Distances from boxes are rounded down by so much; those under a matrix have lost more.
_ROUNDING, _MATRIX_ROUNDING = 1e-14, 1e-6


@dataclass(frozen=True)
class Axis:
    """A bounded feature.

    Attributes
    ----------
    feature : int
    low, high : float
        Infinite where there is no bound.
    boundary : {"reflect", "linear", "periodic"}
    """

    feature: int
    low: float
    high: float
    boundary: str

    def inside(self, x: SampleArray) -> MaskArray:
        """Which values lie within the bounds, compared in their own precision."""
        with np.errstate(over="ignore"):
            return (x >= x.dtype.type(self.low)) & (x <= x.dtype.type(self.high))

    def fold(self, x: FloatArray) -> FloatArray:
        """The values within the bounds of which given ones are images."""
        low, high = self.low, self.high
        if self.boundary == "periodic":
            return wrapped(x, low, high)
        if not math.isinf(low) and not math.isinf(high):
            x = wrapped(x, low, high + (high - low))
            return np.clip(np.where(x > high, high + (high - x), x), low, high)
        return np.where(x < low, low + (low - x), np.where(x > high, high + (high - x), x))


def wrapped(x: FloatArray, low: float, high: float) -> FloatArray:
    """Values brought into [low, high) by whole periods; those that are within the bounds stay what they are."""
    period = high - low
    outside = (x < low) | (x >= high)
    if not outside.any():
        return x
    # remainders are exact, and none of these overflows
    return np.where(outside, low + np.mod(np.mod(x, period) - np.mod(low, period), period), x)


def period(axis: Axis) -> float:
    """Of the images of an axis."""
    return (axis.high - axis.low) * (1.0 if axis.boundary == "periodic" else 2.0)


class Images:
    """The images of coordinates on one axis, the coordinate itself first.

    Parameters
    ----------
    axis : Axis
        With the boundary "reflect" or "periodic".
    column : int
        Where its feature is among those of the sum.
    """

    def __init__(self, axis: Axis, column: int) -> None:
        self.axis, self.column = axis, column
        self.two_sided = not (math.isinf(axis.low) or math.isinf(axis.high))

    def cells(self, share: float, decay: Decay, h: float) -> list[int]:
        """The cells, as wide as the support, whose images count; the others come to `share` of the sum at most.

        Both a query and a source are in cell 0. A periodic image in cell c is at least (|c| - 1) L from the source and
        the nearest one at most L / 2; a reflected one at least (|c| - 1) L, and the query itself at most L.
        """
        nearest, last = (0.5, 1) if self.axis.boundary == "periodic" else (1.0, 2)
        while not decay.negligible(share, last, nearest, (self.axis.high - self.axis.low) / h):
            last += 1
            if last > MOST_CELLS:
                self._refuse()
        return self.near(last)

    def within(self, reach: float, most: int | None = None) -> list[int]:
        """The cells of images within a distance of what is in cell 0, `most` a side; without, too many are refused."""
        last = 1.0 + reach / (self.axis.high - self.axis.low)
        if most is None and not last <= MOST_CELLS:
            self._refuse()
        return self.near(math.ceil(min(last, MOST_CELLS if most is None else most)))

    def near(self, last: int) -> list[int]:
        """All cells there are up to that one on either side, cell 0 first."""
        if math.isinf(self.axis.low):
            return [0, 1]
        if math.isinf(self.axis.high):
            return [0, -1]
        return [0] + [c for k in range(1, last + 1) for c in (-k, k)]

    def _refuse(self) -> None:
        axis = self.axis
        raise ValueError(
            f"bandwidth is so wide, or the sources' widths differ so much, that kernels have more than {MOST_CELLS} "
            f"images within the bounds of feature {axis.feature}, ({axis.low:g}, {axis.high:g}); expected narrower "
            "kernels, or adaptive widths that are clipped"
        )

    def signs(self, cells: list[int]) -> FloatArray:
        """The derivatives of images by the coordinate."""
        return np.array([-1.0 if self.axis.boundary == "reflect" and c % 2 else 1.0 for c in cells])

    def at(self, x: FloatArray, cells: list[int]) -> FloatArray:
        """Images, shape (n, n_cells), of coordinates within the bounds, shape (n,)."""
        return np.stack([self._at(x, c) for c in cells], axis=1)

    def _at(self, x: FloatArray, c: int) -> FloatArray:
        low, high = self.axis.low, self.axis.high
        if c == 0:
            return x
        if self.axis.boundary == "reflect" and c % 2:
            # differences to the bound that is near, before the shift
            if c < 0:
                return low + (low - x) + ((c + 1) * (high - low) if c < -1 else 0.0)
            return high + (high - x) + ((c - 1) * (high - low) if c > 1 else 0.0)
        return x + c * (high - low)


class Boxes:
    """Lower bounds of squared distances from sources, in bandwidths: those from a box around them, column by column.

    Under a covariance matrix H coordinates are split into those with images, P, and the others, F. With
    B = H_PF H_FF^-1 and C = H_PP - B H_FP,

        z' H^-1 z = z_F' H_FF^-1 z_F + (z_P - B z_F)' C^-1 (z_P - B z_F)

    and each form is at least the sum of z_j^2 / H_jj, or of those over C_jj, over the largest eigenvalue of the
    correlation matrix. The boxes of P are those of s_P - B s_F, and queries `lean` by B x_F.

    Parameters
    ----------
    X : ndarray, shape (n_sources, n_kept)
    h : ndarray of float64, shape (n_kept,) or (n_kept, n_kept)
    columns : list of int
        P.

    Attributes
    ----------
    low, high : ndarray, shape (n_kept,)
    """

    def __init__(self, X: SampleArray, h: FloatArray, columns: list[int]) -> None:
        self._rounding = 1.0 - _ROUNDING
        self._columns: IndexArray = np.array(columns, dtype=np.intp)
        self._others: IndexArray = np.setdiff1d(np.arange(X.shape[1]), columns)
        self._slope: FloatArray | None = None
        self._steepest = np.ones(len(columns))
        if h.ndim == 2:
            h = self._under_matrix(h)
            X = self._leaned(X)
        self.low: FloatArray = X.min(axis=0, initial=np.inf)
        self.high: FloatArray = X.max(axis=0, initial=-np.inf)
        self._inv_bandwidth = 1.0 / h

    @property
    def leans(self) -> bool:
        """Whether there is a matrix."""
        return self._slope is not None

    def _under_matrix(self, H: FloatArray) -> FloatArray:
        """Widths, shape (n_kept,), and what coordinates lean by."""
        P, F = self._columns, self._others
        slope = np.linalg.solve(H[np.ix_(F, F)], H[np.ix_(F, P)]).T.astype(np.float64)
        self._slope = slope
        C: FloatArray = H[np.ix_(P, P)] - slope @ H[np.ix_(F, P)]
        h, self._rounding = np.empty(len(H)), 1.0 - _MATRIX_ROUNDING
        for part, V in ((P, C), (F, H[np.ix_(F, F)])):
            scale = np.sqrt(np.diagonal(V))
            values = np.linalg.eigvalsh(V / scale / scale[:, np.newaxis]) if len(V) else np.ones(1)
            h[part] = scale * math.sqrt(values[-1])
            if part is P:
                # in the narrowest direction
                self._steepest = 1.0 / (scale * math.sqrt(max(values[0], np.finfo(np.float64).tiny)))
        return h

    def lean(self, X: SampleArray) -> FloatArray | None:
        """What the coordinates of P are to be compared with less, shape (n, n_columns), if there is a matrix."""
        if self._slope is None:
            return None
        with np.errstate(over="ignore", invalid="ignore"):
            lean: FloatArray = np.nan_to_num(X[:, self._others] @ self._slope.T)
        return lean

    def _leaned(self, X: SampleArray) -> FloatArray:
        lean = self.lean(X)
        Y: FloatArray = np.array(X, dtype=np.float64)
        if lean is not None:
            Y[:, self._columns] -= lean
        return Y

    def width(self, j: int) -> float:
        """The bandwidth by which distances on a column are divided."""
        return float(1.0 / self._inv_bandwidth[j])

    def r2(self, X: SampleArray) -> FloatArray:
        """Squared distances along each feature, shape (n, n_kept), rounded down."""
        X = X if self._slope is None else self._leaned(X)
        return np.stack([self.r2_of(j, x) for j, x in enumerate(X.T)], axis=1)

    def r2_of(self, j: int, x: SampleArray) -> FloatArray:
        """The same along one, of coordinates that lean."""
        with np.errstate(over="ignore"):
            r2: FloatArray = (self.outside(j, x) * self._inv_bandwidth[j]) ** 2 * self._rounding
        return r2

    def outside(self, j: int, x: SampleArray) -> FloatArray:
        """How far coordinates are outside the box."""
        outside: FloatArray = np.maximum(np.maximum(self.low[j] - x, x - self.high[j]), 0.0)
        return outside

    def nearest2(self, steps: FloatArray) -> float:
        """The largest z' C^-1 z of coordinates of P that are no larger than these steps."""
        return float(((steps * self._steepest) ** 2).sum())


class Place:
    """Which images of queries come first: an offset, by whole periods, and then one of the axes' first cells."""

    def __init__(self, n: int, n_axes: int) -> None:
        self.offset, self.first = np.zeros((n, n_axes)), np.zeros((n, n_axes), dtype=np.intp)

    def of(self, rows: IndexArray) -> "Place":
        """That of some queries."""
        some = Place(0, 0)
        some.offset, some.first = self.offset[rows], self.first[rows]
        return some


class Nothing:
    """The sum that is left when every axis is uniform: one in no features."""

    decay = GaussianDecay(0.0)

    def __init__(self, log_weights: FloatArray) -> None:
        self._log_weights = log_weights

    def distribution(self) -> NoReturn:
        """None: there is nothing to integrate over."""
        raise NotImplementedError

    def sources(self, index: IndexArray | slice = slice(None)) -> FloatArray:
        return np.empty((len(self._log_weights[index]), 0))

    def draw(self, index: IndexArray, rng: np.random.Generator) -> FloatArray:
        return np.empty((len(index), 0))

    def log_density(self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        return np.zeros(X.shape[0])

    def log_density_and_gradient(
        self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        return np.zeros(X.shape[0]), np.zeros(X.shape)

    def leave_one_out(self, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        return log_weight_of_others(self._log_weights)

    def log_density_without(
        self, own: IndexArray, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None
    ) -> FloatArray:
        return log_weight_of_others(self._log_weights)[own]

    def plan(self, X: SampleArray, rtol: float = 0.0, *, n_threads: int | None = None) -> Plan:
        return Plan("direct", "the density is uniform to rounding", 0.0, {"direct": 0.0})


def flat_axes(axes: list[Axis], h: FloatArray, narrowest: float) -> list[Axis]:
    """The axes on which all kernels are uniform to rounding; under a matrix, whatever the other coordinates are."""
    if h.ndim == 1:
        return [axis for axis in axes if narrowest * h[axis.feature] >= _UNIFORM * period(axis)]
    flat, kept = [], list(range(len(h)))
    for axis in axes:
        H, j = h[np.ix_(kept, kept)], kept.index(axis.feature)
        others = [i for i in range(len(kept)) if i != j]
        variance = H[j, j] - H[j, others] @ np.linalg.solve(H[np.ix_(others, others)], H[others, j])
        if variance > 0.0 and narrowest * math.sqrt(variance) >= _UNIFORM * period(axis):
            flat.append(axis)
            kept.remove(axis.feature)
    return flat


def added(logs: FloatArray, query: IndexArray, more: FloatArray) -> FloatArray:
    """Logarithms of sums with further terms, given by their logarithms, of those queries."""
    largest = logs.copy()
    np.maximum.at(largest, query, more)
    largest = np.maximum(largest, -np.finfo(np.float64).max)
    with np.errstate(divide="ignore"):
        return largest + np.log(
            np.exp(logs - largest) + np.bincount(query, np.exp(more - largest[query]), minlength=len(logs))
        )
