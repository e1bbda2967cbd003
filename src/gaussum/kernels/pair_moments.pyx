# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Gaussian sums over pairs with moments of their differences: what the derivatives of a kernel density take.

    pair_moments:      g_t = sum_s w_s e_ts,  M_t = sum_s w_s e_ts z_ts z_ts'
    pair_derivatives:  sum_t w_t sum_s w_s e_ts (a_k + b_k r_ts^2) z_ts^k,  k = 0, 2, 4
    nearest_pairs:     o_t = min_s r_ts^2
    z_ts = t - s,  r_ts^2 = |z_ts|^2,  e_ts = exp((o_t - r_ts^2) / 2)

Points lie feature by feature, x[j * ld + i], in units in which the bandwidth matrix is 1.  Where o_t is the squared
distance of the nearest source, neither g_t nor M_t underflows.  Targets may be sources, which leave themselves out,
but for the derivatives.  Powers of z are symmetric: of their entries those with falling indices are formed.
"""
from gaussum.kernels.lanes cimport fused
from gaussum.kernels.vec cimport real_exp_nonpositive

cdef enum:
    TILE = 32                           # targets taken together, and the steps below


cdef inline void _differences(
    const double *source,               # IN (d,), stride lds
    Py_ssize_t lds,                     # IN
    const double *targets,              # IN (d, ldt)
    Py_ssize_t ldt, Py_ssize_t n, Py_ssize_t d,  # IN, n <= TILE
    double *z,                          # OUT (d, TILE)
    double *r2,                         # OUT (TILE,)
) noexcept nogil:
    """z_t = t - s and its square"""
    cdef Py_ssize_t j, t
    cdef double s
    for j in range(d):
        s = source[j * lds]
        for t in range(n):
            z[j * TILE + t] = targets[j * ldt + t] - s
        if j == 0:
            for t in range(n):
                r2[t] = z[t] * z[t]
        else:
            for t in range(n):
                r2[t] = fused(z[j * TILE + t], z[j * TILE + t], r2[t])


cdef inline void _moments_tile(
    const double *sources,              # IN (d, lds)
    Py_ssize_t lds, Py_ssize_t n_sources,  # IN
    const double *weights,              # IN (n_sources,)
    const double *targets,              # IN (d, ldt)
    Py_ssize_t ldt, Py_ssize_t n, Py_ssize_t d,  # IN, n <= TILE
    Py_ssize_t own,                     # IN
    const double *nearest,              # IN (n,) or NULL
    double *sums,                       # INOUT (n,)
    double *moments,                    # INOUT (d (d + 1) / 2, ldt)
    double *z, double *e,               # SCRATCH (d, TILE) and (TILE,)
) noexcept nogil:
    """pair_moments for one tile"""
    cdef double ze[TILE]
    cdef double w, a
    cdef double *m
    cdef Py_ssize_t j, l, s, t
    for s in range(n_sources):
        _differences(sources + s, lds, targets, ldt, n, d, z, e)
        if nearest is not NULL:
            for t in range(n):
                a = e[t] - nearest[t]
                e[t] = a if a > 0.0 else 0.0
        w = weights[s]
        for t in range(n):
            e[t] = w * real_exp_nonpositive(-0.5 * e[t])
        if 0 <= s - own < n:
            e[s - own] = 0.0
        for t in range(n):
            sums[t] += e[t]
        m = moments
        for j in range(d):
            for t in range(n):
                ze[t] = e[t] * z[j * TILE + t]
            for l in range(j + 1):
                for t in range(n):
                    m[t] = fused(ze[t], z[l * TILE + t], m[t])
                m += ldt


cdef inline void _derivatives_tile(
    const double *sources,              # IN (d, lds)
    Py_ssize_t lds, Py_ssize_t n_sources,  # IN
    const double *weights,              # IN (n_sources,)
    const double *targets,              # IN (d, ldt)
    const double *target_weights,       # IN (n,)
    Py_ssize_t ldt, Py_ssize_t n, Py_ssize_t d,  # IN, n <= TILE
    const double *radial,               # IN (3, 2)
    double *totals,                     # INOUT (n_monomials, TILE)
    double *z, double *r2,              # SCRATCH (d, TILE) and (TILE,)
) noexcept nogil:
    """pair_derivatives for one tile, a lane for each target"""
    cdef double e[TILE]
    cdef double f[TILE]
    cdef double first[TILE]
    cdef double second[TILE]
    cdef double third[TILE]
    cdef double w
    cdef double *m
    cdef Py_ssize_t i, j, k, l, s, t
    for s in range(n_sources):
        _differences(sources + s, lds, targets, ldt, n, d, z, r2)
        w = weights[s]
        for t in range(n):
            e[t] = w * target_weights[t] * real_exp_nonpositive(-0.5 * r2[t])
        m = totals
        for t in range(n):
            m[t] += e[t] * fused(radial[1], r2[t], radial[0])
        m += TILE
        for t in range(n):
            f[t] = e[t] * fused(radial[3], r2[t], radial[2])
        for i in range(d):
            for t in range(n):
                first[t] = f[t] * z[i * TILE + t]
            for j in range(i + 1):
                for t in range(n):
                    m[t] = fused(first[t], z[j * TILE + t], m[t])
                m += TILE
        for t in range(n):
            f[t] = e[t] * fused(radial[5], r2[t], radial[4])
        for i in range(d):
            for t in range(n):
                first[t] = f[t] * z[i * TILE + t]
            for j in range(i + 1):
                for t in range(n):
                    second[t] = first[t] * z[j * TILE + t]
                for k in range(j + 1):
                    for t in range(n):
                        third[t] = second[t] * z[k * TILE + t]
                    for l in range(k + 1):
                        for t in range(n):
                            m[t] = fused(third[t], z[l * TILE + t], m[t])
                        m += TILE


cdef inline void _nearest_tile(
    const double *sources,              # IN (d, lds)
    Py_ssize_t lds, Py_ssize_t n_sources,  # IN
    const double *targets,              # IN (d, ldt)
    Py_ssize_t ldt, Py_ssize_t n, Py_ssize_t d,  # IN, n <= TILE
    Py_ssize_t own,                     # IN
    double *nearest,                    # INOUT (n,)
    double *z, double *r2,              # SCRATCH (d, TILE) and (TILE,)
) noexcept nogil:
    """nearest_pairs for one tile"""
    cdef Py_ssize_t s, t
    for s in range(n_sources):
        _differences(sources + s, lds, targets, ldt, n, d, z, r2)
        if 0 <= s - own < n:
            r2[s - own] = nearest[s - own]
        for t in range(n):
            nearest[t] = r2[t] if r2[t] < nearest[t] else nearest[t]


cdef api void pair_moments(
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
) noexcept nogil:
    """g_t <- g_t + sum_s w_s e_ts and, row by row of its lower triangle, M_t <- M_t + sum_s w_s e_ts z_ts z_ts'"""
    cdef Py_ssize_t i, whole = n_targets - n_targets % TILE
    cdef double *e = scratch + d * TILE
    for i in range(0, whole, 32):
        _moments_tile(sources, lds, n_sources, weights, targets + i, ldt, TILE, d, own + i,
                      nearest + i if nearest is not NULL else NULL, sums + i, moments + i, scratch, e)
    if n_targets > whole:
        _moments_tile(sources, lds, n_sources, weights, targets + whole, ldt, n_targets - whole, d, own + whole,
                      nearest + whole if nearest is not NULL else NULL, sums + whole, moments + whole, scratch, e)


