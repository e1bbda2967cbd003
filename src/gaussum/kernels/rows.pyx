# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""E-step and M-step of Gaussians along the axes, over rows of samples as they lie.

    log p_ik = c_k - sum_j ((x_ij - mu_kj) u_kj)^2 / 2
    n_k = sum_i r_ik     f_kj = sum_i r_ik (x_ij - o_kj)     s_kj = sum_i r_ik (x_ij - o_kj)^2

Vectors run along the features, so that a block need not be turned to lie feature by feature: with many features that
took as long as either step (measured).  Sums are added in the order of mstep.pyx, and where rows_pay in that of
estep.pyx too, so the bits are the same.  Functions take n <= ld samples, allocate nothing and hold no state.
"""
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy, memset

from gaussum.kernels.moments cimport add_masses
from gaussum.kernels.vec cimport (
    BY_ROWS, LANES, TILE_COMPONENTS, VEC_FOLD, VEC_GROUPS, VEC_REALS, vec, vec_add, vec_all, vec_fold, vec_fused,
    vec_load, vec_mul, vec_store, vec_sub
)

cdef extern from *:
    """
    #ifdef __GNUC__
    #define prefetch(p) __builtin_prefetch(p, 0, 2)
    #else
    #define prefetch(p) ((void)(p))
    #endif
    """
    void prefetch(const double *) noexcept nogil

cdef enum:
    TALL = 4                            # rows whose distances are taken together
    TALL_SUMS = 16                      # TALL * the most TILE_COMPONENTS
    SPAN_ROWS = 16                      # rows that pass a piece of the features together, TALL at a time
    PIECE = 512                         # doubles of a piece of the means, which stays in L1 with that of the scales
    LEAST = 64                          # and its least features
    WIDE = 2                            # vecs of features whose moments are taken together
    WIDE_SUMS = 16                      # the most 2 * WIDE * TILE_COMPONENTS
    LANE_SUMS = 128                     # LANES * WIDE_SUMS


cdef api Py_ssize_t rows_pay(
    Py_ssize_t d,                       # IN
) noexcept nogil:
    """Whether these kernels give the bits of those for blocks, and are faster: where a vec holds all lanes."""
    return d >= BY_ROWS and VEC_REALS == LANES


cdef api Py_ssize_t strips_size(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil:
    """Numbers that pack_strips writes, at the most."""
    return (d + LANES - 1) // LANES * LANES * 2 * K


cdef api Py_ssize_t rows_scratch(
    Py_ssize_t K,                       # IN
) noexcept nogil:
    """Numbers of scratch that log_prob_*_rows need."""
    return (SPAN_ROWS * K + VEC_FOLD) * LANES


cdef api void pack_strips(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *means,                # IN (K, d)
    const double *precisions_chol,      # IN (K, d), or NULL
    double *strips,                     # OUT (strips_size(d, K),)
) noexcept nogil:
    """(mu, u)_skjl = (mu, u)_k,s LANES + l, with zeros beyond the last feature; without u where it is NULL"""
    cdef double *out = strips
    cdef Py_ssize_t k, l, start
    for start in range(0, d, 8):
        for k in range(K):
            for l in range(LANES):
                out[l] = means[k * d + start + l] if start + l < d else 0.0
            out += LANES
            if precisions_chol is not NULL:
                for l in range(LANES):
                    out[l] = precisions_chol[k * d + start + l] if start + l < d else 0.0
                out += LANES


cdef inline void _add_squares(
    const double **x,                   # IN (TALL,) rows
    Py_ssize_t n_strips,                # IN, LANES features each
    Py_ssize_t components,              # IN, at most TILE_COMPONENTS, known to the compiler
    const double *strips,               # IN of pack_strips, from these features and components on
    Py_ssize_t width,                   # IN, doubles of a strip
    const double *scales,               # IN (components,), or NULL: they stand in the strips; known to the compiler
    Py_ssize_t ahead,                   # IN, from where on rows will be needed; 0: none
    double *lanes,                      # INOUT (components, TALL, LANES)
) noexcept nogil:
    """l_kij <- l_kij + sum of ((x_ij - mu_kj) u_kj)^2 over the strips"""
    cdef vec sums[TALL_SUMS]
    cdef vec samples[TALL]
    cdef const double *p
    cdef vec mean, u, z
    cdef Py_ssize_t a, g, i, j, k, strip
    for g in range(VEC_GROUPS):
        for a in range(TALL * components):
            sums[a] = vec_load(lanes + a * LANES + g * VEC_REALS)
        p = strips + g * VEC_REALS
        for strip in range(n_strips):
            j = strip * LANES + g * VEC_REALS
            for i in range(TALL):
                samples[i] = vec_load(x[i] + j)
                if g == 0 and ahead != 0:
                    prefetch(x[i] + ahead + j)
            for k in range(components):
                mean = vec_load(p + k * LANES * (1 if scales is not NULL else 2))
                u = vec_all(scales[k]) if scales is not NULL else vec_load(p + (2 * k + 1) * LANES)
                for i in range(TALL):
                    z = vec_mul(vec_sub(samples[i], mean), u)
                    sums[k * TALL + i] = vec_fused(z, z, sums[k * TALL + i])
            p += width
        for a in range(TALL * components):
            vec_store(lanes + a * LANES + g * VEC_REALS, sums[a])


cdef inline void _add_squares_of_all(
    const double **x, Py_ssize_t n_strips, Py_ssize_t K, const double *strips, const double *scales, Py_ssize_t ahead,
    double *lanes,
) noexcept nogil:
    """_add_squares of K components, with the number of those taken together known to the compiler"""
    cdef Py_ssize_t k = 0, rest, a_strip = LANES * (1 if scales is not NULL else 2)
    cdef const double *own
    while k < K:
        rest = K - k
        own = scales + k if scales is not NULL else NULL
        if rest >= TILE_COMPONENTS:
            _add_squares(x, n_strips, TILE_COMPONENTS, strips + k * a_strip, K * a_strip, own, ahead,
                         lanes + k * TALL * LANES)
        elif rest == 3:
            _add_squares(x, n_strips, 3, strips + k * a_strip, K * a_strip, own, ahead, lanes + k * TALL * LANES)
        elif rest == 2:
            _add_squares(x, n_strips, 2, strips + k * a_strip, K * a_strip, own, ahead, lanes + k * TALL * LANES)
        else:
            _add_squares(x, n_strips, 1, strips + k * a_strip, K * a_strip, own, ahead, lanes + k * TALL * LANES)
        ahead = 0
        k += TILE_COMPONENTS


cdef inline void _add_squares_of_span(
    const double *x, Py_ssize_t row,    # IN (n, width), rows `row` apart
    Py_ssize_t n, Py_ssize_t width, Py_ssize_t K,  # IN
    const double *strips, const double *scales,  # as in _add_squares
    double *lanes,                      # INOUT (n in TALLs, K, TALL, LANES)
) noexcept nogil:
    cdef double tail[TALL * LANES]
    cdef const double *rows[TALL]
    cdef Py_ssize_t i, j, tile, whole = width - width % LANES
    cdef const double *last = strips + whole * K * (1 if scales is not NULL else 2)
    for tile in range(0, n, 4):
        for i in range(TALL):               # where there are fewer, the last one again
            rows[i] = x + min(tile + i, n - 1) * row
        _add_squares_of_all(rows, whole // LANES, K, strips, scales, SPAN_ROWS * row, lanes)
        if width > whole:
            for i in range(TALL):
                for j in range(LANES):
                    tail[i * LANES + j] = rows[i][whole + j] if whole + j < width else 0.0
                rows[i] = tail + i * LANES
            _add_squares_of_all(rows, 1, K, last, scales, 0, lanes)
        lanes += K * TALL * LANES


cdef inline void _store_log_prob(
    const double *lanes,                # IN (K, TALL, LANES), and as much again as VEC_FOLD rows
    Py_ssize_t n, Py_ssize_t K, Py_ssize_t ld,  # IN, n <= TALL
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
) noexcept nogil:
    """log p_ik = c_k - sum_l lanes_kil / 2"""
    cdef vec some[VEC_FOLD * VEC_GROUPS]
    cdef double totals[VEC_FOLD]
    cdef Py_ssize_t a = 0, b, g
    while a < K * TALL:
        for b in range(VEC_FOLD * VEC_GROUPS):
            some[b] = vec_load(lanes + a * LANES + b * VEC_REALS)
        vec_fold(some, totals)
        for b in range(VEC_FOLD):
            if (a + b) % TALL < n and a + b < K * TALL:
                g = (a + b) // TALL
                log_prob[g * ld + (a + b) % TALL] = log_const[g] - 0.5 * totals[b]
        a += VEC_FOLD


cdef inline void _log_prob_rows(
    const double *x, Py_ssize_t row,    # IN (n, d), rows `row` apart
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d, Py_ssize_t K,  # IN
    const double *strips,               # IN of pack_strips
    const double *scales,               # IN (K,), or NULL: they stand in the strips; known to the compiler
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
    double *lanes,                      # SCRATCH (rows_scratch(K),)
) noexcept nogil:
    """log p_ik = c_k - sum_j ((x_ij - mu_kj) u_kj)^2 / 2, a piece of the features after the other"""
    cdef Py_ssize_t first, j, piece = max(LEAST, PIECE // K // LANES * LANES)
    for first in range(0, n, 16):
        memset(lanes, 0, (SPAN_ROWS * K + VEC_FOLD) * LANES * sizeof(double))
        j = 0
        while j < d:
            _add_squares_of_span(x + first * row + j, row, min(SPAN_ROWS, n - first), min(piece, d - j), K,
                                 strips + j * K * (1 if scales is not NULL else 2), scales, lanes)
            j += piece
        for j in range(first, min(first + SPAN_ROWS, n), 4):
            _store_log_prob(lanes + (j - first) * K * LANES, min(TALL, n - j), K, ld, log_const, log_prob + j)


cdef api void log_prob_diag_rows(
    const double *x,                    # IN (n, d), rows `row` apart
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *strips,               # IN of pack_strips, read fastest from a multiple of 64 bytes on
    const double *precisions_chol,      # IN (K, d): not read, it is in the strips
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (rows_scratch(K),)
) noexcept nogil:
    """log p_ik = c_k - sum_j ((x_ij - mu_kj) u_kj)^2 / 2"""
    _log_prob_rows(x, row, ld, n, d, K, strips, NULL, log_const, log_prob, scratch)


cdef api void log_prob_spherical_rows(
    const double *x,                    # IN (n, d), rows `row` apart
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *strips,               # IN of pack_strips, read fastest from a multiple of 64 bytes on
    const double *precisions_chol,      # IN (K,)
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (rows_scratch(K),)
) noexcept nogil:
    """log p_ik = c_k - sum_j ((x_ij - mu_kj) u_k)^2 / 2"""
    _log_prob_rows(x, row, ld, n, d, K, strips, precisions_chol, log_const, log_prob, scratch)


cdef inline void _add_moments(
    const double *x,                    # IN (n, WIDE * VEC_REALS), rows `row` apart
    Py_ssize_t row, Py_ssize_t n,       # IN, n a multiple of LANES, or less than LANES
    const double *resp,                 # IN (components, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t components,              # IN, at most TILE_COMPONENTS, known to the compiler
    const double *origins,              # IN (components, WIDE * VEC_REALS), rows `d` apart
    Py_ssize_t d,                       # IN
    Py_ssize_t ahead,                   # IN, from where on features will be needed; 0: none
    Py_ssize_t known,                   # IN, features whose sums are left as they are
    double *first,                      # INOUT (components, WIDE * VEC_REALS), rows `d` apart
    double *second,                     # INOUT the same where step is 1; (components,) where it is 0
    Py_ssize_t step,                    # IN, known to the compiler
) noexcept nogil:
    """f_kj <- f_kj + sum_i r_ik (x_ij - o_kj),  s_kj <- s_kj + sum_i r_ik (x_ij - o_kj)^2"""
    cdef double lanes[LANE_SUMS * VEC_REALS]
    cdef vec sums[WIDE_SUMS]            # first and second moments in turn
    cdef vec samples[WIDE]
    cdef vec part[LANES]
    cdef vec r, w, z
    cdef double total
    cdef Py_ssize_t a, b, i, j, k, l, count = 2 * WIDE * components
    for l in range(LANES):
        for a in range(count):
            sums[a] = vec_all(0.0)
        i = l
        while i < n:
            for b in range(WIDE):
                samples[b] = vec_load(x + i * row + b * VEC_REALS)
                if ahead != 0:
                    prefetch(x + i * row + ahead + b * VEC_REALS)
            for k in range(components):
                r = vec_all(resp[k * ld + i])
                for b in range(WIDE):
                    a = 2 * (k * WIDE + b)
                    z = vec_sub(samples[b], vec_load(origins + k * d + b * VEC_REALS))
                    w = vec_mul(r, z)
                    sums[a] = vec_add(sums[a], w)
                    sums[a + 1] = vec_fused(w, z, sums[a + 1])
            i += LANES
        for a in range(count):
            vec_store(lanes + (l * count + a) * VEC_REALS, sums[a])
    for a in range(count):
        for l in range(LANES):
            part[l] = vec_load(lanes + (l * count + a) * VEC_REALS)
        for l in range(4):
            part[l] = vec_add(part[l], part[4 + l])
        for l in range(2):
            part[l] = vec_add(part[l], part[2 + l])
        sums[a] = vec_add(part[0], part[1])
    for k in range(components):
        total = second[k] if not step else 0.0
        for b in range(WIDE):
            a = 2 * (k * WIDE + b)
            j = k * d + b * VEC_REALS
            if known == 0:
                vec_store(first + j, vec_add(vec_load(first + j), sums[a]))
                if step:
                    vec_store(second + j, vec_add(vec_load(second + j), sums[a + 1]))
            if known > 0 or not step:
                vec_store(lanes, sums[a])
                vec_store(lanes + VEC_REALS, sums[a + 1])
                for l in range(max(0, known - b * VEC_REALS), VEC_REALS):
                    if known > 0:
                        first[j + l] += lanes[l]
                    if not step:
                        total += lanes[VEC_REALS + l]
                    elif known > 0:
                        second[j + l] += lanes[VEC_REALS + l]
        if not step:
            second[k] = total


cdef inline void _add_moments_of_all(
    const double *x, Py_ssize_t row, Py_ssize_t n, Py_ssize_t d, Py_ssize_t K, const double *resp, Py_ssize_t ld,
    const double *origins, double *first, double *second, Py_ssize_t step,
) noexcept nogil:
    """_add_moments of all features, the last of which overlap those before, with few of K components together"""
    cdef Py_ssize_t ahead, at = 0, done = 0, k, known, rest
    cdef Py_ssize_t line = -<Py_ssize_t>(<uintptr_t>x // sizeof(double)) & (VEC_REALS - 1)  # where vecs are aligned
    while done < d:
        at = min(at, d - WIDE * VEC_REALS)
        known = done - at
        ahead = WIDE * VEC_REALS
        k = 0
        while k < K:
            rest = K - k
            if rest >= TILE_COMPONENTS:
                _add_moments(x + at, row, n, resp + k * ld, ld, TILE_COMPONENTS, origins + k * d + at, d, ahead, known,
                             first + k * d + at, second + (k * d + at if step else k), step)
            elif rest == 3:
                _add_moments(x + at, row, n, resp + k * ld, ld, 3, origins + k * d + at, d, ahead, known,
                             first + k * d + at, second + (k * d + at if step else k), step)
            elif rest == 2:
                _add_moments(x + at, row, n, resp + k * ld, ld, 2, origins + k * d + at, d, ahead, known,
                             first + k * d + at, second + (k * d + at if step else k), step)
            else:
                _add_moments(x + at, row, n, resp + k * ld, ld, 1, origins + k * d + at, d, ahead, known,
                             first + k * d + at, second + (k * d + at if step else k), step)
            ahead = 0
            k += TILE_COMPONENTS
        done = at + WIDE * VEC_REALS
        at = line if at == 0 and line > 0 else done     # aligned from there on, at the price of an overlap


cdef inline void _accumulate_rows(
    const double *x, Py_ssize_t row, Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d, Py_ssize_t K, const double *resp,
    const double *origins, double *nk, double *first, double *second, Py_ssize_t step,
) noexcept nogil:
    cdef Py_ssize_t whole = n - n % LANES
    add_masses(resp, ld, n, K, nk, 1)
    _add_moments_of_all(x, row, whole, d, K, resp, ld, origins, first, second, step)
    if n > whole:
        _add_moments_of_all(x + whole * row, row, n - whole, d, K, resp + whole, ld, origins, first, second, step)


cdef api void accumulate_diag_rows(
    const double *x,                    # IN (n, d), rows `row` apart
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t d,                       # IN, d >= 16
    Py_ssize_t K,                       # IN
    const double *resp,                 # IN (K, ld)
    const double *origins,              # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K, d)
) noexcept nogil:
    """n_k <- n_k + sum_i r_ik,  f_kj <- f_kj + sum_i r_ik (x_ij - o_kj),  s_kj <- s_kj + sum_i r_ik (x_ij - o_kj)^2"""
    _accumulate_rows(x, row, ld, n, d, K, resp, origins, nk, first, second, 1)


cdef api void accumulate_spherical_rows(
    const double *x,                    # IN (n, d), rows `row` apart
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t d,                       # IN, d >= 16
    Py_ssize_t K,                       # IN
    const double *resp,                 # IN (K, ld)
    const double *origins,              # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K,)
) noexcept nogil:
    """n_k <- n_k + sum_i r_ik,  f_k <- f_k + sum_i r_ik (x_i - o_k),  s_k <- s_k + sum_i r_ik |x_i - o_k|^2"""
    _accumulate_rows(x, row, ld, n, d, K, resp, origins, nk, first, second, 0)
