# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""exp and log of numbers in a row, within one unit in the last place over their whole range.

What a position holds depends on the number there alone, not on its neighbours, nor on n.
"""
from gaussum.kernels.lanes cimport simd_exp, simd_log


cdef api void exp_array(
    Py_ssize_t n,                       # IN
    const double *x,                    # IN (n,)
    double *out,                        # OUT (n,), may be x
) noexcept nogil:
    """out_i = exp(x_i)"""
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = simd_exp(x[i])


cdef api void log_array(
    Py_ssize_t n,                       # IN
    const double *x,                    # IN (n,)
    double *out,                        # OUT (n,), may be x
) noexcept nogil:
    """out_i = log(x_i): -inf at 0, NaN below"""
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = simd_log(x[i])
