# Sums of Gaussians that differ in width, of a block of sources at a block of targets: see gauss_varying.pyx.

from gaussum.kernels.real cimport real


cdef void varying_log_sum(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const real *log_weights,            # IN (n_sources,)
    const real *sharpness,              # IN (n_sources,)
    const Py_ssize_t *left_out,         # IN (n_targets,) sources that do not count for a target; or NULL
    const real *targets,                # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    const real *target_sharpness,       # IN (n_targets,); or NULL: 1
    Py_ssize_t d,                       # IN
    const real *inv_bandwidth,          # IN (d,)
    real *largest,                      # INOUT (n_targets,): m_t, at first the lowest real
    real *sums,                         # INOUT (n_targets,): g_t exp(-m_t), at first 0
    real *scratch,                      # SCRATCH (64 * (d + 1),)
) noexcept nogil


cdef void varying_log_sum_at(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const real *log_weights,            # IN (n_sources,)
    const real *sharpness,              # IN (n_sources,)
    Py_ssize_t left_out,                # IN a source that does not count, or -1
    const real *target,                 # IN (d,)
    const real *target_sharpness,       # IN (1,); or NULL: 1
    Py_ssize_t d,                       # IN
    const real *inv_bandwidth,          # IN (d,)
    real *largest,                      # INOUT (1,): m, at first the lowest real
    real *sum,                          # INOUT (1,): g exp(-m), at first 0
    real *scratch,                      # SCRATCH (n_sources,)
) noexcept nogil


cdef void varying_gradient_at(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const real *log_weights,            # IN (n_sources,)
    const real *sharpness,              # IN (n_sources,)
    const real *target,                 # IN (d,)
    Py_ssize_t d,                       # IN
    const real *inv_bandwidth,          # IN (d,)
    real *largest,                      # INOUT (1,): m, at first the lowest real
    real *sum,                          # INOUT (1,): g exp(-m), at first 0
    real *moments,                      # INOUT (d,): M_j exp(-m), at first 0
    real *scratch,                      # SCRATCH (n_sources,)
) noexcept nogil
