"""exp and log of simd_math.h, to one unit in the last place over the whole range of doubles; their short forms; floats.

Two ways in: the header itself, compiled here for each instruction set that this processor runs (where there
is a C compiler), and the kernels, which reach exp for every x <= 0 and log for every x > 0 (everywhere).
"""

import ctypes
import functools
import math
import shutil
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest

from gaussum.samples import Samples
from gaussum.sum_pass import KernelSumPass
from kernel_access import BUILDS, HEADER, LONG, gauss_log_sum

FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
MARCH = {"baseline": [], "v3": ["-march=x86-64-v3"], "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"]}
# not the gcc of Windows, which aligns wide registers on the stack badly
COMPILER = None if sys.platform == "win32" else shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
WRAPPER = """
#include "simd_math.h"
void array_exp(const double *x, double *y, long n) { for (long i = 0; i < n; i++) y[i] = simd_exp(x[i]); }
void array_log(const double *x, double *y, long n) { for (long i = 0; i < n; i++) y[i] = simd_log(x[i]); }
void array_exp_nonpositive(const double *x, double *y, long n)
    { for (long i = 0; i < n; i++) y[i] = simd_exp_nonpositive(x[i]); }
void array_expf_nonpositive(const float *x, float *y, long n)
    { for (long i = 0; i < n; i++) y[i] = simd_expf_nonpositive(x[i]); }
void array_logf(const float *x, float *y, long n) { for (long i = 0; i < n; i++) y[i] = simd_logf(x[i]); }
"""
SINGLE = {"expf_nonpositive": np.exp, "logf": np.log}
REFERENCE = {"exp": mpmath.exp, "log": mpmath.log}
TINY = 2.0**-1022  # the smallest normal number
LEAST = 2.0**-1074  # the smallest number
LARGEST = np.finfo(float).max
OVERFLOW = float.fromhex("0x1.62e42fefa39efp+9")  # the largest x with a finite exp(x)
BITS = 64 if np.finfo(LONG).nmant >= 63 else 53

compiled = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


# --- the functions under test ---------------------------------------------------------------------


@functools.cache
def library(build, folder):
    source = folder / f"simd_{build}.c"
    source.write_text(WRAPPER)
    target = source.with_suffix(".so")
    command = [COMPILER, *FLAGS, *MARCH[build], "-std=c11", "-shared", "-fPIC", f"-I{Path(HEADER).parent}"]
    subprocess.run([*command, str(source), "-o", str(target), "-lm"], check=True, capture_output=True)
    return ctypes.CDLL(str(target))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("simd")


def call_library(build, folder, function, x):
    x = np.ascontiguousarray(x, dtype=np.float32 if function in SINGLE else np.float64)
    y = np.empty_like(x)
    pointers = ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data)
    getattr(library(build, folder), f"array_{function}")(*pointers, ctypes.c_long(x.size))
    return y


@pytest.fixture(params=BUILDS)
def header(request, folder):
    """(function, x) -> function(x) by the header, as a loop that the compiler vectorises."""
    return functools.partial(call_library, request.param, folder)


def kernel_exp(build, x):
    """exp(x) for x <= 0, through log weights of coinciding sources and targets."""
    zeros = np.zeros((1, 1))
    state = np.zeros(1), np.zeros(1)
    return np.array([gauss_log_sum(build, zeros, np.array([a]), zeros, np.ones(1), state)[1][0] for a in x])


def pass_log(x):
    """log(x) for x > 0, as the density of one source of that weight where it stands."""
    one, zero, out = np.ones(1), np.zeros((1, 1)), np.empty(1)
    logs = []
    for weight in x:
        # below 1e-270 the pass takes another way: the log weight
        log_weight = np.full(1, math.log(weight))
        sums = KernelSumPass(zero, np.array([weight]), log_weight, one, Samples(zero), 32, 1)
        sums.log_density(0, 1, out, np.empty(sums.scratch_size))
        logs.append(out[0])
    return np.array(logs)


# --- errors in units of the last place ------------------------------------------------------------


