# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A tree of boxes over the sources, and sums over those leaves of it that count at a target: without the GIL.

The tree is perfect: node i of level l holds the points from bound(l, i) to bound(l, i + 1) - 1 of the tree's order,
and has the children 2 i and 2 i + 1 in the next level.  Nodes are numbered 2^l + i, the root 1.
"""
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport log, sqrt

from gaussum.kernels cimport gauss_sum as gs
from gaussum.kernels.lanes cimport LOWEST, simd_exp, simd_log
from gaussum.samples cimport ALIGNMENT, Samples, aligned

cdef enum:
    OFTEN = 4               # nodes after which limits are taken anew, when the first few are done
    DEPTH = 64
    LOOKED_AT = 512         # points that tell along which feature a node is divided

# sums above exp(ORDINARY) lose nothing to the underflow of their terms
cdef double ORDINARY = -500.0
cdef double INFINITY = float("inf")
cdef double ROUNDING = 1e-14


cdef class Division:
    """Points divided and divided again along the feature in which they are widest.

    Parameters
    ----------
    points : ndarray of float64, shape (n_features, n_points)
    order : ndarray of intp, shape (n_points,)
        0, 1, ... at first; neighbours follow each other when all levels are divided.
    inv_bandwidth : ndarray of float64, shape (n_features,)
    leaf : int
        The most points of a leaf, a multiple of 32.
    """

    def __init__(self, const double[:, ::1] points, Py_ssize_t[::1] order, const double[::1] inv_bandwidth,
                 Py_ssize_t leaf):
        self.d, self.n = points.shape[0], points.shape[1]
        self.points, self.order, self.inv_bandwidth = points, order, inv_bandwidth
        self.n_leaves, self.depth = 1, 0
        while self.n_leaves * leaf < self.n:
            self.n_leaves *= 2
            self.depth += 1
        if order.shape[0] != self.n or inv_bandwidth.shape[0] != self.d or leaf % UNIT != 0 or leaf < UNIT:
            raise ValueError("points, order and bandwidths do not fit together")

    def starts(self):
        """Where the leaves begin in the order, and at last the number of points."""
        return [self.bound(self.depth, i) for i in range(self.n_leaves + 1)]

    def divide(self, Py_ssize_t level, Py_ssize_t first, Py_ssize_t last, double[::1] keys):
        """Divide nodes first to last - 1 of a level between their children; `keys`, shape (n_points,), is scratch."""
        cdef Py_ssize_t i
        with nogil:
            for i in range(first, last):
                if i % UNIT == 0:
                    with gil:
                        PyErr_CheckSignals()
                self._divide(self.bound(level, i), self.bound(level + 1, 2 * i + 1), self.bound(level, i + 1),
                             &keys[0])

    cdef void _divide(self, Py_ssize_t first, Py_ssize_t middle, Py_ssize_t last, double *keys) noexcept nogil:
        """Bring points into an order in which those before `middle` are no larger in the widest feature."""
        cdef Py_ssize_t i, j, widest = 0, step = max((last - first) // LOOKED_AT, 1)
        cdef double extent, most = -1.0, smallest, largest, x
        if middle == first or middle == last:
            return
        for j in range(self.d):
            smallest, largest = INFINITY, -INFINITY
            i = first
            while i < last:
                x = self.points[j, self.order[i]]
                smallest = min(smallest, x)
                largest = max(largest, x)
                i += step
            extent = (largest - smallest) * self.inv_bandwidth[j]
            if extent > most:
                most = extent
                widest = j
        for i in range(first, last):
            keys[i] = self.points[widest, self.order[i]]
        select(keys, &self.order[0], first, middle, last)


cdef void select(double *keys, Py_ssize_t *order, Py_ssize_t first, Py_ssize_t middle, Py_ssize_t last) noexcept nogil:
    """Exchange until no key before `middle` is larger than one after it (Hoare 1961)."""
    cdef Py_ssize_t low = first, high = last - 1, left, right, place
    cdef double pivot
    while low < high:
        pivot = keys[(low + high) // 2]         # the median of three
        pivot = min(max(pivot, min(keys[low], keys[high])), max(keys[low], keys[high]))
        left, right = low, high
        while left <= right:
            while keys[left] < pivot:
                left += 1
            while keys[right] > pivot:
                right -= 1
            if left <= right:
                keys[left], keys[right] = keys[right], keys[left]
                place = order[left]
                order[left] = order[right]
                order[right] = place
                left += 1
                right -= 1
        if middle <= right:
            high = right
        elif middle >= left:
            low = left
        else:
            return


cdef class TreePass(Division):
    """Boxes over sources, and sums.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources)
    weights, log_weights : ndarray of float64, shape (n_sources,)
        In the order of the tree.
    order, inv_bandwidth : ndarray
        As those of a Division into leaves of 128, when that is done.
    boxes : ndarray of float64, shape (2 n_leaves, 2, n_features)
        To be filled by `enclose` and `enclose_all`.
    leaves : ndarray of float64, shape (n_features * n_sources,)
        To be filled by `enclose`: the sources leaf by leaf, each leaf feature by feature.
    nodes : ndarray of float64, shape (2, 2 n_leaves)
        To be filled by `enclose` and `enclose_all`: the weight of every node, and its box's diameter in bandwidths.
    """

    def __init__(self, const double[:, ::1] sources, const double[::1] weights, const double[::1] log_weights,
                 Py_ssize_t[::1] order, const double[::1] inv_bandwidth, double[:, :, ::1] boxes,
                 double[::1] leaves, double[:, ::1] nodes):
        super().__init__(sources, order, inv_bandwidth, LEAF)
        self.weights, self.log_weights, self.boxes, self.leaves = weights, log_weights, boxes, leaves
        self.nodes = nodes
        if (
            weights.shape[0] != self.n or log_weights.shape[0] != self.n or boxes.shape[0] != 2 * self.n_leaves
            or boxes.shape[1] != 2
            or boxes.shape[2] != self.d or leaves.shape[0] != self.d * self.n
            or nodes.shape[0] != 2 or nodes.shape[1] != 2 * self.n_leaves
        ):
            raise ValueError("sources, weights and boxes do not fit together")
        self.scratch_size = ALIGNMENT // sizeof(double) + LEAF + (2 * GROUP + 2 + 128) * self.d

    def enclose(self, Py_ssize_t first, Py_ssize_t last):
        """The boxes, and the sources, of leaves first to last - 1."""
        cdef Py_ssize_t i, j, leaf, start, m
        cdef double low, high, x, weight
        with nogil:
            for leaf in range(first, last):
                start = self.bound(self.depth, leaf)
                m = self.bound(self.depth, leaf + 1) - start
                for j in range(self.d):
                    low, high = INFINITY, -INFINITY
                    for i in range(m):
                        x = self.points[j, self.order[start + i]]
                        self.leaves[start * self.d + j * m + i] = x
                        low = min(low, x)
                        high = max(high, x)
                    self.boxes[self.n_leaves + leaf, 0, j] = low
                    self.boxes[self.n_leaves + leaf, 1, j] = high
                weight = 0.0
                for i in range(start, start + m):
                    weight += self.weights[i]
                self.nodes[0, self.n_leaves + leaf] = weight
                self.nodes[1, self.n_leaves + leaf] = self._diameter(self.n_leaves + leaf)

    def enclose_all(self):
        """The boxes of all other nodes."""
        cdef Py_ssize_t i, j
        for i in range(self.n_leaves - 1, 0, -1):
            for j in range(self.d):
                self.boxes[i, 0, j] = min(self.boxes[2 * i, 0, j], self.boxes[2 * i + 1, 0, j])
                self.boxes[i, 1, j] = max(self.boxes[2 * i, 1, j], self.boxes[2 * i + 1, 1, j])
            self.nodes[0, i] = self.nodes[0, 2 * i] + self.nodes[0, 2 * i + 1]
            self.nodes[1, i] = self._diameter(i)

    cdef double _diameter(self, Py_ssize_t node) noexcept nogil:
        cdef Py_ssize_t j
        cdef double sum = 0.0, z
        for j in range(self.d):
            z = (self.boxes[node, 1, j] - self.boxes[node, 0, j]) * self.inv_bandwidth[j]
            sum += z * z
        return sqrt(sum)

    def log_density(self, Samples targets, const Py_ssize_t[::1] order, Py_ssize_t first, Py_ssize_t last,
                    const Py_ssize_t[::1] own, double log_rtol, double same, double[::1] out, double[::1] scratch,
                    double[:, ::1] gradient=None):
        """Log sums at the targets of groups first to last - 1 of the order given; returns how many pairs that took.

        A node whose box is so far that exp(-r^2 / 2) is below rtol times the sum so far is left out: as the weights
        add up to 1, all that is left out comes to at most rtol times the sum.  A node whose box is so small that
        r^2 / 2 differs by less than `same` within it is taken as one source.

        `own` are the places in the tree of sources that the targets leave out, or None.  `gradient`, shape
        (n_targets, n_features), is set to the gradient of the log sums, if it is not None (then `own` is): a node is
        left out where r exp(-r^2 / 2) is below the bound, too.
        """
        cdef Py_ssize_t group, i, j, n, pairs = 0
        cdef Py_ssize_t places[GROUP]
        cdef double logs[GROUP]
        cdef GroupSums sums
        cdef double *x = aligned(scratch)
        cdef double *moments = x + GROUP * targets.d
        if scratch.shape[0] < self.scratch_size or out.shape[0] != targets.n or order.shape[0] > targets.n:
            raise ValueError("scratch, out or the order of targets have the wrong size")
        if not 0 <= first <= last <= (order.shape[0] + GROUP - 1) // GROUP:
            raise ValueError(f"there are no groups {first} to {last}")
        with nogil:
            for group in range(first, last):
                with gil:
                    PyErr_CheckSignals()
                n = min(<Py_ssize_t>GROUP, order.shape[0] - group * GROUP)
                targets.gather(&order[group * GROUP], n, GROUP, x)
                for i in range(n):
                    places[i] = own[order[group * GROUP + i]] if own is not None else -1
                sums.moments = moments if gradient is not None else NULL
                pairs += self._sum(x, n, places, log_rtol, same, &sums, logs, moments + GROUP * self.d)
                for i in range(n):
                    out[order[group * GROUP + i]] = logs[i]
                if gradient is not None:
                    for i in range(n):
                        for j in range(self.d):
                            gradient[order[group * GROUP + i], j] = (
                                moments[j * GROUP + i] / sums.scaled[i] * self.inv_bandwidth[j] * self.inv_bandwidth[j]
                            )
        return pairs

    cdef Py_ssize_t _sum(self, const double *t, Py_ssize_t n, const Py_ssize_t *own, double log_rtol, double same,
                         GroupSums *sums, double *logs, double *scratch) noexcept nogil:
        """Depth first, nearer children first, wherever a target of the group still has something to find."""
        cdef Py_ssize_t nodes[DEPTH]
        cdef double r2[GROUP]
        cdef Py_ssize_t node, left, right, to_left, to_right, i, waiting = 1, visits = 0, pairs = 0
        cdef double sum_left, sum_right
        cdef bint whole
        for i in range(n):
            sums.largest[i], sums.scaled[i], sums.plain[i], sums.limits[i] = LOWEST, 0.0, 0.0, INFINITY
        sums.ordinary = False
        if sums.moments is not NULL:
            for i in range(self.d * GROUP):
                sums.moments[i] = 0.0
        nodes[0] = 1
        while waiting > 0:
            waiting -= 1
            node = nodes[waiting]
            if near(self, node, t, n, sums.limits, r2, &sum_left) == 0:
                continue
            whole = self._is_one(node, t, n, own, same, sums, r2)
            while not whole and 0 < node < self.n_leaves:
                left, right = 2 * node, 2 * node + 1
                to_left = near(self, left, t, n, sums.limits, r2, &sum_left)
                to_right = near(self, right, t, n, sums.limits, r2, &sum_right)
                if sum_right < sum_left:
                    left, right = right, left
                    to_left, to_right = to_right, to_left
                if to_right > 0:
                    nodes[waiting] = right
                    waiting += 1
                node = left if to_left > 0 else 0
                whole = node > 0 and self._is_one(node, t, n, own, same, sums, r2)
            if node == 0:
                continue
            if whole:
                self._one(node, t, n, sums, scratch)
                pairs += GROUP
            else:
                pairs += self._leaf(node, t, n, own, sums, r2, scratch)
            visits += 1
            if visits <= OFTEN or visits % OFTEN == 0:
                log_sums(sums, n, logs)
                for i in range(n):
                    sums.limits[i] = (-2.0 * (logs[i] + log_rtol) if sums.moments is NULL
                                      else moment_limit(-(logs[i] + log_rtol)))
        log_sums(sums, n, logs)
        return pairs

    cdef Py_ssize_t _near_by_width(self, Py_ssize_t node, const double *t, Py_ssize_t n, const double *limits,
                                   double *r2, double *total) noexcept nogil:
        """What `near` finds where `by_width` is set: for those who derive from this."""
        return n

    cdef bint _holds(self, Py_ssize_t node, const Py_ssize_t *own, Py_ssize_t n) noexcept nogil:
        """Whether one of those sources is in a node."""
        cdef Py_ssize_t i, level = 0
        while node >> (level + 1) > 0:
            level += 1
        for i in range(n):
            if own[i] >= self.bound(level, node - (1 << level)) and own[i] < self.bound(level, node + 1 - (1 << level)):
                return True
        return False

    cdef bint _is_one(self, Py_ssize_t node, const double *t, Py_ssize_t n, const Py_ssize_t *own, double same,
                      GroupSums *sums, double *r2) noexcept nogil:
        """Whether a node may be taken as one source by all targets of a group that it counts for."""
        cdef double diameter = self.nodes[1, node], farthest = 0.0, total
        cdef Py_ssize_t i
        # the shortest of the ways to a no; and weights that are numbers of full precision
        if not diameter * diameter <= same or self.nodes[0, node] < 1e-290:
            return False
        if self._holds(node, own, n):
            return False
        near(self, node, t, n, sums.limits, r2, &total)
        for i in range(n):
            if r2[i] <= sums.limits[i]:
                farthest = max(farthest, r2[i])
        # one place for all its sources is an error of moments by itself
        return (sqrt(farthest) + 2.0 * diameter + (sums.moments is not NULL)) * diameter <= same

    cdef void _one(self, Py_ssize_t node, const double *t, Py_ssize_t n, GroupSums *sums,
                   double *scratch) noexcept nogil:
        """Add a node, as one source in the middle of its box."""
        cdef double *middle = scratch + LEAF
        cdef double log_weight = log(self.nodes[0, node])
        self._middle(node, middle)
        if sums.moments is not NULL:
            gs.gauss_log_moments(middle, 1, 1, &log_weight, t, GROUP, n, self.d, &self.inv_bandwidth[0], sums.largest,
                                 sums.scaled, sums.moments, GROUP, middle + self.d)
            return
        gs.gauss_log_sum(middle, 1, 1, &log_weight, NULL, t, GROUP, n, self.d, &self.inv_bandwidth[0], sums.largest,
                         sums.scaled, middle + self.d)

    cdef void _middle(self, Py_ssize_t node, double *middle) noexcept nogil:
        cdef Py_ssize_t j
        for j in range(self.d):
            middle[j] = self.boxes[node, 0, j] + 0.5 * (self.boxes[node, 1, j] - self.boxes[node, 0, j])

    cdef Py_ssize_t _leaf(self, Py_ssize_t node, const double *t, Py_ssize_t n, const Py_ssize_t *own,
                          GroupSums *sums, double *r2, double *scratch) noexcept nogil:
        """Add the sources of a leaf to the sums of the targets that they count for."""
        cdef Py_ssize_t start = self.bound(self.depth, node - self.n_leaves)
        cdef Py_ssize_t m = self.bound(self.depth, node - self.n_leaves + 1) - start
        cdef const double *sources = &self.leaves[start * self.d]
        cdef Py_ssize_t left_out[GROUP]
        cdef double *target = scratch + LEAF
        cdef Py_ssize_t i, j, n_near
        cdef bint leaves_out = False
        cdef double total
        if sums.moments is not NULL:
            gs.gauss_log_moments(sources, m, m, &self.log_weights[start], t, GROUP, n, self.d, &self.inv_bandwidth[0],
                                 sums.largest, sums.scaled, sums.moments, GROUP, scratch)
            return m * GROUP
        n_near = near(self, node, t, n, sums.limits, r2, &total)
        for i in range(n):
            left_out[i] = own[i] - start
            leaves_out = leaves_out or 0 <= left_out[i] < m
        if n_near <= FEW:
            for i in range(n):
                if r2[i] <= sums.limits[i]:
                    for j in range(self.d):
                        target[j] = t[j * GROUP + i]
                    gs.gauss_log_sum_at(
                        sources, m, m, &self.log_weights[start], left_out[i], target, self.d,
                        &self.inv_bandwidth[0], sums.largest + i, sums.scaled + i, scratch
                    )
            return m * n_near * (GROUP // FEW)
        if sums.ordinary and not leaves_out:
            gs.gauss_sum(sources, m, m, &self.weights[start], t, GROUP, n, self.d,
                         &self.inv_bandwidth[0], sums.plain, scratch)
        else:
            gs.gauss_log_sum(sources, m, m, &self.log_weights[start], left_out, t, GROUP, n,
                             self.d, &self.inv_bandwidth[0], sums.largest, sums.scaled, scratch)
        return m * GROUP


cdef inline double moment_limit(double depth) noexcept nogil:
    """A squared distance from which on r exp(-r^2 / 2) <= exp(-depth), and exp(-r^2 / 2) too"""
    depth = max(depth, 0.0)
    # r^2 / 2 = depth + log(3 depth + 4) / 2, and log r is no more than that logarithm
    return 2.0 * depth + log(3.0 * depth + 4.0)


cdef inline Py_ssize_t near(TreePass tree, Py_ssize_t node, const double *t, Py_ssize_t n, const double *limits,
                            double *r2, double *total) noexcept nogil:
    """How many targets have a box within their limits; squared distances, rounded down, and their sum."""
    cdef Py_ssize_t i, count = 0
    if tree.by_width:
        return tree._near_by_width(node, t, n, limits, r2, total)
    gs.box_distances(&tree.boxes[node, 0, 0], &tree.boxes[node, 1, 0], t, GROUP, n, tree.d, &tree.inv_bandwidth[0], r2)
    total[0] = 0.0
    for i in range(n):
        total[0] += r2[i]
        r2[i] *= 1.0 - ROUNDING
        count += r2[i] <= limits[i]
    return count


cdef void log_sums(GroupSums *sums, Py_ssize_t n, double *logs) noexcept nogil:
    """Logarithms of the sums; when all of them are ordinary, what is in them moves to the plain sums."""
    cdef Py_ssize_t i
    cdef bint ordinary = sums.moments is NULL
    if sums.ordinary:
        for i in range(n):
            logs[i] = simd_log(sums.plain[i] + simd_exp(sums.largest[i]) * sums.scaled[i])
        return
    for i in range(n):
        logs[i] = sums.largest[i] + simd_log(sums.scaled[i])
    for i in range(n):
        ordinary = ordinary and logs[i] > ORDINARY
    sums.ordinary = ordinary
    if ordinary:
        for i in range(n):
            sums.plain[i] = simd_exp(sums.largest[i]) * sums.scaled[i]
            sums.largest[i], sums.scaled[i] = LOWEST, 0.0
