"""KernelDensity against scikit-learn, SciPy and the definition, from the centre to the farthest tails."""

import copy
import pickle

import mpmath
import numpy as np
import pytest
import scipy.stats
import sklearn.base
import sklearn.neighbors

from gaussum import KernelDensity, NotFittedError
from gaussum.bandwidth import scott, silverman


def samples(n=500, d=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * np.arange(1, d + 1) + 3.0 * rng.integers(0, 2, (n, 1))


def by_definition(sources, targets, h, weight=None):
    """Log density by a log-sum-exp with NumPy."""
    d = sources.shape[1]
    h = np.broadcast_to(h, d)
    r2 = (((targets[:, None] - sources) / h) ** 2).sum(axis=2)
    weight = np.ones(len(sources)) if weight is None else np.asarray(weight, dtype=float)
    with np.errstate(divide="ignore"):
        a = np.log(weight / weight.sum()) - 0.5 * r2
    return np.logaddexp.reduce(a, axis=1) - np.log(h).sum() - 0.5 * d * np.log(2 * np.pi)


def exact(sources, targets, h, weight):
    """Log densities to forty digits."""

    def one(t):
        terms = mpmath.fsum(
            mpmath.mpf(float(w))
            * mpmath.exp(
                -sum(
                    ((mpmath.mpf(float(a)) - mpmath.mpf(float(b))) / mpmath.mpf(float(c))) ** 2
                    for a, b, c in zip(t, s, h)
                )
                / 2
            )
            for s, w in zip(sources, weight)
        )
        norm = mpmath.fprod(mpmath.mpf(float(c)) for c in h) * mpmath.sqrt(2 * mpmath.pi) ** len(h)
        return mpmath.log(terms / norm / mpmath.fsum(mpmath.mpf(float(w)) for w in weight))

    with mpmath.workdps(40):
        return [one(t) for t in targets]


# Against others --------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3, 8, 20])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("h", [0.05, 0.7, 10.0])
def test_scikit_learns_density(d, weighted, h):
    sources, targets = samples(300, d), samples(200, d, seed=1)
    weight = np.random.default_rng(2).uniform(size=300) if weighted else None
    kde = KernelDensity(h, rtol=0).fit(sources, sample_weight=weight)
    log_density = kde.score_samples(targets)
    np.testing.assert_allclose(log_density, by_definition(sources, targets, h, weight), rtol=1e-12)
    assert isinstance(kde.score(targets), float)
    assert kde.score(targets) == pytest.approx(log_density.sum(), rel=1e-13)
    # scikit-learn's own bounds are loose where the density is low
    reference = sklearn.neighbors.KernelDensity(bandwidth=h).fit(sources, sample_weight=weight)
    near = ((targets[:, None] - sources) ** 2).sum(axis=2).min(axis=1) < (3 * h) ** 2
    if near.any():
        np.testing.assert_allclose(
            log_density[near], reference.score_samples(targets[near]), rtol=1e-6, atol=1e-6
        )
        assert kde.score(targets[near]) == pytest.approx(reference.score(targets[near]), rel=1e-6)


@pytest.mark.parametrize("rule", ["scott", "silverman"])
@pytest.mark.parametrize("weighted", [False, True])
def test_scipys_density(rule, weighted):
    x, grid = samples(400, 1).ravel(), np.linspace(-6, 9, 200)
    weight = np.random.default_rng(2).uniform(size=400) if weighted else None
    kde = KernelDensity(rule, rtol=0).fit(x, sample_weight=weight)
    reference = scipy.stats.gaussian_kde(x, bw_method=rule, weights=weight)
    assert kde.bandwidth_ == pytest.approx(np.sqrt(reference.covariance[0, 0]), rel=1e-12)
    np.testing.assert_allclose(kde.score_samples(grid), reference.logpdf(grid), rtol=1e-10)


def test_rules_give_a_bandwidth_per_feature():
    X = samples()
    np.testing.assert_allclose(KernelDensity("scott").fit(X).bandwidth_, scott(X), rtol=1e-14)
    np.testing.assert_allclose(KernelDensity("silverman").fit(X).bandwidth_, silverman(X), rtol=1e-14)
    kde = KernelDensity([0.2, 3.0]).fit(X)
    assert kde.bandwidth_.tolist() == [0.2, 3.0]
    np.testing.assert_allclose(kde.score_samples(X), by_definition(X, X, [0.2, 3.0]), rtol=1e-12)
    for h in (0.5, np.float32(0.5), 1, np.int64(1)):
        assert isinstance(KernelDensity(h).fit(X).bandwidth_, float)
    assert isinstance(KernelDensity([0.5]).fit(X[:, 0]).bandwidth_, float)


# Exactness -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("far", [0.0, 3.0, 36.0, 37.5, 38.7, 45.0, 1e3, 1e6, 1e100])
def test_tails(d, far):
    """Across the place where the plain sum underflows, and a million bandwidths out."""
    rng = np.random.default_rng(d)
    h = rng.uniform(0.1, 2, d)
    sources, weight = rng.normal(size=(30, d)) * h, rng.uniform(0.1, 1, 30)
    direction = rng.normal(size=(4, d))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    targets = far * direction * h
    actual = KernelDensity(h).fit(sources, sample_weight=weight).score_samples(targets)
    assert np.isfinite(actual).all()
    for a, e in zip(actual, exact(sources, targets, h, weight)):
        assert abs(mpmath.mpf(float(a)) - e) <= 1e-12 * max(1, abs(e))


def test_near_and_far_targets_together():
    x = samples(2000, 1).ravel()
    targets = np.concatenate([np.linspace(-5, 5, 700), [1e3, -1e6], np.linspace(30, 50, 500)])
    np.testing.assert_allclose(
        KernelDensity(0.2, rtol=0).fit(x).score_samples(targets),
        by_definition(x[:, None], targets[:, None], 0.2),
        rtol=1e-12,
    )


def test_a_light_source_in_the_tail_of_a_heavy_one():
    weight = [1.0, 1e-290, 1e-300]
    kde = KernelDensity(1.0).fit([0.0, 60.0, 1000.0], sample_weight=weight)
    expected = exact([[0.0], [60.0], [1000.0]], [[0.0], [60.0], [999.0], [40.0]], [1.0], weight)
    np.testing.assert_allclose(
        kde.score_samples([0.0, 60.0, 999.0, 40.0]), [float(e) for e in expected], rtol=1e-12
    )


@pytest.mark.parametrize("weight", [[1e-300, 1e300], [5e-324, 1.0], [1e300, 1e300]])
def test_extreme_weights(weight):
    kde = KernelDensity(1.0).fit([0.0, 1.0], sample_weight=weight)
    expected = exact([[0.0], [1.0]], [[0.0], [1e4]], [1.0], weight)
    np.testing.assert_allclose(kde.score_samples([0.0, 1e4]), [float(e) for e in expected], rtol=1e-12)


@pytest.mark.parametrize("params", [{}, {"rtol": 0}, {"kernel": "exponential"}, {"kernel": "epanechnikov"},
                                    {"bounds": (0, 3), "boundary": "periodic"}, {"adaptive": 0.5}], ids=repr)
@pytest.mark.parametrize("light", [1e-8, 1e-13, 1e-20, 1e-300])
def test_leaving_out_nearly_all_of_the_weight(params, light):
    """What the others weigh is their sum: 1 - w would be rounding, or 0."""
    rng = np.random.default_rng(0)
    x, w = rng.uniform(0, 3, size=40), light * rng.uniform(1, 2, size=40)
    others = np.delete(np.arange(40), 7)
    kde = KernelDensity(0.4, **params)
    if "adaptive" in params:                        # the factors are those of all samples
        kde.fit(x, sample_weight=np.where(np.arange(40) == 7, 1.0, w))
        log_w = np.log(w[others] / w[others].sum())
        h = 0.4 * kde.local_factors_[others]
        expected = np.logaddexp.reduce(log_w - 0.5 * ((x[7] - x[others]) / h) ** 2 - np.log(h * np.sqrt(2 * np.pi)))
    else:
        expected = kde.fit(x[others], sample_weight=w[others]).score_samples(x[7:8])[0]
        kde.fit(x, sample_weight=np.where(np.arange(40) == 7, 1.0, w))
    assert kde.score_leave_one_out()[7] == pytest.approx(expected, abs=1.1e-6)


def test_zero_weights_are_absent():
    X = samples(50)
    weight = np.random.default_rng(0).uniform(0.5, 1, 50)
    weight[::5] = 0
    X[::5] = 1e300
    kde = KernelDensity("scott").fit(X, sample_weight=weight)
    other = KernelDensity("scott").fit(X[weight > 0], sample_weight=weight[weight > 0])
    np.testing.assert_allclose(kde.bandwidth_, other.bandwidth_, rtol=1e-13)
    np.testing.assert_allclose(kde.score_samples(X[1::5]), other.score_samples(X[1::5]), rtol=1e-12)
    assert kde.sources_.shape == (40, 2)
    assert (np.abs(kde.sample(1000, 0)) < 100).all()


@pytest.mark.parametrize("offset", [1e4, 1e8, -1e8])
def test_offsets(offset):
    X = np.round(samples() * 1024) / 1024
    targets = np.round(samples(seed=1) * 1024) / 1024
    a = KernelDensity(0.3).fit(X).score_samples(targets)
    b = KernelDensity(0.3).fit(X + offset).score_samples(targets + offset)
    np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("h", [1e-308, 1e-300, 1e-100, 1e100, 1e300, 1e307])
@pytest.mark.parametrize("value", [0.0, 1e-5, 1.0, 1e10, 1e300])
def test_extreme_bandwidths(h, value):
    kde = KernelDensity(h).fit([value, -value])
    log_norm = -np.log(h) - 0.5 * np.log(2 * np.pi)
    with np.errstate(over="ignore"):
        away = -0.5 * np.square(2 * value / h)
    assert kde.score_samples([value])[0] == pytest.approx(
        log_norm + np.logaddexp(0, away) - np.log(2), rel=1e-12
    )
    np.testing.assert_array_equal(kde.sources_, [[value], [-value]])
    assert np.isfinite(kde.sample(10, 0)).all()
    if h < 1:  # between the sources, farther than any double can say or at an ordinary distance
        assert not np.isnan(kde.score_samples([value * (1 + 1e-9), 3.0])).any()


# The estimator ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 4])
def test_the_same_bits_for_any_number_of_threads(d, always_threads):
    sources, targets = samples(700, d), samples(5000, d, seed=1)
    targets[::7] *= 1e3
    fits = [KernelDensity(0.1, n_threads=t).fit(sources).score_samples(targets) for t in (1, 2, 3, 7)]
    for other in fits[1:]:
        np.testing.assert_array_equal(fits[0], other)


def test_one_source():
    kde = KernelDensity(2.0).fit([[1.0, 2.0]])
    np.testing.assert_allclose(kde.score_samples([[1.0, 2.0]]), -np.log(8 * np.pi), rtol=1e-14)


@pytest.mark.parametrize("d", [1, 2])
def test_samples(d):
    X = samples(200, d)
    weight = np.random.default_rng(0).uniform(size=200)
    kde = KernelDensity(np.linspace(0.5, 2, d)).fit(X, sample_weight=weight)
    drawn = kde.sample(100_000, 1)
    assert drawn.shape == (100_000, d)
    mean = np.average(X, axis=0, weights=weight)
    variance = np.average((X - mean) ** 2, axis=0, weights=weight) + np.linspace(0.5, 2, d) ** 2
    np.testing.assert_allclose((drawn.mean(axis=0) - mean) / np.sqrt(variance), 0, atol=0.015)
    np.testing.assert_allclose(drawn.var(axis=0), variance, rtol=0.02)
    np.testing.assert_array_equal(drawn, kde.sample(100_000, np.random.default_rng(1)))
    assert kde.sample().shape == (1, d)


def test_later_changes_of_the_callers_arrays_change_nothing():
    X, weight, h = samples(50), np.random.default_rng(0).uniform(size=50), np.array([0.3, 0.6])
    kde = KernelDensity(h).fit(X, sample_weight=weight)
    targets = samples(20, seed=1)
    before, sources, drawn = kde.score_samples(targets), kde.sources_.copy(), kde.sample(5, 0)
    X[:], weight[:], h[:] = 0, 1, 9
    np.testing.assert_array_equal(kde.score_samples(targets), before)
    np.testing.assert_array_equal(kde.sources_, sources)
    np.testing.assert_array_equal(kde.sample(5, 0), drawn)
    assert kde.bandwidth_.tolist() == [0.3, 0.6]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda k: pickle.loads(pickle.dumps(k))])
