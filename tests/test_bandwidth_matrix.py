"""Bandwidth matrices: against their definitions in NumPy, SciPy, and the properties they must have."""

import importlib
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from gaussum import KernelDensity, multivariate
from gaussum.bandwidth import scott
from gaussum.bandwidth_matrix import (
    BandwidthWarning, auto_matrix, lcv_matrix, lscv_matrix, plug_in, scott_matrix, silverman_matrix,
)
from gaussum.pairs import Pairs
from gaussum.selectors import NAMES
from kernel_access import BUILDS, nearest_pairs, pair_derivatives, pair_moments

CHOSEN = [plug_in, lscv_matrix, lcv_matrix]
MATRICES = [scott_matrix, silverman_matrix, *CHOSEN]
each = pytest.mark.parametrize("selector", MATRICES)
chosen = pytest.mark.parametrize("selector", CHOSEN)


def samples(n=300, d=2, seed=0):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, d)) * np.linspace(0.5, 1.5, d) + 2.0 * rng.integers(0, 2, (n, 1))
    return mixed @ (np.eye(d) + 0.5 * np.tri(d))


def weights(n=300, seed=9):
    return np.random.default_rng(seed).exponential(size=n)


def differences(points):
    return points[:, :, np.newaxis] - points[:, np.newaxis, :]


# Kernels and sums -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize("n, own", [(1, 40), (31, 3), (32, -5), (70, 10)])
def test_sums_over_pairs(build, d, n, own):
    """`own`: the source that the first target is; outside, every source counts."""
    rng = np.random.default_rng([d, n])
    S, w = rng.normal(size=(45, d)) * 3, rng.exponential(size=45)
    T = rng.normal(size=(n, d)) * 3
    z = T[:, np.newaxis] - S
    r2 = (z**2).sum(axis=2)
    mine = np.arange(n)[:, np.newaxis] + own == np.arange(45)
    nearest = np.where(mine, np.inf, r2).min(axis=1)
    np.testing.assert_allclose(nearest_pairs(build, S, T, own), nearest, rtol=1e-13)
    for offset in (None, nearest):
        raised = r2 if offset is None else r2 - offset[:, np.newaxis]
        e = np.where(mine, 0.0, w * np.exp(-0.5 * raised.clip(0)))
        sums, moments = pair_moments(build, S, w, T, own, offset)
        np.testing.assert_allclose(sums, e.sum(axis=1), rtol=1e-12)
        expected = np.stack([(e * z[..., a] * z[..., b]).sum(axis=1) for a in range(d) for b in range(a + 1)])
        size = np.stack([(e * abs(z[..., a] * z[..., b])).sum(axis=1) for a in range(d) for b in range(a + 1)])
        assert (np.abs(moments - expected) <= 1e-12 * size).all()
    v, radial = rng.exponential(size=n), rng.normal(size=(3, 2))
    f = [v[:, np.newaxis] * w * np.exp(-0.5 * r2) * (a + b * r2) for a, b in radial]
    falling = [(a, b, c, g) for a in range(d) for b in range(a + 1) for c in range(b + 1) for g in range(c + 1)]
    expected = [f[0].sum()] + [(f[1] * z[..., a] * z[..., b]).sum() for a in range(d) for b in range(a + 1)]
    expected += [(f[2] * z[..., i].prod(axis=2)).sum() for i in map(list, falling)]
    np.testing.assert_allclose(pair_derivatives(build, S, w, T, v, radial), expected, rtol=1e-9, atol=1e-10)


def log_density(points, H):
    """Leave-one-out terms log N(x_i; x_j, H)."""
    z = differences(points)
    r2 = np.einsum("aij,ab,bij->ij", z, np.linalg.inv(H), z)
    return -0.5 * r2 - 0.5 * np.linalg.slogdet(2 * np.pi * H)[1]


def by_definition(name, points, w, H):
    """The criteria of cross-validation as they are defined."""
    others = w * (1 - np.eye(len(w))) / (1 - w)[:, np.newaxis]
    if name == "likelihood":
        with np.errstate(divide="ignore"):
            return -w @ np.logaddexp.reduce(log_density(points, H) + np.log(others), axis=1)
    return w @ np.exp(log_density(points, 2 * H)) @ w - 2 * w @ (others * np.exp(log_density(points, H))).sum(axis=1)


