"""Selectors that look at the data: against what they solve or minimise, pair by pair, and what a user may expect."""

import functools
import math
import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.polynomial.hermite_e import hermeval
from scipy.fft import dct
from scipy.optimize import brentq, minimize_scalar

from gaussum import BandwidthWarning, KernelDensity, bandwidth
from gaussum.binned import Functionals
from gaussum.binned_pass import leave_one_out, spread
from kernel_access import BUILDS, line_leave_one_out, line_spread

NAMES = ["isj", "sheather_jones", "lscv", "lcv", "auto"]
every = pytest.mark.parametrize("name", NAMES)
SQRT_2PI = math.sqrt(2 * math.pi)


def select(name, x, w=None):
    return float(bandwidth.SELECTORS[name](x, w)[0])


def two_bells(n=400, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(0, 1, n // 2), rng.normal(5, 0.3, n - n // 2)])


def pairs(s, g, x, w):
    """sum_ij w_i w_j (-1)^s N^(2s)(x_i - x_j; 0, g^2), shape (n, n) before the sum."""
    z = (x[:, None] - x) / g
    hermite = hermeval(z, [0] * (2 * s) + [1])
    return (-1) ** s * w[:, None] * w * hermite * np.exp(-0.5 * z * z) / (SQRT_2PI * g ** (2 * s + 1))


# The functionals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("far", [0.0, 1e3, 1e9])
def test_functionals_are_those_of_all_pairs(weighted, far):
    x = np.sort(np.append(two_bells(300), [-far, far]))
    rng = np.random.default_rng(1)
    w = rng.exponential(size=len(x)) if weighted else np.ones(len(x))
    w /= w.sum()
    f = Functionals(x, w, 0.01)
    for g in (0.01, 0.07, 0.4, 3.0):
        for s in (0, 1, 2, 3, 7):
            assert f.roughness(s, g) == pytest.approx(pairs(s, g, x, w).sum(), rel=1e-4 if g == 0.01 else 1e-5)


def test_functionals_to_many_digits():
    x = [0.0, 0.3, 0.31, 2.0]
    f = Functionals(np.array(x), np.full(4, 0.25), 0.05)
    with mpmath.workdps(40):
        for s, g in ((0, 0.2), (2, 0.2), (3, 0.7)):
            terms = [
                mpmath.diff(lambda t: mpmath.npdf(t, 0, g), mpmath.mpf(a) - mpmath.mpf(b), 2 * s) / 16
                for a in x
                for b in x
            ]
            assert f.roughness(s, g) == pytest.approx(float((-1) ** s * mpmath.fsum(terms)), rel=1e-4)


def test_a_grid_too_long_is_made_coarser():
    f = Functionals(np.linspace(0, 1, 10_001), np.full(10_001, 1 / 10_001), 1e-9, most_nodes=1 << 16)
    assert 1e-9 < f.finest < 1e-3
    assert f.roughness(0, f.finest / 5) == f.roughness(0, f.finest)


# The kernels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", BUILDS)
def test_kernels(build):
    rng = np.random.default_rng(3)
    place = np.append(rng.uniform(0, 17.9, 70), [0.0, 1.0, 17.0])
    w = rng.dirichlet(np.ones(73))
    distance = np.abs(place[:, None] - np.arange(20))
    distance = np.minimum(distance, 20 - distance)
    spline = np.where(distance < 1, 2 / 3 - distance**2 + distance**3 / 2, (2 - distance).clip(0) ** 3 / 6)
    np.testing.assert_allclose(line_spread(build, place, w, 20), w @ spline, rtol=1e-13, atol=1e-17)
    nodes, own, floor = rng.uniform(0.1, 1, 20), 2.0, 0.4
    f = np.empty(73)
    for i, x in enumerate(place):
        k = np.floor(x) + np.arange(-1, 3)
        basis = [np.prod([(x - m) / (j - m) for m in k if m != j]) for j in k]
        f[i] = np.dot(basis, nodes[k.astype(int) % 20])
    rest = (f - w * own) / (1 - w)
    assert 10 < (rest < floor).sum() < 60
    logs = np.where(rest < floor, math.log(floor) - 1 + rest.clip(0) / floor, np.log(rest.clip(floor)))
    assert line_leave_one_out(build, place, w, nodes, own, floor) == pytest.approx(w @ logs, rel=1e-12)


def test_passes_take_blocks_together():
    rng = np.random.default_rng(3)
    place, w, nodes = rng.uniform(0, 37.9, 1000), rng.dirichlet(np.ones(1000)), rng.uniform(0.1, 1, 40)
    parts = [leave_one_out(nodes, place[i : i + 100], w[i : i + 100], 3.0, 0.2) for i in range(0, 1000, 100)]
    assert leave_one_out(nodes, place, w, 3.0, 0.2) == pytest.approx(sum(parts), rel=1e-13)
    out = np.zeros(40)
    spread(place, w, out)
    assert out.sum() == pytest.approx(1, rel=1e-13) and out @ np.arange(40) == pytest.approx(w @ place, rel=0.05)
    with pytest.raises(ValueError, match="one weight a sample"):
        spread(place, w[1:], out)
    with pytest.raises(ValueError, match="one weight a sample"):
        leave_one_out(nodes, place, w[1:], 3.0, 0.2)


# What the selectors solve, pair by pair --------------------------------------------------------------


def sheather_jones_by_pairs(x, w):
    n = 1 / (w @ w)
    scale = min(np.sqrt(np.cov(x, aweights=w)), np.subtract(*np.quantile(x, [0.75, 0.25])) / 1.349)
    a, b = 1.24 * scale * n ** (-1 / 7), 1.23 * scale * n ** (-1 / 9)
    ratio = 1.357 * (pairs(2, a, x, w).sum() / pairs(3, b, x, w).sum()) ** (1 / 7)

    def excess(h):
        roughness = pairs(2, ratio * h ** (5 / 7), x, w).sum() / (1 - 1 / n)
        return (1 / (2 * np.sqrt(np.pi) * n * roughness)) ** (1 / 5) - h

    return brentq(excess, 0.1 * 1.144 * scale * n**-0.2, 1.144 * scale * n**-0.2, xtol=1e-12)


@pytest.mark.parametrize("data", ["two bells", "eruptions", "waiting", "galaxies"])
def test_sheather_jones(data, faithful, galaxies):
    x = {"two bells": two_bells(), "eruptions": faithful[:, 0], "waiting": faithful[:, 1], "galaxies": galaxies}[data]
    expected = sheather_jones_by_pairs(np.sort(x), np.full(len(x), 1 / len(x)))
    assert select("sj", x) == pytest.approx(expected, rel=1e-6)


def test_sheather_jones_as_in_r(faithful, galaxies):
    """bw.SJ(faithful$eruptions) is printed as 0.14; width.SJ(galaxies), which is four bandwidths, as 2.566423 (Venables
    and Ripley, MASS, 4th edition, section 5.6), from 1000 bins and so less exact."""
    assert round(select("sj", faithful[:, 0]), 2) == 0.14
    assert 4 * select("sj", galaxies) == pytest.approx(2.566423, rel=0.01)


def by_cosines(x, n_nodes=1 << 14):
    """Botev's bandwidth on his own grid: a histogram over twice the range, and its cosine transform."""
    width, n = np.ptp(x), len(x)
    low, length = x.min() - width / 2, 2 * width
    counts, _ = np.histogram(x, n_nodes, (low, low + length))
    a2 = (dct(counts / n)[1:] / 2) ** 2
    k2 = np.arange(1, n_nodes) ** 2.0

    def excess(t):
        f = 2 * np.pi**14 * np.sum(k2**7 * a2 * np.exp(-k2 * np.pi**2 * t))
        for s in range(6, 1, -1):
            moment = np.prod(np.arange(1, 2 * s, 2)) / SQRT_2PI
            time = (2 * (1 + 0.5 ** (s + 0.5)) / 3 * moment / (n * f)) ** (2 / (3 + 2 * s))
            f = 2 * np.pi ** (2 * s) * np.sum(k2**s * a2 * np.exp(-k2 * np.pi**2 * time))
        return t - (2 * n * np.sqrt(np.pi) * f) ** (-0.4)

    return length * np.sqrt(brentq(excess, 1e-8, 0.01, xtol=1e-15))


@pytest.mark.parametrize("seed", range(3))
def test_improved_sheather_jones(seed):
    x = two_bells(1000, seed)
    assert select("isj", x) == pytest.approx(by_cosines(x), rel=3e-3)
    assert select("improved_sheather_jones", x) == select("isj", x)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_least_squares(seed, weighted):
    x, rng = two_bells(300, seed), np.random.default_rng(seed)
    w = rng.exponential(size=300) if weighted else np.ones(300)
    w /= w.sum()

    def score(log_h):
        h = math.exp(log_h)
        one = pairs(0, h, x, w)
        return pairs(0, math.sqrt(2) * h, x, w).sum() - 2 * (one.sum() - np.trace(one)) / (1 - w @ w)

    ladder = np.linspace(math.log(0.02), math.log(3), 60)
    i = int(np.argmin([score(u) for u in ladder]))
    found = minimize_scalar(score, bounds=(ladder[i - 1], ladder[i + 1]), method="bounded", options={"xatol": 1e-9})
    assert select("lscv", x, w) == pytest.approx(math.exp(found.x), rel=1e-5)


def likelihood(h, x):
    return KernelDensity(h, rtol=0).fit(x).score_leave_one_out().mean()


@pytest.mark.parametrize("seed", range(4))
def test_likelihood_is_the_usual_one_where_no_sample_is_alone(seed):
    x = np.random.default_rng(seed).uniform(-1, 1, 500) + 0.1 * np.random.default_rng(seed + 9).normal(size=500)
    ladder = np.geomspace(0.01, 1, 80)
    best = ladder[np.argmax([likelihood(h, x) for h in ladder])]
    h = select("lcv", x)
    assert likelihood(h, x) > likelihood(best, x) - 2e-3
    assert 0.7 < h / best < 1.4


@pytest.mark.parametrize("weighted", [False, True])
def test_robust_likelihood(weighted):
    """Wu's criterion by its definition, with an outlier."""
    x = np.append(np.random.default_rng(7).standard_t(3, size=150), 40.0)
    w = np.random.default_rng(8).uniform(0.5, 1.5, 151) if weighted else np.ones(151)
    x, w = x[np.argsort(x)], (w / w.sum())[np.argsort(x)]
    n, middle = 1 / (w @ w), np.cumsum(w) - w / 2
    quartiles = np.interp([0.25, 0.75], (middle - middle[0]) / (middle[-1] - middle[0]), x)
    floor = math.sqrt(math.log(n) / 2) / (n * np.diff(quartiles)[0] / 1.349)

    def score(h):
        one = pairs(0, h, x, w) / w[:, None]
        others = (one.sum(axis=1) - np.diag(one)) / (1 - w)
        logs = np.where(others < floor, math.log(floor) - 1 + others / floor, np.log(np.maximum(others, floor)))
        grid = np.linspace(x[0] - 9 * h, x[-1] + 9 * h, 5_001)
        f = np.zeros(len(grid))
        for xi, wi in zip(x, w, strict=True):
            f += wi * np.exp(-0.5 * ((grid - xi) / h) ** 2) / (SQRT_2PI * h)
        return w @ logs - np.where(f < floor, f * f / (2 * floor), f).sum() * (grid[1] - grid[0])

    h = select("lcv", x, w)
    best = max(score(g) for g in np.geomspace(0.05, 2, 30))
    assert score(h) > best - 1e-4
    assert score(h) > max(score(0.8 * h), score(1.25 * h))


# What every selector promises ------------------------------------------------------------------------


@every
@settings(max_examples=15)
@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3))
def test_scale_and_shift(name, scale, shift):
    x = np.round(two_bells(200) * 256) / 256
    expected = select(name, x)
    assert select(name, scale * x) == pytest.approx(scale * expected, rel=1e-5)
    assert select(name, x + shift) == pytest.approx(expected, rel=1e-5)


