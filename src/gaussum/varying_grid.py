"""Sums of Gaussians that differ in width by way of grids, in one to three dimensions.

Sources are put into classes, in each of which factors lambda differ little, and each class has a grid of its own, whose
spacing follows its smallest factor lambda_0. A target gathers the grid with a Gaussian of variance (lambda_0 h)^2 / 2,
and a source is spread over it with the rest of its own, (lambda^2 - lambda_0^2 / 2) h^2: together they make its kernel,
with no rounding of its width (see kernels/gauss_grid.pyx for equal widths). In units of lambda_0 h, and with
b^2 = 1 / (2 lambda^2 / lambda_0^2 - 1),

    (t - g)^2 + b^2 (g - s)^2 = lambda_0^2 / lambda^2 (t - s)^2 / 2 + (1 + b^2) (g - ...)^2,

so a source's weight is times ((1 + b^2) / 2)^(d / 2). Sources of classes that are small are summed directly.

The errors of each class are relative to its sum, but for what the finite widths leave out. That is known for each
class, and is added up for each target; targets whose sum is not far above it are left to others.
"""

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from gaussum import parallel
from gaussum.gridding import spread_in_parts, visiting_order
from gaussum.layout import (
    MOST_AXES, MOST_NODES, NODE_SECONDS, WIDTHS, left_out, lost_places, lost_terms, point_seconds, spacing_for,
    stretches_of, width_for
)
from gaussum.samples import Samples
from gaussum.typing import FloatArray, IndexArray, SampleArray
from gaussum.varying_pass import VaryingGridPass

# Nodes of an axis over which a source spreads, and those beyond the sources that a target may lie on; farther away,
# 10 of its own widths and more, a class gives it nothing.
_REACH = WIDTHS[-1]
_MARGIN = 32
_APART = 4 * _MARGIN
_PAD = _MARGIN + _REACH // 2 + 1


Direct: TypeAlias = Callable[[IndexArray, SampleArray, int | None], FloatArray]


class Classes:
    """Sources by their widths, and the nodes that each class needs.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources)
    sharpness : ndarray of float64, shape (n_sources,)
        One over the factors.
    inv_bandwidth : ndarray of float64, shape (n_features,)
    rtol : float
    pair_seconds : float
        Of a pair in the direct sum.

    Attributes
    ----------
    reason : str or None
        Why there are no grids.
    width : int
    spacing : float
        In units of the smallest bandwidths of a class.
    layouts : list of ClassLayout
    rest : ndarray of int
        The sources that are summed directly.
    """

    def __init__(
        self, sources: FloatArray, sharpness: FloatArray, inv_bandwidth: FloatArray, rtol: float, pair_seconds: float
    ) -> None:
        d, n = sources.shape
        self.reason: str | None = None
        self.layouts: list[ClassLayout] = []
        self.rest: IndexArray = np.empty(0, dtype=np.intp)
        if d > MOST_AXES:
            self.reason = f"a grid serves up to {MOST_AXES} features"
            return
        self.spacing = spacing_for(d, rtol)
        width = width_for(d, rtol, self.spacing)
        if width is None or width == _REACH or rtol < lost_terms(n):
            self.reason = f"the bound {rtol:g} is too close to rounding for a grid"
            return
        self.width = width
        # so much wider that spreading reaches as many of its own widths as gathering does
        ratio = math.sqrt(0.5 * (1.0 + (_REACH / self.width) ** 2)) * (1.0 - 1e-9)
        least = 2.0 * point_seconds(d, self.width) / pair_seconds
        rest = []
        for index in _alike(sharpness, ratio):
            layout = None
            if len(index) > least:
                layout = ClassLayout(sources[:, index], index, sharpness[index].max(), inv_bandwidth, self.spacing)
            if layout is not None and layout.shape and rtol > lost_places(_REACH, self.spacing, layout.shape):
                self.layouts.append(layout)
            else:
                rest.append(index)
        self.rest = np.sort(np.concatenate([self.rest, *rest]))
        self.n_nodes = sum(layout.n_nodes for layout in self.layouts)
        if self.n_nodes > MOST_NODES:
            self.reason = f"grids would need {self.n_nodes:.3g} nodes"

    def seconds(self, n_targets: int, d: int, pair_seconds: float) -> float:
        """Of the grids and the sums at targets, on one thread."""
        n = sum(len(layout.index) for layout in self.layouts)
        target = len(self.layouts) * point_seconds(d, self.width) + len(self.rest) * pair_seconds
        return n * point_seconds(d, _REACH) + self.n_nodes * NODE_SECONDS + n_targets * target


def _alike(sharpness: FloatArray, ratio: float) -> Iterator[IndexArray]:
    """Indices of sources whose sharpness differs by no more than a ratio, class by class, the sharpest first."""
    order = np.argsort(-sharpness, kind="stable")
    falling = -sharpness[order]
    first = 0
    while first < len(order):
        last = np.searchsorted(falling, falling[first] / ratio, side="right")
        yield np.sort(order[first:last])
        first = last


