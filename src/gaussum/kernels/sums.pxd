# Gaussian sums of any numbers of sources at targets: see sums.pyx. Public (see gaussum.h).


cdef Py_ssize_t sum_scratch(
    Py_ssize_t d,                       # IN
) noexcept nogil


cdef void gaussian_sum(
    Py_ssize_t d,                       # IN
    Py_ssize_t n_sources,               # IN
    const double *sources,              # IN (n_sources, d), strides `source_row` and `source_column`
    Py_ssize_t source_row,              # IN in doubles
    Py_ssize_t source_column,           # IN in doubles
    const double *weights,              # IN (n_sources,), or NULL: all 1
    Py_ssize_t n_targets,               # IN
    const double *targets,              # IN (n_targets, d), strides `target_row` and `target_column`
    Py_ssize_t target_row,              # IN in doubles
    Py_ssize_t target_column,           # IN in doubles
    const double *bandwidth,            # IN (d,)
    double *sums,                       # INOUT (n_targets,)
    double *scratch,                    # SCRATCH (sum_scratch(d),)
) noexcept nogil


cdef void gaussian_log_sum(
    Py_ssize_t d,                       # IN
    Py_ssize_t n_sources,               # IN
    const double *sources,              # IN (n_sources, d), strides `source_row` and `source_column`
    Py_ssize_t source_row,              # IN in doubles
    Py_ssize_t source_column,           # IN in doubles
    const double *log_weights,          # IN (n_sources,), or NULL: all 0
    Py_ssize_t n_targets,               # IN
    const double *targets,              # IN (n_targets, d), strides `target_row` and `target_column`
    Py_ssize_t target_row,              # IN in doubles
    Py_ssize_t target_column,           # IN in doubles
    const double *bandwidth,            # IN (d,)
    double *log_sums,                   # OUT (n_targets,)
    double *scratch,                    # SCRATCH (sum_scratch(d),)
) noexcept nogil
