"""Gaussian sums over the leaves of a tree that count at a target, in any number of dimensions and in any tail.

Sources lie in a tree of boxes. A target goes through it, nearer boxes first, and leaves out every box so far away that
all weight at that distance would come to no more than rtol times the sum so far; a box so small that it is all at one
distance, as of duplicates, counts as one source. The sum is a log-sum-exp, so the bound holds where densities are far
below the smallest number too.

Bounds of this kind: Gray and Moore, Nonparametric density estimation: toward computational tractability, 2003.
"""

import math
from collections.abc import Callable

import numpy as np

from gaussum import parallel
from gaussum.samples import Samples
from gaussum.tree_pass import Division, TreePass
from gaussum.typing import FloatArray, IndexArray, SampleArray

_LEAF = 128
_GROUP = 32                 # targets that go through the tree together
# Seconds on one thread: of dividing a point, on each level; of a group's way to a leaf, for each level and feature; of
# a pair.
_DIVIDE_SECONDS = 12e-9
_VISIT_SECONDS = 50e-9
_PAIR_SECONDS = 0.7e-9
_FEATURE_SECONDS = 0.08e-9
# The most groups that are tried to learn how many pairs a target takes.
_TRIED = 8
_MOST_PARTS = 64


def pair_seconds(d: int) -> float:
    """Of a pair in a tree, on one thread."""
    return _PAIR_SECONDS + _FEATURE_SECONDS * d


def _levels(n_points: int, leaf: int = _LEAF) -> int:
    return max(0, math.ceil(math.log2(n_points / leaf)))


def build_seconds(n_sources: int, d: int) -> float:
    """Of building a tree, on one thread."""
    return n_sources * (20e-9 + 2e-9 * d + _DIVIDE_SECONDS * _levels(n_sources))


def least_seconds(n_sources: int, n_targets: int, d: int, near: float) -> float:
    """Of sums over a tree, on one thread, where a target has so many sources near it, and needs two leaves anyway."""
    visit = _VISIT_SECONDS * d * _levels(n_sources) / _GROUP + _DIVIDE_SECONDS * _levels(n_targets, _GROUP)
    return n_targets * (visit + max(near, 2 * _LEAF) * pair_seconds(d))


