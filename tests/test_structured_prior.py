"""Conjugate priors of all structures, against numerical maximisation of the log posterior by scipy's densities."""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import invgamma, invwishart, multivariate_normal
from structure_twins import covariances_from

from gaussum import ConvergenceWarning, GaussianMixture, select_mixture
from gaussum.covariance import MCLUST_NAMES, kernel_type, letters, n_parameters
from gaussum.drawing import covariance_matrices
from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.prior import ConjugatePrior, PosteriorStep, StructuredPosteriorStep
from gaussum.structures import structured_m_step

CONSTRAINED = [name for name in MCLUST_NAMES if letters(name) not in ("VVV", "EEE", "VVI", "VII")]
DENSITY = {"spherical": (), "diag": (2,), "full": (2, 2), "tied": (2, 2)}


def samples(n=120, d=2, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)[:, np.newaxis]
    return rng.normal(size=(n, d)) @ (np.eye(d) + 0.4 * rng.normal(size=(d, d))) * (1 + label) + 4 * label


def prior_for(name, d=2):
    L = np.eye(d) + 0.4
    Lambda = {"spherical": np.float64(1.7), "diag": np.diag(L) * np.arange(1, d + 1)}.get(kernel_type(name), 2 * L)
    return ConjugatePrior(np.linspace(0.5, 1, d), 2.5, Lambda, d + 3.0)


def log_prior(name, prior, means, sigma):
    """Densities of scipy.stats: what all share has one, else every component has its own."""
    nu, d = prior.degrees_of_freedom, means.shape[1]
    shared = name in ("EII", "EEI", "EEE") or d == 1 and name[0] == "E"
    total = sum(
        multivariate_normal(prior.mean, S / prior.mean_precision).logpdf(m) for m, S in zip(means, sigma, strict=True)
    )
    for S in sigma[:1] if shared else sigma:
        if kernel_type(name) == "spherical":
            total += invgamma(nu / 2, scale=prior.covariance / 2).logpdf(S[0, 0])
        elif kernel_type(name) == "diag":
            total += invgamma(nu / 2, scale=prior.covariance / 2).logpdf(np.diag(S)).sum()
        else:
            total += invwishart(nu, prior.covariance).logpdf(S)
    return total


def log_densities(X, means, sigma):
    return np.array([multivariate_normal(m, S).logpdf(X) for m, S in zip(means, sigma, strict=True)]).T


def matrices(parameters):
    c, d = parameters.covariances, parameters.n_features
    if parameters.covariance_type in ("full", "tied"):
        return np.broadcast_to(c, (parameters.n_components, d, d))
    return (c[:, np.newaxis] if c.ndim == 1 else c)[:, np.newaxis] * np.eye(d)


def step_for(name, prior, K, d, ridge):
    constraint, units = structured_m_step(name, K, d, ridge), {"ridge": ridge, "variance": np.ones(d)}
    if constraint is None:
        return PosteriorStep(prior, kernel_type(name), K, **units)
    return StructuredPosteriorStep(prior, constraint, **units)


