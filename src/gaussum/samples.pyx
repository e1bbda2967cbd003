# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Samples as the kernels read them: a block at a time, feature by feature."""
from libc.stdint cimport uintptr_t

import numpy as np


cdef class Samples:
    """A view of real samples: n rows of d features, float32 or float64, with any strides, read only.

    Parameters
    ----------
    X : ndarray, shape (n_samples, n_features)
    """

    def __init__(self, X):
        if X.dtype not in (np.float32, np.float64) or X.ndim != 2:
            raise TypeError(f"X is {X.dtype} with {X.ndim} dimensions; expected float32 or float64 with 2")
        self.array = X
        self.data = <const char *><uintptr_t>X.__array_interface__["data"][0]
        self.row, self.column = X.strides
        self.single = X.dtype == np.float32
        self.n, self.d = X.shape

    cdef void load(self, Py_ssize_t first, Py_ssize_t n, Py_ssize_t ld, double *x) noexcept nogil:
        """x[j * ld + i] = X[first + i, j]"""
        cdef Py_ssize_t i, j, row = self.row, column = self.column
        cdef const char *start = self.data + first * row
        cdef const char *p
        for j in range(self.d):
            p = start + j * column
            if self.single:
                for i in range(n):
                    x[j * ld + i] = (<const float *>(p + i * row))[0]
            elif row == sizeof(double):
                for i in range(n):
                    x[j * ld + i] = (<const double *>p)[i]
            else:
                for i in range(n):
                    x[j * ld + i] = (<const double *>(p + i * row))[0]

    cdef void gather(self, const Py_ssize_t *index, Py_ssize_t n, Py_ssize_t ld, double *x) noexcept nogil:
        """x[j * ld + i] = X[index[i], j]"""
        cdef Py_ssize_t i, j, row = self.row, column = self.column
        cdef const char *p
        for j in range(self.d):
            p = self.data + j * column
            if self.single:
                for i in range(n):
                    x[j * ld + i] = (<const float *>(p + index[i] * row))[0]
            else:
                for i in range(n):
                    x[j * ld + i] = (<const double *>(p + index[i] * row))[0]
