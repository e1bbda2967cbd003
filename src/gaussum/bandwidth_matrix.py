"""Bandwidths for kernel densities of several features: covariance matrices of the kernel, and diagonal ones.

The public names are those of gaussum.bandwidth. A matrix is a covariance, in squared units of the data; with
``diagonal=True`` the selectors give standard deviations instead, one a feature, as the rules for vectors do.

Samples of zero weight count for nothing; weighted samples count as ``n_eff = (sum w)^2 / sum w^2`` (Kish 1965).
All matrices are equivariant to every affine map, ``H(A x + b) = A H(x) A'``, the diagonal ones to scale and shift.
"""

from collections.abc import Callable

from gaussum import multivariate, parallel
from gaussum.spread import BandwidthWarning, spread
from gaussum.typing import ArrayLike, FloatArray, SampleArray
from gaussum.validation import check_samples, check_weights

# Features up to which `auto` estimates derivatives of the density.
MOST_FEATURES = 6


def scott_matrix(X: ArrayLike, sample_weight: ArrayLike | None = None) -> FloatArray:
    """Scott's rule as a matrix: the samples' covariance times ``n_eff ** (-2 / (d + 4))``.

    The bandwidth of `scipy.stats.gaussian_kde`. Unlike `scott` it follows correlations.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features)
    sample_weight : array_like, shape (n_samples,), optional
        Non-negative weights; a common factor changes nothing.

    Returns
    -------
    ndarray, shape (n_features, n_features)
        A covariance, in squared units of the data.

    Raises
    ------
    TypeError, ValueError
        Bad samples or weights; fewer than two samples with a weight; a constant feature, or features that are linearly
        dependent, as always with no more samples than features: the covariance is singular.

    References
    ----------
    D. W. Scott, *Multivariate Density Estimation*, Wiley 1992, p. 152.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(64, 2)) @ [[1.0, 0.9], [0.0, 0.4]]
    >>> bool(np.allclose(scott_matrix(X), np.cov(X.T) / 4))
    True
    """
    X, w, sigma, n_eff = _checked(X, sample_weight)
    return multivariate.covariance(X, w, sigma, n_eff ** (-2.0 / (X.shape[1] + 4)))


def silverman_matrix(X: ArrayLike, sample_weight: ArrayLike | None = None) -> FloatArray:
    """Silverman's rule as a matrix: the samples' covariance times ``(n_eff * (d + 2) / 4) ** (-2 / (d + 4))``.

    The matrix of least asymptotic mean integrated squared error when the density is normal; too wide for any other.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features)
    sample_weight : array_like, shape (n_samples,), optional

    Returns
    -------
    ndarray, shape (n_features, n_features)
        A covariance, in squared units of the data.

    Raises
    ------
    TypeError, ValueError
        As of `scott_matrix`.

    References
    ----------
    M. P. Wand, Error analysis for general multivariate kernel estimators, *Journal of Nonparametric Statistics* 2,
    1992, 1-15.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> bool(np.allclose(silverman_matrix(X), scott_matrix(X)))     # the factors agree in two dimensions
    True
    """
    X, w, sigma, n_eff = _checked(X, sample_weight)
    return multivariate.covariance(X, w, sigma, multivariate.normal_reference(n_eff, X.shape[1]))


