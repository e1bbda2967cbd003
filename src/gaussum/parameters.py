"""The parameters of a Gaussian mixture, in the form that the kernels read."""

from typing import Self

import numpy as np

from gaussum import covariance
from gaussum.mixture_pass import log_determinants
from gaussum.typing import FloatArray


class MixtureParameters:
    """Weights, means and covariances of a mixture; never changed once made.

    Parameters
    ----------
    covariance_type : {"full", "tied", "diag", "spherical"}
    n_components, n_features : int
    buffer : ndarray, shape (2 K + K d + ...,)
    covariances : ndarray, optional
        What is not given is computed from the precisions when it is asked for.

    Attributes
    ----------
    buffer : ndarray
        `weights`, `log_det`, `means` and `precisions_chol`, one after the other; they are views of it.
    weights : ndarray, shape (n_components,)
    log_det : ndarray, shape (n_components,)
        log det U of every component.
    means : ndarray, shape (n_components, n_features)
    covariances, precisions_chol : ndarray
        Shapes (K, d, d), (d, d), (K, d) or (K,) for the four types; precisions_chol is the upper triangular U of
        Sigma^-1 = U U^T, or 1 / sigma.
    """

    __slots__ = ("covariance_type", "n_components", "n_features", "buffer", "_covariances")

    def __init__(
        self, covariance_type: str, n_components: int, n_features: int, buffer: FloatArray,
        covariances: FloatArray | None = None,
    ) -> None:
        self.covariance_type = covariance_type
        self.n_components = n_components
        self.n_features = n_features
        self.buffer = buffer
        self._covariances = covariances

    @classmethod
    def from_precisions_chol(
        cls, covariance_type: str, weights: FloatArray, means: FloatArray, precisions_chol: FloatArray,
    ) -> Self:
        """Parameters whose covariances and determinants are computed from U."""
        K, d = means.shape
        buffer = np.concatenate([weights, weights, means.ravel(), precisions_chol.ravel()], dtype=np.float64)
        log_determinants(covariance_type, d, buffer[2 * K + K * d :], buffer[K : 2 * K])
        return cls(covariance_type, K, d, buffer)

    @property
    def weights(self) -> FloatArray:
        return self.buffer[: self.n_components]

    @property
    def log_det(self) -> FloatArray:
        return self.buffer[self.n_components : 2 * self.n_components]

    @property
    def means(self) -> FloatArray:
        K, d = self.n_components, self.n_features
        return self.buffer[2 * K : 2 * K + K * d].reshape(K, d)

    @property
    def precisions_chol(self) -> FloatArray:
        K, d = self.n_components, self.n_features
        return self.buffer[2 * K + K * d :].reshape(covariance.second_shape(self.covariance_type, K, d))

    @property
    def covariances(self) -> FloatArray:
        if self._covariances is None:
            self._covariances = covariance.covariances_of(self.covariance_type, self.precisions_chol)
        return self._covariances
