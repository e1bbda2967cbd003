"""EM itself: the same steps as scikit-learn, acceleration, convergence that means something, weights."""

import re
import warnings
from functools import partial

import numpy as np
import pytest
import sklearn.mixture
from scipy.linalg import expm
from scipy.special import logsumexp

from gaussum import ConvergenceWarning, GaussianMixture, em, parallel
from gaussum import mixture as mixture_module
from gaussum.covariance import COVARIANCE_TYPES, second_shape
from gaussum.initialize import initial_parameters, variances
from gaussum.likelihood import MixtureLikelihood


def blobs(n, d, K, seed=0, spread=3.0):
    """Gaussians around centres some `spread` apart."""
    rng = np.random.default_rng(seed)
    centers = spread * (np.arange(K)[:, None] * (-1.0) ** np.arange(d) + 0.5 * rng.uniform(-1, 1, (K, d)))
    mix = np.eye(d) + 0.3 * rng.normal(size=(K, d, d))
    label = rng.integers(0, K, n)
    return centers[label] + np.einsum("nij,nj->ni", mix[label], rng.normal(size=(n, d)))


def start(X, covariance_type, K, seed=1):
    """Initial parameters some way off."""
    rng = np.random.default_rng(seed)
    d = X.shape[1]
    variance = X.var(axis=0)
    shape = second_shape(covariance_type, K, d)
    precisions = {
        "full": lambda: np.broadcast_to(np.diag(2 / variance), shape).copy(),
        "tied": lambda: np.diag(2 / variance),
        "diag": lambda: np.broadcast_to(2 / variance, shape).copy(),
        "spherical": lambda: np.full(shape, 2 / variance.mean()),
    }[covariance_type]()
    return {
        "weights_init": rng.dirichlet(np.full(K, 10.0)),
        "means_init": X[rng.choice(len(X), K, replace=False)],
        "precisions_init": precisions,
    }


def ours(X, K, steps=None, sample_weight=None, **params):
    """A fit; plain EM for exactly so many steps, if a number of them is given."""
    if steps is not None:
        params = {"accelerate": False, "tol": 0, "reg_covar": 0, "max_iter": steps} | params
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(K, **params).fit(X, sample_weight=sample_weight)


# Steps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n, d, K", [(500, 1, 3), (2000, 2, 4), (600, 5, 3), (900, 17, 2), (5000, 3, 1)])
@pytest.mark.parametrize("steps", [1, 5])
def test_the_steps_are_scikit_learns(covariance_type, n, d, K, steps):
    X = blobs(n, d, K)
    given = start(X, covariance_type, K)
    mixture = ours(X, K, steps, covariance_type=covariance_type, **given)
    reference = sklearn.mixture.GaussianMixture(
        K, covariance_type=covariance_type, tol=0, reg_covar=0, max_iter=steps, **given
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference.fit(X)
    if K > 1:  # a single Gaussian has converged after three
        assert mixture.n_iter_ == reference.n_iter_ == steps
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        actual, expected = getattr(mixture, name), getattr(reference, name)
        assert actual.shape == expected.shape
        np.testing.assert_allclose(
            actual, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max(), err_msg=name
        )
    if steps > 1 and K > 1:  # scikit-learn's bound is of the parameters before the last step
        assert mixture.lower_bounds_[-2] == pytest.approx(reference.lower_bound_, rel=1e-10)
    assert mixture.lower_bound_ == pytest.approx(reference.score(X), rel=1e-10)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_integer_weights_are_repetitions(covariance_type):
    X = blobs(1000, 2, 3)
    repeat = np.random.default_rng(3).integers(0, 4, len(X))
    given = start(X, covariance_type, 3)
    repeated = np.repeat(X, repeat, axis=0)
    a = ours(X, 3, 15, repeat, covariance_type=covariance_type, **given)
    b = ours(repeated, 3, 15, covariance_type=covariance_type, **given)
    for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-9, atol=1e-10, err_msg=name)
    # whole fits, whose regularisations differ a little
    a = ours(X, 3, None, repeat, covariance_type=covariance_type, **given)
    b = ours(repeated, 3, None, covariance_type=covariance_type, **given)
    assert a.lower_bound_ == pytest.approx(b.lower_bound_, abs=1e-5)
    np.testing.assert_allclose(a.means_, b.means_, atol=1e-5)