@pytest.mark.parametrize("name", ["least_squares", "likelihood"])
@pytest.mark.parametrize("d", [1, 2, 4])
def test_cross_validation_and_its_gradient(name, d):
    points, w = samples(80, d).T.copy(), weights(80) / weights(80).sum()
    points[:, 0] += 60                  # far from all others: its density underflows
    A = np.random.default_rng(1).normal(size=(d, d))
    values, vectors = np.linalg.eigh(0.3 * (A + A.T))
    value, slope = getattr(Pairs(points, w), name)(values, vectors)
    H = (vectors * np.exp(values)) @ vectors.T
    assert value == pytest.approx(by_definition(name, points, w, H), rel=1e-11)
    for k in range(d):                  # along the eigenvalues, whose matrices commute
        step = np.zeros(d)
        step[k] = 1e-4
        up, down = ((vectors * np.exp(values + s)) @ vectors.T for s in (step, -step))
        numerical = (by_definition(name, points, w, up) - by_definition(name, points, w, down)) / 2e-4
        assert 0.5 * slope[k, k] == pytest.approx(numerical, rel=1e-6, abs=1e-9 * abs(value))


@pytest.mark.parametrize("name", ["lscv", "lcv"])
@pytest.mark.parametrize("diagonal", [False, True])
def test_cross_validation_is_at_its_minimum(name, diagonal):
    """No small change of any entry is better."""
    X, w = samples(150), weights(150)
    select, criterion = {"lscv": (lscv_matrix, "least_squares"), "lcv": (lcv_matrix, "likelihood")}[name]
    H = select(X, w, diagonal=diagonal)
    H = np.diag(H**2) if diagonal else H
    best = by_definition(criterion, X.T, w / w.sum(), H)
    L = np.linalg.cholesky(H)
    for a, b in [(0, 0), (1, 1)] + [(1, 0)] * (not diagonal):
        for change in (-0.05, 0.05):
            E = np.eye(2)
            E[a, b] += change
            other = by_definition(criterion, X.T, w / w.sum(), L @ E @ E.T @ L.T)
            assert other > best - 1e-7 * abs(best)


def test_derivatives_of_the_density():
    """int D^4 f f of a normal density, and its Laplacian: here of a fine grid of its quantiles."""
    x = scipy.stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    pairs = Pairs(x[np.newaxis], np.full(2000, 1 / 2000))
    for g in (0.3, 1.0):
        s2 = 2 + g * g
        psi = 3 / (np.sqrt(2 * np.pi) * s2**2.5), -15 / (np.sqrt(2 * np.pi) * s2**3.5)
        for laplacian, expected in enumerate(psi):
            found = multivariate._functional(pairs, g, bool(laplacian))
            assert found.shape == (1, 1, 1, 1)
            np.testing.assert_allclose(found.item(), expected, rtol=0.02)


def test_fourth_derivatives_in_two_dimensions():
    """Against finite differences of the density of differences."""
    points, w, g, e = samples(12).T.copy(), weights(12) / weights(12).sum(), 0.9, 0.02
    z = differences(points)

    def f(a, b):
        r2 = (z[0] + a * e) ** 2 + (z[1] + b * e) ** 2
        return w @ np.exp(-0.5 * r2 / g**2) @ w / (2 * np.pi * g**2)

    second = {-1: 1, 0: -2, 1: 1}
    mixed = sum(p * q * f(a, b) for a, p in second.items() for b, q in second.items()) / e**4
    fourth = sum(p * f(a, 0) for a, p in {-2: 1, -1: -4, 0: 6, 1: -4, 2: 1}.items()) / e**4
    psi = multivariate._functional(Pairs(points, w), g, False)
    assert psi[0, 1, 0, 1] == psi[0, 0, 1, 1] == psi[1, 1, 0, 0] == pytest.approx(mixed, rel=3e-3)
    assert psi[0, 0, 0, 0] == pytest.approx(fourth, rel=3e-3)


# The rules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_rules_agree_with_scipy(d, weighted):
    X, w = samples(300, d), weights() if weighted else None
    for rule, name in ((scott_matrix, "scott"), (silverman_matrix, "silverman")):
        expected = scipy.stats.gaussian_kde(X.T, bw_method=name, weights=w).covariance
        np.testing.assert_allclose(rule(X, w), expected, rtol=1e-11, atol=1e-13)