@every
@pytest.mark.parametrize("factor", [1e-300, 2.0**-20, 2.0**40, 1e300])
def test_far_scales_and_offsets(name, factor):
    x = np.round(two_bells(300) * 2**20) / 2**20
    assert select(name, x * factor) / factor == pytest.approx(select(name, x), rel=1e-5)
    assert select(name, x + 1e8) == pytest.approx(select(name, x), rel=1e-4)


@every
@pytest.mark.parametrize("outliers", [[1e6], [1e6, -3e9, 1e12], [1e300]])
def test_outliers_cost_no_resolution(name, outliers):
    x = two_bells(1000, seed=4)
    assert 0.7 < select(name, np.append(x, outliers)) / select(name, x) < 1.4


@every
def test_weights(name):
    x, rng = two_bells(300), np.random.default_rng(0)
    w = rng.uniform(0.1, 1, 300)
    expected = select(name, x, w)
    assert select(name, x, 1e-200 * w) == pytest.approx(expected, rel=1e-5)
    order = rng.permutation(300)
    assert select(name, x[order], w[order]) == pytest.approx(expected, rel=1e-5)
    assert select(name, x, np.full(300, 7.0)) == pytest.approx(select(name, x), rel=1e-5)
    junk = np.append(x, [1e300, -5.0])
    assert select(name, junk, np.append(w, [0.0, 0.0])) == pytest.approx(expected, rel=1e-5)
    left = select(name, x, (x < 3) + 1e-9)      # a bell that weighs nothing
    assert left == pytest.approx(select(name, x[x < 3]), rel=0.02)


