"""Bounds with adaptive widths, other kernels and covariance matrices: sums of images, to the same contract."""

import functools
import itertools

import numpy as np
import pytest
from scipy.special import gammaln, logsumexp

from gaussum import KernelDensity
from gaussum.adaptive import Abramson, Balloon, Breiman
from gaussum.neighbors import NearestNeighbors

INF = np.inf
KERNELS = ["tophat", "epanechnikov", "exponential", "linear", "cosine"]
AXES = {
    "from below": [("reflect", 0.0, INF)],
    "between": [("reflect", 0.0, 1.0)],
    "periodic": [("periodic", 0.0, 1.0)],
    "below x above": [("reflect", 0.0, INF), ("reflect", -INF, 1.0)],
    "free x periodic": [None, ("periodic", 0.0, 1.0)],
    "between x periodic": [("reflect", 0.0, 1.0), ("periodic", 0.0, 1.0)],
    "below x periodic": [("reflect", 0.0, INF), ("periodic", 0.0, 1.0)],
    "periodic x between x free": [("periodic", 0.0, 1.0), ("reflect", 0.0, 1.0), None],
}
over_axes = pytest.mark.parametrize("axes", AXES.values(), ids=AXES)


def estimate(axes, bandwidth, **params):
    return KernelDensity(
        bandwidth, bounds=[axis and axis[1:] for axis in axes],
        boundary=[axis[0] if axis else "reflect" for axis in axes], **params
    )


def images_of(s, axes, n=3):
    """All images of a point up to `n` periods away, shape (n_images, n_features), and the signs of their axes."""
    points, signs = [], []
    for j, axis in enumerate(axes):
        x, sign = [s[j]], [1.0]
        if axis is not None:
            kind, low, high = axis
            if np.isinf(high - low):
                x, sign = [s[j], 2 * (high if np.isinf(low) else low) - s[j]], [1.0, -1.0]
            elif kind == "periodic":
                x, sign = [s[j] + k * (high - low) for k in range(-n, n + 1)], [1.0] * (2 * n + 1)
            else:
                shifts = 2 * (high - low) * np.arange(-n, n + 1)
                x, sign = [*(s[j] + shifts), *(2 * low - s[j] + shifts)], [1.0] * len(shifts) + [-1.0] * len(shifts)
        points.append(x)
        signs.append(sign)
    return np.array(list(itertools.product(*points))), np.array(list(itertools.product(*signs)))


def queries(rng, axes, n=25):
    """Within the bounds, at them, and far out where there are none."""
    T = rng.uniform(0, 1, size=(n, len(axes)))
    T[:3] = 0.0
    T[3:5] = 1.0
    for j, axis in enumerate(axes):
        if axis is None or np.isinf(axis[1] - axis[2]):
            T[5:9, j] = -1.5 if axis and np.isinf(axis[1]) else 2.5
    return T


PROFILES = {
    "tophat": lambda r: 1.0 * (r < 1), "epanechnikov": lambda r: np.where(r < 1, 1 - r**2, 0),
    "linear": lambda r: np.where(r < 1, 1 - r, 0), "cosine": lambda r: np.where(r < 1, np.cos(np.pi * r / 2), 0),
    "exponential": lambda r: np.exp(-r),
}


