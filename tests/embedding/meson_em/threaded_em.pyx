# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""EM for Gaussian mixtures from gaussum's kernels for blocks, without the GIL, on threads of its own.

Parts of the samples are formed from zero and merged in their order, so the result does not depend on the threads; and
since parts and blocks have the sizes that gaussum's own passes take, it is GaussianMixture's to the last bit.
"""
import threading

import numpy as np

from libc.stdint cimport uintptr_t

from gaussum.kernels cimport mixture


def em(const double[:, ::1] X, int structure, double[::1] parameters, Py_ssize_t n_components,
       const double[::1] ridge, const double[::1] sample_weight=None, Py_ssize_t n_iter=1, Py_ssize_t n_threads=2):
    """Iterate in place of `parameters`; the covariances, and the log-likelihood of every iteration's E-step.

    `structure`, `parameters` (their layout is in gaussum.h), `ridge` and `sample_weight` are what gaussum.embed gives.
    """
    cdef Py_ssize_t n = X.shape[0], d = X.shape[1], K = n_components, iteration, part, failed
    cdef Py_ssize_t part_size = mixture.part_size(structure, d, K, n), n_parts = (n + part_size - 1) // part_size
    cdef Py_ssize_t size = mixture.statistics_size(structure, d, K)
    if size < 0 or parameters.shape[0] != mixture.parameters_size(structure, d, K) or ridge.shape[0] != d:
        raise ValueError("structure, parameters, ridge and X do not fit together")
    if n_threads < 1:
        raise ValueError(f"n_threads is {n_threads}; expected at least 1")
    if sample_weight is not None and sample_weight.shape[0] != n:
        raise ValueError("sample_weight and X do not fit together")
    cdef double[:, ::1] parts = np.empty((n_parts, size))
    cdef double[::1] total = np.empty(size), origins = np.empty(K * d)
    cdef double[::1] covariances = np.empty(mixture.second_size(structure, d, K))
    cdef double[:, ::1] scratch = np.empty((n_threads, mixture.mixture_scratch(structure, d, K)))
    log_likelihoods = []

    def work(Py_ssize_t first, double[::1] own):
        cdef Py_ssize_t p = first, start, stop
        with nogil:
            while p < n_parts:
                start, stop = p * part_size, min((p + 1) * part_size, n)
                expect(structure, d, K, stop - start, &X[start, 0],
                       &sample_weight[start] if sample_weight is not None else NULL, &parameters[0], &parts[p, 0],
                       &own[0])
                p += n_threads

    for iteration in range(n_iter):
        threads = [threading.Thread(target=work, args=(i, scratch[i])) for i in range(n_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with nogil:
            total[:] = 0.0
            for part in range(n_parts):
                mixture.merge_statistics(size, &parts[part, 0], &total[0])
            origins[:] = parameters[2 * K : 2 * K + K * d]
            failed = mixture.mixture_maximize(structure, d, K, &total[0], &origins[0], &ridge[0], &parameters[0],
                                              &covariances[0], &scratch[0, 0])
        if failed:
            raise ValueError(f"component {failed - 1} collapsed")
        log_likelihoods.append(total[0])
    return np.asarray(covariances), log_likelihoods


cdef void expect(int structure, Py_ssize_t d, Py_ssize_t K, Py_ssize_t n, const double *X, const double *weight,
                 const double *parameters, double *statistics, double *scratch) noexcept nogil:
    """The statistics of one part; mixture.mixture_statistics does the same."""
    cdef Py_ssize_t i, m, start = 0, ld = mixture.block_size(structure, d, K)
    # of the scratch, mixture_scratch leaves a cache line to begin at one
    cdef double *x = <double *>((<uintptr_t>scratch + 63) // 64 * 64)   # (d, ld)
    cdef double *r = x + d * ld             # (K, ld)
    cdef double *log_density = r + K * ld   # (ld,)
    cdef double *spare = log_density + ld
    for i in range(mixture.statistics_size(structure, d, K)):
        statistics[i] = 0.0
    while start < n:
        m = min(ld, n - start)
        mixture.block_load(d, m, X + start * d, d, 1, ld, x)
        mixture.block_log_prob(structure, d, K, m, ld, x, parameters, r, spare)
        mixture.block_responsibilities(K, m, ld, r, log_density, spare)
        mixture.block_weigh(K, m, ld, r, log_density, weight + start if weight != NULL else NULL, statistics)
        mixture.block_accumulate(structure, d, K, m, ld, x, r, parameters + 2 * K, statistics, spare)
        start += m
