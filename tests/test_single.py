"""Fits of float32 samples: passes in single precision, what they may cost in accuracy, and when they are left out."""

import warnings

import numpy as np
import pytest

from gaussum import ConvergenceWarning, GaussianMixture, parallel
from gaussum.covariance import COVARIANCE_TYPES
from gaussum.likelihood import MixtureLikelihood
from gaussum.mixture_pass import MixturePass
from gaussum.parameters import MixtureParameters
from gaussum.samples import Samples
from gaussum.single_pass import SinglePass
from gaussum.statistics import SufficientStatistics

structures = pytest.mark.parametrize("structure", COVARIANCE_TYPES)
FLT_MAX = np.finfo(np.float32).max


def parameters(structure, d, K, rng, scale=1.0, center=0.0, apart=2.0):
    chol = {
        "full": np.triu(rng.normal(scale=0.3 / np.sqrt(d), size=(K, d, d)), 1)
        + np.eye(d) * rng.uniform(0.6, 1.6, (K, 1, d)),
        "tied": np.triu(rng.normal(scale=0.3 / np.sqrt(d), size=(d, d)), 1) + np.diag(rng.uniform(0.6, 1.6, d)),
        "diag": rng.uniform(0.6, 1.6, (K, d)),
        "spherical": rng.uniform(0.6, 1.6, K),
    }[structure]
    weights, means = rng.uniform(0.2, 1.0, K), center + apart * scale * rng.normal(size=(K, d))
    return MixtureParameters.from_precisions_chol(structure, weights / weights.sum(), means, chol / scale)


def draw(p, n, rng, scale=1.0):
    K, d = p.means.shape
    return (p.means[rng.integers(K, size=n)] + scale * rng.normal(size=(n, d))).astype(np.float32)


def spread(X):
    return X.mean(axis=0, dtype=float), X.std(axis=0, dtype=float)


def statistics(kind, X, p, weight=None, *origin_and_scale):
    """Of a pass in three parts, over a scratch of NaN."""
    shape = Samples(X), p.covariance_type, len(p.weights), weight, 3, np.zeros(X.shape[1])
    one_pass = kind(*shape, *origin_and_scale)
    total = SufficientStatistics(p.covariance_type, p.means)
    one_pass.em(0, one_pass.n_parts, p.buffer, total.buffer, np.full(one_pass.scratch_size, np.nan))
    return total


def agree(single, double, scale=1.0, tol=2e-6):
    total = double.total_weight
    assert single.total_weight == pytest.approx(total, rel=1e-15)
    assert abs(single.log_likelihood - double.log_likelihood) <= tol * total
    assert np.abs(single.nk - double.nk).max() <= tol * total
    assert np.abs(single.first - double.first).max() <= tol * total * scale
    # the scatter that the components of "tied" share may lose two digits
    lost = 5 if double.covariance_type == "tied" else 1
    assert np.abs(single.second - double.second).max() <= lost * tol * np.abs(double.second).max()


# --- passes ---------------------------------------------------------------------------------------


@structures
@pytest.mark.parametrize("center, scale", [(0.0, 1.0), (1e4 / 3, 1.0), (-7e-3, 1e-6), (1e9, 1e5)])
@pytest.mark.parametrize("d, K", [(1, 3), (2, 4), (3, 1), (10, 4), (50, 3)])
def test_agrees_with_the_pass_in_float64(structure, d, K, center, scale):
    rng = np.random.default_rng([d, K])
    p = parameters(structure, d, K, rng, scale, center)
    X = draw(p, 3000, rng, scale)
    weight = rng.exponential(size=3000)
    weight[::9] = 0.0
    for w in (None, weight):
        agree(statistics(SinglePass, X, p, w, *spread(X)), statistics(MixturePass, X, p, w), scale)


