# Gaussian sums of a block of sources at a block of targets: see gauss_sum.pyx for the mathematics.

from gaussum.kernels.real cimport real


cdef void gauss_sum(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const real *weights,                # IN (n_sources,)
    const real *targets,                # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    const real *inv_bandwidth,          # IN (d,)
    real *sums,                         # INOUT (n_targets,)
    real *scratch,                      # SCRATCH (n_targets,)
) noexcept nogil


cdef void gauss_log_sum(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const real *log_weights,            # IN (n_sources,)
    const Py_ssize_t *left_out,         # IN (n_targets,) sources that do not count for a target; or NULL
    const real *targets,                # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    const real *inv_bandwidth,          # IN (d,)
    real *largest,                      # INOUT (n_targets,): m_t, at first the lowest real
    real *sums,                         # INOUT (n_targets,): g_t exp(-m_t), at first 0
    real *scratch,                      # SCRATCH (64 * d,)
) noexcept nogil


cdef void gauss_log_moments(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const real *log_weights,            # IN (n_sources,)
    const real *targets,                # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    const real *inv_bandwidth,          # IN (d,)
    real *largest,                      # INOUT (n_targets,): m_t, at first the lowest real
    real *sums,                         # INOUT (n_targets,): g_t exp(-m_t), at first 0
    real *moments,                      # INOUT (d, ldm): in units of the data, at first 0
    Py_ssize_t ldm,                     # IN
    real *scratch,                      # SCRATCH (128 * d,)
) noexcept nogil


cdef void gauss_log_sum_at(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const real *log_weights,            # IN (n_sources,)
    Py_ssize_t left_out,                # IN a source that does not count, or -1
    const real *target,                 # IN (d,)
    Py_ssize_t d,                       # IN
    const real *inv_bandwidth,          # IN (d,)
    real *largest,                      # INOUT (1,): m, at first the lowest real
    real *sum,                          # INOUT (1,): g exp(-m), at first 0
    real *scratch,                      # SCRATCH (n_sources,)
) noexcept nogil


cdef void box_distances(
    const real *low,                    # IN (d,)
    const real *high,                   # IN (d,)
    const real *targets,                # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    const real *inv_bandwidth,          # IN (d,)
    real *r2,                           # OUT (n_targets,)
) noexcept nogil
