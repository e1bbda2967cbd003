"""Kernels other than the Gaussian: the definitions, scikit-learn's densities, and one contract for every plan."""

import pickle

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import sklearn.neighbors
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussum import KernelDensity, radial
from gaussum.bandwidth import scott, silverman
from gaussum.kernel_sum import KernelSum
from test_summation import KINDS, assert_within, data, queries

KERNELS = [kernel for kernel in radial.KERNELS if kernel != "gaussian"]
COMPACT = [kernel for kernel in KERNELS if kernel != "exponential"]
kernels = pytest.mark.parametrize("kernel", KERNELS)
SHAPES = {
    "gaussian": lambda r: np.exp(-(r**2) / 2),
    "tophat": lambda r: np.where(r < 1, 1.0, 0.0),
    "epanechnikov": lambda r: np.maximum(1 - r**2, 0),
    "exponential": lambda r: np.exp(-r),
    "linear": lambda r: np.maximum(1 - r, 0),
    "cosine": lambda r: np.where(r < 1, np.cos(np.pi / 2 * np.minimum(r, 1)), 0),
}


def sphere(d):
    return 2 * np.pi ** (d / 2) / scipy.special.gamma(d / 2)


def radial_integral(kernel, d, power=1, moment=0):
    """By quadrature: the integral of r^moment K(r)^power over d dimensions."""
    end = 60 if kernel in ("gaussian", "exponential") else 1
    value = scipy.integrate.quad(
        lambda r: r ** (d - 1 + moment) * SHAPES[kernel](r) ** power, 0, end, epsabs=0, epsrel=1e-11, limit=200
    )[0]
    return sphere(d) * value


def distances(S, T, h):
    return np.sqrt((((T[:, np.newaxis] - S) / h) ** 2).sum(axis=2))


def by_definition(kernel, S, w, h, T, own=False):
    """Log densities with NumPy; with `own` the targets are the sources and leave themselves out."""
    d = S.shape[1]
    with np.errstate(divide="ignore", over="ignore"):
        logs = -distances(S, T, h) if kernel == "exponential" else np.log(SHAPES[kernel](distances(S, T, h)))
        logs = logs + np.log(w)
        if own:
            np.fill_diagonal(logs, -np.inf)
        return np.logaddexp.reduce(logs, axis=1) - np.log(np.broadcast_to(h, d)).sum() - radial.log_volume(kernel, d)


def away_from_edges(S, T, h, margin=1e-7):
    """Targets of which no source lies just where a kernel ends: there the rounding of a distance tells."""
    return (np.abs(distances(S, T, h) - 1) > margin).all(axis=1)


def kernel_sum(kernel, S, h, w, algorithm="auto"):
    w = np.full(len(S), 1 / len(S)) if w is None else w / w.sum()
    return KernelSum(S, np.log(w), np.broadcast_to(np.asarray(h, float), S.shape[1]).copy(), kernel, algorithm), w


# --- the kernels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", radial.KERNELS)
@pytest.mark.parametrize("d", [1, 2, 3, 4, 7])
def test_densities_integrate_to_one(kernel, d):
    volume = np.exp(radial.log_volume(kernel, d))
    assert volume == pytest.approx(radial_integral(kernel, d), rel=1e-9)
    kde = KernelDensity(1.0, kernel=kernel).fit(np.zeros((1, d)))
    r = np.array([0.0, 0.3, 0.9])
    T = np.zeros((3, d))
    T[:, -1] = r
    np.testing.assert_allclose(np.exp(kde.score_samples(T)), SHAPES[kernel](r) / volume, rtol=1e-13)


@pytest.mark.parametrize("kernel", radial.KERNELS)
@pytest.mark.parametrize("d", [1, 2, 3, 6])
def test_canonical_factors(kernel, d):
    def scale(kernel):
        volume = radial_integral(kernel, d)
        variance = radial_integral(kernel, d, moment=2) / d / volume
        return (radial_integral(kernel, d, 2) / volume**2 / variance**2) ** (1 / (d + 4))

    assert radial.canonical_factor(kernel, d) == pytest.approx(scale(kernel) / scale("gaussian"), rel=1e-8)


