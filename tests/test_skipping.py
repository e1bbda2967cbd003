"""Passes that leave components out: the same statistics, fewer evaluations, the same bits for any number of threads."""

import functools

import numpy as np
import pytest

from gaussum import GaussianMixture, parallel, skipping
from gaussum.covariance import COVARIANCE_TYPES
from gaussum.likelihood import MixtureLikelihood
from gaussum.mixture_pass import MixturePass
from gaussum.parameters import MixtureParameters
from gaussum.samples import Samples
from gaussum.skipping import Skipping
from gaussum.statistics import SufficientStatistics

def parameters(structure, d, K, spacing, rng):
    """Components on a grid of `spacing` standard deviations, more or less."""
    side = int(np.ceil(K ** (1 / d)))
    if d < 20:
        grid = np.stack(np.unravel_index(rng.permutation(side**d)[:K], (side,) * d), axis=1)
    else:
        grid = rng.integers(2, size=(K, d))
    means = spacing * (grid + rng.uniform(-0.2, 0.2, (K, d)))
    chol = {
        "full": np.triu(rng.normal(scale=0.3 / np.sqrt(d), size=(K, d, d)), 1)
        + np.eye(d) * rng.uniform(0.6, 1.6, (K, 1, d)),
        "tied": np.triu(rng.normal(scale=0.3, size=(d, d)), 1) + np.diag(rng.uniform(0.6, 1.6, d)),
        "diag": rng.uniform(0.6, 1.6, (K, d)),
        "spherical": rng.uniform(0.6, 1.6, K),
    }[structure]
    weights = rng.uniform(0.2, 1.0, K)
    return MixtureParameters.from_precisions_chol(structure, weights / weights.sum(), means, chol)


def draw(p, n, rng):
    K, d = p.means.shape
    labels = rng.choice(K, n, p=p.weights / p.weights.sum())
    return p.means[labels] + rng.normal(size=(n, d))


def plain(X, p, weight=None):
    K = len(p.weights)
    full = MixturePass(Samples(X), p.covariance_type, K, weight, 3, np.zeros(X.shape[1]))
    total = SufficientStatistics(p.covariance_type, p.means)
    full.em(0, full.n_parts, p.buffer, total.buffer, np.empty(full.scratch_size))
    return total


def skipper(X, p, weight=None, seconds=0.02):
    return Skipping(Samples(X), p.covariance_type, len(p.weights), weight, seconds, 1)


def step(skip, p, hints=None):
    """The statistics of one skipping pass, whether it pays or not; `hints` replaces what the pass before left."""
    total = SufficientStatistics(p.covariance_type, p.means)
    if hints is not None:
        skip._pass.hints[:] = hints
        skip._hinted = True
    skip._waiting = 0
    assert skip.add_statistics(p, total.buffer)
    return total


@pytest.fixture(autouse=True, scope="module")
def one_blas_thread():
    with parallel.single_threaded_blas():
        yield


@pytest.fixture
def always(monkeypatch):
    """Skipping passes run however little they promise."""
    monkeypatch.setattr(skipping, "_EXPECTED", 2.0)


def agree(got, expected, rtol=1e-12):
    assert got.log_likelihood == pytest.approx(expected.log_likelihood, rel=rtol)
    assert got.total_weight == pytest.approx(expected.total_weight, rel=1e-14)
    np.testing.assert_allclose(got.nk, expected.nk, rtol=rtol, atol=1e-13)
    scale = np.sqrt(np.abs(expected.second).max() * expected.total_weight)
    np.testing.assert_allclose(got.first, expected.first, rtol=rtol, atol=rtol * scale)
    np.testing.assert_allclose(got.second, expected.second, rtol=rtol, atol=rtol * np.abs(expected.second).max())


