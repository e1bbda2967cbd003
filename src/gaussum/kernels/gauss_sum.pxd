# Gaussian sums of a block of sources at a block of targets: see gauss_sum.pyx for the mathematics.


cdef void gauss_sum(
    const double *sources,              # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const double *weights,              # IN (n_sources,)
    const double *targets,              # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    const double *inv_bandwidth,        # IN (d,)
    double *sums,                       # INOUT (n_targets,)
    double *scratch,                    # SCRATCH (n_targets,)
) noexcept nogil


cdef void gauss_log_sum(
    const double *sources,              # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const double *log_weights,          # IN (n_sources,)
    const double *targets,              # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    const double *inv_bandwidth,        # IN (d,)
    double *largest,                    # INOUT (n_targets,): m_t, at first the lowest double
    double *sums,                       # INOUT (n_targets,): g_t exp(-m_t), at first 0
    double *scratch,                    # SCRATCH (2 * n_targets,)
) noexcept nogil
