"""The kernels for radial sums, of every build, against slow twins in extended precision."""

import mpmath
import numpy as np
import pytest

from gaussum.radial_pass import CODES
from kernel_access import BUILDS, LONG, LOWEST, RADIAL, box_ranges, exponential_log_sum, radial_sum

builds = pytest.mark.parametrize("build", BUILDS)
kernels = pytest.mark.parametrize("kernel", list(RADIAL))
features = pytest.mark.parametrize("d", [1, 2, 5])
REACH = 1.375


def twin_distances(S, T, scale):
    z = (T.astype(LONG)[:, np.newaxis] - S.astype(LONG)) * scale.astype(LONG)
    return np.sqrt((z**2).sum(axis=2))


def twin_terms(kernel, r, reach=REACH):
    inside = r < reach
    values = {
        "tophat": lambda: np.ones_like(r),
        "epanechnikov": lambda: reach**2 - r**2,
        "linear": lambda: reach - r,
        "cosine": lambda: np.cos(np.pi * r / (2 * reach)),
        "exponential": lambda: np.exp(-r),
    }[kernel]()
    return values if kernel == "exponential" else np.where(inside, values, 0)


def problem(n, m, d, seed=0):
    rng = np.random.default_rng([seed, n, m, d])
    S, T = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    return S, rng.exponential(size=n), T, rng.uniform(0.3, 1.5, size=d)


def test_the_codes_are_those_of_the_kernels():
    assert CODES == RADIAL


@builds
@kernels
@features
@pytest.mark.parametrize("n", [1, 35])
@pytest.mark.parametrize("m", [1, 45])
def test_sums_agree_with_their_twin(build, kernel, d, n, m):
    S, w, T, scale = problem(n, m, d)
    before = np.linspace(0, 1, m)
    expected = before + twin_terms(kernel, twin_distances(S, T, scale)) @ w
    found = radial_sum(build, kernel, REACH, S, w, T, scale, before)
    np.testing.assert_allclose(found, expected.astype(float), rtol=1e-13, atol=1e-14)
    assert (expected > before).any() or n * m < 50


@builds
@kernels
def test_a_place_in_the_block_changes_no_bit(build, kernel):
    S, w, T, scale = problem(40, 70, 3)
    whole = radial_sum(build, kernel, REACH, S, w, T, scale)
    for first, last in ((0, 1), (3, 40), (69, 70), (31, 33)):
        part = radial_sum(build, kernel, REACH, S, w, T[first:last], scale)
        np.testing.assert_array_equal(part, whole[first:last])


@builds
def test_the_cosine_to_the_last_digits(build):
    r = np.concatenate([np.linspace(0, 1, 301), 1 - 2.0 ** -np.arange(1, 50)])[:, np.newaxis]
    found = radial_sum(build, "cosine", 1.0, np.zeros((1, 1)), np.ones(1), r, np.ones(1))
    for x, value in zip(r[:, 0], found):
        u = mpmath.mpf(float(x) ** 2)           # the kernel's own argument; its rounding counts at the edge
        with mpmath.workdps(30):
            exact = mpmath.cos(mpmath.pi * mpmath.sqrt(u) / 2) if u < 1 else 0
        assert abs(value - exact) <= 4e-16 * exact


@builds
@kernels
def test_where_a_kernel_ends(build, kernel):
    ends = np.array([[REACH], [np.nextafter(REACH, 0)], [np.nextafter(REACH, 2)], [1e160], [np.inf], [-np.inf]])
    found = radial_sum(build, kernel, REACH, np.zeros((1, 1)), np.ones(1), ends, np.ones(1))
    if kernel == "exponential":
        np.testing.assert_allclose(found[:3], np.exp(-REACH), rtol=1e-15)
        assert (found[3:] == 0).all()
    else:
        assert (found[[0, 2, 3, 4, 5]] == 0).all() and found[1] > 0
    far = radial_sum(build, kernel, REACH, np.zeros((1, 3)), np.ones(1), np.full((40, 3), -1e300), np.ones(3))
    assert (far == 0).all()


@builds
@features
@pytest.mark.parametrize("n", [1, 35])
@pytest.mark.parametrize("m", [1, 45])
def test_log_sums_agree_with_their_twin(build, d, n, m):
    S, w, T, scale = problem(n, m, d)
    T = T * np.geomspace(1, 1e120, m)[:, np.newaxis]
    with np.errstate(divide="ignore"):
        log_w = np.log(np.where(np.arange(n) % 4 == 3, 0, w))
    largest, sums = np.full(m, LOWEST), np.zeros(m)
    for first, last in ((0, n // 2), (n // 2, n)):
        largest, sums = exponential_log_sum(build, S[first:last], log_w[first:last], T, scale, state=(largest, sums))
    exact = np.logaddexp.reduce(log_w - twin_distances(S, T, scale), axis=1).astype(float)
    np.testing.assert_allclose(largest + np.log(sums), exact, rtol=1e-13, atol=1e-13)


@builds
@pytest.mark.parametrize("d", [1, 3])
def test_log_sums_in_a_unit(build, d):
    unit = 2.0**600
    S, w, T, scale = problem(5, 9, d)
    T = np.copysign(1e300, T)
    largest, sums = exponential_log_sum(build, S, np.log(w), T, scale / unit, unit)
    exact = np.logaddexp.reduce(np.log(w) - twin_distances(S, T, scale), axis=1)
    np.testing.assert_allclose(largest + np.log(sums), exact.astype(float), rtol=1e-14)


@builds
@features
def test_ranges_of_boxes(build, d):
    rng = np.random.default_rng(d)
    low = rng.normal(size=d)
    high = low + rng.exponential(size=d)
    T, scale = rng.normal(scale=2, size=(37, d)), rng.uniform(0.5, 2, d)
    nearest, farthest = box_ranges(build, low, high, T, scale)
    corners = np.where(np.abs(T - low) > np.abs(T - high), low, high)
    np.testing.assert_allclose(nearest, (((np.clip(T, low, high) - T) * scale) ** 2).sum(axis=1), rtol=1e-14)
    np.testing.assert_allclose(farthest, (((corners - T) * scale) ** 2).sum(axis=1), rtol=1e-14)