def test_the_canonical_factors_of_marron_and_nolan():
    # delta_0 of their table: Gaussian 0.7764, Epanechnikov 1.7188, uniform 1.3510
    for kernel, delta in (("gaussian", 0.7764), ("epanechnikov", 1.7188), ("tophat", 1.3510)):
        assert radial.canonical_factor(kernel, 1) == pytest.approx(delta / 0.7764, abs=1e-4)


@kernels
@pytest.mark.parametrize("rule, given_by", [("scott", scott), ("silverman", silverman)])
def test_rules_smooth_as_much_as_for_the_gaussian(kernel, rule, given_by, faithful, galaxies):
    for X in (faithful, galaxies[:, np.newaxis]):
        d = X.shape[1]
        kde = KernelDensity(rule, kernel=kernel).fit(X)
        np.testing.assert_allclose(kde.bandwidth_, given_by(X) * radial.canonical_factor(kernel, d), rtol=1e-14)
        gaussian = np.exp(KernelDensity(rule).fit(X).score_samples(X))
        assert np.mean(np.abs(np.exp(kde.score_samples(X)) - gaussian)) < 0.12 * gaussian.mean()


@pytest.mark.parametrize("kernel", radial.KERNELS)
@pytest.mark.parametrize("d", [1, 2, 5])
def test_samples_follow_the_kernel(kernel, d):
    h = np.geomspace(0.5, 4, d)
    kde = KernelDensity(h, kernel=kernel).fit(np.full((1, d), 3.0))
    steps = (kde.sample(4000, random_state=1) - 3.0) / h
    r = np.linalg.norm(steps, axis=1)
    grid = np.linspace(0, 1 if kernel in COMPACT else 40, 20_001)
    density = grid ** (d - 1) * SHAPES[kernel](np.minimum(grid, 1 - 1e-12) if kernel in COMPACT else grid)
    mass = scipy.integrate.cumulative_trapezoid(density, grid, initial=0)
    assert scipy.stats.kstest(r, lambda x: np.interp(x, grid, mass / mass[-1])).pvalue > 1e-3
    if kernel in COMPACT:
        assert r.max() < 1
    # directions: each axis' share is symmetric, and alike
    cosines = steps / r[:, np.newaxis]
    np.testing.assert_allclose(cosines.mean(axis=0), 0, atol=5 / np.sqrt(4000 * d))
    np.testing.assert_allclose((cosines**2).mean(axis=0), 1 / d, atol=0.04)
    np.testing.assert_array_equal(kde.sample(50, random_state=7), kde.sample(50, random_state=7))


# --- scikit-learn's densities ---------------------------------------------------------------------


