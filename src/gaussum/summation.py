"""Sums of Gaussians over many sources: plans, chosen by what they are expected to cost, under one contract.

The contract: the relative error of the sum at every target is at most rtol (beyond the rounding of its logarithm), near
and far. Three plans keep it:

- direct: every source, every target. With rtol = 0, always.
- grid, in one to three dimensions: sources to the nodes of a regular grid, nodes to targets (gaussum.gridding). Its
  error is relative to the sum except for a small absolute part; targets whose sum is not far above that go on.
- tree, in any dimension and for what the grid leaves: only those leaves of a tree that count (gaussum.tree).

Sums at the points of a tensor grid are those of gaussum.tensor_sum, how a plan is chosen is gaussum.plans.
"""

import copy
import math
from typing import Any, Self

import numpy as np

from gaussum.decay import GaussianDecay
from gaussum.distribution import Distribution
from gaussum.gridding import GridSum
from gaussum.layout import GRID_SECONDS, Layout
from gaussum.plans import (
    ALGORITHMS, TREE_SECONDS, Plan, asked_for, cheapest, check_algorithm, direct, sums_in_parts, tree_may_pay
)
from gaussum.samples import Samples
from gaussum.stragglers import BulkGrid, BulkLayout, layout_for, n_apart, with_gradient
from gaussum.sum_pass import KernelSumPass
from gaussum.tensor_sum import TensorGrids
from gaussum.tree import TreeSum, build_seconds
from gaussum.typing import FloatArray, IndexArray, SampleArray

__all__ = ["ALGORITHMS", "GaussianSum", "Plan", "check_algorithm"]

# A pair costs about this many seconds on one thread, and this many more a feature; in float32 less.
_PAIR_SECONDS = 0.34e-9
_FEATURE_SECONDS = 0.05e-9
_SINGLE = 0.4
# Targets and sources that tell how many sources are near a target.
_FEW_TARGETS = 64
_FEW_SOURCES = 1024
# The rounding of float32, a feature: exponents of up to 70, each term off by 2^-24.
_SINGLE_RTOL = 5e-6
# Between these float32 holds what the kernels form of a bandwidth.
_SINGLE_RANGE = 2.0**-60, 2.0**60
# Squared distances overflow from 2^512 bandwidths on: in this measure they do not, and no nearer source is lost.
_FAR, _FARTHEST = 2.0**-512, 1e150


