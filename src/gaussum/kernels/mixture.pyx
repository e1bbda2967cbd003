# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A mixture over samples, for other packages' loops: the kernels estep and mstep behind plain types.

Three buffers of doubles describe a mixture of K components of d features:

    parameters   weights (K,), log det U_k (K,), means (K, d), U, where U U^T = Sigma^-1, of `second_size` numbers
    statistics   sum_i w_i log p_i, sum_i w_i, nk (K,), first (K, d), second of `second_size` numbers
    covariances  `second_size` numbers

    structure                    FULL         TIED      DIAG      SPHERICAL
    U, covariances               (K, d, d)    (d, d)    (K, d)    (K,)        upper triangular U, or 1 / sigma
    second                       (K, d, d)    (d, d)    (K, d)    (K,)        upper triangles, or sums of squares

A block is up to ld samples feature by feature, x[j * ld + i].  An EM iteration takes every block through

    block_load -> block_log_prob -> block_responsibilities -> block_weigh -> block_accumulate

with the means as origins, adds up the statistics of parts by merge_statistics, and ends with mixture_maximize.
`mixture_statistics` is those five over any number of samples.  GaussianMixture's own passes take parts of `part_size`
samples in blocks of `block_size` (the last of either is shorter), form the statistics of a part from zero and merge
them in the order of the parts: whoever does the same gets the same bits, on any number of threads.