@every
def test_weights_are_repetitions(name):
    x, counts = two_bells(400, seed=2), np.tile([1, 1, 4, 0], 100)
    assert select(name, np.repeat(x, counts)) == pytest.approx(select(name, x, counts), rel=1e-5)


@every
@pytest.mark.parametrize("seed", range(3))
def test_resamples(name, seed):
    x = np.random.default_rng(seed).normal(size=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BandwidthWarning)       # the least-squares score's own noise
        assert 0.05 < select(name, np.random.default_rng(seed).choice(x, 500)) < 0.7


@every
def test_layouts(name, tmp_path):
    x = two_bells(300).astype(np.float32).astype(float)
    expected = select(name, x)
    np.save(tmp_path / "x.npy", x)
    for other in (x.astype(np.float32), x[:, None], np.repeat(x, 2)[::2], x[::-1], x.astype(">f8").tolist(),
                  np.load(tmp_path / "x.npy", mmap_mode="r")):
        assert select(name, other) == pytest.approx(expected, rel=1e-9)
    assert select(name, x) == expected and (x == two_bells(300).astype(np.float32)).all()


@every
@settings(max_examples=25)
@given(arrays(np.float64, st.integers(2, 9), elements=st.floats(-1e300, 1e300, allow_subnormal=False)))
def test_positive_or_refused(name, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BandwidthWarning)
        if (x == x[0]).all():
            with pytest.raises(ValueError, match="X is constant in column 0"):
                select(name, x)
        else:
            h = select(name, x)
            assert 0 < h < np.inf


