# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""How far the samples of one component stay clear of the others.

Let x lie within the radius r of component a, |y| <= r with y = (x - mu_a) U_a.  For a unit vector v,

    |(x - mu_k) U_k| >= (x - mu_k) U_k v = (mu_a - mu_k) U_k v + y U_a^-1 U_k v >= D_k - r g_k,

    D_k = |(mu_a - mu_k) U_k|,   g_k = |U_a^-1 U_k v_k|,   v_k = (mu_a - mu_k) U_k / D_k:

the half-space that touches k's ellipsoid through mu_a, moved towards mu_k as far as a's ellipsoid of radius r leads.
It is exact for spheres and costs O(d^2) a pair.  The reach of a before k is the largest r with

    max(0, D_k - r g_k)^2 - r^2 >= margin_k,

so that with margin_k = 2 (T + log p_k(mu_k) - c_a) every sample within it has log p_k(x) <= c_a - r^2 / 2 - T, where
p_k is the density without its weight.  The left side falls with r, so the root is one of a quadratic equation.
D is made a little smaller and g a little larger than they are computed: no rounding lets a component be missed.

Components lie side by side, their number running fastest, so that every inner loop runs over k and vectorises.
"""
from libc.math cimport INFINITY, sqrt

from gaussum.kernels.lanes cimport fused

# relative; the triangular products lose as many digits as the condition number of U has
cdef double SLACK = 1e-6


cdef api Py_ssize_t reach_scratch(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil:
    """Doubles of scratch that any function here needs."""
    return (2 * d + 2) * K


cdef inline void _apart(
    Py_ssize_t d, Py_ssize_t K, Py_ssize_t a,  # IN
    const double *means,                # IN (d, K)
    double *delta,                      # OUT (d, K)
) noexcept nogil:
    """delta_k = mu_a - mu_k"""
    cdef Py_ssize_t j, k
    cdef double mean
    for j in range(d):
        mean = means[j * K + a]
        for k in range(K):
            delta[j * K + k] = mean - means[j * K + k]


cdef inline void _add_squares(
    const double *z,                    # IN (K,)
    Py_ssize_t K,                       # IN
    double *squares,                    # INOUT (K,)
) noexcept nogil:
    """s_k <- s_k + z_k^2"""
    cdef Py_ssize_t k
    for k in range(K):
        squares[k] = fused(z[k], z[k], squares[k])


cdef inline void _zero(double *a, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        a[i] = 0.0


cdef inline void _solve_reach(
    Py_ssize_t K, Py_ssize_t a,         # IN
    const double *distance,             # IN (K,): D^2
    const double *stretch,              # IN (K,): (D g)^2
    const double *margin,               # IN (K,)
    double *reach,                      # OUT (K,)
) noexcept nogil:
    """The r >= 0 with max(0, D - r g)^2 - r^2 = margin; -1 where there is none or it is not a number; inf for a"""
    cdef Py_ssize_t k
    cdef double d2, g2, m, r, s, slack = SLACK
    for k in range(K):
        m = margin[k]
        d2 = distance[k] * (1.0 - slack)
        g2 = stretch[k] / distance[k] * (1.0 + 3.0 * slack) if distance[k] > 0.0 else 0.0
        # (D - r g)^2 - r^2 = m as long as D >= r g
        r = (d2 - m) / (sqrt(d2 * g2) + sqrt(d2 + (g2 - 1.0) * m))
        r = r if r >= 0.0 and r * r * g2 <= d2 else -1.0
        # -r^2 = m whatever D
        s = sqrt(-m) if m < 0.0 else -1.0
        reach[k] = s if s > r else r
    reach[a] = INFINITY


cdef api void reach_full(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t a,                       # IN
    const double *means,                # IN (d, K)
    const double *precisions_chol,      # IN (d, d, K)
    const double *margin,               # IN (K,)
    double *reach,                      # OUT (K,)
    double *scratch,                    # SCRATCH (reach_scratch(d, K),)
) noexcept nogil:
    """z_k = (mu_a - mu_k) U_k,  D_k = |z_k|,  D_k g_k = |s_k| with U_a s_k = U_k z_k"""
    cdef Py_ssize_t j, l, k
    cdef double *distance = scratch
    cdef double *stretch = distance + K
    cdef double *s = stretch + K        # (d, K): mu_a - mu_k, then U_k z_k, then U_a^-1 U_k z_k
    cdef double *z = s + d * K          # (d, K)
    cdef double *row
    cdef const double *u
    cdef double own
    _zero(distance, K)
    _zero(stretch, K)
    _apart(d, K, a, means, s)
    for l in range(d):
        row = z + l * K
        _zero(row, K)
        for j in range(l + 1):
            u = precisions_chol + (j * d + l) * K
            for k in range(K):
                row[k] = fused(s[j * K + k], u[k], row[k])
        _add_squares(row, K, distance)
    for j in range(d):
        row = s + j * K
        _zero(row, K)
        for l in range(j, d):
            u = precisions_chol + (j * d + l) * K
            for k in range(K):
                row[k] = fused(z[l * K + k], u[k], row[k])
    for j in range(d - 1, -1, -1):
        row = s + j * K
        for l in range(j + 1, d):
            own = -precisions_chol[(j * d + l) * K + a]
            for k in range(K):
                row[k] = fused(s[l * K + k], own, row[k])
        own = 1.0 / precisions_chol[(j * d + j) * K + a]
        for k in range(K):
            row[k] *= own
        _add_squares(row, K, stretch)
    _solve_reach(K, a, distance, stretch, margin, reach)


cdef api void reach_tied(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t a,                       # IN
    const double *means,                # IN (d, K)
    const double *precisions_chol,      # IN (d, d)
    const double *margin,               # IN (K,)
    double *reach,                      # OUT (K,)
    double *scratch,                    # SCRATCH (reach_scratch(d, K),)
) noexcept nogil:
    """D_k = |(mu_a - mu_k) U|,  g_k = 1"""
    cdef Py_ssize_t j, l, k
    cdef double *distance = scratch
    cdef double *delta = distance + K   # (d, K)
    cdef double *row = delta + d * K
    cdef double u
    _zero(distance, K)
    _apart(d, K, a, means, delta)
    for l in range(d):
        _zero(row, K)
        for j in range(l + 1):
            u = precisions_chol[j * d + l]
            for k in range(K):
                row[k] = fused(delta[j * K + k], u, row[k])
        _add_squares(row, K, distance)
    _solve_reach(K, a, distance, distance, margin, reach)


cdef inline void _reach_scaled(
    Py_ssize_t d, Py_ssize_t K, Py_ssize_t a,  # IN
    const double *means,                # IN (d, K)
    const double *scales,               # IN (d, K), strides `step` and 1
    Py_ssize_t step,                    # IN, 0 for one number a component
    const double *margin,               # IN (K,)
    double *reach,                      # OUT (K,)
    double *scratch,                    # SCRATCH (reach_scratch(d, K),)
) noexcept nogil:
    """z_kj = (mu_aj - mu_kj) u_kj,  D_k = |z_k|,  D_k g_k = |s_k| with s_kj = z_kj u_kj / u_aj"""
    cdef Py_ssize_t j, k
    cdef double *distance = scratch
    cdef double *stretch = distance + K
    cdef double *delta = stretch + K    # (d, K)
    cdef const double *u
    cdef double z, s, own
    _zero(distance, K)
    _zero(stretch, K)
    _apart(d, K, a, means, delta)
    for j in range(d):
        u = scales + j * step
        own = 1.0 / u[a]
        for k in range(K):
            z = delta[j * K + k] * u[k]
            s = z * u[k] * own
            distance[k] = fused(z, z, distance[k])
            stretch[k] = fused(s, s, stretch[k])
    _solve_reach(K, a, distance, stretch, margin, reach)


cdef api void reach_diag(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t a,                       # IN
    const double *means,                # IN (d, K)
    const double *precisions_chol,      # IN (d, K)
    const double *margin,               # IN (K,)
    double *reach,                      # OUT (K,)
    double *scratch,                    # SCRATCH (reach_scratch(d, K),)
) noexcept nogil:
    """D_k^2 = sum_j ((mu_aj - mu_kj) u_kj)^2,  (D_k g_k)^2 = sum_j ((mu_aj - mu_kj) u_kj^2 / u_aj)^2"""
    _reach_scaled(d, K, a, means, precisions_chol, K, margin, reach, scratch)


cdef api void reach_spherical(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t a,                       # IN
    const double *means,                # IN (d, K)
    const double *precisions_chol,      # IN (K,)
    const double *margin,               # IN (K,)
    double *reach,                      # OUT (K,)
    double *scratch,                    # SCRATCH (reach_scratch(d, K),)
) noexcept nogil:
    """D_k = |mu_a - mu_k| u_k,  g_k = u_k / u_a"""
    _reach_scaled(d, K, a, means, precisions_chol, 0, margin, reach, scratch)
