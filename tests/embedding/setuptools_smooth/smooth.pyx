# cython: language_level=3, boundscheck=False, wraparound=False
"""Kernel regression (Nadaraya 1964; Watson 1964) from gaussum's sums of Gaussians."""
import numpy as np

from gaussum.kernels cimport elementary, sums


def smooth(const double[:, ::1] sources, const double[::1] values, const double[:, ::1] targets,
           const double[::1] bandwidth):
    """sum_s y_s g(t - s) / sum_s g(t - s) at every target, right also where both sums underflow.

    The largest and smallest values bound a mean, so it is taken as low + sum_s (y_s - low) g / sum_s g of logarithms.
    """
    cdef Py_ssize_t d = sources.shape[1], n = sources.shape[0], m = targets.shape[0], i
    if targets.shape[1] != d or bandwidth.shape[0] != d or values.shape[0] != n or n == 0:
        raise ValueError("sources, values, targets and bandwidth do not fit together")
    cdef double low = np.min(values)
    cdef double[::1] log_values = np.empty(n), out = np.empty(m), mass = np.empty(m)
    cdef double[::1] scratch = np.empty(sums.sum_scratch(d))
    if m == 0:
        return np.asarray(out)
    with nogil:
        for i in range(n):
            log_values[i] = values[i] - low
        elementary.log_array(n, &log_values[0], &log_values[0])
        sums.gaussian_log_sum(d, n, &sources[0, 0], d, 1, &log_values[0], m, &targets[0, 0], d, 1, &bandwidth[0],
                              &out[0], &scratch[0])
        sums.gaussian_log_sum(d, n, &sources[0, 0], d, 1, NULL, m, &targets[0, 0], d, 1, &bandwidth[0], &mass[0],
                              &scratch[0])
        for i in range(m):
            out[i] = out[i] - mass[i]
        elementary.exp_array(m, &out[0], &out[0])
        for i in range(m):
            out[i] += low
    return np.asarray(out)
