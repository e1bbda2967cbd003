# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The M-step: a block and its responsibilities -> sufficient statistics; statistics -> parameters.

    n_k = sum_i r_ik     f_k = sum_i r_ik (x_i - o_k)     S_k = sum_i r_ik (x_i - o_k)(x_i - o_k)^T

The origins o_k are the means of the E-step before: one pass suffices, nothing cancels, since o_k is already near
the new mean, and statistics with the same origins are merged by addition.  With delta_k = f_k / n_k,

    mu_k = o_k + delta_k,   Sigma_k = (S_k + ridge) / n_k - delta_k delta_k^T.

The ridge is the scatter of a few imagined samples (see gaussum.covariance); with it the M-step maximises the
log-likelihood less tr(ridge Sigma_k^-1) / 2 a component (Ciuperca, Ridolfi and Idier 2003), which is bounded.

Sums over samples run in lanes: sample i goes to lane i mod LANES, and the lanes are added pairwise at the end, so that
the order of addition is the same at every vector width.  Products of VEC_SIDE features with as many run together in
registers, at three fourths of the processor's peak (measured; BLAS reached a third on such blocks).

Every function adds to its statistics.  Symmetric matrices are summed in their upper triangle.
"""
from libc.float cimport DBL_MIN
from libc.math cimport INFINITY, NAN, log, sqrt

from gaussum.kernels.lapack cimport inverse_cholesky
from gaussum.kernels.real cimport real
from gaussum.kernels.vec cimport (
    FEW, FEW_GROUPS, FEW_SUMS, LANES, SIDE_GROUPS, SIDE_SUMS, VEC_GROUPS, VEC_REALS, VEC_SIDE, real_sqrt, vec,
    vec_all, vec_fused, vec_load, vec_sum
)

# The part of every variance that must be left where moments about a common origin are brought back to each component's
# own: no direction, however thin the scatter is there, then loses many more digits than it would about its own.
cdef double CANCELLED = 1e-2 if sizeof(real) == 8 else 0.1


cdef api Py_ssize_t mstep_scratch(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t ld,                      # IN
) noexcept nogil:
    """Numbers of scratch that any accumulate_* function needs."""
    return (2 * d + VEC_SIDE + 1) * (ld + LANES) + (d + K) * (d + VEC_SIDE) * <Py_ssize_t>(sizeof(double) // sizeof(real))


cdef inline double _fold(vec *groups) noexcept nogil:
    """The sum of LANES lanes in VEC_GROUPS vecs, pairwise."""
    cdef Py_ssize_t g, half = VEC_GROUPS // 2
    while half > 0:
        for g in range(half):
            groups[g] = groups[g] + groups[g + half]
        half = half // 2
    return vec_sum(groups[0])


cdef inline void _masses_of_rows(
    const real *resp,                   # IN (rows, ld)
    Py_ssize_t ld, Py_ssize_t n,        # IN
    Py_ssize_t rows,                    # IN, at most VEC_SIDE, known to the compiler
    double *nk,                         # INOUT (rows,), stride `step`
    Py_ssize_t step,                    # IN
) noexcept nogil:
    """n_k <- n_k + sum_i r_ik"""
    cdef double total
    cdef vec lanes[SIDE_GROUPS]
    cdef vec sums[VEC_SIDE]
    cdef Py_ssize_t g, i, r, strip, strips = n // LANES
    for g in range(VEC_GROUPS):
        for r in range(VEC_SIDE):
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


cdef inline void _masses(
    const real *resp,                   # IN (K, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t K,  # IN
    double *nk,                         # INOUT (K,), stride `step`
    Py_ssize_t step,                    # IN
) noexcept nogil:
    """n_k <- n_k + sum_i r_ik, VEC_SIDE components at once, so that additions need not wait for one another"""
    cdef Py_ssize_t k, groups = K // VEC_SIDE
    for k in range(groups):
        _masses_of_rows(resp + k * VEC_SIDE * ld, ld, n, VEC_SIDE, nk + k * VEC_SIDE * step, step)
    for k in range(groups * VEC_SIDE, K):
        _masses_of_rows(resp + k * ld, ld, n, 1, nk + k * step, step)


cdef inline void _block(
    const real *a, Py_ssize_t lda,      # IN (rows, lda)
    const real *b, Py_ssize_t ldb,      # IN (columns, ldb)
    const real *root,                   # IN, NULL but on the diagonal
    Py_ssize_t strips,                  # IN, LANES samples each
    Py_ssize_t rows, Py_ssize_t columns,  # IN, at most VEC_SIDE, known to the compiler
    double *out,                        # INOUT, element (r, c) at r * row + c * column
    Py_ssize_t row, Py_ssize_t column,  # IN
    double *first,                      # INOUT (rows,)
) noexcept nogil:
    """out_rc <- out_rc + sum_i a_ri b_ci;  on the diagonal, where a is b, c <= r only, and f_r <- f_r + sum_i a_ri root_i"""
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


cdef inline void _block_of_rows(
    const real *a, Py_ssize_t lda, const real *b, Py_ssize_t ldb, const real *root, Py_ssize_t strips,
    Py_ssize_t rows, double *out, Py_ssize_t row, Py_ssize_t column, double *first,
) noexcept nogil:
    """_block with all of its columns, or the diagonal's, and with the number of rows known to the compiler"""
    if rows == 1:
        _block(a, lda, b, ldb, root, strips, 1, 1 if root is not NULL else VEC_SIDE, out, row, column, first)
    elif rows == 2:
        _block(a, lda, b, ldb, root, strips, 2, 2 if root is not NULL else VEC_SIDE, out, row, column, first)
    elif rows == 3:
        _block(a, lda, b, ldb, root, strips, 3, 3 if root is not NULL else VEC_SIDE, out, row, column, first)
    else:
        _block(a, lda, b, ldb, root, strips, VEC_SIDE, VEC_SIDE, out, row, column, first)


