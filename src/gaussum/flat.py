"""Directions in which data do not vary: constant and collinear features, more features than samples.

A component's variance along such a direction is what regularisation leaves, ridge / n_k, so its density there grows
with sqrt(n_k), and heavy components would swallow light ones however far apart they are. So each sample is taken for

    x_i + N(0, A),  A of variance a along the flat directions, in units of the features' variances,

a blur whose expected log density log N(x_i; mu_k, Sigma_k) - tr(A Sigma_k^-1) / 2 EM maximises as well: S_k becomes
S_k + n_k A. All components then have the same variance along flat directions, which decide nothing any more; along the
others nothing changes.
"""

from collections.abc import Callable

import numpy as np

from gaussum.parameters import MixtureParameters
from gaussum.statistics import SufficientStatistics
from gaussum.typing import FloatArray, MaskArray, SampleArray

# The blur's variance over that which regularisation leaves to a component of usual mass; and its bounds.
_ABOVE_RIDGE = 100.0
_LEAST, _MOST = 1e-13, 1e-6
_PROBE = 16


def blur(
    structure: str, n_components: int, X: SampleArray, sample_weight: FloatArray | None, variance: FloatArray,
    reg_covar: float, correlation: Callable[[], FloatArray],
) -> FloatArray | None:
    """The factor B of the blur's covariance A = B B^T; None where the data vary in all directions that matter.

    Structures whose components share their shape, and so what they have along a flat direction, need none.

    Parameters
    ----------
    structure : str
        One of gaussum.covariance.MCLUST_NAMES.
    variance : ndarray, shape (n_features,)
        The features' variances; the unit of those that are constant.
    reg_covar : float
    correlation : callable
        Returns the correlation matrix of the data, shape (d, d), where it is needed.

    Returns
    -------
    ndarray, shape (n_features, n_flat), or None
    """
    if structure[1] != "V" or n_components == 1:
        return None
    d, n = X.shape[1], X.shape[0] if sample_weight is None else np.count_nonzero(sample_weight)
    constant = constant_features(X, sample_weight)
    width = min(_MOST, max(_LEAST * d, _ABOVE_RIDGE * reg_covar * n_components / n))
    axes = np.eye(d)[:, constant]
    varying = np.flatnonzero(~constant)
    if structure[2] != "I" and varying.size > 1:
        matrix = correlation()[np.ix_(varying, varying)]
        if not _above(matrix, width):
            values, vectors = np.linalg.eigh(matrix)
            within = np.zeros((d, np.count_nonzero(values < width)))
            within[varying] = vectors[:, values < width]
            axes = np.hstack([axes, within])
    return np.sqrt(width) * np.sqrt(variance)[:, np.newaxis] * axes if axes.size else None


def constant_features(X: SampleArray, sample_weight: FloatArray | None) -> MaskArray:
    """Whether each feature is the same in all samples of positive weight, shape (n_features,)."""
    held = np.arange(len(X)) if sample_weight is None else np.flatnonzero(sample_weight)
    constant: MaskArray = (X[held[:_PROBE]] == X[held[0]]).all(axis=0)
    for j in np.flatnonzero(constant):
        column = X[:, j] if sample_weight is None else X[held, j]
        constant[j] = (column == column[0]).all()
    return constant


def penalties(parameters: MixtureParameters, factor: FloatArray) -> FloatArray:
    """tr(A Sigma_k^-1) / 2 for every component, shape (n_components,)."""
    chol = parameters.precisions_chol
    taken: FloatArray
    if parameters.covariance_type == "full":
        taken = 0.5 * (np.matmul(factor.T, chol) ** 2).sum(axis=(1, 2))
    else:
        taken = 0.5 * chol**2 @ (factor**2).sum(axis=1)
    return taken


def blurred(parameters: MixtureParameters, factor: FloatArray) -> MixtureParameters:
    """The parameters whose log densities are those expected of the blur."""
    buffer = parameters.buffer.copy()
    same = MixtureParameters(parameters.covariance_type, parameters.n_components, parameters.n_features, buffer)
    same.log_det[:] -= penalties(parameters, factor)
    return same


def widen(statistics: SufficientStatistics, factor: FloatArray) -> None:
    """Make statistics those of the blur: S_k + n_k A."""
    added = factor @ factor.T if statistics.covariance_type == "full" else (factor**2).sum(axis=1)
    statistics.second[...] += np.multiply.outer(statistics.nk, added)


def widened(parameters: MixtureParameters, factor: FloatArray) -> MixtureParameters:
    """Parameters to start from: with the variance of the blur along flat directions."""
    covariances = parameters.covariances
    if parameters.covariance_type == "full":
        lower = np.linalg.cholesky(covariances + factor @ factor.T)
        chol = np.triu(np.swapaxes(np.linalg.inv(lower), 1, 2))
    else:
        chol = (covariances + (factor**2).sum(axis=1)) ** -0.5
    return MixtureParameters.from_precisions_chol(
        parameters.covariance_type, parameters.weights, parameters.means, chol
    )


def _above(matrix: FloatArray, bound: float) -> bool:
    try:
        np.linalg.cholesky(matrix - bound * np.eye(len(matrix)))
    except np.linalg.LinAlgError:
        return False
    return True
