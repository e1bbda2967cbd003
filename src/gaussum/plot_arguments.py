"""Arguments of the pictures of `gaussum.plot`, checked: densities and their samples, limits, names of axes."""

import math
from typing import Any

import numpy as np

from gaussum.base import NotFittedError, is_fitted, shape_name
from gaussum.drawing import Mixture, Window
from gaussum.typing import ArrayLike, MaskArray, SampleArray
from gaussum.validation import check_array, check_integer, check_samples


def check_density(estimator: Any, name: str, X: ArrayLike | None) -> int:
    """The number of features of a fitted density."""
    if not callable(getattr(estimator, "score_samples", None)) or isinstance(estimator, type):
        raise TypeError(f"{name} is {shape_name(estimator)}; expected a fitted density, with score_samples")
    if hasattr(estimator, "fit") and not is_fitted(estimator):
        raise NotFittedError(f"{name} is not fitted yet; call fit of this {type(estimator).__name__} first")
    n_features = getattr(estimator, "n_features_in_", None)
    if n_features is None and hasattr(estimator, "means_"):
        n_features = np.shape(estimator.means_)[1]
    if n_features is None:
        n_features = 1 if X is None or np.ndim(X) < 2 else np.shape(X)[1]
    return int(n_features)


def check_mixture(mixture: Any, name: str) -> Mixture:
    """A fitted Gaussian mixture, as it is."""
    for attribute in ("weights_", "means_", "covariances_", "covariance_type"):
        if not hasattr(mixture, attribute):
            what = shape_name(mixture)
            raise TypeError(f"{name} is {what}, without {attribute}; expected a fitted Gaussian mixture")
    checked: Mixture = mixture
    return checked


def read_samples(X: ArrayLike | None, n_features: int) -> tuple[SampleArray | None, list[str]]:
    """Samples of so many features, None for None, and names for the axes."""
    names = feature_names(X, n_features)
    return None if X is None else check_samples(X, n_features=n_features), names


def feature_names(X: Any, n_features: int) -> list[str]:
    """Names for the axes: those of a data frame's columns, or plain ones."""
    columns = getattr(X, "columns", None)
    if columns is None and getattr(X, "name", None) is not None:
        columns = [X.name]
    if columns is not None and len(columns) == n_features:
        return [str(c) for c in columns]
    return ["value"] if n_features == 1 else [f"feature {j}" for j in range(n_features)]


def check_bins(bins: int | None, X: SampleArray | None) -> int:
    if bins is not None:
        return check_integer(bins, "bins", minimum=1)
    return 80 if X is None else max(5, min(80, round(3 * math.sqrt(len(X)))))


def check_range(limits: ArrayLike | None, n_features: int) -> list[Window] | None:
    """Pairs of limits, one a feature; None for None."""
    if limits is None:
        return None
    shape = (2,) if n_features == 1 and np.ndim(limits) == 1 else (n_features, 2)
    pairs = check_array(limits, "range", shape).reshape(n_features, 2)
    if not (pairs[:, 0] < pairs[:, 1]).all():
        raise ValueError(f"range is {pairs.tolist()}; expected low < high")
    return [(float(low), float(high)) for low, high in pairs]


def check_indices(indices: ArrayLike | None, n_samples: int) -> MaskArray | None:
    """A mask of the samples with these indices; None for None."""
    if indices is None:
        return None
    array = np.asarray(indices)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"true_outliers holds {array.dtype} values; expected integer indices of samples")
    if array.ndim != 1:
        raise ValueError(f"true_outliers has shape {array.shape}; expected one dimension, indices of samples")
    if array.size and (array.min() < 0 or array.max() >= n_samples):
        bad = array[(array < 0) | (array >= n_samples)][0]
        raise ValueError(f"true_outliers holds {bad}; expected indices from 0 to {n_samples - 1}")
    mask = np.zeros(n_samples, dtype=bool)
    mask[array.astype(np.intp)] = True
    return mask
