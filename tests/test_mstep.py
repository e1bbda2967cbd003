"""The M-step kernels of every build against slow twins in extended precision; edges of the statistics."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_access import BUILDS, LONG, STRUCTURES, accumulate, functions, mixture, parameters, second_shape

FEATURES = [1, 2, 3, 4, 5, 6, 7, 8, 16, 33, 41]
SAMPLES = [1, 5, 7, 8, 9, 33, 200]
COMPONENTS = [1, 2, 5]
RTOL = 1e-12

builds = pytest.mark.parametrize("build", BUILDS)
structures = pytest.mark.parametrize("structure", STRUCTURES)
seeds = st.integers(0, 2**32 - 1)


# --- twins ----------------------------------------------------------------------------------------


def twin_statistics(structure, X, resp, origins):
    """n_k, f_k and S_k, and the same sums of magnitudes: what their rounding errors are relative to."""
    results = []
    for magnitude in (lambda a: a, np.abs):
        nk, first, full = [], [], []
        for k in range(len(origins)):
            r = resp[:, k].astype(LONG)
            z = magnitude(X.astype(LONG) - origins[k].astype(LONG))
            nk.append(r.sum())
            first.append((r[:, np.newaxis] * z).sum(axis=0))
            full.append(np.dot((r[:, np.newaxis] * z).T, z))
        results.append((np.array(nk), np.array(first), _of_structure(structure, np.array(full))))
    return results


def _of_structure(structure, full):
    if structure == "full":
        return np.triu(full)
    if structure == "tied":
        return np.triu(full.sum(axis=0))
    diagonals = np.einsum("kjj->kj", full)
    return diagonals if structure == "diag" else diagonals.sum(axis=1)


def twin_parameters(structure, nk, first, second, origins, ridge):
    """Means, covariances, U and log det U."""
    nk, first, second, origins, ridge = (a.astype(LONG) for a in (nk, first, second, origins, ridge))
    K, d = origins.shape
    delta = first / nk[:, np.newaxis]
    outer = delta[:, :, np.newaxis] * delta[:, np.newaxis, :]
    if structure == "full":
        covariances = (_symmetric(second) + np.diag(ridge)) / nk[:, np.newaxis, np.newaxis] - outer
    elif structure == "tied":
        covariances = (_symmetric(second) + np.diag(ridge) - np.tensordot(nk, outer, 1)) / nk.sum()
    elif structure == "diag":
        covariances = (second + ridge) / nk[:, np.newaxis] - delta**2
    else:
        covariances = ((second + ridge.sum()) / nk - (delta**2).sum(axis=1)) / d
    if structure in ("full", "tied"):
        chol = np.array([_inverse_cholesky(c) for c in covariances.reshape(-1, d, d)])
        log_det = np.log(np.einsum("kjj->kj", chol)).sum(axis=1)
        chol = chol.reshape(covariances.shape)
    else:
        chol = 1 / np.sqrt(covariances)
        log_det = np.log(chol).sum(axis=1) if structure == "diag" else d * np.log(chol)
    return origins + delta, covariances, chol, np.broadcast_to(log_det, K)


def _symmetric(upper):
    return np.triu(upper) + np.swapaxes(np.triu(upper, 1), -1, -2)


def _inverse_cholesky(a):
    """Upper triangular U with U U^T = a^-1, that is L^-T of a = L L^T, in extended precision."""
    d = len(a)
    lower, inverse = np.zeros_like(a), np.zeros_like(a)
    for j in range(d):
        column = a[j:, j] - np.dot(lower[j:, :j], lower[j, :j])
        lower[j:, j] = column / np.sqrt(column[0])
    for i in range(d):
        inverse[i] = -np.dot(lower[i, :i], inverse[:i]) / lower[i, i]
        inverse[i, i] = 1 / lower[i, i]
    return inverse.T


def partition(n, K, seed=0, kind="soft"):
    rng = np.random.default_rng([seed, n, K])
    if kind == "hard":
        return np.eye(K)[rng.integers(K, size=n)]
    return rng.dirichlet(np.full(K, 0.5), size=n) * rng.uniform(0.1, 3, size=(n, 1))


@functools.cache
def case(structure, n, d, K):
    X, means, _, _ = mixture("diag", n, d, K)
    resp = partition(n, K, kind="hard" if n == 33 else "soft")
    origins = means + 0.1
    return (X, resp, origins), *twin_statistics(structure, X, resp, origins)


def assert_statistics(found, expected, magnitudes, rtol=RTOL):
    for value, exact, scale in zip(found, expected, magnitudes):
        assert value.shape == exact.shape
        assert (np.abs(value - exact) <= rtol * scale).all()


# --- statistics -----------------------------------------------------------------------------------


@builds
@structures
@pytest.mark.parametrize("d", FEATURES)
def test_accumulate_agrees_with_its_twin(build, structure, d):
    for n in SAMPLES:
        for K in COMPONENTS:
            inputs, expected, magnitudes = case(structure, n, d, K)
            # the lower triangle of the result is 0, as it began: nobody wrote there
            assert_statistics(accumulate(build, structure, *inputs), expected, magnitudes)


@builds
@structures
@pytest.mark.parametrize("d", [1, 3, 16])
def test_accumulate_adds(build, structure, d):
    # blocks one after the other give the whole; the lower triangle is left alone
    (X, resp, origins), expected, magnitudes = case(structure, 512, d, 5)
    total = None
    for start, stop in ((0, 1), (1, 33), (33, 33), (33, 300), (300, 512)):
        total = accumulate(build, structure, X[start:stop], resp[start:stop], origins, into=total)
    assert_statistics(total, expected, magnitudes)
    began = np.full(5, 3.0), np.full((5, d), -2.0), np.full(second_shape(structure, 5, d), 7.0)
    nk, first, second = accumulate(build, structure, X, resp, origins, into=began)
    assert_statistics((nk - 3, first + 2), expected, (magnitudes[0] + 3, magnitudes[1] + 2))
    exact = expected[2] + 7
    assert (np.abs(second - exact) <= RTOL * (magnitudes[2] + 7)).all()


@builds
@structures
@pytest.mark.parametrize("d", [1, 3, 16])
def test_the_leading_dimension_changes_nothing(build, structure, d):
    inputs, _, _ = case(structure, 33, d, 2)
    expected = accumulate(build, structure, *inputs, ld=33)
    for ld in (34, 64, 512):
        for a, b in zip(accumulate(build, structure, *inputs, ld=ld), expected):
            np.testing.assert_array_equal(a, b)


@builds
@structures
@pytest.mark.parametrize("d", [1, 2, 17])
def test_samples_without_responsibility_count_for_nothing(build, structure, d):
    (X, resp, origins), expected, magnitudes = case(structure, 200, d, 2)
    X, resp = np.repeat(X, 2, axis=0), np.repeat(resp, 2, axis=0)
    X[::2], resp[::2] = 1e150, 0.0
    assert_statistics(accumulate(build, structure, X, resp, origins), expected, magnitudes)
    nothing = accumulate(build, structure, X, np.zeros_like(resp), origins)
    assert all((a == 0).all() for a in nothing)


@builds
@structures
@pytest.mark.parametrize("d", [1, 3, 17])
def test_tiny_responsibilities(build, structure, d):
    # 1e-290 is far below the rounding of anything, and yet all that this component has
    (X, resp, origins), _, _ = case(structure, 200, d, 2)
    resp = resp * [1.0, 1e-290]
    expected, magnitudes = twin_statistics(structure, X, resp, origins)
    assert_statistics(accumulate(build, structure, X, resp, origins), expected, magnitudes)


@builds
@structures
@pytest.mark.parametrize("d", [1, 2, 17])
def test_an_offset_of_1e8_spreads_costs_no_digits(build, structure, d):
    X, means, _, _ = mixture("diag", 512, d, 2)
    resp, X, origins = partition(512, 2), X + 1e8, means + 1e8
    expected, magnitudes = twin_statistics(structure, X, resp, origins)
    found = accumulate(build, structure, X, resp, origins)
    assert_statistics(found, expected, magnitudes)
    ridge = np.full(d, 1e-6)
    failed, new_means, covariances, _, _ = parameters(build, structure, *found, origins, ridge)
    exact_means, exact_covariances, _, _ = twin_parameters(structure, *expected, origins, ridge)
    assert failed == 0
    np.testing.assert_allclose(new_means, exact_means.astype(float), rtol=1e-15)
    np.testing.assert_allclose(covariances, exact_covariances.astype(float), rtol=1e-11, atol=1e-11)


@builds
def test_no_samples_and_scratch(build):
    for structure in STRUCTURES:
        nothing = accumulate(build, structure, np.empty((0, 3)), np.empty((0, 2)), np.ones((2, 3)))
        assert all((a == 0).all() for a in nothing)
    scratch = functions(build)["mstep_scratch"]
    assert scratch(1, 1, 1) > 0 and scratch(3, 2, 64) < scratch(3, 2, 96) < scratch(4, 2, 96) < scratch(4, 3, 96)


# --- parameters -----------------------------------------------------------------------------------


def statistics(structure, d, K, seed=0):
    """Statistics of enough samples for a covariance of condition number a few."""
    X, means, _, _ = mixture("diag", 20 * d * K + 50, d, K, seed)
    resp = partition(len(X), K, seed) + 0.1
    exact, _ = twin_statistics(structure, X, resp, means)
    return [a.astype(float) for a in exact], means


@builds
@structures
@pytest.mark.parametrize("d", FEATURES)
@pytest.mark.parametrize("K", COMPONENTS)
def test_parameters_agree_with_their_twin(build, structure, d, K):
    (nk, first, second), origins = statistics(structure, d, K)
    for ridge in (np.zeros(d), np.linspace(0.5, 2, d)):
        failed, *found = parameters(build, structure, nk, first, second, origins, ridge)
        expected = twin_parameters(structure, nk, first, second, origins, ridge)
        assert failed == 0
        for value, exact in zip(found, expected):
            # entries of a matrix relative to its largest
            scale = np.abs(exact).max(axis=(-1, -2), keepdims=True) if exact.ndim > 1 else np.abs(exact)
            assert (np.abs(value - exact) <= RTOL * np.maximum(scale, 1)).all()
        if structure in ("full", "tied"):
            _, covariances, chol, _ = found
            np.testing.assert_array_equal(covariances, np.swapaxes(covariances, -1, -2))
            np.testing.assert_array_equal(chol, np.triu(chol))


@builds
@structures
@pytest.mark.parametrize("d", [1, 2, 17])
def test_a_component_without_samples_stays_and_is_reported(build, structure, d):
    (nk, first, second), origins = statistics(structure, d, 3)
    nk[1], first[1] = 0.0, 0.0
    if structure != "tied":
        second[1] = 0.0
    failed, means, covariances, _, log_det = parameters(
        build, structure, nk, first, second, origins, np.zeros(d)
    )
    assert failed == (0 if structure == "tied" else 2)
    np.testing.assert_array_equal(means[1], origins[1])
    assert np.isfinite(means).all() and np.isfinite(covariances).all() and np.isfinite(log_det[[0, 2]]).all()


@builds
@structures
@pytest.mark.parametrize("d", [1, 2, 17])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_what_is_not_positive_definite_is_reported(build, structure, d, value):
    (nk, first, second), origins = statistics(structure, d, 3)
    first[:] = 0.0
    spoilt = second[...] if structure == "tied" else second[2]
    if structure in ("full", "tied"):
        spoilt[d - 1, d - 1] = value
        spoilt[: d - 1, d - 1] = 0.0
    elif structure == "diag":
        spoilt[d - 1] = value
    else:
        second[2] = value
    failed, _, _, _, log_det = parameters(build, structure, nk, first, second, origins, np.zeros(d))
    assert failed == (1 if structure == "tied" else 3)
    # who rescues such components finds them by this
    assert not np.isfinite(log_det[2])


@builds
@structures
def test_a_mass_too_small_to_divide_by(build, structure):
    # 1 / 1e-312 overflows: either the parameters are finite or the component is reported
    d = 2
    (nk, first, second), origins = statistics(structure, d, 1)
    failed, *found = parameters(
        build, structure, nk * 1e-314, first * 1e-314, second * 1e-314, origins, np.full(d, 1e-6)
    )
    assert failed or all(np.isfinite(a).all() for a in found)


@builds
@structures
@pytest.mark.parametrize("d", [1, 3, 17])
def test_outputs_may_lie_on_their_inputs(build, structure, d):
    # the means on the origins and the covariances on the second moments
    (nk, first, second), origins = statistics(structure, d, 2)
    ridge = np.full(d, 0.5)
    _, *expected = parameters(build, structure, nk, first, second, origins, ridge)
    chol, log_det = np.empty_like(second), np.empty(2)
    functions(build)[f"parameters_{structure}"](
        d, 2, nk, first, second, origins, ridge, origins, second, chol, log_det, np.empty(d)
    )
    for a, b in zip((origins, second, chol, log_det), expected):
        np.testing.assert_array_equal(a, b)


# --- properties -----------------------------------------------------------------------------------


shapes = {"n": st.integers(1, 70), "d": st.integers(1, 20), "K": st.integers(1, 6), "seed": seeds}


@builds
@structures
@given(**shapes)
@settings(deadline=None, max_examples=25)
def test_statistics_are_additive_and_blind_to_order(build, structure, n, d, K, seed):
    rng = np.random.default_rng(seed)
    X, origins, _, _ = mixture("diag", n, d, K, seed)
    resp = partition(n, K, seed)
    whole = accumulate(build, structure, X, resp, origins)
    _, magnitudes = twin_statistics(structure, X, resp, origins)
    order, cut = rng.permutation(n), rng.integers(n + 1)
    parts = accumulate(build, structure, X[order[:cut]], resp[order[:cut]], origins)
    parts = accumulate(build, structure, X[order[cut:]], resp[order[cut:]], origins, into=parts)
    assert_statistics(parts, whole, magnitudes, rtol=1e-14)


@builds
@structures
@given(**shapes, power=st.integers(-100, 100))
@settings(deadline=None, max_examples=25)
def test_scaling_by_a_power_of_two_changes_no_bit(build, structure, n, d, K, seed, power):
    X, origins, _, _ = mixture("diag", n, d, K, seed)
    resp = partition(n, K, seed)
    nk, first, second = accumulate(build, structure, X, resp, origins)
    scaled = accumulate(build, structure, np.ldexp(X, power), resp, np.ldexp(origins, power))
    for a, b in zip(scaled, (nk, np.ldexp(first, power), np.ldexp(second, 2 * power))):
        np.testing.assert_array_equal(a, b)


@builds
@structures
@given(d=st.integers(1, 20), K=st.integers(1, 4), seed=seeds, shift=st.floats(-3, 3))
@settings(deadline=None, max_examples=25)
def test_the_origin_does_not_matter(build, structure, d, K, seed, shift):
    X, means, _, _ = mixture("diag", 10 * d + 20, d, K, seed)
    resp = partition(len(X), K, seed) + 0.2
    ridge = np.full(d, 0.1)
    found = [
        parameters(build, structure, *accumulate(build, structure, X, resp, origins), origins, ridge)
        for origins in (means, means + shift)
    ]
    assert found[0][0] == found[1][0] == 0
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(found[0][2], found[1][2], rtol=1e-11, atol=1e-11)


# --- one scatter for all components ---------------------------------------------------------------

# what a variance about the common origin may lose, and the smallest part of it that must be left
REALS = {np.float64: (2.0**-53, 1e-2), np.float32: (2.0**-24, 1e-2)}
reals = pytest.mark.parametrize("real", REALS)


def tied_case(real, n, d, K, spread, seed=0):
    """Samples about the origins of their components, `spread` standard deviations apart."""
    rng = np.random.default_rng([seed, n, d, K])
    origins = rng.normal(scale=spread, size=(K, d)).astype(real)
    label = rng.integers(K, size=n)
    X = (origins[label] + rng.normal(size=(n, d))).astype(real)
    resp = 0.9 * np.eye(K)[label] + 0.01 * rng.dirichlet(np.full(K, 0.5), size=n)
    return X, (resp if spread < 5 else np.eye(K)[label]).astype(real), origins


@functools.cache
def tied_twin(real, n, d, K, spread):
    inputs = tied_case(real, n, d, K, spread)
    return inputs, *twin_statistics("tied", *inputs)


@builds
@reals
@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0, 5.0, 30.0, 1e4])
def test_components_share_a_scatter(build, real, spread):
    eps, left = REALS[real]
    for K in range(1, 10):
        for d in range(1, 10):
            n = (1, 2, 33, 100)[(K + d) % 4]
            inputs, (nk, first, second), (sizes, _, squares) = tied_twin(real, n, d, K, spread)
            found = accumulate(build, "tied", *inputs)
            assert (np.abs(found[0] - nk) <= 4 * eps * sizes).all()
            # first moments are measured from the heaviest component
            X, resp, origins = (a.astype(float) for a in inputs)
            far = np.abs(X - origins[np.argmax(nk)])[:, np.newaxis] + np.abs(X[:, np.newaxis] - origins)
            assert (np.abs(found[1] - first) <= 8 * eps * np.einsum("ik,ikj->kj", resp, far)).all()
            # second moments lose no more than was allowed
            size = np.sqrt(np.outer(np.diag(squares), np.diag(squares)))
            assert (np.abs(found[2] - second) <= 8 * eps / left * size).all(), (K, d)


@builds
@reals
@pytest.mark.parametrize("d", range(1, 10))
def test_far_components_have_their_own_scatters(build, real, d):
    for K in range(2, 10):
        inputs = tied_case(real, 64, d, K, 1e6)
        nk, first, second = accumulate(build, "tied", *inputs)
        # a component alone shares with nobody
        separate = [accumulate(build, "tied", inputs[0], inputs[1][:, [k]], inputs[2][[k]]) for k in range(K)]
        np.testing.assert_array_equal(nk, np.concatenate([a[0] for a in separate]))
        np.testing.assert_array_equal(first, np.concatenate([a[1] for a in separate]))
        total = np.zeros_like(second)
        for a in separate:
            total += a[2]
        np.testing.assert_array_equal(second, total)


@builds
@reals
@pytest.mark.parametrize("d", [1, 3, 4, 5, 9])
def test_empty_components_share_nothing(build, real, d):
    X, resp, origins = tied_case(real, 100, d, 5, 0.5)
    expected = accumulate(build, "tied", X, np.ascontiguousarray(resp[:, [0, 2, 4]]), origins[[0, 2, 4]])
    resp, origins = resp.copy(), origins.copy()
    resp[:, [1, 3]], origins[1], origins[3] = 0.0, 1e6, -1e15
    nk, first, second = accumulate(build, "tied", X, resp, origins)
    assert (nk[[1, 3]] == 0).all() and (first[[1, 3]] == 0).all()
    eps = REALS[real][0]
    np.testing.assert_array_equal(nk[[0, 2, 4]], expected[0])
    np.testing.assert_allclose(first[[0, 2, 4]], expected[1], atol=100 * eps * np.abs(expected[1]).max())
    np.testing.assert_allclose(second, expected[2], atol=100 * eps * np.abs(expected[2]).max())
    nothing = accumulate(build, "tied", X, np.zeros_like(resp), origins)
    assert all((a == 0).all() for a in nothing)


# --- samples that hardly belong to a component ----------------------------------------------------


def sparse_resp(n, K, shares, seed=0):
    """Responsibilities, a part of each column as given by `shares`; the others are below the rounding of anything."""
    rng = np.random.default_rng([seed, n, K])
    resp = 10.0 ** rng.uniform(-300, -60, size=(n, K))
    for k in range(K):
        some = rng.permutation(n)[: round(shares[k % len(shares)] * n)]
        resp[some, k] = rng.uniform(0.01, 1, size=len(some))
    return resp


SHARES = {
    "dense": [1.0],
    "hard": [0.2],
    "mixed": [1.0, 0.02, 0.3, 0.0, 0.6],
    "one sample": [1e-9],
}


@functools.cache
def sparse_case(structure, real, shares, n, d, K):
    X, means, _, _ = mixture("diag", n, d, K)
    resp = sparse_resp(n, K, SHARES[shares]).astype(real)
    if shares == "one sample":
        resp[n // 2] = 1.0
    X, origins = X.astype(real), (means + 0.1).astype(real)
    expected, (sizes, firsts, squares) = twin_statistics(structure, X, resp, origins)
    if structure == "tied":
        # sums about a common origin, see above
        far = np.abs(X[:, np.newaxis] - origins[np.argmax(expected[0])]) + np.abs(X[:, np.newaxis] - origins)
        firsts = np.einsum("ik,ikj->kj", resp, far)
        size = np.sqrt(np.einsum("ik,ikj->j", resp, far**2))
        squares = np.outer(size, size)
    return (X, resp, origins), expected, (sizes, firsts, squares)


@builds
@structures
@reals
@pytest.mark.parametrize("d", [1, 4, 5, 16, 17, 33])
def test_samples_that_do_not_count_are_left_out(build, structure, real, d):
    for shares in SHARES:
        for n, K in ((1, 1), (7, 3), (16, 5), (33, 5), (100, 1), (99, 7)):
            inputs, expected, magnitudes = sparse_case(structure, real, shares, n, d, K)
            found = accumulate(build, structure, *inputs)
            assert_statistics(found, expected, magnitudes, rtol=100 * REALS[real][0])


@builds
@pytest.mark.parametrize("d", [5, 17, 50])
def test_components_do_not_depend_on_their_number(build, d):
    # which samples count is for each component to say
    n, K = 200, 9
    X, means, _, _ = mixture("diag", n, d, K)
    resp = sparse_resp(n, K, SHARES["mixed"])
    together = accumulate(build, "full", X, resp, means)
    for k in range(K):
        alone = accumulate(build, "full", X, np.ascontiguousarray(resp[:, [k]]), means[[k]])
        for a, b in zip(alone, together):
            np.testing.assert_array_equal(a[0], b[k])


@builds
@pytest.mark.parametrize("d", [5, 17, 50])
def test_what_counts_is_relative_to_the_component(build, d):
    # a column without anything, and one with tiny responsibilities alone, a few of them larger
    n = 200
    X, means, _, _ = mixture("diag", n, d, 3)
    resp = np.zeros((n, 3))
    resp[:, 0] = 1.0
    resp[::10, 1] = 1e-200 * np.arange(1, 21)
    expected, magnitudes = twin_statistics("full", X, resp, means)
    found = accumulate(build, "full", X, resp, means)
    assert_statistics(found, expected, magnitudes)
    assert found[0][1] > 0 and (np.diag(found[2][1]) > 0).all() and (found[2][2] == 0).all()
    # in a later block, what is nothing beside the mass so far adds nothing, and what is something does
    later = accumulate(build, "full", X, resp * [1, 1e150, 0], means, into=tuple(a.copy() for a in found))
    assert (later[2][1] > found[2][1]).any()
    np.testing.assert_array_equal(
        accumulate(build, "full", X, resp * [0, 1e-150, 0], means, into=tuple(a.copy() for a in later))[2], later[2]
    )


@builds
@pytest.mark.parametrize("d", [5, 17, 50])
@pytest.mark.parametrize("column", [0, 1])
def test_what_is_not_a_number_is_not_left_out(build, d, column):
    X, means, _, _ = mixture("diag", 100, d, 2)
    resp = sparse_resp(100, 2, [0.05])
    resp[41, column] = np.nan
    nk, first, second = accumulate(build, "full", X, resp, means)
    for a in (nk, first, np.einsum("kjj->kj", second)):
        assert np.isnan(a[column]).all() and np.isfinite(a[1 - column]).all()


# --- bits -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not {"v3", "v4"} <= set(BUILDS), reason="needs two builds with fused multiply-add")
@structures
@pytest.mark.parametrize("d", [*FEATURES, 9, 10, 11, 12, 13, 17, 32])
def test_the_same_bits_at_every_vector_width(structure, d):
    shapes = [(n, 5) for n in SAMPLES] + [((15, 16, 17, 31, 32, 64, 65)[K % 7], K) for K in range(1, 14)]
    for n, K in shapes:
        X, means, _, _ = mixture("diag", n, d, K)
        for resp in (partition(n, K, kind="hard" if n == 33 else "soft"), sparse_resp(n, K, SHARES["mixed"])):
            inputs = X, resp, means + 0.1
            for a, b in zip(accumulate("v3", structure, *inputs), accumulate("v4", structure, *inputs)):
                np.testing.assert_array_equal(a, b)
    found, origins = statistics(structure, d, 2)
    ridge = np.full(d, 0.1)
    for a, b in zip(*(parameters(build, structure, *found, origins, ridge) for build in ("v3", "v4"))):
        np.testing.assert_array_equal(a, b)
