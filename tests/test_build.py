"""The builds of the kernels: what there is, which one runs, and that all of them have the same faces."""

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gaussum
from gaussum.kernels import dispatch
from kernel_access import BUILDS, INFO, signatures

INSTALLED = Path(gaussum.__file__).parent / "kernels"
SOURCES = Path(__file__).parent.parent / "src" / "gaussum" / "kernels"
KNOWN = ["v4", "v3", "baseline"]
CPUINFO = Path("/proc/cpuinfo")

FIT = """
import json, sys, numpy as np, gaussum
rng = np.random.default_rng(5)
X = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(4, 2, (300, 2))])
results = {"build": gaussum.build_info()["build"], "plots": "matplotlib" in sys.modules}
for structure in ("full", "tied", "diag", "spherical"):
    model = gaussum.GaussianMixture(2, covariance_type=structure, random_state=0).fit(X)
    results[structure] = model.score(X) * len(X)
wide = np.concatenate([rng.normal(0, 1, (300, 17)), rng.normal(4, 2, (300, 17))])
results["wide"] = gaussum.GaussianMixture(2, random_state=0).fit(wide).score(wide) * len(wide)
results["single"] = gaussum.GaussianMixture(2, random_state=0).fit(X.astype(np.float32)).score(X) * len(X)
results["kde"] = gaussum.KernelDensity(0.3).fit(X).score(X)
print(json.dumps(results))
"""


def python(code, build=None):
    environment = {name: value for name, value in os.environ.items() if name != dispatch.VARIABLE}
    environment["OMP_NUM_THREADS"] = "1"
    if build is not None:
        environment[dispatch.VARIABLE] = build
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


# --- what there is --------------------------------------------------------------------------------


def test_build_info():
    info = gaussum.build_info()
    assert set(info) == {"compiler", "builds", "runnable", "build"}
    assert re.fullmatch(r"(gcc|clang) \d+\..*|msvc|unknown", info["compiler"])
    assert info["build"] in info["builds"] and info["build"] in info["runnable"]
    for key in ("builds", "runnable"):
        assert "baseline" in info[key]
        # best first, without repetition
        assert info[key] == [build for build in KNOWN if build in info[key]]
    json.dumps(info)
    # what is handed out is a copy
    info["builds"].clear()
    assert gaussum.build_info()["builds"]


@pytest.mark.skipif(not CPUINFO.exists(), reason="no /proc/cpuinfo")
def test_runnable_is_what_the_system_says_of_the_processor():
    lines = re.findall(r"^flags\s*:(.*)$", CPUINFO.read_text(), flags=re.M)
    flags = set(lines[0].split()) if lines and platform.machine() == "x86_64" else set()
    # abm is LZCNT; a flag is missing where the system does not save the registers
    v3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "popcnt", "sse4_2"}
    v4 = v3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    expected = [name for name, needed in (("v4", v4), ("v3", v3)) if needed <= flags]
    assert INFO["runnable"] == [*expected, "baseline"]


def test_every_build_has_every_kernel():
    for kernel in [*dispatch.KERNELS, "estep_single", "mstep_single", "gauss_sum_single"]:
        for build in INFO["builds"]:
            assert list(INSTALLED.glob(f"_{kernel}_{build}.*")), (kernel, build)


def test_the_chosen_build_takes_the_plain_name():
    for kernel in dispatch.KERNELS:
        assert sys.modules[f"gaussum.kernels.{kernel}"] is dispatch.kernel_module(kernel, dispatch.BUILD)


def test_the_files_that_others_cimport_are_installed():
    headers = ["vec.h", "simd_math.h"]
    inline = ["lanes.pxd", "lapack.pxd", "moments.pxd", "real.pxd", "tiles.pxd", "vec.pxd"]
    for name in [f"{kernel}.pxd" for kernel in dispatch.KERNELS] + inline + headers:
        assert (INSTALLED / name).read_text() == (SOURCES / name).read_text()
    assert not list(INSTALLED.glob("*.pyx"))


