"""Variational Bayes for mixtures, as an M-step of `MixtureLikelihood`: posteriors in the place of parameters."""

import math
from typing import Any, Self

import numpy as np

from gaussum.covariance import second_shape
from gaussum.parameters import MixtureParameters
from gaussum.statistics import SufficientStatistics
from gaussum.typing import FloatArray
from gaussum.variational_step import VariationalStep, expected_parameters


class Posterior(MixtureParameters):
    """A posterior of a mixture's parameters, and the parameters under which the E-step is that of variational Bayes.

    Attributes
    ----------
    hyper : ndarray, shape (4, n_components)
        a_k and b_k, of the weights; beta_k, the samples behind each mean; nu_k, the degrees of freedom. See
        gaussum.variational_step.
    weights, means, covariances, precisions_chol : ndarray
        Expected weights and means; the inverses of expected precisions, and their factors.
    log_det : ndarray, shape (n_components,)
        What makes log p_ik the expectation of log(pi_k N(x_i; mu_k, Lambda_k^-1)).
    """

    __slots__ = ("hyper",)

    def __init__(
        self, covariance_type: str, n_components: int, n_features: int, buffer: FloatArray,
        covariances: FloatArray | None, hyper: FloatArray,
    ) -> None:
        super().__init__(covariance_type, n_components, n_features, buffer, covariances)
        self.hyper = hyper

    @classmethod
    def from_hyper(
        cls, covariance_type: str, sticks: bool, hyper: FloatArray, means: FloatArray, precisions_chol: FloatArray,
    ) -> Self:
        """The posterior with these means and factors; `sticks` says that of a Dirichlet process."""
        buffer = np.concatenate([np.empty(2 * len(means)), means.ravel(), precisions_chol.ravel()])
        expected_parameters(covariance_type, means.shape[1], sticks, hyper, buffer)
        return cls(covariance_type, len(means), means.shape[1], buffer, None, hyper)


def by_size(statistics: SufficientStatistics) -> SufficientStatistics:
    """The same statistics with the components in the order of their masses, the largest first.

    No order of the sticks gives a higher bound: of neighbours a and b, b the later, the bound has a term
    -log(a_0 + n_b + n_after), a_0 being the prior's concentration (Kurihara, Welling and Teh 2007).
    """
    order = np.argsort(-statistics.nk, kind="stable")
    ordered = SufficientStatistics(statistics.covariance_type, statistics.origins[order])
    ordered.buffer[:2] = statistics.buffer[:2]
    ordered.nk[:], ordered.first[:] = statistics.nk[order], statistics.first[order]
    ordered.second[:] = statistics.second if statistics.covariance_type == "tied" else statistics.second[order]
    return ordered


class VariationalMStep:
    """The M-step, and what the lower bound lacks of the E-step's log-likelihood.

    Parameters
    ----------
    covariance_type : {"full", "tied", "diag", "spherical"}
    n_components : int
    sticks : bool
        Whether the weights have a Dirichlet process prior.
    **prior
        Of gaussum.variational_step.VariationalStep.
    """

    # components that hold nothing are as the prior has them: neither collapsed nor spurious
    mass = math.inf

    def __init__(self, covariance_type: str, n_components: int, sticks: bool, **prior: Any) -> None:
        d = len(prior["mean"])
        self._shape = covariance_type, n_components, d
        self._second_shape = second_shape(*self._shape)
        self._step = VariationalStep(covariance_type, n_components, sticks, **prior)
        self._scratch_size = d

    def maximize(self, statistics: SufficientStatistics) -> Posterior:
        """The posterior, given responsibilities."""
        _, K, d = self._shape
        covariances, hyper = np.empty(self._second_shape), np.empty((4, K))
        buffer = np.empty(2 * K + K * d + covariances.size)
        sound = self._step.update(statistics.buffer, statistics.origins, buffer, covariances.reshape(-1), hyper)
        posterior = Posterior(*self._shape, buffer, covariances, hyper)
        if not sound:
            # numbers have overflown: there is nothing to go on from
            posterior.log_det[:] = np.nan
        return posterior

    def penalty(self, posterior: Posterior) -> float:
        """The divergence of the posterior from the prior."""
        return self._step.divergence(posterior.buffer, posterior.hyper, np.empty(self._scratch_size))
