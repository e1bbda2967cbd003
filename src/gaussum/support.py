"""Where a density lives: bounded and periodic axes, what they make of samples, and the sums that know of them.

What becomes of a kernel at a bound, on each axis by itself:

- "reflect": it is reflected. Proper kernels and a proper density, of slope zero at the bound: the bias there is of
  order h^2 where the true density is level, of order h times its slope where it is not (gaussum.images).
- "linear": the density follows its slope. The bias at the bound is of order h^2, as it is inside; the price is some
  more variance there (gaussum.boundary).
- "periodic": what leaves at one end comes in at the other (gaussum.images).

Without bounds a density of samples that end at a bound is half of what it should be there. Outside of bounds the
density is 0; on a periodic axis coordinates are wrapped, those of samples and those of queries.
"""

import math
from typing import Any, Self

import numpy as np

from gaussum.base import shape_name
from gaussum.boundary import BoundarySum
from gaussum.image_axes import Axis, Images, period, wrapped
from gaussum.images import ImageSum
from gaussum.plans import Make, Sum
from gaussum.typing import FloatArray, SampleArray
from gaussum.validation import check_choice

BOUNDARIES = ("reflect", "linear", "periodic")
# Ends of which differences and multiples are finite.
_FARTHEST = 1e307


class Support:
    """The bounded axes of a density.

    Parameters
    ----------
    axes : list of Axis
        In the order of the features; at least one.
    """

    def __init__(self, axes: list[Axis]) -> None:
        self.axes = axes
        self.periodic = [axis for axis in axes if axis.boundary == "periodic"]
        self.linear = [axis for axis in axes if axis.boundary == "linear"]

    @classmethod
    def of(cls, bounds: Any, boundary: Any, n_features: int) -> Self | None:
        """What the parameters of a density say, or None where nothing is bounded.

        Parameters
        ----------
        bounds : None, a pair for one feature, or a sequence of n_features pairs or None
        boundary : str, or a sequence of n_features of them
        n_features : int

        Raises
        ------
        TypeError, ValueError
            No such pairs; bounds that are NaN or in the wrong order; a periodic axis with an open end.
        """
        kinds = _kinds(boundary, n_features)
        axes = []
        for j, (pair, kind) in enumerate(zip(_pairs(bounds, n_features), kinds)):
            low, high = _pair(pair, j)
            bounded = not (math.isinf(low) and math.isinf(high))
            # one name for all features is for those that have bounds
            if kind == "periodic" and math.isinf(high - low) and (bounded or not isinstance(boundary, str)):
                raise ValueError(f"bounds of feature {j} are ({low:g}, {high:g}); expected two on a periodic axis")
            if bounded:
                axes.append(Axis(j, low, high, kind))
        if boundary == "periodic" and not axes:
            raise ValueError("boundary is 'periodic', but no feature has bounds; expected the period as bounds")
        return cls(axes) if axes else None

    def check(self, X: SampleArray, weight: FloatArray | None) -> None:
        """Refuse samples outside the bounds; those of zero weight count for nothing."""
        for axis in self.axes:
            if axis.boundary == "periodic":
                continue
            outside = ~axis.inside(X[:, axis.feature])
            if weight is not None:
                outside &= weight > 0
            if outside.any():
                i = int(np.argmax(outside))
                raise ValueError(
                    f"X holds {np.count_nonzero(outside)} samples outside the bounds of feature {axis.feature}, "
                    f"({axis.low:g}, {axis.high:g}): the first is {X[i, axis.feature]:g} in row {i}; expected none"
                )

    def unrolled(self, X: SampleArray, weight: FloatArray | None) -> SampleArray:
        """The samples with each periodic axis cut open in its widest gap, so that their spread means something."""
        if not self.periodic:
            return X
        X = np.array(X, dtype=np.float64)
        for axis in self.periodic:
            X[:, axis.feature] = x = wrapped(X[:, axis.feature].astype(np.float64), axis.low, axis.high)
            at = np.sort(x if weight is None else x[weight > 0])
            gaps = np.diff(at, append=at[0] + (axis.high - axis.low))
            widest = int(np.argmax(gaps))
            if widest < len(at) - 1:
                X[:, axis.feature] = np.where(x > at[widest], x - (axis.high - axis.low), x)
        return X

    def folded(self, X: SampleArray) -> SampleArray:
        """The samples with periodic coordinates wrapped; `X` itself where there is nothing to do."""
        for axis in self.periodic:
            x = X[:, axis.feature].astype(np.float64, copy=False)
            wrapped = axis.fold(x)
            if (wrapped != x).any():
                X = np.array(X, dtype=np.float64)
                X[:, axis.feature] = wrapped
        return X

    def images(self, X: SampleArray, reach: FloatArray) -> FloatArray:
        """Images of samples within the bounds, no farther from them on each axis, shape (n_images, n_features).

        Parameters
        ----------
        X : ndarray, shape (n_samples, n_features)
        reach : ndarray, shape (n_features,)
            What is too far.
        """
        X = all_of_them = X.astype(np.float64)
        low, high = X.min(axis=0), X.max(axis=0)
        for axis in self.axes:
            j, images = axis.feature, Images(axis, axis.feature)
            found = [all_of_them]
            for cell in images.near(1)[1:]:
                y = images.at(all_of_them[:, j], [cell])[:, 0]
                near = (y >= low[j] - reach[j]) & (y <= high[j] + reach[j])
                found.append(all_of_them[near].copy())
                found[-1][:, j] = y[near]
            all_of_them = np.concatenate(found)
        return all_of_them[len(X) :]

    def ends(self, n_features: int) -> tuple[float, float, bool] | None:
        """Of the axis of one feature, (low, high, periodic); None of several."""
        axis = self.axes[0]
        return (axis.low, axis.high, axis.boundary == "periodic") if n_features == 1 else None

    def widest_period(self, h: FloatArray) -> float:
        """The largest bandwidth in periods, of bandwidths or a covariance matrix; 0 where there are no periods."""
        h = np.sqrt(np.diagonal(h)) if h.ndim == 2 else h
        return float(max(h[axis.feature] / period(axis) for axis in self.axes))

    def make_sum(
        self, make: Make, X: SampleArray, log_weights: FloatArray, h: FloatArray, narrowest: float = 1.0
    ) -> Sum:
        """The sum of kernels that keep to the support.

        Parameters
        ----------
        make : callable
            ``make(X, log_weights, h)`` is the sum without any support.
        X : ndarray, shape (n_sources, n_features)
        log_weights : ndarray, shape (n_sources,)
        h : ndarray, shape (n_features,) or (n_features, n_features)
            A matrix where nothing is "linear".
        narrowest : float
            See ImageSum.
        """
        folded = [axis for axis in self.axes if axis.boundary != "linear"]
        if self.linear:
            return BoundarySum(self.linear, folded, make, X, log_weights, h)
        return ImageSum(folded, make, X, log_weights, h, narrowest)


