"""First partitions of a bounded number of samples, by k-means and Ward's method in scaled or whitened coordinates."""

from collections.abc import Callable

import numpy as np

from gaussum import parallel
from gaussum.initial_pass import KMeansPass, MomentsPass
from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.samples import Samples
from gaussum.typing import FloatArray, IndexArray, SampleArray

INIT_PARAMS = ("kmeans", "k-means++", "random", "random_from_data", "whitened", "hierarchical")

# A partition of this many samples is as good a start as one of millions.
_SUBSAMPLE = 16384
_SUBSAMPLE_NUMBERS = 1 << 22
_SUBSAMPLE_PER_COMPONENT = 64
# Ward's method takes memory and time in proportion to the square of these.
_WARD_SAMPLES = 1000
_WARD_PER_COMPONENT = 2
# Directions with less than this part of the largest variance are rounding: whitening stretches them no further.
_FLAT = 1e-12
_LLOYD_ITERATIONS = 100
# Lloyd's iterations end when the inertia falls by less than this fraction: EM does the rest (measured: with 1e-4 to
# 1e-6, or no end, fits are as good and take as many iterations; with 1e-3 they end in worse optima more often).
_LLOYD_TOL = 1e-5
# Seconds of one feature of a sample in a pass of moments or sums, and of its distance from one centre.
_SAMPLE_SECONDS = 1e-9
_DISTANCE_SECONDS = 0.1e-9


