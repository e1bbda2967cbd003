"""Clusters of several components each: merging by entropy, so that a cluster need not be Gaussian."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gaussum.base import NotFittedError, is_fitted, shape_name
from gaussum.typing import ArrayLike, FloatArray, IndexArray, SampleArray
from gaussum.validation import check_integer, check_samples, check_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Numbers in the arrays of a block: they stay in a cache.
_BLOCK_NUMBERS = 1 << 16
# Clusters of which the samples tell less than half are none. For two alike Gaussians that is 2 standard deviations
# between their means, where their density begins to have two modes.
_LEAST_CERTAINTY = 0.5


class FittedMixture(Protocol):
    """A mixture of this package, of scikit-learn's, or alike."""

    def predict_proba(self, X: Any, /) -> FloatArray: ...

    def score_samples(self, X: Any, /) -> FloatArray: ...


def merge_components(
    mixture: FittedMixture, X: ArrayLike, *, sample_weight: ArrayLike | None = None,
) -> "ComponentMerging":
    """Merge the components of a mixture step by step, so that the classification becomes as certain as it can.

    A density may need several Gaussians for what is one cluster: one that is bent, heavy-tailed or has corners. With
    t_ik the probability that sample i belongs to cluster k, each step merges the two clusters whose union lowers the
    entropy -sum_i w_i sum_k t_ik log t_ik the most (Baudry et al. 2010, as clustCombi of the R package mclust). The
    density stays what it was.

    Parameters
    ----------
    mixture : fitted mixture
        Anything with `predict_proba`.
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        The samples whose classification counts: those the mixture was fitted to.
    sample_weight : array_like, shape (n_samples,), optional

    Returns
    -------
    ComponentMerging

    Raises
    ------
    NotFittedError, TypeError, ValueError
        The mixture is not fitted, or is no mixture; bad samples or weights.

    References
    ----------
    J.-P. Baudry, A. E. Raftery, G. Celeux, K. Lo and R. Gottardo, "Combining mixture components for clustering",
    Journal of Computational and Graphical Statistics 19 (2010) 332-353.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import GaussianMixture, merge_components
    >>> rng = np.random.default_rng(0)
    >>> x = np.concatenate([rng.uniform(-6, -1, 500), rng.normal(4, 0.5, 500)])
    >>> mixture = GaussianMixture(4, random_state=0).fit(x)
    >>> clusters = merge_components(mixture, x).clusters(2)
    >>> np.bincount(clusters.predict(x))
    array([500, 500])
    """
    if not callable(getattr(mixture, "predict_proba", None)) or isinstance(mixture, type):
        raise TypeError(f"mixture is {shape_name(mixture)}; expected a fitted mixture, with predict_proba")
    if not is_fitted(mixture):
        raise NotFittedError("mixture is not fitted yet; call fit before its components are merged")
    X = check_samples(X, n_features=getattr(mixture, "n_features_in_", None))
    weight = check_weights(sample_weight, len(X))
    groups: list[tuple[int, ...]] = [(k,) for k in range(mixture.predict_proba(X[:1]).shape[1])]
    K = len(groups)
    # pairs[k, l]: sum_i w_i u log u of u = t_ik + t_il, and of u = t_ik on the diagonal
    pairs, sizes = np.zeros((K, K)), np.zeros(K)
    for t, w in _memberships(mixture, X, weight, groups):
        sizes += t @ w
        for k in range(K):
            pairs[k, k] += w @ _x_log_x(t[k])
            pairs[k, k + 1 :] += _x_log_x(t[k] + t[k + 1 :]) @ w
    merges, entropies, masses = [], [max(0.0, -float(np.trace(pairs)))], []
    certainties = [_certainty(entropies[0], sizes)]
    while K > 1:
        own = np.diagonal(pairs)
        gains = pairs - own - own[:, np.newaxis]
        gains[np.tril_indices(K)] = -math.inf
        a, b = (int(k) for k in np.unravel_index(np.argmax(gains), gains.shape))
        merges.append((groups[a], groups[b]))
        union = pairs[a, b]
        groups[a] = tuple(sorted(groups[a] + groups[b]))
        del groups[b]
        pairs = np.delete(np.delete(pairs, b, axis=0), b, axis=1)
        K -= 1
        pairs[a], pairs[:, a], pairs[a, a] = 0.0, 0.0, union
        mass = 0.0
        for t, w in _memberships(mixture, X, weight, groups):
            pairs[a, a + 1 :] += _x_log_x(t[a] + t[a + 1 :]) @ w
            pairs[:a, a] += _x_log_x(t[a] + t[:a]) @ w
            mass += float(t[a] @ w)
        masses.append(mass)
        sizes = np.delete(sizes, b)
        sizes[a] = mass
        entropies.append(max(0.0, -float(np.trace(pairs))))
        certainties.append(_certainty(entropies[-1], sizes))
    return ComponentMerging(mixture, merges, entropies, masses, certainties)


