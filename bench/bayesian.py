"""Variational Bayes for mixtures: one iteration, from the same posterior.

After the same number of iterations every contender's posterior must agree with the same equations in NumPy.
"""

import functools
import warnings
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betaln, digamma, multigammaln

from bench import reference
from bench.mixtures import CHECK_ITERATIONS, MANY, OWN_THREADS, PLAIN_FEATURES, iteration_contender
from bench.reference import Parameters
from bench.solvers import problem


@dataclass
class Posterior:
    """Sticks Beta(a_k, b_k), means N(m_k, (beta_k Lambda_k)^-1), and Lambda_k ~ Wishart about Sigma_k^-1."""

    covariance_type: str
    a: np.ndarray
    b: np.ndarray
    mean_precision: np.ndarray
    degrees_of_freedom: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def expected_log_weights(self):
        """E log pi_k."""
        total = digamma(self.a + self.b)
        return digamma(self.a) - total + np.append(0.0, np.cumsum(digamma(self.b) - total)[:-1])

    def parameters(self):
        """The mixture, its weights not adding up to 1, under which the E-step is that of variational Bayes."""
        d, nu = self.means.shape[1], self.degrees_of_freedom
        log_w = self.expected_log_weights() - 0.5 * d / self.mean_precision
        log_w += 0.5 * (digamma(0.5 * (nu - np.arange(d)[:, None])).sum(axis=0) - d * np.log(0.5 * nu))
        return Parameters(self.covariance_type, np.exp(log_w), self.means, self.covariances)


@dataclass
class Answer:
    """A posterior after so many iterations, and the mean lower bound where the library reports a complete one."""

    posterior: Posterior
    iterations: int
    bound: float | None = None


@dataclass
class Prior:
    """The defaults: a = 1 / K, beta_0 = 1, m_0 and C of the data, nu_0 = d."""

    K: int
    mean: np.ndarray
    covariance: np.ndarray  # of the structure's shape

    @classmethod
    def of(cls, X, K, covariance_type):
        C = np.cov(X.T).reshape(X.shape[1], X.shape[1])
        shaped = {"diag": np.diag(C), "spherical": np.diag(C).mean()}.get(covariance_type, C)
        return cls(K, X.mean(axis=0), shaped)

    def posterior(self, n, p):
        """Given the maximum likelihood parameters under responsibilities."""
        nk, d = n * p.weights, p.means.shape[1]
        beta, away = 1.0 + nk, p.means - self.mean
        nu = d + (np.full(self.K, n / self.K) if p.covariance_type == "tied" else nk)
        pull = nk / beta
        if p.covariance_type == "full":
            scatter = nk[:, None, None] * p.covariances + np.einsum("k,ki,kj->kij", pull, away, away)
            covariances = (self.covariance + scatter) / nu[:, None, None]
        elif p.covariance_type == "tied":
            scatter = n * p.covariances + np.einsum("k,ki,kj->ij", pull, away, away)
            covariances = (self.covariance + scatter / self.K) / nu[0]
        elif p.covariance_type == "diag":
            covariances = (self.covariance + nk[:, None] * p.covariances + pull[:, None] * away**2) / nu[:, None]
        else:
            covariances = (self.covariance + nk * p.covariances + pull * (away**2).mean(axis=1)) / nu
        a, b = 1.0 + nk, 1.0 / self.K + np.append(np.cumsum(nk[::-1])[-2::-1], 0.0)
        means = (self.mean + nk[:, None] * p.means) / beta[:, None]
        return Posterior(p.covariance_type, a, b, beta, nu, means, covariances)

    def divergence(self, q):
        """The Kullback-Leibler divergence of a posterior from the prior."""
        K, d = q.means.shape
        a, b, nu = q.a, q.b, q.degrees_of_freedom
        total = betaln(1.0, 1.0 / K) - betaln(a, b) + (a - 1.0) * (digamma(a) - digamma(a + b))
        total += (b - 1.0 / K) * (digamma(b) - digamma(a + b))
        W, log_det = reference.whitening(Parameters(q.covariance_type, None, q.means, q.covariances))
        away = q.means - self.mean
        if W.ndim == 2:
            C = np.broadcast_to(self.covariance, d)
            squares, trace, log_det_C = ((away * W) ** 2).sum(axis=1), (C * W**2).sum(axis=1), np.log(C).sum()
        else:
            squares = (np.einsum("ki,kij->kj", away, W) ** 2).sum(axis=1)
            trace = np.einsum("kij,il,klj->k", W, self.covariance, W)
            log_det_C = np.linalg.slogdet(self.covariance)[1]
        total += 0.5 * (d * np.log(q.mean_precision) + d / q.mean_precision - d + squares + trace - nu * d)
        total += 0.5 * d * (d * np.log(nu) - 2.0 * log_det - log_det_C)
        total += [multigammaln(0.5 * d, d) - multigammaln(0.5 * v, d) for v in nu]
        total += 0.5 * (nu - d) * digamma(0.5 * (nu - np.arange(d)[:, None])).sum(axis=0)
        return total.sum()


