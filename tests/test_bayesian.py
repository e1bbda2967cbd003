"""BayesianGaussianMixture: the bound, scikit-learn's iterations, a twin in NumPy, and scikit-learn's conventions."""

import copy
import itertools
import pickle
import warnings

import numpy as np
import pytest
import sklearn.base
import sklearn.mixture
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln, digamma, gammaln, logsumexp, multigammaln

from gaussum import (
    BayesianGaussianMixture, CollapsedComponentWarning, ConvergenceWarning, GaussianMixture, NotFittedError,
    OutlierDetector, bayesian, plot,
)
from gaussum.bayesian import WEIGHT_CONCENTRATION_PRIOR_TYPES
from gaussum.covariance import COVARIANCE_TYPES
from gaussum.likelihood import MixtureLikelihood
from gaussum.starts import METHODS
from gaussum.variational import VariationalMStep, by_size
from gaussum.variational_step import VariationalStep
from test_mixture_input import ODD

POSTERIOR = ("weight_concentration_", "mean_precision_", "means_", "degrees_of_freedom_", "covariances_")
PRIOR = ("weight_concentration", "mean_precision", "mean", "degrees_of_freedom", "covariance")
each_structure = pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
each_prior = pytest.mark.parametrize("prior_type", WEIGHT_CONCENTRATION_PRIOR_TYPES)


def samples(n=300, d=2, seed=0):
    rng = np.random.default_rng(seed)
    mixing = np.eye(d) + 0.3 * rng.normal(size=(d, d))
    return rng.normal(size=(n, d)) @ mixing + 4.0 * rng.integers(0, 3, (n, 1)) * (1 + np.arange(d) % 2)


def fitted(X=None, K=4, **params):
    params = {"random_state": 0, "tol": 1e-6} | params
    return BayesianGaussianMixture(K, **params).fit(samples() if X is None else X)


# The twin: matrices throughout, one sample after the other where that is plainer -----------------------


class Twin:
    """The equations of Bishop's section 10.2, and Blei and Jordan's for sticks, with full matrices."""

    def __init__(self, covariance_type, sticks, K, prior):
        self.covariance_type, self.sticks, self.K = covariance_type, sticks, K
        self.a, self.beta, self.m, self.nu, C = prior
        self.d = len(self.m)
        self.C = {"diag": np.diag, "spherical": lambda c: c * np.eye(self.d)}.get(covariance_type, np.array)(C)

    def update(self, X, w, R):
        """The posterior after responsibilities R, shape (n, K)."""
        R = R * w[:, None]
        nk = R.sum(axis=0)
        if self.sticks:
            self.ab = [1 + nk, self.a + np.array([nk[k + 1 :].sum() for k in range(self.K)])]
        else:
            self.ab = [self.a + nk]
        self.betas = self.beta + nk
        self.ms = np.array([(self.beta * self.m + R[:, k] @ X) / self.betas[k] for k in range(self.K)])
        self.nus = self.nu + nk
        scatters = []
        for k in range(self.K):
            z, s = X - self.ms[k], self.m - self.ms[k]
            scatters.append((R[:, k, None] * z).T @ z + self.beta * np.outer(s, s))
        if self.covariance_type == "tied":
            scatters = [np.mean(scatters, axis=0)] * self.K
            self.nus = np.full(self.K, self.nu + nk.mean())
        if self.covariance_type == "diag":
            scatters = [np.diag(np.diag(S)) for S in scatters]
        if self.covariance_type == "spherical":
            scatters = [np.eye(self.d) * np.trace(S) / self.d for S in scatters]
        self.Bs = [self.C + S for S in scatters]
        return self

    def log_prob(self, X):
        """E log(pi_k N(x; mu_k, Lambda_k^-1)), shape (n, K)."""
        if self.sticks:
            a, b = self.ab
            past = np.cumsum(digamma(b) - digamma(a + b))
            log_pi = digamma(a) - digamma(a + b) + np.append(0, past[:-1])
        else:
            log_pi = digamma(self.ab[0]) - digamma(self.ab[0].sum())
        columns = []
        for k in range(self.K):
            psi = digamma((self.nus[k] - np.arange(self.d)) / 2).sum()
            log_det = psi + self.d * np.log(2) - np.linalg.slogdet(self.Bs[k])[1]
            z = X - self.ms[k]
            square = self.nus[k] * np.einsum("ij,jl,il->i", z, np.linalg.inv(self.Bs[k]), z) + self.d / self.betas[k]
            columns.append(log_pi[k] + (log_det - square - self.d * np.log(2 * np.pi)) / 2)
        return np.array(columns).T

    def bound(self, X, w):
        """E log p(X, Z, theta) - E log q(Z, theta), term by term, with the best q(Z); in all."""
        return w @ logsumexp(self.log_prob(X), axis=1) - self.of_weights() - self.of_components()

    def of_weights(self):
        if self.sticks:
            (a, b), total = self.ab, 0.0
            for p, q, prior_p, prior_q in zip(a, b, np.ones(self.K), np.full(self.K, self.a)):
                total += betaln(prior_p, prior_q) - betaln(p, q) + (p - prior_p) * digamma(p)
                total += (q - prior_q) * digamma(q) + (prior_p - p + prior_q - q) * digamma(p + q)
            return total
        a, prior = self.ab[0], np.full(self.K, self.a)
        total = gammaln(a.sum()) - gammaln(a).sum() - gammaln(prior.sum()) + gammaln(prior).sum()
        return total + (a - prior) @ (digamma(a) - digamma(a.sum()))

    def of_components(self):
        total, d = 0.0, self.d
        for m, beta, nu, B in zip(self.ms, self.betas, self.nus, self.Bs):
            precision = nu * np.linalg.inv(B)
            psi = digamma((nu - np.arange(d)) / 2).sum()
            ratio = self.beta / beta
            total += (d * ratio - d - d * np.log(ratio) + self.beta * (m - self.m) @ precision @ (m - self.m)) / 2
            total += self.nu / 2 * (np.linalg.slogdet(B)[1] - np.linalg.slogdet(self.C)[1])
            total += np.trace(self.C @ precision) / 2 - nu * d / 2 + (nu - self.nu) / 2 * psi
            total += multigammaln(self.nu / 2, d) - multigammaln(nu / 2, d)
        return total


