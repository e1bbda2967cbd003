# Sums over the samples of a block, in registers: what an M-step is made of.
#
# Sums run in lanes: sample i goes to lane i mod LANES, and the lanes are added pairwise at the end, so that the order
# of addition is the same at every vector width.  Products of VEC_SIDE features with as many run together, at three
# fourths of the processor's peak (measured; BLAS reached a third on such blocks).  A strip is LANES samples.

cimport cython

from gaussum.kernels.real cimport real
from gaussum.kernels.vec cimport (
    FEW, FEW_GROUPS, FEW_SUMS, LANES, SIDE_GROUPS, SIDE_SUMS, VEC_AXES, VEC_GROUPS, VEC_REALS, VEC_SIDE, vec, vec_all,
    vec_fused, vec_load, vec_sum
)


@cython.cdivision(True)
cdef inline double _fold(vec *groups) noexcept nogil:
    """The sum of LANES lanes in VEC_GROUPS vecs, pairwise."""
    cdef Py_ssize_t g, half = VEC_GROUPS // 2
    while half > 0:
        for g in range(half):
            groups[g] = groups[g] + groups[g + half]
        half = half // 2
    return vec_sum(groups[0])


@cython.cdivision(True)
cdef inline void add_masses_of_rows(
    const real *resp,                   # IN (rows, ld)
    Py_ssize_t ld, Py_ssize_t n,        # IN
    Py_ssize_t rows,                    # IN, at most FEW, known to the compiler
    double *nk,                         # INOUT (rows,), stride `step`
    Py_ssize_t step,                    # IN
) noexcept nogil:
    """n_k <- n_k + sum_i r_ik"""
    cdef double total
    cdef vec lanes[FEW_GROUPS]
    cdef vec sums[FEW]
    cdef Py_ssize_t g, i, r, strip, strips = n // LANES
    for g in range(VEC_GROUPS):
        for r in range(FEW):
            sums[r] = vec_all(0.0)
        for strip in range(strips):
            for r in range(rows):
                sums[r] = sums[r] + vec_load(resp + r * ld + strip * LANES + g * VEC_REALS)
        for r in range(rows):
            lanes[r * VEC_GROUPS + g] = sums[r]
    for r in range(rows):
        total = _fold(lanes + r * VEC_GROUPS)
        for i in range(strips * LANES, n):
            total += resp[r * ld + i]
        nk[r * step] += total


@cython.cdivision(True)
cdef inline void add_masses(
    const real *resp,                   # IN (K, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t K,  # IN
    double *nk,                         # INOUT (K,), stride `step`
    Py_ssize_t step,                    # IN
) noexcept nogil:
    """n_k <- n_k + sum_i r_ik, FEW components at once, so that additions need not wait for one another"""
    cdef Py_ssize_t k, whole = K - K % FEW
    for k in range(0, whole, 4):
        add_masses_of_rows(resp + k * ld, ld, n, FEW, nk + k * step, step)
    for k in range(whole, K):
        add_masses_of_rows(resp + k * ld, ld, n, 1, nk + k * step, step)


