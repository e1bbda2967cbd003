"""The observed information: second derivatives by a pass, against differences of gradients."""

import numpy as np
import pytest

from gaussum.information import ObservedInformation
from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.quasi_newton import QuasiNewtonModel

SHAPES = [("full", 1, 1), ("full", 4, 1), ("spherical", 3, 1), ("diag", 3, 1), ("diag", 3, 2), ("diag", 2, 4)]


def setting(structure, K, d, n=2500, n_threads=1, weighted=True):
    rng = np.random.default_rng(K + 10 * d)
    X = rng.normal(size=(n, d)) * np.linspace(1, 3, d) + rng.integers(0, 2, (n, 1))
    chol = rng.uniform(0.5, 1, {"full": (K, d, d), "diag": (K, d), "spherical": (K,)}[structure])
    weight = rng.uniform(0, 2, n) if weighted else None
    p = MixtureParameters.from_precisions_chol(structure, rng.dirichlet(np.full(K, 5.0)), rng.normal(size=(K, d)), chol)
    ridge = 0.3 * np.arange(1, d + 1)
    return MixtureLikelihood(X, structure, K, sample_weight=weight, ridge=ridge, n_threads=n_threads), p


def log_likelihood(likelihood, p, at):
    """The penalised log-likelihood at unscaled coordinates about p."""
    K, d = p.means.shape
    a, z, e = at[:K], at[K : K + K * d].reshape(K, d), at[K + K * d :].reshape(K, -1)
    u = p.precisions_chol.reshape(K, -1)
    weights = p.weights * np.exp(a)
    moved = MixtureParameters.from_precisions_chol(
        p.covariance_type, weights / weights.sum(), p.means + z / u, (u * np.exp(e)).reshape(p.precisions_chol.shape)
    )
    statistics, objective = likelihood.evaluate(moved)
    return objective * statistics.total_weight


@pytest.mark.parametrize("structure, K, d", SHAPES)
def test_the_information_is_that_of_differences(structure, K, d):
    likelihood, p = setting(structure, K, d)
    information = likelihood.information(p)
    size, step = len(information), 1e-3
    assert size == K + 2 * K * d
    np.testing.assert_array_equal(information, information.T)
    units = step * np.eye(size)
    for i in range(size):
        for j in range(i + 1):
            corners = [
                log_likelihood(likelihood, p, s * units[i] + t * units[j]) * s * t for s in (-1, 1) for t in (-1, 1)
            ]
            expected = -sum(corners) / (4 * step**2)
            assert information[i, j] == pytest.approx(expected, rel=1e-4, abs=2e-2)


def test_it_is_asked_for_where_it_is_cheap():
    assert ObservedInformation.applies("full", 9, 1) and ObservedInformation.applies("diag", 3, 2)
    for shape in (("full", 3, 2), ("tied", 3, 1), ("diag", 40, 5), ("spherical", 3, 2)):
        assert not ObservedInformation.applies(*shape)
    likelihood, p = setting("diag", 3, 2)
    before = likelihood.n_passes
    likelihood.information(p)
    assert likelihood.n_passes - before >= 2


def test_the_same_bits_for_any_number_of_threads(always_threads):
    found = []
    for n_threads in (1, 2, 3, 7):
        likelihood, p = setting("diag", 3, 2, n=20_000, n_threads=n_threads)
        found.append(likelihood.information(p))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_directions_of_negative_curvature_lead_away():
    likelihood, p = setting("diag", 3, 2)
    statistics = likelihood.statistics(p)
    model = QuasiNewtonModel("diag", 3, likelihood.ridge)
    model.refer(p.buffer, statistics.buffer)
    for information in (-np.eye(15) * 1e-3, np.zeros((15, 15)), likelihood.information(p)):
        model.begin_with(information, 0.5)
        assert model.slope > 0