# --- the same statistics --------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", [0.5, 3.0, 8.0, 30.0])
@pytest.mark.parametrize("d", [1, 2, 5, 40])
@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_agrees_with_the_plain_pass(always, structure, d, spacing):
    rng = np.random.default_rng([d, int(10 * spacing)])
    K, n = (40, 3000) if d < 40 else (8, 1000)
    p = parameters(structure, d, K, spacing, rng)
    X = draw(p, n, rng)
    expected = plain(X, p)
    skip = skipper(X, p)
    for hints in (None, None, 0, rng.integers(K, size=n)):
        agree(step(skip, p, hints), expected)
        # whatever they were before, the hints are now the most probable components
        after = skip._pass.hints.copy()
        agree(step(skip, p), expected)
        assert (after == skip._pass.hints).mean() > 0.999


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_weights(always, structure):
    rng = np.random.default_rng(0)
    p = parameters(structure, 2, 40, 8.0, rng)
    X = draw(p, 3000, rng)
    weight = rng.exponential(size=3000)
    weight[::7] = 0.0
    X[::14] = 1e200  # absent
    skip = skipper(X, p, weight)
    for _ in range(3):
        agree(step(skip, p), plain(X, p, weight))


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_outliers_duplicates_and_empty_components(always, structure):
    rng = np.random.default_rng(1)
    p = parameters(structure, 2, 40, 10.0, rng)
    means, weights = p.means.copy(), p.weights.copy()
    means[1] = means[0]
    means[2] = means[0] + 1e-9
    weights[[3, 4]] = 0.0
    weights[5] = 1e-30
    weights[6] = 1e-200
    means[7] = 1e6
    p = MixtureParameters.from_precisions_chol(structure, weights / weights.sum(), means, p.precisions_chol)
    X = draw(p, 4000, rng)
    X[:40] += rng.normal(scale=1e4, size=(40, 2))
    X[40:60] *= 30
    X[60] = 1e9
    X[61:64] = means[3]
    X[64:66] = means[5:7]
    expected = plain(X, p)
    skip = skipper(X, p)
    for hints in (None, None, 3, 7):
        got = step(skip, p, hints)
        agree(got, expected)
        # relative, for those with next to no weight too
        np.testing.assert_allclose(got.nk[[5, 6]], expected.nk[[5, 6]], rtol=1e-11)


def test_a_heavy_and_a_light_component(always):
    """A component of little weight is not lost to a heavy one that covers it."""
    K = 40
    means = np.c_[np.zeros(K), 50.0 * np.arange(K)]
    chol = np.tile([[1.0, 0.0], [0.0, 1.0]], (K, 1, 1))
    means[1] = [6.0, 0.0]
    chol[1] *= 1e-3
    weights = np.ones(K)
    weights[1] = 1e-12
    p = MixtureParameters.from_precisions_chol("full", weights / weights.sum(), means, chol)
    X = np.random.default_rng(0).normal(size=(4000, 2)) + means[np.arange(4000) % K]
    X[::K] = means[0] + np.random.default_rng(1).uniform(-7, 7, size=(len(X[::K]), 2))
    X[K] = means[1]
    skip = skipper(X, p)
    for _ in range(2):
        got, expected = step(skip, p), plain(X, p)
        agree(got, expected)
        assert got.nk[1] == pytest.approx(expected.nk[1], rel=1e-12) and got.nk[1] > 0


@pytest.mark.parametrize("n", [1, 2, 31, 33, 500])
@pytest.mark.parametrize("K", [1, 2, 3, 50])
@pytest.mark.parametrize("d", [1, 3])
def test_few_samples(always, n, K, d):
    rng = np.random.default_rng([n, K, d])
    p = parameters("full", d, K, 12.0, rng)
    X = draw(p, n, rng)
    skip = skipper(X, p)
    for _ in range(2):
        agree(step(skip, p), plain(X, p))
    assert skip.n_pairs <= n * (K + 1)


