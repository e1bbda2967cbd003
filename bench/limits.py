"""How far an EM iteration runs from what the machine can do: the roofline (Williams, Waterman and Patterson 2009).

An *operation* is an addition, a multiplication or a fused multiply-add: a core issues all three alike. A matrix product
of n x n matrices is then n^3 operations, half its conventional flops, and its rate stands for the machine's. Where
additions have ports of their own, or BLAS is not at its best, a pass of few products can run faster than this limit.
"""

import ctypes
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bench.threads import ThreadsCase, cores, label
from bench.timing import Result, held_blas, run_case, timed

# simd_math.h: 14 fused operations and 3 others, and a logarithm with its division
EXP, LOG = 17, 22
MATRIX = 1536  # rows and columns of the product
MATRIX_SMALL = 512
STREAM = 2**25  # doubles, many times any cache
STREAM_SMALL = 2**23
TRIALS = 5
BLOCK, COMPONENTS = 512, 32  # of the exponentials, which then lie in L2


def operations(n, d, K, covariance_type):
    """Operations of one plain EM iteration, with covariances full or diag.

    E-step, a sample and component: full, d differences, half of a full product, d squares; diag, difference, product
    and square of each feature; both, maximum, difference, exponential, sum and quotient. M-step: difference, weight
    and first moment of each feature, and the second moments, again half of a full product. A logarithm a sample.
    """
    half = d * (d + 1) // 2
    e_step = 2 * d + half if covariance_type == "full" else 3 * d
    m_step = 3 * d + half if covariance_type == "full" else 4 * d
    return n * (K * (e_step + 1 + 4 + EXP + m_step + 1) + LOG)


def matrix_rate(threads, size=MATRIX):
    """Operations a second of a matrix product."""
    A = np.random.default_rng(0).normal(size=(size, size))
    with held_blas(threads):
        A @ A
        return size**3 / min(timed(np.matmul, A, A)[0] for _ in range(TRIALS))


def bandwidth(threads, size=STREAM):
    """Bytes a second read from memory: a sum of squares, in one part a thread."""
    a = np.ones(size)
    parts = np.array_split(a, threads)
    with held_blas(1), ThreadPoolExecutor(threads) as pool:
        return a.nbytes / min(timed(lambda: list(pool.map(np.dot, parts, parts)))[0] for _ in range(1 + TRIALS))


def exp_seconds():
    """Seconds of an exponential in `log_densities`, its maximum, difference and sum included; None if it is not found.

    The kernel is called through its C function table, on one block that stays in the cache.
    """
    from gaussum import build_info
    from gaussum.kernels import dispatch

    try:
        capsule = dispatch.kernel_module("estep", build_info()["build"]).__pyx_capi__["log_densities"]
    except (AttributeError, KeyError):
        return None
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    name = api.PyCapsule_GetName(capsule)
    if name != b"void (gaussum_real const *, Py_ssize_t, Py_ssize_t, Py_ssize_t, gaussum_real *, gaussum_real *)":
        return None
    size, pointer = ctypes.c_ssize_t, ctypes.c_void_p
    prototype = ctypes.CFUNCTYPE(None, pointer, size, size, size, pointer, pointer)
    kernel = prototype(api.PyCapsule_GetPointer(capsule, name))
    log_prob = np.random.default_rng(0).uniform(-20.0, 0.0, (COMPONENTS, BLOCK))
    out, scratch = np.empty(BLOCK), np.empty(BLOCK)

    def repeated():
        for _ in range(100):
            kernel(log_prob.ctypes.data, BLOCK, BLOCK, COMPONENTS, out.ctypes.data, scratch.ctypes.data)

    return min(timed(repeated)[0] for _ in range(1 + TRIALS)) / (100 * BLOCK * COMPONENTS)


class LimitsCase:
    """The EM cases on one thread and on all, beside the time that operations or memory alone would take."""

    group = "limits"
    name = "limits"

    def __init__(self, cases, quick=False):
        self.cases, self.quick = cases, quick

    def shrunk(self):
        return LimitsCase([case.shrunk() for case in self.cases[1:4]], quick=True)

    def run(self, names, repeats, threads=None):
        """Return a Result with notes {"machine": the rates, case: the measured seconds and both limits}."""
        result = Result(self.name, self.group)
        if "gaussum" not in names:
            return result
        most = threads or cores()
        matrix, stream = (MATRIX_SMALL, STREAM_SMALL) if self.quick else (MATRIX, STREAM)
        machine = {"exp": exp_seconds(), "threads": sorted({1, most})}
        machine["matrix"] = [matrix_rate(t, matrix) for t in machine["threads"]]
        machine["memory"] = [bandwidth(t, stream) for t in machine["threads"]]
        result.notes["machine"] = machine
        for case in self.cases:
            found = run_case(ThreadsCase(case, ends_only=True), names, repeats, most)
            if found.status == "WRONG":
                result.status = "WRONG"
            result.reasons += [f"{case.name}: {why}" for why in found.reasons]
            count = operations(case.n, case.d, case.K, case.covariance_type)
            size = case.n * case.d * np.dtype(case.dtype).itemsize
            result.notes[case.name] = {
                "operations": count,
                "bytes": size,
                "seconds": [found.median(label(t)) for t in machine["threads"]],
                "arithmetic": [count / rate for rate in machine["matrix"]],
                "memory": [size / rate for rate in machine["memory"]],
            }
        return result
