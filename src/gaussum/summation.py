"""Sums of Gaussians over many sources. The only plan so far is the direct sum: every source, every target."""

import math

import numpy as np

from gaussum import parallel
from gaussum.samples import Samples
from gaussum.sum_pass import KernelSumPass

# A pair costs about this many seconds, and this many more a feature.
_PAIR_SECONDS = 1.2e-9
_FEATURE_SECONDS = 0.3e-9
# Targets a block: with their sums and a block of sources they stay in L1 in low dimensions, in L2 above.
_BLOCK = 256
_SMALLEST_BLOCK = 32


class GaussianSum:
    """A normalised weighted sum of Gaussians on given sources.

    Parameters
    ----------
    X : ndarray, shape (n_sources, n_features)
    log_weights : ndarray of float64, shape (n_sources,)
        Logarithms of weights that add up to 1.
    bandwidths : ndarray of float64, shape (n_features,)
    """

    def __init__(self, X, log_weights, bandwidths):
        # a copy: what happens to the caller's array later changes nothing here
        self._sources = np.array(X.T, dtype=np.float64, order="C")
        self._log_weights = log_weights
        self._weights = np.exp(log_weights)
        self._inv_bandwidth = 1.0 / bandwidths
        self._log_norm = -np.log(bandwidths).sum() - 0.5 * len(bandwidths) * math.log(2.0 * math.pi)

    def sources(self, index=slice(None)):
        """The sources themselves, shape (n_sources, n_features), or those at an index."""
        return self._sources[:, index].T

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
        n_threads = parallel.resolve_threads(n_threads, work)
        # few targets are divided finely, so that all threads have some; the sums do not depend on it
        block = min(_BLOCK, max(_SMALLEST_BLOCK, -(-n_targets // (4 * n_threads))))
        sums = KernelSumPass(
            self._sources, self._weights, self._log_weights, self._inv_bandwidth, Samples(X), block,
            parallel.n_parts(n_targets, work, smallest=block),
        )
        n_threads = min(n_threads, sums.n_parts)
        scratch = [np.empty(sums.scratch_size) for _ in range(n_threads)]
        out = np.empty(n_targets)
        parallel.run(
            sums.n_parts, n_threads, lambda part, slot: sums.log_density(part, part + 1, out, scratch[slot])
        )
        out += self._log_norm
        return out
