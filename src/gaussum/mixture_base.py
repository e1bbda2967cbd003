"""What the mixtures share: the data they are fitted to, and all that a fitted one can do."""

import math
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Self, TypeVar

import numpy as np

from gaussum import covariance, parallel
from gaussum.base import Estimator
from gaussum.initialize import variances
from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.typing import ArrayLike, FloatArray, IndexArray, NDArray, RandomState, SampleArray
from gaussum.validation import (
    check_flag, check_integer, check_number, check_random_state, check_samples, check_weights,
)

# Below this, squares of differences lose digits to underflow.
_SMALLEST_VARIANCE = 1e-280
# No feature varies on a scale as small as this, relative to its mean.
_COARSEST = 1e-12
# Even reg_covar=0 keeps variances above the rounding of their sums.
ROUNDING_MASS = 1e-13

_Made = TypeVar("_Made")


class TrainingData:
    """Samples that have been checked, and what the fits to them can share.

    `fit` takes it in place of samples and weights, so that many fits check and prepare them once.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (n_samples, n_features)
    weight : ndarray of float64, shape (n_samples,), or None
    """

    def __init__(self, X: SampleArray, weight: FloatArray | None) -> None:
        self.X = X
        self.weight = weight
        self._lock = threading.Lock()
        self._made: dict[Hashable, tuple[threading.Lock, list[Any]]] = {}

    def shared(self, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """What `make()` gives, made once a key: it must depend on the samples and the key alone."""
        with self._lock:
            lock, made = self._made.setdefault(key, (threading.Lock(), []))
        with lock:
            if not made:
                made.append(make())
            value: _Made = made[0]
            return value


def reference_moments(
    X: SampleArray, weight: FloatArray | None, n_threads: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Means, and variances as the yardstick of distances and of `reg_covar`: positive for constant features too."""
    mean, variance = variances(X, weight, n_threads=n_threads)
    if not np.isfinite(variance).all():
        j = int(np.argmin(np.isfinite(variance)))
        raise ValueError(f"X is so large in column {j} that its variance overflows; expected smaller numbers")
    for j in np.flatnonzero(variance < _SMALLEST_VARIANCE).tolist():
        column = X[:, j] if weight is None else X[weight > 0, j]
        if column.min() < column.max():
            raise ValueError(f"X is so small in column {j} that its variance underflows; expected larger numbers")
    constant = variance == 0
    if constant.all():
        variance[:] = np.where(mean != 0, mean**2, 1.0)
    elif constant.any():
        # the others' scale, which shifts do not change, unless the constant's own rounding is coarser
        variance[constant] = np.maximum(variance[~constant].mean(), (_COARSEST * mean[constant]) ** 2)
    return mean, variance


def relative_ridge(reg_covar: float, weight: FloatArray | None, variance: FloatArray) -> FloatArray:
    """The scatter of `reg_covar` samples of average weight, with the data's own variances; shape (n_features,)."""
    mean_weight = 1.0 if weight is None else weight.sum() / np.count_nonzero(weight)
    return max(reg_covar, ROUNDING_MASS) * mean_weight * variance


class BaseMixture(Estimator):
    """What mixtures share once fitted: densities, labels, responsibilities, new samples.

    `fit` is each one's own; it leaves `weights_`, `means_` and `precisions_cholesky_`, and `_fitted_structure`.
    """

    n_components: int
    covariance_type: str
    tol: float
    reg_covar: float
    max_iter: int
    n_init: int
    random_state: RandomState
    warm_start: bool
    verbose: int
    verbose_interval: int
    n_threads: int | None

    weights_: FloatArray
    means_: FloatArray
    n_features_in_: int
    precisions_cholesky_: FloatArray
    _fitted_structure: str

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Each mixture's own."""
        raise NotImplementedError

    def fit_predict(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> IndexArray:
        """Fit, then give every sample's most probable component, shape (n_samples,)."""
        return self.fit(X, y, sample_weight).predict(X)

    def predict(self, X: ArrayLike) -> IndexArray:
        """The most probable component of every sample, shape (n_samples,), integers from 0."""
        X = self._samples(X)
        labels = np.empty(X.shape[0], dtype=np.intp)
        self._predict(X, labels=labels)
        return labels

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """The responsibilities r_ik, shape (n_samples, n_components); every row adds up to 1."""
        X = self._samples(X)
        resp = np.empty((X.shape[0], self.means_.shape[0]))
        self._predict(X, resp=resp)
        return resp

    def score_samples(self, X: ArrayLike) -> FloatArray:
        """The log density of every sample, shape (n_samples,), in nats: a log-sum-exp, right however far the sample."""
        X = self._samples(X)
        log_density = np.empty(X.shape[0])
        self._predict(X, log_density=log_density)
        return log_density

    def score(self, X: ArrayLike, y: object = None) -> float:
        """The mean log density of the samples, in nats."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> tuple[FloatArray, IndexArray]:
        """Draw new samples.

        Parameters
        ----------
        n_samples : int
        random_state : None, int, numpy.random.Generator or RandomState
            None takes the estimator's own.

        Returns
        -------
        X : ndarray, shape (n_samples, n_features)
            Grouped by component, in their order.
        labels : ndarray of int, shape (n_samples,)
        """
        self._check_fitted()
        n_samples = check_integer(n_samples, "n_samples", minimum=1)
        rng = check_random_state(self.random_state if random_state is None else random_state)
        K, d = self.means_.shape
        counts = rng.multinomial(n_samples, self.weights_ / self.weights_.sum())
        labels = np.repeat(np.arange(K), counts)
        noise = rng.standard_normal((n_samples, d))
        structure = self._structure()
        factor = covariance.factors_of_covariances(structure, self._parameters().precisions_chol)
        if structure == "full":
            stops = np.cumsum(counts)
            for k in range(K):
                rows = slice(stops[k] - counts[k], stops[k])
                noise[rows] = noise[rows] @ factor[k].T
        elif structure == "tied":
            noise = noise @ factor.T
        else:
            noise *= factor[labels].reshape(n_samples, -1)
        noise += self.means_[labels]
        return noise, labels

    def _check_data(self, X: ArrayLike, sample_weight: ArrayLike | None) -> tuple[SampleArray, FloatArray | None]:
        X = check_samples(X)
        weight = check_weights(sample_weight, X.shape[0])
        if weight is not None:
            # a common factor changes nothing; a power of two does not even change the rounding
            weight = np.ldexp(weight, -int(np.frexp(weight.sum() / np.count_nonzero(weight))[1]))
        return X, weight

    def _check_shared(self, n_samples: int, weighted: bool) -> None:
        """Refuse values, that make no sense for so many samples, of the parameters that all mixtures have."""
        K = check_integer(self.n_components, "n_components", minimum=1)
        check_number(self.tol, "tol", minimum=0.0)
        check_number(self.reg_covar, "reg_covar", minimum=0.0)
        check_integer(self.max_iter, "max_iter", minimum=1)
        check_integer(self.n_init, "n_init", minimum=1)
        check_integer(int(self.verbose) if isinstance(self.verbose, bool) else self.verbose, "verbose", minimum=0)
        check_integer(self.verbose_interval, "verbose_interval", minimum=1)
        check_flag(self.warm_start, "warm_start")
        parallel.resolve_threads(self.n_threads)
        if K > n_samples:
            of = "samples of positive weight" if weighted else "samples"
            raise ValueError(f"n_components is {K}, but X has {n_samples} {of}; expected at most as many components")

    def _reference_moments(self, X: SampleArray, weight: FloatArray | None) -> tuple[FloatArray, FloatArray]:
        return reference_moments(X, weight, self.n_threads)

    def _progress(self) -> Callable[[int, float, float, float], None] | None:
        """What prints a line every `verbose_interval` iterations, from 2 on of `verbose`."""
        if self.verbose < 2:
            return None
        begin = time.perf_counter()

        def report(iteration: int, objective: float, change: float, remaining: float) -> None:
            if iteration % self.verbose_interval == 0:
                left = f"{remaining:.1e}" if math.isfinite(remaining) else "?"
                seconds = time.perf_counter() - begin
                print(f"  iteration {iteration}: {objective:.12g}, by {change:+.1e}, {left} to come, {seconds:.2f} s")

        return report

    def _samples(self, X: ArrayLike) -> SampleArray:
        self._check_fitted()
        return check_samples(X, n_features=self.means_.shape[1])

    def _structure(self) -> str:
        """The covariance type of the kernels that serve what was fitted, whatever the parameter says since."""
        return covariance.kernel_type(getattr(self, "_fitted_structure", self.covariance_type))

    def _parameters(self) -> MixtureParameters:
        """The fitted attributes, as they are now (they may have been set by hand), in the kernels' form."""
        arrays = (self.weights_, self.means_, self.precisions_cholesky_)
        return MixtureParameters.from_precisions_chol(
            self._structure(), *(np.ascontiguousarray(a, dtype=np.float64) for a in arrays)
        )

    def _predict(self, X: SampleArray, **outputs: NDArray[Any]) -> None:
        likelihood = MixtureLikelihood(X, self._structure(), self.means_.shape[0], n_threads=self.n_threads)
        likelihood.predict(self._parameters(), **outputs)
