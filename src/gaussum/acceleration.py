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

from collections import deque
from dataclasses import dataclass

import numpy as np

from gaussum.parameters import MixtureParameters
from gaussum.statistics import SufficientStatistics

_MEMORY = 20
# Armijo's constant: the part of the predicted gain that a step must bring.
_SUFFICIENT = 1e-4
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
        self._coordinates = None

    def step(self, parameters, statistics, objective):
        """One step from `parameters`, at which `statistics` and `objective` were computed; None if none was found."""
        try:
            return self._step(parameters, statistics, objective)
        except np.linalg.LinAlgError:
            return self._refuse()

    def _step(self, parameters, statistics, objective):
        if self._coordinates is None or self._age >= _NEW_REFERENCE:
            self._coordinates = Coordinates(parameters, statistics)
            self._position = np.zeros(self._coordinates.size)
            self._gradient = self._coordinates.gradient(parameters, statistics, self._likelihood.ridge)
            self._pairs = deque(maxlen=_MEMORY)
            self._direction = self._gradient
            self._age = 0
        self._age += 1
        total = statistics.total_weight
        direction = self._direction
        slope = float(direction @ self._gradient)
        if not slope > 0.0:
            return self._refuse()
        length = min(1.0, _LONGEST_LOG / max(self._coordinates.longest_log(direction), 1e-300))
        for shorter in (0.5, 0.2, 0.2):
            position = self._position + length * direction
            after = self._coordinates.parameters(position)
            if after.weights.min() * total < min(_LEAST_MASS, 0.5 * parameters.weights.min() * total):
                return self._refuse()
            after_statistics = self._likelihood.statistics(after)
            after_objective = self._likelihood.objective(after, after_statistics)
            if after_objective >= objective + _SUFFICIENT * length * slope / total:
                gradient = self._coordinates.gradient(after, after_statistics, self._likelihood.ridge)
                moved, bent = position - self._position, self._gradient - gradient
                curvature = float(moved @ bent)
                if curvature > 1e-12 * float(bent @ bent):
                    self._pairs.append((moved, bent, 1.0 / curvature))
                self._position, self._gradient = position, gradient
                self._direction = self._newton(gradient)
                # the gain that the model, as it now is, predicts from here: g^T H g / 2
                remaining = 0.5 * float(self._direction @ gradient) / total
                return Step(after, after_statistics, after_objective, remaining)
            length *= shorter
        return self._refuse()

    def _refuse(self):
        self._coordinates = None
        return None

    def _newton(self, gradient):
        """H g by the two loops of L-BFGS, H starting from the inverse of the complete-data information."""
        q = gradient.copy()
        factors = []
        for moved, bent, rho in reversed(self._pairs):
            factor = rho * float(moved @ q)
            q -= factor * bent
            factors.append(factor)
        if self._pairs:
            moved, bent, rho = self._pairs[-1]
            q *= 1.0 / (rho * float(bent @ bent))
        for (moved, bent, rho), factor in zip(self._pairs, reversed(factors)):
            q += (factor - rho * float(bent @ q)) * moved
        return q


