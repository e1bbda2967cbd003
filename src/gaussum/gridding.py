"""Gaussian sums by way of a regular grid, in one to three dimensions.

Sources are spread over the nodes of a grid with a Gaussian of half the kernel's variance, and the grid is gathered at
the targets with the same Gaussian: together they make the kernel (see kernels/gauss_grid.pyx). The cost of a source,
or of a target, is `width` to the power of the dimension, however many sources a target has around it, and all terms
are positive, so that errors are relative to the density but for what the finite width leaves out.

Gaussian gridding is that of non-uniform Fourier transforms (Greengard and Lee, SIAM Review 46, 2004, 443), here
without a transform: the grid is the sum itself.

Two short cuts. With one feature, sources go to the nodes by the moments of small cells (gaussum.cell_moments). At
the targets of a tensor grid, the nodes are gathered along one axis after the other.
"""

import math

import numpy as np

from gaussum import cell_moments, parallel
from gaussum.grid_pass import GridPass, contract
from gaussum.samples import Samples

WIDTHS = (16, 24, 32)
MOST_AXES = 3
MOST_NODES = 1 << 24                # 128 MB
_MOST_TILES = 1 << 16
_TILE_NODES = 8                     # of an axis, as in grid_pass
_ORDERED_NODES = 1 << 19            # a grid beyond the caches (4 MB) is visited in order
_MOST_PARTS = 16                    # each with planes of its own
# A grid is of use where the density is down to this fraction of its largest value.
_DEPTH = 1e-5
_EPS = 2.0**-53

# Seconds of a point: its exponentials, on each axis, and a row of nodes; and of a node.
_POINT_SECONDS = 10e-9
_AXIS_SECONDS = 9e-9
_ROW_SECONDS = {16: 2.2e-9, 24: 3.2e-9, 32: 4.2e-9}
NODE_SECONDS = 3e-9
_UNORDERED_NODE_SECONDS = 70e-9
_PLACE_SECONDS = 3e-9           # of finding a source's tile
# Of contracting an axis: of a node and a column.
_FUSED_SECONDS = 0.15e-9


