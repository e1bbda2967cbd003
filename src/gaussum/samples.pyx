# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Samples as the kernels read them: a block at a time, feature by feature."""
from libc.stdint cimport uintptr_t

import numpy as np

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define prefetch(p) __builtin_prefetch(p)
    #elif defined(_M_X64)
    #include <intrin.h>
    #define prefetch(p) _mm_prefetch(p, _MM_HINT_T0)
    #else
    #define prefetch(p) ((void)(p))
    #endif
    """
    void prefetch(const char *) noexcept nogil

cdef enum:
    LONG_ROW = 128              # bytes, from which on reading along rows pays (measured)
    FEW_ROWS = 8
    A_LINE = 8                  # features of a cache line

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

ctypedef fused real_t:
    float
    double


cdef class Samples:
    """A view of real samples: n rows of d features, float32 or float64, with any strides, read only.

    Parameters
    ----------
    X : ndarray, shape (n_samples, n_features)
    """

    def __init__(self, X):
        dtype = X.dtype
        self.single = dtype == FLOAT32
        if not (self.single or dtype == FLOAT64) or X.ndim != 2:
            raise TypeError(f"X is {dtype} with {X.ndim} dimensions; expected float32 or float64 with 2")
        self.array = X
        self.data = <const char *><uintptr_t>X.__array_interface__["data"][0]
        self.row, self.column = X.strides
        self.n, self.d = X.shape

    cdef bint in_rows(self) noexcept nogil:
        """Whether kernels may read the samples as they lie: float64, features side by side, strides in doubles"""
        cdef Py_ssize_t size = sizeof(double)
        return (not self.single and self.column == size and self.row % size == 0
                and <uintptr_t>self.data % sizeof(double) == 0)

    cdef const double *rows_from(self, Py_ssize_t first) noexcept nogil:
        return <const double *>(self.data + first * self.row)

    cdef void load(self, Py_ssize_t first, Py_ssize_t n, Py_ssize_t ld, double *x) noexcept nogil:
        """x[j * ld + i] = X[first + i, j]"""
        _load(self, first, n, ld, NULL, x)

    cdef void load_single(self, Py_ssize_t first, Py_ssize_t n, Py_ssize_t ld, const float *origin,
                          float *x) noexcept nogil:
        """x[j * ld + i] = X[first + i, j] - origin[j], of float32 samples"""
        _load(self, first, n, ld, origin, x)

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


cdef void _load(Samples X, Py_ssize_t first, Py_ssize_t n, Py_ssize_t ld, const float *origin,
                real_t *x) noexcept nogil:
    cdef Py_ssize_t i = 0, j, last, row = X.row
    cdef const char *p
    while i < n:
        # long rows: a few at a time, along them, and the next few are sent for
        last = min(i + FEW_ROWS, n) if row > LONG_ROW else n
        for j in range(X.d):
            p = X.data + first * row + j * X.column
            if row > LONG_ROW and j % A_LINE == 0:
                _prefetch_rows(p + last * row, row)
            _load_feature(p, row, X.single, i, last, origin[j] if origin is not NULL else 0.0, x + j * ld)
        i = last


cdef inline void _prefetch_rows(const char *p, Py_ssize_t row) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(FEW_ROWS):
        prefetch(p + i * row)


cdef inline void _load_feature(const char *p, Py_ssize_t row, bint single, Py_ssize_t first, Py_ssize_t last,
                               float origin, real_t *out) noexcept nogil:
    cdef Py_ssize_t i
    if real_t is float:
        for i in range(first, last):
            out[i] = (<const float *>(p + i * row))[0] - origin
    elif single:
        for i in range(first, last):
            out[i] = (<const float *>(p + i * row))[0]
    elif row == sizeof(double):
        for i in range(first, last):
            out[i] = (<const double *>p)[i]
    else:
        for i in range(first, last):
            out[i] = (<const double *>(p + i * row))[0]
