"""Modes of a density: what is asked of it to find them, and which of the places where points arrive are one mode."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gaussum.typing import FloatArray, IndexArray, MaskArray, SampleArray

# Depths of a valley, in nats, that count as none, looked for between modes so near to each other.
_SHALLOW = 1e-8
_NEIGHBOURS, _BETWEEN, _PAIRS = 2.5, 15, 1 << 15
_VALLEY_RTOL = 1e-9
# In bandwidths: squares of longer distances might overflow.
_FARTHEST = 1e150


class HasName(Protocol):
    """A plan, as gaussum.summation.Plan."""

    @property
    def name(self) -> str:
        """Of the plan."""


class SumWithGradient(Protocol):
    """A sum as mean shift asks for it: gaussum.summation.GaussianSum, or one of gaussum.extension."""

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

    modes: FloatArray
    log_density: FloatArray
    labels: IndexArray
    sizes: IndexArray
    weights: FloatArray
    converged: MaskArray


def gathered(
    total: SumWithGradient, modes: FloatArray, log_density: FloatArray, converged: MaskArray, labels: IndexArray,
    weights: FloatArray | None, merge_tol: float, links: IndexArray | None = None
) -> Modes:
    """Modes, the highest first, from the places where points arrived, of which those near to each other are one.

    Parameters
    ----------
    total : SumWithGradient
    modes : ndarray, shape (n_places, n_features)
    log_density : ndarray, shape (n_places,)
    converged : ndarray of bool, shape (n_places,)
    labels : ndarray of int, shape (n_samples,)
        The place where each point arrived.
    weights : ndarray, shape (n_samples,), or None
    merge_tol : float
    links : ndarray of int, shape (n_pairs, 2), optional
        Places that are one mode as well.
    """
    merged, chosen = merged_places(modes / total.bandwidths, log_density, merge_tol, periods_of(total), links)
    modes, log_density, converged = modes[chosen], log_density[chosen], converged[chosen]
    order = np.argsort(-log_density, kind="stable")
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.arange(len(order))
    labels = place[merged[labels]]
    mass = np.bincount(labels, weights, minlength=len(order)).astype(np.float64)
    return Modes(modes[order], log_density[order], labels, np.bincount(labels, minlength=len(order)),
                 mass / mass.sum(), converged[order])


def among(total: SumWithGradient, modes: SampleArray, found: Modes, merge_tol: float) -> IndexArray:
    """The mode, of those given, that the one of each point is, shape (n_samples,); -1 where it is none of them."""
    periods = periods_of(total)
    places = _wrapped(found.modes / total.bandwidths, periods)
    distance, nearest = _near(modes / total.bandwidths, periods).query(places)
    labels: IndexArray = np.where(distance <= merge_tol, nearest, -1)[found.labels]
    return labels


def same_mode(total: SumWithGradient, modes: FloatArray, log_density: FloatArray, n_threads: int | None) -> IndexArray:
    """Pairs of modes, shape (n_pairs, 2), with no valley between them that is more than rounding."""
    h = total.bandwidths
    periods = periods_of(total)
    pairs: IndexArray = _near(modes / h, periods).query_pairs(_NEIGHBOURS, output_type="ndarray")
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
        found = total.log_density(points, rtol=_VALLEY_RTOL, n_threads=n_threads)
        lowest[part] = found.reshape(_BETWEEN, -1).min(axis=0)
    joined: IndexArray = pairs[lowest >= log_density[pairs].min(axis=1) - _SHALLOW]
    return joined


def merged_places(
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


def periods_of(total: SumWithGradient) -> FloatArray | None:
    """The period of each feature in bandwidths, 0 where there is none; or None where no feature has one."""
    return getattr(total, "periods", None)


def folded(total: SumWithGradient, X: FloatArray) -> FloatArray:
    """Points within the bounds of which those given are images."""
    return total.fold(X) if hasattr(total, "fold") else X


def _wrapped(points: FloatArray, periods: FloatArray | None) -> FloatArray:
    """Points with their periodic features within a period from 0 on."""
    if periods is None:
        return points
    with np.errstate(invalid="ignore"):
        wrapped = np.mod(points, periods)
    return np.where(periods > 0.0, np.where(wrapped >= periods, 0.0, wrapped), points)


def _near(points: FloatArray, periods: FloatArray | None = None) -> Any:
    from scipy.spatial import cKDTree               # slow to load

    if points.size and np.abs(points).max() > _FARTHEST:
        raise ValueError(
            f"bandwidth is so narrow that coordinates are up to {np.abs(points).max():.0e} bandwidths; expected at "
            f"most {_FARTHEST:g} for modes"
        )
    return cKDTree(_wrapped(points, periods), boxsize=periods)