class Layout:
    """The nodes that sources need for a relative error of `rtol`.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources)
    inv_bandwidth : ndarray, shape (n_features,)
    rtol : float

    Attributes
    ----------
    reason : str or None
        Why there is no grid.
    width : int
    spacing : float
        In bandwidths.
    shape : tuple of int
    stretches : list of ndarray
        See GridPass.
    subdivisions : int
        Cells a spacing, where sources go to the nodes by way of cells; 0 where they go there themselves.
    """

    def __init__(self, sources, inv_bandwidth, rtol):
        d, n = sources.shape
        self.reason, self.shape, self.stretches, self.subdivisions = None, (), [], 0
        if d > MOST_AXES:
            self.reason = f"a grid serves up to {MOST_AXES} features"
            return
        # half of rtol is for the nodes that the width leaves out, a quarter for the spacing, a quarter for rounding
        self.spacing = spacing_for(d, rtol)
        self.width = width_for(d, rtol, self.spacing)
        if self.width is None or rtol < lost_terms(n):
            self.reason = f"the bound {rtol:g} is too close to rounding for a grid"
            return
        self.scale = inv_bandwidth / self.spacing
        for j in range(d):
            stretches = stretches_of(sources[j], self.scale[j], self.width, 3 * self.width)
            if stretches is None:
                self.reason = "the sources spread over too many bandwidths for a grid"
                return
            self.stretches.append(stretches)
            self.shape += (int(stretches[2, -1] + (stretches[1, -1] - stretches[0, -1]) * self.scale[j])
                           + self.width + 2,)
        self.n_nodes = math.prod(self.shape)
        if self.n_nodes > MOST_NODES:
            self.reason = f"a grid would need {self.n_nodes:.3g} nodes"
        elif rtol < lost_places(self.width, self.spacing, self.shape):
            self.reason = f"the bound {rtol:g} is too close to rounding for a grid of this length"
        elif d == 1:
            reach = 0.5 * self.width * self.spacing
            self.subdivisions = cell_moments.subdivisions(n, self.n_nodes, self.spacing, reach, rtol)


    def band(self, j, points):
        """The nodes of axis j that points on it reach.

        Parameters
        ----------
        j : int
        points : ndarray of float64, shape (n_points,)

        Returns
        -------
        nodes : ndarray of intp, shape (n_points,)
            The first of them.
        factors : ndarray, shape (n_points, width)
            exp(-(t - g)^2) in the measure of the nodes; 0 for points that reach beyond the grid.
        """
        first, last, begin = self.stretches[j]
        scale, margin = self.scale[j], self.width // 2
        low = np.clip(np.searchsorted(first, points, side="right") - 1, 0, None)
        with np.errstate(over="ignore", invalid="ignore"):
            beyond = (points - first[low]) * scale > (last[low] - first[low]) * scale + margin
            low += beyond & (low + 1 < len(first))
            v = (points - first[low]) * scale
            inside = (v >= -margin) & (v <= (last[low] - first[low]) * scale + margin)
        place = np.where(inside, v, 0.0) + begin[low]
        nodes = np.floor(place).astype(np.intp) - (self.width // 2 - 1)
        r = ((place - nodes)[:, np.newaxis] - np.arange(self.width)) * self.spacing
        return nodes, np.exp(-r * r) * inside[:, np.newaxis]

    def tile_bounds(self, j, nodes, n_tiles):
        """The ranges that hold the sources of an axis's tiles of so many nodes, shape (2, n_tiles); NaN for none."""
        out = np.full((2, n_tiles), np.nan)
        for first, last, begin in self.stretches[j].T:
            slack = 1e-6 * nodes + 4.0 * _EPS * begin           # a place is rounded
            low, high = int(begin - slack) // nodes, int(begin + (last - first) * self.scale[j] + slack) // nodes
            tiles = np.arange(low, min(high + 1, n_tiles))
            out[0, tiles] = np.fmin(out[0, tiles], np.maximum(
                first, first + (tiles * nodes - begin - slack) / self.scale[j]))
            out[1, tiles] = np.fmax(out[1, tiles], np.minimum(
                last, first + ((tiles + 1) * nodes - begin + slack) / self.scale[j]))
        return out

    def spread_seconds(self, n_points):
        """Of bringing so many sources to the nodes, on one thread."""
        if self.subdivisions:
            return cell_moments.seconds(n_points, self.subdivisions * self.n_nodes)
        return self.seconds(n_points)

    def contraction_seconds(self, sizes):
        """Of gathering the nodes at a tensor grid of so many targets an axis, on one thread."""
        shape, seconds = list(self.shape), 0.0
        for j in self.contraction_order(sizes):
            shape[j] = sizes[j]
            seconds += math.prod(shape) * self.width * _FUSED_SECONDS
        return seconds

    def contraction_order(self, sizes):
        """The axes, those first that make the grid smallest."""
        return sorted(range(len(sizes)), key=lambda j: sizes[j] / self.shape[j])

    def seconds(self, n_points):
        """Of spreading, or gathering, so many points on one thread."""
        return n_points * point_seconds(len(self.shape), self.width)

    def node_seconds(self):
        """Of making the nodes: more where there are too many to visit in order, as each part then makes all of them."""
        tiles = math.prod(size // _TILE_NODES + 1 for size in self.shape)
        return self.n_nodes * (NODE_SECONDS if tiles <= _MOST_TILES else _UNORDERED_NODE_SECONDS)


def point_seconds(d, width):
    """Of spreading, or gathering, a point on one thread."""
    return _POINT_SECONDS + d * _AXIS_SECONDS + width ** (d - 1) * _ROW_SECONDS[width]


def spacing_for(d, rtol):
    """The spacing of nodes, in bandwidths, whose error is a quarter of rtol."""
    return math.pi / math.sqrt(2.0 * math.log(8.1 * d / min(rtol, 0.1)))


def width_for(d, rtol, spacing):
    """The least width that leaves out half of rtol at most, down to some depth; None if there is none."""
    return next((w for w in WIDTHS if left_out(d, w, spacing) <= 0.5 * rtol * _DEPTH), None)


def lost_terms(n_sources):
    """What the rounding of so many terms may come to in a sum."""
    return 4.0 * _EPS * (n_sources + 1000.0)


def lost_places(width, spacing, shape):
    """What the rounding of places among so many nodes may come to in a sum."""
    return 4.0 * len(shape) * 4.0 * width * spacing**2 * _EPS * max(shape)


def stretches_of(x, scale, pad, apart):
    """The stretches of an axis, shape (3, n_stretches), or None where there are too many nodes.

    Parameters
    ----------
    x : ndarray of float64, shape (n_sources,)
    scale : float
        Nodes a unit.
    pad : int
        Nodes before and after each stretch.
    apart : int
        Nodes beyond which neither side of a gap reaches the other: the way between them is left out.
    """
    low, high = x.min(), x.max()
    with np.errstate(over="ignore", invalid="ignore"):
        if (high - low) * scale <= 4096:
            return np.array([[low], [high], [float(pad)]])
        x = np.sort(x)
        gaps = np.flatnonzero((x[1:] - x[:-1]) * scale > apart)
        first, last = x[np.append(0, gaps + 1)], x[np.append(gaps, len(x) - 1)]
        lengths = np.floor((last - first) * scale) + 2 * pad + 1
        if not lengths.sum() < MOST_NODES:
            return None
        return np.stack([first, last, pad + np.append(0.0, np.cumsum(lengths)[:-1])])


def left_out(d, width, spacing):
    """What the nodes beyond the width may come to, in units of the largest node in the measure of the sums.

    Nodes beyond the reach of the target: at most the largest one, times the tail of a Gaussian sum on one axis and
    whole ones on the others. Nodes beyond that of the source: exp(-v^2) <= exp(-(1 - k) c^2) exp(-k v^2) for v >= c
    leaves a sum of wider Gaussians, of variance B^2, which is no more than a multiple of the largest node.
    """
    c = 0.5 * width * spacing
    k = 0.5 / c**2
    wide = math.sqrt((1.0 + k) / (2.0 * k))
    of_target = 2.0 * spacing / math.sqrt(math.pi) * math.exp(-c * c) / -math.expm1(-2.0 * c * spacing)
    of_source = math.exp(-(1.0 - k) * c * c) * math.sqrt(2.0 / (1.0 + k)) * wide
    return 1.1 * d * 2.0 ** (d / 2) * (of_target + of_source)


class GridSum:
    """The sums of given sources at any targets, where they are large enough.

    Parameters
    ----------
    layout : Layout
    sources : ndarray of float64, shape (n_features, n_sources)
    weights : ndarray of float64, shape (n_sources,)
        Adding up to 1.
    rtol : float
    n_threads : int or None
    """

    def __init__(self, layout, sources, weights, rtol, n_threads):
        d = len(layout.shape)
        self._layout, self._weights = layout, weights
        self._pass = GridPass(layout.width, layout.spacing, layout.scale, layout.stretches, layout.shape)
        self._sources = Samples(sources.T)
        self._cell_weights = None       # where there are cells
        self._grid = self._spread(n_threads)
        # the trapezoidal sums, and back from sums of weights that are at most 1
        factor = (layout.spacing * math.sqrt(2.0 / math.pi)) ** d
        self._log_factor = math.log(factor)
        c = 0.5 * layout.width * layout.spacing
        largest = self._grid.max() + math.exp(-c * c)
        apart = math.exp(-0.5 * (5.0 * c) ** 2)         # the sources of other stretches
        nodes = left_out(d, layout.width, layout.spacing) * largest
        # in the measure of the nodes, as the pass compares before it multiplies by the factor
        self._threshold = max(2.0 * (nodes + apart) / rtol, 1e-280) / factor
        # what is left out is some c bandwidths from a target, or at the other stretches, and counts twice that
        self._moment_threshold = max(4.0 * c * (nodes + 3.0 * apart) / rtol, 1e-270) / factor
        # what rounding leaves of a difference, where a source takes itself out
        self._rounding = 8.0 * _EPS * (len(weights) + 1000.0) / rtol

    def log_density(self, X, out, *, own=None, n_threads=None, gradient=None):
        """Set `out` to the log sums; to minus infinity where they are too small to be right to rtol.

        Parameters
        ----------
        X : ndarray, shape (n_targets, n_features)
        out : ndarray of float64, shape (n_targets,)
        own : ndarray of float64, shape (n_targets,), optional
            The weights of the sources that are the targets: each leaves itself out.
        gradient : ndarray of float64, shape (n_targets, n_features), optional
            Set to the gradient of the log sums, where these are right; not with `own`.
        """
        targets, n = Samples(X), X.shape[0]
        seconds = self._layout.seconds(n)
        n_parts = parallel.n_parts(n, seconds, smallest=256)
        n_threads = min(parallel.resolve_threads(n_threads, seconds), n_parts)
        order = visiting_order(self._layout, self._pass, targets, n_threads)
        scratch = [np.empty(self._pass.scratch_size) for _ in range(n_threads)]
        threshold = self._threshold if gradient is None else self._moment_threshold
        if own is not None:
            threshold = max(threshold, self._rounding * own.max())

        def gather(part, slot):
            first, last = part * n // n_parts, (part + 1) * n // n_parts
            self._pass.gather(targets, order, first, last, self._grid, own, threshold, self._log_factor, out,
                              scratch[slot], gradient)

        parallel.run(n_parts, n_threads, gather)

    def log_density_on_axes(self, axes, n_threads=None):
        """The log sums at all points of a tensor grid; minus infinity where they are too small to be right to rtol.

        Parameters
        ----------
        axes : sequence of ndarrays of float64, shape (n_j,)
        n_threads : int or None

        Returns
        -------
        ndarray, shape (n_1, ..., n_d)
        """
        layout, grid = self._layout, self._grid.reshape(self._layout.shape)
        for j in layout.contraction_order([len(axis) for axis in axes]):
            grid = _contracted(grid, j, *layout.band(j, axes[j]), n_threads)
        large = grid >= self._threshold
        np.log(grid, where=large, out=grid)
        grid += self._log_factor
        grid[~large] = -np.inf
        return grid

    def tile_weights(self, nodes, n_threads=None):
        """What the sources weigh in each tile of so many nodes an axis, shape (n_tiles_1, ..., n_tiles_d)."""
        shape = self._pass.tile_shape(nodes)
        weights = np.zeros(math.prod(shape))
        if self._cell_weights is not None:
            tiles = np.arange(len(self._cell_weights)) // (self._layout.subdivisions * nodes)
            return np.bincount(tiles, self._cell_weights, len(weights))

        def weigh(first, last):
            sums = np.zeros(weights.size)
            self._pass.weigh(self._sources, first, last, self._weights, nodes, sums)
            return sums

        def add(sums):
            weights[:] += sums

        self._by_parts(weigh, add, n_threads)
        return weights.reshape(shape)

    def in_tiles(self, wanted, nodes, n_threads=None):
        """The sources in wanted tiles, ndarray of intp; `wanted` is of bool, of the shape of `tile_weights`."""
        wanted, found = wanted.ravel().view(np.uint8), []

        def select(first, last):
            index = np.empty(last - first, dtype=np.intp)
            return index[: self._pass.select(self._sources, first, last, wanted, nodes, index)].copy()

        self._by_parts(select, found.append, n_threads)
        return np.concatenate(found)

    def _by_parts(self, work, merge, n_threads):
        n = self._sources.n
        n_parts = min(_MOST_PARTS, parallel.n_parts(n, n * _PLACE_SECONDS))
        parallel.run(n_parts, parallel.resolve_threads(n_threads, n * _PLACE_SECONDS), lambda part, slot: work(
            part * n // n_parts, (part + 1) * n // n_parts), merge)

    def _spread(self, n_threads):
        layout, weights = self._layout, self._weights
        if layout.subdivisions:
            return self._spread_by_cells(n_threads)

        def spread(order, first, last, begin, planes, scratch):
            self._pass.spread(self._sources, order, weights, first, last, begin, planes, scratch)

        return spread_in_parts(spread, layout, self._pass, self._sources, layout.seconds(len(weights)), n_threads)

    def _spread_by_cells(self, n_threads):
        layout, n = self._layout, len(self._weights)
        seconds = layout.spread_seconds(n)
        n_parts = min(_MOST_PARTS, parallel.n_parts(n, seconds))
        n_threads = min(parallel.resolve_threads(n_threads, seconds), n_parts)
        scratch = [np.empty(self._pass.scratch_size) for _ in range(n_threads)]
        grid, total = np.zeros(layout.n_nodes), np.zeros((layout.subdivisions * layout.n_nodes, cell_moments.MOMENTS))

        def moments(part, slot):
            mine = np.zeros_like(total)
            self._pass.moments(self._sources, self._weights, part * n // n_parts, (part + 1) * n // n_parts,
                               layout.subdivisions, mine, scratch[slot])
            return mine

        def add(mine):
            total[:] += mine

        parallel.run(n_parts, n_threads, moments, add)
        self._pass.expand(total, cell_moments.expansions(layout.subdivisions, layout.width, layout.spacing), grid)
        self._cell_weights = total[:, 0].copy()
        return grid


def _contracted(grid, j, nodes, factors, n_threads):
    """A grid gathered along axis j at targets there."""
    shape = (*grid.shape[:j], len(nodes), *grid.shape[j + 1:])
    grid = grid.reshape(math.prod(grid.shape[:j]), grid.shape[j], -1)
    out = np.empty((grid.shape[0], len(nodes), grid.shape[2]))
    rows, seconds = grid.shape[0] * len(nodes), out.size * factors.shape[1] * _FUSED_SECONDS
    n_parts = parallel.n_parts(rows, seconds, smallest=1)
    parallel.run(n_parts, parallel.resolve_threads(n_threads, seconds), lambda part, slot: contract(
        grid, nodes, factors, part * rows // n_parts, (part + 1) * rows // n_parts, out
    ))
    return out.reshape(shape)

def spread_in_parts(spread, layout, grid_pass, points, seconds, n_threads, more=0):
    """The nodes of a grid, shape (n_nodes,), when points are spread over it part by part.

    Parameters
    ----------
    spread : callable
        ``spread(order, first, last, begin, planes, scratch)`` adds points to planes that begin with number `begin`.
    layout : object with `shape` and `n_nodes`
    grid_pass : GridPass
    points : Samples
    seconds : float
        What that takes on one thread.
    n_threads : int or None
    more : int
        Nodes on either side that a point reaches beyond the pass's width.
    """
    n, plane = points.n, math.prod(layout.shape[1:])
    n_parts = min(_MOST_PARTS, parallel.n_parts(n, seconds))
    n_threads = min(parallel.resolve_threads(n_threads, seconds), n_parts)
    order = visiting_order(layout, grid_pass, points, n_threads)
    scratch = [np.empty(grid_pass.scratch_size) for _ in range(n_threads)]
    grid = np.zeros(layout.n_nodes)

    def some(part, slot):
        first, last = part * n // n_parts, (part + 1) * n // n_parts
        begin, end = grid_pass.reach(points, order, first, last)
        begin, end = begin - more, end + more
        planes = np.zeros((end - begin) * plane)
        spread(order, first, last, begin, planes, scratch[slot])
        return begin * plane, planes

    def add(part):
        begin, planes = part
        grid[begin : begin + planes.size] += planes

    parallel.run(n_parts, n_threads, some, add)
    return grid


def visiting_order(layout, grid_pass, points, n_threads):
    """An order in which neighbours in the grid follow each other, or None for the points' own."""
    if layout.n_nodes <= _ORDERED_NODES or grid_pass.n_tiles > _MOST_TILES:
        return None
    tiles, n_parts = np.empty(points.n, dtype=np.uint16), min(_MOST_PARTS, points.n)
    parallel.run(n_parts, n_threads, lambda part, slot: grid_pass.tiles(
        points, part * points.n // n_parts, (part + 1) * points.n // n_parts, tiles
    ))
    return np.argsort(tiles, kind="stable")         # of 16 bits: by digits, in linear time
