# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The E-step over one block of samples.

    log p_ik = log w_k + log N(x_i; mu_k, (U_k U_k^T)^-1) = c_k - |(x_i - mu_k) U_k|^2 / 2
    log p_i  = m_i + log sum_k exp(log p_ik - m_i),   m_i = max_k log p_ik
    r_ik     = exp(log p_ik - log p_i)

U_k is the upper triangular `precisions_chol` and c_k = log w_k + log det U_k - d/2 log 2 pi.

A block lies feature by feature, x[j * ld + i], and is taken in tiles of samples; x - mu is formed first and multiplied
second, so that an offset of the data costs no digits.  Functions take n <= ld samples, allocate nothing and hold no
state.
"""
from libc.math cimport INFINITY

from gaussum.kernels.lanes cimport add_lanes
from gaussum.kernels.real cimport real
from gaussum.kernels.tiles cimport center, log_prob_of_few, log_prob_scaled, multiply_upper, store_log_prob
from gaussum.kernels.vec cimport (
    CENTERED, EXP_SPANS, FEW, REAL_LOWEST, SPAN, SPAN_VECS, TILE, TILE_COLUMNS, VEC_REALS, VEC_TILE,
    real_exp_nonpositive, real_log, vec, vec_add, vec_all, vec_exp_nonpositive, vec_load, vec_max, vec_mul, vec_store,
    vec_sub
)

cdef enum:
    ROW = 32                            # samples of a tile of responsibilities, the lanes of sums, and the steps below


cdef api Py_ssize_t estep_scratch(
    Py_ssize_t d,                       # IN
    Py_ssize_t ld,                      # IN
) noexcept nogil:
    """Numbers of scratch that any function here needs."""
    return d * (ld + 2 * TILE + TILE_COLUMNS) + TILE


cdef inline void _log_prob_axes(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d, Py_ssize_t K,  # IN
    const real *means,                  # IN (K, d)
    const real *scales, Py_ssize_t row, Py_ssize_t step,  # as in distances
    const real *log_const,              # IN (K,)
    real *log_prob,                     # OUT (K, ld)
    real *scratch,                      # SCRATCH (d, TILE)
) noexcept nogil:
    """log p_ik = c_k - sum_j ((x_ij - mu_kj) u_kj)^2 / 2"""
    cdef Py_ssize_t start, tile, whole = n - n % TILE
    for tile in range(n // TILE):
        start = tile * TILE
        log_prob_scaled(x + start, ld, d, K, means, scales, row, step, log_const, TILE, ld, log_prob + start)
    if n > whole:
        _pad_tile(x + whole, ld, n - whole, d, scratch)
        log_prob_scaled(scratch, TILE, d, K, means, scales, row, step, log_const, n - whole, ld, log_prob + whole)


cdef inline void _pad_tile(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d,  # IN, n < TILE
    real *tile,                         # OUT (d, TILE)
) noexcept nogil:
    """The last samples of a block as a tile, with zeros beyond them."""
    cdef Py_ssize_t i, j
    for j in range(d):
        for i in range(TILE):
            tile[j * TILE + i] = x[j * ld + i] if i < n else 0.0


cdef inline void _log_prob_few(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d, Py_ssize_t K,  # IN, 2 <= d <= FEW
    const real *means,                  # IN (K, d)
    const real *precisions_chol,        # IN (K, d, d)
    const real *log_const,              # IN (K,)
    real *log_prob,                     # OUT (K, ld)
    real *scratch,                      # SCRATCH (d, TILE)
) noexcept nogil:
    """log p_ik = c_k - |(x_i - mu_k) U_k|^2 / 2"""
    cdef Py_ssize_t start, tile, whole = n - n % TILE
    for tile in range(n // TILE):
        start = tile * TILE
        log_prob_of_few(x + start, ld, d, K, means, precisions_chol, log_const, TILE, ld, log_prob + start)
    if n > whole:
        _pad_tile(x + whole, ld, n - whole, d, scratch)
        log_prob_of_few(scratch, TILE, d, K, means, precisions_chol, log_const, n - whole, ld, log_prob + whole)


cdef api void log_prob_full(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *means,                  # IN (K, d)
    const real *precisions_chol,        # IN (K, d, d)
    const real *log_const,              # IN (K,)
    real *log_prob,                     # OUT (K, ld)
    real *scratch,                      # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil:
    """log p_ik = c_k - |(x_i - mu_k) U_k|^2 / 2"""
    cdef vec squares[VEC_TILE]
    cdef Py_ssize_t i, k, start, tile, tiles = (n + TILE - 1) // TILE
    if d == 1:
        _log_prob_axes(x, ld, n, d, K, means, precisions_chol, 1, 1, log_const, log_prob, scratch)
        return
    if d <= FEW:
        _log_prob_few(x, ld, n, d, K, means, precisions_chol, log_const, log_prob, scratch)
        return
    for k in range(K):
        for tile in range(tiles):
            start = tile * TILE
            for i in range(VEC_TILE):
                squares[i] = vec_all(0.0)
            if d <= CENTERED and n - start >= TILE:
                multiply_upper(x + start, ld, d, means + k * d, precisions_chol + k * d * d, squares, NULL)
            else:
                center(x + start, ld, min(TILE, n - start), d, means + k * d, scratch)
                multiply_upper(scratch, TILE, d, NULL, precisions_chol + k * d * d, squares, NULL)
            store_log_prob(squares, log_const[k], min(TILE, n - start), log_prob + k * ld + start)


cdef api void log_prob_tied(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *means,                  # IN (K, d)
    const real *precisions_chol,        # IN (d, d)
    const real *log_const,              # IN (K,)
    real *log_prob,                     # OUT (K, ld)
    real *scratch,                      # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil:
    """log p_ik = c_k - |(x_i - o) U - (mu_k - o) U|^2 / 2: one product with U serves all components.

    The origin o is the mean of the heaviest component, so that distances among the components enter the rounding,
    an offset of the data does not, and nor does a mean that went astray.
    """
    cdef Py_ssize_t b, j, k, l, start, tile, tiles = (n + TILE - 1) // TILE, heaviest = 0
    cdef real *z = scratch              # (d, TILE)
    cdef real *centers = z + d * TILE   # (TILE_COLUMNS, d): (mu_k - o) U
    cdef real *y = centers + d * TILE_COLUMNS  # (tiles, d, TILE): (x_i - o) U
    cdef vec unused[VEC_TILE]
    cdef const real *origin
    for k in range(1, K):
        if log_const[k] > log_const[heaviest]:
            heaviest = k
    origin = means + heaviest * d
    for tile in range(tiles):
        start = tile * TILE
        center(x + start, ld, min(TILE, n - start), d, origin, z)
        multiply_upper(z, TILE, d, NULL, precisions_chol, unused, y + start * d)
    for k in range(0, K, 4):
        for b in range(min(TILE_COLUMNS, K - k)):
            for j in range(d):
                centers[b * d + j] = 0.0
            for l in range(d):
                for j in range(l, d):
                    centers[b * d + j] += (means[(k + b) * d + l] - origin[l]) * precisions_chol[l * d + j]
        for tile in range(tiles):
            start = tile * TILE
            log_prob_scaled(y + start * d, TILE, d, min(TILE_COLUMNS, K - k), centers, NULL, 0, 0, log_const + k,
                             min(TILE, n - start), ld, log_prob + k * ld + start)


cdef api void log_prob_diag(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *means,                  # IN (K, d)
    const real *precisions_chol,        # IN (K, d)
    const real *log_const,              # IN (K,)
    real *log_prob,                     # OUT (K, ld)
    real *scratch,                      # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil:
    """log p_ik = c_k - sum_j ((x_ij - mu_kj) u_kj)^2 / 2"""
    _log_prob_axes(x, ld, n, d, K, means, precisions_chol, d, 1, log_const, log_prob, scratch)


cdef api void log_prob_spherical(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *means,                  # IN (K, d)
    const real *precisions_chol,        # IN (K,)
    const real *log_const,              # IN (K,)
    real *log_prob,                     # OUT (K, ld)
    real *scratch,                      # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil:
    """log p_ik = c_k - sum_j ((x_ij - mu_kj) u_k)^2 / 2"""
    _log_prob_axes(x, ld, n, d, K, means, precisions_chol, 1, 0, log_const, log_prob, scratch)


cdef api void log_densities(
    const real *log_prob,               # IN (K, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t K,                       # IN
    real *log_density,                  # OUT (n,)
    real *scratch,                      # SCRATCH (ld,)
) noexcept nogil:
    """log p_i = m_i + log sum_k exp(log p_ik - m_i),  m_i = max_k log p_ik; -inf where every log p_ik is"""
    cdef Py_ssize_t i = 0
    while EXP_SPANS and i + SPAN <= n:
        _log_densities_span(log_prob + i, ld, K, log_density + i)
        i += SPAN
    while i < n:
        _log_densities_tile(log_prob + i, ld, min(ROW, n - i), K, log_density + i)
        i += ROW


cdef inline void _log_densities_span(
    const real *log_prob,               # IN (K, ld), SPAN samples
    Py_ssize_t ld, Py_ssize_t K,        # IN
    real *log_density,                  # OUT (SPAN,)
) noexcept nogil:
    cdef vec largest[SPAN_VECS]
    cdef vec total[SPAN_VECS]
    cdef vec e[SPAN_VECS]
    cdef real totals[SPAN]
    cdef Py_ssize_t i, k
    _maximum_span(log_prob, ld, K, largest)
    for i in range(SPAN_VECS):
        total[i] = vec_all(0.0)
    for k in range(K):
        for i in range(SPAN_VECS):
            e[i] = vec_sub(vec_load(log_prob + k * ld + i * VEC_REALS), largest[i])
        vec_exp_nonpositive(e)
        for i in range(SPAN_VECS):
            total[i] = vec_add(total[i], e[i])
    for i in range(SPAN_VECS):
        vec_store(totals + i * VEC_REALS, total[i])
        vec_store(log_density + i * VEC_REALS, largest[i])
    for i in range(SPAN):
        log_density[i] += real_log(totals[i])


cdef inline void _log_densities_tile(
    const real *log_prob,               # IN (K, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t K,  # IN, n <= ROW
    real *log_density,                  # OUT (n,)
) noexcept nogil:
    cdef real largest[ROW]
    cdef real total[ROW]
    cdef Py_ssize_t i, k
    _maximum(log_prob, ld, n, K, largest)
    for i in range(n):
        total[i] = 0.0
    for k in range(K):
        for i in range(n):
            total[i] += real_exp_nonpositive(log_prob[k * ld + i] - largest[i])
    for i in range(n):
        log_density[i] = largest[i] + real_log(total[i])


cdef api void responsibilities(
    real *log_prob,                     # INOUT (K, ld): log p_ik, then r_ik
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t K,                       # IN
    real *log_density,                  # OUT (n,)
    real *scratch,                      # SCRATCH (ld,)
) noexcept nogil:
    """r_ik = e_ik / s_i and log p_i = m_i + log s_i,  e_ik = exp(log p_ik - m_i), s_i = sum_k e_ik

    A sample that no component reaches, every log p_ik being -inf, has log p_i = -inf and belongs to all alike.
    """
    cdef Py_ssize_t i = 0
    while EXP_SPANS and i + SPAN <= n:
        _responsibilities_span(log_prob + i, ld, K, log_density + i)
        i += SPAN
    while i < n:
        _responsibilities_tile(log_prob + i, ld, min(ROW, n - i), K, log_density + i)
        i += ROW


cdef inline void _responsibilities_span(
    real *log_prob,                     # INOUT (K, ld), SPAN samples
    Py_ssize_t ld, Py_ssize_t K,        # IN
    real *log_density,                  # OUT (SPAN,)
) noexcept nogil:
    cdef vec largest[SPAN_VECS]
    cdef vec total[SPAN_VECS]
    cdef vec e[SPAN_VECS]
    cdef real totals[SPAN]
    cdef Py_ssize_t i, k
    cdef Py_ssize_t lost = 0            # samples that no component reaches; the others have a total of at least 1
    cdef real *row
    _maximum_span(log_prob, ld, K, largest)
    for i in range(SPAN_VECS):
        total[i] = vec_all(0.0)
    for k in range(K):
        row = log_prob + k * ld
        for i in range(SPAN_VECS):
            e[i] = vec_sub(vec_load(row + i * VEC_REALS), largest[i])
        vec_exp_nonpositive(e)
        for i in range(SPAN_VECS):
            vec_store(row + i * VEC_REALS, e[i])
            total[i] = vec_add(total[i], e[i])
    for i in range(SPAN_VECS):
        vec_store(totals + i * VEC_REALS, total[i])
        vec_store(log_density + i * VEC_REALS, largest[i])
    for i in range(SPAN):
        lost += totals[i] < <real>0.5
        log_density[i] += real_log(totals[i])
        totals[i] = <real>1.0 / totals[i]
    for i in range(SPAN_VECS):
        total[i] = vec_load(totals + i * VEC_REALS)
    for k in range(K):
        row = log_prob + k * ld
        for i in range(SPAN_VECS):
            vec_store(row + i * VEC_REALS, vec_mul(vec_load(row + i * VEC_REALS), total[i]))
    if lost > 0:
        _share_lost(log_prob, ld, SPAN, K, log_density)


cdef inline void _share_lost(
    real *resp,                         # INOUT (K, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t K,  # IN
    const real *log_density,            # IN (n,)
) noexcept nogil:
    """r_ik = 1 / K of the samples that no component reaches"""
    cdef Py_ssize_t i, k
    for i in range(n):
        if log_density[i] == -INFINITY:
            for k in range(K):
                resp[k * ld + i] = <real>1.0 / K


cdef inline void _responsibilities_tile(
    real *log_prob,                     # INOUT (K, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t K,  # IN, n <= ROW
    real *log_density,                  # OUT (n,)
) noexcept nogil:
    cdef real largest[ROW]
    cdef real total[ROW]
    cdef Py_ssize_t i, k
    cdef real e, lost = 0.0             # samples that no component reaches; the others have a total of at least 1
    _maximum(log_prob, ld, n, K, largest)
    for i in range(n):
        total[i] = 0.0
    for k in range(K):
        for i in range(n):
            e = real_exp_nonpositive(log_prob[k * ld + i] - largest[i])
            log_prob[k * ld + i] = e
            total[i] += e
    for i in range(n):
        log_density[i] = largest[i] + real_log(total[i])
        lost += <real>1.0 if total[i] < <real>0.5 else <real>0.0
        total[i] = <real>1.0 / total[i]
    for k in range(K):
        for i in range(n):
            log_prob[k * ld + i] *= total[i]
    if lost > 0.0:
        _share_lost(log_prob, ld, n, K, log_density)


cdef api double weigh(
    real *resp,                         # INOUT (K, ld): r_ik, then w_i r_ik
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t K,                       # IN
    const real *log_density,            # IN (n,)
    const double *sample_weight,        # IN (n,), or NULL: all 1
) noexcept nogil:
    """r_ik <- w_i r_ik; returns sum_i w_i log p_i

    A sample without weight has w_i r_ik = 0 and adds nothing, were its log p_i infinite or not a number.
    """
    cdef double lanes[ROW]
    cdef Py_ssize_t i, k, l, rows = n // ROW
    for l in range(ROW):
        lanes[l] = 0.0
    for i in range(rows):
        _add_weighed(log_density + i * ROW, sample_weight + i * ROW if sample_weight is not NULL else NULL, ROW, lanes)
    _add_weighed(log_density + rows * ROW, sample_weight + rows * ROW if sample_weight is not NULL else NULL,
                 n - rows * ROW, lanes)
    if sample_weight is not NULL:
        for k in range(K):
            for i in range(n):
                resp[k * ld + i] = resp[k * ld + i] * <real>sample_weight[i] if sample_weight[i] > 0.0 else <real>0.0
    return add_lanes(lanes)


cdef inline void _add_weighed(
    const real *log_density,            # IN (n,)
    const double *sample_weight,        # IN (n,), or NULL
    Py_ssize_t n,                       # IN, n <= ROW
    double *lanes,                      # INOUT (ROW,)
) noexcept nogil:
    cdef Py_ssize_t l
    if sample_weight is NULL:
        for l in range(n):
            lanes[l] += log_density[l]
    else:
        for l in range(n):
            lanes[l] += sample_weight[l] * <double>log_density[l] if sample_weight[l] > 0.0 else 0.0


cdef api void most_probable(
    const real *log_prob,               # IN (K, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t *labels,                 # OUT (n,)
    real *largest,                      # OUT (n,)
) noexcept nogil:
    """label_i = argmax_k log p_ik, the lowest k of several, and log p_ik there"""
    cdef Py_ssize_t i, whole = n - n % ROW
    for i in range(0, whole, 32):
        _most_probable_tile(log_prob + i, ld, ROW, K, labels + i, largest + i)
    if n > whole:
        _most_probable_tile(log_prob + whole, ld, n - whole, K, labels + whole, largest + whole)


cdef inline void _most_probable_tile(
    const real *log_prob,               # IN (K, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t K,  # IN, n <= ROW
    Py_ssize_t *labels,                 # OUT (n,)
    real *largest,                      # OUT (n,)
) noexcept nogil:
    cdef Py_ssize_t best[ROW]
    cdef real most[ROW]
    cdef Py_ssize_t i, k
    for i in range(n):
        best[i] = 0
        most[i] = log_prob[i]
    for k in range(1, K):
        for i in range(n):
            best[i] = k if log_prob[k * ld + i] > most[i] else best[i]
        for i in range(n):              # a loop of its own, or neither vectorises
            most[i] = log_prob[k * ld + i] if log_prob[k * ld + i] > most[i] else most[i]
    for i in range(n):
        labels[i] = best[i]
        largest[i] = most[i]


cdef inline void _maximum(
    const real *log_prob,               # IN (K, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t K,  # IN
    real *largest,                      # OUT (n,)
) noexcept nogil:
    """max_k log p_ik, from the lowest double up, so that -inf less the largest is never NaN"""
    cdef Py_ssize_t i, k
    for i in range(n):
        largest[i] = REAL_LOWEST
    for k in range(K):
        for i in range(n):
            largest[i] = log_prob[k * ld + i] if log_prob[k * ld + i] > largest[i] else largest[i]


cdef inline void _maximum_span(
    const real *log_prob,               # IN (K, ld), SPAN samples
    Py_ssize_t ld, Py_ssize_t K,        # IN
    vec *largest,                       # OUT (SPAN_VECS,)
) noexcept nogil:
    """max_k log p_ik, as in _maximum"""
    cdef Py_ssize_t i, k
    for i in range(SPAN_VECS):
        largest[i] = vec_all(REAL_LOWEST)
    for k in range(K):
        for i in range(SPAN_VECS):
            largest[i] = vec_max(vec_load(log_prob + k * ld + i * VEC_REALS), largest[i])
