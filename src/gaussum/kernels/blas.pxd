# The only place that cimports BLAS and LAPACK.  Matrices here are in C order; a C-ordered matrix is its own
# transpose in Fortran's eyes, so "lower" and "upper", "left" and "right" are exchanged below. Sizes and leading
# dimensions must be below 2^31, BLAS's ints.

from scipy.linalg.cython_blas cimport dsyrk, dtrmm
from scipy.linalg.cython_lapack cimport dpotrf, dtrtri


cdef inline void multiply_upper(
    double *xt,                # INOUT (d, ld): row j holds feature j of n samples
    Py_ssize_t ld,             # IN
    Py_ssize_t n,              # IN
    Py_ssize_t d,              # IN
    const double *upper,       # IN (d, d), upper triangular
) noexcept nogil:
    """x_i <- x_i U for every sample i: half the flops of a full product."""
    cdef int n_ = <int>n, d_ = <int>d, ld_ = <int>ld
    cdef double one = 1.0
    cdef char right = b"R", lower = b"L", transposed = b"T", general = b"N"
    dtrmm(&right, &lower, &transposed, &general, &n_, &d_, &one, <double *>upper, &d_, xt, &ld_)


cdef inline void add_scatter(
    const double *xt,          # IN (d, ld): row j holds feature j of n samples
    Py_ssize_t ld,             # IN
    Py_ssize_t n,              # IN
    Py_ssize_t d,              # IN
    double *scatter,           # INOUT (d, d), upper triangle
) noexcept nogil:
    """S <- S + sum_i x_i x_i^T in the upper triangle of S: half the flops of a full product."""
    cdef int n_ = <int>n, d_ = <int>d, ld_ = <int>ld
    cdef double one = 1.0
    cdef char lower = b"L", transposed = b"T"
    dsyrk(&lower, &transposed, &d_, &n_, &one, <double *>xt, &ld_, &one, scatter, &d_)


cdef inline int inverse_cholesky(
    double *a,                 # INOUT (d, d): the upper triangle of A, then U
    Py_ssize_t d,              # IN
) noexcept nogil:
    """Upper triangular U with U U^T = A^-1, that is U = L^-T of A = L L^T.  Not 0: A is not positive definite."""
    cdef int d_ = <int>d, info = 0
    cdef char lower = b"L", general = b"N"
    cdef Py_ssize_t i, j
    dpotrf(&lower, &d_, a, &d_, &info)
    if info == 0:
        dtrtri(&lower, &general, &d_, a, &d_, &info)
    for i in range(1, d):
        for j in range(i):
            a[i * d + j] = 0.0
    return info
