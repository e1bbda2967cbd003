"""Quasi-Newton steps for mixtures with an M-step of their own: constrained covariances, priors.

What is maximised is a function of parameters that the M-step alone knows how to reach, so two things stand in for those
of gaussum.acceleration. The gradient is the EM step itself, written in the coordinates scaled by the complete-data
information, in which both agree to first order (Jamshidian and Jennrich 1997, QN1). And a proposed point is brought
back to the model by the M-step: the statistics at hand, of which it makes the image of an EM step, are moved and
stretched by what leads from that image to the point,

    n_k <- n_k w_k / w'_k        mean_k <- mean_k + mu_k - mu'_k        S_k <- A_k S_k A_k^T,  A_k = U_k^-T U'_k^T

with w', mu', U' the image's. Weights stay positive and scatters positive definite; a point that is the image itself
gives back the image, with any prior; and the objective guards every step.
"""

import math

import numpy as np

from gaussum.acceleration import QuasiNewton
from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.quasi_newton import QuasiNewtonModel
from gaussum.statistics import SufficientStatistics


class ConstrainedQuasiNewton(QuasiNewton):
    """Limited-memory BFGS on EM steps of any M-step; see the module's text.

    Parameters
    ----------
    likelihood : gaussum.likelihood.MixtureLikelihood
        One that was given an `m_step`.
    """

    _image: MixtureParameters

    def _refer(self, parameters: MixtureParameters, statistics: SufficientStatistics) -> float:
        self._image = image_of(self._likelihood, statistics)
        return self._model.refer(parameters.buffer, statistics.buffer, self._image.buffer)

    def _admit(self, parameters: MixtureParameters, statistics: SufficientStatistics) -> MixtureParameters | None:
        if not np.isfinite(self._image.buffer).all():
            return None
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            after = image_of(self._likelihood, moved(statistics, self._image, parameters))
        return after if np.isfinite(after.buffer).all() else None

    def _accept(self, parameters: MixtureParameters, statistics: SufficientStatistics) -> float:
        self._image = image_of(self._likelihood, statistics)
        return self._model.accept(parameters.buffer, statistics.buffer, self._image.buffer)


def image_of(likelihood: MixtureLikelihood, statistics: SufficientStatistics) -> MixtureParameters:
    """What the M-step that the likelihood was given makes of the statistics, collapsed components as they are."""
    assert likelihood.m_step is not None
    return likelihood.m_step.maximize(statistics)


def moved(
    statistics: SufficientStatistics, image: MixtureParameters, point: MixtureParameters,
) -> SufficientStatistics:
    """The statistics moved by what leads from `image`, which an M-step made of them, to `point`; about new origins."""
    structure = statistics.covariance_type
    nk = np.maximum(statistics.nk, 1e-300)
    shift = statistics.first / nk[:, np.newaxis]
    second = statistics.second
    upper, target = image.precisions_chol, point.precisions_chol
    held = np.divide(point.weights, image.weights, out=np.zeros_like(nk), where=image.weights > 0.0)
    held *= statistics.total_weight / (held @ nk)
    if structure in ("full", "tied"):
        outer = nk[:, np.newaxis, np.newaxis] * shift[:, :, np.newaxis] * shift[:, np.newaxis]
        scatter = np.triu(second) + np.swapaxes(np.triu(second, 1), -1, -2)
        scatter -= outer if structure == "full" else outer.sum(axis=0)
        stretch = np.linalg.solve(np.swapaxes(target, -1, -2), np.swapaxes(upper, -1, -2))
        scatter = np.triu(stretch @ scatter @ np.swapaxes(stretch, -1, -2))
    else:
        squares = nk[:, np.newaxis] * shift**2
        scatter = second - (squares if structure == "diag" else squares.sum(axis=1))
        scatter = np.maximum(scatter, 0.0) * (upper / target) ** 2
    if structure != "tied":
        scatter *= held.reshape((-1,) + (1,) * (scatter.ndim - 1))
    origins = statistics.origins + shift + (point.means - image.means)
    after = SufficientStatistics(structure, origins, parameters=image)
    after.buffer[:2] = statistics.buffer[:2]
    after.nk[:] = held * nk
    after.second[...] = scatter
    return after


def gradient_norm(
    likelihood: MixtureLikelihood, parameters: MixtureParameters, statistics: SufficientStatistics,
) -> float:
    """The length of an EM step from `parameters`, whose statistics these are, in the scaled coordinates.

    To first order it is acceleration.gradient_norm, under constraints that of the gradient along them.
    """
    model = QuasiNewtonModel(likelihood.covariance_type, likelihood.n_components, likelihood.ridge)
    image = image_of(likelihood, statistics)
    if not np.isfinite(image.buffer).all():
        return math.inf
    model.refer(parameters.buffer, statistics.buffer, image.buffer)
    return model.gradient_norm
