# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sums of Gaussians over all sources: a block of targets against block after block of sources, without the GIL."""
from cpython.exc cimport PyErr_CheckSignals

from gaussum.kernels cimport gauss_sum as gs
from gaussum.kernels.lanes cimport LOWEST, simd_log
from gaussum.samples cimport ALIGNMENT, Samples, aligned, round_up

cdef enum:
    # sources summed from zero before they are added to the total
    SOURCE_BLOCK = 256
    # sources after which Ctrl-C is looked for
    INTERRUPTIBLE = 65536


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
    """

    cdef const double[:, ::1] sources
    cdef const double[::1] weights, log_weights, inv_bandwidth
    cdef Samples targets
    cdef Py_ssize_t d, block
    cdef readonly Py_ssize_t n_parts, part_size, scratch_size

    def __init__(self, const double[:, ::1] sources, const double[::1] weights, const double[::1] log_weights,
                 const double[::1] inv_bandwidth, Samples targets, Py_ssize_t block, Py_ssize_t n_parts):
        cdef Py_ssize_t d = targets.d
        if (
            sources.shape[0] != d or inv_bandwidth.shape[0] != d or block < 1
            or weights.shape[0] != sources.shape[1] or log_weights.shape[0] != sources.shape[1]
        ):
            raise ValueError("sources, weights, bandwidths and targets do not fit together")
        self.sources, self.weights, self.log_weights = sources, weights, log_weights
        self.inv_bandwidth, self.targets = inv_bandwidth, targets
        self.d, self.block = d, block
        self.part_size = round_up((targets.n + n_parts - 1) // n_parts, self.block)
        self.n_parts = (targets.n + self.part_size - 1) // self.part_size
        self.scratch_size = ALIGNMENT // sizeof(double) + self.block * (d + 5)

    def log_density(self, Py_ssize_t first, Py_ssize_t last, double[::1] out, double[::1] scratch):
        """log sum_s w_s exp(-r_ts^2 / 2) for the targets of parts first to last - 1.

        A block of sources is summed from zero and then added to the total: the rounding error grows with the number
        of blocks and with the size of one, not with their product.
        """
        cdef Py_ssize_t start, stop, n, m, i, s, ld = self.block, n_sources = self.sources.shape[1]
        cdef double *t = aligned(scratch)
        cdef double *total = t + self.d * ld
        cdef double *sums = total + ld
        cdef double *largest = sums + ld
        cdef double *more = largest + ld
        cdef bint tail
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
                s = 0
                while s < n_sources:
                    if s % INTERRUPTIBLE == 0:
                        with gil:
                            PyErr_CheckSignals()
                    m = min(SOURCE_BLOCK, n_sources - s)
                    for i in range(n):
                        sums[i] = 0.0
                    gs.gauss_sum(&self.sources[0, s], n_sources, m, &self.weights[s], t, ld, n, self.d,
                                 &self.inv_bandwidth[0], sums, more)
                    for i in range(n):
                        total[i] += sums[i]
                    s += m
                tail = False
                for i in range(n):
                    # terms lost to underflow are below 1e-300: below rounding for any sum above 1e-270
                    if total[i] < 1e-270:
                        tail = True
                    out[start + i] = simd_log(total[i])
                if tail:
                    self._tail(n, ld, t, total, sums, largest, more, &out[start])
                start += n

    cdef void _tail(self, Py_ssize_t n, Py_ssize_t ld, double *t, double *total, double *sums, double *largest,
                    double *more, double *out) noexcept nogil:
        """Log-sums of the targets whose sum is so small that it underflows."""
        cdef Py_ssize_t i, j, m, s, n_tail = 0, n_sources = self.sources.shape[1]
        for i in range(n):
            if total[i] < 1e-270:
                for j in range(self.d):
                    t[j * ld + n_tail] = t[j * ld + i]
                total[n_tail] = i       # the place of this target; n_tail <= i
                n_tail += 1
        for i in range(n_tail):
            largest[i] = LOWEST
            sums[i] = 0.0
        s = 0
        while s < n_sources:
            m = min(SOURCE_BLOCK, n_sources - s)
            gs.gauss_log_sum(&self.sources[0, s], n_sources, m, &self.log_weights[s], t, ld, n_tail, self.d,
                             &self.inv_bandwidth[0], largest, sums, more)
            s += m
        for i in range(n_tail):
            out[<Py_ssize_t>total[i]] = largest[i] + simd_log(sums[i])