@functools.cache
def volume(kernel, d):
    """The integral of a kernel of bandwidth 1, by that of its profile over spheres."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    end = 60.0 if kernel == "exponential" else 1.0
    at = 0.5 * end * (nodes + 1)
    radial = (0.5 * end * weights * at ** (d - 1) * PROFILES[kernel](at)).sum()
    return 2 * np.pi ** (d / 2) / np.exp(gammaln(d / 2)) * radial


def log_kernel(kernel, r, d):
    with np.errstate(divide="ignore"):
        return np.log(PROFILES[kernel](r)) - np.log(volume(kernel, d))


def assert_same(found, exact, rtol):
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(exact))
    finite = np.isfinite(exact)
    assert (np.abs(found[finite] - exact[finite]) <= 1.01 * rtol + 1e-11 * np.maximum(1, np.abs(exact[finite]))).all()


# --- other kernels --------------------------------------------------------------------------------


@over_axes
@pytest.mark.parametrize("kernel", KERNELS)
def test_other_kernels_are_sums_of_images(axes, kernel):
    rng, d = np.random.default_rng(0), len(axes)
    S, w, h = rng.uniform(size=(30, d)), rng.exponential(size=30), rng.uniform(0.15, 0.3, d)
    w /= w.sum()
    T = queries(rng, axes)
    n = (20 if d < 3 else 8) if kernel == "exponential" else 2
    exact = np.full((len(T), len(S)), -INF)
    for i, s in enumerate(S):
        points, _ = images_of(s, axes, n)
        r = np.sqrt((((T[:, np.newaxis] - points) / h) ** 2).sum(axis=2))
        exact[:, i] = logsumexp(log_kernel(kernel, r, d), axis=1) + np.log(w[i]) - np.log(h).sum()
    alone = np.where(np.eye(len(S), dtype=bool), -INF, 0.0) if d == 1 else None
    for i, s in enumerate(S if d == 1 else []):
        r = np.abs(S - images_of(s, axes, n)[0][:, 0]) / h
        alone[:, i] += logsumexp(log_kernel(kernel, r, 1), axis=1) + np.log(w[i]) - np.log(h[0]) - np.log1p(-w)
    for rtol in (0.0, 1e-6):
        kde = estimate(axes, h, kernel=kernel, rtol=rtol).fit(S, sample_weight=w)
        assert_same(kde.score_samples(T), logsumexp(exact, axis=1), max(rtol, 1e-9))
        if d == 1:
            assert_same(kde.score_leave_one_out(), logsumexp(alone, axis=1), max(rtol, 1e-9))


# --- adaptive widths ------------------------------------------------------------------------------


def varying_by_definition(S, w, h, factors, T, axes, n=6):
    logs = []
    for s, weight, factor in zip(S, w, factors):
        points, _ = images_of(s, axes, n)
        r2 = (((T[:, np.newaxis] - points) / (factor * h)) ** 2).sum(axis=2)
        log_norm = np.log(weight) - np.log(factor * h).sum() - 0.5 * len(h) * np.log(2 * np.pi)
        logs.append(logsumexp(-0.5 * r2, axis=1) + log_norm)
    return np.array(logs).T


@over_axes
@pytest.mark.parametrize("adaptive", [0.5, Breiman(5)], ids=["abramson", "breiman"])
def test_adaptive_widths_are_sums_of_images(axes, adaptive):
    rng, d = np.random.default_rng(1), len(axes)
    S, w, h = rng.beta(0.6, 2.0, size=(40, d)), rng.exponential(size=40), rng.uniform(0.05, 0.1, d)
    w /= w.sum()
    T = queries(rng, axes)
    for rtol in (0.0, 1e-6):
        kde = estimate(axes, h, adaptive=adaptive, rtol=rtol).fit(S, sample_weight=w)
        factors = kde.local_factors_
        assert factors.max() > 1.5 * factors.min() and np.log(factors) @ w == pytest.approx(0, abs=1e-12)
        n = 6 if d < 3 else 4
        assert_same(kde.score_samples(T), logsumexp(varying_by_definition(S, w, h, factors, T, axes, n), axis=1),
                    max(rtol, 1e-12))
        alone = varying_by_definition(S, w, h, factors, S, axes, n)
        np.fill_diagonal(alone, -INF)
        assert_same(kde.score_leave_one_out() + np.log1p(-w), logsumexp(alone, axis=1), max(rtol, 1e-12))


@over_axes
def test_the_pilot_knows_the_bounds(axes):
    rng, d = np.random.default_rng(2), len(axes)
    S = rng.beta(0.6, 2.0, size=(60, d))
    pilot = estimate(axes, 0.1).fit(S).score_samples(S)
    factors = estimate(axes, 0.1, adaptive=Abramson(0.7)).fit(S).local_factors_
    np.testing.assert_allclose(np.log(factors), -0.7 * (pilot - pilot.mean()), atol=3e-6)


def test_neighbours_are_counted_with_their_images():
    """The samples of a period, wherever it is cut open, and of a half-line mirrored at its end."""
    rng = np.random.default_rng(3)
    x = rng.vonmises(1.0, 2.0, size=(200, 1)) / (2 * np.pi) + 0.5
    T = np.linspace(0, 1, 50)[:, np.newaxis]
    found = [
        KernelDensity(0.05, bounds=(0, 1), boundary="periodic", adaptive=Breiman(7)).fit((x + a) % 1)
        for a in (0.0, 0.37, 0.5)
    ]
    for a, other in zip((0.37, 0.5), found[1:]):
        np.testing.assert_allclose(other.local_factors_, found[0].local_factors_, rtol=1e-9)
        np.testing.assert_allclose(other.score_samples((T + a) % 1), found[0].score_samples(T), atol=3e-6)
    y = rng.exponential(size=(100, 2))
    kde = KernelDensity([0.2, 0.4], bounds=[(0, None), (0, None)], adaptive=Breiman(9)).fit(y)
    mirrored = np.concatenate([y * signs for signs in itertools.product((1, -1), repeat=2)]) / [0.2, 0.4]
    distances = NearestNeighbors(mirrored).distances(mirrored[:100], 10)
    np.testing.assert_allclose(kde.local_factors_, distances / np.exp(np.log(distances).mean()), rtol=1e-9)


def test_kernels_that_differ_much_in_width():
    """Wide ones have images beyond count, and are uniform; narrow ones have hardly any."""
    x = np.concatenate([0.5 + 1e-9 * np.random.default_rng(0).normal(size=2000), [0.9]])
    density = {"bounds": (0.0, 1.0), "boundary": "reflect"}
    kde = KernelDensity(0.01, adaptive="breiman", **density).fit(x)
    factors, T = kde.local_factors_, np.array([[0.0], [0.2], [1.0]])
    assert factors[-1] > 1e5 and factors[:-1].max() < 500
    logs = varying_by_definition(
        x[:-1, np.newaxis], np.full(2000, 1 / 2001), np.array([0.01]), factors[:-1], T, [("reflect", 0.0, 1.0)], 20)
    exact = np.logaddexp(logsumexp(logs, axis=1), np.log(1 / 2001))
    np.testing.assert_allclose(kde.score_samples(T), exact, atol=1e-6)
    np.testing.assert_array_equal(kde.sources_[:, 0], x)
    drawn, alone = kde.sample(3000, random_state=0), kde.score_leave_one_out()
    assert ((drawn >= 0) & (drawn <= 1)).all()
    with_all = kde.score_samples(x[-1:])[0] + np.log(2001)
    assert np.exp(alone[-1]) * 2000 == pytest.approx(np.exp(with_all) - 1, rel=1e-5)
    assert "classes of widths" in kde.explain(x).reason
    wide = KernelDensity(0.01, adaptive=Breiman(clip=(None, 100)), **density).fit(x)
    assert wide.local_factors_.max() == 100.0 and np.isfinite(wide.score_samples([0.0, 0.2, 1.0])).all()


# --- matrices -------------------------------------------------------------------------------------


@pytest.mark.parametrize("correlation", [0.5, -0.45, 0.98])
@pytest.mark.parametrize("axes", [a for a in AXES.values() if len(a) > 1], ids=[n for n in AXES if len(AXES[n]) > 1])
def test_a_matrix_is_reflected_with_its_kernel(axes, correlation):
    rng, d = np.random.default_rng(4), len(axes)
    h = np.array([0.1, 0.15, 0.2])[:d]
    H = (np.eye(d) + correlation * (1 - np.eye(d))) * np.outer(h, h)
    S, T, logs = rng.uniform(size=(15, d)), queries(rng, axes), []
    for s in S:
        points, signs = images_of(s, axes, 20 if d == 2 else 4)
        log = np.full(len(T), -INF)
        for sign in np.unique(signs, axis=0):
            C = H * np.outer(sign, sign)
            z = T[:, np.newaxis] - points[(signs == sign).all(axis=1)]
            r2 = np.einsum("tij,jk,tik->ti", z, np.linalg.inv(C), z)
            log = np.logaddexp(log, logsumexp(-0.5 * r2, axis=1) - 0.5 * np.linalg.slogdet(2 * np.pi * C)[1])
        logs.append(log)
    exact = logsumexp(logs, axis=0) - np.log(len(S))
    for rtol in (0.0, 1e-6):
        assert_same(estimate(axes, H, rtol=rtol).fit(S).score_samples(T), exact, max(rtol, 1e-9))


@pytest.mark.parametrize("axes", [a for a in AXES.values() if len(a) == 2], ids=[n for n in AXES if len(AXES[n]) == 2])
@pytest.mark.parametrize("params", [
    {}, {"adaptive": "abramson"}, {"adaptive": "breiman"}, *({"kernel": kernel} for kernel in KERNELS)
], ids=str)
def test_sums_are_whole_and_samples_follow_them(axes, params):
    """The integral over the support, under a matrix, by the midpoint rule: right where densities are smooth."""
    rng = np.random.default_rng(5)
    S, H = rng.beta(1.2, 1.5, size=(12, 2)), np.array([[0.02, 0.015], [0.015, 0.03]])
    kde = estimate(axes, H, **params).fit(S)
    low = [0.0 if axis and np.isfinite(axis[1]) else -4.0 for axis in axes]
    high = [1.0 if axis and np.isfinite(axis[2]) else 5.0 for axis in axes]
    edges = [np.linspace(a, b, 1 + int(round((b - a) * 60))) for a, b in zip(low, high)]
    middles = [0.5 * (e[1:] + e[:-1]) for e in edges]
    density = kde.density_on_grid(middles).density
    cell = (edges[0][1] - edges[0][0]) * (edges[1][1] - edges[1][0])
    assert density.sum() * cell == pytest.approx(1.0, abs=5e-3 if "kernel" in params else 2e-5)
    drawn = kde.sample(5000, random_state=0)
    np.testing.assert_array_equal(np.isfinite(kde.score_samples(drawn)), True)
    for j in range(2):
        expected = density.sum(axis=1 - j) * cell
        found, _ = np.histogram(drawn[:, j], edges[j])
        assert np.abs(np.cumsum(found) / 5000 - np.cumsum(expected)).max() < 0.03


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_feature_integrates_to_one(kernel):
    x = np.random.default_rng(6).exponential(size=30)
    for bounds, boundary in (((0, None), "reflect"), ((0, 8), "reflect"), ((0, 8), "periodic")):
        kde = KernelDensity(1.3, kernel=kernel, bounds=bounds, boundary=boundary).fit(x)
        T = np.linspace(0, 8 if bounds[1] else 40, 100_001)
        middles = 0.5 * (T[1:] + T[:-1])
        assert np.exp(kde.score_samples(middles)).sum() * (T[1] - T[0]) == pytest.approx(1.0, abs=3e-5)
        if boundary == "reflect":
            assert kde.score_samples([-0.1])[0] == -INF


def test_rotations_of_a_period_and_scales_change_nothing():
    rng = np.random.default_rng(7)
    S, H = rng.uniform(size=(50, 2)), np.array([[0.02, 0.012], [0.012, 0.03]])
    T = rng.uniform(size=(30, 2))
    axes = [("periodic", 0.0, 1.0), None]
    for params in ({}, {"adaptive": 0.4}, {"adaptive": "breiman"}, {"kernel": "cosine"}, {"kernel": "exponential"}):
        plain = estimate(axes, H, **params).fit(S).score_samples(T)
        turn, scale = np.array([0.3, 0.0]), np.array([8.0, 0.125])
        turned = estimate(axes, H, **params).fit((S + turn) % [1, INF]).score_samples((T + turn) % [1, INF])
        np.testing.assert_allclose(turned, plain, atol=3e-6)
        scaled = estimate([("periodic", 0.0, 8.0), None], H * np.outer(scale, scale), **params).fit(S * scale)
        np.testing.assert_allclose(scaled.score_samples(T * scale), plain, atol=3e-6)


@pytest.mark.parametrize("params", [{"kernel": "linear"}, {"adaptive": 0.5}, {"kernel": "exponential"}, {}], ids=str)
def test_same_bits_for_any_threads_and_far_queries(params):
    rng = np.random.default_rng(8)
    S, H = rng.uniform(size=(3000, 2)), np.array([[0.002, 0.001], [0.001, 0.003]])
    T = np.concatenate([rng.uniform(size=(500, 2)), [[0.5, 1e300], [0.5, -1e300], [0.0, 40.0]]])
    axes = [("periodic", 0.0, 1.0), None]
    found = [estimate(axes, H, n_threads=k, **params).fit(S).score_samples(T) for k in (1, 2, 3)]
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])
    assert not np.isnan(found[0]).any() and np.isfinite(found[0][:500]).all()


def test_what_is_refused():
    X = np.abs(np.random.default_rng(9).normal(size=(20, 2)))
    H, bounds = np.array([[1.0, 0.5], [0.5, 1.0]]), [(0, None), None]
    for params, name in (({"kernel": "tophat"}, "kernel"), ({"adaptive": 0.5}, "adaptive")):
        with pytest.raises(ValueError, match=f"boundary is 'linear' for feature 0.*{name}"):
            KernelDensity(0.5, bounds=bounds, boundary="linear", **params).fit(X)
    with pytest.raises(ValueError, match="boundary is 'linear' for feature 0.*bandwidth is a matrix"):
        KernelDensity(H, bounds=bounds, boundary="linear").fit(X)
    with pytest.raises(ValueError, match="adaptive is Balloon.*a width for each query"):
        KernelDensity(0.5, bounds=bounds, adaptive=Balloon(3)).fit(X)
    with pytest.raises(ValueError, match="more than 4096 images"):
        KernelDensity(1e5, bounds=[(0, 9), None], kernel="tophat").fit(X)
    with pytest.raises(ValueError, match="kernel is 'tophat', which has no gradient"):
        KernelDensity(0.5, bounds=bounds, kernel="tophat").fit(X).gradient(X)


@pytest.mark.parametrize("params", [
    {}, {"adaptive": 0.5}, {"adaptive": "breiman"}, *({"kernel": kernel} for kernel in KERNELS)
], ids=str)
def test_edges(params):
    """One source, queries beyond all numbers, sources at bounds, zero weights, float32."""
    rng, H = np.random.default_rng(10), np.array([[0.02, 0.01], [0.01, 0.03]])
    T = np.array([[0.5, 0.5], [0.0, 0.0], [1.0, 1.0], [1e300, 0.5], [0.5, 1e300], [-1e300, -1e300]])
    for axes in (AXES["between x periodic"], AXES["below x periodic"], AXES["free x periodic"]):
        X = rng.uniform(size=(20, 2)).astype(np.float32)
        X[0] = 0.0
        for h in (0.1, H):
            alone = estimate(axes, h, **params).fit(X[:1])
            assert not np.isnan(alone.score_samples(T)).any() and alone.score_leave_one_out()[0] == -INF
            kde = estimate(axes, h, **params).fit(X)
            twice, w = np.repeat(X.astype(float), 2, axis=0)[1:], [1, 0] * 19 + [1]
            wide = estimate(axes, h, **params).fit(twice, sample_weight=w)
            assert not np.isnan(kde.score_samples(T)).any()
            few = estimate(axes, h, **params).fit(X.astype(float))
            np.testing.assert_allclose(kde.score_samples(T[:3]), few.score_samples(T[:3]), atol=3e-6)
            np.testing.assert_allclose(wide.score_samples(T[:3]), few.score_samples(T[:3]), atol=3e-6)
