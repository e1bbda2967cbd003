"""A kernel density as a distribution: tails, quantiles, boxes, moments, marginals and conditionals."""

import copy
import pickle
import re

import mpmath
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from gaussum import KernelDensity, NotFittedError, slices


def samples(n=300, d=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * np.arange(1, d + 1) + 3.0 * rng.integers(0, 2, (n, 1))


def weighted(n=300, seed=1):
    return np.random.default_rng(seed).exponential(size=n) ** 2


def tails(x, w, h, t):
    """Both tails to sixty digits."""
    with mpmath.workdps(60):
        z = [(mpmath.mpf(float(t)) - mpmath.mpf(float(s))) / mpmath.mpf(float(h)) / mpmath.sqrt(2) for s in x]
        w = [mpmath.mpf(float(a)) for a in w]
        return [mpmath.fsum(a * mpmath.erfc(sign * b) for a, b in zip(w, z)) / 2 / mpmath.fsum(w) for sign in (-1, 1)]


# One feature ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("h", [0.02, 0.4, 5.0])
def test_both_tails(h):
    x, w = samples(40, 1).ravel(), weighted(40)
    kde = KernelDensity(h).fit(x, sample_weight=w)
    t = np.concatenate([np.linspace(-8, 8, 30), [-60.0, 60.0, -1e4, 1e4], x[:3]])
    results = kde.log_cdf(t), kde.log_sf(t), kde.cdf(t), kde.sf(t)
    for at, log_lower, log_upper, lower, upper in zip(t, *results):
        exact_lower, exact_upper = tails(x, w, h, at)
        for actual, log_actual, exact, other in (
            (lower, log_lower, exact_lower, exact_upper), (upper, log_upper, exact_upper, exact_lower),
        ):
            with mpmath.workdps(60):
                log_exact = mpmath.log(exact) if exact < other else mpmath.log1p(-other)
                # also where the tail is nearly 1 and its logarithm nearly 0
                assert abs(log_actual - log_exact) <= 1e-13 * min(1, abs(log_exact)) + 2e-15 * abs(log_exact) + 1e-300
                assert exact < 1e-300 or abs(actual - exact) <= 1e-12 * exact


@pytest.mark.parametrize("weighted_samples", [False, True])
def test_galaxies_against_scipy(galaxies, weighted_samples):
    w = weighted(len(galaxies)) if weighted_samples else None
    reference = scipy.stats.gaussian_kde(galaxies, weights=w)
    kde = KernelDensity("scott").fit(galaxies, sample_weight=w)
    low, high = galaxies[:40], galaxies[:40] + np.linspace(0.5, 20, 40)
    expected = [reference.integrate_box_1d(a, b) for a, b in zip(low, high)]
    np.testing.assert_allclose(kde.integrate_box(low, high), expected, rtol=1e-9)
    np.testing.assert_allclose(kde.cdf(low), [reference.integrate_box_1d(-np.inf, a) for a in low], rtol=1e-9)


def test_one_gaussian_is_the_normal_distribution():
    kde, normal = KernelDensity(2.0).fit([3.0]), scipy.stats.norm(3.0, 2.0)
    t = np.linspace(-60, 60, 200)
    np.testing.assert_allclose(kde.log_cdf(t), normal.logcdf(t), rtol=1e-12)
    np.testing.assert_allclose(kde.log_sf(t), normal.logsf(t), rtol=1e-12)
    q = np.concatenate([np.logspace(-300, -0.01, 200), [0.5, 1.0, 0.0, 1 - 2.0**-53]])
    np.testing.assert_allclose(kde.quantile(q), normal.ppf(q), rtol=1e-12)
    np.testing.assert_allclose(kde.isf(q), normal.isf(q), rtol=1e-12, atol=1e-14)
    assert kde.median() == pytest.approx(3.0, rel=1e-15)


def test_infinite_queries_and_the_farthest():
    kde = KernelDensity(0.5).fit(samples(50, 1).ravel())
    t = [-np.inf, -1e300, 1e300, np.inf]
    assert kde.cdf(t).tolist() == [0, 0, 1, 1] and kde.sf(t).tolist() == [1, 1, 0, 0]
    assert kde.log_cdf(t)[-1] == 0 and kde.log_sf(t)[-1] == -np.inf
    assert np.isfinite(kde.log_cdf([-1e100])).all()
    assert kde.cdf(np.array([[np.inf], [0.0]], dtype=np.float32)).shape == (2,)


@pytest.mark.parametrize("h", [0.02, 0.4, 5.0])
@pytest.mark.parametrize("n", [1, 2, 300])
def test_quantiles_invert(n, h):
    x = samples(n, 1, seed=5).ravel()
    kde = KernelDensity(h).fit(x, sample_weight=weighted(n))
    q = np.concatenate([[5e-324, 1e-300, 1e-20], np.sort(np.random.default_rng(0).uniform(size=200)), [1 - 1e-12]])
    for forth, back in ((kde.quantile, kde.log_cdf), (kde.isf, kde.log_sf)):
        found = forth(q)
        assert (np.diff(found) >= 0).all() if forth == kde.quantile else (np.diff(found) <= 0).all()
        aim = np.log(q)
        # as exact as a double can say where the quantile is
        scale = np.exp(kde.score_samples(found) - back(found)) * np.spacing(np.abs(found))
        assert (np.abs(back(found) - aim) <= 1e-14 * np.maximum(1, np.abs(aim)) + 2 * scale).all()
    np.testing.assert_array_equal(kde.ppf(q), kde.quantile(q))
    assert kde.quantile([0.0, 1.0]).tolist() == [-np.inf, np.inf]
    assert kde.isf([0.0, 1.0]).tolist() == [np.inf, -np.inf]
    assert isinstance(kde.quantile(0.3), float) and kde.quantile(np.full((2, 3), 0.3)).shape == (2, 3)


def test_quantiles_of_data_spread_over_many_bandwidths():
    x = np.concatenate([samples(100, 1).ravel(), [1e6, -1e9, 1e12]])
    kde = KernelDensity(0.1).fit(x)
    q = np.linspace(0.001, 0.999, 313)
    np.testing.assert_allclose(kde.cdf(kde.quantile(q)), q, rtol=1e-4)      # samples at 1e12 have neighbours 1e-4 away
    inner = (q > 2 / 103) & (q < 101 / 103)
    np.testing.assert_allclose(kde.cdf(kde.quantile(q[inner])), q[inner], rtol=1e-12)
    for one in (0.3, 0.7, 0.999):
        assert kde.quantile(one) == pytest.approx(kde.quantile(np.append(q, one))[-1], rel=1e-10)


@pytest.mark.parametrize("offset, scale", [(1e8, 1.0), (0.0, 1e-200), (0.0, 1e150), (-3.0, 1e3)])
def test_scale_and_shift(offset, scale):
    x = np.round(samples(200, 1).ravel() * 1024) / 1024
    a, b = KernelDensity(0.25).fit(x), KernelDensity(0.25 * scale).fit(x * scale + offset)
    t, q = np.round(np.linspace(-9, 9, 100) * 64) / 64, np.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(b.log_cdf(t * scale + offset), a.log_cdf(t), rtol=1e-11)
    np.testing.assert_allclose(b.quantile(q), a.quantile(q) * scale + offset, rtol=1e-11, atol=1e-13 * scale)
    np.testing.assert_allclose(b.integrate_box(t[:-1] * scale + offset, t[1:] * scale + offset),
                               a.integrate_box(t[:-1], t[1:]), rtol=1e-11)


def test_weights_that_underflow():
    kde = KernelDensity(1.0).fit([0.0, 100.0, 300.0], sample_weight=[1e-300, 1e300, 1e-200])
    for t in (-2.0, 40.0, 99.0):
        # -1381 = log 1e-600, and the tail of the heavy one, which is less at first
        expected = np.logaddexp(-600 * np.log(10) + scipy.stats.norm.logcdf(t), scipy.stats.norm.logcdf(t - 100.0))
        assert kde.log_cdf([t])[0] == pytest.approx(expected, rel=1e-13)


def test_real_data_add_up(faithful):
    kde = KernelDensity("silverman").fit(faithful[:, 0])
    edges = np.concatenate([[-np.inf], np.linspace(1, 6, 101), [np.inf]])
    parts = kde.integrate_box(edges[:-1], edges[1:])
    assert parts.sum() == pytest.approx(1.0, rel=1e-14)
    np.testing.assert_allclose(np.cumsum(parts)[:-1], kde.cdf(edges[1:-1]), rtol=1e-12)
    middle = 0.5 * (edges[51] + edges[52])
    narrow = kde.integrate_box(middle - 1e-7, middle + 1e-7) / 2e-7
    assert narrow == pytest.approx(np.exp(kde.score_samples([middle])[0]), rel=1e-8)


# Several features -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [2, 3, 6])
def test_boxes_are_products_of_intervals(d):
    X, w, h = samples(60, d), weighted(60), np.linspace(0.3, 2.0, d)
    kde = KernelDensity(h).fit(X, sample_weight=w)
    rng = np.random.default_rng(3)
    low = rng.normal(size=(30, d)) * 2
    high = low + rng.exponential(size=(30, d)) * 3
    low[:10, 0], high[5:15, -1] = -np.inf, np.inf

    def phi(t):
        return ndtr((t[:, None] - X) / h)

    expected = (phi(high) - phi(low)).prod(axis=2) @ (w / w.sum())
    # differences of SciPy's values cancel
    np.testing.assert_allclose(kde.integrate_box(low, high), expected, rtol=1e-11, atol=1e-17)
    np.testing.assert_allclose(np.exp(kde.integrate_box(low, high, log=True)), expected, rtol=1e-11, atol=1e-17)
    np.testing.assert_allclose(kde.cdf(high), phi(high).prod(axis=2) @ (w / w.sum()), rtol=1e-12)
    assert kde.integrate_box(low[0], high[0]) == pytest.approx(expected[0], rel=1e-9)
    assert 1 - 1e-15 <= kde.integrate_box(-np.inf, np.inf) <= 1
    np.testing.assert_allclose(kde.integrate_box(-np.inf, high), kde.cdf(high), rtol=1e-13)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_boxes_far_in_a_tail(d):
    """To what mpmath says, where the probability is far below the smallest double."""
    kde = KernelDensity(1.0).fit(np.zeros((1, d)))
    low, high = np.full(d, 50.0), np.full(d, 50.5)
    with mpmath.workdps(40):
        expected = d * mpmath.log((mpmath.erfc(50 / mpmath.sqrt(2)) - mpmath.erfc(50.5 / mpmath.sqrt(2))) / 2)
    assert kde.integrate_box(low, high, log=True) == pytest.approx(float(expected), rel=1e-14)
    assert kde.integrate_box(-high, -low, log=True) == kde.integrate_box(low, high, log=True)
    if d == 1:
        assert kde.integrate_box([40.0], [41.0])[0] == 0.0 < kde.integrate_box(37.0, 38.0)


@pytest.mark.parametrize("d", [1, 3])
def test_the_same_bits_for_any_number_of_threads(d, always_threads):
    X, T = samples(500, d), samples(700, d, seed=1)
    results = []
    for n_threads in (1, 2, 3, 7):
        kde = KernelDensity(0.3, n_threads=n_threads).fit(X)
        results.append(np.stack([kde.log_cdf(T), kde.integrate_box(T, T + 0.1)]))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_moments():
    X, w, h = samples(500, 3) + 1e6, weighted(500), [0.5, 1.0, 2.0]
    kde = KernelDensity(h).fit(X, sample_weight=w)
    mean = np.average(X, axis=0, weights=w)
    np.testing.assert_allclose(kde.mean_, mean, rtol=1e-14)
    expected = np.cov(X.T, aweights=w, bias=True) + np.diag(np.square(h))
    np.testing.assert_allclose(kde.covariance_, expected, rtol=1e-9)
    one = KernelDensity(0.5).fit([2.0])
    assert one.mean_.tolist() == [2.0] and one.covariance_.tolist() == [[0.25]]


def test_marginals():
    X, w, h = samples(50, 3), weighted(50), np.array([0.5, 1.0, 2.0])
    kde = KernelDensity(h, rtol=0, n_threads=1).fit(X, sample_weight=w)
    for features in ([2, 0], [1], 1, (0, 1, 2), np.array([2])):
        marginal = kde.marginal(features)
        which = np.atleast_1d(features)
        same = KernelDensity(h[which], rtol=0).fit(X[:, which], sample_weight=w)
        np.testing.assert_allclose(marginal.score_samples(X[:, which]), same.score_samples(X[:, which]), rtol=1e-13)
        assert marginal.rtol == 0 and marginal.n_threads == 1 and marginal.n_features_in_ == len(which)
    t = np.linspace(-5, 5, 20)
    box = np.full((20, 3), np.inf)
    box[:, 1] = t
    np.testing.assert_allclose(kde.marginal(1).cdf(t), kde.cdf(box), rtol=1e-12)
    assert isinstance(KernelDensity(0.7).fit(X).marginal([0, 2]).bandwidth_, float)


def test_conditionals():
    """f(rest | given) = f(rest, given) / f(given)."""
    X, w, h = samples(50, 3), weighted(50), np.array([0.5, 1.0, 2.0])
    kde = KernelDensity(h, rtol=0).fit(X, sample_weight=w)
    for known, rest in (({1: 0.3}, [0, 2]), ({2: -1.0, 0: 4.0}, [1]), ({0: 50.0}, [1, 2]), ({0: -1e4, 1: 1e5}, [2])):
        T = np.tile(np.zeros(3), (50, 1))
        T[:, rest], T[:, list(known)] = X[:, rest], list(known.values())
        joint, alone = kde.score_samples(T), kde.marginal(list(known)).score_samples(T[:1, list(known)])
        conditional = kde.conditional(known)
        np.testing.assert_allclose(conditional.score_samples(X[:, rest]), joint - alone, atol=4e-15 * abs(alone[0]),
                                   rtol=1e-11)
        assert conditional.rtol == 0
    assert len(kde.conditional({0: 1e5}).sources_) < 50


def gaussians(X, log_w, mean, covariance):
    """log w_s N(x; m_s, C), shape (n_targets, n_sources)."""
    away = np.linalg.solve(np.linalg.cholesky(covariance), (X[:, None] - mean).reshape(-1, X.shape[1]).T)
    r2 = (away**2).sum(axis=0).reshape(len(X), -1)
    return log_w - 0.5 * (r2 + np.linalg.slogdet(2 * np.pi * covariance)[1])


def test_slices_of_full_matrices():
    """The same identity, with the covariance of the kernel full."""
    rng = np.random.default_rng(0)
    X, log_w = samples(40, 4), np.log(weighted(40) / weighted(40).sum())
    H = np.cov(rng.normal(size=(4, 9)))
    T = samples(20, 4, seed=2)
    T[:, [3, 1]] = [0.7, -2.0]
    keep, moved, w, left = slices.conditional(X, log_w, H, [3, 1], np.array([0.7, -2.0]))
    assert keep.all() and len(w) == 40 and w.max() == 1.0
    actual = np.logaddexp.reduce(gaussians(T[:, [0, 2]], np.log(w / w.sum()), moved, left), axis=1)
    joint = np.logaddexp.reduce(gaussians(T, log_w, X, H), axis=1)
    part = slices.part(H, [3, 1], 4)
    known = np.logaddexp.reduce(gaussians(T[:, [3, 1]], log_w, X[:, [3, 1]], part), axis=1)
    np.testing.assert_allclose(actual, joint - known, rtol=1e-12)
    # a diagonal matrix is a bandwidth a feature
    h = np.array([0.3, 1.0, 2.0, 0.5])
    for full, plain in zip(slices.conditional(X, log_w, np.diag(h**2), [2], np.array([1.0])),
                           slices.conditional(X, log_w, h, [2], np.array([1.0]))):
        full = np.sqrt(np.diag(full)) if full.shape == (3, 3) else full
        np.testing.assert_allclose(full, plain, rtol=1e-13)
    assert slices.part(np.diag(h**2), [3], 4) == pytest.approx(0.5)
    np.testing.assert_array_equal(slices.covariance(2.0, 3), 4.0 * np.eye(3))


# Properties and refusals ----------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=10), st.floats(0.01, 100), st.floats(0, 1))
def test_the_distribution_function_is_one(x, h, q):
    kde = KernelDensity(h).fit(x)
    at = kde.quantile(q)
    assert kde.cdf([at])[0] == pytest.approx(q, rel=1e-11, abs=1e-300)
    t = np.linspace(-30, 30, 61)
    F, S = kde.cdf(t), kde.sf(t)
    assert (np.diff(F) >= -1e-15).all() and (np.diff(S) <= 1e-15).all()
    np.testing.assert_allclose(F + S, 1.0, rtol=1e-15)
    mirrored = KernelDensity(h).fit(-np.array(x))
    np.testing.assert_allclose(mirrored.cdf(-t), S, rtol=1e-12, atol=1e-300)


def test_zero_weights_duplicates_and_layouts(tmp_path):
    x = np.round(samples(200, 1).ravel(), 1)
    w = np.repeat([1.0, 0.0], 100)
    t = np.linspace(-3, 6, 50)
    a = KernelDensity(0.3).fit(x, sample_weight=w)
    b = KernelDensity(0.3).fit(np.unique(x[:100]), sample_weight=np.unique(x[:100], return_counts=True)[1])
    np.testing.assert_allclose(a.cdf(t), b.cdf(t), rtol=1e-13)
    np.save(tmp_path / "t.npy", t)
    for other in (t.tolist(), np.repeat(t, 2)[::2], t[:, None], np.load(tmp_path / "t.npy", mmap_mode="r")):
        np.testing.assert_array_equal(a.cdf(other), a.cdf(t))
    single = KernelDensity(0.3).fit(x[:100].astype(np.float32))
    np.testing.assert_allclose(single.cdf(t.astype(np.float32)), a.cdf(t), rtol=1e-4)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda k: pickle.loads(pickle.dumps(k))])
