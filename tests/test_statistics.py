"""Sufficient statistics: moments, and merging as addition."""

import numpy as np
import pytest

from gaussum.covariance import COVARIANCE_TYPES
from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.statistics import SufficientStatistics

K, D = 3, 2


def mixture(covariance_type):
    rng = np.random.default_rng(0)
    chol = {
        "full": np.triu(rng.normal(size=(K, D, D)) * 0.3) + np.eye(D),
        "tied": np.array([[1.0, 0.4], [0.0, 0.8]]),
        "diag": rng.uniform(0.5, 2, (K, D)),
        "spherical": rng.uniform(0.5, 2, K),
    }[covariance_type]
    return MixtureParameters.from_precisions_chol(
        covariance_type,
        np.array([0.2, 0.3, 0.5]),
        rng.normal(size=(K, D)),
        np.abs(chol) if chol.ndim < 2 else chol,
    )


def by_definition(parameters, X, weight):
    """log-likelihood, nk, first and second moments with NumPy."""
    U = parameters.precisions_chol
    z = X[:, None, :] - parameters.means
    if parameters.covariance_type == "full":
        y = np.einsum("nkj,kjl->nkl", z, U)
    elif parameters.covariance_type == "tied":
        y = z @ U
    else:
        y = z * (U if U.ndim == 2 else U[:, None])
    log_const = np.log(parameters.weights) + parameters.log_det - 0.5 * D * np.log(2 * np.pi)
    log_prob = log_const - 0.5 * (y**2).sum(axis=2)
    log_density = np.logaddexp.reduce(log_prob, axis=1)
    r = weight[:, None] * np.exp(log_prob - log_density[:, None])
    second = {
        "full": lambda: np.triu(np.einsum("nk,nki,nkj->kij", r, z, z)),
        "tied": lambda: np.triu(np.einsum("nk,nki,nkj->ij", r, z, z)),
        "diag": lambda: np.einsum("nk,nkj->kj", r, z**2),
        "spherical": lambda: np.einsum("nk,nkj->k", r, z**2),
    }[parameters.covariance_type]()
    return weight @ log_density, r.sum(axis=0), np.einsum("nk,nkj->kj", r, z), second


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [1, 31, 513, 5000])
def test_moments(covariance_type, weighted, n):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, D))
    weight = rng.uniform(size=n) if weighted else None
    parameters = mixture(covariance_type)
    statistics = MixtureLikelihood(X, covariance_type, K, sample_weight=weight).statistics(parameters)
    expected = by_definition(parameters, X, np.ones(n) if weight is None else weight)
    assert statistics.log_likelihood == pytest.approx(expected[0], rel=1e-12)
    assert statistics.total_weight == pytest.approx(n if weight is None else weight.sum(), rel=1e-14)
    np.testing.assert_allclose(statistics.nk, expected[1], rtol=1e-11)
    np.testing.assert_allclose(statistics.first, expected[2], rtol=1e-10, atol=1e-11 * n)
    second = statistics.second if covariance_type in ("diag", "spherical") else np.triu(statistics.second)
    np.testing.assert_allclose(second, expected[3], rtol=1e-10, atol=1e-11 * n)
    assert statistics.nk.sum() == pytest.approx(statistics.total_weight, rel=1e-12)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_merging_is_addition(covariance_type):
    """Halves of the samples give, added up, what the whole gives; the M-step does not see the seam."""
    X = np.random.default_rng(2).normal(size=(3000, D))
    parameters = mixture(covariance_type)
    whole, *halves = (MixtureLikelihood(part, covariance_type, K) for part in (X, X[:1100], X[1100:]))
    merged = halves[0].statistics(parameters) + halves[1].statistics(parameters)
    np.testing.assert_allclose(merged.buffer, whole.statistics(parameters).buffer, rtol=1e-10, atol=1e-10)
    after, expected = whole.maximize(merged), whole.maximize(whole.statistics(parameters))
    np.testing.assert_allclose(after.means, expected.means, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(after.covariances, expected.covariances, rtol=1e-10, atol=1e-12)


def test_views_of_one_buffer():
    statistics = SufficientStatistics("full", np.zeros((K, D)))
    assert statistics.buffer.shape == (2 + K + K * D + K * D * D,)
    statistics.nk[:], statistics.first[:], statistics.second[:] = 1, 2, 3
    assert statistics.buffer.tolist() == [0, 0] + [1] * K + [2] * K * D + [3] * K * D * D
    total = statistics + statistics
    assert total is not statistics and (total.buffer == 2 * statistics.buffer).all()
    before = statistics.buffer.copy()
    statistics += total
    assert (statistics.buffer == 3 * before).all()


def test_statistics_that_do_not_fit():
    a = SufficientStatistics("diag", np.zeros((K, D)))
    with pytest.raises(ValueError, match="covariance type or about other origins"):
        a + SufficientStatistics("diag", np.ones((K, D)))
    with pytest.raises(ValueError, match="covariance type or about other origins"):
        a += SufficientStatistics("full", np.zeros((K, D)))