class ClassLayout:
    """The nodes of one class.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_class)
    index : ndarray of int, shape (n_class,)
    sharpest : float
    inv_bandwidth : ndarray of float64, shape (n_features,)
    spacing : float

    Attributes
    ----------
    scale : ndarray, shape (n_features,)
    stretches : list of ndarray
    shape : tuple of int
        Empty where there are too many nodes.
    """

    def __init__(
        self, sources: FloatArray, index: IndexArray, sharpest: float, inv_bandwidth: FloatArray, spacing: float
    ) -> None:
        self.index, self.sharpest = index, sharpest
        self.scale = inv_bandwidth * (sharpest / spacing)
        found = [stretches_of(x, scale, _PAD, _APART) for x, scale in zip(sources, self.scale)]
        self.stretches = [stretches for stretches in found if stretches is not None]
        self.shape: tuple[int, ...] = ()
        self.n_nodes = 0
        if len(self.stretches) == len(found):
            shape = [int(s[2, -1] + (s[1, -1] - s[0, -1]) * scale) + _PAD + 2
                     for s, scale in zip(self.stretches, self.scale)]
            if math.prod(shape) <= MOST_NODES:
                self.shape, self.n_nodes = tuple(shape), math.prod(shape)


# A class, its pass, its nodes, and the error of what they give.
ClassGrid: TypeAlias = tuple[ClassLayout, VaryingGridPass, FloatArray, float]


class ClassGrids:
    """The sums of given sources at any targets, where they are large enough.

    Parameters
    ----------
    classes : Classes
    sources : ndarray of float64, shape (n_features, n_sources)
    log_weights : ndarray of float64, shape (n_sources,)
        log(w_s a_s^d), up to a constant, none above 0.
    sharpness : ndarray of float64, shape (n_sources,)
        a_s.
    rtol : float
    direct : callable
        ``direct(index, X, n_threads)`` gives log sums of the sources of an index at targets.
    n_threads : int or None
    """

    def __init__(
        self, classes: Classes, sources: FloatArray, log_weights: FloatArray, sharpness: FloatArray, rtol: float,
        direct: Direct, n_threads: int | None
    ) -> None:
        self._classes, self._direct, self._weights = classes, direct, np.exp(log_weights)
        self._rtol, self._d = rtol, len(sources)
        self._factor = (classes.spacing * math.sqrt(2.0 / math.pi)) ** self._d
        self._grids, self._apart = [], 0.0
        for layout in classes.layouts:
            ratio = layout.sharpest / sharpness[layout.index]
            self._grids.append(self._grid(layout, sources[:, layout.index], ratio, n_threads))
            distance = _MARGIN * classes.spacing / ratio.max()
            self._apart += self._weights[layout.index].sum() * math.exp(-0.5 * distance**2)

    def _grid(self, layout: ClassLayout, sources: FloatArray, ratio: FloatArray, n_threads: int | None) -> ClassGrid:
        """The pass, the nodes, and the error of one class at targets within its grid."""
        classes = self._classes
        narrowness = 1.0 / np.sqrt(2.0 * ratio**2 - 1.0)
        grid_pass = VaryingGridPass(classes.width, classes.spacing, layout.scale, layout.stretches, layout.shape,
                                    _MARGIN, _REACH, narrowness)
        weights = self._weights[layout.index] * (0.5 * (1.0 + narrowness**2)) ** (0.5 * self._d)
        seconds = len(weights) * point_seconds(self._d, _REACH)
        more = (_REACH - classes.width) // 2
        nodes = spread_in_parts(layout, grid_pass, Samples(sources.T), weights, seconds, n_threads, more)
        c = 0.5 * classes.width * classes.spacing
        # the largest node may lie between two, and some of it beyond the reach of its sources
        largest = 1.5 * nodes.max() + math.exp(-c * c) * weights.sum()
        return layout, grid_pass, nodes, left_out(self._d, classes.width, classes.spacing) * largest

    def log_density(
        self, X: SampleArray, *, own: IndexArray | None = None, n_threads: int | None = None
    ) -> FloatArray:
        """The log sums, shape (n_targets,); minus infinity where they are too small to be right to rtol.

        Parameters
        ----------
        X : ndarray, shape (n_targets, n_features)
        own : ndarray of int, shape (n_targets,), optional
            The sources that the targets are: each leaves itself out.
        n_threads : int or None
        """
        n, targets = X.shape[0], Samples(X)
        sums, errors = np.zeros(n), np.full(n, self._apart)
        if self._classes.rest.size:
            sums += np.exp(self._direct(self._classes.rest, X, n_threads))
        seconds = n * point_seconds(self._d, self._classes.width) * max(1, len(self._grids))
        n_parts = parallel.n_parts(n, seconds, smallest=256)
        n_threads = min(parallel.resolve_threads(n_threads, seconds), n_parts)
        # one order for all: that of the grid with the most nodes
        largest = max(self._grids, key=lambda grid: grid[0].n_nodes, default=None)
        order = None if largest is None else visiting_order(largest[0], largest[1], targets, n_threads)
        size = max((grid_pass.scratch_size for _, grid_pass, _, _ in self._grids), default=1)
        scratch = [np.empty(size) for _ in range(n_threads)]

        def gather(part: int, slot: int) -> None:
            for _, grid_pass, nodes, error in self._grids:
                grid_pass.add(targets, order, part * n // n_parts, (part + 1) * n // n_parts, nodes, self._factor,
                              error, sums, errors, scratch[slot])

        parallel.run(n_parts, n_threads, gather)
        least = np.maximum(2.0 / self._rtol * errors, 1e-280)
        if own is not None:
            # what is left of a difference, and its error, are still those of the sum, or nearly
            own = self._weights[own]
            sums -= own
            least = np.maximum(least, 2.0 * own)
        with np.errstate(divide="ignore"):
            return np.log(np.where(sums >= least, sums, 0.0))