def ulps(y, high, low):
    """|y - (high + low)| in units of the last place; high is the nearest double, low what is left."""
    toward_zero = np.nextafter(np.abs(high), 0.0)
    ulp = np.where(np.sign(high) * np.sign(low) < 0, np.abs(high) - toward_zero, np.spacing(np.abs(high)))
    return np.abs((LONG(1) * y - high) - low) / ulp


@functools.cache
def _exact(function, points):
    with mpmath.workprec(160):
        values = [REFERENCE[function](mpmath.mpf(x)) for x in points]
        high = [_nearest(v) for v in values]
        low = [_long(v - h) for v, h in zip(values, high)]
    return np.array(high), np.array(low)


def _long(value):
    # what is left of a subnormal result has no double
    mantissa, exponent = mpmath.frexp(value)
    return np.ldexp(LONG(float(mantissa)), int(exponent))


def _nearest(value):
    # mpmath rounds to subnormal doubles by truncation: scaled to integers it is exact
    if abs(value) < mpmath.mpf(2) ** -1000:
        return float(mpmath.nint(mpmath.ldexp(value, 1074))) * LEAST
    return float(value)


def worst(function, x, y):
    """The largest error over finite results, against mpmath, and where."""
    high, low = _exact(function, tuple(np.asarray(x).tolist()))
    errors = ulps(y, high, low)
    i = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    return float(errors[i]), float(x[i])


def candidates(function, x, y, count=500):
    """The points where y is worst by the extended precision of the C library: few enough for mpmath."""
    long = getattr(np, function)(x.astype(LONG))
    high = long.astype(float)
    with np.errstate(invalid="ignore"):
        errors = ulps(y, high, long - high)
    return x[np.argsort(np.where(np.isnan(errors), np.inf, errors))[-count:]]


def check(function, call, x, limit=1.0):
    error, where = worst(function, x, call(function, x))
    assert error <= limit, f"{function}({where.hex()}) is off by {error} ulp"
    return error


# --- where to look --------------------------------------------------------------------------------


