"""The distribution of a sum of Gaussians on a line by local polynomials, at a cost free of the bandwidth.

The line is divided into cells of a quarter to half a bandwidth. Sources give moments about the middle of their cell,
and moments give Taylor coefficients about the middles of the cells around:

    Phi(D + u - v) = sum_kl Phi^(k + l)(D) u^k (-v)^l / (k! l!),   |u|, |v| <= 1/4

with u, v and D the places of target, source and cells in bandwidths; sources beyond twelve bandwidths count whole or
not at all. (The translation of Greengard and Strain, SIAM J. Sci. Stat. Comput. 12, 1991, 79, without its sums over
Hermite functions.) A cell holds the smaller tail of its middle. The series with 24 coefficients are right relative to
Phi(D) even where that is tiny, so relative to the tail; the error of every pair of cells is measured at their corners,
and what is too small for the sum of those is left to others.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from gaussum import parallel
from gaussum.line_pass import CellPass
from gaussum.typing import FloatArray

_ORDER = 24
_REACH = 12.0               # bandwidths
# With fewer sources than this within reach, they are as fast one by one.
_FEW = 512
# The bound on relative errors; the rounding of a term, some units in the last place.
_RTOL = 2e-13
_ROUNDING = 2.0**-50
# Cells of a number that a double does not hold with a fraction are left out, as are bandwidths whose powers overflow.
_FARTHEST = 2.0**50
_SMALLEST, _LARGEST = 2.0**-1000, 2.0**1000
_SECONDS = 15e-9            # a point
_ORDERS = np.arange(_ORDER)
_FACTORIALS = np.array([float(math.factorial(k)) for k in range(_ORDER)])


class Cells:
    """Tables of the smaller tail and of the density about the middle of every cell with many sources around.

    Parameters
    ----------
    x : ndarray of float64, shape (n_sources,)
        In ascending order.
    weights : ndarray of float64, shape (n_sources,)
    below, above : ndarray of float64, shape (n_sources + 1,)
        The weight of the sources before each, and of those from each on.
    bandwidth : float

    Attributes
    ----------
    empty : bool
        No cell has enough sources around.
    """

    def __init__(
        self, x: FloatArray, weights: FloatArray, below: FloatArray, above: FloatArray, bandwidth: float
    ) -> None:
        self.empty = True
        if not _SMALLEST <= bandwidth <= _LARGEST:
            return
        width = 2.0 ** math.floor(math.log2(bandwidth / 2.0))
        reach = math.ceil(_REACH * bandwidth / width)
        place = x / width
        cell = np.floor(place)
        begin = np.flatnonzero(np.append(True, cell[1:] != cell[:-1]))
        occupied, end = cell[begin], np.append(begin[1:], x.size)
        around = end[np.searchsorted(occupied, occupied + reach, side="right") - 1] - begin[
            np.searchsorted(occupied, occupied - reach)
        ]
        heavy = occupied[(around >= _FEW) & (np.abs(occupied) < _FARTHEST)]
        if heavy.size == 0:
            return
        self.empty = False
        # stretches of cells, with those in reach of a cell in reach of a heavy one
        gaps = np.flatnonzero(heavy[1:] - heavy[:-1] > 4 * reach)
        starts = heavy[np.append(0, gaps + 1)] - 2 * reach
        lengths = (heavy[np.append(gaps, heavy.size - 1)] + 2 * reach - starts + 1).astype(np.intp)
        offsets = np.append(0, np.cumsum(lengths))
        number = np.repeat(starts, lengths) + (np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths))

        moments = np.zeros((offsets[-1], _ORDER))
        stretch = np.searchsorted(starts, occupied, side="right") - 1
        within = (stretch >= 0) & (occupied - starts[stretch] < lengths[stretch])
        row = (offsets[stretch] + occupied - starts[stretch])[within].astype(np.intp)
        power, u = weights.copy(), place - cell - 0.5
        for k in range(_ORDER):
            moments[row, k] = np.add.reduceat(power, begin)[within]
            power *= u

        self._tabulate(moments, reach, width, bandwidth)
        begin = np.append(begin, x.size)
        first = begin[np.searchsorted(occupied, number - reach)]
        last = begin[np.searchsorted(occupied, number + reach, side="right")]
        self._choose_sides(below[first], above[last])
        # the rows at the ends of a stretch lack what is beyond
        place = np.arange(offsets[-1])
        edge = np.minimum(place - np.repeat(offsets[:-1], lengths), np.repeat(offsets[1:], lengths) - 1 - place) < reach
        self._least[edge] = self._least_slope[edge] = np.inf
        self._slopes = np.zeros_like(self._table)
        self._slopes[:, :-1] = self._sign[:, np.newaxis] * self._table[:, 1:] * (np.arange(1, _ORDER) / width)
        self._least_difference, self._width = self._least_slope * width, width
        self._pass = CellPass(width, starts, offsets)

    def _tabulate(self, moments: FloatArray, reach: int, width: float, bandwidth: float) -> None:
        """Taylor coefficients but for the values of Phi; those, lower and upper; and bounds on errors."""
        n, delta = len(moments) - 2 * reach, width / bandwidth
        self._table, self._ends, self._errors = np.zeros_like(moments), *np.zeros((2, 2, len(moments)))
        self._least_slope = np.zeros(len(moments))
        middle = slice(reach, reach + n)
        with parallel.single_threaded_blas():
            for o in range(-reach, reach + 1):
                others, distance = moments[reach + o : reach + o + n], -o * delta
                translation = _translation(distance, delta)
                self._table[middle] += others @ translation
                errors, slope_error = _errors(translation, distance, delta)
                for side in (0, 1):
                    self._ends[side, middle] += others[:, 0] * ndtr(distance if side == 0 else -distance)
                    self._errors[side, middle] += others[:, 0] * errors[side]
                self._least_slope[middle] += others[:, 0] * (slope_error / (width * _RTOL))
        # what is beyond the reach
        self._least_slope += math.exp(-0.5 * _REACH**2) / (bandwidth * _RTOL)

    def _choose_sides(self, below: FloatArray, above: FloatArray) -> None:
        """Make the tables those of the smaller tail at the middle of every cell."""
        left_out = ndtr(-_REACH)
        lower, upper = self._ends[0] + below + self._table[:, 0], self._ends[1] + above - self._table[:, 0]
        self._sign = np.where(lower <= upper, 1.0, -1.0)
        self._table *= self._sign[:, np.newaxis]
        self._table[:, 0] = np.minimum(lower, upper)
        errors = np.where(lower <= upper, self._errors[0] + left_out * above + _ROUNDING * below,
                          self._errors[1] + left_out * below + _ROUNDING * above)
        self._least = errors / _RTOL
        del self._ends, self._errors

    def tails(self, x: FloatArray, n_threads: int | None = None) -> tuple[FloatArray, FloatArray]:
        """The smaller tail at every point, and its side, 1 for the lower and -1 for the upper; NaN where there is none.

        Parameters
        ----------
        x : ndarray of float64, shape (n_targets,)
        n_threads : int or None
        """
        tail, rows = np.empty(x.size), np.empty(x.size, dtype=np.intp)
        _by_parts(x.size, n_threads, lambda first, last: self._pass.values(
            x, first, last, self._table, self._least, rows, tail
        ))
        return tail, self._sign[rows]

    def densities(self, x: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The density at every point; NaN where it is too small."""
        density, rows = np.empty(x.size), np.empty(x.size, dtype=np.intp)
        _by_parts(x.size, n_threads, lambda first, last: self._pass.values(
            x, first, last, self._slopes, self._least_slope, rows, density
        ))
        return density

    def differences(self, low: FloatArray, high: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The probability of short intervals; NaN where they are longer than a cell, or it is too small."""
        out = np.empty(low.size)
        _by_parts(low.size, n_threads, lambda first, last: self._pass.differences(
            low, high, first, last, self._table, self._sign, self._least_difference, out
        ))
        return out


def _translation(distance: float, delta: float) -> FloatArray:
    """c_lk = (-1)^l delta^(k + l) Phi^(k + l)(D) / (k! l!), shape (order, order), and 0 for k = l = 0.

    Phi^(n)(D) = (-1)^(n - 1) He_(n - 1)(D) phi(D).
    """
    derivatives = np.zeros(2 * _ORDER - 1)
    derivatives[1] = math.exp(-0.5 * distance * distance) / math.sqrt(2.0 * math.pi)
    derivatives[2] = -distance * derivatives[1]
    for n in range(3, 2 * _ORDER - 1):
        derivatives[n] = -distance * derivatives[n - 1] - (n - 2) * derivatives[n - 2]
    out: FloatArray = derivatives[_ORDERS + _ORDERS[:, np.newaxis]] * np.outer(
        (-delta) ** _ORDERS / _FACTORIALS, delta**_ORDERS / _FACTORIALS
    )
    return out


def _errors(translation: FloatArray, distance: float, delta: float) -> tuple[tuple[float, float], float]:
    """Bounds on the errors of the series of both tails, and of their slope in a cell's width, for a weight of 1."""
    lower = upper = slope = 0.0
    for u in (-0.5, 0.5):
        for v in (-0.5, 0.5):
            z = distance + delta * (u - v)
            by_u = v**_ORDERS @ translation
            series = float(by_u @ u**_ORDERS)
            lower = max(lower, abs(ndtr(distance) + series - ndtr(z)) + _ROUNDING * ndtr(z))
            upper = max(upper, abs(ndtr(-distance) - series - ndtr(-z)) + _ROUNDING * ndtr(-z))
            density = delta * math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
            series = float(by_u[1:] @ (_ORDERS[1:] * u ** _ORDERS[:-1]))
            slope = max(slope, abs(series - density) + _ROUNDING * density)
    return (lower, upper), slope


def _by_parts(n: int, n_threads: int | None, work: Callable[[int, int], None]) -> None:
    n_parts = parallel.n_parts(n, n * _SECONDS)
    parallel.run(n_parts, parallel.resolve_threads(n_threads, n * _SECONDS),
                 lambda part, slot: work(part * n // n_parts, (part + 1) * n // n_parts))
