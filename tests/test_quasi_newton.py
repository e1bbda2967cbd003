"""The compiled arithmetic of quasi-Newton steps: coordinates, gradients, directions."""

import numpy as np
import pytest

from gaussum.covariance import COVARIANCE_TYPES
from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.quasi_newton import QuasiNewtonModel

SHAPES = [(1, 1), (4, 1), (1, 3), (3, 2), (2, 5), (3, 33)]


def setting(covariance_type, K, d, ridge=0.3):
    """A likelihood, parameters some way from its maximum, and the model with these for reference."""
    rng = np.random.default_rng(K + 10 * d)
    X = rng.normal(size=(300, d)) * np.linspace(1, 3, d) + rng.integers(0, 2, (300, 1))
    chol = {
        "full": np.triu(0.2 * rng.normal(size=(K, d, d)) / d, 1) + np.eye(d) * rng.uniform(0.5, 1, (K, 1, d)),
        "tied": np.triu(0.2 * rng.normal(size=(d, d)) / d, 1) + np.diag(rng.uniform(0.5, 1, d)),
        "diag": rng.uniform(0.5, 1, (K, d)),
        "spherical": rng.uniform(0.5, 1, K),
    }[covariance_type]
    parameters = MixtureParameters.from_precisions_chol(
        covariance_type, rng.dirichlet(np.full(K, 5.0)), rng.normal(size=(K, d)), chol
    )
    likelihood = MixtureLikelihood(X, covariance_type, K, ridge=np.full(d, ridge) * np.arange(1, d + 1))
    model = QuasiNewtonModel(covariance_type, K, likelihood.ridge)
    statistics, objective = likelihood.evaluate(parameters)
    smallest = model.refer(parameters.buffer, statistics.buffer)
    assert smallest == parameters.weights.min()
    return likelihood, parameters, model, objective


def proposed(likelihood, model, length):
    after = likelihood.blank_parameters()
    assert model.propose(length, after.buffer) == after.weights.min()
    return after


def derivative(likelihood, model):
    """Of the penalised log-likelihood along the direction, by differences."""
    total = len(likelihood.X)
    step = 1e-4 / max(model.longest, 1e-3)

    def value(length):
        return likelihood.evaluate(proposed(likelihood, model, length))[1] * total

    return (8 * (value(step) - value(-step)) - (value(2 * step) - value(-2 * step))) / (12 * step)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("K, d", SHAPES)
def test_slopes_are_derivatives(covariance_type, K, d):
    """At the reference, where the direction is the gradient itself, and wherever BFGS goes from there."""
    likelihood, _, model, _ = setting(covariance_type, K, d)
    for _ in range(4):
        assert model.slope > 0
        assert derivative(likelihood, model) == pytest.approx(model.slope, rel=1e-5, abs=1e-4)
        after = proposed(likelihood, model, min(1.0, 0.3 / model.longest))
        gain = model.accept(after.buffer, likelihood.evaluate(after)[0].buffer)
        assert gain == 0.5 * model.slope


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("K, d", SHAPES)
def test_points_are_mixtures(covariance_type, K, d):
    likelihood, reference, model, _ = setting(covariance_type, K, d)
    same = proposed(likelihood, model, 0.0)
    np.testing.assert_allclose(same.buffer, reference.buffer, rtol=1e-13, atol=1e-13)
    length = 0.5 / model.longest
    after = proposed(likelihood, model, length)
    assert after.weights.sum() == pytest.approx(1, rel=1e-14)
    again = MixtureParameters.from_precisions_chol(
        covariance_type, after.weights, after.means, after.precisions_chol
    )
    np.testing.assert_allclose(after.log_det, again.log_det, rtol=1e-12, atol=1e-12)
    if covariance_type in ("full", "tied"):
        assert (after.precisions_chol == np.triu(after.precisions_chol)).all()
        logs = np.log(np.diagonal(after.precisions_chol, axis1=-2, axis2=-1))
        logs = logs - np.log(np.diagonal(reference.precisions_chol, axis1=-2, axis2=-1))
    else:
        logs = np.log(after.precisions_chol / reference.precisions_chol)
    assert np.abs(logs).max() <= 0.5 + 1e-12


def test_the_first_step_is_nearly_ems():
    """The scale is the complete-data information: from near the maximum of one Gaussian, one step reaches it."""
    X = np.random.default_rng(0).normal(size=(500, 2))
    for covariance_type in COVARIANCE_TYPES:
        likelihood = MixtureLikelihood(X, covariance_type, 1)
        chol = {"full": np.eye(2)[None], "tied": np.eye(2), "diag": np.ones((1, 2)), "spherical": np.ones(1)}
        near = MixtureParameters.from_precisions_chol(
            covariance_type, np.ones(1), np.full((1, 2), 0.01), 1.01 * chol[covariance_type]
        )
        statistics, before = likelihood.evaluate(near)
        best = likelihood.evaluate(likelihood.maximize(statistics))[1]
        model = QuasiNewtonModel(covariance_type, 1, likelihood.ridge)
        model.refer(near.buffer, statistics.buffer)
        reached = likelihood.evaluate(proposed(likelihood, model, 1.0))[1]
        assert best - reached < 0.05 * (best - before)


def test_buffers_of_another_shape_are_refused():
    likelihood, parameters, model, _ = setting("full", 3, 2)
    statistics = likelihood.statistics(parameters)
    for call in (
        lambda: model.refer(parameters.buffer[1:], statistics.buffer),
        lambda: model.refer(parameters.buffer, statistics.buffer[1:]),
        lambda: model.accept(parameters.buffer, statistics.buffer[1:]),
        lambda: model.propose(1.0, parameters.buffer[1:]),
    ):
        with pytest.raises(ValueError, match="do not have the shape"):
            call()
