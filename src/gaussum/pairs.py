"""Sums over all pairs of some thousand points, under any bandwidth matrix, and what cross-validation makes of them."""

import math

import numpy as np

from gaussum import parallel
from gaussum.pair_pass import PairPass
from gaussum.typing import FloatArray

_LANES = 32
_PAIR_SECONDS = 0.7e-9
_MOMENT_SECONDS = 0.3e-9


class Pairs:
    """Sums over the pairs of points, themselves apart, under exp(S).

    Parameters
    ----------
    points : ndarray of float64, shape (n_features, n_points), C order
    w : ndarray of float64, shape (n_points,)
    """

    def __init__(self, points: FloatArray, w: FloatArray) -> None:
        self.points, self.w = points, w
        self.d, self.n = points.shape
        self._seconds = self.n**2 * (_PAIR_SECONDS + _MOMENT_SECONDS * self.d * (self.d + 1) / 2)

    def moments(self, inverse_root: FloatArray, tails: bool = False) -> tuple[FloatArray, FloatArray, FloatArray]:
        """sum_s w_s e_ts, and the same of e_ts z z', and by which o_t / 2 their logarithms are too large.

        z = inverse_root (x_t - x_s), e_ts = exp((o_t - |z|^2) / 2); with `tails` o_t is the least |z|^2, else 0.

        Returns
        -------
        tuple of ndarrays, shapes (n,), (d (d + 1) / 2, n), (n,)
        """
        pairs, n_threads, scratch = self._pass(np.ascontiguousarray(inverse_root @ self.points))
        nearest = np.zeros(self.n)
        if tails:
            parallel.run(pairs.n_parts, n_threads, lambda part, slot: pairs.nearest(part, nearest, scratch[slot]))
        sums, moments = np.empty(self.n), np.empty((self.d * (self.d + 1) // 2, self.n))
        parallel.run(pairs.n_parts, n_threads, lambda part, slot: pairs.moments(
            part, nearest if tails else None, sums, moments, scratch[slot]
        ))
        return sums, moments, nearest

    def derivatives(self, g: float, radial: FloatArray) -> FloatArray:
        """sum_ij w_i w_j e_ij (a + b |z|^2) of 1, z z' and z z z z in turn, z = (x_i - x_j) / g: entries as PairPass's.

        A pair of a point with itself is one of them.
        """
        pairs, n_threads, scratch = self._pass(self.points / g)
        totals = np.zeros((pairs.n_monomials, _LANES))

        def work(part: int, slot: int) -> FloatArray:
            own = np.zeros_like(totals)
            pairs.derivatives(part, radial, own, scratch[slot])
            return own

        parallel.run(pairs.n_parts, n_threads, work, lambda own: np.add(totals, own, out=totals))
        sums: FloatArray = totals.sum(axis=1)
        return sums

    def _pass(self, z: FloatArray) -> tuple[PairPass, int, list[FloatArray]]:
        pairs = PairPass(z, self.w)
        n_threads = min(parallel.resolve_threads(None, self._seconds), pairs.n_parts)
        return pairs, n_threads, [np.empty(pairs.scratch_size) for _ in range(n_threads)]

    def square(self, lower: FloatArray) -> FloatArray:
        """A symmetric matrix from its lower triangle, row by row."""
        full = np.zeros((self.d, self.d))
        full[np.tril_indices(self.d)] = lower
        return full + np.tril(full, -1).T

    def least_squares(self, values: FloatArray, vectors: FloatArray) -> tuple[float, FloatArray]:
        """Least-squares cross-validation (Bowman 1984), and twice its gradient by log H in the axes of `vectors`.

            int f^2 - 2 sum_i w_i f_-i(x_i),   f_-i without i: sum_j!=i w_j N(x_i; x_j, H) / (1 - w_i)
        """
        to_axes = vectors.T * np.exp(-0.5 * values)[:, np.newaxis]
        norm = math.exp(-0.5 * values.sum()) * (2.0 * math.pi) ** (-0.5 * self.d)
        wide, wide_moments, _ = self.moments(math.sqrt(0.5) * to_axes)
        narrow, narrow_moments, _ = self.moments(to_axes)
        to_wide = norm * 2.0 ** (-0.5 * self.d) * self.w
        to_narrow = -2.0 * norm * self.w / (1.0 - self.w)
        value = to_wide @ (wide + self.w) + to_narrow @ narrow
        slope = self.square(wide_moments @ to_wide + narrow_moments @ to_narrow)
        return value, slope - value * np.eye(self.d)

    def likelihood(self, values: FloatArray, vectors: FloatArray) -> tuple[float, FloatArray]:
        """Minus the leave-one-out log likelihood (Duin 1976), and twice its gradient as of `least_squares`.

            - sum_i w_i log f_-i(x_i)
        """
        to_axes = vectors.T * np.exp(-0.5 * values)[:, np.newaxis]
        sums, moments, nearest = self.moments(to_axes, tails=True)
        logs = np.log(sums) - 0.5 * nearest - np.log1p(-self.w)
        value = 0.5 * values.sum() + 0.5 * self.d * math.log(2.0 * math.pi) - self.w @ logs
        return value, np.eye(self.d) - self.square(moments @ (self.w / sums))
