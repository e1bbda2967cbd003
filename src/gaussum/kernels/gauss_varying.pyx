# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sums of Gaussians of one block of sources at one block of targets, where each source or target has its own width.

    varying_log_sum:     log g_t, as m_t + log sum_s exp(log w_s - r_ts^2 / 2 - m_t)
    varying_log_sum_at:  the same for one target
    varying_gradient_at: its gradient too
    r_ts^2 = sum_j ((t_j - s_j) b_t a_s h_j^-1)^2

with the sharpness a_s of a source and b_t of a target: one over the factor by which a Gaussian is wider than h.

Both blocks lie feature by feature, x[j * ld + i].  The first runs over targets, with a tile of targets and a few
sources in registers: each sum is taken over the sources in their order, at every vector width.  The second runs over
sources, in a fixed number of lanes.  Differences are formed before they are scaled, so that neither an offset nor a
wide range of the data costs digits, and scaled before they are squared, so that a wide Gaussian far away does not
overflow.
"""
from gaussum.kernels.log_lanes cimport LANES, log_sum_lanes
from gaussum.kernels.real cimport real
from gaussum.kernels.vec cimport (
    REAL_INFINITY, REAL_LOWEST, TILE, VEC_REALS, VEC_TILE, real_exp_nonpositive, real_fused, vec, vec_all, vec_fused, vec_load,
    vec_mul, vec_store, vec_sub
)

cdef enum:
    SOURCES = 4             # taken together with a tile of targets
    CHUNK = 16              # exponents of so many, before any is taken


cdef inline void _exponents(
    const real *sources,                # IN (d, lds), `count` sources
    Py_ssize_t lds, Py_ssize_t count,   # IN, count <= SOURCES, known to the compiler
    const real *log_weights,            # IN (count,)
    const real *sharpness,              # IN (count,)
    const real *targets,                # IN (d, ldt), TILE targets
    Py_ssize_t ldt,                     # IN
    const real *target_sharpness,       # IN (TILE,), or NULL, known to the compiler
    Py_ssize_t d,                       # IN, known to the compiler if 1
    const real *inv_bandwidth,          # IN (d,)
    real *exponents,                    # OUT (count, TILE)
) noexcept nogil:
    """a_st = log w_s - r_ts^2 / 2"""
    cdef vec squares[SOURCES * VEC_TILE]
    cdef vec tile[VEC_TILE]
    cdef vec s, g, z, minus_half = vec_all(-0.5)
    cdef Py_ssize_t b, i, j
    for b in range(count * VEC_TILE):
        squares[b] = vec_all(0.0)
    for j in range(d):
        for i in range(VEC_TILE):
            tile[i] = vec_load(targets + j * ldt + i * VEC_REALS)
        for b in range(count):
            s = vec_all(sources[j * lds + b])
            g = vec_all(sharpness[b] * inv_bandwidth[j])
            for i in range(VEC_TILE):
                z = vec_sub(tile[i], s)
                if target_sharpness is not NULL:
                    z = vec_mul(z, vec_load(target_sharpness + i * VEC_REALS))
                z = vec_mul(z, g)
                squares[b * VEC_TILE + i] = vec_fused(z, z, squares[b * VEC_TILE + i]) if j > 0 else vec_mul(z, z)
    for b in range(count):
        for i in range(VEC_TILE):
            vec_store(exponents + b * TILE + i * VEC_REALS,
                      vec_fused(squares[b * VEC_TILE + i], minus_half, vec_all(log_weights[b])))


cdef inline void _log_sum_tile(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds, Py_ssize_t n_sources,  # IN
    const real *log_weights,            # IN (n_sources,)
    const real *sharpness,              # IN (n_sources,)
    const Py_ssize_t *left_out,         # IN (TILE,), or NULL
    const real *targets,                # IN (d, ldt), TILE targets
    Py_ssize_t ldt,                     # IN
    const real *target_sharpness,       # IN (TILE,), or NULL, known to the compiler
    Py_ssize_t d,                       # IN, known to the compiler if 1
    const real *inv_bandwidth,          # IN (d,)
    real *largest,                      # INOUT (TILE,)
    real *sums,                         # INOUT (TILE,)
) noexcept nogil:
    """varying_log_sum for one tile: the sum is brought to a new maximum before the terms of a chunk are taken"""
    cdef real a[CHUNK * TILE]
    cdef real before[TILE]
    cdef Py_ssize_t b, m, s = 0, t
    while s < n_sources:
        m = min(CHUNK, n_sources - s)
        b = 0
        while b < m:
            if m - b >= SOURCES:
                _exponents(sources + s + b, lds, SOURCES, log_weights + s + b, sharpness + s + b, targets, ldt,
                           target_sharpness, d, inv_bandwidth, a + b * TILE)
                b += SOURCES
            else:
                _exponents(sources + s + b, lds, 1, log_weights + s + b, sharpness + s + b, targets, ldt,
                           target_sharpness, d, inv_bandwidth, a + b * TILE)
                b += 1
        if left_out is not NULL:
            for t in range(TILE):
                if 0 <= left_out[t] - s < m:
                    a[(left_out[t] - s) * TILE + t] = -REAL_INFINITY
        for t in range(TILE):
            before[t] = largest[t]
        for b in range(m):
            for t in range(TILE):
                largest[t] = a[b * TILE + t] if a[b * TILE + t] > largest[t] else largest[t]
        for t in range(TILE):
            sums[t] *= real_exp_nonpositive(before[t] - largest[t])
        for b in range(m):
            for t in range(TILE):
                sums[t] += real_exp_nonpositive(a[b * TILE + t] - largest[t])
        s += m


cdef inline void _log_sum(
    const real *sources, Py_ssize_t lds, Py_ssize_t n_sources, const real *log_weights, const real *sharpness,
    const Py_ssize_t *left_out, const real *targets, Py_ssize_t ldt, const real *target_sharpness, Py_ssize_t d,
    const real *inv_bandwidth, real *largest, real *sums,   # as in _log_sum_tile
) noexcept nogil:
    """varying_log_sum for one tile, by what the compiler should know"""
    if target_sharpness is not NULL:
        _log_sum_tile(sources, lds, n_sources, log_weights, sharpness, left_out, targets, ldt, target_sharpness, d,
                      inv_bandwidth, largest, sums)
    elif d == 1:
        _log_sum_tile(sources, lds, n_sources, log_weights, sharpness, left_out, targets, ldt, NULL, 1,
                      inv_bandwidth, largest, sums)
    else:
        _log_sum_tile(sources, lds, n_sources, log_weights, sharpness, left_out, targets, ldt, NULL, d,
                      inv_bandwidth, largest, sums)


cdef api void varying_log_sum(
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
        _log_sum(sources, lds, n_sources, log_weights, sharpness, left_out + i if left_out is not NULL else NULL,
                 targets + i, ldt, target_sharpness + i if target_sharpness is not NULL else NULL, d, inv_bandwidth,
                 largest + i, sums + i)
    if rest == 0:
        return
    i = n_targets - rest
    for t in range(TILE):               # a tile of its own, filled up with the last target
        a = i + min(t, rest - 1)
        m[t], g[t] = largest[a], sums[a]
        own[t] = left_out[a] if left_out is not NULL else -1
        for j in range(d):
            scratch[j * TILE + t] = targets[j * ldt + a]
        scratch[d * TILE + t] = target_sharpness[a] if target_sharpness is not NULL else <real>1.0
    _log_sum(sources, lds, n_sources, log_weights, sharpness, own, scratch, TILE,
             scratch + d * TILE if target_sharpness is not NULL else NULL, d, inv_bandwidth, m, g)
    for t in range(rest):
        largest[i + t], sums[i + t] = m[t], g[t]


cdef inline real _added(real *lanes) noexcept nogil:
    """The sum of all lanes, which are lost"""
    cdef Py_ssize_t l, half = LANES // 2
    while half > 0:
        for l in range(half):
            lanes[l] += lanes[l + half]
        half = half // 2
    return lanes[0]


cdef api void varying_log_sum_at(
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
) noexcept nogil:
    """m <- max(m, max_s (log w_s - r_s^2 / 2)) and the sum of exp(log w_s - r_s^2 / 2 - m) with it"""
    cdef Py_ssize_t j, s
    cdef real t = target[0], g = inv_bandwidth[0], z
    cdef real own = target_sharpness[0] if target_sharpness is not NULL else <real>1.0
    for s in range(n_sources):
        z = (t - sources[s]) * own * (sharpness[s] * g)
        scratch[s] = z * z
    for j in range(1, d):
        t = target[j]
        g = inv_bandwidth[j]
        for s in range(n_sources):
            z = (t - sources[j * lds + s]) * own * (sharpness[s] * g)
            scratch[s] = real_fused(z, z, scratch[s])
    log_sum_lanes(scratch, log_weights, n_sources, left_out, largest, sum)


cdef api void varying_gradient_at(
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
) noexcept nogil:
    """varying_log_sum_at, and M_j = sum_s exp(log w_s - r_s^2 / 2) a_s^2 (s_j - t_j) with it: h_j^2 times the gradient
    of g"""
    cdef real lanes[LANES]
    cdef Py_ssize_t j, l, s, whole = n_sources - n_sources % LANES
    cdef real before = largest[0], share, t
    varying_log_sum_at(sources, lds, n_sources, log_weights, sharpness, -1, target, NULL, d, inv_bandwidth, largest,
                       sum, scratch)
    if largest[0] == REAL_LOWEST:
        return
    share = real_exp_nonpositive(before - largest[0])
    for s in range(n_sources):
        scratch[s] = real_exp_nonpositive(scratch[s] - largest[0]) * sharpness[s] * sharpness[s]
    for j in range(d):
        t = target[j]
        for l in range(LANES):
            lanes[l] = 0.0
        for s in range(0, whole, 32):
            for l in range(LANES):
                lanes[l] = real_fused(scratch[s + l], sources[j * lds + s + l] - t, lanes[l])
        for s in range(n_sources - whole):
            lanes[s] = real_fused(scratch[whole + s], sources[j * lds + whole + s] - t, lanes[s])
        moments[j] = moments[j] * share + _added(lanes)
