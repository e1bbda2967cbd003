# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sums of radial kernels over blocks of sources, all of them or those of a tree that count, without the GIL.

A group of targets goes through the tree together.  A node is left out by the targets that it is too far away for, and
taken at once by those for which its moments give its sum; the others go on to its children, and sum its leaves.
"""
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport log, sqrt

from gaussum.kernels cimport radial_sum as rs
from gaussum.kernels.lanes cimport LOWEST, simd_exp, simd_log
from gaussum.kernels.radial cimport COSINE, EPANECHNIKOV, EXPONENTIAL, LINEAR, TOPHAT, quarter_cosine
from gaussum.samples cimport ALIGNMENT, Samples, aligned

CODES = {
    "tophat": TOPHAT, "epanechnikov": EPANECHNIKOV, "linear": LINEAR, "cosine": COSINE, "exponential": EXPONENTIAL,
}

cdef enum:
    GROUP = 32              # targets that go through the tree together
    DEPTH = 64
    VISIT = 128             # pairs that cost as much as a visit of a node
    WEIGHT = 0              # columns of the moments
    FIRST = 1
    SECOND = 2
    CENTRE = 3

# sums above exp(ORDINARY) lose nothing to the underflow of their terms
cdef double ORDINARY = -500.0
cdef unsigned int ALL = 0xffffffff
cdef double INFINITY = float("inf")
cdef double ROUNDING = 1e-14
# moments cancel near the edge of a kernel: this share of R^2 stays away from it
cdef double EDGE = 1e-3
# weights below this may have lost digits to underflow
cdef double FAINT = 1e-290


cdef struct Group:
    # of every target: plain + exp(largest) scaled, and r^2 from which on nothing counts
    double plain[GROUP]
    double largest[GROUP]
    double scaled[GROUP]
    double limits[GROUP]
    double nearest[GROUP]           # r^2 of the node at hand
    double farthest[GROUP]
    Py_ssize_t own[GROUP]           # places of sources that are left out, or -1
    Py_ssize_t n
    bint ordinary                   # an exponential's further terms go to the plain sums, which is faster


cdef class RadialPass:
    """Sources in blocks, which may be the leaves of a tree, and sums.

    Parameters
    ----------
    kernel : {"tophat", "epanechnikov", "linear", "cosine", "exponential"}
    reach : float
        The distance from which on a kernel is 0, for all but the exponential.
    scale : ndarray of float64, shape (n_features,)
        What makes differences distances; 1 / unit times that, if there is a unit.
    weights, log_weights : ndarray of float64, shape (n_sources,)
        In the order of the blocks.
    blocks : ndarray of float64, shape (n_features * n_sources,)
        The sources block by block, each block feature by feature.
    starts : ndarray of intp, shape (n_blocks + 1,)
    boxes : ndarray of float64, shape (2 n_blocks, 2, n_features)
        Of the nodes of a tree, if there is one; its n_blocks leaves are the last ones.
    moments : ndarray of float64, shape (2 n_blocks, 3 + n_features)
        The weight of a node; two numbers, of which the kernels use none, the first or both: the sum of w |s - c|^2 for
        the Epanechnikov, the sums of w cos and w sin of pi (s - c) / (2 R) for the cosine kernel in one dimension, the
        sums of w exp(-|s - b|) for the exponential in one dimension, b being the right and the left end of the box;
        and the centre of mass c.
    unit : float
        For the exponential: a power of 2 in which no square of a distance overflows; other than 1, all is log-sums.
    """

    cdef readonly Py_ssize_t kernel, d, n, n_blocks, scratch_size
    cdef double reach, reach2, unit
    cdef const double[::1] scale, weights, log_weights, blocks
    cdef const Py_ssize_t[::1] starts
    cdef const double[:, :, ::1] boxes
    cdef const double[:, ::1] moments

    def __init__(self, kernel, double reach, const double[::1] scale, const double[::1] weights,
                 const double[::1] log_weights, const double[::1] blocks, const Py_ssize_t[::1] starts,
                 const double[:, :, ::1] boxes=None, const double[:, ::1] moments=None, double unit=1.0):
        self.kernel, self.reach, self.reach2, self.unit = CODES[kernel], reach, reach * reach, unit
        self.d, self.n, self.n_blocks = scale.shape[0], weights.shape[0], starts.shape[0] - 1
        self.scale, self.weights, self.log_weights, self.blocks = scale, weights, log_weights, blocks
        self.starts, self.boxes, self.moments = starts, boxes, moments
        if (
            log_weights.shape[0] != self.n or blocks.shape[0] != self.n * self.d or starts[self.n_blocks] != self.n
            or boxes is not None and (boxes.shape[0] != 2 * self.n_blocks or boxes.shape[2] != self.d
                                      or moments is None or moments.shape[0] != 2 * self.n_blocks
                                      or moments.shape[1] != 3 + self.d)
        ):
            raise ValueError("sources, weights and boxes do not fit together")
        self.scratch_size = ALIGNMENT // sizeof(double) + (2 * GROUP + 8) * self.d

    def log_density(self, Samples targets, const Py_ssize_t[::1] order, Py_ssize_t first, Py_ssize_t last,
                    const Py_ssize_t[::1] own, double log_rtol, double same, double[::1] out, double[::1] scratch):
        """Log sums at the targets of groups first to last - 1 of the order given; returns how many pairs that took.

        A node so far that an exponential is below rtol times the sum so far is left out: as the weights add up to 1,
        all that is left out comes to at most rtol times the sum.  A node so small that the kernel varies by less than
        `same`, relatively, is taken as one source.  Without boxes all pairs are taken.

        `own` are the places of sources that the targets leave out, or None.
        """
        cdef Py_ssize_t group, i, b, pairs = 0
        cdef Group g
        cdef double logs[GROUP]
        cdef double *x = aligned(scratch)
        if scratch.shape[0] < self.scratch_size or out.shape[0] != targets.n or order.shape[0] > targets.n:
            raise ValueError("scratch, out or the order of targets have the wrong size")
        if not 0 <= first <= last <= (order.shape[0] + GROUP - 1) // GROUP:
            raise ValueError(f"there are no groups {first} to {last}")
        with nogil:
            for group in range(first, last):
                with gil:
                    PyErr_CheckSignals()
                g.n = min(<Py_ssize_t>GROUP, order.shape[0] - group * GROUP)
                targets.gather(&order[group * GROUP], g.n, GROUP, x)
                for i in range(g.n):
                    g.own[i] = own[order[group * GROUP + i]] if own is not None else -1
                    g.plain[i], g.scaled[i], g.largest[i] = 0.0, 0.0, LOWEST
                    g.limits[i] = INFINITY if self.kernel == EXPONENTIAL else self.reach2
                g.ordinary = self.kernel != EXPONENTIAL
                if self.boxes is not None:
                    pairs += self._tree(&g, x, log_rtol, same, x + GROUP * self.d)
                else:
                    for b in range(self.n_blocks):
                        pairs += self._block(b, &g, x, ALL, x + GROUP * self.d)
                        if not g.ordinary and self.unit == 1.0:
                            self._logs(&g, logs)
                self._logs(&g, logs)
                for i in range(g.n):
                    out[order[group * GROUP + i]] = logs[i]
        return pairs

    cdef Py_ssize_t _tree(self, Group *g, const double *t, double log_rtol, double same,
                          double *scratch) noexcept nogil:
        """Depth first, nearer children first, with the targets, as bits, that still have something to find in a node"""
        cdef Py_ssize_t nodes[DEPTH]
        cdef unsigned int masks[DEPTH]
        cdef double logs[GROUP]
        cdef double r
        cdef Py_ssize_t node, far, i, waiting = 1, pairs = 0
        cdef unsigned int mask
        nodes[0], masks[0] = 1, ALL >> (GROUP - g.n)
        while waiting > 0:
            waiting -= 1
            node = nodes[waiting]
            mask = self._sift(node, masks[waiting], g, t, same, scratch)
            pairs += VISIT
            if mask == 0:
                continue
            if node < self.n_blocks:
                far = self._farther(node, mask, t)
                for i in range(2):
                    nodes[waiting], masks[waiting] = 2 * node + (far if i == 0 else 1 - far), mask
                    waiting += 1
                continue
            pairs += self._block(node - self.n_blocks, g, t, mask, scratch)
            if self.kernel == EXPONENTIAL:
                self._logs(g, logs)
                for i in range(g.n):
                    r = max(-(logs[i] + log_rtol), 0.0)
                    g.limits[i] = r * r
        return pairs

    cdef inline Py_ssize_t _farther(self, Py_ssize_t node, unsigned int mask, const double *t) noexcept nogil:
        """Which of the children, 0 or 1, has its middle farther from the first of the targets"""
        cdef Py_ssize_t i = 0, j
        cdef double r[2]
        cdef double z
        cdef int child
        while not mask >> i & 1:
            i += 1
        for child in range(2):
            r[child] = 0.0
            for j in range(self.d):
                z = 0.5 * self.boxes[2 * node + child, 0, j] + 0.5 * self.boxes[2 * node + child, 1, j]
                z = (z - t[j * GROUP + i]) * self.scale[j]
                r[child] += z * z
        return r[1] > r[0]

    cdef unsigned int _sift(self, Py_ssize_t node, unsigned int mask, Group *g, const double *t, double same,
                            double *scratch) noexcept nogil:
        """Targets that a node does not count for are dropped, and those that its moments serve are served"""
        cdef unsigned int left = 0, whole = 0, bit
        cdef Py_ssize_t i, first, last, above = 0
        rs.box_ranges(&self.boxes[node, 0, 0], &self.boxes[node, 1, 0], t, GROUP, g.n, self.d, &self.scale[0],
                      g.nearest, g.farthest)
        while node << (above + 1) < 2 * self.n_blocks:
            above += 1
        first = self.starts[(node << above) - self.n_blocks]
        last = self.starts[((node + 1) << above) - self.n_blocks]
        for i in range(g.n):
            bit = mask & (<unsigned int>1 << i)
            if bit == 0 or g.nearest[i] * (1.0 - ROUNDING) >= g.limits[i]:
                continue
            if not first <= g.own[i] < last and self._is_whole(node, t[i], g.nearest[i], g.farthest[i], same):
                whole |= bit
            else:
                left |= bit
        if whole != 0:
            self._whole(node, g, t, whole, scratch)
        return left

    cdef inline bint _is_whole(self, Py_ssize_t node, double x, double nearest, double farthest,
                               double same) noexcept nogil:
        """Whether the moments of a node say what it gives at a target, whose first coordinate is x"""
        cdef bint beside = self.d == 1 and not self.boxes[node, 0, 0] < x < self.boxes[node, 1, 0]
        cdef double diameter, rest
        if self.moments[node, WEIGHT] < FAINT:
            return False
        if self.kernel == EXPONENTIAL:
            if beside:
                return min(self.moments[node, FIRST], self.moments[node, SECOND]) >= FAINT
            return sqrt(farthest) - sqrt(nearest) <= same and self._diameter(node) <= same
        if not farthest < self.reach2 * (1.0 - EDGE):
            return False
        if self.kernel == TOPHAT or self.kernel == EPANECHNIKOV or self.d == 1 and (beside or self.kernel == COSINE):
            return True
        # slopes of at most pi / 2 K's own height, of which at least `rest` is left
        rest = 1.0 - sqrt(farthest) / self.reach
        return 1.6 * self._diameter(node) <= same * rest * self.reach

    cdef double _diameter(self, Py_ssize_t node) noexcept nogil:
        cdef Py_ssize_t j
        cdef double sum = 0.0, z
        for j in range(self.d):
            z = (self.boxes[node, 1, j] - self.boxes[node, 0, j]) * self.scale[j]
            sum += z * z
        return sqrt(sum)

    cdef void _whole(self, Py_ssize_t node, Group *g, const double *t, unsigned int mask,
                     double *scratch) noexcept nogil:
        """Add a node by its moments"""
        cdef const double *moments = &self.moments[node, 0]
        cdef const double *centre = moments + CENTRE
        cdef double r2, z, log_weight
        cdef unsigned int right = 0
        cdef Py_ssize_t i, j
        if self.kernel == EXPONENTIAL and self.d == 1 and self._diameter(node) > 0.0:
            for i in range(g.n):
                if mask >> i & 1 and t[i] >= self.boxes[node, 1, 0]:
                    right |= <unsigned int>1 << i
            if right != 0:
                log_weight = log(moments[FIRST])
                self._add(&self.boxes[node, 1, 0], 1, 1, moments + FIRST, &log_weight, g, t, right, scratch)
            if mask != right:
                log_weight = log(moments[SECOND])
                self._add(&self.boxes[node, 0, 0], 1, 1, moments + SECOND, &log_weight, g, t, mask & ~right, scratch)
            return
        if self.kernel == EXPONENTIAL or self.kernel == LINEAR or self.kernel == COSINE and self.d > 1:
            log_weight = log(moments[WEIGHT])
            self._add(centre, 1, 1, moments, &log_weight, g, t, mask, scratch)
            return
        for i in range(g.n):
            if not mask >> i & 1:
                continue
            if self.kernel == TOPHAT:
                g.plain[i] += moments[WEIGHT]
            elif self.kernel == EPANECHNIKOV:
                r2 = 0.0
                for j in range(self.d):
                    z = (t[j * GROUP + i] - centre[j]) * self.scale[j]
                    r2 += z * z
                g.plain[i] += moments[WEIGHT] * (self.reach2 - r2) - moments[FIRST]
            else:
                # cos(a - b) = cos a cos b + sin a sin b, and sin a = cos(pi / 2 - a)
                z = (t[i] - centre[0]) * self.scale[0] / self.reach
                g.plain[i] += quarter_cosine(z * z) * moments[FIRST]
                z = z + 1.0 if z < 0.0 else 1.0 - z
                z = quarter_cosine(z * z) * moments[SECOND]
                g.plain[i] += z if t[i] > centre[0] else -z

    cdef Py_ssize_t _block(self, Py_ssize_t block, Group *g, const double *t, unsigned int mask,
                           double *scratch) noexcept nogil:
        """Add a block of sources; returns how many pairs that took"""
        cdef Py_ssize_t start = self.starts[block], m = self.starts[block + 1] - self.starts[block], i, own
        cdef const double *sources = &self.blocks[start * self.d]
        cdef const double *weights = &self.weights[start]
        cdef const double *log_weights = &self.log_weights[start]
        cdef Py_ssize_t pairs = 0
        cdef unsigned int bit
        for i in range(g.n):
            bit = mask & (<unsigned int>1 << i)
            own = g.own[i] - start
            if bit != 0 and 0 <= own < m:
                mask ^= bit
                pairs += self._add(sources, m, own, weights, log_weights, g, t, bit, scratch)
                pairs += self._add(sources + own + 1, m, m - own - 1, weights + own + 1, log_weights + own + 1, g, t,
                                   bit, scratch)
        return pairs + self._add(sources, m, m, weights, log_weights, g, t, mask, scratch)

    cdef Py_ssize_t _add(self, const double *sources, Py_ssize_t lds, Py_ssize_t m, const double *weights,
                         const double *log_weights, Group *g, const double *t, unsigned int mask,
                         double *scratch) noexcept nogil:
        """Add m sources to the sums of the targets of a mask; returns how many pairs that took"""
        cdef Py_ssize_t places[GROUP]
        cdef double sums[GROUP]
        cdef double largest[GROUP]
        cdef double *x = scratch
        cdef Py_ssize_t i, j, n = 0
        for i in range(g.n):
            if mask >> i & 1:
                places[n] = i
                n += 1
        if n == 0 or m == 0:
            return 0
        for j in range(self.d):
            for i in range(n):
                x[j * GROUP + i] = t[j * GROUP + places[i]]
        if g.ordinary:
            for i in range(n):
                sums[i] = 0.0
            rs.radial_sum(self.kernel, self.reach, sources, lds, m, weights, x, GROUP, n, self.d, &self.scale[0], sums,
                          scratch + GROUP * self.d)
            for i in range(n):
                g.plain[places[i]] += sums[i]
        else:
            for i in range(n):
                sums[i], largest[i] = g.scaled[places[i]], g.largest[places[i]]
            rs.exponential_log_sum(sources, lds, m, log_weights, x, GROUP, n, self.d, &self.scale[0], self.unit,
                                   largest, sums, scratch + GROUP * self.d)
            for i in range(n):
                g.scaled[places[i]], g.largest[places[i]] = sums[i], largest[i]
        return m * ((n + 7) // 8 * 8)

    cdef void _logs(self, Group *g, double *logs) noexcept nogil:
        """Logarithms of the sums; when all of them are ordinary, what is in them moves to the plain sums"""
        cdef Py_ssize_t i
        cdef bint ordinary = self.unit == 1.0
        if g.ordinary:
            for i in range(g.n):
                logs[i] = simd_log(g.plain[i])
            return
        for i in range(g.n):
            logs[i] = g.largest[i] + simd_log(g.scaled[i])
        for i in range(g.n):
            ordinary = ordinary and logs[i] > ORDINARY
        g.ordinary = ordinary
        if ordinary:
            for i in range(g.n):
                g.plain[i] = simd_exp(g.largest[i]) * g.scaled[i]
