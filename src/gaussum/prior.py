"""Conjugate priors of mixtures, for fits that maximise the posterior (Fraley and Raftery 2007).

    mu_k | Sigma_k ~ N(mu_0, Sigma_k / kappa)
    Sigma_k        ~ inverse Wishart(nu, Lambda),  density ~ |Sigma|^(-(nu + d + 1) / 2) exp(-tr(Lambda Sigma^-1) / 2)

For "diag" every variance, and for "spherical" the one of a component, has the inverse gamma distribution that this is
in one dimension, with a scale of its own. Under constraints the density is that of every component's covariance, within
its structure; what all components share (EEE, EEI, EII, and in one dimension E) has it once. The prior counts like
kappa samples at mu_0 and the scatter Lambda. With m_k = (n_k xbar_k + kappa mu_0) / (n_k + kappa) and T_k the scatter
of the samples and of those kappa about it,

    full       Sigma_k      = (Lambda + T_k) / (n_k + nu + d + 2)
    tied       Sigma        = (Lambda + sum_k T_k) / (n + nu + d + 1 + K)
    diag       sigma_kj^2   = (lambda_j + T_kjj) / (n_k + nu + 3)
    spherical  sigma_k^2    = (lambda + tr T_k) / (d n_k + nu + d + 2)
    EEI        sigma_j^2    = (lambda_j + sum_k T_kjj) / (n + nu + 2 + K)
    EII        sigma^2      = (lambda + sum_k tr T_k) / (d n + nu + 2 + d K)

The other structures have their own M-step (gaussum.structures), on scatters Lambda + T_k and masses n_k + nu + d + 2,
or n_k + nu + 3 with variances along the axes (VEI, EVI). Under a proper prior the posterior is bounded, so components
cannot collapse. Weights have no prior.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gaussum.covariance import kernel_type, letters, second_shape
from gaussum.mixture_pass import MixturePass
from gaussum.moments import data_covariance
from gaussum.parameters import MixtureParameters
from gaussum.samples import Samples
from gaussum.statistics import SufficientStatistics
from gaussum.structures import StructuredMStep
from gaussum.typing import ArrayLike, FloatArray, SampleArray
from gaussum.validation import check_array, check_choice, check_number

# Fraley and Raftery's choice of kappa.
_MEAN_PRECISION = 0.01
PRIOR_PARAMS = ("mean_prior", "mean_precision_prior", "covariance_prior", "degrees_of_freedom_prior")


@dataclass(frozen=True)
class ConjugatePrior:
    """The numbers of a conjugate prior; see the module's text.

    Attributes
    ----------
    mean : ndarray, shape (n_features,)
    mean_precision : float
        kappa, in samples.
    covariance : ndarray
        Lambda: shape (d, d) for "full" and "tied", (d,) for "diag", () for "spherical", and as theirs for the
        structures that the same kernels serve.
    degrees_of_freedom : float
    """

    mean: FloatArray
    mean_precision: float
    covariance: FloatArray = field(repr=False)
    degrees_of_freedom: float


def check_prior(prior: str | None, values: Mapping[str, Any]) -> None:
    """Refuse what makes no sense in any dimension; `values` are those of PRIOR_PARAMS.

    Raises
    ------
    ValueError, TypeError
        The message names the parameter.
    """
    if prior is not None:
        check_choice(prior, "prior", ("default",))
    if values["mean_precision_prior"] is not None:
        check_number(values["mean_precision_prior"], "mean_precision_prior", minimum=0.0)
    if values["degrees_of_freedom_prior"] is not None:
        check_number(values["degrees_of_freedom_prior"], "degrees_of_freedom_prior")


def conjugate_prior(
    prior: str | None, values: Mapping[str, Any], structure: str, n_components: int, X: SampleArray,
    sample_weight: FloatArray | None, mean: FloatArray, variance: FloatArray, n_threads: int | None = None,
) -> ConjugatePrior | None:
    """The prior that is asked for, or None; what is not given follows from the data's own moments.

    By default mu_0 is the data's mean, kappa 0.01, nu = d + 2, and Lambda the data's covariance, its diagonal, or the
    mean of that, over K^(2 / d): so the fit scales and shifts with the data.

    Parameters
    ----------
    prior : {"default"} or None
    values : dict
        Of PRIOR_PARAMS; any that is not None asks for a prior too.
    structure : str
        One of gaussum.covariance.STRUCTURES.
    mean, variance : ndarray, shape (n_features,)
        Those of the data.

    Raises
    ------
    ValueError, TypeError
        A value has the wrong shape or makes no sense; the message names the parameter.
    """
    if prior is None and all(value is None for value in values.values()):
        return None
    d, covariance_type = X.shape[1], kernel_type(structure)
    center, precision, scatter, freedom = (values[name] for name in PRIOR_PARAMS)
    least = -_constant(structure, n_components, d)
    freedom = d + 2.0 if freedom is None else check_number(freedom, "degrees_of_freedom_prior", minimum=least)
    precision = _MEAN_PRECISION if precision is None else float(precision)
    center = mean if center is None else check_array(_shaped(center, (d,)), "mean_prior", (d,))
    if scatter is not None:
        scatter = _check_covariance(scatter, covariance_type, d)
    else:
        if covariance_type == "diag":
            scatter = variance
        elif covariance_type == "spherical":
            scatter = variance.mean()
        else:
            scatter = data_covariance(X, sample_weight, mean, variance, n_threads)
        scatter = np.asarray(scatter / n_components ** (2.0 / d))
    return ConjugatePrior(center, precision, scatter, freedom)


class PosteriorStep:
    """The M-step of mixtures under a conjugate prior, and the penalty that makes EM climb: for MixtureLikelihood.

    Parameters
    ----------
    prior : ConjugatePrior
    covariance_type : {"full", "tied", "diag", "spherical"}
    n_components : int
    ridge : ndarray, shape (n_features,)
        Scatter that is added to every covariance's numerator beside the prior's.
    variance : ndarray, shape (n_features,)
        The units in which determinants are measured, so that the penalty does not depend on those of the data.
    unit : float
        The weight of one sample.

    Attributes
    ----------
    mass : float
        What the prior adds to the mass of a component, in samples.
    """

    def __init__(
        self, prior: ConjugatePrior, covariance_type: str, n_components: int, *, ridge: FloatArray,
        variance: FloatArray, unit: float = 1.0,
    ) -> None:
        d = len(ridge)
        self._structure = covariance_type
        self._mean, self._precision = prior.mean, unit * prior.mean_precision
        self._scatter = unit * prior.covariance
        self.mass = prior.degrees_of_freedom + _constant(covariance_type, n_components, d)
        self._mass = unit * self.mass
        self._units = np.log(variance) if covariance_type == "diag" else np.log(variance).sum()
        if covariance_type == "spherical":
            self._units /= d
        # only its M-step is called, on statistics in which the prior is contained
        self._pass = MixturePass(Samples(np.zeros((1, d))), covariance_type, n_components, None, 1, ridge)

    def maximize(self, statistics: SufficientStatistics) -> MixtureParameters:
        """The parameters of the highest expected posterior; log_det is NaN where a covariance is singular."""
        structure, (K, d), nk = self._structure, statistics.origins.shape, statistics.nk
        means, scatter = self._about_new_means(statistics)
        # with the masses by which to divide
        whole = np.zeros_like(statistics.buffer)
        whole[2 : 2 + K] = nk + self._mass / {"tied": K, "spherical": d}.get(structure, 1)
        whole[2 + K + K * d :] = (scatter + self._scatter).ravel()
        parameters = MixtureParameters(
            structure, K, d, np.empty(self._pass.parameters_size), np.empty(second_shape(structure, K, d))
        )
        self._pass.maximize(
            whole, np.ascontiguousarray(means), parameters.buffer, parameters.covariances.reshape(-1), np.empty(d)
        )
        parameters.weights[:] = nk / nk.sum()
        return parameters

    def _about_new_means(self, statistics: SufficientStatistics) -> tuple[FloatArray, FloatArray]:
        """The means, and the scatters T_k about them (of matrices, upper triangles); for "tied" their sum."""
        structure = self._structure
        origins, nk, first, second = statistics.origins, statistics.nk, statistics.first, statistics.second
        mass = nk + self._precision
        shift = first + self._precision * (self._mean - origins)
        means = origins + np.divide(shift, mass[:, np.newaxis], out=np.zeros_like(shift), where=mass[:, np.newaxis] > 0)
        moved, away = means - origins, means - self._mean
        if structure in ("full", "tied"):
            cross = first[:, :, np.newaxis] * moved[:, np.newaxis, :]
            scatter = (nk[:, np.newaxis] * moved)[:, :, np.newaxis] * moved[:, np.newaxis, :] - cross
            scatter -= np.swapaxes(cross, 1, 2)
            scatter += self._precision * away[:, :, np.newaxis] * away[:, np.newaxis, :]
        else:
            scatter = (nk[:, np.newaxis] * moved - 2.0 * first) * moved + self._precision * away**2
        scatter = {"tied": scatter.sum(axis=0), "spherical": scatter.sum(axis=-1)}.get(structure, scatter)
        return means, second + scatter

    def penalty(self, parameters: MixtureParameters) -> float:
        """-log prior density, but for a constant."""
        away, chol = parameters.means - self._mean, parameters.precisions_chol
        if self._structure in ("full", "tied"):
            log_dets = -2.0 * parameters.log_det
            whitened = np.matmul(away[:, np.newaxis, :], chol)
            spread = self._precision * (whitened**2).sum()
            spread += (chol * (self._scatter @ chol)).sum()
            if self._structure == "tied":
                log_dets = log_dets[:1]
        else:
            log_dets = -2.0 * np.log(chol)
            precisions = chol**2
            squares = away**2 if self._structure == "diag" else (away**2).sum(axis=1)
            spread = (precisions * (self._scatter + self._precision * squares)).sum()
        penalty: float = 0.5 * (self._mass * (log_dets - self._units).sum() + spread)
        return penalty


class StructuredPosteriorStep(PosteriorStep):
    """The same for constrained covariances: their own M-step on the samples and what the prior counts for.

    Parameters
    ----------
    prior : ConjugatePrior
    constraint : gaussum.structures.StructuredMStep
        It adds the ridge.
    ridge, variance, unit
        As of PosteriorStep.
    """

    def __init__(
        self, prior: ConjugatePrior, constraint: StructuredMStep, *, ridge: FloatArray, variance: FloatArray,
        unit: float = 1.0,
    ) -> None:
        K, d = constraint.shape
        super().__init__(prior, constraint.covariance_type, K, ridge=ridge, variance=variance, unit=unit)
        self._constraint = constraint
        self.mass = prior.degrees_of_freedom + _constant(constraint.name, K, d)
        # what all share has its prior once: a part for each
        parts = K if _shared(constraint.name, d) else 1
        self._mass, self._scatter = unit * self.mass / parts, self._scatter / parts

    def maximize(self, statistics: SufficientStatistics) -> MixtureParameters:
        """The parameters of the highest expected posterior; log_det is NaN where a covariance is singular."""
        nk = statistics.nk
        means, scatter = self._about_new_means(statistics)
        masses = nk + self._mass / (means.shape[1] if self._structure == "spherical" else 1)
        return self._constraint.of_scatters(
            masses, nk / nk.sum(), means, scatter + self._scatter, statistics.parameters
        )


def _shared(structure: str, d: int) -> bool:
    """Whether one covariance is that of all components."""
    name = letters(structure)
    return name in ("EII", "EEI", "EEE") or d == 1 and name[0] == "E"


def _constant(structure: str, K: int, d: int) -> int:
    """What the degrees of freedom are less than the mass by which the prior enlarges a covariance's denominator.

    Of every component's, or of the one that all share.
    """
    kind = kernel_type(structure)
    # the density of what is shared, and that of every mean
    of_covariance, of_mean = {"spherical": (2, d), "diag": (2, 1)}.get(kind, (d + 1, 1))
    return of_covariance + of_mean * (K if _shared(structure, d) else 1)


def _shaped(value: ArrayLike, shape: tuple[int, ...]) -> ArrayLike:
    """A number, where an array of that shape holds but one."""
    return np.reshape(value, shape) if np.ndim(value) == 0 and np.prod(shape) == 1 else value


def _check_covariance(value: ArrayLike, covariance_type: str, d: int) -> FloatArray:
    name, shape = "covariance_prior", {"diag": (d,), "spherical": ()}.get(covariance_type, (d, d))
    scatter = check_array(_shaped(value, shape), name, shape)
    if len(shape) < 2:
        if (scatter < 0).any():
            raise ValueError(f"{name} holds {scatter.min():g}; expected numbers >= 0")
        return scatter
    if not np.allclose(scatter, scatter.T, rtol=1e-6, atol=1e-12 * np.abs(scatter).max()):
        raise ValueError(f"{name} is not symmetric; expected a symmetric positive semi-definite matrix")
    eigenvalues = np.linalg.eigvalsh(scatter)
    if eigenvalues[0] < -1e-10 * eigenvalues[-1] or eigenvalues[-1] < 0:
        raise ValueError(
            f"{name} has the eigenvalue {eigenvalues[0]:g}; expected a symmetric positive semi-definite matrix"
        )
    return scatter