class ComponentMerging:
    """A mixture's components, merged step by step.

    Attributes
    ----------
    n_components : int
        K, with which the merging begins.
    merges : list of tuple
        The K - 1 steps: the two clusters that each joins, as sorted tuples of the mixture's components.
    entropies : ndarray, shape (n_components,)
        The entropy of the classification into 1, 2, ... K clusters, in nats.
    merged_weights : ndarray, shape (n_components - 1,)
        The weight of the samples in the cluster that the step to 1, 2, ... K - 1 clusters made.
    certainties : ndarray, shape (n_components,)
        How much the samples tell of their clusters, from 0 to 1: what the entropy of the classification into 1, 2, ...
        K clusters is less than that of the clusters' shares alone, relative to the latter. 1 where all clusters are
        apart, 0 where they overlap entirely; for one cluster, of which there is nothing to tell, 1.
    n_clusters_ : int
        The number of clusters that is suggested: 1 where the samples tell less than half (`certainties`) at every
        number above, else that of the elbow of the entropies, see `elbow`.
    """

    def __init__(
        self, mixture: FittedMixture, merges: list[tuple[tuple[int, ...], tuple[int, ...]]], entropies: list[float],
        merged_weights: list[float], certainties: list[float],
    ) -> None:
        self.mixture = mixture
        self.merges = merges
        self.entropies: FloatArray = np.array(entropies[::-1])
        self.merged_weights: FloatArray = np.array(merged_weights[::-1])
        self.certainties: FloatArray = np.array(certainties[::-1])
        self.n_components = len(entropies)
        overlap = self.n_components > 1 and self.certainties[1:].max() < _LEAST_CERTAINTY
        self.n_clusters_ = 1 if overlap else self.elbow()

    def groups(self, n_clusters: int) -> list[tuple[int, ...]]:
        """The components in each of so many clusters: a list of sorted tuples, in the order of their first ones."""
        n_clusters = self._check_clusters(n_clusters)
        groups: dict[int, tuple[int, ...]] = {k: (k,) for k in range(self.n_components)}
        for a, b in self.merges[: self.n_components - n_clusters]:
            groups[min(a[0], b[0])] = tuple(sorted(a + b))
            del groups[max(a[0], b[0])]
        return [groups[k] for k in sorted(groups)]

    def clusters(self, n_clusters: int | None = None) -> "MergedMixture":
        """The mixture as a classifier into so many clusters (`n_clusters_` by default): a `MergedMixture`."""
        return MergedMixture(self.mixture, self.groups(self.n_clusters_ if n_clusters is None else n_clusters))

    def elbow(self) -> int:
        """The number of clusters at which the entropies bend the most.

        Two straight lines that share a point are fitted to the entropies, by least squares each, and the point that
        leaves the smallest residual is the answer (as clustCombiOptim of the R package mclust): where clusters
        that overlap little begin to be joined, the entropy falls more slowly. With two components there is no bend to
        be seen, and they stay apart. Nor does a bend tell one cluster from several: `n_clusters_` does.

        Returns
        -------
        int
            From 2 to K - 1; K itself where there are but one or two.
        """
        K = self.n_components
        if K <= 2:
            return K
        n = np.arange(1.0, K + 1)
        residuals = [
            _line_residual(n[:c], self.entropies[:c]) + _line_residual(n[c - 1 :], self.entropies[c - 1 :])
            for c in range(2, K)
        ]
        return 2 + int(np.argmin(residuals))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the entropy against the number of clusters; returns the matplotlib Axes.

        Needs matplotlib: ``pip install "gaussum[plot]"``. See `gaussum.plot.entropy`.
        """
        from gaussum import plot

        return plot.entropy(self, ax=ax)

    def __repr__(self) -> str:
        suggested = "the elbow suggests" if self.n_clusters_ > 1 else "which overlap too much for more than"
        clusters = "clusters" if self.n_clusters_ > 1 else "cluster"
        lines = [f"ComponentMerging: {self.n_components} components, {suggested} {self.n_clusters_} {clusters}"]
        for n in range(self.n_components, 0, -1):
            step = self.n_components - n
            made = " + ".join(f"{{{', '.join(map(str, part))}}}" for part in self.merges[step - 1]) if step else ""
            lines.append(f"{n:4d} clusters  entropy {self.entropies[n - 1]:12.4f}  {made}".rstrip())
        return "\n".join(lines)

    def _check_clusters(self, n_clusters: int) -> int:
        if check_integer(n_clusters, "n_clusters", minimum=1) > self.n_components:
            raise ValueError(f"n_clusters is {n_clusters}; the mixture has only {self.n_components} components")
        return n_clusters


class MergedMixture:
    """A fitted mixture whose components are grouped into clusters: it classifies, the density is the mixture's.

    Attributes
    ----------
    mixture : fitted mixture
    groups : list of tuple of int
        The components of each cluster.
    n_clusters : int
    """

    def __init__(self, mixture: FittedMixture, groups: list[tuple[int, ...]]) -> None:
        self.mixture = mixture
        self.groups = groups
        self.n_clusters = len(groups)

    def predict(self, X: ArrayLike) -> IndexArray:
        """The most probable cluster of every sample, shape (n_samples,), integers from 0."""
        X = check_samples(X, n_features=getattr(self.mixture, "n_features_in_", None))
        labels = [t.argmax(axis=0) for t, _ in _memberships(self.mixture, X, None, self.groups)]
        return np.concatenate(labels)

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """The probability of every cluster, shape (n_samples, n_clusters): the sums of its components'."""
        X = check_samples(X, n_features=getattr(self.mixture, "n_features_in_", None))
        return np.concatenate([t.T for t, _ in _memberships(self.mixture, X, None, self.groups)])

    def score_samples(self, X: ArrayLike) -> FloatArray:
        """The log density of every sample, shape (n_samples,), in nats: that of the mixture."""
        return self.mixture.score_samples(X)

    def __repr__(self) -> str:
        groups = ", ".join(f"{{{', '.join(map(str, group))}}}" for group in self.groups)
        return f"MergedMixture: {self.n_clusters} clusters of components {groups}"


