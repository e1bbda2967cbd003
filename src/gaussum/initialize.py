"""Where EM starts: a first partition of a bounded number of samples, in whitened coordinates."""

import numpy as np

from gaussum.likelihood import MixtureLikelihood

INIT_PARAMS = ("kmeans", "k-means++", "random", "random_from_data")

# A partition of this many samples is as good a start as one of millions.
_SUBSAMPLE = 16384
_SUBSAMPLE_NUMBERS = 1 << 22
_SUBSAMPLE_PER_COMPONENT = 64
_LLOYD_ITERATIONS = 100
# Rows of distances held at once.
_ROWS = 4096


def variances(X, sample_weight=None):
    """Means and variances of the features, each shape (n_features,), in two passes over blocks of rows.

    Not finite where they overflow.
    """
    n, d = X.shape
    rows = max(1, (1 << 17) // d)
    total = float(n) if sample_weight is None else float(sample_weight.sum())

    def average(function):
        result = np.zeros(d)
        for start in range(0, n, rows):
            block = X[start : start + rows].astype(np.float64)
            if sample_weight is None:
                result += function(block).sum(axis=0)
            else:
                weight = sample_weight[start : start + rows]
                # samples without weight are absent, however large
                result += weight[weight > 0] @ function(block[weight > 0])
        return result / total

    origin = X[0 if sample_weight is None else int(np.argmax(sample_weight))].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        mean = origin + average(lambda x: x - origin)
        return mean, average(lambda x: (x - mean) ** 2)


def initial_parameters(
    X, covariance_type, n_components, method, rng, *, scale, sample_weight=None, ridge=None, centers=None
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
    """
    index = _subsample(*X.shape, n_components, sample_weight, rng)
    # a subsample is drawn in proportion to the weights, so it has none itself
    weight = sample_weight if index is None else None
    if weight is not None and not weight.all():
        index = np.flatnonzero(weight)
        weight = weight[index]
    chosen = np.ascontiguousarray(X if index is None else X[index], dtype=np.float64)
    likelihood = MixtureLikelihood(
        chosen, covariance_type, n_components, sample_weight=weight, ridge=ridge, n_threads=1
    )
    if centers is None and method == "random":
        origins = np.tile(variances(chosen, weight)[0], (n_components, 1))

        def draw(start, stop):
            resp = rng.random((n_components, stop - start))
            return resp / resp.sum(axis=0)

        return likelihood.maximize(likelihood.partition_statistics(origins, draw))
    center = variances(chosen, weight)[0]
    whitened = (chosen - center) / scale
    if centers is not None:
        with np.errstate(over="ignore"):
            centers = (centers - center) / scale
    elif method == "random_from_data":
        centers = whitened[rng.choice(len(chosen), n_components, replace=False)]
    else:
        centers = _plus_plus(whitened, n_components, weight, rng)
        if method == "kmeans":
            centers = _lloyd(whitened, centers, weight)
    labels, mass = _assign(whitened, centers, weight)
    origins = _cluster_means(whitened, labels, mass, weight) * scale + center
    return likelihood.maximize(likelihood.partition_statistics(origins, labels))


def _subsample(n, d, n_components, sample_weight, rng):
    """The samples of the first partition, or None for all."""
    size = max(min(_SUBSAMPLE, _SUBSAMPLE_NUMBERS // d), _SUBSAMPLE_PER_COMPONENT * n_components)
    if n <= size:
        return None
    if sample_weight is None:
        return np.sort(rng.choice(n, size, replace=False, shuffle=False))
    # with replacement: a heavy sample may come more than once
    return np.sort(_draw(sample_weight, size, rng))


def _assign(X, centers, weight):
    """The nearest centre of each sample, and the mass of each cluster.

    An empty cluster takes the sample that is farthest from its centre.
    """
    labels = np.empty(len(X), dtype=np.intp)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = _squares(centers)
        for start in range(0, len(X), _ROWS):
            # |x|^2 is the same for every centre and left out of the comparison
            rows = X[start : start + _ROWS]
            labels[start : start + _ROWS] = (rows @ (-2.0 * centers.T) + norms).argmin(axis=1)
        mass = np.bincount(labels, weight, minlength=len(centers))
        if (mass == 0).any():
            distance = np.concatenate([
                _squares(X[start : start + _ROWS] - centers[labels[start : start + _ROWS]])
                for start in range(0, len(X), _ROWS)
            ])
    for k in np.flatnonzero(mass == 0):
        shared = np.bincount(labels, minlength=len(centers))[labels] > 1
        far = int(np.argmax(np.where(shared, distance, -1.0)))
        labels[far], distance[far] = k, 0.0
        mass = np.bincount(labels, weight, minlength=len(centers))
    return labels, mass


def _squares(X):
    """|x_i|^2 of every row."""
    return np.einsum("ij,ij->i", X, X)


def _plus_plus(X, n_components, weight, rng):
    """k-means++ seeds with a few trials each, the one that lowers the potential most being kept."""
    trials = 2 + int(np.log(n_components))
    weight = np.ones(len(X)) if weight is None else weight
    first = _draw(weight, 1, rng)[0]
    chosen = [first]
    distance = _squares(X - X[first])
    for _ in range(1, n_components):
        mass = weight * distance
        # all samples sit on centres: any will do
        candidates = _draw(mass if mass.sum() > 0 else weight, trials, rng)
        options = [np.minimum(distance, _squares(X - X[c])) for c in candidates]
        best = int(np.argmin([weight @ option for option in options]))
        chosen.append(candidates[best])
        distance = options[best]
    return X[chosen]


def _draw(mass, size, rng):
    cumulative = np.cumsum(mass)
    return np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right").clip(0, len(mass) - 1)


def _lloyd(X, centers, weight):
    """The centres after Lloyd's iterations."""
    labels = None
    for _ in range(_LLOYD_ITERATIONS):
        new, mass = _assign(X, centers, weight)
        if labels is not None and np.array_equal(new, labels):
            break
        labels = new
        centers = _cluster_means(X, labels, mass, weight)
    return centers


def _cluster_means(X, labels, mass, weight):
    weighted = X.T if weight is None else X.T * weight
    sums = np.stack([np.bincount(labels, x, minlength=len(mass)) for x in weighted], axis=1)
    return sums / mass[:, np.newaxis]
