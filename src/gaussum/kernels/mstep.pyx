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

from gaussum.kernels.lapack cimport inverse_cholesky
from gaussum.kernels.moments cimport add_masses, axes, axes_of_few, block_of_rows, moments_of_some, pad
from gaussum.kernels.real cimport real
from gaussum.kernels.vec cimport FEW, LANES, VEC_AXES, VEC_SIDE, WEIGHED, real_sqrt

# What to gather a sample costs, in the products of so many features with one (measured)
cdef Py_ssize_t GATHERING = 32 if sizeof(real) == sizeof(double) else 72

# Samples whose responsibilities are below this part of their component's mass so far do not count in its moments: of
# 2^30 samples, each 2^8 standard deviations away, the scatter would not show the lack in its last digit.  A component
# that lives on tiny responsibilities keeps them, since it has no others.
cdef double NEGLIGIBLE = 2.0**-100

# The part of every variance that must be left where moments about a common origin are brought back to each component's
# own: no direction, however thin the scatter is there, then loses many more digits than it would about its own.
cdef double CANCELLED = 1e-2


cdef api Py_ssize_t mstep_scratch(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t ld,                      # IN
) noexcept nogil:
    """Numbers of scratch that any accumulate_* function needs, where a double may stand."""
    cdef Py_ssize_t a_double = sizeof(double) // sizeof(real)
    return (2 * d + VEC_SIDE + 1) * (ld + LANES) + ((d + K) * (d + VEC_SIDE) + ld) * a_double


