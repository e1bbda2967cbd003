"""Distribution functions, boxes and regions of densities with bounds, adaptive widths, other kernels and matrices."""

import pickle

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_ndtr

from gaussum import KernelDensity, distribution
from gaussum.distribution import Distribution, Mixed
from gaussum.line import Line
from gaussum.radial_line import RadialLine

RNG = np.random.default_rng(3)
X = np.concatenate([RNG.exponential(size=14), RNG.normal(3.5, 0.2, 6)]).clip(0.01, 4.8)
W = RNG.exponential(size=20)
KERNELS = ["tophat", "epanechnikov", "exponential", "linear", "cosine"]
INF = np.inf
ONE_FEATURE = {
    **{kernel: {"kernel": kernel} for kernel in KERNELS},
    **{f"{boundary} {low}..{high}": {"bounds": (low, high), "boundary": boundary}
       for boundary, low, high in [("reflect", 0, None), ("reflect", None, 5), ("reflect", 0, 5), ("periodic", 0, 5),
                                   ("linear", 0, 5), ("linear", 0, None), ("linear", None, 5)]},
    "abramson": {"adaptive": "abramson"}, "breiman": {"adaptive": "breiman"}, "fixed": {},
}
one_feature = pytest.mark.parametrize("params", ONE_FEATURE.values(), ids=ONE_FEATURE)


def by_rule(kde, low, high, n=12):
    """The integral of the density as score_samples gives it, between breaks where it is smooth: Gauss's rule."""
    x, h = kde.sources_.ravel(), kde.bandwidth_
    breaks = np.concatenate([x, x - h, x + h, np.linspace(low, high, 200)])
    edges = np.unique(np.append(breaks[(breaks > low) & (breaks < high)], [low, high]))
    u, w = np.polynomial.legendre.leggauss(n)
    half = 0.5 * np.diff(edges)
    t = (edges[:-1] + half)[:, None] + half[:, None] * u
    return half @ (np.exp(kde.score_samples(t.ravel())).reshape(t.shape) @ w)


# One feature ----------------------------------------------------------------------------------------------------------


@one_feature
@pytest.mark.parametrize("h", [0.3, 2.0, 9.0])
def test_the_distribution_function_is_the_integral_of_the_density(params, h):
    kde = KernelDensity(h, rtol=1e-13, **params).fit(X, sample_weight=W)
    low, high = kde.bounds or (None, None)
    low = -40 * h if low is None else low
    t = np.array([0.05, 0.5, 1.0, 2.5, 4.9])
    expected = np.cumsum([by_rule(kde, a, b) for a, b in zip([low, *t[:-1]], t)])
    np.testing.assert_allclose(kde.cdf(t), expected, rtol=2e-11)
    np.testing.assert_allclose(np.exp(kde.log_cdf(t)), kde.cdf(t), rtol=1e-14)
    np.testing.assert_allclose(kde.integrate_box(t[:-1], t[1:]), np.diff(expected), rtol=1e-10)
    np.testing.assert_allclose(kde.cdf(t) + kde.sf(t), 1.0, rtol=1e-13)
    assert kde.integrate_box(-INF, INF) == pytest.approx(1.0, rel=1e-13)
    ends = [-INF, -1e300, 1e300, INF]
    np.testing.assert_allclose(kde.cdf(ends), [0, 0, 1, 1], rtol=1e-12, atol=1e-280)


