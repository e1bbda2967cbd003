"""Sums of Gaussians that differ in width: each source has its own, or each target.

    f(x) = sum_s w_s N(x; s, (lambda_s h)^2)        or        f(x) = sum_s w_s N(x; s, (lambda(x) h)^2)

with factors lambda of the bandwidths h. The contract and the plans are those of `gaussum.summation`: the relative error
at every target is at most rtol, by the direct sum, by grids (of sources that have factors; see gaussum.varying_grid) or
by a tree. The tree leaves out a box when all weight in it, at the place of the box that is nearest to the target and
with the widest of its Gaussians, would come to too little.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from gaussum.decay import GaussianDecay
from gaussum.distribution import Distribution
from gaussum.plans import TREE_SECONDS, Plan, cheapest, direct, sums_in_parts, tree_may_pay
from gaussum.samples import Samples
from gaussum.tree import TreeSum, build_seconds
from gaussum.typing import FloatArray, IndexArray, SampleArray
from gaussum.varying_grid import ClassGrids, Classes
from gaussum.varying_slopes import VaryingSlopes
from gaussum.varying_pass import VaryingSumPass, VaryingTreePass

# A pair costs about this many seconds on one thread, and this many more a feature.
_PAIR_SECONDS = 0.5e-9
_FEATURE_SECONDS = 0.05e-9
# What grids cost before their first point.
_GRID_SECONDS = 1e-3


TargetFactors: TypeAlias = Callable[[SampleArray, bool, int | None], FloatArray]


class VaryingSum:
    """A normalised weighted sum of Gaussians on given sources, with methods as of `gaussum.summation.GaussianSum`.

    Parameters
    ----------
    X : ndarray, shape (n_sources, n_features)
    log_weights : ndarray of float64, shape (n_sources,)
        Logarithms of weights that add up to 1.
    bandwidths : ndarray of float64, shape (n_features,)
    factors : ndarray of float64, shape (n_sources,), optional
        Of the bandwidths at each source; positive and finite.
    target_factors : callable, optional
        ``target_factors(X, own, n_threads)`` gives those at each target, shape (n_targets,); with `own` the targets are
        the sources.

    Attributes
    ----------
    factors : ndarray of float64, shape (n_sources,), or None
    """

    def __init__(
        self, X: SampleArray, log_weights: FloatArray, bandwidths: FloatArray, factors: FloatArray | None = None,
        target_factors: TargetFactors | None = None
    ) -> None:
        # a copy: what happens to the caller's array later changes nothing here
        self._sources = np.array(X.T, dtype=np.float64, order="C")
        d, n = self._sources.shape
        self.factors, self._target_factors = factors, target_factors
        self._inv_bandwidth = 1.0 / bandwidths
        self._sharpness = np.ones(n) if factors is None else 1.0 / factors
        self._log_peak = d * math.log(self._sharpness.max())
        self._log_weights = log_weights + d * np.log(self._sharpness) - self._log_peak
        self._log_norm = float(self._log_peak - np.log(bandwidths).sum() - 0.5 * d * math.log(2.0 * math.pi))
        self._classes: tuple[float, Classes] | None = None
        self._grids: tuple[float, ClassGrids] | None = None
        self._tree: VaryingTree | None = None
        self._slopes: VaryingSlopes | None = None

    def __getstate__(self) -> dict[str, Any]:
        # what can be made again is not kept
        return self.__dict__ | {"_classes": None, "_grids": None, "_tree": None, "_slopes": None}

    def sources(self, index: IndexArray | slice = slice(None)) -> FloatArray:
        """The sources themselves, shape (n_sources, n_features), or those at an index."""
        return self._sources[:, index].T

    def draw(self, index: IndexArray, rng: np.random.Generator) -> FloatArray:
        """A sample of the kernel of each source of an index, shape (n_samples, n_features).

        Raises
        ------
        ValueError
            The width depends on the target: then the sum is no density, and nothing can be drawn from it.
        """
        return self.sources(index) + self.steps(index, rng) / self._inv_bandwidth

    def steps(self, index: IndexArray, rng: np.random.Generator) -> FloatArray:
        """How far such a sample is from its source, in bandwidths, shape (n_samples, n_features)."""
        if self._target_factors is not None:
            raise ValueError("adaptive is a balloon estimate, which does not integrate to 1; expected another")
        noise = rng.standard_normal((len(index), len(self._inv_bandwidth)))
        return noise / self._sharpness[index, np.newaxis]

    @property
    def decay(self) -> GaussianDecay:
        """How its kernels fall off, where it is sources that have factors."""
        return GaussianDecay(self._log_norm, float(1.0 / self._sharpness.min()))

    def distribution(self) -> Distribution:
        """The distribution functions of this density, a gaussum.distribution.Distribution."""
        if self.factors is None:
            raise ValueError("adaptive is a balloon estimate, which does not integrate to 1; expected another")
        return Distribution(self._sources, self.log_weights, 1.0 / self._inv_bandwidth, self.factors)

    @property
    def log_weights(self) -> FloatArray:
        """The logarithms of the weights, shape (n_sources,)."""
        logs: FloatArray = self._log_weights - self._sources.shape[0] * np.log(self._sharpness) + self._log_peak
        return logs

    def plan(self, X: SampleArray, rtol: float = 0.0, *, n_threads: int | None = None) -> Plan:
        """The plan for targets, as of GaussianSum."""
        return self._plan(self._targets(X, False, n_threads)[0], rtol, n_threads)

    def log_density(self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """The log density at every row of `X`.

        Parameters
        ----------
        X : ndarray of float32 or float64, shape (n_targets, n_features)
        rtol : float
            Bound on the relative error of every density, with the factors as they are; 0 is the direct sum.
        n_threads : int or None

        Returns
        -------
        ndarray, shape (n_targets,)
        """
        return self._log_density(X, rtol, None, n_threads)

    def log_density_and_gradient(
        self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """The log density at every row of `X` and its gradient, as of GaussianSum; right to rounding for any rtol."""
        if self.factors is None:
            raise ValueError("adaptive is a balloon estimate, which has no gradient here; expected another")
        if self._slopes is None:
            self._slopes = VaryingSlopes(self._sources, self._log_weights, self._sharpness, self._inv_bandwidth)
        log_sums, gradient = self._slopes(X, n_threads)
        return log_sums + self._log_norm, gradient

    def leave_one_out(self, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """The log density at every source by the others; the weights, and factors of sources, stay as they are.

        Returns
        -------
        ndarray, shape (n_sources,)
        """
        return self._log_density(self._sources.T, rtol, np.arange(self._sources.shape[1]), n_threads)

    def log_density_without(
        self, own: IndexArray, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None
    ) -> FloatArray:
        """The log density at every row of `X` by the sources but one, `own`, shape (n_targets,); see GaussianSum."""
        # the tree knows no rtol of 0, but that of rounding
        tree = self._tree_for(n_threads)
        return tree.log_density(X, max(rtol, 2.0**-52), own=own, n_threads=n_threads) + self._log_norm

    def _log_density(self, X: SampleArray, rtol: float, own: IndexArray | None, n_threads: int | None) -> FloatArray:
        targets, log_factors = self._targets(X, own is not None, n_threads)
        name = self._plan(targets, rtol, n_threads).name
        logs = self._by(name, targets, rtol, own, n_threads) + self._log_norm
        log_density: FloatArray = logs - self._sources.shape[0] * log_factors
        return log_density

    def _targets(
        self, X: SampleArray, own: bool, n_threads: int | None
    ) -> tuple[SampleArray, FloatArray | float]:
        """Targets with their sharpness as one feature more, if they have one; and the logarithms of their factors."""
        if self._target_factors is None:
            return X, 0.0
        factors = self._target_factors(X, own, n_threads)
        return np.column_stack([X, 1.0 / factors]), np.log(factors)

    def _plan(self, targets: SampleArray, rtol: float, n_threads: int | None) -> Plan:
        m, (d, n) = targets.shape[0], self._sources.shape
        exact = n * m * self._pair_seconds()
        if rtol == 0.0:
            return direct(exact)
        costs = {"direct": exact}
        if exact > _GRID_SECONDS and self._target_factors is None:
            classes = self._classes_for(rtol)
            if classes.reason is None:
                costs["grid"] = _GRID_SECONDS + classes.seconds(m, d, self._pair_seconds())
        if tree_may_pay(n, m, d, min(costs.values())):
            costs["tree"] = TREE_SECONDS + build_seconds(n, d) + self._tree_for(n_threads).seconds(targets, rtol)
        return cheapest(costs, {
            "direct": f"{n:,} sources x {m:,} targets cost least pair by pair",
            "grid": "sources of like bandwidths lie densely enough in the nodes of grids",
            "tree": "most sources are too far from a target to count",
        })

    def _by(
        self, name: str, targets: SampleArray, rtol: float, own: IndexArray | None, n_threads: int | None
    ) -> FloatArray:
        """The log sums by a plan."""
        if name == "direct":
            return self._direct(targets, own, n_threads)
        if name == "tree":
            return self._tree_for(n_threads).log_density(targets, rtol, own=own, n_threads=n_threads)
        out = self._grids_for(rtol, n_threads).log_density(targets, own=own, n_threads=n_threads)
        late = np.flatnonzero(out == -np.inf)
        if late.size:
            out[late] = self._late(targets[late], rtol, None if own is None else own[late], n_threads)
        return out

    def _late(self, targets: SampleArray, rtol: float, own: IndexArray | None, n_threads: int | None) -> FloatArray:
        """What the grids leave: by the tree unless there is too little of it to build one."""
        m, (d, n) = targets.shape[0], self._sources.shape
        if own is None and not tree_may_pay(n, m, d, m * n * self._pair_seconds()):
            return self._direct(targets, None, n_threads)
        return self._tree_for(n_threads).log_density(targets, rtol, own=own, n_threads=n_threads)

    def _pair_seconds(self) -> float:
        return _PAIR_SECONDS + _FEATURE_SECONDS * int(self._sources.shape[0])

    def _classes_for(self, rtol: float) -> Classes:
        classes = self._classes         # other threads may ask for other bounds meanwhile
        if classes is None or classes[0] != rtol:
            self._classes = classes = rtol, Classes(
                self._sources, self._sharpness, self._inv_bandwidth, rtol, self._pair_seconds()
            )
        return classes[1]

    def _grids_for(self, rtol: float, n_threads: int | None) -> ClassGrids:
        grids = self._grids
        if grids is None or grids[0] != rtol:
            self._grids = grids = rtol, ClassGrids(
                self._classes_for(rtol), self._sources, self._log_weights, self._sharpness, rtol, self._direct_of,
                n_threads
            )
        return grids[1]

    def _tree_for(self, n_threads: int | None) -> "VaryingTree":
        if self._tree is None:
            self._tree = VaryingTree(
                self._sources, self._log_weights, self._sharpness, self._log_peak, self._inv_bandwidth,
                self._target_factors is not None, n_threads
            )
        return self._tree

    def _direct(self, targets: SampleArray, own: IndexArray | None, n_threads: int | None) -> FloatArray:
        return self._sum_of(self._sources, self._log_weights, self._sharpness, targets, own, n_threads)

    def _direct_of(self, index: IndexArray, targets: SampleArray, n_threads: int | None) -> FloatArray:
        """The log sums of some of the sources."""
        return self._sum_of(
            np.ascontiguousarray(self._sources[:, index]), self._log_weights[index], self._sharpness[index], targets,
            None, n_threads
        )

    def _sum_of(
        self, sources: FloatArray, log_weights: FloatArray, sharpness: FloatArray, targets: SampleArray,
        own: IndexArray | None, n_threads: int | None
    ) -> FloatArray:
        def make_pass(block: int, n_parts: int) -> VaryingSumPass:
            return VaryingSumPass(sources, log_weights, sharpness, self._inv_bandwidth, Samples(targets), block,
                                  n_parts, own is not None)

        m = targets.shape[0]
        return sums_in_parts(make_pass, m, m * sources.shape[1] * self._pair_seconds(), n_threads)


class VaryingTree(TreeSum):
    """The sums of given sources at any targets, over a tree.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources)
    log_weights : ndarray of float64, shape (n_sources,)
        log(w_s a_s^d) - `log_peak`, the w_s adding up to 1.
    sharpness : ndarray of float64, shape (n_sources,)
        a_s.
    log_peak : float
        The largest log a_s^d.
    inv_bandwidth : ndarray of float64, shape (n_features,)
    by_target : bool
        Targets have a sharpness too, as one column more.
    n_threads : int or None
    """

    def __init__(
        self, sources: FloatArray, log_weights: FloatArray, sharpness: FloatArray, log_peak: float,
        inv_bandwidth: FloatArray, by_target: bool, n_threads: int | None
    ) -> None:
        self._sharpness, self._log_peak, self._by_target = sharpness, log_peak, by_target
        super().__init__(sources, log_weights, inv_bandwidth, n_threads)

    def _pass_over(
        self, sources: FloatArray, log_weights: FloatArray, order: IndexArray, boxes: FloatArray, leaves: FloatArray,
        nodes: FloatArray
    ) -> VaryingTreePass:
        return VaryingTreePass(
            sources, np.exp(log_weights), log_weights, self._sharpness[order], self._log_peak, order,
            self._inv_bandwidth, boxes, leaves, nodes, np.zeros((3, nodes.shape[1])), self._by_target
        )
