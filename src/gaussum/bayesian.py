"""Gaussian mixtures fitted by variational Bayes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import numpy as np

from gaussum import covariance, em, starts
from gaussum.likelihood import MixtureLikelihood
from gaussum.mixture_base import BaseMixture, relative_ridge
from gaussum.parameters import MixtureParameters
from gaussum.typing import ArrayLike, FloatArray, RandomState, SampleArray
from gaussum.validation import (
    check_array, check_choice, check_number, check_random_state, check_samples, check_weights,
)
from gaussum.variational import Posterior, VariationalMStep, by_size

WEIGHT_CONCENTRATION_PRIOR_TYPES = ("dirichlet_process", "dirichlet_distribution")

# The smallest eigenvalue of the prior's correlations; with less, rounding decides where the bound ends.
_THINNEST = 1e-10
# A better order of the sticks that brings no more than this is a matter of rounding.
_LEAST_GAIN = 1e-12


class BayesianGaussianMixture(BaseMixture):
    """A mixture of Gaussians whose parameters have a posterior, found by variational Bayes.

    The posterior is the closest to the true one among those in which the samples' components are independent of the
    parameters, and weights and components of each other (Bishop 2006, section 10.2; Blei and Jordan 2006). Components
    that the data do not need end nearly without weight, so `n_components` is an upper limit.

    Parameters
    ----------
    n_components : int
        The most components that the mixture may have, K.
    covariance_type : {"full", "tied", "diag", "spherical"}
        The form of the covariances in the posterior: one full matrix a component; one that all share; one variance a
        component and feature; one a component. The model is the same for all, see Notes.
    tol : float
        A fit has converged when the gain in the mean lower bound still to come is estimated to be below `tol`.
        (Scikit-learn's `tol` bounds the last change.)
    reg_covar : float
        The mass, in samples, of a scatter with the data's own variances that is added to `covariance_prior`; so it
        scales with the data, and the fit is finite where they are collinear or constant.
    max_iter : int
        Iterations before a fit is given up, with a ConvergenceWarning. (The best start goes on, when it has converged,
        with the sticks of a Dirichlet process in the order of their masses, which has the highest bound.)
    n_init : int
        Starts; the one with the highest lower bound is kept.
    init_params : {"auto", "small-em", "kmeans", "k-means++", "random", "random_from_data", "whitened", "hierarchical"}
        How a start is made, as in `GaussianMixture`: "auto" and "small-em" search for a mixture of high likelihood, by
        short runs of EM within a fixed amount of work, and the posterior begins at its responsibilities.
    weight_concentration_prior_type : {"dirichlet_process", "dirichlet_distribution"}
        The prior of the weights: a Dirichlet process by its sticks, pi_k = v_k prod_{l<k} (1 - v_l) with
        v_k ~ Beta(1, a), or a Dirichlet distribution, all of its parameters a.
    weight_concentration_prior : float, optional
        a; a small one favours few components. By default 1 / n_components.
    mean_precision_prior : float, optional
        The samples that the prior is worth about every mean: mu_k ~ N(mean_prior, (this * precision_k)^-1). By
        default 1.
    mean_prior : array_like, shape (n_features,), optional
        By default the mean of the data.
    degrees_of_freedom_prior : float, optional
        Of the Wishart prior of the precisions; above n_features - 1. By default n_features.
    covariance_prior : array_like, optional
        The inverse of the scale matrix of that prior, so covariance_prior / degrees_of_freedom_prior is the prior
        covariance; shape (d, d), its diagonal, (d,), for "diag", a number for "spherical". By default the covariance
        of the data.
    random_state : None, int, numpy.random.Generator or RandomState
        Seed of the starts and of `sample`.
    warm_start : bool
        Whether `fit` goes on from the posterior of the fit before, if there is one.
    verbose : int
        1 prints a line a start, 2 also one every `verbose_interval` iterations.
    verbose_interval : int
    n_threads : int, optional
        None means all processors. The result is the same to the last bit for any number.

    Attributes
    ----------
    weights_ : ndarray, shape (n_components,)
        Expected weights.
    means_ : ndarray, shape (n_components, n_features)
        Expected means.
    covariances_, precisions_, precisions_cholesky_ : ndarray
        Expected precisions, their inverses, and upper triangular U with U U^T the precisions; shapes (K, d, d),
        (d, d), (K, d) or (K,) by covariance type.
    weight_concentration_ : ndarray, shape (n_components,), or a tuple of two
        The parameters of the Dirichlet posterior; for the Dirichlet process, both of the sticks' Beta posteriors.
    mean_precision_ : ndarray, shape (n_components,)
        The samples, prior included, behind every mean.
    degrees_of_freedom_ : ndarray, shape (n_components,), or a float for "tied"
        Of the Wishart posteriors.
    weight_concentration_prior_, mean_precision_prior_, mean_prior_, degrees_of_freedom_prior_, covariance_prior_
        The prior, as given or by default.
    converged_ : bool
    n_iter_ : int
        Iterations of the best start.
    lower_bound_ : float
        The lower bound of log p(X), divided by the samples' total weight, in nats. It is complete: of several models
        for the same data the one with the higher bound is the more probable. (Scikit-learn's is not divided, leaves
        out the terms that no iteration changes, and so compares iterations of one fit only.)
    lower_bounds_ : list of float
        The lower bound at every iteration of the best start; never falls, but for rounding.
    remaining_ : float
        The estimate of what is left to gain.
    n_features_in_ : int

    Raises
    ------
    ValueError, TypeError
        By `fit`, for parameters or data that make no sense; the message names the argument.

    Notes
    -----
    The covariance types share one model, precisions Lambda_k ~ Wishart, and differ in the posteriors q(Lambda_k) they
    allow: Wishart distributions, the same for all components ("tied"), or with a scale matrix that is diagonal
    ("diag") or a multiple of the identity ("spherical"). Within these families the iterations, which are
    scikit-learn's, take the best posterior each time, so the bound never falls.

    `predict_proba` gives the responsibilities of the last E-step, and `score_samples` its log density, that of
    expected logarithms, both as scikit-learn's. That density is a little below the mixture of the expected parameters
    and adds up to a little less than 1: by some (d + 1)(d + 2) / (4 n_k) for a component of n_k samples.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import BayesianGaussianMixture
    >>> rng = np.random.default_rng(0)
    >>> x = np.concatenate([rng.normal(-4, 1, 500), rng.normal(4, 1, 500)])
    >>> mixture = BayesianGaussianMixture(5, weight_concentration_prior=1e-3, random_state=0).fit(x)
    >>> int((mixture.weights_ > 0.01).sum())
    2
    """

    weight_concentration_: FloatArray | tuple[FloatArray, FloatArray]
    degrees_of_freedom_: FloatArray | float
    covariance_prior_: FloatArray | float
    mean_prior_: FloatArray

    def __init__(
        self, n_components: int = 1, *, covariance_type: str = "full", tol: float = 1e-8, reg_covar: float = 1e-6,
        max_iter: int = 10_000, n_init: int = 1, init_params: str = "auto",
        weight_concentration_prior_type: str = "dirichlet_process", weight_concentration_prior: float | None = None,
        mean_precision_prior: float | None = None, mean_prior: ArrayLike | None = None,
        degrees_of_freedom_prior: float | None = None, covariance_prior: ArrayLike | None = None,
        random_state: RandomState = None, warm_start: bool = False, verbose: int = 0, verbose_interval: int = 10,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.n_threads = n_threads

    def fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None, *,
        callback: Callable[[int, float], object] | None = None,
    ) -> Self:
        """Fit the posterior.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features) or (n_samples,)
            float32 or float64 in any layout are read in place, block by block.
        y : ignored
        sample_weight : array_like, shape (n_samples,), optional
            How often each sample counts; need not be whole numbers. Twice the weight is twice the evidence.
        callback : callable, optional
            Called with (iteration, mean lower bound) after every iteration; the starts then run one after the other.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            Data or parameters that make no sense.
        """
        X = check_samples(X)
        weight = check_weights(sample_weight, X.shape[0])
        self.check_parameters(X.shape[0] if weight is None else int(np.count_nonzero(weight)), weight is not None)
        rng = check_random_state(self.random_state)
        mean, variance = self._reference_moments(X, weight)
        prior = self._prior(X, weight, mean, variance)
        sticks = self.weight_concentration_prior_type == "dirichlet_process"
        likelihood = MixtureLikelihood(
            X, self.covariance_type, self.n_components, sample_weight=weight, n_threads=self.n_threads,
            spread=(mean, variance),
            m_step=VariationalMStep(
                self.covariance_type, self.n_components, sticks,
                **prior | {"covariance": self._regularized(prior["covariance"], variance)},
            ),
        )
        first_starts: list[Callable[[], MixtureParameters]]
        if self.warm_start and hasattr(self, "means_") and self._fits(X.shape[1], sticks):
            first_starts = [self._parameters]
        else:
            # components hold the data's scatter too, as under the prior; searches tell more without
            mixtures = starts.prepare(
                X, self.covariance_type, self.n_components, self.init_params, self.n_init, rng, scale=np.sqrt(variance),
                sample_weight=weight, ridge=variance, n_threads=self.n_threads,
                search_ridge=relative_ridge(self.reg_covar, weight, variance),
            )
            first_starts = [partial(self._start, likelihood, mixture, sticks) for mixture in mixtures]
        result = self._best_of(likelihood, first_starts, callback, print if self.verbose else None)
        while sticks and result.converged and (np.diff(_hyper(result.parameters)[0]) > 0).any():
            # in a better order of the sticks the same components have a higher bound, and there is more to gain
            start = partial(self._reordered, likelihood, result.parameters)
            after = self._best_of(likelihood, [start], callback and _later(callback, result.n_iter))
            gain = after.objectives[-1] - result.objectives[-1]
            if gain > 0:
                after.objectives[:0] = result.objectives
                after.n_iter += result.n_iter
                result = after
            if not gain > max(self.tol, _LEAST_GAIN):
                break
        self._store(result, prior, sticks, X.shape[1])
        return self

    def _best_of(
        self, likelihood: MixtureLikelihood, first_starts: Sequence[Callable[[], MixtureParameters]],
        callback: Callable[[int, float], object] | None, report: Callable[[str], object] | None = None,
    ) -> em.EMResult:
        return em.best_of(
            likelihood, first_starts, tol=self.tol, max_iter=self.max_iter, accelerate=False, callback=callback,
            progress=self._progress(), report=report, objective="mean lower bound",
        )

    def score_samples(self, X: ArrayLike) -> FloatArray:
        """The log density of every sample under the last E-step, shape (n_samples,), in nats.

        log sum_k exp(E log(pi_k N(x; mu_k, Lambda_k^-1))), as scikit-learn's; right however far the sample.
        """
        return super().score_samples(X)

    def check_parameters(self, n_samples: int, weighted: bool = False) -> None:
        """Refuse parameters that make no sense for so many samples (of positive weight, if `weighted`).

        Raises
        ------
        ValueError, TypeError
            The message names the parameter.
        """
        check_choice(self.covariance_type, "covariance_type", covariance.COVARIANCE_TYPES)
        check_choice(self.init_params, "init_params", starts.METHODS)
        prior_type = self.weight_concentration_prior_type
        check_choice(prior_type, "weight_concentration_prior_type", WEIGHT_CONCENTRATION_PRIOR_TYPES)
        for name in ("weight_concentration_prior", "mean_precision_prior"):
            if getattr(self, name) is not None:
                check_number(getattr(self, name), name, minimum=0.0, open_minimum=True)
        self._check_shared(n_samples, weighted)

    def _prior(
        self, X: SampleArray, weight: FloatArray | None, mean: FloatArray, variance: FloatArray,
    ) -> dict[str, Any]:
        """The prior as given or by default, under VariationalStep's names; the covariance is not regularised yet."""
        d = X.shape[1]
        degrees_of_freedom = self._given("degrees_of_freedom_prior", d)
        check_number(degrees_of_freedom, "degrees_of_freedom_prior", minimum=d - 1, open_minimum=True)
        center = mean
        if self.mean_prior is not None:
            center = check_array(self.mean_prior, "mean_prior", (d,))
            with np.errstate(over="ignore"):
                far = ~np.isfinite((center - mean) ** 2 / variance)
            if far.any():
                j = int(np.argmax(far))
                raise ValueError(f"mean_prior is {center[j]:g} for column {j}; expected a number nearer to the data")
        return {
            "concentration": float(self._given("weight_concentration_prior", 1.0 / self.n_components)),
            "mean_precision": float(self._given("mean_precision_prior", 1.0)), "mean": center,
            "degrees_of_freedom": float(degrees_of_freedom),
            "covariance": self._prior_covariance(X, weight, mean, variance),
        }

    def _given(self, name: str, default: float) -> float:
        value: float | None = getattr(self, name)
        return default if value is None else value

    def _prior_covariance(
        self, X: SampleArray, weight: FloatArray | None, mean: FloatArray, variance: FloatArray,
    ) -> FloatArray:
        """As given, or the data's, of the shape that VariationalStep expects."""
        d = X.shape[1]
        matrix = self.covariance_type in ("full", "tied")
        if self.covariance_prior is not None:
            shape = {"diag": (d,), "spherical": ()}.get(self.covariance_type, (d, d))
            given = check_array(self.covariance_prior, "covariance_prior", shape)
            covariance.cholesky_of_precisions(self.covariance_type, given, "covariance_prior")
            return given.reshape(1) if shape == () else given
        # unbiased, where there is more than one sample
        total = X.shape[0] if weight is None else weight.sum()
        unbiased = total / (total - 1.0) if total > 2.0 else 2.0
        if not matrix:
            return unbiased * (variance if self.covariance_type == "diag" else variance.mean(keepdims=True))
        one = MixtureLikelihood(X, "full", 1, sample_weight=weight, n_threads=self.n_threads)
        chol = np.diag(variance**-0.5)[np.newaxis]
        statistics = one.statistics(MixtureParameters.from_precisions_chol("full", np.ones(1), mean[np.newaxis], chol))
        upper: FloatArray = np.triu(statistics.second[0]) / statistics.total_weight
        diagonal = np.diagonal(upper)
        # the yardstick of a constant feature takes the place of its variance
        diagonal = np.where(diagonal > 0, diagonal, variance)
        return unbiased * (np.triu(upper, 1) + np.triu(upper, 1).T + np.diag(diagonal))

    def _regularized(self, matrix: FloatArray, variance: FloatArray) -> FloatArray:
        """The prior's covariance with reg_covar's scatter, and more of it where it is too thin for doubles."""
        mass = self.reg_covar
        if self.covariance_type not in ("full", "tied"):
            return matrix + mass * (variance if self.covariance_type == "diag" else variance.mean())
        while True:
            total = matrix + mass * np.diag(variance)
            sd = np.sqrt(np.diagonal(total))
            if np.linalg.eigvalsh(total / sd / sd[:, np.newaxis])[0] > _THINNEST:
                return total
            mass = max(10.0 * mass, _THINNEST)

    def _start(
        self, likelihood: MixtureLikelihood, mixture: Callable[[], MixtureParameters], sticks: bool,
    ) -> MixtureParameters:
        """The posterior given the responsibilities of a first mixture."""
        likelihood = likelihood.alone()
        statistics = likelihood.statistics(mixture())
        return likelihood.maximize(by_size(statistics) if sticks else statistics)

    def _reordered(self, likelihood: MixtureLikelihood, posterior: MixtureParameters) -> MixtureParameters:
        # the run before may have left hints, or have had a likelihood of its own
        likelihood.restart()
        return likelihood.maximize(by_size(likelihood.statistics(posterior)))

    def _fits(self, n_features: int, sticks: bool) -> bool:
        same = self.means_.shape == (self.n_components, n_features) and self._structure() == self.covariance_type
        return same and sticks == isinstance(self.weight_concentration_, tuple)

    def _parameters(self) -> Posterior:
        """The fitted posterior, as it is now (it may have been set by hand), in the kernels' form."""
        sticks = isinstance(self.weight_concentration_, tuple)
        means, chol = (np.ascontiguousarray(a, dtype=float) for a in (self.means_, self.precisions_cholesky_))
        hyper = np.empty((4, len(means)))
        if sticks:
            hyper[:2] = self.weight_concentration_
        else:
            hyper[0] = self.weight_concentration_
            hyper[1] = hyper[0].sum() - hyper[0]
        hyper[2], hyper[3] = self.mean_precision_, self.degrees_of_freedom_
        return Posterior.from_hyper(self._structure(), sticks, hyper, means, chol)

    def _store(self, result: em.EMResult, prior: dict[str, Any], sticks: bool, n_features: int) -> None:
        posterior = result.parameters
        a, b, mean_precision, degrees_of_freedom = _hyper(posterior)
        spherical = posterior.covariance_type == "spherical"
        self._fitted_structure = posterior.covariance_type
        self.weight_concentration_prior_ = prior["concentration"]
        self.mean_precision_prior_ = prior["mean_precision"]
        self.mean_prior_ = prior["mean"]
        self.degrees_of_freedom_prior_ = prior["degrees_of_freedom"]
        self.covariance_prior_ = float(prior["covariance"][0]) if spherical else prior["covariance"]
        self.weight_concentration_ = (a, b) if sticks else a
        self.mean_precision_ = mean_precision
        self.degrees_of_freedom_ = degrees_of_freedom
        if posterior.covariance_type == "tied":
            self.degrees_of_freedom_ = float(degrees_of_freedom[0])
        self.weights_ = posterior.weights
        self.means_ = posterior.means
        self.covariances_ = posterior.covariances
        self.precisions_cholesky_ = posterior.precisions_chol
        self.precisions_ = covariance.precisions(posterior.covariance_type, posterior.precisions_chol)
        self.converged_ = result.converged
        self.n_iter_ = result.n_iter
        self.lower_bound_ = result.objectives[-1]
        self.lower_bounds_ = result.objectives
        self.remaining_ = result.remaining
        self.n_features_in_ = n_features


def _hyper(parameters: MixtureParameters) -> FloatArray:
    """Of a posterior: VariationalMStep makes no other parameters."""
    assert isinstance(parameters, Posterior)
    return parameters.hyper


def _later(callback: Callable[[int, float], object], n_iter: int) -> Callable[[int, float], object]:
    """The callback, with so many iterations before."""
    return lambda iteration, objective: callback(n_iter + iteration, objective)
