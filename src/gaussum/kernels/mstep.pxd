# The M-step: see mstep.pyx for the mathematics.

from gaussum.kernels.real cimport real


cdef Py_ssize_t mstep_scratch(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t ld,                      # IN
) noexcept nogil


cdef void accumulate_full(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *resp,                   # IN (K, ld)
    const real *origins,                # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K, d, d), upper triangles
    real *scratch,                      # SCRATCH (mstep_scratch(d, K, ld),)
) noexcept nogil


cdef void accumulate_tied(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *resp,                   # IN (K, ld)
    const real *origins,                # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (d, d), upper triangle
    real *scratch,                      # SCRATCH (mstep_scratch(d, K, ld),)
) noexcept nogil


cdef void accumulate_diag(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *resp,                   # IN (K, ld)
    const real *origins,                # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K, d)
    real *scratch,                      # SCRATCH (mstep_scratch(d, K, ld),)
) noexcept nogil


cdef void accumulate_spherical(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *resp,                   # IN (K, ld)
    const real *origins,                # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K,)
    real *scratch,                      # SCRATCH (mstep_scratch(d, K, ld),)
) noexcept nogil


cdef Py_ssize_t parameters_full(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *nk,                   # IN (K,)
    const double *first,                # IN (K, d)
    const double *second,               # IN (K, d, d), upper triangles
    const double *origins,              # IN (K, d)
    const double *ridge,                # IN (d,)
    double *means,                      # OUT (K, d)
    double *covariances,                # OUT (K, d, d)
    double *precisions_chol,            # OUT (K, d, d)
    double *log_det,                    # OUT (K,): log det U_k
    double *scratch,                    # SCRATCH (d,)
) noexcept nogil


cdef Py_ssize_t parameters_tied(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *nk,                   # IN (K,)
    const double *first,                # IN (K, d)
    const double *second,               # IN (d, d), upper triangle
    const double *origins,              # IN (K, d)
    const double *ridge,                # IN (d,)
    double *means,                      # OUT (K, d)
    double *covariance,                 # OUT (d, d)
    double *precisions_chol,            # OUT (d, d)
    double *log_det,                    # OUT (K,): log det U, K times
    double *scratch,                    # SCRATCH (d,)
) noexcept nogil


cdef Py_ssize_t parameters_diag(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *nk,                   # IN (K,)
    const double *first,                # IN (K, d)
    const double *second,               # IN (K, d)
    const double *origins,              # IN (K, d)
    const double *ridge,                # IN (d,)
    double *means,                      # OUT (K, d)
    double *covariances,                # OUT (K, d)
    double *precisions_chol,            # OUT (K, d)
    double *log_det,                    # OUT (K,)
    double *scratch,                    # SCRATCH (d,)
) noexcept nogil


cdef Py_ssize_t parameters_spherical(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *nk,                   # IN (K,)
    const double *first,                # IN (K, d)
    const double *second,               # IN (K,)
    const double *origins,              # IN (K, d)
    const double *ridge,                # IN (d,)
    double *means,                      # OUT (K, d)
    double *covariances,                # OUT (K,)
    double *precisions_chol,            # OUT (K,)
    double *log_det,                    # OUT (K,)
    double *scratch,                    # SCRATCH (d,)
) noexcept nogil
