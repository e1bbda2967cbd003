"""Bandwidths for kernel densities from the spread and the number of the samples.

Both rules multiply the standard deviation of each feature by a factor that shrinks with the number of
samples. Weighted samples count as ``n_eff = (sum w)^2 / sum w^2`` (Kish 1965), and their variance is
divided by ``sum w - sum w^2 / sum w``, which is n - 1 without weights: the conventions of
`scipy.stats.gaussian_kde`. Samples of zero weight count for nothing.
"""

import numpy as np

from gaussum.validation import check_samples, check_weights

# Rows looked at together: no temporary grows with n_samples x n_features.
_BLOCK_BYTES = 1 << 20


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
    sigma, n_eff = _spread(X, sample_weight)
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
    sigma, n_eff = _spread(X, sample_weight)
    d = sigma.size
    return sigma * (n_eff * (d + 2) / 4.0) ** (-1.0 / (d + 4))


def _spread(X, sample_weight):
    """Standard deviation of every feature, shape (d,), and the effective number of samples."""
    X = check_samples(X)
    w = check_weights(sample_weight, X.shape[0])
    if w is not None:
        w = w / w.max()  # so that no square overflows
    n_weighted = X.shape[0] if w is None else np.count_nonzero(w)
    if n_weighted < 2:
        what = "" if w is None else " with a positive weight"
        raise ValueError(
            f"X has one sample{what}; no bandwidth can be estimated from it: give a number as bandwidth"
        )
    total, n_eff, divisor = _weight_sums(w, X.shape[0])

    # Sums about a sample, then about the mean, both in units of the range: nothing cancels or overflows.
    low, high = np.full(X.shape[1], np.inf), np.full(X.shape[1], -np.inf)
    for block, _ in _blocks(X, w):
        low = np.minimum(low, block.min(axis=0))
        high = np.maximum(high, block.max(axis=0))
    if (low == high).any():
        j = int(np.argmax(low == high))
        raise ValueError(
            f"X is constant in column {j}, {low[j]:g}; no bandwidth can be estimated from it: "
            "give a number as bandwidth"
        )
    half = high / 2 - low / 2  # half the range cannot overflow
    half[half == 0] = np.finfo(np.float64).smallest_subnormal
    shift = low + half
    mean = shift + half * (sum(_weighed(wb, (block - shift) / half) for block, wb in _blocks(X, w)) / total)
    first = second = 0.0
    for block, wb in _blocks(X, w):
        z = (block - mean) / half
        first = first + _weighed(wb, z)
        second = second + _weighed(wb, z * z)
    return half * np.sqrt((second - first * first / total) / divisor), n_eff


def _weighed(w, z):
    """``sum_i w_i z_ij``, without BLAS, whose threads cost more than so small a product."""
    return np.einsum("i,ij->j", w, z)


def _weight_sums(w, n_samples):
    """``sum w``, ``(sum w)^2 / sum w^2`` and ``sum w - sum w^2 / sum w``."""
    if w is None:
        return float(n_samples), float(n_samples), n_samples - 1.0
    # The heaviest sample apart: the last expression would cancel when it outweighs all others.
    k = int(w.argmax())
    rest = w[:k].sum() + w[k + 1 :].sum()
    squares = w[:k] @ w[:k] + w[k + 1 :] @ w[k + 1 :]
    total = w[k] + rest
    return total, total**2 / (w[k] ** 2 + squares), (w[k] * rest + (total * rest - squares)) / total


def _blocks(X, w):
    """Blocks of rows as float64 with their weights, without samples of zero weight."""
    rows = max(1, _BLOCK_BYTES // (8 * X.shape[1]))
    for start in range(0, X.shape[0], rows):
        block = X[start : start + rows].astype(np.float64, copy=False)
        if w is None:
            yield block, np.ones(block.shape[0])
            continue
        wb = w[start : start + rows]
        if not wb.all():
            block, wb = block[wb > 0], wb[wb > 0]
        if wb.size:
            yield block, wb