@each_structure
@each_prior
@pytest.mark.parametrize("d", [1, 2, 5])
def test_iterations_and_bound_are_the_twins(covariance_type, prior_type, d):
    rng = np.random.default_rng(1)
    X, K, sticks = samples(200, d), 4, prior_type == "dirichlet_process"
    w = rng.uniform(0, 2, 200)
    C = np.cov(X.T).reshape(d, d) * 0.3
    C = {"diag": np.diag(C), "spherical": np.array([C[0, 0]])}.get(covariance_type, C)
    prior = 0.4, 0.7, X[0], d + 1.5, C
    twin = Twin(covariance_type, sticks, K, prior)
    names = ("concentration", *PRIOR[1:])
    step = VariationalMStep(covariance_type, K, sticks, **dict(zip(names, prior)))
    likelihood = MixtureLikelihood(X, covariance_type, K, sample_weight=w, m_step=step)
    labels = rng.integers(0, K, 200)
    R = np.eye(K)[labels]
    posterior = likelihood.maximize(likelihood.partition_statistics(np.tile(X.mean(axis=0), (K, 1)), labels))
    for _ in range(6):
        twin.update(X, w, R)
        statistics, bound = likelihood.evaluate(posterior)
        np.testing.assert_allclose(bound * w.sum(), twin.bound(X, w), rtol=1e-11)
        log_prob = twin.log_prob(X)
        R = np.exp(log_prob - logsumexp(log_prob, axis=1, keepdims=True))
        np.testing.assert_allclose(posterior.means, twin.ms, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(posterior.hyper[2:], [twin.betas, twin.nus], rtol=1e-10)
        np.testing.assert_allclose(posterior.hyper[: len(twin.ab)], twin.ab, rtol=1e-10)
        density = np.empty(200)
        likelihood.predict(posterior, log_density=density)
        np.testing.assert_allclose(density, logsumexp(log_prob, axis=1), rtol=1e-10)
        posterior = likelihood.maximize(statistics)


@pytest.mark.parametrize("d", [1, 3])
@each_prior
def test_the_bound_of_one_component_is_the_evidence(prior_type, d):
    """With one component the posterior is exact, and the evidence a ratio of normalising constants."""
    X = samples(40, d)
    n, C, beta, nu = 40, 2 * np.eye(d), 0.5, d + 1.0
    mixture = BayesianGaussianMixture(
        mean_precision_prior=beta, mean_prior=np.zeros(d), degrees_of_freedom_prior=nu, covariance_prior=C, reg_covar=0,
        weight_concentration_prior_type=prior_type,
    ).fit(X)
    mean = X.mean(axis=0)
    B = C + (X - mean).T @ (X - mean) + beta * n / (beta + n) * np.outer(mean, mean)
    evidence = -n * d / 2 * np.log(np.pi) + multigammaln((nu + n) / 2, d) - multigammaln(nu / 2, d)
    evidence += nu / 2 * np.linalg.slogdet(C)[1] - (nu + n) / 2 * np.linalg.slogdet(B)[1]
    evidence += d / 2 * np.log(beta / (beta + n))
    if prior_type == "dirichlet_process":
        # the posterior keeps all samples in the first of endlessly many components: E log v_1 of its own divergence
        evidence += betaln(1 + n, 1.0) - betaln(1, 1.0)
    assert mixture.lower_bound_ * n == pytest.approx(evidence, rel=1e-12)


# Scikit-learn ------------------------------------------------------------------------------------------


def from_the_same_posterior(start, cls, **params):
    """An estimator that will go on from the posterior of another."""
    other = cls(**{n: v for n, v in start.get_params().items() if n in cls().get_params()} | params)
    for name in (*POSTERIOR, "precisions_cholesky_"):
        setattr(other, name, getattr(start, name))
    other.converged_, other.lower_bound_ = True, -np.inf
    return other.set_params(warm_start=True)


@each_structure
@each_prior
@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.filterwarnings("ignore")
def test_iterations_are_scikit_learns(covariance_type, prior_type, d):
    X = samples(400, d)
    params = {"covariance_type": covariance_type, "weight_concentration_prior_type": prior_type}
    start = fitted(X, 5, reg_covar=0.0, max_iter=1, tol=0.0, init_params="kmeans", **params)
    ours = from_the_same_posterior(start, BayesianGaussianMixture, max_iter=15)
    ours.weights_, ours._fitted_structure = start.weights_, covariance_type
    theirs = from_the_same_posterior(start, sklearn.mixture.BayesianGaussianMixture, max_iter=15)
    ours.fit(X), theirs.fit(X)
    assert ours.n_iter_ == theirs.n_iter_ == 15
    for name in (*POSTERIOR, "weights_", "precisions_", "precisions_cholesky_", *(f"{n}_prior_" for n in PRIOR)):
        actual, expected = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-9, err_msg=name)
        assert np.shape(actual) == np.shape(expected), name
    new = samples(50, d, seed=3)
    np.testing.assert_allclose(ours.score_samples(new), theirs.score_samples(new), rtol=1e-8)
    np.testing.assert_allclose(ours.predict_proba(new), theirs.predict_proba(new), atol=1e-9)
    np.testing.assert_array_equal(ours.predict(new), theirs.predict(new))
    assert ours.score(new) == pytest.approx(theirs.score(new), rel=1e-9)


