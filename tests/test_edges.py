"""Where numbers run out: samples beyond the range of doubles, collinear features, components without weight."""

import numpy as np
import pytest

import kernel_access as ka
from gaussum import GaussianMixture, likelihood
from gaussum.covariance import COVARIANCE_TYPES
from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.quasi_newton import QuasiNewtonModel

# Samples without weight ------------------------------------------------------------------------------


@pytest.mark.parametrize("build", ka.BUILDS)
def test_weights_of_zero_win_over_nan(build):
    rng = np.random.default_rng(0)
    resp, log_density, weight = rng.dirichlet(np.ones(3), 70).T.copy(), rng.normal(size=70), rng.uniform(size=70)
    lost = [5, 40, 69]
    weight[lost] = 0
    expected, total = resp * weight, weight @ log_density
    resp[:, lost], log_density[lost] = np.nan, [np.nan, -np.inf, np.nan]
    assert ka.functions(build)["weigh"](resp, 70, 70, 3, log_density, weight) == pytest.approx(total, rel=1e-13)
    np.testing.assert_array_equal(resp, expected)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_samples_without_weight_may_be_as_large_as_numbers_go(covariance_type):
    rng = np.random.default_rng(0)
    mixing = 0.05 * np.array([[1, 0.9, 0.3], [0, 0.5, -0.4], [0, 0, 0.1]])
    X = np.concatenate([rng.normal(size=(300, 3)) @ mixing, rng.normal(size=(300, 3)) @ mixing + 3])
    huge = np.finfo(float).max * np.array([[1, 1, 1], [1, -1, 1], [-1, 1, 1]])
    params = {"covariance_type": covariance_type, "random_state": 0}
    weight = np.r_[np.ones(600), np.zeros(3)]
    with_huge = GaussianMixture(2, **params).fit(np.concatenate([X, huge]), sample_weight=weight)
    np.testing.assert_allclose(with_huge.means_, GaussianMixture(2, **params).fit(X).means_, rtol=1e-6)


# Collinear features ----------------------------------------------------------------------------------


def collinear(thin, apart, shift=1.5):
    """Samples along the diagonal, `thin` times as wide across it, in two pairs of clusters, and their clusters."""
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=3000)
    along, across = rng.normal(size=3000), thin * rng.normal(size=3000)
    centers = np.array([0, shift, apart, apart + shift])
    return np.stack([along + across, along - across], axis=1) + centers[labels, np.newaxis], labels


@pytest.mark.parametrize("build", ka.BUILDS)
@pytest.mark.parametrize("apart", [3.0, 30.0, 90.0])
def test_a_thin_scatter_keeps_its_digits_where_components_are_apart(build, apart):
    X, labels = collinear(1e-4, apart)
    X, labels = X[:500], labels[:500]
    resp = np.eye(4)[labels]
    origins = np.array([X[labels == k].mean(axis=0) for k in range(4)])
    _, _, scatter = ka.accumulate(build, "tied", X, resp, origins)
    z = X.astype(np.longdouble) - origins[labels]
    across = np.array([1, -1]) / np.sqrt(np.longdouble(2))
    expected = ((z @ across) ** 2).sum()
    scatter = np.triu(scatter) + np.triu(scatter, 1).T
    assert float(across @ scatter @ across) == pytest.approx(float(expected), rel=2e-6)


@pytest.mark.parametrize("apart", [10.0, 60.0, 90.0])
def test_tied_fits_of_collinear_features_converge(apart):
    X, _ = collinear(1e-4, apart)
    fitted = GaussianMixture(4, covariance_type="tied", random_state=0, reg_covar=0, max_iter=300).fit(X)
    assert fitted.converged_ and fitted.n_iter_ < 100


# Components without weight ---------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_quasi_newton_leaves_components_without_weight_alone(covariance_type):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2)) + 3 * rng.integers(2, size=(200, 1))
    chol = np.broadcast_to(np.eye(2), (3, 2, 2))
    chol = {"full": chol, "tied": chol[0], "diag": np.ones((3, 2)), "spherical": np.ones(3)}[covariance_type]
    means = np.array([[0.0, 0.0], [5.0, 1.0], [2.0, 2.0]])
    parameters = MixtureParameters.from_precisions_chol(covariance_type, np.array([0.6, 0.0, 0.4]), means, chol)
    own = MixtureLikelihood(X, covariance_type, 3, ridge=np.full(2, 0.1))
    model = QuasiNewtonModel(covariance_type, 3, own.ridge)
    assert model.refer(parameters.buffer, own.statistics(parameters).buffer) == 0.4
    for _ in range(5):
        after = own.blank_parameters()
        smallest = model.propose(min(1.0, 0.5 / model.longest), after.buffer)
        assert after.weights[1] == 0 and smallest == after.weights[[0, 2]].min()
        np.testing.assert_array_equal(after.means[1], means[1])
        if covariance_type != "tied":
            np.testing.assert_array_equal(after.precisions_chol[1], parameters.precisions_chol[1])
            assert not np.array_equal(after.precisions_chol[0], parameters.precisions_chol[0])
        model.accept(after.buffer, own.statistics(after).buffer)


# Predictions -----------------------------------------------------------------------------------------


def test_predictions_need_no_hints(monkeypatch):
    X = np.random.default_rng(0).normal(size=(2000, 1))
    fitted = GaussianMixture(20, random_state=0, max_iter=5, tol=1.0).fit(X)

    def refuse(*args):
        raise AssertionError("a table and a hint a sample were made")

    monkeypatch.setattr(likelihood, "Skipping", type("Refusing", (), {"applies": lambda *_: True, "__init__": refuse}))
    fitted.score_samples(X)
