# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sums of Gaussians over all sources: a block of targets against block after block of sources, without the GIL.

Where sources and targets are float32, blocks are summed in float32 and added up in float64; sums that float32 does not
hold are taken in float64, as log-sums.
"""
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer

import numpy as np

from gaussum.kernels cimport gauss_sum as gs
from gaussum.kernels.lanes cimport LOWEST, simd_log
from gaussum.samples cimport ALIGNMENT, Samples, aligned, round_up

from gaussum.kernels import dispatch

cdef enum:
    # sources summed from zero before they are added to the total: few in float32, whose rounding would tell
    SOURCE_BLOCK = 256
    SINGLE_BLOCK = 64
    # sources after which Ctrl-C is looked for
    INTERRUPTIBLE = 65536

ctypedef fused real_t:
    float
    double

ctypedef void (*single_sum_t)(
    const float *, Py_ssize_t, Py_ssize_t, const float *, const float *, Py_ssize_t, Py_ssize_t, Py_ssize_t,
    const float *, float *, float *) noexcept nogil

# terms lost to underflow are below 1e-300, or 1e-36 in float32: below rounding for any sum above these
cdef double TAIL = 1e-270
cdef double SINGLE_TAIL = 1e-24


cdef single_sum_t _single_sum() except NULL:
    """gauss_sum of the kernels for float32, of the build in use."""
    capsule = dispatch.kernel_module("gauss_sum_single", dispatch.BUILD).__pyx_capi__["gauss_sum"]
    return <single_sum_t>PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))


cdef class KernelSumPass:
    """Direct sums of Gaussians at targets.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources), C order
    weights, log_weights : ndarray of float64, shape (n_sources,)
    inv_bandwidth : ndarray of float64, shape (n_features,)
    targets : Samples
    block : int
        Targets a block, and the smallest part.
    n_parts : int
    own : bool
        The targets are the sources, and each leaves itself out.
    single_sources : ndarray of float32, shape (n_features, n_sources), C order, optional
        The same sources; the targets are float32 too, and so are most of the sums.
    tails : bool
        Whether sums so small that they underflow are taken again, as log-sums; otherwise they are off, or 0.
    """

    cdef const double[:, ::1] sources
    cdef const float[:, ::1] single_sources
    cdef const double[::1] weights, log_weights, inv_bandwidth
    cdef const float[::1] single_weights, single_inv_bandwidth
    cdef double largest_weight
    cdef single_sum_t single_sum
    cdef Samples targets
    cdef bint own, tails
    cdef Py_ssize_t d, block
    cdef readonly Py_ssize_t n_parts, part_size, scratch_size

    def __init__(self, const double[:, ::1] sources, const double[::1] weights, const double[::1] log_weights,
                 const double[::1] inv_bandwidth, Samples targets, Py_ssize_t block, Py_ssize_t n_parts,
                 bint own=False, const float[:, ::1] single_sources=None, bint tails=True):
        cdef Py_ssize_t d = targets.d
        if (
            sources.shape[0] != d or inv_bandwidth.shape[0] != d or block < 1
            or weights.shape[0] != sources.shape[1] or log_weights.shape[0] != sources.shape[1]
            or own and targets.n != sources.shape[1]
        ):
            raise ValueError("sources, weights, bandwidths and targets do not fit together")
        self.sources, self.weights, self.log_weights = sources, weights, log_weights
        self.inv_bandwidth, self.targets, self.own = inv_bandwidth, targets, own
        self.d, self.block, self.tails = d, block, tails
        self.part_size = round_up(max((targets.n + n_parts - 1) // n_parts, 1), self.block)
        self.n_parts = (targets.n + self.part_size - 1) // self.part_size
        self.scratch_size = ALIGNMENT // sizeof(double) + self.block * (2 * d + 6) + SOURCE_BLOCK + 128 * d
        self.single_sources = single_sources
        if single_sources is not None:
            if not targets.single or single_sources.shape[0] != d or single_sources.shape[1] != sources.shape[1]:
                raise ValueError("single_sources, sources and targets do not fit together")
            self.single_sum = _single_sum()
            self.largest_weight = np.max(weights)
            self.single_weights = (np.asarray(weights) / self.largest_weight).astype(np.float32)
            self.single_inv_bandwidth = np.asarray(inv_bandwidth).astype(np.float32)

    def log_density(self, Py_ssize_t first, Py_ssize_t last, double[::1] out, double[::1] scratch):
        """log sum_s w_s exp(-r_ts^2 / 2) for the targets of parts first to last - 1.

        A block of sources is summed from zero and then added to the total: the rounding error grows with the number
        of blocks and with the size of one, not with their product.
        """
        cdef Py_ssize_t start, stop, n, i, ld = self.block
        cdef double *t = aligned(scratch)
        cdef double *total = t + self.d * ld
        cdef double *spare = total + ld
        cdef float *single = <float *>spare
        cdef double lowest = TAIL if self.single_sources is None else SINGLE_TAIL * self.largest_weight
        if not self.tails:
            lowest = 0.0
        if scratch.shape[0] < self.scratch_size or out.shape[0] != self.targets.n:
            raise ValueError("scratch or out have the wrong size")
        if not 0 <= first <= last <= self.n_parts:
            raise ValueError(f"parts {first} to {last} are not within 0 to {self.n_parts}")
        with nogil:
            start = first * self.part_size
            stop = min(last * self.part_size, self.targets.n)
            while start < stop:
                n = min(ld, stop - start)
                self.targets.load(start, n, ld, t)
                for i in range(n):
                    total[i] = 0.0
                if self.single_sources is None:
                    _sum_all(self, start, n, t, ld, total, spare)
                else:
                    for i in range(self.d * ld):
                        single[i] = <float>t[i] if i % ld < n else 0.0
                    _sum_all(self, start, n, single, ld, total, single + self.d * ld)
                self._logs(start, n, ld, t, total, lowest, spare, &out[start])
                start += n

    def log_density_and_gradient(self, Py_ssize_t first, Py_ssize_t last, double[::1] out, double[:, ::1] gradient,
                                 double[::1] scratch):
        """The same as log-sums, and their gradient, shape (n_targets, n_features), in float64."""
        cdef Py_ssize_t start, stop, n, i, j, m, s, ld = self.block, n_sources = self.sources.shape[1]
        cdef double *t = aligned(scratch)
        cdef double *moments = t + self.d * ld
        cdef double *largest = moments + self.d * ld
        cdef double *sums = largest + ld
        if scratch.shape[0] < self.scratch_size or out.shape[0] != self.targets.n:
            raise ValueError("scratch or out have the wrong size")
        if gradient.shape[0] != self.targets.n or gradient.shape[1] != self.d:
            raise ValueError("gradient has the wrong shape")
        if not 0 <= first <= last <= self.n_parts:
            raise ValueError(f"parts {first} to {last} are not within 0 to {self.n_parts}")
        with nogil:
            start = first * self.part_size
            stop = min(last * self.part_size, self.targets.n)
            while start < stop:
                n = min(ld, stop - start)
                self.targets.load(start, n, ld, t)
                for i in range(n):
                    largest[i], sums[i] = LOWEST, 0.0
                for i in range(self.d * ld):
                    moments[i] = 0.0
                s = 0
                while s < n_sources:
                    if s % INTERRUPTIBLE == 0:
                        with gil:
                            PyErr_CheckSignals()
                    m = min(SOURCE_BLOCK, n_sources - s)
                    gs.gauss_log_moments(&self.sources[0, s], n_sources, m, &self.log_weights[s], t, ld, n, self.d,
                                         &self.inv_bandwidth[0], largest, sums, moments, ld, sums + ld)
                    s += m
                for i in range(n):
                    out[start + i] = largest[i] + simd_log(sums[i])
                    for j in range(self.d):
                        gradient[start + i, j] = (moments[j * ld + i] / sums[i] * self.inv_bandwidth[j]
                                                  * self.inv_bandwidth[j])
                start += n

    cdef void _logs(self, Py_ssize_t start, Py_ssize_t n, Py_ssize_t ld, double *t, double *total, double lowest,
                    double *scratch, double *out) noexcept nogil:
        """Logarithms of the totals; where those are too small, log-sums, which destroy the targets t."""
        cdef Py_ssize_t i, j, n_tail = 0
        for i in range(n):
            out[i] = simd_log(total[i])
        for i in range(n):
            if total[i] < lowest:
                for j in range(self.d):
                    t[j * ld + n_tail] = t[j * ld + i]
                total[n_tail] = i       # the place of this target; n_tail <= i
                n_tail += 1
        if self.own:
            for i in range(n_tail):
                j = <Py_ssize_t>total[i]
                out[j] = self._log_sum(t + i, ld, start + j, scratch)
        elif n_tail > 0:
            self._tail(n_tail, ld, t, total, scratch, scratch + ld, scratch + 2 * ld, out)

    cdef void _tail(self, Py_ssize_t n_tail, Py_ssize_t ld, double *t, double *places, double *sums, double *largest,
                    double *more, double *out) noexcept nogil:
        """Log-sums of targets whose sum is so small that it underflows."""
        cdef Py_ssize_t i, m, s = 0, n_sources = self.sources.shape[1]
        for i in range(n_tail):
            largest[i] = LOWEST
            sums[i] = 0.0
        while s < n_sources:
            m = min(SOURCE_BLOCK, n_sources - s)
            gs.gauss_log_sum(&self.sources[0, s], n_sources, m, &self.log_weights[s], NULL, t, ld, n_tail, self.d,
                             &self.inv_bandwidth[0], largest, sums, more)
            s += m
        for i in range(n_tail):
            out[<Py_ssize_t>places[i]] = largest[i] + simd_log(sums[i])

    cdef double _log_sum(self, const double *t, Py_ssize_t ld, Py_ssize_t left_out, double *scratch) noexcept nogil:
        """The log-sum at one target, of all sources but one."""
        cdef Py_ssize_t j, m, s = 0, n_sources = self.sources.shape[1]
        cdef double largest = LOWEST, sum = 0.0
        cdef double *target = scratch + SOURCE_BLOCK
        for j in range(self.d):
            target[j] = t[j * ld]
        while s < n_sources:
            m = min(SOURCE_BLOCK, n_sources - s)
            gs.gauss_log_sum_at(&self.sources[0, s], n_sources, m, &self.log_weights[s], left_out - s, target, self.d,
                                &self.inv_bandwidth[0], &largest, &sum, scratch)
            s += m
        return largest + simd_log(sum)


cdef int _sum_all(KernelSumPass p, Py_ssize_t start, Py_ssize_t n, const real_t *t, Py_ssize_t ld, double *total,
                  real_t *sums) except -1 nogil:
    """total_t += sum_s w_s exp(-r_ts^2 / 2); targets that are sources themselves begin with source `start`"""
    cdef Py_ssize_t n_sources = p.sources.shape[1], block = SOURCE_BLOCK if real_t is double else SINGLE_BLOCK
    cdef Py_ssize_t s = 0, i, m, own_first, own_last
    cdef double scale = 1.0 if real_t is double else p.largest_weight
    while s < n_sources:
        if s % INTERRUPTIBLE == 0:
            with gil:
                PyErr_CheckSignals()
        m = min(block, n_sources - s)
        for i in range(n):
            sums[i] = 0.0
        own_first, own_last = s + m, s + m
        if p.own and start < s + m and s < start + n:
            own_first, own_last = max(s, start), min(s + m, start + n)
        _sum(p, s, own_first - s, t, ld, n, sums, sums + ld)
        for i in range(own_first, own_last):
            _sum(p, i, 1, t, ld, i - start, sums, sums + ld)
            _sum(p, i, 1, t + i + 1 - start, ld, n - (i + 1 - start), sums + i + 1 - start, sums + ld)
        _sum(p, own_last, s + m - own_last, t, ld, n, sums, sums + ld)
        for i in range(n):
            total[i] += scale * sums[i]
        s += m
    return 0


cdef inline void _sum(KernelSumPass p, Py_ssize_t first, Py_ssize_t m, const real_t *t, Py_ssize_t ld, Py_ssize_t n,
                      real_t *sums, real_t *more) noexcept nogil:
    if m == 0 or n == 0:
        return
    if real_t is double:
        gs.gauss_sum(&p.sources[0, first], p.sources.shape[1], m, &p.weights[first], t, ld, n, p.d,
                     &p.inv_bandwidth[0], sums, more)
    else:
        p.single_sum(&p.single_sources[0, first], p.sources.shape[1], m, &p.single_weights[first], t, ld, n, p.d,
                     &p.single_inv_bandwidth[0], sums, more)
