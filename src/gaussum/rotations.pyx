# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Rotations in planes that bring several scatters nearer to common axes: see gaussum.orientation."""
from libc.math cimport M_PI, cos, exp, fabs, log, pow, sin, sqrt

import numpy as np

cdef enum:
    ANGLES = 6                          # of the search in a plane, from 0 to a right angle

# A better angle lowers the objective by so much of its masses: not by rounding.
cdef double BETTER = 1e-9


def rotate(double[:, :, ::1] rows, double[:, ::1] axes, const double[::1] masses, bint one_volume,
           Py_ssize_t most_sweeps, double smallest):
    """Turn axes, and what lies along them, until no sine of a sweep exceeds `smallest`; returns the number of sweeps.

    The first sweep also searches every plane for a lower minimum than the near one.

    Parameters
    ----------
    rows : ndarray, shape (K, d, d)
        Those of (R_k D)^T; changed in place.
    axes : ndarray, shape (d, d)
        Those of D^T; changed in place.
    masses : ndarray, shape (K,)
    one_volume : bool
    """
    cdef Py_ssize_t K = rows.shape[0], d = axes.shape[0], n_sweeps = 0
    if rows.shape[1] != d or rows.shape[2] != d or axes.shape[1] != d or masses.shape[0] != K:
        raise ValueError(f"expected rows of shape ({K}, {d}, {d}), axes of ({d}, {d}) and masses of ({K},)")
    cdef double[::1] scratch = np.empty(4 * K)
    cdef double largest = smallest
    with nogil:
        while n_sweeps < most_sweeps:
            n_sweeps += 1
            largest = sweep(d, K, &masses[0], one_volume, n_sweeps == 1, &rows[0, 0, 0], &axes[0, 0], &scratch[0])
            if not largest > smallest:
                break
    return n_sweeps


cdef double sweep(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *masses,               # IN (K,)
    bint one_volume,                    # IN
    bint searching,                     # IN
    double *y,                          # INOUT (K, d, d): rows y_kj
    double *axes,                       # INOUT (d, d)
    double *scratch,                    # SCRATCH (4 * K,)
) noexcept nogil:
    """Every pair p < q once:  (y_p, y_q) <- (c y_p + s y_q, c y_q - s y_p),  axes likewise, with the least of

        sum_k m_k (|y_kp|^2 / a_kp + |y_kq|^2 / a_kq),    a_kj = |y_kj|^2 before,

    m_k = n_k, or (prod_j a_kj)^(1/d) for one volume; when searching, from the best of some angles.  Returns the largest
    |s|.
    """
    cdef Py_ssize_t j, k, p, q
    cdef double *m = scratch
    cdef double *along_p = scratch + K
    cdef double *along_q = scratch + 2 * K
    cdef double *cross = scratch + 3 * K
    cdef double difference, weight, even, odd, radius, angle, c, s, largest = 0.0
    for k in range(K):
        m[k] = masses[k]
        if one_volume:
            m[k] = 0.0
            for j in range(d):
                m[k] += log(dot(d, y + (k * d + j) * d, y + (k * d + j) * d))
            m[k] = exp(m[k] / d)
    for p in range(d):
        for q in range(p + 1, d):
            lie(d, K, p, q, y, along_p, along_q, cross)
            if searching:
                angle = best_angle(d, K, m, one_volume, along_p, along_q, cross)
                if angle > 0.0:
                    largest = 1.0
                    turn_all(d, K, p, q, cos(angle), sin(angle), one_volume, along_p, along_q, cross, m, y, axes)
                    lie(d, K, p, q, y, along_p, along_q, cross)
            even = odd = 0.0
            for k in range(K):
                difference = along_q[k] - along_p[k]
                weight = m[k] * difference / (along_p[k] * along_q[k])
                even += weight * difference
                odd -= 2.0 * weight * cross[k]
            # cos and sin of twice the angle are even and odd over their hypotenuse; even >= 0
            radius = sqrt(even * even + odd * odd)
            if radius > 0.0:
                c = sqrt(0.5 * (1.0 + even / radius))
                s = 0.5 * odd / (radius * c)
                largest = max(largest, fabs(s))
                turn_all(d, K, p, q, c, s, one_volume, along_p, along_q, cross, m, y, axes)
    return largest