@every
def test_refusals(name):
    selector = bandwidth.SELECTORS[name]
    for X, w, message in (([3.0], None, "X has one sample"), ([1.0, 1.0], None, "X is constant in column 0"),
                          ([1.0, 2.0], [0.0, 1.0], "one sample with a positive weight"),
                          ([1.0, np.nan], None, "X holds nan"), ([1.0, 2.0], [1.0], "sample_weight has shape")):
        with pytest.raises(ValueError, match=message):
            selector(X, w)


def test_several_features():
    X = np.column_stack([two_bells(), two_bells(seed=3) * 100])
    for name in ("lscv", "lcv"):
        with pytest.raises(ValueError, match=f"X has 2 features; {name} expects one, and {name}_matrix takes several"):
            bandwidth.SELECTORS[name](X)
    np.testing.assert_array_equal(bandwidth.auto(X), bandwidth.auto_matrix(X))
    for name in ("isj", "sj"):
        each = np.array([select(name, X[:, j]) for j in range(2)])
        factor = 400 ** (-1 / 6) * (400 * 0.75) ** 0.2      # both rules of Silverman's
        np.testing.assert_allclose(bandwidth.SELECTORS[name](X), each * factor, rtol=1e-12)


# Ties ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0.02, 0.1])
def test_rounding_hardly_matters_while_it_is_fine(step):
    x = np.random.default_rng(0).normal(size=1000)
    for name in ("isj", "sj", "auto"):
        assert select(name, np.round(x / step) * step) == pytest.approx(select(name, x), rel=0.1)


