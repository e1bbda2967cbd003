"""The axes of a tensor grid: as they are given, and the points between them."""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gaussum.base import shape_name
from gaussum.typing import FloatArray, IndexArray
from gaussum.validation import check_integer, check_number, check_samples

# Points an axis, by the number of features, and bandwidths beyond the data, where nothing is said.
_POINTS = {1: 1024, 2: 256, 3: 64, 4: 24}
_MARGIN = 4.0
# Points that are listed at a time.
_LISTED = 1 << 20
# The points that tell about all of a grid.
_RUNS, _RUN = 32, 32


class OnGrid(NamedTuple):
    """What `KernelDensity.density_on_grid` gives.

    Attributes
    ----------
    density : ndarray, shape (n_1, ..., n_d)
        Or its logarithm, if that was asked for.
    axes : list of ndarrays, shape (n_j,)
        The points of every axis, in the units of the data.
    """

    density: FloatArray
    axes: list[FloatArray]


def check_axes(
    axes: Any, n_features: int, bounds: Callable[[], tuple[FloatArray, FloatArray, FloatArray]]
) -> list[FloatArray]:
    """The points of every axis.

    Parameters
    ----------
    axes : None, int, or a sequence with one entry a feature: an int, a tuple (low, high, n), or points
        For one feature also that entry itself.
    n_features : int
    bounds : callable
        Gives the lowest and the highest of the data on each axis, and the bandwidths, each of shape (n_features,).

    Returns
    -------
    list of ndarrays of float64, shape (n_j,)

    Raises
    ------
    TypeError, ValueError
        Entries that are none of these; no number of points where there is no usual one, beyond four features.
    """
    if axes is None:
        if n_features not in _POINTS:
            raise ValueError(f"axes is None, for {n_features} features; expected the number of points at least")
        axes = _POINTS[n_features]
    if _is_integer(axes):
        entries, names = [axes] * n_features, ["axes"] * n_features
    elif n_features == 1 and not (isinstance(axes, (list, tuple)) and len(axes) == 1):
        entries, names = [axes], ["axes"]
    else:
        if not hasattr(axes, "__len__") or isinstance(axes, (str, bytes)):
            raise TypeError(f"axes is {shape_name(axes)}; expected a number of points or {n_features} axes")
        if len(axes) != n_features:
            raise ValueError(f"axes has {len(axes)} entries; expected {n_features}, one a feature")
        entries, names = list(axes), [f"axes[{j}]" for j in range(n_features)]
    low = high = np.full(n_features, np.nan)              # which nobody asks for
    if any(_is_integer(entry) for entry in entries):
        low, high, bandwidth = bounds()
        low, high = low - _MARGIN * bandwidth, high + _MARGIN * bandwidth
    return [_axis(entry, name, (low[j], high[j])) for j, (entry, name) in enumerate(zip(entries, names))]


def _axis(entry: Any, name: str, bounds: tuple[float, float]) -> FloatArray:
    if _is_integer(entry):
        return _spaced(*bounds, check_integer(entry, name, minimum=1))
    if isinstance(entry, tuple) and len(entry) == 3 and all(np.ndim(part) == 0 for part in entry):
        low, high = check_number(entry[0], f"{name}[0]"), check_number(entry[1], f"{name}[1]")
        n = check_integer(entry[2], f"{name}[2]", minimum=1)
        if high < low or high == low and n > 1:
            raise ValueError(f"{name} is ({low:g}, {high:g}, {n}); expected (low, high, n) with low < high")
        return _spaced(low, high, n)
    if np.isscalar(entry) or entry is None:
        raise TypeError(f"{name} is {entry!r}; expected a number of points, a tuple (low, high, n), or points")
    return check_samples(entry, name=name, n_features=1).ravel().astype(np.float64)


def _spaced(low: float, high: float, n: int) -> FloatArray:
    """Both ends included; halves, as the whole range may overflow."""
    return 2.0 * np.linspace(0.5 * low, 0.5 * high, n) if n > 1 else np.array([low])


def _is_integer(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_))


def points(axes: Sequence[FloatArray], index: IndexArray) -> FloatArray:
    """Points of the tensor grid by their places in it, in C order, shape (len(index), n_features)."""
    places = np.unravel_index(index, [len(axis) for axis in axes])
    out = np.empty((len(axes), len(index)))
    for j, (axis, place) in enumerate(zip(axes, places)):
        out[j] = axis[place]
    return out.T


def some_points(axes: Sequence[FloatArray]) -> FloatArray:
    """Some points of the tensor grid, always the same, in runs of neighbours: shape (n_points, n_features)."""
    size = math.prod(len(axis) for axis in axes)
    if size <= _RUNS * _RUN:
        return points(axes, np.arange(size))
    starts = np.random.default_rng(0).integers(size - _RUN, size=_RUNS)
    return points(axes, (starts[:, np.newaxis] + np.arange(_RUN)).ravel())


def log_density_on_axes(
    total: Any, axes: Sequence[FloatArray], rtol: float, n_threads: int | None
) -> FloatArray:
    """The log density at all points of a tensor grid, shape (n_1, ..., n_d).

    Parameters
    ----------
    total : the sum that is the density
        It may know a better way than point by point: a method `log_density_on_axes`.
    axes : sequence of ndarrays of float64, shape (n_j,)
    rtol : float
    n_threads : int or None
    """
    if hasattr(total, "log_density_on_axes"):
        logs: FloatArray = total.log_density_on_axes(axes, rtol=rtol, n_threads=n_threads)
        return logs
    out = np.empty([len(axis) for axis in axes])
    for first in range(0, out.size, _LISTED):
        index = np.arange(first, min(first + _LISTED, out.size))
        out.flat[index] = total.log_density(points(axes, index), rtol=rtol, n_threads=n_threads)
    return out


def plan_on_axes(total: Any, axes: Sequence[FloatArray], rtol: float, n_threads: int | None) -> Any:
    """How `log_density_on_axes` would go about it."""
    if hasattr(total, "plan_on_axes"):
        return total.plan_on_axes(axes, rtol, n_threads=n_threads)
    size = min(_LISTED, math.prod(len(axis) for axis in axes))
    return total.plan(points(axes, np.arange(size)), rtol, n_threads=n_threads)
