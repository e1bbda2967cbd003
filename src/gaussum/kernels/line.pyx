# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Samples on a line: to the nodes of a regular grid, and from there back. The grid is a ring.

    line_spread:         g_k <- g_k + sum_i w_i B(x_i - k),   B the cubic B-spline
    line_leave_one_out:  sum_i w_i l((f(x_i) - w_i own) / (1 - w_i))

where f is interpolated between the nodes by Lagrange's polynomial of the nearest four, and l is the logarithm above
`floor` and its tangent there below, but never below that of 0:

    l(f) = log f for f >= floor,   log floor - 1 + max(f, 0) / floor otherwise.
"""
from gaussum.kernels.lanes cimport simd_log, sum_lanes


cdef api void line_spread(
    const double *place,                # IN (n,) in steps from the first node, 0 <= place < n_nodes - 2
    const double *w,                    # IN (n,)
    Py_ssize_t n,                       # IN
    Py_ssize_t n_nodes,                 # IN
    double *nodes,                      # INOUT (n_nodes,)
) noexcept nogil:
    """g_k <- g_k + sum_i w_i B(x_i - k)"""
    cdef double t, u
    cdef Py_ssize_t i, k
    for i in range(n):
        k = <Py_ssize_t>place[i]
        t = place[i] - k
        u = 1.0 - t
        nodes[k - 1 if k > 0 else n_nodes - 1] += w[i] * u * u * u / 6.0
        nodes[k] += w[i] * (2.0 / 3.0 - t * t * (1.0 - 0.5 * t))
        nodes[k + 1] += w[i] * (2.0 / 3.0 - u * u * (1.0 - 0.5 * u))
        nodes[k + 2] += w[i] * t * t * t / 6.0


cdef api double line_leave_one_out(
    const double *place,                # IN (n,) in steps from the first node, 0 <= place < n_nodes - 2
    const double *w,                    # IN (n,), < 1
    Py_ssize_t n,                       # IN
    const double *nodes,                # IN (n_nodes,)
    Py_ssize_t n_nodes,                 # IN
    double own,                         # IN
    double floor,                       # IN > 0
    double *others,                     # SCRATCH (n,)
) noexcept nogil:
    """sum_i w_i l((f(x_i) - w_i own) / (1 - w_i))"""
    cdef double t, a, b, c, f
    cdef Py_ssize_t i, k
    for i in range(n):
        k = <Py_ssize_t>place[i]
        t = place[i] - k
        a, b, c = t + 1.0, t - 1.0, t - 2.0
        f = 0.5 * c * (nodes[k] * a * b - nodes[k + 1] * a * t)
        f += b * t * (nodes[k + 2] * a - nodes[k - 1 if k > 0 else n_nodes - 1] * c) / 6.0
        others[i] = (f - w[i] * own) / (1.0 - w[i])
    for i in range(n):
        # above the floor the second part is 0
        others[i] = w[i] * (simd_log(max(others[i], floor)) + (min(max(others[i], 0.0), floor) / floor - 1.0))
    return sum_lanes(others, n)
