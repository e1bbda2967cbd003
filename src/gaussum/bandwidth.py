"""Bandwidths for kernel densities from the spread and the number of the samples, and by gaussum.bandwidth_matrix.

`scott` and `silverman` multiply the standard deviation of each feature by a factor that shrinks with the number of
samples. Weighted samples count as ``n_eff = (sum w)^2 / sum w^2`` (Kish 1965), and their variance is
divided by ``sum w - sum w^2 / sum w``, which is n - 1 without weights: the conventions of
`scipy.stats.gaussian_kde`. Samples of zero weight count for nothing.
"""

from functools import partial

import numpy as np

from gaussum.bandwidth_matrix import auto_matrix, lcv_matrix, lscv_matrix, plug_in, scott_matrix, silverman_matrix
from gaussum.spread import spread


def scott(X, sample_weight=None):
    """Scott's rule: ``sigma_j * n_eff ** (-1 / (d + 4))`` for feature j of d.

    It is scale-aware, as a bandwidth must be: scikit-learn's ``bandwidth="scott"`` is the factor alone,
    without the standard deviation, and so depends on the units of the data.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        Samples. Read in blocks of rows, so that it may be memory-mapped.
    sample_weight : array_like, shape (n_samples,), optional
        Non-negative weights; a common factor changes nothing.

    Returns
    -------
    ndarray, shape (n_features,)
        One bandwidth a feature, in the feature's own units.

    Raises
    ------
    TypeError, ValueError
        Bad samples or weights; fewer than two samples with a weight; a constant feature, which gives no
        bandwidth.

    References
    ----------
    D. W. Scott, *Multivariate Density Estimation*, Wiley 1992, p. 152. L. Kish, *Survey Sampling*, Wiley
    1965.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(32.0)
    >>> scott(x) / np.std(x, ddof=1)
    array([0.5])
    """
    sigma, n_eff = spread(X, sample_weight)
    return sigma * n_eff ** (-1.0 / (sigma.size + 4))


def silverman(X, sample_weight=None):
    """Silverman's rule: ``sigma_j * (n_eff * (d + 2) / 4) ** (-1 / (d + 4))`` for feature j of d.

    The bandwidth of least asymptotic mean integrated squared error when the density is normal with
    independent features. Scale-aware, unlike scikit-learn's ``bandwidth="silverman"``, which is the factor
    alone.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        Samples. Read in blocks of rows, so that it may be memory-mapped.
    sample_weight : array_like, shape (n_samples,), optional
        Non-negative weights; a common factor changes nothing.

    Returns
    -------
    ndarray, shape (n_features,)
        One bandwidth a feature, in the feature's own units.

    Raises
    ------
    TypeError, ValueError
        Bad samples or weights; fewer than two samples with a weight; a constant feature, which gives no
        bandwidth.

    References
    ----------
    B. W. Silverman, *Density Estimation for Statistics and Data Analysis*, Chapman and Hall 1986, section
    4.3.2.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> bool(np.allclose(silverman(X), scott(X)))       # the factors agree in two dimensions
    True
    """
    sigma, n_eff = spread(X, sample_weight)
    d = sigma.size
    return sigma * (n_eff * (d + 2) / 4.0) ** (-1.0 / (d + 4))


def _of_each_size(one, several):
    """A selector that is one for a single feature and another for several."""
    return lambda X, sample_weight=None: (one if np.ndim(X) < 2 or np.shape(X)[1] == 1 else several)(X, sample_weight)


SELECTORS = {
    "auto": _of_each_size(scott, auto_matrix),
    "scott": scott,
    "silverman": silverman,
    "scott_matrix": _of_each_size(scott, scott_matrix),
    "silverman_matrix": _of_each_size(silverman, silverman_matrix),
    "plug_in": _of_each_size(partial(plug_in, diagonal=True), plug_in),
    "lscv": _of_each_size(partial(lscv_matrix, diagonal=True), lscv_matrix),
    "lcv": _of_each_size(partial(lcv_matrix, diagonal=True), lcv_matrix),
}