class TreeSum:
    """The sums of given sources at any targets.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources)
    log_weights : ndarray of float64, shape (n_sources,)
        Logarithms of weights that add up to 1.
    inv_bandwidth : ndarray of float64, shape (n_features,)
    n_threads : int or None
    """

    def __init__(
        self, sources: FloatArray, log_weights: FloatArray, inv_bandwidth: FloatArray, n_threads: int | None
    ) -> None:
        self._d, self._n = sources.shape
        self._inv_bandwidth = inv_bandwidth
        self._order = _divided(sources, inv_bandwidth, _LEAF, n_threads)
        n_leaves = 1 << _levels(self._n)
        self._boxes, self._leaves = np.zeros((2 * n_leaves, 2, self._d)), np.empty(sources.size)
        self._pass = self._pass_over(
            sources, log_weights[self._order], self._order, self._boxes, self._leaves, np.zeros((2, 2 * n_leaves))
        )
        _by_parts(n_leaves, self._n * self._d * 2e-9, n_threads, self._pass.enclose)
        self._pass.enclose_all()

    def _pass_over(
        self, sources: FloatArray, log_weights: FloatArray, order: IndexArray, boxes: FloatArray, leaves: FloatArray,
        nodes: FloatArray
    ) -> TreePass:
        return TreePass(
            sources, np.exp(log_weights), log_weights, order, self._inv_bandwidth, boxes, leaves, nodes
        )

    def seconds(self, X: SampleArray, rtol: float, n_tried: int | None = None) -> float:
        """Of the sums at targets, on one thread, from those of so many groups of them (by default, of a small part)."""
        n = X.shape[0]
        order = _divided(self._places(X), self._inv_bandwidth, _GROUP, 1)
        groups = -(-n // _GROUP)
        n_tried = min(max(groups // 32, 1), _TRIED) if n_tried is None else min(groups, n_tried)
        tried = np.arange(n_tried) * groups // n_tried
        tried = (tried[:, np.newaxis] * _GROUP + np.arange(_GROUP)).ravel()
        tried = order[tried[tried < n]]
        _, pairs = self._sums(Samples(X[tried]), np.arange(len(tried)), rtol, None, 1)
        leaves = pairs / len(tried) / _LEAF
        visit = _VISIT_SECONDS * self._d * (leaves + _levels(self._n)) / _GROUP
        seconds: float = n * (visit + _DIVIDE_SECONDS * _levels(n, _GROUP) + pairs / len(tried) * pair_seconds(self._d))
        return seconds

    def log_density(
        self, X: SampleArray, rtol: float, *, own: IndexArray | None = None, n_threads: int | None = None,
        gradient: FloatArray | None = None
    ) -> FloatArray:
        """The log sums at targets, right to rtol.

        Parameters
        ----------
        X : ndarray, shape (n_targets, n_features)
        rtol : float
        own : ndarray of int, shape (n_targets,), optional
            The sources that the targets are: each leaves itself out. -1 is none.
        gradient : ndarray of float64, shape (n_targets, n_features), optional
            Set to the gradient of the log sums; not with `own`.
        """
        if own is not None:
            places = np.empty(self._n, dtype=np.intp)
            places[self._order] = np.arange(self._n)
            own = np.where(own >= 0, places[own], -1)
        order = _divided(self._places(X), self._inv_bandwidth, _GROUP, n_threads)
        return self._sums(Samples(X), order, rtol, own, n_threads, gradient)[0]

    def _places(self, X: SampleArray) -> FloatArray:
        """Where targets are, feature by feature; what else they have to say is in further columns."""
        return np.array(X.T[: self._d], dtype=np.float64, order="C")

    def _sums(
        self, targets: Samples, order: IndexArray, rtol: float, own: IndexArray | None, n_threads: int | None,
        gradient: FloatArray | None = None
    ) -> tuple[FloatArray, int]:
        """The log sums, and how many pairs they took."""
        out = np.empty(targets.n)
        pairs: list[int] = []
        n_groups = -(-len(order) // _GROUP)
        seconds = n_groups * _GROUP * 16 * _LEAF * pair_seconds(self._d)
        n_parts = min(n_groups, max(_MOST_PARTS, parallel.n_parts(len(order), seconds)))
        n_threads = min(parallel.resolve_threads(n_threads, seconds), n_parts)
        scratch = [np.empty(self._pass.scratch_size) for _ in range(n_threads)]
        more = () if gradient is None else (gradient,)
        parallel.run(n_parts, n_threads, lambda part, slot: self._pass.log_density(
            targets, order, part * n_groups // n_parts, (part + 1) * n_groups // n_parts, own, math.log(0.8 * rtol),
            0.1 * min(rtol, 1.0), out, scratch[slot], *more
        ), pairs.append)
        return out, sum(pairs)


def _divided(points: FloatArray, inv_bandwidth: FloatArray, leaf: int, n_threads: int | None) -> IndexArray:
    """An order of points, shape (n_features, n_points), in which neighbours follow each other."""
    order: IndexArray = np.arange(points.shape[1])
    keys = np.empty(points.shape[1])
    division = Division(points, order, inv_bandwidth, leaf)
    for level in range(division.depth):
        _by_parts(1 << level, order.size * _DIVIDE_SECONDS, n_threads,
                  lambda first, last: division.divide(level, first, last, keys))
    return order


def _by_parts(n: int, seconds: float, n_threads: int | None, work: Callable[[int, int], object]) -> None:
    """Call ``work(first, last)`` for parts of 0 to n - 1."""
    n_parts = min(n, parallel.n_parts(_MOST_PARTS, seconds, smallest=1))
    parallel.run(n_parts, parallel.resolve_threads(n_threads, seconds),
                 lambda part, slot: work(part * n // n_parts, (part + 1) * n // n_parts))
