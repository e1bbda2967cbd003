"""Other compiled packages build on the kernels: packages in tests/embedding, the table in gaussum.h, integrands."""

import ctypes
import gc
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import mpmath
import numpy as np
import pytest
from scipy import LowLevelCallable, integrate, stats

import gaussum
from gaussum import BayesianGaussianMixture, GaussianMixture, KernelDensity, embed, likelihood, parallel
from gaussum.kernels import densities as compiled
from gaussum.mixture_pass import MixturePass
from gaussum.samples import Samples
from kernel_access import BUILDS, LONG, STRUCTURES, Guarded, second_shape
from kernel_access import functions as of_build

EXAMPLES = Path(__file__).parent / "embedding"
HEADER = Path(gaussum.get_include()) / "gaussum.h"
F = embed.functions()
CODES = embed.STRUCTURES


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


# --- the table ------------------------------------------------------------------------------------


def fields(struct):
    """The fields of a struct in gaussum.h, in order, as they are written there."""
    text = HEADER.read_text()
    body = re.search(rf"typedef struct {struct} \{{(.*?)\n\}} {struct};", text, flags=re.S)[1]
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    return [re.sub(r"\s+", " ", field).replace("( ", "(").strip() for field in body.split(";") if field.strip()]


STRUCTS = ("gaussum_api", "gaussum_line", "gaussum_mixture", "gaussum_kernel_density")


def test_the_interface_is_what_was_released():
    """A line may be appended to gaussum_api; whatever else changes here needs another version (see gaussum.h)."""
    version = re.search(r"#define GAUSSUM_ABI_VERSION (\d+)", HEADER.read_text())[1]
    found = [f"version {version}"] + [f"{struct}: {field}" for struct in reversed(STRUCTS) for field in fields(struct)]
    assert found == (EXAMPLES / "abi.txt").read_text().splitlines()