@structures
@pytest.mark.parametrize("d", [1, 2, 5, 17])
def test_moments_are_about_the_means_themselves(structure, d):
    """The origin is far away here, so that float32 misses the means by up to 5e-4."""
    K, n = 3, 960
    rng = np.random.default_rng(d)
    p = parameters(structure, d, K, rng)
    means = 1e4 + 1 / 3 + 64.0 * np.arange(K)[:, np.newaxis] + rng.uniform(-1, 1, (K, d))
    p = MixtureParameters.from_precisions_chol(structure, p.weights, means, p.precisions_chol)
    X = draw(p, n, rng)
    assert np.abs(means.astype(np.float32) - means).max() > 1e-4
    single = statistics(SinglePass, X, p, None, np.zeros(d), np.ones(d))
    double = statistics(MixturePass, X, p)
    np.testing.assert_array_equal(single.nk, double.nk)     # far apart: every sample belongs to one
    assert np.abs(single.first - double.first).max() <= 1e-6 * n
    assert np.abs(single.second - double.second).max() <= 2e-6 * np.abs(double.second).max()


@structures
def test_samples_without_weight_are_absent(structure):
    rng = np.random.default_rng(0)
    p = parameters(structure, 4, 3, rng, scale=0.01)
    X = draw(p, 500, rng, 0.01)
    weight = rng.exponential(size=500)
    weight[::7] = 0.0
    where = spread(X[weight > 0])
    expected = statistics(SinglePass, X, p, weight, *where).buffer
    for value in (1e19, 1e30, FLT_MAX):
        X[::7] = value
        X[::14, ::2] = -value
        np.testing.assert_array_equal(statistics(SinglePass, X, p, weight, *where).buffer, expected)


@structures
def test_what_it_inherits_keeps_to_its_scratch(structure):
    rng = np.random.default_rng(0)
    p = parameters(structure, 3, 2, rng)
    X = draw(p, 5000, rng)
    both = []
    for kind, more in ((MixturePass, ()), (SinglePass, spread(X))):
        one_pass = kind(Samples(X), structure, 2, None, 1, np.zeros(3), *more)
        scratch = np.full(one_pass.scratch_size + 1000, 7.0)
        log_density, total = np.empty(5000), SufficientStatistics(structure, p.means)
        labels = (np.arange(5000) % 2).astype(np.intp)
        one_pass.predict(0, one_pass.n_parts, p.buffer, scratch[:-1000], log_density)
        one_pass.partition(0, one_pass.n_parts, p.means, labels, total.buffer, scratch[:-1000])
        assert (scratch[-1000:] == 7.0).all()
        both.append((log_density, total.buffer))
    np.testing.assert_array_equal(both[0][0], both[1][0])
    np.testing.assert_allclose(both[0][1], both[1][1], rtol=1e-12, atol=1e-9)


def test_input_that_makes_no_sense():
    X = np.zeros((10, 2), np.float32)
    for samples, origin, scale in (
        (X.astype(float), np.zeros(2), np.ones(2)),
        (X, np.zeros(3), np.ones(2)),
        (X, np.zeros(2), np.ones(1)),
    ):
        with pytest.raises(ValueError, match="samples of float32, and an origin and a scale"):
            SinglePass(Samples(samples), "full", 1, None, 1, np.zeros(2), origin, scale)


# --- where float32 is not enough ------------------------------------------------------------------


def compared(X, p, weight=None):
    """Whether float32 was used, and the statistics as the likelihood forms them, with and without it."""
    mean, scale = spread(X)
    usual = MixtureLikelihood(X, p.covariance_type, len(p.weights), sample_weight=weight, spread=(mean, scale**2))
    exact = MixtureLikelihood(X, p.covariance_type, len(p.weights), sample_weight=weight)
    single = SinglePass(Samples(X), p.covariance_type, len(p.weights), weight, 1, np.zeros(X.shape[1]), mean, scale)
    return single.accurate(p.buffer), usual.statistics(p).buffer, exact.statistics(p).buffer


@structures
@pytest.mark.parametrize("d", [1, 2, 10])
def test_narrow_clusters_are_left_to_float64(structure, d):
    rng = np.random.default_rng(d)
    for narrow, accurate in ((1.0, True), (1e-1, True), (1e-4, False), (1e-6, False)):
        p = parameters(structure, d, 3, rng, narrow, apart=1 / narrow)
        used, usual, exact = compared(draw(p, 1000, rng, narrow), p)
        assert used == accurate
        assert np.array_equal(usual, exact) != accurate


@structures
@pytest.mark.parametrize("power", [-120, -60, 60, 120])
def test_squares_beyond_float32_are_left_to_float64(structure, power):
    rng = np.random.default_rng(0)
    p = parameters(structure, 2, 2, rng, 2.0**power)
    used, usual, exact = compared(draw(p, 1000, rng, 2.0**power), p)
    assert not used
    np.testing.assert_array_equal(usual, exact)


