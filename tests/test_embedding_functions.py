"""The functions that other compiled packages call, against NumPy, SciPy and mpmath."""

import mpmath
import numpy as np
import pytest
from scipy import stats

from gaussum import GaussianMixture, embed, likelihood, parallel
from gaussum.mixture_pass import MixturePass
from gaussum.samples import Samples
from kernel_access import BUILDS, LONG, STRUCTURES, Guarded, second_shape
from kernel_access import functions as of_build

F = embed.functions()
CODES = embed.STRUCTURES


# --- sizes ----------------------------------------------------------------------------------------


def test_blocks_and_parts_are_those_of_the_passes():
    rng = np.random.default_rng(0)
    for _ in range(300):
        structure = STRUCTURES[rng.integers(4)]
        n, d, K = (int(10 ** rng.uniform(0, high)) for high in (5, 2, 2))
        X = np.broadcast_to(0.0, (n, d))
        parts = parallel.n_parts(n, likelihood.seconds(n, d, K, structure))
        compute = MixturePass(Samples(X), structure, K, None, parts, np.zeros(d))
        shape = CODES[structure], d, K
        assert F["part_size"](*shape, n) == compute.part_size, (structure, n, d, K)
        assert F["part_size"](*shape, n) % F["block_size"](*shape) == 0
        assert F["statistics_size"](*shape) == compute.statistics_size
        assert F["parameters_size"](*shape) == compute.parameters_size
        assert F["second_size"](*shape) == np.prod(second_shape(structure, K, d))