class GaussianSum(TensorGrids):
    """A normalised weighted sum of Gaussians on given sources.

    Parameters
    ----------
    X : ndarray, shape (n_sources, n_features)
    log_weights : ndarray of float64, shape (n_sources,)
        Logarithms of weights that add up to 1.
    bandwidths : ndarray of float64, shape (n_features,)
    algorithm : str
        The plan, one of ALGORITHMS; "auto" is the cheapest one.
    weights : ndarray of float64, shape (n_sources,), optional
        The weights themselves, where they are at hand.
    """

    def __init__(
        self, X: SampleArray, log_weights: FloatArray, bandwidths: FloatArray, algorithm: str = "auto",
        weights: FloatArray | None = None
    ) -> None:
        # a copy: what happens to the caller's array later changes nothing here
        self._sources = np.array(X.T, dtype=np.float64, order="C")
        self._single = None
        if X.dtype == np.float32 and _SINGLE_RANGE[0] < bandwidths.min() <= bandwidths.max() < _SINGLE_RANGE[1]:
            self._single = np.array(X.T, order="C")
        self._log_weights = log_weights
        self._weights = np.exp(log_weights) if weights is None else weights
        self._inv_bandwidth = 1.0 / bandwidths
        self._log_norm = float(-np.log(bandwidths).sum() - 0.5 * len(bandwidths) * math.log(2.0 * math.pi))
        self._algorithm = algorithm
        self._bandwidths = bandwidths
        self._layout: tuple[float, Layout] | None = None
        self._grid: tuple[float, GridSum | BulkGrid] | None = None
        self._tree: TreeSum | None = None
        self._distribution: Distribution | None = None

    def __getstate__(self) -> dict[str, Any]:
        # what can be made again is not kept
        return self.__dict__ | {"_layout": None, "_grid": None, "_tree": None, "_distribution": None}

    def sources(self, index: IndexArray | slice = slice(None)) -> FloatArray:
        """The sources themselves, shape (n_sources, n_features), or those at an index."""
        return self._sources[:, index].T

    def draw(self, index: IndexArray, rng: np.random.Generator) -> FloatArray:
        """A sample of the kernel of each source of an index, shape (n_samples, n_features)."""
        centres = self.sources(index)
        return centres + self.steps(index, rng) / self._inv_bandwidth

    def steps(self, index: IndexArray, rng: np.random.Generator) -> FloatArray:
        """How far such a sample is from its source, in bandwidths, shape (n_samples, n_features)."""
        return rng.standard_normal((len(index), len(self._inv_bandwidth)))

    @property
    def decay(self) -> GaussianDecay:
        """How its kernels fall off."""
        return GaussianDecay(self._log_norm)

    @property
    def log_weights(self) -> FloatArray:
        """The logarithms of the weights, shape (n_sources,)."""
        return self._log_weights

    def distribution(self) -> Distribution:
        """The distribution functions of this density, a gaussum.distribution.Distribution."""
        if self._distribution is None:
            self._distribution = Distribution(self._sources, self._log_weights, self._bandwidths)
        return self._distribution

    def part(self, index: IndexArray) -> Self:
        """The sum over some of the sources alone; their weights stay as they are."""
        other = copy.copy(self)
        other.__dict__ |= self.__getstate__()
        other._sources = np.ascontiguousarray(self._sources[:, index])
        other._single = None if self._single is None else np.ascontiguousarray(self._single[:, index])
        other._log_weights, other._weights = self._log_weights[index], self._weights[index]
        return other

    def plan(self, X: SampleArray, rtol: float = 0.0, *, n_threads: int | None = None) -> Plan:
        """The plan for targets.

        Parameters
        ----------
        X : ndarray of float32 or float64, shape (n_targets, n_features)
        rtol : float
        n_threads : int or None
            For the tree, if there has to be one to know what it costs; the plan does not depend on it.

        Returns
        -------
        Plan
        """
        (m, d), n = X.shape, len(self._weights)
        exact = n * m * self._pair_seconds(X, rtol)
        if rtol == 0.0:
            return direct(exact)
        costs = {"direct": exact}
        only = ALGORITHMS[self._algorithm]
        apart = 0
        why_not: str | None = "few pairs"
        if only == "grid" or only is None and exact > GRID_SECONDS:
            layout = self._layout_for(rtol)
            why_not, apart = layout.reason, n_apart(layout)
            if why_not is None:
                costs["grid"] = (GRID_SECONDS + layout.spread_seconds(n) + layout.node_seconds() + layout.seconds(m)
                                 + m * apart * self._pair_seconds(X, rtol))
            elif only == "grid":
                raise ValueError(f"algorithm is 'grid', but {why_not}; expected 'auto', 'tree' or 'direct'")
        if only == "tree" or only is None and self._tree_may_pay(X, rtol, min(costs.values())):
            costs["tree"] = TREE_SECONDS + build_seconds(n, d) + self._tree_for(n_threads).seconds(X, rtol)
        if only is not None:
            return asked_for(self._algorithm, costs)
        return cheapest(costs, {
            "direct": f"{n:,} sources x {m:,} targets" + (f", {why_not}" if why_not else " cost least pair by pair"),
            "grid": "the sources lie densely enough in the nodes of a grid" + (
                f", but for {apart} far out, which are summed one by one" if apart else ""
            ),
            "tree": "most sources are too far from a target to count",
        })

    def _tree_may_pay(self, X: SampleArray, rtol: float, least: float, n_targets: int | None = None) -> bool:
        """Whether a tree could cost less than that; `X` are the targets, or some of so many."""
        return tree_may_pay(
            len(self._weights), n_targets or len(X), X.shape[1], least, lambda: self._share_near(X, rtol)
        )

    def _share_near(self, X: SampleArray, rtol: float) -> float:
        """The share of sources so near to a target that none of them may be left out, by a few of both."""
        targets = X[:: -(-X.shape[0] // _FEW_TARGETS)].astype(np.float64)
        sources = self._sources[:, :: -(-self._sources.shape[1] // _FEW_SOURCES)]
        r2 = np.zeros((targets.shape[0], sources.shape[1]))
        with np.errstate(over="ignore"):
            for t, s, g in zip(targets.T, sources, self._inv_bandwidth):
                r2 += ((t[:, np.newaxis] - s) * g) ** 2
        return float(np.mean(r2 < -2.0 * math.log(min(rtol, 1.0))))

    def log_density(self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """log sum_s w_s N(x; s, h^2) for every row of `X`.

        Parameters
        ----------
        X : ndarray of float32 or float64, shape (n_targets, n_features)
        rtol : float
            Bound on the relative error of every density; 0 is the direct sum.
        n_threads : int or None

        Returns
        -------
        ndarray, shape (n_targets,)
        """
        return self._log_sums(X, rtol, None, n_threads) + self._log_norm

    @property
    def bandwidths(self) -> FloatArray:
        """One a feature, shape (n_features,)."""
        return 1.0 / self._inv_bandwidth

    def log_density_and_gradient(
        self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None, plan: str | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """log f and its gradient, (sum_s w_s N_s (s_j - x_j) / h_j^2) / f, f = sum_s w_s N_s, for every row of `X`.

        Parameters
        ----------
        X : ndarray of float32 or float64, shape (n_targets, n_features)
        rtol : float
            Bound on the relative error of every density, and, by the factor 2 (1 + r), on the error of h times the
            gradient, a distance in bandwidths; r is the root of the mean square of the distances of the sources in
            bandwidths, weighted by what they add to the density. 0 is the direct sum.
        n_threads : int or None
        plan : str, optional
            The name of a plan that `plan` gave for these or more targets.

        Returns
        -------
        log_density : ndarray, shape (n_targets,)
        gradient : ndarray, shape (n_targets, n_features)
            Of the log density; where the density is below all that its logarithm says, it points to the nearest source,
            and a number beyond a double is the largest double.
        """
        gradient = np.empty(X.shape)
        name = plan or self.plan(X, rtol, n_threads=n_threads).name
        with np.errstate(over="ignore", invalid="ignore"):
            log_density = self._by(name, X, rtol, None, n_threads, gradient) + self._log_norm
            lost = np.flatnonzero(~np.isfinite(gradient).all(axis=1))
            if lost.size:
                gradient[lost] = self._towards_nearest(X[lost].astype(np.float64))
        return log_density, gradient

    def _towards_nearest(self, X: FloatArray) -> FloatArray:
        """(s - x) / h^2 for the nearest source, by numbers of which neither squares nor sums overflow."""
        from scipy.spatial import cKDTree           # slow to load, and seldom needed

        g = self._inv_bandwidth[:, np.newaxis]
        points = [(Y * (_FAR * g)).clip(-_FARTHEST, _FARTHEST).T for Y in (self._sources, X.T)]
        nearest = cKDTree(points[0]).query(points[1])[1]
        away = (0.5 * self._sources[:, nearest] - 0.5 * X.T) * g * (2.0 * g)
        return np.nan_to_num(away.T)

    def leave_one_out(self, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """log sum_{s != i} w_s N(x_i; s, h^2) at every source i; the weights stay as they are.

        Returns
        -------
        ndarray, shape (n_sources,)
        """
        X = (self._sources if self._single is None else self._single).T
        return self._log_sums(X, rtol, np.arange(X.shape[0]), n_threads) + self._log_norm

    def log_density_without(
        self, own: IndexArray, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None
    ) -> FloatArray:
        """log sum_{s != own_t} w_s N(x_t; s, h^2) for every row of `X`; the weights stay as they are.

        Where a source gives half of the sum or more it is left out of it, elsewhere it may be subtracted.

        Parameters
        ----------
        own : ndarray of int, shape (n_targets,)
            The source that each target leaves out.
        X : ndarray of float64, shape (n_targets, n_features)
        rtol, n_threads : as those of `log_density`

        Returns
        -------
        ndarray, shape (n_targets,)
        """
        logs, r2 = self._log_sums(X, rtol / 4.0, None, n_threads), np.zeros(X.shape[0])
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            for x, s, g in zip(X.T, self._sources, self._inv_bandwidth):
                r2 += ((x - s[own]) * g) ** 2
            share = np.exp(np.minimum(self._log_weights[own] - 0.5 * r2 - logs, 0.0))
            out = logs + np.log1p(-share)
        most = np.flatnonzero(share >= 0.5)
        if most.size:
            # the tree knows no rtol of 0, but that of rounding
            rtol = max(rtol, 2.0**-52)
            out[most] = self._tree_for(n_threads).log_density(X[most], rtol, own=own[most], n_threads=n_threads)
        return np.where(np.isnan(out), -np.inf, out) + self._log_norm

    def _log_sums(self, X: SampleArray, rtol: float, own: IndexArray | None, n_threads: int | None) -> FloatArray:
        return self._by(self.plan(X, rtol, n_threads=n_threads).name, X, rtol, own, n_threads)

    def _by(
        self, name: str, X: SampleArray, rtol: float, own: IndexArray | None, n_threads: int | None,
        gradient: FloatArray | None = None
    ) -> FloatArray:
        """The log sums by a plan, and their gradient if there is a place for it; not with `own` then."""
        if name == "direct":
            return self._direct(X, own, rtol, n_threads, gradient)
        if name == "tree":
            return self._tree_for(n_threads).log_density(X, rtol, own=own, n_threads=n_threads, gradient=gradient)
        out = np.empty(X.shape[0])
        self._grid_for(rtol, n_threads).log_density(
            X, out, own=None if own is None else self._weights, n_threads=n_threads, gradient=gradient
        )
        late = np.flatnonzero(out == -np.inf)
        if late.size:
            part = None if gradient is None else np.empty((late.size, X.shape[1]))
            out[late] = self._late(X[late], rtol, None if own is None else own[late], n_threads, part)
            if gradient is not None:
                gradient[late] = part
        return out

    def _late(
        self, X: SampleArray, rtol: float, own: IndexArray | None, n_threads: int | None,
        gradient: FloatArray | None = None
    ) -> FloatArray:
        """What the grid leaves: by the tree unless there is too little of it to build one."""
        direct = X.shape[0] * len(self._weights) * self._pair_seconds(X, rtol)
        pays = own is not None or self._tree_may_pay(X, rtol, direct)
        return self._by("tree" if pays else "direct", X, rtol, own, n_threads, gradient)

    def _layout_for(self, rtol: float) -> Layout:
        layout = self._layout
        if layout is None or layout[0] != rtol:
            self._layout = layout = rtol, layout_for(self._sources, self._inv_bandwidth, rtol)
        return layout[1]

    def _grid_for(self, rtol: float, n_threads: int | None) -> GridSum | BulkGrid:
        grid = self._grid
        if grid is None or grid[0] != rtol:
            layout = self._layout_for(rtol)
            if isinstance(layout, BulkLayout):
                pair = _PAIR_SECONDS + _FEATURE_SECONDS * len(self._sources)
                made: GridSum | BulkGrid = BulkGrid(
                    layout, self._sources, self._weights, self._inv_bandwidth, rtol, pair, n_threads
                )
            else:
                made = GridSum(layout, self._sources, self._weights, rtol, n_threads)
            self._grid = grid = rtol, made
        return grid[1]

    def _tree_for(self, n_threads: int | None) -> TreeSum:
        if self._tree is None:
            self._tree = TreeSum(self._sources, self._log_weights, self._inv_bandwidth, n_threads)
        return self._tree

    def _in_single(self, X: SampleArray, rtol: float) -> bool:
        """Whether the direct sum is taken in float32: asked for as it comes, or to no more than float32 gives."""
        wide = rtol == 0.0 or rtol >= _SINGLE_RTOL * (X.shape[1] + 6)
        return self._single is not None and X.dtype == np.float32 and wide

    def _pair_seconds(self, X: SampleArray, rtol: float) -> float:
        return (_PAIR_SECONDS + _FEATURE_SECONDS * int(X.shape[1])) * (_SINGLE if self._in_single(X, rtol) else 1.0)

    def _direct(
        self, X: SampleArray, own: IndexArray | None, rtol: float, n_threads: int | None, gradient: FloatArray | None
    ) -> FloatArray:
        single = self._single if gradient is None and self._in_single(X, rtol) else None

        def make_pass(block: int, n_parts: int) -> KernelSumPass:
            return KernelSumPass(self._sources, self._weights, self._log_weights, self._inv_bandwidth, Samples(X),
                                 block, n_parts, own is not None, single)

        seconds = X.shape[0] * self._weights.size * self._pair_seconds(X, rtol)
        return sums_in_parts(make_pass, X.shape[0], seconds, n_threads, with_gradient(gradient))
