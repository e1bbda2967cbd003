# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sums of Gaussians that differ in width, direct, over a tree or by way of grids: without the GIL.

Each source has a sharpness, one over the factor by which its Gaussian is wider than the bandwidth.  A target that has
one too brings it along, as one feature more.
"""
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport log, sqrt

from gaussum.grid_pass cimport BLOCK, GridPass
from gaussum.kernels cimport gauss_grid as gg
from gaussum.kernels cimport gauss_sum as gs
from gaussum.kernels cimport gauss_varying as gv
from gaussum.kernels.lanes cimport LOWEST, simd_exp, simd_log
from gaussum.samples cimport ALIGNMENT, Samples, aligned, round_up
from gaussum.tree_pass cimport FEW, GROUP, LEAF, GroupSums, TreePass

cdef enum:
    SOURCE_BLOCK = 256
    # sources after which Ctrl-C is looked for
    INTERRUPTIBLE = 65536
    # blocks of points after which it is, with a grid
    BLOCKS = 256

cdef double INFINITY = float("inf")
cdef double ROUNDING = 1e-14


cdef class VaryingSumPass:
    """Direct sums at targets.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources), C order
    log_weights, sharpness : ndarray of float64, shape (n_sources,)
    inv_bandwidth : ndarray of float64, shape (n_features,)
    targets : Samples
        Of n_features, or of one more: the sharpness of each target.
    block : int
        Targets a block, and the smallest part.
    n_parts : int
    own : bool
        The targets are the sources, and each leaves itself out.
    """

    cdef const double[:, ::1] sources
    cdef const double[::1] log_weights, sharpness, inv_bandwidth
    cdef Samples targets
    cdef bint own
    cdef Py_ssize_t d, block
    cdef readonly Py_ssize_t n_parts, part_size, scratch_size

    def __init__(self, const double[:, ::1] sources, const double[::1] log_weights, const double[::1] sharpness,
                 const double[::1] inv_bandwidth, Samples targets, Py_ssize_t block, Py_ssize_t n_parts,
                 bint own=False):
        cdef Py_ssize_t d = sources.shape[0], n = sources.shape[1]
        if (
            not d <= targets.d <= d + 1 or inv_bandwidth.shape[0] != d or block < 1
            or log_weights.shape[0] != n or sharpness.shape[0] != n or own and targets.n != n
        ):
            raise ValueError("sources, weights, sharpness, bandwidths and targets do not fit together")
        self.sources, self.log_weights, self.sharpness = sources, log_weights, sharpness
        self.inv_bandwidth, self.targets, self.own = inv_bandwidth, targets, own
        self.d, self.block = d, block
        self.part_size = round_up((targets.n + n_parts - 1) // n_parts, self.block)
        self.n_parts = (targets.n + self.part_size - 1) // self.part_size
        # the targets and their sums; what each leaves out; a tile that is not full
        self.scratch_size = ALIGNMENT // sizeof(double) + block * (d + 5) + 64 * (d + 1)

    def log_density(self, Py_ssize_t first, Py_ssize_t last, double[::1] out, double[::1] scratch):
        """log sum_s w_s exp(-r_ts^2 / 2) for the targets of parts first to last - 1.

        A block of sources is summed from zero and then added to the total: the rounding error grows with the number
        of blocks and with the size of one, not with their product.
        """
        cdef Py_ssize_t start, stop, n, ld = self.block
        cdef double *t = aligned(scratch)
        if scratch.shape[0] < self.scratch_size or out.shape[0] != self.targets.n:
            raise ValueError("scratch or out have the wrong size")
        if not 0 <= first <= last <= self.n_parts:
            raise ValueError(f"parts {first} to {last} are not within 0 to {self.n_parts}")
        with nogil:
            start = first * self.part_size
            stop = min(last * self.part_size, self.targets.n)
            while start < stop:
                n = min(ld, stop - start)
                self.targets.load(start, n, ld, t)
                self._sum(start, n, t, &out[start], t + (self.d + 1) * ld)
                start += n

    cdef int _sum(self, Py_ssize_t start, Py_ssize_t n, const double *t, double *out, double *scratch) except -1 nogil:
        """One block of targets; those that are sources themselves begin with source `start`."""
        cdef Py_ssize_t n_sources = self.sources.shape[1], ld = self.block, i, m, s = 0
        cdef double *largest = scratch
        cdef double *total = largest + ld
        cdef double *sums = total + ld
        cdef double *spare = sums + ld
        cdef Py_ssize_t *left_out = <Py_ssize_t *>(spare + 64 * (self.d + 1))
        cdef double before
        for i in range(n):
            largest[i], total[i] = LOWEST, 0.0
        while s < n_sources:
            if s % INTERRUPTIBLE == 0:
                with gil:
                    PyErr_CheckSignals()
            m = min(<Py_ssize_t>SOURCE_BLOCK, n_sources - s)
            for i in range(n):
                left_out[i] = start + i - s
                out[i], sums[i] = largest[i], 0.0
            gv.varying_log_sum(
                &self.sources[0, s], n_sources, m, &self.log_weights[s], &self.sharpness[s],
                left_out if self.own and start < s + m and s < start + n else NULL, t, ld, n,
                t + self.d * ld if self.targets.d > self.d else NULL, self.d, &self.inv_bandwidth[0], largest, sums,
                spare
            )
            for i in range(n):
                total[i] = total[i] * simd_exp(out[i] - largest[i]) + sums[i]
            s += m
        for i in range(n):
            out[i] = largest[i] + simd_log(total[i])
        return 0


cdef class VaryingTreePass(TreePass):
    """A tree of boxes over sources of different sharpness.

    Parameters
    ----------
    sources, order, inv_bandwidth, boxes, leaves, nodes : ndarray
        As those of a TreePass.
    log_weights : ndarray of float64, shape (n_sources,)
        In the order of the tree: log(w_s a_s^d) - `log_peak`.
    weights : ndarray of float64, shape (n_sources,)
        What these are logarithms of.
    sharpness : ndarray of float64, shape (n_sources,)
        a_s, in the order of the tree.
    log_peak : float
        The largest log a_s^d.
    ranges : ndarray of float64, shape (3, 2 n_leaves)
        To be filled by `enclose` and `enclose_all`: the smallest and the largest sharpness a in a node, and
        2 (`log_peak` - d log a) of the smallest.
    by_target : bool
        The targets have a sharpness, as one feature more.
    """

    cdef const double[::1] sharpness
    cdef double[:, ::1] ranges
    cdef double log_peak
    cdef bint by_target

    def __init__(self, const double[:, ::1] sources, const double[::1] weights, const double[::1] log_weights,
                 const double[::1] sharpness, double log_peak, Py_ssize_t[::1] order,
                 const double[::1] inv_bandwidth, double[:, :, ::1] boxes, double[::1] leaves, double[:, ::1] nodes,
                 double[:, ::1] ranges, bint by_target):
        super().__init__(sources, weights, log_weights, order, inv_bandwidth, boxes, leaves, nodes)
        if sharpness.shape[0] != self.n or ranges.shape[0] != 3 or ranges.shape[1] != nodes.shape[1]:
            raise ValueError("sources, sharpness and ranges do not fit together")
        self.sharpness, self.log_peak, self.ranges, self.by_target = sharpness, log_peak, ranges, by_target
        self.by_width = True
        self.scratch_size += GROUP + 64         # the targets' sharpness

    def enclose(self, Py_ssize_t first, Py_ssize_t last):
        """The boxes, and the sources, of leaves first to last - 1."""
        cdef Py_ssize_t leaf, s
        cdef double smallest, largest
        super().enclose(first, last)
        with nogil:
            for leaf in range(first, last):
                smallest, largest = INFINITY, 0.0
                for s in range(self.bound(self.depth, leaf), self.bound(self.depth, leaf + 1)):
                    smallest = min(smallest, self.sharpness[s])
                    largest = max(largest, self.sharpness[s])
                self._set_range(self.n_leaves + leaf, smallest, largest)

    def enclose_all(self):
        """The boxes of all other nodes."""
        cdef Py_ssize_t i
        super().enclose_all()
        for i in range(self.n_leaves - 1, 0, -1):
            self._set_range(i, min(self.ranges[0, 2 * i], self.ranges[0, 2 * i + 1]),
                            max(self.ranges[1, 2 * i], self.ranges[1, 2 * i + 1]))

    cdef void _set_range(self, Py_ssize_t node, double smallest, double largest) noexcept nogil:
        self.ranges[0, node], self.ranges[1, node] = smallest, largest
        self.ranges[2, node] = 2.0 * (self.log_peak - self.d * log(smallest))

    cdef Py_ssize_t _near_by_width(self, Py_ssize_t node, const double *t, Py_ssize_t n, const double *limits,
                                   double *r2, double *total) noexcept nogil:
        """How many targets have a box within their limits; what the limits are for, rounded down, and its sum.

        A unit of weight in the node gives a^d exp(-a^2 r^2 / 2) at most, a being the smallest sharpness, if
        a^2 r^2 >= d: from there on it grows as a falls.  What is compared with the limits is minus twice the logarithm
        of that, relative to the peak.  Nearer nodes count always.
        """
        cdef const double *own = t + self.d * GROUP if self.by_target else NULL
        cdef double a = self.ranges[0, node], offset = self.ranges[2, node], b = a
        cdef Py_ssize_t i, near = 0
        gs.box_distances(&self.boxes[node, 0, 0], &self.boxes[node, 1, 0], t, GROUP, n, self.d,
                         &self.inv_bandwidth[0], r2)
        total[0] = 0.0
        for i in range(n):
            if own is not NULL:
                b = a * own[i]
            r2[i] = r2[i] * b * b
            total[0] += r2[i] + offset
            r2[i] = r2[i] * (1.0 - ROUNDING) + offset if r2[i] >= self.d else LOWEST    # not a number: near, too
            near += r2[i] <= limits[i]
        return near

    cdef bint _is_one(self, Py_ssize_t node, const double *t, Py_ssize_t n, const Py_ssize_t *own, double same,
                      GroupSums *sums, double *r2) noexcept nogil:
        """Whether a node may be taken as one source, of its smallest sharpness, by all targets that it counts for."""
        cdef double a = self.ranges[1, node], differ = a / self.ranges[0, node], diameter, r, total
        cdef double far2[GROUP]
        cdef Py_ssize_t i
        differ = differ * differ - 1.0
        # the shortest of the ways to a no; and weights that are numbers of full precision
        if not differ <= same or self.nodes[0, node] < 1e-290:
            return False
        for i in range(n):
            diameter = self.nodes[1, node] * a * (t[self.d * GROUP + i] if self.by_target else 1.0)
            if not diameter * diameter <= same:
                return False
        if self._holds(node, own, n):
            return False
        self._near_by_width(node, t, n, sums.limits, r2, &total)
        gs.box_distances(&self.boxes[node, 0, 0], &self.boxes[node, 1, 0], t, GROUP, n, self.d,
                         &self.inv_bandwidth[0], far2)
        for i in range(n):
            if r2[i] <= sums.limits[i]:
                r = a * (t[self.d * GROUP + i] if self.by_target else 1.0)
                diameter = self.nodes[1, node] * r
                r *= sqrt(far2[i])
                if not (r + 2.0 * diameter) * diameter + 0.5 * differ * (r + diameter) * (r + diameter) <= same:
                    return False
        return True

    cdef void _one(self, Py_ssize_t node, const double *t, Py_ssize_t n, GroupSums *sums,
                   double *scratch) noexcept nogil:
        """Add a node, as one source in the middle of its box."""
        cdef double *middle = scratch + LEAF
        cdef double log_weight = log(self.nodes[0, node])
        self._middle(node, middle)
        gv.varying_log_sum(middle, 1, 1, &log_weight, &self.ranges[0, node], NULL, t, GROUP, n,
                           t + self.d * GROUP if self.by_target else NULL, self.d, &self.inv_bandwidth[0],
                           sums.largest, sums.scaled, middle + self.d)

    cdef Py_ssize_t _leaf(self, Py_ssize_t node, const double *t, Py_ssize_t n, const Py_ssize_t *own,
                          GroupSums *sums, double *r2, double *scratch) noexcept nogil:
        """Add the sources of a leaf to the sums of the targets that they count for."""
        cdef Py_ssize_t start = self.bound(self.depth, node - self.n_leaves)
        cdef Py_ssize_t m = self.bound(self.depth, node - self.n_leaves + 1) - start
        cdef const double *sources = &self.leaves[start * self.d]
        cdef const double *sharpness = t + self.d * GROUP if self.by_target else NULL
        cdef Py_ssize_t left_out[GROUP]
        cdef double *target = scratch + LEAF
        cdef Py_ssize_t i, j, near
        cdef double total
        near = self._near_by_width(node, t, n, sums.limits, r2, &total)
        for i in range(n):
            left_out[i] = own[i] - start
        if near > FEW:
            gv.varying_log_sum(sources, m, m, &self.log_weights[start], &self.sharpness[start], left_out, t, GROUP, n,
                               sharpness, self.d, &self.inv_bandwidth[0], sums.largest, sums.scaled, scratch)
            return m * GROUP
        for i in range(n):
            if r2[i] <= sums.limits[i]:
                for j in range(self.d):
                    target[j] = t[j * GROUP + i]
                gv.varying_log_sum_at(
                    sources, m, m, &self.log_weights[start], &self.sharpness[start], left_out[i], target,
                    sharpness + i if sharpness is not NULL else NULL, self.d, &self.inv_bandwidth[0], sums.largest + i,
                    sums.scaled + i, scratch
                )
        return m * near * (GROUP // FEW)


cdef class VaryingGridPass(GridPass):
    """Sources of similar sharpness over the nodes of a grid, and the grid gathered at targets.

    A target gathers with the Gaussian exp(-v^2) of half the variance of the sharpest source, and each source spreads
    with one of the variance that is left, exp(-(b_s v)^2): together they make its kernel.

    Parameters
    ----------
    width, spacing, scale, stretches, shape, margin
        As those of a GridPass.
    reach : int
        16, 24 or 32: nodes of an axis over which a source spreads.
    narrowness : ndarray of float64, shape (n_sources,)
        The b_s.
    """

    cdef Py_ssize_t reach_width
    cdef const double[::1] narrowness

    def __init__(self, Py_ssize_t width, double spacing, const double[::1] scale, stretches, shape, margin,
                 Py_ssize_t reach, const double[::1] narrowness):
        super().__init__(width, spacing, scale, stretches, shape, margin)
        self.reach_width, self.narrowness = reach, narrowness

    cdef void _spread_block(self, const double *places, Py_ssize_t n, const Py_ssize_t *which, const double *weights,
                            double *spare, double *planes) noexcept nogil:
        cdef Py_ssize_t k
        for k in range(n):
            gg.gauss_spread(places + k, BLOCK, 1, &weights[which[k]], self.d, self.reach_width,
                            self.spacing * self.narrowness[which[k]], self.strides, planes)

    def add(self, Samples targets, const Py_ssize_t[::1] order, Py_ssize_t first, Py_ssize_t last,
            const double[::1] grid, double factor, double error, double[::1] sums, double[::1] errors,
            double[::1] scratch):
        """Add the grid, times a factor, to the sums at targets first to last - 1 of the order given, and the error that
        this may have to `errors`; nothing to those beyond the grid."""
        cdef Py_ssize_t i, j, k, n, m, blocks = 0
        cdef Py_ssize_t which[BLOCK]
        cdef double *x = aligned(scratch)
        cdef double *gathered = x + self.d * BLOCK
        cdef double place
        cdef bint inside
        if (
            scratch.shape[0] < self.scratch_size or not 0 <= first <= last <= targets.n
            or sums.shape[0] != targets.n or errors.shape[0] != targets.n
        ):
            raise ValueError("scratch, sums or the range of targets have the wrong size")
        with nogil:
            i = first
            while i < last:
                if blocks % BLOCKS == 0:
                    with gil:
                        PyErr_CheckSignals()
                blocks += 1
                n = min(<Py_ssize_t>BLOCK, last - i)
                self._load(targets, order, i, n, x)
                m = 0
                for k in range(n):
                    inside = True
                    for j in range(self.d):
                        inside = inside and self._place(x + j * BLOCK + k, j, &place)
                        x[j * BLOCK + m] = place
                    if inside:
                        which[m] = order[i + k] if order is not None else i + k
                        m += 1
                gg.gauss_gather(x, BLOCK, m, self.d, self.width, self.spacing, self.strides, &grid[0], NULL, gathered)
                for k in range(m):
                    sums[which[k]] += factor * gathered[k]
                    errors[which[k]] += error
                i += n
