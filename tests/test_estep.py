"""The E-step kernels of every build against slow twins in extended precision; the edges of a block."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_access import (
    BUILDS,
    LONG,
    STRUCTURES,
    functions,
    log_densities,
    log_prob,
    mixture,
    responsibilities,
)

FEATURES = [1, 2, 3, 4, 5, 6, 7, 8, 16, 41, 97]
SAMPLES = [1, 5, 31, 32, 33, 200]
COMPONENTS = [1, 2, 5]
RTOL = 1e-12
# responsibilities below the normal numbers are 0
TINY = 4e-308

builds = pytest.mark.parametrize("build", BUILDS)
structures = pytest.mark.parametrize("structure", STRUCTURES)
seeds = st.integers(0, 2**32 - 1)


# --- twins ----------------------------------------------------------------------------------------


def twin_norms(structure, X, means, chol):
    """|(x_i - mu_k) U_k|^2, shape (n, K)."""
    norms = []
    for k in range(len(means)):
        z = X.astype(LONG) - means[k].astype(LONG)
        if structure in ("full", "tied"):
            z = np.dot(z, (chol[k] if structure == "full" else chol).astype(LONG))
        else:
            z = z * chol[k].astype(LONG)
        norms.append((z**2).sum(axis=1))
    return np.array(norms).T


@functools.cache
def case(structure, n, d, K):
    X, means, chol, log_const = mixture(structure, n, d, K)
    norms = twin_norms(structure, X, means, chol)
    # c and the norm may cancel: the error is relative to the larger of them
    return (X, means, chol, log_const), log_const - norms / 2, np.abs(log_const) + norms / 2


def twin_responsibilities(logs):
    logs = logs.astype(LONG)
    largest = logs.max(axis=1, keepdims=True)
    terms = np.exp(logs - largest)
    total = terms.sum(axis=1, keepdims=True)
    return terms / total, (largest + np.log(total))[:, 0]


# --- log p_ik -------------------------------------------------------------------------------------


@builds
@structures
@pytest.mark.parametrize("d", FEATURES)
def test_log_prob_agrees_with_its_twin(build, structure, d):
    for n in SAMPLES:
        for K in COMPONENTS:
            inputs, expected, scale = case(structure, n, d, K)
            assert (np.abs(log_prob(build, structure, *inputs) - expected) <= RTOL * scale).all(), (n, K)


@builds
@structures
@pytest.mark.parametrize("d", [1, 3, 16])
def test_the_leading_dimension_changes_nothing(build, structure, d):
    inputs, _, _ = case(structure, 33, d, 2)
    expected = log_prob(build, structure, *inputs, ld=33)
    for ld in (34, 64, 512):
        np.testing.assert_array_equal(log_prob(build, structure, *inputs, ld=ld), expected)


@builds
@pytest.mark.parametrize("structure", ["full", "tied"])
@pytest.mark.parametrize("d", [2, 16, 95, 96])
def test_the_lower_triangle_is_not_read(build, structure, d):
    (X, means, chol, log_const), _, _ = case(structure, 33, d, 2)
    spoilt = chol.copy()
    spoilt[..., *np.tril_indices(d, -1)] = np.nan
    np.testing.assert_array_equal(
        log_prob(build, structure, X, means, spoilt, log_const),
        log_prob(build, structure, X, means, chol, log_const),
    )


@builds
@structures
@pytest.mark.parametrize("d", [1, 3, 16])
def test_a_sample_does_not_depend_on_its_block(build, structure, d):
    (X, means, chol, log_const), _, _ = case(structure, 200, d, 5)
    together = log_prob(build, structure, X, means, chol, log_const)
    alone = np.concatenate(
        [log_prob(build, structure, X[i : i + 1], means, chol, log_const) for i in range(200)]
    )
    np.testing.assert_array_equal(alone, together)


@builds
@structures
@pytest.mark.parametrize("d", [1, 2, 17])
def test_an_offset_of_1e8_spreads_costs_no_digits(build, structure, d):
    X, means, chol, log_const = mixture(structure, 200, d, 5)
    X, means = X + 1e8, means + 1e8  # rounded, then exact: the twin sees the same numbers
    norms = twin_norms(structure, X, means, chol)
    error = np.abs(log_prob(build, structure, X, means, chol, log_const) - (log_const - norms / 2))
    assert (error <= RTOL * (np.abs(log_const) + norms / 2 + d)).all()


@builds
@structures
@pytest.mark.parametrize("d", [1, 3, 16])
def test_far_samples(build, structure, d):
    X, means, chol, log_const = mixture(structure, 33, d, 2)
    X = X * 10.0 ** np.linspace(0, 150, 33)[:, np.newaxis]
    norms = twin_norms(structure, X, means, chol)
    expected = (log_const - norms / 2).astype(float)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(log_prob(build, structure, X, means, chol, log_const), expected, rtol=1e-12)


@builds
@structures
def test_a_square_that_overflows_is_minus_infinity(build, structure):
    X, means, chol, log_const = mixture(structure, 5, 2, 2)
    assert (log_prob(build, structure, np.full((5, 2), 1e200), means, chol, log_const) == -np.inf).all()


@builds
@structures
def test_a_weight_of_zero(build, structure):
    X, means, chol, log_const = mixture(structure, 40, 3, 3)
    log_const[1] = -np.inf
    logs = log_prob(build, structure, X, means, chol, log_const)
    assert (logs[:, 1] == -np.inf).all() and np.isfinite(logs[:, [0, 2]]).all()
    resp, log_density = responsibilities(build, logs)
    assert (resp[:, 1] == 0).all()
    without, alone = responsibilities(build, np.ascontiguousarray(logs[:, [0, 2]]))
    np.testing.assert_array_equal(resp[:, [0, 2]], without)
    np.testing.assert_array_equal(log_density, alone)


@builds
@structures
def test_no_samples(build, structure):
    X, means, chol, log_const = mixture(structure, 0, 3, 2)
    assert log_prob(build, structure, X, means, chol, log_const).shape == (0, 2)
    assert log_densities(build, np.empty((0, 2))).shape == (0,)


@builds
def test_scratch_grows_with_the_block(build):
    scratch = functions(build)["estep_scratch"]
    assert scratch(1, 1) > 0 and scratch(3, 64) < scratch(3, 96) < scratch(4, 96)


# --- sums over components -------------------------------------------------------------------------


@builds
@pytest.mark.parametrize("n", SAMPLES)
@pytest.mark.parametrize("K", [1, 2, 5, 40])
def test_log_densities_and_responsibilities_agree_with_their_twin(build, n, K):
    rng = np.random.default_rng([n, K])
    for spread in (1e-3, 1.0, 30.0, 500.0):
        logs = rng.normal(scale=spread, size=(n, K)) - rng.uniform(0, 1000, size=(n, 1))
        resp, expected = twin_responsibilities(logs)
        scale = np.abs(logs).max(axis=1) + 1
        found, log_density = responsibilities(build, logs)
        assert (np.abs(log_density - expected) <= RTOL * scale).all()
        assert (np.abs(log_densities(build, logs) - expected) <= RTOL * scale).all()
        # the twin's differences of logs are exact, ours round: relative to the exponent
        exponents = logs.max(axis=1, keepdims=True) - logs
        assert (np.abs(found - resp) <= RTOL * resp * (1 + exponents * 1e-3) + TINY).all()


@builds
@pytest.mark.parametrize("K", [1, 2, 5])
def test_far_away_components_and_samples(build, K):
    logs = np.array([[-1e300], [-1e10], [-745.0], [0.0], [1e10], [1e300]]) + np.zeros(K)
    resp, log_density = responsibilities(build, logs)
    np.testing.assert_allclose(resp, 1 / K, rtol=1e-15)
    np.testing.assert_allclose(log_density, logs[:, 0] + np.log(K), rtol=1e-15)
    logs[:, 1:] = -1.7e308
    resp, log_density = responsibilities(build, logs)
    assert (resp[:, 0] == 1).all() and (resp[:, 1:] == 0).all()
    np.testing.assert_array_equal(log_density, logs[:, 0])


@builds
@pytest.mark.parametrize("K", [1, 2, 5])
def test_a_sample_that_no_component_reaches(build, K):
    logs = np.zeros((7, K))
    logs[3] = -np.inf
    resp, log_density = responsibilities(build, logs)
    assert log_density[3] == -np.inf and log_densities(build, logs)[3] == -np.inf
    assert not np.isnan(resp).any()
    others = np.arange(7) != 3
    np.testing.assert_allclose(resp[others], 1 / K, rtol=1e-15)
    np.testing.assert_allclose(log_density[others], np.log(K), rtol=1e-15)


@builds
def test_nan_stays_with_its_sample(build):
    logs = np.random.default_rng(0).normal(size=(40, 3))
    clean, densities = responsibilities(build, logs)
    logs[7, 1] = np.nan
    resp, log_density = responsibilities(build, logs)
    others = np.arange(40) != 7
    assert np.isnan(log_density[7]) and np.isnan(log_densities(build, logs)[7])
    np.testing.assert_array_equal(resp[others], clean[others])
    np.testing.assert_array_equal(log_density[others], densities[others])


@builds
@pytest.mark.parametrize("real", [np.float64, np.float32])
@pytest.mark.parametrize("K", [1, 2, 5])
def test_sums_do_not_depend_on_the_block(build, real, K):
    # whole spans of samples and what is left over go two ways, to the same bits
    logs = (100 * np.random.default_rng(K).normal(size=(150, K))).astype(real)
    logs[[3, 70, 149]] = -np.inf
    logs[::7, -1] = -np.inf
    logs[[5, 100], 0] = np.nan
    resp, density = responsibilities(build, logs)
    np.testing.assert_array_equal(log_densities(build, logs), density)
    assert (resp[[3, 70, 149]] == real(1) / real(K)).all() and np.isnan(density[[5, 100]]).all()
    for n in range(1, 80):
        for found, expected in zip(responsibilities(build, logs[-n:]), (resp, density)):
            np.testing.assert_array_equal(found, expected[-n:])


@builds
def test_a_tiny_responsibility_is_accurate(build):
    # exp(-730) is subnormal, and 0 here
    logs = np.array([[0.0, -300.0], [0.0, -700.0], [0.0, -730.0], [0.0, -744.0], [0.0, -800.0]])
    resp, _ = responsibilities(build, logs)
    np.testing.assert_allclose(resp[:, 1], np.exp(logs[:, 1]), rtol=1e-15, atol=TINY)


# --- properties -----------------------------------------------------------------------------------


shapes = {"n": st.integers(1, 70), "d": st.integers(1, 20), "K": st.integers(1, 6), "seed": seeds}


@builds
@structures
@given(**shapes)
@settings(deadline=None, max_examples=25)
def test_responsibilities_are_probabilities(build, structure, n, d, K, seed):
    logs = log_prob(build, structure, *mixture(structure, n, d, K, seed))
    resp, log_density = responsibilities(build, logs)
    assert (resp >= 0).all() and (resp <= 1 + 1e-15).all()
    np.testing.assert_allclose(resp.sum(axis=1), 1, rtol=(K + 2) * 2.0**-52)
    # a sum is no less than its largest term, to the rounding of the logarithms
    assert (log_density >= logs.max(axis=1) - np.spacing(np.abs(logs.max(axis=1)))).all()
    assert (log_density <= logs.max(axis=1) + np.log(K) + 4 * np.spacing(1 + np.abs(logs.max(axis=1)))).all()
    np.testing.assert_array_equal(log_density, log_densities(build, logs))


@builds
@structures
@given(**shapes, power=st.integers(-300, 300))
@settings(deadline=None, max_examples=25)
def test_scaling_by_a_power_of_two_changes_no_bit(build, structure, n, d, K, seed, power):
    X, means, chol, log_const = mixture(structure, n, d, K, seed)
    np.testing.assert_array_equal(
        log_prob(
            build, structure, np.ldexp(X, power), np.ldexp(means, power), np.ldexp(chol, -power), log_const
        ),
        log_prob(build, structure, X, means, chol, log_const),
    )


@builds
@structures
@given(**shapes, shift=st.floats(-1e6, 1e6))
@settings(deadline=None, max_examples=25)
def test_a_shift_changes_rounding_alone(build, structure, n, d, K, seed, shift):
    X, means, chol, log_const = mixture(structure, n, d, K, seed)
    # multiples of 2^-20, which a shift by such multiples leaves exact
    X, means, shift = (np.rint(a * 2.0**20) / 2.0**20 for a in (X, means, shift))
    before = log_prob(build, structure, X, means, chol, log_const)
    after = log_prob(build, structure, X + shift, means + shift, chol, log_const)
    assert (np.abs(after - before) <= RTOL * (1 + np.abs(log_const) + np.abs(before))).all()


@builds
@structures
@given(**shapes)
@settings(deadline=None, max_examples=25)
def test_permuted_samples_and_components(build, structure, n, d, K, seed):
    X, means, chol, log_const = mixture(structure, n, d, K, seed)
    rng = np.random.default_rng(seed)
    i, k = rng.permutation(n), rng.permutation(K)
    logs = log_prob(build, structure, X, means, chol, log_const)
    permuted = log_prob(
        build, structure, X[i], means[k], chol if structure == "tied" else chol[k], log_const[k]
    )
    assert (np.abs(permuted - logs[i][:, k]) <= RTOL * (1 + np.abs(log_const).max() + np.abs(permuted))).all()
    resp, log_density = responsibilities(build, logs)
    again, log_density_again = responsibilities(build, np.ascontiguousarray(logs[i][:, k]))
    np.testing.assert_allclose(again, resp[i][:, k], rtol=1e-13)
    np.testing.assert_allclose(log_density_again, log_density[i], rtol=1e-13, atol=1e-13)


@pytest.mark.skipif(not {"v3", "v4"} <= set(BUILDS), reason="needs two builds with fused multiply-add")
@structures
@pytest.mark.parametrize("d", [*FEATURES, 9, 10, 11, 12, 13, 17, 33])
def test_the_same_bits_at_every_vector_width(structure, d):
    shapes = [(n, 5) for n in SAMPLES] + [((15, 16, 17, 47, 48, 49, 64, 65)[K % 8], K) for K in range(1, 14)]
    for n, K in shapes:
        inputs = mixture(structure, n, d, K)
        logs = log_prob("v3", structure, *inputs)
        np.testing.assert_array_equal(logs, log_prob("v4", structure, *inputs))
        for a, b in zip(responsibilities("v3", logs), responsibilities("v4", logs)):
            np.testing.assert_array_equal(a, b)
