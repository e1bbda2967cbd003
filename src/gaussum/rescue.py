"""What becomes of components that collapse: they are put back in play, or lose their weight."""

import contextlib

import numpy as np

from gaussum.parameters import MixtureParameters
from gaussum.typing import FloatArray, IndexArray

# How far apart the halves of a split component are set, in standard deviations along its longest axis.
_APART = 1.0
# A component with less than this mass, in samples, has starved: EM would take it to zero.
_LEAST_MASS = 1e-8
# What is added to the diagonal of a correlation matrix that only rounding made singular.
_MORE = tuple(10.0**power for power in range(-14, -1))


class CollapseError(ArithmeticError):
    """A run of EM came to nothing: other starts may still do better."""


class CollapsedComponentWarning(UserWarning):
    """A component lost its samples or its covariance became singular; it was put back in play, or dropped."""


class SpuriousOptimumWarning(CollapsedComponentWarning):
    """Every start ended where a component shrank onto few samples: the fit's likelihood is high for nothing."""


def collapsed(parameters: MixtureParameters, n_samples: int, may_starve: bool = False) -> IndexArray:
    """The components whose covariance is singular or, unless they may, that hold next to nothing: their indices."""
    sound = np.isfinite(parameters.log_det)
    return np.flatnonzero(~(sound if may_starve else sound & (parameters.weights > _LEAST_MASS / n_samples)))


def mend(parameters: MixtureParameters, lost: IndexArray) -> None:
    """Make matrices positive definite that are so but for rounding."""
    if parameters.covariance_type not in ("full", "tied"):
        return
    tied = parameters.covariance_type == "tied"
    covariances, chol = (a[np.newaxis] if tied else a for a in (parameters.covariances, parameters.precisions_chol))
    for k in lost[:1] if tied else lost:
        if (tied or parameters.weights[k] > 0.0) and np.isnan(parameters.log_det[k]):
            mended = _mended(covariances[k])
            if mended is not None:
                covariances[k], chol[k] = mended
                parameters.log_det[slice(None) if tied else k] = np.log(np.diagonal(chol[k])).sum()


def _mended(covariance: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """A covariance with a little more on its diagonal, and its factor U; None if that does not help."""
    diagonal = np.diagonal(covariance)
    if not (np.isfinite(covariance).all() and (diagonal > 0.0).all()):
        return None
    unit = np.sqrt(diagonal)
    for more in _MORE:
        with contextlib.suppress(np.linalg.LinAlgError):
            factor = np.linalg.cholesky(covariance / np.outer(unit, unit) + more * np.eye(len(unit)))
            upper = np.triu(np.linalg.inv(factor).T) / unit[:, np.newaxis]
            return covariance + more * np.diag(diagonal), upper
    return None


def revive(parameters: MixtureParameters, lost: IndexArray, unit: FloatArray) -> None:
    """Put collapsed components back in play: each takes half of what the heaviest of the others holds.

    The halves have the covariance of the whole and are set apart along its longest axis (a split as in Ueda et al.
    2000), so all that EM may find is within the data, and shifts and scales with them.

    Parameters
    ----------
    parameters : MixtureParameters
        Changed in place.
    lost : ndarray of int
    unit : ndarray, shape (n_features,)
        The scale of every feature, by which axes are compared.

    Raises
    ------
    CollapseError
        No component is left.
    """
    means, weights = parameters.means, parameters.weights
    for k in _without(parameters, lost):
        donor = int(np.argmax(weights))
        weights[[k, donor]] = 0.5 * weights[donor]
        half = 0.5 * _APART * _longest_axis(parameters, donor, unit)
        means[k], means[donor] = means[donor] + half, means[donor] - half


def drop(parameters: MixtureParameters, lost: IndexArray) -> None:
    """Leave collapsed components without weight; arguments as those of `revive`."""
    _without(parameters, lost)


def _without(parameters: MixtureParameters, lost: IndexArray) -> IndexArray:
    """Take the weight of the lost and give them the covariance of the heaviest of the others, so that all is finite."""
    weights, log_det = parameters.weights, parameters.log_det
    weights[lost] = 0.0
    if not weights.sum() > 0.0:
        raise CollapseError("no component holds any sample, or the covariance they share is singular")
    weights /= weights.sum()
    donor = int(np.argmax(weights))
    parameters.means[lost], log_det[lost] = parameters.means[donor], log_det[donor]
    if parameters.covariance_type != "tied":
        parameters.covariances[lost] = parameters.covariances[donor]
        parameters.precisions_chol[lost] = parameters.precisions_chol[donor]
    return lost


def _longest_axis(parameters: MixtureParameters, k: int, unit: FloatArray) -> FloatArray:
    """The axis along which a component has the largest variance in these units, one standard deviation long."""
    covariance = parameters.covariances
    if parameters.covariance_type != "tied":
        covariance = covariance[k]
    if covariance.ndim == 2:
        variances, axes = np.linalg.eigh(covariance / np.outer(unit, unit))
        axis = axes[:, -1]
        # the same axis for the same data: of its two signs, the one that points up
        axis *= np.sign(axis[np.argmax(np.abs(axis))])
        longest: FloatArray = np.sqrt(max(variances[-1], 0.0)) * axis * unit
        return longest
    deviations = np.sqrt(np.broadcast_to(covariance, unit.shape))
    longest = np.zeros_like(unit)
    j = int(np.argmax(deviations / unit))
    longest[j] = deviations[j]
    return longest
