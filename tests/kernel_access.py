"""The compiled kernels of every build, called on NumPy arrays through their C function tables.

Every array that a kernel sees lies in a guarded zone: sentinels before and after it, which must survive the
call, and an address that no vector width is aligned to. Blocks have columns beyond the last sample, filled
with NaN where the kernel only reads and with sentinels where it writes: it may neither use the one nor touch
the other.
"""

import ctypes
import functools
import os

import numpy as np

import gaussum
from gaussum.kernels import dispatch

# every build that was compiled and that this processor runs
INFO = gaussum.build_info()
BUILDS = [build for build in INFO["runnable"] if build in INFO["builds"]]
STRUCTURES = ["full", "tied", "diag", "spherical"]
HEADER = os.path.join(os.path.dirname(gaussum.kernels.__file__), "simd_math.h")

# the widest real number that NumPy has: 64 bits of mantissa on x86-64
LONG = np.longdouble
LOWEST = -np.finfo(float).max
# a number of float32 too
SENTINEL = -(2.0**100)
ZONE = 64

_name = ctypes.pythonapi.PyCapsule_GetName
_name.restype, _name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]

_C_TYPES = {"void": None, "double": ctypes.c_double, "Py_ssize_t": ctypes.c_ssize_t}


def signatures(kernel, build):
    """{function: C signature} of one kernel module."""
    table = dispatch.kernel_module(kernel, build).__pyx_capi__
    return {name: _name(capsule).decode() for name, capsule in table.items()}


@functools.cache
def functions(build, real=np.float64):
    """{function: callable on sizes and arrays} of all the kernels of one build, for blocks of `real`."""
    kernels = dispatch.KERNELS if real == np.float64 else ["estep_single", "mstep_single"]
    pointees = {"double": np.float64, "gaussum_real": real, "Py_ssize_t": np.intp}
    found = {}
    for kernel in kernels:
        for name, capsule in dispatch.kernel_module(kernel, build).__pyx_capi__.items():
            signature = _name(capsule)
            result, arguments = signature.decode().rstrip(")").split(" (")
            kinds = [
                np.dtype(pointees[argument.split()[0]]) if argument.endswith("*") else _C_TYPES[argument]
                for argument in arguments.split(", ")
            ]
            types = [ctypes.c_void_p if isinstance(kind, np.dtype) else kind for kind in kinds]
            call = ctypes.CFUNCTYPE(_C_TYPES[result], *types)(_pointer(capsule, signature))
            found[name] = functools.partial(_call, call, kinds)
    return found


def _call(call, kinds, *arguments):
    assert len(arguments) == len(kinds)
    return call(*[_convert(argument, kind) for argument, kind in zip(arguments, kinds)])


def _convert(argument, kind):
    if not isinstance(kind, np.dtype):
        return kind(argument).value
    if argument is None:
        return None
    assert argument.flags.c_contiguous and argument.dtype == kind
    return argument.ctypes.data


