# A tree of boxes over points, and sums over its leaves: see tree_pass.pyx. Those of other kinds derive from TreePass.

cimport cython

cdef enum:
    UNIT = 32               # points; a leaf has a few whole units
    LEAF_UNITS = 4
    LEAF = UNIT * LEAF_UNITS
    GROUP = UNIT            # targets that go through the tree together
    FEW = 6                 # of them, that are summed one by one


cdef struct GroupSums:
    # of every target: plain_t + exp(largest_t) scaled_t, and the squared distance from which on nothing counts
    double plain[GROUP]
    double largest[GROUP]
    double scaled[GROUP]
    double limits[GROUP]
    double *moments                 # (d, GROUP), with the largest and scaled; or NULL
    bint ordinary                   # further terms go to the plain sums, which is faster


cdef class Division:
    cdef const double[:, ::1] points
    cdef const double[::1] inv_bandwidth
    cdef Py_ssize_t[::1] order
    cdef readonly Py_ssize_t d, n, n_leaves, depth
    @cython.final
    @cython.cdivision(True)
    cdef inline Py_ssize_t bound(self, Py_ssize_t level, Py_ssize_t i) noexcept nogil:
        cdef Py_ssize_t units = (self.n + UNIT - 1) // UNIT
        return min(self.n, ((i * units) >> level) * UNIT)
    cdef void _divide(self, Py_ssize_t first, Py_ssize_t middle, Py_ssize_t last, double *keys) noexcept nogil


cdef class TreePass(Division):
    cdef const double[::1] weights, log_weights
    cdef double[:, :, ::1] boxes
    cdef double[::1] leaves
    cdef double[:, ::1] nodes
    cdef readonly Py_ssize_t scratch_size
    cdef bint by_width                  # what counts at a target depends on the widths of sources, or on its own
    cdef double _diameter(self, Py_ssize_t node) noexcept nogil
    cdef Py_ssize_t _sum(self, const double *t, Py_ssize_t n, const Py_ssize_t *own, double log_rtol, double same,
                         GroupSums *sums, double *logs, double *scratch) noexcept nogil
    cdef Py_ssize_t _near_by_width(self, Py_ssize_t node, const double *t, Py_ssize_t n, const double *limits,
                                   double *r2, double *total) noexcept nogil
    cdef bint _holds(self, Py_ssize_t node, const Py_ssize_t *own, Py_ssize_t n) noexcept nogil
    cdef bint _is_one(self, Py_ssize_t node, const double *t, Py_ssize_t n, const Py_ssize_t *own, double same,
                      GroupSums *sums, double *r2) noexcept nogil
    cdef void _one(self, Py_ssize_t node, const double *t, Py_ssize_t n, GroupSums *sums,
                   double *scratch) noexcept nogil
    cdef void _middle(self, Py_ssize_t node, double *middle) noexcept nogil
    cdef Py_ssize_t _leaf(self, Py_ssize_t node, const double *t, Py_ssize_t n, const Py_ssize_t *own,
                          GroupSums *sums, double *r2, double *scratch) noexcept nogil
