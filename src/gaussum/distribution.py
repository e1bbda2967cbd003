"""Probabilities of half-lines, intervals and boxes under a sum of Gaussians.

The Gaussians have one bandwidth a feature, or a covariance of two features.
"""

import math

import numpy as np
from scipy.special import logsumexp

from gaussum import parallel
from gaussum.box_pass import BoxPass
from gaussum.line import Line

_PAIR_SECONDS = 0.6e-9
_FEATURE_SECONDS = 1.5e-9
# Of the trapezoidal rule in standard deviations: its reach, and its step for a Gaussian, with errors below rounding.
_REACH, _STEP = 8.5, 0.75
# Farther from all sources, in standard deviations, boxes are not looked for.
_FARTHEST = 1e4
# What a correlation leaves of a variance, at least.
_LEAST_REST = 1e-8
_LISTED = 1 << 16


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


class CorrelatedDistribution:
    """The distribution that belongs to a sum of Gaussians of two features with one covariance.

    With v v^T + D the covariance, D diagonal, each Gaussian is one of covariance D that is moved by v u, where u is
    standard normal (Dunnett and Sobel, Biometrika 42, 1955, 258):

        P(box) = int phi(u) P_D(box - v u) du,

    by the trapezoidal rule, whose error falls as fast as the Fourier transform of what is integrated.

    Parameters
    ----------
    sources : ndarray of float64, shape (2, n_sources), C order
    log_weights : ndarray of float64, shape (n_sources,)
    covariance : ndarray of float64, shape (2, 2)
    """

    def __init__(self, sources, log_weights, covariance):
        self._sd = np.sqrt(np.diagonal(covariance))
        correlation = covariance[0, 1] / self._sd.prod()
        rest = max(1.0 - abs(correlation), _LEAST_REST)
        self._shift = self._sd * math.sqrt(1.0 - rest) * np.array([1.0, math.copysign(1.0, correlation)])
        self._step = _STEP / math.sqrt(1.0 + 2.0 * (1.0 - rest) / rest)
        self._low, self._high = sources.min(axis=1), sources.max(axis=1)
        self._along_axes = Distribution(sources, log_weights, self._sd * math.sqrt(rest))

    def log_boxes(self, low, high, n_threads=None):
        """The logarithm of the probability of every box, shape (n_boxes,); see `Distribution.log_boxes`."""
        out = np.empty(low.shape[0])
        with np.errstate(over="ignore"):
            away = (np.maximum(low - self._high, self._low - high) / self._sd).max(axis=1).clip(0.0, _FARTHEST)
        # boxes that are as far away take the same nodes
        order = np.argsort(away, kind="stable")
        first = 0
        while first < len(order):
            n_nodes = 2 * math.ceil((_REACH + away[order[first]]) / self._step) + 1
            last = first + max(1, _LISTED // n_nodes)
            near = away[order[first:last]] <= away[order[first]] + 1.0
            last = first + int(np.count_nonzero(near))
            index = order[first:last]
            out[index] = self._integrated(low[index], high[index], away[index[-1]], n_threads)
            first = last
        return np.minimum(out, 0.0)

    def _integrated(self, low, high, away, n_threads):
        half = math.ceil((_REACH + away) / self._step)
        u = np.arange(-half, half + 1) * self._step
        moved = (u[:, np.newaxis] * self._shift)[:, np.newaxis]
        shape = len(u), len(low)
        logs = self._along_axes.log_boxes((low - moved).reshape(-1, 2), (high - moved).reshape(-1, 2), n_threads)
        log_phi = math.log(self._step) - 0.5 * u * u - 0.5 * math.log(2.0 * math.pi)
        return logsumexp(logs.reshape(shape) + log_phi[:, np.newaxis], axis=0)
