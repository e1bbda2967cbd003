# Sums over the samples of a block, in registers: what an M-step is made of.
#
# Sums run in lanes: sample i goes to lane i mod LANES, and the lanes are added pairwise at the end, so that the order
# of addition is the same at every vector width.  Products of VEC_SIDE features with as many run together, at three
# fourths of the processor's peak (measured; BLAS reached a third on such blocks).  A strip is LANES samples.  Where
# features are some, they are centred and weighed as they are loaded: a pass of its own cost a fourth more.

cimport cython

from gaussum.kernels.real cimport real
from gaussum.kernels.vec cimport (
    FEW, FEW_FOLDS, FEW_GROUPS, FEW_SUMS, LANES, SIDE_FOLDS, SIDE_GROUPS, SIDE_SUMS, VEC_AXES, VEC_FOLD, VEC_GROUPS,
    VEC_REALS, VEC_SIDE, vec, vec_add, vec_all, vec_fold, vec_fused, vec_load, vec_mul, vec_sub
)


@cython.cdivision(True)
cdef inline Py_ssize_t _round_up(Py_ssize_t count) noexcept nogil:
    return (count + VEC_FOLD - 1) // VEC_FOLD * VEC_FOLD


@cython.cdivision(True)
cdef inline void _fold(
    const vec *lanes,                   # IN (rounded up to VEC_FOLD, VEC_GROUPS)
    Py_ssize_t count,                   # IN, known to the compiler
    double *sums,                       # OUT (count rounded up to VEC_FOLD,)
) noexcept nogil:
    """Sums over LANES lanes each, pairwise."""
    cdef Py_ssize_t a
    for a in range(_round_up(count) // VEC_FOLD):
        vec_fold(lanes + a * VEC_FOLD * VEC_GROUPS, sums + a * VEC_FOLD)


@cython.cdivision(True)
cdef inline void add_masses_of_rows(
    const real *resp,                   # IN (rows, ld)
    Py_ssize_t ld, Py_ssize_t n,        # IN
    Py_ssize_t rows,                    # IN, at most FEW, known to the compiler
    double *nk,                         # INOUT (rows,), stride `step`
    Py_ssize_t step,                    # IN
) noexcept nogil:
    """n_k <- n_k + sum_i r_ik"""
    cdef double totals[FEW_FOLDS]
    cdef vec lanes[FEW_GROUPS]
    cdef vec sums[FEW_FOLDS]
    cdef Py_ssize_t g, i, r, strip, strips = n // LANES, folds = _round_up(rows)
    for g in range(VEC_GROUPS):
        for r in range(folds):
            sums[r] = vec_all(0.0)
        for strip in range(strips):
            for r in range(rows):
                sums[r] = vec_add(sums[r], vec_load(resp + r * ld + strip * LANES + g * VEC_REALS))
        for r in range(folds):
            lanes[r * VEC_GROUPS + g] = sums[r]
    _fold(lanes, rows, totals)
    for r in range(rows):
        for i in range(strips * LANES, n):
            totals[r] += resp[r * ld + i]
        nk[r * step] += totals[r]


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
    cdef double totals[SIDE_FOLDS]
    cdef vec lanes[SIDE_GROUPS]
    cdef vec sums[SIDE_SUMS]
    cdef vec firsts[VEC_SIDE]
    cdef vec z
    cdef Py_ssize_t g, i, r, c, strip
    for r in range(SIDE_SUMS + VEC_SIDE, SIDE_FOLDS):
        for g in range(VEC_GROUPS):
            lanes[r * VEC_GROUPS + g] = vec_all(0.0)
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
        for r in range(SIDE_SUMS):
            lanes[r * VEC_GROUPS + g] = sums[r]
        for r in range(VEC_SIDE):
            lanes[(SIDE_SUMS + r) * VEC_GROUPS + g] = firsts[r]
    _fold(lanes, SIDE_SUMS + VEC_SIDE if root is not NULL else (rows - 1) * VEC_SIDE + columns, totals)
    for r in range(rows):
        for c in range(columns):
            if c <= r or root is NULL:
                out[r * row + c * column] += totals[r * VEC_SIDE + c]
        if root is not NULL:
            first[r] += totals[SIDE_SUMS + r]


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
cdef inline void products(
    const real *a, const real *b, Py_ssize_t ld,  # IN (rows, ld) and (columns, ld)
    const real *resp,                   # IN
    const real *origin_a, const real *origin_b,  # IN (rows,) and (columns,)
    Py_ssize_t strips,                  # IN, LANES samples each
    bint diagonal,                      # IN, known to the compiler: a is b
    Py_ssize_t rows, Py_ssize_t columns,  # IN, at most VEC_SIDE, known to the compiler
    double *out,                        # INOUT, element (r, c) at r + c * d
    Py_ssize_t d,                       # IN
    double *first,                      # INOUT (rows,)
) noexcept nogil:
    """out_rc <- out_rc + sum_i r_i (a_ri - o_r)(b_ci - o_c);  on the diagonal c <= r, and f_r likewise"""
    cdef double totals[SIDE_FOLDS]
    cdef vec lanes[SIDE_GROUPS]
    cdef vec sums[SIDE_SUMS]
    cdef vec firsts[VEC_SIDE]
    cdef vec z[VEC_SIDE]
    cdef vec w
    cdef Py_ssize_t g, i, r, c, strip
    for r in range(SIDE_SUMS + VEC_SIDE, SIDE_FOLDS):
        for g in range(VEC_GROUPS):
            lanes[r * VEC_GROUPS + g] = vec_all(0.0)
    for g in range(VEC_GROUPS):
        for r in range(SIDE_SUMS):
            sums[r] = vec_all(0.0)
        for r in range(VEC_SIDE):
            firsts[r] = vec_all(0.0)
        for strip in range(strips):
            i = strip * LANES + g * VEC_REALS
            for c in range(columns):
                z[c] = vec_sub(vec_load(b + c * ld + i), vec_all(origin_b[c]))
            for r in range(rows):
                if diagonal:
                    w = vec_mul(vec_load(resp + i), z[r])
                    firsts[r] = vec_add(firsts[r], w)
                else:
                    w = vec_mul(vec_load(resp + i), vec_sub(vec_load(a + r * ld + i), vec_all(origin_a[r])))
                for c in range(columns):
                    if c <= r or not diagonal:
                        sums[r * VEC_SIDE + c] = vec_fused(w, z[c], sums[r * VEC_SIDE + c])
        for r in range(SIDE_SUMS):
            lanes[r * VEC_GROUPS + g] = sums[r]
        for r in range(VEC_SIDE):
            lanes[(SIDE_SUMS + r) * VEC_GROUPS + g] = firsts[r]
    _fold(lanes, SIDE_SUMS + VEC_SIDE if diagonal else (rows - 1) * VEC_SIDE + columns, totals)
    for r in range(rows):
        for c in range(columns):
            if c <= r or not diagonal:
                out[r + c * d] += totals[r * VEC_SIDE + c]
        if diagonal:
            first[r] += totals[SIDE_SUMS + r]


@cython.cdivision(True)
cdef inline void products_of_rows(
    const real *x, Py_ssize_t ld, Py_ssize_t strips, Py_ssize_t d, const real *resp, const real *origin,
    Py_ssize_t r, Py_ssize_t c, double *first, double *second,
) noexcept nogil:
    """products of the features from r and from c on, with their number known to the compiler"""
    cdef double *out = second + c * d + r
    if r == c:
        if d - r == 1:
            products(x + r * ld, x + r * ld, ld, resp, origin + r, origin + r, strips, True, 1, 1, out, d, first + r)
        elif d - r == 2:
            products(x + r * ld, x + r * ld, ld, resp, origin + r, origin + r, strips, True, 2, 2, out, d, first + r)
        elif d - r == 3:
            products(x + r * ld, x + r * ld, ld, resp, origin + r, origin + r, strips, True, 3, 3, out, d, first + r)
        else:
            products(x + r * ld, x + r * ld, ld, resp, origin + r, origin + r, strips, True, VEC_SIDE, VEC_SIDE, out, d,
                     first + r)
    elif d - r == 1:
        products(x + r * ld, x + c * ld, ld, resp, origin + r, origin + c, strips, False, 1, VEC_SIDE, out, d, NULL)
    elif d - r == 2:
        products(x + r * ld, x + c * ld, ld, resp, origin + r, origin + c, strips, False, 2, VEC_SIDE, out, d, NULL)
    elif d - r == 3:
        products(x + r * ld, x + c * ld, ld, resp, origin + r, origin + c, strips, False, 3, VEC_SIDE, out, d, NULL)
    else:
        products(x + r * ld, x + c * ld, ld, resp, origin + r, origin + c, strips, False, VEC_SIDE, VEC_SIDE, out, d,
                 NULL)


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
    cdef double totals[FEW_FOLDS]
    cdef vec lanes[FEW_GROUPS]
    cdef vec sums[FEW_FOLDS]            # of each feature the first moment, then the second ones with those before it
    cdef vec z[FEW]
    cdef vec r, w
    cdef Py_ssize_t a, g, i, j, l, strip, count = d * (d + 3) // 2, folds = _round_up(count)
    for g in range(VEC_GROUPS):
        for j in range(folds):
            sums[j] = vec_all(0.0)
        for strip in range(strips):
            i = strip * LANES + g * VEC_REALS
            r = vec_load(resp + i)
            for j in range(d):
                z[j] = vec_sub(vec_load(x + j * ld + i), vec_all(origin[j]))
                w = vec_mul(r, z[j])
                a = j * (j + 3) // 2
                sums[a] = vec_add(sums[a], w)
                for l in range(d):
                    if l <= j:
                        sums[a + 1 + l] = vec_fused(w, z[l], sums[a + 1 + l])
        for j in range(folds):
            lanes[j * VEC_GROUPS + g] = sums[j]
    _fold(lanes, count, totals)
    for j in range(d):
        a = j * (j + 3) // 2
        first[j] += totals[a]
        for l in range(d):
            if l <= j:
                second[l * d + j] += totals[a + 1 + l]


@cython.cdivision(True)
cdef inline void moments_of_some(
    const real *x, Py_ssize_t ld, Py_ssize_t strips, Py_ssize_t d, const real *resp, const real *origin,
    double *first, double *second,
) noexcept nogil:
    """moments with the number of features known to the compiler, or their products block by block if more than FEW"""
    cdef Py_ssize_t c, r
    if d == 1:
        moments(x, ld, strips, 1, resp, origin, first, second)
    elif d == 2:
        moments(x, ld, strips, 2, resp, origin, first, second)
    elif d == 3:
        moments(x, ld, strips, 3, resp, origin, first, second)
    elif d == FEW:
        moments(x, ld, strips, FEW, resp, origin, first, second)
    else:
        r = 0
        while r < d:
            c = 0
            while c <= r:
                products_of_rows(x, ld, strips, d, resp, origin, r, c, first, second)
                c += VEC_SIDE
            r += VEC_SIDE


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
    cdef double totals[FEW_FOLDS]
    cdef vec lanes[FEW_GROUPS]
    cdef vec sums[FEW_FOLDS]            # first and second moments in turn
    cdef vec samples[FEW]
    cdef vec r, w, z
    cdef Py_ssize_t a, g, i, j, k, strip, count = 2 * components * features, folds = _round_up(count)
    for g in range(VEC_GROUPS):
        for a in range(folds):
            sums[a] = vec_all(0.0)
        for strip in range(strips):
            i = strip * LANES + g * VEC_REALS
            for j in range(features):
                samples[j] = vec_load(x + j * ld + i)
            for k in range(components):
                r = vec_load(resp + k * ld + i)
                for j in range(features):
                    a = 2 * (k * features + j)
                    z = vec_sub(samples[j], vec_all(origins[k * d + j]))
                    w = vec_mul(r, z)
                    sums[a] = vec_add(sums[a], w)
                    sums[a + 1] = vec_fused(w, z, sums[a + 1])
        for a in range(folds):
            lanes[a * VEC_GROUPS + g] = sums[a]
    _fold(lanes, count, totals)
    for k in range(components):
        for j in range(features):
            a = 2 * (k * features + j)
            first[k * d + j] += totals[a]
            second[k * row + j * step] += totals[a + 1]


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