def test_copies(duplicate):
    X = samples()
    kde = KernelDensity([0.5, 0.7]).fit(X, sample_weight=np.arange(500))
    twin = duplicate(kde)
    np.testing.assert_array_equal(twin.score_samples(X), kde.score_samples(X))
    np.testing.assert_array_equal(twin.sources_, kde.sources_)
    np.testing.assert_array_equal(twin.sample(3, 0), kde.sample(3, 0))


def test_scikit_learns_conventions():
    kde = KernelDensity(0.3, n_threads=2)
    assert kde.get_params() == {
        "bandwidth": 0.3, "algorithm": "auto", "kernel": "gaussian", "metric": "euclidean", "atol": 0.0, "rtol": 1e-6,
        "breadth_first": True, "leaf_size": 40, "metric_params": None, "bounds": None, "boundary": "reflect",
        "adaptive": None, "n_threads": 2,
    }
    assert repr(kde) == "KernelDensity(bandwidth=0.3, n_threads=2)"
    clone = sklearn.base.clone(kde.fit(samples()))
    assert clone.get_params() == kde.get_params() and not hasattr(clone, "bandwidth_")
    assert kde.set_params(bandwidth="scott").bandwidth == "scott"
    kde = KernelDensity().fit(samples())
    assert kde.n_features_in_ == 2 and kde.source_weights_.sum() == pytest.approx(1, rel=1e-13)


