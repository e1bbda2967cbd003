"""The kernels for float32 of every build: a few roundings from twins in float64; the edges of a block."""

import functools

import numpy as np
import pytest

from kernel_access import (
    BUILDS,
    INFO,
    STRUCTURES,
    accumulate,
    functions,
    log_densities,
    log_prob,
    mixture,
    responsibilities,
    second_shape,
    signatures,
    weigh,
)

# around every width and block of the kernels: lanes, tiles, 3 or 4 features or components at once
SIZES = [*range(1, 10), 15, 16, 17, 24, 31, 32, 33]
SAMPLES = [*SIZES, 47, 48, 49, 63, 64, 65, 200]
FEATURES = [*SIZES, 63, 64, 65]
EPS = 2.0**-24
# e^-87, below which exponentials are 0
TINY = 1.65e-38

builds = pytest.mark.parametrize("build", BUILDS)
structures = pytest.mark.parametrize("structure", STRUCTURES)
fused = pytest.mark.skipif(not {"v3", "v4"} <= set(BUILDS), reason="needs two builds with fused multiply-add")


def shapes(d):
    """(n, K): every number of samples, and every number of components where features are few."""
    for i, n in enumerate(SAMPLES):
        yield n, (1, 4, 3, 5, 2, 9)[i % 6]
    for i, K in enumerate(SIZES if d < 6 else (6, 7, 8)):
        yield (33, 16, 50)[i % 3], K


# --- twins ----------------------------------------------------------------------------------------


def twin_log_prob(structure, X, means, chol, log_const):
    """log p_ik in float64, and the sizes of what is added up: errors are a few roundings of these."""
    X, means, chol, log_const = (a.astype(float) for a in (X, means, chol, log_const))
    # "tied" measures from the mean of the heaviest component
    origin = means[np.argmax(log_const)] if structure == "tied" else means
    z = X[:, np.newaxis] - means
    size = np.abs(X[:, np.newaxis] - origin) + np.abs(means - origin)
    if structure in ("full", "tied"):
        chol = np.broadcast_to(chol, (len(means), *chol.shape[-2:]))
        y, size = (np.einsum("ikl,klj->ikj", a, u) for a, u in ((z, chol), (size, np.abs(chol))))
    else:
        chol = chol if structure == "diag" else chol[:, np.newaxis]
        y, size = z * chol, size * chol
    return log_const - (y**2).sum(axis=2) / 2, np.abs(log_const) + (size**2).sum(axis=2)


@functools.cache
def case(structure, n, d, K):
    inputs = [a.astype(np.float32) for a in mixture(structure, n, d, K)]
    return inputs, *twin_log_prob(structure, *inputs)


def twin_statistics(structure, X, resp, origins):
    """n_k, f_k and S_k in float64, and the same sums of magnitudes."""
    X, resp, origins = (a.astype(float) for a in (X, resp, origins))
    z = X[:, np.newaxis] - origins
    results = []
    # "tied" measures from the origin of the heaviest component, or from each component's own
    far = np.abs(X[:, np.newaxis] - origins[np.argmax(resp.sum(axis=0))]) + np.abs(z) if structure == "tied" else z
    for z in (z, np.abs(far)):
        if structure == "full":
            second = np.triu(np.einsum("ik,ikj,ikl->kjl", resp, z, z, optimize=True))
        elif structure == "tied":
            second = np.triu(np.einsum("ik,ikj,ikl->jl", resp, z, z, optimize=True))
        else:
            second = np.einsum("ik,ikj,ikj->kj", resp, z, z)
            second = second if structure == "diag" else second.sum(axis=1)
        results.append((resp.sum(axis=0), np.einsum("ik,ikj->kj", resp, z), second))
    return results