def test_parts_of_many_samples():
    rng = np.random.default_rng(1)
    for _ in range(2000):
        structure = STRUCTURES[rng.integers(4)]
        n, d, K = (int(10 ** rng.uniform(0, high)) for high in (10, 3, 3))
        parts = parallel.n_parts(n, likelihood.seconds(n, d, K, structure))
        block = F["block_size"](CODES[structure], d, K)
        assert F["part_size"](CODES[structure], d, K, n) == -(-(-(-n // parts)) // block) * block
    assert F["part_size"](0, 1, 1, 0) == F["block_size"](0, 1, 1) > 0


@pytest.mark.parametrize("name", ["second_size", "parameters_size", "statistics_size", "block_size", "mixture_scratch"])
def test_an_unknown_structure_has_no_size(name):
    assert [F[name](structure, 2, 3) for structure in (-1, 4)] == [-1, -1]
    assert F["part_size"](4, 2, 3, 100) == F["block_scratch"](4, 2, 3, 64) == -1


# --- mixtures -------------------------------------------------------------------------------------


def random_mixture(structure, K, d, seed=0):
    rng = np.random.default_rng(seed)
    weights, means = rng.dirichlet(np.ones(K)), rng.normal(0, 3, (K, d))
    roots = rng.normal(size=(1 if structure == "tied" else K, d, 2 * d + 2))
    covariances = np.einsum("kij,klj->kil", roots, roots) / d
    if structure == "tied":
        return weights, means, covariances[0]
    if structure == "diag":
        return weights, means, np.einsum("kii->ki", covariances).copy()
    return weights, means, covariances if structure == "full" else np.einsum("kii->k", covariances) / d


def matrices(structure, covariances, K, d):
    if structure == "tied":
        return [covariances] * K
    if structure == "full":
        return list(covariances)
    return [np.diag(np.broadcast_to(c, d)) for c in covariances]


def flat_parameters(structure, weights, means, covariances):
    """By mixture_from_covariances, nothing written beyond the buffer."""
    guard, (K, d) = Guarded(), means.shape
    buffer = guard.array(F["parameters_size"](CODES[structure], d, K))
    failed = F["mixture_from_covariances"](
        CODES[structure], d, K, *(guard.read(a).ctypes for a in (weights, means, covariances)), buffer.ctypes
    )
    guard.check()
    return failed, buffer


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("K, d, n", [(1, 1, 1), (3, 1, 200), (4, 2, 1500), (5, 17, 300), (2, 40, 70)])
def test_log_densities_and_responsibilities(structure, K, d, n):
    weights, means, covariances = random_mixture(structure, K, d)
    failed, buffer = flat_parameters(structure, weights, means, covariances)
    assert failed == 0
    rng = np.random.default_rng(1)
    wide = rng.normal(0, 3, (n, 2 * d + 1))
    wide[0] *= 1e4                          # far from every component
    X = wide[:, 1::2]                       # strides: every other number of a row
    log_prob = np.stack([
        np.log(w) + np.atleast_1d(stats.multivariate_normal(m, S).logpdf(X))
        for w, m, S in zip(weights, means, matrices(structure, covariances, K, d))
    ], axis=1)
    expected = np.logaddexp.reduce(log_prob, axis=1)
    guard, shape = Guarded(), (CODES[structure], d, K)
    log_density, again, resp = guard.array(n), guard.array(n), guard.array((n, K))
    scratch = guard.array(F["mixture_scratch"](*shape))
    samples = n, X.ctypes, X.strides[0] // 8, 2, guard.freeze(buffer).ctypes
    F["mixture_log_density"](*shape, *samples, log_density.ctypes, scratch.ctypes)
    F["mixture_responsibilities"](*shape, *samples, resp.ctypes, again.ctypes, scratch.ctypes)
    guard.check()
    np.testing.assert_allclose(log_density, expected, rtol=1e-9)
    np.testing.assert_allclose(resp, np.exp(log_prob - expected[:, None]), rtol=1e-6, atol=1e-9)
    assert (again == log_density).all() and np.isfinite(log_density).all()
    F["mixture_responsibilities"](*shape, *samples, resp.ctypes, None, scratch.ctypes)
    # one sample alone, and no sample at all
    F["mixture_log_density"](*shape, 1, *samples[1:], again.ctypes, scratch.ctypes)
    assert again[0] == log_density[0]
    F["mixture_log_density"](*shape, 0, None, *samples[2:], None, scratch.ctypes)
    guard.check()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_parameters_of_covariances(structure):
    weights, means, covariances = random_mixture(structure, 3, 4)
    failed, buffer = flat_parameters(structure, weights, means, covariances)
    chol = buffer[6 + 12 :].reshape(second_shape(structure, 3, 4))
    assert failed == 0 and (buffer[:3] == weights).all() and (buffer[6:18] == means.ravel()).all()
    for k, S in enumerate(matrices(structure, covariances, 3, 4)):
        if structure in ("full", "tied"):
            U = chol[k] if structure == "full" else chol
        else:
            U = np.diag(np.broadcast_to(chol[k], 4))
        np.testing.assert_allclose(U @ U.T @ S, np.eye(4), atol=1e-10)
        assert (np.tril(U, -1) == 0).all()
        assert buffer[3 + k] == pytest.approx(-0.5 * np.linalg.slogdet(S)[1], abs=1e-12)
    bad = covariances.copy()
    bad.reshape(1 if structure == "tied" else 3, -1)[-1] *= -1
    assert flat_parameters(structure, weights, means, bad)[0] == (1 if structure == "tied" else 3)
    X = np.random.default_rng(0).normal(size=(500, 4))
    fitted = GaussianMixture(3, covariance_type=structure, random_state=0).fit(X)
    code, ours = embed.parameters(fitted)
    _, again = flat_parameters(structure, fitted.weights_, fitted.means_, fitted.covariances_)
    assert code == CODES[structure]
    np.testing.assert_allclose(again, ours, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_statistics_merge_and_maximize(structure):
    K, d, n = 3, 2, 3000
    rng = np.random.default_rng(2)
    X, w = rng.normal(0, 4, (n, d)), rng.exponential(size=n) * (rng.random(n) > 0.2)
    weights, means, covariances = random_mixture(structure, K, d)
    _, buffer = flat_parameters(structure, weights, means, covariances)
    shape, size = (CODES[structure], d, K), F["statistics_size"](CODES[structure], d, K)
    resp, log_density = np.empty((n, K)), np.empty(n)
    scratch = np.empty(F["mixture_scratch"](*shape))
    F["mixture_responsibilities"](
        *shape, n, X.ctypes, d, 1, buffer.ctypes, resp.ctypes, log_density.ctypes, scratch.ctypes
    )
    guard = Guarded()
    total, spare = guard.array(size, 0.0), guard.array(scratch.size)
    for start, stop in ((0, 1000), (1000, 1001), (1001, n)):
        own = guard.array(size, 0.0)
        F["mixture_statistics"](
            *shape, stop - start, X[start:].ctypes, d, 1, w[start:].ctypes, buffer.ctypes, own.ctypes, spare.ctypes
        )
        F["merge_statistics"](size, own.ctypes, total.ctypes)
    guard.check()
    r = w[:, None] * resp
    deltas = X[:, None, :] - means
    second = np.einsum("ik,ikj,ikl->kjl", r, deltas, deltas)
    if structure == "full":
        second = np.triu(second)
    elif structure == "tied":
        second = np.triu(second.sum(axis=0))
    else:
        second = np.einsum("kjj->kj" if structure == "diag" else "kjj->k", second)
    first = np.einsum("ik,ikj->kj", r, deltas)
    expected = [[w @ log_density, w.sum()], r.sum(axis=0), first.ravel(), second.ravel()]
    np.testing.assert_allclose(total, np.concatenate(expected), rtol=1e-10, atol=1e-9)

    ridge = np.array([0.3, 0.7])
    new, fitted = guard.array(buffer.size), guard.array(F["second_size"](*shape))
    failed = F["mixture_maximize"](
        *shape, guard.freeze(total).ctypes, buffer[2 * K :].ctypes, ridge.ctypes, new.ctypes, fitted.ctypes,
        spare.ctypes,
    )
    guard.check()
    nk = r.sum(axis=0)
    np.testing.assert_allclose(new[:K], nk / nk.sum(), rtol=1e-12)
    centres = (r.T @ X) / nk[:, None]
    np.testing.assert_allclose(new[2 * K : 2 * K + K * d], centres.ravel(), rtol=1e-10)
    scatters = [((X - m).T * r[:, k]) @ (X - m) + np.diag(ridge) for k, m in enumerate(centres)]
    expected = {
        "full": lambda: np.array(scatters) / nk[:, None, None],
        "tied": lambda: sum(scatters) / nk.sum() - np.diag(ridge) * (K - 1) / nk.sum(),
        "diag": lambda: np.array([np.diag(S) for S in scatters]) / nk[:, None],
        "spherical": lambda: np.array([np.trace(S) for S in scatters]) / nk / d,
    }[structure]()
    assert failed == 0
    np.testing.assert_allclose(fitted, expected.ravel(), rtol=1e-9, atol=1e-12)


def test_maximize_says_which_component_failed():
    total, origins, ridge = np.array([0.0, 2.0, 1.0, 1.0, 0.0, 0.0, 4.0, 0.0]), np.zeros(2), np.zeros(1)
    new, covariances, scratch = np.empty(8), np.empty(2), np.empty(F["mixture_scratch"](2, 1, 2))
    call = total.ctypes, origins.ctypes, ridge.ctypes, new.ctypes, covariances.ctypes, scratch.ctypes
    for structure in (0, 2, 3):
        assert F["mixture_maximize"](structure, 1, 2, *call) == 2
    assert F["mixture_maximize"](9, 1, 2, *call) == -1


# --- sums -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("d, n, m", [(1, 1, 1), (1, 700, 300), (2, 513, 40), (5, 300, 257), (30, 20, 33)])
def test_sums(d, n, m):
    rng = np.random.default_rng(d)
    S, T, w, h = rng.normal(size=(n, d)), rng.normal(size=(d, m)), rng.normal(size=n), rng.uniform(0.5, 2, d) * d**0.5
    T[:, -1] = 1e3
    guard = Guarded()
    sums, logs, scratch = guard.array(m, 1.0), guard.array(m), guard.array(F["sum_scratch"](d))
    log_w = np.log(np.abs(w))
    data = guard.read(S).ctypes, d, 1
    targets = m, guard.read(T).ctypes, 1, m, guard.read(h).ctypes      # feature by feature
    F["gaussian_sum"](d, n, *data, guard.read(w).ctypes, *targets, sums.ctypes, scratch.ctypes)
    F["gaussian_log_sum"](d, n, *data, guard.read(log_w).ctypes, *targets, logs.ctypes, scratch.ctypes)
    guard.check()
    z = (T.T.astype(LONG)[:, None, :] - S) / h
    exponents = -0.5 * (z**2).sum(axis=2)
    exact = (np.exp(exponents) * w).sum(axis=1)
    scale = (np.exp(exponents) * np.abs(w)).sum(axis=1)
    assert (np.abs(sums - 1.0 - exact) <= 1e-13 * scale + 3e-16 * n).all()
    a = exponents + log_w
    top = a.max(axis=1)
    np.testing.assert_allclose(logs, (top + np.log(np.exp(a - top[:, None]).sum(axis=1))).astype(float), rtol=1e-12,
                               atol=1e-12)
    assert logs[-1] < -1e3
    # weights of one
    F["gaussian_log_sum"](d, n, *data, None, *targets, logs.ctypes, scratch.ctypes)
    top = exponents.max(axis=1)
    expected = top + np.log(np.exp(exponents - top[:, None]).sum(axis=1))
    np.testing.assert_allclose(logs, expected.astype(float), rtol=1e-12, atol=1e-12)
    # each target by itself; then nobody
    own = np.empty(1)
    for t in {0, m // 2, m - 1}:
        F["gaussian_log_sum"](
            d, n, *data, None, 1, np.ascontiguousarray(T[:, t]).ctypes, d, 1, h.ctypes, own.ctypes, scratch.ctypes
        )
        assert own[0] == logs[t]
    F["gaussian_log_sum"](d, 0, None, d, 1, None, *targets, logs.ctypes, scratch.ctypes)
    assert (logs == -np.inf).all()
    before = sums.copy()
    F["gaussian_sum"](d, 0, None, d, 1, None, *targets, sums.ctypes, scratch.ctypes)
    F["gaussian_sum"](d, n, *data, None, 0, None, *targets[2:], None, scratch.ctypes)
    assert (sums == before).all()
    guard.check()


def test_sums_take_what_is_not_a_number_for_what_it_is():
    S, T, h = np.zeros((3, 1)), np.array([np.nan, np.inf, 1e300, 0.0]), np.ones(1)
    logs, scratch = np.empty(4), np.empty(F["sum_scratch"](1))
    F["gaussian_log_sum"](
        1, 3, S.ctypes, 1, 1, None, 4, T.ctypes, 1, 1, h.ctypes, logs.ctypes, scratch.ctypes
    )
    assert np.isnan(logs[0]) and (logs[1:3] == -np.inf).all() and logs[3] == pytest.approx(np.log(3))


# --- exp and log ----------------------------------------------------------------------------------


@pytest.mark.parametrize("build", BUILDS)
def test_exp_and_log_of_arrays(build):
    f, rng = of_build(build), np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-745, 709, 500), rng.normal(size=500), [0.0, -np.inf, np.inf, np.nan, -1e9, 800]])
    for name, exact, values in (("exp_array", mpmath.exp, x), ("log_array", mpmath.log, np.exp(x[:1000]))):
        guard = Guarded()
        out = guard.array(values.size)
        f[name](values.size, guard.read(values), out)
        guard.check()
        finite = np.isfinite(values) & np.isfinite(out) & (values > -745)
        truth = np.array([float(exact(mpmath.mpf(v))) if ok else 0.0 for v, ok in zip(values, finite)])
        assert (np.abs(out - truth)[finite] <= np.spacing(np.abs(truth[finite]))).all()
        # in place, and each by itself
        same = guard.copy(values)
        f[name](same.size, same, same)
        np.testing.assert_array_equal(same, out)
        for i in (0, 500, values.size - 1):
            f[name](1, values[i : i + 1], same)
            np.testing.assert_array_equal(same[0], out[i])
    out, ends = np.empty(5), np.array([0.0, -1.0, np.inf, np.nan, 5e-324])
    f["log_array"](5, ends, out)
    np.testing.assert_array_equal(out[:4], [-np.inf, np.nan, np.inf, np.nan])
    assert out[4] == pytest.approx(-744.4400719213812, rel=1e-15)
    f["exp_array"](4, ends, out)
    np.testing.assert_array_equal(out[[0, 2, 3]], [1.0, np.inf, np.nan])
