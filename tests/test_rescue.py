"""Fits never die: components that collapse, matrices that are singular, data without extent."""

import warnings

import numpy as np
import pytest

from gaussum import CollapsedComponentWarning, ConvergenceWarning, GaussianMixture, SpuriousOptimumWarning, em, rescue
from gaussum.covariance import COVARIANCE_TYPES, second_shape
from gaussum.parameters import MixtureParameters


def mixture(covariance_type, K=3, d=2):
    shape = second_shape(covariance_type, K, d)
    matrix = np.diag([0.5, 2.0]) if covariance_type in ("full", "tied") else 0.5
    chol = np.broadcast_to(matrix, shape).copy()
    means = np.arange(K * d, dtype=float).reshape(K, d)
    return MixtureParameters.from_precisions_chol(covariance_type, np.array([0.2, 0.5, 0.3]), means, chol)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_heaviest_is_split_along_its_longest_axis(covariance_type):
    parameters = mixture(covariance_type)
    mean = parameters.means[1].copy()
    if covariance_type != "tied":
        parameters.log_det[0] = np.nan
    parameters.weights[0] = 0.0
    assert list(rescue.collapsed(parameters, 100)) == [0]
    rescue.revive(parameters, np.array([0]), np.ones(2))
    assert parameters.weights[0] == parameters.weights[1] == pytest.approx(0.3125)
    assert np.isfinite(parameters.log_det).all()
    np.testing.assert_allclose(parameters.means[[0, 1]].mean(axis=0), mean)
    apart = parameters.means[0] - parameters.means[1]
    np.testing.assert_allclose(apart, [2.0, 0.0])
    assert rescue.collapsed(parameters, 100).size == 0


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_dropped_have_no_weight_and_are_finite(covariance_type):
    parameters = mixture(covariance_type)
    if covariance_type != "tied":
        parameters.log_det[2], parameters.precisions_chol[2] = np.nan, np.nan
    rescue.drop(parameters, np.array([2]))
    assert parameters.weights[2] == 0 and parameters.weights.sum() == pytest.approx(1)
    assert np.isfinite(parameters.buffer).all()
    with pytest.raises(rescue.CollapseError, match="no component holds"):
        rescue.drop(parameters, np.arange(3))


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_matrices_are_mended(covariance_type):
    parameters = mixture(covariance_type)
    units = np.array([1e-8, 1e9])
    flat = np.outer(units, units) * (np.ones((2, 2)) - 1e-15 * np.eye(2))
    parameters.covariances[...], parameters.log_det[:] = flat, np.nan
    rescue.mend(parameters, np.arange(3))
    assert np.isfinite(parameters.log_det).all()
    U = parameters.precisions_chol if covariance_type == "tied" else parameters.precisions_chol[1]
    np.testing.assert_allclose(np.triu(U), U)
    np.testing.assert_allclose(np.log(np.diag(U)).sum(), parameters.log_det[1])
    S = parameters.covariances if covariance_type == "tied" else parameters.covariances[1]
    np.testing.assert_allclose(S, flat, rtol=1e-8)


