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
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gaussum import flow_pass, parallel
from gaussum.typing import FloatArray, IndexArray, MaskArray

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
# Curvatures in units of 1 / bandwidth^2 that count as 0; depths of a valley, in nats, that count as none, looked for
# between modes so near to each other.
_FLAT = 1e-5
_SHALLOW = 1e-8
_NEIGHBOURS, _BETWEEN, _PAIRS = 2.5, 15, 1 << 15
_NUDGE = 0.1
_FINE_STEPS, _ROUNDS = 30, 10
_BLOCK = 1 << 20
# Of a step, over the square of the number of features.
_POINT_SECONDS = 100e-9


class HasName(Protocol):
    """A plan, as gaussum.summation.Plan."""

    name: str


@dataclass(frozen=True)
class Modes:
    """Local maxima of a density, the highest first, and the basin of each point.

    Attributes
    ----------
    modes : ndarray, shape (n_modes, n_features)
    log_density : ndarray, shape (n_modes,)
        In nats.
    labels : ndarray of int, shape (n_samples,)
        The mode to which each point climbs.
    sizes : ndarray of int, shape (n_modes,)
        How many points do.
    weights : ndarray, shape (n_modes,)
        Their share of the weight of all points.
    converged : ndarray of bool, shape (n_modes,)
        Whether a mode is known to be one: the gradient is below 1e-8 in units of 1 / bandwidth, and the density is
        concave there, or flat to rounding.
    """

    modes: np.ndarray
    log_density: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    weights: np.ndarray
    converged: np.ndarray