@cython.cdivision(True)
cdef inline void block(
    const real *a, Py_ssize_t lda,      # IN (rows, lda)
    const real *b, Py_ssize_t ldb,      # IN (columns, ldb)
    const real *root,                   # IN, NULL but on the diagonal
    Py_ssize_t strips,                  # IN, LANES samples each
    Py_ssize_t rows, Py_ssize_t columns,  # IN, at most VEC_SIDE, known to the compiler
    double *out,                        # INOUT, element (r, c) at r * row + c * column
    Py_ssize_t row, Py_ssize_t column,  # IN
    double *first,                      # INOUT (rows,)
) noexcept nogil:
    """out_rc <- out_rc + sum_i a_ri b_ci;  on the diagonal, where a is b, c <= r and f_r <- f_r + sum_i a_ri root_i"""
    cdef vec lanes[SIDE_GROUPS]
    cdef vec sums[SIDE_SUMS]
    cdef vec firsts[VEC_SIDE]
    cdef vec z
    cdef Py_ssize_t g, i, r, c, strip
    for g in range(VEC_GROUPS):
        for r in range(SIDE_SUMS):
            sums[r] = vec_all(0.0)
        for r in range(VEC_SIDE):
            firsts[r] = vec_all(0.0)
        for strip in range(strips):
            i = strip * LANES + g * VEC_REALS
            for r in range(rows):
                z = vec_load(a + r * lda + i)
                for c in range(columns):
                    if c <= r or root is NULL:
                        sums[r * VEC_SIDE + c] = vec_fused(z, vec_load(b + c * ldb + i), sums[r * VEC_SIDE + c])
                if root is not NULL:
                    firsts[r] = vec_fused(z, vec_load(root + i), firsts[r])
        for r in range(rows):
            for c in range(columns):
                lanes[(r * VEC_SIDE + c) * VEC_GROUPS + g] = sums[r * VEC_SIDE + c]
            lanes[(SIDE_SUMS + r) * VEC_GROUPS + g] = firsts[r]
    for r in range(rows):
        for c in range(columns):
            if c <= r or root is NULL:
                out[r * row + c * column] += _fold(lanes + (r * VEC_SIDE + c) * VEC_GROUPS)
        if root is not NULL:
            first[r] += _fold(lanes + (SIDE_SUMS + r) * VEC_GROUPS)


@cython.cdivision(True)
cdef inline void block_of_rows(
    const real *a, Py_ssize_t lda, const real *b, Py_ssize_t ldb, const real *root, Py_ssize_t strips,
    Py_ssize_t rows, double *out, Py_ssize_t row, Py_ssize_t column, double *first,
) noexcept nogil:
    """block with all of its columns, or the diagonal's, and with the number of rows known to the compiler"""
    if rows == 1:
        block(a, lda, b, ldb, root, strips, 1, 1 if root is not NULL else VEC_SIDE, out, row, column, first)
    elif rows == 2:
        block(a, lda, b, ldb, root, strips, 2, 2 if root is not NULL else VEC_SIDE, out, row, column, first)
    elif rows == 3:
        block(a, lda, b, ldb, root, strips, 3, 3 if root is not NULL else VEC_SIDE, out, row, column, first)
    else:
        block(a, lda, b, ldb, root, strips, VEC_SIDE, VEC_SIDE, out, row, column, first)


@cython.cdivision(True)
cdef inline void moments(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t strips,   # IN, LANES samples each
    Py_ssize_t d,                       # IN, at most FEW, known to the compiler
    const real *resp,                   # IN
    const real *origin,                 # IN (d,)
    double *first,                      # INOUT (d,)
    double *second,                     # INOUT (d, d), upper triangle
) noexcept nogil:
    """f <- f + sum_i r_i (x_i - o),  S <- S + sum_i r_i (x_i - o)(x_i - o)^T, all in registers"""
    cdef vec lanes[FEW_GROUPS]
    cdef vec sums[FEW_SUMS]
    cdef vec firsts[FEW]
    cdef vec z[FEW]
    cdef vec r, w
    cdef Py_ssize_t g, i, j, l, strip
    for g in range(VEC_GROUPS):
        for j in range(FEW_SUMS):
            sums[j] = vec_all(0.0)
        for j in range(FEW):
            firsts[j] = vec_all(0.0)
        for strip in range(strips):
            i = strip * LANES + g * VEC_REALS
            r = vec_load(resp + i)
            for j in range(d):
                z[j] = vec_load(x + j * ld + i) - vec_all(origin[j])
                w = r * z[j]
                firsts[j] = firsts[j] + w
                for l in range(d):
                    if l <= j:
                        sums[j * FEW + l] = vec_fused(w, z[l], sums[j * FEW + l])
        for j in range(d):
            for l in range(d):
                lanes[(j * FEW + l) * VEC_GROUPS + g] = sums[j * FEW + l]
            lanes[(FEW_SUMS + j) * VEC_GROUPS + g] = firsts[j]
    for j in range(d):
        for l in range(d):
            if l <= j:
                second[l * d + j] += _fold(lanes + (j * FEW + l) * VEC_GROUPS)
        first[j] += _fold(lanes + (FEW_SUMS + j) * VEC_GROUPS)


