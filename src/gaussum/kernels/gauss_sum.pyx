# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sums of Gaussians of one block of sources at one block of targets.

    gauss_sum:      g_t = sum_s w_s exp(-r_ts^2 / 2)
    gauss_log_sum:  log g_t, as m_t + log sum_s exp(log w_s - r_ts^2 / 2 - m_t)
    r_ts^2 = sum_j ((t_j - s_j) h_j^-1)^2

Both blocks lie feature by feature, x[j * ld + i].  The inner loops run over targets: sums stay in L1, and each is
taken over the sources in their order, at every vector width.  Differences are formed before they are scaled, so
that neither an offset nor a wide range of the data costs digits.

`gauss_sum` underflows to 0 some 38 bandwidths from the last source; `gauss_log_sum` does not, at twice the cost.
"""
from gaussum.kernels.lanes cimport fused, simd_exp


cdef inline void _squared_distance(
    const double *source,               # IN (d,), stride lds
    Py_ssize_t lds,                     # IN
    const double *targets,              # IN (d, ldt)
    Py_ssize_t ldt, Py_ssize_t n, Py_ssize_t d,  # IN
    const double *inv_bandwidth,        # IN (d,)
    double *r2,                         # OUT (n,)
) noexcept nogil:
    """r2_t = sum_j ((t_j - s_j) / h_j)^2"""
    cdef Py_ssize_t t, j
    cdef double s = source[0], g = inv_bandwidth[0], z
    for t in range(n):
        z = (targets[t] - s) * g
        r2[t] = z * z
    for j in range(1, d):
        s = source[j * lds]
        g = inv_bandwidth[j]
        for t in range(n):
            z = (targets[j * ldt + t] - s) * g
            r2[t] = fused(z, z, r2[t])


cdef api void gauss_sum(
    const double *sources,              # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const double *weights,              # IN (n_sources,)
    const double *targets,              # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    const double *inv_bandwidth,        # IN (d,)
    double *sums,                       # INOUT (n_targets,)
    double *scratch,                    # SCRATCH (n_targets,)
) noexcept nogil:
    """g_t <- g_t + sum_s w_s exp(-r_ts^2 / 2)"""
    cdef Py_ssize_t s, t
    cdef double w, x, g, z
    if d == 1:                          # r^2 in a register
        g = inv_bandwidth[0]
        for s in range(n_sources):
            w = weights[s]
            x = sources[s]
            for t in range(n_targets):
                z = (targets[t] - x) * g
                sums[t] = fused(w, simd_exp(-0.5 * z * z), sums[t])
        return
    for s in range(n_sources):
        w = weights[s]
        _squared_distance(sources + s, lds, targets, ldt, n_targets, d, inv_bandwidth, scratch)
        for t in range(n_targets):
            sums[t] = fused(w, simd_exp(-0.5 * scratch[t]), sums[t])


cdef api void gauss_log_sum(
    const double *sources,              # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const double *log_weights,          # IN (n_sources,)
    const double *targets,              # IN (d, ldt)
    Py_ssize_t ldt,                     # IN
    Py_ssize_t n_targets,               # IN
    Py_ssize_t d,                       # IN
    const double *inv_bandwidth,        # IN (d,)
    double *largest,                    # INOUT (n_targets,): m_t, at first the lowest double
    double *sums,                       # INOUT (n_targets,): g_t exp(-m_t), at first 0
    double *scratch,                    # SCRATCH (2 * n_targets,)
) noexcept nogil:
    """m_t <- max(m_t, max_s (log w_s - r_ts^2 / 2)) and the sum of exp(log w_s - r_ts^2 / 2 - m_t) with it.

    After the last block log g_t is largest_t + log sums_t.
    """
    cdef Py_ssize_t s, t
    cdef double a
    cdef double *r2 = scratch
    cdef double *before = scratch + n_targets
    for t in range(n_targets):
        before[t] = largest[t]
    for s in range(n_sources):
        _squared_distance(sources + s, lds, targets, ldt, n_targets, d, inv_bandwidth, r2)
        for t in range(n_targets):
            a = fused(-0.5, r2[t], log_weights[s])
            largest[t] = a if a > largest[t] else largest[t]
    for t in range(n_targets):
        sums[t] *= simd_exp(before[t] - largest[t])
    for s in range(n_sources):
        _squared_distance(sources + s, lds, targets, ldt, n_targets, d, inv_bandwidth, r2)
        for t in range(n_targets):
            sums[t] += simd_exp(fused(-0.5, r2[t], log_weights[s]) - largest[t])