@functools.cache
def statistics_case(structure, n, d, K):
    X, means, _, _ = mixture("diag", n, d, K)
    rng = np.random.default_rng([n, d, K])
    resp = rng.dirichlet(np.full(K, 0.5), size=n) * rng.uniform(0.1, 3, size=(n, 1))
    if n % 2:
        resp = np.eye(K)[rng.integers(K, size=n)]
    inputs = [a.astype(np.float32) for a in (X, resp, means + 0.1)]
    return inputs, *twin_statistics(structure, *inputs)


def test_there_is_one_of_every_kernel():
    for kernel in ("estep", "mstep"):
        for build in INFO["builds"]:
            assert signatures(f"{kernel}_single", build) == signatures(kernel, build)


# --- log p_ik -------------------------------------------------------------------------------------


@builds
@structures
@pytest.mark.parametrize("d", FEATURES)
def test_log_prob_agrees_with_its_twin(build, structure, d):
    for n, K in shapes(d):
        inputs, expected, scale = case(structure, n, d, K)
        found = log_prob(build, structure, *inputs)
        assert found.dtype == np.float32
        assert (np.abs(found - expected) <= 8 * EPS * scale).all(), (n, K)


@builds
@structures
@pytest.mark.parametrize("d", [1, 3, 16])
def test_a_sample_does_not_depend_on_its_block(build, structure, d):
    (X, *parameters), _, _ = case(structure, 200, d, 5)
    together = log_prob(build, structure, X, *parameters)
    for n in SAMPLES:
        for ld in (n, n + 1, 512):
            np.testing.assert_array_equal(log_prob(build, structure, X[-n:], *parameters, ld=ld), together[-n:])


@builds
@pytest.mark.parametrize("structure", ["full", "tied"])
@pytest.mark.parametrize("d", [2, 5, 17])
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
def test_a_square_that_overflows_and_a_weight_of_zero(build, structure):
    X, means, chol, log_const = case(structure, 40, 2, 3)[0]
    far = log_prob(build, structure, np.full((5, 2), 1e20, np.float32), means, chol, log_const)
    assert (far == -np.inf).all()
    log_const = np.float32([log_const[0], -np.inf, log_const[2]])
    logs = log_prob(build, structure, X, means, chol, log_const)
    assert (logs[:, 1] == -np.inf).all() and np.isfinite(logs[:, [0, 2]]).all()
    resp, log_density = responsibilities(build, logs)
    assert (resp[:, 1] == 0).all()
    without, alone = responsibilities(build, np.ascontiguousarray(logs[:, [0, 2]]))
    np.testing.assert_array_equal(resp[:, [0, 2]], without)
    np.testing.assert_array_equal(log_density, alone)


@builds
def test_no_samples(build):
    for structure in STRUCTURES:
        parameters = case(structure, 1, 3, 2)[0][1:]
        none = np.empty((0, 3), np.float32)
        assert log_prob(build, structure, none, *parameters).shape == (0, 2)
        nothing = accumulate(build, structure, none, np.empty((0, 2), np.float32), parameters[0])
        assert all((a == 0).all() for a in nothing)
    assert log_densities(build, np.empty((0, 2), np.float32)).shape == (0,)
    assert weigh(build, np.empty((0, 2), np.float32), np.empty(0, np.float32))[1] == 0


# --- sums over components -------------------------------------------------------------------------


@builds
@pytest.mark.parametrize("n", SAMPLES)
def test_log_densities_and_responsibilities_agree_with_their_twin(build, n):
    for K in (1, 2, 3, 9, 40):
        rng = np.random.default_rng([n, K])
        for spread in (1e-3, 1.0, 30.0, 500.0):
            logs = rng.normal(scale=spread, size=(n, K)) - rng.uniform(0, 1000, size=(n, 1))
            logs = logs.astype(np.float32)
            exponents = logs.astype(float) - logs.max(axis=1, keepdims=True)
            total = np.exp(exponents).sum(axis=1)
            resp, density = np.exp(exponents) / total[:, np.newaxis], logs.max(axis=1) + np.log(total)
            found, log_density = responsibilities(build, logs)
            bound = EPS * (np.abs(density) + 4 * np.log(total) + 4 + 2 * np.log2(K))
            assert (np.abs(log_density - density) <= bound).all()
            np.testing.assert_array_equal(log_densities(build, logs), log_density)
            bound = EPS * resp * (8 + 2 * np.log2(K) - exponents) + TINY
            assert (np.abs(found - resp) <= bound).all()


