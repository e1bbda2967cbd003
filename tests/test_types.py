"""Types: what mypy reads of the package is there, is installed, and is true."""

import importlib
import importlib.machinery
import subprocess
import sys
from pathlib import Path

import pytest

import gaussum

ROOT = Path(__file__).parent.parent
INSTALLED = Path(gaussum.__file__).parent
STUBS = sorted(path.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*.pyi"))

# A program with types of its own; an ignored error has to be one.
PROGRAM = """
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import gaussum
from gaussum import GaussianMixture, KernelDensity, OutlierDetector, functions

X = np.zeros((10, 2))
mixture = GaussianMixture(2, covariance_type="diag", random_state=0).fit(X, sample_weight=[1.0] * 10)
assert_type(mixture, GaussianMixture)
assert_type(mixture.score_samples(X), NDArray[np.float64])
assert_type(mixture.means_, NDArray[np.float64])
assert_type(mixture.predict(X), NDArray[np.intp])
assert_type(mixture.score(X), float)
mixture.fit(X, smaple_weight=None)  # type: ignore[call-arg]

kde = KernelDensity("auto", n_threads=2).fit([[0.0, 1.0], [2.0, 3.0]])
assert_type(kde, KernelDensity)
assert_type(kde.score_samples([[0.0, 0.0]]), NDArray[np.float64])
assert_type(OutlierDetector(kde).fit(X), OutlierDetector)

assert_type(functions.log_density(X, *mixture_of_arrays), NDArray[np.float64])
parameters, log_likelihood = functions.em_step(X, *mixture_of_arrays)
assert_type(parameters.means, NDArray[np.float64])
assert_type(log_likelihood, float)

assert_type(gaussum.bandwidth.scott(X), NDArray[np.float64])
assert_type(gaussum.select_mixture(X, range(1, 3)), gaussum.SelectionResult)
assert_type(gaussum.SufficientStatistics("full", X) + gaussum.SufficientStatistics("full", X),
            gaussum.SufficientStatistics)
assert_type(gaussum.get_include(), str)
gaussum.embed.functions()
gaussum.plot.density(kde)
gaussum.polt  # type: ignore[attr-defined]
""".replace("*mixture_of_arrays", "[1.0], [[0.0, 0.0]], [[1.0, 1.0]], \"diag\"")


def run(module, *arguments):
    """The output of a check that finds nothing wrong."""
    pytest.importorskip("mypy")
    result = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("mypy")


def test_the_package_is_strictly_typed(cache):
    run("mypy", "--strict", "--cache-dir", cache, "src/gaussum")


def test_a_program_is_checked_against_it(cache, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    run("mypy", "--strict", "--cache-dir", cache, tmp_path / "program.py")


def test_what_is_installed_is_as_the_types_say():
    out = run("mypy.stubtest", "gaussum", "--allowlist", "tests/stubtest.txt", "--mypy-config-file", "pyproject.toml")
    # it has looked at compiled modules and others
    assert out.startswith("Success: no issues found in ") and int(out.split()[5]) > len(STUBS) + 50


def test_the_types_are_installed():
    assert (INSTALLED / "py.typed").exists()
    assert STUBS
    for stub in STUBS:
        assert (INSTALLED.parent / stub).read_text() == (ROOT / "src" / stub).read_text()


def test_every_compiled_module_has_a_stub():
    suffixes, stubs = tuple(importlib.machinery.EXTENSION_SUFFIXES), {stub.with_suffix("") for stub in STUBS}
    modules = {
        path.relative_to(INSTALLED.parent).with_name(path.name.split(".")[0])
        for path in INSTALLED.rglob("*") if path.name.endswith(suffixes)
    }
    assert stubs <= modules
    for module in modules - stubs:
        # builds of kernels have nothing but C functions
        assert module.name.startswith("_"), module
        names = vars(importlib.import_module(".".join(module.parts)))
        assert all(name.startswith("__") for name in names), module
