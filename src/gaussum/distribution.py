"""Probabilities of half-lines, intervals and boxes under a sum of Gaussians with one bandwidth a feature."""

import numpy as np

from gaussum import parallel
from gaussum.box_pass import BoxPass
from gaussum.line import Line

_PAIR_SECONDS = 0.6e-9
_FEATURE_SECONDS = 1.5e-9


class Distribution:
    """The distribution that belongs to a sum of Gaussians.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources), C order
    log_weights : ndarray of float64, shape (n_sources,)
        Logarithms of weights that add up to 1.
    bandwidths : ndarray of float64, shape (n_features,)

    Attributes
    ----------
    sources, log_weights, bandwidths : as given
    """

    def __init__(self, sources, log_weights, bandwidths):
        self.sources, self.log_weights, self.bandwidths = sources, log_weights, bandwidths
        self._line = None

    @property
    def line(self):
        """That of one feature, a gaussum.line.Line."""
        if self._line is None:
            self._line = Line(self.sources[0], self.log_weights, float(self.bandwidths[0]))
        return self._line

    def log_boxes(self, low, high, n_threads=None):
        """The logarithm of the probability of every box, right to rounding however far out or narrow it is.

        Parameters
        ----------
        low, high : ndarray of float64, shape (n_boxes, n_features)
            low <= high, infinities too.
        n_threads : int or None

        Returns
        -------
        ndarray of float64, shape (n_boxes,)
        """
        if low.shape[1] == 1:
            return self.line.log_intervals(low[:, 0].copy(), high[:, 0].copy(), n_threads)
        boxes = BoxPass(self.sources, self.log_weights, 1.0 / self.bandwidths, np.ascontiguousarray(low),
                        np.ascontiguousarray(high))
        n = low.shape[0]
        seconds = n * self.log_weights.size * (_PAIR_SECONDS + low.shape[1] * _FEATURE_SECONDS)
        n_parts = parallel.n_parts(n, seconds, smallest=1)
        n_threads = min(parallel.resolve_threads(n_threads, seconds), n_parts)
        scratch = [np.empty(boxes.scratch_size) for _ in range(n_threads)]
        out = np.empty(n)
        parallel.run(n_parts, n_threads, lambda part, slot: boxes.log_probabilities(
            part * n // n_parts, (part + 1) * n // n_parts, out, scratch[slot]
        ))
        return np.minimum(out, 0.0)
