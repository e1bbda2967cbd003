# The log-sum of a block of terms at one target, in a fixed number of lanes: the same at every vector width.

cimport cython

from gaussum.kernels.real cimport real
from gaussum.kernels.vec cimport REAL_INFINITY, REAL_LOWEST, real_exp_nonpositive, real_fused

cdef enum:
    LANES = 32              # and the steps below


@cython.cdivision(True)
cdef inline void log_sum_lanes(
    real *terms,                        # INOUT (n_sources,): r_s^2 becomes a_s = log w_s - r_s^2 / 2
    const real *log_weights,            # IN (n_sources,)
    Py_ssize_t n_sources,               # IN
    Py_ssize_t left_out,                # IN a source that does not count, or -1
    real *largest,                      # INOUT (1,): m
    real *sum,                          # INOUT (1,): g exp(-m)
) noexcept nogil:
    """m <- max(m, max_s a_s) and the sum of exp(a_s - m) with it"""
    cdef real lanes[LANES]
    cdef Py_ssize_t l, s, half = LANES // 2, whole = n_sources - n_sources % LANES
    cdef real m = largest[0]
    for s in range(n_sources):
        terms[s] = real_fused(-0.5, terms[s], log_weights[s])
    if 0 <= left_out < n_sources:
        terms[left_out] = -REAL_INFINITY

    for l in range(LANES):
        lanes[l] = m
    for s in range(0, whole, 32):
        for l in range(LANES):
            lanes[l] = terms[s + l] if terms[s + l] > lanes[l] else lanes[l]
    for s in range(whole, n_sources):
        m = terms[s] if terms[s] > m else m
    for l in range(LANES):
        m = lanes[l] if lanes[l] > m else m
    if m == REAL_LOWEST:
        return

    for l in range(LANES):
        lanes[l] = 0.0
    for s in range(0, whole, 32):
        for l in range(LANES):
            lanes[l] += real_exp_nonpositive(terms[s + l] - m)
    for s in range(n_sources - whole):
        lanes[s] += real_exp_nonpositive(terms[whole + s] - m)
    while half > 0:
        for l in range(half):
            lanes[l] += lanes[l + half]
        half = half // 2
    sum[0] = sum[0] * real_exp_nonpositive(largest[0] - m) + lanes[0]
    largest[0] = m