cdef inline void _scatter(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d,  # IN
    const real *resp,                   # IN (n,)
    const real *origin,                 # IN (d,)
    double *first,                      # INOUT (d,)
    double *second,                     # INOUT (d, d), upper triangle
    real *scratch,                      # SCRATCH ((d + 1) * (ld + LANES),)
) noexcept nogil:
    """f <- f + sum_i r_i (x_i - o),  S <- S + sum_i r_i (x_i - o)(x_i - o)^T, from the rows sqrt(r_i) (x_i - o)"""
    cdef Py_ssize_t i, j, l, strips = (n + LANES - 1) // LANES, stride = strips * LANES
    cdef real o
    cdef real *root = scratch
    cdef real *z = scratch + stride
    for i in range(n):
        root[i] = real_sqrt(resp[i])
    for i in range(n, stride):
        root[i] = 0.0
    for j in range(d):
        o = origin[j]
        for i in range(n):
            z[j * stride + i] = (x[j * ld + i] - o) * root[i]
        for i in range(n, stride):
            z[j * stride + i] = 0.0
    j = 0
    while j < d:
        for l in range(j // VEC_SIDE):
            _block_of_rows(z + j * stride, stride, z + l * VEC_SIDE * stride, stride, NULL, strips, min(VEC_SIDE, d - j),
                           second + l * VEC_SIDE * d + j, 1, d, first)
        _block_of_rows(z + j * stride, stride, z + j * stride, stride, root, strips, min(VEC_SIDE, d - j),
                       second + j * d + j, 1, d, first + j)
        j += VEC_SIDE


cdef inline void _moments(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t strips,   # IN, LANES samples each
    Py_ssize_t d,                       # IN, at most FEW, known to the compiler
    const real *resp,                   # IN
    const real *origin,                 # IN (d,)
    double *first,                      # INOUT (d,)
    double *second,                     # INOUT (d, d), upper triangle
) noexcept nogil:
    """As _scatter, for few features: all in registers."""
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


cdef inline void _moments_of_few(
    const real *x, Py_ssize_t ld, Py_ssize_t strips, Py_ssize_t d, const real *resp, const real *origin,
    double *first, double *second,
) noexcept nogil:
    """_moments with the number of features known to the compiler"""
    if d == 1:
        _moments(x, ld, strips, 1, resp, origin, first, second)
    elif d == 2:
        _moments(x, ld, strips, 2, resp, origin, first, second)
    elif d == 3:
        _moments(x, ld, strips, 3, resp, origin, first, second)
    else:
        _moments(x, ld, strips, FEW, resp, origin, first, second)


cdef inline void _accumulate(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d,  # IN
    const real *resp,                   # IN (n,)
    const real *origin,                 # IN (d,)
    double *first,                      # INOUT (d,)
    double *second,                     # INOUT (d, d), upper triangle
    real *scratch,                      # SCRATCH ((d + 1) * (ld + LANES),)
) noexcept nogil:
    """f <- f + sum_i r_i (x_i - o),  S <- S + sum_i r_i (x_i - o)(x_i - o)^T"""
    cdef Py_ssize_t whole = n - n % LANES
    if d > FEW:
        _scatter(x, ld, n, d, resp, origin, first, second, scratch)
        return
    _moments_of_few(x, ld, n // LANES, d, resp, origin, first, second)
    if n > whole:
        _pad(x + whole, ld, n - whole, d, scratch + LANES)
        _pad(resp + whole, ld, n - whole, 1, scratch)
        _moments_of_few(scratch + LANES, LANES, 1, d, scratch, origin, first, second)


cdef inline void _pad(
    const real *a, Py_ssize_t ld, Py_ssize_t n, Py_ssize_t rows,  # IN (rows, ld), n < LANES
    real *out,                          # OUT (rows, LANES)
) noexcept nogil:
    """The last samples of a block as a strip, with zeros beyond them."""
    cdef Py_ssize_t i, r
    for r in range(rows):
        for i in range(LANES):
            out[r * LANES + i] = a[r * ld + i] if i < n else 0.0


cdef api void accumulate_full(
    const real *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *resp,                 # IN (K, ld)
    const real *origins,              # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K, d, d), upper triangles
    real *scratch,                      # SCRATCH (mstep_scratch(d, K, ld),)
) noexcept nogil:
    """S_k <- S_k + sum_i r_ik (x_i - o_k)(x_i - o_k)^T; n_k and f_k likewise"""
    cdef Py_ssize_t k
    if d == 1:
        _accumulate_axes(x, ld, n, d, K, resp, origins, nk, first, second, 1, 1, scratch)
        return
    _masses(resp, ld, n, K, nk, 1)
    for k in range(K):
        _accumulate(x, ld, n, d, resp + k * ld, origins + k * d, first + k * d, second + k * d * d, scratch)


cdef api void accumulate_tied(
    const real *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *resp,                 # IN (K, ld)
    const real *origins,              # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (d, d), upper triangle
    real *scratch,                      # SCRATCH (mstep_scratch(d, K, ld),)
) noexcept nogil:
    """S <- S + sum_k sum_i r_ik (x_i - o_k)(x_i - o_k)^T; n_k and f_k as in accumulate_full.

    One scatter serves all components, see _shared_scatter. It cancels for components far apart; where that would cost
    the variance of a feature more than CANCELLED, the scatters of all components are summed instead.
    """
    cdef Py_ssize_t j, k
    cdef Py_ssize_t width = d + VEC_SIDE
    cdef double *scatter = <double *>scratch            # (width, d), upper triangle
    cdef double *firsts = scatter + width * d           # (K, width)
    _masses(resp, ld, n, K, nk, 1)
    if K == 1 or not _shared_scatter(x, ld, n, d, K, resp, origins, scatter, firsts, <real *>(firsts + K * width)):
        for k in range(K):
            _accumulate(x, ld, n, d, resp + k * ld, origins + k * d, first + k * d, second, scratch)
        return
    for k in range(K):
        for j in range(d):
            first[k * d + j] += firsts[k * width + j]
    for j in range(d):
        for k in range(j, d):
            second[j * d + k] += scatter[j * d + k]


cdef inline bint _shared_scatter(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d, Py_ssize_t K,  # IN
    const real *resp,                   # IN (K, ld)
    const real *origins,                # IN (K, d)
    double *scatter,                    # OUT (d + VEC_SIDE, d), upper triangle in the first d rows
    double *firsts,                     # OUT (K, d + VEC_SIDE)
    real *scratch,                      # SCRATCH ((2 * d + VEC_SIDE + 1) * (ld + LANES),)
) noexcept nogil:
    """f_k and sum_k S_k from one scatter about the origin o of the heaviest component: with r_i = sum_k r_ik,

        f_k = sum_i r_ik (x_i - o) - n_k c_k,   c_k = o_k - o,
        sum_k S_k = sum_i r_i (x_i - o)(x_i - o)^T - sum_k (c_k f_k^T + f_k c_k^T + n_k c_k c_k^T).

    Returns whether the second difference left every variance at least CANCELLED of what it was.
    """
    cdef Py_ssize_t i, j, k, l, heaviest = 0, whole = n - n % LANES
    cdef Py_ssize_t strips = (n + LANES - 1) // LANES, stride = strips * LANES, width = d + VEC_SIDE
    cdef double mass, c, f, before
    cdef double *masses = firsts + width - 1    # the last of each row: n_k, and then sums of zeros
    cdef real *z = scratch              # (width, stride): x_i - o; zeros beyond n and d
    cdef real *weighted = z + width * stride    # (d, stride): r_i (x_i - o)
    cdef real *total = weighted + d * stride    # (stride,): r_i
    cdef const real *origin
    for i in range(stride):
        total[i] = 0.0
    for j in range(K * width):
        firsts[j] = 0.0
    _masses(resp, ld, n, K, masses, width)
    for k in range(K):
        if masses[k * width] > masses[heaviest * width]:
            heaviest = k
        for i in range(n):
            total[i] += resp[k * ld + i]
    origin = origins + heaviest * d
    for j in range(d):
        for i in range(n):
            z[j * stride + i] = x[j * ld + i] - origin[j]
        for i in range(n, stride):
            z[j * stride + i] = 0.0
        for i in range(stride):
            weighted[j * stride + i] = z[j * stride + i] * total[i]
    for i in range(d * stride, width * stride):
        z[i] = 0.0
    for j in range(width * d):
        scatter[j] = 0.0
    for l in range((d + VEC_SIDE - 1) // VEC_SIDE):
        for j in range(l, (d + VEC_SIDE - 1) // VEC_SIDE):
            _block_of_rows(weighted + j * VEC_SIDE * stride, stride, z + l * VEC_SIDE * stride, stride, NULL, strips,
                           min(VEC_SIDE, d - j * VEC_SIDE), scatter + l * VEC_SIDE * d + j * VEC_SIDE, 1, d, NULL)
        for k in range((K + VEC_SIDE - 1) // VEC_SIDE):
            _block_of_rows(resp + k * VEC_SIDE * ld, ld, z + l * VEC_SIDE * stride, stride, NULL, n // LANES,
                           min(VEC_SIDE, K - k * VEC_SIDE), firsts + k * VEC_SIDE * width + l * VEC_SIDE, width, 1,
                           NULL)
    for k in range(K):
        for j in range(d):
            for i in range(whole, n):
                firsts[k * width + j] += resp[k * ld + i] * z[j * stride + i]
            firsts[k * width + j] -= masses[k * width] * (origins[k * d + j] - origin[j])
    for j in range(d):
        before = scatter[j * d + j]
        for k in range(K):
            mass = masses[k * width]
            f = firsts[k * width + j]
            c = origins[k * d + j] - origin[j]
            for l in range(j, d):
                scatter[j * d + l] -= c * firsts[k * width + l] + (f + mass * c) * (origins[k * d + l] - origin[l])
        if not scatter[j * d + j] >= CANCELLED * before:
            return False
    return True


cdef api void accumulate_diag(
    const real *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *resp,                 # IN (K, ld)
    const real *origins,              # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K, d)
    real *scratch,                      # SCRATCH (mstep_scratch(d, K, ld),)
) noexcept nogil:
    """s_kj <- s_kj + sum_i r_ik (x_ij - o_kj)^2; n_k and f_k as in accumulate_full"""
    _accumulate_axes(x, ld, n, d, K, resp, origins, nk, first, second, d, 1, scratch)


cdef api void accumulate_spherical(
    const real *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const real *resp,                 # IN (K, ld)
    const real *origins,              # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K,)
    real *scratch,                      # SCRATCH (mstep_scratch(d, K, ld),)
) noexcept nogil:
    """s_k <- s_k + sum_i r_ik |x_i - o_k|^2; n_k and f_k as in accumulate_full"""
    _accumulate_axes(x, ld, n, d, K, resp, origins, nk, first, second, 1, 0, scratch)


cdef inline void _axis(
    const real *x,                      # IN (n,)
    const real *resp,                   # IN (components, ld)
    Py_ssize_t ld, Py_ssize_t strips,   # IN, LANES samples each
    Py_ssize_t components,              # IN, at most VEC_SIDE, known to the compiler
    const real *origins,                # IN (components,), stride d
    Py_ssize_t d,                       # IN
    double *first,                      # INOUT (components,), stride d
    double *second,                     # INOUT (components,), stride `row`
    Py_ssize_t row,                     # IN
) noexcept nogil:
    """f_k <- f_k + sum_i r_ik (x_i - o_k),  s_k <- s_k + sum_i r_ik (x_i - o_k)^2"""
    cdef vec lanes[SIDE_GROUPS]
    cdef vec firsts[VEC_SIDE]
    cdef vec seconds[VEC_SIDE]
    cdef vec sample, z, w
    cdef Py_ssize_t g, i, k, strip
    for g in range(VEC_GROUPS):
        for k in range(VEC_SIDE):
            firsts[k] = vec_all(0.0)
            seconds[k] = vec_all(0.0)
        for strip in range(strips):
            i = strip * LANES + g * VEC_REALS
            sample = vec_load(x + i)
            for k in range(components):
                z = sample - vec_all(origins[k * d])
                w = vec_load(resp + k * ld + i) * z
                firsts[k] = firsts[k] + w
                seconds[k] = vec_fused(w, z, seconds[k])
        for k in range(components):
            lanes[2 * k * VEC_GROUPS + g] = firsts[k]
            lanes[(2 * k + 1) * VEC_GROUPS + g] = seconds[k]
    for k in range(components):
        first[k * d] += _fold(lanes + 2 * k * VEC_GROUPS)
        second[k * row] += _fold(lanes + (2 * k + 1) * VEC_GROUPS)


cdef inline void _accumulate_axes(
    const real *x, Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d, Py_ssize_t K,  # IN (d, ld)
    const real *resp,                   # IN (K, ld)
    const real *origins,                # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K, d), strides `row` and `step`
    Py_ssize_t row, Py_ssize_t step,    # IN
    real *scratch,                      # SCRATCH (2 * LANES,)
) noexcept nogil:
    """s_kj <- s_kj + sum_i r_ik (x_ij - o_kj)^2 and f_kj, n_k likewise; x passes once, the fewer rows many times"""
    cdef Py_ssize_t j, k, groups = K // VEC_SIDE, strips = n // LANES, whole = n - n % LANES
    _masses(resp, ld, n, K, nk, 1)
    for j in range(d):
        for k in range(groups):
            _axis(x + j * ld, resp + k * VEC_SIDE * ld, ld, strips, VEC_SIDE, origins + k * VEC_SIDE * d + j, d,
                  first + k * VEC_SIDE * d + j, second + k * VEC_SIDE * row + j * step, row)
        for k in range(groups * VEC_SIDE, K):
            _axis(x + j * ld, resp + k * ld, ld, strips, 1, origins + k * d + j, d, first + k * d + j,
                  second + k * row + j * step, row)
        if n > whole:
            _pad(x + j * ld + whole, ld, n - whole, 1, scratch)
            for k in range(K):
                _pad(resp + k * ld + whole, ld, n - whole, 1, scratch + LANES)
                _axis(scratch, scratch + LANES, LANES, 1, 1, origins + k * d + j, d, first + k * d + j,
                      second + k * row + j * step, row)


cdef inline double _new_mean(
    Py_ssize_t d, double nk, const double *first, const double *origin,
    double *mean,                       # OUT (d,)
    double *delta,                      # OUT (d,)
) noexcept nogil:
    """mu = o + delta, delta = f / n; a component without samples stays where it is.  Returns 1 / n, or 0"""
    cdef Py_ssize_t j
    cdef double per_mass = 1.0 / nk if nk >= DBL_MIN else 0.0
    for j in range(d):
        delta[j] = first[j] * per_mass
        mean[j] = origin[j] + delta[j]
    return per_mass


cdef api Py_ssize_t parameters_full(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *nk,                   # IN (K,)
    const double *first,                # IN (K, d)
    const double *second,               # IN (K, d, d), upper triangles
    const double *origins,              # IN (K, d)
    const double *ridge,                # IN (d,)
    double *means,                      # OUT (K, d)
    double *covariances,                # OUT (K, d, d)
    double *precisions_chol,            # OUT (K, d, d)
    double *log_det,                    # OUT (K,): log det U_k
    double *scratch,                    # SCRATCH (d,)
) noexcept nogil:
    """Sigma_k = (S_k + ridge) / n_k - delta_k delta_k^T, U_k U_k^T = Sigma_k^-1.

    Returns 0, or 1 + the first k whose covariance is not positive definite.
    """
    cdef Py_ssize_t i, j, k, failed = 0
    cdef double per_mass
    for k in range(K):
        per_mass = _new_mean(d, nk[k], first + k * d, origins + k * d, means + k * d, scratch)
        for i in range(d):
            for j in range(i, d):
                covariances[(k * d + i) * d + j] = second[(k * d + i) * d + j] * per_mass - scratch[i] * scratch[j]
            covariances[(k * d + i) * d + i] += ridge[i] * per_mass
        if _decompose(d, covariances + k * d * d, precisions_chol + k * d * d, log_det + k) and not failed:
            failed = k + 1
    return failed


cdef api Py_ssize_t parameters_tied(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *nk,                   # IN (K,)
    const double *first,                # IN (K, d)
    const double *second,               # IN (d, d), upper triangle
    const double *origins,              # IN (K, d)
    const double *ridge,                # IN (d,)
    double *means,                      # OUT (K, d)
    double *covariance,                 # OUT (d, d)
    double *precisions_chol,            # OUT (d, d)
    double *log_det,                    # OUT (K,): log det U, K times
    double *scratch,                    # SCRATCH (d,)
) noexcept nogil:
    """Sigma = (S + ridge - sum_k n_k delta_k delta_k^T) / n.  Returns as parameters_full does."""
    cdef Py_ssize_t i, j, k
    cdef double total = 0.0, per_mass
    for i in range(d):
        for j in range(i, d):
            covariance[i * d + j] = second[i * d + j]
        covariance[i * d + i] += ridge[i]
    for k in range(K):
        _new_mean(d, nk[k], first + k * d, origins + k * d, means + k * d, scratch)
        total += nk[k]
        for i in range(d):
            for j in range(i, d):
                covariance[i * d + j] -= nk[k] * scratch[i] * scratch[j]
    per_mass = 1.0 / total if total >= DBL_MIN else 0.0
    for i in range(d):
        for j in range(i, d):
            covariance[i * d + j] *= per_mass
    i = _decompose(d, covariance, precisions_chol, log_det)
    for k in range(1, K):
        log_det[k] = log_det[0]
    return i


cdef api Py_ssize_t parameters_diag(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *nk,                   # IN (K,)
    const double *first,                # IN (K, d)
    const double *second,               # IN (K, d)
    const double *origins,              # IN (K, d)
    const double *ridge,                # IN (d,)
    double *means,                      # OUT (K, d)
    double *covariances,                # OUT (K, d)
    double *precisions_chol,            # OUT (K, d)
    double *log_det,                    # OUT (K,)
    double *scratch,                    # SCRATCH (d,)
) noexcept nogil:
    """sigma^2_kj = (s_kj + ridge_j) / n_k - delta_kj^2,  u_kj = 1 / sigma_kj.  Returns as parameters_full does."""
    cdef Py_ssize_t j, k, failed = 0
    cdef double per_mass, variance
    for k in range(K):
        per_mass = _new_mean(d, nk[k], first + k * d, origins + k * d, means + k * d, scratch)
        log_det[k] = 0.0
        for j in range(d):
            variance = (second[k * d + j] + ridge[j]) * per_mass - scratch[j] * scratch[j]
            if not 0.0 < variance < INFINITY and not failed:
                failed = k + 1
            covariances[k * d + j] = variance
            precisions_chol[k * d + j] = 1.0 / sqrt(variance)
            log_det[k] -= 0.5 * log(variance)
    return failed


cdef api Py_ssize_t parameters_spherical(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *nk,                   # IN (K,)
    const double *first,                # IN (K, d)
    const double *second,               # IN (K,)
    const double *origins,              # IN (K, d)
    const double *ridge,                # IN (d,)
    double *means,                      # OUT (K, d)
    double *covariances,                # OUT (K,)
    double *precisions_chol,            # OUT (K,)
    double *log_det,                    # OUT (K,)
    double *scratch,                    # SCRATCH (d,)
) noexcept nogil:
    """sigma^2_k = ((s_k + sum_j ridge_j) / n_k - |delta_k|^2) / d.  Returns as parameters_full does."""
    cdef Py_ssize_t j, k, failed = 0
    cdef double per_mass, variance
    for k in range(K):
        per_mass = _new_mean(d, nk[k], first + k * d, origins + k * d, means + k * d, scratch)
        variance = second[k]
        for j in range(d):
            variance += ridge[j]
        variance *= per_mass
        for j in range(d):
            variance -= scratch[j] * scratch[j]
        variance /= d
        if not 0.0 < variance < INFINITY and not failed:
            failed = k + 1
        covariances[k] = variance
        precisions_chol[k] = 1.0 / sqrt(variance)
        log_det[k] = -0.5 * d * log(variance)
    return failed


cdef inline int _decompose(
    Py_ssize_t d,                       # IN
    double *covariance,                 # INOUT (d, d): upper triangle, then symmetric
    double *precision_chol,             # OUT (d, d)
    double *log_det,                    # OUT ()
) noexcept nogil:
    """U U^T = Sigma^-1 and log det U.  Not 0: Sigma is not positive definite."""
    cdef Py_ssize_t i, j
    cdef int info
    for i in range(d):
        for j in range(i):
            covariance[i * d + j] = covariance[j * d + i]
    for i in range(d * d):
        precision_chol[i] = covariance[i]
    info = inverse_cholesky(precision_chol, d)
    log_det[0] = 0.0
    for i in range(d):
        log_det[0] += log(precision_chol[i * d + i])
    if info != 0 or not log_det[0] - log_det[0] == 0.0:     # neither infinite nor NaN
        log_det[0] = NAN
        return 1
    return 0
