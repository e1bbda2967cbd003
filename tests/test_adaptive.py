"""Bandwidths that follow the data: factors as their authors define them, sums to rtol near and far, by every plan."""

import pickle

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import sklearn.base
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from gaussum import KernelDensity
from gaussum.adaptive import Abramson, Balloon, Breiman
from gaussum.neighbors import NearestNeighbors
from gaussum.varying import VaryingSum

KINDS = ["normal", "cauchy", "clusters", "duplicates", "outliers"]
ADAPTIVE = ["abramson", "breiman", "balloon"]
adaptives = pytest.mark.parametrize("adaptive", ADAPTIVE)


def data(kind, n, d, rng):
    X = rng.normal(size=(n, d))
    if kind == "cauchy":
        return rng.standard_cauchy(size=(n, d))
    if kind == "clusters":
        return X * np.geomspace(0.01, 10, 4)[rng.integers(4, size=(n, 1))] + 20 * rng.integers(3, size=(n, 1))
    if kind == "duplicates":
        return X[rng.integers(min(n, 7), size=n)]
    if kind == "outliers":
        X[:3] += 1e6 * rng.normal(size=X[:3].shape)
    return X


def queries(S, rng, m=40):
    some, d = S[rng.integers(len(S), size=m)], S.shape[1]
    far = rng.normal(size=(10, d)) * np.geomspace(1, 1e7, 10)[:, np.newaxis]
    return np.concatenate([some, some + 0.3 * rng.normal(size=some.shape), far])


def by_definition(S, w, h, T, factors, own=False):
    """Log densities; `factors` have a place for each target and source, shape (n_targets, n_sources) or what fits."""
    d = S.shape[1]
    factors = np.broadcast_to(factors, (len(T), len(S)))
    with np.errstate(divide="ignore", over="ignore"):
        r2 = ((((T[:, np.newaxis] - S) / h) / factors[..., np.newaxis]) ** 2).sum(axis=2)
        a = np.log(w) - d * np.log(factors) - 0.5 * r2
    if own:
        np.fill_diagonal(a, -np.inf)
    return logsumexp(a, axis=1) - np.log(np.broadcast_to(h, d)).sum() - 0.5 * d * np.log(2 * np.pi)


def abramson_factors(S, w, h, sensitivity=0.5):
    pilot = by_definition(S, w, h, S, 1.0)
    return np.exp(-sensitivity * (pilot - w @ pilot))


def distances(S, h, T, k):
    return np.sort(np.sqrt((((T[:, np.newaxis] - S) / h) ** 2).sum(axis=2)), axis=1)[:, k - 1]


def assert_within(found, exact, rtol):
    same = found == exact
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(found - exact))
    bound = -np.log1p(-rtol) + 1e-14 * np.where(same, 1.0, np.abs(exact)) + 1e-12
    assert (error <= bound).all(), (np.max(error / bound), int(np.argmax(error / bound)))


PLANS = [("direct", False), ("direct", True), ("tree", False), ("tree", True), ("grid", False)]
plans = pytest.mark.parametrize("name, by_target", PLANS)


# --- sums -----------------------------------------------------------------------------------------


def varying_sum(S, w, h, rng, spread, by_target):
    factors = np.exp(spread * rng.normal(size=len(S)))
    if not by_target:
        return VaryingSum(S, np.log(w), np.full(S.shape[1], h), factors), lambda T: factors
    total = VaryingSum(S, np.log(w), np.full(S.shape[1], h), None, lambda X, own, n_threads: _some_factors(X))
    return total, lambda T: _some_factors(T)[:, np.newaxis]


def _some_factors(X):
    return 0.2 + np.abs(np.sin(X[:, 0])) + 1e-3 * np.abs(X[:, 0])


def sums_by(total, name, X, rtol, own=None, n_threads=2):
    if name == "grid":
        total._pair_seconds = lambda: 1e-7                  # so slow that every class has a grid
        if total._classes_for(rtol).reason is not None or total._classes_for(rtol).n_nodes > 3_000_000:
            return None
    targets, log_factors = total._targets(X, own is not None, n_threads)
    return total._by(name, targets, rtol, own, n_threads) + total._log_norm - X.shape[1] * log_factors


@plans
@given(
    kind=st.sampled_from(KINDS), n=st.integers(1, 400), d=st.integers(1, 5), log_h=st.floats(-3, 1),
    log_rtol=st.floats(-11, -1), spread=st.floats(0, 4), heavy=st.floats(0, 20), seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40)
