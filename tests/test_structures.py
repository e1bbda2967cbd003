"""The covariance structures of Celeux and Govaert: M-steps against slow twins, properties, and mclust's fits."""

import csv
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import ortho_group
from structure_twins import covariances_from

from gaussum import ConvergenceWarning, GaussianMixture, select_mixture, starts
from gaussum.cli import main
from gaussum.covariance import MCLUST_NAMES, kernel_type, letters, n_parameters, second_shape
from gaussum.drawing import covariance_matrices
from gaussum.likelihood import MixtureLikelihood
from gaussum.mixture_pass import MixturePass
from gaussum.orientation import common_orientation, squares
from gaussum.output import variances
from gaussum.parameters import MixtureParameters
from gaussum.samples import Samples
from gaussum.search import ConstrainedShortEM
from gaussum.statistics import SufficientStatistics
from gaussum.structures import structured_m_step

DATA = Path(__file__).parent / "data"
PLAIN = {"VVV": "full", "EEE": "tied", "VVI": "diag", "VII": "spherical"}
CONSTRAINED = [name for name in MCLUST_NAMES if name not in PLAIN]
ORIENTED = [name for name in MCLUST_NAMES if name[2] != "I" or name[1] == "I"]


def samples(n=300, d=2, seed=0):
    """Three Gaussians of unlike volumes, shapes and orientations, some of them overlapping."""
    rng = np.random.default_rng(seed)
    mixes = rng.normal(size=(3, d, d)) * np.array([0.4, 0.8, 1.2])[:, np.newaxis, np.newaxis]
    centers = 2.5 * rng.normal(size=(3, d))
    label = rng.integers(0, 3, n)
    return centers[label] + np.einsum("nij,nj->ni", mixes[label] + 0.3 * np.eye(d), rng.normal(size=(n, d)))


