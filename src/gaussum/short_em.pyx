# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Short runs of plain EM over few samples, without Python in between: what a search for starts is made of."""
from libc.math cimport INFINITY, isfinite
from libc.string cimport memcpy, memset

import numpy as np

from gaussum.mixture_pass cimport MixturePass
from gaussum.samples cimport aligned


cdef class ShortEM:
    """Short runs of EM on the samples of a pass, on the calling thread.

    Parameters
    ----------
    mixture : MixturePass

    Attributes
    ----------
    n_passes : int
        Passes over the samples in all runs so far.
    """

    cdef MixturePass mixture
    cdef readonly Py_ssize_t n_passes
    cdef double[::1] after, statistics, covariances, scratch

    def __init__(self, MixturePass mixture):
        self.mixture = mixture
        self.after, self.covariances = np.empty(mixture.parameters_size), np.empty(mixture.second_size)
        self.statistics, self.scratch = np.empty(mixture.statistics_size), np.empty(mixture.scratch_size)

    def run(self, double[::1] parameters, Py_ssize_t iterations, double target=-INFINITY):
        """At most so many EM steps from the parameters, a buffer, in place; returns the objective that they reach.

        The run ends early where the log-likelihood would stay below `target` even if it went on gaining as much an
        iteration as it did in the last one, since EM's gains mostly fall. Where a covariance becomes singular, or the
        log-likelihood is not finite, the objective is -inf.
        """
        cdef bint sound
        self.mixture._check_parameters(parameters)
        with nogil:
            sound = self._run(&parameters[0], iterations, target)
        return self.mixture.objective(parameters, self.statistics) if sound else -INFINITY

    cdef bint _run(self, double *parameters, Py_ssize_t iterations, double target) noexcept nogil:
        cdef Py_ssize_t left
        cdef double *x = aligned(self.scratch)
        cdef double reached, before = -INFINITY
        for left in range(iterations, -1, -1):
            self.n_passes += 1
            memset(&self.statistics[0], 0, self.statistics.shape[0] * sizeof(double))
            self.mixture._em(0, self.mixture.n_parts, parameters, &self.statistics[0], x)
            reached = self.statistics[0] / self.statistics[1]
            if not isfinite(reached):
                return False
            if left == 0 or reached + left * (reached - before) < target:
                break
            before = reached
            if not self._maximize(parameters, x):
                return False
        return True

    cdef bint _maximize(self, double *parameters, double *scratch) noexcept nogil:
        """The M-step, in place; whether every covariance is positive definite."""
        cdef Py_ssize_t k, K = self.mixture.K, d = self.mixture.d
        cdef const double *nk = &self.statistics[2]
        cdef double *means = &self.after[2 * K]
        cdef double total = 0.0
        if self.mixture.parameters(
            d, K, nk, nk + K, nk + K + K * d, parameters + 2 * K, &self.mixture.ridge[0], means,
            &self.covariances[0], means + K * d, &self.after[K], scratch,
        ):
            return False
        for k in range(K):
            total += nk[k]
            if not isfinite(self.after[K + k]):
                return False
        for k in range(K):
            self.after[k] = nk[k] / total
        memcpy(parameters, &self.after[0], self.after.shape[0] * sizeof(double))
        return True