@one_feature
def test_quantiles_are_the_inverse(params):
    kde = KernelDensity(0.4, **params).fit(X, sample_weight=W)
    q = np.concatenate([np.logspace(-200, -1, 40), np.linspace(0.1, 0.9, 30), [1 - 1e-9]])
    x, upper = kde.quantile(q), kde.isf(q)
    assert (np.diff(x[np.argsort(q)]) >= 0).all()
    for found, of, way in ((x, kde.cdf, 1), (upper, kde.sf, -1)):
        rounding = way * 4e-16 * np.maximum(1, np.abs(found))
        assert (of(found - rounding) <= q * (1 + 2e-13)).all() and (of(found + rounding) >= q * (1 - 2e-13)).all()
    # the ends are those of the support, or of the kernels
    low, high = kde.bounds or (None, None)
    if kde.kernel not in ("gaussian", "exponential"):
        low, high = X.min() - 0.4, X.max() + 0.4
    np.testing.assert_array_equal(kde.quantile([0, 1]), [-INF if low is None else low, INF if high is None else high])
    assert kde.median() == kde.quantile(0.5)


def images_to_sixty_digits(t, params, h, factors):
    """Both tails of the kernels with their images."""
    low, high = params["bounds"]
    total = [mpmath.mpf(0), mpmath.mpf(0)]
    for s, w, factor in zip(X, W / W.sum(), factors):
        for k in range(-4, 5) if high is not None else [0]:
            shift = 0 if high is None else k * (high - low) * (2 if params["boundary"] == "reflect" else 1)
            for centre in [s] if params["boundary"] == "periodic" else [s, 2 * low - s]:
                for side, (a, b) in enumerate([(low, t), (t, 200 if high is None else high)]):
                    z = [(mpmath.mpf(float(e)) - mpmath.mpf(float(centre)) - shift) / (h * factor) / mpmath.sqrt(2)
                         for e in (a, b)]
                    z = [-z[1], -z[0]] if z[0] + z[1] < 0 else z
                    total[side] += mpmath.mpf(float(w)) * (mpmath.erfc(z[0]) - mpmath.erfc(z[1])) / 2
    return total


@pytest.mark.parametrize("params", [{"bounds": (0, None), "boundary": "reflect"},
                                    {"bounds": (0, 6), "boundary": "reflect"},
                                    {"bounds": (0, 6), "boundary": "periodic"}], ids=str)
def test_tails_under_bounds_to_many_digits(params):
    kde = KernelDensity(0.3, **params).fit(X, sample_weight=W)
    for t in [1e-12, 1e-3, 2.0, 5.9, *([12.0, 25.0] if params["bounds"][1] is None else [6 - 2.0**-40])]:
        with mpmath.workdps(60):
            lower, upper = images_to_sixty_digits(t, params, 0.3, np.ones(len(X)))
            for log, exact, other in ((kde.log_cdf([t])[0], lower, upper), (kde.log_sf([t])[0], upper, lower)):
                exact = mpmath.log(exact) if exact < other else mpmath.log1p(-other)
                assert abs(log - exact) <= 1e-13 * min(1, abs(exact)) + 2e-14 * abs(exact) + 1e-300