def test_every_plan_near_and_far(name, by_target, kind, n, d, log_h, log_rtol, spread, heavy, seed):
    rng = np.random.default_rng(seed)
    S, h, rtol = data(kind, n, d, rng), 10.0**log_h, 10.0**log_rtol
    w = rng.exponential(size=n) ** heavy + 1e-300
    w /= w.sum()
    total, factors = varying_sum(S, w, h, rng, spread, by_target)
    T = queries(S, rng, m=20)
    found = sums_by(total, name, T, rtol)
    if found is None:                                       # no grid
        return
    assert_within(found, by_definition(S, w, h, T, factors(T)), rtol)
    exact = by_definition(S, w, h, S, factors(S), own=True)
    assert_within(sums_by(total, name, S, rtol, np.arange(n)), exact, rtol)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("h", [0.3, 3.0])
def test_grids(kind, d, h):
    """Most targets are served by grids, and right to rtol there; the errors of widths rounded to classes would show."""
    rng = np.random.default_rng(d)
    S, w = data(kind, 500, d, rng), np.full(500, 1 / 500)
    total, factors = varying_sum(S, w, h, rng, 0.3, False)
    total._pair_seconds = lambda: 1e-7
    T = queries(S, rng)
    for rtol in (1e-3, 1e-6, 1e-8):
        classes = total._classes_for(rtol)
        if classes.reason is None and classes.n_nodes < 3_000_000:
            assert len(classes.layouts) > 2 or d == 3
            found = total._grids_for(rtol, 2).log_density(T) + total._log_norm
            served = np.isfinite(found)
            assert served.mean() > 0.7
            assert_within(found[served], by_definition(S, w, h, T, factors(T))[served], rtol)
            found = total._grids_for(rtol, 2).log_density(S, own=np.arange(500)) + total._log_norm
            served = np.isfinite(found)
            assert_within(found[served], by_definition(S, w, h, S, factors(S), own=True)[served], rtol)


def test_the_grid_is_chosen_where_sources_are_many():
    rng = np.random.default_rng(0)
    X = rng.standard_t(3, size=100_000)
    kde = KernelDensity(0.05, adaptive="abramson").fit(X)
    assert kde.explain(X).name == "grid" and "like bandwidths" in str(kde.explain(X))
    some = np.concatenate([np.argsort(X)[:30], np.argsort(X)[-30:], rng.integers(100_000, size=40)])
    exact = kde._sum.log_density(X[some, np.newaxis], rtol=0.0)
    assert_within(kde.score_samples(X)[some], exact, 1e-6)


def test_duplicates_count_as_one_source():
    rng = np.random.default_rng(0)
    S = np.repeat(rng.normal(size=(7, 2)), 3000, axis=0)
    factors = np.repeat(np.exp(rng.normal(size=7)), 3000) * (1 + 1e-13 * rng.normal(size=21_000))
    total = VaryingSum(S, np.full(21_000, -np.log(21_000)), np.array([0.1, 0.2]), factors)
    T = rng.normal(size=(640, 2))
    w = np.full(21_000, 1 / 21_000)
    exact = by_definition(S, w, np.array([0.1, 0.2]), T[:64], factors)
    assert_within(sums_by(total, "tree", T, 1e-6)[:64], exact, 1e-6)
    assert total._tree_for(1).seconds(T, 1e-6) < 0.1 * 640 * 21_000 * 1e-9


@plans
@pytest.mark.parametrize("d", [1, 2])
def test_the_same_bits_for_any_number_of_threads(name, by_target, d, always_threads):
    rng = np.random.default_rng(d)
    S, T = rng.normal(size=(3000, d)), rng.normal(size=(2000, d))
    T[::11] *= 30
    for own, X in ((None, T), (np.arange(3000), S)):
        found = []
        for n_threads in (1, 2, 3, 7):
            total, _ = varying_sum(S, np.full(3000, 1 / 3000), 0.2, np.random.default_rng(0), 1.0, by_target)
            found.append(sums_by(total, name, X, 1e-6, own, n_threads))
        assert found[0].shape == (len(X),)
        for other in found[1:]:
            np.testing.assert_array_equal(found[0], other)


