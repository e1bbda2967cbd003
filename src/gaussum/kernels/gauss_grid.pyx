# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Gaussian sums in two halves, from the sources to the nodes g of a regular grid and from there to the targets.

    gauss_spread:    G_g <- G_g + sum_s w_s exp(-|g - s|^2)
    gauss_gather:    f_t = sum_g exp(-|t - g|^2) G_g
    gauss_gather_moments:  the same, and M_jt = 2 sum_g exp(-|t - g|^2) (g_j - t_j) G_g
    gauss_contract:  the same along one axis, for all targets of a tensor grid
    gauss_moments, gauss_expand:  gauss_spread on one axis, by way of the moments of small cells

with distances in bandwidths, over the `width` nodes nearest to a point on every axis.  Along an axis

    (t - g)^2 + (g - s)^2 = (t - s)^2 / 2 + 2 (g - (t + s) / 2)^2,

so what a source gives to a target is exp(-(t - s)^2 / 2) times a trapezoidal sum over a Gaussian of variance 1/4:
the same for all pairs, sqrt(pi / 2) / spacing, within a factor of 1 +- 2 exp(-pi^2 / (2 spacing^2)) (Poisson's
summation formula).  Nothing cancels: the error is relative for every pair, but for the nodes beyond the width.  The
nodes between t and s have their mean in the middle, so that M_jt is the sum over s of (s_j - t_j), within
2 pi / spacing exp(-pi^2 / (2 spacing^2)) for every pair.
"""
from libc.math cimport floor

from gaussum.kernels.vec cimport (
    VEC_REALS, real_exp_nonpositive, real_fused, vec, vec_add, vec_all, vec_fused, vec_load, vec_mul, vec_store, vec_sum
)

cdef enum:
    AXES = 3
    WIDEST = 32
    FACTORS = AXES * WIDEST
    ROWS = 4                # summed side by side, to hide the latency of an addition
    PARTIAL = ROWS * WIDEST
    MOMENTS = 8             # of a cell
    COLUMNS = 512           # of a contraction that stay in L1


cdef inline double _dot(const double *a, const double *b, Py_ssize_t width) noexcept nogil:
    """sum_k a_k b_k"""
    cdef vec sum = vec_mul(vec_load(a), vec_load(b))
    cdef Py_ssize_t k
    for k in range(1, width // VEC_REALS):
        sum = vec_fused(vec_load(a + k * VEC_REALS), vec_load(b + k * VEC_REALS), sum)
    return vec_sum(sum)


cdef inline Py_ssize_t _factors(
    const double *point,                # IN (d,), stride ld
    Py_ssize_t ld,                      # IN
    Py_ssize_t d, Py_ssize_t width,     # IN known to the compiler
    double spacing,                     # IN
    const Py_ssize_t *strides,          # IN (d,)
    double *factors,                    # OUT (d, width)
) noexcept nogil:
    """factors_jk = exp(-(x_j - g_jk)^2) of the nodes of each axis; returns where in the grid the first of them is"""
    cdef Py_ssize_t first = 0, j, k
    cdef double base, v
    for j in range(d):
        base = floor(point[j * ld]) - (width // 2 - 1)
        first += <Py_ssize_t>base * strides[j]
        v = point[j * ld] - base
        for k in range(width):
            factors[j * width + k] = (v - <double>k) * spacing
    for k in range(d * width):
        factors[k] = real_exp_nonpositive(-factors[k] * factors[k])
    return first


cdef inline void _add_row(const double *factors, double w, Py_ssize_t width, double *row) noexcept nogil:
    cdef Py_ssize_t k
    cdef vec all = vec_all(w)
    for k in range(width // VEC_REALS):
        vec_store(row + k * VEC_REALS,
                  vec_fused(all, vec_load(factors + k * VEC_REALS), vec_load(row + k * VEC_REALS)))


cdef inline void _spread(const double *sources, Py_ssize_t lds, Py_ssize_t n_sources, const double *weights,
                         Py_ssize_t d, Py_ssize_t width, double spacing, const Py_ssize_t *strides,
                         double *grid) noexcept nogil:
    """gauss_spread for a width and a number of axes that the compiler knows"""
    cdef double factors[FACTORS]
    cdef Py_ssize_t a, b, s
    cdef double *first
    cdef double w
    for s in range(n_sources):
        first = grid + _factors(sources + s, lds, d, width, spacing, strides, factors)
        if d == 1:
            _add_row(factors, weights[s], width, first)
        elif d == 2:
            for a in range(width):
                _add_row(factors + width, weights[s] * factors[a], width, first + a * strides[0])
        else:
            for a in range(width):
                w = weights[s] * factors[a]
                for b in range(width):
                    _add_row(factors + 2 * width, w * factors[width + b], width,
                             first + a * strides[0] + b * strides[1])


cdef inline void _spread_wide(const double *sources, Py_ssize_t lds, Py_ssize_t n_sources, const double *weights,
                              Py_ssize_t d, Py_ssize_t width, double spacing, const Py_ssize_t *strides,
                              double *grid) noexcept nogil:
    """gauss_spread for a width that the compiler knows"""
    if d == 1:
        _spread(sources, lds, n_sources, weights, 1, width, spacing, strides, grid)
    elif d == 2:
        _spread(sources, lds, n_sources, weights, 2, width, spacing, strides, grid)
    else:
        _spread(sources, lds, n_sources, weights, 3, width, spacing, strides, grid)


cdef inline void _sum_rows(const double *first, Py_ssize_t stride, const double *factors, double w, Py_ssize_t width,
                           vec *sums) noexcept nogil:
    """sums_rk += sum_b w f_b G_bk, b = r modulo ROWS"""
    cdef Py_ssize_t b, k, r
    cdef vec all
    for b in range(0, width, 4):
        for r in range(ROWS):
            all = vec_all(w * factors[b + r])
            for k in range(width // VEC_REALS):
                sums[r * (width // VEC_REALS) + k] = vec_fused(
                    all, vec_load(first + (b + r) * stride + k * VEC_REALS), sums[r * (width // VEC_REALS) + k]
                )


cdef inline double _gather_one(const double *first, Py_ssize_t d, Py_ssize_t width, const Py_ssize_t *strides,
                               const double *factors) noexcept nogil:
    cdef vec sums[PARTIAL]
    cdef double row[WIDEST]
    cdef Py_ssize_t a, k, n = width // VEC_REALS
    if d == 1:
        return _dot(first, factors, width)
    for k in range(ROWS * n):
        sums[k] = vec_all(0.0)
    if d == 2:
        _sum_rows(first, strides[0], factors, 1.0, width, sums)
    else:
        for a in range(width):
            _sum_rows(first + a * strides[0], strides[1], factors + width, factors[a], width, sums)
    for k in range(n):
        vec_store(row + k * VEC_REALS,
                  vec_add(vec_add(sums[k], sums[n + k]), vec_add(sums[2 * n + k], sums[3 * n + k])))
    return _dot(row, factors + (d - 1) * width, width)


cdef inline double _own(const double *factors, Py_ssize_t d, Py_ssize_t width) noexcept nogil:
    """What a source of weight 1 gives to itself by way of the grid"""
    cdef Py_ssize_t j
    cdef double product = 1.0
    for j in range(d):
        product *= _dot(factors + j * width, factors + j * width, width)
    return product


cdef inline void _gather(const double *targets, Py_ssize_t ldt, Py_ssize_t n_targets, Py_ssize_t d, Py_ssize_t width,
                         double spacing, const Py_ssize_t *strides, const double *grid, const double *own,
                         double *sums) noexcept nogil:
    """gauss_gather for a width and a number of axes that the compiler knows"""
    cdef double factors[FACTORS]
    cdef Py_ssize_t first, t
    for t in range(n_targets):
        first = _factors(targets + t, ldt, d, width, spacing, strides, factors)
        sums[t] = _gather_one(grid + first, d, width, strides, factors)
        if own is not NULL:
            sums[t] -= own[t] * _own(factors, d, width)


cdef inline void _offsets(const double *point, Py_ssize_t ld, Py_ssize_t d, Py_ssize_t width, double spacing,
                          const double *factors, double *offsets) noexcept nogil:
    """offsets_jk = 2 (g_jk - x_j) factors_jk"""
    cdef Py_ssize_t j, k
    cdef double v
    for j in range(d):
        v = point[j * ld] - (floor(point[j * ld]) - (width // 2 - 1))
        for k in range(width):
            offsets[j * width + k] = 2.0 * spacing * (<double>k - v) * factors[j * width + k]


cdef inline void _sum_rows_twice(const double *first, Py_ssize_t stride, const double *a, const double *b,
                                 Py_ssize_t width, vec *with_a, vec *with_b) noexcept nogil:
    """with_a_k = sum_r a_r G_rk, with_b_k = sum_r b_r G_rk"""
    cdef Py_ssize_t k, r
    cdef vec row
    for k in range(width // VEC_REALS):
        with_a[k] = vec_all(0.0)
        with_b[k] = vec_all(0.0)
    for r in range(width):
        for k in range(width // VEC_REALS):
            row = vec_load(first + r * stride + k * VEC_REALS)
            with_a[k] = vec_fused(vec_all(a[r]), row, with_a[k])
            with_b[k] = vec_fused(vec_all(b[r]), row, with_b[k])


cdef inline void _store_row(const vec *sums, Py_ssize_t width, double *row) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(width // VEC_REALS):
        vec_store(row + k * VEC_REALS, sums[k])


cdef inline double _gather_moments_one(const double *first, Py_ssize_t d, Py_ssize_t width, const Py_ssize_t *strides,
                                       const double *factors, const double *offsets,
                                       double *moments) noexcept nogil:
    """f, and M_j of one target: axes are summed one after the other, and the sums with one offset kept apart"""
    cdef vec sums[AXES * WIDEST]            # of the rows: no offset, that of the first axis, that of the second
    cdef vec plane[2 * WIDEST]
    cdef double row[WIDEST]
    cdef Py_ssize_t a, j, k, n = width // VEC_REALS
    if d == 1:
        moments[0] = _dot(first, offsets, width)
        return _dot(first, factors, width)
    if d == 2:
        _sum_rows_twice(first, strides[0], factors, offsets, width, sums, sums + n)
    else:
        for k in range(AXES * n):
            sums[k] = vec_all(0.0)
        for a in range(width):
            _sum_rows_twice(first + a * strides[0], strides[1], factors + width, offsets + width, width, plane,
                            plane + n)
            for k in range(n):
                sums[k] = vec_fused(vec_all(factors[a]), plane[k], sums[k])
                sums[n + k] = vec_fused(vec_all(offsets[a]), plane[k], sums[n + k])
                sums[2 * n + k] = vec_fused(vec_all(factors[a]), plane[n + k], sums[2 * n + k])
    for j in range(d - 1):
        _store_row(sums + (j + 1) * n, width, row)
        moments[j] = _dot(row, factors + (d - 1) * width, width)
    _store_row(sums, width, row)
    moments[d - 1] = _dot(row, offsets + (d - 1) * width, width)
    return _dot(row, factors + (d - 1) * width, width)


cdef inline void _gather_moments(const double *targets, Py_ssize_t ldt, Py_ssize_t n_targets, Py_ssize_t d,
                                 Py_ssize_t width, double spacing, const Py_ssize_t *strides, const double *grid,
                                 double *sums, double *moments) noexcept nogil:
    """gauss_gather_moments for a width and a number of axes that the compiler knows"""
    cdef double factors[FACTORS]
    cdef double offsets[FACTORS]
    cdef double one[AXES]
    cdef Py_ssize_t first, j, t
    for t in range(n_targets):
        first = _factors(targets + t, ldt, d, width, spacing, strides, factors)
        _offsets(targets + t, ldt, d, width, spacing, factors, offsets)
        sums[t] = _gather_moments_one(grid + first, d, width, strides, factors, offsets, one)
        for j in range(d):
            moments[j * ldt + t] = one[j]


cdef inline void _gather_moments_wide(const double *targets, Py_ssize_t ldt, Py_ssize_t n_targets, Py_ssize_t d,
                                      Py_ssize_t width, double spacing, const Py_ssize_t *strides,
                                      const double *grid, double *sums, double *moments) noexcept nogil:
    """gauss_gather_moments for a width that the compiler knows"""
    if d == 1:
        _gather_moments(targets, ldt, n_targets, 1, width, spacing, strides, grid, sums, moments)
    elif d == 2:
        _gather_moments(targets, ldt, n_targets, 2, width, spacing, strides, grid, sums, moments)
    else:
        _gather_moments(targets, ldt, n_targets, 3, width, spacing, strides, grid, sums, moments)


cdef inline void _gather_wide(const double *targets, Py_ssize_t ldt, Py_ssize_t n_targets, Py_ssize_t d,
                              Py_ssize_t width, double spacing, const Py_ssize_t *strides, const double *grid,
                              const double *own, double *sums) noexcept nogil:
    """gauss_gather for a width that the compiler knows"""
    if d == 1:
        _gather(targets, ldt, n_targets, 1, width, spacing, strides, grid, own, sums)
    elif d == 2:
        _gather(targets, ldt, n_targets, 2, width, spacing, strides, grid, own, sums)
    else:
        _gather(targets, ldt, n_targets, 3, width, spacing, strides, grid, own, sums)


cdef api void gauss_spread(
    const double *sources,              # IN (d, lds) in units of the spacing, from the grid's first node
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const double *weights,              # IN (n_sources,)
    Py_ssize_t d,                       # IN 1, 2 or 3
    Py_ssize_t width,                   # IN 16, 24 or 32: nodes along an axis that a source reaches
    double spacing,                     # IN in bandwidths
    const Py_ssize_t *strides,          # IN (d,) of the grid's axes, in numbers; the last is 1
    double *grid,                       # INOUT (nodes,)
) noexcept nogil:
    """G_g <- G_g + sum_s w_s exp(-|g - s|^2)"""
    if width == 16:
        _spread_wide(sources, lds, n_sources, weights, d, 16, spacing, strides, grid)
    elif width == 24:
        _spread_wide(sources, lds, n_sources, weights, d, 24, spacing, strides, grid)
    else:
        _spread_wide(sources, lds, n_sources, weights, d, 32, spacing, strides, grid)


cdef api void gauss_gather(
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
) noexcept nogil:
    """f_t = sum_g exp(-|t - g|^2) G_g - own_t sum_g exp(-2 |t - g|^2)"""
    if width == 16:
        _gather_wide(targets, ldt, n_targets, d, 16, spacing, strides, grid, own, sums)
    elif width == 24:
        _gather_wide(targets, ldt, n_targets, d, 24, spacing, strides, grid, own, sums)
    else:
        _gather_wide(targets, ldt, n_targets, d, 32, spacing, strides, grid, own, sums)


cdef api void gauss_gather_moments(
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
) noexcept nogil:
    """f_t = sum_g exp(-|t - g|^2) G_g and M_jt = 2 sum_g exp(-|t - g|^2) (g_j - t_j) G_g"""
    if width == 16:
        _gather_moments_wide(targets, ldt, n_targets, d, 16, spacing, strides, grid, sums, moments)
    elif width == 24:
        _gather_moments_wide(targets, ldt, n_targets, d, 24, spacing, strides, grid, sums, moments)
    else:
        _gather_moments_wide(targets, ldt, n_targets, d, 32, spacing, strides, grid, sums, moments)


cdef api void gauss_moments(
    const double *sources,              # IN (n_sources,) in units of the spacing, from the grid's first node
    Py_ssize_t n_sources,               # IN
    const double *weights,              # IN (n_sources,)
    Py_ssize_t subdivisions,            # IN cells a spacing
    double spacing,                     # IN in bandwidths
    double *moments,                    # INOUT (cells, MOMENTS)
) noexcept nogil:
    """M_ck <- M_ck + sum_s w_s u_s^k over the sources s of cell c, u_s from its centre, in bandwidths"""
    cdef Py_ssize_t k, s
    cdef double *cell
    cdef double place, u, power
    for s in range(n_sources):
        place = floor(sources[s] * subdivisions)
        u = (sources[s] * subdivisions - place - 0.5) * (spacing / subdivisions)
        cell = moments + <Py_ssize_t>place * MOMENTS
        power = weights[s]
        for k in range(MOMENTS):
            cell[k] += power
            power *= u


cdef api void gauss_expand(
    const double *moments,              # IN (n_cells, MOMENTS)
    Py_ssize_t n_cells,                 # IN a multiple of the subdivisions
    Py_ssize_t subdivisions,            # IN cells a spacing
    const double *expansions,           # IN (subdivisions, MOMENTS, width): e_ck(g), the same for each node
    Py_ssize_t width,                   # IN 16, 24 or 32: nodes that a cell reaches
    double *grid,                       # INOUT (n_cells / subdivisions,)
) noexcept nogil:
    """G_g <- G_g + sum_c sum_k M_ck e_ck(g), where exp(-(g - c - u)^2) = sum_k e_ck(g) u^k"""
    cdef Py_ssize_t c, k
    cdef double *first
    for c in range(n_cells):
        if moments[c * MOMENTS] == 0.0:
            continue
        first = grid + c // subdivisions - (width // 2 - 1)
        for k in range(MOMENTS):
            _add_row(expansions + (c % subdivisions * MOMENTS + k) * width, moments[c * MOMENTS + k], width, first)


cdef api void gauss_contract(
    const double *grid,                 # IN (nodes, n_columns)
    Py_ssize_t n_columns,               # IN
    const Py_ssize_t *first,            # IN (n_targets,) the first node that a target reaches
    const double *factors,              # IN (n_targets, width): exp(-(t - g)^2)
    Py_ssize_t n_targets,               # IN
    Py_ssize_t width,                   # IN 16, 24 or 32: nodes that a target reaches
    double *out,                        # OUT (n_targets, n_columns)
) noexcept nogil:
    """f_tb = sum_g exp(-(t - g)^2) G_gb"""
    cdef Py_ssize_t b, i, k, n, t, whole
    cdef const double *row
    cdef double w
    if n_columns == 1:
        for t in range(n_targets):
            out[t] = _dot(grid + first[t], factors + t * width, width)
        return
    for t in range(n_targets):
        b = 0
        while b < n_columns:
            n = min(<Py_ssize_t>COLUMNS, n_columns - b)
            whole = n - n % VEC_REALS
            for i in range(n):
                out[t * n_columns + b + i] = 0.0
            for k in range(width):
                row = grid + (first[t] + k) * n_columns + b
                w = factors[t * width + k]
                _add_row(row, w, whole, out + t * n_columns + b)
                for i in range(whole, n):
                    out[t * n_columns + b + i] = real_fused(w, row[i], out[t * n_columns + b + i])
            b += n