def test_tails_of_adaptive_widths_far_out():
    kde = KernelDensity(0.3, adaptive="abramson").fit(X, sample_weight=W)
    t = np.array([-300.0, -20.0, -1.0, 2.0, 9.0, 60.0, 1e6])
    z = (t[:, None] - X) / (0.3 * kde.local_factors_)
    log_w = np.log(W / W.sum())
    np.testing.assert_allclose(kde.log_cdf(t), np.logaddexp.reduce(log_w + log_ndtr(z), axis=1), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(kde.log_sf(t), np.logaddexp.reduce(log_w + log_ndtr(-z), axis=1), rtol=1e-12, atol=1e-15)


def test_tails_of_the_exponential_kernel_far_out():
    kde, w = KernelDensity(0.5, kernel="exponential").fit(X, sample_weight=W), W / W.sum()
    left = np.log(np.sum(w * np.exp(-X / 0.5))) - np.log(2)
    t = np.array([-1.0, -100.0, -1e5])
    np.testing.assert_allclose(kde.log_cdf(t), left + t / 0.5, rtol=1e-13)
    low = t - 1e-6
    np.testing.assert_allclose(kde.integrate_box(low, t, log=True), left + t / 0.5 + np.log(-np.expm1((low - t) / 0.5)),
                               rtol=1e-12)
    assert kde.log_sf([1e5])[0] == pytest.approx(np.log(np.sum(w * np.exp(X / 0.5)) / 2) - 2e5, rel=1e-13)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("width", [1e-12, 1e-3, 0.2, 3.0])
def test_narrow_intervals_do_not_cancel(kernel, width):
    kde = KernelDensity(0.7, kernel=kernel, rtol=0).fit(X[:5])
    low = np.linspace(-0.4, 5, 41)
    middle = np.exp(kde.score_samples(low + 0.5 * width))
    found = kde.integrate_box(low, low + width)
    if width == 1e-12:
        inside = middle > 1e-3
        np.testing.assert_allclose(found[inside] / ((low + width) - low)[inside], middle[inside], rtol=1e-9)
    else:
        np.testing.assert_allclose(found, [by_rule(kde, a, a + width) for a in low], rtol=1e-9, atol=1e-17)


def test_quantiles_in_gaps_are_the_least():
    for kernel in ("tophat", "epanechnikov"):
        kde = KernelDensity(1.0, kernel=kernel).fit([0.0, 10.0, 20.0, 30.0])
        np.testing.assert_allclose(kde.quantile([0.25, 0.5, 0.75]), [1.0, 11.0, 21.0], rtol=1e-7)
        np.testing.assert_allclose(kde.isf([0.25, 0.5, 0.75]), [21.0, 11.0, 1.0], rtol=1e-7)


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=8), st.sampled_from(KERNELS), st.floats(1e-3, 1e3),
       st.floats(-30, 30), st.floats(0, 10))
@settings(deadline=None, max_examples=60)
def test_intervals_of_other_kernels_add_up(x, kernel, h, low, width):
    line = RadialLine(np.array(x), np.full(len(x), -np.log(len(x))), h, kernel)
    parts = line.log_intervals(np.array([-INF, low, low + width]), np.array([low, low + width, INF]))
    assert np.exp(parts).sum() == pytest.approx(1.0, rel=1e-12)


@given(st.lists(st.floats(0, 7), min_size=1, max_size=8), st.sampled_from(["reflect", "periodic"]), st.floats(0.01, 30),
       st.floats(0, 7), st.floats(0, 7))
@settings(deadline=None, max_examples=40)
def test_intervals_under_bounds_add_up(x, boundary, h, a, b):
    kde, a, b = KernelDensity(h, bounds=(0, 7), boundary=boundary).fit(x), min(a, b), max(a, b)
    parts = kde.integrate_box([0, a, b], [a, b, 7])
    assert parts.sum() == pytest.approx(1.0, rel=1e-12) and (parts >= 0).all()
    assert kde.cdf([b])[0] == pytest.approx(parts[:2].sum(), rel=1e-12)


def test_arcs_of_a_period():
    kde = KernelDensity(1.0, bounds=(0, 24), boundary="periodic").fit([23.0, 1.0, 12.0])
    night = kde.integrate_box(22, 24) + kde.integrate_box(0, 3)
    boxes = kde.integrate_box([22, -2, 46, -26], [27, 3, 51, -21])
    np.testing.assert_allclose(boxes, night, rtol=1e-13)
    np.testing.assert_array_equal(kde.integrate_box([0, 5, -100], [24, 29, 100]), 1.0)
    assert kde.integrate_box(5, 5) == 0.0 and kde.integrate_box(24, 24) == 0.0
    np.testing.assert_array_equal(kde.cdf([-3.0, 0.0, 24.0, 30.0]), [0, 0, 1, 1])


