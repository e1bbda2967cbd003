# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The probability of one box under a block of Gaussians with independent features, as a log-sum.

    box_log_sum:  log P = m + log sum_s exp(log w_s - r_s^2 / 2 - m) prod_j p_sj
    p_sj = exp(r_sj^2 / 2) integral from u_sj to v_sj of phi,   u = a_s (low - s) / h, v = a_s (high - s) / h,

with the sharpness a_s of a source: one over the factor by which its Gaussian is wider than h; and where r_sj = max(u_sj, -v_sj, 0) is the distance of the interval and r_s^2 = sum_j r_sj^2 that of the box. Nothing
underflows before the logarithm, and nothing cancels: with t(x) = exp(x^2 / 2) Q(x), Q the upper tail of phi,

    half-lines:        t(r) outside, 1 - Q inside
    wide intervals:    t(r) - exp((r^2 - f^2) / 2) t(f) outside, f the farther end; 1 - Q(-u) - Q(v) inside
    narrow intervals:  Gauss-Legendre quadrature of positive terms where that difference would cancel

The loops run over sources, a feature at a time; sums in a fixed number of lanes.
"""
from libc.math cimport INFINITY, fabs

from gaussum.kernels.lanes cimport LANES, LOWEST, add_lanes, fused

cdef extern from "simd_math.h" nogil:
    double simd_exp_nonpositive(double x)
    double simd_upper_tail(double x)

cdef enum:
    NODES = 7

# Narrower than this, in bandwidths, the difference of two tails would cost digits.
cdef double NARROW = 0.5
# The integrand falls by less than e over the interval: seven nodes give it to 1e-18.
cdef double FLAT = 1.0
# Squares of what is farther away overflow, and their exponentials are 0: no product of an infinity with 0 comes up.
cdef double FARTHEST = 1e155
cdef double SQRT_TWO_PI = 2.5066282746310002

# Gauss-Legendre on (0, 1)
cdef double *POINTS = [
    0.02544604382862074, 0.12923440720030278, 0.29707742431130141, 0.5, 0.70292257568869859, 0.87076559279969722,
    0.97455395617137926
]
cdef double *SHARES = [
    0.064742483084434847, 0.13985269574463833, 0.19091502525255947, 0.20897959183673469, 0.19091502525255947,
    0.13985269574463833, 0.064742483084434847
]


cdef inline double _clipped(double z) noexcept nogil:
    z = z if z < FARTHEST else FARTHEST
    return z if z > -FARTHEST else -FARTHEST


cdef inline void _half_line(
    const double *sources,              # IN (n,)
    Py_ssize_t n,                       # IN
    const double *sharpness,            # IN (n,)
    double end, double scale,           # IN the half-line is where (end - x) scale > 0
    double *exponents,                  # INOUT (n,)
    double *factors,                    # INOUT (n,)
) noexcept nogil:
    """e_s <- e_s - r_s^2 / 2, f_s <- f_s p_s"""
    cdef Py_ssize_t s
    cdef double z, x, half, tail
    for s in range(n):
        z = _clipped((end - sources[s]) * (scale * sharpness[s]))
        x = fabs(z)
        half = -0.5 * z * z
        tail = simd_upper_tail(x)
        exponents[s] += half if z < 0.0 else 0.0
        factors[s] *= tail if z < 0.0 else 1.0 - simd_exp_nonpositive(half) * tail


cdef inline void _wide(
    const double *sources,              # IN (n,)
    Py_ssize_t n,                       # IN
    const double *sharpness,            # IN (n,)
    double low, double high, double scale,  # IN
    double *exponents,                  # INOUT (n,)
    double *factors,                    # INOUT (n,)
) noexcept nogil:
    """e_s <- e_s - r_s^2 / 2, f_s <- f_s p_s"""
    cdef Py_ssize_t s
    cdef double u, v, near, far, less, more
    cdef bint inside
    for s in range(n):
        u = _clipped((low - sources[s]) * (scale * sharpness[s]))
        v = _clipped((high - sources[s]) * (scale * sharpness[s]))
        inside = (u <= 0.0) & (v >= 0.0)
        u, v = fabs(u), fabs(v)
        near = u if u < v else v
        far = v if u < v else u
        more = simd_exp_nonpositive(-0.5 * near * near) if inside else 1.0
        less = simd_exp_nonpositive(-0.5 * far * far if inside else -0.5 * (far - near) * (far + near))
        more *= simd_upper_tail(near)
        less *= simd_upper_tail(far)
        exponents[s] -= 0.0 if inside else 0.5 * near * near
        factors[s] *= (1.0 - more if inside else more) - less


cdef inline void _narrow(
    const double *sources,              # IN (n,)
    Py_ssize_t n,                       # IN
    const double *sharpness,            # IN (n,)
    double low, double high, double scale,  # IN
    double *exponents,                  # INOUT (n,)
    double *factors,                    # INOUT (n,)
    double *sums,                       # SCRATCH (n,)
) noexcept nogil:
    """e_s <- e_s - r_s^2 / 2, f_s <- f_s p_s"""
    cdef Py_ssize_t k, s
    cdef double u, near, place, share, tails, width
    for s in range(n):
        sums[s] = 0.0
    for k in range(NODES):
        place, share = (high - low) * scale * POINTS[k], SHARES[k]
        for s in range(n):
            u = _lower_end(sources[s], low, high, scale * sharpness[s])
            near = u if u > 0.0 else 0.0
            width = place * sharpness[s]
            sums[s] = fused(share, simd_exp_nonpositive(-0.5 * (u - near + width) * (u + near + width)), sums[s])
    for s in range(n):
        u = _lower_end(sources[s], low, high, scale * sharpness[s])
        width = (high - low) * scale * sharpness[s]
        near = u if u > 0.0 else 0.0
        tails = simd_upper_tail(near)
        tails -= simd_exp_nonpositive(-width * (near + 0.5 * width)) * simd_upper_tail(near + width)
        exponents[s] -= 0.5 * near * near
        factors[s] *= tails if near * width > FLAT else sums[s] * width / SQRT_TWO_PI


cdef inline double _lower_end(double source, double low, double high, double scale) noexcept nogil:
    """The lower end of an interval, with its middle turned to the side of the larger numbers"""
    cdef double u = _clipped((low - source) * scale), v = -_clipped((high - source) * scale)
    return u if u > v else v


cdef api void box_log_sum(
    const double *sources,              # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const double *log_weights,          # IN (n_sources,)
    const double *sharpness,            # IN (n_sources,), within a factor of 2 where intervals may be narrow
    const double *low,                  # IN (d,) may be -inf
    const double *high,                 # IN (d,) may be inf; low_j <= high_j
    Py_ssize_t d,                       # IN
    const double *inv_bandwidth,        # IN (d,)
    double *largest,                    # INOUT (1,): m, at first the lowest double
    double *sum,                        # INOUT (1,): P exp(-m), at first 0
    double *scratch,                    # SCRATCH (3 * n_sources,)
) noexcept nogil:
    """m <- max(m, max_s (log w_s - r_s^2 / 2)) and the sum of prod_j p_sj exp(log w_s - r_s^2 / 2 - m) with it"""
    cdef double lanes[LANES]
    cdef double *exponents = scratch
    cdef double *factors = scratch + n_sources
    cdef Py_ssize_t j, l, s, whole = n_sources - n_sources % LANES
    cdef double m = largest[0], scale, sharpest = 0.0
    for s in range(n_sources):
        exponents[s] = log_weights[s]
        factors[s] = 1.0
        sharpest = sharpness[s] if sharpness[s] > sharpest else sharpest
    for j in range(d):
        scale = inv_bandwidth[j]
        if low[j] == -INFINITY and high[j] == INFINITY:
            continue
        if low[j] == -INFINITY:
            _half_line(sources + j * lds, n_sources, sharpness, high[j], scale, exponents, factors)
        elif high[j] == INFINITY:
            _half_line(sources + j * lds, n_sources, sharpness, low[j], -scale, exponents, factors)
        elif (high[j] - low[j]) * (scale * sharpest) < NARROW:
            _narrow(sources + j * lds, n_sources, sharpness, low[j], high[j], scale, exponents, factors,
                    factors + n_sources)
        else:
            _wide(sources + j * lds, n_sources, sharpness, low[j], high[j], scale, exponents, factors)

    for l in range(LANES):
        lanes[l] = m
    for s in range(0, whole, 32):
        for l in range(LANES):
            lanes[l] = exponents[s + l] if exponents[s + l] > lanes[l] else lanes[l]
    for s in range(whole, n_sources):
        m = exponents[s] if exponents[s] > m else m
    for l in range(LANES):
        m = lanes[l] if lanes[l] > m else m
    if m == LOWEST:
        return

    for l in range(LANES):
        lanes[l] = 0.0
    for s in range(0, whole, 32):
        for l in range(LANES):
            lanes[l] = fused(factors[s + l], simd_exp_nonpositive(exponents[s + l] - m), lanes[l])
    for s in range(n_sources - whole):
        lanes[s] = fused(factors[whole + s], simd_exp_nonpositive(exponents[whole + s] - m), lanes[s])
    sum[0] = sum[0] * simd_exp_nonpositive(largest[0] - m) + add_lanes(lanes)
    largest[0] = m
