"""Where EM starts: a first partition of a bounded number of samples, in whitened coordinates."""

import numpy as np

from gaussum import parallel
from gaussum.initial_pass import KMeansPass, MomentsPass
from gaussum.likelihood import MixtureLikelihood
from gaussum.samples import Samples

INIT_PARAMS = ("kmeans", "k-means++", "random", "random_from_data")

# A partition of this many samples is as good a start as one of millions.
_SUBSAMPLE = 16384
_SUBSAMPLE_NUMBERS = 1 << 22
_SUBSAMPLE_PER_COMPONENT = 64
_LLOYD_ITERATIONS = 100
# Lloyd's iterations end when the inertia falls by less than this fraction: EM does the rest (measured: with 1e-4 to
# 1e-6, or no end, fits are as good and take as many iterations; with 1e-3 they end in worse optima more often).
_LLOYD_TOL = 1e-5
# Seconds of one feature of a sample in a pass of moments or sums, and of its distance from one centre.
_SAMPLE_SECONDS = 1e-9
_DISTANCE_SECONDS = 0.1e-9


def variances(X, sample_weight=None, *, n_threads=None):
    """Means and variances of the features, each shape (n_features,); not finite where they overflow.

    Two passes, the second about the mean and corrected for its rounding (Chan, Golub and LeVeque 1983).
    """
    n, d = X.shape
    seconds = n * d * _SAMPLE_SECONDS
    moments = MomentsPass(Samples(X), sample_weight, parallel.n_parts(n, seconds))
    n_threads = min(parallel.resolve_threads(n_threads, seconds), moments.n_parts)
    scratch = [np.empty(moments.scratch_size) for _ in range(n_threads)]

    def averages(origin):
        total = np.zeros(1 + 2 * d)

        def work(part, slot):
            own = np.zeros_like(total)
            moments.moments(part, origin, own, scratch[slot])
            return own

        parallel.run(moments.n_parts, n_threads, work, lambda own: np.add(total, own, out=total))
        return total[1 : 1 + d] / total[0], total[1 + d :] / total[0]

    origin = X[0 if sample_weight is None else int(np.argmax(sample_weight))].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        mean = origin + averages(origin)[0]
        shift, square = averages(mean)
        return mean + shift, square - shift**2


def initial_parameters(
    X, covariance_type, n_components, method, rng, *, scale, sample_weight=None, ridge=None, centers=None,
    n_threads=None, shared=None,
):
    """Parameters from a first partition of at most a few ten thousand samples.

    Parameters
    ----------
    X : ndarray, shape (n_samples, n_features)
    method : {"kmeans", "k-means++", "random", "random_from_data"}
        "kmeans": Lloyd's iterations from "k-means++" (Arthur and Vassilvitskii 2007), whose centres are drawn with
        probability proportional to the squared distance from the centres so far; "random_from_data": centres drawn
        uniformly; all three give each sample to its nearest centre. "random": responsibilities drawn uniformly.
    rng : numpy.random.Generator
    scale : ndarray, shape (n_features,)
        Standard deviations: distances are taken in units of them.
    ridge : ndarray, shape (n_features,)
    centers : ndarray, shape (n_components, n_features), optional
        Centres to use instead of the method's.
    n_threads : int, optional
        The result does not depend on it.
    shared : callable, optional
        Takes a key and a function that makes a partition; a partition is the same for all covariance types, so it need
        be made only once for each generator, which has to be fresh.
    """
    index = _subsample(*X.shape, n_components, sample_weight, rng)
    # a subsample is drawn in proportion to the weights, so it has none itself
    weight = sample_weight if index is None else None
    if weight is not None and not weight.all():
        index = np.flatnonzero(weight)
        weight = weight[index]
    chosen = np.ascontiguousarray(X if index is None else X[index], dtype=np.float64)

    def maximize(origins, responsibilities, order=slice(None)):
        likelihood = MixtureLikelihood(
            chosen[order], covariance_type, n_components, sample_weight=None if weight is None else weight[order],
            ridge=ridge, n_threads=1,
        )
        return likelihood.maximize(likelihood.partition_statistics(origins, responsibilities))

    if centers is None and method == "random":
        origins = np.tile(variances(chosen, weight, n_threads=n_threads)[0], (n_components, 1))

        def draw(start, stop):
            resp = rng.random((n_components, stop - start))
            return resp / resp.sum(axis=0)

        return maximize(origins, draw)

    def partition():
        center = variances(chosen, weight, n_threads=n_threads)[0]
        kmeans = _KMeans(chosen, center, scale, weight, n_components, n_threads)
        iterations = 1
        if centers is not None:
            with np.errstate(over="ignore"):
                first = (centers - center) / scale
        elif method == "random_from_data":
            first = kmeans.samples(rng.choice(len(chosen), n_components, replace=False))
        else:
            first = kmeans.seeds(rng)
            iterations = _LLOYD_ITERATIONS if method == "kmeans" else 1
        kmeans.lloyd(first, iterations)
        # cluster by cluster, a block of samples adds to few components
        order = np.argsort(kmeans.labels, kind="stable")
        return kmeans.means * scale + center, kmeans.labels[order], order

    if shared is None or centers is not None:
        return maximize(*partition())
    seed = rng.bit_generator.seed_seq
    return maximize(*shared((n_components, method, str(seed.entropy), seed.spawn_key), partition))