def test_data_in_any_form(tmp_path):
    x = np.round(X, 3)
    for params in ({"bounds": (0, 5)}, {"adaptive": 0.5}, {"kernel": "linear"}):
        expected = KernelDensity(0.3, **params).fit(x, sample_weight=W).cdf(x)
        np.save(tmp_path / "x.npy", x)
        for other in (x.tolist(), np.repeat(x, 2)[::2], x[:, None], np.load(tmp_path / "x.npy", mmap_mode="r")):
            np.testing.assert_array_equal(KernelDensity(0.3, **params).fit(other, sample_weight=W).cdf(other), expected)
        zero = KernelDensity(0.3, **params).fit(np.append(x, 1.0), sample_weight=np.append(W, 0.0))
        np.testing.assert_array_equal(zero.cdf(x), expected)
        single = KernelDensity(0.3, **params).fit(x.astype(np.float32), sample_weight=W)
        np.testing.assert_allclose(single.cdf(x.astype(np.float32)), expected, rtol=1e-4)
        if "adaptive" not in params:
            twice = KernelDensity(0.3, **params).fit(np.append(x, x), sample_weight=np.append(W, W))
            np.testing.assert_allclose(twice.cdf(x), expected, rtol=1e-13)
        one = KernelDensity(0.3, **params).fit([1.0])
        assert one.cdf([1.0])[0] == pytest.approx(0.5, abs=1e-3)
        kde = KernelDensity(0.3, **params).fit(x)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(kde)).cdf(x), kde.cdf(x))


def test_the_same_bits_for_any_number_of_threads(always_threads):
    rng = np.random.default_rng(1)
    x, t = rng.uniform(0, 5, 3000), rng.uniform(0, 5, 200)
    for params in ({"bounds": (0, 5), "boundary": "linear"}, {"adaptive": 0.5}, {"kernel": "exponential"},
                   {"bounds": (0, 5), "boundary": "periodic"}, {"kernel": "cosine"}):
        found = [
            np.concatenate([kde.log_cdf(t), kde.integrate_box(t, t + 0.1, log=True), kde.quantile(t[:30] / 5)])
            for kde in (KernelDensity(0.2, n_threads=n, **params).fit(x) for n in (1, 2, 3, 7))
        ]
        for other in found[1:]:
            np.testing.assert_array_equal(found[0], other)


@pytest.mark.parametrize("params", [{"kernel": "exponential"}, {"adaptive": "breiman"}, {"bounds": [(-50, 50)]}])
def test_scale_and_shift(params):
    """To the last bit for powers of two; a shift costs the digits of the data."""
    def fitted(a, b):
        changed = params | ({"bounds": [(a * -50 + b, a * 50 + b)]} if "bounds" in params else {})
        return KernelDensity(0.25 * a, **changed).fit(X * a + b)

    t, plain = np.linspace(-1, 6, 30), fitted(1.0, 0.0)
    for a, b in ((2.0**20, 0.0), (2.0**-30, 0.0), (1.0, 1e3)):
        kde, rtol = fitted(a, b), 1e-13 if b == 0 else 1e-8
        np.testing.assert_allclose(kde.cdf(t * a + b), plain.cdf(t), rtol=rtol)
        np.testing.assert_allclose(kde.quantile([0.1, 0.6]), plain.quantile([0.1, 0.6]) * a + b, rtol=1e-11)


# Several features -----------------------------------------------------------------------------------------------------


def by_grid(kde, low, high, n=120):
    """The integral of the density over a box, by Gauss's rule on each axis."""
    u, w = np.polynomial.legendre.leggauss(n)
    axes = [0.5 * (a + b) + 0.5 * (b - a) * u for a, b in zip(low, high)]
    points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    shares = w
    for _ in low[1:]:
        shares = np.multiply.outer(shares, w)
    return np.prod(0.5 * np.subtract(high, low)) * (shares.ravel() @ np.exp(kde.score_samples(points)))


