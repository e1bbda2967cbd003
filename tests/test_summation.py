"""Every plan for Gaussian sums keeps one contract: rtol bounds the relative error of every sum, near or far."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussum import KernelDensity
from gaussum.bandwidth import scott
from gaussum.layout import MOST_NODES, Layout, left_out
from gaussum.summation import GaussianSum

PLANS = ["direct", "grid", "tree"]
plans = pytest.mark.parametrize("name", PLANS)
KINDS = ["normal", "lattice", "duplicates", "clusters", "outliers", "cauchy", "line"]


def data(kind, n, d, rng):
    X = rng.normal(size=(n, d))
    if kind == "lattice":
        return np.round(3 * X) / 3
    if kind == "duplicates":
        return X[rng.integers(min(n, 5), size=n)]
    if kind == "clusters":
        return 0.1 * X + 50 * rng.normal(size=(5, d))[rng.integers(5, size=n)]
    if kind == "outliers":
        X[:3] += 1e6 * rng.normal(size=X[:3].shape)
    if kind == "cauchy":
        return rng.standard_cauchy(size=(n, d))
    if kind == "line":
        return X[:, :1] * np.arange(1, d + 1)
    return X


def queries(S, rng, m=60):
    """Near the sources, among them, on them, and up to 1e7 standard deviations away."""
    n, d = S.shape
    some = S[rng.integers(n, size=m)]
    far = rng.normal(size=(12, d)) * np.geomspace(1, 1e7, 12)[:, np.newaxis]
    return np.concatenate([some, some + 0.3 * rng.normal(size=some.shape), far, [S.mean(axis=0)]])


def by_definition(S, w, h, T, own=False):
    """Log sums by a log-sum-exp with NumPy; with `own` the targets are the sources and leave themselves out."""
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.log(w) - 0.5 * (((T[:, np.newaxis] - S) / h) ** 2).sum(axis=2)
        if own:
            np.fill_diagonal(a, -np.inf)
        largest = np.maximum(a.max(axis=1), -np.finfo(float).max)
        return largest + np.log(np.exp(a - largest[:, np.newaxis]).sum(axis=1))


def gaussian_sum(S, h, w=None):
    w = np.full(len(S), 1 / len(S)) if w is None else w / w.sum()
    return GaussianSum(S, np.log(w), np.broadcast_to(np.asarray(h, dtype=float), S.shape[1]).copy()), w


def assert_within(found, exact, rtol):
    """The relative error of exp(found) is at most rtol, beyond the rounding of such a logarithm."""
    same = found == exact                                   # minus infinity too
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(found - exact))
    bound = -np.log1p(-rtol) + 1e-14 * np.where(same, 1.0, np.abs(exact)) + 1e-12
    assert (error <= bound).all(), (np.max(error / bound), int(np.argmax(error / bound)))


def sums_by(total, name, X, rtol, own=None, n_threads=2):
    if name == "grid" and total._layout_for(rtol).reason is not None:
        pytest.skip(total._layout_for(rtol).reason)
    return total._by(name, np.ascontiguousarray(X), rtol, own, n_threads)


# --- the contract ---------------------------------------------------------------------------------


@plans
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize("h", [0.02, 0.3, 3.0])
def test_every_plan_near_and_far(name, kind, d, h):
    rng = np.random.default_rng(d)
    S = data(kind, 700, d, rng)
    total, w = gaussian_sum(S, h, rng.exponential(size=700) ** 3)
    T = queries(S, rng)
    for rtol in (1e-3, 1e-6, 1e-10):
        if name != "grid" or total._layout_for(rtol).reason is None:
            assert_within(sums_by(total, name, T, rtol), by_definition(S, w, h, T), rtol)
            found = sums_by(total, name, S, rtol, np.arange(700))
            assert_within(found, by_definition(S, w, h, S, own=True), rtol)


@plans
@given(
    kind=st.sampled_from(KINDS), n=st.integers(1, 400), d=st.integers(1, 6), log_h=st.floats(-4, 2),
    log_rtol=st.floats(-11, -1), heavy=st.floats(0, 30), seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_any_data(name, kind, n, d, log_h, log_rtol, heavy, seed):
    rng = np.random.default_rng(seed)
    S, h, rtol = data(kind, n, d, rng), 10.0**log_h * rng.uniform(0.5, 2, d), 10.0**log_rtol
    total, w = gaussian_sum(S, h, rng.exponential(size=n) ** heavy + 1e-300)
    if name == "grid" and total._layout_for(rtol).reason is not None:
        return
    T = queries(S, rng, m=20)
    assert_within(sums_by(total, name, T, rtol), by_definition(S, w, h, T), rtol)
    found = sums_by(total, name, S, rtol, np.arange(n))
    assert_within(found, by_definition(S, w, h, S, own=True), rtol)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
@pytest.mark.parametrize("factor", [1.0, 0.1])
def test_the_plan_that_is_chosen(d, factor):
    rng = np.random.default_rng(d)
    S, T = rng.normal(size=(30_000, d)), rng.normal(size=(3000, d))
    T[:50] *= 10 + np.arange(50)[:, np.newaxis]
    kde = KernelDensity(factor * scott(S)).fit(S)
    some = np.concatenate([np.arange(50), rng.integers(3000, size=100)])
    exact = KernelDensity(factor * scott(S), rtol=0).fit(S).score_samples(T[some])
    assert_within(kde.score_samples(T)[some], exact, 1e-6)
    assert kde.explain(T).name != "direct" or d == 4


def test_one_source_far_away_from_everything():
    S = np.concatenate([np.random.default_rng(0).normal(size=2000), [1e9]])[:, np.newaxis]
    for h in (0.1, 1e-3):
        total, w = gaussian_sum(S, h)
        T = np.array([[1e9], [1e9 + h], [0.0], [1.0], [30.0], [5e8], [-1e9]])
        for name in PLANS:
            assert_within(sums_by(total, name, T, 1e-6), by_definition(S, w, h, T), 1e-6)


def test_weights_of_zero():
    rng = np.random.default_rng(0)
    X, w, T = rng.normal(size=(3000, 2)), rng.exponential(size=3000), rng.normal(size=(2000, 2))
    w[::3] = 0.0
    X[::3] += 1e3
    found = KernelDensity(0.2).fit(X, sample_weight=w).score_samples(T)
    keep = w > 0
    exact = by_definition(X[keep], w[keep] / w.sum(), 0.2, T) - 2 * np.log(0.2) - np.log(2 * np.pi)
    assert_within(found, exact, 1e-6)


def test_offsets_and_scales():
    """Differences are formed before they are scaled."""
    rng = np.random.default_rng(0)
    S = np.round(rng.normal(size=(2000, 2)) * 1024) / 1024
    T = np.round(rng.normal(size=(300, 2)) * 1024) / 1024
    for name in PLANS:
        plain = sums_by(gaussian_sum(S, 0.25)[0], name, T, 1e-6)
        far = sums_by(gaussian_sum(S + 2.0**30, 0.25)[0], name, T + 2.0**30, 1e-6)
        tiny = sums_by(gaussian_sum(S * 2.0**-300, 0.25 * 2.0**-300)[0], name, T * 2.0**-300, 1e-6)
        np.testing.assert_allclose(far, plain, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(tiny, plain, rtol=1e-12, atol=1e-12)


def test_duplicates_count_as_one_source():
    S = np.repeat(np.random.default_rng(0).normal(size=(7, 2)), 3000, axis=0)
    total, w = gaussian_sum(S, 0.1)
    T = np.random.default_rng(1).normal(size=(640, 2))
    tree = total._tree_for(1)
    found = tree.log_density(T, 1e-6)
    assert_within(found, by_definition(S, w, 0.1, T), 1e-6)
    assert tree.seconds(T, 1e-6) < 0.1 * 640 * 21_000 * 1e-9
    found = sums_by(total, "tree", S[::100], 1e-6, np.arange(0, 21_000, 100))
    keep = np.ones(21_000, dtype=bool)
    keep[0] = False
    assert_within(found[:1], by_definition(S[keep], w[keep], 0.1, S[:1]), 1e-6)


# --- leaving out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 4])
def test_leave_one_out(d):
    rng = np.random.default_rng(d)
    S = rng.normal(size=(800, d))
    S[0] = 40.0                                             # alone: what the others give there is tiny, and right
    w = rng.exponential(size=800)
    kde = KernelDensity(0.3).fit(S, sample_weight=w)
    w = w / w.sum()
    norm = d * (np.log(0.3) + 0.5 * np.log(2 * np.pi))
    exact = by_definition(S, w, 0.3, S, own=True) - np.log1p(-w) - norm
    assert_within(kde.score_leave_one_out(), exact, 1e-6)
    assert exact[0] < -5000
    assert KernelDensity(1.0).fit([[0.0]]).score_leave_one_out() == -np.inf


def test_leave_one_out_of_single_samples():
    S = np.random.default_rng(0).normal(size=(700, 2)).astype(np.float32)
    total, w = gaussian_sum(S, 0.3)
    exact = by_definition(S.astype(float), w, 0.3, S.astype(float), own=True)
    found = total.leave_one_out() - total._log_norm
    np.testing.assert_allclose(found, exact, atol=1e-5)


@pytest.mark.parametrize("h", [0.003, 0.3, 3.0])
def test_without_a_source_anywhere(h):
    """Targets need not be the sources that they leave out, which may be nearly all of the sum, or none of it."""
    rng = np.random.default_rng(0)
    S, w = rng.normal(size=(900, 2)), rng.exponential(size=900) ** 4
    total, w = gaussian_sum(S, h, w)
    own = rng.integers(900, size=300)
    T = S[own] + h * np.geomspace(1e-3, 1e3, 300)[:, np.newaxis] * rng.normal(size=(300, 2))
    a = np.log(w) - 0.5 * (((T[:, np.newaxis] - S) / h) ** 2).sum(axis=2)
    a[np.arange(300), own] = -np.inf
    exact = np.logaddexp.reduce(a, axis=1) + total._log_norm
    for rtol in (0.0, 1e-6, 1e-2):
        assert_within(total.log_density_without(own, T, rtol=rtol), exact, rtol)
    alone, _ = gaussian_sum(S[:1], h)
    assert (alone.log_density_without(np.array([0, 0]), T[:2]) == -np.inf).all()


# --- bits -----------------------------------------------------------------------------------------


@plans
@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_the_same_bits_for_any_number_of_threads(name, d, always_threads):
    rng = np.random.default_rng(d)
    S, T = rng.normal(size=(5000, d)), rng.normal(size=(3000, d))
    T[::11] *= 30
    for own, X in ((None, T), (np.arange(5000), S)):
        found = []
        for n_threads in (1, 2, 3, 7):
            total, _ = gaussian_sum(S, 0.2)
            found.append(sums_by(total, name, X, 1e-6, own, n_threads))
        for other in found[1:]:
            np.testing.assert_array_equal(found[0], other)


def test_plans_do_not_depend_on_threads():
    rng = np.random.default_rng(0)
    for n, d in ((3000, 1), (20_000, 3), (20_000, 5)):
        S = rng.normal(size=(n, d))
        names = {str(gaussian_sum(S, 0.1)[0].plan(S, 1e-6, n_threads=t)) for t in (1, 2, 7)}
        assert len(names) == 1


def test_a_copy_gives_the_same():
    rng = np.random.default_rng(0)
    S = rng.normal(size=(20_000, 2))
    kde = KernelDensity(0.1).fit(S)
    before = kde.score_samples(S)
    stored = pickle.dumps(kde)
    assert len(stored) < 1_100_000                          # the sources and their weights; no grid, no tree
    np.testing.assert_array_equal(pickle.loads(stored).score_samples(S), before)


# --- float32 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 3, 10])
def test_single_samples(d):
    rng = np.random.default_rng(d)
    S, T = rng.normal(size=(3000, d)).astype(np.float32), rng.normal(size=(500, d)).astype(np.float32)
    T[::5] *= 30
    w = rng.exponential(size=3000) ** 4
    h = 0.3 * np.sqrt(d)
    exact = KernelDensity(h, rtol=0).fit(S.astype(float), sample_weight=w).score_samples(T.astype(float))
    # asked for directly: with the rounding of float32, that grows with the distance; in far tails float64
    found = KernelDensity(h, rtol=0).fit(S, sample_weight=w).score_samples(T)
    np.testing.assert_allclose(found, exact, rtol=2e-6, atol=2e-6)
    # and to a bound, within it
    for rtol in (1e-6, 1e-4):
        assert_within(KernelDensity(h, rtol=rtol).fit(S, sample_weight=w).score_samples(T), exact, rtol)


@pytest.mark.parametrize("h", [1e-30, 1e30])
def test_bandwidths_beyond_float32(h):
    S = np.array([[0.0], [1.0]], dtype=np.float32)
    found = KernelDensity(h, rtol=0).fit(S).score_samples(S)
    exact = KernelDensity(h, rtol=0).fit(S.astype(float)).score_samples(S.astype(float))
    np.testing.assert_array_equal(found, exact)


# --- plans ----------------------------------------------------------------------------------------


def test_explain():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50_000, 1))
    plan = KernelDensity().fit(X).explain(X)
    assert plan.name == "grid" and plan.seconds == plan.costs["grid"] < plan.costs["direct"]
    assert str(plan).startswith("grid: ") and "direct" in str(plan)
    plan = KernelDensity(rtol=0).fit(X).explain(X)
    assert plan.name == "direct" and "rtol = 0" in str(plan)
    assert KernelDensity().fit(X[:20]).explain(X[:20]).name == "direct"
    X = rng.normal(size=(20_000, 5))
    assert KernelDensity(0.05).fit(X).explain(X).name == "tree"
    assert KernelDensity(5.0).fit(X).explain(X).name == "direct"
    with pytest.raises(ValueError, match="2 features"):
        KernelDensity().fit(X).explain(X[:, :2])


@pytest.mark.parametrize("d", [1, 2, 3])
def test_wide_ranges_take_little_memory(d):
    rng = np.random.default_rng(d)
    S = rng.normal(size=(2000, d))
    S[:10] += 1e6 * rng.normal(size=(10, d))
    layout = Layout(np.ascontiguousarray(S.T), np.full(d, 1 / 0.3), 1e-6)
    assert layout.reason is not None or layout.n_nodes <= MOST_NODES
    assert d > 1 or layout.reason is None and layout.n_nodes < 2000
    # a grid cannot say what spreads over more bandwidths than a double has digits
    layout = Layout(np.linspace(0, 1, 5000)[np.newaxis], np.array([1e300]), 1e-6)
    assert layout.reason is not None or layout.n_nodes <= MOST_NODES


def test_what_is_left_out_bounds_the_sums():
    """Sources all around, the worst places between nodes: the deficit stays below the bound, and near it."""
    spacing, width = 0.6, 16
    s = np.linspace(-30, 30, 4001)
    nodes = np.arange(-60, 61)
    reach = np.exp(-(((s[:, np.newaxis] / spacing) - nodes) * spacing) ** 2)
    first = np.floor(s / spacing)[:, np.newaxis] - (width // 2 - 1)
    near = (nodes >= first) & (nodes < first + width)
    whole, cut = reach.sum(axis=0), (reach * near).sum(axis=0)
    deficit = reach @ whole - (reach * near) @ cut
    middle = np.abs(s) < 10
    bound = left_out(1, width, spacing) * whole.max() / (spacing * np.sqrt(2 / np.pi))
    assert (deficit[middle] <= bound).all()
