# Sources to the nodes of a grid, nodes to targets: see grid_pass.pyx. Passes of other kinds derive from GridPass.

from gaussum.samples cimport Samples

cdef enum:
    BLOCK = 64              # points placed together
    AXES = 3


cdef class GridPass:
    cdef const double[::1] scale
    cdef const double[:, ::1] stretches             # of all axes
    cdef Py_ssize_t begin[AXES + 1]                 # of each axis there
    cdef Py_ssize_t strides[AXES]
    cdef Py_ssize_t shape[AXES]
    cdef Py_ssize_t d, width, margin
    cdef double spacing
    cdef readonly Py_ssize_t scratch_size, n_tiles
    cdef bint _place(self, const double *x, Py_ssize_t j, double *place) noexcept nogil
    cdef Py_ssize_t _tile(self, const double *x, Py_ssize_t nodes) noexcept nogil
    cdef void _load(self, Samples points, const Py_ssize_t[::1] order, Py_ssize_t first, Py_ssize_t n,
                    double *x) noexcept nogil
