# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Gradients of sums of Gaussians that differ in width, block by block of sources that lie together, without the GIL.

A block is left out where all its weight, at its place nearest to the target and with the widest of its Gaussians, comes
to less than rounding of the sum found so far; the block that could give most is taken first.
"""
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport log

from gaussum.kernels cimport gauss_varying as gv
from gaussum.kernels.lanes cimport LOWEST, simd_log
from gaussum.samples cimport ALIGNMENT, Samples, aligned

cdef enum:
    INTERRUPTIBLE = 64      # targets after which Ctrl-C is looked for

# What is left out, in nats, comes to less than this relative to what there is.
cdef double NOTHING = 41.0


cdef class VaryingSlopePass:
    """Sums and their gradients at targets.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources), C order
    log_weights, sharpness : ndarray of float64, shape (n_sources,)
    starts : ndarray of intp, shape (n_blocks + 1,)
        Of the blocks, from 0 to n_sources.
    inv_bandwidth : ndarray of float64, shape (n_features,)
    boxes : ndarray of float64, shape (n_blocks, 2, n_features)
        Around the sources of each block.
    totals, widest : ndarray of float64, shape (n_blocks,)
        The logarithm of the sum of weights, and the smallest sharpness, of a block.
    """

    cdef const double[:, ::1] sources
    cdef const double[::1] log_weights, sharpness, inv_bandwidth, totals, widest
    cdef const double[:, :, ::1] boxes
    cdef const Py_ssize_t[::1] starts
    cdef readonly Py_ssize_t scratch_size

    def __init__(self, const double[:, ::1] sources, const double[::1] log_weights, const double[::1] sharpness,
                 const Py_ssize_t[::1] starts, const double[::1] inv_bandwidth, const double[:, :, ::1] boxes,
                 const double[::1] totals, const double[::1] widest):
        cdef Py_ssize_t d = sources.shape[0], n = sources.shape[1], n_blocks = starts.shape[0] - 1, b, largest = 0
        if (
            log_weights.shape[0] != n or sharpness.shape[0] != n or inv_bandwidth.shape[0] != d or n_blocks < 1
            or boxes.shape[0] != n_blocks or boxes.shape[1] != 2 or boxes.shape[2] != d
            or totals.shape[0] != n_blocks or widest.shape[0] != n_blocks or starts[0] != 0 or starts[n_blocks] != n
        ):
            raise ValueError("sources, weights, bandwidths and blocks do not fit together")
        for b in range(n_blocks):
            if starts[b] > starts[b + 1]:
                raise ValueError("blocks are not in ascending order")
            largest = max(largest, starts[b + 1] - starts[b])
        self.sources, self.log_weights, self.sharpness, self.starts = sources, log_weights, sharpness, starts
        self.inv_bandwidth, self.boxes, self.totals, self.widest = inv_bandwidth, boxes, totals, widest
        # terms of a block, bounds of all, and of the target itself its place and its moments
        self.scratch_size = ALIGNMENT // sizeof(double) + largest + n_blocks + 2 * d

    def log_density_and_gradient(self, Samples targets, Py_ssize_t first, Py_ssize_t last, double[::1] out,
                                 double[:, ::1] gradient, double[::1] scratch):
        """Set out[first:last] to log sum_s w_s exp(-r_ts^2 / 2), and the gradient of it."""
        cdef Py_ssize_t t, d = self.sources.shape[0]
        if (scratch.shape[0] < self.scratch_size or targets.d != d or gradient.shape[1] != d
                or not 0 <= first <= last <= min(targets.n, out.shape[0], gradient.shape[0])):
            raise ValueError("scratch, out, gradient or the range of targets have the wrong size")
        with nogil:
            for t in range(first, last):
                if (t - first) % INTERRUPTIBLE == 0:
                    with gil:
                        PyErr_CheckSignals()
                targets.load(t, 1, 1, aligned(scratch))
                out[t] = self._sum(aligned(scratch), &gradient[t, 0], aligned(scratch) + d)

    cdef double _sum(self, const double *target, double *gradient, double *moments) noexcept nogil:
        cdef Py_ssize_t b, j, best = 0, d = self.sources.shape[0], n_blocks = self.totals.shape[0]
        cdef double *bounds = moments + d
        cdef double *terms = bounds + n_blocks
        cdef double largest = LOWEST, sum = 0.0, z, r2
        for b in range(n_blocks):
            r2 = 0.0
            for j in range(d):
                z = max(self.boxes[b, 0, j] - target[j], target[j] - self.boxes[b, 1, j])
                z = max(z, 0.0) * (self.inv_bandwidth[j] * self.widest[b])
                r2 += z * z
            bounds[b] = self.totals[b] - 0.5 * r2
            best = b if bounds[b] > bounds[best] else best
        for j in range(d):
            moments[j] = 0.0
        self._add(best, target, &largest, &sum, moments, terms)
        for b in range(n_blocks):
            if b != best and not bounds[b] < largest + log(sum) - NOTHING - log(<double>n_blocks):
                self._add(b, target, &largest, &sum, moments, terms)
        for j in range(d):
            gradient[j] = moments[j] / sum * self.inv_bandwidth[j] * self.inv_bandwidth[j]
        return largest + simd_log(sum)

    cdef void _add(self, Py_ssize_t b, const double *target, double *largest, double *sum, double *moments,
                   double *terms) noexcept nogil:
        cdef Py_ssize_t s = self.starts[b]
        gv.varying_gradient_at(
            &self.sources[0, s], self.sources.shape[1], self.starts[b + 1] - s, &self.log_weights[s],
            &self.sharpness[s], target, self.sources.shape[0], &self.inv_bandwidth[0], largest, sum, moments, terms
        )