class Guarded:
    """Arrays in zones of sentinels; `check` asserts that the zones, and what is only read, are as before."""

    def __init__(self, real=np.float64):
        self.real = real
        self._zones = []
        self._frozen = []

    def array(self, shape, fill=SENTINEL, dtype=None, also_doubles=False):
        """A new array at an address that is a multiple of its numbers' size and of no more, or of 8 bytes if asked."""
        dtype = np.dtype(dtype or self.real)
        size, step = int(np.prod(shape)), dtype.itemsize
        buffer = np.full(size + 2 * ZONE + 16, SENTINEL, dtype=np.float32 if step == 4 else np.float64)
        odd = 8 if also_doubles else step
        first = ZONE + (16 + odd - buffer.ctypes.data % 16) % 16 // step
        array = buffer[first : first + size].view(dtype).reshape(shape)
        assert array.ctypes.data % 16 == odd or size == 0
        array[...] = fill
        self._zones.append((buffer[:first], buffer[first + size :]))
        return array

    def scratch(self, size):
        """What a kernel may put doubles in as well."""
        return self.array(size, also_doubles=True)

    def block(self, rows, ld, pad=np.nan):
        """What holds rows (n, m) sample by sample, as a kernel reads it: (m, ld), padded from n to ld."""
        assert rows.dtype == self.real
        block = self.array((rows.shape[1], ld), pad)
        block[:, : rows.shape[0]] = rows.T
        return block

    def copy(self, array):
        return self.array(np.shape(array), array, np.asarray(array).dtype)

    def read(self, array):
        """A copy that a kernel must leave alone."""
        copy = self.copy(array)
        return self.freeze(copy)

    def freeze(self, array):
        self._frozen.append((array, array.tobytes()))
        return array

    def check(self):
        for before, after in self._zones:
            assert (before == SENTINEL).all(), "written before the beginning of an array"
            assert (after == SENTINEL).all(), "written beyond the end of an array"
        for array, contents in self._frozen:
            assert array.tobytes() == contents, "an input was changed"


# --- kernels as functions of plain arrays, one block ----------------------------------------------


# the numbers of a block are those of its samples: float64, or float32 for the single kernels


def log_prob(build, structure, X, means, chol, log_const, ld=None):
    """log p_ik, shape (n, K)."""
    f, guard = functions(build, X.dtype.type), Guarded(X.dtype)
    (n, d), K = X.shape, len(means)
    ld = ld or n + 5
    x = guard.freeze(guard.block(X, ld))
    out = guard.array((K, ld))
    f[f"log_prob_{structure}"](
        x,
        ld,
        n,
        d,
        K,
        guard.read(means),
        guard.read(chol),
        guard.read(log_const),
        out,
        guard.scratch(f["estep_scratch"](d, ld)),
    )
    guard.check()
    assert (out[:, n:] == SENTINEL).all(), "written beyond the last sample"
    return out[:, :n].T.copy()


def log_densities(build, logs, ld=None):
    """log sum_k exp(log p_ik), shape (n,)."""
    f, guard, n, K = functions(build, logs.dtype.type), Guarded(logs.dtype), *logs.shape
    ld = ld or n + 5
    out = guard.array(n)
    f["log_densities"](guard.freeze(guard.block(logs, ld)), ld, n, K, out, guard.scratch(ld))
    guard.check()
    return out.copy()


def responsibilities(build, logs, ld=None):
    """r_ik, shape (n, K), and log sum_k exp(log p_ik), shape (n,)."""
    f, guard, n, K = functions(build, logs.dtype.type), Guarded(logs.dtype), *logs.shape
    ld = ld or n + 5
    resp, out = guard.block(logs, ld, SENTINEL), guard.array(n)
    f["responsibilities"](resp, ld, n, K, out, guard.scratch(ld))
    guard.check()
    assert (resp[:, n:] == SENTINEL).all(), "written beyond the last sample"
    return resp[:, :n].T.copy(), out.copy()


def weigh(build, resp, log_density, sample_weight=None, ld=None):
    """w_i r_ik, shape (n, K), and sum_i w_i log p_i."""
    f, guard, n, K = functions(build, resp.dtype.type), Guarded(resp.dtype), *resp.shape
    ld = ld or n + 5
    weighed = guard.block(resp, ld, SENTINEL)
    weight = None if sample_weight is None else guard.read(sample_weight)
    total = f["weigh"](weighed, ld, n, K, guard.read(log_density), weight)
    guard.check()
    assert (weighed[:, n:] == SENTINEL).all(), "written beyond the last sample"
    return weighed[:, :n].T.copy(), total


def second_shape(structure, K, d):
    return {"full": (K, d, d), "tied": (d, d), "diag": (K, d), "spherical": (K,)}[structure]


