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
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np

from gaussum import cell_moments, parallel
from gaussum.grid_pass import GridPass, contract
from gaussum.layout import EPS, FUSED_SECONDS, MOST_TILES, Layout, left_out
from gaussum.samples import Samples
from gaussum.typing import FloatArray, IndexArray, MaskArray, SampleArray

_ORDERED_NODES = 1 << 19            # a grid beyond the caches (4 MB) is visited in order
_MOST_PARTS = 16                    # each with planes of its own
_PLACE_SECONDS = 3e-9               # of finding a source's tile


_Result = TypeVar("_Result")


class Nodes(Protocol):
    """What is asked of the nodes of a grid."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def n_nodes(self) -> int: ...


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

    def __init__(
        self, layout: Layout, sources: FloatArray, weights: FloatArray, rtol: float, n_threads: int | None
    ) -> None:
        d = len(layout.shape)
        self._layout, self._weights = layout, weights
        self._pass = GridPass(layout.width, layout.spacing, layout.scale, layout.stretches, layout.shape)
        self._sources = Samples(sources.T)
        self._cell_weights: FloatArray | None = None        # where there are cells
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
        self._rounding = 8.0 * EPS * (len(weights) + 1000.0) / rtol

    def log_density(
        self, X: SampleArray, out: FloatArray, *, own: FloatArray | None = None, n_threads: int | None = None,
        gradient: FloatArray | None = None
    ) -> None:
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

        def gather(part: int, slot: int) -> None:
            first, last = part * n // n_parts, (part + 1) * n // n_parts
            self._pass.gather(targets, order, first, last, self._grid, own, threshold, self._log_factor, out,
                              scratch[slot], gradient)

        parallel.run(n_parts, n_threads, gather)

    def log_density_on_axes(self, axes: Sequence[FloatArray], n_threads: int | None = None) -> FloatArray:
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

    def tile_weights(self, nodes: int, n_threads: int | None = None) -> FloatArray:
        """What the sources weigh in each tile of so many nodes an axis, shape (n_tiles_1, ..., n_tiles_d)."""
        shape = self._pass.tile_shape(nodes)
        weights = np.zeros(math.prod(shape))
        if self._cell_weights is not None:
            tiles = np.arange(len(self._cell_weights)) // (self._layout.subdivisions * nodes)
            return np.bincount(tiles, self._cell_weights, len(weights)).astype(np.float64, copy=False)

        def weigh(first: int, last: int) -> FloatArray:
            sums = np.zeros(weights.size)
            self._pass.weigh(self._sources, first, last, self._weights, nodes, sums)
            return sums

        def add(sums: FloatArray) -> None:
            weights[:] += sums

        self._by_parts(weigh, add, n_threads)
        return weights.reshape(shape)

    def in_tiles(self, wanted: MaskArray, nodes: int, n_threads: int | None = None) -> IndexArray:
        """The sources in wanted tiles, ndarray of intp; `wanted` is of bool, of the shape of `tile_weights`."""
        chosen = wanted.ravel().view(np.uint8)
        found: list[IndexArray] = []

        def select(first: int, last: int) -> IndexArray:
            index = np.empty(last - first, dtype=np.intp)
            return index[: self._pass.select(self._sources, first, last, chosen, nodes, index)].copy()

        self._by_parts(select, found.append, n_threads)
        return np.concatenate(found)

    def _by_parts(
        self, work: Callable[[int, int], _Result], merge: Callable[[_Result], object], n_threads: int | None
    ) -> None:
        n = self._sources.n
        n_parts = min(_MOST_PARTS, parallel.n_parts(n, n * _PLACE_SECONDS))
        parallel.run(n_parts, parallel.resolve_threads(n_threads, n * _PLACE_SECONDS), lambda part, slot: work(
            part * n // n_parts, (part + 1) * n // n_parts), merge)

    def _spread(self, n_threads: int | None) -> FloatArray:
        layout, weights = self._layout, self._weights
        if layout.subdivisions:
            return self._spread_by_cells(n_threads)
        return spread_in_parts(layout, self._pass, self._sources, weights, layout.seconds(len(weights)), n_threads)

    def _spread_by_cells(self, n_threads: int | None) -> FloatArray:
        layout, n = self._layout, len(self._weights)
        seconds = layout.spread_seconds(n)
        n_parts = min(_MOST_PARTS, parallel.n_parts(n, seconds))
        n_threads = min(parallel.resolve_threads(n_threads, seconds), n_parts)
        scratch = [np.empty(self._pass.scratch_size) for _ in range(n_threads)]
        grid, total = np.zeros(layout.n_nodes), np.zeros((layout.subdivisions * layout.n_nodes, cell_moments.MOMENTS))

        def moments(part: int, slot: int) -> FloatArray:
            mine = np.zeros_like(total)
            self._pass.moments(self._sources, self._weights, part * n // n_parts, (part + 1) * n // n_parts,
                               layout.subdivisions, mine, scratch[slot])
            return mine

        def add(mine: FloatArray) -> None:
            total[:] += mine

        parallel.run(n_parts, n_threads, moments, add)
        self._pass.expand(total, cell_moments.expansions(layout.subdivisions, layout.width, layout.spacing), grid)
        self._cell_weights = total[:, 0].copy()
        return grid


def _contracted(grid: FloatArray, j: int, nodes: IndexArray, factors: FloatArray, n_threads: int | None) -> FloatArray:
    """A grid gathered along axis j at targets there."""
    shape = (*grid.shape[:j], len(nodes), *grid.shape[j + 1:])
    grid = grid.reshape(math.prod(grid.shape[:j]), grid.shape[j], -1)
    out = np.empty((grid.shape[0], len(nodes), grid.shape[2]))
    rows, seconds = grid.shape[0] * len(nodes), out.size * factors.shape[1] * FUSED_SECONDS
    n_parts = parallel.n_parts(rows, seconds, smallest=1)
    parallel.run(n_parts, parallel.resolve_threads(n_threads, seconds), lambda part, slot: contract(
        grid, nodes, factors, part * rows // n_parts, (part + 1) * rows // n_parts, out
    ))
    return out.reshape(shape)


def spread_in_parts(
    layout: Nodes, grid_pass: GridPass, points: Samples, weights: FloatArray, seconds: float, n_threads: int | None,
    more: int = 0
) -> FloatArray:
    """The nodes of a grid, shape (n_nodes,), when points are spread over it part by part.

    Parameters
    ----------
    layout : object with `shape` and `n_nodes`
    grid_pass : GridPass
    points : Samples
    weights : ndarray of float64, shape (n_points,)
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

    def some(part: int, slot: int) -> tuple[int, FloatArray]:
        first, last = part * n // n_parts, (part + 1) * n // n_parts
        begin, end = grid_pass.reach(points, order, first, last)
        begin, end = begin - more, end + more
        planes = np.zeros((end - begin) * plane)
        grid_pass.spread(points, order, weights, first, last, begin, planes, scratch[slot])
        return begin * plane, planes

    def add(part: tuple[int, FloatArray]) -> None:
        begin, planes = part
        grid[begin : begin + planes.size] += planes

    parallel.run(n_parts, n_threads, some, add)
    return grid


def visiting_order(layout: Nodes, grid_pass: GridPass, points: Samples, n_threads: int) -> IndexArray | None:
    """An order in which neighbours in the grid follow each other, or None for the points' own."""
    if layout.n_nodes <= _ORDERED_NODES or grid_pass.n_tiles > MOST_TILES:
        return None
    tiles, n_parts = np.empty(points.n, dtype=np.uint16), min(_MOST_PARTS, points.n)
    parallel.run(n_parts, n_threads, lambda part, slot: grid_pass.tiles(
        points, part * points.n // n_parts, (part + 1) * points.n // n_parts, tiles
    ))
    return np.argsort(tiles, kind="stable")         # of 16 bits: by digits, in linear time
