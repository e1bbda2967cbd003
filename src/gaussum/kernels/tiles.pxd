# Tiles of samples under Gaussians, in registers: what an E-step is made of.
#
# A tile is TILE samples, feature by feature.  Its triangular product forms TILE_COLUMNS features at once, at four
# fifths of the processor's peak from 50 features on (measured; BLAS reached two fifths on such blocks).

cimport cython

from gaussum.kernels.real cimport real
from gaussum.kernels.vec cimport (
    BY_ROWS, FEW, LANES, TILE, TILE_COLUMNS, TILE_COMPONENTS, TILE_SUMS, VEC_REALS, VEC_TILE, vec, vec_add, vec_all,
    vec_fused, vec_load, vec_mul, vec_store, vec_sub
)


@cython.cdivision(True)
cdef inline void center(
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
                vec_store(z + j * TILE + i * VEC_REALS, vec_sub(vec_load(x + j * ld + i * VEC_REALS), o))
        return
    for j in range(d):
        for i in range(TILE):
            z[j * TILE + i] = x[j * ld + i] - origin[j] if i < n else 0.0


@cython.cdivision(True)
cdef inline void columns(
    const real *z,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t d, Py_ssize_t first,  # IN
    Py_ssize_t columns,                 # IN, at most TILE_COLUMNS, known to the compiler
    const real *origin,                 # IN (d,), or NULL: 0
    const real *upper,                  # IN (d, d)
    vec *squares,                       # INOUT (VEC_TILE,), read and written where y is NULL
    real *y,                            # OUT (d, TILE), or NULL
) noexcept nogil:
    """y_ij = sum_l (z_il - o_l) u_lj, l <= j, for the features j from `first` on: stored, or their squares summed"""
    cdef vec sums[TILE_SUMS]
    cdef vec row[VEC_TILE]
    cdef vec u
    cdef Py_ssize_t a, b, i, l
    for a in range(TILE_SUMS):
        sums[a] = vec_all(0.0)
    for l in range(first):
        for i in range(VEC_TILE):
            row[i] = vec_load(z + l * ld + i * VEC_REALS)
            if origin is not NULL:
                row[i] = vec_sub(row[i], vec_all(origin[l]))
        for b in range(columns):
            u = vec_all(upper[l * d + first + b])
            for i in range(VEC_TILE):
                sums[b * VEC_TILE + i] = vec_fused(row[i], u, sums[b * VEC_TILE + i])
    for a in range(TILE_COLUMNS):            # the triangle on the diagonal; constant bounds, so that it is unrolled
        if a < columns:
            l = first + a
            for i in range(VEC_TILE):
                row[i] = vec_load(z + l * ld + i * VEC_REALS)
                if origin is not NULL:
                    row[i] = vec_sub(row[i], vec_all(origin[l]))
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


@cython.cdivision(True)
cdef inline void multiply_upper(
    const real *z,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t d,        # IN
    const real *origin,                 # IN (d,), or NULL: 0
    const real *upper,                  # IN (d, d)
    vec *squares, real *y,              # as in columns
) noexcept nogil:
    """y_i = (z_i - o) U, stored, or the squares |(z_i - o) U|^2"""
    cdef Py_ssize_t j, whole = d - d % TILE_COLUMNS
    for j in range(0, whole, 4):
        columns(z, ld, d, j, TILE_COLUMNS, origin, upper, squares, y)
    if d - whole == 1:
        columns(z, ld, d, whole, 1, origin, upper, squares, y)
    elif d - whole == 2:
        columns(z, ld, d, whole, 2, origin, upper, squares, y)
    elif d - whole == 3:
        columns(z, ld, d, whole, 3, origin, upper, squares, y)


@cython.cdivision(True)
cdef inline void store_log_prob(
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


@cython.cdivision(True)
cdef inline void log_prob_few(
    const real *x,                      # IN (d, ld), TILE samples
    Py_ssize_t ld,                      # IN
    Py_ssize_t d,                       # IN, at most FEW, known to the compiler
    Py_ssize_t K,                       # IN
    const real *means,                  # IN (K, d)
    const real *upper,                  # IN (K, d, d)
    const real *log_const,              # IN (K,)
    Py_ssize_t n, Py_ssize_t ld_out,    # IN, n <= TILE
    real *log_prob,                     # OUT (K, ld_out)
) noexcept nogil:
    """log p_ik = c_k - |(x_i - mu_k) U_k|^2 / 2, all in registers"""
    cdef vec squares[VEC_TILE]
    cdef vec z[FEW]
    cdef vec y
    cdef Py_ssize_t b, i, j, k, l
    cdef const real *u
    for k in range(K):
        u = upper + k * d * d
        for i in range(VEC_TILE):
            squares[i] = vec_all(0.0)
            for j in range(d):
                z[j] = vec_sub(vec_load(x + j * ld + i * VEC_REALS), vec_all(means[k * d + j]))
            for b in range(d):
                y = vec_mul(z[0], vec_all(u[b]))
                for l in range(1, d):
                    if l <= b:
                        y = vec_fused(z[l], vec_all(u[l * d + b]), y)
                squares[i] = vec_fused(y, y, squares[i])
        store_log_prob(squares, log_const[k], n, log_prob + k * ld_out)


@cython.cdivision(True)
cdef inline void log_prob_of_few(
    const real *x, Py_ssize_t ld, Py_ssize_t d, Py_ssize_t K, const real *means, const real *upper,
    const real *log_const, Py_ssize_t n, Py_ssize_t ld_out, real *log_prob,
) noexcept nogil:
    """log_prob_few with the number of features, from 2 to FEW, known to the compiler"""
    if d == 2:
        log_prob_few(x, ld, 2, K, means, upper, log_const, n, ld_out, log_prob)
    elif d == 3:
        log_prob_few(x, ld, 3, K, means, upper, log_const, n, ld_out, log_prob)
    else:
        log_prob_few(x, ld, FEW, K, means, upper, log_const, n, ld_out, log_prob)


@cython.cdivision(True)
cdef inline void add_distances(
    const real *x,                      # IN (d, ld), TILE samples
    Py_ssize_t ld, Py_ssize_t d, Py_ssize_t components,  # IN, components <= TILE_COMPONENTS, known to the compiler
    const real *origins,                # IN (components, d), strides `origin` and `next`
    Py_ssize_t origin, Py_ssize_t next,  # IN
    const real *scales,                 # IN (components, d), strides `row` and `step`; NULL: all 1
    Py_ssize_t row, Py_ssize_t step,    # IN
    vec *squares,                       # INOUT (components, VEC_TILE)
) noexcept nogil:
    """s_ik <- s_ik + sum_j ((x_ij - o_kj) u_kj)^2"""
    cdef vec samples[VEC_TILE]
    cdef vec sums[TILE_SUMS]
    cdef vec o, u, z
    cdef Py_ssize_t b, i, j
    for i in range(components * VEC_TILE):
        sums[i] = squares[i]
    for j in range(d):
        for i in range(VEC_TILE):
            samples[i] = vec_load(x + j * ld + i * VEC_REALS)
        for b in range(components):
            o = vec_all(origins[b * origin + j * next])
            u = vec_all(scales[b * row + j * step]) if scales is not NULL else o
            for i in range(VEC_TILE):
                z = vec_sub(samples[i], o)
                if scales is not NULL:
                    z = vec_mul(z, u)
                sums[b * VEC_TILE + i] = vec_fused(z, z, sums[b * VEC_TILE + i])
    for i in range(components * VEC_TILE):
        squares[i] = sums[i]


@cython.cdivision(True)
cdef inline void distances(
    const real *x, Py_ssize_t ld, Py_ssize_t d, Py_ssize_t components, const real *origins, const real *scales,
    Py_ssize_t row, Py_ssize_t step,    # as in add_distances
    vec *squares,                       # OUT (components, VEC_TILE)
) noexcept nogil:
    """s_ik = sum_j ((x_ij - o_kj) u_kj)^2"""
    cdef Py_ssize_t a
    for a in range(components * VEC_TILE):
        squares[a] = vec_all(0.0)
    add_distances(x, ld, d, components, origins, d, 1, scales, row, step, squares)


@cython.cdivision(True)
cdef inline void distances_in_lanes(
    const real *x, Py_ssize_t ld, Py_ssize_t d, Py_ssize_t components, const real *origins, const real *scales,
    Py_ssize_t row, Py_ssize_t step, vec *squares,  # as in distances
) noexcept nogil:
    """distances, feature j in lane j mod LANES: the order in which rows.pyx adds.  A piece at a time stays in L1"""
    cdef vec lanes[LANES * TILE_SUMS]
    cdef Py_ssize_t a, j, l, half = LANES // 2, count = components * VEC_TILE
    for a in range(LANES * count):
        lanes[a] = vec_all(0.0)
    for j in range(0, d, 128):
        for l in range(min(LANES, d - j)):
            add_distances(x + (j + l) * ld, LANES * ld, (min(128, d - j) - l + LANES - 1) // LANES, components,
                          origins + j + l, d, LANES, scales + (j + l) * step, row, LANES * step, lanes + l * count)
    while half > 0:
        for a in range(half * count):
            lanes[a] = vec_add(lanes[a], lanes[half * count + a])
        half = half // 2
    for a in range(count):
        squares[a] = lanes[a]


@cython.cdivision(True)
cdef inline void log_prob_tile(
    const real *x,                      # IN (d, ld), TILE samples
    Py_ssize_t ld, Py_ssize_t d, Py_ssize_t components,  # IN, components <= TILE_COMPONENTS, known to the compiler
    const real *origins, const real *scales, Py_ssize_t row, Py_ssize_t step,  # as in distances
    const real *log_const,              # IN (components,)
    Py_ssize_t n, Py_ssize_t ld_out,    # IN, n <= TILE
    real *log_prob,                     # OUT (components, ld_out)
) noexcept nogil:
    cdef vec squares[TILE_SUMS]
    cdef Py_ssize_t b
    if scales is not NULL and d >= BY_ROWS and VEC_REALS == LANES and sizeof(real) == sizeof(double):
        distances_in_lanes(x, ld, d, components, origins, scales, row, step, squares)
    else:
        distances(x, ld, d, components, origins, scales, row, step, squares)
    for b in range(components):
        store_log_prob(squares + b * VEC_TILE, log_const[b], n, log_prob + b * ld_out)


@cython.cdivision(True)
cdef inline void log_prob_scaled(
    const real *x,                      # IN (d, ld), TILE samples
    Py_ssize_t ld, Py_ssize_t d, Py_ssize_t K,  # IN
    const real *origins, const real *scales, Py_ssize_t row, Py_ssize_t step,  # as in distances
    const real *log_const,              # IN (K,)
    Py_ssize_t n, Py_ssize_t ld_out,    # IN, n <= TILE
    real *log_prob,                     # OUT (K, ld_out)
) noexcept nogil:
    """log p_ik = c_k - sum_j ((x_ij - o_kj) u_kj)^2 / 2, TILE_COMPONENTS components at once"""
    cdef const real *own_scales
    cdef Py_ssize_t k = 0, rest
    while k < K:
        own_scales = scales + k * row if scales is not NULL else NULL
        rest = K - k
        if rest >= TILE_COMPONENTS:
            log_prob_tile(x, ld, d, TILE_COMPONENTS, origins + k * d, own_scales, row, step, log_const + k, n, ld_out,
                           log_prob + k * ld_out)
        elif rest == 3:
            log_prob_tile(x, ld, d, 3, origins + k * d, own_scales, row, step, log_const + k, n, ld_out,
                           log_prob + k * ld_out)
        elif rest == 2:
            log_prob_tile(x, ld, d, 2, origins + k * d, own_scales, row, step, log_const + k, n, ld_out,
                           log_prob + k * ld_out)
        else:
            log_prob_tile(x, ld, d, 1, origins + k * d, own_scales, row, step, log_const + k, n, ld_out,
                           log_prob + k * ld_out)
        k += TILE_COMPONENTS