@each
@pytest.mark.parametrize("weighted", [False, True])
def test_affine_maps_are_followed(selector, weighted):
    X, w = samples(), weights() if weighted else None
    H = selector(X, w)
    for A, b in (([[2.0, -1.0], [0.5, 3.0]], [1e4, -7.0]), ([[0.6, -0.8], [0.8, 0.6]], [0.0, 0.0]),
                 ([[1e-60, 0.0], [1e-60, 1e40]], [0.0, 1e42])):
        A = np.array(A)
        np.testing.assert_allclose(selector(X @ A.T + b, w) / np.outer(*2 * [np.sqrt(np.diag(A @ H @ A.T))]),
                                   A @ H @ A.T / np.outer(*2 * [np.sqrt(np.diag(A @ H @ A.T))]), atol=2e-5)


@chosen
def test_diagonal_matrices_follow_scale_and_shift(selector):
    X, scale = samples(d=3), np.array([1e-100, 1.0, 1e100])
    h = selector(X, diagonal=True)
    assert h.shape == (3,)
    np.testing.assert_allclose(selector(X * scale + 1e3 * scale, diagonal=True) / scale, h, rtol=1e-4)


@each
def test_weights(selector):
    X, w = samples(), weights()
    w[::7] = 0.0
    far = X.copy()
    far[::7] = 1e9
    np.testing.assert_allclose(selector(far, w * 1e100), selector(X[w > 0], w[w > 0]), rtol=1e-5)
    np.testing.assert_allclose(selector(X, np.full(len(X), 3.0)), selector(X), rtol=1e-9)


@each
def test_symmetric_positive_definite_and_usable(selector):
    for d in (2, 4):
        H = selector(samples(400, d).astype(np.float32))
        np.testing.assert_array_equal(H, H.T)
        assert np.linalg.eigvalsh(H)[0] > 0
        assert KernelDensity(H).fit(samples(d=d)).bandwidth_.shape == (d, d)


@chosen
def test_many_normal_samples_come_near_the_best(selector, monkeypatch):
    """A hundred thousand: by a part of them, at the rate of all."""
    monkeypatch.setattr(multivariate, "_MOST_WORK", 2e7)
    C = np.array([[2.0, 0.9], [0.9, 1.0]])
    X = np.random.default_rng(4).multivariate_normal([3, -4], C, 100_000)
    for w in (None, np.ones(len(X))):
        ratio = np.linalg.eigvals(np.linalg.solve(silverman_matrix(X), selector(X, w)))
        limits = (0.7, 1.3) if selector is plug_in else (0.4, 2.5)
        assert limits[0] < ratio.min() and ratio.max() < limits[1]


def test_uneven_weights_over_many_samples(monkeypatch):
    """Most of the weight on few: they are looked at, and hardly any of the others."""
    monkeypatch.setattr(multivariate, "_MOST_WORK", 2e7)
    rng = np.random.default_rng(5)
    X, w = rng.normal(size=(50_000, 2)), np.full(50_000, 1e-9)
    w[:1000] = rng.exponential(size=1000)
    X[1000:] *= 100
    ratio = np.linalg.eigvals(np.linalg.solve(plug_in(X[:1000], w[:1000]), plug_in(X, w)))
    assert 0.95 < ratio.min() <= ratio.max() < 1.05


def test_chances():
    chance = multivariate._chances(np.array([100.0, 1.0, 1.0, 2.0, 60.0]), 4)
    np.testing.assert_allclose(chance, [1, 0.5, 0.5, 1, 1])
    assert multivariate._chances(np.ones(10), 5).tolist() == [0.5] * 10
    index, w, bags = multivariate._drawn(100_000, None, 2)
    assert len(np.unique(index)) == len(index) and bags == 8
    assert len(index) == pytest.approx(8 * int(multivariate._most_points(2) / 8**0.5), abs=1)


@chosen
def test_clusters_far_apart_and_outliers(selector):
    rng = np.random.default_rng(6)
    X = rng.normal(size=(600, 2)) * 0.5
    near = plug_in(X)
    X[::2] += [1e4, 1e4]
    assert 0.5 < np.linalg.eigvals(np.linalg.solve(near, selector(X))).min()
    assert np.linalg.eigvals(np.linalg.solve(near, selector(X))).max() < 6
    if selector is not lcv_matrix:      # as documented
        X = rng.normal(size=(600, 2)) * 0.5
        X[0] = 1e4
        assert np.linalg.eigvals(np.linalg.solve(near, selector(X))).max() < 3


@pytest.mark.parametrize("selector", [lscv_matrix, lcv_matrix])
def test_ties_are_told(selector):
    X = np.repeat(samples(40), 10, axis=0)
    with pytest.warns(BandwidthWarning, match="there is no minimum"):
        H = selector(X)
    np.testing.assert_array_equal(H, plug_in(X))
    assert np.linalg.eigvalsh(H)[0] > 0


