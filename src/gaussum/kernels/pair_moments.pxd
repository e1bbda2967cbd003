# Gaussian sums over pairs with moments of their differences: see pair_moments.pyx for the mathematics.


cdef void pair_moments(
    const double *sources,              # IN (d, lds), in bandwidths
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const double *weights,              # IN (n_sources,)
    const double *targets,              # IN (d, ldt), in bandwidths
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t own,                     # IN the source that target 0 is and leaves out; the others follow
    const double *nearest,              # IN (n_targets,): o_t, at most any r_ts^2, or NULL: 0
    double *sums,                       # INOUT (n_targets,)
    double *moments,                    # INOUT (d (d + 1) / 2, ldt)
    double *scratch,                    # SCRATCH ((d + 1) * 32,)
) noexcept nogil


cdef void pair_derivatives(
    const double *sources,              # IN (d, lds), in bandwidths
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const double *weights,              # IN (n_sources,)
    const double *targets,              # IN (d, ldt), in bandwidths
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    const double *target_weights,       # IN (n_targets,)
    Py_ssize_t d,                       # IN
    const double *radial,               # IN (3, 2): a_k and b_k for k = 0, 2, 4
    double *totals,                     # INOUT (1 + d (d + 1) / 2 + d (d + 1) (d + 2) (d + 3) / 24, 32), in lanes
    double *scratch,                    # SCRATCH ((d + 1) * 32,)
) noexcept nogil


cdef void nearest_pairs(
    const double *sources,              # IN (d, lds), in bandwidths
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const double *targets,              # IN (d, ldt), in bandwidths
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t own,                     # IN the source that target 0 is and leaves out; the others follow
    double *nearest,                    # INOUT (n_targets,), at first infinity
    double *scratch,                    # SCRATCH ((d + 1) * 32,)
) noexcept nogil
