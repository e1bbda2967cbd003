# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Steps along the flow dx/dt = m(x) of a gradient, point by point, without the GIL: see gaussum.mean_shift.

Places x are in units of the data, everything else in bandwidths.
"""
from libc.math cimport INFINITY, expm1, fabs, sqrt

cdef enum:
    SWEEPS = 30
    DOUBLINGS = 12

cpdef enum Verdict:
    GOES_ON
    ARRIVED
    DERIVATIVE_IS_OLD


def scratch_size(Py_ssize_t d):
    """Doubles that `propose` and `judge` need."""
    return 2 * d * d + 2 * d


def propose(const double[:, :, ::1] H, const double[:, ::1] m, const double[::1] radius, const double[::1] tol,
            double[:, ::1] p, unsigned char[::1] newton, Py_ssize_t first, Py_ssize_t last, double[::1] scratch):
    """p = t phi(t H) m of points first to last - 1, phi(z) = (exp(z) - 1) / z, with t as large as |p| <= radius allows.

    Infinite t is Newton's step, p = -H^-1 m, and `newton` tells it. What is far below `tol` along an axis of H counts
    as 0: where the field is flat it is rounding, and would lead anywhere.
    """
    cdef Py_ssize_t i, j, k, d = m.shape[1]
    cdef double *a = &scratch[0]
    cdef double *v = a + d * d
    cdef double *c = v + d * d
    cdef double *step = c + d
    cdef double size, t, shrink
    if scratch.shape[0] < 2 * d * d + 2 * d:
        raise ValueError("scratch has the wrong size")
    with nogil:
        for i in range(first, last):
            for k in range(d * d):
                a[k] = H[i, k // d, k % d]
            _diagonal(a, v, d)
            size, newton[i] = 0.0, True
            for j in range(d):
                c[j] = 0.0
                for k in range(d):
                    c[j] += v[k * d + j] * m[i, k]
                if fabs(c[j]) <= 0.5 * tol[i] / sqrt(<double>d):
                    c[j] = 0.0
                size += c[j] * c[j]
                newton[i] = newton[i] and a[j * d + j] < 0.0
            size = sqrt(size)
            newton[i] = newton[i] and _flow(a, c, d, INFINITY, step) <= radius[i]
            if not newton[i]:
                t = 0.5 * radius[i] / max(size, 1e-300)
                k = 0
                while k < DOUBLINGS and _flow(a, c, d, 2.0 * t, step) <= radius[i]:
                    t *= 2.0
                    k += 1
                size = _flow(a, c, d, t, step)
                shrink = radius[i] / size if size > radius[i] else 1.0
                for j in range(d):
                    step[j] *= shrink
            for k in range(d):
                p[i, k] = 0.0
                for j in range(d):
                    p[i, k] += v[k * d + j] * step[j]


cdef double _flow(const double *a, const double *c, Py_ssize_t d, double t, double *step) noexcept nogil:
    """step_j = (exp(t a_jj) - 1) / a_jj c_j; returns its length"""
    cdef Py_ssize_t j
    cdef double z, squares = 0.0
    for j in range(d):
        z = t * a[j * d + j]
        if t == INFINITY:
            step[j] = -c[j] / a[j * d + j]
        elif fabs(z) < 1e-9:
            step[j] = t * c[j]
        else:
            step[j] = expm1(min(z, 50.0)) / a[j * d + j] * c[j]
        squares += step[j] * step[j]
    return sqrt(squares)


cdef void _diagonal(double *a, double *v, Py_ssize_t d) noexcept nogil:
    """a <- v' a v, diagonal, with the columns of v the axes of the symmetric a (Jacobi 1846)"""
    cdef Py_ssize_t i, j, k, sweep
    cdef double off, diagonal, t, c, s, x
    for k in range(d * d):
        v[k] = k // d == k % d
    for sweep in range(SWEEPS):
        off, diagonal = 0.0, 0.0
        for i in range(d):
            diagonal += a[i * d + i] * a[i * d + i]
            for j in range(i):
                off += a[i * d + j] * a[i * d + j]
        if off <= 1e-30 * diagonal:
            return
        for i in range(d - 1):
            for j in range(i + 1, d):
                if a[i * d + j] == 0.0:
                    continue
                x = 0.5 * (a[j * d + j] - a[i * d + i]) / a[i * d + j]
                t = (1.0 if x >= 0.0 else -1.0) / (fabs(x) + sqrt(x * x + 1.0))
                c = 1.0 / sqrt(t * t + 1.0)
                s = t * c
                for k in range(d):
                    x = a[k * d + i]
                    a[k * d + i] = c * x - s * a[k * d + j]
                    a[k * d + j] = s * x + c * a[k * d + j]
                    x = v[k * d + i]
                    v[k * d + i] = c * x - s * v[k * d + j]
                    v[k * d + j] = s * x + c * v[k * d + j]
                for k in range(d):
                    x = a[i * d + k]
                    a[i * d + k] = c * x - s * a[j * d + k]
                    a[j * d + k] = s * x + c * a[j * d + k]


