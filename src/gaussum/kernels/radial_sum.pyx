# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sums of radial kernels of one block of sources at one block of targets.

    radial_sum:           g_t = sum_s w_s K(r_ts)
    exponential_log_sum:  log g_t of the exponential kernel, as m_t + log sum_s exp(log w_s - r_ts - m_t)
    box_ranges:           r^2 from the nearest and from the farthest point of a box
    r_ts^2 = sum_j ((t_j - s_j) g_j)^2

The kernels K are those of radial.pxd.  Both blocks lie feature by feature, x[j * ld + i].  The sums run over targets,
with a tile or a single vec of them and a few sources in registers: each is taken over the sources in their order, at
every vector width.  Differences are formed before they are scaled, so that neither an offset nor a wide range of the
data costs digits.
"""
from gaussum.kernels.radial cimport COSINE, EPANECHNIKOV, EXPONENTIAL, LINEAR, TOPHAT, radial_term
from gaussum.kernels.real cimport real
from gaussum.kernels.vec cimport (
    TILE, VEC_REALS, VEC_TILE, real_exp_nonpositive, real_fused, real_sqrt, vec, vec_all, vec_fused, vec_load, vec_max,
    vec_mul, vec_store, vec_sub
)

cdef enum:
    SOURCES = 4             # taken together with the targets
    CHUNK = 16              # exponents of so many, before any is taken, in a log-sum


cdef inline void _distances(
    bint squared,                       # IN r^2 or r; known to the compiler, as are count, width, and d if 1
    const real *sources,                # IN (d, lds), `count` sources
    Py_ssize_t lds, Py_ssize_t count,   # IN, count <= SOURCES
    const real *targets,                # IN (d, ldt), `width` vecs of targets
    Py_ssize_t ldt, Py_ssize_t width, Py_ssize_t d,  # IN
    const real *scale,                  # IN (d,)
    real *out,                          # OUT (count, width * VEC_REALS)
) noexcept nogil:
    """r_ts^2, or r_ts, which in one dimension is |t - s| g"""
    cdef vec squares[SOURCES * VEC_TILE]
    cdef vec tile[VEC_TILE]
    cdef vec s, g, z, zero = vec_all(0.0)
    cdef Py_ssize_t a, b, i, j
    for b in range(count * width):
        squares[b] = zero
    for j in range(d):
        g = vec_all(scale[j])
        for i in range(width):
            tile[i] = vec_load(targets + j * ldt + i * VEC_REALS)
        for b in range(count):
            s = vec_all(sources[j * lds + b])
            for i in range(width):
                z = vec_mul(vec_sub(tile[i], s), g)
                if d == 1 and not squared:
                    squares[b * width + i] = vec_max(z, vec_sub(zero, z))
                else:
                    squares[b * width + i] = vec_fused(z, z, squares[b * width + i]) if j > 0 else vec_mul(z, z)
    for b in range(count * width):
        vec_store(out + b * VEC_REALS, squares[b])
    if d > 1 and not squared:
        for a in range(count * width * VEC_REALS):
            out[a] = real_sqrt(out[a])


cdef inline void _sum_tile(
    Py_ssize_t kernel, real reach,      # IN, kernel known to the compiler, as are width, and d if 1
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds, Py_ssize_t n_sources,  # IN
    const real *weights,                # IN (n_sources,)
    const real *targets,                # IN (d, ldt), `width` vecs of targets
    Py_ssize_t ldt, Py_ssize_t width, Py_ssize_t d,  # IN
    const real *scale,                  # IN (d,)
    real *sums,                         # INOUT (width * VEC_REALS,)
) noexcept nogil:
    """radial_sum for a few vecs of targets"""
    cdef real terms[SOURCES * TILE]
    cdef vec total[VEC_TILE]
    cdef vec w
    cdef real reach2 = reach * reach
    cdef real inv_reach2 = 1 / reach2
    cdef Py_ssize_t a, b, i, s = 0, count, n = width * VEC_REALS
    cdef bint squared = kernel != LINEAR and kernel != EXPONENTIAL
    for i in range(width):
        total[i] = vec_load(sums + i * VEC_REALS)
    while s < n_sources:
        if n_sources - s >= SOURCES:
            count = SOURCES
            _distances(squared, sources + s, lds, SOURCES, targets, ldt, width, d, scale, terms)
            for a in range(SOURCES * n):
                terms[a] = radial_term(kernel, terms[a], reach, reach2, inv_reach2)
        else:
            count = 1
            _distances(squared, sources + s, lds, 1, targets, ldt, width, d, scale, terms)
            for a in range(n):
                terms[a] = radial_term(kernel, terms[a], reach, reach2, inv_reach2)
        for b in range(count):
            w = vec_all(weights[s + b])
            for i in range(width):
                total[i] = vec_fused(w, vec_load(terms + b * n + i * VEC_REALS), total[i])
        s += count
    for i in range(width):
        vec_store(sums + i * VEC_REALS, total[i])


cdef inline const real *_one_vec(
    const real *targets,                # IN (d, ldt)
    Py_ssize_t *ldt,                    # INOUT
    Py_ssize_t n, Py_ssize_t d,         # IN 1 <= n <= VEC_REALS targets
    real *scratch,                      # SCRATCH (VEC_REALS * d,)
) noexcept nogil:
    """The targets where they are if they fill a vec; otherwise copied, and filled up with the last one"""
    cdef Py_ssize_t i, j
    if n == VEC_REALS:
        return targets
    for j in range(d):
        for i in range(VEC_REALS):
            scratch[j * VEC_REALS + i] = targets[j * ldt[0] + min(i, n - 1)]
    ldt[0] = VEC_REALS
    return scratch


cdef inline void _sum_block(
    Py_ssize_t kernel, real reach,      # IN, kernel known to the compiler, and d if 1
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds, Py_ssize_t n_sources,  # IN
    const real *weights,                # IN (n_sources,)
    const real *targets,                # IN (d, ldt)
    Py_ssize_t ldt, Py_ssize_t n_targets, Py_ssize_t d,  # IN
    const real *scale,                  # IN (d,)
    real *sums,                         # INOUT (n_targets,)
    real *scratch,                      # SCRATCH (VEC_REALS * d,)
) noexcept nogil:
    """radial_sum: tiles, then single vecs"""
    cdef real g[VEC_REALS]
    cdef Py_ssize_t a = 0, i, n, ld
    cdef const real *x
    while n_targets - a >= TILE:
        _sum_tile(kernel, reach, sources, lds, n_sources, weights, targets + a, ldt, VEC_TILE, d, scale, sums + a)
        a += TILE
    while a < n_targets:
        n = min(<Py_ssize_t>VEC_REALS, n_targets - a)
        ld = ldt
        x = _one_vec(targets + a, &ld, n, d, scratch)
        for i in range(VEC_REALS):
            g[i] = sums[a + i] if i < n else 0.0
        _sum_tile(kernel, reach, sources, lds, n_sources, weights, x, ld, 1, d, scale, g)
        for i in range(n):
            sums[a + i] = g[i]
        a += n


cdef inline void _sum_any(
    Py_ssize_t kernel, real reach,      # IN, kernel known to the compiler
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds, Py_ssize_t n_sources,  # IN
    const real *weights,                # IN (n_sources,)
    const real *targets,                # IN (d, ldt)
    Py_ssize_t ldt, Py_ssize_t n_targets, Py_ssize_t d,  # IN
    const real *scale,                  # IN (d,)
    real *sums,                         # INOUT (n_targets,)
    real *scratch,                      # SCRATCH (VEC_REALS * d,)
) noexcept nogil:
    """radial_sum, with one feature known to the compiler"""
    if d == 1:
        _sum_block(kernel, reach, sources, lds, n_sources, weights, targets, ldt, n_targets, 1, scale, sums, scratch)
    else:
        _sum_block(kernel, reach, sources, lds, n_sources, weights, targets, ldt, n_targets, d, scale, sums, scratch)


cdef api void radial_sum(
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
) noexcept nogil:
    """g_t <- g_t + sum_s w_s K(r_ts), exponentials below the normal numbers taken as 0"""
    if kernel == TOPHAT:
        _sum_any(TOPHAT, reach, sources, lds, n_sources, weights, targets, ldt, n_targets, d, scale, sums, scratch)
    elif kernel == EPANECHNIKOV:
        _sum_any(EPANECHNIKOV, reach, sources, lds, n_sources, weights, targets, ldt, n_targets, d, scale, sums,
                 scratch)
    elif kernel == LINEAR:
        _sum_any(LINEAR, reach, sources, lds, n_sources, weights, targets, ldt, n_targets, d, scale, sums, scratch)
    elif kernel == COSINE:
        _sum_any(COSINE, reach, sources, lds, n_sources, weights, targets, ldt, n_targets, d, scale, sums, scratch)
    elif kernel == EXPONENTIAL:
        _sum_any(EXPONENTIAL, reach, sources, lds, n_sources, weights, targets, ldt, n_targets, d, scale, sums,
                 scratch)


cdef inline void _log_sum_vec(
    const real *sources,                # IN (d, lds)
    Py_ssize_t lds, Py_ssize_t n_sources,  # IN
    const real *log_weights,            # IN (n_sources,)
    const real *targets,                # IN (d, ldt), VEC_REALS targets
    Py_ssize_t ldt, Py_ssize_t d,       # IN
    const real *scale,                  # IN (d,)
    real unit,                          # IN
    real *largest,                      # INOUT (VEC_REALS,)
    real *sums,                         # INOUT (VEC_REALS,)
) noexcept nogil:
    """exponential_log_sum for one vec: the sum is brought to a new maximum before the terms of a chunk are taken"""
    cdef real a[CHUNK * VEC_REALS]
    cdef real before[VEC_REALS]
    cdef Py_ssize_t b, m, s = 0, t
    while s < n_sources:
        m = min(CHUNK, n_sources - s)
        b = 0
        while b < m:
            if m - b >= SOURCES:
                _distances(False, sources + s + b, lds, SOURCES, targets, ldt, 1, d, scale, a + b * VEC_REALS)
                b += SOURCES
            else:
                _distances(False, sources + s + b, lds, 1, targets, ldt, 1, d, scale, a + b * VEC_REALS)
                b += 1
        for b in range(m):
            for t in range(VEC_REALS):
                a[b * VEC_REALS + t] = real_fused(-unit, a[b * VEC_REALS + t], log_weights[s + b])
        for t in range(VEC_REALS):
            before[t] = largest[t]
        for b in range(m):
            for t in range(VEC_REALS):
                largest[t] = a[b * VEC_REALS + t] if a[b * VEC_REALS + t] > largest[t] else largest[t]
        for t in range(VEC_REALS):
            sums[t] *= real_exp_nonpositive(before[t] - largest[t])
        for b in range(m):
            for t in range(VEC_REALS):
                sums[t] += real_exp_nonpositive(a[b * VEC_REALS + t] - largest[t])
        s += m


cdef api void exponential_log_sum(
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
) noexcept nogil:
    """m_t <- max(m_t, max_s (log w_s - r_ts)) and the sum of exp(log w_s - r_ts - m_t) with it.

    After the last block log g_t is largest_t + log sums_t.
    """
    cdef real m[VEC_REALS]
    cdef real g[VEC_REALS]
    cdef Py_ssize_t a = 0, i, n, ld
    cdef const real *x
    while a < n_targets:
        n = min(<Py_ssize_t>VEC_REALS, n_targets - a)
        ld = ldt
        x = _one_vec(targets + a, &ld, n, d, scratch)
        for i in range(VEC_REALS):
            m[i], g[i] = largest[a + min(i, n - 1)], sums[a + min(i, n - 1)]
        if d == 1:
            _log_sum_vec(sources, lds, n_sources, log_weights, x, ld, 1, scale, unit, m, g)
        else:
            _log_sum_vec(sources, lds, n_sources, log_weights, x, ld, d, scale, unit, m, g)
        for i in range(n):
            largest[a + i], sums[a + i] = m[i], g[i]
        a += n


cdef api void box_ranges(
    const real *low,                    # IN (d,)
    const real *high,                   # IN (d,)
    const real *targets,                # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    const real *scale,                  # IN (d,)
    real *nearest,                      # OUT (n_targets,)
    real *farthest,                     # OUT (n_targets,)
) noexcept nogil:
    """r^2 = sum_j (x_j g_j)^2 with x_j = max(low_j - t_j, t_j - high_j, 0), and with max(t_j - low_j, high_j - t_j)"""
    cdef Py_ssize_t j, t
    cdef real below, above, z, g
    for t in range(n_targets):
        nearest[t] = farthest[t] = 0.0
    for j in range(d):
        g = scale[j]
        for t in range(n_targets):
            below = low[j] - targets[j * ldt + t]
            above = targets[j * ldt + t] - high[j]
            z = (below if below > above else above) * g
            z = z if z > 0.0 else <real>0.0
            nearest[t] = real_fused(z, z, nearest[t])
            z = (below if below < above else above) * g
            farthest[t] = real_fused(z, z, farthest[t])
