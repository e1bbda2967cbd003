"""Bounded and periodic axes: sums over all images, to the same contract as without them."""

import copy
import pickle

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussum import KernelDensity
from gaussum.bandwidth import scott

INF = np.inf
AXES = {
    "from below": [("reflect", 0.0, INF)],
    "from above": [("reflect", -INF, 1.0)],
    "between": [("reflect", 0.0, 1.0)],
    "periodic": [("periodic", 0.0, 1.0)],
    "between x periodic": [("reflect", 0.0, 1.0), ("periodic", -1.0, 2.0)],
    "free x periodic": [None, ("periodic", 0.0, 1.0)],
    "periodic x free x below": [("periodic", 0.0, 1.0), None, ("reflect", 0.0, INF)],
}
over_axes = pytest.mark.parametrize("axes", AXES.values(), ids=AXES)


def estimate(axes, h, **params):
    return KernelDensity(
        h, bounds=[axis and axis[1:] for axis in axes], boundary=[axis[0] if axis else "reflect" for axis in axes],
        **params
    )


def images(x, axis, h):
    """All images of coordinates that count in double precision, and many more."""
    if axis is None:
        return [x]
    kind, low, high = axis
    if np.isinf(low) or np.isinf(high):
        return [x, 2 * (high if np.isinf(low) else low) - x]
    shifts = np.arange(-4 - int(12 * h / (high - low)), 5 + int(12 * h / (high - low))) * (high - low)
    if kind == "periodic":
        return [x + k for k in shifts]
    return [y for k in shifts for y in (x + 2 * k, 2 * low - x + 2 * k)]


def by_definition(S, w, h, T, axes, own=False):
    """Log density by a log-sum-exp over all sources and all images."""
    logs = np.log(w) - np.log(h).sum() - 0.5 * len(h) * np.log(2 * np.pi) + np.zeros((len(T), 1))
    inside = np.ones(len(T), dtype=bool)
    for j, axis in enumerate(axes):
        far = [-0.5 * ((y[:, np.newaxis] - S[:, j]) / h[j]) ** 2 for y in images(T[:, j], axis, h[j])]
        logs = logs + np.logaddexp.reduce(far, axis=0)
        if axis and axis[0] == "reflect":
            inside &= (T[:, j] >= axis[1]) & (T[:, j] <= axis[2])
    if own:
        np.fill_diagonal(logs, -np.inf)
    return np.where(inside, np.logaddexp.reduce(logs, axis=1), -np.inf)


def assert_within(found, exact, rtol):
    """The relative error of exp(found) is at most rtol, beyond the rounding of such a logarithm."""
    same = found == exact
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(found - exact))
    bound = -np.log1p(-rtol) + 1e-14 * np.where(same, 1.0, np.abs(exact)) + 1e-12
    assert (error <= bound).all(), (np.max(error / bound), int(np.argmax(error / bound)))


# --- the contract ---------------------------------------------------------------------------------


@over_axes
@pytest.mark.parametrize("wide", [1e-3, 0.05, 0.3, 1.2, 3.0, 50.0])
@pytest.mark.parametrize("spread", [1.0, 0.02])
def test_all_images_near_and_far(axes, wide, spread):
    d, rng = len(axes), np.random.default_rng(0)
    S = 0.9 * (1 - spread) + spread * rng.uniform(size=(60, d))
    h, w = wide * rng.uniform(0.7, 1.4, d), rng.exponential(size=60) ** 3
    w /= w.sum()
    T = [rng.uniform(size=(20, d)), S[:5], rng.uniform(-3, 4, size=(20, d)), np.eye(d), np.zeros((1, d))]
    T = np.concatenate(T)
    exact, alone = by_definition(S, w, h, T, axes), by_definition(S, w, h, S, axes, own=True)
    for rtol in (0.0, 1e-6, 1e-2):
        kde = estimate(axes, h, rtol=rtol).fit(S, sample_weight=w)
        assert_within(kde.score_samples(T), exact, rtol)
        assert_within(kde.score_leave_one_out() + np.log1p(-w), alone, rtol)


