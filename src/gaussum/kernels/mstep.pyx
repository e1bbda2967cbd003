# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The M-step: a block and its responsibilities -> sufficient statistics; statistics -> parameters.

    n_k = sum_i r_ik     f_k = sum_i r_ik (x_i - o_k)     S_k = sum_i r_ik (x_i - o_k)(x_i - o_k)^T

The origins o_k are the means of the E-step before: one pass suffices, nothing cancels, since o_k is already near
the new mean, and statistics with the same origins are merged by addition.  With delta_k = f_k / n_k,

    mu_k = o_k + delta_k,   Sigma_k = (S_k + ridge) / n_k - delta_k delta_k^T.

The ridge is the scatter of a few imagined samples (see gaussum.covariance); with it the M-step maximises the
log-likelihood less tr(ridge Sigma_k^-1) / 2 a component (Ciuperca, Ridolfi and Idier 2003), which is bounded.

Every function adds to its statistics.  Symmetric matrices are summed in their upper triangle.
"""
from libc.float cimport DBL_MIN
from libc.math cimport INFINITY, NAN, log, sqrt

from gaussum.kernels.blas cimport add_scatter, inverse_cholesky
from gaussum.kernels.lanes cimport dot_lanes, moments_lanes, sum_lanes

cdef enum:
    BLAS_FEATURES = 32                  # below, sums in lanes are faster (measured with AVX2 and AVX-512)


cdef api Py_ssize_t mstep_scratch(
    Py_ssize_t d,                       # IN
    Py_ssize_t ld,                      # IN
) noexcept nogil:
    """Doubles of scratch that any accumulate_* function needs."""
    return (d + 1) * ld


cdef inline void _accumulate(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d,  # IN
    const double *resp,                 # IN (n,)
    const double *origin,               # IN (d,)
    double *nk,                         # INOUT ()
    double *first,                      # INOUT (d,)
    double *second,                     # INOUT (d, d), upper triangle
    double *scratch,                    # SCRATCH (mstep_scratch(d, ld),)
) noexcept nogil:
    """n <- n + sum_i r_i,  f <- f + sum_i r_i (x_i - o),  S <- S + sum_i r_i (x_i - o)(x_i - o)^T"""
    cdef Py_ssize_t i, j, l
    cdef double o
    cdef double *centered = scratch
    cdef double *weighted = scratch + d * ld
    cdef double *root = weighted
    nk[0] += sum_lanes(resp, n)
    if d >= BLAS_FEATURES:
        for i in range(n):
            root[i] = sqrt(resp[i])
        for j in range(d):
            o = origin[j]
            for i in range(n):
                centered[j * ld + i] = (x[j * ld + i] - o) * root[i]
            first[j] += dot_lanes(centered + j * ld, root, n)
        add_scatter(centered, ld, n, d, second)
        return
    for j in range(d):
        moments_lanes(x + j * ld, resp, n, origin[j], first + j, second + j * d + j)
        if d > 1:
            o = origin[j]
            for i in range(n):
                centered[j * ld + i] = x[j * ld + i] - o
                weighted[i] = (x[j * ld + i] - o) * resp[i]
        for l in range(j):
            second[l * d + j] += dot_lanes(weighted, centered + l * ld, n)


cdef api void accumulate_full(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *resp,                 # IN (K, ld)
    const double *origins,              # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K, d, d), upper triangles
    double *scratch,                    # SCRATCH (mstep_scratch(d, ld),)
) noexcept nogil:
    """S_k <- S_k + sum_i r_ik (x_i - o_k)(x_i - o_k)^T; n_k and f_k likewise"""
    cdef Py_ssize_t k
    for k in range(K):
        _accumulate(x, ld, n, d, resp + k * ld, origins + k * d, nk + k, first + k * d, second + k * d * d, scratch)


cdef api void accumulate_tied(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *resp,                 # IN (K, ld)
    const double *origins,              # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (d, d), upper triangle
    double *scratch,                    # SCRATCH (mstep_scratch(d, ld),)
) noexcept nogil:
    """S <- S + sum_k sum_i r_ik (x_i - o_k)(x_i - o_k)^T; n_k and f_k as in accumulate_full"""
    cdef Py_ssize_t k
    for k in range(K):
        _accumulate(x, ld, n, d, resp + k * ld, origins + k * d, nk + k, first + k * d, second, scratch)


cdef api void accumulate_diag(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *resp,                 # IN (K, ld)
    const double *origins,              # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K, d)
    double *scratch,                    # SCRATCH (mstep_scratch(d, ld),)
) noexcept nogil:
    """s_kj <- s_kj + sum_i r_ik (x_ij - o_kj)^2; n_k and f_k as in accumulate_full"""
    _accumulate_features(x, ld, n, d, K, resp, origins, nk, first, second, d, 1)


cdef api void accumulate_spherical(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *resp,                 # IN (K, ld)
    const double *origins,              # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K,)
    double *scratch,                    # SCRATCH (mstep_scratch(d, ld),)
) noexcept nogil:
    """s_k <- s_k + sum_i r_ik |x_i - o_k|^2; n_k and f_k as in accumulate_full"""
    _accumulate_features(x, ld, n, d, K, resp, origins, nk, first, second, 1, 0)


cdef inline void _accumulate_features(
    const double *x, Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d, Py_ssize_t K,  # IN (d, ld)
    const double *resp,                 # IN (K, ld)
    const double *origins,              # IN (K, d)
    double *nk,                         # INOUT (K,)
    double *first,                      # INOUT (K, d)
    double *second,                     # INOUT (K, d), strides `row` and `step`
    Py_ssize_t row, Py_ssize_t step,    # IN
) noexcept nogil:
    """s_kj <- s_kj + sum_i r_ik (x_ij - o_kj)^2 and f_kj, n_k likewise; x passes once, the fewer rows many times"""
    cdef Py_ssize_t j, k
    for k in range(K):
        nk[k] += sum_lanes(resp + k * ld, n)
    for j in range(d):
        for k in range(K):
            moments_lanes(x + j * ld, resp + k * ld, n, origins[k * d + j], first + k * d + j,
                          second + k * row + j * step)


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
