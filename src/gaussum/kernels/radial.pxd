# Kernels that are functions of the distance r alone, and are 0 from the reach R on, but for the exponential.

from gaussum.kernels.real cimport real
from gaussum.kernels.vec cimport real_exp_nonpositive, real_fused

cdef enum:
    TOPHAT                              # 1
    EPANECHNIKOV                        # R^2 - r^2
    LINEAR                              # R - r
    COSINE                              # cos(pi r / (2 R))
    EXPONENTIAL                         # exp(-r)


cdef inline real quarter_cosine(real u) noexcept nogil:
    """cos(pi sqrt(u) / 2) for 0 <= u <= 1: 1 - u times a polynomial, relative error 2^-56.3 before rounding"""
    cdef real q = 5.10846968542241e-13        # interpolates the quotient at Chebyshev points
    q = real_fused(q, u, -6.510529156797684e-11)
    q = real_fused(q, u, 6.321440904258357e-09)
    q = real_fused(q, u, -4.647659915952978e-07)
    q = real_fused(q, u, 2.473727635883673e-05)
    q = real_fused(q, u, -0.0008945229984736444)
    q = real_fused(q, u, 0.019968957764878077)
    q = real_fused(q, u, -0.23370055013616983)
    q = real_fused(q, u, 1.0)
    return (1 - u) * q


cdef inline real radial_term(
    Py_ssize_t kernel, real x, real reach, real reach2, real inv_reach2
) noexcept nogil:
    """K(x) of the linear and the exponential kernel, K(sqrt(x)) of the others; `kernel` known to the compiler"""
    cdef real y
    if kernel == EXPONENTIAL:
        return real_exp_nonpositive(-x)
    if kernel == TOPHAT:
        return 1.0 if x < reach2 else 0.0
    if kernel == COSINE:
        y = x * inv_reach2
        return quarter_cosine(y if y < 1 else 1.0)
    y = (reach if kernel == LINEAR else reach2) - x
    return y if y > 0 else 0.0