@cython.cdivision(True)
cdef inline void moments_of_few(
    const real *x, Py_ssize_t ld, Py_ssize_t strips, Py_ssize_t d, const real *resp, const real *origin,
    double *first, double *second,
) noexcept nogil:
    """moments with the number of features known to the compiler"""
    if d == 1:
        moments(x, ld, strips, 1, resp, origin, first, second)
    elif d == 2:
        moments(x, ld, strips, 2, resp, origin, first, second)
    elif d == 3:
        moments(x, ld, strips, 3, resp, origin, first, second)
    else:
        moments(x, ld, strips, FEW, resp, origin, first, second)


@cython.cdivision(True)
cdef inline void pad(
    const real *a, Py_ssize_t ld, Py_ssize_t n, Py_ssize_t rows,  # IN (rows, ld), n < LANES
    real *out,                          # OUT (rows, LANES)
) noexcept nogil:
    """The last samples of a block as a strip, with zeros beyond them."""
    cdef Py_ssize_t i, r
    for r in range(rows):
        for i in range(LANES):
            out[r * LANES + i] = a[r * ld + i] if i < n else 0.0


@cython.cdivision(True)
cdef inline void axes(
    const real *x,                      # IN (features, ld)
    const real *resp,                   # IN (components, ld)
    Py_ssize_t ld, Py_ssize_t strips,   # IN, LANES samples each
    Py_ssize_t features, Py_ssize_t components,  # IN, at most VEC_AXES and FEW, known to the compiler
    const real *origins,                # IN (components, features), rows d apart
    Py_ssize_t d,                       # IN
    double *first,                      # INOUT (components, features), rows d apart
    double *second,                     # INOUT (components, features), strides `row` and `step`
    Py_ssize_t row, Py_ssize_t step,    # IN
) noexcept nogil:
    """f_kj <- f_kj + sum_i r_ik (x_ij - o_kj),  s_kj <- s_kj + sum_i r_ik (x_ij - o_kj)^2"""
    cdef vec lanes[FEW_GROUPS]
    cdef vec firsts[FEW_SUMS]
    cdef vec seconds[FEW_SUMS]
    cdef vec samples[FEW]
    cdef vec r, w, z
    cdef Py_ssize_t a, g, i, j, k, strip
    for g in range(VEC_GROUPS):
        for a in range(FEW_SUMS):
            firsts[a] = vec_all(0.0)
            seconds[a] = vec_all(0.0)
        for strip in range(strips):
            i = strip * LANES + g * VEC_REALS
            for j in range(features):
                samples[j] = vec_load(x + j * ld + i)
            for k in range(components):
                r = vec_load(resp + k * ld + i)
                for j in range(features):
                    a = k * VEC_AXES + j
                    z = samples[j] - vec_all(origins[k * d + j])
                    w = r * z
                    firsts[a] = firsts[a] + w
                    seconds[a] = vec_fused(w, z, seconds[a])
        for k in range(components):
            for j in range(features):
                a = k * VEC_AXES + j
                lanes[2 * a * VEC_GROUPS + g] = firsts[a]
                lanes[(2 * a + 1) * VEC_GROUPS + g] = seconds[a]
    for k in range(components):
        for j in range(features):
            a = k * VEC_AXES + j
            first[k * d + j] += _fold(lanes + 2 * a * VEC_GROUPS)
            second[k * row + j * step] += _fold(lanes + (2 * a + 1) * VEC_GROUPS)


@cython.cdivision(True)
cdef inline void axes_of_few(
    const real *x, const real *resp, Py_ssize_t ld, Py_ssize_t strips, Py_ssize_t features, Py_ssize_t components,
    const real *origins, Py_ssize_t d, double *first, double *second, Py_ssize_t row, Py_ssize_t step,
) noexcept nogil:
    """axes with the number of components known to the compiler"""
    if components == FEW:
        axes(x, resp, ld, strips, features, FEW, origins, d, first, second, row, step)
    elif components == 3:
        axes(x, resp, ld, strips, features, 3, origins, d, first, second, row, step)
    elif components == 2:
        axes(x, resp, ld, strips, features, 2, origins, d, first, second, row, step)
    else:
        axes(x, resp, ld, strips, features, 1, origins, d, first, second, row, step)