@pytest.mark.parametrize("n", [100, 10_000])
def test_coarse_lattices_are_not_taken_for_spikes(n):
    x = np.random.default_rng(0).poisson(3, n)
    for name in NAMES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BandwidthWarning)
            assert 0.5 <= select(name, x) < 1.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KernelDensity().fit(x)          # the default says nothing


def test_degenerate_cross_validation_is_told():
    x = np.round(np.random.default_rng(0).normal(size=3000), 1)
    for name in ("lscv", "lcv"):
        message = f"bandwidth '{name}': its .*; (Silverman|the best).* is taken instead"
        with pytest.warns(BandwidthWarning, match=message):
            assert 0.05 < select(name, x) < 1
    with pytest.warns(BandwidthWarning, match="no solution; Silverman's rule of thumb is taken instead"):
        assert select("isj", [0.0, 1.0]) == pytest.approx(0.9 * 2**-0.2 * math.sqrt(0.5), rel=1e-9)


def test_zeros_among_measurements():
    rng = np.random.default_rng(0)
    wet = rng.normal(5, 1, 700)
    x = np.append(wet, np.zeros(300))
    assert select("auto", x) == pytest.approx(select("auto", wet), rel=0.1)
    assert select("auto", np.append(wet, 0.0)) == pytest.approx(select("auto", x), rel=1e-9)


def test_zeros_among_rounded_measurements():
    rng = np.random.default_rng(0)
    rain = np.round(rng.gamma(2, 5, 1200), 1)
    assert select("auto", np.append(rain, np.zeros(800))) == pytest.approx(select("auto", rain), rel=0.1)


# KernelDensity ---------------------------------------------------------------------------------------


def test_the_default():
    x = two_bells(1000)
    assert KernelDensity().fit(x).bandwidth_ == select("isj", x)
    few = np.array([0.0, 1.0, 1.5, 2.0, 7.0])
    sigma = min(np.std(few, ddof=1), 1.0 / 1.349)
    assert KernelDensity().fit(few).bandwidth_ == pytest.approx(0.9 * sigma * 5**-0.2, rel=1e-9)


@pytest.mark.parametrize("name", bandwidth.SELECTORS)
def test_names(name):
    x, w = two_bells(), np.random.default_rng(0).uniform(size=400)
    kde = KernelDensity(name).fit(x, sample_weight=w)
    assert isinstance(kde.bandwidth_, float) and kde.bandwidth_ == select(name, x, w)


def test_functions():
    X, seen = np.column_stack([two_bells(), two_bells()]), []

    def one(X, sample_weight, value):
        seen.append((X.shape, sample_weight))
        return value

    assert KernelDensity(functools.partial(one, value=0.5)).fit(X).bandwidth_ == 0.5
    kde = KernelDensity(functools.partial(one, value=np.array(0.5)))
    assert kde.fit(X[:, 0], sample_weight=range(400)).bandwidth_ == 0.5
    assert KernelDensity(functools.partial(one, value=[0.5, 2])).fit(X).bandwidth_.tolist() == [0.5, 2.0]
    assert seen[0] == ((400, 2), None) and seen[1][0] == (400, 1) and seen[1][1].tolist() == list(range(400))
    np.testing.assert_array_equal(KernelDensity(bandwidth.silverman).fit(X).bandwidth_, bandwidth.silverman(X))
    for value, error, message in ((0.0, ValueError, "what bandwidth returns is 0"),
                                  ("auto", TypeError, "what bandwidth returns is str"),
                                  (None, TypeError, "what bandwidth returns is NoneType"),
                                  ([1.0] * 3, ValueError, r"what bandwidth returns has shape \(3,\); expected \(2,\)")):
        with pytest.raises(error, match=message):
            KernelDensity(functools.partial(one, value=value)).fit(X)
