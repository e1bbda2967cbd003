# The E-step over one block: see estep.pyx for the mathematics.


cdef Py_ssize_t estep_scratch(
    Py_ssize_t d,                       # IN
    Py_ssize_t ld,                      # IN
) noexcept nogil


cdef void log_prob_full(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *means,                # IN (K, d)
    const double *precisions_chol,      # IN (K, d, d)
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil


cdef void log_prob_tied(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *means,                # IN (K, d)
    const double *precisions_chol,      # IN (d, d)
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil


cdef void log_prob_diag(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *means,                # IN (K, d)
    const double *precisions_chol,      # IN (K, d)
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil


cdef void log_prob_spherical(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *means,                # IN (K, d)
    const double *precisions_chol,      # IN (K,)
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil


cdef void log_densities(
    const double *log_prob,             # IN (K, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t K,                       # IN
    double *log_density,                # OUT (n,)
    double *scratch,                    # SCRATCH (ld,)
) noexcept nogil


cdef void responsibilities(
    double *log_prob,                   # INOUT (K, ld): log p_ik, then r_ik
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t K,                       # IN
    double *log_density,                # OUT (n,)
    double *scratch,                    # SCRATCH (ld,)
) noexcept nogil