cdef inline void _scatter(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d,  # IN
    const real *resp,                   # IN (ld,)
    const real *origin,                 # IN (d,)
    const Py_ssize_t *samples,          # IN (n,), or NULL: the first n
    double *first,                      # INOUT (d,)
    double *second,                     # INOUT (d, d), upper triangle
    real *scratch,                      # SCRATCH ((d + 1) * (n + LANES),)
) noexcept nogil:
    """f <- f + sum_i r_i (x_i - o),  S <- S + sum_i r_i (x_i - o)(x_i - o)^T, from the rows sqrt(r_i) (x_i - o)"""
    cdef Py_ssize_t i, j, l, strips = (n + LANES - 1) // LANES, stride = strips * LANES
    cdef real *root = scratch
    cdef real *z = scratch + stride
    for i in range(n):
        root[i] = resp[i] if samples is NULL else resp[samples[i]]
    for i in range(n):
        root[i] = real_sqrt(root[i])
    for i in range(n, stride):
        root[i] = 0.0
    for j in range(d):
        _weighted_row(x + j * ld, n, stride, samples, origin[j], root, z + j * stride)
    j = 0
    while j < d:
        for l in range(j // VEC_SIDE):
            block_of_rows(z + j * stride, stride, z + l * VEC_SIDE * stride, stride, NULL, strips, min(VEC_SIDE, d - j),
                           second + l * VEC_SIDE * d + j, 1, d, first)
        block_of_rows(z + j * stride, stride, z + j * stride, stride, root, strips, min(VEC_SIDE, d - j),
                       second + j * d + j, 1, d, first + j)
        j += VEC_SIDE


cdef inline void _weighted_row(
    const real *x, Py_ssize_t n, Py_ssize_t stride, const Py_ssize_t *samples, real origin, const real *root,
    real *z,                            # OUT (stride,)
) noexcept nogil:
    """z_i = (x_i - o) sqrt(r_i), and 0 beyond the last sample"""
    cdef Py_ssize_t i
    if samples is NULL:
        for i in range(n):
            z[i] = (x[i] - origin) * root[i]
    else:
        for i in range(n):
            z[i] = (x[samples[i]] - origin) * root[i]
    for i in range(n, stride):
        z[i] = 0.0


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
    if d > WEIGHED:
        _scatter(x, ld, n, d, resp, origin, NULL, first, second, scratch)
        return
    moments_of_some(x, ld, n // LANES, d, resp, origin, first, second)
    if n > whole:
        pad(x + whole, ld, n - whole, d, scratch + LANES)
        pad(resp + whole, ld, n - whole, 1, scratch)
        moments_of_some(scratch + LANES, LANES, 1, d, scratch, origin, first, second)


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
    """S_k <- S_k + sum_i r_ik (x_i - o_k)(x_i - o_k)^T; n_k and f_k likewise

    With more than WEIGHED features, components that few samples of the block belong to are summed over these alone.
    """
    cdef Py_ssize_t k
    if d == 1:
        _accumulate_axes(x, ld, n, d, K, resp, origins, nk, first, second, 1, 1, scratch)
        return
    add_masses(resp, ld, n, K, nk, 1)
    for k in range(K):
        if d <= WEIGHED or not _accumulate_sparse(x, ld, n, d, resp + k * ld, nk[k], origins + k * d, first + k * d,
                                                  second + k * d * d, scratch):
            _accumulate(x, ld, n, d, resp + k * ld, origins + k * d, first + k * d, second + k * d * d, scratch)


cdef inline bint _accumulate_sparse(
    const real *x,                      # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d,  # IN
    const real *resp,                   # IN (ld,)
    double mass,                        # IN: n_k so far
    const real *origin,                 # IN (d,)
    double *first,                      # INOUT (d,)
    double *second,                     # INOUT (d, d), upper triangle
    real *scratch,                      # SCRATCH (mstep_scratch(d, K, ld),)
) noexcept nogil:
    """_accumulate over the samples that are not NEGLIGIBLE, gathered; False, and nothing done, if they are too many"""
    cdef Py_ssize_t *samples = <Py_ssize_t *>scratch        # (ld,)
    cdef real least = <real>(NEGLIGIBLE * mass)
    cdef Py_ssize_t i, m = 0, count = 0
    for i in range(n):
        count += not resp[i] <= least                       # NaN counts
    if count * (d + GATHERING) > n * d:
        return False
    for i in range(n):
        samples[m] = i
        m += not resp[i] <= least
    _scatter(x, ld, m, d, resp, origin, samples, first, second, <real *>(samples + ld))
    return True


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
    add_masses(resp, ld, n, K, nk, 1)
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
    add_masses(resp, ld, n, K, masses, width)
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
            block_of_rows(weighted + j * VEC_SIDE * stride, stride, z + l * VEC_SIDE * stride, stride, NULL, strips,
                           min(VEC_SIDE, d - j * VEC_SIDE), scatter + l * VEC_SIDE * d + j * VEC_SIDE, 1, d, NULL)
        for k in range((K + VEC_SIDE - 1) // VEC_SIDE):
            block_of_rows(resp + k * VEC_SIDE * ld, ld, z + l * VEC_SIDE * stride, stride, NULL, n // LANES,
                           min(VEC_SIDE, K - k * VEC_SIDE), firsts + k * VEC_SIDE * width + l * VEC_SIDE, width, 1,
                           NULL)
    for k in range(K):
        for j in range(d):
            for i in range(whole, n):
                firsts[k * width + j] += resp[k * ld + i] * z[j * stride + i]
            firsts[k * width + j] -= masses[k * width] * (<double>origins[k * d + j] - origin[j])
    for j in range(d):
        before = scatter[j * d + j]
        for k in range(K):
            mass = masses[k * width]
            f = firsts[k * width + j]
            c = <double>origins[k * d + j] - origin[j]
            for l in range(j, d):
                scatter[j * d + l] -= (
                    c * firsts[k * width + l] + (f + mass * c) * (<double>origins[k * d + l] - origin[l])
                )
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
    cdef Py_ssize_t j, k, strips = n // LANES, whole = n - n % LANES, paired = d - d % VEC_AXES
    add_masses(resp, ld, n, K, nk, 1)
    j = 0
    while j < paired:
        for k in range(0, K, 4):
            axes_of_few(x + j * ld, resp + k * ld, ld, strips, VEC_AXES, min(FEW, K - k), origins + k * d + j, d,
                         first + k * d + j, second + k * row + j * step, row, step)
        j += VEC_AXES
    for j in range(paired, d):
        for k in range(0, K, 4):
            axes_of_few(x + j * ld, resp + k * ld, ld, strips, 1, min(FEW, K - k), origins + k * d + j, d,
                         first + k * d + j, second + k * row + j * step, row, step)
    if n > whole:
        for j in range(d):
            pad(x + j * ld + whole, ld, n - whole, 1, scratch)
            for k in range(K):
                pad(resp + k * ld + whole, ld, n - whole, 1, scratch + LANES)
                axes(scratch, scratch + LANES, LANES, 1, 1, 1, origins + k * d + j, d, first + k * d + j,
                      second + k * row + j * step, row, step)


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
            log_det[k] += log(precisions_chol[k * d + j])
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
        log_det[k] = d * log(precisions_chol[k])
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
