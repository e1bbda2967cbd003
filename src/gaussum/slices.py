"""Marginals and conditionals of sums of Gaussians: sums of Gaussians again, on fewer features.

With sources s, weights w and the covariance H of the kernel, parts r (that remain) and c (that are given):

    marginal:     sources s_r, weights w, covariance H_rr
    conditional:  sources s_r + H_rc H_cc^-1 (v - s_c), weights proportional to w N(v; s_c, H_cc),
                  covariance H_rr - H_rc H_cc^-1 H_cr

(Eaton, Multivariate Statistics, 1983, proposition 3.13, for each source.)
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular


def part(bandwidth, features, n_features):
    """The bandwidth of some features: a number, one a feature, or the covariance of the kernel."""
    if np.ndim(bandwidth) == 2:
        return _plain(bandwidth[np.ix_(features, features)])
    h = np.broadcast_to(bandwidth, n_features)[features]
    return float(h[0]) if np.ndim(bandwidth) == 0 or len(features) == 1 else h


def covariance(bandwidth, n_features):
    """The covariance of the kernel, shape (n_features, n_features)."""
    return bandwidth if np.ndim(bandwidth) == 2 else np.diag(np.broadcast_to(bandwidth, n_features) ** 2)


def _plain(covariance):
    """A covariance, as a standard deviation where there is one feature."""
    return float(np.sqrt(covariance[0, 0])) if covariance.shape == (1, 1) else covariance


def conditional(sources, log_weights, bandwidth, given, values):
    """Sources, weights and bandwidth of the remaining features, where others have given values.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_sources, n_features)
    log_weights : ndarray of float64, shape (n_sources,)
    bandwidth : float, or ndarray of shape (n_features,) or (n_features, n_features)
        A standard deviation for all, one a feature, or a covariance.
    given : list of int
    values : ndarray of float64, shape (len(given),)

    Returns
    -------
    sources : ndarray, shape (n_left, n_features - len(given))
        Those that still weigh something.
    weights : ndarray, shape (n_left,)
        The largest is 1.
    bandwidth : of the same kind as given

    Raises
    ------
    ValueError
        The values are so far from all sources that no double holds the distance.
    """
    d = sources.shape[1]
    rest = [j for j in range(d) if j not in given]
    moved = sources[:, rest]
    with np.errstate(over="ignore", invalid="ignore"):
        away = values - sources[:, given]
        if np.ndim(bandwidth) == 2:
            factor = cho_factor(bandwidth[np.ix_(given, given)], lower=True)
            across = bandwidth[np.ix_(rest, given)]
            z = solve_triangular(factor[0], away.T, lower=True, check_finite=False).T
            moved = moved + away @ cho_solve(factor, across.T)
            left = bandwidth[np.ix_(rest, rest)] - across @ cho_solve(factor, across.T)
            left = _plain(0.5 * (left + left.T))
        else:
            left = part(bandwidth, rest, d)
            z = away / np.broadcast_to(bandwidth, d)[given]
        log_weights = log_weights - 0.5 * (z * z).sum(axis=1)
    largest = log_weights.max()
    if not np.isfinite(largest):
        raise ValueError(
            "values lie so far from all samples that no double holds the distance; expected them within some 1e150 "
            "bandwidths"
        )
    weights = np.exp(log_weights - largest)
    keep = weights > 0.0
    return moved[keep], weights[keep], left