def test_layouts(tmp_path):
    X = np.round(samples(), 2)
    kde = KernelDensity(0.5).fit(X)
    expected = kde.score_samples(X)
    np.save(tmp_path / "x.npy", X)
    wide = np.zeros((1000, 6))
    wide[::2, ::3] = X
    for other in (
        X.tolist(),
        np.asfortranarray(X),
        wide[::2, ::3],
        np.ascontiguousarray(X[::-1])[::-1],
        X.astype(">f8"),
        np.load(tmp_path / "x.npy", mmap_mode="r"),
    ):
        np.testing.assert_array_equal(kde.score_samples(other), expected)
        np.testing.assert_array_equal(KernelDensity(0.5).fit(other).score_samples(X), expected)
    single = X.astype(np.float32)
    np.testing.assert_array_equal(
        KernelDensity(0.5).fit(single).score_samples(single),
        KernelDensity(0.5).fit(single.astype(float)).score_samples(single),
    )
    x = X[:, :1].copy()
    np.testing.assert_array_equal(
        KernelDensity().fit(x.ravel()).score_samples(x.ravel()), KernelDensity().fit(x).score_samples(x)
    )


@pytest.mark.parametrize("method", ["score_samples", "score", "sample"])
def test_not_fitted(method):
    with pytest.raises(NotFittedError, match="KernelDensity is not fitted yet; call fit"):
        getattr(KernelDensity(), method)(*([] if method == "sample" else [samples()]))
    assert not hasattr(KernelDensity(), "sources_")


