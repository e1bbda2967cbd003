"""Gradients of log densities: every plan within the bound, near and far, and differences of the log density agree."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussum import KernelDensity
from test_summation import KINDS, PLANS, assert_within, data, gaussian_sum, plans, queries

LONG = np.longdouble


def twin(S, w, h, T):
    """Log sums, h times their gradient, and the root of the mean square distance in bandwidths."""
    z = (S.astype(LONG) - T.astype(LONG)[:, np.newaxis]) / np.asarray(h, dtype=LONG)
    logs = np.log(w.astype(LONG)) - (z**2).sum(axis=2) / 2
    largest = logs.max(axis=1, keepdims=True)
    terms = np.exp(logs - largest)
    sums = terms.sum(axis=1, keepdims=True)
    shares = terms / sums
    log_sums = (largest + np.log(sums))[:, 0]
    return log_sums, (shares[..., np.newaxis] * z).sum(axis=1), np.sqrt((shares * (z**2).sum(axis=2)).sum(axis=1))


def gradients_by(total, name, X, rtol, n_threads=2):
    """Log sums and gradients by a plan, or None where it does not serve."""
    if name == "grid" and total._layout_for(rtol).reason is not None:
        return None
    gradient = np.empty(X.shape)
    return total._by(name, np.ascontiguousarray(X), rtol, None, n_threads, gradient), gradient


def assert_right(found, exact, h, rtol):
    log_sums, shift, r = exact
    assert_within(found[0], log_sums.astype(float), rtol)
    error = np.sqrt(((found[1] * h - shift) ** 2).sum(axis=1))
    # r^2 / 2 is an exponent, with its rounding; a share is off by as much
    bound = 2 * rtol * (1 + r) + 1e-14 * (1 + r) ** 3
    assert (error <= bound).all(), (np.max(error / bound), int(np.argmax(error / bound)))


@plans
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_every_plan_near_and_far(name, kind, d):
    rng = np.random.default_rng(d)
    S = data(kind, 500, d, rng)
    for h in (0.02, 0.3, 3.0):
        h = h * (1 + np.arange(d) / 3)
        total, w = gaussian_sum(S, h, rng.exponential(size=500) ** 3)
        T = queries(S, rng, m=30)
        exact = twin(S, w, h, T)
        for rtol in (1e-2, 1e-6, 1e-10):
            found = gradients_by(total, name, T, rtol)
            if found is not None:
                assert_right(found, exact, h, rtol)


@plans
@given(
    kind=st.sampled_from(KINDS), n=st.integers(1, 300), d=st.integers(1, 6), log_h=st.floats(-4, 2),
    log_rtol=st.floats(-11, -1), heavy=st.floats(0, 30), seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=25)
def test_any_data(name, kind, n, d, log_h, log_rtol, heavy, seed):
    rng = np.random.default_rng(seed)
    S, h, rtol = data(kind, n, d, rng), 10.0**log_h * rng.uniform(0.5, 2, d), 10.0**log_rtol
    total, w = gaussian_sum(S, h, rng.exponential(size=n) ** heavy + 1e-300)
    T = queries(S, rng, m=20)
    found = gradients_by(total, name, T, rtol)
    if found is not None:
        assert_right(found, twin(S, w, h, T), h, rtol)


def test_against_mpmath():
    S, w, h, t = [0.0, 0.5, 3.0], [0.2, 0.5, 0.3], 0.4, 60.0
    with mpmath.workdps(50):
        terms = [mpmath.mpf(a) * mpmath.exp(-(((mpmath.mpf(s) - t) / mpmath.mpf(h)) ** 2) / 2) for s, a in zip(S, w)]
        exact = sum(k * (mpmath.mpf(s) - t) for s, k in zip(S, terms)) / sum(terms) / mpmath.mpf(h) ** 2
    kde = KernelDensity(h).fit(S, sample_weight=w)
    assert abs(kde.gradient([t])[0, 0] / exact - 1) < 1e-14


@pytest.mark.parametrize("d", [1, 2, 4])
def test_differences_of_the_log_density(d):
    rng = np.random.default_rng(d)
    kde = KernelDensity(0.4).fit(rng.normal(size=(3000, d)))
    T, step = 2 * rng.normal(size=(500, d)), 1e-4
    gradient = kde.set_params(rtol=1e-10).gradient(T)
    kde.set_params(rtol=0)
    for j in range(d):
        e = step * np.eye(d)[j]
        slope = (kde.score_samples(T + e) - kde.score_samples(T - e)) / (2 * step)
        np.testing.assert_allclose(gradient[:, j], slope, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("h", [1e-200, 1e-3, 1.0, 1e100])
def test_far_queries_point_to_the_nearest_source(h):
    S = np.array([[-1.0, 0.0], [2.0, 0.0], [2.0, 1.0]]) * (h if h == 1e-200 else 1.0)
    total, _ = gaussian_sum(S, h)
    away = np.array([1e300, -1e300, 1e170]) * (h if h < 1e-100 else 1.0)
    T = np.stack([away, away / 2], axis=1)
    for rtol in (0.0, 1e-6):
        log_density, gradient = total.log_density_and_gradient(T, rtol=rtol)
        assert np.isfinite(gradient).all() and not np.isnan(log_density).any()
        with np.errstate(over="ignore"):
            expected = np.nan_to_num(-T / h / h)
        np.testing.assert_allclose(gradient, expected, rtol=1e-12)


def test_a_source_at_the_other_end_of_the_numbers():
    total, _ = gaussian_sum(np.array([[0.0], [1e300]]), 0.5)
    T = np.array([[0.25], [1e300], [1e200]])
    for name in PLANS:
        found = gradients_by(total, name, T, 1e-6)
        if found is not None:
            np.testing.assert_allclose(found[1][:2, 0], [-1.0, 0.0], atol=1e-5)


@plans
@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_the_same_bits_for_any_number_of_threads(name, d, always_threads):
    rng = np.random.default_rng(d)
    S, T = rng.normal(size=(5000, d)), rng.normal(size=(3000, d))
    T[::11] *= 30
    found = []
    for n_threads in (1, 2, 3, 7):
        found.append(gradients_by(gaussian_sum(S, 0.2)[0], name, T, 1e-6, n_threads))
    for other in found[1:] if found[0] is not None else ():
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)


def test_single_and_strided_queries():
    rng = np.random.default_rng(0)
    S, T = rng.normal(size=(2000, 2)), rng.normal(size=(600, 2)).astype(np.float32)
    total, _ = gaussian_sum(S.astype(np.float32), 0.3)
    exact = total.log_density_and_gradient(T.astype(float))
    for X in (T, np.repeat(T, 2, axis=1)[:, ::2], np.asfortranarray(T)):
        for a, b in zip(total.log_density_and_gradient(X), exact):
            np.testing.assert_array_equal(a, b)


# --- the estimator --------------------------------------------------------------------------------


def test_the_estimator_gives_both_and_each(faithful):
    kde = KernelDensity("scott").fit(faithful)
    log_density, gradient = kde.score_and_gradient(faithful)
    assert_within(log_density, kde.score_samples(faithful), 2e-6)
    np.testing.assert_array_equal(kde.gradient(faithful), gradient)
    np.testing.assert_allclose(
        kde.gradient(faithful, log=False), np.exp(log_density)[:, np.newaxis] * gradient, rtol=1e-13
    )
    far = [[1e5, 1e5]]
    assert (kde.gradient(far) < -100).all() and (kde.gradient(far, log=False) == 0).all()


def test_gradients_follow_the_scale_of_the_data(faithful):
    kde = KernelDensity(rtol=0).fit(faithful)
    other = KernelDensity(rtol=0).fit(faithful * 2.0**20)
    np.testing.assert_allclose(
        other.gradient(faithful * 2.0**20), kde.gradient(faithful) * 2.0**-20, rtol=1e-10, atol=1e-16
    )


def test_refusals():
    kde = KernelDensity(1.0)
    with pytest.raises(ValueError, match="not fitted"):
        kde.gradient([[0.0]])
    kde.fit([[0.0, 1.0]])
    with pytest.raises(ValueError, match="2 features"):
        kde.gradient([[0.0]])
    with pytest.raises(ValueError, match="NaN|nan"):
        kde.gradient([[0.0, np.nan]])
    with pytest.raises(TypeError, match="log is 1"):
        kde.gradient([[0.0, 1.0]], log=1)