# --- which one runs -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def default():
    result = python(FIT)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_without_a_word_the_best_runs(default):
    assert default["build"] == BUILDS[0]
    assert not default["plots"], "import gaussum loads matplotlib"


@pytest.mark.parametrize("build", BUILDS)
def test_a_forced_build_runs_and_agrees(build, default):
    result = python(FIT, build)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["build"] == build
    for name in ("full", "tied", "diag", "spherical", "wide", "kde"):
        assert found[name] == pytest.approx(default[name], rel=1e-10)
    assert found["single"] == pytest.approx(default["single"], rel=1e-7)
    assert found["single"] == pytest.approx(found["full"], rel=1e-6)


def test_an_empty_variable_forces_nothing(default):
    result = python("import gaussum; print(gaussum.build_info()['build'])", "")
    assert result.stdout.strip() == default["build"]


@pytest.mark.parametrize("bad", ["v5", "V3", "fast", " v3"])
def test_a_bad_value_is_an_import_error_that_names_the_variable(bad):
    result = python("import gaussum", bad)
    assert result.returncode == 1
    last = result.stderr.strip().split("\n")[-1]
    assert last.startswith("ImportError") and "GAUSSUM_BUILD" in last and repr(bad) in last
    assert all(build in last for build in BUILDS)


def test_choose(monkeypatch):
    monkeypatch.setattr(dispatch._cpu, "runnable", lambda: ["baseline"])
    assert dispatch.choose() == dispatch.choose("") == dispatch.choose("baseline") == "baseline"
    with pytest.raises(ImportError, match="GAUSSUM_BUILD='v4'.*: baseline$"):
        dispatch.choose("v4")


# --- the same faces -------------------------------------------------------------------------------


def declarations(path):
    """{function: (result, [(type, name, comment)], ending)} of the public C functions in a .pxd or .pyx."""
    found = {}
    pattern = r"^cdef (?:api )?(void|double|Py_ssize_t) (\w+)\(\n(.*?)^\) (noexcept nogil)"
    for result, name, body, ending in re.findall(pattern, path.read_text(), flags=re.M | re.S):
        arguments = re.findall(r"^ +(.+?) ?(\*?)(\w+), +# (.*)$", body, flags=re.M)
        assert len(arguments) == len(body.strip().split("\n")), (path, name)
        found[name] = (
            result,
            [(kind + star, argument, note) for kind, star, argument, note in arguments],
            ending,
        )
    return found


def c_signature(result, arguments):
    spelling = {"double": "double", "real": "gaussum_real", "Py_ssize_t": "Py_ssize_t"}
    spelling = {f"{const}{kind}*": f"{name}{const and ' const'} *" for kind, name in spelling.items()
                for const in ("", "const ")}
    return f"{result} ({', '.join(spelling.get(kind, kind) for kind, _, _ in arguments)})"


@pytest.mark.parametrize("kernel", dispatch.KERNELS)
def test_pxd_and_pyx_and_capsules_agree(kernel):
    declared = declarations(INSTALLED / f"{kernel}.pxd")
    assert declared
    assert declared == declarations(SOURCES / f"{kernel}.pyx")
    expected = {name: c_signature(result, arguments) for name, (result, arguments, _) in declared.items()}
    for build in BUILDS:
        assert signatures(kernel, build) == expected, build


@pytest.mark.parametrize("kernel", dispatch.KERNELS)
def test_every_argument_says_what_it_is(kernel):
    for name, (_, arguments, _) in declarations(INSTALLED / f"{kernel}.pxd").items():
        for kind, argument, note in arguments:
            assert re.match(r"(IN|OUT|INOUT|SCRATCH)\b", note), (name, argument)
            if kind.startswith("const"):
                assert note.startswith("IN "), (name, argument)
            elif kind.endswith("*"):
                assert re.match(r"(OUT|INOUT|SCRATCH) \(", note), (name, argument)
