"""Quasi-Newton steps for mixtures, with EM as preconditioner and safeguard.

The penalised log-likelihood is maximised over unconstrained coordinates by limited-memory BFGS (Nocedal 1980). Its
gradient follows from the statistics of an ordinary E-step (Fisher's identity), so a step costs one pass. The
coordinates are scaled by the complete-data information at a reference point; the first BFGS step is, to first order, an
EM step (Jamshidian and Jennrich 1997); BFGS then learns what the missing labels hide. With U the factor of the
precision at the reference, the coordinates of component k are

    a_k / sqrt(n_k)                       logit of the weight
    U_k^T (mu_k - mu_k^0) sqrt(n_k)       mean
    E_k sqrt(n_k), diagonal sqrt(2 n_k)   U_k = U_k^0 (upper triangular matrix of E_k, exp of E_k on its diagonal)

Every point is a valid mixture. A step that does not raise the objective is shortened, and after a few times refused:
the caller then takes an EM step, and a new reference is set.
"""

import sys
from dataclasses import dataclass

import numpy as np

from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.quasi_newton import QuasiNewtonModel
from gaussum.statistics import SufficientStatistics

# Armijo's constant: the part of the predicted gain that a step must bring.
_SUFFICIENT = 1e-4
# No logarithm of a scale or a weight moves further than this in one step.
_LONGEST_LOG = 0.5
# No step takes a component below this mass, in samples, unless it was there and loses less than half: where the model
# is flat, more would be rash. A component on a single outlier has a mass of one, and may.
_LEAST_MASS = 0.5
# One that has vanished is let go.
_NEGLIGIBLE_MASS = 1e-3
# The coordinates are scaled anew where a logarithm of a scale or a weight has moved this far: pairs from there tell
# little of the curvature here (measured on small samples: half the passes of scaling every hundred iterations).
_FAR = 1.0
# Changes below this many units in the last place are rounding.
ROUNDING = 8 * sys.float_info.epsilon


@dataclass
class Step:
    """A step that raised the objective.

    Attributes
    ----------
    parameters, statistics, objective
        Where it led.
    remaining : float
        The gain that the model predicts from there to the optimum.
    gradient_norm : float
        Of the mean objective there, in coordinates scaled by the complete-data information.
    """

    parameters: MixtureParameters
    statistics: SufficientStatistics
    objective: float
    remaining: float
    gradient_norm: float


class QuasiNewton:
    """Limited-memory BFGS over the coordinates of a mixture; see the module's text.

    Parameters
    ----------
    likelihood : gaussum.likelihood.MixtureLikelihood
        One whose M-step is the plain one; for others see gaussum.constrained.
    """

    def __init__(self, likelihood: MixtureLikelihood) -> None:
        self._likelihood = likelihood
        self._model = QuasiNewtonModel(likelihood.covariance_type, likelihood.n_components, likelihood.ridge)
        self._referred = False

    def step(
        self, parameters: MixtureParameters, statistics: SufficientStatistics, objective: float,
    ) -> Step | None:
        """One step from `parameters`, at which `statistics` and `objective` were computed; None if none was found."""
        model, total = self._model, statistics.total_weight
        if not self._referred or model.distance > _FAR:
            self._lightest = self._refer(parameters, statistics)
            self._referred = True
        slope = model.slope
        if not slope > 0.0:
            return self._refuse()
        noise = max(self._likelihood.noise, ROUNDING) * max(1.0, abs(objective))
        length = min(1.0, _LONGEST_LOG / max(model.longest, 1e-300))
        for shorter in (0.5, 0.2, 0.2):
            proposed = self._likelihood.blank_parameters()
            lightest = model.propose(length, proposed.buffer)
            held = self._lightest * total
            if held > _NEGLIGIBLE_MASS and lightest * total < min(_LEAST_MASS, 0.5 * held):
                return self._refuse()
            after = self._admit(proposed, statistics)
            if after is None:
                return self._refuse()
            after_statistics, after_objective = self._likelihood.evaluate(after)
            if after_objective >= objective + _SUFFICIENT * length * slope / total - noise:
                self._lightest = lightest
                remaining = self._accept(after, after_statistics) / total
                return Step(after, after_statistics, after_objective, remaining, model.gradient_norm)
            length *= shorter
        return self._refuse()

    def _refer(self, parameters: MixtureParameters, statistics: SufficientStatistics) -> float:
        lightest = self._model.refer(parameters.buffer, statistics.buffer)
        information = self._likelihood.information(parameters)
        if information is not None and np.isfinite(information).all():
            self._model.begin_with(information, _LONGEST_LOG)
        return lightest

    def _admit(self, parameters: MixtureParameters, statistics: SufficientStatistics) -> MixtureParameters | None:
        """The parameters to try in place of those proposed from where the statistics are, or None."""
        return parameters

    def _accept(self, parameters: MixtureParameters, statistics: SufficientStatistics) -> float:
        return self._model.accept(parameters.buffer, statistics.buffer)

    def _refuse(self) -> Step | None:
        self._referred = False
        return None


def gradient_norm(
    likelihood: MixtureLikelihood, parameters: MixtureParameters, statistics: SufficientStatistics,
) -> float:
    """The norm of the gradient of the mean objective at `parameters`, whose statistics these are.

    In coordinates scaled by the complete-data information there, which neither the units of the data nor their number
    change: to first order, one EM step gains between half its square and its square.
    """
    model = QuasiNewtonModel(likelihood.covariance_type, likelihood.n_components, likelihood.ridge)
    model.refer(parameters.buffer, statistics.buffer)
    return model.gradient_norm