def exp_points(n=3000):
    rng = np.random.default_rng(1)
    binades = np.ldexp(rng.uniform(1, 2, 60 * 40), np.repeat(np.arange(-51, 9), 40))
    binades = binades[binades <= OVERFLOW]
    steps = np.arange(-1076, 1025) * math.log(2)
    return np.concatenate(
        [
            rng.uniform(-745.2, OVERFLOW, n),
            binades,
            -binades,
            rng.uniform(-1, 1, n),
            rng.uniform(-745.2, -708.3, n),  # subnormal results
            OVERFLOW - np.arange(100) * np.spacing(OVERFLOW),
            rng.uniform(709, OVERFLOW, n // 10),
            steps[(steps > -745.2) & (steps < OVERFLOW)],  # near powers of two
            (steps[:-1] + steps[1:])[200:-200] / 2,  # where the reduction changes sides
            [LEAST, -LEAST, TINY, -TINY, 1e-300, -1e-17, 2.0**-53, -(2.0**-53), -(2.0**-54)],
        ]
    )


def log_points(n=3000):
    rng = np.random.default_rng(2)
    near_one = 1 + rng.integers(-(2**30), 2**30, n) * 2.0**-53
    root = math.sqrt(0.5) + np.arange(-200, 200) * 2.0**-53
    powers = np.ldexp(1.0, np.arange(-1074, 1024))
    return np.concatenate(
        [
            np.ldexp(rng.uniform(1, 2, 2046 * 3), np.repeat(np.arange(-1022, 1024), 3)),
            rng.integers(1, 2**52, n) * LEAST,
            np.arange(1, 200) * LEAST,  # subnormal numbers
            np.ldexp(rng.uniform(1, 2, 52 * 20), np.repeat(np.arange(-1074, -1022), 20)),
            rng.uniform(0.5, 2, n),
            near_one,
            1 - np.arange(300) * 2.0**-53,
            1 + np.arange(300) * 2.0**-52,
            root,
            2 * root,
            4 * root,
            powers,
            np.nextafter(powers, np.inf),
            np.nextafter(powers[1:], 0),
            [LARGEST, TINY, np.nextafter(TINY, 0), LEAST, np.e, 1 / np.e],
        ]
    )


# The worst of nearly 10^8 random points, for one order of operations or another, some of them above 1 ulp.
HARD = {
    "exp": [
        "-0x1.3e5282faca29ep+9",
        "0x1.1e730fb5ce673p+9",
        "-0x1.3c5f1bd95ebcep+8",
        "0x1.7474a51b263f6p-2",
        "-0x1.d8613a76665f4p+8",
        "0x1.a0f0f78f65d47p+8",
        "0x1.cf6266c512d5ap+8",
        "0x1.60cfdb821c96ap+7",
    ],
    "log": [
        "0x1.69e60df8dc9d5p-1",
        "0x1.6a04d21391749p-1",
        "0x1.69d5e945e2555p-1",
        "0x1.66d8fcc4fd12bp+0",
        "0x1.48395a49cf3d9p+0",
        "0x1.69fde330a7f09p+0",
        "0x1.67b491d270ee3p-2",
        "0x1.69fb519e447e7p-1",
    ],
}


# --- tests through the header ---------------------------------------------------------------------


@compiled
def test_exp_is_within_one_ulp(header):
    check("exp", header, exp_points())


@compiled
def test_log_is_within_one_ulp(header):
    check("log", header, log_points())


@compiled
@pytest.mark.skipif(BITS < 64, reason="long double is no wider than double")
def test_the_worst_of_many(header):
    rng = np.random.default_rng(3)
    powers = rng.integers(-1000, 1000, 800_000) * math.log(2)
    for x in (
        rng.uniform(-0.5, 0.5, 400_000),
        rng.uniform(-745.2, OVERFLOW, 400_000),
        rng.uniform(-745.2, -708, 100_000),
        powers + rng.uniform(-0.3466, -0.30, 800_000),  # results of large mantissas, least slack
        powers + rng.uniform(0.30, 0.3466, 800_000),
    ):
        check("exp", header, candidates("exp", x, header("exp", x)))
    bits = rng.integers(1, int(np.array(LARGEST).view(np.int64)), 400_000)
    for x in (
        rng.uniform(0.5, 2, 400_000),
        rng.uniform(0.69, 0.7072, 400_000),  # log 2 and log m cancel most
        1 + rng.uniform(-0.02, 0.02, 400_000),
        bits.view(np.float64),
    ):
        check("log", header, candidates("log", x, header("log", x)))


@compiled
@pytest.mark.parametrize("function", ["exp", "log"])
def test_the_hardest_points(header, function):
    check(function, header, np.array([float.fromhex(x) for x in HARD[function]]))


@compiled
def test_special_values_of_exp(header):
    x = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1000.0, -1000.0, LARGEST, -LARGEST, 1e308, -1e4]
    )
    expected = [1.0, 1.0, np.inf, 0.0, np.nan, np.nan, np.inf, 0.0, np.inf, 0.0, np.inf, 0.0]
    np.testing.assert_array_equal(header("exp", x), expected)
    assert not np.signbit(header("exp", [-np.inf, -1000.0, -746.0])).any()


@compiled
def test_the_edges_of_exp(header):
    above = np.nextafter(OVERFLOW, np.inf)
    values = header("exp", [OVERFLOW, above, 709.79, 710.0, np.nextafter(710.0, 800), 720.0])
    assert np.isfinite(values[0]) and (values[1:] == np.inf).all()
    # half the least number is at -745.1332191019412: the nearest result above it is LEAST, below it 0
    values = header("exp", [-744.4400719213812, -745.13, -745.1332, -745.14, -746.0, -749.9, -750.0, -751.0])
    np.testing.assert_array_equal(values, [LEAST, LEAST, LEAST, 0.0, 0.0, 0.0, 0.0, 0.0])


@compiled
def test_special_values_of_log(header):
    x = np.array([1.0, 0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, -1.0, -LEAST, -TINY, -LARGEST])
    expected = [0.0, -np.inf, -np.inf, np.inf] + 7 * [np.nan]
    np.testing.assert_array_equal(header("log", x), expected)
    assert not np.signbit(header("log", [1.0]))[0]


