"""Mixtures and Gaussian sums as functions of arrays, for programs that have a loop of their own.

There are no estimators here and no state: a mixture is three arrays, `weights`, `means` and `precisions_cholesky` (a
`Parameters`, or arrays of your own), and what a pass over samples leaves behind is a `SufficientStatistics`. Samples of
float32 or float64 are read where they lie, in any layout, memory-mapped too, and computed with in float64. All
functions may be called from several threads at once, each with an `out` of its own.

An EM step is ``m_step(accumulate(X, ...))``; over chunks of a file, or on workers, it is the M-step of the sum of their
statistics:

    statistics = SufficientStatistics("full", means)
    for chunk in chunks:
        accumulate(chunk, weights, means, precisions_cholesky, "full", out=statistics)
    weights, means, precisions_cholesky = m_step(statistics, ridge=ridge)

Sums over chunks are those over the whole to rounding; to the last bit where the chunks are the parts in which the whole
is added up, see `part_bounds`.
"""

import numpy as np

from gaussum import arguments, covariance
from gaussum.arguments import Parameters
from gaussum.em_functions import accumulate, em_step, m_step, part_bounds, ridge_of
from gaussum.statistics import SufficientStatistics
from gaussum.summation import GaussianSum
from gaussum.typing import ArrayLike, FloatArray
from gaussum.validation import check_array, check_number, check_samples, check_weights

__all__ = [
    "Parameters",
    "SufficientStatistics",
    "accumulate",
    "covariances",
    "em_step",
    "gaussian_log_sum",
    "log_density",
    "m_step",
    "part_bounds",
    "precisions_cholesky",
    "responsibilities",
    "ridge_of",
]

# Below this the inverse of a bandwidth overflows.
_SMALLEST_BANDWIDTH = 1.0 / np.finfo(np.float64).max


def log_density(
    X: ArrayLike, weights: ArrayLike, means: ArrayLike, precisions_cholesky: ArrayLike,
    covariance_type: str = "full", *, out: FloatArray | None = None, n_threads: int | None = None,
) -> FloatArray:
    """The log density of a mixture, log p_i = log sum_k w_k N(x_i; mu_k, Sigma_k), right however far the sample.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        float32 or float64 are read in place; anything else that is real is converted.
    weights, means, precisions_cholesky : array_like
        Of `Parameters`.
    covariance_type : {"full", "tied", "diag", "spherical"}
    out : ndarray of float64, shape (n_samples,), C-contiguous, optional
        Where the result goes.
    n_threads : int, optional
        None means all processors. No bit of the result depends on it.

    Returns
    -------
    ndarray, shape (n_samples,)
        In nats; `out`, if it is given.

    Raises
    ------
    ValueError, TypeError
        Arguments that make no sense, or an `out` that cannot be written to or shares memory with an input.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum.functions import log_density
    >>> log_density([0.0, 1.0], [1.0], [[0.0]], [1.0], "spherical").round(3)
    array([-0.919, -1.419])
    """
    parameters = arguments.mixture(weights, means, precisions_cholesky, covariance_type)
    X = check_samples(X, n_features=parameters.n_features)
    given = {"X": X, "weights": weights, "means": means, "precisions_cholesky": precisions_cholesky}
    out = arguments.output(out, "out", X.shape[:1], given)
    arguments.likelihood(X, parameters, n_threads=n_threads).predict(parameters, log_density=out)
    return out


def responsibilities(
    X: ArrayLike, weights: ArrayLike, means: ArrayLike, precisions_cholesky: ArrayLike,
    covariance_type: str = "full", *, out: FloatArray | None = None, log_density: FloatArray | None = None,
    n_threads: int | None = None,
) -> FloatArray:
    """The responsibilities r_ik = w_k N(x_i; mu_k, Sigma_k) / p_i and, in the same pass, the log densities.

    Parameters
    ----------
    X, weights, means, precisions_cholesky, covariance_type, n_threads
        As of `log_density`.
    out : ndarray of float64, shape (n_samples, n_components), C-contiguous, optional
        Where the result goes.
    log_density : ndarray of float64, shape (n_samples,), C-contiguous, optional
        Filled with the log densities, if it is given.

    Returns
    -------
    ndarray, shape (n_samples, n_components)
        Every row adds up to 1; `out`, if it is given.

    Raises
    ------
    ValueError, TypeError
        As by `log_density`.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum.functions import responsibilities
    >>> log_p = np.empty(2)
    >>> responsibilities([0.0, 4.0], [0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical", log_density=log_p).round(3)
    array([[1., 0.],
           [0., 1.]])
    >>> log_p.round(3)
    array([-1.612, -1.612])
    """
    parameters = arguments.mixture(weights, means, precisions_cholesky, covariance_type)
    X = check_samples(X, n_features=parameters.n_features)
    given = {"X": X, "weights": weights, "means": means, "precisions_cholesky": precisions_cholesky}
    out = arguments.output(out, "out", (X.shape[0], parameters.n_components), given)
    if log_density is not None:
        log_density = arguments.output(log_density, "log_density", X.shape[:1], given | {"out": out})
    arguments.likelihood(X, parameters, n_threads=n_threads).predict(parameters, resp=out, log_density=log_density)
    return out