@kernels
@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_scikit_learns_density(kernel, d, weighted):
    rng = np.random.default_rng(d)
    S, T = rng.normal(size=(400, d)), rng.normal(scale=1.5, size=(150, d))
    w = rng.exponential(size=400) if weighted else None
    for h in (0.2, 0.7, 3.0):
        # one leaf: the bounds of more leave roundings where nothing reaches
        reference = sklearn.neighbors.KernelDensity(bandwidth=h, kernel=kernel, leaf_size=1000)
        expected = reference.fit(S, sample_weight=w).score_samples(T)
        if kernel == "cosine" and d == 2:
            # theirs integrates to (2 / pi - (2 / pi)^2) / (2 / pi) in the plane
            expected -= np.log(1 - 2 / np.pi)
        for algorithm, rtol in (("direct", 0), ("kd_tree", 1e-12), ("auto", 0)):
            kde = KernelDensity(h, kernel=kernel, algorithm=algorithm, rtol=rtol).fit(S, sample_weight=w)
            found = kde.score_samples(T)
            np.testing.assert_array_equal(found == -np.inf, expected == -np.inf)
            finite = expected > -np.inf
            np.testing.assert_allclose(found[finite], expected[finite], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kernel", COMPACT)
@pytest.mark.parametrize("h", [1, 3, 49, 0.1, 0.3, 1e-9])
def test_sources_just_out_of_reach(kernel, h):
    """Where a lattice ends exactly at the bandwidth, scikit-learn's answer: the kernel is 0 there."""
    x = np.arange(-10, 11.0)
    for X in ((x * h)[:, np.newaxis], h * np.array([[3.0, 4], [0, 5], [5, 0], [0, 0], [4, 3]]) / 5):
        theirs = sklearn.neighbors.KernelDensity(bandwidth=h, kernel=kernel, leaf_size=100).fit(X).score_samples(X)
        if kernel == "cosine" and X.shape[1] == 2:
            theirs -= np.log(1 - 2 / np.pi)
        for algorithm in ("direct", "tree"):
            found = KernelDensity(h, kernel=kernel, algorithm=algorithm).fit(X).score_samples(X)
            np.testing.assert_allclose(found, theirs, rtol=1e-9)


# --- the contract ---------------------------------------------------------------------------------


@kernels
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("h", [0.02, 0.3, 3.0])
def test_every_plan_near_and_far(kernel, kind, d, h):
    rng = np.random.default_rng(d)
    S = data(kind, 500, d, rng)
    T = queries(S, rng, m=30)
    total, w = kernel_sum(kernel, S, h, rng.exponential(size=500) ** 3)
    if kernel in COMPACT:
        T = T[away_from_edges(S, T, h)]
    exact = by_definition(kernel, S, w, h, T)
    for name, rtol in (("direct", 0), ("tree", 1e-3), ("tree", 1e-10)):
        assert_within(total._by(name, T, rtol, None, 2) + total._log_norm, exact, max(rtol, 1e-11))


@kernels
@given(
    kind=st.sampled_from(KINDS), n=st.integers(1, 400), d=st.integers(1, 4), log_h=st.floats(-3, 2),
    log_rtol=st.floats(-10, -1), alike=st.booleans(), seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=20)
def test_any_data(kernel, kind, n, d, log_h, log_rtol, alike, seed):
    rng = np.random.default_rng(seed)
    S, h, rtol = data(kind, n, d, rng), 10.0**log_h * (np.ones(d) if alike else rng.uniform(0.5, 2, d)), 10.0**log_rtol
    total, w = kernel_sum(kernel, S, h, rng.exponential(size=n) ** 4 + 1e-30)
    T = queries(S, rng, m=20)
    if kernel in COMPACT:
        T = T[away_from_edges(S, T, h)]
    for name in ("direct", "tree"):
        found = total._by(name, T, rtol, None, 2) + total._log_norm
        assert_within(found, by_definition(kernel, S, w, h, T), rtol + 1e-9)
        some = away_from_edges(S, S, h) if kernel in COMPACT else np.ones(n, bool)
        found = total._by(name, S, rtol, np.arange(n), 2) + total._log_norm
        assert_within(found[some], by_definition(kernel, S, w, h, S, own=True)[some], rtol + 1e-9)


@kernels
def test_the_plan_that_is_chosen(kernel):
    rng = np.random.default_rng(0)
    S, T = rng.normal(size=(20_000, 2)), rng.normal(size=(40_000, 2))
    kde = KernelDensity(0.1, kernel=kernel).fit(S)
    assert kde.explain(T).name == "tree" and "direct" in str(kde.explain(T))
    found, some = kde.score_samples(T), np.arange(0, 40_000, 400)
    exact = KernelDensity(0.1, kernel=kernel, rtol=0).fit(S)
    assert exact.explain(T).name == "direct"
    assert_within(found[some], exact.score_samples(T[some]), 1e-6)
    assert kde.explain(T[:10]).name == "direct"


@kernels
@pytest.mark.parametrize("d", [1, 2])
def test_far_queries(kernel, d):
    S = np.random.default_rng(0).normal(size=(300, d))
    T = np.array([[40.0] * d, [1e6] * d, [-1e160] * d, [1e300] * d, [-1e300] * d, [1.5e308] * d])
    for algorithm in ("direct", "tree"):
        found = KernelDensity(0.25, kernel=kernel, algorithm=algorithm).fit(S).score_samples(T)
        if kernel == "exponential":
            r = np.abs(T[:5, 0]) / 0.25 * np.sqrt(d)
            np.testing.assert_allclose(found[1:5], -r[1:5], rtol=1e-5)
            assert found[0] == pytest.approx(by_definition(kernel, S, np.full(300, 1 / 300), 0.25, T[:1])[0], rel=1e-9)
        else:
            assert (found == -np.inf).all()


@pytest.mark.parametrize("kernel", COMPACT)
@pytest.mark.parametrize("algorithm", ["direct", "tree"])
@pytest.mark.parametrize("weight", [[1e-300, 1e300, 1e300], [5e-324, 1, 1], [1e-200, 1e200, 1], [1e300, 1e300, 1e300]])
def test_weights_of_every_size(kernel, algorithm, weight):
    kde = KernelDensity(1.0, kernel=kernel, algorithm=algorithm).fit([0.0, 10.0, 20.0], sample_weight=weight)
    with np.errstate(over="ignore"):
        log_w = np.log(weight) - np.logaddexp.reduce(np.log(weight))
    expected = np.log(SHAPES[kernel](0.25)) - radial.log_volume(kernel, 1) + log_w
    np.testing.assert_allclose(kde.score_samples([0.25, 9.75, 20.25]), expected, rtol=1e-12)
    assert (kde.score_leave_one_out() == -np.inf).all()


@kernels
def test_boxes_of_light_sources(kernel):
    x = np.concatenate([np.linspace(0, 1, 400), [1000.0], np.linspace(2000, 2001, 400)])
    log_w = np.where(x == 1000, 0.0, np.where(x < 1000, -350.0, -730.0))
    w = np.exp(log_w)
    kde = KernelDensity(3.0, kernel=kernel, algorithm="tree").fit(x, sample_weight=w)
    T = np.array([-1.0, 0.5, 2.5, 1000.5, 1999.0, 2000.5])
    exact = by_definition(kernel, x[:, np.newaxis], w, 3.0, T[:, np.newaxis])
    assert_within(kde.score_samples(T), exact, 1e-6)


def test_light_sources_leave_themselves_out():
    x, w = np.array([0.0, 0.5, 0.75, 10.0]), np.array([1e-300, 2e-300, 1e-300, 1e300])
    kde = KernelDensity(1.0, kernel="epanechnikov").fit(x, sample_weight=w)
    norm = np.log(4 / 3) - np.log(1e-300) + np.log(1e300)
    expected = np.log([2 * 0.75 + 0.4375, 0.75 + 0.9375, 0.4375 + 2 * 0.9375]) - norm
    np.testing.assert_allclose(kde.score_leave_one_out()[:3], expected, rtol=1e-13)


@kernels
@pytest.mark.parametrize("d", [1, 3])
def test_leave_one_out(kernel, d, faithful):
    X = faithful[:, :1] if d == 1 else np.column_stack([faithful, faithful.sum(axis=1)])
    w = np.random.default_rng(0).uniform(size=len(X))
    h = X.std(axis=0) / 2.0
    kde = KernelDensity(h, kernel=kernel).fit(X, sample_weight=w)
    w = w / w.sum()
    exact = by_definition(kernel, X, w, h, X, own=True) - np.log1p(-w)
    some = away_from_edges(X, X, h)
    assert_within(kde.score_leave_one_out()[some], exact[some], 1e-6)
    assert some.sum() > 100


@kernels
def test_duplicates_count_as_one_source(kernel):
    S = np.repeat(np.random.default_rng(0).normal(size=(7, 2)), 3000, axis=0)
    T = np.random.default_rng(1).normal(size=(640, 2))
    total, w = kernel_sum(kernel, S, 0.9, None)
    T = T[away_from_edges(S[::3000], T, 0.9)]
    exact = by_definition(kernel, S[::3000], np.full(7, 1 / 7), 0.9, T)
    assert_within(total.log_density(T, rtol=1e-6), exact, 1e-6)
    assert total._tree_for(1).seconds(T, 1e-6) < 0.1 * len(T) * 21_000 * 1e-9


@kernels
@pytest.mark.parametrize("name", ["direct", "tree"])
@pytest.mark.parametrize("d", [1, 2])
def test_the_same_bits_for_any_number_of_threads(kernel, name, d, always_threads):
    rng = np.random.default_rng(d)
    S, T = rng.normal(size=(3000, d)), rng.normal(size=(1000, d))
    T[::11] *= 30
    for own, X in ((None, T), (np.arange(3000), S)):
        found = [kernel_sum(kernel, S, 0.2, None)[0]._by(name, X, 1e-6, own, n) for n in (1, 2, 3, 7)]
        for other in found[1:]:
            np.testing.assert_array_equal(found[0], other)


@kernels
def test_offsets_and_scales(kernel):
    rng = np.random.default_rng(0)
    S, T = (np.round(rng.normal(size=(n, 2)) * 1024) / 1024 for n in (2000, 300))
    for name in ("direct", "tree"):
        plain = kernel_sum(kernel, S, 0.3, None)[0]._by(name, T, 1e-6, None, 1)
        far = kernel_sum(kernel, S + 2.0**30, 0.3, None)[0]._by(name, T + 2.0**30, 1e-6, None, 1)
        tiny = kernel_sum(kernel, S * 2.0**-300, 0.3 * 2.0**-300, None)[0]._by(name, T * 2.0**-300, 1e-6, None, 1)
        np.testing.assert_allclose(far, plain, rtol=1e-11)
        np.testing.assert_allclose(tiny, plain, rtol=1e-11)


@kernels
@pytest.mark.parametrize("h", [1e-308, 1e-300, 1e100, 1e307])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e300])
def test_extreme_bandwidths(kernel, h, value):
    for algorithm in ("direct", "tree"):
        kde = KernelDensity(h, kernel=kernel, algorithm=algorithm).fit([value, -value])
        with np.errstate(over="ignore", divide="ignore"):
            r = np.array([0.0, 2 * value / h])
            logs = -r if kernel == "exponential" else np.log(SHAPES[kernel](r))
        expected = np.logaddexp(*logs) - np.log(2) - np.log(h) - radial.log_volume(kernel, 1)
        assert kde.score_samples([value])[0] == pytest.approx(expected, rel=1e-12)
        assert np.isfinite(kde.sample(10, 0)).all() and not np.isnan(kde.score_samples([3.0])).any()


@kernels
def test_layouts_and_copies(kernel, tmp_path):
    X = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32).astype(float)
    T = X[::3] + 0.01
    kde = KernelDensity([0.4, 0.7], kernel=kernel, algorithm="tree").fit(X)
    expected = kde.score_samples(T)
    np.save(tmp_path / "x.npy", X)
    for other in (np.asfortranarray(X), X.tolist(), np.load(tmp_path / "x.npy", mmap_mode="r"), X.astype(np.float32)):
        again = KernelDensity([0.4, 0.7], kernel=kernel, algorithm="tree").fit(other)
        np.testing.assert_array_equal(again.score_samples(T), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(kde)).score_samples(T), expected)
    single = KernelDensity([0.4, 0.7], kernel=kernel).fit(X[:1])
    assert np.isfinite(single.score_samples(X[:1])).all() and single.score_leave_one_out()[0] == -np.inf
