# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The E-step over one block of samples.

    log p_ik = log w_k + log N(x_i; mu_k, (U_k U_k^T)^-1) = c_k - |(x_i - mu_k) U_k|^2 / 2
    log p_i  = m_i + log sum_k exp(log p_ik - m_i),   m_i = max_k log p_ik
    r_ik     = exp(log p_ik - log p_i)

U_k is the upper triangular `precisions_chol` and c_k = log w_k + log det U_k - d/2 log 2 pi.

A block lies feature by feature, x[j * ld + i], and is taken in tiles of samples; x - mu is formed first and multiplied
second, so that an offset of the data costs no digits.  A triangular product forms four features of a tile at once in
registers, at four fifths of the processor's peak from d = 50 on (measured; BLAS reached two fifths on such blocks).
Functions take n <= ld samples, allocate nothing and hold no state.
"""
from libc.math cimport INFINITY

from gaussum.kernels.lanes cimport add_lanes
from gaussum.kernels.real cimport real
from gaussum.kernels.vec cimport (
    REAL_LOWEST, TILE, TILE_COLUMNS, TILE_SUMS, VEC_REALS, VEC_TILE, real_exp_nonpositive, real_log, vec, vec_all,
    vec_fused, vec_load, vec_store
)

cdef enum:
    ROW = 32                            # samples of a tile of responsibilities, the lanes of sums, and the steps below


cdef api Py_ssize_t estep_scratch(
    Py_ssize_t d,                       # IN
    Py_ssize_t ld,                      # IN
) noexcept nogil:
    """Numbers of scratch that any function here needs."""
    return d * (ld + 2 * TILE + TILE_COLUMNS) + TILE


cdef inline void _center(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d,  # IN, n <= TILE
    const real *origin,                 # IN (d,)
    real *z,                            # OUT (d, TILE)
) noexcept nogil:
    """z_i = x_i - origin, and 0 beyond the last sample"""
    cdef Py_ssize_t i, j
    cdef vec o
    if n == TILE:
        for j in range(d):
            o = vec_all(origin[j])
            for i in range(VEC_TILE):
                vec_store(z + j * TILE + i * VEC_REALS, vec_load(x + j * ld + i * VEC_REALS) - o)
        return
    for j in range(d):
        for i in range(TILE):
            z[j * TILE + i] = x[j * ld + i] - origin[j] if i < n else 0.0


cdef inline void _columns(
    const real *z,                      # IN (d, TILE)
    Py_ssize_t d, Py_ssize_t first, Py_ssize_t columns,  # IN, columns <= TILE_COLUMNS, known to the compiler
    const real *upper,                  # IN (d, d)
    vec *squares,                       # INOUT (VEC_TILE,), read and written where y is NULL
    real *y,                            # OUT (d, TILE), or NULL
) noexcept nogil:
    """y_ij = sum_l z_il u_lj, l <= j, for the features j from `first` on: stored, or their squares summed"""
    cdef vec sums[TILE_SUMS]
    cdef vec row[VEC_TILE]
    cdef vec u
    cdef Py_ssize_t a, b, i, l
    for a in range(TILE_SUMS):
        sums[a] = vec_all(0.0)
    for l in range(first):
        for i in range(VEC_TILE):
            row[i] = vec_load(z + l * TILE + i * VEC_REALS)
        for b in range(columns):
            u = vec_all(upper[l * d + first + b])
            for i in range(VEC_TILE):
                sums[b * VEC_TILE + i] = vec_fused(row[i], u, sums[b * VEC_TILE + i])
    for a in range(TILE_COLUMNS):            # the triangle on the diagonal; constant bounds, so that it is unrolled
        if a < columns:
            l = first + a
            for i in range(VEC_TILE):
                row[i] = vec_load(z + l * TILE + i * VEC_REALS)
            for b in range(TILE_COLUMNS):
                if a <= b < columns:
                    u = vec_all(upper[l * d + first + b])
                    for i in range(VEC_TILE):
                        sums[b * VEC_TILE + i] = vec_fused(row[i], u, sums[b * VEC_TILE + i])
    for b in range(columns):
        for i in range(VEC_TILE):
            u = sums[b * VEC_TILE + i]
            if y is NULL:
                squares[i] = vec_fused(u, u, squares[i])
            else:
                vec_store(y + (first + b) * TILE + i * VEC_REALS, u)


cdef inline void _multiply_upper(
    const real *z,                      # IN (d, TILE)
    Py_ssize_t d,                       # IN
    const real *upper,                  # IN (d, d)
    vec *squares, real *y,              # as in _columns
) noexcept nogil:
    """y_i = z_i U, stored, or the squares |z_i U|^2"""
    cdef Py_ssize_t j, whole = d - d % TILE_COLUMNS
    for j in range(0, whole, 4):
        _columns(z, d, j, TILE_COLUMNS, upper, squares, y)
    if d - whole == 1:
        _columns(z, d, whole, 1, upper, squares, y)
    elif d - whole == 2:
        _columns(z, d, whole, 2, upper, squares, y)
    elif d - whole == 3:
        _columns(z, d, whole, 3, upper, squares, y)


cdef inline void _store_log_prob(
    vec *squares,                       # IN (VEC_TILE,)
    real log_const,                     # IN
    Py_ssize_t n,                       # IN, n <= TILE
    real *log_prob,                     # OUT (n,)
) noexcept nogil:
    """log p_i = c - s_i / 2"""
    cdef real spare[TILE]
    cdef vec c = vec_all(log_const), minus_half = vec_all(-0.5)
    cdef Py_ssize_t i
    for i in range(VEC_TILE):
        vec_store((log_prob if n == TILE else spare) + i * VEC_REALS, vec_fused(minus_half, squares[i], c))
    if n < TILE:
        for i in range(n):
            log_prob[i] = spare[i]


cdef inline void _distances(
    const real *x,                      # IN (d, ld), TILE samples
    Py_ssize_t ld, Py_ssize_t d, Py_ssize_t components,  # IN, components <= TILE_COLUMNS, known to the compiler
    const real *origins,                # IN (components, d)
    const real *scales,                 # IN (components, d), strides `row` and `step`; NULL: all 1
    Py_ssize_t row, Py_ssize_t step,    # IN
    vec *squares,                       # OUT (components, VEC_TILE)
) noexcept nogil:
    """s_ik = sum_j ((x_ij - o_kj) u_kj)^2"""
    cdef vec samples[VEC_TILE]
    cdef vec o, u, z
    cdef Py_ssize_t b, i, j
    for i in range(components * VEC_TILE):
        squares[i] = vec_all(0.0)
    for j in range(d):
        for i in range(VEC_TILE):
            samples[i] = vec_load(x + j * ld + i * VEC_REALS)
        for b in range(components):
            o = vec_all(origins[b * d + j])
            u = vec_all(scales[b * row + j * step]) if scales is not NULL else o
            for i in range(VEC_TILE):
                z = (samples[i] - o) * u if scales is not NULL else samples[i] - o
                squares[b * VEC_TILE + i] = vec_fused(z, z, squares[b * VEC_TILE + i])


cdef inline void _log_prob_tile(
    const real *x,                      # IN (d, ld), TILE samples
    Py_ssize_t ld, Py_ssize_t d, Py_ssize_t components,  # IN, components <= TILE_COLUMNS, known to the compiler
    const real *origins, const real *scales, Py_ssize_t row, Py_ssize_t step,  # as in _distances
    const real *log_const,              # IN (components,)
    Py_ssize_t n, Py_ssize_t ld_out,    # IN, n <= TILE
    real *log_prob,                     # OUT (components, ld_out)
) noexcept nogil:
    cdef vec squares[TILE_SUMS]
    cdef Py_ssize_t b
    _distances(x, ld, d, components, origins, scales, row, step, squares)
    for b in range(components):
        _store_log_prob(squares + b * VEC_TILE, log_const[b], n, log_prob + b * ld_out)


cdef inline void _log_prob_scaled(
    const real *x,                      # IN (d, ld), TILE samples
    Py_ssize_t ld, Py_ssize_t d, Py_ssize_t K,  # IN
    const real *origins, const real *scales, Py_ssize_t row, Py_ssize_t step,  # as in _distances
    const real *log_const,              # IN (K,)
    Py_ssize_t n, Py_ssize_t ld_out,    # IN, n <= TILE
    real *log_prob,                     # OUT (K, ld_out)
) noexcept nogil:
    """log p_ik = c_k - sum_j ((x_ij - o_kj) u_kj)^2 / 2, four components at once"""
    cdef Py_ssize_t k, whole = K - K % TILE_COLUMNS
    for k in range(0, whole, 4):
        _log_prob_tile(x, ld, d, TILE_COLUMNS, origins + k * d, scales + k * row if scales is not NULL else NULL, row, step,
                       log_const + k, n, ld_out, log_prob + k * ld_out)
    for k in range(whole, K):
        _log_prob_tile(x, ld, d, 1, origins + k * d, scales + k * row if scales is not NULL else NULL, row, step,
                       log_const + k, n, ld_out, log_prob + k * ld_out)


cdef inline void _log_prob_axes(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d, Py_ssize_t K,  # IN
    const real *means,                  # IN (K, d)
    const real *scales, Py_ssize_t row, Py_ssize_t step,  # as in _distances
    const real *log_const,              # IN (K,)
    real *log_prob,                     # OUT (K, ld)
    real *scratch,                      # SCRATCH (d, TILE)
) noexcept nogil:
    """log p_ik = c_k - sum_j ((x_ij - mu_kj) u_kj)^2 / 2"""
    cdef Py_ssize_t i, j, start, tile, whole = n - n % TILE
    for tile in range(n // TILE):
        start = tile * TILE
        _log_prob_scaled(x + start, ld, d, K, means, scales, row, step, log_const, TILE, ld, log_prob + start)
    if n > whole:
        for j in range(d):
            for i in range(TILE):
                scratch[j * TILE + i] = x[j * ld + whole + i] if i < n - whole else 0.0
        _log_prob_scaled(scratch, TILE, d, K, means, scales, row, step, log_const, n - whole, ld, log_prob + whole)


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
    for k in range(K):
        for tile in range(tiles):
            start = tile * TILE
            _center(x + start, ld, min(TILE, n - start), d, means + k * d, scratch)
            for i in range(VEC_TILE):
                squares[i] = vec_all(0.0)
            _multiply_upper(scratch, d, precisions_chol + k * d * d, squares, NULL)
            _store_log_prob(squares, log_const[k], min(TILE, n - start), log_prob + k * ld + start)


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
        _center(x + start, ld, min(TILE, n - start), d, origin, z)
        _multiply_upper(z, d, precisions_chol, unused, y + start * d)
    for k in range(0, K, 4):
        for b in range(min(TILE_COLUMNS, K - k)):
            for j in range(d):
                centers[b * d + j] = 0.0
            for l in range(d):
                for j in range(l, d):
                    centers[b * d + j] += (means[(k + b) * d + l] - origin[l]) * precisions_chol[l * d + j]
        for tile in range(tiles):
            start = tile * TILE
            _log_prob_scaled(y + start * d, TILE, d, min(TILE_COLUMNS, K - k), centers, NULL, 0, 0, log_const + k,
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
    cdef Py_ssize_t i, whole = n - n % ROW
    for i in range(0, whole, 32):
        _log_densities_tile(log_prob + i, ld, ROW, K, log_density + i)
    if n > whole:
        _log_densities_tile(log_prob + whole, ld, n - whole, K, log_density + whole)


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
    cdef Py_ssize_t i, whole = n - n % ROW
    for i in range(0, whole, 32):
        _responsibilities_tile(log_prob + i, ld, ROW, K, log_density + i)
    if n > whole:
        _responsibilities_tile(log_prob + whole, ld, n - whole, K, log_density + whole)


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
        for i in range(n):
            if log_density[i] == -INFINITY:
                for k in range(K):
                    log_prob[k * ld + i] = <real>1.0 / K


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
            lanes[l] += sample_weight[l] * log_density[l] if sample_weight[l] > 0.0 else 0.0


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