cdef inline void lie(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t p,                       # IN
    Py_ssize_t q,                       # IN
    const double *y,                    # IN (K, d, d)
    double *along_p,                    # OUT (K,)
    double *along_q,                    # OUT (K,)
    double *cross,                      # OUT (K,)
) noexcept nogil:
    """|y_kp|^2, |y_kq|^2 and y_kp . y_kq"""
    cdef Py_ssize_t k
    for k in range(K):
        along_p[k] = dot(d, y + (k * d + p) * d, y + (k * d + p) * d)
        along_q[k] = dot(d, y + (k * d + q) * d, y + (k * d + q) * d)
        cross[k] = dot(d, y + (k * d + p) * d, y + (k * d + q) * d)


cdef inline double product_ratio(
    double c,                           # IN
    double s,                           # IN
    double along_p,                     # IN
    double along_q,                     # IN
    double cross,                       # IN
) noexcept nogil:
    """|c y_p + s y_q|^2 |c y_q - s y_p|^2 / (|y_p|^2 |y_q|^2)"""
    cdef double both = 2.0 * c * s * cross
    cdef double turned_p = c * c * along_p + both + s * s * along_q
    cdef double turned_q = c * c * along_q - both + s * s * along_p
    return (turned_p / along_p) * (turned_q / along_q)


cdef inline double best_angle(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *m,                    # IN (K,)
    bint one_volume,                    # IN
    const double *along_p,              # IN (K,)
    const double *along_q,              # IN (K,)
    const double *cross,                # IN (K,)
) noexcept nogil:
    """The best of some angles, by sum_k m_k log of the squares' products, or sum_k m_k of their d-th roots."""
    cdef Py_ssize_t i, k
    cdef double ratio, value, c, s, least = 0.0, total = 0.0, angle = 0.0
    for k in range(K):
        total += m[k]
    least = (total if one_volume else 0.0) - BETTER * total
    for i in range(1, ANGLES):
        c, s = cos(i * M_PI / (2 * ANGLES)), sin(i * M_PI / (2 * ANGLES))
        value = 0.0
        for k in range(K):
            ratio = product_ratio(c, s, along_p[k], along_q[k], cross[k])
            value += m[k] * (pow(ratio, 1.0 / d) if one_volume else log(ratio))
        # none is where rounding leaves nothing of a square
        if value < least and value > -1e300:
            least, angle = value, i * M_PI / (2 * ANGLES)
    return angle


cdef inline void turn_all(
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t p,                       # IN
    Py_ssize_t q,                       # IN
    double c,                           # IN
    double s,                           # IN
    bint one_volume,                    # IN
    const double *along_p,              # IN (K,)
    const double *along_q,              # IN (K,)
    const double *cross,                # IN (K,)
    double *m,                          # INOUT (K,)
    double *y,                          # INOUT (K, d, d)
    double *axes,                       # INOUT (d, d)
) noexcept nogil:
    """Rows p and q of the axes and of every y_k are turned; m_k follows the squares for one volume."""
    cdef Py_ssize_t k
    turn(d, c, s, axes + p * d, axes + q * d)
    for k in range(K):
        turn(d, c, s, y + (k * d + p) * d, y + (k * d + q) * d)
        if one_volume:
            m[k] *= pow(product_ratio(c, s, along_p[k], along_q[k], cross[k]), 1.0 / d)


cdef inline double dot(
    Py_ssize_t d,                       # IN
    const double *x,                    # IN (d,)
    const double *y,                    # IN (d,)
) noexcept nogil:
    """sum_j x_j y_j"""
    cdef Py_ssize_t j
    cdef double total = 0.0
    for j in range(d):
        total += x[j] * y[j]
    return total


cdef inline void turn(
    Py_ssize_t d,                       # IN
    double c,                           # IN
    double s,                           # IN
    double *x,                          # INOUT (d,)
    double *y,                          # INOUT (d,)
) noexcept nogil:
    """(x, y) <- (c x + s y, c y - s x)"""
    cdef Py_ssize_t j
    cdef double before
    for j in range(d):
        before = x[j]
        x[j] = c * before + s * y[j]
        y[j] = c * y[j] - s * before