# --- factors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_abramsons_factors(kind, d, weighted):
    rng = np.random.default_rng(d)
    X = data(kind, 300, d, rng)
    weight = rng.exponential(size=300) if weighted else None
    w = np.full(300, 1 / 300) if weight is None else weight / weight.sum()
    h = np.linspace(0.3, 0.6, d)
    for adaptive, sensitivity in (("abramson", 0.5), (Abramson(), 0.5), (0.3, 0.3), (1, 1.0), (Abramson(0.0), 0.0)):
        kde = KernelDensity(h, adaptive=adaptive).fit(X, sample_weight=weight)
        factors = abramson_factors(X, w, h, sensitivity)
        np.testing.assert_allclose(kde.local_factors_, factors, rtol=1e-10)
        np.testing.assert_allclose(kde.bandwidth_, h)
    assert w @ np.log(kde.local_factors_) == pytest.approx(0, abs=1e-12)
    factors, T = abramson_factors(X, w, h), queries(X, rng)
    kde = KernelDensity(h, adaptive="abramson").fit(X, sample_weight=weight)
    exact = by_definition(X, w, h, T, factors)
    np.testing.assert_allclose(kde.score_samples(T), exact, rtol=1e-9, atol=2e-6)
    exact = by_definition(X, w, h, X, factors, own=True) - np.log1p(-w)
    np.testing.assert_allclose(kde.score_leave_one_out(), exact, rtol=1e-9, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 4])
def test_factors_by_neighbours(kind, d):
    rng = np.random.default_rng(d)
    X, w, h = data(kind, 200, d, rng), rng.exponential(size=200), np.linspace(0.3, 0.6, d)
    w, T = w / w.sum(), queries(X, rng)
    for k in (1, 20, None):
        r = distances(X, h, X, (k or 15) + 1)
        if not r.any():
            r[:] = 1.0
        smallest = r[r > 0].min()
        unit = np.exp(w @ np.log(np.maximum(r, smallest)))
        factors = np.maximum(r, smallest) / unit
        kde = KernelDensity(h, adaptive=Breiman(k)).fit(X, sample_weight=w)
        np.testing.assert_allclose(kde.local_factors_, factors, rtol=1e-9)
        np.testing.assert_allclose(kde.score_samples(T), by_definition(X, w, h, T, factors), rtol=1e-8, atol=2e-6)
        kde = KernelDensity(h, adaptive=Balloon(k)).fit(X, sample_weight=w)
        at = np.maximum(distances(X, h, T, k or 15), smallest)[:, np.newaxis] / unit
        if distances(X, h, X, (k or 15) + 1).max() == 0:
            at = 1.0
        np.testing.assert_allclose(kde.score_samples(T), by_definition(X, w, h, T, at), rtol=1e-8, atol=2e-6)
        exact = by_definition(X, w, h, X, factors[:, np.newaxis], own=True) - np.log1p(-w)
        np.testing.assert_allclose(kde.score_leave_one_out(), exact, rtol=1e-8, atol=2e-6)
        with pytest.raises(AttributeError, match="no source has a factor"):
            _ = kde.local_factors_


def test_clipped_factors():
    X = np.random.default_rng(0).standard_cauchy(size=400)
    free = KernelDensity(0.2, adaptive="abramson").fit(X).local_factors_
    assert free.max() > 4 and free.min() < 0.7
    for clip, low, high in ((3, 1 / 3, 3), ((0.8, 2), 0.8, 2), ((None, 2.5), 0, 2.5), ((0.9, None), 0.9, np.inf)):
        kde = KernelDensity(0.2, adaptive=Abramson(clip=clip)).fit(X)
        np.testing.assert_array_equal(kde.local_factors_, free.clip(low, high))
    factors = KernelDensity(0.2, adaptive=Breiman(clip=(0.5, 2))).fit(X).local_factors_
    assert factors.min() == 0.5 and factors.max() == 2.0
    far = KernelDensity(0.2, adaptive=Balloon(clip=2.0)).fit([0.0, 1.0, 2.0]).score_samples([1e3])[0]
    assert far == pytest.approx(-0.5 * (998 / 0.4) ** 2 - np.log(3 * 0.4 * np.sqrt(2 * np.pi)), rel=1e-12)