@compiled
def test_every_length_and_neighbour(header):
    # the scalar remainder of a vectorised loop gives what the vector part gives; a NaN stays where it is
    x = np.random.default_rng(4).uniform(-700, 700, 67)
    for n in range(1, 68):
        np.testing.assert_array_equal(header("exp", x[:n]), header("exp", x)[:n])
        np.testing.assert_array_equal(header("log", np.abs(x[:n])), header("log", np.abs(x))[:n])
    spoilt = x.copy()
    spoilt[5::7] = np.nan
    np.testing.assert_array_equal(header("exp", spoilt), np.where(np.isnan(spoilt), np.nan, header("exp", x)))


@compiled
@pytest.mark.parametrize("function", ["exp", "log"])
def test_monotone_where_it_matters(header, function):
    # neither function may step down by more than its rounding between neighbouring arguments
    for center in (1e-3, 0.3465, 0.7071067811865476, 1.0, 1.4142135623730951, 20.0, 700.0):
        x = center + np.arange(-2000, 2000) * np.spacing(center)
        y = header(function, x)
        assert (np.diff(y) >= -np.spacing(np.abs(y[1:]))).all()


@compiled
@pytest.mark.skipif(
    not {"v3", "v4"} <= set(BUILDS), reason="needs two sets of instructions with fused multiply-add"
)
@pytest.mark.parametrize("function", ["exp", "log"])
def test_the_same_bits_at_every_vector_width(function, folder):
    x = np.abs(exp_points())
    np.testing.assert_array_equal(
        call_library("v3", folder, function, x), call_library("v4", folder, function, x)
    )


# --- e^x of x <= 0 alone, and floats --------------------------------------------------------------

# Every float from -87 to 0, and every normal one, was tried: the worst errors in ulp without and with fused operations.
FLOAT_ULPS = {"expf_nonpositive": (1.236, 0.977), "logf": (0.918, 0.871)}
FLOAT_HARD = {
    "expf_nonpositive": ["-0x1.4caa8ap+2", "-0x1.86ed5ep+5"],
    "logf": ["0x1.681a8ep-1", "0x1.678b3ep-1", "0x1.681a8ep+0", "0x1.5bbfa2p+1"],
}
FLT_MIN, FLT_MAX = (float(getattr(np.finfo(np.float32), name)) for name in ("tiny", "max"))


@compiled
def test_exp_of_what_is_not_positive_is_within_one_ulp(header):
    x = exp_points()
    x = np.concatenate([x[(x <= 0) & (x >= -708)], np.nextafter(-708, [0, -708]), [-LEAST, -TINY, -1e-310, -0.0]])
    check("exp", lambda _, x: header("exp_nonpositive", x), x)
    if BITS < 64:
        return
    rng = np.random.default_rng(3)
    for x in (rng.uniform(-708, 0, 400_000), rng.uniform(-1, 0, 400_000)):
        check(
            "exp",
            lambda _, x: header("exp_nonpositive", x),
            candidates("exp", x, header("exp_nonpositive", x)),
        )


@compiled
def test_special_values_of_exp_of_what_is_not_positive(header):
    x = [0.0, -0.0, -LEAST, -TINY, -1e-300, np.nextafter(-708, -709), -709, -745, -1e4, -LARGEST, -np.inf, np.nan]
    np.testing.assert_array_equal(header("exp_nonpositive", x), 5 * [1.0] + 6 * [0.0] + [np.nan])
    assert header("exp_nonpositive", [-708.0])[0] >= TINY
    assert not np.signbit(header("exp_nonpositive", x[:-1])).any()