@pytest.mark.parametrize("name", MCLUST_NAMES)
def test_the_step_is_the_maximum_of_the_expected_posterior(name):
    X, K, d = samples(), 2, 2
    resp = np.random.default_rng(3).dirichlet([0.7, 0.5], len(X))
    prior = prior_for(name)
    step = step_for(name, prior, K, d, np.zeros(d))
    likelihood = MixtureLikelihood(X, kernel_type(name), K, m_step=step)
    origins = np.array([[0.3, 0.2], [3.0, 5.0]])
    statistics = likelihood.partition_statistics(origins, lambda start, stop: np.ascontiguousarray(resp[start:stop].T))
    found = step.maximize(statistics)
    sigma = matrices(found)

    def expected(means, sigma):
        return (resp * log_densities(X, means, sigma)).sum() + log_prior(name, prior, means, sigma)

    size = n_parameters(name, K, d) - K * d - K + 1
    x0 = np.concatenate([found.means.ravel() + 0.1, np.random.default_rng(1).normal(size=size) * 0.3])
    # volumes are read from the end
    x0[len(x0) - (1 if name[0] == "E" else K) :] = 0.5

    def objective(x):
        return -expected(x[: K * d].reshape(K, d), covariances_from(x[K * d :], name, K, d))

    slow = minimize(objective, x0, method="BFGS", options={"gtol": 1e-5, "maxiter": 300})
    ours = -expected(found.means, sigma)
    assert ours <= slow.fun + 1e-7 * abs(slow.fun)
    assert ours >= slow.fun - 1e-6 * abs(slow.fun)
    np.testing.assert_allclose(found.weights, resp.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("name", MCLUST_NAMES)
def test_differences_of_the_objective_are_those_of_the_log_posterior(name):
    """Penalty and densities together, between two mixtures of the structure."""
    X, K, d = samples(), 2, 2
    prior = prior_for(name)
    likelihood = MixtureLikelihood(X, kernel_type(name), K, m_step=step_for(name, prior, K, d, np.zeros(d)))
    found = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        sigma = covariances_from(0.3 * rng.normal(size=n_parameters(name, K, d) - K * d - K + 1), name, K, d)
        chol = np.swapaxes(np.linalg.inv(np.linalg.cholesky(sigma)), 1, 2)
        chol = {
            "full": chol, "tied": chol[0], "diag": np.diagonal(chol, axis1=1, axis2=2), "spherical": chol[:, 0, 0]
        }[kernel_type(name)]
        means, weights = rng.normal(size=(K, d)) + 2, rng.dirichlet([3, 3])
        p = MixtureParameters.from_precisions_chol(kernel_type(name), weights, means, chol)
        np.testing.assert_allclose(matrices(p), sigma, rtol=1e-10, atol=1e-12)
        posterior = logsumexp(log_densities(X, means, sigma) + np.log(weights), axis=1).sum()
        found.append((likelihood.evaluate(p)[1] * len(X), posterior + log_prior(name, prior, means, sigma)))
    assert found[1][0] - found[0][0] == pytest.approx(found[1][1] - found[0][1], rel=1e-9)


def fitted(name, X, K=3, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(K, covariance_type=name, **{"random_state": 0, "prior": "default"} | params).fit(X)


@pytest.mark.parametrize("accelerate", [True, False])
@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("name", CONSTRAINED)
def test_the_objective_never_falls(name, d, accelerate):
    X = samples(d=d)
    mixture = fitted(name, X, init_params="random_from_data", accelerate=accelerate, max_iter=100)
    values = np.array(mixture.lower_bounds_)
    assert np.diff(values).min(initial=0) > -1e-12
    assert mixture.lower_bound_ == pytest.approx(mixture.score(X), rel=1e-12)
    assert mixture.converged_ or not accelerate


@pytest.mark.parametrize("name", CONSTRAINED)
def test_no_strength_and_all_strength(name):
    X, K, d = samples(300), 2, 2
    kind = kernel_type(name)
    nothing = np.zeros(DENSITY[kind])
    flat = {"EII": 2 + d * K, "EEI": 2 + K}.get(name, {"full": d + 2, "diag": 3}.get(kind))
    free = fitted(
        name, X, K, prior=None, mean_precision_prior=0, degrees_of_freedom_prior=-flat, covariance_prior=nothing
    )
    assert free.lower_bound_ == pytest.approx(fitted(name, X, K, prior=None).lower_bound_, abs=1e-8)
    with pytest.raises(ValueError, match="degrees_of_freedom_prior is .*; expected a finite number >= "):
        fitted(name, X, K, prior=None, degrees_of_freedom_prior=-flat - 1)
    strong, L = 1e9, prior_for(name).covariance
    held = fitted(
        name, X, K, prior=None, mean_prior=[2.0, 3.0], mean_precision_prior=strong, covariance_prior=strong * L,
        degrees_of_freedom_prior=strong, max_iter=200,
    )
    np.testing.assert_allclose(held.means_, [[2, 3], [2, 3]], atol=1e-5)
    expected = {"spherical": lambda: L * np.eye(d), "diag": lambda: np.diag(L)}.get(kind, lambda: L)()
    np.testing.assert_allclose(covariance_matrices(held), np.broadcast_to(expected, (K, d, d)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CONSTRAINED)
def test_priors_scale_and_shift_and_keep_components_from_collapsing(name):
    X = np.concatenate([np.round(samples(60) * 1024) / 1024, np.repeat([[20.0, -3.0]], 4, axis=0)])
    a, b = fitted(name, X), fitted(name, 1000 * X + 1024, n_threads=2)
    np.testing.assert_allclose(b.score_samples(1000 * X + 1024), a.score_samples(X) - 2 * np.log(1000), atol=1e-5)
    assert a.spurious_ == () and np.linalg.eigvalsh(covariance_matrices(a)).min() > 1e-3


@pytest.mark.parametrize("first, second", [("EVE", "E"), ("EII", "E"), ("VEI", "V"), ("VVE", "V")])
def test_one_feature(first, second):
    X = samples(d=1)
    a, b = fitted(first, X, 2, reg_covar=0), fitted(second, X, 2, reg_covar=0)
    assert a.lower_bounds_[-1] == pytest.approx(b.lower_bounds_[-1], abs=1e-8)
    np.testing.assert_allclose(np.sort(a.means_.ravel()), np.sort(b.means_.ravel()), atol=1e-4)


def test_selection_among_all_structures_under_a_prior():
    found = select_mixture(samples(), range(1, 3), covariance_type="all", prior="default", random_state=0, tol=1e-4)
    assert found.best_.prior_ is not None and np.isfinite([row["bic"] for row in found.table]).all()