def precisions_cholesky(covariances: ArrayLike, covariance_type: str = "full") -> FloatArray:
    """U of Sigma^-1 = U U^T for covariances of shape (K, d, d), (d, d), (K, d) or (K,), by their type.

    Raises
    ------
    ValueError, TypeError
        They are not symmetric and positive definite, or not positive, or have the wrong dimensions.

    Examples
    --------
    >>> from gaussum.functions import precisions_cholesky
    >>> precisions_cholesky([[4.0, 0.0], [0.0, 1.0]], "tied")
    array([[0.5, 0. ],
           [0. , 1. ]])
    """
    covariances = arguments.by_type(covariances, "covariances", covariance_type)
    return covariance.cholesky_of_covariances(covariance_type, covariances, "covariances")


def covariances(precisions_cholesky: ArrayLike, covariance_type: str = "full") -> FloatArray:
    """The covariances (U U^T)^-1, shapes as those of U.

    Raises
    ------
    ValueError, TypeError
        The factors have the wrong dimensions, or are no factors.

    Examples
    --------
    >>> from gaussum.functions import covariances
    >>> covariances([0.5, 1.0], "spherical")
    array([4., 1.])
    """
    factors = arguments.by_type(precisions_cholesky, "precisions_cholesky", covariance_type)
    arguments.check_factors(covariance_type, factors.shape[-1], factors)
    return covariance.covariances_of(covariance_type, factors)


def gaussian_log_sum(
    X: ArrayLike, sources: ArrayLike, weights: ArrayLike | None, bandwidths: ArrayLike, *, rtol: float = 1e-6,
    out: FloatArray | None = None, n_threads: int | None = None,
) -> FloatArray:
    """log sum_s w_s prod_j N(x_j; s_j, h_j^2) at every target x: the log of a weighted sum of Gaussians.

    For sums over the same sources again and again, `KernelDensity` keeps what is prepared for them.

    Parameters
    ----------
    X : array_like, shape (n_targets, n_features) or (n_targets,)
        Targets.
    sources : array_like, shape (n_sources, n_features) or (n_sources,)
        These are copied, feature by feature.
    weights : array_like, shape (n_sources,), or None
        Not negative, of any total; None means 1 / n_sources each, a kernel density.
    bandwidths : float or array_like, shape (n_features,)
        Standard deviations h_j, in the units of the data.
    rtol : float
        Bound on the relative error of every sum (the absolute error of its log), near or far; 0 is the direct sum.
    out : ndarray of float64, shape (n_targets,), C-contiguous, optional
        Where the result goes.
    n_threads : int, optional

    Returns
    -------
    ndarray, shape (n_targets,)
        `out`, if it is given.

    Raises
    ------
    ValueError, TypeError
        As by `log_density`.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum.functions import gaussian_log_sum
    >>> gaussian_log_sum([0.0, 1e3], [0.0, 1.0], [2.0, 1.0], 1.0).round(2)
    array([ 4.0000000e-02, -4.9900142e+05])
    """
    sources = check_samples(sources, name="sources")
    n, d = sources.shape
    X = check_samples(X, n_features=d)
    weights = check_weights(weights, n, name="weights")
    check_number(rtol, "rtol", minimum=0.0)
    h = np.full(d, check_number(bandwidths, "bandwidths", minimum=0.0)) if np.ndim(bandwidths) == 0 else check_array(
        bandwidths, "bandwidths", (d,)
    )
    if (h < _SMALLEST_BANDWIDTH).any():
        raise ValueError(f"bandwidths holds {h.min():g}; expected numbers of at least {_SMALLEST_BANDWIDTH:g}")
    given = {"X": X, "sources": sources, "weights": weights, "bandwidths": h}
    out = arguments.output(out, "out", X.shape[:1], given)
    if weights is None:
        log_weights, log_total = np.full(n, -np.log(n)), 0.0
    else:
        sources, weights = sources[weights > 0], weights[weights > 0]
        log_total = np.log(weights.sum())
        log_weights = np.log(weights) - log_total
    np.add(GaussianSum(sources, log_weights, h).log_density(X, rtol=rtol, n_threads=n_threads), log_total, out=out)
    return out