cdef api void pair_derivatives(
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
) noexcept nogil:
    """totals_k <- totals_k + sum_t w_t sum_s w_s e_ts (a_k + b_k r_ts^2) z_ts^k, target t in lane t mod 32"""
    cdef Py_ssize_t i, whole = n_targets - n_targets % TILE
    cdef double *r2 = scratch + d * TILE
    for i in range(0, whole, 32):
        _derivatives_tile(sources, lds, n_sources, weights, targets + i, target_weights + i, ldt, TILE, d, radial,
                          totals, scratch, r2)
    if n_targets > whole:
        _derivatives_tile(sources, lds, n_sources, weights, targets + whole, target_weights + whole, ldt,
                          n_targets - whole, d, radial, totals, scratch, r2)


cdef api void nearest_pairs(
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
) noexcept nogil:
    """o_t <- min(o_t, min_s r_ts^2)"""
    cdef Py_ssize_t i, whole = n_targets - n_targets % TILE
    cdef double *r2 = scratch + d * TILE
    for i in range(0, whole, 32):
        _nearest_tile(sources, lds, n_sources, targets + i, ldt, TILE, d, own + i, nearest + i, scratch, r2)
    if n_targets > whole:
        _nearest_tile(sources, lds, n_sources, targets + whole, ldt, n_targets - whole, d, own + whole,
                      nearest + whole, scratch, r2)
