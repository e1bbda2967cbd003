"""The search for starts: short runs of EM, swaps of components; the same for any number of threads."""

import warnings
from functools import partial

import numpy as np
import pytest

from gaussum import GaussianMixture, starts
from gaussum.covariance import COVARIANCE_TYPES
from gaussum.initialize import Partitions, variances
from gaussum.likelihood import MixtureLikelihood
from gaussum.mixture_pass import MixturePass
from gaussum.parameters import MixtureParameters
from gaussum.samples import Samples
from gaussum.search import Search
from gaussum.short_em import ShortEM


def elongated(n=1500, d=2, K=5, seed=0):
    """Overlapping Gaussians of many shapes and sizes."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(K, n, p=rng.dirichlet(np.full(K, 5.0)))
    shapes = rng.normal(size=(K, d, d))
    return np.einsum("nij,nj->ni", shapes[labels], rng.normal(size=(n, d))) + 4 * rng.normal(size=(K, d))[labels]


def prepared(X, K, method="auto", covariance_type="full", n_init=1, seed=0, weight=None, **options):
    variance = variances(X, weight)[1]
    return starts.prepare(
        X, covariance_type, K, method, n_init, np.random.default_rng(seed), scale=np.sqrt(variance),
        ridge=1e-6 * variance, sample_weight=weight, **options,
    )


def some_mixture(covariance_type, K=4, d=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(500, d)) * [1, 10, 0.1][:d]
    return X, prepared(X, K, "random_from_data", covariance_type)[0]()


# Short runs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_short_runs_are_em(covariance_type, weighted):
    X, mixture = some_mixture(covariance_type)
    weight = np.random.default_rng(1).uniform(size=len(X)) if weighted else None
    ridge = 1e-3 * X.var(axis=0)
    likelihood = MixtureLikelihood(X, covariance_type, 4, sample_weight=weight, ridge=ridge, n_threads=1)
    expected = mixture
    for _ in range(7):
        statistics, _ = likelihood.evaluate(expected)
        expected = likelihood.maximize(statistics)
    short = ShortEM(MixturePass(Samples(X), covariance_type, 4, weight, 1, ridge))
    buffer = mixture.buffer.copy()
    objective = short.run(buffer, 7)
    np.testing.assert_allclose(buffer, expected.buffer, rtol=1e-12)
    assert objective == pytest.approx(likelihood.evaluate(expected)[1], rel=1e-13)
    assert short.n_passes == 8


def test_short_runs_give_up():
    X, mixture = some_mixture("full")
    short = ShortEM(MixturePass(Samples(X), "full", 4, None, 1, np.zeros(3)))
    reached = short.run(mixture.buffer.copy(), 30)
    before = short.n_passes
    assert short.run(mixture.buffer.copy(), 30, reached + 1.0) < reached + 1.0
    assert short.n_passes - before < 20
    # as good as it can be: it is let go on
    assert short.run(mixture.buffer.copy(), 30, reached - 1e-9) == reached
    with pytest.raises(ValueError, match="parameters"):
        short.run(np.ones(3), 5)


def test_short_runs_that_collapse_come_to_nothing():
    X = np.repeat([[0.0, 0.0], [1.0, 1.0]], 5, axis=0)
    start = MixtureParameters.from_precisions_chol(
        "full", np.full(2, 0.5), np.array([[0.0, 0.1], [1.0, 0.9]]), np.tile(np.eye(2), (2, 1, 1))
    )
    assert ShortEM(MixturePass(Samples(X), "full", 2, None, 1, np.zeros(2))).run(start.buffer, 50) == -np.inf


# Swaps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("seed", range(5))
def test_a_swap_is_a_mixture(covariance_type, seed):
    X, mixture = some_mixture(covariance_type)
    before, after = mixture.buffer.copy(), np.empty_like(mixture.buffer)
    direction = np.random.default_rng(seed).normal(size=(1, 3))
    short = ShortEM(MixturePass(Samples(X), covariance_type, 4, None, 1, np.zeros(3)))
    swap = before, np.array([[1, 3]]), direction / np.linalg.norm(direction), after
    # no iteration after it
    n_swaps, objective = short.swaps(*swap, 0, -np.inf, 100)
    alone = np.empty_like(after)
    short.swap(*swap[:3], alone)
    np.testing.assert_array_equal(after, alone)
    after = MixtureParameters(covariance_type, 4, 3, after)
    likelihood = MixtureLikelihood(X, covariance_type, 4, n_threads=1)
    assert n_swaps == 1 and objective == pytest.approx(likelihood.evaluate(after)[1], rel=1e-13)
    for pair in ([1, 1], [-1, 2], [0, 4]):
        with pytest.raises(ValueError, match="two different components"):
            short.swaps(before, np.array([pair]), direction, np.empty_like(alone), 0, -np.inf, 100)
    assert short.swaps(*swap[:3], alone, 0, objective + 1.0, 100) == (1, -np.inf)
    assert short.swaps(*swap[:3], alone, 0, -np.inf, 0) == (0, -np.inf)
    np.testing.assert_array_equal(mixture.buffer, before)
    assert after.weights.sum() == pytest.approx(1, rel=1e-14)
    again = MixtureParameters.from_precisions_chol(covariance_type, after.weights, after.means, after.precisions_chol)
    np.testing.assert_allclose(after.log_det, again.log_det, rtol=1e-10, atol=1e-10)
    if covariance_type == "full":
        np.testing.assert_array_equal(after.precisions_chol, np.triu(after.precisions_chol))
    # the other components stay
    np.testing.assert_array_equal(after.means[[0, 2]], mixture.means[[0, 2]])
    np.testing.assert_allclose(after.weights[0] / after.weights[2], mixture.weights[0] / mixture.weights[2])
    # the halves make the whole
    np.testing.assert_allclose(after.means[[1, 3]].mean(axis=0), mixture.means[3], atol=1e-10)
    if covariance_type in ("full", "diag"):
        apart = after.means[1] - mixture.means[3]
        between = np.outer(apart, apart) if covariance_type == "full" else apart**2
        np.testing.assert_allclose(after.covariances[1] + between, mixture.covariances[3], rtol=1e-8, atol=1e-10)
        np.testing.assert_array_equal(after.covariances[1], after.covariances[3])


@pytest.mark.parametrize("method", ["auto", "small-em"])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_search_ends_higher_than_kmeans(method, covariance_type):
    X = elongated()
    likelihood = MixtureLikelihood(X, covariance_type, 5, ridge=1e-6 * X.var(axis=0))

    def reached(method, seed):
        return likelihood.evaluate(prepared(X, 5, method, covariance_type, seed=seed)[0]())[1]

    for seed in range(3):
        assert reached(method, seed) > reached("kmeans", seed) + 1e-3


def test_the_default_finds_what_kmeans_misses():
    # k-means ends in another optimum from three of these seeds
    X = elongated(2000, 3, 6, seed=3)
    found = {
        method: np.array([
            GaussianMixture(6, init_params=method, random_state=seed).fit(X).lower_bound_ for seed in range(4)
        ]) for method in ("auto", "kmeans")
    }
    best = max(values.max() for values in found.values())
    near = {method: (values > best - 1e-3).sum() for method, values in found.items()}
    assert near["auto"] >= 3 and near["auto"] >= near["kmeans"]
    assert found["auto"].mean() > found["kmeans"].mean()


def test_real_data_reach_what_mclust_reaches(faithful, galaxies):
    """mclust 6.0.0's log-likelihoods (VVV and VVI; V in one dimension)."""
    known = [(faithful, 2, "full", -1130.2641), (faithful, 3, "full", -1127.1988), (faithful, 2, "diag", -1147.8064)]
    known += [(galaxies, 3, "full", -212.0801), (galaxies, 4, "full", -199.2543)]
    for X, K, covariance_type, expected in known:
        for seed in range(3):
            mixture = GaussianMixture(K, covariance_type=covariance_type, random_state=seed).fit(X)
            assert mixture.lower_bound_ * len(X) > expected - 0.3