@given(n=st.integers(1, 60), d=st.integers(1, 3), kind=st.sampled_from(KINDS), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_neighbours(n, d, kind, seed):
    rng = np.random.default_rng(seed)
    S = data(kind, n, d, rng)
    T, k = queries(S, rng, m=10), rng.integers(1, n + 1)
    np.testing.assert_allclose(NearestNeighbors(S).distances(T, k), distances(S, 1.0, T, k), rtol=1e-14)


# --- what the estimates promise -------------------------------------------------------------------


@pytest.mark.parametrize("adaptive", ["abramson", Breiman(clip=(None, 30))])
def test_sample_point_estimates_integrate_to_one(adaptive):
    rng = np.random.default_rng(0)
    kde = KernelDensity(0.4, adaptive=adaptive).fit(rng.standard_t(2, size=300))
    edge = np.abs(kde.sources_).max() + 9 * 0.4 * kde.local_factors_.max()
    x = np.linspace(-edge, edge, 200_001)
    assert scipy.integrate.trapezoid(np.exp(kde.score_samples(x)), x) == pytest.approx(1, rel=1e-9)
    kde = KernelDensity(0.5, adaptive=adaptive).fit(rng.normal(size=(100, 2)))
    edge = np.abs(kde.sources_).max() + 9 * 0.5 * kde.local_factors_.max()
    x = np.linspace(-edge, edge, 401)
    log_density = kde.score_samples(np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2))
    assert np.exp(log_density).sum() * (x[1] - x[0]) ** 2 == pytest.approx(1, rel=1e-9)


def test_a_lower_integrated_squared_error():
    """On densities with two scales and with heavy tails, at whichever bandwidth is best for each estimate."""
    x = np.linspace(-30, 30, 3001)
    densities = {
        "two scales": (lambda rng: np.where(rng.random(1500) < 0.5, rng.normal(0, 0.1, 1500), rng.normal(0, 3, 1500)),
                       0.5 * scipy.stats.norm.pdf(x, 0, 0.1) + 0.5 * scipy.stats.norm.pdf(x, 0, 3)),
        "heavy tails": (lambda rng: rng.standard_t(1.5, size=1500), scipy.stats.t.pdf(x, 1.5)),
    }
    for name, (draw, density) in densities.items():
        errors = {None: [], "abramson": []}
        for adaptive, found in errors.items():
            for h in np.geomspace(0.03, 0.6, 6):
                X = [draw(np.random.default_rng(seed)) for seed in range(3)]
                kdes = [KernelDensity(h, adaptive=adaptive).fit(sample) for sample in X]
                squares = [(np.exp(kde.score_samples(x)) - density) ** 2 for kde in kdes]
                found.append(np.mean(squares))
        assert min(errors["abramson"]) < 0.85 * min(errors[None]), name


def test_tails_against_mpmath():
    """Log densities thousands below zero are right, by factors that the wide sources dominate."""
    X = np.array([0.0, 0.1, 0.3, 4.0, 9.0])
    kde = KernelDensity(0.2, adaptive="abramson").fit(X)
    for t in (0.2, 12.0, 30.0, -50.0, 1e4, -1e8):
        with mpmath.workdps(40):
            terms = [
                mpmath.exp(-((mpmath.mpf(t) - mpmath.mpf(s)) / (mpmath.mpf(0.2) * mpmath.mpf(f))) ** 2 / 2)
                / mpmath.mpf(f)
                for s, f in zip(X.tolist(), kde.local_factors_.tolist())
            ]
            exact = mpmath.log(mpmath.fsum(terms) / (5 * mpmath.mpf(0.2) * mpmath.sqrt(2 * mpmath.pi)))
        assert abs(kde.score_samples([t])[0] - exact) <= 2e-6 + 1e-14 * abs(exact)


@adaptives
@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("scale, shift", [(2.0**20, 0.0), (1e-3, 0.0), (1.0, 1000.0), (5.0, -3e4)])
def test_equivariance(adaptive, d, scale, shift):
    rng = np.random.default_rng(0)
    X = np.round(data("clusters", 300, d, rng) * 1024) / 1024
    T = np.round(queries(X, rng) * 1024) / 1024
    kde = KernelDensity(0.5, adaptive=adaptive).fit(X)
    other = KernelDensity(0.5 * scale, adaptive=adaptive).fit(X * scale + shift)
    found = other.score_samples(T * scale + shift) + d * np.log(scale)
    np.testing.assert_allclose(found, kde.score_samples(T), rtol=1e-7, atol=1e-5)
    if adaptive != "balloon":
        np.testing.assert_allclose(other.local_factors_, kde.local_factors_, rtol=1e-7)


