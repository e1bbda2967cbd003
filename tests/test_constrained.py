"""Acceleration under M-steps of their own: constrained covariances and priors."""

import numpy as np
import pytest

from gaussum import em
from gaussum.constrained import moved
from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.quasi_newton import QuasiNewtonModel


def blobs(n, d, K, seed=0, spread=3.0):
    """Gaussians around centres some `spread` apart."""
    rng = np.random.default_rng(seed)
    centers = spread * (np.arange(K)[:, None] * (-1.0) ** np.arange(d) + 0.5 * rng.uniform(-1, 1, (K, d)))
    mix = np.eye(d) + 0.3 * rng.normal(size=(K, d, d))
    label = rng.integers(0, K, n)
    return centers[label] + np.einsum("nij,nj->ni", mix[label], rng.normal(size=(n, d)))



class MStep:
    """The plain M-step on full statistics, with a prior scatter; what follows constrains the covariances."""

    def __init__(self, scatter=1e-6, mass=0.0):
        self.scatter, self.mass = scatter, mass

    def penalty(self, parameters):
        upper = parameters.precisions_chol
        return 0.5 * self.scatter * (upper**2).sum() - self.mass * parameters.log_det.sum()

    def maximize(self, statistics):
        nk = statistics.nk
        shift = statistics.first / nk[:, np.newaxis]
        scatter = np.triu(statistics.second) + np.swapaxes(np.triu(statistics.second, 1), 1, 2)
        scatter -= nk[:, np.newaxis, np.newaxis] * shift[:, :, np.newaxis] * shift[:, np.newaxis]
        covariances = self.covariances(nk, scatter + self.scatter * np.eye(shift.shape[1]))
        reverse = np.linalg.cholesky(np.linalg.inv(covariances)[:, ::-1, ::-1])
        upper = np.ascontiguousarray(reverse[:, ::-1, ::-1])
        return MixtureParameters.from_precisions_chol("full", nk / nk.sum(), statistics.origins + shift, upper)

    def covariances(self, nk, scatter):
        return scatter / (nk + self.mass)[:, np.newaxis, np.newaxis]


class EEI(MStep):
    """All covariances the same, along axes."""

    def covariances(self, nk, scatter):
        return np.broadcast_to(np.diag(np.einsum("kjj->j", scatter) / nk.sum()), scatter.shape)


class Unit(MStep):
    """Spheres of the same given volume."""

    def covariances(self, nk, scatter):
        return np.broadcast_to(np.eye(scatter.shape[1]), scatter.shape)


class EEV(MStep):
    """The same shape and volume, turned."""

    def covariances(self, nk, scatter):
        values, vectors = np.linalg.eigh(scatter)
        return vectors * (values.sum(axis=0) / nk.sum()) @ np.swapaxes(vectors, 1, 2)


STEPS = {"plain": MStep(), "prior": MStep(20.0, 5.0), "EEI": EEI(), "unit": Unit(), "EEV": EEV()}


def setting(name, K=3, d=2, seed=0):
    X = blobs(400, d, 3, seed, spread=1.0)
    likelihood = MixtureLikelihood(X, "full", K, n_threads=1, m_step=STEPS[name])
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, K, len(X)) if seed % 2 else np.argsort(np.argsort(X[:, 0])) * K // len(X)
    return likelihood, likelihood.maximize(likelihood.partition_statistics(np.tile(X.mean(axis=0), (K, 1)), labels))


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_fewer_passes(name, d):
    fast = slow = 0
    for seed in range(4):
        likelihood, first = setting(name, d=d, seed=seed)
        result = em.maximize(likelihood, first, tol=1e-8, max_iter=1000)
        assert result.converged and result.gradient_norm < 1e-7
        values = np.array(result.objectives)
        assert (np.diff(values) >= -1e-13 * np.abs(values[1:])).all()
        plain = em.maximize(likelihood, first, tol=0, max_iter=5000, accelerate=False)
        if values[-1] < plain.objectives[-1] - 1e-6:
            continue  # another optimum
        passes = np.flatnonzero(np.array(plain.objectives) >= values[-1] - 1e-9)
        fast, slow = fast + result.n_passes, slow + (passes[0] if len(passes) else 5000)
    # with a prior, components vanish where it alone holds them, and slowly
    assert slow >= (1.2 if name == "prior" else 2.0) * fast > 0


