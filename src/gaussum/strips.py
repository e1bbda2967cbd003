"""The distribution on a line of a density that is a sum of known integral but for strips, where it is known by points.

So is one that is corrected at its bounds (gaussum.boundary). In the strips it is integrated by Gauss's rule on panels
of half a bandwidth, on which the density is smooth.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from gaussum.tails import Tails
from gaussum.typing import FloatArray, MaskArray

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_LISTED = 1 << 18
# Of a tail at an open end, in nats, so that rounding counts for nothing.
_MARGIN = 1e-6


class Strips(Tails):
    """A distribution that is that of a sum, but for strips.

    Parameters
    ----------
    log_density : callable
        ``log_density(x, n_threads)`` at points of the strips, shape (n,).
    strips : sequence of pairs of float
        From left to right; where they do not meet the sum is what counts.
    width : float
        Of a panel.
    base : Tails
        The distribution of the sum.
    log_scale : float
        What its logarithms are less than those of its share of this density.
    support : pair of float
    """

    def __init__(
        self, log_density: Callable[[FloatArray, int | None], FloatArray], strips: list[tuple[float, float]],
        width: float, base: Tails, log_scale: float, support: tuple[float, float],
    ) -> None:
        self._log_density, self._base, self._log_scale = log_density, base, log_scale
        self.x, self.groups, self.support = base.x, base.groups, support
        strips = [(a, b) for a, b in strips if math.isfinite(a) and math.isfinite(b)]
        edges = [np.linspace(a, b, 1 + max(1, math.ceil((b - a) / width))) for a, b in strips]
        self._first, self._last = (np.concatenate([e[part] for e in edges]) for part in (slice(-1), slice(1, None)))
        # what lies outside of all strips
        ends = np.concatenate([[support[0]], np.ravel(strips), [support[1]]]).reshape(-1, 2)
        self._between = ends[ends[:, 0] < ends[:, 1]]
        self._whole: FloatArray | None = None

    def log_intervals(self, low: FloatArray, high: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of the probability of every interval; see Tails."""
        if self._whole is None:
            self._whole = self._integrals(self._first, self._last, n_threads)
        parts = []
        for a, b in self._between:
            first, last = np.maximum(low, a), np.minimum(high, b)
            some = np.flatnonzero(first < last)
            logs = np.full(low.size, -np.inf)
            logs[some] = self._base.log_intervals(first[some], last[some], n_threads) + self._log_scale
            parts.append(logs)
        in_strips, size = np.empty(low.size), max(1, _LISTED // (len(_NODES) * self._first.size))
        for start in range(0, low.size, size):
            rows = slice(start, start + size)
            first, last = np.maximum(low[rows, np.newaxis], self._first), np.minimum(high[rows, np.newaxis], self._last)
            whole = (first == self._first) & (last == self._last)
            logs = np.where(whole, self._whole, -np.inf)
            cut = np.nonzero(~whole & (first < last))
            logs[cut] = self._integrals(first[cut], last[cut], n_threads)
            in_strips[rows] = logsumexp(logs, axis=1)
        total: FloatArray = logsumexp(np.stack([*parts, in_strips]), axis=0)
        return np.minimum(total, 0.0)

    def _integrals(self, low: FloatArray, high: FloatArray, n_threads: int | None) -> FloatArray:
        """The logarithms of integrals over parts of panels."""
        half = 0.5 * (high - low)
        x = np.clip(low[:, np.newaxis] + half[:, np.newaxis] * (1.0 + _NODES), low[:, np.newaxis], high[:, np.newaxis])
        logs = self._log_density(x.ravel(), n_threads).reshape(x.shape)
        with np.errstate(divide="ignore"):      # narrower than numbers are apart
            out: FloatArray = logsumexp(logs, axis=1, b=_WEIGHTS) + np.log(half)
        return out

    def _ends(self, log_q: FloatArray, upper: MaskArray) -> tuple[FloatArray, FloatArray]:
        """The bounds; towards an open end quantiles of the sum, or the end of the strip."""
        low, high = super()._ends(log_q, upper)
        for side, end in ((False, low), (True, high)):
            if math.isinf(self.support[side]):
                log_tail = np.where(upper == side, log_q, -math.log(2.0)) - self._log_scale - _MARGIN
                found = self._base._ends(np.minimum(log_tail, 0.0), np.full(log_q.size, side))[side]
                end[:] = np.maximum(found, self._last[-1]) if side else np.minimum(found, self._first[0])
        return low, high
