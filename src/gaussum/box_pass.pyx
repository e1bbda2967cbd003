# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Probabilities of boxes under sums of Gaussians, in any number of dimensions: every source, without the GIL."""
from cpython.exc cimport PyErr_CheckSignals

from gaussum.kernels cimport gauss_box as gb
from gaussum.kernels.lanes cimport LOWEST, simd_log
from gaussum.samples cimport ALIGNMENT, aligned

cdef enum:
    SOURCE_BLOCK = 256      # with its exponents it stays in L1
    INTERRUPTIBLE = 65536   # sources after which Ctrl-C is looked for


cdef class BoxPass:
    """Log probabilities of boxes; see kernels/gauss_box.pyx.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources), C order
    log_weights : ndarray of float64, shape (n_sources,)
    inv_bandwidth : ndarray of float64, shape (n_features,)
    low, high : ndarray of float64, shape (n_boxes, n_features), C order
        low <= high; infinities too.
    """

    cdef const double[:, ::1] sources, low, high
    cdef const double[::1] log_weights, inv_bandwidth
    cdef readonly Py_ssize_t scratch_size

    def __init__(self, const double[:, ::1] sources, const double[::1] log_weights, const double[::1] inv_bandwidth,
                 const double[:, ::1] low, const double[:, ::1] high):
        cdef Py_ssize_t d = sources.shape[0]
        if (
            log_weights.shape[0] != sources.shape[1] or inv_bandwidth.shape[0] != d or low.shape[1] != d
            or high.shape[1] != d or low.shape[0] != high.shape[0]
        ):
            raise ValueError("sources, weights, bandwidths and boxes do not fit together")
        self.sources, self.log_weights, self.inv_bandwidth = sources, log_weights, inv_bandwidth
        self.low, self.high = low, high
        self.scratch_size = ALIGNMENT // sizeof(double) + 3 * SOURCE_BLOCK

    def log_probabilities(self, Py_ssize_t first, Py_ssize_t last, double[::1] out, double[::1] scratch):
        """Set out[first:last] to the log probabilities of those boxes."""
        cdef Py_ssize_t t, s, m, n = self.sources.shape[1], d = self.sources.shape[0]
        cdef double largest, sum
        if scratch.shape[0] < self.scratch_size or not 0 <= first <= last <= min(out.shape[0], self.low.shape[0]):
            raise ValueError("scratch, out or the range of boxes have the wrong size")
        with nogil:
            for t in range(first, last):
                largest, sum = LOWEST, 0.0
                s = 0
                while s < n:
                    if s % INTERRUPTIBLE == 0:
                        with gil:
                            PyErr_CheckSignals()
                    m = min(<Py_ssize_t>SOURCE_BLOCK, n - s)
                    gb.box_log_sum(&self.sources[0, s], n, m, &self.log_weights[s], &self.low[t, 0], &self.high[t, 0],
                                   d, &self.inv_bandwidth[0], &largest, &sum, aligned(scratch))
                    s += m
                out[t] = largest + simd_log(sum)
