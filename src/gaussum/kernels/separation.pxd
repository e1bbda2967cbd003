# How far the samples of one component stay clear of the others: see separation.pyx for the mathematics.


cdef Py_ssize_t reach_scratch(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil


cdef void reach_full(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t a,                       # IN
    const double *means,                # IN (d, K)
    const double *precisions_chol,      # IN (d, d, K)
    const double *margin,               # IN (K,)
    double *reach,                      # OUT (K,)
    double *scratch,                    # SCRATCH (reach_scratch(d, K),)
) noexcept nogil


cdef void reach_tied(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t a,                       # IN
    const double *means,                # IN (d, K)
    const double *precisions_chol,      # IN (d, d)
    const double *margin,               # IN (K,)
    double *reach,                      # OUT (K,)
    double *scratch,                    # SCRATCH (reach_scratch(d, K),)
) noexcept nogil


cdef void reach_diag(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t a,                       # IN
    const double *means,                # IN (d, K)
    const double *precisions_chol,      # IN (d, K)
    const double *margin,               # IN (K,)
    double *reach,                      # OUT (K,)
    double *scratch,                    # SCRATCH (reach_scratch(d, K),)
) noexcept nogil


cdef void reach_spherical(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t a,                       # IN
    const double *means,                # IN (d, K)
    const double *precisions_chol,      # IN (K,)
    const double *margin,               # IN (K,)
    double *reach,                      # OUT (K,)
    double *scratch,                    # SCRATCH (reach_scratch(d, K),)
) noexcept nogil