def accumulate(build, structure, X, resp, origins, into=None, ld=None):
    """n_k, f_k and S_k, in float64, added to those in `into`."""
    f, guard = functions(build, X.dtype.type), Guarded(X.dtype)
    (n, d), K = X.shape, len(origins)
    ld = ld or n + 5
    into = into or (np.zeros(K), np.zeros((K, d)), np.zeros(second_shape(structure, K, d)))
    nk, first, second = map(guard.copy, into)
    f[f"accumulate_{structure}"](
        guard.freeze(guard.block(X, ld)),
        ld,
        n,
        d,
        K,
        guard.freeze(guard.block(resp, ld)),
        guard.read(origins),
        nk,
        first,
        second,
        guard.scratch(f["mstep_scratch"](d, K, ld)),
    )
    guard.check()
    return nk.copy(), first.copy(), second.copy()


def parameters(build, structure, nk, first, second, origins, ridge):
    """The return value and means, covariances, precisions_chol, log_det."""
    guard, (K, d) = Guarded(), origins.shape
    means, log_det = guard.array((K, d)), guard.array(K)
    covariances, chol = guard.array(second.shape), guard.array(second.shape)
    failed = functions(build)[f"parameters_{structure}"](
        d,
        K,
        *map(guard.read, (nk, first, second, origins, ridge)),
        means,
        covariances,
        chol,
        log_det,
        guard.array(d),
    )
    guard.check()
    return failed, means.copy(), covariances.copy(), chol.copy(), log_det.copy()


def gauss_sum(build, S, w, T, inv_bandwidth, sums=None):
    """sum_s w_s exp(-r_ts^2 / 2), added to `sums`."""
    guard, (n, d), m = Guarded(), S.shape, len(T)
    sums = guard.copy(np.zeros(m) if sums is None else sums)
    functions(build)["gauss_sum"](
        guard.freeze(guard.block(S, n + 3)),
        n + 3,
        n,
        guard.read(w),
        guard.freeze(guard.block(T, m + 7)),
        m + 7,
        m,
        d,
        guard.read(inv_bandwidth),
        sums,
        guard.array(m),
    )
    guard.check()
    return sums.copy()


def gauss_log_sum(build, S, log_w, T, inv_bandwidth, state=None, left_out=None):
    """(m_t, sum_s exp(log w_s - r_ts^2 / 2 - m_t)), continued from `state`."""
    guard, (n, d), m = Guarded(), S.shape, len(T)
    state = (np.full(m, LOWEST), np.zeros(m)) if state is None else state
    largest, sums = map(guard.copy, state)
    functions(build)["gauss_log_sum"](
        guard.freeze(guard.block(S, n + 3)),
        n + 3,
        n,
        guard.read(log_w),
        left_out,
        guard.freeze(guard.block(T, m + 7)),
        m + 7,
        m,
        d,
        guard.read(inv_bandwidth),
        largest,
        sums,
        guard.array(64 * d),
    )
    guard.check()
    return largest.copy(), sums.copy()


def gauss_log_moments(build, S, log_w, T, inv_bandwidth, state=None):
    """m_t, sum_s exp(log w_s - r_ts^2 / 2 - m_t), and the same of (s - t), shape (n_targets, d), from `state` on."""
    guard, (n, d), m = Guarded(), S.shape, len(T)
    state = (np.full(m, LOWEST), np.zeros(m), np.zeros((m, d))) if state is None else state
    largest, sums = map(guard.copy, state[:2])
    moments = guard.block(state[2], m + 5, pad=SENTINEL)
    functions(build)["gauss_log_moments"](
        guard.freeze(guard.block(S, n + 3)), n + 3, n, guard.read(log_w), guard.freeze(guard.block(T, m + 7)), m + 7, m,
        d, guard.read(inv_bandwidth), largest, sums, moments, m + 5, guard.array(128 * d),
    )
    guard.check()
    assert (moments[:, m:] == SENTINEL).all()
    return largest.copy(), sums.copy(), moments[:, :m].T.copy()


