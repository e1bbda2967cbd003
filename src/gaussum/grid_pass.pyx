# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sources spread over the nodes of a regular grid, and the grid gathered at targets: block by block, without the GIL.

An axis of the grid is made of stretches: where there is no source over a long way, the way is left out, so that an
outlier costs the nodes about it and not those on the way to it.
"""
from cpython.exc cimport PyErr_CheckSignals

from gaussum.kernels cimport gauss_grid as gg
from gaussum.kernels.lanes cimport simd_log
from gaussum.samples cimport ALIGNMENT, Samples, aligned

import numpy as np

cdef enum:
    TILE_NODES = 8          # nodes of an axis in a tile, by which points are ordered
    # blocks after which Ctrl-C is looked for
    INTERRUPTIBLE = 256

cdef double INFINITY = float("inf")


cdef class GridPass:
    """The two halves of a sum by way of a grid; see kernels/gauss_grid.pyx.

    Parameters
    ----------
    width : int
        16, 24 or 32: nodes of an axis that a point reaches.
    spacing : float
        Of the nodes, in bandwidths.
    scale : ndarray, shape (n_features,)
        Nodes a unit of the data.
    stretches : list of ndarrays of float64, shape (3, n_stretches), one an axis
        The first and the last source of each stretch, and where in the grid the first lies.
    shape : tuple of int
        Nodes of each axis.
    margin : int, optional
        How many nodes beyond a stretch points may lie; by default half the width.
    """

    def __init__(self, Py_ssize_t width, double spacing, const double[::1] scale, stretches, shape, margin=None):
        cdef Py_ssize_t j
        self.d = len(shape)
        if width not in (16, 24, 32) or not 1 <= self.d <= AXES or scale.shape[0] != self.d or len(stretches) != self.d:
            raise ValueError("the grid has a width of 16, 24 or 32 and one to three axes, each with a scale")
        self.width, self.spacing, self.scale = width, spacing, scale
        self.margin = width // 2 if margin is None else margin
        self.n_tiles = 1
        self.begin[0] = 0
        for j in range(self.d):
            self.begin[j + 1] = self.begin[j] + stretches[j].shape[1]
            self.shape[j] = shape[j]
            self.strides[j] = 1
            for n in shape[j + 1:]:
                self.strides[j] *= n
            self.n_tiles *= shape[j] // TILE_NODES + 1
        self.stretches = np.concatenate(stretches, axis=1)
        self.scratch_size = ALIGNMENT // sizeof(double) + BLOCK * (2 * self.d + 2)

    def tile_shape(self, Py_ssize_t nodes=TILE_NODES):
        """How many tiles of so many nodes there are on each axis."""
        return tuple([self.shape[j] // nodes + 1 for j in range(self.d)])

    cdef Py_ssize_t _tile(self, const double *x, Py_ssize_t nodes) noexcept nogil:
        """The tile of a point, whose features are BLOCK apart; one beyond the grid may get any."""
        cdef Py_ssize_t tile = 0, j
        cdef double place
        for j in range(self.d):
            tile *= self.shape[j] // nodes + 1
            if self._place(x + j * BLOCK, j, &place):
                tile += <Py_ssize_t>place // nodes
        return tile

    def tiles(self, Samples points, Py_ssize_t first, Py_ssize_t last, unsigned short[::1] out):
        """The tile of every point from first to last - 1, for at most 2^16 tiles."""
        cdef Py_ssize_t i, k, n
        cdef double x[BLOCK * AXES]
        with nogil:
            i = first
            while i < last:
                n = min(<Py_ssize_t>BLOCK, last - i)
                points.load(i, n, BLOCK, x)
                for k in range(n):
                    out[i + k] = <unsigned short>self._tile(x + k, TILE_NODES)
                i += n

    def weigh(self, Samples sources, Py_ssize_t first, Py_ssize_t last, const double[::1] weights, Py_ssize_t nodes,
              double[::1] out):
        """Add the weights of sources first to last - 1 to those of their tiles, of so many nodes an axis."""
        cdef Py_ssize_t i, k, n
        cdef double x[BLOCK * AXES]
        with nogil:
            i = first
            while i < last:
                n = min(<Py_ssize_t>BLOCK, last - i)
                sources.load(i, n, BLOCK, x)
                for k in range(n):
                    out[self._tile(x + k, nodes)] += weights[i + k]
                i += n

    def select(self, Samples sources, Py_ssize_t first, Py_ssize_t last, const unsigned char[::1] wanted,
               Py_ssize_t nodes, Py_ssize_t[::1] out):
        """Which of the sources first to last - 1 are in wanted tiles: the first numbers of `out`; returns how many."""
        cdef Py_ssize_t i, k, n, found = 0
        cdef double x[BLOCK * AXES]
        with nogil:
            i = first
            while i < last:
                n = min(<Py_ssize_t>BLOCK, last - i)
                sources.load(i, n, BLOCK, x)
                for k in range(n):
                    if wanted[self._tile(x + k, nodes)]:
                        out[found] = i + k
                        found += 1
                i += n
        return found

    def reach(self, Samples points, const Py_ssize_t[::1] order, Py_ssize_t first, Py_ssize_t last):
        """The first plane of the grid that the points reach, and the one after the last; all are in the grid."""
        cdef Py_ssize_t i, k, n
        cdef double x[BLOCK * AXES]
        cdef double place = 0.0, low = INFINITY, high = 0.0
        with nogil:
            i = first
            while i < last:
                n = min(<Py_ssize_t>BLOCK, last - i)
                self._load(points, order, i, n, x)
                for k in range(n):
                    self._place(x + k, 0, &place)
                    low = min(low, place)
                    high = max(high, place)
                i += n
        return <Py_ssize_t>low - (self.width // 2 - 1), <Py_ssize_t>high + self.width // 2 + 1

    def spread(self, Samples sources, const Py_ssize_t[::1] order, const double[::1] weights, Py_ssize_t first,
               Py_ssize_t last, Py_ssize_t plane, double[::1] planes, double[::1] scratch):
        """Add sources first to last - 1, of the order given, to planes of the grid that begin with number `plane`."""
        cdef Py_ssize_t i, j, k, n, blocks = 0
        cdef Py_ssize_t which[BLOCK]
        cdef double *x = aligned(scratch)
        if scratch.shape[0] < self.scratch_size or not 0 <= first <= last <= sources.n:
            raise ValueError("scratch or the range of sources have the wrong size")
        with nogil:
            i = first
            while i < last:
                if blocks % INTERRUPTIBLE == 0:
                    with gil:
                        PyErr_CheckSignals()
                blocks += 1
                n = min(<Py_ssize_t>BLOCK, last - i)
                self._load(sources, order, i, n, x)
                for k in range(n):
                    for j in range(self.d):
                        self._place(x + j * BLOCK + k, j, x + j * BLOCK + k)
                    x[k] -= plane
                    which[k] = order[i + k] if order is not None else i + k
                self._spread_block(x, n, which, &weights[0], x + self.d * BLOCK, &planes[0])
                i += n

    cdef void _spread_block(self, const double *places, Py_ssize_t n, const Py_ssize_t *which, const double *weights,
                            double *spare, double *planes) noexcept nogil:
        """Add some sources, `which`, to the planes in which these are their places."""
        cdef Py_ssize_t k
        for k in range(n):
            spare[k] = weights[which[k]]
        gg.gauss_spread(places, BLOCK, n, spare, self.d, self.width, self.spacing, self.strides, planes)

    def moments(self, Samples sources, const double[::1] weights, Py_ssize_t first, Py_ssize_t last,
                Py_ssize_t subdivisions, double[:, ::1] out, double[::1] scratch):
        """Add sources first to last - 1, of one feature, to the moments of the cells of a grid."""
        cdef Py_ssize_t i, k, n, blocks = 0
        cdef double *x = aligned(scratch)
        if (
            self.d != 1 or scratch.shape[0] < self.scratch_size or not 0 <= first <= last <= sources.n
            or out.shape[0] != self.shape[0] * subdivisions
        ):
            raise ValueError("scratch, the cells or the range of sources have the wrong size")
        with nogil:
            i = first
            while i < last:
                if blocks % INTERRUPTIBLE == 0:
                    with gil:
                        PyErr_CheckSignals()
                blocks += 1
                n = min(<Py_ssize_t>BLOCK, last - i)
                sources.load(i, n, BLOCK, x)
                for k in range(n):
                    self._place(x + k, 0, x + k)
                gg.gauss_moments(x, n, &weights[i], subdivisions, self.spacing, &out[0, 0])
                i += n

    def expand(self, const double[:, ::1] moments, const double[:, :, ::1] expansions, double[::1] grid):
        """Add the cells, of which `moments` says all, to the grid."""
        if moments.shape[0] != grid.shape[0] * expansions.shape[0] or expansions.shape[2] != self.width:
            raise ValueError("moments, expansions and grid do not fit together")
        with nogil:
            gg.gauss_expand(&moments[0, 0], moments.shape[0], expansions.shape[0], &expansions[0, 0, 0], self.width,
                            &grid[0])

    def gather(self, Samples targets, const Py_ssize_t[::1] order, Py_ssize_t first, Py_ssize_t last,
               const double[::1] grid, const double[::1] own, double threshold, double log_factor, double[::1] out,
               double[::1] scratch, double[:, ::1] gradient=None):
        """Log sums at targets first to last - 1 of the order given; minus infinity where they are below the threshold.

        `own` are the weights of sources in the places of the targets, which leave themselves out, or None; `gradient`,
        shape (n_targets, n_features), is set to the gradient of the log sums, if it is not None (then `own` is).
        """
        cdef Py_ssize_t i, j, k, n, m, t, blocks = 0
        cdef Py_ssize_t which[BLOCK]
        cdef double *x = aligned(scratch)
        cdef double *sums = x + self.d * BLOCK
        cdef double *w = sums + BLOCK
        cdef double *moments = w + BLOCK
        cdef double place = 0.0
        cdef bint inside
        if scratch.shape[0] < self.scratch_size or not 0 <= first <= last <= targets.n or out.shape[0] != targets.n:
            raise ValueError("scratch, out or the range of targets have the wrong size")
        with nogil:
            i = first
            while i < last:
                if blocks % INTERRUPTIBLE == 0:
                    with gil:
                        PyErr_CheckSignals()
                blocks += 1
                n = min(<Py_ssize_t>BLOCK, last - i)
                self._load(targets, order, i, n, x)
                m = 0
                for k in range(n):
                    t = order[i + k] if order is not None else i + k
                    inside = True
                    for j in range(self.d):
                        inside = self._place(x + j * BLOCK + k, j, &place) and inside
                        x[j * BLOCK + m] = place
                    if inside:
                        which[m] = t
                        w[m] = own[t] if own is not None else 0.0
                        m += 1
                    else:
                        out[t] = -INFINITY
                if gradient is not None:
                    gg.gauss_gather_moments(x, BLOCK, m, self.d, self.width, self.spacing, self.strides, &grid[0],
                                            sums, moments)
                    for k in range(m):
                        for j in range(self.d):
                            gradient[which[k], j] = (moments[j * BLOCK + k] / sums[k]
                                                     * (self.scale[j] * self.spacing))
                else:
                    gg.gauss_gather(x, BLOCK, m, self.d, self.width, self.spacing, self.strides, &grid[0],
                                    w if own is not None else NULL, sums)
                for k in range(m):
                    sums[k] = simd_log(sums[k]) + log_factor if sums[k] >= threshold else -INFINITY
                for k in range(m):
                    out[which[k]] = sums[k]
                i += n


def contract(const double[:, :, ::1] grid, const Py_ssize_t[::1] nodes, const double[:, ::1] factors,
             Py_ssize_t first, Py_ssize_t last, double[:, :, ::1] out):
    """Gather a grid along its middle axis at targets there: rows first to last - 1 of all n_leading * n_targets.

    `nodes`, shape (n_targets,), are the first ones that the targets reach, `factors`, shape (n_targets, width), what
    those and the next count; `grid` has the shape (n_leading, n_nodes, n_columns), `out` targets in place of nodes.
    """
    cdef Py_ssize_t n_targets = factors.shape[0], row = first, a, n, t
    if (
        out.shape[0] != grid.shape[0] or out.shape[1] != n_targets or out.shape[2] != grid.shape[2]
        or nodes.shape[0] != n_targets or not 0 <= first <= last <= grid.shape[0] * n_targets
    ):
        raise ValueError("grid, targets and out do not fit together")
    for t in range(n_targets):
        if not 0 <= nodes[t] <= grid.shape[1] - factors.shape[1]:
            raise ValueError(f"target {t} reaches beyond the grid")
    with nogil:
        while row < last:
            a, t = row // n_targets, row % n_targets
            n = min(last - row, n_targets - t)
            gg.gauss_contract(&grid[a, 0, 0], grid.shape[2], &nodes[t], &factors[t, 0], n, factors.shape[1],
                              &out[a, t, 0])
            row += n