def plug_in(X: ArrayLike, sample_weight: ArrayLike | None = None, *, diagonal: bool = False) -> FloatArray:
    """The plug-in matrix, by name ``"plug_in"``: of least asymptotic error, the density's roughness estimated.

    The asymptotic mean integrated squared error of a bandwidth matrix holds integrals of the density's fourth
    derivatives; they are estimated by kernel sums, whose pilot bandwidth needs those of sixth derivatives, whose own is
    that of a normal density. Pilots are multiples of the samples' covariance at first, then of the matrix found, so
    that clusters are not taken for one bell.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features)
        The time grows with the square of the number of samples up to some thousand (5,000 for two features, 3,000 for
        six). Of more so many are drawn, always the same, for the derivatives' estimates.
    sample_weight : array_like, shape (n_samples,), optional
    diagonal : bool
        The best diagonal matrix.

    Returns
    -------
    ndarray, shape (n_features, n_features), or (n_features,)
        A covariance, in squared units of the data; standard deviations with `diagonal`.

    Raises
    ------
    TypeError, ValueError
        As of `scott_matrix`; with `diagonal` dependent features are no error.

    References
    ----------
    J. E. Chacon and T. Duong, Multivariate plug-in bandwidth selection with unconstrained pilot bandwidth matrices,
    *Test* 19, 2010, 375-398. M. P. Wand and M. C. Jones, Multivariate plug-in bandwidth selection, *Computational
    Statistics* 9, 1994, 97-116.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(1000, 2)) * 0.3 + rng.integers(0, 2, (1000, 1)) * 4      # two clusters on a diagonal
    >>> H = plug_in(X)
    >>> bool(np.abs(H[0, 1]) < 0.3 * H[0, 0]), bool(H[0, 0] < 0.1 * scott_matrix(X)[0, 0])  # nearly round, as they
    (True, True)
    """
    cloud = _cloud(X, sample_weight, diagonal)
    return cloud.in_units(multivariate.plug_in(cloud))


def lscv_matrix(X: ArrayLike, sample_weight: ArrayLike | None = None, *, diagonal: bool = False) -> FloatArray:
    """Least-squares cross-validated matrix, by name ``"lscv"``.

    The minimum of ``int f^2 - 2 mean of f_(-i)(x_i)``, an unbiased estimate of the integrated squared error but for a
    constant; with weights, pairs count by the product of theirs. It assumes nothing about the density, and varies from
    sample to sample much more than `plug_in`: the less so the more samples for the d (d + 1) / 2 entries.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features)
        The time grows with the square of the number of samples up to some thousand (5,000 for two features, 3,000 for
        six). Of more up to eight disjoint parts with as many pairs in all are drawn, always the same; their mean
        criterion's bandwidth is multiplied by ``(n_part / n_eff) ** (2 / (d + 4))``.
    sample_weight : array_like, shape (n_samples,), optional
    diagonal : bool
        The best diagonal matrix.

    Returns
    -------
    ndarray, shape (n_features, n_features), or (n_features,)
        A covariance, in squared units of the data; standard deviations with `diagonal`.

    Raises
    ------
    TypeError, ValueError
        As of `plug_in`.

    Warns
    -----
    BandwidthWarning
        Ties (as of rounded samples), or samples on a line or a plane, make the criterion fall without end as the
        bandwidth shrinks. Where there is no minimum short of that, `plug_in` is taken instead.

    References
    ----------
    S. R. Sain, K. A. Baggerly and D. W. Scott, Cross-validation of multivariate densities, *Journal of the American
    Statistical Association* 89, 1994, 807-817. T. Duong and M. L. Hazelton, Cross-validation bandwidth matrices for
    multivariate kernel density estimation, *Scandinavian Journal of Statistics* 32, 2005, 485-506.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 2)) @ [[1.0, 0.9], [0.0, 0.4]]
    >>> ratio = np.linalg.eigvals(np.linalg.solve(scott_matrix(X), lscv_matrix(X)))
    >>> bool((0.2 < ratio).all()), bool((ratio < 3).all())
    (True, True)
    """
    return _cross_validated(X, sample_weight, diagonal, "lscv", multivariate.least_squares)