PLANE = RNG.uniform(0, 3, size=(25, 2))
C = np.array([[0.3, 0.2], [0.2, 0.4]])
TWO_FEATURES = [
    ({"bounds": [(0, None), (0, 3)]}, [0.0, 0.2], [1.0, 2.0]),
    ({"bounds": [(0, None), (0, 3)], "boundary": ["reflect", "periodic"]}, [0.0, 2.5], [1.0, 4.0]),
    ({"bounds": [None, (None, 3)]}, [-2.0, 0.1], [1.0, 3.0]),
    ({"bounds": [(0, 3)] * 2, "boundary": "periodic"}, [2.5, -1.0], [4.0, 1.0]),
    ({"bandwidth": [0.4, 6.0], "bounds": [(0, 3)] * 2, "boundary": "periodic"}, [2.5, -1.0], [4.0, 1.0]),
    ({"bandwidth": [0.1, 9.0], "bounds": [(0, 3)] * 2}, [0.5, 0.3], [1.0, 1.0]),
    ({"adaptive": "abramson"}, [0.1, -1.0], [4.0, 1.0]), ({"adaptive": "breiman"}, [5.0, 4.0], [7.0, 6.0]),
    ({"bandwidth": C, "adaptive": "abramson"}, [0.1, -1.0], [4.0, 1.0]), ({"bandwidth": C}, [0.1, -1.0], [4.0, 1.0]),
]


@pytest.mark.parametrize("params, low, high", TWO_FEATURES, ids=str)
def test_boxes_are_the_integral_of_the_density(params, low, high):
    kde = KernelDensity(**({"bandwidth": 0.4, "rtol": 1e-13} | params)).fit(PLANE)
    assert kde.integrate_box(low, high) == pytest.approx(by_grid(kde, low, high), rel=2e-11)
    assert kde.integrate_box(-INF, INF) == pytest.approx(1.0, rel=1e-12)
    assert kde.integrate_box([low, [1, 1]], [high, [1, 2]])[1] == 0.0
    t = np.array([[1.0, 2.0], [0.3, 2.9]])
    np.testing.assert_allclose(kde.cdf(t), [kde.integrate_box([-INF] * 2, row) for row in t], rtol=1e-12)


def test_orthants_under_a_matrix():
    """1/8 + (arcsin r_12 + arcsin r_13 + arcsin r_23) / (4 pi), whatever the scales; and the same for four by scipy."""
    for r in ([0.5, 0.3, 0.2], [-0.5, 0.3, 0.2], [0.9, 0.85, 0.8], [0.7, -0.6, -0.9]):
        R = np.eye(3)
        R[np.triu_indices(3, 1)] = R.T[np.triu_indices(3, 1)] = r
        R = np.triu(R) + np.triu(R, 1).T
        sd = np.array([1.0, 30.0, 0.2])
        kde = KernelDensity(R * np.outer(sd, sd)).fit([[0.0, 0.0, 0.0]])
        exact = 0.125 + np.arcsin(r).sum() / (4 * np.pi)
        assert kde.integrate_box([0.0] * 3, [INF] * 3) == pytest.approx(exact, rel=1e-11)
        log = kde.integrate_box([-INF, 900.0, -INF], [INF] * 3, log=True)
        assert log == pytest.approx(KernelDensity(1.0).fit([0.0]).log_sf([30.0])[0], rel=1e-11)


def test_boxes_under_a_matrix_by_points(monkeypatch):
    """Where the rule would take too many nodes: an absolute error of some 1e-5."""
    rng = np.random.default_rng(2)
    A = rng.normal(size=(4, 4))
    kde = KernelDensity(A @ A.T / 4 + 0.3 * np.eye(4)).fit(rng.normal(size=(30, 4)))
    low, high = np.full((3, 4), -1.0), np.array([[2.0] * 4, [0.5] * 4, [INF, 0.0, 1.0, 2.0]])
    exact = kde.integrate_box(low, high)
    monkeypatch.setattr(distribution, "_NODES", 0)
    monkeypatch.setattr(distribution, "_PAIRS", 0)
    found = kde.integrate_box(low, high)
    assert (found != exact).all()
    np.testing.assert_allclose(found, exact, rtol=0, atol=3e-5)
    np.testing.assert_array_equal(found, kde.integrate_box(low, high))