# The same again ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", starts.METHODS)
def test_starts_do_not_depend_on_threads(method, always_threads):
    X = elongated(4000)
    first = [start().buffer for start in prepared(X, 4, method, n_init=3, n_threads=1)]
    for n_threads in (2, 3, 7):
        for a, start in zip(first, prepared(X, 4, method, n_init=3, n_threads=n_threads), strict=True):
            np.testing.assert_array_equal(a, start().buffer)


@pytest.mark.parametrize("method", starts.METHODS)
def test_starts_differ_and_do_not_depend_on_their_number(method):
    X = elongated()
    made = [start().buffer for start in prepared(X, 4, method, n_init=5)]
    for a, start in zip(made, prepared(X, 4, method, n_init=2)):
        np.testing.assert_array_equal(a, start().buffer)
    for i in range(5):
        for j in range(i):
            assert not np.array_equal(made[i], made[j])


@pytest.mark.parametrize("n_threads", [2, 3, 7])
def test_fits_do_not_depend_on_threads(n_threads, always_threads):
    X = elongated(3000)
    a, b = (GaussianMixture(4, n_init=3, random_state=1, n_threads=n).fit(X) for n in (1, n_threads))
    np.testing.assert_array_equal(a.means_, b.means_)
    assert a.lower_bounds_ == b.lower_bounds_