def gauss_log_sum_at(build, S, log_w, left_out, target, inv_bandwidth):
    """(m, sum_s exp(log w_s - r_s^2 / 2 - m)) at one target."""
    guard, (n, d) = Guarded(), S.shape
    largest, total = guard.array(1, LOWEST), guard.array(1, 0.0)
    functions(build)["gauss_log_sum_at"](
        guard.freeze(guard.block(S, n + 3)),
        n + 3,
        n,
        guard.read(log_w),
        left_out,
        guard.read(target),
        d,
        guard.read(inv_bandwidth),
        largest,
        total,
        guard.array(n),
    )
    guard.check()
    return largest[0], total[0]


def varying_log_sum(build, S, log_w, sharpness, T, target_sharpness, inv_bandwidth, state=None, left_out=None):
    """(m_t, sum_s exp(log w_s - r_ts^2 / 2 - m_t)) of sources, and targets or None, of that sharpness."""
    guard, (n, d), m = Guarded(), S.shape, len(T)
    state = (np.full(m, LOWEST), np.zeros(m)) if state is None else state
    largest, sums = map(guard.copy, state)
    functions(build)["varying_log_sum"](
        guard.freeze(guard.block(S, n + 3)), n + 3, n, guard.read(log_w), guard.read(sharpness), left_out,
        guard.freeze(guard.block(T, m + 7)), m + 7, m,
        None if target_sharpness is None else guard.read(target_sharpness), d, guard.read(inv_bandwidth),
        largest, sums, guard.array(64 * (d + 1)),
    )
    guard.check()
    return largest.copy(), sums.copy()


def varying_log_sum_at(build, S, log_w, sharpness, left_out, target, target_sharpness, inv_bandwidth):
    """(m, sum_s exp(log w_s - r_s^2 / 2 - m)) at one target."""
    guard, (n, d) = Guarded(), S.shape
    largest, total = guard.array(1, LOWEST), guard.array(1, 0.0)
    functions(build)["varying_log_sum_at"](
        guard.freeze(guard.block(S, n + 3)), n + 3, n, guard.read(log_w), guard.read(sharpness), left_out,
        guard.read(target), None if target_sharpness is None else guard.read(target_sharpness), d,
        guard.read(inv_bandwidth), largest, total, guard.array(n),
    )
    guard.check()
    return largest[0], total[0]


def varying_gradient_at(build, S, log_w, sharpness, target, inv_bandwidth, state=None):
    """(m, sum_s e_s, sum_s e_s a_s^2 (s - t)), e_s = exp(log w_s - r_s^2 / 2 - m), at one target."""
    guard, (n, d) = Guarded(), S.shape
    m, total, moments = state or (LOWEST, 0.0, np.zeros(d))
    m, total, moments = guard.copy(np.array([m])), guard.copy(np.array([total])), guard.copy(moments)
    functions(build)["varying_gradient_at"](
        guard.freeze(guard.block(S, n + 3)), n + 3, n, guard.read(log_w), guard.read(sharpness), guard.read(target), d,
        guard.read(inv_bandwidth), m, total, moments, guard.array(n),
    )
    guard.check()
    return m[0], total[0], moments.copy()


def box_distances(build, low, high, T, inv_bandwidth):
    """sum_j (max(low_j - t_j, t_j - high_j, 0) h_j^-1)^2."""
    guard, (m, d) = Guarded(), T.shape
    r2 = guard.array(m)
    functions(build)["box_distances"](
        guard.read(low), guard.read(high), guard.freeze(guard.block(T, m + 7)), m + 7, m, d,
        guard.read(inv_bandwidth), r2,
    )
    guard.check()
    return r2.copy()


RADIAL = {"tophat": 0, "epanechnikov": 1, "linear": 2, "cosine": 3, "exponential": 4}