@pytest.mark.parametrize("name", STEPS)
def test_the_constraint_holds(name):
    likelihood, first = setting(name)
    result = em.maximize(likelihood, first, tol=1e-8, max_iter=1000)
    covariances = result.parameters.covariances
    if name in ("EEI", "unit"):
        np.testing.assert_allclose(covariances, covariances[:1].repeat(3, axis=0), rtol=1e-12, atol=1e-12)
        assert np.abs(covariances[:, 0, 1]).max() < 1e-12
    if name == "EEV":
        values = np.linalg.eigvalsh(covariances)
        np.testing.assert_allclose(values, values[:1].repeat(3, axis=0), rtol=1e-9)
    # one more step of EM leads nowhere
    after = likelihood.maximize(likelihood.statistics(result.parameters))
    held = result.parameters.weights > 1e-6
    for attribute in ("weights", "means", "precisions_chol"):
        expected = getattr(result.parameters, attribute)[held]
        np.testing.assert_allclose(getattr(after, attribute)[held], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_moved_statistics_give_what_was_asked_for(structure):
    """Under the plain M-step: exactly the point; and from the image to itself, the statistics."""
    X = blobs(300, 3, 2, seed=1)
    likelihood = MixtureLikelihood(X, structure, 2, n_threads=1)
    labels = (np.arange(300) % 2).astype(np.intp)
    first = likelihood.maximize(likelihood.partition_statistics(np.tile(X.mean(axis=0), (2, 1)), labels))
    statistics = likelihood.statistics(first)
    image = likelihood.maximize(statistics)
    same = likelihood.maximize(moved(statistics, image, image))
    np.testing.assert_allclose(same.buffer, image.buffer, rtol=1e-10, atol=1e-12)
    model = QuasiNewtonModel(structure, 2, likelihood.ridge)
    model.refer(first.buffer, statistics.buffer, image.buffer)
    point = likelihood.blank_parameters()
    model.propose(0.7, point.buffer)
    if structure != "tied":  # where the scatter between the means moves as well
        reached = likelihood.maximize(moved(statistics, image, point))
        np.testing.assert_allclose(reached.buffer, point.buffer, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
def test_near_the_optimum_the_way_to_the_image_is_the_gradient(structure):
    X = blobs(300, 3, 2, seed=1, spread=1.0)
    likelihood = MixtureLikelihood(X, structure, 2, n_threads=1)
    labels = (X[:, 0] > X[:, 0].mean()).astype(np.intp)
    first = likelihood.maximize(likelihood.partition_statistics(np.tile(X.mean(axis=0), (2, 1)), labels))
    end = em.maximize(likelihood, first, tol=1e-3, max_iter=15, accelerate=False).parameters
    statistics = likelihood.statistics(end)
    way, gradient = (QuasiNewtonModel(structure, 2, likelihood.ridge) for _ in range(2))
    way.refer(end.buffer, statistics.buffer, likelihood.maximize(statistics).buffer)
    gradient.refer(end.buffer, statistics.buffer)
    assert 1e-9 < gradient.gradient_norm < 2e-2
    assert way.gradient_norm == pytest.approx(gradient.gradient_norm, rel=2e-2)
    points = [likelihood.blank_parameters() for _ in range(2)]
    for model, point in zip((way, gradient), points):
        model.propose(1.0, point.buffer)
    move = [point.buffer - end.buffer for point in points]
    assert np.abs(move[0] - move[1]).max() < 5e-2 * np.abs(move[1]).max()