def table():
    """The words of the table that gaussum holds."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    address = pointer(gaussum._C_API, b"gaussum._C_API")
    size = ctypes.c_ssize_t.from_address(address + ctypes.sizeof(ctypes.c_ssize_t)).value
    return list((ctypes.c_ssize_t * (size // ctypes.sizeof(ctypes.c_ssize_t))).from_address(address))


def test_the_table_holds_the_functions_that_the_header_names():
    entries = fields("gaussum_api")
    words = table()
    assert entries[:2] == ["ptrdiff_t abi_version", "ptrdiff_t size"]
    assert words[:2] == [1, len(words) * ctypes.sizeof(ctypes.c_ssize_t)] and len(words) == len(entries)
    names = [re.search(r"\(\*(\w+)\)", entry)[1] for entry in entries[2:]]
    assert sorted(names) == sorted(F)
    for name, word in zip(names, words[2:]):
        assert word == ctypes.cast(F[name], ctypes.c_void_p).value, name


def test_header_and_cython_declarations_agree():
    """Types and names of the arguments, in the table, in the installed .pxd files and in the compiled modules."""
    kernels = Path(gaussum.__file__).parent / "kernels"
    declared = {}
    for module in embed.MODULES:
        text = re.sub(r"#.*", "", (kernels / f"{module}.pxd").read_text())
        for result, name, arguments in re.findall(
            r"^cdef (\w+) (\w+)\(([^)]*)\) noexcept nogil", text, flags=re.M
        ):
            arguments = ", ".join(argument.strip() for argument in arguments.split(",") if argument.strip())
            declared[name] = f"{result} (*{name})({arguments})".replace("Py_ssize_t", "ptrdiff_t")
    assert declared == {re.search(r"\(\*(\w+)\)", entry)[1]: entry for entry in fields("gaussum_api")[2:]}


@pytest.mark.parametrize("struct, mirror", [
    ("gaussum_line", embed._Line), ("gaussum_mixture", embed._Mixture), ("gaussum_kernel_density", embed._KernelDensity)
])
def test_user_data_are_laid_out_as_in_the_header(struct, mirror):
    spelling = {ctypes.c_ssize_t: "ptrdiff_t ", ctypes.c_int: "int "}
    for field, (name, kind) in zip(fields(struct), mirror._fields_, strict=True):
        kinds = ("const double *", "double *") if kind is ctypes.c_void_p else (spelling[kind],)
        assert field in [kind + name for kind in kinds]


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


# --- integrands -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def densities(x):
    sample = x[::20]
    return [
        KernelDensity(0.4, rtol=0.0).fit(sample),
        KernelDensity("scott").fit(sample, sample_weight=np.arange(len(sample)) % 3),
        *(GaussianMixture(3, covariance_type=s, random_state=0).fit(sample) for s in STRUCTURES),
        BayesianGaussianMixture(2, random_state=0, tol=1e-3).fit(sample),
    ]


def log_density(density, t):
    if not isinstance(density, BayesianGaussianMixture):
        return density.score_samples([t])[0]
    scales = density.covariances_.ravel() ** 0.5        # what its own score is a little below
    return np.logaddexp.reduce(np.log(density.weights_) + stats.norm(density.means_.ravel(), scales).logpdf(t))


def test_integrands_on_a_line(densities):
    for density in densities:
        integrand = {kind: embed.low_level_callable(density, kind) for kind in embed.KINDS}
        assert integrand["cdf"].signature == "double (double, void *)"

        def value(kind, t):
            return F[f"line_{kind}"](t, integrand[kind].user_data)

        for t in (-3.0, 0.2, 4.0, 55.0, -1e4):
            assert value("log_density", t) == pytest.approx(log_density(density, t), rel=1e-9, abs=2e-6)
            assert value("density", t) == pytest.approx(np.exp(value("log_density", t)), rel=1e-14)
            at = np.array([t, 7.0, 8.0])
            for kind in embed.KINDS:
                assert F[f"line_{kind}_at"](3, at.ctypes, integrand[kind].user_data) == value(kind, t)
        for a, b in ((-60, 0.0), (-1.0, 2.5), (3.0, 60)):
            mass, error = integrate.quad(integrand["density"], a, b, epsabs=1e-12, epsrel=1e-11, limit=500)
            assert mass == pytest.approx(value("cdf", b) - value("cdf", a), abs=1e-9)
        assert value("sf", 1.5) == pytest.approx(1 - value("cdf", 1.5), rel=1e-12)
        assert value("cdf", -np.inf) == value("sf", np.inf) == 0 and value("cdf", np.inf) == pytest.approx(1, rel=1e-12)
        assert value("density", np.inf) == 0 and value("log_density", -np.inf) == -np.inf
        assert all(np.isnan(value(kind, np.nan)) for kind in embed.KINDS)
        assert np.isnan(F["line_cdf_at"](0, None, integrand["cdf"].user_data))


def test_integrands_with_further_arguments(densities):
    """quad passes (x, *args) to the second form, which looks at x alone."""
    for density in densities[:3]:
        data = embed.low_level_callable(density, "cdf").user_data
        second = LowLevelCallable.from_cython(compiled, "line_density_at", data)
        mass = integrate.quad(second, -1.0, 2.0, args=(5.0, 6.0))[0]
        assert mass == pytest.approx(F["line_cdf"](2.0, data) - F["line_cdf"](-1.0, data), abs=1e-9)


def test_tails_of_distribution_functions():
    mixture = GaussianMixture(1, random_state=0).fit(np.random.default_rng(0).normal(size=400))
    mean, scale = mixture.means_[0, 0], mixture.covariances_.ravel()[0] ** 0.5
    for kind, sign in (("cdf", -1), ("sf", 1)):
        data = embed.low_level_callable(mixture, kind).user_data
        for z in (5, 20, 37):
            truth = float(mpmath.erfc(mpmath.mpf(z) / mpmath.sqrt(2)) / 2)
            assert F[f"line_{kind}"](mean + sign * z * scale, data) == pytest.approx(truth, rel=1e-11)


def test_more_sources_than_a_chunk_holds():
    x = np.random.default_rng(0).normal(size=1001)
    kde = KernelDensity(0.01, rtol=0.0).fit(x)
    data = embed.low_level_callable(kde, "log_density").user_data
    for t in (0.0, 3.5, -30.0, 500.0):
        assert F["line_log_density"](t, data) == pytest.approx(kde.score_samples([t])[0], rel=1e-12)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_integrands_of_several_features(structure, faithful):
    faithful = stats.zscore(faithful)
    for density in (GaussianMixture(2, covariance_type=structure, random_state=0), KernelDensity("scott", rtol=0.0)):
        density.fit(faithful)
        name = "mixture" if isinstance(density, GaussianMixture) else "kernel"
        logs = embed.low_level_callable(density, "log_density")
        assert logs.signature == "double (int, double *, void *)"
        for point in ([0.3, 0.7, 1.0], [-1.0, -1.2, 1.0], [400.0, -1e3, 1.0]):
            at = np.array(point)
            found = F[f"{name}_log_density_at"](3, at.ctypes, logs.user_data)
            assert found == pytest.approx(density.score_samples([point[:2]])[0], rel=1e-10)
        assert np.isnan(F[f"{name}_log_density_at"](1, at.ctypes, logs.user_data))
        for kind in ("cdf", "sf"):
            with pytest.raises(ValueError, match=f"kind is '{kind}', but there are 2 features"):
                embed.low_level_callable(density, kind)
    mixture = GaussianMixture(2, covariance_type=structure, random_state=0).fit(faithful)
    options = {"epsabs": 1e-6, "epsrel": 1e-6}
    mass = integrate.nquad(embed.low_level_callable(mixture), [[-7, 7], [-7, 7]], opts=[options, options])[0]
    assert mass == pytest.approx(1, abs=1e-4)


def test_a_bandwidth_a_source():
    x, factors = np.array([0.0, 1.0, 5.0]), np.array([0.5, 1.0, 2.0])
    kde = type("Local", (KernelDensity,), {"local_factors_": factors})(0.3).fit(x)
    integrand = embed.low_level_callable(kde)
    for t in (0.1, 4.0):
        expected = stats.norm(x, 0.3 * factors).pdf(t).mean()
        assert F["line_density"](t, integrand.user_data) == pytest.approx(expected, rel=1e-12)


def test_a_matrix_as_bandwidth():
    rng = np.random.default_rng(0)
    X, H = rng.normal(1e4, 1, (500, 3)), np.array([[1.0, 0.9, 0.2], [0.9, 1.0, 0.1], [0.2, 0.1, 0.3]])
    kde = KernelDensity(1.0).fit(X, sample_weight=rng.random(500))
    kde.bandwidth_ = H
    data = embed.low_level_callable(kde, "log_density").user_data
    for point in (X[0], X[1] + 3, X[2] - 300):
        logs = [stats.multivariate_normal(s, H).logpdf(point) for s in X]
        expected = np.logaddexp.reduce(logs + np.log(kde.source_weights_))
        assert F["kernel_log_density_at"](3, point.ctypes, data) == pytest.approx(expected, rel=1e-9)


def test_integrands_keep_their_data_and_copy_it():
    x = np.random.default_rng(0).normal(size=300)
    kde = KernelDensity(0.3).fit(x)
    integrand = embed.low_level_callable(kde)
    before = integrate.quad(integrand, -1, 1)
    kde.fit(x + 5)
    del kde
    gc.collect()
    junk = [np.full(300, 7.0) for _ in range(100)]
    assert integrate.quad(integrand, -1, 1) == before and junk


def test_integrands_refuse():
    with pytest.raises(TypeError, match="estimator is int; expected"):
        embed.low_level_callable(3)
    with pytest.raises(gaussum.NotFittedError):
        embed.low_level_callable(KernelDensity())
    with pytest.raises(ValueError, match="kind is 'pdf'; expected"):
        embed.low_level_callable(KernelDensity(1.0).fit([0.0, 1.0]), "pdf")
    with pytest.raises(TypeError, match="mixture is KernelDensity; expected"):
        embed.parameters(KernelDensity(1.0).fit([0.0, 1.0]))
    with pytest.raises(gaussum.NotFittedError):
        embed.parameters(GaussianMixture())


@pytest.mark.parametrize("name, value, said", [
    ("kernel", "tophat", "kernel='tophat'"), ("bounds", (0, 1), "bounds"),
    ("local_factors_", np.ones(2), "local bandwidths"), ("adaptive", "balloon", "local bandwidths"),
])
def test_kernel_densities_of_other_kinds_are_refused(name, value, said):
    kde = KernelDensity(1.0).fit([[0.0, 1.0], [1.0, 2.0]])
    embed.low_level_callable(kde)
    kde = type("Other", (KernelDensity,), {name: value})(1.0).fit([[0.0, 1.0], [1.0, 2.0]])
    kde.__dict__[name] = value
    with pytest.raises(ValueError, match=said):
        embed.low_level_callable(kde)


def test_training_data_refuses_what_a_fit_refuses():
    for bad in ([[np.nan]], [], [[1.0, np.inf]]):
        with pytest.raises(ValueError, match="X"):
            embed.training_data(bad)
    with pytest.raises(ValueError, match="reg_covar is -1"):
        embed.training_data([1.0, 2.0], reg_covar=-1)
    X, w, ridge = embed.training_data(np.ones((2, 4), dtype=np.float32)[:, ::2], [3.0, 4.0])
    assert X.dtype == w.dtype == np.float64 and X.flags.c_contiguous and X.shape == (2, 2) and ridge.shape == (2,)


# --- numba ----------------------------------------------------------------------------------------


def test_numba_calls_the_functions():
    numba = pytest.importorskip("numba")
    exp_array = F["exp_array"]

    @numba.njit
    def softmax(a):
        exp_array(a.size, (a - a.max()).ctypes, a.ctypes)
        return a / a.sum()

    a = np.array([1.0, 2.0, 30.0, -1e3])
    expected = np.exp(a - a.max()) / np.exp(a - a.max()).sum()
    np.testing.assert_allclose(softmax(a.copy()), expected, rtol=1e-14)

    # by address, from the modules that Cython knows
    from numba.extending import get_cython_function_address

    kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_void_p)
    cdf = kind(get_cython_function_address("gaussum.kernels.densities", "line_cdf"))
    kde = KernelDensity(0.5).fit([0.0, 1.0, 2.0])
    data = embed.low_level_callable(kde, "cdf").user_data

    @numba.njit
    def interval(low, high, address):
        return cdf(high, address) - cdf(low, address)

    assert interval(-1.0, 1.0, data.value) == F["line_cdf"](1.0, data) - F["line_cdf"](-1.0, data)


# --- packages of others ---------------------------------------------------------------------------


def build(name, folder, tools, command):
    """Build one of the examples in a copy and import it from `folder`, or skip."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    compilers = os.environ.get("CC", "cc").split()[:1] + ["gcc", "clang", "cl"]
    if not any(shutil.which(compiler, path=path) for compiler in compilers):
        pytest.skip("there is no C compiler")
    for tool in tools:
        if shutil.which(tool, path=path) is None:
            pytest.skip(f"{tool} is not on the path")
    source = folder / "source" / name
    shutil.copytree(EXAMPLES / name, source)
    target = folder / "installed"
    target.mkdir(exist_ok=True)
    result = subprocess.run(
        [sys.executable, *command(str(source), str(target))], cwd=source, env=os.environ | {"PATH": path},
        capture_output=True, text=True, timeout=300,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return target


def by_pip(source, target):
    return ["-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--no-index",
            "--disable-pip-version-check", "--target", target, source]


def by_setuptools(source, target):
    return ["setup.py", "-q", "build_ext", "-b", target]


def imported(module, folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    return __import__(module)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="module")
def meson_em(folder):
    pytest.importorskip("mesonpy")
    return build("meson_em", folder / "a", ["meson", "ninja", "cython"], by_pip)


@pytest.fixture(scope="module")
def plain_c(folder):
    pytest.importorskip("setuptools")
    return build("plain_c", folder / "b", [], by_setuptools)


@pytest.fixture(scope="module")
def setuptools_smooth(folder):
    pytest.importorskip("setuptools")
    pytest.importorskip("Cython")
    return build("setuptools_smooth", folder / "c", [], by_setuptools)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("n, d, K, weighted", [
    (20_000, 1, 4, False), (5000, 3, 3, True), (1500, 20, 4, False), (900, 33, 2, True), (3, 2, 2, False),
])
def test_em_of_another_package_has_the_same_bits(structure, n, d, K, weighted, meson_em, monkeypatch):
    em = imported("threaded_em", meson_em, monkeypatch).em
    rng = np.random.default_rng(n + d)
    X = rng.normal(size=(n, d)) + 4 * rng.integers(0, 3, size=(n, 1)) * rng.random(d)
    w = rng.exponential(7, size=n) * (rng.random(n) > 0.1) if weighted else None
    mixture = GaussianMixture(K, covariance_type=structure, accelerate=False, max_iter=1, tol=0.0, random_state=0,
                              warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code, start = embed.parameters(mixture.fit(X, sample_weight=w))
        mixture.set_params(max_iter=4).fit(X, sample_weight=w)
    samples, sample_weight, ridge = embed.training_data(X, w)
    for n_threads in (1, 2, 3, 7):
        parameters = start.copy()
        with parallel.single_threaded_blas():
            covariances, log_likelihoods = em(
                samples, code, parameters, K, ridge, sample_weight, mixture.n_iter_, n_threads
            )
        assert (parameters[:K] == mixture.weights_).all()
        assert (parameters[2 * K : 2 * K + K * d] == mixture.means_.ravel()).all()
        assert (covariances == mixture.covariances_.ravel()).all()
        assert (parameters[2 * K + K * d :] == mixture.precisions_cholesky_.ravel()).all()
        assert len(log_likelihoods) == mixture.n_iter_ and np.isfinite(log_likelihoods).all()
    with pytest.raises(ValueError, match="do not fit"):
        em(samples, code, parameters[1:].copy(), K, ridge)


def test_a_c_extension_computes_log_densities(plain_c, monkeypatch, faithful):
    module = imported("plain_c", plain_c, monkeypatch)
    mixture = GaussianMixture(3, random_state=0).fit(faithful)
    X, out = np.ascontiguousarray(faithful), np.empty(len(faithful))
    module.log_density(X, mixture.weights_, mixture.means_, mixture.covariances_, out)
    np.testing.assert_allclose(out, mixture.score_samples(X), rtol=1e-12)
    with pytest.raises(ValueError, match="covariance 0 is not positive definite"):
        module.log_density(X, mixture.weights_, mixture.means_, -mixture.covariances_, out)
    with pytest.raises(ValueError, match="do not fit"):
        module.log_density(X, mixture.weights_, mixture.means_[:2], mixture.covariances_, out)


FAKE = """
import ctypes, sys
import gaussum
sys.path.insert(0, {folder!r})
new = ctypes.pythonapi.PyCapsule_New
new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
table = (ctypes.c_ssize_t * 1000)({version}, {size})
gaussum._C_API = new(ctypes.addressof(table), {name!r}, None)
{more}
try:
    import plain_c
except Exception as error:
    print(type(error).__name__, error)
else:
    print("imported")
"""


@pytest.mark.parametrize("version, size, said", [
    (1, 8000, "imported"),
    (2, 8000, "ImportError .*version 1 of gaussum's C interface, but .*has version 2: compile the extension again"),
    (0, 8000, "ImportError .*version 1 of gaussum's C interface, but .*has version 0: install a newer gaussum"),
    (1, 64, r"ImportError .*of \d+ bytes, but .* has only 64: install a newer gaussum"),
])
def test_another_version_or_size_is_refused(version, size, said, plain_c):
    code = FAKE.format(folder=str(plain_c), version=version, size=size, name=b"gaussum._C_API", more="")
    result = python(code)
    assert re.fullmatch(said, result.stdout.strip()), result.stdout + result.stderr


def test_a_gaussum_without_a_table_is_refused(plain_c):
    code = FAKE.format(folder=str(plain_c), version=1, size=8000, name=b"other", more="")
    assert re.match("(AttributeError|ImportError) .*gaussum", python(code).stdout)
    code = FAKE.format(folder=str(plain_c), version=1, size=8000, name=b"other", more="del gaussum._C_API")
    assert re.match("(AttributeError|ImportError) .*_C_API", python(code).stdout)


def test_kernel_regression_of_another_package(setuptools_smooth, monkeypatch):
    smooth = imported("smooth", setuptools_smooth, monkeypatch).smooth
    rng = np.random.default_rng(0)
    S, T, h = rng.uniform(0, 5, (600, 2)), rng.uniform(0, 5, (50, 2)), np.array([0.3, 0.4])
    T[0] = 1e3                                      # where every Gaussian underflows, the nearest source decides
    y = np.sin(S[:, 0]) + S[:, 1]
    a = -0.5 * (((T[:, None, :] - S) / h) ** 2).sum(axis=2)
    g = np.exp(a - a.max(axis=1, keepdims=True))
    np.testing.assert_allclose(smooth(S, y, T, h), g @ y / g.sum(axis=1), rtol=1e-9)
    assert smooth(S, y, T[:0], h).shape == (0,)


@pytest.mark.parametrize("compiler, standard, suffix", [
    ("gcc", "c11", "c"), ("clang", "c11", "c"), ("g++", "c++11", "cpp"), ("clang++", "c++17", "cpp")
])
@pytest.mark.parametrize("without", [False, True])
def test_the_header_compiles_without_warnings(compiler, standard, suffix, without, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    import sysconfig

    source = tmp_path / f"one.{suffix}"
    text = "#define GAUSSUM_WITHOUT_PYTHON\n" if without else "#include <Python.h>\n"
    text += "#include <gaussum.h>\n#include <gaussum.h>\n"
    text += "double f(double *x, void *line);\n"
    text += "double f(double *x, void *line) { gaussum->exp_array(1, x, x); return gaussum->line_cdf(x[0], line); }\n"
    text += "void h(const gaussum_api *table);\nvoid h(const gaussum_api *table) { gaussum_use(table); }\n"
    if not without:
        text += "int g(void);\nint g(void) { return gaussum_import(); }\n"
    source.write_text(text)
    folders = ["-I", gaussum.get_include(), "-isystem", sysconfig.get_paths()["include"]]
    result = subprocess.run(
        [compiler, f"-std={standard}", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only", *folders, source],
        capture_output=True, text=True, timeout=60,
    )
    assert result.returncode == 0, result.stderr


def test_importing_gaussum_does_not_import_this():
    known = "'gaussum.embed' in sys.modules"
    assert python(f"import sys, gaussum; print({known}, bool(gaussum.embed), {known})").stdout == "False True True\n"