def test_copies_and_refits(duplicate):
    x, t = samples(200, 1).ravel(), np.linspace(-3, 6, 50)
    kde = KernelDensity(0.3).fit(x)
    before = kde.cdf(t)
    twin = duplicate(kde)
    np.testing.assert_array_equal(twin.cdf(t), before)
    assert (kde.fit(x + 1).cdf(t) < before).all()
    np.testing.assert_array_equal(twin.cdf(t), before)


METHODS = {"cdf": [[0.0]], "log_cdf": [[0.0]], "sf": [[0.0]], "log_sf": [[0.0]], "quantile": [0.5], "isf": [0.5],
           "median": [], "integrate_box": [0.0, 1.0], "marginal": [0], "conditional": [{0: 1.0}],
           "highest_density_region": [0.5]}


@pytest.mark.parametrize("method", METHODS)
def test_not_fitted(method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(KernelDensity(), method)(*METHODS[method])
    assert not hasattr(KernelDensity(), "mean_") and not hasattr(KernelDensity(), "covariance_")


REFUSED_SUMS = [
    ({"kernel": "tophat"}, 2, ["integrate_box"], "kernel is 'tophat', under which boxes of 2 features"),
    ({"kernel": "tophat"}, 1, ["marginal", "conditional"], "kernel is 'tophat'; expected Gaussian kernels of one"),
    ({"adaptive": "balloon"}, 1, ["cdf", "sf", "quantile", "isf", "integrate_box"], "adaptive is a balloon estimate"),
    ({"adaptive": "balloon"}, 2, ["marginal", "conditional"], "adaptive is 'balloon'; expected Gaussian kernels of"),
    ({"bounds": [(-1, 1)] * 2, "boundary": "linear"}, 2, ["integrate_box"], "boundary is 'linear', under which boxes"),
    ({"bounds": [(-1, 1)] * 2, "boundary": "linear"}, 2, ["marginal", "conditional"], "boundary is 'linear'; expected"),
]


@pytest.mark.parametrize("params, d, methods, message", REFUSED_SUMS)
def test_other_sums_are_refused(params, d, methods, message):
    kde = KernelDensity(1.0, **params).fit([[0.0] * d, [0.5] * d])
    for method in methods:
        with pytest.raises(ValueError, match=re.escape(message)):
            getattr(kde, method)(*METHODS[method])
    for name in ("mean_", "covariance_"):
        with pytest.raises(ValueError, match="expected Gaussian kernels of one width"):
            getattr(kde, name)


REFUSED = {
    "sf": (2, "sf", ([[0.0, 0.0]],), ValueError, "the density has 2 features, but this is for one"),
    "quantile d": (2, "quantile", (0.5,), ValueError, "the density has 2 features"),
    "cdf shape": (2, "cdf", ([[0.0]],), ValueError, "X has 1 features, but 2 features are expected"),
    "cdf nan": (1, "cdf", ([0.0, np.nan],), ValueError, "X holds nan at index 1"),
    "cdf nan and inf": (1, "cdf", ([np.inf, np.nan],), ValueError, "X holds nan at index 1"),
    "cdf text": (1, "cdf", (["a"],), TypeError, "X holds <U1"),
    "cdf none": (1, "cdf", (None,), TypeError, "X is None"),
    "cdf empty": (1, "cdf", ([],), ValueError, "X is empty"),
    "q": (1, "quantile", ([0.5, 1.5],), ValueError, "q holds 1.5; expected numbers within 0 and 1"),
    "q nan": (1, "quantile", (np.nan,), ValueError, "q holds nan"),
    "q text": (1, "isf", ("a",), TypeError, "q holds <U1 values"),
    "box order": (2, "integrate_box", ([0.0, 1.0], [1.0, 0.0]), ValueError, "low is above high in box 0, feature 1"),
    "box shape": (2, "integrate_box", ([0.0, 1.0, 2.0], 3.0), ValueError, "low has shape (3,); expected (2,)"),
    "boxes": (1, "integrate_box", ([0.0, 1.0], [1.0, 2.0, 3.0]), ValueError, "low holds 2 boxes and high 3"),
    "box nan": (1, "integrate_box", (np.nan, 0.0), ValueError, "low holds nan"),
    "feature": (2, "marginal", (2,), ValueError, "features are [2]; expected different numbers from 0 to 1"),
    "feature twice": (2, "marginal", ([0, 0],), ValueError, "features are [0, 0]"),
    "no feature": (2, "marginal", ([],), ValueError, "features are []"),
    "feature type": (2, "marginal", (0.5,), TypeError, "features is float"),
    "feature kind": (2, "marginal", (["a"],), TypeError, "a feature is 'a'"),
    "given": (2, "conditional", ([0.0],), TypeError, "given is list; expected a dict"),
    "given all": (2, "conditional", ({0: 1.0, 1: 1.0},), ValueError, "given names all 2 features"),
    "given feature": (2, "conditional", ({5: 1.0},), ValueError, "features are [5]"),
    "given value": (2, "conditional", ({0: np.inf},), ValueError, "the values of given holds NaN or infinity"),
    "given far": (2, "conditional", ({0: 1e300},), ValueError, "values lie so far from all samples"),
}


@pytest.mark.parametrize("d, method, args, error, message", REFUSED.values(), ids=REFUSED)
def test_refused(d, method, args, error, message):
    kde = KernelDensity(1.0).fit(samples(20, d))
    with pytest.raises(error) as caught:
        getattr(kde, method)(*args)
    assert message in str(caught.value)
