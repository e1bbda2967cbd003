"""boundary="linear": the density of Jones and Foster, its bias at a bound, its integral, its tails and its samples."""

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.legendre import leggauss

from gaussum import KernelDensity
from gaussum.boundary import truncated

INF = np.inf
FINE = leggauss(400)


def by_definition(S, w, h, T, bounds):
    """log(fbar exp(flin / fbar - 1)) by local least squares in all features, before it is normalised.

    flin is the first element of A^-1 (s_0, s_1 ...), A the moments of the part of a kernel that is within the bounds,
    s those of the sources; all by quadrature, and sums by a log-sum-exp.
    """
    d = S.shape[1]
    nodes, weights = FINE
    out = np.empty(len(T))
    for t, x in enumerate(T):
        A = np.ones((d + 1, d + 1))
        share = 1.0
        for j, (low, high) in enumerate(bounds):
            first, last = np.clip((low - x[j]) / h[j], -12, 12), np.clip((high - x[j]) / h[j], -12, 12)
            u = 0.5 * ((last - first) * nodes + first + last)
            p = 0.5 * (last - first) * weights * np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi)
            share *= p.sum()
            mean = p @ u / p.sum()
            A[0, j + 1] = A[j + 1, 0] = mean
            A[j + 1, 1:] *= mean
            A[1:, j + 1] *= mean
            A[j + 1, j + 1] = p @ u**2 / p.sum()
        u = (S - x) / h
        logs = np.log(w) - 0.5 * (u**2).sum(axis=1) - np.log(h).sum() - 0.5 * d * np.log(2 * np.pi)
        total = np.logaddexp.reduce(logs)
        moments = np.append(1.0, np.exp(logs - total) @ u)
        out[t] = total - np.log(share) + np.linalg.solve(A, moments)[0] - 1.0
    return out


def assert_within(found, exact, rtol):
    bound = -np.log1p(-rtol) + 1e-9 + 1e-13 * np.abs(exact)
    assert (np.abs(found - exact) <= bound).all(), (np.max(np.abs(found - exact) / bound), found, exact)


def log_integral(kde):
    return kde._sum._log_integral(None)


# --- the method -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [[(0.0, INF)], [(-INF, 1.0)], [(0.0, 1.0)], [(0.0, 1.0), (0.0, INF)],
                                    [(0.0, INF), (-INF, INF), (-INF, 1.0)]])
@pytest.mark.parametrize("wide", [0.01, 0.1, 0.7, 5.0])
def test_the_density_of_jones_and_foster(bounds, wide):
    d, rng = len(bounds), np.random.default_rng(0)
    S, h, w = rng.uniform(size=(80, d)), wide * rng.uniform(0.7, 1.4, d), rng.exponential(size=80)
    T = np.concatenate([rng.uniform(size=(20, d)), np.eye(d), np.zeros((1, d)), rng.uniform(size=(4, d)) * 0.1 * wide])
    # far out, on axes where that is within the bounds
    far = [30.0 if high == INF else -30.0 if low == -INF else 0.0 for low, high in bounds]
    T, w = np.concatenate([T, T[:3] + far]), w / w.sum()
    for rtol in (0.0, 1e-6, 1e-2):
        kde = KernelDensity(h, bounds=bounds, boundary="linear", rtol=rtol).fit(S, sample_weight=w)
        exact = by_definition(S, w, h, T, bounds) - log_integral(kde)
        assert_within(kde.score_samples(T), exact, rtol)
        alone = [
            by_definition(np.delete(S, i, axis=0), np.delete(w, i) / (1 - w[i]), h, S[i : i + 1], bounds)[0]
            for i in range(12)
        ]
        assert_within(kde.score_leave_one_out()[:12], np.array(alone) - log_integral(kde), rtol)


