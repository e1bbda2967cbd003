"""Outlier detection: samples where a fitted density is lower than an offset."""

import copy
import inspect
import threading
from typing import Any, Protocol, Self

import numpy as np

from gaussum.base import Estimator, clone, is_fitted, shape_name
from gaussum.kde import KernelDensity
from gaussum.typing import ArrayLike, FloatArray, IndexArray, RandomState, SampleArray
from gaussum.validation import check_integer, check_number, check_random_state, check_samples, check_weights

# Fewer draws than this below the offset would leave it to chance.
_MIN_TAIL_DRAWS = 10

_publishing = threading.Lock()


class Density(Protocol):
    """What can be fitted and gives log densities: an estimator of this package, of scikit-learn's, or alike."""

    def fit(self, X: Any, /) -> Any: ...

    def score_samples(self, X: Any, /) -> Any: ...


class OutlierDetector(Estimator):
    """Flags the samples whose log density under a fitted density is below an offset.

    The offset comes from one of three rules; with none of them given, ``contamination=0.1``:

    - `contamination`: the offset is that quantile of the log densities of the training samples, so that this
      fraction of them is flagged, whatever they look like;
    - `threshold`: the offset itself, a log density;
    - `p_value`: the offset is that quantile of the log density of new samples drawn from the fitted
      density. A sample is then flagged where it lies outside the density's highest-density region of
      probability ``1 - p_value`` (Hyndman 1996), and clean data are flagged at the rate `p_value`.

    Parameters
    ----------
    estimator : object with ``fit`` and ``score_samples``, optional
        A density: of this package, of scikit-learn, or alike; ``score_samples`` returns log densities. An
        unfitted one is cloned and fitted, a fitted one is used as it is. None is ``KernelDensity()``.
    contamination : float, optional
        Fraction of the training samples to flag, in (0, 0.5].
    threshold : float, optional
        Log density below which a sample is flagged.
    p_value : float, optional
        Probability of flagging a sample that comes from the density, in (0, 1). The density needs ``sample``.
    n_draws : int
        Number of samples drawn for `p_value` and `p_values`; ``n_draws * p_value`` must be at least 10.
    random_state : None, int or numpy.random.Generator
        Seeds the draws. A density whose ``sample`` takes no ``random_state``, such as scikit-learn's
        GaussianMixture, draws by its own.

    Attributes
    ----------
    estimator_ : object
        The fitted density.
    offset_ : float
        Log density below which a sample is flagged.
    n_features_in_ : int
        Number of features.

    References
    ----------
    R. J. Hyndman, "Computing and graphing highest density regions", The American Statistician 50 (1996)
    120-126.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import OutlierDetector
    >>> x = np.append(np.random.default_rng(0).normal(size=99), 8.0)
    >>> detector = OutlierDetector(contamination=0.01).fit(x)
    >>> np.flatnonzero(detector.predict(x) == -1)
    array([99])
    """

    _estimator_type = "outlier_detector"

    def __init__(
        self,
        estimator: Density | None = None,
        *,
        contamination: float | None = None,
        threshold: float | None = None,
        p_value: float | None = None,
        n_draws: int = 100_000,
        random_state: RandomState = None,
    ) -> None:
        self.estimator = estimator
        self.contamination = contamination
        self.threshold = threshold
        self.p_value = p_value
        self.n_draws = n_draws
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the density, unless it is fitted already, and set the offset.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features) or (n_samples,)
            Training samples.
        y : ignored
        sample_weight : array_like, shape (n_samples,), optional
            Weights for the density's ``fit``. With `contamination`, the offset is then the smallest log
            density such that the samples up to it hold more than that fraction of the weight; without
            weights it is `numpy.percentile`, which interpolates, as in scikit-learn.

        Returns
        -------
        self : OutlierDetector

        Raises
        ------
        TypeError, ValueError
            Bad samples, weights or parameters; more than one of `contamination`, `threshold` and `p_value`.
        """
        self._fit(X, sample_weight)
        return self

    def fit_predict(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> IndexArray:
        """Fit, and return `predict` of the training samples, shape (n_samples,); arguments as for `fit`."""
        X, scores = self._fit(X, sample_weight)
        return self._label(self.score_samples(X) if scores is None else scores)

    def predict(self, X: ArrayLike) -> IndexArray:
        """Label samples: -1 where the decision function is negative (outliers), +1 elsewhere.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features) or (n_samples,)

        Returns
        -------
        labels : ndarray of int, shape (n_samples,)

        Raises
        ------
        NotFittedError
            `fit` has not been called.
        TypeError, ValueError
            Bad samples, or another number of features.
        """
        return self._label(self.score_samples(X))

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Log density minus `offset_`, in nats, shape (n_samples,); negative for outliers."""
        return self.score_samples(X) - self.offset_

    def score_samples(self, X: ArrayLike) -> FloatArray:
        """Log density of samples under `estimator_`, shape (n_samples,)."""
        self._check_fitted()
        return np.asarray(self.estimator_.score_samples(check_samples(X, n_features=self.n_features_in_)))

    def p_values(self, X: ArrayLike) -> FloatArray:
        """Probability that a sample of the fitted density has a log density as low as each sample of `X`.

        Estimated as ``(r + 1) / (n_draws + 1)``, with r the number of draws from the density whose log
        density is no greater than the sample's: never zero, and a valid p-value at any `n_draws`.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features) or (n_samples,)

        Returns
        -------
        p : ndarray, shape (n_samples,)
            In (0, 1].

        Raises
        ------
        NotFittedError
            `fit` has not been called.
        TypeError, ValueError
            The density has no ``sample``; bad samples, or another number of features.

        References
        ----------
        B. Phipson and G. K. Smyth, "Permutation p-values should never be zero", Statistical Applications in
        Genetics and Molecular Biology 9 (2010) article 39.
        """
        scores = self.score_samples(X)
        if "_draw_scores" not in vars(self):
            drawn = self._draw()
            with _publishing:
                # of threads that come here at once, all use what the first has drawn
                if "_draw_scores" not in vars(self):
                    self._draw_scores = drawn
        r = np.searchsorted(self._draw_scores, scores, side="right")
        return (r + 1) / (self._draw_scores.size + 1)

    def _fit(self, X: ArrayLike, sample_weight: ArrayLike | None) -> tuple[SampleArray, FloatArray | None]:
        """Fit; return the checked samples and, where the rule needed them, their log densities."""
        rule, level = self._rule()
        given = self.estimator
        fitted = given if given is not None and _check_density(given) else None
        X = check_samples(X, n_features=getattr(fitted, "n_features_in_", None))
        weights = check_weights(sample_weight, X.shape[0])
        density: Density
        if fitted is not None:
            density = fitted
        else:
            density = KernelDensity() if given is None else _clone(given)
            density.fit(X, **({} if weights is None else {"sample_weight": weights}))

        self.estimator_ = density
        self.n_features_in_ = X.shape[1]
        scores = None
        vars(self).pop("_draw_scores", None)
        if rule == "threshold":
            offset = level
        elif rule == "p_value":
            self._draw_scores = self._draw()
            offset = np.quantile(self._draw_scores, level)
        else:
            scores = self.score_samples(X)
            offset = _quantile(scores, weights, level)
        if not np.isfinite(offset):
            raise ValueError(f"the {rule} quantile of the log density is {offset}; expected a finite offset")
        self.offset_ = float(offset)
        return X, scores

    def _rule(self) -> tuple[str, float]:
        """The parameter that sets the offset, by name, and its value."""
        check_integer(self.n_draws, "n_draws", minimum=1)
        given = [r for r in ("contamination", "threshold", "p_value") if getattr(self, r) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are given; expected at most one of them")
        if not given:
            return "contamination", 0.1
        rule, value = given[0], getattr(self, given[0])
        if rule == "contamination":
            return rule, check_number(value, rule, minimum=0, open_minimum=True, maximum=0.5)
        if rule == "threshold":
            return rule, check_number(value, rule)
        value = check_number(value, rule, minimum=0, open_minimum=True, maximum=1, open_maximum=True)
        if self.n_draws * value < _MIN_TAIL_DRAWS:
            raise ValueError(
                f"n_draws is {self.n_draws}; expected at least {_MIN_TAIL_DRAWS / value:.0f} "
                f"for p_value={value:g}, so that {_MIN_TAIL_DRAWS} draws lie below the offset"
            )
        return rule, value

    def _draw(self) -> FloatArray:
        """Sorted log densities of `n_draws` samples from the fitted density."""
        sample = getattr(self.estimator_, "sample", None)
        if sample is None:
            raise TypeError(
                f"estimator is {type(self.estimator_).__name__}, which has no sample method; "
                "expected a density that can be sampled, to calibrate p-values"
            )
        seed = {}
        if "random_state" in inspect.signature(sample).parameters:
            # an integer is what both this package and scikit-learn take
            seed["random_state"] = int(check_random_state(self.random_state).integers(2**32))
        draws = sample(self.n_draws, **seed)
        if isinstance(draws, tuple):  # a mixture returns the components' labels too
            draws = draws[0]
        return np.sort(self.score_samples(draws))

    def _label(self, scores: FloatArray) -> IndexArray:
        return np.where(scores < self.offset_, -1, 1)


def _check_density(estimator: object) -> bool:
    """Refuse what is no density; return whether it is fitted."""
    if isinstance(estimator, type) or not (hasattr(estimator, "fit") and hasattr(estimator, "score_samples")):
        what = f"the class {estimator.__name__}" if isinstance(estimator, type) else shape_name(estimator)
        raise TypeError(f"estimator is {what}; expected a density with fit and score_samples")
    return is_fitted(estimator)


def _clone(estimator: Any) -> Any:
    return clone(estimator) if hasattr(estimator, "get_params") else copy.deepcopy(estimator)


def _quantile(scores: FloatArray, weights: FloatArray | None, level: float) -> float:
    """`numpy.percentile` without weights, else the lowest score up to which lies more than `level` of it."""
    if weights is None:
        with np.errstate(invalid="ignore"):  # between minus infinity and a number: NaN, which fit refuses
            return float(np.percentile(scores, 100 * level))
    order = np.argsort(scores)
    held = np.cumsum(weights[order])
    return float(scores[order[np.searchsorted(held, level * held[-1], side="right")]])