def test_any_layout(always):
    rng = np.random.default_rng(3)
    p = parameters("full", 3, 40, 9.0, rng)
    X = draw(p, 3000, rng).astype(np.float32)
    wide = np.zeros((3000, 7))
    wide[:, ::3] = X
    expected = step(skipper(X, p), p)
    agree(expected, plain(X, p))
    for same in (np.asfortranarray(X), X.astype(float), wide[:, ::3], X[::-1][::-1]):
        np.testing.assert_array_equal(step(skipper(same, p), p).buffer, expected.buffer)


@pytest.mark.parametrize("offset", [1e6, -1e9])
def test_an_offset_costs_no_digits(always, offset):
    rng = np.random.default_rng(4)
    p = parameters("full", 2, 40, 9.0, rng)
    X = draw(p, 3000, rng) + offset
    p = MixtureParameters.from_precisions_chol("full", p.weights, p.means + offset, p.precisions_chol)
    skip = skipper(X, p)
    step(skip, p)
    agree(step(skip, p), plain(X, p))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_parameters_that_are_no_numbers(always, bad):
    """The log-likelihood is no number either, as in the plain pass: EM then gives the run up."""
    rng = np.random.default_rng(5)
    p = parameters("full", 2, 40, 9.0, rng)
    X = draw(p, 3000, rng)
    for change in ("means", "precisions_chol"):
        arrays = {"means": p.means.copy(), "precisions_chol": p.precisions_chol.copy()}
        arrays[change][7] = bad
        with np.errstate(all="ignore"):
            buffer = np.concatenate([p.weights, p.log_det, *(array.ravel() for array in arrays.values())])
            q = MixtureParameters("full", *p.means.shape, buffer)
            total = [plain(X, q).log_likelihood]
            skip = skipper(X, q)
            for _ in range(2):
                total.append(step(skip, q).log_likelihood)
        assert len({np.isfinite(t) for t in total}) == 1
        np.testing.assert_allclose(total[1:], total[0], rtol=1e-12)


# --- fewer evaluations ----------------------------------------------------------------------------


@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
@pytest.mark.parametrize("d, spacing, most", [(1, 20, 3), (2, 20, 2), (2, 8, 10), (6, 25, 4)])
def test_components_are_left_out(structure, d, spacing, most):
    rng = np.random.default_rng(6)
    p = parameters(structure, d, 100, spacing, rng)
    n = 40_000
    X = draw(p, n, rng)
    skip = skipper(X, p)
    step(skip, p)
    assert skip.n_pairs == 100 * n
    step(skip, p)
    assert n <= skip.n_pairs < most * n


def test_outliers_do_not_spoil_it():
    rng = np.random.default_rng(7)
    p = parameters("full", 2, 100, 20, rng)
    X = draw(p, 40_000, rng)
    far = rng.random(len(X)) < 0.01
    X[far] = rng.uniform(-100, 400, size=(far.sum(), 2))
    skip = skipper(X, p)
    step(skip, p)
    agree(step(skip, p), plain(X, p))
    assert skip.n_pairs < 5 * len(X)


def test_wrong_hints_are_set_right():
    rng = np.random.default_rng(8)
    p = parameters("full", 2, 100, 15, rng)
    X = draw(p, 20_000, rng)
    skip = skipper(X, p)
    step(skip, p)
    step(skip, p)
    few = skip.n_pairs
    step(skip, p, rng.integers(100, size=len(X)))
    assert skip.n_pairs > 10 * few
    step(skip, p)
    assert skip.n_pairs == few


def test_where_it_does_not_pay():
    """Overlapping components: nothing is done, and the table is made at ever fewer passes."""
    rng = np.random.default_rng(9)
    p = parameters("full", 5, 64, 1.0, rng)
    X = draw(p, 8000, rng)
    skip = skipper(X, p)
    made = []
    promises, skip._promises = skip._promises, lambda *a: (made.append(tries), promises(*a))[1]
    total = SufficientStatistics("full", p.means)
    for tries in range(200):
        assert not skip.add_statistics(p, total.buffer)
    assert not total.buffer.any()
    assert made == [0, 2, 6, 14, 30, 62, 95, 128, 161, 194]


