# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Short runs of plain EM and swaps of components, without Python in between: what a search for starts is made of."""
from libc.math cimport INFINITY, fabs, isfinite, log1p, sqrt
from libc.string cimport memcpy, memset

import numpy as np

from gaussum.mixture_pass cimport MixturePass
from gaussum.samples cimport aligned

# The part of a component's variance along the direction of a split that the distance of its halves takes over.
cdef double SPLIT = 0.9
# A run has converged where it would gain less than this in mean log-likelihood in all iterations that are left.
cdef double NOTHING = 1e-7


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
    cdef double[::1] after, statistics, covariances, scratch, step, stretch

    def __init__(self, MixturePass mixture):
        self.mixture = mixture
        self.after, self.covariances = np.empty(mixture.parameters_size), np.empty(mixture.second_size)
        self.statistics, self.scratch = np.empty(mixture.statistics_size), np.empty(mixture.scratch_size)
        self.step, self.stretch = np.empty(mixture.d), np.empty(mixture.d)

    def run(self, double[::1] parameters, Py_ssize_t iterations, double target=-INFINITY):
        """At most so many EM steps from the parameters, a buffer, in place; returns the objective that they reach.

        The run ends early where the log-likelihood would stay below `target` even if it went on gaining as much an
        iteration as it did in the last one, since EM's gains mostly fall, and where that would be next to nothing.
        Where a covariance becomes singular, or the log-likelihood is not finite, the objective is -inf.
        """
        cdef bint sound
        self.mixture._check_parameters(parameters)
        with nogil:
            sound = self._run(&parameters[0], iterations, target)
        return self.mixture.objective(parameters, self.statistics) if sound else -INFINITY

    def swaps(self, const double[::1] parameters, const Py_ssize_t[:, ::1] pairs, const double[:, ::1] directions,
              double[::1] after, Py_ssize_t iterations, double target, Py_ssize_t most):
        """Short runs after swaps of components, until the first whose objective is above `target`.

        Parameters
        ----------
        parameters : buffer
            Where each swap begins.
        pairs : ndarray of intp, shape (n_swaps, 2)
            The component that is taken away, and the one that is split in its place.
        directions : ndarray, shape (n_swaps, n_features)
            Of the splits: unit vectors in coordinates in which the component is whitened.
        after : buffer
            Where the last run ends.
        iterations, target
            As those of `run`.
        most : int
            Passes, in all runs so far, after which none is begun.

        Returns
        -------
        n_swaps : int
            Runs that were begun.
        objective : float
            Of the last of them, or -inf where none reached the target.
        """
        cdef Py_ssize_t number = 0, n_swaps = pairs.shape[0]
        cdef bint above
        cdef double objective
        self._check_swaps(parameters, pairs, directions, after)
        while True:
            above = False
            with nogil:
                while number < n_swaps and self.n_passes <= most and not above:
                    self._swap(&parameters[0], pairs[number, 0], pairs[number, 1], &directions[number, 0], &after[0])
                    number += 1
                    above = self._run(&after[0], iterations, target)
                    above = above and self.statistics[0] / self.statistics[1] > target
            if not above:
                return number, -INFINITY
            # penalties only lower it
            objective = self.mixture.objective(after, self.statistics)
            if objective > target:
                return number, objective

    def swap(self, const double[::1] parameters, const Py_ssize_t[:, ::1] pairs, const double[:, ::1] directions,
             double[::1] after):
        """The first of such swaps alone, without a run."""
        self._check_swaps(parameters, pairs, directions, after)
        if pairs.shape[0] > 0:
            self._swap(&parameters[0], pairs[0, 0], pairs[0, 1], &directions[0, 0], &after[0])

    cdef _check_swaps(self, const double[::1] parameters, const Py_ssize_t[:, ::1] pairs,
                      const double[:, ::1] directions, const double[::1] after):
        cdef Py_ssize_t i, K = self.mixture.K
        self.mixture._check_parameters(parameters)
        self.mixture._check_parameters(after)
        if pairs.shape[1] != 2 or directions.shape[0] != pairs.shape[0] or directions.shape[1] != self.mixture.d:
            raise ValueError("pairs and directions do not fit together")
        for i in range(pairs.shape[0]):
            if not (0 <= pairs[i, 0] < K and 0 <= pairs[i, 1] < K and pairs[i, 0] != pairs[i, 1]):
                raise ValueError(f"pairs must be of two different components from 0 to {K - 1}")

    cdef void _swap(self, const double *parameters, Py_ssize_t lost, Py_ssize_t halved, const double *v,
                    double *after) noexcept nogil:
        """w / 2,  mu +- sqrt(c) s,  Sigma - c s s^T  with  s = U^-T v,  twice in the place of w, mu, Sigma

        Together the halves have the weight, the mean and the covariance of the whole (but with "tied" and "spherical",
        whose covariances cannot follow). With "diag", s is along the axis in which v is longest.
        """
        cdef Py_ssize_t i, j, axis, K = self.mixture.K, d = self.mixture.d
        cdef Py_ssize_t size = self.mixture.second_step
        cdef double *weights = after
        cdef double *log_det = weights + K
        cdef double *means = log_det + K
        cdef double *u = means + K * d + halved * size
        cdef double *s = &self.step[0]
        cdef double total = 0.0
        memcpy(after, parameters, self.mixture.parameters_size * sizeof(double))
        if self.mixture.square:
            for j in range(d):
                s[j] = v[j]
                for i in range(j):
                    s[j] -= u[i * d + j] * s[i]
                s[j] /= u[j * d + j]
            if size > 0:
                _stretch(d, v, u, &self.stretch[0])
        elif self.mixture.spherical:
            for j in range(d):
                s[j] = v[j] / u[0]
        else:
            axis = 0
            for j in range(d):
                s[j] = 0.0
                if fabs(v[j]) > fabs(v[axis]):
                    axis = j
            s[axis] = 1.0 / u[axis]
            u[axis] /= sqrt(1.0 - SPLIT)
        if not self.mixture.spherical and size > 0:
            log_det[halved] -= 0.5 * log1p(-SPLIT)
        memcpy(means + K * d + lost * size, u, size * sizeof(double))
        log_det[lost] = log_det[halved]
        for j in range(d):
            means[lost * d + j] = means[halved * d + j] - sqrt(SPLIT) * s[j]
            means[halved * d + j] += sqrt(SPLIT) * s[j]
        weights[halved] *= 0.5
        weights[lost] = weights[halved]
        for i in range(K):
            total += weights[i]
        for i in range(K):
            weights[i] /= total

    cdef bint _run(self, double *parameters, Py_ssize_t iterations, double target) noexcept nogil:
        cdef Py_ssize_t left
        cdef double *x = aligned(self.scratch)
        cdef double reached, gain, before = -INFINITY
        for left in range(iterations, -1, -1):
            self.n_passes += 1
            memset(&self.statistics[0], 0, self.statistics.shape[0] * sizeof(double))
            self.mixture._em(0, self.mixture.n_parts, parameters, &self.statistics[0], x)
            reached = self.statistics[0] / self.statistics[1]
            if not isfinite(reached):
                return False
            gain = left * (reached - before)
            if left == 0 or gain < NOTHING or reached + gain < target:
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


cdef void _stretch(
    Py_ssize_t d,
    const double *v,        # IN (d,)
    double *u,              # INOUT (d, d), upper triangular
    double *w,              # SCRATCH (d,)
) noexcept nogil:
    """U with  U U^T <- U (I + c / (1 - c) v v^T) U^T:  the precision of Sigma - c s s^T  for s = U^-T v

    A rank-one update of a Cholesky factor (Gill, Golub, Murray and Saunders 1974), the last column first.
    """
    cdef Py_ssize_t i, j
    cdef double root, cosine, sine
    for i in range(d):
        w[i] = 0.0
        for j in range(i, d):
            w[i] += u[i * d + j] * v[j]
        w[i] *= sqrt(SPLIT / (1.0 - SPLIT))
    for j in range(d - 1, -1, -1):
        root = sqrt(u[j * d + j] * u[j * d + j] + w[j] * w[j])
        cosine, sine = root / u[j * d + j], w[j] / u[j * d + j]
        u[j * d + j] = root
        for i in range(j):
            u[i * d + j] = (u[i * d + j] + sine * w[i]) / cosine
            w[i] = cosine * w[i] - sine * u[i * d + j]