@pytest.mark.parametrize("n, d, h, plan", [(30_000, 1, 0.05, "grid"), (20_000, 3, 0.03, "tree")])
def test_large_sums(n, d, h, plan):
    x = np.random.default_rng(0).exponential(size=(n, d))
    bounds = [(0.0, INF)] + [(-INF, INF)] * (d - 1)
    kde = KernelDensity(h, bounds=bounds, boundary="linear").fit(x)
    assert plan == kde.explain(x).name and "near the bounds" in str(kde.explain(x))
    some, w, h = np.argsort(x[:, 0])[np.r_[:5, 20:2000:400, -3:0]], np.full(n, 1 / n), np.full(d, h)
    exact = by_definition(x, w, h, x[some], bounds) - log_integral(kde)
    assert_within(kde.score_samples(x)[some], exact, 1e-6)
    alone = [
        by_definition(np.delete(x, i, axis=0), w[1:] * n / (n - 1), h, x[i : i + 1], bounds)[0] for i in some
    ]
    assert_within(kde.score_leave_one_out()[some], np.array(alone) - log_integral(kde), 1e-6)


def test_isolated_sources():
    """What the others say of a source from which they are thousands of bandwidths away."""
    S, w, h = np.array([[0.0], [5.0], [5.5]]), np.array([0.2, 0.5, 0.3]), np.array([2e-3])
    kde = KernelDensity(h, bounds=(0, None), boundary="linear").fit(S, sample_weight=w)
    exact = by_definition(S[1:], w[1:] / 0.8, h, S[:1], [(0.0, INF)]) - log_integral(kde)
    assert exact < -1e6
    assert_within(kde.score_leave_one_out()[:1], exact, 1e-6)


def test_with_a_periodic_axis():
    rng = np.random.default_rng(0)
    S, T = rng.uniform(size=(50, 2)), rng.uniform(size=(30, 2))
    T[:10, 0] = 0.0
    h, w = np.array([0.2, 0.15]), np.full(150, 1 / 50)
    kde = KernelDensity(h, bounds=[(0, None), (0, 1)], boundary=["linear", "periodic"]).fit(S)
    images = np.concatenate([S, S + [0, 1], S - [0, 1]])
    exact = by_definition(images, w, h, T, [(0.0, INF), (-INF, INF)]) - log_integral(kde)
    assert_within(kde.score_samples(T), exact, 1e-6)
    alone = [
        by_definition(np.delete(images, [i, i + 50, i + 100], axis=0), w[3:] * 50 / 49, h, S[i : i + 1],
                      [(0.0, INF), (-INF, INF)])[0]
        for i in range(10)
    ]
    assert_within(kde.score_leave_one_out()[:10], np.array(alone) - log_integral(kde), 1e-6)


@given(low=st.floats(-40, 0), log_width=st.floats(-12, 3))
@settings(max_examples=50)
def test_moments_of_a_truncated_normal(low, log_width):
    high = low + 10.0**log_width
    if high < 0:
        low, high = -0.3 * 10.0**log_width, 0.7 * 10.0**log_width
    log_inside, mean, variance, unit = (float(v[0]) for v in truncated(np.array([low]), np.array([high])))
    with mpmath.workdps(60):
        a, b = mpmath.mpf(low), mpmath.mpf(high)
        inside = mpmath.ncdf(b) - mpmath.ncdf(a)
        m = (mpmath.npdf(a) - mpmath.npdf(b)) / inside
        v = 1 + (a * mpmath.npdf(a) - b * mpmath.npdf(b)) / inside - m**2
        assert abs(log_inside - mpmath.log(inside)) < 1e-13 * max(1, abs(log_inside))
        assert abs(mean - m / unit) < 1e-13 and abs(variance / (v / mpmath.mpf(unit) ** 2) - 1) < 1e-12


# --- what it is for -------------------------------------------------------------------------------


def bias_at(x, pdf, low, high, bounds, h, **params):
    """The relative bias: the kernels' sum over the density itself, finely divided, is what is expected of samples."""
    nodes, weights = leggauss(32)
    edges = np.linspace(low, high, 401)
    half = 0.5 * (edges[1] - edges[0])
    s = (edges[:-1, np.newaxis] + half * (1 + nodes)).ravel()
    w = np.tile(weights, 400) * pdf(s)
    kde = KernelDensity(h, rtol=1e-10, **({"bounds": bounds} | params if params else {})).fit(s, sample_weight=w)
    return np.exp(kde.score_samples([x])[0]) / pdf(x) - 1