def radial_sum(build, kernel, reach, S, w, T, scale, sums=None):
    """sum_s w_s K(r_ts), added to `sums`."""
    guard, (n, d), m = Guarded(), S.shape, len(T)
    sums = guard.copy(np.zeros(m) if sums is None else sums)
    functions(build)["radial_sum"](
        RADIAL[kernel], reach, guard.freeze(guard.block(S, n + 3)), n + 3, n, guard.read(w),
        guard.freeze(guard.block(T, m + 7)), m + 7, m, d, guard.read(scale), sums, guard.array(8 * d),
    )
    guard.check()
    return sums.copy()


def exponential_log_sum(build, S, log_w, T, scale, unit=1.0, state=None):
    """(m_t, sum_s exp(log w_s - r_ts - m_t)), continued from `state`."""
    guard, (n, d), m = Guarded(), S.shape, len(T)
    state = (np.full(m, LOWEST), np.zeros(m)) if state is None else state
    largest, sums = map(guard.copy, state)
    functions(build)["exponential_log_sum"](
        guard.freeze(guard.block(S, n + 3)), n + 3, n, guard.read(log_w), guard.freeze(guard.block(T, m + 7)), m + 7,
        m, d, guard.read(scale), unit, largest, sums, guard.array(8 * d),
    )
    guard.check()
    return largest.copy(), sums.copy()


def box_ranges(build, low, high, T, scale):
    """r^2 from the nearest and from the farthest point of a box."""
    guard, (m, d) = Guarded(), T.shape
    nearest, farthest = guard.array(m), guard.array(m)
    functions(build)["box_ranges"](
        guard.read(low), guard.read(high), guard.freeze(guard.block(T, m + 7)), m + 7, m, d, guard.read(scale),
        nearest, farthest,
    )
    guard.check()
    return nearest.copy(), farthest.copy()


def box_log_sum(build, S, log_weights, low, high, inv_bandwidth, state, sharpness=None):
    """(m, P exp(-m)) after these sources, from `state` before them."""
    guard, (n, d) = Guarded(), S.shape
    sharpness = np.ones(n) if sharpness is None else sharpness
    largest, total = guard.copy(np.array([state[0]])), guard.copy(np.array([state[1]]))
    functions(build)["box_log_sum"](
        guard.freeze(guard.block(S, n + 5)), n + 5, n, guard.read(log_weights), guard.read(sharpness), guard.read(low),
        guard.read(high), d, guard.read(inv_bandwidth), largest, total, guard.scratch(3 * n),
    )
    guard.check()
    return largest[0], total[0]


