"""Gradients of sums of Gaussians that differ in width from source to source: by the sources near enough to count."""

import numpy as np

from gaussum import parallel
from gaussum.samples import Samples
from gaussum.typing import FloatArray, SampleArray
from gaussum.varying_slope_pass import VaryingSlopePass

_BLOCK = 64
_PAIR_SECONDS = 2e-9
_FARTHEST = 1e150


class VaryingSlopes:
    """The log density of a sum, and its gradient.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources)
    log_weights : ndarray of float64, shape (n_sources,)
        Of the Gaussians as they are summed: peaks are one.
    sharpness : ndarray of float64, shape (n_sources,)
        One over the factors of the bandwidths.
    inv_bandwidth : ndarray of float64, shape (n_features,)
    """

    def __init__(
        self, sources: FloatArray, log_weights: FloatArray, sharpness: FloatArray, inv_bandwidth: FloatArray
    ) -> None:
        from scipy.spatial import cKDTree               # slow to load

        n = sources.shape[1]
        centre = np.median(sources, axis=1, keepdims=True)
        with np.errstate(over="ignore"):
            places = ((sources - centre) * inv_bandwidth[:, np.newaxis]).clip(-_FARTHEST, _FARTHEST)
        order = np.asarray(cKDTree(places.T, leafsize=_BLOCK).indices)
        starts = np.append(np.arange(0, n, _BLOCK), n)
        self._sources, self._sharpness = np.ascontiguousarray(sources[:, order]), sharpness[order]
        self._inv_bandwidth = inv_bandwidth
        log_weights, at = log_weights[order], starts[:-1]
        boxes = np.stack([np.minimum.reduceat(self._sources, at, axis=1).T,
                          np.maximum.reduceat(self._sources, at, axis=1).T], axis=1)
        self._pass = VaryingSlopePass(
            self._sources, log_weights, self._sharpness, starts, inv_bandwidth, np.ascontiguousarray(boxes),
            np.logaddexp.reduceat(log_weights, at), np.minimum.reduceat(self._sharpness, at)
        )

    def __call__(self, X: SampleArray, n_threads: int | None) -> tuple[FloatArray, FloatArray]:
        """The log sums at every row of `X`, right to rounding, and their gradients, shape (n_targets, n_features)."""
        n = X.shape[0]
        out, gradient, targets = np.empty(n), np.empty(X.shape), Samples(X)
        seconds = n * self._sharpness.size * _PAIR_SECONDS
        n_parts = parallel.n_parts(n, seconds, smallest=1)
        n_threads = min(parallel.resolve_threads(n_threads, seconds), n_parts)
        scratch = [np.empty(self._pass.scratch_size) for _ in range(n_threads)]
        parallel.run(n_parts, n_threads, lambda part, slot: self._pass.log_density_and_gradient(
            targets, part * n // n_parts, (part + 1) * n // n_parts, out, gradient, scratch[slot]
        ))
        lost = np.flatnonzero(~np.isfinite(gradient).all(axis=1))
        if lost.size:
            gradient[lost] = self._towards_nearest(X[lost].astype(np.float64))
        return out, gradient

    def _towards_nearest(self, X: FloatArray) -> FloatArray:
        """(s - x) (a / h)^2 for the source nearest in its own widths, by numbers of which no square overflows."""
        out = np.empty(X.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            for t, x in enumerate(X):
                away = (0.5 * self._sources - 0.5 * x[:, np.newaxis]) * self._inv_bandwidth[:, np.newaxis]
                near = int(np.argmin((np.abs(away) * self._sharpness).max(axis=0)))
                out[t] = away[:, near] * self._sharpness[near] * (2.0 * self._inv_bandwidth * self._sharpness[near])
        return np.nan_to_num(out)