@pytest.mark.parametrize("pdf, x, low, high, bounds", [
    (scipy.stats.expon.pdf, 0.0, 0.0, 40.0, (0, None)),
    (scipy.stats.beta(2, 1).pdf, 1.0, 0.0, 1.0, (0, 1)),
    (scipy.stats.truncnorm(-1, INF, 1).pdf, 0.0, 0.0, 9.0, (0, None)),
], ids=["exponential", "beta", "cut normal"])
def test_the_bias_at_a_bound_is_of_second_order(pdf, x, low, high, bounds):
    linear = [bias_at(x, pdf, low, high, bounds, h, boundary="linear") for h in (0.08, 0.04, 0.02)]
    reflected = [bias_at(x, pdf, low, high, bounds, h, boundary="reflect") for h in (0.08, 0.04, 0.02)]
    plain = bias_at(x, pdf, low, high, bounds, 0.02)
    assert -0.53 < plain < -0.48                                            # whatever h
    np.testing.assert_allclose(np.divide(reflected[:2], reflected[1:]), 2, atol=0.15)     # of order h
    np.testing.assert_allclose(np.divide(linear[:2], linear[1:]), 4, atol=0.8)            # of order h^2
    assert abs(linear[2]) < 0.15 * abs(reflected[2])


@pytest.mark.parametrize("boundary", ["reflect", "linear"])
def test_a_level_density_stays_level(boundary):
    for h in (0.01, 0.3, 2.0):
        for x in (0.0, 0.005, 0.5, 1.0):
            assert abs(bias_at(x, scipy.stats.uniform.pdf, 0.0, 1.0, (0, 1), h, boundary=boundary)) < 1e-8


def test_mean_squared_error_at_the_bound():
    """Of 100 sets of exponential samples: the slope is worth its variance."""
    errors = {"reflect": [], "linear": [], None: []}
    for seed in range(100):
        x = np.random.default_rng(seed).exponential(size=2000)
        for boundary, e in errors.items():
            params = {"bounds": (0, None), "boundary": boundary} if boundary else {}
            e.append((np.exp(KernelDensity(0.25, **params).fit(x).score_samples([0.0])[0]) - 1) ** 2)
    plain, reflect, linear = (np.mean(errors[kind]) for kind in (None, "reflect", "linear"))
    assert linear < 0.5 * reflect < 0.5 * 0.2 * plain


# --- a density ------------------------------------------------------------------------------------


@pytest.mark.parametrize("h", [0.003, 0.05, 0.5, 20.0])
@pytest.mark.parametrize("bounds", [(0, None), (None, 1), (0, 1)])
def test_the_integral_is_one(h, bounds):
    x = np.random.default_rng(0).beta(0.8, 1.5, size=60)
    kde = KernelDensity(h, bounds=bounds, boundary="linear", rtol=1e-10).fit(x)
    low, high = 0 if bounds[0] == 0 else -40 * h, 1 if bounds[1] == 1 else 1 + 40 * h
    nodes, weights = leggauss(16)
    edges = np.linspace(low, high, 1500)
    half = 0.5 * (edges[1] - edges[0])
    density = np.exp(kde.score_samples((edges[:-1, np.newaxis] + half * (1 + nodes)).ravel()))
    assert half * density @ np.tile(weights, 1499) == pytest.approx(1, abs=2e-8)


def test_the_integral_in_two_features():
    S = np.random.default_rng(0).exponential(size=(500, 2))
    for h in (0.1, 0.5):
        kde = KernelDensity(h, bounds=[(0, None)] * 2, boundary="linear").fit(S)
        t = np.linspace(0, S.max() + 6 * h, 241)
        density = np.exp(kde.score_samples(np.stack(np.meshgrid(t, t), axis=-1).reshape(-1, 2))).reshape(241, 241)
        assert scipy.integrate.simpson(scipy.integrate.simpson(density, x=t), x=t) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("h", [0.7, 5.0])
