# Unconstrained coordinates of a mixture about a reference, and the gradient of the penalised log-likelihood in them.
# With U the factor of a precision, U U^T = Sigma^-1, and a zero for the reference:
#
#     w_k ~ w_k^0 exp(a_k)      mu_k = mu_k^0 + U_k0^-T z_k      U_k = U_k0 F_k, F upper triangular, F_jj = exp(e_jj)
#
# Triangles are packed by rows: (0, 0), (0, 1), ..., (1, 1), (1, 2), ...  The gradients need the statistics n, f, S
# about the means at the very point (Fisher's identity).  Matrices are in C order.

from libc.math cimport exp, log
from libc.string cimport memset


cdef inline double weights_at(
    Py_ssize_t K,                       # IN
    const double *a,                    # IN (K,)
    const double *reference,            # IN (K,)
    double *weights,                    # OUT (K,)
) noexcept nogil:
    """w_k = w_k^0 exp(a_k) / sum_l w_l^0 exp(a_l).  Returns the smallest of those that were not 0; these stay 0."""
    cdef Py_ssize_t k
    cdef double total = 0.0, largest, smallest
    for k in range(K):
        weights[k] = log(reference[k]) + a[k]
    largest = weights[0]
    for k in range(1, K):
        largest = max(largest, weights[k])
    for k in range(K):
        weights[k] = exp(weights[k] - largest)
        total += weights[k]
    smallest = 1.0
    for k in range(K):
        weights[k] /= total
        if reference[k] > 0.0:
            smallest = min(smallest, weights[k])
    return smallest


cdef inline void mean_at(
    Py_ssize_t d,                       # IN
    const double *z,                    # IN (d,)
    const double *reference,            # IN (d,)
    const double *upper0,               # IN (d, d): U_0
    double *mean,                       # OUT (d,)
) noexcept nogil:
    """mu = mu^0 + U_0^-T z"""
    cdef Py_ssize_t i, j
    for j in range(d):
        mean[j] = z[j]
    for i in range(d):
        mean[i] /= upper0[i * d + i]
        for j in range(i + 1, d):
            mean[j] -= upper0[i * d + j] * mean[i]
    for j in range(d):
        mean[j] += reference[j]


cdef inline double factor_at(
    Py_ssize_t d,                       # IN
    double *e,                          # INOUT (d (d + 1) / 2,): logarithms on the diagonal, then F
    const double *upper0,               # IN (d, d): U_0
    double *upper,                      # OUT (d, d): U
) noexcept nogil:
    """U = U_0 F.  Returns log det U."""
    cdef Py_ssize_t i, j, l, diagonal = 0
    cdef double log_det = 0.0, u
    cdef const double *row
    for l in range(d):
        e[diagonal] = exp(e[diagonal])
        diagonal += d - l
    memset(upper, 0, d * d * sizeof(double))
    for i in range(d):
        row = e + i * d - i * (i - 1) // 2 - i      # row[j] is F_lj
        for l in range(i, d):
            u = upper0[i * d + l]
            for j in range(l, d):
                upper[i * d + j] += u * row[j]
            row += d - l - 1
        log_det += log(upper[i * d + i])
    return log_det


cdef inline void mean_from(
    Py_ssize_t d,                       # IN
    const double *mean,                 # IN (d,)
    const double *reference,            # IN (d,)
    const double *upper0,               # IN (d, d): U_0
    double *z,                          # OUT (d,)
) noexcept nogil:
    """z = U_0^T (mu - mu^0)"""
    cdef Py_ssize_t i, j
    cdef double shift
    memset(z, 0, d * sizeof(double))
    for i in range(d):
        shift = mean[i] - reference[i]
        for j in range(i, d):
            z[j] += upper0[i * d + j] * shift


cdef inline void factor_from(
    Py_ssize_t d,                       # IN
    const double *upper,                # IN (d, d): U
    const double *upper0,               # IN (d, d): U_0
    double *e,                          # OUT (d (d + 1) / 2,)
) noexcept nogil:
    """F = U_0^-1 U, packed, with logarithms on the diagonal"""
    cdef Py_ssize_t i, j, l
    cdef double total
    cdef double *row = e + d * (d + 1) // 2
    cdef const double *below
    for i in range(d - 1, -1, -1):
        row -= d - i
        for j in range(i, d):
            total = upper[i * d + j]
            below = row + d - i
            for l in range(i + 1, j + 1):
                total -= upper0[i * d + l] * (exp(below[0]) if l == j else below[j - l])
                below += d - l
            row[j - i] = total / upper0[i * d + i]
        row[0] = log(row[0])


cdef inline void mean_gradient(
    Py_ssize_t d,                       # IN
    const double *first,                # IN (d,): f
    const double *upper,                # IN (d, d): U
    const double *upper0,               # IN (d, d): U_0
    double *gradient,                   # OUT (d,)
    double *scratch,                    # SCRATCH (d,)
) noexcept nogil:
    """U_0^-1 U U^T f"""
    cdef Py_ssize_t i, j
    cdef double total
    memset(scratch, 0, d * sizeof(double))
    for i in range(d):
        for j in range(i, d):
            scratch[j] += upper[i * d + j] * first[i]
    for i in range(d - 1, -1, -1):
        total = 0.0
        for j in range(i, d):
            total += upper[i * d + j] * scratch[j]
        for j in range(i + 1, d):
            total -= upper0[i * d + j] * gradient[j]
        gradient[i] = total / upper0[i * d + i]


cdef inline void factor_gradient(
    Py_ssize_t d,                       # IN
    double mass,                        # IN: n
    const double *second,               # IN (d, d), upper triangle: S
    const double *ridge,                # IN (d,)
    const double *upper,                # IN (d, d): U
    const double *upper0,               # IN (d, d): U_0
    double *gradient,                   # OUT (d (d + 1) / 2,)
    double *scratch,                    # SCRATCH (d, d)
) noexcept nogil:
    """The upper triangle of U_0^T (n U^-T - (S + ridge) U), its diagonal times F_jj"""
    cdef Py_ssize_t i, j, l
    cdef double s
    cdef double *row
    memset(scratch, 0, d * d * sizeof(double))
    for l in range(d):
        for i in range(d):
            s = second[l * d + i] if l < i else second[i * d + l] if i < l else second[i * d + i] + ridge[i]
            for j in range(max(i, l), d):
                scratch[l * d + j] -= s * upper[i * d + j]
        scratch[l * d + l] += mass / upper[l * d + l]       # U^-T is lower triangular
    row = gradient
    for i in range(d):
        for j in range(d - i):
            row[j] = 0.0
        for l in range(i + 1):
            for j in range(d - i):
                row[j] += upper0[l * d + i] * scratch[l * d + i + j]
        row[0] *= upper[i * d + i] / upper0[i * d + i]
        row += d - i