def _subsample(n, d, n_components, sample_weight, rng):
    """The samples of the first partition, or None for all."""
    size = max(min(_SUBSAMPLE, _SUBSAMPLE_NUMBERS // d), _SUBSAMPLE_PER_COMPONENT * n_components)
    if n <= size:
        return None
    if sample_weight is None:
        return np.sort(rng.choice(n, size, replace=False, shuffle=False))
    # with replacement: a heavy sample may come more than once
    return np.sort(_draw(sample_weight, size, rng))


def _draw(mass, size, rng):
    cumulative = np.cumsum(mass)
    return np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right").clip(0, len(mass) - 1)


class _KMeans:
    """Clusters of samples in whitened coordinates.

    Attributes
    ----------
    labels : ndarray of int, shape (n_samples,)
        The cluster of each sample after `assign`; none is empty.
    means : ndarray, shape (n_components, n_features)
        The means of the clusters after `assign`.
    """

    def __init__(self, X, center, scale, weight, n_components, n_threads):
        n, d = X.shape
        # rows an odd number of cache lines apart do not share cache sets
        self._rows = np.empty((d, n // 16 * 16 + 24))
        self._x = self._rows[:, :n]
        np.subtract(X.T, center[:, np.newaxis], out=self._x)
        self._x /= scale[:, np.newaxis]
        self._weight = np.ones(n) if weight is None else weight
        self._n_components = n_components
        seconds = n * d * (_SAMPLE_SECONDS + n_components * _DISTANCE_SECONDS)
        self._pass = KMeansPass(self._rows, self._weight, parallel.n_parts(n, seconds))
        self._n_threads = parallel.resolve_threads(n_threads, seconds)
        self._distances = np.empty(n)
        self.labels = np.empty(n, dtype=np.intp)
        self.means = None

    def samples(self, index):
        """The samples at an index, in whitened coordinates, shape (len(index), n_features)."""
        return np.ascontiguousarray(self._x[:, index].T)

    def seeds(self, rng):
        """k-means++ seeds with a few trials each, the one that lowers the potential most being kept."""
        trials = 2 + int(np.log(self._n_components))
        centers = np.empty((self._n_components, len(self._x)))
        mass, potential = np.full(len(self._weight), np.inf), 0.0
        for k in range(self._n_components):
            # when all samples sit on centres any will do
            index = _draw(mass if potential > 0.0 else self._weight, trials if k > 0 else 1, rng)
            candidates, masses = self.samples(index), np.empty((len(index), self._rows.shape[1]))
            potentials = self._sum(len(index), self._pass.seed_masses, candidates, mass, masses)
            best = int(np.argmin(potentials))
            centers[k], potential = candidates[best], potentials[best]
            mass = masses[best, : len(mass)].copy()
        return centers

    def lloyd(self, centers, iterations):
        """Assign the samples to their centres, and then to the means of the clusters that this makes, and so on."""
        before = np.inf
        for _ in range(iterations):
            inertia = self.assign(centers)
            if not inertia < (1.0 - _LLOYD_TOL) * before:
                break
            before, centers = inertia, self.means

    def assign(self, centers):
        """Give each sample to its nearest centre; returns the inertia, the weighted sum of squared distances.

        An empty cluster takes the sample that is farthest from its centre.
        """
        K, d = centers.shape
        total = self._sum(1 + K * (1 + d), self._pass.assign, centers, self.labels, self._distances)
        inertia, clusters = total[0], total[1:]
        if not clusters[:K].all():
            self._fill_empty(np.bincount(self.labels, minlength=K))
            clusters = self._sum(K * (1 + d), self._pass.clusters, self.labels)
        self.means = clusters[K:].reshape(K, d) / clusters[:K, np.newaxis]
        return inertia

    def _fill_empty(self, sizes):
        for k in np.flatnonzero(sizes == 0):
            far = int(np.argmax(np.where(sizes[self.labels] > 1, self._distances, -1.0)))
            sizes[self.labels[far]] -= 1
            sizes[k] = 1
            self.labels[far], self._distances[far] = k, 0.0

    def _sum(self, size, step, *arguments):
        """The sum over the parts of what a step of the pass adds to a vector of zeros."""
        total = np.zeros(size)

        def work(part, slot):
            own = np.zeros(size)
            step(part, *arguments, own)
            return own

        parallel.run(self._pass.n_parts, self._n_threads, work, lambda own: np.add(total, own, out=total))
        return total