def test_samples(h):
    x = np.random.default_rng(0).exponential(size=200)
    kde = KernelDensity(h, bounds=(0, None), boundary="linear").fit(x)
    drawn = kde.sample(10_000, 1)
    assert drawn.shape == (10_000, 1) and drawn.min() >= 0
    np.testing.assert_array_equal(drawn, kde.sample(10_000, 1))
    t = np.linspace(0, x.max() + 9 * h, 20_001)
    cdf = scipy.integrate.cumulative_simpson(np.exp(kde.score_samples(t)), x=t, initial=0)
    assert scipy.stats.kstest(drawn[:, 0], lambda x: np.interp(x, t, cdf)).pvalue > 1e-3
    reflected = KernelDensity(h, bounds=(0, None)).fit(x).sample(10_000, 1)[:, 0]
    assert scipy.stats.kstest(reflected, lambda x: np.interp(x, t, cdf)).pvalue < 1e-3


def test_samples_on_several_axes():
    rng = np.random.default_rng(0)
    S = np.column_stack([rng.exponential(size=200), rng.beta(2, 1, size=200)])
    kde = KernelDensity(0.2, bounds=[(0, None), (0, 1)], boundary="linear").fit(S)
    drawn, t = kde.sample(4000, 1), np.linspace(0, 1, 401)
    assert (drawn >= 0).all() and (drawn[:, 1] <= 1).all()
    grid = np.linspace(0, S.max() + 2, 301)
    density = np.exp(kde.score_samples(np.stack(np.meshgrid(grid, t), axis=-1).reshape(-1, 2))).reshape(401, 301)
    marginal = scipy.integrate.simpson(density, x=grid)
    cdf = scipy.integrate.cumulative_simpson(marginal, x=t, initial=0)
    assert scipy.stats.kstest(drawn[:, 1], lambda x: np.interp(x, t, cdf / cdf[-1])).pvalue > 1e-3


def test_real_durations(faithful):
    """Eruptions of Old Faithful take some time, and bounds four bandwidths away change next to nothing."""
    plain = KernelDensity("scott").fit(faithful)
    bounded = KernelDensity("scott", bounds=[(0, None), (0, None)], boundary="linear").fit(faithful)
    np.testing.assert_allclose(bounded.score_samples(faithful), plain.score_samples(faithful), atol=5e-3)
    assert (bounded.score_samples(-faithful) == -INF).all()


@pytest.mark.parametrize("h", [1e4, 1e7, 1e8, 1e12, 1e100, 1e200, 1e300])
@pytest.mark.parametrize("rtol", [0.0, 1e-6])
def test_the_widest_kernels(h, rtol):
    """The limit of level kernels: f0 is level, M = mean(s) - x - m, m = 1/2 - x, v = 1/12, on a support of 1."""
    x, t = np.array([0.1, 0.2, 0.5, 0.9]), np.linspace(0.0, 1.0, 11)
    slope = 12 * (x.mean() - 0.5)
    exact = slope * (t - 0.5) - np.log(2 * np.sinh(slope / 2) / slope)
    kde = KernelDensity(h, bounds=(0, 1), boundary="linear", rtol=rtol).fit(x)
    np.testing.assert_allclose(kde.score_samples(t), exact, atol=max(10 * h**-2, 1e-6 * (rtol > 0), 1e-9))
    assert kde.bandwidth_ == h and kde.cdf([1.0])[0] == pytest.approx(1.0, abs=1e-9)
    assert kde.cdf(kde.sample(4000, random_state=0)).mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("bounds", [(0, 1), (0, None), (None, 1)])
@pytest.mark.parametrize("h", [1e-300, 1e-200, 1e-155, 1e-30])
def test_the_narrowest_kernels(h, bounds):
    """One at each source, and nothing between."""
    x = np.array([0.125, 0.25, 0.5, 0.875])
    kde = KernelDensity(h, bounds=bounds, boundary="linear").fit(x)
    np.testing.assert_allclose(kde.score_samples(x), np.log(0.25 / np.sqrt(2 * np.pi)) - np.log(h), rtol=1e-12)
    assert (kde.score_samples([0.0, 0.3, 1.0]) < -1e50).all()
    np.testing.assert_allclose(kde.cdf([0.1, 0.2, 0.3, 0.6, 1.0]), [0, 0.25, 0.5, 0.75, 1], rtol=1e-12)
    np.testing.assert_allclose(kde.quantile([0.1, 0.4, 0.6, 0.9]), x, rtol=1e-15)