def test_a_promise_that_is_not_kept():
    """Components look separate but the samples lie elsewhere: passes pause."""
    rng = np.random.default_rng(10)
    p = parameters("full", 2, 64, 12.0, rng)
    X = draw(p, 8000, rng) + rng.normal(scale=60, size=(8000, 2))
    skip = skipper(X, p)
    did = []
    for _ in range(12):
        total = SufficientStatistics("full", p.means)
        did.append(skip.add_statistics(p, total.buffer))
        if did[-1]:
            agree(total, plain(X, p))
    assert did == [True, True, False, True, False, False, False, True, False, False, False, False]


def test_it_applies_to_many_components_and_more_samples():
    assert Skipping.applies(10**6, 256) and Skipping.applies(10**6, 16)
    assert not Skipping.applies(10**6, 8) and not Skipping.applies(10**4, 256) and not Skipping.applies(10**9, 5000)
    X = np.random.default_rng(0).normal(size=(5000, 2))
    assert MixtureLikelihood(X, "full", 4)._new_skipping is None
    assert MixtureLikelihood(X, "full", 64)._new_skipping is not None


# --- the same bits --------------------------------------------------------------------------------


@functools.cache
def separated(structure):
    rng = np.random.default_rng(11)
    p = parameters(structure, 2, 40, 10.0, rng)
    X = draw(p, 30_000, rng)
    X[:30] += 25
    return X, p


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("structure", COVARIANCE_TYPES)
def test_the_same_bits_for_any_number_of_threads(always_threads, structure, weighted):
    X, p = separated(structure)
    weight = np.random.default_rng(0).exponential(size=len(X)) if weighted else None
    results = []
    for n_threads in (1, 2, 3, 7):
        likelihood = MixtureLikelihood(X, structure, 40, sample_weight=weight, n_threads=n_threads)
        q, sums = p, []
        for _ in range(4):
            statistics = likelihood.statistics(q)
            sums.append(statistics.buffer)
            q = likelihood.maximize(statistics)
        assert likelihood._skipping._pass.n_parts > 5
        assert 0 < likelihood._skipping.n_pairs < 8 * len(X)
        results.append(np.concatenate(sums))
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_fits_agree_and_do_not_depend_on_fits_before(monkeypatch):
    X, p = separated("full")
    X = X[30::2]
    options = dict(means_init=p.means, random_state=0, tol=1e-6)
    fit = GaussianMixture(40, **options).fit(X)
    again = GaussianMixture(40, **options).fit(X)
    np.testing.assert_array_equal(fit.means_, again.means_)
    # the same start twice ends in the same bits twice: the better of the two is the first
    twice = GaussianMixture(40, n_init=2, init_params="random_from_data", **options).fit(X)
    once = GaussianMixture(40, n_init=1, init_params="random_from_data", **options).fit(X)
    np.testing.assert_array_equal(twice.lower_bounds_, once.lower_bounds_)
    monkeypatch.setattr(Skipping, "applies", staticmethod(lambda *a: False))
    without = GaussianMixture(40, **options).fit(X)
    assert without.n_iter_ == fit.n_iter_
    np.testing.assert_allclose(fit.means_, without.means_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(fit.lower_bounds_, without.lower_bounds_, rtol=1e-12)


def test_runs_begin_anew():
    X, p = separated("diag")
    likelihood = MixtureLikelihood(X, "diag", 40)
    sums = []
    for _ in range(2):
        likelihood.n_passes = 0
        sums.append([likelihood.statistics(p).buffer for _ in range(3)])
    np.testing.assert_array_equal(sums[0], sums[1])


def test_little_memory():
    n, K = 1_000_000, 256
    X = np.broadcast_to(np.zeros((1, 10)), (n, 10))
    skip = Skipping(Samples(X), "full", K, None, 2.0, 2)
    arrays = [skip._pass.hints, skip._pass.reach, skip._pass.near, *skip._order, *skip._scratch]
    assert sum(a.nbytes for a in arrays) < 16e6
