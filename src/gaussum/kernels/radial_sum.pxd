# Sums of radial kernels of a block of sources at a block of targets: see radial_sum.pyx for the mathematics.

from gaussum.kernels.real cimport real


cdef void radial_sum(
    Py_ssize_t kernel,                  # IN TOPHAT, EPANECHNIKOV, LINEAR, COSINE or EXPONENTIAL
    double reach,                       # IN R, in units of r
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const real *weights,                # IN (n_sources,)
    const real *targets,                # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    const real *scale,                  # IN (d,)
    real *sums,                         # INOUT (n_targets,)
    real *scratch,                      # SCRATCH (8 * d,)
) noexcept nogil


cdef void exponential_log_sum(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const real *log_weights,            # IN (n_sources,)
    const real *targets,                # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    const real *scale,                  # IN (d,) times the unit
    double unit,                        # IN a power of 2, in which no r^2 overflows
    real *largest,                      # INOUT (n_targets,): m_t, at first the lowest real
    real *sums,                         # INOUT (n_targets,): g_t exp(-m_t), at first 0
    real *scratch,                      # SCRATCH (8 * d,)
) noexcept nogil


cdef void box_ranges(
    const real *low,                    # IN (d,)
    const real *high,                   # IN (d,)
    const real *targets,                # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    const real *scale,                  # IN (d,)
    real *nearest,                      # OUT (n_targets,)
    real *farthest,                     # OUT (n_targets,)
) noexcept nogil
