"""The distribution of a sum of Gaussians on a line by local polynomials, at a cost that does not grow with the bandwidth.

The line is divided into cells of a quarter to half a bandwidth. Sources give moments about the middle of their cell,
and moments give Taylor coefficients about the middles of the cells around:

    Phi(D + u - v) = sum_kl Phi^(k + l)(D) u^k (-v)^l / (k! l!),   |u|, |v| <= 1/4

with u, v and D the places of target, source and cells in bandwidths; sources beyond some nine bandwidths count whole or
not at all. (The translation of Greengard and Strain, SIAM J. Sci. Stat. Comput. 12, 1991, 79, without its sums over
Hermite functions.) Sixteen coefficients a cell leave errors at the level of rounding, relative to the weight nearby; a
cell holds the smaller tail of its middle, so that only values small against what lies nearby are left to others.
"""

import math

import numpy as np
from scipy.special import ndtr

from gaussum import parallel
from gaussum.line_pass import CellPass

_ORDER = 16
_REACH = 8.8                # bandwidths
# With fewer sources than this within reach, they are as fast one by one.
_FEW = 512
# A value is right to some 1e-13 where it is not below this share of the weight nearby and farther out.
_LEAST = 2.0**-8
# Cells of a number that a double does not hold with a fraction are left out, as are bandwidths whose powers overflow.
_FARTHEST = 2.0**50
_SMALLEST, _LARGEST = 2.0**-1000, 2.0**1000
_SECONDS = 15e-9            # a point


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

    def __init__(self, x, weights, below, above, bandwidth):
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

        delta = width / bandwidth
        taylor, lower, upper, nearby = self._translated(moments, reach, delta)
        last = np.searchsorted(occupied, number + reach, side="right")
        lower += below[np.append(begin, x.size)[np.searchsorted(occupied, number - reach)]]
        upper += above[np.append(begin, x.size)[last]]
        lower, upper = lower + taylor[:, 0], upper - taylor[:, 0]
        self.sign = np.where(lower <= upper, 1.0, -1.0)
        smaller = np.minimum(lower, upper)
        self._table = self.sign[:, np.newaxis] * taylor
        self._table[:, 0] = smaller
        self._slopes = np.zeros_like(taylor)
        self._slopes[:, :-1] = taylor[:, 1:] * (np.arange(1, _ORDER) / width)
        # the rows at the ends of a stretch lack what is beyond
        edge = np.minimum(np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths),
                          np.repeat(offsets[1:], lengths) - np.arange(offsets[-1]) - 1) < reach
        self._least = np.where(edge, np.inf, _LEAST * np.maximum(nearby, smaller))
        self._least_slope = np.where(edge, np.inf, _LEAST * nearby / bandwidth)
        self._least_difference = self._least_slope * width
        self._pass = CellPass(width, starts, offsets)

    @staticmethod
    def _translated(moments, reach, delta):
        """The Taylor coefficients of every cell but the values of Phi; those of the lower and the upper tail; weights."""
        n = len(moments) - 2 * reach
        taylor, lower, upper, nearby = np.zeros_like(moments), *np.zeros((3, len(moments)))
        middle = slice(reach, reach + n)
        with parallel.single_threaded_blas():
            for o in range(-reach, reach + 1):
                others = moments[reach + o : reach + o + n]
                taylor[middle] += others @ _translation(-o * delta, delta)
                lower[middle] += others[:, 0] * ndtr(-o * delta)
                upper[middle] += others[:, 0] * ndtr(o * delta)
                nearby[middle] += others[:, 0]
        return taylor, lower, upper, nearby

    def tails(self, x, n_threads=None):
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
        return tail, self.sign[rows]

    def densities(self, x, n_threads=None):
        """The density at every point; NaN where it is too small."""
        density, rows = np.empty(x.size), np.empty(x.size, dtype=np.intp)
        _by_parts(x.size, n_threads, lambda first, last: self._pass.values(
            x, first, last, self._slopes, self._least_slope, rows, density
        ))
        return density

    def differences(self, low, high, n_threads=None):
        """The probability of short intervals; NaN where they are longer than a cell, or it is too small."""
        out = np.empty(low.size)
        _by_parts(low.size, n_threads, lambda first, last: self._pass.differences(
            low, high, first, last, self._table, self.sign, self._least_difference, out
        ))
        return out


def _translation(distance, delta):
    """c_lk = (-1)^l delta^(k + l) Phi^(k + l)(D) / (k! l!), shape (order, order), and 0 for k = l = 0.

    Phi^(n)(D) = (-1)^(n - 1) He_(n - 1)(D) phi(D).
    """
    hermite = [1.0, distance]
    for n in range(1, 2 * _ORDER - 2):
        hermite.append(distance * hermite[n] - n * hermite[n - 1])
    phi = math.exp(-0.5 * distance * distance) / math.sqrt(2.0 * math.pi)
    derivatives = [0.0] + [(-1) ** (n - 1) * hermite[n - 1] * phi for n in range(1, 2 * _ORDER - 1)]
    powers = [delta**k / math.factorial(k) for k in range(_ORDER)]
    return np.array([[(-1) ** l * derivatives[k + l] * powers[k] * powers[l] for k in range(_ORDER)]
                     for l in range(_ORDER)])


def _by_parts(n, n_threads, work):
    n_parts = parallel.n_parts(n, n * _SECONDS)
    parallel.run(n_parts, parallel.resolve_threads(n_threads, n * _SECONDS),
                 lambda part, slot: work(part * n // n_parts, (part + 1) * n // n_parts))