class Hills(Protocol):
    """A sum as mean shift asks for it: gaussum.summation.GaussianSum, or one of gaussum.terrain."""

    @property
    def bandwidths(self) -> FloatArray:
        """What steps are measured in, one a feature."""

    def sources(self) -> FloatArray:
        """The sources, shape (n_sources, n_features)."""

    def plan(self, X: FloatArray, rtol: float = 0.0, *, n_threads: int | None = None) -> HasName:
        """How sums at these points would be taken."""

    def log_density(self, X: FloatArray, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """The log density at every row of X."""

    def log_density_and_gradient(
        self, X: FloatArray, *, rtol: float = 0.0, n_threads: int | None = None, plan: str | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """The same, and its gradient, by a plan that was asked for before."""


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

    def __init__(self, total, accuracy, X, n_threads):
        self.h = total.bandwidths
        self.rtol, self._tol, self.near, self._step = accuracy
        self._total, self._n_threads = total, n_threads
        self._plan = total.plan(X, self.rtol, n_threads=n_threads).name

    def __call__(self, X):
        log_density, gradient = self._total.log_density_and_gradient(
            X, rtol=self.rtol, n_threads=self._n_threads, plan=self._plan
        )
        return log_density, gradient * self.h

    def tolerance(self, X):
        """|m| at which each point has arrived: a place is known to its rounding."""
        return np.maximum(self._tol, 8.0 * np.finfo(np.float64).eps * np.abs(X / self.h).max(axis=1))

    def derivative(self, X, m=None):
        """H = dm/dx at every point, shape (n, d, d), by differences: to one side where m(X) is given."""
        n, d = X.shape
        H = np.empty((n, d, d))
        for j in range(d):
            ahead, behind = X.copy(), X.copy()
            ahead[:, j] += self._step * self.h[j]
            if m is None:
                behind[:, j] -= self._step * self.h[j]
            width = (ahead[:, j] - behind[:, j]) / self.h[j]        # as it was rounded
            H[:, j] = (self(ahead)[1] - (self(behind)[1] if m is None else m)) / width[:, np.newaxis]
        return 0.5 * (H + H.transpose(0, 2, 1))


def find_modes(total, X, weights=None, *, merge_tol=0.1, max_iter=500, n_threads=None):
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
    X = np.array(X, dtype=np.float64)
    n, d = X.shape
    field = _Field(total, _COARSE, X, n_threads)
    block, log_density = max(256, _BLOCK // d**2), np.empty(n)
    for start in range(0, n, block):
        part = slice(start, start + block)
        X[part], log_density[part] = climb(field, X[part], max_iter, n_threads)
    X = _folded(total, X)
    labels, chosen = _merged(X / field.h, log_density, merge_tol, _periods(total))
    modes, log_density, converged = _settle(total, field, X[chosen], max_iter, n_threads)
    modes = _folded(total, modes)
    links = _same_hill(total, modes, log_density, n_threads)
    return gathered(total, modes, log_density, converged, labels, weights, merge_tol, links)


def gathered(
    total: Hills, modes: FloatArray, log_density: FloatArray, converged: MaskArray, labels: IndexArray,
    weights: FloatArray | None, merge_tol: float, links: IndexArray | None = None
) -> Modes:
    """Modes, the highest first, from the places where points arrived, of which those near to each other are one.

    Parameters
    ----------
    total : Hills
    modes : ndarray, shape (n_places, n_features)
    log_density : ndarray, shape (n_places,)
    converged : ndarray of bool, shape (n_places,)
    labels : ndarray of int, shape (n_samples,)
        The place where each point arrived.
    weights : ndarray, shape (n_samples,), or None
    merge_tol : float
    links : ndarray of int, shape (n_pairs, 2), optional
        Places that are on one hill as well.
    """
    merged, chosen = _merged(modes / total.bandwidths, log_density, merge_tol, _periods(total), links)
    modes, log_density, converged = modes[chosen], log_density[chosen], converged[chosen]
    order = np.argsort(-log_density, kind="stable")
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.arange(len(order))
    labels = place[merged[labels]]
    mass = np.bincount(labels, weights, minlength=len(order)).astype(np.float64)
    return Modes(modes[order], log_density[order], labels, np.bincount(labels, minlength=len(order)),
                 mass / mass.sum(), converged[order])


def assign(total, modes, X, *, merge_tol=0.1, max_iter=500, n_threads=None):
    """The mode, of those given, to which each point climbs, shape (n_samples,); -1 where it is none of them."""
    found = find_modes(total, X, merge_tol=merge_tol, max_iter=max_iter, n_threads=n_threads)
    return among(total, modes, found, merge_tol)


def among(total: Hills, modes: FloatArray, found: Modes, merge_tol: float) -> IndexArray:
    """The mode, of those given, that the one of each point is, shape (n_samples,); -1 where it is none of them."""
    periods = _periods(total)
    places = _wrapped(found.modes / total.bandwidths, periods)
    distance, nearest = _near(modes / total.bandwidths, periods).query(places)
    return np.where(distance <= merge_tol, nearest, -1)[found.labels]


def climb(field, X, max_iter, n_threads=None):
    """Where points arrive, shape (n, d), and the log density there; those that do not arrive stay where they are."""
    n, X, log_density = len(X), X.copy(), np.empty(len(X))
    x, f, m = _come_near(field, X)
    H, radius, index = field.derivative(x, m), np.maximum(_FIRST, _norm(m)), np.arange(n)
    tol = field.tolerance(x)
    arrived = _norm(m) <= tol
    for _ in range(max_iter):
        if arrived.any():
            X[index[arrived]], log_density[index[arrived]] = x[arrived], f[arrived]
            x, f, m, H, radius, tol, index = (a[~arrived] for a in (x, f, m, H, radius, tol, index))
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


def _by_points(x, n_threads, work):
    """Call ``work(first, last, scratch)`` for parts of the points."""
    n, d = x.shape
    seconds = n * _POINT_SECONDS * d**2
    n_parts, n_threads = parallel.n_parts(n, seconds), parallel.resolve_threads(n_threads, seconds)
    scratch = [np.empty(flow_pass.scratch_size(d)) for _ in range(n_threads)]
    parallel.run(n_parts, n_threads, lambda part, slot: work(
        part * n // n_parts, (part + 1) * n // n_parts, scratch[slot]
    ))


def _come_near(field, X):
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


def _settle(total, coarse, X, max_iter, n_threads):
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


def _off_saddle(axis, m, tol):
    """Off a saddle along an axis: as m points, or where that is rounding, so that the largest component is positive."""
    along = (axis * m).sum(axis=1)
    largest = axis[np.arange(len(axis)), np.abs(axis).argmax(axis=1)]
    return axis * np.sign(np.where(np.abs(along) > tol, along, largest))[:, np.newaxis]


def _same_hill(total, modes, log_density, n_threads):
    """Pairs of modes, shape (n_pairs, 2), with no valley between them that is more than rounding."""
    h = total.bandwidths
    periods = _periods(total)
    pairs = _near(modes / h, periods).query_pairs(_NEIGHBOURS, output_type="ndarray")
    if not len(pairs):
        return pairs
    between, lowest = np.linspace(0.0, 1.0, _BETWEEN + 2)[1:-1, np.newaxis, np.newaxis], np.empty(len(pairs))
    for start in range(0, len(pairs), _PAIRS):
        part = slice(start, start + _PAIRS)
        first, way = modes[pairs[part, 0]], modes[pairs[part, 1]] - modes[pairs[part, 0]]
        if periods is not None:             # the shorter way round
            length = np.where(periods > 0.0, periods * h, np.inf)
            way = way - np.where(np.isinf(length), 0.0, np.rint(way / length) * (periods * h))
        points = (first + between * way).reshape(-1, modes.shape[1])
        found = total.log_density(points, rtol=_FINE_MOST, n_threads=n_threads)
        lowest[part] = found.reshape(_BETWEEN, -1).min(axis=0)
    return pairs[lowest >= log_density[pairs].min(axis=1) - _SHALLOW]


def _merged(
    z: FloatArray, log_density: FloatArray, radius: float, periods: FloatArray | None = None,
    pairs: IndexArray | None = None
) -> tuple[IndexArray, IndexArray]:
    """A label for each point, the same for those that a chain of short links joins, and the highest point of each.

    `pairs`, shape (n_pairs, 2), are links as well.
    """
    from scipy.sparse import coo_array              # slow to load
    from scipy.sparse.csgraph import connected_components

    # so small that what lies in neighbouring cells is linked, whichever of their points stand for them
    side = 0.5 * radius / np.sqrt(z.shape[1])
    cells, cell = np.unique(np.floor((z - z.min(axis=0)) / side), axis=0, return_inverse=True)
    cell = cell.ravel()
    # the highest of a cell
    order = np.lexsort((-log_density, cell))
    chosen = order[np.searchsorted(cell[order], np.arange(len(cells)))]
    links = _near(z[chosen], periods).query_pairs(radius, output_type="ndarray")
    if pairs is not None and len(pairs):
        links = np.concatenate([links, cell[pairs]])
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(len(cells), len(cells)))
    n_groups, group = connected_components(graph, directed=False)
    order = np.lexsort((-log_density[chosen], group))
    highest = chosen[order[np.searchsorted(group[order], np.arange(n_groups))]]
    return group[cell], highest


def _periods(total: Hills) -> FloatArray | None:
    """The period of each feature in bandwidths, 0 where there is none; or None where no feature has one."""
    return getattr(total, "periods", None)


def _folded(total: Hills, X: FloatArray) -> FloatArray:
    """Points within the bounds of which those given are images."""
    return total.fold(X) if hasattr(total, "fold") else X


def _wrapped(points: FloatArray, periods: FloatArray | None) -> FloatArray:
    """Points with their periodic features within a period from 0 on."""
    if periods is None:
        return points
    with np.errstate(invalid="ignore"):
        wrapped = np.mod(points, periods)
    return np.where(periods > 0.0, np.where(wrapped >= periods, 0.0, wrapped), points)


def _near(points: FloatArray, periods: FloatArray | None = None) -> "cKDTree":
    from scipy.spatial import cKDTree               # slow to load

    return cKDTree(_wrapped(points, periods), boxsize=periods)


def _norm(a):
    return np.sqrt(np.einsum("ij,ij->i", a, a))