# Weights, units, bounds --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "small-em", "whitened", "hierarchical"])
def test_weights_count_samples(method):
    X = elongated(400, K=3)
    weight = np.random.default_rng(0).integers(0, 4, len(X)).astype(float)
    a = GaussianMixture(3, init_params=method, random_state=0, n_init=2).fit(X, sample_weight=weight)
    b = GaussianMixture(3, init_params=method, random_state=0, n_init=2).fit(np.repeat(X, weight.astype(int), axis=0))
    assert a.lower_bound_ == pytest.approx(b.lower_bound_, abs=1e-6)


@pytest.mark.parametrize("method", ["whitened", "hierarchical"])
def test_whitened_partitions_do_not_depend_on_coordinates(method):
    X = elongated(700)
    A = np.array([[3.0, -40.0], [0.01, 2.0]])
    a, b = (prepared(Y, 4, method)[0]() for Y in (X, X @ A + [5, -7]))
    np.testing.assert_allclose(a.weights, b.weights, rtol=1e-12)
    np.testing.assert_allclose(a.means @ A + [5, -7], b.means, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**20])
def test_starts_follow_the_scale(scale):
    X = elongated()
    a, b = (prepared(Y, 4)[0]() for Y in (X, scale * X))
    np.testing.assert_allclose(scale * a.means, b.means, rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(a.weights, b.weights, rtol=1e-9)


def test_the_work_is_bounded(monkeypatch):
    sizes, passes = [], []
    make, search = Partitions.__init__, Search.__init__

    def watched(self, *args, **options):
        make(self, *args, **options)
        sizes.append(len(self.X))

    def kept(self, partitions):
        search(self, partitions)
        passes.append(self)

    monkeypatch.setattr(Partitions, "__init__", watched)
    monkeypatch.setattr(Search, "__init__", kept)
    X = np.random.default_rng(0).normal(size=(300_000, 2))
    for K, n_searches in ((8, 1), (200, 0)):
        sizes.clear(), passes.clear()
        prepared(X, K)[0]()
        assert len(sizes) == 1 and sizes[0] <= 20_000
        assert len(passes) == n_searches
        assert all(one.n_passes <= starts._RUNS * 40 for one in passes)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("method", starts.METHODS)
def test_nothing_that_is_tried_warns(method, covariance_type):
    rng = np.random.default_rng(0)
    odd = [
        (np.repeat(rng.normal(size=(4, 2)), 10, axis=0), 4),
        (rng.normal(size=(6, 6)), 6),
        (np.column_stack([rng.normal(size=50), np.ones(50)]), 3),
        (rng.normal(size=(12, 30)), 2),
        (np.column_stack([np.arange(60.0), 2 * np.arange(60.0)]), 4),
    ]
    for X, K in odd:
        variance = np.maximum(variances(X)[1], 1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            make = partial(starts.prepare, X, covariance_type, K, method, 2, np.random.default_rng(0))
            for start in make(scale=np.sqrt(variance), ridge=1e-6 * variance):
                assert np.isfinite(start().buffer).all()


# Accidents ---------------------------------------------------------------------------------------------


def test_two_samples_are_no_distance_matrix():
    # SciPy warned of one where samples make a hollow symmetric square
    X = np.array([[0.0, 1.0], [1.0, 0.0]])
    mixture = GaussianMixture(1, init_params="hierarchical", random_state=0).fit(X)
    np.testing.assert_allclose(mixture.means_, [[0.5, 0.5]])


def test_bad_input():
    with pytest.raises(ValueError, match="init_params is 'magic'; expected one of 'auto', 'small-em', 'kmeans'"):
        GaussianMixture(2, init_params="magic").fit(elongated())
    with pytest.raises(ValueError, match="means_init"):
        GaussianMixture(2, means_init=[[0, 0]]).fit(elongated())
