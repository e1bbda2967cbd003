# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Probabilities of intervals under sums of kernels on a line that are functions of the distance, without the GIL.

    P = sum_s w_s integral from u_s to v_s of K,   u_s = (low - s) / h, v_s = (high - s) / h

with K of integral 1. Each half of a kernel is integrated from where its end is, so that nothing cancels: with
0 <= u < v, a = R - v and b = R - u, R being where it ends (1), the integrals are (v - u) times

    tophat 1 / 2,  linear (a + b) / 2,  epanechnikov 3 / 4 (a + b - (a^2 + a b + b^2) / 3)

and for the cosine sin(pi (v - u) / 4) sin(pi (a + b) / 4), for the exponential exp(-u) (1 - exp(u - v)) / 2.
"""
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY, exp, expm1, sin

from gaussum.kernels.radial cimport COSINE, EPANECHNIKOV, EXPONENTIAL, LINEAR

cdef enum:
    INTERRUPTIBLE = 256     # intervals after which Ctrl-C is looked for

cdef double QUARTER_PI = 0.7853981633974483


cdef inline double _half(Py_ssize_t kernel, double u, double v, double length) noexcept nogil:
    """The integral over 0 <= u <= v, v - u = length, of the kernel; v <= 1 where it ends there"""
    cdef double a = 1.0 - v, b = 1.0 - u
    if kernel == EXPONENTIAL:
        return -0.5 * exp(-u) * expm1(-length)
    if kernel == LINEAR:
        return 0.5 * length * (a + b)
    if kernel == EPANECHNIKOV:
        return 0.75 * length * (a + b - (a * a + a * b + b * b) / 3.0)
    if kernel == COSINE:
        return sin(QUARTER_PI * length) * sin(QUARTER_PI * (a + b))
    return 0.5 * length


cdef inline double _integral(Py_ssize_t kernel, double u, double v, double length) noexcept nogil:
    """The integral over u <= v, v - u = length, of the kernel"""
    cdef double end = INFINITY if kernel == EXPONENTIAL else 1.0
    if u >= end or v <= -end:
        return 0.0
    if u < -end or v > end:                 # it is cut off
        u, v = max(u, -end), min(v, end)
        length = v - u
    if u >= 0.0:
        return _half(kernel, u, v, length)
    if v <= 0.0:
        return _half(kernel, -v, -u, length)
    return _half(kernel, 0.0, -u, -u) + _half(kernel, 0.0, v, v)


def add_integrals(Py_ssize_t kernel, const double[::1] sources, const double[::1] weights, double inv_bandwidth,
                  const double[::1] low, const double[::1] high, const Py_ssize_t[::1] begin,
                  const Py_ssize_t[::1] end, Py_ssize_t first, Py_ssize_t last, double[::1] out):
    """Add to out[first:last] the probabilities that sources begin_t to end_t - 1 give to those intervals."""
    cdef Py_ssize_t t, s
    cdef double total
    if (not 0 <= first <= last <= min(low.shape[0], high.shape[0], begin.shape[0], end.shape[0], out.shape[0])
            or weights.shape[0] != sources.shape[0]):
        raise ValueError("sources and weights, or the range of intervals, have the wrong size")
    with nogil:
        for t in range(first, last):
            if t % INTERRUPTIBLE == 0:
                with gil:
                    PyErr_CheckSignals()
            total = 0.0
            for s in range(max(begin[t], 0), min(end[t], sources.shape[0])):
                total += weights[s] * _integral(
                    kernel, (low[t] - sources[s]) * inv_bandwidth, (high[t] - sources[s]) * inv_bandwidth,
                    (high[t] - low[t]) * inv_bandwidth
                )
            out[t] += total


def decaying_sums(const double[::1] sources, const double[::1] weights, double inv_bandwidth, double[::1] out):
    """out_i = sum over s <= i of w_s exp(-|x_i - x_s| / h), of sources in order, ascending or descending."""
    cdef Py_ssize_t i
    cdef double total = 0.0, distance
    if weights.shape[0] != sources.shape[0] or out.shape[0] != sources.shape[0]:
        raise ValueError("sources, weights and out have different sizes")
    with nogil:
        for i in range(sources.shape[0]):
            distance = (sources[i] - sources[i - 1]) * inv_bandwidth if i > 0 else 0.0
            total = total * exp(-distance if distance > 0.0 else distance) + weights[i]
            out[i] = total
