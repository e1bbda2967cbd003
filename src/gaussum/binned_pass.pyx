# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Samples spread over the nodes of a grid on a line, and densities at the nodes taken at the samples, without the GIL."""
from gaussum.kernels.lanes cimport simd_log

cdef enum:
    BLOCK = 256


def spread(const double[::1] place, const double[::1] w, double[::1] nodes):
    """nodes_k += sum_i w_i B(place_i - k), with the cubic B-spline B; the line is closed to a ring

    Parameters
    ----------
    place : ndarray of float64, shape (n_samples,)
        Of the samples, in steps from the first node; from 0 to n_nodes - 3.
    w : ndarray of float64, shape (n_samples,)
    nodes : ndarray of float64, shape (n_nodes,)
    """
    if w.shape[0] != place.shape[0]:
        raise ValueError("one weight a sample")
    with nogil:
        scatter(&place[0], &w[0], place.shape[0], nodes.shape[0], &nodes[0])


def leave_one_out(const double[::1] nodes, const double[::1] place, const double[::1] w, double own, double floor):
    """sum_i w_i l((f(x_i) - w_i own) / (1 - w_i)),   l(f) = log f where f >= floor, else log floor - 1 + f / floor

    Parameters
    ----------
    nodes : ndarray of float64, shape (n_nodes,)
        The density f; between them it is interpolated (Lagrange, four nodes, the line closed to a ring).
    place : ndarray of float64, shape (n_samples,)
        Of the samples, in steps from the first node; from 0 to n_nodes - 3.
    w : ndarray of float64, shape (n_samples,)
    own : float
        A sample's kernel at itself.
    floor : float

    Returns
    -------
    float
    """
    cdef Py_ssize_t n = place.shape[0], i = 0, m
    cdef double total = 0.0
    if w.shape[0] != n:
        raise ValueError("one weight a sample")
    with nogil:
        while i < n:
            m = min(<Py_ssize_t>BLOCK, n - i)
            total += gather(&place[i], &w[i], m, &nodes[0], nodes.shape[0], own, floor)
            i += m
    return total


cdef void scatter(
    const double *place,        # IN (n,)
    const double *w,            # IN (n,)
    Py_ssize_t n,               # IN
    Py_ssize_t n_nodes,         # IN
    double *nodes,              # INOUT (n_nodes,)
) noexcept nogil:
    """nodes_k += sum_i w_i B(place_i - k)"""
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


cdef double gather(
    const double *place,        # IN (n,), n <= BLOCK
    const double *w,            # IN (n,)
    Py_ssize_t n,               # IN
    const double *nodes,        # IN (n_nodes,)
    Py_ssize_t n_nodes,         # IN
    double own,                 # IN
    double floor,               # IN
) noexcept nogil:
    """sum_i w_i l((f(x_i) - w_i own) / (1 - w_i)) over a block"""
    cdef double others[BLOCK]
    cdef double t, a, b, c, f, total = 0.0
    cdef Py_ssize_t i, k
    for i in range(n):
        k = <Py_ssize_t>place[i]
        t = place[i] - k
        a, b, c = t + 1.0, t - 1.0, t - 2.0
        f = 0.5 * c * (nodes[k] * a * b - nodes[k + 1] * a * t)
        f += b * t * (nodes[k + 2] * a - nodes[k - 1 if k > 0 else n_nodes - 1] * c) / 6.0
        others[i] = (f - w[i] * own) / (1.0 - w[i])
    for i in range(n):
        if others[i] < floor:
            total += w[i] * (max(others[i], 0.0) / floor - 1.0)
            others[i] = floor
    for i in range(n):
        total += w[i] * simd_log(others[i])
    return total
