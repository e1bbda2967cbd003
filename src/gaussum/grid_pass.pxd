# Sources to the nodes of a grid, nodes to targets: see grid_pass.pyx. Passes of other kinds derive from GridPass.

cimport cython

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
    @cython.final
    @cython.cdivision(True)
    @cython.boundscheck(False)
    @cython.wraparound(False)
    @cython.initializedcheck(False)
    cdef inline bint _place(self, const double *x, Py_ssize_t j, double *place) noexcept nogil:
        """The place of a point on an axis, if the nodes that it reaches belong to one stretch."""
        cdef Py_ssize_t low = self.begin[j], high = self.begin[j + 1], middle
        cdef double margin = self.margin, v
        while high - low > 1:
            middle = (low + high) // 2
            if self.stretches[0, middle] <= x[0]:
                low = middle
            else:
                high = middle
        v = (x[0] - self.stretches[0, low]) * self.scale[j]
        if v > (self.stretches[1, low] - self.stretches[0, low]) * self.scale[j] + margin:
            low += 1
            if low == self.begin[j + 1]:
                return False
            v = (x[0] - self.stretches[0, low]) * self.scale[j]
        place[0] = v + self.stretches[2, low]
        return v >= -margin

    @cython.final
    @cython.boundscheck(False)
    @cython.wraparound(False)
    @cython.initializedcheck(False)
    cdef inline void _load(self, Samples points, const Py_ssize_t[::1] order, Py_ssize_t first, Py_ssize_t n,
                           double *x) noexcept nogil:
        if order is None:
            points.load(first, n, BLOCK, x)
        else:
            points.gather(&order[first], n, BLOCK, x)
    cdef Py_ssize_t _tile(self, const double *x, Py_ssize_t nodes) noexcept nogil
    cdef void _spread_block(self, const double *places, Py_ssize_t n, const Py_ssize_t *which, const double *weights,
                            double *spare, double *planes) noexcept nogil