@builds
@pytest.mark.parametrize("K", [1, 2, 5])
def test_samples_that_no_component_reaches(build, K):
    logs = np.zeros((70, K), np.float32)
    lost = np.array([0, 3, 31, 32, 63, 64, 69])
    logs[lost] = -np.inf
    resp, log_density = responsibilities(build, logs)
    assert (log_density[lost] == -np.inf).all() and (log_densities(build, logs)[lost] == -np.inf).all()
    np.testing.assert_allclose(resp, 1 / K, rtol=2 * EPS)
    others = np.setdiff1d(np.arange(70), lost)
    np.testing.assert_allclose(log_density[others], np.log(K), rtol=4 * EPS)


@builds
def test_far_components_and_samples(build):
    logs = np.float32([[-1e38, -3.4e38], [-3.4e38, -3.4e38], [1e38, -1e38], [0, -80], [0, -88], [0, -np.inf]])
    resp, log_density = responsibilities(build, logs)
    np.testing.assert_allclose(resp[:, 1], [0, 0.5, 0, np.exp(-80), 0, 0], rtol=1e-6)
    np.testing.assert_array_equal(log_density, logs[:, 0])


@builds
def test_nan_stays_with_its_sample(build):
    logs = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    clean, densities = responsibilities(build, logs)
    logs[7, 1] = np.nan
    resp, log_density = responsibilities(build, logs)
    others = np.arange(40) != 7
    assert np.isnan(log_density[7]) and np.isnan(log_densities(build, logs)[7])
    np.testing.assert_array_equal(resp[others], clean[others])
    np.testing.assert_array_equal(log_density[others], densities[others])


# --- weights (the kernels for doubles too) --------------------------------------------------------


@builds
@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("n", SAMPLES)
def test_weigh(build, real, n):
    rng = np.random.default_rng(n)
    resp = rng.dirichlet(np.ones(3), size=n).astype(real)
    log_density = rng.normal(-5, 3, n).astype(real)
    weighed, total = weigh(build, resp, log_density)
    np.testing.assert_array_equal(weighed, resp)
    exact = log_density.astype(np.longdouble)
    assert total == pytest.approx(float(exact.sum()), abs=1e-15 * float(np.abs(exact).sum()))
    weight = rng.exponential(size=n)
    weighed, total = weigh(build, resp, log_density, weight)
    np.testing.assert_array_equal(weighed, resp * weight.astype(real)[:, np.newaxis])
    assert total == pytest.approx(float(weight @ exact), abs=1e-15 * float(weight @ np.abs(exact)))


@builds
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_a_sample_without_weight_adds_nothing(build, real):
    rng = np.random.default_rng(0)
    resp, log_density = rng.dirichlet(np.ones(3), size=70).astype(real), rng.normal(size=70).astype(real)
    weight = rng.exponential(size=70)
    absent = np.array([0, 5, 31, 32, 64, 69])
    weight[absent] = 0.0
    _, expected = weigh(build, resp, log_density, weight)
    log_density[absent] = -np.inf
    weighed, total = weigh(build, resp, log_density, weight)
    assert total == expected and (weighed[absent] == 0).all()
    weight[3], log_density[3] = 1e-300, -np.inf
    assert weigh(build, resp, log_density, weight)[1] == -np.inf
    assert weigh(build, resp, log_density)[1] == -np.inf


# --- statistics -----------------------------------------------------------------------------------


