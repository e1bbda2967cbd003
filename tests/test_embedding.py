"""Other compiled packages build on the kernels: packages in tests/embedding, the table in gaussum.h, numba."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path

import numpy as np
import pytest

import gaussum
from gaussum import GaussianMixture, KernelDensity, embed, parallel
from kernel_access import STRUCTURES

EXAMPLES = Path(__file__).parent / "embedding"
HEADER = Path(gaussum.get_include()) / "gaussum.h"
F = embed.functions()


def python(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120
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
    (600, 259, 2, True),
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
