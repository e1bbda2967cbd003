# Gaussians along the axes over rows of samples as they lie: see rows.pyx for the mathematics.


cdef Py_ssize_t rows_pay(
    Py_ssize_t d,                       # IN
) noexcept nogil


cdef Py_ssize_t strips_size(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil


cdef Py_ssize_t rows_scratch(
    Py_ssize_t K,                       # IN
) noexcept nogil


cdef void pack_strips(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *means,                # IN (K, d)
    const double *precisions_chol,      # IN (K, d), or NULL
    double *strips,                     # OUT (strips_size(d, K),)
) noexcept nogil


cdef void log_prob_diag_rows(
    const double *x,                    # IN (n, d), rows `row` apart
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *strips,               # IN of pack_strips, read fastest from a multiple of 64 bytes on
    const double *precisions_chol,      # IN (K, d): not read, it is in the strips
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (rows_scratch(K),)
) noexcept nogil


cdef void log_prob_spherical_rows(
    const double *x,                    # IN (n, d), rows `row` apart
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *strips,               # IN of pack_strips, read fastest from a multiple of 64 bytes on
    const double *precisions_chol,      # IN (K,)
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (rows_scratch(K),)
) noexcept nogil


cdef void accumulate_diag_rows(
    const double *x,                    # IN (n, d), rows `row` apart
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t d,                       # IN, d >= 16
    Py_ssize_t K,                       # IN
    const double *resp,                 # IN (K, ld)
    const double *origins,              # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K, d)
) noexcept nogil


cdef void accumulate_spherical_rows(
    const double *x,                    # IN (n, d), rows `row` apart
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t d,                       # IN, d >= 16
    Py_ssize_t K,                       # IN
    const double *resp,                 # IN (K, ld)
    const double *origins,              # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K,)
) noexcept nogil
