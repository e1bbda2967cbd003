"""vec.h: registers by named functions. What they give is what numbers give one by one, in the same order, so that the
registers of every instruction set and the plain form for compilers without them agree bit by bit.
"""

import ctypes
import functools
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from kernel_access import BUILDS, HEADER

# not the gcc of Windows, which aligns wide registers on the stack badly
COMPILERS = [path for path in map(shutil.which, ("gcc", "clang")) if path and sys.platform != "win32"]
MARCH = {"baseline": [], "v3": ["-march=x86-64-v3"], "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"]}
STRICT = ["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-shared", "-fPIC"]
FORMS = {"registers": [], "portable": ["-DGAUSSUM_PORTABLE_VEC"]}
REALS = {np.float64: [], np.float32: ["-DGAUSSUM_SINGLE"]}
SOURCE = """
#include "vec.h"
#include <stddef.h>

int reals(void) { return VEC_REALS; }
int lanes(void) { return LANES; }
int fused_is_one_rounding(void) { return GAUSSUM_FMA; }

/* n is a multiple of SPAN */
#define EACH for (ptrdiff_t i = 0; i < n; i += VEC_REALS)
#define A vec_load(a + i)
#define B vec_load(b + i)
#define C vec_load(c + i)
#define FUNCTION(name, expression)                                                                              \\
    void name(ptrdiff_t n, const gaussum_real *a, const gaussum_real *b, const gaussum_real *c, gaussum_real *out) \\
    {                                                                                                           \\
        (void)a, (void)b, (void)c;                                                                              \\
        EACH vec_store(out + i, expression);                                                                    \\
    }
FUNCTION(add, vec_add(A, B))
FUNCTION(sub, vec_sub(A, B))
FUNCTION(mul, vec_mul(A, B))
FUNCTION(multiply_add, vec_fused(A, B, C))
FUNCTION(larger, vec_max(A, B))
FUNCTION(spread, vec_all(a[i]))

void exps(ptrdiff_t n, const gaussum_real *a, const gaussum_real *b, const gaussum_real *c, gaussum_real *out)
{
    (void)b, (void)c;
    for (ptrdiff_t i = 0; i < n; i += SPAN) {
        vec x[SPAN_VECS];
        for (int k = 0; k < SPAN_VECS; k++)
            x[k] = vec_load(a + i + k * VEC_REALS);
        vec_exp_nonpositive(x);
        for (int k = 0; k < SPAN_VECS; k++)
            vec_store(out + i + k * VEC_REALS, x[k]);
    }
}

void numbers(ptrdiff_t n, const gaussum_real *a, const gaussum_real *b, const gaussum_real *c, gaussum_real *out)
{
    (void)b, (void)c;
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = real_exp_nonpositive(a[i]);
}

/* sums of LANES numbers each, VEC_FOLD of them at once; n is a multiple of 8 */
void fold(ptrdiff_t n, const gaussum_real *a, double *out)
{
    for (ptrdiff_t i = 0; i < n; i += VEC_FOLD) {
        vec x[VEC_FOLD * VEC_GROUPS];
        for (int k = 0; k < VEC_FOLD * VEC_GROUPS; k++)
            x[k] = vec_load(a + i * LANES + k * VEC_REALS);
        vec_fold(x, out + i);
    }
}

void sum(ptrdiff_t n, const gaussum_real *a, gaussum_real *out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = vec_sum(vec_load(a + i * VEC_REALS));
}
"""

pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler")
every = [
    pytest.param(compiler, build, form, real, id=f"{Path(compiler).name}-{build}-{form}-{real.__name__}")
    for compiler in COMPILERS
    for build in BUILDS
    for form in FORMS
    for real in REALS
]