def gauss_spread(build, P, w, width, spacing, shape):
    """G_g = sum_s w_s exp(-|g - s|^2) on a grid of that shape, over the nodes within the width."""
    guard, (n, d) = Guarded(), P.shape
    grid = guard.array(shape, 0.0)
    strides = guard.read(np.array(grid.strides) // 8)
    functions(build)["gauss_spread"](
        guard.freeze(guard.block(P, n + 3)), n + 3, n, guard.read(w), d, width, spacing, strides, grid
    )
    guard.check()
    return grid.copy()


def gauss_gather(build, P, width, spacing, grid, own=None):
    """f_t = sum_g exp(-|t - g|^2) G_g, over the nodes within the width, without sources `own` in the same places."""
    guard, (m, d) = Guarded(), P.shape
    sums = guard.array(m)
    strides = guard.read(np.array(grid.strides) // 8)
    own = None if own is None else guard.read(own)
    functions(build)["gauss_gather"](
        guard.freeze(guard.block(P, m + 3)), m + 3, m, d, width, spacing, strides, guard.read(grid), own, sums
    )
    guard.check()
    return sums.copy()


def gauss_gather_moments(build, P, width, spacing, grid):
    """f_t = sum_g exp(-|t - g|^2) G_g and 2 sum_g exp(-|t - g|^2) (g - t) G_g, shape (n_targets, d)."""
    guard, (m, d) = Guarded(), P.shape
    sums, moments = guard.array(m), guard.array((d, m + 3))
    strides = guard.read(np.array(grid.strides) // 8)
    functions(build)["gauss_gather_moments"](
        guard.freeze(guard.block(P, m + 3)), m + 3, m, d, width, spacing, strides, guard.read(grid), sums, moments
    )
    guard.check()
    assert (moments[:, m:] == SENTINEL).all()
    return sums.copy(), moments[:, :m].T.copy()


def line_spread(build, place, w, n_nodes):
    """g_k = sum_i w_i B(x_i - k) on a ring of nodes."""
    guard = Guarded()
    nodes = guard.array(n_nodes, 0.0)
    functions(build)["line_spread"](guard.read(place), guard.read(w), len(place), n_nodes, nodes)
    guard.check()
    return nodes.copy()


def line_leave_one_out(build, place, w, nodes, own, floor):
    """sum_i w_i l((f(x_i) - w_i own) / (1 - w_i))."""
    guard, n = Guarded(), len(place)
    total = functions(build)["line_leave_one_out"](
        guard.read(place), guard.read(w), n, guard.read(nodes), len(nodes), own, floor, guard.array(n)
    )
    guard.check()
    return total


def pair_moments(build, S, w, T, own, nearest=None):
    """sum_s w_s e_ts and, (d (d + 1) / 2, m), of e_ts z z', without the source that a target is."""
    guard, (n, d), m = Guarded(), S.shape, len(T)
    sums, moments = guard.array(m, 0.0), guard.array((d * (d + 1) // 2, m + 5))
    moments[:, :m] = 0.0
    functions(build)["pair_moments"](
        guard.freeze(guard.block(S, n + 3)), n + 3, n, guard.read(w), guard.freeze(guard.block(T, m + 5)), m + 5, m, d,
        own, None if nearest is None else guard.read(nearest), sums, moments, guard.scratch((d + 1) * 32),
    )
    guard.check()
    assert (moments[:, m:] == SENTINEL).all()
    return sums.copy(), moments[:, :m].copy()


def pair_derivatives(build, S, w, T, v, radial):
    """sum_t v_t sum_s w_s e_ts (a_k + b_k r_ts^2) z_ts^k for k = 0, 2, 4: entries with falling indices."""
    guard, (n, d), m = Guarded(), S.shape, len(T)
    totals = guard.array((1 + d * (d + 1) // 2 + d * (d + 1) * (d + 2) * (d + 3) // 24, 32), 0.0)
    functions(build)["pair_derivatives"](
        guard.freeze(guard.block(S, n + 3)), n + 3, n, guard.read(w), guard.freeze(guard.block(T, m + 5)), m + 5, m,
        guard.read(v), d, guard.read(radial), totals, guard.scratch((d + 1) * 32),
    )
    guard.check()
    return totals.sum(axis=1)


def nearest_pairs(build, S, T, own):
    """min_s r_ts^2, without the source that a target is."""
    guard, (n, d), m = Guarded(), S.shape, len(T)
    nearest = guard.array(m, np.inf)
    functions(build)["nearest_pairs"](
        guard.freeze(guard.block(S, n + 3)), n + 3, n, guard.freeze(guard.block(T, m + 5)), m + 5, m, d, own, nearest,
        guard.scratch((d + 1) * 32),
    )
    guard.check()
    return nearest.copy()


def gauss_moments(build, x, w, subdivisions, spacing, n_cells, into=None):
    """sum_s w_s u_s^k of the cells that sources, in units of the spacing, lie in; (n_cells, 8), added to `into`."""
    guard = Guarded()
    moments = guard.copy(np.zeros((n_cells, 8)) if into is None else into)
    functions(build)["gauss_moments"](guard.read(x), len(x), guard.read(w), subdivisions, spacing, moments)
    guard.check()
    return moments.copy()


def gauss_expand(build, moments, expansions, n_nodes):
    """G_g = sum_c sum_k M_ck e_ck(g)."""
    guard = Guarded()
    grid = guard.array(n_nodes, 0.0)
    subdivisions, _, width = expansions.shape
    functions(build)["gauss_expand"](
        guard.read(moments), len(moments), subdivisions, guard.read(expansions), width, grid
    )
    guard.check()
    return grid.copy()


def gauss_contract(build, grid, first, factors):
    """f_tb = sum_k factors_tk G_first_t + k,b."""
    guard, (m, width) = Guarded(), factors.shape
    out = guard.array((m, grid.shape[1]))
    functions(build)["gauss_contract"](
        guard.read(grid), grid.shape[1], guard.read(first), guard.read(factors), m, width, out
    )
    guard.check()
    return out.copy()


def nearest_centers(build, X, centers, ld=None):
    """Labels and squared distances, each shape (n,)."""
    guard, (n, d), K = Guarded(), X.shape, len(centers)
    ld = ld or n + 5
    labels, distances = guard.array(n, -1, np.intp), guard.array(n)
    functions(build)["nearest_centers"](
        guard.freeze(guard.block(X, ld)), ld, n, d, K, guard.read(centers), labels, distances
    )
    guard.check()
    return labels.copy(), distances.copy()


def seed_masses(build, X, candidates, weight, mass, into=None, ld=None):
    """min(m_i, w_i |x_i - c_t|^2), shape (T, n), and their sums, shape (T,), added to those in `into`."""
    guard, (n, d), T = Guarded(), X.shape, len(candidates)
    ld = ld or n + 5
    masses, potentials = guard.array((T, ld)), guard.copy(np.zeros(T) if into is None else into)
    functions(build)["seed_masses"](
        guard.freeze(guard.block(X, ld)),
        ld,
        n,
        d,
        T,
        *map(guard.read, (candidates, weight, mass)),
        masses,
        potentials,
    )
    guard.check()
    assert (masses[:, n:] == SENTINEL).all(), "written beyond the last sample"
    return masses[:, :n].copy(), potentials.copy()


def accumulate_clusters(build, X, labels, weight, into, ld=None):
    """n_k, shape (K,), and sums, shape (K, d), added to those in `into`."""
    guard, (n, d) = Guarded(), X.shape
    ld = ld or n + 5
    nk, sums = map(guard.copy, into)
    functions(build)["accumulate_clusters"](
        guard.freeze(guard.block(X, ld)), ld, n, d, guard.read(labels), guard.read(weight), nk, sums
    )
    guard.check()
    return nk.copy(), sums.copy()


def reach(build, structure, a, means, chol, margin):
    """The radius about component a within which each of the others has its margin, shape (K,)."""
    f, guard = functions(build), Guarded()
    K, d = means.shape
    side_by_side = chol if structure == "tied" else np.moveaxis(chol, 0, -1)
    out = guard.array(K)
    f[f"reach_{structure}"](
        d,
        K,
        a,
        guard.read(means.T),
        guard.read(side_by_side),
        guard.read(margin),
        out,
        guard.array(f["reach_scratch"](d, K)),
    )
    guard.check()
    return out.copy()


# --- input ----------------------------------------------------------------------------------------


def mixture(structure, n, d, K, seed=0):
    """Samples of a random mixture, shape (n, d), and its means, precisions_chol and log_const."""
    rng = np.random.default_rng([seed, n, d, K])
    means = rng.normal(scale=3.0, size=(K, d))
    if structure in ("full", "tied"):
        # upper triangular, condition number a few: what is tested is rounding, not conditioning
        chol = np.triu(rng.normal(scale=0.3 / np.sqrt(d), size=second_shape(structure, K, d)))
        chol[..., np.arange(d), np.arange(d)] = rng.uniform(0.5, 2.0, size=chol.shape[:-1])
    else:
        chol = rng.uniform(0.5, 2.0, size=second_shape(structure, K, d))
    X = means[rng.integers(K, size=n)] + rng.normal(size=(n, d))
    return X, means, chol, rng.normal(size=K) - d