@given(
    name=st.sampled_from(sorted(AXES)), n=st.integers(1, 60), log_h=st.floats(-5, 2), log_rtol=st.floats(-11, -1),
    heavy=st.floats(0, 20), seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40)
def test_any_data(name, n, log_h, log_rtol, heavy, seed):
    axes, rng, rtol = AXES[name], np.random.default_rng(seed), 10.0**log_rtol
    d = len(axes)
    S, h = rng.uniform(size=(n, d)) ** rng.integers(1, 9), 10.0**log_h * rng.uniform(0.5, 2, d)
    w = rng.exponential(size=n) ** heavy + 1e-300
    w /= w.sum()
    T = np.concatenate([rng.uniform(size=(15, d)), S[:5] ** 2, rng.uniform(-2, 3, size=(5, d))])
    kde = estimate(axes, h, rtol=rtol).fit(S, sample_weight=w)
    assert_within(kde.score_samples(T), by_definition(S, w, h, T, axes), rtol)
    if n > 1:
        found = kde.score_leave_one_out() + np.log1p(-kde.source_weights_)
        assert_within(found, by_definition(S, w, h, S, axes, own=True), rtol)


@pytest.mark.parametrize("plan, n, h", [("grid", 20_000, 0.05), ("tree", 20_000, 1e-4)])
def test_large_sums(plan, n, h):
    """Plans other than the direct one, for images too, and for what a source leaves out of them."""
    axes, rng = AXES["between x periodic"], np.random.default_rng(1)
    S = np.column_stack([rng.beta(0.5, 0.7, size=n), rng.uniform(-1, 2, size=n)])
    kde, w, h = estimate(axes, h).fit(S), np.full(n, 1 / n), np.array([h, h])
    assert kde.explain(S).name == plan and "images" in str(kde.explain(S))
    some = np.concatenate([np.argsort(S[:, 0])[:8], np.argsort(S[:, 1])[-8:], np.arange(8)])
    assert_within(kde.score_samples(S)[some], by_definition(S, w, h, S[some], axes), 1e-6)
    alone = [by_definition(np.delete(S, i, axis=0), w[1:], h, S[i : i + 1], axes)[0] for i in some]
    assert_within(kde.score_leave_one_out()[some] + np.log1p(-1 / n), np.array(alone), 1e-6)


def test_to_forty_digits():
    """Many images, far out on an axis without bounds, where all densities underflow."""
    rng = np.random.default_rng(0)
    S, h, axes = rng.uniform(size=(5, 2)), np.array([0.8, 0.01]), [("periodic", 0.0, 1.0), None]
    T = np.array([[0.3, 0.5], [0.99, 3.0], [0.0, -70.0]])
    kde = estimate(axes, h, rtol=1e-9).fit(S)
    with mpmath.workdps(40):
        for t, found in zip(T, kde.score_samples(T)):
            total = mpmath.fsum(
                mpmath.exp(-(((mpmath.mpf(t[0]) + k - s[0]) / h[0]) ** 2 + ((mpmath.mpf(t[1]) - s[1]) / h[1]) ** 2) / 2)
                for s in S for k in range(-20, 21)
            )
            exact = mpmath.log(total / (5 * 2 * mpmath.pi * mpmath.mpf(h[0]) * mpmath.mpf(h[1])))
            assert abs(found - exact) < 1e-9 + 1e-14 * abs(exact)


