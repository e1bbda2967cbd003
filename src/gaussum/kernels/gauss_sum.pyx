# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sums of Gaussians of one block of sources at one block of targets.

    gauss_sum:         g_t = sum_s w_s exp(-r_ts^2 / 2)
    gauss_log_sum:     log g_t, as m_t + log sum_s exp(log w_s - r_ts^2 / 2 - m_t)
    gauss_log_sum_at:  the same for one target
    gauss_log_moments: log g_t, and with it sum_s w_s exp(-r_ts^2 / 2) (s_j - t_j)
    box_distances:     r^2 from the nearest point of a box
    r_ts^2 = sum_j ((t_j - s_j) h_j^-1)^2

Both blocks lie feature by feature, x[j * ld + i].  All but the third run over targets, with a tile of targets and a
few sources in registers: each sum is taken over the sources in their order, at every vector width.  The third runs
over sources, in a fixed number of lanes.  Differences are formed before they are scaled, so that neither an offset nor
a wide range of the data costs digits.

`gauss_sum` underflows to 0 some 38 bandwidths from the last source; the others do not, at a little more cost.
"""
from gaussum.kernels.log_lanes cimport log_sum_lanes
from gaussum.kernels.real cimport real
from gaussum.kernels.vec cimport (
    REAL_INFINITY, TILE, VEC_REALS, VEC_TILE, real_exp_nonpositive, real_fused, vec, vec_all, vec_fused, vec_load,
    vec_mul, vec_store, vec_sub
)

cdef enum:
    SOURCES = 4             # taken together with a tile of targets
    CHUNK = 16              # exponents of so many, before any is taken, in a log-sum


cdef inline void _exponents(
    const real *sources,                # IN (d, lds), `count` sources
    Py_ssize_t lds, Py_ssize_t count,   # IN, count <= SOURCES, known to the compiler
    const real *targets,                # IN (d, ldt), TILE targets
    Py_ssize_t ldt, Py_ssize_t d,       # IN
    const real *inv_bandwidth,          # IN (d,)
    real *exponents,                    # OUT (count, TILE)
) noexcept nogil:
    """a_st = -r_ts^2 / 2"""
    cdef vec squares[SOURCES * VEC_TILE]
    cdef vec tile[VEC_TILE]
    cdef vec s, g, z, minus_half = vec_all(-0.5)
    cdef Py_ssize_t b, i, j
    for b in range(count * VEC_TILE):
        squares[b] = vec_all(0.0)
    for j in range(d):
        g = vec_all(inv_bandwidth[j])
        for i in range(VEC_TILE):
            tile[i] = vec_load(targets + j * ldt + i * VEC_REALS)
        for b in range(count):
            s = vec_all(sources[j * lds + b])
            for i in range(VEC_TILE):
                z = vec_mul(vec_sub(tile[i], s), g)
                squares[b * VEC_TILE + i] = vec_fused(z, z, squares[b * VEC_TILE + i]) if j > 0 else vec_mul(z, z)
    for b in range(count * VEC_TILE):
        vec_store(exponents + b * VEC_REALS, vec_mul(squares[b], minus_half))


cdef inline void _sum_tile(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds, Py_ssize_t n_sources,  # IN
    const real *weights,                # IN (n_sources,)
    const real *targets,                # IN (d, ldt), TILE targets
    Py_ssize_t ldt, Py_ssize_t d,       # IN, d known to the compiler if 1
    const real *inv_bandwidth,          # IN (d,)
    real *sums,                         # INOUT (TILE,)
) noexcept nogil:
    """gauss_sum for one tile"""
    cdef real terms[SOURCES * TILE]
    cdef vec total[VEC_TILE]
    cdef vec w
    cdef Py_ssize_t a, b, i, s = 0, count
    for i in range(VEC_TILE):
        total[i] = vec_load(sums + i * VEC_REALS)
    while s < n_sources:
        if n_sources - s >= SOURCES:
            count = SOURCES
            _exponents(sources + s, lds, SOURCES, targets, ldt, d, inv_bandwidth, terms)
            for a in range(SOURCES * TILE):
                terms[a] = real_exp_nonpositive(terms[a])
        else:
            count = 1
            _exponents(sources + s, lds, 1, targets, ldt, d, inv_bandwidth, terms)
            for a in range(TILE):
                terms[a] = real_exp_nonpositive(terms[a])
        for b in range(count):
            w = vec_all(weights[s + b])
            for i in range(VEC_TILE):
                total[i] = vec_fused(w, vec_load(terms + b * TILE + i * VEC_REALS), total[i])
        s += count
    for i in range(VEC_TILE):
        vec_store(sums + i * VEC_REALS, total[i])


cdef inline void _log_terms(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds, Py_ssize_t n_sources,  # IN, n_sources <= CHUNK
    const real *log_weights,            # IN (n_sources,)
    const Py_ssize_t *left_out,         # IN (TILE,) counted from source `first`, or NULL
    Py_ssize_t first,                   # IN
    const real *targets,                # IN (d, ldt), TILE targets
    Py_ssize_t ldt, Py_ssize_t d,       # IN
    const real *inv_bandwidth,          # IN (d,)
    real *largest,                      # INOUT (TILE,)
    real *scale,                        # OUT (TILE,)
    real *terms,                        # OUT (n_sources, TILE)
) noexcept nogil:
    """m_t <- max(m_t, max_s a_st), terms_st = exp(a_st - m_t), a_st = log w_s - r_ts^2 / 2; scale: of sums so far"""
    cdef Py_ssize_t b = 0, t
    while b < n_sources:
        if n_sources - b >= SOURCES:
            _exponents(sources + b, lds, SOURCES, targets, ldt, d, inv_bandwidth, terms + b * TILE)
            b += SOURCES
        else:
            _exponents(sources + b, lds, 1, targets, ldt, d, inv_bandwidth, terms + b * TILE)
            b += 1
    for b in range(n_sources):
        for t in range(TILE):
            terms[b * TILE + t] += log_weights[b]
    if left_out is not NULL:
        for t in range(TILE):
            if 0 <= left_out[t] - first < n_sources:
                terms[(left_out[t] - first) * TILE + t] = -REAL_INFINITY
    for t in range(TILE):
        scale[t] = largest[t]
    for b in range(n_sources):
        for t in range(TILE):
            largest[t] = terms[b * TILE + t] if terms[b * TILE + t] > largest[t] else largest[t]
    for t in range(TILE):
        scale[t] = real_exp_nonpositive(scale[t] - largest[t])
    for b in range(n_sources):
        for t in range(TILE):
            terms[b * TILE + t] = real_exp_nonpositive(terms[b * TILE + t] - largest[t])


cdef inline void _log_sum_tile(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds, Py_ssize_t n_sources,  # IN
    const real *log_weights,            # IN (n_sources,)
    const Py_ssize_t *left_out,         # IN (TILE,), or NULL
    const real *targets,                # IN (d, ldt), TILE targets
    Py_ssize_t ldt, Py_ssize_t d,       # IN
    const real *inv_bandwidth,          # IN (d,)
    real *largest,                      # INOUT (TILE,)
    real *sums,                         # INOUT (TILE,)
    real *moments,                      # INOUT (d, ldm), or NULL
    Py_ssize_t ldm,                     # IN
) noexcept nogil:
    """gauss_log_sum, or gauss_log_moments, for one tile: sums are brought to a new maximum before a chunk is added"""
    cdef real terms[CHUNK * TILE]
    cdef real scale[TILE]
    cdef Py_ssize_t b, m, s = 0, t
    while s < n_sources:
        m = min(CHUNK, n_sources - s)
        _log_terms(sources + s, lds, m, log_weights + s, left_out, s, targets, ldt, d, inv_bandwidth, largest, scale,
                   terms)
        for t in range(TILE):
            sums[t] *= scale[t]
        for b in range(m):
            for t in range(TILE):
                sums[t] += terms[b * TILE + t]
        if moments is not NULL:
            _add_moments(sources + s, lds, m, terms, scale, targets, ldt, d, moments, ldm)
        s += m


cdef inline void _add_moments(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds, Py_ssize_t n_sources,  # IN
    const real *terms,                  # IN (n_sources, TILE)
    const real *scale,                  # IN (TILE,)
    const real *targets,                # IN (d, ldt), TILE targets
    Py_ssize_t ldt, Py_ssize_t d,       # IN
    real *moments,                      # INOUT (d, ldm)
    Py_ssize_t ldm,                     # IN
) noexcept nogil:
    """M_jt <- scale_t M_jt + sum_s terms_st (s_j - t_j)"""
    cdef vec tile[VEC_TILE]
    cdef vec total[VEC_TILE]
    cdef vec s
    cdef Py_ssize_t b, i, j
    for j in range(d):
        for i in range(VEC_TILE):
            tile[i] = vec_load(targets + j * ldt + i * VEC_REALS)
            total[i] = vec_mul(vec_load(moments + j * ldm + i * VEC_REALS), vec_load(scale + i * VEC_REALS))
        for b in range(n_sources):
            s = vec_all(sources[j * lds + b])
            for i in range(VEC_TILE):
                total[i] = vec_fused(vec_load(terms + b * TILE + i * VEC_REALS), vec_sub(s, tile[i]), total[i])
        for i in range(VEC_TILE):
            vec_store(moments + j * ldm + i * VEC_REALS, total[i])


cdef inline void _squared_distance(
    const real *source,                 # IN (d,), stride lds
    Py_ssize_t lds,                     # IN
    const real *targets,                # IN (d, ldt)
    Py_ssize_t ldt, Py_ssize_t n, Py_ssize_t d,  # IN
    const real *inv_bandwidth,          # IN (d,)
    real *r2,                           # OUT (n,)
) noexcept nogil:
    """r2_t = sum_j ((t_j - s_j) / h_j)^2"""
    cdef Py_ssize_t t, j
    cdef real s = source[0], g = inv_bandwidth[0], z
    for t in range(n):
        z = (targets[t] - s) * g
        r2[t] = z * z
    for j in range(1, d):
        s = source[j * lds]
        g = inv_bandwidth[j]
        for t in range(n):
            z = (targets[j * ldt + t] - s) * g
            r2[t] = real_fused(z, z, r2[t])


cdef api void gauss_sum(
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
) noexcept nogil:
    """g_t <- g_t + sum_s w_s exp(-r_ts^2 / 2), exponentials below the normal numbers taken as 0"""
    cdef Py_ssize_t a, i, s, t, whole = n_targets - n_targets % TILE
    cdef real w
    for a in range(n_targets // TILE):
        i = a * TILE
        if d == 1:
            _sum_tile(sources, lds, n_sources, weights, targets + i, ldt, 1, inv_bandwidth, sums + i)
        else:
            _sum_tile(sources, lds, n_sources, weights, targets + i, ldt, d, inv_bandwidth, sums + i)
    if whole == n_targets:
        return
    for s in range(n_sources):
        w = weights[s]
        _squared_distance(sources + s, lds, targets + whole, ldt, n_targets - whole, d, inv_bandwidth, scratch)
        for t in range(n_targets - whole):
            sums[whole + t] = real_fused(w, real_exp_nonpositive(<real>-0.5 * scratch[t]), sums[whole + t])


cdef api void gauss_log_sum(
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
) noexcept nogil:
    """m_t <- max(m_t, max_s (log w_s - r_ts^2 / 2)) and the sum of exp(log w_s - r_ts^2 / 2 - m_t) with it.

    After the last block log g_t is largest_t + log sums_t.
    """
    cdef real m[TILE]
    cdef real g[TILE]
    cdef Py_ssize_t own[TILE]
    cdef Py_ssize_t a, i, j, t, rest = n_targets % TILE
    for a in range(n_targets // TILE):
        i = a * TILE
        _log_sum_tile(sources, lds, n_sources, log_weights, left_out + i if left_out is not NULL else NULL,
                      targets + i, ldt, d, inv_bandwidth, largest + i, sums + i, NULL, 0)
    if rest == 0:
        return
    i = n_targets - rest
    for t in range(TILE):               # a tile of its own, filled up with the last target
        a = i + min(t, rest - 1)
        m[t], g[t] = largest[a], sums[a]
        own[t] = left_out[a] if left_out is not NULL else -1
        for j in range(d):
            scratch[j * TILE + t] = targets[j * ldt + a]
    _log_sum_tile(sources, lds, n_sources, log_weights, own, scratch, TILE, d, inv_bandwidth, m, g,
                  NULL, 0)
    for t in range(rest):
        largest[i + t], sums[i + t] = m[t], g[t]


cdef api void gauss_log_moments(
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
) noexcept nogil:
    """gauss_log_sum, and with it M_jt exp(-m_t), M_jt <- M_jt + sum_s w_s exp(-r_ts^2 / 2) (s_j - t_j)

    The gradient of log g_t is M_jt / (g_t h_j^2).
    """
    cdef real m[TILE]
    cdef real g[TILE]
    cdef real *first_moments = scratch + d * TILE
    cdef Py_ssize_t a, i, j, t, rest = n_targets % TILE
    for a in range(n_targets // TILE):
        i = a * TILE
        _log_sum_tile(sources, lds, n_sources, log_weights, NULL, targets + i, ldt, d, inv_bandwidth, largest + i,
                      sums + i, moments + i, ldm)
    if rest == 0:
        return
    i = n_targets - rest
    for t in range(TILE):               # a tile of its own, filled up with the last target
        a = i + min(t, rest - 1)
        m[t], g[t] = largest[a], sums[a]
        for j in range(d):
            scratch[j * TILE + t] = targets[j * ldt + a]
            first_moments[j * TILE + t] = moments[j * ldm + a]
    _log_sum_tile(sources, lds, n_sources, log_weights, NULL, scratch, TILE, d, inv_bandwidth, m, g, first_moments,
                  TILE)
    for t in range(rest):
        largest[i + t], sums[i + t] = m[t], g[t]
        for j in range(d):
            moments[j * ldm + i + t] = first_moments[j * TILE + t]


cdef api void gauss_log_sum_at(
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
) noexcept nogil:
    """m <- max(m, max_s (log w_s - r_s^2 / 2)) and the sum of exp(log w_s - r_s^2 / 2 - m) with it"""
    cdef Py_ssize_t j, s
    cdef real t = target[0], g = inv_bandwidth[0], z
    for s in range(n_sources):
        z = (t - sources[s]) * g
        scratch[s] = z * z
    for j in range(1, d):
        t = target[j]
        g = inv_bandwidth[j]
        for s in range(n_sources):
            z = (t - sources[j * lds + s]) * g
            scratch[s] = real_fused(z, z, scratch[s])
    log_sum_lanes(scratch, log_weights, n_sources, left_out, largest, sum)


cdef api void box_distances(
    const real *low,                    # IN (d,)
    const real *high,                   # IN (d,)
    const real *targets,                # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    const real *inv_bandwidth,          # IN (d,)
    real *r2,                           # OUT (n_targets,)
) noexcept nogil:
    """r2_t = sum_j (max(low_j - t_j, t_j - high_j, 0) h_j^-1)^2"""
    cdef Py_ssize_t j, t
    cdef real below, above, z
    for t in range(n_targets):
        r2[t] = 0.0
    for j in range(d):
        for t in range(n_targets):
            below = low[j] - targets[j * ldt + t]
            above = targets[j * ldt + t] - high[j]
            z = (below if below > above else above) * inv_bandwidth[j]
            z = z if z > 0.0 else <real>0.0
            r2[t] = real_fused(z, z, r2[t])