def lcv_matrix(X: ArrayLike, sample_weight: ArrayLike | None = None, *, diagonal: bool = False) -> FloatArray:
    """Matrix of largest leave-one-out likelihood, by name ``"lcv"``.

    The maximum of the mean of ``log f_(-i)(x_i)``, finite however far a sample lies. Best for the Kullback-Leibler
    divergence rather than the squared error: outliers and heavy tails make it wide.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features)
        As of `lscv_matrix`.
    sample_weight : array_like, shape (n_samples,), optional
    diagonal : bool
        The best diagonal matrix.

    Returns
    -------
    ndarray, shape (n_features, n_features), or (n_features,)
        A covariance, in squared units of the data; standard deviations with `diagonal`.

    Raises
    ------
    TypeError, ValueError
        As of `plug_in`.

    Warns
    -----
    BandwidthWarning
        As of `lscv_matrix`, where every sample has others at its place; and where some lie so far from all others, as
        in heavy tails, that the likelihood asks for bandwidths as wide as that.

    References
    ----------
    R. P. W. Duin, On the choice of smoothing parameters for Parzen estimators of probability density functions, *IEEE
    Transactions on Computers* 25, 1976, 1175-1179.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 2)) @ [[1.0, 0.9], [0.0, 0.4]]
    >>> ratio = np.linalg.eigvals(np.linalg.solve(scott_matrix(X), lcv_matrix(X)))
    >>> bool((0.2 < ratio).all()), bool((ratio < 3).all())
    (True, True)
    """
    return _cross_validated(X, sample_weight, diagonal, "lcv", multivariate.likelihood)


def auto_matrix(X: ArrayLike, sample_weight: ArrayLike | None = None, *, diagonal: bool = False) -> FloatArray:
    """What ``"auto"`` means for several features: `plug_in` up to six features, above them `scott_matrix`.

    On Wand and Jones's twelve bivariate densities, and on some in three dimensions, `plug_in` has the least integrated
    squared error (``python -m bench.bandwidth_matrix``). Where the covariance is singular, which no matrix
    can follow, Scott's rule gives a bandwidth for each feature, as it does above six features with `diagonal`.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features)
    sample_weight : array_like, shape (n_samples,), optional
    diagonal : bool

    Returns
    -------
    ndarray, shape (n_features, n_features), or (n_features,)
        A covariance, in squared units of the data; standard deviations with `diagonal` or a singular covariance.

    Raises
    ------
    TypeError, ValueError
        Bad samples or weights; fewer than two samples with a weight; a constant feature.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> auto_matrix(X).shape, auto_matrix(X[:, [0, 0]]).shape
    ((2, 2), (2,))
    """
    X, w, sigma, n_eff = _checked(X, sample_weight)
    d = X.shape[1]
    try:
        if d <= MOST_FEATURES:
            cloud = multivariate.Cloud(X, w, sigma, n_eff, diagonal)
            return cloud.in_units(multivariate.plug_in(cloud))
        if not diagonal:
            return multivariate.covariance(X, w, sigma, n_eff ** (-2.0 / (d + 4)))
    except multivariate.SingularError:
        pass
    h: FloatArray = sigma * n_eff ** (-1.0 / (d + 4))
    return h


def _checked(
    X: ArrayLike, sample_weight: ArrayLike | None,
) -> tuple[SampleArray, FloatArray | None, FloatArray, float]:
    X = check_samples(X)
    w = check_weights(sample_weight, X.shape[0])
    return X, w, *spread(X, w)


def _cloud(X: ArrayLike, sample_weight: ArrayLike | None, diagonal: bool) -> multivariate.Cloud:
    return multivariate.Cloud(*_checked(X, sample_weight), diagonal)


def _cross_validated(
    X: ArrayLike, sample_weight: ArrayLike | None, diagonal: bool, name: str,
    method: Callable[[multivariate.Cloud], FloatArray | None],
) -> FloatArray:
    cloud = _cloud(X, sample_weight, diagonal)
    H = method(cloud)
    if H is None:
        parallel.warn(
            f"bandwidth {name!r}: there is no minimum near the plug-in bandwidth, as where many samples are tied or "
            "some lie far from all others; the plug-in bandwidth is taken instead", BandwidthWarning,
        )
        H = multivariate.plug_in(cloud)
    return cloud.in_units(H)
