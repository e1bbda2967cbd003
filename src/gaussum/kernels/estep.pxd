# The E-step over one block: see estep.pyx for the mathematics.

from gaussum.kernels.real cimport real


cdef Py_ssize_t estep_scratch(
    Py_ssize_t d,                       # IN
    Py_ssize_t ld,                      # IN
) noexcept nogil


cdef void log_prob_full(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *means,                  # IN (K, d)
    const real *precisions_chol,        # IN (K, d, d)
    const real *log_const,              # IN (K,)
    real *log_prob,                     # OUT (K, ld)
    real *scratch,                      # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil


cdef void log_prob_tied(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *means,                  # IN (K, d)
    const real *precisions_chol,        # IN (d, d)
    const real *log_const,              # IN (K,)
    real *log_prob,                     # OUT (K, ld)
    real *scratch,                      # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil


cdef void log_prob_diag(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *means,                  # IN (K, d)
    const real *precisions_chol,        # IN (K, d)
    const real *log_const,              # IN (K,)
    real *log_prob,                     # OUT (K, ld)
    real *scratch,                      # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil


cdef void log_prob_spherical(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *means,                  # IN (K, d)
    const real *precisions_chol,        # IN (K,)
    const real *log_const,              # IN (K,)
    real *log_prob,                     # OUT (K, ld)
    real *scratch,                      # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil


cdef void log_densities(
    const real *log_prob,               # IN (K, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t K,                       # IN
    real *log_density,                  # OUT (n,)
    real *scratch,                      # SCRATCH (ld,)
) noexcept nogil


cdef void responsibilities(
    real *log_prob,                     # INOUT (K, ld): log p_ik, then r_ik
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t K,                       # IN
    real *log_density,                  # OUT (n,)
    real *scratch,                      # SCRATCH (ld,)
) noexcept nogil


cdef double weigh(
    real *resp,                         # INOUT (K, ld): r_ik, then w_i r_ik
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t K,                       # IN
    const real *log_density,            # IN (n,)
    const double *sample_weight,        # IN (n,), or NULL: all 1
) noexcept nogil


cdef void most_probable(
    const real *log_prob,               # IN (K, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t *labels,                 # OUT (n,)
    real *largest,                      # OUT (n,)
) noexcept nogil