@functools.cache
def library(compiler, build, form, real, folder):
    name = f"{Path(compiler).name}_{build}_{form}_{real.__name__}"
    source, target = folder / f"{name}.c", folder / f"{name}.so"
    source.write_text(SOURCE)
    options = [*STRICT, *FLAGS, *MARCH[build], *FORMS[form], *REALS[real], f"-I{Path(HEADER).parent}"]
    made = subprocess.run([compiler, *options, source, "-o", target, "-lm"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return ctypes.CDLL(str(target))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("vec")


def call(function, *arrays, size=None):
    out = np.empty(size or arrays[0].size, arrays[0].dtype)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (*arrays, out)]
    function(ctypes.c_ssize_t(out.size), *pointers)
    return out


def numbers(real, seed, n=1024):
    """Numbers of all magnitudes and signs, some alike, with infinities and zeros."""
    rng = np.random.default_rng(seed)
    a = (rng.normal(size=n) * 10.0 ** rng.integers(-12, 12, n)).astype(real)
    a[::17], a[5::40], a[7::50] = 1, np.inf, -np.inf
    a[3::60], a[9::60] = 0.0, -0.0
    return a


def same(found, expected):
    """The same numbers; NaN like NaN."""
    return found.dtype == expected.dtype and np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("compiler, build, form, real", every)
def test_arithmetic(compiler, build, form, real, folder):
    lib = library(compiler, build, form, real, folder)
    a, b, c = (numbers(real, seed) for seed in range(3))
    with np.errstate(invalid="ignore", over="ignore"):
        assert same(call(lib.add, a, b, c), a + b)
        assert same(call(lib.sub, a, b, c), a - b)
        assert same(call(lib.mul, a, b, c), a * b)
        assert same(call(lib.larger, a, b, c), np.where(a > b, a, b))
        # of NaN and a number, the second: a log-sum keeps its maximum
        assert same(call(lib.larger, np.full_like(a, np.nan), b, c), b)
    reals = lib.reals()
    assert same(call(lib.spread, a, b, c), np.repeat(a[::reals], reals))
    assert reals == 1 if form == "portable" else reals > 1


@pytest.mark.parametrize("compiler, build, form, real", every)
def test_multiply_and_add(compiler, build, form, real, folder):
    lib = library(compiler, build, form, real, folder)
    rng = np.random.default_rng(4)
    a, b = (rng.uniform(1, 2, 1024).astype(real) for _ in range(2))
    c = -(a * b)
    found = call(lib.multiply_add, a, b, c)
    if lib.fused_is_one_rounding():
        # what the product rounded off, itself a number of that type
        exact = [float(Fraction(x) * Fraction(y) + Fraction(z)) for x, y, z in zip(*(v.tolist() for v in (a, b, c)))]
        assert same(found, np.array(exact, real)) and found.any()
    else:
        assert not found.any()


@pytest.mark.parametrize("compiler, build, form, real", every)
def test_exponentials_are_those_of_numbers(compiler, build, form, real, folder):
    lib = library(compiler, build, form, real, folder)
    rng = np.random.default_rng(5)
    x = np.concatenate([-rng.uniform(0, 1, 1000), -rng.uniform(0, 760, 4000), -rng.exponential(1e3, 118)]).astype(real)
    x = np.append(x, np.array([0.0, -np.inf], real))
    assert x.size % 64 == 0
    found = call(lib.exps, x, x, x)
    assert same(found, call(lib.numbers, x, x, x))
    assert found[-2] == 1 and found[-1] == 0 and (found[:1000] > 0.3).all()


@pytest.mark.parametrize("compiler, build, form, real", every)
def test_lanes_are_added_halves_first(compiler, build, form, real, folder):
    lib = library(compiler, build, form, real, folder)
    rng = np.random.default_rng(6)
    lanes, reals = lib.lanes(), lib.reals()
    assert lanes * real().itemsize == 64

    def halves(a):
        while a.shape[1] > 1:
            half = a.shape[1] // 2
            a = a[:, :half] + a[:, half:]
        return a[:, 0]

    a = (rng.normal(size=(64, lanes)) * 10.0 ** rng.integers(-3, 3, (64, lanes))).astype(real)
    out = np.empty(len(a))
    lib.fold(ctypes.c_ssize_t(len(a)), ctypes.c_void_p(a.ctypes.data), ctypes.c_void_p(out.ctypes.data))
    assert same(out, halves(a).astype(float))
    a = np.ascontiguousarray(a[:, :reals])
    assert same(call(lib.sum, a, size=len(a)), halves(a))
