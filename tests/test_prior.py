"""Conjugate priors: the M-step against its formulas, limits, monotone objectives, refusals."""

import copy
import pickle
import warnings

import numpy as np
import pytest

from gaussum import GaussianMixture, SpuriousOptimumWarning, mixture
from gaussum.covariance import COVARIANCE_TYPES, covariances_of, second_shape
from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.prior import PRIOR_PARAMS, ConjugatePrior, PosteriorStep, conjugate_prior


def samples(n=300, d=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ (np.eye(d) + 0.3 * rng.normal(size=(d, d))) + 4.0 * rng.integers(0, 3, (n, 1))


def scatter_of(covariance_type, d, seed=1):
    A = np.random.default_rng(seed).normal(size=(d, d))
    S = A @ A.T + np.eye(d)
    return {"diag": np.diag(S), "spherical": np.float64(2.5)}.get(covariance_type, S)


def numpy_step(X, weight, resp, covariance_type, prior, ridge):
    """The formulas of the module, written out."""
    n, d = X.shape
    K = resp.shape[1]
    r = resp * weight[:, None]
    nk = r.sum(axis=0)
    kappa, nu = prior.mean_precision, prior.degrees_of_freedom
    means = (r.T @ X + kappa * prior.mean) / (nk + kappa)[:, None]
    T = np.zeros((K, d, d))
    for k in range(K):
        z, away = X - means[k], means[k] - prior.mean
        T[k] = (r[:, k, None] * z).T @ z + kappa * np.outer(away, away) + np.diag(ridge)
    diagonals = np.einsum("kjj->kj", T)
    if covariance_type == "full":
        covariances = (T + prior.covariance) / (nk + nu + d + 2)[:, None, None]
    elif covariance_type == "tied":
        covariances = (T.sum(axis=0) - (K - 1) * np.diag(ridge) + prior.covariance) / (nk.sum() + nu + d + 1 + K)
    elif covariance_type == "diag":
        covariances = (diagonals + prior.covariance) / (nk + nu + 3)[:, None]
    else:
        covariances = (diagonals.sum(axis=1) + prior.covariance) / (d * nk + nu + d + 2)
    return nk / nk.sum(), means, covariances


def some_parameters(X, covariance_type, K, seed=2):
    rng, d = np.random.default_rng(seed), X.shape[1]
    chol = {
        "full": np.triu(0.5 * rng.normal(size=(K, d, d)), 1) + np.eye(d) * rng.uniform(0.5, 2, (K, 1, d)),
        "tied": np.triu(0.5 * rng.normal(size=(d, d)), 1) + np.diag(rng.uniform(0.5, 2, d)),
        "diag": rng.uniform(0.5, 2, (K, d)),
        "spherical": rng.uniform(0.5, 2, K),
    }[covariance_type]
    means = X[rng.choice(len(X), K, replace=False)]
    return MixtureParameters.from_precisions_chol(covariance_type, rng.dirichlet(np.ones(K)), means, chol)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_the_step_is_its_formula(covariance_type, d, weighted, offset):
    X, K = samples(d=d) + offset, 3
    weight = np.random.default_rng(5).uniform(size=len(X)) if weighted else np.ones(len(X))
    ridge = np.linspace(0.1, 0.3, d)
    prior = ConjugatePrior(np.linspace(-1, 1, d) + offset, 0.7, scatter_of(covariance_type, d), d + 1.5)
    step = PosteriorStep(prior, covariance_type, K, ridge=ridge, variance=np.ones(d))
    own = MixtureLikelihood(X, covariance_type, K, sample_weight=weight if weighted else None, ridge=ridge, m_step=step)
    before = some_parameters(X, covariance_type, K)
    after = own.maximize(own.statistics(before))
    resp = np.empty((len(X), K))
    own.predict(before, resp=resp)
    for actual, expected in zip(
        (after.weights, after.means, after.covariances),
        numpy_step(X, weight, resp, covariance_type, prior, ridge),
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-9 if offset == 0 else 1e-6, atol=1e-10)
    chol = after.precisions_chol
    np.testing.assert_allclose(covariances_of(covariance_type, chol), after.covariances, rtol=1e-9, atol=1e-12)
    again = MixtureParameters.from_precisions_chol(covariance_type, after.weights, after.means, chol)
    np.testing.assert_allclose(again.log_det, after.log_det, rtol=1e-9)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("d", [1, 3])
def test_the_step_maximises_the_objective_of_one_component(covariance_type, d):
    """With one component responsibilities are fixed: nothing near the step is better."""
    X = samples(80, d)
    ridge = np.linspace(0.1, 0.3, d)
    prior = ConjugatePrior(np.full(d, 2.0), 5.0, 20 * scatter_of(covariance_type, d), d + 2.0)
    step = PosteriorStep(prior, covariance_type, 1, ridge=ridge, variance=X.var(axis=0))
    own = MixtureLikelihood(X, covariance_type, 1, ridge=ridge, m_step=step)
    best = own.maximize(own.statistics(some_parameters(X, covariance_type, 1)))
    reached, rng = own.evaluate(best)[1], np.random.default_rng(0)
    for _ in range(60):
        chol = best.precisions_chol * (1 + 1e-3 * rng.normal(size=best.precisions_chol.shape))
        if rng.random() < 0.5 and chol.ndim > 1 and covariance_type != "diag":
            chol = chol + 1e-3 * np.triu(rng.normal(size=chol.shape))
        means = best.means + 1e-3 * rng.normal(size=best.means.shape)
        other = MixtureParameters.from_precisions_chol(covariance_type, best.weights, means, chol)
        assert own.evaluate(other)[1] < reached


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("params", [{"prior": "default"}, {"mean_precision_prior": 2, "degrees_of_freedom_prior": 10}])
def test_the_objective_never_falls(covariance_type, seed, params):
    X = samples(150, 1 + seed % 3, seed)
    fitted = GaussianMixture(
        4, covariance_type=covariance_type, random_state=seed, init_params="random_from_data", tol=1e-6, **params
    ).fit(X)
    assert fitted.converged_
    assert np.diff(fitted.lower_bounds_).min(initial=0) > -1e-12
    assert fitted.lower_bound_ == pytest.approx(fitted.score(X), rel=1e-12)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_defaults_are_the_datas_own(covariance_type):
    X = samples(200, 3)
    fitted = GaussianMixture(4, covariance_type=covariance_type, prior="default", random_state=0, tol=1e-4).fit(X)
    S = np.cov(X.T, ddof=0)
    expected = {"diag": np.diag(S), "spherical": np.trace(S) / 3}.get(covariance_type, S) / 4 ** (2 / 3)
    np.testing.assert_allclose(fitted.prior_.covariance, expected, rtol=1e-10)
    np.testing.assert_allclose(fitted.prior_.mean, X.mean(axis=0))
    assert (fitted.prior_.mean_precision, fitted.prior_.degrees_of_freedom) == (0.01, 5)
    assert GaussianMixture(2, random_state=0).fit(X).prior_ is None


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_one_component_in_closed_form(covariance_type):
    X = samples(50, 2)
    n, d = X.shape
    kappa, nu, mu, L = 3.0, 7.0, np.array([1.0, -1.0]), scatter_of(covariance_type, 2)
    fitted = GaussianMixture(
        1, covariance_type=covariance_type, reg_covar=0, mean_prior=mu, mean_precision_prior=kappa,
        covariance_prior=L, degrees_of_freedom_prior=nu,
    ).fit(X)
    m = (X.sum(axis=0) + kappa * mu) / (n + kappa)
    apart = X.mean(axis=0) - mu
    S = n * np.cov(X.T, ddof=0) + kappa * n / (n + kappa) * np.outer(apart, apart)
    expected = {
        "full": lambda: (S + L) / (n + nu + d + 2),
        "tied": lambda: (S + L) / (n + nu + d + 2),
        "diag": lambda: (np.diag(S) + L) / (n + nu + 3),
        "spherical": lambda: (np.trace(S) + L) / (d * n + nu + d + 2),
    }[covariance_type]()
    np.testing.assert_allclose(fitted.means_[0], m, rtol=1e-12)
    np.testing.assert_allclose(fitted.covariances_.reshape(np.shape(expected)), expected, rtol=1e-9)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_strong_prior_wins(covariance_type):
    X, strong = samples(100, 2), 1e9
    L = scatter_of(covariance_type, 2)
    fitted = GaussianMixture(
        2, covariance_type=covariance_type, random_state=0, mean_prior=[2.0, 3.0], mean_precision_prior=strong,
        covariance_prior=strong * L, degrees_of_freedom_prior=strong,
    ).fit(X)
    np.testing.assert_allclose(fitted.means_, [[2, 3], [2, 3]], atol=1e-5)
    np.testing.assert_allclose(fitted.covariances_, np.broadcast_to(L, fitted.covariances_.shape), rtol=1e-5)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_prior_of_no_strength_is_none(covariance_type):
    X, K, d = samples(400, 2), 3, 2
    flat = {"full": d + 2, "tied": d + 1 + K, "diag": 3, "spherical": d + 2}[covariance_type]
    nothing = np.zeros({"diag": (d,), "spherical": ()}.get(covariance_type, (d, d)))
    params = {"covariance_type": covariance_type, "random_state": 0, "tol": 1e-12}
    free = GaussianMixture(
        K, mean_precision_prior=0, degrees_of_freedom_prior=-flat, covariance_prior=nothing, **params
    ).fit(X)
    plain = GaussianMixture(K, **params).fit(X)
    assert free.lower_bound_ == pytest.approx(plain.lower_bound_, abs=1e-9)
    np.testing.assert_allclose(np.sort(free.means_, axis=0), np.sort(plain.means_, axis=0), atol=1e-3)
    # the more samples, the less a prior counts
    many = GaussianMixture(K, prior="default", **params).fit(np.tile(X, (200, 1)))
    np.testing.assert_allclose(np.sort(many.means_, axis=0), np.sort(plain.means_, axis=0), atol=1e-2)


def test_a_common_factor_of_the_weights_changes_nothing():
    X, weight = samples(), np.random.default_rng(0).uniform(0.5, 2, 300)
    a, b = (GaussianMixture(3, prior="default", random_state=0).fit(X, sample_weight=f * weight) for f in (1, 1e7))
    np.testing.assert_allclose(a.means_, b.means_, rtol=1e-5)


@pytest.mark.parametrize("K", [6, 7])
def test_a_prior_keeps_components_from_collapsing(galaxies, faithful, K, monkeypatch):
    monkeypatch.setattr(mixture, "_FEWEST_STARTS", 1)
    with pytest.warns(SpuriousOptimumWarning):
        free = GaussianMixture(K, random_state=0).fit(galaxies)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        held = GaussianMixture(K, random_state=0, prior="default").fit(galaxies)
    assert held.covariances_.min() > 10 * free.covariances_.min() and held.spurious_ == ()
    for s in range(8):
        diag = GaussianMixture(
            K, covariance_type="diag", prior="default", random_state=s, init_params="random_from_data", tol=1e-5
        ).fit(faithful)
        assert diag.spurious_ == () and np.sqrt(diag.covariances_[:, 0]).min() > 0.02


@pytest.mark.parametrize("n_threads", [2, 3, 7])
def test_the_same_bits_for_any_number_of_threads(n_threads, always_threads):
    X = samples(20_000, 2)
    a, b = (GaussianMixture(3, prior="default", random_state=0, tol=1e-3, n_threads=t).fit(X) for t in (1, n_threads))
    np.testing.assert_array_equal(a.covariances_, b.covariances_)


def test_copies_and_parameters():
    fitted = GaussianMixture(2, prior="default", random_state=0).fit(samples())
    for twin in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(twin.prior_.covariance, fitted.prior_.covariance)
    assert set(PRIOR_PARAMS) < set(fitted.get_params())
    assert repr(GaussianMixture(mean_precision_prior=1.0)) == "GaussianMixture(mean_precision_prior=1.0)"
    # any one of the four asks for a prior
    assert GaussianMixture(2, mean_prior=[0, 0], random_state=0).fit(samples()).prior_.mean_precision == 0.01
    one = GaussianMixture(2, mean_prior=1.0, covariance_prior=2.0, random_state=0).fit(samples(d=1)).prior_
    assert one.mean.shape == (1,) and one.covariance.shape == (1, 1)


def test_the_shapes_of_what_is_asked_for():
    X = samples(50, 3)
    for covariance_type in COVARIANCE_TYPES:
        values = dict.fromkeys(PRIOR_PARAMS)
        prior = conjugate_prior("default", values, covariance_type, 2, X, None, X.mean(0), X.var(0))
        assert prior.covariance.shape == second_shape(covariance_type, 1, 3)[covariance_type not in ("tied",):]


BAD = {
    "prior": ({"prior": "flat"}, ValueError, "prior is 'flat'; expected one of 'default'"),
    "prior type": ({"prior": True}, TypeError, "prior is bool; expected one of 'default'"),
    "mean shape": ({"mean_prior": [1.0]}, ValueError, "mean_prior has shape (1,); expected (2,)"),
    "mean nan": ({"mean_prior": [1.0, np.nan]}, ValueError, "mean_prior holds NaN"),
    "mean text": ({"mean_prior": ["a", "b"]}, TypeError, "mean_prior holds <U1"),
    "precision": ({"mean_precision_prior": -1}, ValueError, "mean_precision_prior is -1.0; expected a finite number"),
    "precision text": ({"mean_precision_prior": "1"}, TypeError, "mean_precision_prior is '1'"),
    "precision nan": ({"mean_precision_prior": np.nan}, ValueError, "mean_precision_prior is nan"),
    "freedom": (
        {"degrees_of_freedom_prior": -5}, ValueError, "degrees_of_freedom_prior is -5.0; expected a finite number >= -4"
    ),
    "freedom inf": ({"degrees_of_freedom_prior": np.inf}, ValueError, "degrees_of_freedom_prior is inf"),
    "freedom text": ({"degrees_of_freedom_prior": "4"}, TypeError, "degrees_of_freedom_prior is '4'"),
    "covariance shape": ({"covariance_prior": np.eye(3)}, ValueError, "covariance_prior has shape (3, 3); expected"),
    "covariance number": ({"covariance_prior": 1.0}, ValueError, "covariance_prior has shape (); expected (2, 2)"),
    "covariance symmetry": ({"covariance_prior": [[1, 1], [0, 1]]}, ValueError, "covariance_prior is not symmetric"),
    "covariance sign": ({"covariance_prior": -np.eye(2)}, ValueError, "covariance_prior has the eigenvalue -1"),
    "covariance of diag": (
        {"covariance_prior": [1.0, -2.0], "covariance_type": "diag"}, ValueError, "covariance_prior holds -2"
    ),
    "covariance of spherical": (
        {"covariance_prior": [1.0, 2.0], "covariance_type": "spherical"}, ValueError, "covariance_prior has shape (2,)"
    ),
    "covariance of tied": (
        {"covariance_prior": [1.0, 2.0], "covariance_type": "tied"}, ValueError, "covariance_prior has shape (2,)"
    ),
    "covariance nan": ({"covariance_prior": np.full((2, 2), np.nan)}, ValueError, "covariance_prior holds NaN"),
}


@pytest.mark.parametrize("params, error, message", BAD.values(), ids=BAD)
def test_refusals(params, error, message):
    with pytest.raises(error) as caught:
        GaussianMixture(2, **params).fit(samples())
    assert message in str(caught.value)