@each_structure
@pytest.mark.filterwarnings("ignore")
def test_bounds_differ_from_scikit_learns_by_a_constant(covariance_type):
    X = samples()
    gaps = []
    for seed in range(3):
        params = {"covariance_type": covariance_type, "init_params": "random", "random_state": seed}
        ours = fitted(X, tol=1e-13, reg_covar=0, **params)
        theirs = from_the_same_posterior(ours, sklearn.mixture.BayesianGaussianMixture, max_iter=1, tol=0.0).fit(X)
        gaps.append(ours.lower_bound_ * len(X) - np.squeeze(theirs.lower_bound_))
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-9)


def test_parameters_are_scikit_learns():
    ours, theirs = BayesianGaussianMixture().get_params(), sklearn.mixture.BayesianGaussianMixture().get_params()
    assert set(ours) == set(theirs) | {"n_threads"}
    same = set(theirs) - {"tol", "max_iter", "init_params"}
    assert {n: ours[n] for n in same} == {n: theirs[n] for n in same}


# The bound never falls ---------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.integers(2, 60), st.integers(1, 4), st.sampled_from(COVARIANCE_TYPES), st.sampled_from(METHODS),
    st.sampled_from(WEIGHT_CONCENTRATION_PRIOR_TYPES), st.floats(-3, 3), st.integers(0, 2**32), st.data(),
)
def test_the_bound_never_falls(n, d, covariance_type, method, prior_type, log_a, seed, data):
    rng = np.random.default_rng(seed)
    X = np.round(rng.normal(size=(n, d)) + 3 * rng.integers(0, 2, (n, 1)), 1)
    K = data.draw(st.integers(1, min(n, 5)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture = BayesianGaussianMixture(
            K, covariance_type=covariance_type, init_params=method, weight_concentration_prior_type=prior_type,
            weight_concentration_prior=10.0**log_a, mean_precision_prior=10.0 ** rng.uniform(-3, 3),
            degrees_of_freedom_prior=d - 1 + 10.0 ** rng.uniform(-3, 3), max_iter=200, random_state=0,
        ).fit(X, sample_weight=rng.uniform(0.1, 3, n))
    bounds = np.array(mixture.lower_bounds_)
    assert np.isfinite(bounds).all()
    assert (np.diff(bounds) >= -1e-11 * np.maximum(1, np.abs(bounds[1:]))).all()
    assert mixture.lower_bound_ == bounds[-1]


def test_searched_starts_end_higher():
    """Elongated clusters that overlap, which k-means cuts across; the same start is the same for any other n_init."""
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        mixing = rng.normal(size=(5, 3, 3)) * np.exp(0.6 * rng.normal(size=(5, 1, 3)))
        label = rng.integers(0, 5, 800)
        X = np.einsum("ni,nij->nj", rng.normal(size=(800, 3)), mixing[label]) + 4 * rng.normal(size=(5, 3))[label]
        options = {"n_components": 6, "tol": 1e-6, "random_state": seed}
        searched = BayesianGaussianMixture(**options).fit(X)
        plain = BayesianGaussianMixture(init_params="kmeans", **options).fit(X)
        more = BayesianGaussianMixture(n_init=3, **options).fit(X)
        assert more.lower_bound_ >= searched.lower_bound_
        found.append(searched.lower_bound_ - plain.lower_bound_)
    assert np.mean(found) > 0.01 and min(found) > -0.01


def test_converged_means_that_little_is_to_come(x):
    mixture = BayesianGaussianMixture(6, random_state=0).fit(x)
    assert mixture.converged_ and mixture.remaining_ < 1e-8
    more = BayesianGaussianMixture(6, random_state=0, tol=0).fit(x)
    assert 0 <= more.lower_bound_ - mixture.lower_bound_ < 2e-8
    with pytest.warns(ConvergenceWarning, match=r"of mean lower bound is still to gain \(tol=1e-08\)"):
        mixture = BayesianGaussianMixture(6, random_state=0, max_iter=20).fit(x)
    assert not mixture.converged_ and mixture.n_iter_ == 20


def test_components_that_are_not_needed_vanish():
    X = np.random.default_rng(0).normal(size=(1000, 2)) + 8 * np.repeat([[0, 0], [1, 0]], 500, axis=0)
    for prior_type in WEIGHT_CONCENTRATION_PRIOR_TYPES:
        mixture = fitted(X, 8, weight_concentration_prior_type=prior_type, weight_concentration_prior=1e-4)
        assert (mixture.weights_ > 1e-2).sum() == 2
    spread = fitted(X, 8, weight_concentration_prior_type=prior_type, weight_concentration_prior=1e4)
    assert (spread.weights_ > 1e-2).sum() == 8


@each_structure
def test_sticks_end_in_their_best_order(covariance_type, faithful, monkeypatch):
    params = {"covariance_type": covariance_type, "init_params": "k-means++"}
    bounds, seen = [], []
    for seed in range(6):
        seen.clear()
        mixture = BayesianGaussianMixture(6, random_state=seed, **params).fit(
            faithful, callback=lambda *a: seen.append(a)
        )
        assert [i for i, _ in seen] == list(range(1, mixture.n_iter_ + 1))
        assert [bound for _, bound in seen] == mixture.lower_bounds_
        assert (np.diff(mixture.weight_concentration_[0]) <= 1e-6 * len(faithful)).all()
        assert (np.diff(mixture.lower_bounds_) >= -1e-12 * np.abs(mixture.lower_bounds_[1:])).all()
        assert mixture.converged_
        bounds.append(mixture.lower_bound_)
    monkeypatch.setattr(bayesian, "by_size", lambda statistics: statistics)
    without = [BayesianGaussianMixture(6, random_state=seed, **params).fit(faithful).lower_bound_ for seed in range(6)]
    assert np.mean(bounds) > np.mean(without)


def test_no_order_of_the_sticks_is_better(faithful):
    mixture = fitted(faithful, 4, max_iter=2000, tol=1e-10)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, len(faithful)) + (rng.random(len(faithful)) < 0.3)
    prior = {"concentration": 0.25, "mean_precision": 1.0, "mean": mixture.mean_prior_, "degrees_of_freedom": 2.0}
    step = VariationalMStep("full", 4, True, covariance=mixture.covariance_prior_, **prior)
    likelihood = MixtureLikelihood(faithful, "full", 4, m_step=step)
    statistics = likelihood.partition_statistics(np.tile(faithful.mean(axis=0), (4, 1)), labels)
    # of the bound, only the normaliser of the weights' posterior depends on the order, while labels stay
    def normaliser(posterior):
        a, b = posterior.hyper[:2]
        return betaln(a, b).sum()

    best = normaliser(step.maximize(by_size(statistics)))
    for order in itertools.permutations(range(4)):
        permuted = likelihood.partition_statistics(statistics.origins, np.array(order)[labels])
        assert normaliser(step.maximize(permuted)) <= best + 1e-9


def test_the_bound_chooses():
    """Bounds of models with different numbers of components compare, as scikit-learn's do not."""
    X = np.random.default_rng(0).normal(size=(600, 2)) + 8 * np.repeat([[0, 0], [1, 0], [0, 1]], 200, axis=0)
    params = {"weight_concentration_prior_type": "dirichlet_distribution", "weight_concentration_prior": 1.0}
    bounds = [fitted(X, K, n_init=3, **params).lower_bound_ for K in range(1, 6)]
    assert np.argmax(bounds) == 2


# Samples, weights, threads -----------------------------------------------------------------------------


@each_structure
@each_prior
def test_the_same_bits_for_any_number_of_threads(covariance_type, prior_type, always_threads):
    X = samples(3000, 3)
    fits = [
        fitted(X, 18, covariance_type=covariance_type, weight_concentration_prior_type=prior_type, n_init=2,
               n_threads=n_threads, tol=1e-3)
        for n_threads in (1, 2, 3, 7)
    ]
    for other in fits[1:]:
        assert other.lower_bounds_ == fits[0].lower_bounds_
        np.testing.assert_array_equal(other.covariances_, fits[0].covariances_)
        np.testing.assert_array_equal(other.score_samples(X), fits[0].score_samples(X))


@each_structure
@pytest.mark.filterwarnings("ignore::gaussum.ConvergenceWarning")
def test_weights_are_repetitions(covariance_type):
    rng = np.random.default_rng(0)
    X, times = samples(200), rng.integers(0, 4, 200)
    start = fitted(X, covariance_type=covariance_type, max_iter=3, tol=1.0)
    fits = [from_the_same_posterior(start, BayesianGaussianMixture) for _ in range(2)]
    fits[0].fit(X, sample_weight=times)
    fits[1].fit(np.repeat(X, times, axis=0))
    assert fits[0].lower_bound_ == pytest.approx(fits[1].lower_bound_, rel=1e-9)
    np.testing.assert_allclose(fits[0].covariances_, fits[1].covariances_, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(fits[0].mean_precision_.sum(), times.sum() + 4, rtol=1e-12)


@each_structure
def test_float32(covariance_type):
    X = samples(5000).astype(np.float32)
    single, double = (fitted(a, 3, covariance_type=covariance_type, tol=1e-9) for a in (X, X.astype(float)))
    assert single.converged_
    assert single.lower_bound_ == pytest.approx(double.lower_bound_, abs=1e-7)
    np.testing.assert_allclose(single.predict_proba(X), double.predict_proba(X.astype(float)), atol=1e-3)


@each_structure
@pytest.mark.parametrize("scale, offset", [(1e-6, 0), (1e6, 1e3), (1, 1e8)])
def test_scaling_and_shifting(covariance_type, scale, offset):
    X = np.round(samples(500) * 1024) / 1024
    moved = scale * (X + offset)
    a, b = (fitted(data, 5, covariance_type=covariance_type, tol=1e-12) for data in (X, moved))
    np.testing.assert_allclose(b.score_samples(moved), a.score_samples(X) - 2 * np.log(scale), atol=1e-6)
    assert b.lower_bound_ == pytest.approx(a.lower_bound_ - 2 * np.log(scale), abs=1e-7)


@pytest.mark.parametrize("name", ODD)
@each_structure
@each_prior
@pytest.mark.parametrize("reg_covar", [1e-6, 0.0])
def test_odd_data(name, covariance_type, prior_type, reg_covar):
    X, K = ODD[name]
    mixture = fitted(X, K, covariance_type=covariance_type, weight_concentration_prior_type=prior_type,
                     reg_covar=reg_covar, n_init=4)
    assert np.isfinite(mixture.score_samples(X)).all() and np.isfinite(mixture.lower_bounds_).all()
    assert np.isfinite(mixture.covariances_).all() and (mixture.weights_ >= 0).all()
    np.testing.assert_allclose(mixture.predict_proba(X).sum(axis=1), 1, rtol=1e-12)
    low, high = X.min(axis=0), X.max(axis=0)
    slack = 1e-6 * np.maximum(np.abs(low), np.abs(high))
    assert (mixture.means_ >= low - slack).all() and (mixture.means_ <= high + slack).all()
    assert mixture.sample(3, 0)[0].shape == (3, mixture.n_features_in_)


@pytest.mark.parametrize("prior", [1e-300, 1e-10, 1e10, 1e100])
@each_prior
def test_extreme_concentrations(prior, prior_type):
    mixture = fitted(weight_concentration_prior_type=prior_type, weight_concentration_prior=prior)
    assert np.isfinite(mixture.lower_bound_) and mixture.weights_.sum() == pytest.approx(1)
    np.testing.assert_allclose(mixture.predict_proba(samples()).sum(axis=1), 1, rtol=1e-12)


def test_many_components_are_skipped_with_the_same_results(monkeypatch):
    from gaussum import likelihood

    rng = np.random.default_rng(0)
    centers = 30.0 * np.column_stack(np.divmod(np.arange(36), 6))
    X = centers[rng.integers(0, 36, 8000)] + rng.normal(size=(8000, 2))
    with_skipping = fitted(X, 48)
    monkeypatch.setattr(likelihood.Skipping, "applies", staticmethod(lambda *_: False))
    without = fitted(X, 48)
    assert with_skipping.lower_bound_ == pytest.approx(without.lower_bound_, rel=1e-9)
    np.testing.assert_allclose(with_skipping.means_, without.means_, rtol=1e-6, atol=1e-6)


# Conventions -------------------------------------------------------------------------------------------


def test_fitted_attributes():
    shapes = {"full": (4, 2, 2), "tied": (2, 2), "diag": (4, 2), "spherical": (4,)}
    prior_shapes = {"full": (2, 2), "tied": (2, 2), "diag": (2,), "spherical": ()}
    for covariance_type, shape in shapes.items():
        mixture = fitted(covariance_type=covariance_type)
        assert mixture.covariances_.shape == mixture.precisions_.shape == mixture.precisions_cholesky_.shape == shape
        assert np.shape(mixture.covariance_prior_) == prior_shapes[covariance_type]
        assert mixture.weight_concentration_prior_ == 0.25 and mixture.mean_precision_prior_ == 1
        assert mixture.degrees_of_freedom_prior_ == 2 and mixture.n_features_in_ == 2
        np.testing.assert_allclose(mixture.mean_prior_, samples().mean(axis=0), rtol=1e-12)
        assert mixture.weights_.sum() == pytest.approx(1, rel=1e-14)
        assert isinstance(mixture.converged_, bool) and isinstance(mixture.lower_bound_, float)
        assert len(mixture.lower_bounds_) == mixture.n_iter_


def test_given_priors_are_kept():
    C = np.array([[2.0, 0.5], [0.5, 1.0]])
    mixture = fitted(
        covariance_prior=C, mean_prior=[1, 2], mean_precision_prior=0.1, degrees_of_freedom_prior=3.5,
        weight_concentration_prior=0.2, weight_concentration_prior_type="dirichlet_distribution",
    )
    np.testing.assert_array_equal(mixture.covariance_prior_, C)
    np.testing.assert_array_equal(mixture.mean_prior_, [1, 2])
    assert mixture.mean_precision_prior_ == 0.1 and mixture.degrees_of_freedom_prior_ == 3.5
    assert mixture.weight_concentration_prior_ == 0.2
    assert mixture.weight_concentration_.sum() == pytest.approx(300 + 4 * 0.2)
    assert fitted(covariance_type="spherical", covariance_prior=2).covariance_prior_ == 2.0


@each_structure
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(covariance_type, duplicate):
    mixture = fitted(covariance_type=covariance_type)
    twin = duplicate(mixture)
    np.testing.assert_array_equal(twin.predict_proba(samples()), mixture.predict_proba(samples()))
    clone = sklearn.base.clone(mixture)
    assert clone.get_params() == mixture.get_params() and not hasattr(clone, "means_")


@each_structure
@each_prior
def test_warm_start(covariance_type, prior_type):
    params = {"covariance_type": covariance_type, "weight_concentration_prior_type": prior_type, "warm_start": True}
    mixture = BayesianGaussianMixture(4, random_state=0, tol=1e-9, **params).fit(samples())
    bound, n_iter = mixture.lower_bound_, mixture.n_iter_
    mixture.fit(samples())
    assert mixture.n_iter_ < n_iter / 2 and mixture.lower_bound_ == pytest.approx(bound, abs=1e-8)
    mixture.set_params(n_components=3).fit(samples())
    assert mixture.means_.shape == (3, 2)
    other = set(WEIGHT_CONCENTRATION_PRIOR_TYPES) - {prior_type}
    mixture.set_params(weight_concentration_prior_type=other.pop()).fit(samples())
    assert mixture.converged_


def test_changed_attributes_count():
    mixture = fitted()
    before = mixture.score_samples(samples())
    mixture.means_ = mixture.means_ + 1.0
    np.testing.assert_allclose(mixture.score_samples(samples() + 1.0), before, rtol=1e-10)
    resp = mixture.predict_proba(samples())
    mixture.set_params(n_components=7, covariance_type="diag", weight_concentration_prior_type="dirichlet_distribution")
    np.testing.assert_array_equal(mixture.predict_proba(samples()), resp)


def test_progress(capsys):
    seen = []
    mixture = BayesianGaussianMixture(3, random_state=0, verbose=2, verbose_interval=5).fit(
        samples(), callback=lambda *a: seen.append(a)
    )
    assert [s[1] for s in seen] == mixture.lower_bounds_
    out = capsys.readouterr().out
    assert "  iteration 5: " in out
    assert f"start 1: {mixture.n_iter_} iterations, converged, mean lower bound {mixture.lower_bound_:.9g}" in out


def test_the_best_of_several_starts():
    single = [fitted(init_params="random", random_state=seed).lower_bound_ for seed in range(3)]
    several = fitted(init_params="random", n_init=10)
    assert several.lower_bound_ >= min(single) - 1e-6
    same = fitted(init_params="random", n_init=10)
    np.testing.assert_array_equal(several.means_, same.means_)


def test_fit_predict_and_samples():
    mixture = fitted()
    np.testing.assert_array_equal(BayesianGaussianMixture(4, random_state=0, tol=1e-6).fit_predict(samples()),
                                  mixture.predict(samples()))
    X, labels = mixture.sample(20_000, 0)
    np.testing.assert_allclose(np.bincount(labels, minlength=4) / 20_000, mixture.weights_, atol=0.02)
    np.testing.assert_allclose(np.cov(X.T), np.cov(samples().T), rtol=0.15, atol=0.1)


def test_it_is_a_little_less_than_a_density(x):
    mixture = fitted(x, 3)
    plain = GaussianMixture(3)
    plain.weights_, plain.means_, plain.precisions_cholesky_ = (
        mixture.weights_, mixture.means_, mixture.precisions_cholesky_)
    gap = plain.score_samples(x) - mixture.score_samples(x)
    assert (gap > 0).all() and gap.mean() < 3 * 1.5 / 600


def test_outliers_and_plots(x):
    mixture = fitted(x, 3)
    detector = OutlierDetector(mixture, contamination=0.01).fit(x)
    assert (detector.predict(x) == -1).mean() == pytest.approx(0.01, abs=2e-3)
    pytest.importorskip("matplotlib").use("Agg")
    assert plot.compare({"bayes": mixture}, x) is not None


def test_not_fitted():
    with pytest.raises(NotFittedError, match="BayesianGaussianMixture is not fitted yet"):
        BayesianGaussianMixture(2).predict(samples())


def test_collapse_is_no_concern_of_bayes():
    X = np.repeat(samples(3), 5, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CollapsedComponentWarning)
        fitted(X, 10, n_init=5)


X = samples(20)
BAD = {
    "n_components": ({"n_components": 0}, ValueError, "n_components is 0; expected an integer >= 1"),
    "too many": ({"n_components": 21}, ValueError, "n_components is 21, but X has 20 samples"),
    "covariance_type": ({"covariance_type": "x"}, ValueError, "covariance_type is 'x'; expected one of"),
    "tol": ({"tol": -1}, ValueError, "tol is -1"),
    "reg_covar": ({"reg_covar": "1"}, TypeError, "reg_covar is '1'"),
    "max_iter": ({"max_iter": 0}, ValueError, "max_iter is 0"),
    "n_init": ({"n_init": 0}, ValueError, "n_init is 0"),
    "init_params": ({"init_params": 3}, TypeError, "init_params is int"),
    "prior type": ({"weight_concentration_prior_type": "x"}, ValueError, "weight_concentration_prior_type is 'x'; exp"),
    "concentration": ({"weight_concentration_prior": 0}, ValueError, "weight_concentration_prior is 0"),
    "concentration nan": ({"weight_concentration_prior": np.nan}, ValueError, "weight_concentration_prior is nan"),
    "mean precision": ({"mean_precision_prior": -1}, ValueError, "mean_precision_prior is -1"),
    "mean precision text": ({"mean_precision_prior": "1"}, TypeError, "mean_precision_prior is '1'"),
    "mean shape": ({"mean_prior": [1, 2, 3]}, ValueError, "mean_prior has shape (3,); expected (2,)"),
    "mean nan": ({"mean_prior": [1, np.nan]}, ValueError, "mean_prior holds NaN"),
    "mean far": ({"mean_prior": [1, 1e200]}, ValueError, "mean_prior is 1e+200 for column 1"),
    "degrees of freedom": ({"degrees_of_freedom_prior": 1}, ValueError, "degrees_of_freedom_prior is 1.0; expected"),
    "degrees of freedom text": ({"degrees_of_freedom_prior": "a"}, TypeError, "degrees_of_freedom_prior is 'a'"),
    "covariance shape": ({"covariance_prior": [1, 2]}, ValueError, "covariance_prior has shape (2,); expected (2, 2)"),
    "covariance symmetry": ({"covariance_prior": [[1, 1], [0, 1]]}, ValueError, "covariance_prior is not symmetric"),
    "covariance sign": ({"covariance_prior": -np.eye(2)}, ValueError, "covariance_prior is not positive definite"),
    "diag": ({"covariance_prior": [1, 0], "covariance_type": "diag"}, ValueError, "covariance_prior holds 0"),
    "diag shape": (
        {"covariance_prior": np.eye(2), "covariance_type": "diag"}, ValueError, "covariance_prior has shape (2, 2)",
    ),
    "spherical": ({"covariance_prior": -1, "covariance_type": "spherical"}, ValueError, "covariance_prior holds -1"),
    "spherical shape": (
        {"covariance_prior": [1, 1], "covariance_type": "spherical"}, ValueError, "covariance_prior has shape (2,)",
    ),
    "warm_start": ({"warm_start": 1}, TypeError, "warm_start is 1"),
    "verbose": ({"verbose": -1}, ValueError, "verbose is -1"),
    "n_threads": ({"n_threads": 0}, ValueError, "n_threads is 0"),
    "random_state": ({"random_state": "a"}, TypeError, "random_state is 'a'"),
}


@pytest.mark.parametrize("params, error, message", BAD.values(), ids=BAD)
def test_refusals(params, error, message):
    with pytest.raises(error) as caught:
        BayesianGaussianMixture(**{"n_components": 2} | params).fit(X)
    assert message in str(caught.value)


@pytest.mark.parametrize("what", ["covariance", "hyper", "parameters", "statistics", "scratch"])
def test_the_step_refuses_wrong_sizes(what):
    covariance = np.eye(3 if what == "covariance" else 2)
    prior = {"concentration": 1.0, "mean_precision": 1.0, "mean": np.zeros(2), "degrees_of_freedom": 2.0}
    hyper, buffer, statistics = np.ones((4, 3)), np.ones(6 + 6 + 12), np.ones(2 + 3 + 6 + 12)
    if what == "hyper":
        hyper = np.ones((3, 3))
    with pytest.raises(ValueError, match=what):
        step = VariationalStep("full", 3, True, covariance=covariance, **prior)
        if what in ("hyper", "scratch"):
            step.divergence(buffer, hyper, np.empty(1 if what == "scratch" else 2))
        else:
            parameters = buffer[1:] if what == "parameters" else buffer
            step.update(statistics[1:], np.ones((3, 2)), parameters, np.empty(12), hyper)


@pytest.mark.parametrize("data", [[[np.nan, 1.0]] * 3, np.empty((0, 2)), ["a"], None])
def test_refused_data(data):
    with pytest.raises((ValueError, TypeError), match="^X "):
        BayesianGaussianMixture().fit(data)
    with pytest.raises(ValueError, match="sample_weight"):
        BayesianGaussianMixture().fit(X, sample_weight=-np.ones(20))