def test_widths_of_many_octaves():
    """Narrow intervals under kernels of widths from 1e-3 to 1e3: none of them loses its digits."""
    rng = np.random.default_rng(4)
    x, factors, log_w = rng.normal(size=40), 10.0 ** rng.uniform(-3, 3, 40), np.full(40, -np.log(40))
    line = Line(x, log_w, 1.0, factors)
    low = rng.normal(size=30)
    for width in (1e-10, 1e-4, 0.3):
        with mpmath.workdps(50):
            expected = [
                mpmath.log(mpmath.fsum(
                    mpmath.ncdf((mpmath.mpf(b) - s) / f) - mpmath.ncdf((mpmath.mpf(a) - s) / f)
                    for s, f in zip(x.tolist(), factors.tolist())) / 40)
                for a, b in zip(low.tolist(), (low + width).tolist())
            ]
        found = line.log_intervals(low, low + width)
        np.testing.assert_allclose(found, np.array(expected, dtype=float), rtol=1e-12)
        # in the plane, with nothing asked of the other feature
        plane = Distribution(np.stack([x, x]), log_w, np.ones(2), factors)
        boxes = [np.stack([end, np.full(30, other)], axis=1) for end, other in ((low, -INF), (low + width, INF))]
        np.testing.assert_allclose(plane.log_boxes(*boxes), found, rtol=1e-12)


def test_a_sum_of_sums():
    w = np.array([0.25, 0.75])
    log_w = np.full(3, -np.log(3))
    x = np.array([[0.0, 1.0, 2.0], [5.0, 5.5, 9.0]])
    mixed = Mixed([Line(x[0], log_w, 1.0), Line(x[1], log_w, 3.0)], np.log(w)).line
    whole = Line(x.ravel(), np.log(np.repeat(w, 3) / 3), 1.0, np.repeat([1.0, 3.0], 3))
    t = np.linspace(-30, 40, 50)
    np.testing.assert_allclose(mixed.log_lower(t), whole.log_lower(t), rtol=1e-12)
    q = np.log([1e-30, 0.2, 0.5])
    for upper in (False, True):
        found = mixed.quantiles(q, np.full(3, upper))
        np.testing.assert_allclose(found, whole.quantiles(q, np.full(3, upper)), rtol=1e-12)


# Marginals, conditionals and moments ----------------------------------------------------------------------------------


SPACE = RNG.uniform(0, 3, size=(30, 3))
SLICED = [
    {"bandwidth": 0.4, "bounds": [(0, None), (0, 3), None], "boundary": ["reflect", "periodic", "reflect"]},
    {"bandwidth": [0.4, 0.3, 50.0], "bounds": [(0, 3), None, (0, 3)], "boundary": ["periodic", "linear", "periodic"]},
    {"bandwidth": 0.5, "adaptive": "abramson"}, {"bandwidth": np.diag([0.2, 0.3, 0.1]) + 0.05, "adaptive": "breiman"},
]


@pytest.mark.parametrize("params", SLICED, ids=str)
@pytest.mark.parametrize("given", [[0], [2], [1, 0], [2, 1]])
def test_conditionals_are_the_joint_over_the_marginal(params, given):
    kde = KernelDensity(rtol=0, **params).fit(SPACE, sample_weight=np.arange(1.0, 31.0))
    rest, values = [j for j in range(3) if j not in given], dict(zip(given, [0.7, 1.3]))
    T = np.random.default_rng(0).uniform(0.1, 2.9, size=(20, 3))
    T[:, given] = [values[j] for j in given]
    alone = kde.marginal(given).score_samples(T[:1, given])
    conditional = kde.conditional(values)
    expected = kde.score_samples(T) - alone
    np.testing.assert_allclose(conditional.score_samples(T[:, rest]), expected, rtol=1e-10, atol=1e-11)
    assert conditional.get_params()["adaptive"] == kde.adaptive
    assert conditional.integrate_box(-INF, INF) == pytest.approx(1.0, rel=1e-12)