@pytest.mark.parametrize("adaptive", ["abramson", "breiman"])
@pytest.mark.parametrize("d", [1, 2])
def test_drawn_samples_follow_the_density(adaptive, d):
    rng = np.random.default_rng(0)
    kde = KernelDensity(0.4, adaptive=adaptive).fit(data("clusters", 300, d, rng), sample_weight=rng.random(300))
    drawn = kde.sample(40_000, random_state=1)
    np.testing.assert_array_equal(drawn, kde.sample(40_000, random_state=1))
    mean = kde.source_weights_ @ kde.sources_
    within = kde.source_weights_ @ (0.4 * kde.local_factors_) ** 2
    covariance = np.cov(kde.sources_.T, aweights=kde.source_weights_, bias=True) + within * np.eye(d)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=5 * np.sqrt(np.trace(covariance) / 40_000))
    np.testing.assert_allclose(np.cov(drawn.T), covariance.squeeze(), rtol=0.03, atol=0.03 * np.trace(covariance))
    # the share of samples in a small box is its probability
    centre, side = kde.sources_[0], 0.5
    nodes, weights = np.polynomial.legendre.leggauss(40)
    at = np.stack(np.meshgrid(*[c + side * nodes for c in centre], indexing="ij"), axis=-1).reshape(-1, d)
    volume = np.prod(np.meshgrid(*[side * weights] * d, indexing="ij"), axis=0).ravel()
    probability = volume @ np.exp(kde.score_samples(at))
    share = (np.abs(drawn - centre) < side).all(axis=1).mean()
    assert abs(share - probability) < 5 * np.sqrt(probability / 40_000)


def test_a_balloon_is_not_sampled():
    with pytest.raises(ValueError, match="adaptive is a balloon estimate, .* expected another"):
        KernelDensity(0.3, adaptive="balloon").fit(np.arange(9.0)).sample(3)


def test_real_data(galaxies, faithful):
    kde = KernelDensity("scott", adaptive="abramson").fit(galaxies)
    fixed = KernelDensity("scott").fit(galaxies)
    assert kde.bandwidth_ == fixed.bandwidth_
    # the galaxies in the tails are few: wider there, and the best fit to samples left out is better
    assert kde.local_factors_[np.argmax(galaxies)] > 1.5
    best = {
        adaptive: max(KernelDensity(h, adaptive=adaptive).fit(galaxies).score_leave_one_out().sum()
                      for h in (0.4, 0.5, 0.7, 1.0))
        for adaptive in (None, "abramson", 0.3)
    }
    assert best[0.3] > best["abramson"] > best[None] + 0.5
    kde = KernelDensity("scott", adaptive="abramson", rtol=1e-6).fit(faithful)
    exact = by_definition(faithful, np.full(272, 1 / 272), kde.bandwidth_, faithful, kde.local_factors_)
    assert_within(kde.score_samples(faithful), exact, 1e-6)


# --- the estimator --------------------------------------------------------------------------------


@adaptives
def test_the_plan_that_is_chosen(adaptive):
    rng = np.random.default_rng(0)
    S, T = rng.normal(size=(20_000, 2)), rng.normal(size=(5000, 2))
    T[:20] *= 10 + np.arange(20)[:, np.newaxis]
    adaptive = {"breiman": Breiman(20), "balloon": Balloon(20)}.get(adaptive, adaptive)
    kde = KernelDensity(0.05, adaptive=adaptive).fit(S)
    assert kde.explain(T).name != "direct"
    exact = KernelDensity(0.05, adaptive=adaptive, rtol=0).fit(S)
    assert exact.explain(T).name == "direct" and "rtol = 0" in exact.explain(T).reason
    np.testing.assert_allclose(kde.score_samples(T)[:60], exact.score_samples(T[:60]), rtol=1e-9, atol=1e-6)


@adaptives
def test_one_source_and_all_the_same(adaptive):
    for X in ([[1.0, 2.0]], np.full((40, 2), 3.0)):
        kde = KernelDensity(0.5, adaptive=adaptive).fit(X)
        fixed = KernelDensity(0.5).fit(X)
        T = np.array([[1.0, 2.0], [3.0, 3.0], [50.0, -1.0]])
        np.testing.assert_allclose(kde.score_samples(T), fixed.score_samples(T), rtol=1e-12)
    assert np.isfinite(KernelDensity(0.5, adaptive=adaptive).fit([0.0, 1.0]).score_samples([0.3, 5.0])).all()