@pytest.mark.parametrize("value", [0.5, 1e20, 1e200])
def test_zero_weights_are_absent(value):
    X = blobs(300, 2, 2)
    given = start(X, "full", 2)
    weight = np.random.default_rng(0).uniform(0.5, 2, 310)
    weight[:5] = weight[-5:] = 0
    extended = np.concatenate([np.full((5, 2), value), X, np.full((5, 2), -value)])
    a = ours(extended, 2, None, weight, **given)
    b = ours(X, 2, None, weight[5:-5], **given)
    np.testing.assert_allclose(a.means_, b.means_, rtol=1e-7)
    np.testing.assert_allclose(a.covariances_, b.covariances_, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("n", [400, 40_000])
@pytest.mark.parametrize("factor", [1e-300, 1e-12, 3.0, 1e12, 1e300])
def test_a_common_factor_of_the_weights_changes_nothing(factor, n):
    X = blobs(n, 1, 2)
    weight = np.random.default_rng(0).uniform(0.5, 2, n)
    a = GaussianMixture(2, random_state=0).fit(X, sample_weight=weight)
    b = GaussianMixture(2, random_state=0).fit(X, sample_weight=factor * weight)
    np.testing.assert_allclose(a.means_, b.means_, rtol=1e-5)
    assert a.lower_bounds_[0] == pytest.approx(b.lower_bounds_[0], rel=1e-9)


# Acceleration and convergence ------------------------------------------------------------------------

STARTS = ("kmeans", "k-means++", "random_from_data")


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("seed", range(6))
def test_acceleration_never_ends_lower(covariance_type, seed):
    X = blobs(300, 1 + seed % 3, 3, seed)
    params = {"covariance_type": covariance_type, "random_state": seed, "init_params": STARTS[seed % 3]}
    fast = GaussianMixture(3, **params).fit(X)
    plain = ours(X, 3, None, accelerate=False, max_iter=20_000, **params)
    assert fast.converged_
    assert fast.lower_bounds_[-1] >= plain.lower_bounds_[-1] - 1e-7


@pytest.mark.parametrize("accelerate", [True, False])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("reg_covar", [0, 1e-6, 0.1])
def test_the_objective_never_falls(covariance_type, accelerate, reg_covar):
    X = blobs(400, 2, 3, seed=5, spread=1.0)
    mixture = ours(
        X,
        4,
        None,
        covariance_type=covariance_type,
        accelerate=accelerate,
        reg_covar=reg_covar,
        init_params="random_from_data",
        random_state=0,
        max_iter=500,
    )
    values = np.array(mixture.lower_bounds_)
    assert len(values) == mixture.n_iter_
    assert (np.diff(values) >= -1e-13 * np.abs(values[1:])).all()


@pytest.mark.parametrize("accelerate", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_convergence_is_honest(accelerate, seed):
    """After convergence, thousands of plain steps gain next to nothing."""
    X = blobs(300, 1 + seed % 2, 3, seed, spread=1.5)
    mixture = GaussianMixture(
        3,
        covariance_type=COVARIANCE_TYPES[seed % 4],
        accelerate=accelerate,
        random_state=seed,
        max_iter=20_000,
        warm_start=True,
    ).fit(X)
    assert mixture.converged_
    assert mixture.remaining_ < mixture.tol
    reached = mixture.lower_bounds_[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.set_params(accelerate=False, tol=0, max_iter=5000).fit(X)
    assert mixture.lower_bounds_[-1] - reached < 1e-7


def test_a_saddle_is_no_convergence():
    """Random responsibilities start next to a saddle, where gains are below `tol` but grow."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(-4, 1, 80), rng.normal(4, 1, 80)])
    random = GaussianMixture(2, covariance_type="tied", init_params="random", random_state=0).fit(X)
    kmeans = GaussianMixture(2, covariance_type="tied", random_state=0).fit(X)
    assert random.lower_bounds_[-1] == pytest.approx(kmeans.lower_bounds_[-1], abs=1e-6)


def _mean_log_density(X, weights, means, chol):
    """Of a mixture with upper triangular factors of the precisions, shape (K, d, d)."""
    y = np.einsum("kij,nki->nkj", chol, X[:, None] - means)
    log_det = np.log(np.diagonal(chol, axis1=1, axis2=2)).sum(axis=1)
    return logsumexp(np.log(weights) + log_det - 0.5 * (y**2).sum(axis=2), axis=1).mean()


@pytest.mark.parametrize("scale, shift, repeat", [(1.0, 0.0, 1), (1e-5, 3.0, 1), (1.0, 0.0, 3)])
@pytest.mark.parametrize("accelerate", [True, False])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_gradient_norm_is_that_of_differences(d, accelerate, scale, shift, repeat):
    X = blobs(300, d, 3, seed=d, spread=1.0)
    mixture = ours(
        np.repeat(scale * X + shift, repeat, axis=0), 3, accelerate=accelerate, reg_covar=0, max_iter=4, random_state=0
    )
    weights, means, chol = mixture.weights_, (mixture.means_ - shift) / scale, mixture.precisions_cholesky_ * scale
    mass, step, squares = mixture.predict_proba(scale * X + shift).mean(axis=0), 1e-5, 0.0

    def derivative(move):
        return (_mean_log_density(X, *move(step)) - _mean_log_density(X, *move(-step))) / (2 * step)

    def weights_moved(k, t):
        moved = weights * np.exp(t * (np.arange(3) == k))
        return moved / moved.sum(), means, chol

    def mean_moved(k, j, t):
        moved = means.copy()
        moved[k] += np.linalg.solve(chol[k].T, t * np.eye(d)[j])
        return weights, moved, chol

    def factor_moved(k, i, j, t):
        moved = chol.copy()
        moved[k] = chol[k] @ expm(t * np.outer(np.eye(d)[i], np.eye(d)[j]))
        return weights, means, moved

    for k in range(3):
        squares += derivative(partial(weights_moved, k)) ** 2 / mass[k]
        for j in range(d):
            squares += derivative(partial(mean_moved, k, j)) ** 2 / mass[k]
            for i in range(j + 1):
                squares += derivative(partial(factor_moved, k, i, j)) ** 2 / (mass[k] * (1 + (i == j)))
    assert mixture.gradient_norm_ == pytest.approx(np.sqrt(squares), rel=1e-5)


@pytest.mark.filterwarnings("ignore::gaussum.SpuriousOptimumWarning")
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_fit_ends_where_the_gradient_is_nothing(covariance_type, x):
    samples = [blobs(300, 1 + seed % 3, 3, seed, spread=1.0) for seed in range(4)] + [x[:, None]]
    for X in samples:
        mixture = GaussianMixture(5, covariance_type=covariance_type, random_state=0).fit(X)
        assert mixture.converged_ and mixture.gradient_norm_ < mixture.tol
        # one more step gains half its square, where the labels are known, up to all of it
        loose = ours(X, 5, None, covariance_type=covariance_type, random_state=0, max_iter=20, warm_start=True)
        reached, norm = loose.lower_bounds_[-1], loose.gradient_norm_
        with pytest.warns(ConvergenceWarning):
            loose.set_params(max_iter=1).fit(X)
        assert 0.4 * norm**2 - 1e-13 < loose.lower_bounds_[0] - reached < (1.1 + 10 * norm) * norm**2 + 1e-13


def passes_and_objective(X, K, covariance_type="full", seed=0, accelerate=True, target=None):
    """Of a run of EM from a k-means start, to convergence or, plain, until the objective reaches a target."""
    _, variance = variances(X)
    likelihood = MixtureLikelihood(X, covariance_type, K, ridge=1e-6 * variance, n_threads=1)
    rng, scale = np.random.default_rng(seed), np.sqrt(variance)
    first = initial_parameters(X, covariance_type, K, "kmeans", rng, scale=scale, ridge=1e-6 * variance)
    if accelerate:
        result = em.maximize(likelihood, first, tol=1e-8, max_iter=1000)
        assert result.converged and result.gradient_norm < 1e-8
        return result.n_passes, result.objectives[-1]
    statistics, objective = likelihood.evaluate(first)
    while objective < target and likelihood.n_passes < 3000:
        statistics, objective = likelihood.evaluate(likelihood.maximize(statistics))
    return likelihood.n_passes, objective


def test_passes_on_the_notebooks_data(x):
    """All that an iteration computes counted as passes; plain EM takes 14,295 and has not converged."""
    assert sum(passes_and_objective(x[:, np.newaxis], K)[0] for K in range(2, 10)) < 1500


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
@pytest.mark.parametrize("name", ["faithful", "galaxies"])
def test_passes_on_real_data(name, covariance_type, request):
    """To the same log-likelihood, a fifth of plain EM's."""
    X = request.getfixturevalue(name).reshape(-1, 2 if name == "faithful" else 1)
    fast = slow = 0
    for K in range(2, 10):
        passes, reached = passes_and_objective(X, K, covariance_type)
        fast += passes
        slow += passes_and_objective(X, K, covariance_type, accelerate=False, target=reached - 1e-9)[0]
    assert slow >= 5 * fast


def test_an_easy_fit_needs_few_passes(faithful):
    """Five to begin with, quasi-Newton steps until the gradient is small, and one to confirm."""
    assert passes_and_objective(faithful, 2)[0] <= 9


@pytest.mark.filterwarnings("ignore::gaussum.SpuriousOptimumWarning")
@pytest.mark.parametrize("tol", [1e-4, 1e-6])
@pytest.mark.parametrize("accelerate", [True, False])
def test_tol_bounds_what_remains(tol, accelerate):
    """Over random slow problems: what is still to come in 3,000 more steps."""
    remaining = []
    for seed in range(30):
        X = blobs(200, 1 + seed % 3, 3, seed, spread=1.0)
        params = {"covariance_type": COVARIANCE_TYPES[seed % 4], "random_state": seed, "init_params": STARTS[seed % 3]}
        mixture = GaussianMixture(4, tol=tol, accelerate=accelerate, max_iter=50_000, **params).fit(X)
        assert mixture.converged_
        again = ours(X, 4, None, accelerate=False, tol=0, max_iter=3000, weights_init=mixture.weights_,
                     means_init=mixture.means_, precisions_init=mixture.precisions_,
                     covariance_type=mixture.covariance_type)
        remaining.append(again.lower_bounds_[-1] - mixture.lower_bounds_[-1])
    # the others lie on plateaus
    assert np.mean(np.array(remaining) < tol) >= (0.95 if accelerate else 0.85), remaining


def test_max_iter_warns():
    X = blobs(300, 2, 3, spread=1.0)
    with pytest.warns(
        ConvergenceWarning, match="did not converge in max_iter=3 iterations.*raise max_iter or tol"
    ):
        mixture = GaussianMixture(3, max_iter=3, random_state=0).fit(X)
    assert not mixture.converged_
    assert mixture.n_iter_ == 3
    assert issubclass(ConvergenceWarning, UserWarning)


def test_tol():
    X = blobs(1000, 2, 3, spread=1.0)
    loose, tight = (
        GaussianMixture(3, tol=tol, random_state=0, accelerate=False).fit(X) for tol in (1e-3, 1e-8)
    )
    assert loose.n_iter_ < tight.n_iter_
    assert loose.converged_ and tight.converged_


def test_warm_start():
    X = blobs(500, 2, 3, spread=1.0)
    params = {"random_state": 0, "accelerate": False, "tol": 0}
    whole = ours(X, 3, None, max_iter=20, **params)
    parts = GaussianMixture(3, warm_start=True, max_iter=10, **params)
    for _ in range(2):
        with pytest.warns(ConvergenceWarning):
            parts.fit(X)
    np.testing.assert_allclose(parts.means_, whole.means_, rtol=1e-12)
    assert parts.lower_bounds_ == pytest.approx(whole.lower_bounds_[10:], rel=1e-13)
    # another shape starts afresh
    parts.set_params(n_components=2, tol=1e-8, max_iter=10_000).fit(X)
    assert parts.means_.shape == (2, 2)
    parts.fit(X[:, 0])
    assert parts.means_.shape == (2, 1)


def test_n_init_keeps_the_best():
    X = blobs(300, 2, 6, spread=1.5)
    reached = [
        GaussianMixture(6, n_init=n, init_params="random_from_data", random_state=2).fit(X).lower_bounds_[-1]
        for n in (1, 2, 4, 8)  # the first starts are the same
    ]
    assert reached == sorted(reached)
    assert reached[-1] > reached[0]


def test_the_same_seed_gives_the_same_fit():
    X = blobs(300, 2, 3)
    a, b = (GaussianMixture(3, random_state=7, n_init=2).fit(X) for _ in range(2))
    assert a.lower_bounds_ == b.lower_bounds_
    np.testing.assert_array_equal(a.covariances_, b.covariances_)
    rng = np.random.RandomState(0)
    GaussianMixture(3, random_state=rng).fit(X)
    GaussianMixture(3, random_state=np.random.default_rng(0)).fit(X)


def test_callback_and_verbose(capsys):
    X = blobs(300, 2, 3, spread=1.0)
    seen = []
    mixture = GaussianMixture(3, random_state=0, verbose=2).fit(X, callback=lambda *a: seen.append(a))
    assert [i for i, _ in seen] == list(range(1, mixture.n_iter_ + 1))
    assert [v for _, v in seen] == mixture.lower_bounds_
    out = capsys.readouterr().out
    assert "iteration 10" in out and "start 1" in out and "converged" in out
    assert re.search(r"iteration 10: -\d+\.\d+, by [+-]\d\.\de[+-]\d+, (\d\.\de[+-]\d+|\?) to come, \d+\.\d\d s", out)
    GaussianMixture(3, random_state=0, n_init=2, verbose=1).fit(X)
    out = capsys.readouterr().out
    assert "start 2" in out and "iteration 10:" not in out
    GaussianMixture(3, random_state=0).fit(X)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("error", [RuntimeError, ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_in_the_callback_comes_through(error):
    def stop(iteration, objective):
        raise error("mine")

    with pytest.raises(error, match="mine"):
        GaussianMixture(2, random_state=0).fit(blobs(100, 1, 2), callback=stop)


# Threads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("n, d, weighted", [(40_000, 2, False), (9_000, 40, True)])
def test_the_same_bits_for_any_number_of_threads(covariance_type, n, d, weighted, always_threads):
    X = blobs(n, d, 3)
    weight = np.random.default_rng(0).uniform(size=n) if weighted else None
    fits = [
        ours(X, 3, None, weight, covariance_type=covariance_type, n_threads=t, max_iter=8, random_state=0)
        for t in (1, 2, 3, 7)
    ]
    assert parallel.n_parts(n, 1e-3) >= 7
    for fit in fits[1:]:
        assert fit.lower_bounds_ == fits[0].lower_bounds_
        for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
            np.testing.assert_array_equal(getattr(fit, name), getattr(fits[0], name))
        for method in ("score_samples", "predict", "predict_proba"):
            np.testing.assert_array_equal(getattr(fit, method)(X), getattr(fits[0], method)(X))


@pytest.mark.filterwarnings("ignore::gaussum.SpuriousOptimumWarning")
@pytest.mark.parametrize("K", [5, 8])
def test_a_component_on_a_single_outlier_keeps_the_acceleration(K, x, monkeypatch):
    monkeypatch.setattr(mixture_module, "_FEWEST_STARTS", 1)
    mixture = GaussianMixture(K, init_params="kmeans", random_state=0).fit(np.append(x, 60.0))
    assert mixture.converged_ and mixture.n_iter_ < 1000
    assert (mixture.weights_ * (len(x) + 1)).min() == pytest.approx(1, abs=0.1)