def test_samples_far_from_all_others_are_told():
    """The likelihood is largest at bandwidths as wide as they are far, and those are not looked at."""
    X = np.random.default_rng(0).standard_cauchy((300, 2))
    with pytest.warns(BandwidthWarning, match="tied or some lie far from all others; the plug-in bandwidth is taken"):
        np.testing.assert_array_equal(lcv_matrix(X), plug_in(X))


def test_old_faithful(faithful):
    """Two clusters: far narrower than the normal reference, and wider than nothing."""
    reference = scott_matrix(faithful)
    for selector in CHOSEN:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BandwidthWarning)
            ratio = np.linalg.eigvals(np.linalg.solve(reference, selector(faithful)))
        assert 0.02 < ratio.min() and ratio.max() < (0.8 if selector is plug_in else 2.5)


MATRICES = ("auto", "scott_matrix", "silverman_matrix", "plug_in", "lscv", "lcv")


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("d", [1, 3])
def test_names(name, d):
    X, w = samples(200, d), weights(200)
    kde = KernelDensity(name).fit(X, sample_weight=w)
    if d == 1:
        assert isinstance(kde.bandwidth_, float)
    else:
        assert kde.bandwidth_.shape == ((3, 3) if name in MATRICES else (3,))
    assert np.isfinite(kde.score_samples(X)).all()


def test_auto():
    X = samples(200, 3)
    np.testing.assert_array_equal(auto_matrix(X), plug_in(X))
    np.testing.assert_array_equal(auto_matrix(X, diagonal=True), plug_in(X, diagonal=True))
    wide = samples(200, 7)
    np.testing.assert_array_equal(auto_matrix(wide), scott_matrix(wide))
    np.testing.assert_allclose(auto_matrix(wide, diagonal=True), scott(wide), rtol=1e-14)
    line = X[:, [0, 1, 0]]
    np.testing.assert_allclose(auto_matrix(line), scott(line), rtol=1e-14)
    np.testing.assert_allclose(KernelDensity("auto").fit(X[:3]).bandwidth_, scott(X[:3]), rtol=1e-14)


@each
@pytest.mark.parametrize("X, message", [
    (samples()[:, [0, 0]], "X has a singular covariance: columns 0, 1 are linearly dependent"),
    (samples(3, 3), "X has a singular covariance"),
    (np.ones((5, 2)), "X is constant in column 0"),
    ([[1.0, 2.0]], "X has one sample"),
    ([[1.0, np.nan], [2.0, 3.0]], "X holds nan at row 0, column 1"),
    (samples() * 1e200, "whose squares are beyond a double"),
    (samples() * 1e-200, "whose squares are beyond a double"),
])
def test_refusals(selector, X, message):
    with pytest.raises(ValueError, match=message):
        selector(X)


def test_dependent_features_do_for_diagonal_matrices():
    assert plug_in(samples()[:, [0, 0]], diagonal=True).shape == (2,)


def test_the_same_for_any_number_of_threads(always_threads, monkeypatch):
    X, found = samples(200, 3), []
    for n in (1, 2, 3, 7):
        monkeypatch.setattr("gaussum.parallel.available_cpus", lambda n=n: n)
        found.append([selector(X) for selector in CHOSEN])
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_the_bench_measures_errors(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent))
    bench = importlib.import_module("bench.bandwidth_matrix")
    rng = np.random.default_rng(0)
    density = bench.DENSITIES["trimodal I"]
    X, H = bench.drawn(density, 50, rng), np.array([[0.2, 0.05], [0.05, 0.1]])
    axis = np.linspace(-6, 6, 241)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    true = sum(w * scipy.stats.multivariate_normal(m, C).pdf(grid) for w, m, C in zip(*density))
    difference = np.exp(KernelDensity(H).fit(X).score_samples(grid)) - true
    assert bench.squared_error(density, X, H) == pytest.approx((difference**2).sum() * 0.05**2, rel=1e-5)
    for weights_, means, covariances in bench.DENSITIES.values():
        assert weights_.sum() == pytest.approx(1) and len(means) == len(covariances) == len(weights_)
        assert (np.linalg.eigvalsh(covariances) > 0).all()
    few = {"scott": bench.CONTENDERS["scott"], "plug_in": plug_in}
    errors, _ = bench.compared(300, 3, few, {name: bench.DENSITIES[name] for name in ("kurtotic", "bimodal II")})
    assert (errors[:, 1] < 0.8 * errors[:, 0]).all()
    sys.modules.pop("bench.bandwidth_matrix", None)