@structures
def test_a_mean_far_away_is_left_to_float64(structure):
    rng = np.random.default_rng(0)
    p = parameters(structure, 2, 2, rng)
    means = p.means.copy()
    means[1] = 1e5
    far = MixtureParameters.from_precisions_chol(structure, p.weights, means, p.precisions_chol)
    used, usual, exact = compared(draw(p, 1000, rng), far)
    assert not used
    np.testing.assert_array_equal(usual, exact)


# --- whole fits -----------------------------------------------------------------------------------


def blobs(n, d, K, seed=0, apart=3.0):
    rng = np.random.default_rng([n, d, K, seed])
    centers = apart * (np.arange(K)[:, None] * (-1.0) ** np.arange(d) + 0.5 * rng.uniform(-1, 1, (K, d)))
    mix = np.eye(d) + 0.3 * rng.normal(size=(K, d, d)) / np.sqrt(d)
    label = rng.integers(0, K, n)
    return (centers[label] + np.einsum("nij,nj->ni", mix[label], rng.normal(size=(n, d)))).astype(np.float32)


def fit(X, K, weight=None, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(K, **{"random_state": 0} | params).fit(X, sample_weight=weight)


def same_fit(X, K, weight=None, tol=1e-6, **params):
    """The fits of float32 samples and of the same numbers in float64; that they are alike."""
    single, double = (fit(a, K, weight, **params) for a in (X, X.astype(np.float64)))
    assert abs(single.lower_bound_ - double.lower_bound_) <= tol
    assert single.converged_ == double.converged_
    # float32 wanders no longer about the optimum than float64 does
    assert single.n_iter_ <= 1.5 * double.n_iter_ + 20
    # it never falls, but for rounding
    values = np.array(single.lower_bounds_)
    assert len(values) == single.n_iter_
    assert (np.diff(values) >= -(2.0**-22) * np.maximum(1, np.abs(values[1:]))).all()
    # what is told of the fit is of float64
    mean = np.average(single.score_samples(X.astype(np.float64)), weights=weight)
    assert single.lower_bound_ == pytest.approx(mean, rel=1e-12)
    return single, double


@structures
@pytest.mark.parametrize("accelerate", [True, False])
@pytest.mark.parametrize("d", [1, 2, 10, 50])
def test_the_fit_is_that_of_float64(structure, accelerate, d):
    X = blobs(2000, d, 3)
    single, double = same_fit(X, 3, covariance_type=structure, accelerate=accelerate)
    assert single.converged_
    np.testing.assert_allclose(single.weights_, double.weights_, atol=1e-3)


@structures
def test_sample_weights(structure):
    X = blobs(2000, 2, 3)
    weight = np.random.default_rng(0).exponential(size=2000)
    weight[::5] = 0.0
    X[::5] = -FLT_MAX
    single, _ = same_fit(X, 3, weight, covariance_type=structure)
    assert single.converged_


@structures
@pytest.mark.parametrize("d", [1, 2, 10])
def test_an_offset_of_1e4_spreads(structure, d):
    same_fit((blobs(2000, d, 3) + 3e4).astype(np.float32), 3, covariance_type=structure)


@structures
def test_clusters_much_narrower_than_the_data(structure):
    rng = np.random.default_rng(0)
    centers = rng.uniform(-1e4, 1e4, (4, 2))
    X = (centers[rng.integers(4, size=2000)] + 0.1 * rng.normal(size=(2000, 2))).astype(np.float32)
    single, _ = same_fit(X, 4, covariance_type=structure)
    assert single.converged_


@structures
@pytest.mark.parametrize("power", [-110, -64, -20, 20, 64, 110])
def test_a_fit_scales_with_the_data(structure, power):
    X = blobs(500, 2, 2)
    usual, scaled = (fit(a, 2, covariance_type=structure) for a in (X, np.ldexp(X, power)))
    shift = 2 * power * np.log(2)
    assert scaled.lower_bound_ + shift == pytest.approx(usual.lower_bound_, abs=1e-7)
    np.testing.assert_allclose(np.ldexp(scaled.means_, -power), usual.means_, rtol=1e-3, atol=1e-3)


@structures
def test_real_data(structure, faithful, galaxies, x):
    same_fit(faithful.astype(np.float32), 2, covariance_type=structure)
    same_fit(faithful.astype(np.float32), 3, covariance_type=structure, n_init=3)
    same_fit(galaxies[:, np.newaxis].astype(np.float32), 3, covariance_type=structure)
    same_fit(x[:, np.newaxis].astype(np.float32), 3, covariance_type=structure)


@structures
@pytest.mark.parametrize("accelerate", [True, False])
def test_converged_means_converged(structure, accelerate):
    """After convergence, thousands of plain steps in float64 gain next to nothing."""
    for seed in range(3):
        X = blobs(300, 1 + seed, 3, seed, apart=1.5)
        mixture = fit(
            X, 3, covariance_type=structure, accelerate=accelerate, max_iter=20_000, random_state=seed, warm_start=True
        )
        assert mixture.converged_ and mixture.remaining_ < mixture.tol
        reached = mixture.lower_bounds_[-1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.set_params(accelerate=False, tol=0, max_iter=3000).fit(X.astype(np.float64))
        assert mixture.lower_bounds_[-1] - reached < 1e-7


@structures
@pytest.mark.parametrize("accelerate", [True, False])
@pytest.mark.parametrize("max_iter", [1, 2, 7, 12])
def test_max_iter_ends(structure, accelerate, max_iter):
    X = blobs(1000, 2, 3, apart=1.0)
    with pytest.warns(ConvergenceWarning, match=f"did not converge in max_iter={max_iter} "):
        mixture = GaussianMixture(
            3, covariance_type=structure, accelerate=accelerate, max_iter=max_iter, tol=0, random_state=0
        ).fit(X)
    assert not mixture.converged_ and mixture.n_iter_ == len(mixture.lower_bounds_) == max_iter
    assert mixture.lower_bound_ == pytest.approx(mixture.score(X), rel=1e-12)
    # the last value is of float64 too: the mean log-likelihood less a penalty of next to nothing
    assert mixture.lower_bounds_[-1] == pytest.approx(mixture.lower_bound_, abs=1e-7)


def same_bits(a, b):
    assert a.lower_bounds_ == b.lower_bounds_ and a.n_iter_ == b.n_iter_
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@structures
@pytest.mark.parametrize("n, d, weighted", [(30_000, 2, True), (9_000, 40, False)])
def test_the_same_bits_for_any_number_of_threads(structure, n, d, weighted, always_threads):
    X = blobs(n, d, 3)
    weight = np.random.default_rng(0).uniform(size=n) if weighted else None
    fits = [fit(X, 3, weight, covariance_type=structure, n_threads=t, max_iter=8) for t in (1, 2, 3, 7)]
    assert parallel.n_parts(n, 1e-3) >= 7
    for other in fits[1:]:
        same_bits(other, fits[0])


@structures
def test_starts_side_by_side(structure):
    X = blobs(300, 2, 3, apart=1.5)
    params = {"covariance_type": structure, "n_init": 4, "init_params": "random_from_data"}
    fits = [fit(X, 3, n_threads=t, **params) for t in (1, 2, 3, 7)]
    assert fits[0].converged_
    for other in fits[1:]:
        same_bits(other, fits[0])
    # and one after the other
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        turns = GaussianMixture(3, random_state=0, n_threads=3, **params).fit(X, callback=lambda *args: None)
    same_bits(turns, fits[0])


@structures
def test_predictions_are_of_float64(structure):
    X = blobs(2000, 2, 3)
    mixture = fit(X, 3, covariance_type=structure)
    for method in ("score_samples", "predict", "predict_proba"):
        found, expected = (getattr(mixture, method)(a) for a in (X, X.astype(np.float64)))
        assert found.dtype == (np.intp if method == "predict" else np.float64)
        np.testing.assert_array_equal(found, expected)


def test_a_fit_that_begins_at_its_optimum_ends():
    """Steps there gain and lose in turn, by more than a few units in the last place: that is what rounding is."""
    X = np.random.default_rng(0).normal(size=(200, 30)).astype(np.float32)
    for covariance_type in ("full", "tied", "diag", "spherical"):
        model = GaussianMixture(1, covariance_type=covariance_type, random_state=0, max_iter=200).fit(X)
        assert model.converged_ and model.n_iter_ < 50