@over_axes
def test_gradients(axes):
    rng, d = np.random.default_rng(2), len(axes)
    S, T, eps = rng.uniform(size=(40, d)), rng.uniform(0.02, 0.98, size=(30, d)), 1e-6
    for wide in (0.02, 0.4, 9.0):
        kde = estimate(axes, np.full(d, wide), rtol=1e-12).fit(S)
        log_density, gradient = kde.score_and_gradient(T)
        np.testing.assert_allclose(log_density, kde.score_samples(T), rtol=1e-11, atol=1e-11)
        for j in range(d):
            step = eps * np.eye(d)[j]
            slope = (kde.score_samples(T + step) - kde.score_samples(T - step)) / (2 * eps)
            np.testing.assert_allclose(gradient[:, j], slope, rtol=1e-5, atol=1e-5 / wide)


def test_there_is_no_gradient_outside_the_bounds_nor_of_corrections():
    kde = KernelDensity(0.1, bounds=(0, 1)).fit([0.2, 0.7])
    assert np.isnan(kde.gradient([-1.0, 1.1])).all() and kde.gradient([0.0])[0, 0] == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="boundary is 'linear', for which there is no gradient"):
        KernelDensity(0.1, bounds=(0, 1), boundary="linear").fit([0.2, 0.7]).gradient([0.5])
    kde = KernelDensity(0.1, bounds=(0, 1), boundary="linear").fit([0.2, 0.7])
    for of in (lambda: kde.modes(), lambda: kde.predict_basin([0.1], [0.2])):
        with pytest.raises(ValueError, match="is not climbed here; expected Gaussian kernels, of one width or"):
            of()


def test_the_same_bits_for_any_number_of_threads(always_threads):
    rng = np.random.default_rng(0)
    S, T = rng.uniform(size=(4000, 2)), rng.uniform(-1, 2, size=(3000, 2))
    for kinds in (["reflect", "periodic"], ["linear", "periodic"]):
        found = []
        for n_threads in (1, 2, 3, 7):
            kde = KernelDensity(0.05, bounds=[(0, 1), (0, 1)], boundary=kinds, n_threads=n_threads).fit(S)
            found.append([kde.score_samples(T), kde.score_leave_one_out(), kde.sample(100, 0)])
        for other in found[1:]:
            for a, b in zip(found[0], other):
                np.testing.assert_array_equal(a, b)


# --- what users expect ----------------------------------------------------------------------------


@pytest.mark.parametrize("h", [0.01, 0.2, 1.0, 4.0, 1e3])
@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
def test_the_density_adds_up_to_one(boundary, h):
    x = np.random.default_rng(0).beta(0.7, 2, size=300)
    kde = KernelDensity(h, bounds=(0, 1), boundary=boundary, rtol=1e-10).fit(x)
    t = np.linspace(0, 1, 4001)
    assert scipy.integrate.simpson(np.exp(kde.score_samples(t)), x=t) == pytest.approx(1, abs=1e-6)
    if h > 100:
        np.testing.assert_allclose(kde.score_samples(t), 0, atol=1e-12)


def test_angles():
    """Smoothing multiplies the Fourier coefficients of von Mises's density by those of a wrapped Gaussian."""
    phi = np.linspace(-np.pi, np.pi, 2001)[:-1]
    kde = KernelDensity(0.3, bounds=(-np.pi, np.pi), boundary="periodic", rtol=1e-12)
    kde.fit(phi, sample_weight=scipy.stats.vonmises(2.5, loc=3.0).pdf(phi))
    k = np.arange(1, 40)[:, np.newaxis]
    waves = scipy.special.ive(k, 2.5) / scipy.special.ive(0, 2.5) * np.cos(k * (phi - 3.0))
    waves *= np.exp(-0.5 * (0.3 * k) ** 2)
    np.testing.assert_allclose(np.exp(kde.score_samples(phi)), (1 + 2 * waves.sum(axis=0)) / (2 * np.pi), rtol=1e-10)