def variances(
    X: SampleArray, sample_weight: FloatArray | None = None, *, n_threads: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Means and variances of the features, each shape (n_features,); not finite where they overflow.

    Two passes, the second about the mean and corrected for its rounding (Chan, Golub and LeVeque 1983).
    """
    n, d = X.shape
    seconds = n * d * _SAMPLE_SECONDS
    moments = MomentsPass(Samples(X), sample_weight, parallel.n_parts(n, seconds))
    n_threads = min(parallel.resolve_threads(n_threads, seconds), moments.n_parts)
    scratch = [np.empty(moments.scratch_size) for _ in range(n_threads)]

    def averages(origin: FloatArray) -> tuple[FloatArray, FloatArray]:
        total = np.zeros(1 + 2 * d)

        def work(part: int, slot: int) -> FloatArray:
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
    X: SampleArray, covariance_type: str, n_components: int, method: str, rng: np.random.Generator, *,
    scale: FloatArray, sample_weight: FloatArray | None = None, ridge: FloatArray | None = None,
    centers: FloatArray | None = None, n_threads: int | None = None, shared: object = None,
) -> MixtureParameters:
    """Parameters from a first partition of at most a few ten thousand samples; see `Partitions`."""
    partitions = Partitions(
        X, covariance_type, n_components, rng, scale=scale, sample_weight=sample_weight, ridge=ridge,
        n_threads=n_threads,
    )
    return partitions.parameters(method, rng, centers)


class Partitions:
    """First partitions of a subsample, and the parameters that they lead to.

    Parameters
    ----------
    X : ndarray, shape (n_samples, n_features)
    covariance_type : {"full", "tied", "diag", "spherical"}
    n_components : int
    rng : numpy.random.Generator
        Draws the subsample.
    scale : ndarray, shape (n_features,)
        Standard deviations: distances are taken in units of them.
    sample_weight : ndarray, shape (n_samples,), optional
    ridge : ndarray, shape (n_features,), optional
    n_threads : int, optional
        The result does not depend on it.
    size : int, optional
        Samples to use at most, unless there are many components.

    Attributes
    ----------
    X, sample_weight : ndarray
        The samples that are used; the weights may be None.
    """

    def __init__(
        self, X: SampleArray, covariance_type: str, n_components: int, rng: np.random.Generator, *,
        scale: FloatArray, sample_weight: FloatArray | None = None, ridge: FloatArray | None = None,
        n_threads: int | None = None, size: int = _SUBSAMPLE,
    ) -> None:
        n_samples, n_features = X.shape
        index = _subsample(n_samples, n_features, n_components, sample_weight, rng, size)
        # a subsample is drawn in proportion to the weights, so it has none itself
        weight = sample_weight if index is None else None
        if weight is not None and not weight.all():
            index = np.flatnonzero(weight)
            weight = weight[index]
        self.X = np.ascontiguousarray(X if index is None else X[index], dtype=np.float64)
        self.sample_weight = weight
        self.covariance_type, self.n_components, self.ridge = covariance_type, n_components, ridge
        self._scale, self._n_threads = scale, n_threads
        self._center = variances(self.X, weight, n_threads=n_threads)[0]
        self._scaled: _KMeans | None = None
        self._white: _KMeans | None = None

    def parameters(
        self, method: str, rng: np.random.Generator, centers: FloatArray | None = None,
    ) -> MixtureParameters:
        """Parameters from a partition.

        Parameters
        ----------
        method : {"kmeans", "k-means++", "random", "random_from_data", "whitened", "hierarchical"}
            "kmeans": Lloyd's iterations from "k-means++" (Arthur and Vassilvitskii 2007), whose centres are drawn with
            probability proportional to the squared distance from the centres so far; "random_from_data": centres
            drawn uniformly; all three give each sample to its nearest centre. "random": responsibilities drawn
            uniformly. "whitened": k-means in the coordinates in which the samples have the covariance 1.
            "hierarchical": in the same coordinates Ward's method on at most some 1,000 samples, which is
            agglomeration by the classification likelihood of equal spherical covariances (Banfield and Raftery 1993;
            Scrucca and Raftery 2015 for the whitening); the other samples go to the nearest centre.
        rng : numpy.random.Generator
        centers : ndarray, shape (n_components, n_features), optional
            Centres to use instead of the method's.
        """
        if centers is None and method == "random":
            return self._random(rng)
        if method in ("whitened", "hierarchical") and centers is None:
            kmeans = self._white = self._white or self._whitened()
        else:
            kmeans = self._scaled = self._scaled or self._kmeans(self.X, self._center, self._scale)
        iterations = 1
        if centers is not None:
            with np.errstate(over="ignore"):
                centers = (centers - self._center) / self._scale
        elif method == "random_from_data":
            centers = kmeans.samples(rng.choice(len(self.X), self.n_components, replace=False))
        elif method == "hierarchical":
            centers = self._ward(kmeans, rng)
        else:
            centers = kmeans.seeds(rng)
            iterations = 1 if method == "k-means++" else _LLOYD_ITERATIONS
        kmeans.lloyd(centers, iterations)
        # cluster by cluster, a block of samples adds to few components
        order = np.argsort(kmeans.labels, kind="stable")
        if kmeans is self._scaled:
            origins = kmeans.means * self._scale + self._center
        else:
            origins = (kmeans.means @ self._back) * self._scale + self._center
        return self._maximize(origins, kmeans.labels[order], order)

    def _random(self, rng: np.random.Generator) -> MixtureParameters:
        def draw(start: int, stop: int) -> FloatArray:
            resp = rng.random((self.n_components, stop - start))
            resp /= resp.sum(axis=0)
            return resp

        return self._maximize(np.tile(self._center, (self.n_components, 1)), draw)

    def _maximize(
        self, origins: FloatArray, responsibilities: IndexArray | Callable[[int, int], FloatArray],
        order: IndexArray | slice = slice(None),
    ) -> MixtureParameters:
        likelihood = MixtureLikelihood(
            self.X[order], self.covariance_type, self.n_components,
            sample_weight=None if self.sample_weight is None else self.sample_weight[order], ridge=self.ridge,
            n_threads=1,
        )
        return likelihood.maximize(likelihood.partition_statistics(origins, responsibilities))

    def _kmeans(self, X: FloatArray, center: FloatArray, scale: FloatArray) -> "_KMeans":
        return _KMeans(X, center, scale, self.sample_weight, self.n_components, self._n_threads)

    def _whitened(self) -> "_KMeans":
        """k-means in coordinates in which the samples have the covariance 1, and the way back from there."""
        X = (self.X - self._center) / self._scale
        weighted = X if self.sample_weight is None else X * self.sample_weight[:, np.newaxis]
        total = len(X) if self.sample_weight is None else self.sample_weight.sum()
        values, vectors = np.linalg.eigh(weighted.T @ X / total)
        lengths = np.sqrt(np.maximum(values, _FLAT * values[-1])) if values[-1] > 0.0 else np.ones(len(values))
        self._back: FloatArray = (vectors * lengths).T
        return self._kmeans(X @ (vectors / lengths), np.zeros(len(lengths)), np.ones(len(lengths)))

    def _ward(self, kmeans: "_KMeans", rng: np.random.Generator) -> FloatArray:
        """The centres of Ward's clusters of a subsample."""
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import pdist

        K = self.n_components
        weight = np.ones(len(self.X)) if self.sample_weight is None else self.sample_weight
        index = np.arange(len(self.X))
        size = max(_WARD_SAMPLES, _WARD_PER_COMPONENT * K)
        if len(index) > size:
            index = np.sort(rng.choice(len(index), size, replace=False, p=weight / weight.sum(), shuffle=False))
            weight = np.ones(len(self.X))
        samples, n = kmeans.samples(index), len(index)
        if n == K:
            return samples
        merges = linkage(pdist(samples), "ward")[: n - K, :2].astype(np.intp)
        # from the last merge down, both parts belong where their whole does
        top = np.arange(2 * n - K)
        for whole in range(2 * n - K - 1, n - 1, -1):
            top[merges[whole - n]] = top[whole]
        _, labels = np.unique(top[:n], return_inverse=True)
        member = (labels == np.arange(K)[:, np.newaxis]) * weight[index]
        centers: FloatArray = member @ samples / member.sum(axis=1, keepdims=True)
        return centers


def _subsample(
    n: int, d: int, n_components: int, sample_weight: FloatArray | None, rng: np.random.Generator, size: int,
) -> IndexArray | None:
    """The samples of the first partition, or None for all."""
    size = max(min(size, _SUBSAMPLE_NUMBERS // d), _SUBSAMPLE_PER_COMPONENT * n_components)
    if n <= size:
        return None
    if sample_weight is None:
        return np.sort(rng.choice(n, size, replace=False, shuffle=False))
    # with replacement: a heavy sample may come more than once
    return np.sort(_draw(sample_weight, size, rng))


def _draw(mass: FloatArray, size: int, rng: np.random.Generator) -> IndexArray:
    cumulative = np.cumsum(mass)
    drawn: IndexArray = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
    return drawn.clip(0, len(mass) - 1)


class _KMeans:
    """Clusters of samples in whitened coordinates.

    Attributes
    ----------
    labels : ndarray of int, shape (n_samples,)
        The cluster of each sample after `assign`; none is empty.
    means : ndarray, shape (n_components, n_features)
        The means of the clusters after `assign`.
    """

    means: FloatArray

    def __init__(
        self, X: FloatArray, center: FloatArray, scale: FloatArray, weight: FloatArray | None, n_components: int,
        n_threads: int | None,
    ) -> None:
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

    def samples(self, index: IndexArray) -> FloatArray:
        """The samples at an index, in whitened coordinates, shape (len(index), n_features)."""
        return np.ascontiguousarray(self._x[:, index].T)

    def seeds(self, rng: np.random.Generator) -> FloatArray:
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

    def lloyd(self, centers: FloatArray, iterations: int) -> None:
        """Assign the samples to their centres, and then to the means of the clusters that this makes, and so on."""
        before = np.inf
        for _ in range(iterations):
            inertia = self.assign(centers)
            if not inertia < (1.0 - _LLOYD_TOL) * before:
                break
            before, centers = inertia, self.means

    def assign(self, centers: FloatArray) -> float:
        """Give each sample to its nearest centre; returns the inertia, the weighted sum of squared distances.

        An empty cluster takes the sample that is farthest from its centre.
        """
        K, d = centers.shape
        total = self._sum(1 + K * (1 + d), self._pass.assign, centers, self.labels, self._distances)
        inertia, clusters = float(total[0]), total[1:]
        if not clusters[:K].all():
            self._fill_empty(np.bincount(self.labels, minlength=K))
            clusters = self._sum(K * (1 + d), self._pass.clusters, self.labels)
        self.means = clusters[K:].reshape(K, d) / clusters[:K, np.newaxis]
        return inertia

    def _fill_empty(self, sizes: IndexArray) -> None:
        for k in np.flatnonzero(sizes == 0):
            far = int(np.argmax(np.where(sizes[self.labels] > 1, self._distances, -1.0)))
            sizes[self.labels[far]] -= 1
            sizes[k] = 1
            self.labels[far], self._distances[far] = k, 0.0

    def _sum(self, size: int, step: Callable[..., None], *arguments: FloatArray | IndexArray) -> FloatArray:
        """The sum over the parts of what a step of the pass adds to a vector of zeros."""
        total = np.zeros(size)

        def work(part: int, slot: int) -> FloatArray:
            own = np.zeros(size)
            step(part, *arguments, own)
            return own

        parallel.run(self._pass.n_parts, self._n_threads, work, lambda own: np.add(total, own, out=total))
        return total