class Coordinates:
    """Unconstrained coordinates of mixtures about a reference, scaled by the complete-data information there.

    Parameters
    ----------
    parameters : MixtureParameters
        The reference, at the origin of the coordinates.
    statistics : SufficientStatistics
        At the reference.
    """

    def __init__(self, parameters, statistics):
        self._reference = parameters
        self._type = parameters.covariance_type
        K, d = parameters.means.shape
        self._shape = (K, d)
        # a component with next to nothing would have no scale
        mass = np.maximum(statistics.nk, 1e-3 * statistics.total_weight / K)
        self._weight_scale = np.sqrt(mass)
        self._log_weights = np.log(np.maximum(parameters.weights, 1e-300))
        self._mean_scale = np.sqrt(mass)[:, None]
        if self._type == "full":
            self._triangle = np.triu_indices(d)
            self._on_diagonal = self._triangle[0] == self._triangle[1]
            self._chol_scale = np.sqrt(mass)[:, None] * np.where(self._on_diagonal, np.sqrt(2.0), 1.0)
        elif self._type == "tied":
            self._triangle = np.triu_indices(d)
            self._on_diagonal = self._triangle[0] == self._triangle[1]
            self._chol_scale = np.sqrt(statistics.total_weight) * np.where(self._on_diagonal, np.sqrt(2.0), 1.0)
        elif self._type == "diag":
            self._chol_scale = np.sqrt(2.0 * mass)[:, None] * np.ones(d)
        else:
            self._chol_scale = np.sqrt(2.0 * d * mass)
        self.size = K + K * d + self._chol_scale.size

    def _split(self, vector):
        K, d = self._shape
        return vector[:K], vector[K : K + K * d].reshape(K, d), vector[K + K * d :].reshape(self._chol_scale.shape)

    def _unwhiten(self, z):
        """mu - mu^0 from z = U^T (mu - mu^0)"""
        chol = self._reference.precisions_chol
        if self._type == "full":
            return np.linalg.solve(np.swapaxes(chol, 1, 2), z[:, :, None])[:, :, 0]
        if self._type == "tied":
            return np.linalg.solve(chol.T, z.T).T
        return z / (chol if self._type == "diag" else chol[:, None])

    def parameters(self, vector):
        """The mixture at a point."""
        logits, z, e = self._split(vector)
        logits = self._log_weights + logits / self._weight_scale
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        means = self._reference.means + self._unwhiten(z / self._mean_scale)
        e = e / self._chol_scale
        if self._type in ("full", "tied"):
            d = self._shape[1]
            factor = np.zeros(self._reference.precisions_chol.shape)
            factor[..., self._triangle[0], self._triangle[1]] = np.where(self._on_diagonal, np.exp(e), e)
            chol = self._reference.precisions_chol @ factor if d > 1 else self._reference.precisions_chol * factor
        else:
            chol = self._reference.precisions_chol * np.exp(e)
        return MixtureParameters.from_precisions_chol(self._type, weights, means, chol)

    def gradient(self, parameters, statistics, ridge):
        """The gradient of the penalised log-likelihood in these coordinates.

        With n, f and S the statistics about the means at this very point (Fisher's identity):
        n_k - n w_k for the logits, U U^T f for the means, n U^-T - (S + ridge) U for U.
        """
        K, d = self._shape
        chol, reference = parameters.precisions_chol, self._reference.precisions_chol
        nk, first = statistics.nk, statistics.first
        logits = (nk - statistics.total_weight * parameters.weights) / self._weight_scale
        if self._type in ("full", "tied"):
            scatter = _symmetric(statistics.second, ridge)
            mass = nk[:, None] if self._type == "full" else statistics.total_weight
            slope = -(scatter @ chol)
            diagonal = np.arange(d)
            slope[..., diagonal, diagonal] += mass / chol[..., diagonal, diagonal]
            slope = np.swapaxes(reference, -1, -2) @ slope
            e = slope[..., self._triangle[0], self._triangle[1]]
            # d exp(e) = exp(e) de on the diagonal
            factor = chol[..., diagonal, diagonal] / reference[..., diagonal, diagonal]
            e[..., self._on_diagonal] *= factor
            if self._type == "full":
                whitened = np.linalg.solve(reference, (chol @ (np.swapaxes(chol, 1, 2) @ first[:, :, None])))[:, :, 0]
            else:
                whitened = np.linalg.solve(reference, chol @ (chol.T @ first.T)).T
        elif self._type == "diag":
            e = nk[:, None] - (statistics.second + ridge) * chol**2
            whitened = first * chol**2 / reference
        else:
            e = d * nk - (statistics.second + ridge.sum()) * chol**2
            whitened = first * (chol**2 / reference)[:, None]
        return np.concatenate([logits, (whitened / self._mean_scale).ravel(), (e / self._chol_scale).ravel()])

    def longest_log(self, vector):
        """The largest change along a step of the logarithm of a weight or a scale, or of a mean in four scales."""
        logits, z, e = self._split(vector)
        moves = np.abs(z / self._mean_scale).max() / 4.0
        return max(np.abs(logits / self._weight_scale).max(), moves, np.abs(e / self._chol_scale).max())


def _symmetric(upper, ridge):
    """The full matrices of upper triangles, with the ridge on the diagonal."""
    full = upper + np.swapaxes(upper, -1, -2)       # below the diagonal `upper` is zero
    diagonal = np.arange(len(ridge))
    full[..., diagonal, diagonal] = upper[..., diagonal, diagonal] + ridge
    return full