def test_periodic_coordinates_are_wrapped():
    rng = np.random.default_rng(0)
    hours = 24 * rng.uniform(size=200) ** 2
    kde = KernelDensity(1.0, bounds=(0, 24), boundary="periodic").fit(hours)
    turned = KernelDensity(1.0, bounds=(0, 24), boundary="periodic").fit(hours + 24.0 * rng.integers(-9, 9, 200))
    t = rng.uniform(0, 24, 50)
    np.testing.assert_allclose(turned.score_samples(t - 48.0), kde.score_samples(t), rtol=1e-9)
    assert kde.score_samples([24.0])[0] == kde.score_samples([0.0])[0]
    assert (turned.sources_ >= 0).all() and (turned.sources_ < 24).all()
    far = kde.score_samples([1e300, -1e300, np.finfo(float).max])
    assert np.isfinite(far).all() and far[0] == kde.score_samples([np.mod(1e300, 24.0)])[0]
    drawn = kde.sample(20_000, 0)[:, 0]
    assert drawn.min() >= 0 and drawn.max() <= 24
    t = np.linspace(0, 24, 2001)
    cdf = scipy.integrate.cumulative_simpson(np.exp(kde.score_samples(t)), x=t, initial=0)
    assert scipy.stats.kstest(drawn, lambda x: np.interp(x, t, cdf)).pvalue > 1e-3


@pytest.mark.parametrize("h", [0.2, 30.0])
def test_samples_stay_within_bounds(h):
    X = np.random.default_rng(0).uniform(size=(300, 3)) ** 3
    kde = KernelDensity(h, bounds=[(0, None), (0, 1), (None, 1)]).fit(X)
    drawn = kde.sample(5000, 1)
    assert (drawn[:, 0] >= 0).all() and (drawn[:, 1] >= 0).all() and (drawn[:, 1:] <= 1).all()
    np.testing.assert_array_equal(drawn, kde.sample(5000, 1))
    np.testing.assert_array_equal(kde.sources_, X)
    # a bandwidth that is wide against the bounds leaves nothing of where the sources are
    assert (scipy.stats.kstest(drawn[:, 1], "uniform").pvalue > 1e-3) == (h == 30.0)


def test_a_rule_cuts_a_period_in_its_widest_gap():
    angles = np.random.default_rng(0).vonmises(0.0, 20.0, size=400)
    plain = scott(angles)
    for turn in (0.0, 1.0, 3.0, 5.0):
        kde = KernelDensity("scott", bounds=(0, 2 * np.pi), boundary="periodic").fit(np.mod(angles + turn, 2 * np.pi))
        assert kde.bandwidth_ == pytest.approx(plain[0], rel=1e-9)
    X, w = np.column_stack([angles, angles]), np.ones(400)
    X[:7, 0], w[:7] = np.pi, 0.0                            # nobody is there
    kde = KernelDensity("scott", bounds=[(-4, 4), None], boundary="periodic").fit(X, sample_weight=w)
    np.testing.assert_allclose(kde.bandwidth_, scott(angles[7:])[0] * 393 ** (1 / 5 - 1 / 6), rtol=1e-9)