def blobs(n=400, d=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + 6.0 * rng.integers(0, 2, (n, 1)) * np.ones(d)


HARD = {
    "duplicates": (np.repeat(blobs(4), 50, axis=0), 6),
    "two places": (np.repeat([[0.0, 0.0], [1.0, 1.0]], 20, axis=0), 5),
    "all one sample": (np.tile([[3.0, 1e8]], (30, 1)), 4),
    "n = K": (blobs(9), 9),
    "n = K = 1": (blobs(1), 1),
    "d > n": (blobs(8, 40), 3),
    "collinear": (blobs(200, 1) @ [[1.0, 2.0, -3.0]] + [0, 1, 2], 3),
    "collinear, far": (blobs(200, 1) @ [[1.0, 2.0, -3.0]] + 1e8, 3),
    "collinear and many": (blobs(200, 40) @ np.ones((40, 40)), 2),
    "constant": (np.c_[blobs(200), np.full(200, 1e8), np.zeros(200)], 3),
    "nearly constant": (np.c_[blobs(200), 1e8 + 1e-8 * np.arange(200)], 3),
    "tied values": (np.round(blobs(200)), 8),
    "an outlier": (np.r_[blobs(200), [[1e12, -1e12]]], 4),
    "half duplicated": (np.r_[blobs(100), np.tile([[1.0, 2.0]], (100, 1))], 5),
}


@pytest.mark.filterwarnings("ignore::gaussum.CollapsedComponentWarning", "ignore::gaussum.ConvergenceWarning")
@pytest.mark.parametrize("prior", [None, "default"])
@pytest.mark.parametrize("reg_covar", [0.0, 1e-6])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("name", HARD)
def test_hard_data(name, covariance_type, reg_covar, prior):
    X, K = HARD[name]
    fitted = GaussianMixture(
        K, covariance_type=covariance_type, reg_covar=reg_covar, prior=prior, random_state=0, max_iter=300, n_init=2
    ).fit(X)
    for values in (fitted.weights_, fitted.means_, fitted.covariances_, fitted.precisions_, fitted.score_samples(X)):
        assert np.isfinite(values).all()
    assert fitted.weights_.sum() == pytest.approx(1)
    assert np.isfinite(fitted.lower_bounds_).all() and fitted.lower_bound_ == pytest.approx(fitted.score(X), rel=1e-6)
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1, rtol=1e-12)
    assert np.isfinite(fitted.sample(5)[0]).all()


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
@pytest.mark.parametrize("added", ["constant", "collinear"])
def test_features_that_say_nothing_change_no_cluster(covariance_type, added):
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(size=(400, 2)), rng.normal(size=(60, 2)) * 0.7 + [3.5, 0], rng.normal(size=(200, 2)) + [0, 5]]
    if added == "constant":
        more = np.c_[X, np.full((len(X), 2), 5.0)]
    else:
        more = np.c_[X, X @ [1.0, -2.0] + 3.0]
        if covariance_type == "diag":
            pytest.skip("of diagonal covariances the sum says much")
    params = {"covariance_type": covariance_type, "random_state": 0, "n_init": 3}
    labels = GaussianMixture(3, **params).fit(X).predict(X)
    assert np.mean(GaussianMixture(3, **params).fit(more).predict(more) == labels) > 0.98


@pytest.mark.parametrize("accelerate", [True, False])
def test_flat_directions_leave_em_climbing(accelerate):
    X = blobs(300)
    X = np.c_[X, X @ [1.0, 2.0], np.ones(300)]
    fitted = GaussianMixture(4, random_state=1, accelerate=accelerate, init_params="random_from_data").fit(X)
    assert np.diff(fitted.lower_bounds_).min() > -1e-12
    assert fitted.lower_bound_ == pytest.approx(fitted.score(X), rel=1e-9)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_failed_restart_ends_no_other(n_threads, monkeypatch):
    X, maximize, calls = blobs(), em.maximize, []

    def fragile(*args, **kwargs):
        calls.append(None)
        if len(calls) in (1, 3):
            raise rescue.CollapseError("gone")
        return maximize(*args, **kwargs)

    monkeypatch.setattr(em, "maximize", fragile)
    with pytest.warns(ConvergenceWarning, match="failed: gone") as caught:
        fitted = GaussianMixture(2, n_init=4, random_state=0, n_threads=n_threads).fit(X)
    assert len(caught) == 2 and fitted.converged_
    assert fitted.score(X) == pytest.approx(GaussianMixture(2, random_state=0).fit(X).score(X), rel=1e-6)


def test_what_collapsed_is_told_of_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        GaussianMixture(5, random_state=0).fit(HARD["two places"][0])
    told = [str(w.message) for w in caught if w.category is CollapsedComponentWarning]
    assert len(told) == 2 and "took half" in told[0] and "lost their weight" in told[1]
    assert issubclass(SpuriousOptimumWarning, CollapsedComponentWarning)