def fitted(name, X, K=3, sample_weight=None, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        params = {"random_state": 0} | params
        return GaussianMixture(K, covariance_type=name, **params).fit(X, sample_weight=sample_weight)


def falls(mixture):
    """The largest fall of the objective, relative to its size."""
    values = np.array(mixture.lower_bounds_)
    return -(np.diff(values) / np.maximum(1.0, np.abs(values[1:]))).min(initial=0.0)


# M-steps -------------------------------------------------------------------------------------------------------------


def scatters(K, d, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(K, d, d)) * np.exp(spread * rng.normal(size=(K, 1, d)))
    masses = rng.uniform(5, 60, K)
    return masses, masses[:, np.newaxis, np.newaxis] * np.swapaxes(root, 1, 2) @ root


def statistics_of(name, masses, W, seed=0):
    """Statistics that have these scatters, about origins that are not the means."""
    rng = np.random.default_rng(seed)
    K, d = W.shape[:2]
    shift = rng.normal(size=(K, d))
    W = W + masses[:, np.newaxis, np.newaxis] * shift[:, :, np.newaxis] * shift[:, np.newaxis]
    statistics = SufficientStatistics(kernel_type(name), rng.normal(size=(K, d)))
    statistics.buffer[1] = masses.sum()
    statistics.nk[:], statistics.first[:] = masses, masses[:, np.newaxis] * shift
    diagonals = np.diagonal(W, axis1=1, axis2=2)
    # of matrices, upper triangles count
    statistics.second[...] = {
        "full": lambda: np.triu(W) + np.tril(np.full(W.shape, 1e3), -1),
        "diag": lambda: diagonals,
        "spherical": lambda: diagonals.sum(axis=1),
    }[kernel_type(name)]()
    return statistics


def matrices(parameters):
    c, d = parameters.covariances, parameters.n_features
    if c.ndim == 3:
        return c
    return (c[:, np.newaxis] if c.ndim == 1 else c)[:, np.newaxis] * np.eye(d)


def expectation(sigma, masses, W):
    """sum_k n_k log |Sigma_k| + tr(W_k Sigma_k^-1), what an M-step minimises."""
    return masses @ np.linalg.slogdet(sigma)[1] + np.einsum("kij,kji->", W, np.linalg.inv(sigma))


def slow_minimum(name, masses, W, starts=4, seed=0):
    K, d = W.shape[:2]
    size = n_parameters(name, K, d) - K * d - K + 1
    rng = np.random.default_rng(seed)
    scale = np.log(np.einsum("kjj->", W) / masses.sum() / d)

    def objective(x):
        return expectation(covariances_from(x, name, K, d), masses, W)

    ends = []
    for _ in range(starts):
        x = rng.normal(size=size)
        # volumes are read from the end
        x[size - (1 if name[0] == "E" else K) :] = scale
        ends.append(minimize(objective, x, method="BFGS", options={"gtol": 1e-7, "maxiter": 400}).fun)
    return min(ends)


@pytest.mark.parametrize("name", CONSTRAINED)
@pytest.mark.parametrize("K, d, seed", [(2, 2, 0), (3, 2, 1), (2, 3, 2)])
def test_m_steps_are_minima(name, K, d, seed):
    masses, W = scatters(K, d, seed)
    ridge = np.arange(1.0, d + 1)
    parameters = structured_m_step(name, K, d, ridge).maximize(statistics_of(name, masses, W))
    sigma, W = matrices(parameters), W + np.diag(ridge)
    ours, slow = expectation(sigma, masses, W), slow_minimum(name, masses, W)
    assert ours <= slow + 1e-8 * abs(slow)
    assert ours >= slow - 1e-3 * abs(slow)  # BFGS by differences is no more exact
    np.testing.assert_allclose(parameters.weights, masses / masses.sum(), rtol=1e-14)
    np.testing.assert_allclose(-2 * parameters.log_det, np.linalg.slogdet(sigma)[1], rtol=1e-10, atol=1e-10)
    if kernel_type(name) == "full":
        assert (np.tril(parameters.precisions_chol, -1) == 0).all()
        assert (np.diagonal(parameters.precisions_chol, axis1=1, axis2=2) > 0).all()


def parts(sigma):
    """Volumes, sorted shapes, and covariances of volume 1."""
    d = sigma.shape[-1]
    volumes = np.exp(np.linalg.slogdet(sigma)[1] / d)
    unit = sigma / volumes[:, np.newaxis, np.newaxis]
    return volumes, np.linalg.eigvalsh(unit), unit


@pytest.mark.parametrize("name", MCLUST_NAMES)
@pytest.mark.parametrize("d", [1, 2, 4])
def test_covariances_have_their_structure(name, d):
    mixture = fitted(name, samples(d=d), max_iter=30)
    assert mixture.covariances_.shape == second_shape(kernel_type(name), 3, d)
    sigma = covariance_matrices(mixture)
    volumes, shapes, unit = parts(sigma)
    if name[0] == "E":
        np.testing.assert_allclose(volumes, volumes[0], rtol=1e-10)
    if name[1] != "V":
        np.testing.assert_allclose(shapes, np.ones_like(shapes) if name[1] == "I" else shapes[[0] * 3], rtol=1e-8)
    if name[2] == "I":
        np.testing.assert_array_equal(sigma * (1 - np.eye(d)), 0)
    if name[2] == "E":
        np.testing.assert_allclose(unit[0] @ unit[1], unit[1] @ unit[0], atol=1e-8)
    np.testing.assert_allclose(variances(mixture), np.diagonal(sigma, axis1=1, axis2=2), rtol=1e-14)


def browne_mcnicholas(factors, masses, one_volume, D, steps=2000):
    """The majorise-minimise algorithm: linear in D, minimised by a singular value decomposition."""
    W = np.swapaxes(factors, 1, 2) @ factors
    largest = np.linalg.eigvalsh(W)[:, -1]
    for _ in range(steps):
        a = squares(factors, D)
        m = np.exp(np.log(a).mean(axis=1)) if one_volume else masses
        inverse = m[:, np.newaxis] / a
        slope = np.einsum("kj,ij,kil->jl", inverse, D, W) - np.einsum("k,kj,lj->jl", largest, inverse, D)
        left, _, right = np.linalg.svd(slope)
        D = -(left @ right).T
    return D


@pytest.mark.parametrize("one_volume", [True, False])
@pytest.mark.parametrize("d, K, seed", [(2, 2, 0), (3, 3, 1), (5, 4, 2), (5, 1, 3)])
def test_one_orientation_is_browne_and_mcnicholass(one_volume, d, K, seed):
    masses, W = scatters(K, d, seed, spread=0.4)
    # nearly common axes: otherwise there are several minima
    axes, scales = ortho_group.rvs(d, random_state=seed + 1), np.random.default_rng(seed).lognormal(3, 1.5, (K, d))
    W = axes * (masses[:, np.newaxis] * scales)[:, np.newaxis] @ axes.T + 0.1 * W
    factors = np.swapaxes(np.linalg.cholesky(W), 1, 2)

    def objective(D):
        a = squares(factors, D)
        if one_volume:
            return d * masses.sum() * np.log(np.exp(np.log(a).mean(axis=1)).sum())
        return masses @ np.log(a).sum(axis=1)

    start = ortho_group.rvs(d, random_state=seed)
    ours = common_orientation(factors, masses, one_volume, start)
    np.testing.assert_allclose(ours.T @ ours, np.eye(d), atol=1e-13)
    assert objective(ours) <= objective(start)
    # theirs is still on its way after thousands of steps
    theirs = objective(browne_mcnicholas(factors, masses, one_volume, start))
    assert theirs - 1e-2 * masses.sum() <= objective(ours) <= theirs + 1e-9 * masses.sum()
    assert objective(common_orientation(factors, masses, one_volume)) <= theirs + 1e-9 * masses.sum()


def test_axes_in_common_are_found():
    rng = np.random.default_rng(0)
    D = ortho_group.rvs(6, random_state=0)
    scales = np.exp(rng.normal(size=(3, 6)) * 4)
    factors = np.sqrt(scales)[:, :, np.newaxis] * D.T
    for one_volume in (True, False):
        found = common_orientation(factors, np.ones(3), one_volume, np.eye(6))
        np.testing.assert_allclose(np.sort(np.abs(found.T @ D), axis=1)[:, -1], 1, rtol=1e-10)


@pytest.mark.parametrize("name", ["VEI", "VEE", "VEV"])
def test_volumes_of_scatters_of_the_most_unlike_shapes(name):
    # where alternating between volumes and shapes would take thousands of steps
    K, d = 4, 4
    masses = np.array([1.0, 10.0, 100.0, 1e4])
    W = masses[:, np.newaxis, np.newaxis] * np.array([np.diag(1e6 ** (np.arange(d) == k)) for k in range(K)])
    parameters = structured_m_step(name, K, d, np.zeros(d)).maximize(statistics_of(name, masses, W))
    sigma = matrices(parameters)
    volumes, _, _ = parts(sigma)
    # at the optimum every component has tr(W_k Sigma_k^-1) = d n_k
    whole = np.einsum("kij,kji->k", W, np.linalg.inv(sigma)) / d
    np.testing.assert_allclose(whole, masses, rtol=1e-9)


@pytest.mark.parametrize("name", CONSTRAINED)
def test_a_component_without_samples(name):
    masses, W = scatters(3, 2)
    masses[1], W[1] = 0, 0
    parameters = structured_m_step(name, 3, 2, np.full(2, 0.1)).maximize(statistics_of(name, masses, W))
    sound = np.isfinite(parameters.log_det)
    assert sound.tolist() == [True, name[0] == "E", True]
    assert np.isfinite(parameters.precisions_chol[sound]).all()


@pytest.mark.parametrize("name", CONSTRAINED)
def test_singular_scatters_are_told(name):
    m_step = structured_m_step(name, 2, 2, np.zeros(2))
    parameters = m_step.maximize(statistics_of(name, np.array([3.0, 4.0]), np.zeros((2, 2, 2))))
    assert np.isnan(parameters.log_det).all() or (matrices(parameters) < 1e-12).all()


# Fits ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reg_covar", [0, 1e-6, 0.1])
@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("name", MCLUST_NAMES)
def test_the_objective_never_falls(name, d, reg_covar):
    X = samples(200, d)
    weight = np.random.default_rng(1).uniform(0.2, 3, len(X))
    options = {"init_params": "random_from_data", "max_iter": 300, "accelerate": False, "reg_covar": reg_covar}
    assert falls(fitted(name, X, 4, weight, **options)) <= 1e-13


@pytest.mark.parametrize("name", CONSTRAINED)
def test_a_start_outside_the_structure(name):
    """Precisions that lack the structure are brought into it before the first iteration."""
    X, K = samples(), 3
    free = fitted(kernel_type(name), X)
    mixture = fitted(name, X, means_init=free.means_, precisions_init=free.precisions_, max_iter=50)
    assert falls(mixture) <= 1e-13
    parameters = MixtureParameters.from_precisions_chol(
        kernel_type(name), free.weights_, free.means_, free.precisions_cholesky_
    )
    m_step = structured_m_step(name, K, 2, np.zeros(2))
    inside = m_step.project(parameters)
    np.testing.assert_allclose(
        m_step.project(inside).precisions_chol, inside.precisions_chol, rtol=1e-7, atol=1e-9
    )
    np.testing.assert_array_equal(inside.means, free.means_)


@pytest.mark.parametrize("name", MCLUST_NAMES)
def test_one_component(name):
    """With a single component volumes, shapes and orientations have nothing to differ from."""
    X = samples(d=3)
    same = {"I": "VII" if name[1] == "I" else "VVI"}.get(name[2], "VVV")
    a, b = fitted(name, X, 1), fitted(same, X, 1)
    assert a.lower_bound_ == pytest.approx(b.lower_bound_, rel=1e-12)
    np.testing.assert_allclose(a.score_samples(X), b.score_samples(X), rtol=1e-9)


@pytest.mark.parametrize("name, plain", [*PLAIN.items(), ("V", "full"), ("E", "tied")])
def test_four_structures_are_the_plain_ones(name, plain):
    X = samples(d=1 if len(name) == 1 else 3)
    a, b = fitted(name, X, n_init=3), fitted(plain, X, n_init=3)
    for attribute in ("weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bounds_"):
        np.testing.assert_array_equal(getattr(a, attribute), getattr(b, attribute))
    assert a.n_parameters_ == b.n_parameters_ and a.bic(X) == b.bic(X)


@pytest.mark.parametrize("name", MCLUST_NAMES)
def test_one_feature(name):
    X, start = samples(d=1), {"means_init": [[-2.0], [1.0], [3.0]]}
    a, b = fitted(name, X, **start), fitted(name[0], X, **start)
    assert a.n_parameters_ == b.n_parameters_
    # a tied variance has its ridge once
    assert a.lower_bound_ == pytest.approx(b.lower_bound_, abs=1e-5)


@pytest.mark.parametrize("scale, offset", [(1e-6, 0), (1e6, 1e3), (3.0, 1e8)])
@pytest.mark.parametrize("name", CONSTRAINED)
def test_scaling_and_shifting(name, scale, offset):
    X = np.round(samples() * 1024) / 1024
    a, b = (fitted(name, data, tol=1e-12, max_iter=20_000) for data in (X, scale * (X + offset)))
    np.testing.assert_allclose(b.score_samples(scale * (X + offset)), a.score_samples(X) - 2 * np.log(scale), atol=1e-5)


@pytest.mark.parametrize("name", ORIENTED)
def test_rotation(name):
    X, turn = samples(d=3), ortho_group.rvs(3, random_state=1)
    options = {"reg_covar": 0, "weights_init": np.full(3, 1 / 3), "tol": 1e-12}
    precisions = 2.0 if name == "EII" or name == "VII" else 2 * np.eye(3)
    precisions = np.broadcast_to(precisions, second_shape(kernel_type(name), 3, 3))
    a = fitted(name, X, means_init=X[:3], precisions_init=precisions, **options)
    b = fitted(name, X @ turn, means_init=X[:3] @ turn, precisions_init=precisions, **options)
    np.testing.assert_allclose(b.score_samples(X @ turn), a.score_samples(X), atol=1e-5)


@pytest.mark.parametrize("name", CONSTRAINED)
def test_integer_weights_are_repetitions(name):
    X = samples()
    repeat = np.random.default_rng(3).integers(0, 4, len(X))
    options = {"means_init": X[:3], "reg_covar": 0, "max_iter": 20, "tol": 0}
    shape = second_shape(kernel_type(name), 3, 2)
    options["precisions_init"] = np.broadcast_to(np.eye(2) if len(shape) == 3 else 1.0, shape)
    options["weights_init"] = [0.2, 0.3, 0.5]
    a, b = fitted(name, X, 3, repeat, **options), fitted(name, np.repeat(X, repeat, axis=0), **options)
    np.testing.assert_allclose(a.covariances_, b.covariances_, rtol=1e-8, atol=1e-10)
    assert a.lower_bound_ == pytest.approx(b.lower_bound_, rel=1e-11)


@pytest.mark.parametrize("name", CONSTRAINED)
def test_the_same_bits_for_any_number_of_threads(name, always_threads):
    X = samples(5000, 3)
    results = [fitted(name, X, n_init=2, max_iter=15, n_threads=t) for t in (1, 2, 3, 7)]
    for other in results[1:]:
        for attribute in ("weights_", "means_", "precisions_cholesky_", "covariances_"):
            np.testing.assert_array_equal(getattr(results[0], attribute), getattr(other, attribute))


@pytest.mark.parametrize("name", CONSTRAINED)
def test_what_a_fitted_mixture_can_do(name):
    X = samples(400)
    mixture = fitted(name, X, max_iter=200)
    np.testing.assert_allclose(mixture.predict_proba(X).sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(mixture.predict_proba(X).argmax(axis=1), mixture.predict(X))
    drawn, labels = mixture.sample(40_000, random_state=0)
    sigma = covariance_matrices(mixture)
    for k in range(3):
        within = np.cov(drawn[labels == k].T)
        np.testing.assert_allclose(within, sigma[k], atol=0.1 * np.trace(sigma[k]))
    p = mixture.n_parameters_
    assert mixture.bic(X) == pytest.approx(p * np.log(len(X)) - 2 * mixture.score_samples(X).sum(), rel=1e-12)
    assert mixture.icl(X) >= mixture.bic(X)
    again = pickle.loads(pickle.dumps(mixture))
    np.testing.assert_array_equal(again.score_samples(X), mixture.score_samples(X))
    # what was fitted counts until the next fit, whatever the parameter says
    again.set_params(covariance_type="full")
    np.testing.assert_array_equal(again.score_samples(X), mixture.score_samples(X))
    assert again.bic(X) == mixture.bic(X)


@pytest.mark.parametrize("name", CONSTRAINED)
def test_going_on(name):
    X = samples()
    mixture = fitted(name, X, max_iter=5, warm_start=True)
    before = mixture.lower_bounds_[-1]
    mixture.set_params(max_iter=2000).fit(X)
    assert mixture.lower_bounds_[0] >= before - 1e-12
    assert mixture.converged_ and falls(mixture) <= 1e-13
    n_iter = mixture.fit(X).n_iter_
    assert n_iter <= 6


@pytest.mark.parametrize("name", CONSTRAINED)
def test_float32(name):
    X = samples(2000).astype(np.float32)
    a, b = fitted(name, X), fitted(name, X.astype(np.float64))
    assert a.lower_bound_ == pytest.approx(b.lower_bound_, abs=1e-6)


def test_names():
    assert len(MCLUST_NAMES) == 14 == len(set(MCLUST_NAMES))
    assert {letters(name) for name in ("full", "tied", "diag", "spherical", "E", "V")} == set(PLAIN)
    for name in ("vev", "EIV", "VVE ", "X", None):
        with pytest.raises((ValueError, TypeError), match="covariance_type"):
            GaussianMixture(2, covariance_type=name).fit(samples())
    for name in ("E", "V"):
        with pytest.raises(ValueError, match="covariance_type is '.', for one feature, but X has 2 features"):
            GaussianMixture(2, covariance_type=name).fit(samples())


def test_penalties_are_the_kernels():
    X = samples()
    likelihood = MixtureLikelihood(X, "full", 3, ridge=np.ones(2), m_step=structured_m_step("VEV", 3, 2, np.ones(2)))
    plain = MixtureLikelihood(X, "full", 3, ridge=np.ones(2))
    mixture = fitted("VEV", X)
    parameters = MixtureParameters.from_precisions_chol(
        "full", mixture.weights_, mixture.means_, mixture.precisions_cholesky_
    )
    assert likelihood.evaluate(parameters)[1] == plain.evaluate(parameters)[1]


def test_selection_among_structures(faithful):
    result = select_mixture(faithful, [2, 3], ["EEE", "VEE", "VVV", "EII"], n_init=3, random_state=0)
    assert (result.best_.n_components, result.best_.covariance_type) == (3, "EEE")  # as mclust
    assert result.best_.bic(faithful) == pytest.approx(2314.296, abs=0.1)
    assert len(result.table) == 8


def test_command_line(tmp_path, capsys):
    np.savetxt(tmp_path / "x.csv", samples(100), delimiter=",", header="a,b", comments="")
    for command in ("fit -k 2 --covariance-type VEV", "select -k 1-2 --covariance-types VEV,EII,EVE"):
        name, *options = command.split()
        assert main([name, str(tmp_path / "x.csv"), *options, "--n-init", "2"]) == 0
        assert "VEV" in capsys.readouterr().out


# Starts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONSTRAINED)
def test_short_runs_under_a_constraint_are_em(name):
    X, ridge = samples(), 1e-3 * np.ones(2)
    m_step = structured_m_step(name, 3, 2, ridge)
    kind = kernel_type(name)
    likelihood = MixtureLikelihood(X, kind, 3, ridge=ridge, n_threads=1, m_step=m_step)
    expected = m_step.project(fitted(name, X, max_iter=1, init_params="kmeans")._parameters())
    mixture_pass = MixturePass(Samples(X), kind, 3, None, 1, ridge)
    short = ConstrainedShortEM(mixture_pass, m_step, np.empty(mixture_pass.scratch_size))
    buffer = expected.buffer.copy()
    reached = short.run(buffer, 6)
    for _ in range(6):
        expected = likelihood.maximize(likelihood.evaluate(expected)[0])
    np.testing.assert_allclose(buffer, expected.buffer, rtol=1e-9, atol=1e-12)
    assert reached == pytest.approx(likelihood.evaluate(expected)[1], rel=1e-12)
    assert short.n_passes == 7
    # no hope of so much
    assert short.run(buffer, 30, reached + 10) < reached + 10 and short.n_passes < 15
    assert short.run(np.full_like(buffer, np.nan), 5) == -np.inf


@pytest.mark.parametrize("name", ["VEI", "VEE", "VEV"])
def test_single_steps_rise_to_the_same_place(name):
    X, ridge = samples(), 1e-3 * np.ones(2)
    m_step = structured_m_step(name, 3, 2, ridge)
    likelihood = MixtureLikelihood(X, kernel_type(name), 3, ridge=ridge, n_threads=1, m_step=m_step)
    rough = m_step.in_single_steps()
    begin = m_step.project(fitted(name, X, max_iter=1, init_params="kmeans")._parameters())
    reached = {}
    for step in (m_step, rough):
        parameters, values = begin, []
        for _ in range(300):
            statistics, value = likelihood.evaluate(parameters)
            values.append(value)
            parameters = step.maximize(statistics)
        assert np.diff(values).min() > -1e-13
        reached[step] = values[-1]
    assert reached[rough] == pytest.approx(reached[m_step], abs=1e-6)


@pytest.mark.parametrize("method", ["auto", "small-em"])
def test_starts_are_searched_for_under_the_constraint(method, monkeypatch):
    """From them EM does better than from the best under the plain model of the same kernels."""
    X = samples(400, 3, seed=5)
    names = ("VEE", "EVE", "EEV", "EVV", "VEV")

    def reached():
        return np.array([[fitted(name, X, 5, init_params=method, random_state=s).score(X) for s in range(3)]
                         for name in names])

    searched = reached()
    prepare = starts.prepare
    monkeypatch.setattr(starts, "prepare", lambda *args, **options: prepare(*args, **options | {"m_step": None}))
    plain = reached()
    assert searched.mean() > plain.mean() and (searched >= plain - 1e-3).mean() >= 0.8


def test_costly_constraints_are_left_to_the_plain_search(monkeypatch):
    monkeypatch.setattr(starts, "ConstrainedSearch", None)
    X = np.random.default_rng(0).normal(size=(200, 24))
    ridge = 1e-6 * np.ones(24)
    m_step = structured_m_step("EVE", 4, 24, ridge)
    options = {"scale": np.ones(24), "ridge": ridge, "m_step": m_step}
    start = starts.prepare(X, "full", 4, "auto", 1, np.random.default_rng(0), **options)[0]()
    assert np.isfinite(m_step.project(start).buffer).all()


@pytest.mark.parametrize("name", CONSTRAINED)
def test_nothing_that_is_tried_warns(name):
    rng = np.random.default_rng(0)
    odd = [(np.repeat(rng.normal(size=(4, 2)), 10, axis=0), 4), (rng.normal(size=(6, 6)), 6)]
    for X, K in odd:
        ridge = 1e-6 * X.var(axis=0)
        m_step = structured_m_step(name, K, X.shape[1], ridge)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for method in ("auto", "small-em"):
                made = starts.prepare(
                    X, kernel_type(name), K, method, 3, rng, scale=X.std(axis=0), ridge=ridge, m_step=m_step
                )
                assert all(np.isfinite(start().buffer).all() for start in made)


# mclust --------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::gaussum.SpuriousOptimumWarning")
@pytest.mark.parametrize("n_init, seed, at_least", [(1, 0, 115), (5, 1, 120)])
def test_as_good_as_mclust(faithful, galaxies, n_init, seed, at_least):
    """On real data, for every structure and one to six components."""
    data = {"faithful": faithful, "galaxies": galaxies}
    data["diabetes"] = np.genfromtxt(DATA / "diabetes.csv", delimiter=",", skip_header=1)
    short, higher, spurious, total = [], 0, 0, 0
    with open(DATA / "mclust_loglik.csv") as file:
        for row in csv.DictReader(file):
            X, K, theirs = data[row["set"]], int(row["G"]), float(row["loglik"])
            mixture = GaussianMixture(K, covariance_type=row["model"], n_init=n_init, random_state=seed).fit(X)
            assert mixture.n_parameters_ == int(row["df"]), row
            assert mixture.converged_ and falls(mixture) <= 1e-12, row
            ours = mixture.score_samples(X).sum()
            trusted = not mixture.spurious_
            total, spurious = total + 1, spurious + (not trusted)
            higher += trusted and ours > theirs + 1e-6 * abs(theirs)
            if ours < theirs - 1e-3 * abs(theirs):
                short.append((row["set"], row["model"], K, ours, theirs))
            if K == 1:
                assert ours == pytest.approx(theirs, rel=1e-6), row
    assert total == 180
    assert len(short) <= 0.03 * total, short
    assert higher >= at_least and spurious <= 5
