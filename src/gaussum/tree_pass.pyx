# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A tree of boxes over the sources, and sums over those leaves of it that count at a target: without the GIL.

The tree is perfect: node i of level l holds the sources from bound(l, i) to bound(l, i + 1) - 1 of the tree's order,
and has the children 2 i and 2 i + 1 in the next level.  Nodes are numbered 2^l + i, the root 1.
"""
from cpython.exc cimport PyErr_CheckSignals

from gaussum.kernels cimport gauss_sum as gs
from gaussum.kernels.lanes cimport LOWEST, simd_log
from gaussum.samples cimport Samples

cdef enum:
    UNIT = 32               # sources; a leaf has a few whole units
    LEAF_UNITS = 4
    LEAF = UNIT * LEAF_UNITS
    DEPTH = 64
    LOOKED_AT = 512         # sources that tell along which feature a node is divided
    INTERRUPTIBLE = 16      # targets after which Ctrl-C is looked for

cdef double INFINITY = float("inf")
cdef double ROUNDING = 1e-14


cdef class TreePass:
    """A tree over sources.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources)
        In any order at first, in the tree's when it is built.
    log_weights : ndarray of float64, shape (n_sources,)
    order : ndarray of intp, shape (n_sources,)
        0, 1, ... at first; the places that the sources had, when the tree is built.
    inv_bandwidth : ndarray of float64, shape (n_features,)
    boxes : ndarray of float64, shape (2 n_leaves, 2, n_features)
    """

    cdef const double[:, ::1] sources
    cdef const double[::1] log_weights
    cdef const double[::1] inv_bandwidth
    cdef Py_ssize_t[::1] order
    cdef double[:, :, ::1] boxes
    cdef readonly Py_ssize_t d, n, n_leaves, depth, scratch_size

    def __init__(self, const double[:, ::1] sources, const double[::1] log_weights, Py_ssize_t[::1] order,
                 const double[::1] inv_bandwidth, double[:, :, ::1] boxes):
        self.d, self.n = sources.shape[0], sources.shape[1]
        self.sources, self.log_weights, self.order = sources, log_weights, order
        self.inv_bandwidth, self.boxes = inv_bandwidth, boxes
        self.n_leaves, self.depth = 1, 0
        while self.n_leaves * LEAF < self.n:
            self.n_leaves *= 2
            self.depth += 1
        if (
            log_weights.shape[0] != self.n or order.shape[0] != self.n or inv_bandwidth.shape[0] != self.d
            or boxes.shape[0] != 2 * self.n_leaves or boxes.shape[1] != 2 or boxes.shape[2] != self.d
        ):
            raise ValueError("sources, weights, bandwidths and boxes do not fit together")
        self.scratch_size = LEAF + self.d

    cdef inline Py_ssize_t bound(self, Py_ssize_t level, Py_ssize_t i) noexcept nogil:
        cdef Py_ssize_t units = (self.n + UNIT - 1) // UNIT
        return min(self.n, ((i * units) >> level) * UNIT)

    def divide(self, Py_ssize_t level, Py_ssize_t first, Py_ssize_t last, double[::1] keys):
        """Divide nodes first to last - 1 of a level between their children; `keys`, shape (n_sources,), is scratch."""
        cdef Py_ssize_t i
        with nogil:
            for i in range(first, last):
                with gil:
                    PyErr_CheckSignals()
                self._divide(self.bound(level, i), self.bound(level + 1, 2 * i + 1), self.bound(level, i + 1), &keys[0])

    cdef void _divide(self, Py_ssize_t first, Py_ssize_t middle, Py_ssize_t last, double *keys) noexcept nogil:
        """Bring sources into an order in which those before `middle` are no larger in the widest feature."""
        cdef Py_ssize_t i, j, widest = 0, step = max((last - first) // LOOKED_AT, 1), low, high, left, right, place
        cdef double extent, most = -1.0, smallest, largest, x, pivot
        for j in range(self.d):
            smallest, largest = INFINITY, -INFINITY
            i = first
            while i < last:
                x = self.sources[j, self.order[i]]
                smallest = min(smallest, x)
                largest = max(largest, x)
                i += step
            extent = (largest - smallest) * self.inv_bandwidth[j]
            if extent > most:
                most = extent
                widest = j
        for i in range(first, last):
            keys[i] = self.sources[widest, self.order[i]]
        low, high = first, last - 1
        while low < high:               # Hoare 1961; the pivot is the median of three
            pivot = keys[(low + high) // 2]
            smallest, largest = min(keys[low], keys[high]), max(keys[low], keys[high])
            pivot = min(max(pivot, smallest), largest)
            left, right = low, high
            while left <= right:
                while keys[left] < pivot:
                    left += 1
                while keys[right] > pivot:
                    right -= 1
                if left <= right:
                    keys[left], keys[right] = keys[right], keys[left]
                    place = self.order[left]
                    self.order[left] = self.order[right]
                    self.order[right] = place
                    left += 1
                    right -= 1
            if middle <= right:
                high = right
            elif middle >= left:
                low = left
            else:
                return

    def enclose(self, Py_ssize_t first, Py_ssize_t last):
        """The boxes of leaves first to last - 1, of sources in the tree's order."""
        cdef Py_ssize_t i, j, leaf
        cdef double low, high
        with nogil:
            for leaf in range(first, last):
                for j in range(self.d):
                    low, high = INFINITY, -INFINITY
                    for i in range(self.bound(self.depth, leaf), self.bound(self.depth, leaf + 1)):
                        low = min(low, self.sources[j, i])
                        high = max(high, self.sources[j, i])
                    self.boxes[self.n_leaves + leaf, 0, j] = low
                    self.boxes[self.n_leaves + leaf, 1, j] = high

    def enclose_all(self):
        """The boxes of all other nodes."""
        cdef Py_ssize_t i, j
        for i in range(self.n_leaves - 1, 0, -1):
            for j in range(self.d):
                self.boxes[i, 0, j] = min(self.boxes[2 * i, 0, j], self.boxes[2 * i + 1, 0, j])
                self.boxes[i, 1, j] = max(self.boxes[2 * i, 1, j], self.boxes[2 * i + 1, 1, j])

    cdef inline double _distance(self, Py_ssize_t node, const double *t) noexcept nogil:
        """The squared distance of a target from a box, in bandwidths; rounded down."""
        cdef const double *low = &self.boxes[node, 0, 0]
        cdef const double *high = low + self.d
        cdef double r2 = 0.0, z
        cdef Py_ssize_t j
        for j in range(self.d):
            z = max(max(low[j] - t[j], t[j] - high[j]), 0.0) * self.inv_bandwidth[j]
            r2 += z * z
        return r2 * (1.0 - ROUNDING)

    def leaves(self, Samples targets, Py_ssize_t first, Py_ssize_t last, int[::1] out, double[::1] scratch):
        """A leaf near every target from first to last - 1: targets of one leaf find the same sources in the cache."""
        cdef Py_ssize_t i, node
        if scratch.shape[0] < self.scratch_size or not 0 <= first <= last <= targets.n or out.shape[0] != targets.n:
            raise ValueError("scratch, out or the range of targets have the wrong size")
        with nogil:
            for i in range(first, last):
                targets.load(i, 1, 1, &scratch[0])
                node = 1
                while node < self.n_leaves:
                    node *= 2
                    if self._distance(node + 1, &scratch[0]) < self._distance(node, &scratch[0]):
                        node += 1
                out[i] = <int>(node - self.n_leaves)

    def log_density(self, Samples targets, const Py_ssize_t[::1] order, Py_ssize_t first, Py_ssize_t last,
                    const Py_ssize_t[::1] own, double log_rtol, double[::1] out, double[::1] scratch):
        """Log sums at targets first to last - 1 of the order given; returns how many pairs that took.

        A node whose box is so far that exp(-r^2 / 2) is below rtol times the sum so far is left out: as the weights
        add up to 1, all that is left out comes to at most rtol times the sum.

        `own` are the places in the tree of sources that the targets leave out, or None.
        """
        cdef Py_ssize_t i, t, pairs = 0
        cdef double *x
        if scratch.shape[0] < self.scratch_size or not 0 <= first <= last <= targets.n or out.shape[0] != targets.n:
            raise ValueError("scratch, out or the range of targets have the wrong size")
        x = &scratch[LEAF]
        with nogil:
            for i in range(first, last):
                if (i - first) % INTERRUPTIBLE == 0:
                    with gil:
                        PyErr_CheckSignals()
                t = order[i]
                targets.load(t, 1, 1, x)
                pairs += self._sum(x, own[t] if own is not None else -1, log_rtol, &out[t], &scratch[0])
        return pairs

    cdef Py_ssize_t _sum(self, const double *t, Py_ssize_t own, double log_rtol, double *log_sum,
                         double *scratch) noexcept nogil:
        """Depth first, nearer children first; a target's path depends on nothing but the tree and itself."""
        cdef Py_ssize_t nodes[DEPTH]
        cdef double distances[DEPTH]
        cdef Py_ssize_t node, left, right, start, stop, waiting = 1, pairs = 0
        cdef double largest = LOWEST, sum = 0.0, limit = INFINITY, r2, to_left, to_right
        nodes[0] = 1
        distances[0] = 0.0
        while waiting > 0:
            waiting -= 1
            node, r2 = nodes[waiting], distances[waiting]
            while node < self.n_leaves and r2 <= limit:
                left, right = 2 * node, 2 * node + 1
                to_left, to_right = self._distance(left, t), self._distance(right, t)
                if to_right < to_left:
                    left, right = right, left
                    to_left, to_right = to_right, to_left
                if to_right <= limit:
                    nodes[waiting], distances[waiting] = right, to_right
                    waiting += 1
                node, r2 = left, to_left
            if r2 > limit:
                continue
            start = self.bound(self.depth, node - self.n_leaves)
            stop = self.bound(self.depth, node - self.n_leaves + 1)
            if start == stop:
                continue
            gs.gauss_log_sum_at(&self.sources[0, start], self.n, stop - start, &self.log_weights[start], own - start,
                                t, self.d, &self.inv_bandwidth[0], &largest, &sum, scratch)
            pairs += stop - start
            if sum > 0.0:
                limit = -2.0 * (largest + simd_log(sum) + log_rtol)
        log_sum[0] = largest + simd_log(sum)
        return pairs
