# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sums of Gaussians of any number of sources at any number of targets, for other packages' loops.

    gaussian_sum:      g_t <- g_t + sum_s w_s exp(-r_ts^2 / 2)
    gaussian_log_sum:  log sum_s exp(log w_s - r_ts^2 / 2),   r_ts^2 = sum_j ((t_j - s_j) / h_j)^2

Sources and targets have any strides, and are taken block by block through gaussum.kernels.gauss_sum; a block of sources
is summed from zero and then added, so rounding grows with the number of blocks and not with that of the sources.
A target's result does not depend on the other targets.  `gaussian_sum` underflows to 0 some 38 bandwidths from the
last source; `gaussian_log_sum` does not.  Without sources the sums stay as they are, and log-sums are -inf.
Densities are these over prod_j (h_j sqrt(2 pi)) for weights that add up to 1.
"""
from gaussum.kernels.cache_lines cimport A_LINE, at_line
from gaussum.kernels.elementary cimport log_array
from gaussum.kernels.gauss_sum cimport gauss_log_sum, gauss_sum
from gaussum.kernels.lanes cimport LOWEST
from gaussum.kernels.mixture cimport block_load

cdef enum:
    BLOCK = 256                         # sources, and targets, a block


cdef api Py_ssize_t sum_scratch(
    Py_ssize_t d,                       # IN
) noexcept nogil:
    """Numbers of scratch that any function here needs."""
    return A_LINE + d * (2 * BLOCK + 65) + 3 * BLOCK


cdef inline void _weights(
    const double *weights,              # IN (n,), or NULL
    Py_ssize_t n, double default,       # IN
    double *out,                        # OUT (n,)
) noexcept nogil:
    cdef Py_ssize_t s
    for s in range(n):
        out[s] = weights[s] if weights is not NULL else default


cdef api void gaussian_sum(
    Py_ssize_t d,                       # IN
    Py_ssize_t n_sources,               # IN
    const double *sources,              # IN (n_sources, d), strides `source_row` and `source_column`
    Py_ssize_t source_row,              # IN in doubles
    Py_ssize_t source_column,           # IN in doubles
    const double *weights,              # IN (n_sources,), or NULL: all 1
    Py_ssize_t n_targets,               # IN
    const double *targets,              # IN (n_targets, d), strides `target_row` and `target_column`
    Py_ssize_t target_row,              # IN in doubles
    Py_ssize_t target_column,           # IN in doubles
    const double *bandwidth,            # IN (d,)
    double *sums,                       # INOUT (n_targets,)
    double *scratch,                    # SCRATCH (sum_scratch(d),)
) noexcept nogil:
    """g_t <- g_t + sum_s w_s exp(-r_ts^2 / 2)"""
    cdef Py_ssize_t i, m, n, s, t = 0
    cdef double *own_sources = at_line(scratch)
    cdef double *own_targets = own_sources + d * BLOCK
    cdef double *own_weights = own_targets + d * BLOCK
    cdef double *own = own_weights + BLOCK
    cdef double *spare = own + BLOCK        # (BLOCK,)
    cdef double *inv_bandwidth = spare + BLOCK
    for i in range(d):
        inv_bandwidth[i] = 1.0 / bandwidth[i]
    while t < n_targets:
        n = min(BLOCK, n_targets - t)
        block_load(d, n, targets + t * target_row, target_row, target_column, BLOCK, own_targets)
        s = 0
        while s < n_sources:
            m = min(BLOCK, n_sources - s)
            block_load(d, m, sources + s * source_row, source_row, source_column, BLOCK, own_sources)
            _weights(weights + s if weights is not NULL else NULL, m, 1.0, own_weights)
            for i in range(n):
                own[i] = 0.0
            gauss_sum(own_sources, BLOCK, m, own_weights, own_targets, BLOCK, n, d, inv_bandwidth, own, spare)
            for i in range(n):
                sums[t + i] += own[i]
            s += m
        t += n


cdef api void gaussian_log_sum(
    Py_ssize_t d,                       # IN
    Py_ssize_t n_sources,               # IN
    const double *sources,              # IN (n_sources, d), strides `source_row` and `source_column`
    Py_ssize_t source_row,              # IN in doubles
    Py_ssize_t source_column,           # IN in doubles
    const double *log_weights,          # IN (n_sources,), or NULL: all 0
    Py_ssize_t n_targets,               # IN
    const double *targets,              # IN (n_targets, d), strides `target_row` and `target_column`
    Py_ssize_t target_row,              # IN in doubles
    Py_ssize_t target_column,           # IN in doubles
    const double *bandwidth,            # IN (d,)
    double *log_sums,                   # OUT (n_targets,)
    double *scratch,                    # SCRATCH (sum_scratch(d),)
) noexcept nogil:
    """log g_t = m_t + log sum_s exp(log w_s - r_ts^2 / 2 - m_t)"""
    cdef Py_ssize_t i, m, n, s, t = 0
    cdef double *own_sources = at_line(scratch)
    cdef double *own_targets = own_sources + d * BLOCK
    cdef double *own_weights = own_targets + d * BLOCK
    cdef double *largest = own_weights + BLOCK
    cdef double *own = largest + BLOCK
    cdef double *spare = own + BLOCK        # (64, d)
    cdef double *inv_bandwidth = spare + 64 * d
    for i in range(d):
        inv_bandwidth[i] = 1.0 / bandwidth[i]
    while t < n_targets:
        n = min(BLOCK, n_targets - t)
        block_load(d, n, targets + t * target_row, target_row, target_column, BLOCK, own_targets)
        for i in range(n):
            largest[i] = LOWEST
            own[i] = 0.0
        s = 0
        while s < n_sources:
            m = min(BLOCK, n_sources - s)
            block_load(d, m, sources + s * source_row, source_row, source_column, BLOCK, own_sources)
            _weights(log_weights + s if log_weights is not NULL else NULL, m, 0.0, own_weights)
            gauss_log_sum(own_sources, BLOCK, m, own_weights, NULL, own_targets, BLOCK, n, d, inv_bandwidth, largest,
                          own, spare)
            s += m
        log_array(n, own, log_sums + t)
        for i in range(n):
            log_sums[t + i] += largest[i]
        t += n
