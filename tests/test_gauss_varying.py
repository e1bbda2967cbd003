"""The kernels for Gaussians of different widths, of every build, against slow twins in extended precision."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_access import BUILDS, LONG, gauss_log_sum, varying_gradient_at, varying_log_sum, varying_log_sum_at

builds = pytest.mark.parametrize("build", BUILDS)
features = pytest.mark.parametrize("d", [1, 2, 5])
by_target = pytest.mark.parametrize("by_target", [False, True])


def problem(n, m, d, by_target, seed=0):
    rng = np.random.default_rng([seed, n, m, d])
    S, T = rng.normal(scale=3, size=(n, d)), rng.normal(scale=3, size=(m, d))
    a, b = np.exp(rng.normal(size=n)), np.exp(rng.normal(size=m)) if by_target else None
    return S, np.log(rng.exponential(size=n)), a, T, b, rng.uniform(0.3, 2, size=d)


def twin(S, log_w, a, T, b, g, own=False):
    z = (T.astype(LONG)[:, np.newaxis] - S.astype(LONG)) * g.astype(LONG) * a.astype(LONG)[:, np.newaxis]
    if b is not None:
        z = z * b.astype(LONG)[:, np.newaxis, np.newaxis]
    logs = log_w.astype(LONG) - (z**2).sum(axis=2) / 2
    if own:
        np.fill_diagonal(logs, -np.inf)
    largest = logs.max(axis=1)
    return largest + np.log(np.exp(logs - largest[:, np.newaxis]).sum(axis=1))


def logs(state):
    return state[0] + np.log(state[1])


def assert_close(found, exact):
    assert (np.abs(found - exact) <= 1e-13 * (10 + np.abs(exact))).all()


@builds
@features
@by_target
@pytest.mark.parametrize("n", [1, 5, 33, 256])
@pytest.mark.parametrize("m", [1, 31, 32, 70])
def test_twins(build, d, by_target, n, m):
    S, log_w, a, T, b, g = problem(n, m, d, by_target)
    exact = twin(S, log_w, a, T, b, g)
    assert_close(logs(varying_log_sum(build, S, log_w, a, T, b, g)), exact)
    for i in range(0, m, 9):
        at = varying_log_sum_at(build, S, log_w, a, -1, T[i], None if b is None else b[i : i + 1], g)
        assert_close(at[0] + np.log(at[1]), exact[i])


@builds
@features
def test_gradients(build, d):
    """As the weighted mean of what leads to the sources, in one block or in two."""
    S, log_w, a, T, _, g = problem(90, 5, d, False)
    for t in T:
        z = (t.astype(LONG) - S) * g * a[:, np.newaxis]
        logs_of = log_w.astype(LONG) - (z**2).sum(axis=1) / 2
        e = np.exp(logs_of - logs_of.max()) * a.astype(LONG) ** 2
        exact = (e @ (S - t.astype(LONG))) / np.exp(logs_of - logs_of.max()).sum()
        m, total, moments = varying_gradient_at(build, S, log_w, a, t, g)
        assert (m, total) == varying_log_sum_at(build, S, log_w, a, -1, t, None, g)
        scale = np.abs(e @ np.abs(S - t)) / np.exp(logs_of - logs_of.max()).sum()
        assert (np.abs(moments / total - exact) <= 1e-14 * scale).all()
        state = varying_gradient_at(build, S[:37], log_w[:37], a[:37], t, g)
        m, total, moments = varying_gradient_at(build, S[37:], log_w[37:], a[37:], t, g, state)
        assert (np.abs(moments / total - exact) <= 1e-14 * scale).all()
        assert abs(m + np.log(total) - (logs_of.max() + np.log(np.exp(logs_of - logs_of.max()).sum()))) < 1e-13


@builds
@pytest.mark.parametrize("distance", [0.0, 1.0, 38.0, 1e5, 1e100])
def test_one_source_against_mpmath(build, distance):
    one = np.array([[distance + 0.25]]), np.array([0.7])
    found = logs(varying_log_sum(build, np.array([[0.25]]), np.log([0.3]), np.array([0.4]), *one, np.array([0.75])))[0]
    z = (mpmath.mpf(distance + 0.25) - mpmath.mpf(0.25)) * mpmath.mpf(0.4) * mpmath.mpf(0.7) * mpmath.mpf(0.75)
    exact = mpmath.log(mpmath.mpf(0.3)) - z**2 / 2
    assert abs(found - exact) <= 1e-14 * (1 + abs(exact))


@builds
@features
def test_a_sharpness_of_one_changes_no_term(build, d):
    S, log_w, _, T, _, g = problem(200, 70, d, False)
    plain = gauss_log_sum(build, S, log_w, T, g)
    for b in (None, np.ones(70)):
        found = varying_log_sum(build, S, log_w, np.ones(200), T, b, g)
        np.testing.assert_allclose(logs(found), logs(plain), rtol=1e-14, atol=1e-14)


@builds
@features
@by_target
def test_leaving_out(build, d, by_target):
    S, log_w, a, _, b, g = problem(70, 70, d, by_target)
    exact = twin(S, log_w, a, S, b, g, own=True)
    assert_close(logs(varying_log_sum(build, S, log_w, a, S, b, g, left_out=np.arange(70))), exact)
    at = [varying_log_sum_at(build, S, log_w, a, i, S[i], None if b is None else b[i : i + 1], g) for i in range(70)]
    assert_close(logs(np.array(at).T), exact)


@builds
@by_target
def test_wide_gaussians_far_away_do_not_overflow(build, by_target):
    S, T, g = np.array([[0.0], [1.0]]), np.array([[1e300], [0.0]]), np.ones(1)
    a, b = (np.ones(2), np.array([1e-300, 1.0])) if by_target else (np.array([1e-300, 1.0]), None)
    found = logs(varying_log_sum(build, S, np.zeros(2), a, T, b, g))
    first = np.log(2) - 0.5 if by_target else -0.5
    np.testing.assert_allclose(found, [first, np.log1p(np.exp(-0.5))], rtol=1e-14)


@builds
@given(n=st.integers(1, 60), m=st.integers(1, 70), d=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_blocks_and_scales(build, n, m, d, seed):
    S, log_w, a, T, b, g = problem(n, m, d, True, seed)
    whole = varying_log_sum(build, S, log_w, a, T, b, g)
    state, k = None, n // 2
    for part in (slice(0, k), slice(k, n)):
        state = varying_log_sum(build, S[part], log_w[part], a[part], T, b, g, state)
    np.testing.assert_allclose(logs(state), logs(whole), rtol=1e-13, atol=1e-13)
    scaled = varying_log_sum(build, S * 2.0**200, log_w, a / 8, T * 2.0**200, b * 4, g * 2.0**-199)
    for one, other in zip(scaled, whole):
        np.testing.assert_array_equal(one, other)
    alone = varying_log_sum(build, S, log_w, a, T[-1:], b[-1:], g)
    assert (alone[0][0], alone[1][0]) == (whole[0][-1], whole[1][-1])


@pytest.mark.skipif(not {"v3", "v4"} <= set(BUILDS), reason="needs two builds with fused multiply-add")
@features
@by_target
def test_the_same_bits_at_every_vector_width(d, by_target):
    for m in (1, 33, 70):
        arguments = problem(100, m, d, by_target)
        for one, other in zip(*(varying_log_sum(build, *arguments) for build in ("v3", "v4"))):
            np.testing.assert_array_equal(one, other)
