"""Passes and time to the same log-likelihood: plain EM, gaussum's acceleration, SQUAREM and damped Anderson.

All start from the same k-means partition. The target is where gaussum's fit ends, less a little; a method that ends in
another, lower optimum misses it. A pass is an E-step with its sums; whatever else gaussum computes is counted in.
"""

import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.timing import Result

SLACK = 1e-9  # of the mean log-likelihood, below the target
MOST = 20_000  # passes before a method is given up
ANDERSON_MEMORY, ANDERSON_RIDGE = 10, 1e-8


def notebook():
    """4,600 samples of three Gaussians."""
    rng = np.random.RandomState(2)
    return np.concatenate([rng.normal(0, 2, 2000), rng.normal(5, 5, 2000), rng.normal(3, 0.5, 600)])[:, np.newaxis]


def real(name):
    """The samples in tests/data, or in gaussum/data."""
    from importlib import resources

    path = Path(__file__).parents[1] / "tests" / "data" / f"{name}.csv"
    if not path.exists():
        path = resources.files("gaussum") / "data" / f"{name}.csv"
    X = np.genfromtxt(path, delimiter=",", skip_header=1)
    return X.reshape(len(X), -1)


class Problem:
    """A likelihood, first parameters, and EM on vectors (log weights, means, logarithms of Cholesky factors)."""

    def __init__(self, X, covariance_type, K):
        from gaussum.initialize import initial_parameters, variances
        from gaussum.likelihood import MixtureLikelihood

        variance = variances(X)[1]
        shape = {"ridge": 1e-6 * variance, "n_threads": 1}
        self.likelihood = MixtureLikelihood(X, covariance_type, K, **shape)
        rng, scale = np.random.default_rng(0), np.sqrt(variance)
        self.first = initial_parameters(X, covariance_type, K, "kmeans", rng, scale=scale, **shape)
        self._full = covariance_type == "full"

    def vector(self, p):
        """The parameters as unconstrained numbers."""
        chol = p.precisions_chol
        if self._full:
            rows, columns = np.triu_indices(chol.shape[-1], 1)
            diagonal = np.log(np.diagonal(chol, axis1=1, axis2=2))
            chol = np.concatenate([diagonal.ravel(), chol[:, rows, columns].ravel()])
        else:
            chol = np.log(chol)
        return np.concatenate([np.log(p.weights), p.means.ravel(), chol.ravel()])

    def parameters(self, vector):
        """The mixture that the numbers stand for."""
        from gaussum.parameters import MixtureParameters

        K, d = self.first.means.shape
        weights, means, rest = np.split(vector, [K, K + K * d])
        weights = np.exp(weights - weights.max())
        if self._full:
            chol = np.zeros((K, d, d))
            chol[:, np.arange(d), np.arange(d)] = np.exp(rest[: K * d].reshape(K, d))
            chol[(slice(None), *np.triu_indices(d, 1))] = rest[K * d :].reshape(K, -1)
        else:
            chol = np.exp(rest.reshape(self.first.precisions_chol.shape))
        structure = self.first.covariance_type
        return MixtureParameters.from_precisions_chol(structure, weights / weights.sum(), means.reshape(K, d), chol)

    def evaluate(self, vector):
        """The objective at a point, and the point that one step of EM makes of it."""
        statistics, objective = self.likelihood.evaluate(self.parameters(vector))
        return objective, self.vector(self.likelihood.maximize(statistics))


def plain(problem, target):
    """One E-step and one M-step after the other."""
    likelihood = problem.likelihood
    statistics, objective = likelihood.evaluate(problem.first)
    while objective < target and likelihood.n_passes < MOST:
        statistics, objective = likelihood.evaluate(likelihood.maximize(statistics))
    return objective


def squarem(problem, target):
    """SQUAREM with step S3 and fallback to EM (Varadhan and Roland 2008)."""
    start = problem.vector(problem.first)
    objective, once = problem.evaluate(start)
    while objective < target and problem.likelihood.n_passes < MOST:
        after, twice = problem.evaluate(once)
        r, v = once - start, twice - 2 * once + start
        length = max(np.linalg.norm(r) / max(np.linalg.norm(v), 1e-300), 1.0)
        extrapolated = start + 2 * length * r + length**2 * v
        trial, image = problem.evaluate(extrapolated) if np.isfinite(extrapolated).all() else (-np.inf, None)
        if trial >= after:
            start, objective, once = extrapolated, trial, image
        else:
            start, (objective, once) = twice, problem.evaluate(twice)
    return objective


def anderson(problem, target):
    """Anderson's method with restarts, ridge damping and fallback to EM (Henderson and Varadhan 2019)."""
    point = problem.vector(problem.first)
    objective, image = problem.evaluate(point)
    points, residuals = [point], [image - point]
    while objective < target and problem.likelihood.n_passes < MOST:
        trial = image
        if len(points) > 1:
            moved, bent = np.diff(points, axis=0).T, np.diff(residuals, axis=0).T
            gram = bent.T @ bent
            ridge = ANDERSON_RIDGE * np.trace(gram) * np.eye(len(gram))
            trial = image - (moved + bent) @ np.linalg.lstsq(gram + ridge, bent.T @ residuals[-1], rcond=None)[0]
        after, next_image = problem.evaluate(trial) if np.isfinite(trial).all() else (-np.inf, None)
        if not after >= objective:
            trial = image
            after, next_image = problem.evaluate(trial)
        point, objective, image = trial, after, next_image
        if len(points) > ANDERSON_MEMORY:
            points, residuals = points[-1:], residuals[-1:]
        points, residuals = [*points, point], [*residuals, image - point]
    return objective


METHODS = {"plain EM": plain, "SQUAREM": squarem, "Anderson": anderson}


@dataclass(frozen=True)
class AccelerationCase:
    """One data set and structure, summed over numbers of components."""

    data: str
    covariance_type: str = "full"
    most: int = 9
    group = "acceleration"

    @property
    def name(self):
        return f"acceleration-{self.data}-{self.covariance_type}"

    def shrunk(self):
        """The same case with fewer components, for --quick."""
        return type(self)(self.data, self.covariance_type, 4)

    def run(self, names, repeats, threads=None):
        """A Result whose notes hold passes, seconds and targets reached, for every method."""
        result = Result(self.name, self.group)
        if "gaussum" not in names:
            return result
        from gaussum import em

        X = notebook() if self.data == "notebook" else real(self.data)
        notes = {name: {"passes": 0, "seconds": 0.0, "reached": 0} for name in ("gaussum", *METHODS)}
        for K in range(2, self.most + 1):
            problem = Problem(X, self.covariance_type, K)
            begin = time.perf_counter()
            fit = em.maximize(problem.likelihood, problem.first, tol=1e-8, max_iter=MOST)
            self._count(notes["gaussum"], time.perf_counter() - begin, fit.n_passes, fit.converged)
            target = fit.objectives[-1] - SLACK
            if not fit.gradient_norm < 1e-8:
                result.status = "WRONG"
                result.reasons.append(f"gaussum ends with a gradient of {fit.gradient_norm:.1e} at K = {K}")
            for name, method in METHODS.items():
                problem.likelihood.restart()
                begin = time.perf_counter()
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    reached = method(problem, target) >= target
                self._count(notes[name], time.perf_counter() - begin, problem.likelihood.n_passes, reached)
        result.notes = notes
        return result

    @staticmethod
    def _count(note, seconds, passes, reached):
        note["passes"] += passes
        note["seconds"] += seconds
        note["reached"] += int(reached)
