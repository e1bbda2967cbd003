# The only place that cimports LAPACK.  A C-ordered matrix is its own transpose in Fortran's eyes, so "lower" and
# "upper" are exchanged below.  Sizes must be below 2^31, LAPACK's ints.

from scipy.linalg.cython_lapack cimport dpotrf, dtrtri


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