def judge(const double[:, ::1] p, const unsigned char[::1] newton, const double[:, ::1] x_new, const double[::1] f_new,
          const double[:, ::1] m_new, const double[::1] tol, double near, double good, double bad, double longest,
          double sure, double[:, ::1] x, double[::1] f, double[:, ::1] m, double[:, :, ::1] H, double[::1] radius,
          unsigned char[::1] verdict, Py_ssize_t first, Py_ssize_t last, double[::1] scratch):
    """Take the steps whose end is as foreseen: |m_new - m - H p| <= bad (|m| + tol), or |p| <= sure, or Newton's that
    leave no more than half of m.

    H gets the least change with which it foresees the step (Powell's symmetric Broyden update),

        H <- H + (e p' + p e') / p'p - (e'p) p p' / (p'p)^2,   e = m_new - m - H p.

    A point has arrived where |m| <= tol, or by a Newton step after which no more than `near` is missing.
    """
    cdef Py_ssize_t i, j, k, d = p.shape[1]
    cdef double *e = &scratch[0]
    cdef double squares, length, along, size, size_new, error
    if scratch.shape[0] < 2 * d * d + 2 * d:
        raise ValueError("scratch has the wrong size")
    with nogil:
        for i in range(first, last):
            squares, along, size, size_new, error = 0.0, 0.0, 0.0, 0.0, 0.0
            for j in range(d):
                e[j] = m_new[i, j] - m[i, j]
                for k in range(d):
                    e[j] -= H[i, j, k] * p[i, k]
                squares += p[i, j] * p[i, j]
                along += e[j] * p[i, j]
                size += m[i, j] * m[i, j]
                size_new += m_new[i, j] * m_new[i, j]
                error += e[j] * e[j]
            length = sqrt(squares)
            error = sqrt(error) / (sqrt(size) + tol[i])
            if error <= good:
                radius[i] = max(radius[i], min(2.0 * length, longest))
            verdict[i] = GOES_ON
            if not (error <= (max(bad, 0.5) if newton[i] else bad) or length <= 1.01 * sure):
                radius[i] = max(length / 3.0, sure)
                continue
            for j in range(d):
                for k in range(d if squares > 0.0 else 0):
                    H[i, j, k] += (e[j] * p[i, k] + p[i, j] * e[k] - along / squares * p[i, j] * p[i, k]) / squares
                x[i, j], m[i, j] = x_new[i, j], m_new[i, j]
            f[i] = f_new[i]
            if sqrt(size_new) <= tol[i] or newton[i] and error <= bad and length * error < near:
                verdict[i] = ARRIVED
            elif error > good:
                verdict[i] = DERIVATIVE_IS_OLD
