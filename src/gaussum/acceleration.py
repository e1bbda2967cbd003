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

import math
import sys
from dataclasses import dataclass

from gaussum.parameters import MixtureParameters
from gaussum.quasi_newton import QuasiNewtonModel
from gaussum.statistics import SufficientStatistics

# Armijo's constant: the part of the predicted gain that a step must bring.
_SUFFICIENT = 1e-4
# What is lost to rounding, relative to the size of the objective or 1, is no loss.
_ROUNDING = 16 * sys.float_info.epsilon
# No logarithm of a scale or a weight moves further than this in one step.
_LONGEST_LOG = 1.0
# No step takes a component below this mass, in samples, unless it was there and loses less than half: where the model
# is flat, more would be rash. A component on a single outlier has a mass of one, and may.
_LEAST_MASS = 0.5
# Iterations after which the coordinates are scaled anew.
_NEW_REFERENCE = 100


@dataclass
class Step:
    """A step that raised the objective, and the gain that the model predicted to the optimum."""

    parameters: MixtureParameters
    statistics: SufficientStatistics
    objective: float
    remaining: float


class QuasiNewton:
    """Limited-memory BFGS over the coordinates of a mixture; see the module's text.

    Parameters
    ----------
    likelihood : gaussum.likelihood.MixtureLikelihood
    """

    def __init__(self, likelihood):
        self._likelihood = likelihood
        self._model = QuasiNewtonModel(likelihood.covariance_type, likelihood.n_components, likelihood.ridge)
        self._age = math.inf

    def step(self, parameters, statistics, objective):
        """One step from `parameters`, at which `statistics` and `objective` were computed; None if none was found."""
        model, total = self._model, statistics.total_weight
        if self._age >= _NEW_REFERENCE:
            self._lightest = model.refer(parameters.buffer, statistics.buffer)
            self._age = 0
        self._age += 1
        slope = model.slope
        if not slope > 0.0:
            return self._refuse()
        length = min(1.0, _LONGEST_LOG / max(model.longest, 1e-300))
        for shorter in (0.5, 0.2, 0.2):
            after = self._likelihood.blank_parameters()
            lightest = model.propose(length, after.buffer)
            if lightest * total < min(_LEAST_MASS, 0.5 * self._lightest * total):
                return self._refuse()
            after_statistics, after_objective = self._likelihood.evaluate(after)
            noise = max(self._likelihood.noise, _ROUNDING) * max(1.0, abs(objective))
            if after_objective >= objective + _SUFFICIENT * length * slope / total - noise:
                self._lightest = lightest
                remaining = model.accept(after.buffer, after_statistics.buffer) / total
                return Step(after, after_statistics, after_objective, remaining)
            length *= shorter
        return self._refuse()

    def _refuse(self):
        self._age = math.inf
        return None