def run_numpy(X, start, prior, iterations):
    """So many iterations in NumPy."""
    q = start
    for _ in range(iterations):
        q = prior.posterior(len(X), reference.em_step(X, q.parameters())[0])
    return Answer(q, iterations)


def run_estimator(name, X, start, threads, iterations):
    """So many iterations of gaussum or scikit-learn, warm from `start`."""
    K, tied = len(start.means), start.covariance_type == "tied"
    params = dict(n_components=K, covariance_type=start.covariance_type, tol=0.0, reg_covar=0.0, max_iter=iterations)
    if name == "gaussum":
        from gaussum import BayesianGaussianMixture

        params["n_threads"] = threads
    else:
        from sklearn.mixture import BayesianGaussianMixture
    model = BayesianGaussianMixture(**params, warm_start=True)
    model.weight_concentration_, model.mean_precision_ = (start.a, start.b), start.mean_precision
    model.degrees_of_freedom_ = start.degrees_of_freedom[0] if tied else start.degrees_of_freedom
    model.means_, model.covariances_ = start.means, start.covariances
    W = reference.whitening(Parameters(start.covariance_type, None, start.means, start.covariances))[0]
    model.precisions_cholesky_ = {"tied": lambda: W[0], "spherical": lambda: W[:, 0]}.get(
        start.covariance_type, lambda: W)()
    model.converged_, model.lower_bound_ = False, -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ConvergenceWarning: ending at max_iter is what is asked for
        model.fit(X)
    nu = np.broadcast_to(model.degrees_of_freedom_, K)
    q = Posterior(start.covariance_type, *model.weight_concentration_, model.mean_precision_, nu, model.means_,
                  model.covariances_)
    return Answer(q, model.n_iter_, model.lower_bound_ if name == "gaussum" else None)


@dataclass(frozen=True)
class BayesCase:
    """Seconds of one iteration of variational Bayes with a Dirichlet process."""

    n: int
    d: int
    K: int
    covariance_type: str = "full"
    group = "variational iteration"

    @property
    def name(self):
        return f"bayes-{self.n}x{self.d}-k{self.K}-{self.covariance_type}"

    def shrunk(self):
        """The same case with fewer samples, for --quick."""
        return replace(self, n=max(self.n // 20, min(self.n, 4600)))

    def data(self):
        """Samples, the posterior to start from, and the prior."""
        X, p = problem(self.n, self.d, self.K, self.covariance_type)
        prior = Prior.of(X, self.K, self.covariance_type)
        return X, prior.posterior(self.n, p), prior

    def contenders(self, names, threads=None):
        """gaussum, scikit-learn and NumPy, all from the same start."""
        X, start, prior = self.data()
        runs = self._runs(names, X, start, prior, threads)
        trials = self._runs(names, X[: self.n // 10], start, prior, threads) if self.n >= MANY else runs
        return {name: iteration_contender(run, name in OWN_THREADS, trials[name]) for name, run in runs.items()}

    def _runs(self, names, X, start, prior, threads):
        runs = {}
        for name in names:
            if name in ("gaussum", "scikit-learn"):
                runs[name] = functools.partial(run_estimator, name, X, start, threads)
            elif name == "NumPy" and self.d <= PLAIN_FEATURES:
                runs[name] = functools.partial(run_numpy, X, start, prior)
        return runs

    @functools.lru_cache(maxsize=1)
    def _expected(self):
        """The posterior and the mean lower bound that every contender must reach after CHECK_ITERATIONS."""
        X, start, prior = self.data()
        q = run_numpy(X, start, prior, CHECK_ITERATIONS).posterior
        log_likelihood = reference.em_step(X, q.parameters())[1]
        return q, log_likelihood - prior.divergence(q) / self.n, X.std(axis=0)

    def differences(self, name, answer):
        """Masses as parts of the samples, means and covariances in units of the data's standard deviation."""
        q, bound, sd = self._expected()
        got = answer.posterior
        shapes = {"full": np.outer(sd, sd), "tied": np.outer(sd, sd), "diag": sd**2}
        scaled = {
            "sticks": np.stack([got.a - q.a, got.b - q.b]) / self.n,
            "mean precisions": (got.mean_precision - q.mean_precision) / self.n,
            "degrees of freedom": (got.degrees_of_freedom - q.degrees_of_freedom) / self.n,
            "means": (got.means - q.means) / sd,
            "covariances": (got.covariances - q.covariances) / shapes.get(self.covariance_type, np.mean(sd**2)),
            "iterations": answer.iterations - CHECK_ITERATIONS,
        }
        if answer.bound is not None:
            scaled["lower bounds"] = answer.bound - bound
        return {what: (np.max(np.abs(value)), 1e-8) for what, value in scaled.items()}