def float_points(function, n=400_000):
    rng = np.random.default_rng(5)
    if function == "logf":
        bits = rng.integers(0x00800000, 0x7F7FFFFF, n).astype(np.uint32)
        near = 1 + np.arange(-2000, 2000) * 2.0**-24
        x = [bits.view(np.float32), rng.uniform(0.5, 2, n), rng.uniform(1, 1000, n), near, [FLT_MIN, FLT_MAX]]
    else:
        binades = -np.ldexp(rng.uniform(1, 2, n // 10), rng.integers(-149, 6, n // 10))
        steps = np.arange(-125, 1) * math.log(2)
        x = [rng.uniform(-87, 0, n), rng.uniform(-1, 0, n), binades, steps, (steps[1:] + steps[:-1]) / 2, [-87.0]]
    hard = [float.fromhex(x) for x in FLOAT_HARD[function]]
    return np.concatenate([*x, hard], dtype=np.float32, casting="same_kind")


def float_ulps(y, exact):
    """|y - exact| in units of the last place of a normal float of that size."""
    ulp = np.ldexp(1.0, np.frexp(exact)[1] - 24)
    return np.abs(y - exact) / np.where(exact == 0, 2.0**-149, ulp)


@compiled
@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("function", SINGLE)
def test_floats_are_within_their_bound(function, build, folder):
    x = float_points(function)
    y = call_library(build, folder, function, x)
    errors = float_ulps(y, SINGLE[function](x.astype(float)))
    assert errors.max() <= FLOAT_ULPS[function][build != "baseline"], x[np.argmax(errors)]


@compiled
def test_special_values_of_floats(header):
    x = np.array([0.0, -0.0, -FLT_MIN, -(2.0**-149), -1e-30, -87.0001, -88, -103, -1e30, -FLT_MAX, -np.inf, np.nan])
    y = header("expf_nonpositive", x)
    np.testing.assert_array_equal(y, 5 * [1.0] + 6 * [0.0] + [np.nan])
    assert header("expf_nonpositive", [-87.0])[0] >= FLT_MIN and not np.signbit(y[:-1]).any()
    np.testing.assert_array_equal(header("logf", [1.0, 0.0, -0.0, np.nan]), [0.0, -np.inf, -np.inf, np.nan])
    assert not np.signbit(header("logf", [1.0]))[0]
    np.testing.assert_array_equal(
        header("logf", [FLT_MIN, FLT_MAX]), np.log(np.float64([FLT_MIN, FLT_MAX])).astype(np.float32)
    )


@compiled
@pytest.mark.parametrize("function", ["exp_nonpositive", *SINGLE])
def test_every_length_of_the_short_forms(header, function):
    x = np.random.default_rng(4).uniform(0.5, 80, 67)
    x = x if function == "logf" else -x
    whole = header(function, x)
    for n in range(1, 68):
        np.testing.assert_array_equal(header(function, x[:n]), whole[:n])
    spoilt = x.copy()
    spoilt[5::7] = np.nan
    np.testing.assert_array_equal(header(function, spoilt), np.where(np.isnan(spoilt), np.nan, whole))


@compiled
@pytest.mark.skipif(
    not {"v3", "v4"} <= set(BUILDS), reason="needs two sets of instructions with fused multiply-add"
)
@pytest.mark.parametrize("function", ["exp_nonpositive", *SINGLE])
def test_the_same_bits_of_the_short_forms(function, folder):
    x = float_points("logf" if function == "logf" else "expf_nonpositive", 20_000)
    np.testing.assert_array_equal(
        call_library("v3", folder, function, x), call_library("v4", folder, function, x)
    )


def test_the_flags_are_those_of_the_build():
    source = Path(__file__).parent.parent / "meson.build"
    text = source.read_text()
    for flag in [*FLAGS, *sum(MARCH.values(), [])]:
        assert f"'{flag}'" in text
    assert "-ffast-math'" not in text and "-Ofast" not in text


# --- tests through the kernels, which need no compiler --------------------------------------------


@pytest.mark.parametrize("build", BUILDS)
def test_exp_inside_a_kernel(build):
    x = exp_points(600)
    x = np.concatenate([x[(x <= 0) & (x >= -708)][::4], np.linspace(-708, -700, 400)])
    check("exp", lambda _, x: kernel_exp(build, x), x)
    np.testing.assert_array_equal(
        kernel_exp(build, [0.0, -0.0, -708.5, -1e4, -1e300, -np.inf]), [1, 1, 0, 0, 0, 0]
    )


def test_log_inside_a_pass():
    x = log_points(600)[::3]
    check("log", lambda _, x: pass_log(x), x)
    check("log", lambda _, x: pass_log(x), np.array([LARGEST, 1.0, LEAST, TINY, 1e-270, 0.9999999e-270]))