Functions allocate nothing, hold no state, and may run in any thread, each with a scratch of its own.  Blocks and their
scratch are read fastest where they begin at a multiple of 64 bytes and ld is one of 8.  An unknown structure has sizes
of -1.  Samples that are NaN give NaN; weights are at least 0.
"""
from libc.math cimport NAN, isfinite, log, sqrt
from libc.string cimport memcpy

from gaussum.kernels cimport estep, mstep
from gaussum.kernels.cache_lines cimport A_LINE, at_line, round_up_lines
from gaussum.kernels.lanes cimport sum_lanes
from gaussum.kernels.lapack cimport inverse_cholesky

cdef double LOG_2PI = log(2.0 * 3.141592653589793)

cdef enum:
    MAX_BLOCK = 992             # no power of two: rows a page apart would share cache sets
    MIN_BLOCK = 64
    L1_DOUBLES = 6144
    L2_DOUBLES = 131072
    AXES_BLOCK = 224
    BLOCK_DOUBLES = 524288
    PART_SAMPLES = 1024
    ENOUGH_PARTS = 64
    LONG_ROW = 16               # features, from which on a block is loaded along rows
    FEW_ROWS = 8

# seconds that a part takes at least, and at most
cdef double SHORTEST_PART = 200e-6
cdef double LONGEST_PART = 0.05


cdef api Py_ssize_t second_size(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil:
    """Numbers in all covariances, and in all second moments."""
    if structure == FULL:
        return K * d * d
    if structure == TIED:
        return d * d
    if structure == DIAG:
        return K * d
    return K if structure == SPHERICAL else -1


cdef api Py_ssize_t parameters_size(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil:
    """Numbers in a buffer of parameters."""
    cdef Py_ssize_t second = second_size(structure, d, K)
    return 2 * K + K * d + second if second >= 0 else -1


cdef api Py_ssize_t statistics_size(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil:
    """Numbers in a buffer of statistics."""
    cdef Py_ssize_t second = second_size(structure, d, K)
    return 2 + K + K * d + second if second >= 0 else -1


cdef api Py_ssize_t block_size(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil:
    """Samples a block, a multiple of the lanes (measured).

    The kernels for matrices go through a block and its scratch once for each component, those for axes through all
    responsibilities once for each feature: that should stay in L1, and the whole block in L2.  Sums over too short
    blocks would not be worth the adding up of their lanes: those for axes may rather leave L2, since they go through
    it in order.
    """
    cdef bint matrices = structure == FULL or structure == TIED
    cdef Py_ssize_t often = 2 * d if matrices else K, least = 256 if matrices else 128
    cdef Py_ssize_t most = L2_DOUBLES // max(d, 2 * K)
    if second_size(structure, d, K) < 0:
        return -1
    if not matrices:
        most = max(most, min(AXES_BLOCK, BLOCK_DOUBLES // d))
    least = min(min(max(L1_DOUBLES // often, least), most), MAX_BLOCK)
    return max(MIN_BLOCK, least // 32 * 32)


cdef inline double _seconds(int structure, Py_ssize_t d, Py_ssize_t K, Py_ssize_t n_samples) noexcept nogil:
    """gaussum.likelihood.seconds"""
    cdef double per_pair = 0.8e-9 + 0.14e-9 * d
    if structure == FULL:
        per_pair += 0.02e-9 * d * d
    elif structure == TIED:
        per_pair += 0.02e-9 * d * d / K
    return <double>(n_samples * K) * per_pair


cdef api Py_ssize_t part_size(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t n_samples,               # IN
) noexcept nogil:
    """Samples a part, a multiple of the block: what is summed from zero and then merged (gaussum.parallel.n_parts)."""
    cdef double seconds = _seconds(structure, d, K, n_samples)
    cdef Py_ssize_t block = block_size(structure, d, K), enough, n_parts, size
    if block < 0:
        return -1
    enough = <Py_ssize_t>min(<double>ENOUGH_PARTS, seconds / SHORTEST_PART)
    n_parts = max(1, min(n_samples // PART_SAMPLES, max(enough, <Py_ssize_t>(seconds / LONGEST_PART))))
    size = (n_samples + n_parts - 1) // n_parts
    return max(1, (size + block - 1) // block) * block


cdef api Py_ssize_t block_scratch(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t ld,                      # IN
) noexcept nogil:
    """Numbers of scratch that any function for blocks of ld samples needs."""
    if second_size(structure, d, K) < 0:
        return -1
    return round_up_lines(K) + max(ld, max(estep.estep_scratch(d, ld), mstep.mstep_scratch(d, K, ld)))


cdef api Py_ssize_t mixture_scratch(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil:
    """Numbers of scratch that any mixture_* function needs, for any number of samples."""
    cdef Py_ssize_t ld = block_size(structure, d, K)
    return A_LINE + ld * (d + K + 1) + block_scratch(structure, d, K, ld) if ld >= 0 else -1


cdef api void block_load(
    Py_ssize_t d,                       # IN
    Py_ssize_t n,                       # IN, n <= ld
    const double *X,                    # IN (n, d), strides `row` and `column`
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t column,                  # IN in doubles
    Py_ssize_t ld,                      # IN
    double *x,                          # OUT (d, ld)
) noexcept nogil:
    """x[j * ld + i] = X[i, j]"""
    cdef Py_ssize_t i, j, first = 0, last
    while first < n:
        # long rows: a few at a time, along them
        last = min(first + FEW_ROWS, n) if row >= LONG_ROW else n
        for j in range(d):
            if row == 1:
                memcpy(x + j * ld, X + j * column, n * sizeof(double))
                continue
            for i in range(first, last):
                x[j * ld + i] = X[i * row + j * column]
        first = last


cdef api void block_log_prob(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t ld,                      # IN
    const double *x,                    # IN (d, ld)
    const double *parameters,           # IN (parameters_size(structure, d, K),)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (block_scratch(structure, d, K, ld),)
) noexcept nogil:
    """log p_ik = log w_k + log N(x_i; mu_k, Sigma_k)"""
    cdef const double *means = parameters + 2 * K
    cdef const double *chol = means + K * d
    cdef double *log_const = scratch
    cdef double *spare = scratch + round_up_lines(K)
    cdef Py_ssize_t k
    for k in range(K):
        log_const[k] = log(parameters[k]) + parameters[K + k] - 0.5 * d * LOG_2PI
    if structure == FULL:
        estep.log_prob_full(x, ld, n, d, K, means, chol, log_const, log_prob, spare)
    elif structure == TIED:
        estep.log_prob_tied(x, ld, n, d, K, means, chol, log_const, log_prob, spare)
    elif structure == DIAG:
        estep.log_prob_diag(x, ld, n, d, K, means, chol, log_const, log_prob, spare)
    elif structure == SPHERICAL:
        estep.log_prob_spherical(x, ld, n, d, K, means, chol, log_const, log_prob, spare)


cdef api void block_log_density(
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t ld,                      # IN
    const double *log_prob,             # IN (K, ld)
    double *log_density,                # OUT (n,)
    double *scratch,                    # SCRATCH (ld,)
) noexcept nogil:
    """log p_i = log sum_k exp(log p_ik)"""
    estep.log_densities(log_prob, ld, n, K, log_density, scratch)


cdef api void block_responsibilities(
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t ld,                      # IN
    double *log_prob,                   # INOUT (K, ld): log p_ik, then r_ik
    double *log_density,                # OUT (n,)
    double *scratch,                    # SCRATCH (ld,)
) noexcept nogil:
    """r_ik = exp(log p_ik - log p_i); 1 / K for a sample that no component reaches"""
    estep.responsibilities(log_prob, ld, n, K, log_density, scratch)


cdef api void block_weigh(
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t ld,                      # IN
    double *resp,                       # INOUT (K, ld): r_ik, then w_i r_ik
    const double *log_density,          # IN (n,)
    const double *sample_weight,        # IN (n,), or NULL: all 1
    double *statistics,                 # INOUT (2,): the first two
) noexcept nogil:
    """r_ik <- w_i r_ik; adds sum_i w_i log p_i and sum_i w_i"""
    statistics[0] += estep.weigh(resp, ld, n, K, log_density, sample_weight)
    statistics[1] += n if sample_weight is NULL else sum_lanes(sample_weight, n)


cdef api void block_accumulate(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t ld,                      # IN
    const double *x,                    # IN (d, ld)
    const double *resp,                 # IN (K, ld): w_i r_ik
    const double *origins,              # IN (K, d)
    double *statistics,                 # INOUT (statistics_size(structure, d, K),): all but the first two
    double *scratch,                    # SCRATCH (block_scratch(structure, d, K, ld),)
) noexcept nogil:
    """nk <- nk + sum_i r_ik, f_k <- f_k + sum_i r_ik (x_i - o_k), S_k <- S_k + sum_i r_ik (x_i - o_k)(x_i - o_k)^T

    S is summed over the components for TIED; of its diagonals for DIAG; of its traces for SPHERICAL.
    """
    cdef double *nk = statistics + 2
    cdef double *first = nk + K
    cdef double *second = first + K * d
    if structure == FULL:
        mstep.accumulate_full(x, ld, n, d, K, resp, origins, nk, first, second, scratch)
    elif structure == TIED:
        mstep.accumulate_tied(x, ld, n, d, K, resp, origins, nk, first, second, scratch)
    elif structure == DIAG:
        mstep.accumulate_diag(x, ld, n, d, K, resp, origins, nk, first, second, scratch)
    elif structure == SPHERICAL:
        mstep.accumulate_spherical(x, ld, n, d, K, resp, origins, nk, first, second, scratch)


cdef api void merge_statistics(
    Py_ssize_t size,                    # IN
    const double *part,                 # IN (size,)
    double *total,                      # INOUT (size,)
) noexcept nogil:
    """total <- total + part: of statistics about the same origins"""
    cdef Py_ssize_t i
    for i in range(size):
        total[i] += part[i]


cdef api Py_ssize_t mixture_maximize(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *statistics,           # IN (statistics_size(structure, d, K),)
    const double *origins,              # IN (K, d)
    const double *ridge,                # IN (d,)
    double *parameters,                 # OUT (parameters_size(structure, d, K),), not where the origins are
    double *covariances,                # OUT (second_size(structure, d, K),)
    double *scratch,                    # SCRATCH (mixture_scratch(structure, d, K),)
) noexcept nogil:
    """w_k = n_k / sum_l n_l, mu_k = o_k + delta_k, Sigma_k = (S_k + ridge) / n_k - delta_k delta_k^T, delta = f / n

    The ridge, a scatter on the diagonal, may be zeros.  Returns 0, or 1 + the first k without a covariance that is
    positive definite: its log det U is not finite, or it has no weight, and it must be seen to before the next E-step.
    """
    cdef const double *nk = statistics + 2
    cdef const double *first = nk + K
    cdef const double *second = first + K * d
    cdef double *log_det = parameters + K
    cdef double *means = parameters + 2 * K
    cdef double *chol = means + K * d
    cdef Py_ssize_t k, failed = -1
    cdef double total = 0.0
    if structure == FULL:
        failed = mstep.parameters_full(
            d, K, nk, first, second, origins, ridge, means, covariances, chol, log_det, scratch)
    elif structure == TIED:
        failed = mstep.parameters_tied(
            d, K, nk, first, second, origins, ridge, means, covariances, chol, log_det, scratch)
    elif structure == DIAG:
        failed = mstep.parameters_diag(
            d, K, nk, first, second, origins, ridge, means, covariances, chol, log_det, scratch)
    elif structure == SPHERICAL:
        failed = mstep.parameters_spherical(
            d, K, nk, first, second, origins, ridge, means, covariances, chol, log_det, scratch)
    for k in range(K):
        total += nk[k]
        if failed == 0 and not isfinite(log_det[k]):
            failed = k + 1
    for k in range(K):
        parameters[k] = nk[k] / total
    return failed


cdef api Py_ssize_t mixture_from_covariances(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *weights,              # IN (K,)
    const double *means,                # IN (K, d)
    const double *covariances,          # IN (second_size(structure, d, K),)
    double *parameters,                 # OUT (parameters_size(structure, d, K),)
) noexcept nogil:
    """U_k U_k^T = Sigma_k^-1, log det U_k

    Of symmetric matrices the upper triangle is read.  Returns 0, or 1 + the first k whose covariance is not positive
    definite.
    """
    cdef Py_ssize_t i, k, side, size = second_size(structure, d, K), failed = 0
    cdef double *log_det = parameters + K
    cdef double *chol = parameters + 2 * K + K * d
    cdef bint matrices = structure == FULL or structure == TIED
    if size < 0:
        return -1
    for k in range(K):
        parameters[k] = weights[k]
    for i in range(K * d):
        parameters[2 * K + i] = means[i]
    for i in range(size):
        chol[i] = covariances[i] if matrices else 1.0 / sqrt(covariances[i])
    side = 1 if structure == SPHERICAL else d
    for k in range(K):
        if structure == TIED and k > 0:
            log_det[k] = log_det[0]
            continue
        log_det[k] = 0.0
        if matrices and inverse_cholesky(chol + k * d * d, d):
            log_det[k] = NAN
        for i in range(side):
            log_det[k] += log(chol[(k * d + i) * d + i] if matrices else chol[k * side + i])
        if structure == SPHERICAL:
            log_det[k] *= d
        if not isfinite(log_det[k]) and not failed:
            failed = k + 1
    return failed


cdef api void mixture_log_density(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN
    const double *X,                    # IN (n, d), strides `row` and `column`
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t column,                  # IN in doubles
    const double *parameters,           # IN (parameters_size(structure, d, K),)
    double *log_density,                # OUT (n,)
    double *scratch,                    # SCRATCH (mixture_scratch(structure, d, K),)
) noexcept nogil:
    """log p_i = log sum_k w_k N(x_i; mu_k, Sigma_k)"""
    cdef Py_ssize_t m, start = 0, ld = block_size(structure, d, K)
    cdef double *x = at_line(scratch)   # (d, ld)
    cdef double *log_prob = x + d * ld  # (K, ld)
    cdef double *spare = log_prob + K * ld
    while 0 < ld and start < n:
        m = min(ld, n - start)
        block_load(d, m, X + start * row, row, column, ld, x)
        block_log_prob(structure, d, K, m, ld, x, parameters, log_prob, spare)
        block_log_density(K, m, ld, log_prob, log_density + start, spare)
        start += m


cdef api void mixture_responsibilities(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN
    const double *X,                    # IN (n, d), strides `row` and `column`
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t column,                  # IN in doubles
    const double *parameters,           # IN (parameters_size(structure, d, K),)
    double *resp,                       # OUT (n, K)
    double *log_density,                # OUT (n,), or NULL
    double *scratch,                    # SCRATCH (mixture_scratch(structure, d, K),)
) noexcept nogil:
    """r_ik = w_k N(x_i; mu_k, Sigma_k) / p_i, and log p_i"""
    cdef Py_ssize_t i, k, m, start = 0, ld = block_size(structure, d, K)
    cdef double *x = at_line(scratch)   # (d, ld)
    cdef double *r = x + d * ld         # (K, ld)
    cdef double *own = r + K * ld       # (ld,)
    cdef double *spare = own + ld
    while 0 < ld and start < n:
        m = min(ld, n - start)
        block_load(d, m, X + start * row, row, column, ld, x)
        block_log_prob(structure, d, K, m, ld, x, parameters, r, spare)
        block_responsibilities(K, m, ld, r, own, spare)
        for i in range(m):
            for k in range(K):
                resp[(start + i) * K + k] = r[k * ld + i]
        if log_density is not NULL:
            for i in range(m):
                log_density[start + i] = own[i]
        start += m


cdef api void mixture_statistics(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN
    const double *X,                    # IN (n, d), strides `row` and `column`
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t column,                  # IN in doubles
    const double *sample_weight,        # IN (n,), or NULL: all 1
    const double *parameters,           # IN (parameters_size(structure, d, K),)
    double *statistics,                 # INOUT (statistics_size(structure, d, K),)
    double *scratch,                    # SCRATCH (mixture_scratch(structure, d, K),)
) noexcept nogil:
    """The E-step and its statistics about the means: adds what all blocks of the samples add"""
    cdef Py_ssize_t m, start = 0, ld = block_size(structure, d, K)
    cdef double *x = at_line(scratch)   # (d, ld)
    cdef double *r = x + d * ld         # (K, ld)
    cdef double *log_density = r + K * ld
    cdef double *spare = log_density + ld
    cdef const double *w = sample_weight
    while 0 < ld and start < n:
        m = min(ld, n - start)
        block_load(d, m, X + start * row, row, column, ld, x)
        block_log_prob(structure, d, K, m, ld, x, parameters, r, spare)
        block_responsibilities(K, m, ld, r, log_density, spare)
        block_weigh(K, m, ld, r, log_density, w + start if w is not NULL else NULL, statistics)
        block_accumulate(structure, d, K, m, ld, x, r, parameters + 2 * K, statistics, spare)
        start += m
