# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The E-step over one block of samples.

    log p_ik = log w_k + log N(x_i; mu_k, (U_k U_k^T)^-1) = c_k - |(x_i - mu_k) U_k|^2 / 2
    log p_i  = m_i + log sum_k exp(log p_ik - m_i),   m_i = max_k log p_ik
    r_ik     = exp(log p_ik - log p_i)

U_k is the upper triangular `precisions_chol` and c_k = log w_k + log det U_k - d/2 log 2 pi.

A block lies feature by feature, x[j * ld + i], so that every inner loop runs over samples, with stride one, and
vectorises; x - mu is formed first and multiplied second, so that an offset of the data costs no digits.  From
BLAS_FEATURES on, the triangular product of a block goes through BLAS.  Functions take n <= ld samples, allocate
nothing and hold no state.
"""
from libc.math cimport INFINITY

from gaussum.kernels.blas cimport multiply_upper
from gaussum.kernels.lanes cimport LOWEST, fused, simd_exp, simd_log

cdef enum:
    BLAS_FEATURES = 96                  # below, the tiles are faster (measured with AVX2 and AVX-512)
    TILE = 32                           # and the steps of 32 and 64 below
    WIDE_TILE = 64


cdef api Py_ssize_t estep_scratch(
    Py_ssize_t d,                       # IN
    Py_ssize_t ld,                      # IN
) noexcept nogil:
    """Doubles of scratch that any function here needs."""
    return d * ld + d


cdef inline void _center(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d,  # IN
    const double *origin,               # IN (d,)
    double *out,                        # OUT (d, ld)
) noexcept nogil:
    """out_i = x_i - origin"""
    cdef Py_ssize_t i, j
    cdef double o
    for j in range(d):
        o = origin[j]
        for i in range(n):
            out[j * ld + i] = x[j * ld + i] - o


cdef inline void _whiten(
    double *x,                          # INOUT (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d,  # IN
    const double *upper,                # IN (d, d)
) noexcept nogil:
    """x_i <- x_i U, last feature first, so that it can be done in place"""
    cdef Py_ssize_t i, j, l
    cdef double u
    cdef double *y
    cdef double *z
    if d >= BLAS_FEATURES:
        multiply_upper(x, ld, n, d, upper)
        return
    for j in range(d - 1, -1, -1):
        y = x + j * ld
        u = upper[j * d + j]
        for i in range(n):
            y[i] = y[i] * u
        for l in range(j):
            z = x + l * ld
            u = upper[l * d + j]
            for i in range(n):
                y[i] = fused(z[i], u, y[i])


cdef inline void _log_prob_tile(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d, Py_ssize_t K,  # IN, n <= WIDE_TILE
    const double *origins,              # IN (K, d), strides d and `origin_step`
    Py_ssize_t origin_step,             # IN, 0 for one number a component
    const double *scales,               # IN (K, d), strides `scale_row` and `scale_step`
    Py_ssize_t scale_row, Py_ssize_t scale_step,  # IN
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
) noexcept nogil:
    cdef Py_ssize_t i, j, k
    cdef double z, o, u
    cdef double *norm
    for k in range(K):
        for i in range(n):
            log_prob[k * ld + i] = 0.0
    for j in range(d):
        for k in range(K):
            o = origins[k * d + j * origin_step]
            u = scales[k * scale_row + j * scale_step]
            norm = log_prob + k * ld
            for i in range(n):
                z = (x[j * ld + i] - o) * u
                norm[i] = fused(z, z, norm[i])
    for k in range(K):
        for i in range(n):
            log_prob[k * ld + i] = fused(-0.5, log_prob[k * ld + i], log_const[k])


cdef inline void _log_prob_scaled(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d, Py_ssize_t K,  # IN
    const double *origins, Py_ssize_t origin_step,  # as in _log_prob_tile
    const double *scales, Py_ssize_t scale_row, Py_ssize_t scale_step,
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
) noexcept nogil:
    """log p_ik = c_k - sum_j ((x_ij - o_kj) u_kj)^2 / 2, in tiles whose sums stay in L1 while x passes once"""
    cdef Py_ssize_t i, whole = n - n % WIDE_TILE
    for i in range(0, whole, 64):
        _log_prob_tile(x + i, ld, WIDE_TILE, d, K, origins, origin_step, scales, scale_row, scale_step, log_const,
                       log_prob + i)
    if n > whole:
        _log_prob_tile(x + whole, ld, n - whole, d, K, origins, origin_step, scales, scale_row, scale_step, log_const,
                       log_prob + whole)


cdef inline void _log_prob_whitened_tile(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d,  # IN, n <= TILE, d < BLAS_FEATURES
    const double *mean,                 # IN (d,)
    const double *upper,                # IN (d, d)
    double log_const,                   # IN
    double *log_prob,                   # OUT (n,)
) noexcept nogil:
    cdef double centered[BLAS_FEATURES * TILE]
    cdef double y[TILE]
    cdef double total[TILE]
    cdef Py_ssize_t i, j, l
    cdef double u
    for j in range(d):
        u = mean[j]
        for i in range(n):
            centered[j * TILE + i] = x[j * ld + i] - u
    for i in range(n):
        total[i] = 0.0
    for j in range(d):
        u = upper[j * d + j]
        for i in range(n):
            y[i] = centered[j * TILE + i] * u
        for l in range(j):
            u = upper[l * d + j]
            for i in range(n):
                y[i] = fused(centered[l * TILE + i], u, y[i])
        for i in range(n):
            total[i] = fused(y[i], y[i], total[i])
    for i in range(n):
        log_prob[i] = fused(-0.5, total[i], log_const)


cdef inline void _log_prob_whitened(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d,  # IN, d < BLAS_FEATURES
    const double *mean,                 # IN (d,)
    const double *upper,                # IN (d, d)
    double log_const,                   # IN
    double *log_prob,                   # OUT (n,)
) noexcept nogil:
    """log p_i = c - |(x_i - mean) U|^2 / 2, in tiles whose sums stay in registers"""
    cdef Py_ssize_t i, whole = n - n % TILE
    for i in range(0, whole, 32):
        _log_prob_whitened_tile(x + i, ld, TILE, d, mean, upper, log_const, log_prob + i)
    if n > whole:
        _log_prob_whitened_tile(x + whole, ld, n - whole, d, mean, upper, log_const, log_prob + whole)


cdef inline void _zero(double *a, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        a[i] = 0.0


cdef api void log_prob_full(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *means,                # IN (K, d)
    const double *precisions_chol,      # IN (K, d, d)
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil:
    """log p_ik = c_k - |(x_i - mu_k) U_k|^2 / 2"""
    cdef Py_ssize_t k
    cdef double zero = 0.0, one = 1.0
    for k in range(K):
        if d >= BLAS_FEATURES:
            _center(x, ld, n, d, means + k * d, scratch)
            multiply_upper(scratch, ld, n, d, precisions_chol + k * d * d)
            _log_prob_scaled(scratch, ld, n, d, 1, &zero, 0, &one, 0, 0, log_const + k, log_prob + k * ld)
        else:
            _log_prob_whitened(x, ld, n, d, means + k * d, precisions_chol + k * d * d, log_const[k],
                               log_prob + k * ld)


cdef api void log_prob_tied(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *means,                # IN (K, d)
    const double *precisions_chol,      # IN (d, d)
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil:
    """log p_ik = c_k - |(x_i - o) U - (mu_k - o) U|^2 / 2: one product with U serves all components.

    The origin o is the mean of the heaviest component, so that distances among the components enter the rounding,
    an offset of the data does not, and nor does a mean that went astray.
    """
    cdef Py_ssize_t j, k, l, heaviest = 0
    cdef double one = 1.0
    cdef double *y = scratch
    cdef double *center = y + d * ld    # (d,): (mu_k - o) U
    cdef const double *origin
    for k in range(1, K):
        if log_const[k] > log_const[heaviest]:
            heaviest = k
    origin = means + heaviest * d
    _center(x, ld, n, d, origin, y)
    _whiten(y, ld, n, d, precisions_chol)
    for k in range(K):
        for j in range(d):
            center[j] = 0.0
        for l in range(d):
            for j in range(l, d):
                center[j] += (means[k * d + l] - origin[l]) * precisions_chol[l * d + j]
        _log_prob_scaled(y, ld, n, d, 1, center, 1, &one, 0, 0, log_const + k, log_prob + k * ld)


cdef api void log_prob_diag(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *means,                # IN (K, d)
    const double *precisions_chol,      # IN (K, d)
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil:
    """log p_ik = c_k - sum_j ((x_ij - mu_kj) u_kj)^2 / 2"""
    _log_prob_scaled(x, ld, n, d, K, means, 1, precisions_chol, d, 1, log_const, log_prob)


cdef api void log_prob_spherical(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *means,                # IN (K, d)
    const double *precisions_chol,      # IN (K,)
    const double *log_const,            # IN (K,)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (estep_scratch(d, ld),)
) noexcept nogil:
    """log p_ik = c_k - sum_j ((x_ij - mu_kj) u_k)^2 / 2"""
    _log_prob_scaled(x, ld, n, d, K, means, 1, precisions_chol, 1, 0, log_const, log_prob)


cdef api void log_densities(
    const double *log_prob,             # IN (K, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t K,                       # IN
    double *log_density,                # OUT (n,)
    double *scratch,                    # SCRATCH (ld,)
) noexcept nogil:
    """log p_i = m_i + log sum_k exp(log p_ik - m_i),  m_i = max_k log p_ik; -inf where every log p_ik is"""
    cdef Py_ssize_t i, k
    _maximum(log_prob, ld, n, K, scratch)
    _zero(log_density, n)
    for k in range(K):
        for i in range(n):
            log_density[i] += simd_exp(log_prob[k * ld + i] - scratch[i])
    for i in range(n):
        log_density[i] = scratch[i] + simd_log(log_density[i])


cdef api void responsibilities(
    double *log_prob,                   # INOUT (K, ld): log p_ik, then r_ik
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t K,                       # IN
    double *log_density,                # OUT (n,)
    double *scratch,                    # SCRATCH (ld,)
) noexcept nogil:
    """r_ik = e_ik / s_i and log p_i = m_i + log s_i,  e_ik = exp(log p_ik - m_i), s_i = sum_k e_ik

    A sample that no component reaches, every log p_ik being -inf, has log p_i = -inf and belongs to all alike.
    """
    cdef Py_ssize_t i, k
    cdef double e
    _maximum(log_prob, ld, n, K, scratch)
    _zero(log_density, n)
    for k in range(K):
        for i in range(n):
            e = log_prob[k * ld + i]
            e = simd_exp((LOWEST if e < LOWEST else e) - scratch[i])
            log_prob[k * ld + i] = e
            log_density[i] += e
    for i in range(n):
        e = log_density[i]
        log_density[i] = scratch[i] + simd_log(e) if scratch[i] > LOWEST else -INFINITY * e
        scratch[i] = 1.0 / e
    for k in range(K):
        for i in range(n):
            log_prob[k * ld + i] *= scratch[i]


cdef inline void _maximum(
    const double *log_prob,             # IN (K, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t K,  # IN
    double *largest,                    # OUT (n,)
) noexcept nogil:
    """max_k log p_ik, from the lowest double up, so that -inf less the largest is never NaN"""
    cdef Py_ssize_t i, k
    for i in range(n):
        largest[i] = LOWEST
    for k in range(K):
        for i in range(n):
            largest[i] = log_prob[k * ld + i] if log_prob[k * ld + i] > largest[i] else largest[i]
