"""Gaussian sums at the points of a tensor grid: products of tables of one axis each, and what counts in the tails.

On such a grid the terms of a source factor: exp(-|t - s|^2 / 2) is a product over the axes of numbers that all points
in a row share. The sums are then a product of matrices, whose rows are the points of some axes and of the others, with
the sources between them.

In the tails hardly any source counts. Which do is told by boxes: the sum at a point is at least what the best box
would give from its far end, and a box that gives less from its near end than a share of rtol of that is left out. Both
are maxima over boxes of sums over axes, and so are taken one axis at a time (as distance transforms are: Felzenszwalb
and Huttenlocher, Theory of Computing 8, 2012, 415).
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from gaussum import parallel
from gaussum.typing import FloatArray, IndexArray, MaskArray

# Targets on either side of a product, and sources between them.
_SIDE = 512
_SOURCES = 512
# Terms below this are lost; sums above the other do not miss them.
_LOST = 1e-300
_TAIL = 1e-270
# Seconds on one thread: of an entry of a table, and of a fused operation of a matrix product.
_TABLE_SECONDS = 2.5e-9
_FUSED_SECONDS = 0.04e-9
# Boxes of sources, and of targets, on all axes together and on each; and the stretches of an axis that are looked at.
_BOXES = 1 << 16
_MOST_BOXES = 256
_MOST_STRETCHES = 4096
_TILE_NODES = 8


class NodeLayout(Protocol):
    """The nodes of a grid, as of gaussum.gridding.Layout."""

    @property
    def stretches(self) -> Sequence[FloatArray]:
        """The occupied parts of each axis."""

    @property
    def shape(self) -> Sequence[int]:
        """Nodes an axis."""

    @property
    def scale(self) -> FloatArray:
        """Of each axis, in bandwidths."""

    @property
    def spacing(self) -> float:
        """Of the nodes."""

    def tile_bounds(self, j: int, nodes: int, n_tiles: int) -> FloatArray:
        """The ranges that hold the sources of each tile along an axis, shape (2, n_tiles)."""


class TiledGrid(Protocol):
    """What sources weigh on a grid, as gaussum.gridding.GridSum."""

    def tile_weights(self, nodes: int, n_threads: int | None) -> FloatArray:
        """The weight in each tile."""

    def in_tiles(self, chosen: MaskArray, nodes: int, n_threads: int | None) -> IndexArray:
        """The sources in some tiles."""


def product_seconds(n_sources: int, sizes: Sequence[int]) -> float:
    """Of the sums by products, on one thread, at a tensor grid of so many points an axis."""
    sides = _sides(sizes)
    tables = sum(side * -(-other // _SIDE) for side, other in zip(sides, sides[::-1]))
    return n_sources * (tables * _TABLE_SECONDS + math.prod(sizes) * _FUSED_SECONDS)


def product_log_density(
    sources: FloatArray, weights: FloatArray, inv_bandwidth: FloatArray, axes: Sequence[FloatArray],
    n_threads: int | None,
) -> FloatArray:
    """log sum_s w_s prod_j exp(-((t_j - s_j) / h_j)^2 / 2) on a tensor grid; minus infinity where terms may be lost.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources), from two features on
    weights : ndarray of float64, shape (n_sources,)
        Adding up to 1.
    inv_bandwidth : ndarray of float64, shape (n_features,)
    axes : sequence of ndarrays of float64, shape (n_j,)
    n_threads : int or None

    Returns
    -------
    ndarray, shape (n_1, ..., n_d)
    """
    sizes = [len(axis) for axis in axes]
    out = np.empty(_sides(sizes))
    split = _split(sizes)
    rows, columns = (range(0, side, _SIDE) for side in out.shape)

    def multiply(part: int, slot: int) -> None:
        a, b = rows[part // len(columns)], columns[part % len(columns)]
        tile = out[a : a + _SIDE, b : b + _SIDE]
        left = _Side(axes[:split], a, tile.shape[0], inv_bandwidth[:split])
        right = _Side(axes[split:], b, tile.shape[1], inv_bandwidth[split:])
        total = np.zeros(tile.shape)
        for s in range(0, len(weights), _SOURCES):
            block = sources[:, s : s + _SOURCES]
            total += (left.table(block[:split]) * weights[s : s + _SOURCES]) @ right.table(block[split:]).T
        large = total >= _TAIL
        np.log(total, where=large, out=tile)
        tile[~large] = -np.inf

    n_parts = len(rows) * len(columns)
    n_threads = min(n_parts, parallel.resolve_threads(n_threads, product_seconds(len(weights), sizes)))
    with parallel.single_threaded_blas():
        parallel.run(n_parts, n_threads, multiply)
    return out.reshape(sizes)


class _Side:
    """Some points of the tensor grid of some axes: `count` of them from `first` on, in C order."""

    def __init__(self, axes: Sequence[FloatArray], first: int, count: int, inv_bandwidth: FloatArray) -> None:
        places = np.unravel_index(np.arange(first, first + count), [len(axis) for axis in axes])
        self._axes = []
        for axis, place, g in zip(axes, places, inv_bandwidth):
            used, place = np.unique(place, return_inverse=True)
            self._axes.append((axis[used], place, g))

    def table(self, sources: FloatArray) -> FloatArray:
        """prod_j exp(-((t_j - s_j) / h_j)^2 / 2), shape (n_points, n_sources)."""
        out: FloatArray | None = None
        for (t, place, g), s in zip(self._axes, sources):
            z = np.subtract.outer(t, s)
            with np.errstate(over="ignore", under="ignore"):
                z *= g
                z *= z
                z *= -0.5
                np.exp(z, out=z)
            z[z < _LOST] = 0.0
            z = z[place] if len(place) != len(t) or out is None else z
            out = z if out is None else np.multiply(out, z, out=out)
        assert out is not None                          # there is an axis on either side
        return out


def _split(sizes: Sequence[int]) -> int:
    """How many axes stand on the left of a product: so many that both sides are short."""
    return min(range(1, len(sizes)), key=lambda k: math.prod(sizes[:k]) + math.prod(sizes[k:]))


def _sides(sizes: Sequence[int]) -> tuple[int, int]:
    split = _split(sizes)
    return math.prod(sizes[:split]), math.prod(sizes[split:])


def counting(
    layout: NodeLayout, grid: TiledGrid, axes: Sequence[FloatArray], wanted: MaskArray, rtol: float,
    n_threads: int | None,
) -> IndexArray | None:
    """The sources that count at the wanted points of a tensor grid: the others come to at most rtol of any sum there.

    Parameters
    ----------
    layout : gaussum.gridding.Layout
    grid : gaussum.gridding.GridSum
    axes : sequence of ndarrays of float64, shape (n_j,)
    wanted : ndarray of bool, shape (n_1, ..., n_d)
    rtol : float
    n_threads : int or None

    Returns
    -------
    ndarray of intp, or None
        None where an axis has too many stretches, or a point is so far away that no box says anything.
    """
    if max(stretches.shape[1] for stretches in layout.stretches) > _MOST_STRETCHES:
        return None
    most = min(_MOST_BOXES, int(_BOXES ** (1.0 / len(axes))))
    nodes = max(_TILE_NODES, -(-max(layout.shape) // most))
    weights = grid.tile_weights(nodes, n_threads)
    near, far = [], []
    for j, axis in enumerate(axes):
        starts = np.arange(min(most, len(axis))) * len(axis) // min(most, len(axis))
        wanted = np.logical_or.reduceat(wanted, starts, axis=j)
        low, high = np.minimum.reduceat(axis, starts)[:, np.newaxis], np.maximum.reduceat(axis, starts)[:, np.newaxis]
        first, last = layout.tile_bounds(j, nodes, weights.shape[j])
        g = layout.scale[j] * layout.spacing
        with np.errstate(over="ignore", invalid="ignore"):
            near.append(0.5 * (np.maximum(np.maximum(first - high, low - last), 0.0) * g) ** 2)
            far.append(0.5 * (np.maximum(high - first, last - low) * g) ** 2)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_weights = np.log(weights)
        least = _best(log_weights, far)                             # of the sums of each box of targets
        least -= 1e-12 * np.abs(least) + math.log(np.count_nonzero(weights) / rtol)
        if not np.isfinite(least[wanted]).all():
            return None
        most_seen = _best(np.where(wanted, -least, -np.inf), [distance.T for distance in near])
        counts = ~(log_weights + most_seen < 0.0) & (weights > 0.0)
    return grid.in_tiles(counts, nodes, n_threads)


def _best(values: FloatArray, distances: Sequence[FloatArray]) -> FloatArray:
    """max_s (values_s - sum_j distances_j[t_j, s_j]) for all t, one axis after the other."""
    for j, distance in enumerate(distances):
        values = np.moveaxis(values, j, 0)
        out = np.full((distance.shape[0], *values.shape[1:]), -np.inf)
        shape = (-1, *[1] * (values.ndim - 1))
        for value, column in zip(values, distance.T):
            # where there is nothing, nothing is gained: neither NaN nor minus infinity counts
            out = np.fmax(out, value - column.reshape(shape))
        values = np.moveaxis(out, 0, j)
    return values
