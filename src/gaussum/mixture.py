"""Gaussian mixtures fitted by EM."""

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np

from gaussum import covariance, criteria, em, flat, starts
from gaussum.likelihood import MixtureLikelihood
from gaussum.mixture_base import ROUNDING_MASS, BaseMixture, TrainingData, relative_ridge
from gaussum.moments import data_covariance
from gaussum.parameters import MixtureParameters
from gaussum.prior import PRIOR_PARAMS, PosteriorStep, StructuredPosteriorStep, check_prior, conjugate_prior
from gaussum.structures import StructuredMStep, structured_m_step
from gaussum.typing import ArrayLike, FloatArray, RandomState, SampleArray
from gaussum.validation import check_choice, check_flag, check_random_state

# Starts where each has ended in a spurious optimum.
_FEWEST_STARTS = 5


class GaussianMixture(BaseMixture):
    """A mixture of Gaussians, fitted by the expectation-maximisation algorithm (Dempster, Laird and Rubin 1977).

    Parameters
    ----------
    n_components : int
        The number of Gaussians, K.
    covariance_type : {"full", "tied", "diag", "spherical"} or a name of mclust's
        One full matrix a component; one that all share; one variance a component and feature; one a component. Or one
        of the fourteen structures of Celeux and Govaert (1995), "EII" to "VVV": three letters for the volumes, the
        shapes and the orientations of the covariances, each (E)qual, (V)arying, or the (I)dentity. The four above are
        "VVV", "EEE", "VVI" and "VII"; "E" and "V" are for a single feature.
    tol : float
        A fit has converged when the gain in the mean log-likelihood still to come is estimated to be below `tol`; with
        `accelerate`, `gradient_norm_` is below it too, so the default leaves next to nothing. 0 runs until rounding.
        (Scikit-learn's `tol` bounds the last change, which may be a thousand times smaller than what is to come.)
    reg_covar : float
        The mass, in samples, of an imagined scatter with the data's own variances that is added to every component's:
        Sigma_k = (S_k + reg_covar diag(variances)) / n_k. It bounds the likelihood (Ciuperca, Ridolfi and Idier 2003)
        and scales with the data, so scaling or shifting the data scales or shifts the fit.
    max_iter : int
        Iterations before a fit is given up, with a ConvergenceWarning.
    n_init : int
        Starts; the one with the highest penalised log-likelihood that is not spurious is kept. Where all end in
        spurious optima, there are five.
    init_params : {"auto", "small-em", "kmeans", "k-means++", "random", "random_from_data", "whitened", "hierarchical"}
        How a start is made, from a bounded number of samples. "auto": k-means, as it is and in whitened coordinates;
        then, within a fixed amount of work, components of the better are taken away and others split at random, each
        time followed by a short run of EM that is kept if it ends higher (`gaussum.starts.auto`); every other further
        start is a partition alone, and all are where components and features are too many for that. "small-em": the
        best of short runs from random samples as centres. Both search under the structure's constraint where that
        is affordable. "kmeans": k-means in units of the standard deviations;
        "k-means++": its seeds alone; "random_from_data": random samples as centres; "random": random responsibilities;
        "whitened": k-means in coordinates in which the data have the covariance 1; "hierarchical": Ward's method there.
        Where partitions would be alike, those after the first are "k-means++" and "random_from_data" in turn.
        `means_init` takes the place of the centres; with any of the first parameters given there is no search.
    weights_init, means_init, precisions_init : array_like, optional
        Shapes (K,), (K, d) and that of `precisions_`. Each replaces that part of the first parameters.
    random_state : None, int, numpy.random.Generator or RandomState
        Seed of the starts and of `sample`.
    warm_start : bool
        Whether `fit` goes on from the parameters of the fit before, if there is one.
    verbose : int
        1 prints a line a start, 2 also one every `verbose_interval` iterations: the objective, its last change, the
        estimate of what is to come, and the time.
    verbose_interval : int
    accelerate : bool
        Quasi-Newton steps with EM as preconditioner and safeguard; False is plain EM, one E-step and one M-step an
        iteration.
    n_threads : int, optional
        None means all processors. The result is the same to the last bit for any number. Large problems are divided
        among the threads; the starts of small ones run side by side.
    prior : {"default"}, optional
        Maximise the posterior under a conjugate prior (Fraley and Raftery 2007), which keeps components from
        collapsing. Its strength is that of a few samples, and all follows from the data's moments, unless it is given
        by one of the next four, each of which asks for a prior too (see gaussum.prior for the formulas).
    mean_prior : array_like, shape (n_features,), optional
        Where the means are expected; by default the data's mean.
    mean_precision_prior : float, optional
        How many samples' worth of certainty that has; by default 0.01.
    covariance_prior : array_like, optional
        The scatter that is added to each covariance's: a number for "spherical" and "EII", shape (d,) for "diag" and
        the other structures that end in "I", else (d, d). By default the mean of the data's variances, these, or the
        data's covariance, over K^(2 / d).
    degrees_of_freedom_prior : float, optional
        Of the inverse Wishart or gamma distribution; by default d + 2.

    Attributes
    ----------
    weights_ : ndarray, shape (n_components,)
    means_ : ndarray, shape (n_components, n_features)
        In the units of the data.
    covariances_, precisions_, precisions_cholesky_ : ndarray
        Covariances, their inverses, and upper triangular U with U U^T the inverse; shapes (K, d, d), (d, d), (K, d) or
        (K,) by covariance type: (K,) for "EII", (K, d) for the other structures that end in "I", (d, d) for "EEE" and
        "E", else (K, d, d).
    converged_ : bool
    n_iter_ : int
        Iterations of the best start.
    n_passes_ : int
        Its passes over the data: E-steps, those of shortened steps too, and second derivatives as so many E-steps as
        they take the time of.
    lower_bound_ : float
        Mean log-likelihood of the samples under the fitted mixture, in nats.
    lower_bounds_ : list of float
        The mean penalised log-likelihood at every iteration of the best start; never falls, but for rounding or
        when a component collapses and is rescued.
    remaining_ : float
        The estimate of what is left to gain in mean log-likelihood.
    prior_ : gaussum.prior.ConjugatePrior or None
        The prior's numbers.
    spurious_ : tuple of int
        The components that make the fit a spurious optimum, empty for a fit to be trusted: the likelihood is
        unbounded where a component shrinks onto few samples, and such a fit is high for nothing. A component of mass
        m = weight n_samples is spurious if along some axis its standard deviation is less than some
        1 / (4 max(1, m - q, exp((m - q - 1) / 5))) of the others', q being d for "full" and 1 otherwise (see
        gaussum.spurious). Starts that end in one are only kept, with a SpuriousOptimumWarning, if all do.
    gradient_norm_ : float
        The norm of the gradient of the mean penalised log-likelihood at the fit, in coordinates without units: log w_k,
        U_k^T mu_k and the logarithm of U_k (its diagonal times sqrt(2)), each times the root of the component's share
        of the samples. One more step of EM would gain between half its square and its square, to first order;
        neither units nor the number of samples change it.
    n_features_in_ : int
    n_parameters_ : int
        Free parameters.

    Raises
    ------
    ValueError, TypeError
        By `fit`, for parameters or data that make no sense; the message names the argument.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import GaussianMixture
    >>> rng = np.random.default_rng(0)
    >>> x = np.concatenate([rng.normal(-2, 1, 500), rng.normal(4, 2, 500)])
    >>> mixture = GaussianMixture(2, random_state=0).fit(x)
    >>> np.sort(mixture.means_.ravel()).round(0)
    array([-2.,  4.])
    >>> mixture.score(x) > mixture.score(x + 1)
    True
    """

    def __init__(
        self, n_components: int = 1, *, covariance_type: str = "full", tol: float = 1e-8, reg_covar: float = 1e-6,
        max_iter: int = 10_000, n_init: int = 1, init_params: str = "auto", weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None, precisions_init: ArrayLike | None = None,
        random_state: RandomState = None, warm_start: bool = False, verbose: int = 0, verbose_interval: int = 10,
        accelerate: bool = True, n_threads: int | None = None, prior: str | None = None,
        mean_prior: ArrayLike | None = None, mean_precision_prior: float | None = None,
        covariance_prior: ArrayLike | None = None, degrees_of_freedom_prior: float | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.accelerate = accelerate
        self.n_threads = n_threads
        self.prior = prior
        self.mean_prior = mean_prior
        self.mean_precision_prior = mean_precision_prior
        self.covariance_prior = covariance_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior

    def fit(
        self, X: ArrayLike | TrainingData, y: object = None, sample_weight: ArrayLike | None = None, *,
        callback: Callable[[int, float], object] | None = None,
    ) -> Self:
        """Fit the mixture.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features) or (n_samples,)
            float32 or float64 in any layout are read in place, block by block.
        y : ignored
        sample_weight : array_like, shape (n_samples,), optional
            How often each sample counts; need not be whole numbers.
        callback : callable, optional
            Called with (iteration, mean penalised log-likelihood) after every iteration; the starts then run one
            after the other.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            Data or parameters that make no sense, or no start led to a mixture.
        """
        data = X if isinstance(X, TrainingData) else TrainingData(*self._check_data(X, sample_weight))
        X, weight = data.X, data.weight
        n_positive = X.shape[0] if weight is None else int(np.count_nonzero(weight))
        self.check_parameters(n_positive, weight is not None)
        rng = check_random_state(self.random_state)
        mean, variance = data.shared("moments", partial(self._reference_moments, X, weight))
        mean_weight = 1.0 if weight is None else weight.sum() / n_positive
        scale, mass = np.sqrt(variance), max(self.reg_covar, ROUNDING_MASS)
        ridge = relative_ridge(self.reg_covar, weight, variance)
        shape = covariance.kernel_type(self.covariance_type), self.n_components
        prior = conjugate_prior(
            self.prior, self._prior_values(), self.covariance_type, self.n_components, X, weight, mean, variance,
            self.n_threads,
        )
        correlation = partial(_correlation, X, weight, mean, variance, self.n_threads)
        blur = flat.blur(
            covariance.letters(self.covariance_type), self.n_components, X, weight, variance, mass,
            partial(data.shared, "correlation", correlation),
        )
        constraint = structured_m_step(self.covariance_type, self.n_components, X.shape[1], ridge)
        m_step: PosteriorStep | StructuredPosteriorStep | StructuredMStep | None = constraint
        if prior is not None:
            units: dict[str, Any] = dict(ridge=ridge, variance=variance, unit=mean_weight)
            if constraint is None:
                m_step = PosteriorStep(prior, *shape, **units)
            else:
                m_step = StructuredPosteriorStep(prior, constraint, **units)
        likelihood = MixtureLikelihood(
            X, *shape, sample_weight=weight, ridge=ridge, n_threads=self.n_threads, spread=(mean, variance),
            m_step=m_step, blur=blur,
        )

        if self.warm_start and hasattr(self, "means_") and self._fits(X.shape[1]):
            first_starts = [self._parameters]
        else:
            given = self.weights_init, self.means_init, self.precisions_init
            n_starts = max(self.n_init, _FEWEST_STARTS) if all(part is None for part in given) else self.n_init
            first_starts = starts.prepare(
                X, *shape, self.init_params, n_starts, rng, scale=scale, sample_weight=weight, ridge=ridge,
                n_threads=self.n_threads, given=given, m_step=constraint, searched=blur is None,
                shared=lambda key, make: data.shared(("start", self.reg_covar, *key), make),
            )
            if blur is not None:
                first_starts = [partial(_changed, flat.widened, start, blur) for start in first_starts]
        if constraint is not None:
            first_starts = [partial(_changed, constraint.project, start) for start in first_starts]
        result = em.best_of(
            likelihood, first_starts[: self.n_init], reserve=first_starts[self.n_init :], tol=self.tol,
            max_iter=self.max_iter, accelerate=self.accelerate, callback=callback, progress=self._progress(),
            report=print if self.verbose else None,
        )
        self._store(result, X.shape[1])
        self.prior_ = prior
        return self

    def _prior_values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in PRIOR_PARAMS}

    def check_parameters(self, n_samples: int, weighted: bool = False) -> None:
        """Refuse parameters that make no sense for so many samples (of positive weight, if `weighted`).

        Raises
        ------
        ValueError, TypeError
            The message names the parameter.
        """
        check_choice(self.covariance_type, "covariance_type", covariance.STRUCTURES)
        check_choice(self.init_params, "init_params", starts.METHODS)
        check_flag(self.accelerate, "accelerate")
        check_prior(self.prior, self._prior_values())
        self._check_shared(n_samples, weighted)

    def _fits(self, n_features: int) -> bool:
        K = self.n_components
        return self.means_.shape == (K, n_features) and self._letters() == covariance.letters(self.covariance_type)

    def _store(self, result: em.EMResult, n_features: int) -> None:
        parameters = result.parameters
        self._fitted_structure = self.covariance_type
        self.weights_ = parameters.weights
        self.means_ = parameters.means
        self.covariances_ = parameters.covariances
        self.precisions_cholesky_ = parameters.precisions_chol
        self.precisions_ = covariance.precisions(parameters.covariance_type, parameters.precisions_chol)
        self.converged_ = result.converged
        self.n_iter_ = result.n_iter
        self.n_passes_ = result.n_passes
        self.lower_bound_ = result.log_likelihood
        self.lower_bounds_ = result.objectives
        self.remaining_ = result.remaining
        self.spurious_ = result.spurious
        self.gradient_norm_ = result.gradient_norm
        self.n_features_in_ = n_features
        self.n_parameters_ = self._n_parameters()

    def aic(self, X: ArrayLike) -> float:
        """Akaike's information criterion on the samples; smaller is better (see gaussum.criteria.aic)."""
        return criteria.aic(self.score_samples(X).sum(), self._n_parameters())

    def bic(self, X: ArrayLike) -> float:
        """The Bayesian information criterion on the samples; smaller is better (see gaussum.criteria.bic)."""
        log_density = self.score_samples(X)
        return criteria.bic(log_density.sum(), self._n_parameters(), log_density.size)

    def icl(self, X: ArrayLike) -> float:
        """The integrated completed likelihood on the samples; smaller is better (see gaussum.criteria.icl)."""
        X = self._samples(X)
        log_density, log_largest = np.empty(X.shape[0]), np.empty(X.shape[0])
        self._predict(X, log_density=log_density, log_largest=log_largest)
        return criteria.icl(log_density.sum(), self._n_parameters(), X.shape[0], log_largest.sum())

    def _n_parameters(self) -> int:
        return covariance.n_parameters(self._letters(), *self.means_.shape)

    def _letters(self) -> str:
        return covariance.letters(getattr(self, "_fitted_structure", self.covariance_type))


def _changed(
    change: Callable[..., MixtureParameters], start: Callable[[], MixtureParameters], *arguments: Any,
) -> MixtureParameters:
    """A start's parameters, changed."""
    return change(start(), *arguments)


def _correlation(
    X: SampleArray, weight: FloatArray | None, mean: FloatArray, variance: FloatArray, n_threads: int | None,
) -> FloatArray:
    scale = np.sqrt(variance)
    correlation: FloatArray = data_covariance(X, weight, mean, variance, n_threads) / np.outer(scale, scale)
    return correlation
