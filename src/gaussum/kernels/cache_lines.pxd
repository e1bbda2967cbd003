# Scratch in whole cache lines, which vectors of any width then read without crossing one.

from libc.stdint cimport uintptr_t

cdef enum:
    A_LINE = 8                          # doubles of a cache line


cdef inline Py_ssize_t round_up_lines(Py_ssize_t n) noexcept nogil:
    """The least multiple of A_LINE that is not below n."""
    return (n + 7) // 8 * 8


cdef inline double *at_line(double *scratch) noexcept nogil:
    """The first double that begins a line, at most A_LINE - 1 further on."""
    return <double *>((<uintptr_t>scratch + 63) // 64 * 64)
