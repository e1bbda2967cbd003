"""The parameters of a Gaussian mixture, in the form that the kernels read."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gaussum import covariance


@dataclass(frozen=True)
class MixtureParameters:
    """Weights, means and covariances of a mixture; never changed once made.

    Attributes
    ----------
    covariance_type : {"full", "tied", "diag", "spherical"}
    weights : ndarray, shape (n_components,)
    means : ndarray, shape (n_components, n_features)
    covariances, precisions_chol : ndarray
        Shapes (K, d, d), (d, d), (K, d) or (K,) for the four types; precisions_chol is the upper triangular U of
        Sigma^-1 = U U^T, or 1 / sigma.
    log_det : ndarray, shape (n_components,)
        log det U of every component.
    """

    covariance_type: str
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    precisions_chol: np.ndarray
    log_det: np.ndarray

    @classmethod
    def from_precisions_chol(cls, covariance_type, weights, means, precisions_chol):
        """Parameters whose covariances and determinants are computed from U."""
        return cls(
            covariance_type,
            weights,
            means,
            covariance.covariances_of(covariance_type, precisions_chol),
            precisions_chol,
            covariance.log_determinants(covariance_type, precisions_chol, *means.shape),
        )

    @cached_property
    def log_const(self):
        """log w_k + log det U_k - d/2 log 2 pi: all of log p_ik that does not depend on the sample."""
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)
        return log_weights + self.log_det - 0.5 * self.means.shape[1] * math.log(2.0 * math.pi)

    def penalty(self, ridge):
        """sum_k tr(ridge Sigma_k^-1) / 2, which the M-step takes from the log-likelihood (once for "tied").

        Parameters
        ----------
        ridge : ndarray, shape (n_features,)
        """
        u2 = self.precisions_chol**2
        if self.covariance_type in ("full", "tied"):
            return 0.5 * float(np.dot(u2.reshape(-1, *u2.shape[-2:]).sum(axis=(0, 2)), ridge))
        if self.covariance_type == "diag":
            return 0.5 * float(np.dot(u2.sum(axis=0), ridge))
        return 0.5 * float(u2.sum() * ridge.sum())