@pytest.mark.parametrize("boundary", ["reflect", "linear", "periodic"])
def test_scales_and_shifts(boundary):
    rng = np.random.default_rng(0)
    X, T = rng.uniform(size=(100, 2)), rng.uniform(size=(50, 2))
    plain = KernelDensity(0.1, bounds=[(0, 1)] * 2, boundary=boundary).fit(X).score_samples(T)
    for scale, shift in ((2.0**40, 0.0), (2.0**-60, 0.0), (1.0, 2.0**10)):
        bounds = [(shift, scale + shift)] * 2
        found = KernelDensity(0.1 * scale, bounds=bounds, boundary=boundary).fit(scale * X + shift)
        found = found.score_samples(scale * T + shift) + 2 * np.log(scale)
        np.testing.assert_allclose(found, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("boundary", ["reflect", "linear", "periodic"])
def test_edges(boundary):
    kde = KernelDensity(0.5, bounds=(0, 2), boundary=boundary).fit([2.0])
    assert np.isfinite(kde.score_samples([0.0, 1.0, 2.0])).all()
    assert kde.score_leave_one_out() == -np.inf
    outside = kde.score_samples([-1e300, -1e-9, 2.1, 1e300])
    assert np.isfinite(outside).all() if boundary == "periodic" else (outside == -np.inf).all()
    assert kde.explain([-5.0]).name == "direct" and kde.score([1.0]) == kde.score_samples([1.0])[0]
    for twin in (copy.deepcopy(kde), pickle.loads(pickle.dumps(kde))):
        assert twin.score_samples([0.3])[0] == kde.score_samples([0.3])[0]
    assert KernelDensity(0.5, bounds=(0, None)).fit([1.0]).score_samples([1e300])[0] < -1e300
    # float32 may stand beyond a bound by its rounding
    x = np.linspace(0.1, 0.7, 50).astype(np.float32)
    kde = KernelDensity(0.1, bounds=(0.1, 0.7), boundary=boundary).fit(x)
    np.testing.assert_allclose(
        kde.score_samples(x), kde.score_samples(x.astype(float).clip(0.1, 0.7)), rtol=1e-4, atol=1e-4
    )
    wide = np.zeros((60, 4))
    wide[::2, 1] = np.linspace(0.1, 0.7, 30)
    np.testing.assert_array_equal(kde.score_samples(wide[::2, 1:2]), kde.score_samples(wide[::2, 1].copy()))


def test_samples_of_no_weight_may_be_anywhere():
    kde = KernelDensity(0.5, bounds=(0, None)).fit([-1.0, 1.0, 2.0], sample_weight=[0, 1, 1])
    np.testing.assert_array_equal(
        kde.score_samples([0.5]), KernelDensity(0.5, bounds=(0, None)).fit([1.0, 2.0]).score_samples([0.5])
    )


BAD = {
    "no pairs": ({"bounds": "periodic"}, TypeError, "bounds is str; expected a pair"),
    "count": ({"bounds": [(0, 1)]}, ValueError, "bounds has 1 entries; expected a pair or None for each of 2"),
    "pair": ({"bounds": [3.0, None]}, TypeError, "bounds of feature 0 are 3.0; expected a pair (low, high)"),
    "text": ({"bounds": [("a", 1), None]}, TypeError, "bounds of feature 0 hold 'a'"),
    "order": ({"bounds": [None, (1, 0)]}, ValueError, "bounds of feature 1 are (1, 0); expected low < high"),
    "nan": ({"bounds": [(np.nan, 0), None]}, ValueError, "bounds of feature 0 are (nan, 0); expected low < high"),
    "huge": ({"bounds": [(-1e308, 1e308), None]}, ValueError, "expected no ends beyond 1e+307"),
    "outside": (
        {"bounds": [None, (0.5, None)]},
        ValueError,
        "X holds 2 samples outside the bounds of feature 1, (0.5, inf)",
    ),
    "kind": ({"boundary": "wrap"}, ValueError, "boundary is 'wrap'; expected one of 'reflect'"),
    "kinds": ({"boundary": ["reflect"]}, ValueError, "boundary has 1 entries; expected one name, or one for each of 2"),
    "kind of one": ({"boundary": ["reflect", 1]}, TypeError, "boundary of feature 1 is int; expected one of"),
    "no kind": ({"boundary": None}, TypeError, "boundary is NoneType; expected one of"),
    "open": ({"bounds": [(0, None), None], "boundary": "periodic"}, ValueError, "expected two on a periodic axis"),
    "no period": ({"boundary": "periodic"}, ValueError, "boundary is 'periodic', but no feature has bounds"),
}


@pytest.mark.parametrize("params, error, message", BAD.values(), ids=BAD)
def test_refused(params, error, message):
    with pytest.raises(error) as caught:
        KernelDensity(1.0, **params).fit([[0.0, 0.0], [1.0, 1.0], [0.0, 0.3]])
    assert message in str(caught.value)
