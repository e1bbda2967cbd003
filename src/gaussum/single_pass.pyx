# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Passes over float32 samples that are computed in float32 inside a block and accumulated in float64.

Samples, means and factors enter the kernels about a common origin, so that an offset of the data costs no digits, and
rounded to float32; so log p_ik of a component of scale sigma is off by some 6e-8 times the distance of its samples
from the origin in units of sigma.  Where that may exceed a few 1e-5, `accurate` says no, and the pass is left to
float64.  The sums of a block are brought from the rounded means back to the means themselves in float64.
"""
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.math cimport fabs, log
from libc.string cimport memset

import numpy as np

from gaussum.kernels.lanes cimport sum_lanes
from gaussum.mixture_pass cimport MixturePass
from gaussum.samples cimport ALIGNMENT, Samples, aligned, round_up

from gaussum.kernels import dispatch

ctypedef Py_ssize_t (*estep_scratch_t)(Py_ssize_t, Py_ssize_t) noexcept nogil
ctypedef Py_ssize_t (*mstep_scratch_t)(Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
ctypedef void (*log_prob_t)(
    const float *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
    const float *, const float *, const float *, float *, float *) noexcept nogil
ctypedef void (*responsibilities_t)(float *, Py_ssize_t, Py_ssize_t, Py_ssize_t, float *, float *) noexcept nogil
ctypedef double (*weigh_t)(float *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, const double *) noexcept nogil
ctypedef void (*accumulate_t)(
    const float *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, const float *,
    double *, double *, double *, float *) noexcept nogil

# the largest distance from the origin, in units of a component's scale
cdef double FARTHEST = 1024.0
# standard deviations between which float32 holds the squares of all that matters
cdef double SMALLEST_SCALE = 2.0**-40
cdef double LARGEST_SCALE = 2.0**40


cdef void *_function(kernel, name) except NULL:
    """A function of the kernels for float32, of the build in use."""
    capsule = dispatch.kernel_module(kernel, dispatch.BUILD).__pyx_capi__[name]
    return PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))


cdef class SinglePass(MixturePass):
    """A MixturePass whose `em` computes in float32.

    Parameters
    ----------
    samples, structure, n_components, sample_weight, n_parts, ridge
        As those of MixturePass; samples of float32.
    origin, scale : ndarray, shape (n_features,)
        A place amid the samples, and their standard deviations.
    """

    cdef log_prob_t log_prob_single
    cdef responsibilities_t responsibilities_single
    cdef weigh_t weigh_single
    cdef accumulate_t accumulate_single
    cdef Py_ssize_t single_block, kernel_scratch
    cdef const float[::1] origin
    cdef const double[::1] scale

    def __init__(self, Samples samples, structure, Py_ssize_t n_components, sample_weight, Py_ssize_t n_parts, ridge,
                 origin, scale):
        super().__init__(samples, structure, n_components, sample_weight, n_parts, ridge)
        cdef Py_ssize_t d = self.d, K = self.K
        if not samples.single or origin.shape != (d,) or scale.shape != (d,):
            raise ValueError("expected samples of float32, and an origin and a scale for each feature")
        self.log_prob_single = <log_prob_t>_function("estep_single", f"log_prob_{structure}")
        self.responsibilities_single = <responsibilities_t>_function("estep_single", "responsibilities")
        self.weigh_single = <weigh_t>_function("estep_single", "weigh")
        self.accumulate_single = <accumulate_t>_function("mstep_single", f"accumulate_{structure}")
        self.origin, self.scale = origin.astype(np.float32), scale
        # twice as many samples fit where doubles did, and fill the wider tiles
        self.single_block = 2 * self.block
        self.part_size = round_up((samples.n + n_parts - 1) // n_parts, self.single_block)
        self.n_parts = (samples.n + self.part_size - 1) // self.part_size
        self.kernel_scratch = max(
            (<estep_scratch_t>_function("estep_single", "estep_scratch"))(d, self.single_block),
            (<mstep_scratch_t>_function("mstep_single", "mstep_scratch"))(d, K, self.single_block),
        )
        # in doubles; every array of floats begins at a cache line
        self.scratch_size = max(
            self.scratch_size,
            ALIGNMENT // <Py_ssize_t>sizeof(double) + round_up(self.statistics_size + K, 8)
            + round_up(self.parameters_size, 16) // 2 + round_up(self.kernel_scratch, 16) // 2
            + self.single_block // 2 * (d + K + 2) + 8 * 4,
        )

    def accurate(self, const double[::1] parameters):
        """Whether float32 is enough for these parameters: no rounding error of log p_ik is large.

        sum_l (s_l + |mu_kl - o_l|) |u_klj| bounds the distance of component k's samples from the origin in the units
        of its whitened feature j.
        """
        cdef Py_ssize_t j, k, l, row, d = self.d
        cdef const double *means = &parameters[0] + 2 * self.K
        cdef const double *chol = means + self.K * d
        cdef double distance, u
        self._check_parameters(parameters)
        for j in range(d):
            if not SMALLEST_SCALE < self.scale[j] < LARGEST_SCALE:
                return False
        for k in range(self.K):
            for j in range(d):
                distance = 0.0
                for l in range(j + 1 if self.square else 1):
                    row = l if self.square else j
                    u = (chol[k * self.second_step + l * d + j] if self.square
                         else chol[k] if self.spherical else chol[k * d + j])
                    distance += (self.scale[row] + fabs(means[k * d + row] - self.origin[row])) * fabs(u)
                if not distance < FARTHEST:
                    return False
        return True

    cdef void _em(self, Py_ssize_t first, Py_ssize_t last, const double *parameters, double *statistics,
                  double *own) noexcept nogil:
        cdef Py_ssize_t part, start, stop, n, i, j, k, ld = self.single_block, K = self.K, d = self.d
        cdef double *log_const = own + self.statistics_size
        cdef float *means = <float *>(own + round_up(self.statistics_size + K, 8))
        cdef float *precisions_chol = means + round_up(K * d, 16)
        cdef float *single_const = precisions_chol + round_up(self.second_size, 16)
        cdef float *x = single_const + round_up(K, 16)
        cdef float *resp = x + d * ld
        cdef float *log_density = resp + K * ld
        cdef float *spare = log_density + ld
        cdef float *scratch = spare + ld
        cdef const double *w
        self._log_const(parameters, log_const)
        for i in range(self.second_size):
            precisions_chol[i] = <float>parameters[2 * K + K * d + i]
        self._of_rounded(parameters + 2 * K + K * d, precisions_chol, log_const)
        for k in range(K):
            single_const[k] = <float>log_const[k]
            for j in range(d):
                means[k * d + j] = <float>(parameters[2 * K + k * d + j] - self.origin[j])
        for part in range(first, last):
            memset(own, 0, self.statistics_size * sizeof(double))
            start = part * self.part_size
            stop = min(start + self.part_size, self.samples.n)
            while start < stop:
                n = min(ld, stop - start)
                self.samples.load_single(start, n, ld, &self.origin[0], x)
                w = &self.sample_weight[start] if self.weighted else NULL
                if w != NULL:
                    for i in range(n):
                        if w[i] == 0.0:
                            # a sample without weight is absent, also where float32 would overflow
                            for j in range(d):
                                x[j * ld + i] = 0.0
                self.log_prob_single(x, ld, n, d, K, means, precisions_chol, single_const, resp, scratch)
                self.responsibilities_single(resp, ld, n, K, log_density, spare)
                own[0] += self.weigh_single(resp, ld, n, K, log_density, w)
                own[1] += n if w == NULL else sum_lanes(w, n)
                self.accumulate_single(x, ld, n, d, K, resp, means, own + 2, own + 2 + K, own + 2 + K + K * d,
                                       scratch)
                start += n
            for k in range(K):
                if own[2 + k] > 0.0:
                    # the derivative of the log-likelihood with respect to c_k is n_k
                    own[0] += own[2 + k] * (log_const[k] - single_const[k])
            self._about_means(parameters + 2 * K, means, own)
            for i in range(self.statistics_size):
                statistics[i] += own[i]

    cdef void _of_rounded(self, const double *chol, const float *rounded, double *log_const) noexcept nogil:
        """Put log det of the rounded U in place of log det U.

        Each component is then a density, and what rounding does to the log-likelihood vanishes with its gradient.
        """
        cdef Py_ssize_t j, k, at, d = self.d
        for k in range(self.K):
            for j in range(d):
                at = k if self.spherical else k * self.second_step + (j * d + j if self.square else j)
                log_const[k] += log(rounded[at] / chol[at])

    cdef void _about_means(self, const double *means, const float *rounded, double *own) noexcept nogil:
        """Moments about o_k + delta_k become moments about o_k:

        f_k <- f_k + n_k delta_k,   S_k <- S_k + delta_k f_k^T + f_k delta_k^T + n_k delta_k delta_k^T
        """
        cdef Py_ssize_t j, k, l, K = self.K, d = self.d
        cdef double nk, shift
        cdef double *first
        cdef double *second
        for k in range(K):
            nk = own[2 + k]
            first = own + 2 + K + k * d
            second = own + 2 + K + K * d + k * self.second_step
            for j in range(d):
                shift = self.origin[j] + <double>rounded[k * d + j] - means[k * d + j]
                if self.square:
                    # f is of the old origin before feature j and of the new one after it: together, the equation
                    for l in range(j):
                        second[l * d + j] += shift * first[l]
                    for l in range(j + 1, d):
                        second[j * d + l] += shift * first[l]
                    second[j * d + j] += shift * (2.0 * first[j] + nk * shift)
                elif self.spherical:
                    second[0] += shift * (2.0 * first[j] + nk * shift)
                else:
                    second[j] += shift * (2.0 * first[j] + nk * shift)
                first[j] += nk * shift
