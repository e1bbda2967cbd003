"""Modes of a Gaussian sum, and which of them each point climbs to.

Mean shift moves a point to the mean of the sources around it (Fukunaga and Hostetler, IEEE Trans. Inf. Theory 21, 1975,
32; Comaniciu and Meer, IEEE Trans. PAMI 24, 2002, 603). In bandwidths that is a step of the gradient m(x) of the log
density, and many steps follow the flow dx/dt = m(x): hundreds where the density is smooth or its ridges are flat. Here
the same flow is followed in long steps, each exact for a field that is linear (exponential Rosenbrock-Euler: Hochbruck
and Ostermann, Acta Numerica 19, 2010, 209),

    x <- x + t phi(t H) m(x),   phi(z) = (exp(z) - 1) / z,   H = dm/dx,

as long as the field at the end is as foreseen; as t grows, that is Newton's step. Points keep to the basin in which
they began, but for a few next to its border.
"""

from collections.abc import Callable

import numpy as np

from gaussum import flow_pass, parallel
from gaussum.modes import Modes, SumWithGradient, folded, gathered, merged_places, periods_of, same_mode
from gaussum.typing import FloatArray, MaskArray, SampleArray

# Of the climb, and of the modes in the end: the bound of the sums; the gradient (in units of 1 / bandwidth) at which a
# point has arrived; the bandwidths that a Newton step as foreseen may still be off, to arrive; the steps of the
# differences that give H.
_COARSE = 1e-6, 1e-5, 1e-2, 1e-2
_FINE = 1e-10, 2e-9, 0.0, 1e-3
# Gridding reaches this times the number of sources.
_FINE_SOURCES, _FINE_MOST = 1.1e-15, 1e-9
# Steps in bandwidths: the first, the longest, and one so short that it is right whatever the field at its end.
_FIRST, _LONGEST, _SURE = 0.5, 2.0, 0.02
# The error of the field at the end of a step, relative to its size, with which the step is repeated shorter, and with
# which H is taken anew.
_BAD, _GOOD = 0.06, 0.02
# Points whose mean is farther than this have come from so far that they lose digits on the way: a plain step.
_FAR = 30.0
# Curvatures in units of 1 / bandwidth^2 that count as 0.
_FLAT = 1e-5
_NUDGE = 0.1
_FINE_STEPS, _ROUNDS = 30, 10
_BLOCK = 1 << 20
# Of a step, over the square of the number of features.
_POINT_SECONDS = 100e-9


