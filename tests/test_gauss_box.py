"""The kernel of box probabilities, every build, against sums to forty digits."""

import mpmath
import numpy as np
import pytest

from kernel_access import BUILDS, LOWEST, box_log_sum

builds = pytest.mark.parametrize("build", BUILDS)
INF = np.inf


def tail(x):
    return mpmath.erfc(mpmath.mpf(x) / mpmath.sqrt(2)) / 2


def interval(low, high, source, inv_bandwidth):
    """Of one Gaussian, from the side on which less cancels."""
    u, v = ((mpmath.mpf(float(e)) - mpmath.mpf(float(source))) * mpmath.mpf(float(inv_bandwidth)) for e in (low, high))
    if u + v < 0:
        u, v = -v, -u
    return tail(u) - tail(v)


def exact(S, log_weights, low, high, inv_bandwidth):
    with mpmath.workdps(60):
        total = mpmath.fsum(
            mpmath.exp(mpmath.mpf(float(a)))
            * mpmath.fprod(interval(*ends) for ends in zip(low, high, s, inv_bandwidth) if ends[:2] != (-INF, INF))
            for s, a in zip(S, log_weights)
        )
        return mpmath.log(total) if total > 0 else -INF


def log_probability(build, S, log_weights, low, high, inv_bandwidth, block=50):
    state = LOWEST, 0.0
    for i in range(0, len(S), block):
        state = box_log_sum(build, S[i : i + block], log_weights[i : i + block], low, high, inv_bandwidth, state)
    with np.errstate(divide="ignore"):
        return state[0] + np.log(state[1])


def close(actual, expected, eps=2e-15):
    return actual == expected or abs(mpmath.mpf(float(actual)) - expected) <= eps * max(1, abs(expected))


@builds
def test_the_tail_of_one_gaussian(build):
    """Down to 1e-2 of a bandwidth from the middle and out to where squares overflow."""
    one, zero = np.ones(1), np.zeros((1, 1))
    for t in np.concatenate([np.linspace(-9, 9, 181), [-1e-2, 1e-300], -np.logspace(1, 150, 30)]):
        below = log_probability(build, zero, np.zeros(1), np.array([-INF]), np.array([t]), one)
        above = log_probability(build, zero, np.zeros(1), np.array([-t]), np.array([INF]), one)
        with mpmath.workdps(40):
            x = -mpmath.mpf(t)
            # the first term of the asymptotic series where mpmath takes long
            far = x > 1e4
            expected = -x * x / 2 - mpmath.log(x * mpmath.sqrt(2 * mpmath.pi)) if far else mpmath.log(tail(x))
        assert below == above
        assert close(below, expected, 1e-15)


@builds
@pytest.mark.parametrize("width", [1e-15, 1e-8, 1e-3, 0.3, 0.4999, 0.5001, 2.0, 30.0])
def test_intervals(build, width):
    """Narrow or wide, in the middle and in the tails, on either side: nothing cancels."""
    one, S = np.ones(1), np.zeros((1, 1))
    for low in [-40.0, -10.0, -3.0, -0.5 * width, -0.1 * width, 0.0, 1e-3, 2.0, 3.7, 37.0, 500.0]:
        high = low + width
        actual = log_probability(build, S, np.zeros(1), np.array([low]), np.array([high]), one)
        assert close(actual, exact(S, [0.0], [low], [high], one), 1e-14 if high - low < 1e-12 else 3e-15)


@builds
@pytest.mark.parametrize("d, n", [(1, 1), (1, 70), (2, 31), (2, 32), (5, 33)])
def test_boxes(build, d, n):
    rng = np.random.default_rng([d, n])
    S, log_weights, inv_bandwidth = rng.normal(size=(n, d)), -rng.exponential(size=n), rng.uniform(0.5, 3, d)
    for trial in range(4):
        low = rng.normal(size=d) * (1 + 3 * trial)
        high = low + rng.exponential(size=d) * 10.0 ** rng.integers(-3, 2, size=d)
        kinds = rng.integers(0, 4, size=d)
        low[kinds == 0], high[kinds == 1] = -INF, INF
        actual = log_probability(build, S, log_weights, low, high, inv_bandwidth)
        assert close(actual, exact(S, log_weights, low, high, inv_bandwidth), 5e-15)


@builds
def test_nothing_and_everything(build):
    S, log_weights, one = np.zeros((3, 1)), np.log([0.2, 0.3, 0.5]), np.ones(1)
    for low, high, expected in [(-INF, INF, 0), (-INF, -INF, -INF), (INF, INF, -INF), (1, 1, -INF), (-1e300, 1e300, 0),
                                (1e300, INF, -INF), (1e299, 1e300, -INF)]:
        actual = log_probability(build, S, log_weights, np.array([float(low)]), np.array([float(high)]), one)
        assert actual == pytest.approx(expected, abs=1e-15)
    assert box_log_sum(build, S[:0], log_weights[:0], np.zeros(1), one, one, (LOWEST, 0.0)) == (LOWEST, 0.0)


@builds
def test_a_later_block_far_above_and_far_below(build):
    S, one = np.array([[-60.0], [0.0], [60.0]]), np.ones(1)
    log_weights = np.array([-3.0, -800.0, -2.0])
    for low, high in [(-61.0, -60.0), (-0.1, 0.1), (-INF, 20.0), (59.9, INF)]:
        actual = log_probability(build, S, log_weights, np.array([low]), np.array([high]), one, block=1)
        assert close(actual, exact(S, log_weights, [low], [high], one))


@builds
@pytest.mark.parametrize("d", [1, 3])
def test_sharpness_is_a_bandwidth_of_its_own(build, d):
    """Source by source the same as with that bandwidth, narrow intervals or wide."""
    rng = np.random.default_rng(d)
    S, log_weights, inv_bandwidth = rng.normal(size=(40, d)), -rng.exponential(size=40), rng.uniform(0.5, 3, d)
    sharpness = rng.uniform(1.0, 2.0, 40) * 8.0
    for width in (1e-9, 0.1, 3.0):
        low = rng.normal(size=d)
        high = low + width
        parts = [exact(S[i : i + 1], log_weights[i : i + 1], low, high, inv_bandwidth * a)
                 for i, a in enumerate(sharpness)]
        with mpmath.workdps(40):
            expected = mpmath.log(mpmath.fsum(mpmath.exp(part) for part in parts))
        found = box_log_sum(build, S, log_weights, low, high, inv_bandwidth, (LOWEST, 0.0), sharpness)
        assert close(found[0] + np.log(found[1]), expected, 1e-14)
