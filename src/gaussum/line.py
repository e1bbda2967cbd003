"""Distribution functions of sums of Gaussians on a line, right to rounding in both tails.

Where the Gaussians differ in width the sources of each octave of widths are taken by themselves.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.special import ndtri_exp

from gaussum import parallel
from gaussum.cells import Cells
from gaussum.line_pass import LinePass
from gaussum.tails import _EPS, Tails, gaussian_images, octaves, running_sums, sorted_sources
from gaussum.typing import FloatArray, IndexArray, MaskArray

# From so many points on cells pay, and from so many pairs.
_CELL_POINTS = 64
_CELL_PAIRS = 1e7
_PAIR_SECONDS = 1.5e-9
_POINT_SECONDS = 300e-9
# Tails of which no more than this share is taken away leave a difference right to 1e-12.
_SHARE = 0.9


class Line(Tails):
    """The distribution of a sum of Gaussians on a line.

    Parameters
    ----------
    x : ndarray of float64, shape (n_sources,)
    log_weights : ndarray of float64, shape (n_sources,)
        Logarithms of weights that add up to 1.
    bandwidth : float
    factors : ndarray of float64, shape (n_sources,), optional
        Of the bandwidth at each source.

    Attributes
    ----------
    plain : bool
        All bandwidths are the same.
    narrowest, widest : float
        The smallest and the largest bandwidth.
    """

    def __init__(
        self, x: FloatArray, log_weights: FloatArray, bandwidth: float, factors: FloatArray | None = None
    ) -> None:
        self.bandwidth, self.plain = bandwidth, factors is None
        self.narrowest = self.widest = bandwidth
        parts: list[slice] | list[IndexArray]
        if factors is None:
            self.x, self._log_weights = sorted_sources(x, log_weights)
            parts, sharpness = [slice(None)], np.ones(self.x.size)
        else:
            order = np.argsort(x, kind="stable")
            self.x, self._log_weights, sharpness = x[order], log_weights[order], 1.0 / factors[order]
            self.narrowest, self.widest = bandwidth * float(factors.min()), bandwidth * float(factors.max())
            parts = octaves(sharpness)
        self._weights = np.exp(self._log_weights)
        self._below, self._above = _both_sums(self._weights)
        self._passes, self.groups = [], []
        for part in parts:
            widths = bandwidth / sharpness[part]
            self.groups.append((self.x[part], float(widths.min()), float(widths.max())))
            sums = (self._below, self._above) if self.plain else _both_sums(self._weights[part])
            self._passes.append(
                LinePass(self.x[part], self._log_weights[part], sharpness[part], *sums, 1.0 / bandwidth)
            )
        self._cells: Cells | None = None

    def _cells_for(self, n_points: int) -> Cells | None:
        """The cells, where they pay; whether they do does not depend on what earlier calls have built."""
        if not self.plain or n_points < _CELL_POINTS or n_points * self.x.size < _CELL_PAIRS:
            return None
        if self._cells is None:
            self._cells = Cells(self.x, self._weights, self._below, self._above, self.bandwidth)
        return None if self._cells.empty else self._cells

    def log_tails(self, x: FloatArray, n_threads: int | None = None) -> tuple[FloatArray, MaskArray]:
        """The logarithm of a tail at every point, and whether it is the upper one; see Tails."""
        cells = self._cells_for(x.size)
        if cells is None:
            log_tail, upper = np.full(x.size, np.nan), np.empty(x.size, dtype=bool)
        else:
            tail, sign = cells.tails(x, n_threads)
            log_tail, upper = np.log(tail), sign < 0.0
        late = np.flatnonzero(np.isnan(log_tail))
        if late.size:
            upper[late] = self._below[np.searchsorted(self.x, x[late])] > 0.5
            low, high = np.where(upper[late], x[late], -np.inf), np.where(upper[late], np.inf, x[late])
            log_tail[late] = self._swept(low, high, n_threads)
        return log_tail, upper

    def log_intervals(self, low: FloatArray, high: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of the probability of every interval; see Tails."""
        out = np.full(low.size, np.nan)
        (a, a_upper), (b, b_upper) = self.log_tails(low, n_threads), self.log_tails(high, n_threads)
        one_side = a_upper == b_upper
        small, large = np.where(a_upper, b, a), np.where(a_upper, a, b)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            apart = one_side & ((small - large < math.log(_SHARE)) | (small == -np.inf))
            out[apart] = (large + np.log1p(-np.exp(small - large)))[apart]
            both = np.exp(a) + np.exp(b)
            across = ~a_upper & b_upper & (both < _SHARE)
            out[across] = np.log1p(-both[across])
        out[(large == -np.inf) & one_side] = np.nan      # too far out for a double, or not: see below
        out[low == high] = -np.inf
        cells = self._cells_for(low.size)
        late = np.flatnonzero(np.isnan(out))
        if cells is not None and late.size:
            with np.errstate(divide="ignore"):
                out[late] = np.log(cells.differences(low[late], high[late], n_threads))
            late = late[np.isnan(out[late])]
        if late.size:
            out[late] = self._swept(low[late], high[late], n_threads)
        np.minimum(out, 0.0, out=out)
        return out

    def log_bound(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """What the logarithms of the probabilities of boxes of one feature come to at most, by their distance."""
        with np.errstate(over="ignore"):
            away = np.maximum(np.maximum(low[:, 0] - self.x[-1], self.x[0] - high[:, 0]), 0.0) / self.widest
            bound: FloatArray = -0.5 * away * away
        return bound

    def n_images(self, column: int, length: float) -> int:
        """The cells on either side, as long as the support, whose images count to rounding."""
        return gaussian_images(self.widest / length)

    def log_densities(
        self, x: FloatArray, n_threads: int | None = None, *, n_points: int | None = None
    ) -> FloatArray:
        """The log density at every point, right to rounding; of Gaussians of one width.

        Parameters
        ----------
        x : ndarray of float64, shape (n_targets,)
        n_threads : int or None
        n_points : int, optional
            Take the means that are best for so many points.
        """
        cells = self._cells_for(x.size if n_points is None else n_points)
        out = np.full(x.size, np.nan) if cells is None else np.log(cells.densities(x, n_threads))
        late = np.flatnonzero(np.isnan(out))
        if late.size:
            points, found = x[late], np.empty(late.size)
            self._sweep(self._passes[0], late.size, n_threads,
                        partial(self._passes[0].log_densities, points, out=found))
            out[late] = found - math.log(self.bandwidth) - 0.5 * math.log(2.0 * math.pi)
        return out

    def _swept(self, low: FloatArray, high: FloatArray, n_threads: int | None) -> FloatArray:
        """The logarithm of the probability of every interval, source by source."""
        out = np.full(low.size, -np.inf)
        for sums in self._passes:
            found = np.empty(low.size)
            self._sweep(sums, low.size, n_threads, partial(sums.log_probabilities, low, high, out=found))
            out = found if sums is self._passes[0] else np.logaddexp(out, found)
        return out

    def _sweep(
        self, sums: LinePass, n: int, n_threads: int | None, work: Callable[..., None]
    ) -> None:
        """Call ``work(first, last, scratch=scratch)`` for parts of 0 to n - 1."""
        seconds = n * (_POINT_SECONDS + self.x.size / len(self._passes) * _PAIR_SECONDS)
        n_parts = parallel.n_parts(n, seconds, smallest=1)
        n_threads = min(parallel.resolve_threads(n_threads, seconds), n_parts)
        scratch = [np.empty(sums.scratch_size) for _ in range(n_threads)]
        parallel.run(n_parts, n_threads, lambda part, slot: work(
            part * n // n_parts, (part + 1) * n // n_parts, scratch=scratch[slot]
        ))

    def _ends(self, log_q: FloatArray, upper: MaskArray) -> tuple[FloatArray, FloatArray]:
        """Quantiles of the narrowest or widest Gaussians at either end of the sources, and a little more."""
        z = np.where(upper, -1.0, 1.0) * ndtri_exp(log_q)
        more = 1e-6 * np.where(np.isinf(z), 1.0, np.maximum(1.0, np.abs(z)))
        with np.errstate(over="ignore"):
            low = self.x[0] + np.where(z < more, self.widest, self.narrowest) * (z - more) - _EPS * abs(self.x[0])
            high = self.x[-1] + np.where(z > -more, self.widest, self.narrowest) * (z + more) + _EPS * abs(self.x[-1])
        return low, high


def _both_sums(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The weight of the sources before each, and of those from each on."""
    return running_sums(weights), running_sums(weights[::-1])[::-1].copy()