def assert_statistics(found, expected, magnitudes, roundings=8):
    for value, exact, scale in zip(found, expected, magnitudes):
        assert value.shape == exact.shape and value.dtype == np.float64
        assert (np.abs(value - exact) <= roundings * EPS * scale).all()


@builds
@structures
@pytest.mark.parametrize("d", FEATURES)
def test_accumulate_agrees_with_its_twin(build, structure, d):
    for n, K in shapes(d):
        inputs, expected, magnitudes = statistics_case(structure, n, d, K)
        assert_statistics(accumulate(build, structure, *inputs), expected, magnitudes)


@builds
@structures
@pytest.mark.parametrize("d", [1, 3, 5, 17])
def test_accumulate_adds_in_float64(build, structure, d):
    inputs, expected, magnitudes = statistics_case(structure, 200, d, 5)
    once = accumulate(build, structure, *inputs)
    # what was there does not round away what comes, beyond 2^-53 of it
    began = np.full(5, 2.0**20), np.full((5, d), -(2.0**20)), np.full(second_shape(structure, 5, d), 2.0**20)
    again = accumulate(build, structure, *inputs, into=began)
    for value, start, single in zip(again, began, once):
        np.testing.assert_allclose(value[single != 0] - start[single != 0], single[single != 0], atol=1e-8)
    for ld in (200, 201, 512):
        for a, b in zip(accumulate(build, structure, *inputs, ld=ld), once):
            np.testing.assert_array_equal(a, b)


@builds
@structures
@pytest.mark.parametrize("d", [1, 2, 17])
def test_samples_without_responsibility_count_for_nothing(build, structure, d):
    (X, resp, origins), expected, magnitudes = statistics_case(structure, 200, d, 2)
    X, resp = np.repeat(X, 2, axis=0), np.repeat(resp, 2, axis=0)
    X[::2], resp[::2] = 1e37, 0.0
    assert_statistics(accumulate(build, structure, X, resp, origins), expected, magnitudes, 16)
    nothing = accumulate(build, structure, X, np.zeros_like(resp), origins)
    assert all((a == 0).all() for a in nothing)


@builds
@structures
@pytest.mark.parametrize("d", [1, 2, 5, 17])
def test_infinities_are_not_lost(build, structure, d):
    (X, resp, origins), _, _ = statistics_case(structure, 50, d, 2)
    X = X.copy()
    X[7, 0] = np.inf
    resp = np.full_like(resp, 0.5)
    _, first, second = accumulate(build, structure, X, resp, origins)
    assert not np.isfinite(first[:, 0]).any() and not np.isfinite(second).all()


# --- bits -----------------------------------------------------------------------------------------


@fused
@structures
@pytest.mark.parametrize("d", FEATURES)
def test_the_same_bits_at_every_vector_width(structure, d):
    for n, K in shapes(d):
        inputs, _, _ = case(structure, n, d, K)
        logs = log_prob("v3", structure, *inputs)
        np.testing.assert_array_equal(logs, log_prob("v4", structure, *inputs))
        found = responsibilities("v3", logs)
        for a, b in zip(found, responsibilities("v4", logs)):
            np.testing.assert_array_equal(a, b)
        assert weigh("v3", *found)[1] == weigh("v4", *found)[1]
        inputs, _, _ = statistics_case(structure, n, d, K)
        for a, b in zip(accumulate("v3", structure, *inputs), accumulate("v4", structure, *inputs)):
            np.testing.assert_array_equal(a, b)


def test_scratch_grows_with_the_block():
    for build in BUILDS:
        estep, mstep = (functions(build, np.float32)[name] for name in ("estep_scratch", "mstep_scratch"))
        assert estep(1, 1) > 0 and estep(3, 64) < estep(3, 96) < estep(4, 96)
        assert mstep(1, 1, 1) > 0 and mstep(3, 2, 64) < mstep(3, 2, 96) < mstep(4, 2, 96) < mstep(4, 3, 96)
