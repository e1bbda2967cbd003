"""Gaussian sums at the points of a tensor grid, by plans of their own and under the same contract.

- product: the direct sum, as a product of matrices (gaussum.on_grid).
- grid: sources to the nodes of a regular grid, which is gathered along one axis after the other.
- tree, point by point; and for what the grid leaves.
"""

import math
from collections.abc import Sequence
from typing import Self

import numpy as np

from gaussum import on_grid
from gaussum.axes import points, some_points
from gaussum.gridding import GridSum
from gaussum.layout import GRID_SECONDS, Layout
from gaussum.plans import TREE_SECONDS, Plan, cheapest
from gaussum.stragglers import BulkGrid, n_apart
from gaussum.tree import TreeSum, build_seconds
from gaussum.typing import FloatArray, IndexArray, MaskArray, SampleArray

# Points that are summed one by one are listed so many at a time.
_LISTED = 1 << 18


class TensorGrids:
    """The part of a GaussianSum that serves tensor grids."""

    _sources: FloatArray
    _weights: FloatArray
    _inv_bandwidth: FloatArray
    _log_norm: float

    # what a sum at points has

    def plan(self, X: SampleArray, rtol: float = 0.0, *, n_threads: int | None = None) -> Plan:
        raise NotImplementedError

    def part(self, index: IndexArray) -> Self:
        raise NotImplementedError

    def _layout_for(self, rtol: float) -> Layout:
        raise NotImplementedError

    def _grid_for(self, rtol: float, n_threads: int | None) -> GridSum | BulkGrid:
        raise NotImplementedError

    def _tree_for(self, n_threads: int | None) -> TreeSum:
        raise NotImplementedError

    def _tree_may_pay(self, X: SampleArray, rtol: float, least: float, n_targets: int | None = None) -> bool:
        raise NotImplementedError

    def _late(
        self, X: SampleArray, rtol: float, own: IndexArray | None, n_threads: int | None,
        gradient: FloatArray | None = None
    ) -> FloatArray:
        raise NotImplementedError

    def _log_sums(self, X: SampleArray, rtol: float, own: IndexArray | None, n_threads: int | None) -> FloatArray:
        raise NotImplementedError

    def plan_on_axes(self, axes: Sequence[FloatArray], rtol: float = 0.0, *, n_threads: int | None = None) -> Plan:
        """The plan for the points of a tensor grid.

        Parameters
        ----------
        axes : sequence of ndarrays of float64, shape (n_j,)
        rtol : float
        n_threads : int or None

        Returns
        -------
        Plan
            "product" is the direct sum, as a product of matrices.
        """
        d, n = self._sources.shape
        if d == 1:
            return self.plan(axes[0][:, np.newaxis], rtol, n_threads=n_threads)
        sizes = [len(axis) for axis in axes]
        m = math.prod(sizes)
        costs = {"product": on_grid.product_seconds(n, sizes)}
        if rtol > 0.0 and costs["product"] > GRID_SECONDS:
            layout = self._layout_for(rtol)
            if layout.reason is None:
                costs["grid"] = (GRID_SECONDS + layout.spread_seconds(n) + layout.node_seconds()
                                 + layout.contraction_seconds(sizes) + on_grid.product_seconds(n_apart(layout), sizes))
            some = some_points(axes)
            if self._tree_may_pay(some, rtol, min(costs.values()), m):
                tree = self._tree_for(n_threads).seconds(some, rtol, len(some))
                costs["tree"] = TREE_SECONDS + build_seconds(n, d) + m / len(some) * tree
        return cheapest(costs, {
            "product": f"{n:,} sources x {m:,} points cost least as a product of tables, one an axis",
            "grid": "the sources lie densely enough in the nodes of a grid, which is gathered axis by axis",
            "tree": "most sources are too far from a point to count",
        })

    def log_density_on_axes(
        self, axes: Sequence[FloatArray], *, rtol: float = 0.0, n_threads: int | None = None
    ) -> FloatArray:
        """log sum_s w_s N(x; s, h^2) at every point of a tensor grid.

        Parameters
        ----------
        axes : sequence of ndarrays of float64, shape (n_j,)
        rtol : float
            Bound on the relative error of every density; 0 is the direct sum.
        n_threads : int or None

        Returns
        -------
        ndarray, shape (n_1, ..., n_d)
        """
        name = self.plan_on_axes(axes, rtol, n_threads=n_threads).name
        if name == "grid":
            out = self._grid_for(rtol, n_threads).log_density_on_axes(axes, n_threads)
        elif name == "product":
            out = on_grid.product_log_density(self._sources, self._weights, self._inv_bandwidth, axes, n_threads)
        else:
            out = np.full([len(axis) for axis in axes], -np.inf)
        late = np.flatnonzero(out == -np.inf)
        if late.size:
            rest, bound = self._sum_for_late(name, axes, out == -np.inf, rtol, n_threads)
            for first in range(0, late.size, _LISTED):
                index = late[first : first + _LISTED]
                X = points(axes, index)
                sums = rest._late if name == "grid" else rest._log_sums
                out.flat[index] = sums(X, bound, None, n_threads)
        out += self._log_norm
        return out

    def _sum_for_late(
        self, name: str, axes: Sequence[FloatArray], late: MaskArray, rtol: float, n_threads: int | None
    ) -> tuple[Self, float]:
        """A sum for what the plan leaves on a tensor grid, and the bound that it has to keep."""
        if name != "grid":
            return self, rtol
        index = on_grid.counting(self._layout_for(rtol), self._grid_for(rtol, n_threads), axes, late, 0.1 * rtol,
                                 n_threads)
        return (self, rtol) if index is None else (self.part(index), 0.9 * rtol)
