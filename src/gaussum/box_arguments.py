"""Checks of what is asked of a distribution: queries and boxes, which may be infinite, and features."""

from typing import Any

import numpy as np

from gaussum.typing import ArrayLike, FloatArray
from gaussum.validation import check_integer, check_samples


def check_extended(X: ArrayLike, name: str, n_features: int) -> FloatArray:
    """`check_samples` for samples that may be infinite."""
    try:
        infinite = np.asarray(np.isinf(X))
    except TypeError:
        infinite = np.zeros(1, dtype=bool)      # what is no number is refused below
    if not infinite.any():
        return check_samples(X, name=name, n_features=n_features).astype(np.float64, order="C")
    X = np.asarray(X)
    finite = check_samples(np.where(infinite, 0, X), name=name, n_features=n_features).astype(np.float64, order="C")
    infinite = infinite.reshape(finite.shape)
    finite[infinite] = X.reshape(finite.shape)[infinite]
    return finite


def check_boxes(low: ArrayLike, high: ArrayLike, d: int) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Corners of shape (n_boxes, n_features), and the shape of the answer."""
    corners = []
    for end, name in ((low, "low"), (high, "high")):
        end = np.asarray(end)
        if end.ndim > 2 or end.ndim and (end.ndim == 2 or d > 1) and end.shape[-1] != d:
            raise ValueError(f"{name} has shape {end.shape}; expected ({d},) or (n_boxes, {d})")
        if end.ndim == 0:
            end = np.full(d, end)
            corners.append((check_extended(end[np.newaxis], name, d), False))
        elif end.ndim == 1 and d > 1:
            corners.append((check_extended(end[np.newaxis], name, d), False))
        else:
            corners.append((check_extended(end, name, d), True))
    (low, many_low), (high, many_high) = corners
    if low.shape != high.shape and 1 not in (low.shape[0], high.shape[0]):
        raise ValueError(f"low holds {low.shape[0]} boxes and high {high.shape[0]}; expected as many")
    low, high = (np.ascontiguousarray(a) for a in np.broadcast_arrays(low, high))
    if (low > high).any():
        i, j = (int(v) for v in np.argwhere(low > high)[0])
        raise ValueError(
            f"low is above high in box {i}, feature {j}: {low[i, j]:g} > {high[i, j]:g}; expected low <= high"
        )
    return low, high, (low.shape[0],) if many_low or many_high else ()


def check_features(features: Any, d: int) -> list[int]:
    """Different features as a list of ints."""
    try:
        features = list(features)
    except TypeError:
        raise TypeError(f"features is {type(features).__name__}; expected an integer or a sequence of them") from None
    found: list[int] = [check_integer(j, "a feature", minimum=0) for j in features]
    if not found or max(found) >= d or len(set(found)) < len(found):
        raise ValueError(f"features are {found}; expected different numbers from 0 to {d - 1}, at least one")
    return found
