# Gaussian sums by way of a regular grid: see gauss_grid.pyx for the mathematics.


cdef void gauss_spread(
    const double *sources,              # IN (d, lds) in units of the spacing, from the grid's first node
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const double *weights,              # IN (n_sources,)
    Py_ssize_t d,                       # IN 1, 2 or 3
    Py_ssize_t width,                   # IN 16, 24 or 32: nodes along an axis that a source reaches
    double spacing,                     # IN in bandwidths
    const Py_ssize_t *strides,          # IN (d,) of the grid's axes, in numbers; the last is 1
    double *grid,                       # INOUT (nodes,)
) noexcept nogil


cdef void gauss_gather(
    const double *targets,              # IN (d, ldt) in units of the spacing, from the grid's first node
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN 1, 2 or 3
    Py_ssize_t width,                   # IN 16, 24 or 32: nodes along an axis that a target reaches
    double spacing,                     # IN in bandwidths
    const Py_ssize_t *strides,          # IN (d,) of the grid's axes, in numbers; the last is 1
    const double *grid,                 # IN (nodes,)
    const double *own,                  # IN (n_targets,) weights of sources in the targets' places, left out; or NULL
    double *sums,                       # OUT (n_targets,)
) noexcept nogil


cdef void gauss_gather_moments(
    const double *targets,              # IN (d, ldt) in units of the spacing, from the grid's first node
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN 1, 2 or 3
    Py_ssize_t width,                   # IN 16, 24 or 32: nodes along an axis that a target reaches
    double spacing,                     # IN in bandwidths
    const Py_ssize_t *strides,          # IN (d,) of the grid's axes, in numbers; the last is 1
    const double *grid,                 # IN (nodes,)
    double *sums,                       # OUT (n_targets,)
    double *moments,                    # OUT (d, ldt) in bandwidths
) noexcept nogil


cdef void gauss_moments(
    const double *sources,              # IN (n_sources,) in units of the spacing, from the grid's first node
    Py_ssize_t n_sources,               # IN
    const double *weights,              # IN (n_sources,)
    Py_ssize_t subdivisions,            # IN cells a spacing
    double spacing,                     # IN in bandwidths
    double *moments,                    # INOUT (cells, MOMENTS)
) noexcept nogil


cdef void gauss_expand(
    const double *moments,              # IN (n_cells, MOMENTS)
    Py_ssize_t n_cells,                 # IN a multiple of the subdivisions
    Py_ssize_t subdivisions,            # IN cells a spacing
    const double *expansions,           # IN (subdivisions, MOMENTS, width): e_ck(g), the same for each node
    Py_ssize_t width,                   # IN 16, 24 or 32: nodes that a cell reaches
    double *grid,                       # INOUT (n_cells / subdivisions,)
) noexcept nogil


cdef void gauss_contract(
    const double *grid,                 # IN (nodes, n_columns)
    Py_ssize_t n_columns,               # IN
    const Py_ssize_t *first,            # IN (n_targets,) the first node that a target reaches
    const double *factors,              # IN (n_targets, width): exp(-(t - g)^2)
    Py_ssize_t n_targets,               # IN
    Py_ssize_t width,                   # IN 16, 24 or 32: nodes that a target reaches
    double *out,                        # OUT (n_targets, n_columns)
) noexcept nogil
