# A view of samples for compiled loops, and the little that those loops share.

from libc.stdint cimport uintptr_t

cdef enum:
    ALIGNMENT = 64                      # bytes: a cache line, and the widest vector


cdef class Samples:
    cdef const char *data
    cdef Py_ssize_t row, column         # strides in bytes
    cdef bint single                    # float32
    cdef readonly Py_ssize_t n, d
    cdef readonly object array
    cdef bint in_rows(self) noexcept nogil
    cdef const double *rows_from(self, Py_ssize_t first) noexcept nogil
    cdef void load(self, Py_ssize_t first, Py_ssize_t n, Py_ssize_t ld, double *x) noexcept nogil
    cdef void load_single(self, Py_ssize_t first, Py_ssize_t n, Py_ssize_t ld, const float *origin,
                          float *x) noexcept nogil
    cdef void gather(self, const Py_ssize_t *index, Py_ssize_t n, Py_ssize_t ld, double *x) noexcept nogil


cdef inline double *aligned(double[::1] buffer) noexcept nogil:
    """The first address in the buffer that is a multiple of ALIGNMENT."""
    cdef uintptr_t address = <uintptr_t>&buffer[0]
    return <double *>((address + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT)


cdef inline Py_ssize_t round_up(Py_ssize_t n, Py_ssize_t multiple) noexcept nogil:
    return (n + multiple - 1) // multiple * multiple
