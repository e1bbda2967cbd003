"""Distribution functions of sums of other kernels than the Gaussian on a line, right to rounding in both tails.

A kernel that ends counts whole where it lies within an interval, not at all where it lies without; those at the ends
are integrated one by one. The exponential has no end; but the sum of those on one side of a point falls off as one of
them does, and is known at every source.
"""

import math

import numpy as np

from gaussum import parallel
from gaussum.radial_line_pass import add_integrals, decaying_sums
from gaussum.radial_pass import CODES
from gaussum.tails import Tails, running_sums, sorted_sources
from gaussum.typing import FloatArray, IndexArray, MaskArray

_PAIR_SECONDS = 3e-9
# Exponentials that are so much farther, in bandwidths, count for nothing.
_DECAY = 42.0
# Of the sum up to a source, at least, what sums between two have to be so that their difference is right.
_SHARE = 1e-2
# Gaps between kernels, in weight, are as a quantile is if it is so near.
_ROUNDING = 2.0**-50


class RadialLine(Tails):
    """The distribution of a sum of one kernel on a line.

    Parameters
    ----------
    x : ndarray of float64, shape (n_sources,)
    log_weights : ndarray of float64, shape (n_sources,)
        Logarithms of weights that add up to 1.
    bandwidth : float
    kernel : {"tophat", "epanechnikov", "exponential", "linear", "cosine"}
    """

    def __init__(self, x: FloatArray, log_weights: FloatArray, bandwidth: float, kernel: str) -> None:
        self.x, log_weights = sorted_sources(x, log_weights)
        self._h, self.groups = bandwidth, [(self.x, bandwidth, bandwidth)]
        self._code, self._ends_somewhere = CODES[kernel], kernel != "exponential"
        self._weights = np.exp(log_weights)
        self._below, self._above = running_sums(self._weights), running_sums(self._weights[::-1])[::-1].copy()
        if self._ends_somewhere:
            self.support = float(self.x[0] - bandwidth), float(self.x[-1] + bandwidth)
        else:
            # what the sources up to each, and those from each on, come to there
            self._left, right = np.empty(self.x.size), np.empty(self.x.size)
            decaying_sums(self.x, self._weights, 1.0 / bandwidth, self._left)
            decaying_sums(-self.x[::-1], self._weights[::-1].copy(), 1.0 / bandwidth, right)
            self._right = right[::-1].copy()

    def log_bound(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """What the logarithms of the probabilities of boxes of one feature come to at most, by their distance."""
        with np.errstate(over="ignore"):
            away = np.maximum(np.maximum(low[:, 0] - self.x[-1], self.x[0] - high[:, 0]), 0.0) / self._h
        return np.where(away <= 1.0, 0.0, -np.inf) if self._ends_somewhere else -away

    def n_images(self, column: int, length: float) -> int:
        """The cells on either side, as long as the support, whose images count to rounding."""
        return math.ceil(2.0 + (1.0 if self._ends_somewhere else _DECAY) * self._h / length)

    def log_intervals(self, low: FloatArray, high: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of the probability of every interval; see Tails."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if not self._ends_somewhere:
                return np.minimum(self._of_exponentials(low, high, n_threads), 0.0)
            # those that count, and of these the whole ones
            first = np.searchsorted(self.x, low - self._h)
            last = np.searchsorted(self.x, high + self._h, side="right")
            begin = np.where(low == -np.inf, 0, np.searchsorted(self.x, low + self._h, side="right"))
            end = np.where(high == np.inf, self.x.size, np.searchsorted(self.x, high - self._h))
            apart = begin < end
            out = np.where(apart, self._between(begin, end), 0.0)
            begin = np.where(apart, begin, last)
            self._add(low, high, first, begin, out, n_threads)
            self._add(low, high, np.where(apart, end, last), last, out, n_threads)
            return np.minimum(np.log(np.where(low < high, out, 0.0)), 0.0)

    def _of_exponentials(self, low: FloatArray, high: FloatArray, n_threads: int | None) -> FloatArray:
        first, last = np.searchsorted(self.x, low), np.searchsorted(self.x, high, side="right")
        inner = np.zeros(low.size)
        # inside of a half-line they count whole but for what lies beyond its end; else one by one
        left_open, right_open = low == -np.inf, high == np.inf
        within = ~left_open & ~right_open
        self._add(low, high, first, np.where(within, last, first), inner, n_threads)
        before, after = np.maximum(last - 1, 0), np.minimum(first, self.x.size - 1)
        inner += np.where(left_open & ~right_open & (last > 0), self._below[last] - 0.5 * self._left[before] * np.exp(
            (self.x[before] - high) / self._h), 0.0)
        inner += np.where(right_open & ~left_open & (first < self.x.size), self._above[first] - 0.5 * self._right[after]
                          * np.exp((low - self.x[after]) / self._h), 0.0)
        inner[left_open & right_open] = 1.0
        # those on the left of an interval, and those on its right
        share = np.log(-0.5 * np.expm1((low - high) / self._h))
        before, after = np.maximum(first - 1, 0), np.minimum(last, self.x.size - 1)
        left = np.where((first > 0) & ~left_open,
                        np.log(self._left[before]) + (self.x[before] - low) / self._h, -np.inf)
        right = np.where((last < self.x.size) & ~right_open,
                         np.log(self._right[after]) + (high - self.x[after]) / self._h, -np.inf)
        out = np.logaddexp(np.log(inner), np.logaddexp(left, right) + share)
        return np.where(low < high, out, -np.inf)

    def _between(self, begin: IndexArray, end: IndexArray) -> FloatArray:
        """The weights of sources begin to end - 1, right to rounding."""
        low, high = self._below[end] - self._below[begin], self._above[begin] - self._above[end]
        out = np.where(self._below[begin] < self._above[end], low, high)
        for t in np.flatnonzero((out < _SHARE * np.minimum(self._below[begin], self._above[end])) & (begin < end)):
            out[t] = self._weights[begin[t] : end[t]].sum()
        return out

    def _add(self, low: FloatArray, high: FloatArray, begin: IndexArray, end: IndexArray, out: FloatArray,
             n_threads: int | None) -> None:
        """Add what sources begin to end - 1 give to intervals."""
        n = low.size
        seconds = float(np.maximum(end - begin, 0).sum()) * _PAIR_SECONDS
        n_parts = parallel.n_parts(n, seconds, smallest=1)
        parallel.run(n_parts, parallel.resolve_threads(n_threads, seconds), lambda part, slot: add_integrals(
            self._code, self.x, self._weights, 1.0 / self._h, low, high, begin, end, part * n // n_parts,
            (part + 1) * n // n_parts, out
        ))

    def quantiles(self, log_q: FloatArray, upper: MaskArray, n_threads: int | None = None) -> FloatArray:
        """Where a tail has that logarithm; where it has it all over a gap between kernels, the least such place."""
        out = super().quantiles(log_q, upper, n_threads)
        if self._ends_somewhere:
            gaps = np.flatnonzero(self.x[1:] - self.x[:-1] > 2.0 * self._h)
            if gaps.size:
                at = np.minimum(np.searchsorted(self.x[gaps + 1] - self._h, out), gaps.size - 1)
                for k in (at, np.maximum(at - 1, 0)):
                    tail = np.where(upper, self._above[gaps[k] + 1], self._below[gaps[k] + 1])
                    level = np.abs(tail - np.exp(log_q)) <= _ROUNDING * tail
                    out = np.where(level, np.minimum(out, self.x[gaps[k]] + self._h), out)
        return out

    def _ends(self, log_q: FloatArray, upper: MaskArray) -> tuple[FloatArray, FloatArray]:
        """The ends of the kernels, or quantiles of exponentials at either end of the sources."""
        if self._ends_somewhere:
            return super()._ends(log_q, upper)
        z = np.where(upper, -1.0, 1.0) * (log_q + math.log(2.0))
        more = 1e-6 * np.maximum(1.0, np.abs(z))
        with np.errstate(over="ignore"):
            low, high = self.x[0] + self._h * (z - more), self.x[-1] + self._h * (z + more)
        rounding = _ROUNDING * np.abs(self.x[[0, -1]])
        return low - rounding[0], high + rounding[1]