def _memberships(
    mixture: FittedMixture, X: SampleArray, weight: FloatArray | None, groups: Sequence[tuple[int, ...]],
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Block by block: the probabilities of the groups, shape (n_groups, n_block), and the samples' weights."""
    rows = max(256, _BLOCK_NUMBERS // max(1, sum(map(len, groups))))
    for start in range(0, len(X), rows):
        resp = mixture.predict_proba(X[start : start + rows]).T
        w = np.ones(resp.shape[1]) if weight is None else weight[start : start + rows]
        yield np.array([resp[group[0]] if len(group) == 1 else resp[list(group)].sum(axis=0) for group in groups]), w


def _certainty(entropy: float, sizes: FloatArray) -> float:
    """1 - entropy / (n H), with H the entropy of the clusters' shares; 1 for one cluster, 0 where others are empty."""
    if len(sizes) == 1:
        return 1.0
    most = -float(sizes.sum() * _x_log_x(sizes / sizes.sum()).sum())
    return max(0.0, 1.0 - entropy / most) if most > 1e-12 * sizes.sum() else 0.0


def _x_log_x(t: FloatArray) -> FloatArray:
    """t log t, and 0 for 0; rounding above 1 is taken away."""
    t = np.minimum(t, 1.0)
    return t * np.log(np.maximum(t, 1e-300))


def _line_residual(x: FloatArray, y: FloatArray) -> float:
    """The sum of squares that a straight line by least squares leaves."""
    dx, dy = x - x.mean(), y - y.mean()
    return float(dy @ dy - (dx @ dy) ** 2 / (dx @ dx))