@adaptives
@pytest.mark.parametrize("d", [1, 2])
def test_queries_as_far_as_numbers_go(adaptive, d):
    rng = np.random.default_rng(0)
    kde = KernelDensity(0.3, adaptive=adaptive).fit(rng.normal(size=(50, d)))
    far = kde.score_samples(np.array([[1e300], [-1e300], [1e200], [-1e100]]) * np.ones(d))
    assert not np.isnan(far).any() and (far < kde.score_samples(np.zeros((1, d)))).all()
    assert np.isfinite(far[3])
    if adaptive == "balloon":
        assert (far > -5000).all() and np.isfinite(far).all()
    wide = KernelDensity(0.3, adaptive=adaptive).fit(np.vstack([rng.normal(size=(50, d)), np.full((1, d), 1e300)]))
    assert not np.isnan(wide.score_samples(np.vstack([np.zeros((1, d)), np.full((1, d), 1e300)]))).any()


@adaptives
def test_weights(adaptive):
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(200, 2)), rng.exponential(size=200)
    w[::4], X[::4] = 0, 1e8
    kde = KernelDensity(0.3, adaptive=adaptive).fit(X, sample_weight=w)
    other = KernelDensity(0.3, adaptive=adaptive).fit(X[w > 0], sample_weight=7 * w[w > 0])
    T = X[1::4]
    np.testing.assert_allclose(kde.score_samples(T), other.score_samples(T), rtol=1e-12)
    if adaptive == "abramson":
        assert kde.local_factors_.shape == (150,)
        # a weight of 3 is three samples
        many = KernelDensity(0.3, adaptive=adaptive).fit(np.repeat(X[1:4], [1, 2, 3], axis=0))
        one = KernelDensity(0.3, adaptive=adaptive).fit(X[1:4], sample_weight=[1, 2, 3])
        np.testing.assert_allclose(many.score_samples(T), one.score_samples(T), rtol=1e-10)


@adaptives
def test_layouts_and_copies(adaptive, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)).astype(np.float32)
    kde = KernelDensity(0.3, adaptive=adaptive).fit(X)
    expected = kde.score_samples(X)
    np.save(tmp_path / "x.npy", X)
    for other in (X.astype(float), np.asfortranarray(X), np.load(tmp_path / "x.npy", mmap_mode="r"), X.tolist()):
        np.testing.assert_array_equal(KernelDensity(0.3, adaptive=adaptive).fit(other).score_samples(other), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(kde)).score_samples(X), expected)
    clone = sklearn.base.clone(kde)
    assert clone.adaptive == adaptive and not hasattr(clone, "local_factors_")
    nested = sklearn.base.clone(KernelDensity(adaptive=Abramson(0.2, clip=3)))
    assert repr(nested) == "KernelDensity(adaptive=Abramson(sensitivity=0.2, clip=3))"


BAD = {
    "name": ("silverman", ValueError, "adaptive is 'silverman'; expected None, 'abramson', 'breiman', 'balloon'"),
    "bool": (True, TypeError, "adaptive is True; expected a finite number >= 0 and <= 1"),
    "number": (1.5, ValueError, "adaptive is 1.5; expected a finite number >= 0 and <= 1"),
    "array": (np.ones(5), TypeError, "adaptive is ndarray of shape (5,); expected None"),
    "sensitivity": (Abramson(-0.1), ValueError, "sensitivity is -0.1"),
    "clip": (Abramson(clip=0.5), ValueError, "clip is 0.5; expected a finite number >= 1"),
    "clip pair": (Abramson(clip=(2, 1)), ValueError, "clip[1] is 1.0; expected a finite number >= 2"),
    "clip text": (Breiman(clip="low"), TypeError, "clip is 'low'; expected a number >= 1 or a pair"),
    "neighbours": (Balloon(0), ValueError, "n_neighbors is 0; expected an integer >= 1"),
    "many": (Breiman(5), ValueError, "n_neighbors is 5; expected an integer below the 5 sources"),
}


@pytest.mark.parametrize("adaptive, error, message", BAD.values(), ids=BAD)
def test_refused(adaptive, error, message):
    with pytest.raises(error) as caught:
        KernelDensity(1.0, adaptive=adaptive).fit(np.arange(5.0))
    assert message in str(caught.value)


def test_a_fixed_bandwidth_has_no_factors():
    with pytest.raises(AttributeError, match="adaptive=None"):
        _ = KernelDensity(1.0).fit([0.0, 1.0]).local_factors_
