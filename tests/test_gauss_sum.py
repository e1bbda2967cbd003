"""The Gaussian-sum kernels of every build against slow twins in extended precision, near and far."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_access import (
    BUILDS, LONG, LOWEST, box_distances, gauss_log_moments, gauss_log_sum, gauss_log_sum_at, gauss_sum,
)

builds = pytest.mark.parametrize("build", BUILDS)
features = pytest.mark.parametrize("d", [1, 2, 5])
seeds = st.integers(0, 2**32 - 1)
RTOL = 1e-12


def log_sum(build, S, log_w, T, inv_bandwidth):
    largest, sums = gauss_log_sum(build, S, log_w, T, inv_bandwidth)
    with np.errstate(divide="ignore"):
        return largest + np.log(sums)


def twin_exponents(S, T, inv_bandwidth):
    """-r_ts^2 / 2, shape (n_targets, n_sources)."""
    z = (T.astype(LONG)[:, np.newaxis] - S.astype(LONG)) * inv_bandwidth.astype(LONG)
    return -(z**2).sum(axis=2) / 2


def twin_log_sum(S, log_w, T, inv_bandwidth):
    logs = twin_exponents(S, T, inv_bandwidth) + log_w.astype(LONG)
    largest = logs.max(axis=1)
    return largest + np.log(np.exp(logs - largest[:, np.newaxis]).sum(axis=1))


def problem(n, m, d, seed=0, spread=3.0):
    rng = np.random.default_rng([seed, n, m, d])
    S, T = rng.normal(scale=spread, size=(n, d)), rng.normal(scale=spread, size=(m, d))
    return S, rng.exponential(size=n), T, rng.uniform(0.3, 2, size=d)


# --- twins ----------------------------------------------------------------------------------------


@builds
@features
@pytest.mark.parametrize("n", [1, 5, 31, 33, 256])
@pytest.mark.parametrize("m", [1, 7, 32, 33, 200])
def test_both_agree_with_their_twins(build, d, n, m):
    S, w, T, g = problem(n, m, d)
    w[n // 2 :: 3] = 0.0
    w[0] = 0.3
    with np.errstate(divide="ignore"):
        log_w = np.log(w)
    logs = twin_exponents(S, T, g)
    expected = (np.exp(logs) * w).sum(axis=1)
    # the rounding of r^2 / 2 is relative to it, and it is the exponent: 38 bandwidths away it is 700
    np.testing.assert_allclose(gauss_sum(build, S, w, T, g), expected.astype(float), rtol=RTOL)
    exact = twin_log_sum(S, log_w, T, g)
    found = log_sum(build, S, log_w, T, g)
    assert (np.abs(found - exact) <= RTOL * (1 + np.abs(exact))).all()


@builds
@pytest.mark.parametrize("distance", [0.0, 1.0, 8.0, 30.0, 38.0, 100.0, 1e5, 1e100])
def test_one_source_against_mpmath(build, distance):
    target, source, width = np.array([[distance + 0.25]]), np.array([[0.25]]), np.array([0.75])
    z = (mpmath.mpf(float(target[0, 0])) - mpmath.mpf(0.25)) * mpmath.mpf(0.75)
    exact = -(z**2) / 2 + mpmath.log(mpmath.mpf(0.3))
    found = log_sum(build, source, np.log(np.array([0.3])), target, width)[0]
    assert abs(found - exact) <= 1e-14 * (1 + abs(exact))
    plain = gauss_sum(build, source, np.array([0.3]), target, width)[0]
    assert abs(plain - mpmath.exp(exact)) <= 1e-12 * mpmath.exp(exact) + mpmath.mpf(2) ** -1074


@builds
@features
def test_far_targets_have_accurate_logarithms(build, d):
    S, w, T, g = problem(200, 40, d)
    T = T * 10.0 ** np.linspace(0, 150, 40)[:, np.newaxis]
    exact = twin_log_sum(S, np.log(w), T, g).astype(float)
    np.testing.assert_allclose(log_sum(build, S, np.log(w), T, g), exact, rtol=1e-13)
    assert np.isfinite(exact).all()
    assert (gauss_sum(build, S, w, T, g)[20:] == 0).all()


@builds
@features
def test_an_offset_of_1e8_bandwidths_costs_no_digits(build, d):
    S, w, T, g = problem(100, 40, d, spread=1.0)
    S, T = S + 1e8, T + 1e8
    exact = (np.exp(twin_exponents(S, T, g)) * w).sum(axis=1).astype(float)
    np.testing.assert_allclose(gauss_sum(build, S, w, T, g), exact, rtol=RTOL)
    np.testing.assert_allclose(np.exp(log_sum(build, S, np.log(w), T, g)), exact, rtol=1e-11)


# --- weights --------------------------------------------------------------------------------------


@builds
@features
def test_weights_of_zero_count_for_nothing(build, d):
    S, w, T, g = problem(60, 33, d)
    keep = np.arange(60) % 3 > 0
    log_w = np.where(keep, np.log(w), -np.inf)
    np.testing.assert_array_equal(
        gauss_sum(build, S, w * keep, T, g), gauss_sum(build, S[keep], w[keep], T, g)
    )
    largest, sums = gauss_log_sum(build, S, log_w, T, g)
    expected = gauss_log_sum(build, S[keep], log_w[keep], T, g)
    np.testing.assert_array_equal(largest, expected[0])
    # a source that is absent moves the others between chunks
    np.testing.assert_allclose(sums, expected[1], rtol=1e-14)


@builds
@features
def test_all_weights_zero(build, d):
    S, w, T, g = problem(10, 33, d)
    assert (gauss_sum(build, S, np.zeros(10), T, g) == 0).all()
    state = gauss_log_sum(build, S, np.full(10, -np.inf), T, g)
    assert (state[0] == LOWEST).all() and (state[1] == 0).all()
    # a block of nothing does not spoil the next one, nor the one before
    after = gauss_log_sum(build, S, np.log(w), T, g, state)
    alone = gauss_log_sum(build, S, np.log(w), T, g)
    again = gauss_log_sum(build, S, np.full(10, -np.inf), T, g, alone)
    for a, b, c in zip(after, alone, again):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(c, b)


@builds
def test_weights_of_every_size(build):
    # 600 decades: the log weights are never exponentiated by themselves
    log_w = np.linspace(-1e4, 1e4, 50)
    S, T = np.zeros((50, 1)), np.array([[0.0], [1.0], [200.0]])
    exact = twin_log_sum(S, log_w, T, np.ones(1)).astype(float)
    np.testing.assert_allclose(log_sum(build, S, log_w, T, np.ones(1)), exact, rtol=1e-14)


# --- first moments --------------------------------------------------------------------------------


@builds
@features
@pytest.mark.parametrize("n", [1, 15, 16, 17, 100])
@pytest.mark.parametrize("m", [1, 32, 45])
def test_first_moments(build, d, n, m):
    S, w, T, g = problem(n, m, d)
    T[::3] *= 1e4
    logs = twin_exponents(S, T, g) + np.log(w)
    largest, sums, moments = gauss_log_moments(build, S, np.log(w), T, g)
    expected = gauss_log_sum(build, S, np.log(w), T, g)
    np.testing.assert_array_equal(largest, expected[0])
    np.testing.assert_array_equal(sums, expected[1])
    terms = np.exp(logs - largest[:, np.newaxis])
    away = S.astype(LONG) - T.astype(LONG)[:, np.newaxis]
    # errors of the terms are relative; what they do to the sum does not cancel
    scale = np.einsum("ts,tsj->tj", terms, np.abs(away)) * (1 + np.abs(logs).max(axis=1, keepdims=True) * 1e-3)
    assert (np.abs(moments - np.einsum("ts,tsj->tj", terms, away)) <= RTOL * scale).all()


@builds
def test_first_moments_are_continued(build):
    S, w, T, g = problem(90, 37, 3)
    S[60:] *= 0.1
    whole = gauss_log_moments(build, S, np.log(w), T, g)
    state = gauss_log_moments(build, S[:40], np.log(w[:40]), T, g)
    for a, b in zip(gauss_log_moments(build, S[40:], np.log(w[40:]), T, g, state), whole):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    again = gauss_log_moments(build, S, np.full(90, -np.inf), T, g, whole)
    for a, b in zip(again, whole):
        np.testing.assert_array_equal(a, b)


@builds
def test_first_moments_where_squares_overflow(build):
    S, T = np.array([[0.0], [1e200]]), np.array([[0.5], [1e200], [-1e250]])
    largest, sums, moments = gauss_log_moments(build, S, np.log([0.5, 0.5]), T, np.array([1e3]))
    np.testing.assert_array_equal(sums, [1.0, 1.0, 0.0])
    np.testing.assert_array_equal(moments[:, 0], [-0.5, 0.0, 0.0])


# --- one target, sources left out, boxes ----------------------------------------------------------


@builds
@features
@pytest.mark.parametrize("n", [1, 31, 32, 100])
def test_one_target_at_a_time(build, d, n):
    S, w, T, g = problem(n, 20, d)
    T[::3] *= 1e3
    for own in (-1, 0, n // 2, n):
        left_out = np.full(20, own)
        largest, sums = gauss_log_sum(build, S, np.log(w), T, g, left_out=left_out)
        for i, t in enumerate(T):
            one = gauss_log_sum_at(build, S, np.log(w), own, t, g)
            assert one[0] == largest[i]
            assert one[1] == pytest.approx(sums[i], rel=1e-14)
        keep = np.arange(n) != own
        others = gauss_log_sum(build, S[keep], np.log(w[keep]), T, g)
        np.testing.assert_array_equal(largest, others[0])
        np.testing.assert_allclose(sums, others[1], rtol=1e-14)


@builds
@features
def test_each_target_leaves_out_its_own(build, d):
    S, w, _, g = problem(40, 1, d)
    largest, sums = gauss_log_sum(build, S, np.log(w), S, g, left_out=np.arange(40))
    for i in range(40):
        keep = np.arange(40) != i
        exact = twin_log_sum(S[keep], np.log(w[keep]), S[i : i + 1], g)[0]
        assert abs(largest[i] + np.log(sums[i]) - exact) <= RTOL * (1 + abs(exact))


@builds
@features
def test_distances_from_boxes(build, d):
    S, _, T, g = problem(5, 37, d)
    low, high = S.min(axis=0), S.max(axis=0)
    T[0] = (low + high) / 2
    expected = ((np.maximum(np.maximum(low - T, T - high), 0) * g) ** 2).sum(axis=1)
    np.testing.assert_allclose(box_distances(build, low, high, T, g), expected, rtol=1e-14)
    assert box_distances(build, low, high, T, g)[0] == 0


# --- blocks ---------------------------------------------------------------------------------------


@builds
@features
def test_blocks_of_sources_add(build, d):
    S, w, T, g = problem(300, 33, d)
    sums, state = None, None
    for start, stop in ((0, 1), (1, 32), (32, 32), (32, 200), (200, 300)):
        sums = gauss_sum(build, S[start:stop], w[start:stop], T, g, sums)
        state = gauss_log_sum(build, S[start:stop], np.log(w[start:stop]), T, g, state)
    # the sum runs over the sources in their order: to the bit
    np.testing.assert_array_equal(sums, gauss_sum(build, S, w, T, g))
    np.testing.assert_allclose(
        state[0] + np.log(state[1]), log_sum(build, S, np.log(w), T, g), rtol=1e-13, atol=1e-13
    )
    assert (state[1] >= 1 - 1e-15).all()  # the largest term is 1


@builds
@features
def test_a_target_does_not_depend_on_its_block(build, d):
    S, w, T, g = problem(50, 70, d)
    together = gauss_sum(build, S, w, T, g), *gauss_log_sum(build, S, np.log(w), T, g)
    for i in range(0, 70, 7):
        alone = gauss_sum(build, S, w, T[i : i + 1], g), *gauss_log_sum(build, S, np.log(w), T[i : i + 1], g)
        for a, b in zip(alone, together):
            assert a[0] == b[i]


@builds
@features
def test_no_sources_and_no_targets(build, d):
    S, w, T, g = problem(5, 4, d)
    empty = np.empty((0, d))
    np.testing.assert_array_equal(gauss_sum(build, empty, np.empty(0), T, g, np.arange(4.0)), np.arange(4.0))
    assert gauss_sum(build, S, w, empty, g).shape == (0,)
    largest, sums = gauss_log_sum(build, empty, np.empty(0), T, g, (np.zeros(4), np.ones(4)))
    assert (largest == 0).all() and (sums == 1).all()


@builds
@features
def test_distances_that_overflow(build, d):
    S, w, g = np.zeros((3, d)), np.ones(3), np.ones(d)
    T = np.array([[1e200], [np.finfo(float).max], [0.0]]) * np.ones(d)
    np.testing.assert_array_equal(gauss_sum(build, S, w, T, g), [0, 0, 3])
    found = log_sum(build, S, np.zeros(3), T, g)
    assert (found[:2] == -np.inf).all() and abs(found[2] - np.log(3)) < 1e-15
    # the difference itself overflows
    far = np.full((1, d), np.finfo(float).max)
    assert gauss_sum(build, -far, np.ones(1), far, g) == 0
    assert log_sum(build, -far, np.zeros(1), far, g) == -np.inf


# --- properties -----------------------------------------------------------------------------------


shapes = {"n": st.integers(1, 50), "m": st.integers(1, 70), "d": st.integers(1, 6), "seed": seeds}


@builds
@given(**shapes)
@settings(deadline=None, max_examples=40)
def test_bounds_and_order(build, n, m, d, seed):
    S, w, T, g = problem(n, m, d, seed)
    sums = gauss_sum(build, S, w, T, g)
    assert (sums >= 0).all() and (sums <= w.sum() * (1 + n * 2.0**-52)).all()
    order = np.random.default_rng(seed).permutation(n)
    np.testing.assert_allclose(gauss_sum(build, S[order], w[order], T, g), sums, rtol=1e-13)
    # a log-sum is no less than its largest term, and no more than n of them
    largest, scaled = gauss_log_sum(build, S, np.log(w), T, g)
    exact = (twin_exponents(S, T, g) + np.log(w)).max(axis=1).astype(float)
    np.testing.assert_allclose(largest, exact, rtol=1e-13, atol=1e-13)
    assert (scaled >= 1 - 1e-15).all() and (scaled <= n * (1 + 1e-15)).all()


@builds
@given(**shapes, power=st.integers(-300, 300))
@settings(deadline=None, max_examples=40)
def test_scaling_by_a_power_of_two_changes_no_bit(build, n, m, d, seed, power):
    S, w, T, g = problem(n, m, d, seed)
    scaled = np.ldexp(S, power), np.ldexp(T, power), np.ldexp(g, -power)
    np.testing.assert_array_equal(
        gauss_sum(build, scaled[0], w, scaled[1], scaled[2]), gauss_sum(build, S, w, T, g)
    )
    for a, b in zip(
        gauss_log_sum(build, scaled[0], np.log(w), scaled[1], scaled[2]),
        gauss_log_sum(build, S, np.log(w), T, g),
    ):
        np.testing.assert_array_equal(a, b)


@builds
@given(**shapes, shift=st.integers(-(10**6), 10**6))
@settings(deadline=None, max_examples=40)
def test_an_exact_shift_changes_no_bit(build, n, m, d, seed, shift):
    S, w, T, g = problem(n, m, d, seed)
    S, T = np.rint(S * 2.0**20) / 2.0**20, np.rint(T * 2.0**20) / 2.0**20
    np.testing.assert_array_equal(gauss_sum(build, S + shift, w, T + shift, g), gauss_sum(build, S, w, T, g))


@builds
@given(**shapes, factor=st.floats(1e-200, 1e200))
@settings(deadline=None, max_examples=40)
def test_linear_in_the_weights(build, n, m, d, seed, factor):
    S, w, T, g = problem(n, m, d, seed)
    np.testing.assert_allclose(
        log_sum(build, S, np.log(w) + np.log(factor), T, g),
        log_sum(build, S, np.log(w), T, g) + np.log(factor),
        rtol=1e-13,
        atol=1e-12,
    )


@pytest.mark.skipif(not {"v3", "v4"} <= set(BUILDS), reason="needs two builds with fused multiply-add")
@features
def test_the_same_bits_at_every_vector_width(d):
    for m in (1, 7, 33, 200):
        S, w, T, g = problem(100, m, d)
        np.testing.assert_array_equal(gauss_sum("v3", S, w, T, g), gauss_sum("v4", S, w, T, g))
        for a, b in zip(*(gauss_log_sum(build, S, np.log(w), T, g) for build in ("v3", "v4"))):
            np.testing.assert_array_equal(a, b)
