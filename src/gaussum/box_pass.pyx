# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Probabilities of boxes under sums of Gaussians, in any number of dimensions: every source, without the GIL."""
from cpython.exc cimport PyErr_CheckSignals

from gaussum.kernels cimport gauss_box as gb
from gaussum.kernels.lanes cimport LOWEST, simd_log
from gaussum.samples cimport ALIGNMENT, aligned

cdef enum:
    INTERRUPTIBLE = 256     # blocks after which Ctrl-C is looked for


cdef class BoxPass:
    """Log probabilities of boxes; see kernels/gauss_box.pyx.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources), C order
    log_weights, sharpness : ndarray of float64, shape (n_sources,)
    starts : ndarray of intp, shape (n_blocks + 1,)
        Of the blocks, from 0 to n_sources; in a block the sharpness is alike.
    inv_bandwidth : ndarray of float64, shape (n_features,)
    low, high : ndarray of float64, shape (n_boxes, n_features), C order
        low <= high; infinities too.
    """

    cdef const double[:, ::1] sources, low, high
    cdef const double[::1] log_weights, sharpness, inv_bandwidth
    cdef const Py_ssize_t[::1] starts
    cdef readonly Py_ssize_t scratch_size

    def __init__(self, const double[:, ::1] sources, const double[::1] log_weights, const double[::1] sharpness,
                 const Py_ssize_t[::1] starts, const double[::1] inv_bandwidth, const double[:, ::1] low,
                 const double[:, ::1] high):
        cdef Py_ssize_t d = sources.shape[0], b, largest = 0
        if (
            log_weights.shape[0] != sources.shape[1] or sharpness.shape[0] != sources.shape[1]
            or inv_bandwidth.shape[0] != d or low.shape[1] != d or high.shape[1] != d or low.shape[0] != high.shape[0]
            or starts.shape[0] < 1 or starts[0] != 0 or starts[starts.shape[0] - 1] != sources.shape[1]
        ):
            raise ValueError("sources, weights, bandwidths and boxes do not fit together")
        self.sources, self.log_weights, self.sharpness = sources, log_weights, sharpness
        self.inv_bandwidth, self.starts = inv_bandwidth, starts
        self.low, self.high = low, high
        for b in range(starts.shape[0] - 1):
            if starts[b] > starts[b + 1]:
                raise ValueError("blocks are not in ascending order")
            largest = max(largest, starts[b + 1] - starts[b])
        self.scratch_size = ALIGNMENT // sizeof(double) + 3 * largest

    def log_probabilities(self, Py_ssize_t first, Py_ssize_t last, double[::1] out, double[::1] scratch):
        """Set out[first:last] to the log probabilities of those boxes."""
        cdef Py_ssize_t t, b, s, m, n = self.sources.shape[1], d = self.sources.shape[0]
        cdef double largest, sum
        if scratch.shape[0] < self.scratch_size or not 0 <= first <= last <= min(out.shape[0], self.low.shape[0]):
            raise ValueError("scratch, out or the range of boxes have the wrong size")
        with nogil:
            for t in range(first, last):
                largest, sum = LOWEST, 0.0
                for b in range(self.starts.shape[0] - 1):
                    if b % INTERRUPTIBLE == 0:
                        with gil:
                            PyErr_CheckSignals()
                    s, m = self.starts[b], self.starts[b + 1] - self.starts[b]
                    gb.box_log_sum(&self.sources[0, s], n, m, &self.log_weights[s], &self.sharpness[s], &self.low[t, 0],
                                   &self.high[t, 0], d, &self.inv_bandwidth[0], &largest, &sum, aligned(scratch))
                out[t] = largest + simd_log(sum)
