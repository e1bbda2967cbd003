"""What the parameter `bandwidth` of a kernel density may be: numbers, a matrix, a selector's name, or a function."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from gaussum import bandwidth as rules
from gaussum import radial, univariate
from gaussum.base import shape_name
from gaussum.spread import spread
from gaussum.typing import ArrayLike, FloatArray, SampleArray
from gaussum.validation import check_array, check_choice, check_number
from gaussum.whitening import check_bandwidth_matrix

# What the parameter may be; a function takes samples and weights.
Bandwidth: TypeAlias = ArrayLike | str | Callable[[SampleArray, FloatArray | None], ArrayLike]

# Below this its inverse overflows.
_SMALLEST = 1.0 / np.finfo(np.float64).max

# Selectors that give a matrix where there are several features; these take `diagonal`.
_MATRICES = {
    "auto": rules.auto_matrix, "plug_in": rules.plug_in, "lscv": rules.lscv_matrix, "lcv": rules.lcv_matrix
}
# These are a matrix, or for one feature the same rule for numbers.
_ALWAYS_MATRICES = {
    "scott_matrix": (rules.scott, rules.scott_matrix), "silverman_matrix": (rules.silverman, rules.silverman_matrix)
}
NAMES = tuple(dict.fromkeys([*rules.SELECTORS, *_MATRICES, *_ALWAYS_MATRICES]))

# Those that look at one feature as it is at its bounds: by roughnesses, which a density that ends at one has not.
_AT_BOUNDS = {
    "auto": univariate.automatic, "isj": univariate.improved_sheather_jones,
    "improved_sheather_jones": univariate.improved_sheather_jones, "sheather_jones": univariate.sheather_jones,
    "sj": univariate.sheather_jones, "lscv": univariate.least_squares,
}


# Bounds farther from all samples than so many times their range mean nothing.
_APART = 4.0


def within_bounds(
    name: str, X: SampleArray, sample_weight: FloatArray | None, low: float, high: float, periodic: bool
) -> FloatArray:
    """The bandwidth, shape (1,), for one feature that ends at bounds or is periodic.

    Reflected samples are those of the density that goes on evenly at either end, half as high and with twice as many
    samples: one bandwidth is best for both. Between two bounds it is periodic, so that its roughnesses are the sums
    over cosines of Botev, Grotowski and Kroese (2010, section 5); on a periodic axis they are Fourier sums.

    Parameters
    ----------
    name : str
        Of a selector; scott, silverman and lcv take the samples as they are.
    X : ndarray, shape (n_samples, 1)
        Periodic ones in a row, less than a period long.
    sample_weight : ndarray, shape (n_samples,), or None
    low, high : float
        One may be infinite unless the axis is periodic.
    periodic : bool
    """
    if name not in _AT_BOUNDS:
        return rules.SELECTORS[name](X, sample_weight)
    spread(X, sample_weight)
    x, w = X[:, 0].astype(np.float64), sample_weight
    used = x if w is None else x[w > 0]
    apart = _APART * (used.max() - used.min())
    period = high - low
    if not periodic:
        to_low, to_high = used.min() - low, high - used.max()
        if min(to_low, to_high) > apart:
            return rules.SELECTORS[name](X, w)
        end = low if to_low <= to_high else high
        x = np.concatenate([x, end + (end - x)])
        w = None if w is None else np.concatenate([w, w])
        period = np.inf if max(to_low, to_high) > apart else 2.0 * period
    elif period > (1.0 + _APART) / _APART * apart:
        period = np.inf
    short = {"improved_sheather_jones": "isj", "sj": "sheather_jones"}.get(name, name)
    return rules.select_by(x, w, short, _AT_BOUNDS[name], period=period if np.isfinite(period) else None)


# The ends of an axis, and whether it is periodic.
Ends: TypeAlias = tuple[float, float, bool]


def settled(
    bandwidth: Bandwidth, X: SampleArray, weight: FloatArray | None, *, kernel: str = "gaussian",
    along_axes: bool = False, ends: Ends | None = None,
) -> tuple[FloatArray, bool]:
    """The bandwidths that a parameter stands for.

    Parameters
    ----------
    bandwidth : float, array_like, str or callable
        See gaussum.KernelDensity.
    X : ndarray, shape (n_samples, n_features)
    weight : ndarray, shape (n_samples,), or None
    kernel : str
        What selectors give is made to smooth as much with this kernel as with the Gaussian.
    along_axes : bool
        Whether selectors that need not give a matrix give numbers.
    ends : tuple (low, high, periodic), optional
        Where one feature is reflected or periodic: some selectors know of it, see `within_bounds`.

    Returns
    -------
    bandwidths : ndarray of float64, shape (n_features,) or (n_features, n_features)
    single : bool
        Whether it was given as a single number.

    Raises
    ------
    TypeError, ValueError
        It is none of these, or does not fit the features.
    """
    d, name = X.shape[1], "bandwidth"
    if isinstance(bandwidth, str):
        check_choice(bandwidth, name, NAMES)
        h = _selected(bandwidth, X, weight, along_axes, ends)
        if h.ndim == 1 and (h < _SMALLEST).any():
            raise ValueError(
                f"bandwidth {bandwidth!r} gives {h.min():g}, whose inverse is beyond a double; expected data in other "
                "units"
            )
        factor = radial.canonical_factor(kernel, d)
        return h * (factor if h.ndim == 1 else factor**2), False
    if callable(bandwidth):
        bandwidth, name = bandwidth(X, weight), "what bandwidth returns"
    if np.ndim(bandwidth) == 2:
        H = check_bandwidth_matrix(bandwidth, d)
        return (np.sqrt(np.diagonal(H)) if along_axes and np.count_nonzero(H) == d else H), False
    if np.ndim(bandwidth) == 0:
        if isinstance(bandwidth, np.ndarray):
            bandwidth = bandwidth[()]
        if not isinstance(bandwidth, (int, float, np.number)):
            others = ", the name of a selector such as 'auto', or a function" if name == "bandwidth" else ""
            raise TypeError(
                f"{name} is {shape_name(bandwidth)}; expected a number > 0, an array of shape ({d},) or ({d}, {d})"
                + others
            )
        number = check_number(bandwidth, name, minimum=0.0, open_minimum=True)
        if number < _SMALLEST:
            raise ValueError(f"{name} is {number:g}; expected a number of at least {_SMALLEST:g}")
        return np.full(d, number), True
    h = check_array(bandwidth, name, (d,)).copy()
    if (h < _SMALLEST).any():
        raise ValueError(f"{name} holds {h.min():g}; expected numbers of at least {_SMALLEST:g}")
    return h, False


def _selected(
    name: str, X: SampleArray, weight: FloatArray | None, along_axes: bool, ends: Ends | None
) -> FloatArray:
    several = X.shape[1] > 1
    if name in _ALWAYS_MATRICES:
        return _ALWAYS_MATRICES[name][several](X, weight)
    if name in _MATRICES and (several or name not in rules.SELECTORS):
        return _MATRICES[name](X, weight, diagonal=along_axes or not several)
    return rules.SELECTORS[name](X, weight) if ends is None else within_bounds(name, X, weight, *ends)
