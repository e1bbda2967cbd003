"""Sums of Gaussians over many sources. The only plan so far is the direct sum: every source, every target."""

import math

import numpy as np

from gaussum import parallel
from gaussum.passes import KernelSumPass, Samples

# A pair costs about this many seconds, and this many more a feature.
_PAIR_SECONDS = 1.2e-9
_FEATURE_SECONDS = 0.3e-9


class GaussianSum:
    """A normalised weighted sum of Gaussians on given sources.

    Parameters
    ----------
    X : ndarray, shape (n_sources, n_features)
    weights : ndarray of float64, shape (n_sources,)
        Positive.
    bandwidths : ndarray of float64, shape (n_features,)
    """

    def __init__(self, X, weights, bandwidths):
        # coordinates are multiplied by powers of two near 1 / h, which is exact, so that no square overflows early
        self._scale = np.ldexp(1.0, -np.frexp(bandwidths)[1])
        self._sources = np.ascontiguousarray(X.T, dtype=np.float64) * self._scale[:, np.newaxis]
        self._weights = weights
        self._log_weights = np.log(weights)
        self._inv_bandwidth = 1.0 / (bandwidths * self._scale)
        self._log_norm = -np.log(bandwidths).sum() - 0.5 * len(bandwidths) * math.log(2.0 * math.pi)

    def sources(self, index=slice(None)):
        """The sources themselves, shape (n_sources, n_features), or those at an index."""
        return (self._sources[:, index] / self._scale[:, np.newaxis]).T

    def log_density(self, X, *, n_threads=None):
        """log sum_s w_s N(x; s, h^2) for every row of `X`.

        Parameters
        ----------
        X : ndarray of float32 or float64, shape (n_targets, n_features)
        n_threads : int or None

        Returns
        -------
        ndarray, shape (n_targets,)
        """
        n_targets, d = X.shape
        work = n_targets * self._weights.size * (_PAIR_SECONDS + _FEATURE_SECONDS * d)
        sums = KernelSumPass(
            self._sources, self._weights, self._log_weights, self._inv_bandwidth, self._scale, Samples(X),
            max(1, min(-(-n_targets // 256), max(64, int(work / 0.05)))),
        )
        n_threads = min(parallel.resolve_threads(n_threads, work), sums.n_parts)
        scratch = [np.empty(sums.scratch_size) for _ in range(n_threads)]
        out = np.empty(n_targets)
        parallel.run(
            sums.n_parts, n_threads, lambda part, slot: sums.log_density(part, part + 1, out, scratch[slot])
        )
        out += self._log_norm
        return out
