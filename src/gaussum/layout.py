"""The nodes of grids over which Gaussian sums are taken, as many as a bound on their error asks for, and their costs.

What an error is made of: the spacing of the nodes, the finite width of what a point reaches, and rounding. The first
two are fixed by rtol alone, the number of nodes by how far the sources spread, long gaps left out.
"""

import math
from collections.abc import Sequence

import numpy as np

from gaussum import cell_moments
from gaussum.typing import FloatArray, IndexArray

WIDTHS = (16, 24, 32)
MOST_AXES = 3
MOST_NODES = 1 << 24                # 128 MB
MOST_TILES = 1 << 16
_TILE_NODES = 8                     # of an axis, as in grid_pass
# What a grid costs before its first point.
GRID_SECONDS = 300e-6
# A grid is of use where the density is down to this fraction of its largest value.
_DEPTH = 1e-5
EPS = 2.0**-53

# Seconds of a point: its exponentials, on each axis, and a row of nodes; and of a node.
_POINT_SECONDS = 10e-9
_AXIS_SECONDS = 9e-9
_ROW_SECONDS = {16: 2.2e-9, 24: 3.2e-9, 32: 4.2e-9}
NODE_SECONDS = 3e-9
_UNORDERED_NODE_SECONDS = 70e-9
# Of contracting an axis: of a node and a column.
FUSED_SECONDS = 0.15e-9


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
    too_many : bool
        Whether that is because the sources spread over too many nodes.
    width : int
    spacing : float
        In bandwidths.
    shape : tuple of int
    stretches : list of ndarray
        See GridPass.
    subdivisions : int
        Cells a spacing, where sources go to the nodes by way of cells; 0 where they go there themselves.
    """

    def __init__(self, sources: FloatArray, inv_bandwidth: FloatArray, rtol: float) -> None:
        d, n = sources.shape
        self.reason: str | None = None
        self.shape: tuple[int, ...] = ()
        self.stretches: list[FloatArray] = []
        self.subdivisions, self.too_many = 0, False
        if d > MOST_AXES:
            self.reason = f"a grid serves up to {MOST_AXES} features"
            return
        # half of rtol is for the nodes that the width leaves out, a quarter for the spacing, a quarter for rounding
        self.spacing = spacing_for(d, rtol)
        width = width_for(d, rtol, self.spacing)
        if width is None or rtol < lost_terms(n):
            self.reason = f"the bound {rtol:g} is too close to rounding for a grid"
            return
        self.width = width
        self.scale: FloatArray = inv_bandwidth / self.spacing
        for j in range(d):
            stretches = stretches_of(sources[j], self.scale[j], self.width, 3 * self.width)
            if stretches is None:
                self.reason, self.too_many = "the sources spread over too many bandwidths for a grid", True
                return
            self.stretches.append(stretches)
            self.shape += (int(stretches[2, -1] + (stretches[1, -1] - stretches[0, -1]) * self.scale[j])
                           + self.width + 2,)
        self.n_nodes = math.prod(self.shape)
        if self.n_nodes > MOST_NODES:
            self.reason, self.too_many = f"a grid would need {self.n_nodes:.3g} nodes", True
        elif rtol < lost_places(self.width, self.spacing, self.shape):
            self.reason = f"the bound {rtol:g} is too close to rounding for a grid of this length"
        elif d == 1:
            reach = 0.5 * self.width * self.spacing
            self.subdivisions = cell_moments.subdivisions(n, self.n_nodes, self.spacing, reach, rtol)

    def band(self, j: int, points: FloatArray) -> tuple[IndexArray, FloatArray]:
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

    def tile_bounds(self, j: int, nodes: int, n_tiles: int) -> FloatArray:
        """The ranges that hold the sources of an axis's tiles of so many nodes, shape (2, n_tiles); NaN for none."""
        out = np.full((2, n_tiles), np.nan)
        for first, last, begin in self.stretches[j].T:
            slack = 1e-6 * nodes + 4.0 * EPS * begin           # a place is rounded
            low, high = int(begin - slack) // nodes, int(begin + (last - first) * self.scale[j] + slack) // nodes
            tiles = np.arange(low, min(high + 1, n_tiles))
            out[0, tiles] = np.fmin(out[0, tiles], np.maximum(
                first, first + (tiles * nodes - begin - slack) / self.scale[j]))
            out[1, tiles] = np.fmax(out[1, tiles], np.minimum(
                last, first + ((tiles + 1) * nodes - begin + slack) / self.scale[j]))
        return out

    def spread_seconds(self, n_points: int) -> float:
        """Of bringing so many sources to the nodes, on one thread."""
        if self.subdivisions:
            return float(cell_moments.seconds(n_points, self.subdivisions * self.n_nodes))
        return self.seconds(n_points)

    def contraction_seconds(self, sizes: Sequence[int]) -> float:
        """Of gathering the nodes at a tensor grid of so many targets an axis, on one thread."""
        shape: list[int] = list(self.shape)
        seconds = 0.0
        for j in self.contraction_order(sizes):
            shape[j] = sizes[j]
            seconds += math.prod(shape) * self.width * FUSED_SECONDS
        return seconds

    def contraction_order(self, sizes: Sequence[int]) -> list[int]:
        """The axes, those first that make the grid smallest."""
        return sorted(range(len(sizes)), key=lambda j: sizes[j] / self.shape[j])

    def seconds(self, n_points: int) -> float:
        """Of spreading, or gathering, so many points on one thread."""
        return n_points * point_seconds(len(self.shape), self.width)

    def node_seconds(self) -> float:
        """Of making the nodes: more where there are too many to visit in order, as each part then makes all of them."""
        tiles = math.prod([size // _TILE_NODES + 1 for size in self.shape])
        return self.n_nodes * (NODE_SECONDS if tiles <= MOST_TILES else _UNORDERED_NODE_SECONDS)


def point_seconds(d: int, width: int) -> float:
    """Of spreading, or gathering, a point on one thread."""
    return _POINT_SECONDS + d * _AXIS_SECONDS + float(width ** (d - 1)) * _ROW_SECONDS[width]


def spacing_for(d: int, rtol: float) -> float:
    """The spacing of nodes, in bandwidths, whose error is a quarter of rtol."""
    return math.pi / math.sqrt(2.0 * math.log(8.1 * d / min(rtol, 0.1)))


def width_for(d: int, rtol: float, spacing: float) -> int | None:
    """The least width that leaves out half of rtol at most, down to some depth; None if there is none."""
    return next((w for w in WIDTHS if left_out(d, w, spacing) <= 0.5 * rtol * _DEPTH), None)


def lost_terms(n_sources: int) -> float:
    """What the rounding of so many terms may come to in a sum."""
    return 4.0 * EPS * (n_sources + 1000.0)


def lost_places(width: int, spacing: float, shape: tuple[int, ...]) -> float:
    """What the rounding of places among so many nodes may come to in a sum."""
    return 4.0 * len(shape) * 4.0 * width * spacing**2 * EPS * max(shape)


def stretches_of(x: FloatArray, scale: float, pad: int, apart: int) -> FloatArray | None:
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


def left_out(d: int, width: int, spacing: float) -> float:
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
    return 1.1 * d * math.pow(2.0, d / 2) * (of_target + of_source)