class _Field:
    """The log density and m(x) = h gradient of a sum, by one plan for all calls.

    Parameters
    ----------
    total : gaussum.summation.GaussianSum
    accuracy : tuple
        As _COARSE.
    X : ndarray, shape (n, n_features)
        Such points as will be asked for.
    n_threads : int or None
    """

    def __init__(
        self, total: SumWithGradient, accuracy: tuple[float, float, float, float], X: FloatArray, n_threads: int | None
    ) -> None:
        self.h = total.bandwidths
        self.rtol, self._tol, self.near, self._step = accuracy
        self._total, self._n_threads = total, n_threads
        self._plan = total.plan(X, self.rtol, n_threads=n_threads).name

    def __call__(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        log_density, gradient = self._total.log_density_and_gradient(
            X, rtol=self.rtol, n_threads=self._n_threads, plan=self._plan
        )
        return log_density, gradient * self.h

    def tolerance(self, X: FloatArray) -> FloatArray:
        """|m| at which each point has arrived: a place is known to its rounding."""
        tol: FloatArray = np.maximum(self._tol, 8.0 * np.finfo(np.float64).eps * np.abs(X / self.h).max(axis=1))
        return tol

    def derivative(self, X: FloatArray, m: FloatArray | None = None) -> FloatArray:
        """H = dm/dx at every point, shape (n, d, d), by differences: to one side where m(X) is given."""
        n, d = X.shape
        H = np.empty((n, d, d))
        for j in range(d):
            ahead, behind = X.copy(), X.copy()
            ahead[:, j] += self._step * self.h[j]
            if m is None:
                behind[:, j] -= self._step * self.h[j]
            width = (ahead[:, j] - behind[:, j]) / self.h[j]        # as it was rounded
            change = self(ahead)[1] - (self(behind)[1] if m is None else m)
            # between two numbers in succession a kernel is alone
            step = width[:, np.newaxis]
            H[:, j] = np.where(step > 0.0, change / np.where(step > 0.0, step, 1.0), -np.eye(d)[j])
        symmetric: FloatArray = 0.5 * (H + H.transpose(0, 2, 1))
        return symmetric


def find_modes(
    total: SumWithGradient, X: SampleArray, weights: FloatArray | None = None, *, merge_tol: float = 0.1,
    max_iter: int = 500, n_threads: int | None = None,
) -> Modes:
    """The modes that points climb to.

    Parameters
    ----------
    total : gaussum.summation.GaussianSum
    X : ndarray, shape (n_samples, n_features)
        Where to begin.
    weights : ndarray, shape (n_samples,), optional
        Of the points, for the weights of the basins.
    merge_tol : float
        Modes no farther than so many bandwidths from each other are one.
    max_iter : int
        Steps of a point.
    n_threads : int or None

    Returns
    -------
    Modes
    """
    at: FloatArray = np.array(X, dtype=np.float64)
    n, d = at.shape
    field = _Field(total, _COARSE, at, n_threads)
    block, log_density = max(256, _BLOCK // d**2), np.empty(n)
    for start in range(0, n, block):
        part = slice(start, start + block)
        at[part], log_density[part] = climb(field, at[part], max_iter, n_threads)
    at = folded(total, at)
    labels, chosen = merged_places(at / field.h, log_density, merge_tol, periods_of(total))
    modes, log_density, converged = _settle(total, field, at[chosen], max_iter, n_threads)
    modes = folded(total, modes)
    links = same_mode(total, modes, log_density, n_threads)
    return gathered(total, modes, log_density, converged, labels, weights, merge_tol, links)


def climb(
    field: _Field, X: FloatArray, max_iter: int, n_threads: int | None = None
) -> tuple[FloatArray, FloatArray]:
    """Where points arrive, shape (n, d), and the log density there; those that do not arrive stay where they are."""
    n, X, log_density = len(X), X.copy(), np.empty(len(X))
    x, f, m = _come_near(field, X)
    H, radius, index = field.derivative(x, m), np.maximum(_FIRST, _norm(m)), np.arange(n)
    tol = field.tolerance(x)
    arrived = _norm(m) <= tol
    for _ in range(max_iter):
        if arrived.any():
            X[index[arrived]], log_density[index[arrived]] = x[arrived], f[arrived]
            x, f, m, H, radius, tol = (a[~arrived] for a in (x, f, m, H, radius, tol))
            index = index[~arrived]
            if not index.size:
                return X, log_density
        p, newton, verdict = np.empty(x.shape), np.empty(len(x), dtype=np.uint8), np.empty(len(x), dtype=np.uint8)
        _by_points(x, n_threads, lambda *part: flow_pass.propose(H, m, radius, tol, p, newton, *part))
        x_new = x + p * field.h
        f_new, m_new = field(x_new)
        _by_points(x, n_threads, lambda *part: flow_pass.judge(
            p, newton, x_new, f_new, m_new, tol, field.near, _GOOD, _BAD, _LONGEST, _SURE, x, f, m, H, radius, verdict,
            *part
        ))
        arrived = verdict == flow_pass.Verdict.ARRIVED
        anew = np.flatnonzero(verdict == flow_pass.Verdict.DERIVATIVE_IS_OLD)
        if anew.size:
            H[anew] = field.derivative(x[anew], m[anew])
    X[index], log_density[index] = x, f
    return X, log_density


def _by_points(x: FloatArray, n_threads: int | None, work: Callable[[int, int, FloatArray], None]) -> None:
    """Call ``work(first, last, scratch)`` for parts of the points."""
    n, d = x.shape
    seconds = n * _POINT_SECONDS * d**2
    n_parts, n_threads = parallel.n_parts(n, seconds), parallel.resolve_threads(n_threads, seconds)
    scratch = [np.empty(flow_pass.scratch_size(d)) for _ in range(n_threads)]
    parallel.run(n_parts, n_threads, lambda part, slot: work(
        part * n // n_parts, (part + 1) * n // n_parts, scratch[slot]
    ))


def _come_near(field: _Field, X: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Plain steps while the mean is far away, at most so many that all digits are there."""
    x = X.copy()
    f, m = field(x)
    for _ in range(100):
        far = np.flatnonzero(np.abs(m).max(axis=1) > _FAR)
        if not far.size:
            break
        x[far] += m[far] * field.h
        f[far], m[far] = field(x[far])
    return x, f, m


def _settle(
    total: SumWithGradient, coarse: _Field, X: FloatArray, max_iter: int, n_threads: int | None
) -> tuple[FloatArray, FloatArray, MaskArray]:
    """Points that have arrived, to full accuracy; those at saddles go on. Places, log densities, and success."""
    n_sources = total.sources().shape[0]
    accuracy = max(_FINE[0], min(_FINE_SOURCES * n_sources, _FINE_MOST)), *_FINE[1:]
    many = np.repeat(X, 10 * X.shape[1], axis=0)
    field = _Field(total, accuracy, many, n_threads)
    places, unsettled = X.copy(), np.arange(len(X))
    log_density, slope, curvature = np.empty(len(X)), np.empty(len(X)), np.empty(len(X))
    for _ in range(_ROUNDS):
        x, f = climb(field, places[unsettled], min(max_iter, _FINE_STEPS), n_threads)
        _, m = field(x)
        bends, axes = np.linalg.eigh(field.derivative(x))
        places[unsettled], log_density[unsettled] = x, f
        slope[unsettled], curvature[unsettled] = _norm(m), bends[:, -1]
        convex = bends[:, -1] > _FLAT
        left = convex | (_norm(m) > field.tolerance(x))
        if not left.any():
            break
        unsettled, x, m = unsettled[left], x[left], m[left]
        at_saddle = convex[left] & (_norm(m) <= coarse.tolerance(x))
        way = _off_saddle(axes[left, :, -1], m, field.tolerance(x)) * at_saddle[:, np.newaxis]
        places[unsettled] = climb(coarse, x + _NUDGE * way * coarse.h, max_iter, n_threads)[0]
    return places, log_density, (slope <= np.maximum(1e-8, field.tolerance(places))) & (curvature <= _FLAT)


def _off_saddle(axis: FloatArray, m: FloatArray, tol: FloatArray) -> FloatArray:
    """Off a saddle along an axis: as m points, or where that is rounding, so that the largest component is positive."""
    along = (axis * m).sum(axis=1)
    largest = axis[np.arange(len(axis)), np.abs(axis).argmax(axis=1)]
    way: FloatArray = axis * np.sign(np.where(np.abs(along) > tol, along, largest))[:, np.newaxis]
    return way


def _norm(a: FloatArray) -> FloatArray:
    length: FloatArray = np.sqrt(np.einsum("ij,ij->i", a, a))
    return length
