"""Gaussian sums over the leaves of a tree that count at a target, in any number of dimensions and in any tail.

Sources lie in a tree of boxes. A target goes through it, nearer boxes first, and leaves out every box so far away that
all weight at that distance would come to no more than rtol times the sum so far. The sum is a log-sum-exp, so the
bound holds where densities are far below the smallest number too.

Bounds of this kind: Gray and Moore, Nonparametric density estimation: toward computational tractability, 2003.
"""

import math

import numpy as np

from gaussum import parallel
from gaussum.samples import Samples
from gaussum.tree_pass import TreePass

_LEAF = 128
# Seconds on one thread: of dividing a source, on each level; of a target's way to a leaf, for each level and feature;
# of a pair.
_DIVIDE_SECONDS = 12e-9
_VISIT_SECONDS = 6e-9
_PAIR_SECONDS = 0.9e-9
_FEATURE_SECONDS = 0.4e-9
# Targets that are tried to learn how many pairs a target takes.
_TRIED = 64


def pair_seconds(d):
    """Of a pair in a tree, on one thread."""
    return _PAIR_SECONDS + _FEATURE_SECONDS * d


def _levels(n_sources):
    return max(0, math.ceil(math.log2(n_sources / _LEAF)))


def build_seconds(n_sources, d):
    """Of building a tree, on one thread."""
    return n_sources * (20e-9 + 2e-9 * d + _DIVIDE_SECONDS * _levels(n_sources))


def least_seconds(n_sources, n_targets, d):
    """Of sums over a tree where two leaves a target are enough, on one thread."""
    return n_targets * (_VISIT_SECONDS * d * _levels(n_sources) + 2 * _LEAF * pair_seconds(d))


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

    def __init__(self, sources, log_weights, inv_bandwidth, n_threads):
        d, n = sources.shape
        self._d, self._n = d, n
        n_leaves = 1 << _levels(n)
        self.order, boxes = np.arange(n), np.zeros((2 * n_leaves, 2, d))
        unordered = TreePass(sources, log_weights, self.order, inv_bandwidth, boxes)
        n_threads = parallel.resolve_threads(n_threads, build_seconds(n, d))
        keys = np.empty(n)
        for level in range(unordered.depth):
            nodes = 1 << level
            n_parts = min(nodes, 64)
            parallel.run(n_parts, n_threads, lambda part, slot: unordered.divide(
                level, part * nodes // n_parts, (part + 1) * nodes // n_parts, keys
            ))
        self._ordered = np.ascontiguousarray(sources[:, self.order])
        self._pass = TreePass(self._ordered, log_weights[self.order], self.order, inv_bandwidth, boxes)
        n_parts = min(n_leaves, 64)
        parallel.run(n_parts, n_threads, lambda part, slot: self._pass.enclose(
            part * n_leaves // n_parts, (part + 1) * n_leaves // n_parts
        ))
        self._pass.enclose_all()

    def seconds(self, X, rtol):
        """Of the sums at targets, on one thread, from those of a few of them."""
        n = X.shape[0]
        tried = np.arange(min(n, _TRIED)) * n // min(n, _TRIED)
        _, pairs = self._sums(Samples(X[tried]), np.arange(len(tried)), rtol, None, 1)
        levels = self._d * max(1, _levels(self._n))
        return n * (pairs / len(tried) * (pair_seconds(self._d) + levels * _VISIT_SECONDS / _LEAF)
                    + levels * _VISIT_SECONDS)

    def log_density(self, X, rtol, *, own=None, n_threads=None):
        """The log sums at targets, right to rtol.

        Parameters
        ----------
        X : ndarray, shape (n_targets, n_features)
        rtol : float
        own : ndarray of int, shape (n_targets,), optional
            The sources that the targets are: each leaves itself out.
        """
        targets, n = Samples(X), X.shape[0]
        if own is not None:
            places = np.empty(self._n, dtype=np.intp)
            places[self.order] = np.arange(self._n)
            own = places[own]
            order = np.argsort(own)
        elif n > _LEAF:
            order = self._order(targets, n_threads)
        else:
            order = np.arange(n)
        return self._sums(targets, order, rtol, own, n_threads)[0]

    def _order(self, targets, n_threads):
        """An order in which targets that need the same sources follow each other."""
        n = targets.n
        leaves, n_parts = np.empty(n, dtype=np.int32), parallel.n_parts(n, n * 1e-7)
        n_threads = min(parallel.resolve_threads(n_threads, n * 1e-7), n_parts)
        scratch = [np.empty(self._pass.scratch_size) for _ in range(n_threads)]
        parallel.run(n_parts, n_threads, lambda part, slot: self._pass.leaves(
            targets, part * n // n_parts, (part + 1) * n // n_parts, leaves, scratch[slot]
        ))
        return np.argsort(leaves, kind="stable")

    def _sums(self, targets, order, rtol, own, n_threads):
        out, n = np.empty(targets.n), len(order)
        seconds = n * 2 * _LEAF * pair_seconds(self._d)
        n_parts = parallel.n_parts(n, 10.0 * seconds, smallest=4)
        n_threads = min(parallel.resolve_threads(n_threads, seconds), n_parts)
        scratch = [np.empty(self._pass.scratch_size) for _ in range(n_threads)]
        pairs = []
        parallel.run(n_parts, n_threads, lambda part, slot: self._pass.log_density(
            targets, order, part * n // n_parts, (part + 1) * n // n_parts, own, math.log(0.9 * rtol), out,
            scratch[slot]
        ), pairs.append)
        return out, sum(pairs)