def _kinds(boundary: Any, n_features: int) -> list[str]:
    """The kind of boundary of every feature."""
    if isinstance(boundary, str):
        return [check_choice(boundary, "boundary", BOUNDARIES)] * n_features
    if not isinstance(boundary, (list, tuple, np.ndarray)):
        check_choice(boundary, "boundary", BOUNDARIES)
    if len(boundary) != n_features:
        raise ValueError(
            f"boundary has {len(boundary)} entries; expected one name, or one for each of {n_features} features"
        )
    return [check_choice(kind, f"boundary of feature {j}", BOUNDARIES) for j, kind in enumerate(boundary)]


def _pairs(bounds: Any, n_features: int) -> list[Any]:
    """One entry a feature."""
    if bounds is None:
        return [None] * n_features
    if not isinstance(bounds, (list, tuple, np.ndarray)):
        raise TypeError(f"bounds is {shape_name(bounds)}; expected a pair (low, high) for every feature, or None")
    if n_features == 1 and len(bounds) == 2 and all(end is None or np.ndim(end) == 0 for end in bounds):
        return [bounds]
    if len(bounds) != n_features:
        raise ValueError(
            f"bounds has {len(bounds)} entries; expected a pair or None for each of {n_features} features"
        )
    return list(bounds)


def _pair(pair: Any, j: int) -> tuple[float, float]:
    """The ends of an axis as floats, infinite where it is open."""
    expected = "expected a pair (low, high), with None or infinity for an open end"
    if pair is None:
        return -math.inf, math.inf
    if not isinstance(pair, (list, tuple, np.ndarray)) or len(pair) != 2:
        raise TypeError(f"bounds of feature {j} are {pair!r}; {expected}")
    ends = []
    for end, open_end in zip(pair, (-math.inf, math.inf)):
        if end is not None and (isinstance(end, (bool, np.bool_)) or not isinstance(end, (int, float, np.number))
                                or isinstance(end, np.complexfloating)):
            raise TypeError(f"bounds of feature {j} hold {end!r}; {expected}")
        ends.append(open_end if end is None else float(end))
    low, high = ends
    if not low < high or low == math.inf or high == -math.inf:
        raise ValueError(f"bounds of feature {j} are ({low:g}, {high:g}); expected low < high")
    if any(_FARTHEST < abs(end) < math.inf for end in ends):
        raise ValueError(f"bounds of feature {j} are ({low:g}, {high:g}); expected no ends beyond {_FARTHEST:g}")
    return low, high