BAD = {
    "zero": ({"bandwidth": 0}, (samples(),), ValueError, "bandwidth is 0"),
    "negative": (
        {"bandwidth": -1.0},
        (samples(),),
        ValueError,
        "bandwidth is -1.0; expected a finite number > 0",
    ),
    "nan": ({"bandwidth": np.nan}, (samples(),), ValueError, "bandwidth is nan"),
    "infinite": ({"bandwidth": np.inf}, (samples(),), ValueError, "bandwidth is inf"),
    "rule": (
        {"bandwidth": "sheather"},
        (samples(),),
        ValueError,
        "bandwidth is 'sheather'; expected one of 'auto', 'scott'",
    ),
    "none": ({"bandwidth": None}, (samples(),), TypeError, "bandwidth is NoneType"),
    "bool": ({"bandwidth": True}, (samples(),), TypeError, "bandwidth is True"),
    "complex": ({"bandwidth": 1j}, (samples(),), TypeError, "bandwidth is complex"),
    "shape": (
        {"bandwidth": [1.0, 1, 1]},
        (samples(),),
        ValueError,
        "bandwidth has shape (3,); expected (2,)",
    ),
    "sign": ({"bandwidth": [1.0, -1]}, (samples(),), ValueError, "bandwidth holds -1"),
    "kernel": (
        {"kernel": "triweight"},
        (samples(),),
        ValueError,
        "kernel is 'triweight'; expected one of 'gaussian', 'tophat'",
    ),
    "rtol": ({"rtol": -1}, (samples(),), ValueError, "rtol is -1"),
    "constant": ({}, (np.ones(5),), ValueError, "X is constant in column 0"),
    "no room": ({"bandwidth": "scott"}, ([1e-310, 2e-310, 4e-310],), ValueError, "bandwidth 'scott' gives 1."),
    "no room for a feature": ({"bandwidth": "isj"}, (samples() * [1e-310, 1],), ValueError, "'isj' gives "),
    "one sample": ({}, ([1.0],), ValueError, "X has one sample"),
    "n_threads": ({"n_threads": 0}, (samples(),), ValueError, "n_threads is 0"),
    "X nan": ({}, ([1.0, np.nan],), ValueError, "X holds nan at index 1"),
    "X empty": ({}, ([],), ValueError, "X is empty"),
    "X text": ({}, (["a"],), TypeError, "X holds <U1"),
    "weights": ({}, (samples(), None, -np.ones(500)), ValueError, "sample_weight holds a negative value"),
    "weights zero": ({}, (samples(), None, np.zeros(500)), ValueError, "sample_weight is zero everywhere"),
}


@pytest.mark.parametrize("params, args, error, message", BAD.values(), ids=BAD)
def test_refused_fits(params, args, error, message):
    with pytest.raises(error) as caught:
        KernelDensity(**params).fit(*args)
    assert message in str(caught.value)


def test_refused_queries():
    kde = KernelDensity(1.0).fit(samples())
    with pytest.raises(ValueError, match="X has 3 features, but 2 features are expected"):
        kde.score_samples(np.ones((2, 3)))
    with pytest.raises(ValueError, match="n_samples is 0"):
        kde.sample(0)