def test_marginals_are_integrals():
    for params in SLICED[:1] + SLICED[2:]:
        kde = KernelDensity(rtol=1e-12, **params).fit(SPACE)
        box = [0.5, -INF, 0.2], [1.5, INF, 2.0]
        part = kde.marginal([2, 0])
        assert part.integrate_box([0.2, 0.5], [2.0, 1.5]) == pytest.approx(kde.integrate_box(*box), rel=1e-10)
        if kde.adaptive is not None:
            np.testing.assert_array_equal(part.local_factors_, kde.local_factors_)


def test_values_out_of_bounds_are_refused():
    kde = KernelDensity(0.4, bounds=[(0, 3), None]).fit(PLANE)
    with pytest.raises(ValueError, match="values hold 3.5 for feature 0; expected it within its bounds"):
        kde.conditional({0: 3.5})
    hours = KernelDensity(0.4, bounds=[(0, 3), None], boundary="periodic").fit(PLANE)
    late, early = (hours.conditional({0: value}).score_samples(PLANE[:5, 1]) for value in (3.5, 0.5))
    np.testing.assert_allclose(late, early, rtol=1e-12)


def test_moments_of_adaptive_densities():
    kde = KernelDensity(C, adaptive="abramson").fit(PLANE)
    np.testing.assert_allclose(kde.mean_, PLANE.mean(axis=0))
    wider = np.mean(kde.local_factors_**2)
    np.testing.assert_allclose(kde.covariance_, np.cov(PLANE.T, bias=True) + wider * C)
    with pytest.raises(ValueError, match="bounds is .* expected None for the moments"):
        KernelDensity(0.4, bounds=[(0, 3), None]).fit(PLANE).covariance_


# Regions --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ONE_FEATURE if name not in KERNELS])
@pytest.mark.parametrize("h", [0.2, 1.0])
def test_regions_have_their_probability(name, h):
    kde = KernelDensity(h, **ONE_FEATURE[name]).fit(X, sample_weight=W)
    low, high = kde.bounds or (None, None)
    for region in kde.highest_density_region([0.1, 0.5, 0.9, 0.999]):
        ends = region.intervals
        assert np.sum(kde.integrate_box(ends[:, 0], ends[:, 1])) == pytest.approx(region.probability, rel=1e-11)
        free = ends[(ends != low) & (ends != high)]
        np.testing.assert_allclose(kde.score_samples(free), region.log_level, atol=1e-8)
        t = np.linspace(0.01, 4.99, 300)
        assert (region.contains(t) == (kde.score_samples(t) >= region.log_level)).mean() > 0.99


def test_a_region_goes_round_midnight():
    kde = KernelDensity(1.0, bounds=(0, 24), boundary="periodic").fit([23.5, 0.5, 0.0, 23.0])
    region = kde.highest_density_region(0.9)
    assert region.intervals[0, 0] == 0.0 and region.intervals[-1, 1] == 24.0 and len(region.intervals) == 2
    assert region.contains([0.0, 23.9, 12.0]).tolist() == [True, True, False]


@pytest.mark.parametrize("params", [{"kernel": "linear"}, {"bounds": [(0, None), None]}, {"adaptive": 0.5}], ids=str)
def test_regions_by_draws(params):
    kde = KernelDensity(0.5, **params).fit(PLANE)
    region = kde.highest_density_region(0.7, n_samples=20_000)
    assert region.intervals is None
    drawn = kde.sample(20_000, random_state=5)
    assert region.contains(drawn).mean() == pytest.approx(0.7, abs=0.02)
