"""Marginals and conditionals of sums of Gaussians: sums of Gaussians again, on fewer features.

With sources s, weights w and the covariance H of the kernel, parts r (that remain) and c (that are given):

    marginal:     sources s_r, weights w, covariance H_rr
    conditional:  sources s_r + H_rc H_cc^-1 (v - s_c), weights proportional to w N(v; s_c, H_cc),
                  covariance H_rr - H_rc H_cc^-1 H_cr

(Eaton, Multivariate Statistics, 1983, proposition 3.13, for each source.) Where each source has a factor of the
bandwidth, that remains its own. On bounded features, where kernels have images, N is the sum over these.
"""

import math
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from gaussum.folded import Axis, images_of
from gaussum.tails import gaussian_images
from gaussum.typing import FloatArray, MaskArray

# In lengths of a bounded feature: from this bandwidth on a kernel with all its images is uniform to rounding.
_UNIFORM = 2.8


def part(bandwidth: float | FloatArray, features: list[int], n_features: int) -> float | FloatArray:
    """The bandwidth of some features: a number, one a feature, or the covariance of the kernel."""
    if _is_matrix(bandwidth):
        return _plain(bandwidth[np.ix_(features, features)])
    h = np.broadcast_to(bandwidth, n_features)[features]
    return float(h[0]) if np.ndim(bandwidth) == 0 or len(features) == 1 else h


def covariance(bandwidth: float | FloatArray, n_features: int) -> FloatArray:
    """The covariance of the kernel, shape (n_features, n_features)."""
    return bandwidth if _is_matrix(bandwidth) else np.diag(np.broadcast_to(bandwidth, n_features) ** 2)


def _is_matrix(bandwidth: float | FloatArray) -> TypeGuard[FloatArray]:
    return np.ndim(bandwidth) == 2


def _plain(covariance: FloatArray) -> float | FloatArray:
    """A covariance, as a standard deviation where there is one feature."""
    return float(np.sqrt(covariance[0, 0])) if covariance.shape == (1, 1) else covariance


def conditional(
    sources: FloatArray, log_weights: FloatArray, bandwidth: float | FloatArray, given: list[int], values: FloatArray,
    factors: FloatArray | None = None, axes: Sequence[Axis] = (),
) -> tuple[MaskArray, FloatArray, FloatArray, float | FloatArray]:
    """Sources, weights and bandwidth of the remaining features, where others have given values.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_sources, n_features)
    log_weights : ndarray of float64, shape (n_sources,)
    bandwidth : float, or ndarray of shape (n_features,) or (n_features, n_features)
        A standard deviation for all, one a feature, or a covariance.
    given : list of int
    values : ndarray of float64, shape (len(given),)
    factors : ndarray of float64, shape (n_sources,), optional
        Of the bandwidth at each source.
    axes : sequence of gaussum.support.Axis
        The bounded features, on which kernels have images; not with a covariance.

    Returns
    -------
    keep : ndarray of bool, shape (n_sources,)
        The sources that still weigh something.
    sources : ndarray, shape (n_left, n_features - len(given))
    weights : ndarray, shape (n_left,)
        The largest is 1.
    bandwidth : of the same kind as given

    Raises
    ------
    ValueError
        The values are so far from all sources that no double holds the distance, or out of bounds.
    """
    d = sources.shape[1]
    rest = [j for j in range(d) if j not in given]
    moved = sources[:, rest]
    sharpness = np.ones(len(sources)) if factors is None else 1.0 / factors
    with np.errstate(over="ignore", invalid="ignore"):
        away = values - sources[:, given]
        if _is_matrix(bandwidth):
            factor = cho_factor(bandwidth[np.ix_(given, given)], lower=True)
            across = bandwidth[np.ix_(rest, given)]
            z = solve_triangular(factor[0], away.T, lower=True, check_finite=False) * sharpness
            moved = moved + away @ cho_solve(factor, across.T)
            left = bandwidth[np.ix_(rest, rest)] - across @ cho_solve(factor, across.T)
            left = _plain(0.5 * (left + left.T))
            logs = -0.5 * (z * z).sum(axis=0)
        else:
            left, h = part(bandwidth, rest, d), np.broadcast_to(bandwidth, d)
            bounded = {axis.feature: axis for axis in axes}
            logs = sum(_log_kernels(v, sources[:, j], h[j] / sharpness, bounded.get(j))
                       for j, v in zip(given, values))
        # narrower kernels are higher, by what they are narrower in the given features
        log_weights = log_weights + len(given) * np.log(sharpness) + logs
    largest = log_weights.max()
    if not np.isfinite(largest):
        raise ValueError(
            "values lie so far from all samples that no double holds the distance; expected them within some 1e150 "
            "bandwidths"
        )
    weights = np.exp(log_weights - largest)
    keep = weights > 0.0
    return keep, moved[keep], weights[keep], left


def _log_kernels(value: float, x: FloatArray, h: FloatArray, axis: Axis | None) -> FloatArray:
    """The logarithms of the kernels of sources x at a value of one feature, but for a constant and log h."""
    if axis is None:
        return -0.5 * ((value - x) / h) ** 2
    at = np.array([value])
    if axis.boundary != "periodic" and not axis.inside(at)[0]:
        raise ValueError(f"values hold {value:g} for feature {axis.feature}; expected it within its bounds, "
                         f"({axis.low:g}, {axis.high:g})")
    out = np.full(x.shape, -np.inf)
    # wider kernels are uniform to rounding, and the widest have the most images
    uniform = h >= _UNIFORM * (axis.high - axis.low)
    out[uniform] = np.log(math.sqrt(2.0 * math.pi) * h[uniform] / (axis.high - axis.low))
    if not uniform.all():
        x, h = x[~uniform], h[~uniform]
        places = images_of(axis, gaussian_images(float(h.max()) / (axis.high - axis.low)), axis.fold(at))[0]
        logs = np.full(x.shape, -np.inf)
        for place in places:
            logs = np.logaddexp(logs, -0.5 * ((place - axis.fold(x)) / h) ** 2)
        out[~uniform] = logs
    return out
