# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Densities and distribution functions at one point, with the signatures of SciPy's integrators.

`double f(double x, void *user_data)` and `double f(int n, double *x, void *user_data)`: of the n numbers of the second
form the first n_features are the point, the others arguments that are passed over. The user data are

    gaussian_line       f(x) = sum_k w_k N(x; m_k, s_k^2): one-dimensional mixtures and kernel densities
    gaussian_mixture    a mixture's parameters as in gaussum.kernels.mixture, in any dimension
    kernel_density      f(x) = sum_s w_s prod_j N(x_j; s_j, h_j^2), or sum_s w_s N(x; s, H): in coordinates (x - o) W,
                        W W^T = H^-1, it is the former with h_j = 1

and stay the caller's.  Log densities are log-sum-exps: finite and accurate in the tails.
"""
from libc.math cimport NAN, erfc, exp, log

from gaussum.kernels.elementary cimport exp_array
from gaussum.kernels.gauss_sum cimport gauss_log_sum_at
from gaussum.kernels.lanes cimport LOWEST, sum_lanes
from gaussum.kernels.mixture cimport mixture_log_density

cdef enum:
    CHUNK = 256

cdef double SQRT_HALF = 0.7071067811865476


cdef api double line_log_density(double x, void *line) noexcept nogil:
    """log sum_k exp(l_k - z_k^2 / 2),  z_k = (x - m_k) / s_k, l the log heights"""
    cdef const gaussian_line *g = <const gaussian_line *>line
    cdef double a[CHUNK]
    cdef double z, most, largest = LOWEST, total = 0.0
    cdef Py_ssize_t k, m, start = 0
    while start < g.n_components:
        m = min(CHUNK, g.n_components - start)
        most = largest
        for k in range(m):
            z = (x - g.means[start + k]) * g.inv_scales[start + k]
            a[k] = g.log_heights[start + k] - 0.5 * z * z
            most = a[k] if a[k] > most else most
        for k in range(m):
            a[k] -= most
        exp_array(m, a, a)
        total = total * exp(largest - most) + sum_lanes(a, m)
        largest = most
        start += m
    return largest + log(total)


cdef api double line_density(double x, void *line) noexcept nogil:
    """sum_k w_k N(x; m_k, s_k^2)"""
    return exp(line_log_density(x, line))


cdef api double line_cdf(double x, void *line) noexcept nogil:
    """sum_k w_k Phi(z_k)"""
    return _mass(x, <const gaussian_line *>line, -1.0)


cdef api double line_sf(double x, void *line) noexcept nogil:
    """sum_k w_k Phi(-z_k): the mass beyond x, accurate where it is small"""
    return _mass(x, <const gaussian_line *>line, 1.0)


cdef double _mass(double x, const gaussian_line *g, double side) noexcept nogil:
    """sum_k w_k erfc(side z_k / sqrt(2)) / 2"""
    cdef double total = 0.0
    cdef Py_ssize_t k
    for k in range(g.n_components):
        total += g.weights[k] * erfc(side * SQRT_HALF * (x - g.means[k]) * g.inv_scales[k])
    return 0.5 * total


cdef api double line_density_at(int n, double *x, void *line) noexcept nogil:
    return line_density(x[0], line) if n >= 1 else NAN


cdef api double line_log_density_at(int n, double *x, void *line) noexcept nogil:
    return line_log_density(x[0], line) if n >= 1 else NAN


cdef api double line_cdf_at(int n, double *x, void *line) noexcept nogil:
    return line_cdf(x[0], line) if n >= 1 else NAN


cdef api double line_sf_at(int n, double *x, void *line) noexcept nogil:
    return line_sf(x[0], line) if n >= 1 else NAN


cdef api double mixture_log_density_at(int n, double *x, void *mixture) noexcept nogil:
    """log sum_k w_k N(x; mu_k, Sigma_k)"""
    cdef const gaussian_mixture *g = <const gaussian_mixture *>mixture
    cdef double log_density = NAN
    if n >= g.n_features:
        mixture_log_density(g.structure, g.n_features, g.n_components, 1, x, g.n_features, 1, g.parameters,
                            &log_density, g.scratch)
    return log_density


cdef api double mixture_density_at(int n, double *x, void *mixture) noexcept nogil:
    return exp(mixture_log_density_at(n, x, mixture))


cdef api double kernel_log_density_at(int n, double *x, void *density) noexcept nogil:
    """log sum_s exp(l_s - r_s^2 / 2),  r_s^2 = sum_j ((x_j - s_j) / h_j)^2, l the log heights"""
    cdef const kernel_density *g = <const kernel_density *>density
    cdef double spare[CHUNK]
    cdef double largest = LOWEST, total = 0.0
    cdef const double *point = x
    cdef Py_ssize_t i, j, m, start = 0
    if n < g.n_features:
        return NAN
    if g.whitening is not NULL:
        for j in range(g.n_features):
            g.scratch[j] = 0.0
            for i in range(g.n_features):
                g.scratch[j] += (x[i] - g.origin[i]) * g.whitening[i * g.n_features + j]
        point = g.scratch
    while start < g.n_sources:
        m = min(CHUNK, g.n_sources - start)
        gauss_log_sum_at(g.sources + start, g.n_sources, m, g.log_heights + start, -1, point, g.n_features,
                         g.inv_bandwidth, &largest, &total, spare)
        start += m
    return largest + log(total)


cdef api double kernel_density_at(int n, double *x, void *density) noexcept nogil:
    return exp(kernel_log_density_at(n, x, density))
