"""Bandwidths for kernel densities from the spread and the number of the samples, or from the samples themselves.

`scott` and `silverman` multiply the standard deviation of each feature by a factor that shrinks with the number of
samples, which is right for one bell. The others look at the shape of the data; `auto` is the default of KernelDensity.
Those of gaussum.bandwidth_matrix, which give covariance matrices for several features, are here too.

Weighted samples count as ``n_eff = (sum w)^2 / sum w^2`` (Kish 1965), and their variance is divided by
``sum w - sum w^2 / sum w``, which is n - 1 without weights: the conventions of `scipy.stats.gaussian_kde`. Samples of
zero weight count for nothing. Every selector follows the data's scale and does not notice their offset.
"""

from collections.abc import Callable

import numpy as np

from gaussum import parallel, univariate
from gaussum.bandwidth_matrix import auto_matrix, lcv_matrix, lscv_matrix, plug_in, scott_matrix, silverman_matrix
from gaussum.spread import BandwidthWarning, spread
from gaussum.typing import ArrayLike, FloatArray
from gaussum.validation import check_samples, check_weights

__all__ = [
    "BandwidthWarning", "auto", "auto_matrix", "improved_sheather_jones", "lcv", "lcv_matrix", "lscv", "lscv_matrix",
    "plug_in", "scott", "scott_matrix", "sheather_jones", "silverman", "silverman_matrix",
]

# Of effective samples: below, there are no pairs to speak of.
_FEWEST = 1.5


def scott(X: ArrayLike, sample_weight: ArrayLike | None = None) -> FloatArray:
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
    h: FloatArray = sigma * n_eff ** (-1.0 / (sigma.size + 4))
    return h


def silverman(X: ArrayLike, sample_weight: ArrayLike | None = None) -> FloatArray:
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
    h: FloatArray = sigma * (n_eff * (d + 2) / 4.0) ** (-1.0 / (d + 4))
    return h


def improved_sheather_jones(X: ArrayLike, sample_weight: ArrayLike | None = None) -> FloatArray:
    """The improved Sheather-Jones bandwidth, by name ``"isj"``: no normal density anywhere in it.

    The best bandwidth needs the roughness of the density's second derivative, whose own best bandwidth needs that of
    the third, and so on; seven stages up, the bandwidth is the answer itself, and the whole a fixed point. Where there
    are several, the largest up to three times the normal one is taken. The roughnesses are those of Botev's cosine
    transform, but on an endless line: sums over the frequencies of a Fourier transform, on grids as fine as each asks
    for, in which long gaps are shortened, so that outliers cost no resolution.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        With several features each is looked at by itself, and its bandwidth moved to the rate of a product kernel: what
        would be best for a normal density in one dimension becomes what is best for it in n_features.
    sample_weight : array_like, shape (n_samples,), optional
        Non-negative weights; a common factor changes nothing.

    Returns
    -------
    ndarray, shape (n_features,)
        One bandwidth a feature, in the feature's own units.

    Raises
    ------
    TypeError, ValueError
        As of `scott`.

    Warns
    -----
    BandwidthWarning
        The equation has no solution, as for very few samples: Silverman's rule of thumb, 0.9 times the lesser of
        standard deviation and interquartile range / 1.349, times ``n_eff ** -0.2``, is taken instead.

    Notes
    -----
    Repeated samples are one that weighs as much as all of them, so that integer weights and repetitions give the same.
    Samples that are equal because they are rounded (neighbouring values lie much alike apart) stay as many as they are,
    and the bandwidth is at least half of what they are rounded to. This holds for all selectors but the two rules.

    References
    ----------
    Z. I. Botev, J. F. Grotowski and D. P. Kroese, Kernel density estimation via diffusion, *Annals of Statistics* 38,
    2010, 2916-2957, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = np.concatenate([rng.normal(0, 1, 500), rng.normal(50, 1, 500)])
    >>> improved_sheather_jones(x).round(1), scott(x).round(1)     # one bell has half as many samples each
    (array([0.3]), array([6.3]))
    """
    return select_by(X, sample_weight, "isj", univariate.improved_sheather_jones)


def sheather_jones(X: ArrayLike, sample_weight: ArrayLike | None = None) -> FloatArray:
    """Sheather and Jones's bandwidth, by name ``"sheather_jones"`` or ``"sj"``: the solve-the-equation plug-in.

    Steady, and R's recommendation (``bw.SJ``). Its first stage takes the data for one bell of their interquartile
    range: where clusters are far apart it is too wide, and `improved_sheather_jones` is not.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        Several features as in `improved_sheather_jones`.
    sample_weight : array_like, shape (n_samples,), optional

    Returns
    -------
    ndarray, shape (n_features,)

    Raises
    ------
    TypeError, ValueError
        As of `scott`.

    Warns
    -----
    BandwidthWarning
        As of `improved_sheather_jones`.

    References
    ----------
    S. J. Sheather and M. C. Jones, A reliable data-based bandwidth selection method for kernel density estimation,
    *Journal of the Royal Statistical Society B* 53, 1991, 683-690.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=1000)
    >>> bool(abs(sheather_jones(x) / silverman(x) - 1)[0] < 0.2)
    True
    """
    return select_by(X, sample_weight, "sheather_jones", univariate.sheather_jones)


def lscv(X: ArrayLike, sample_weight: ArrayLike | None = None) -> FloatArray:
    """Least-squares (unbiased) cross-validation, by name ``"lscv"``, for one feature.

    The least of ``int f^2 - 2 mean of f_(-i)(x_i)``, an unbiased estimate of the integrated squared error but for a
    constant, over all bandwidths: a ladder, then the root of the derivative. With weights, pairs count by the product
    of theirs. It assumes nothing and varies much: prefer `auto` unless the density is very rough.

    Parameters
    ----------
    X : array_like, shape (n_samples, 1) or (n_samples,)
    sample_weight : array_like, shape (n_samples,), optional

    Returns
    -------
    ndarray, shape (1,)

    Raises
    ------
    TypeError, ValueError
        As of `scott`; more than one feature.

    Warns
    -----
    BandwidthWarning
        The score is least at the least bandwidths, as with rounded samples, whose tied pairs make it fall without end
        (Silverman 1986, section 3.4.3): the lowest minimum short of that is taken, or Silverman's rule of thumb, but no
        less than half of what samples are rounded to. Repeated samples leave each other out and do no such harm.

    References
    ----------
    M. Rudemo, *Scandinavian Journal of Statistics* 9, 1982, 65-78. A. W. Bowman, *Biometrika* 71, 1984, 353-360.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(1).normal(size=1000)
    >>> bool(0.5 < (lscv(x) / scott(x))[0] < 2)
    True
    """
    return select_by(X, sample_weight, "lscv", univariate.least_squares, several=False)


def lcv(X: ArrayLike, sample_weight: ArrayLike | None = None) -> FloatArray:
    """Leave-one-out likelihood cross-validation, by name ``"lcv"``, for one feature; robust.

    The largest mean of ``log f_(-i)(x_i)``, but not at the mercy of one isolated sample, whose logarithm would make the
    bandwidth as wide as its distance from the others: below ``a = sqrt(log(n) / 2) / (n s)``, the density of a normal
    sample of n at its outermost (s is the lesser of standard deviation and interquartile range / 1.349), the logarithm
    goes on as a straight line, ``log a - 1 + f / a``, and what that adds on average is taken off. Where no sample is
    so isolated this is the usual likelihood. It is best for the Kullback-Leibler divergence, not for squared error:
    on heavy tails its bandwidths are wide.

    Parameters
    ----------
    X : array_like, shape (n_samples, 1) or (n_samples,)
    sample_weight : array_like, shape (n_samples,), optional

    Returns
    -------
    ndarray, shape (1,)

    Raises
    ------
    TypeError, ValueError
        As of `scott`; more than one feature.

    Warns
    -----
    BandwidthWarning
        As of `lscv`.

    References
    ----------
    X. Wu, Robust likelihood cross-validation for kernel density estimation, *Journal of Business and Economic
    Statistics* 37, 2019, 761-770. J. D. F. Habbema, J. Hermans and K. van den Broek, *Compstat* 1974.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(1).normal(size=1000)
    >>> bool(lcv(np.append(x, 1e6))[0] < 1)         # one sample a million away
    True
    """
    return select_by(X, sample_weight, "lcv", univariate.likelihood, several=False)


def auto(X: ArrayLike, sample_weight: ArrayLike | None = None) -> FloatArray:
    """The default of KernelDensity: improved Sheather-Jones for one feature, `auto_matrix` for several.

    On Marron and Wand's fifteen densities `improved_sheather_jones` comes nearest to the least integrated squared error
    (``python -m bench.marron_wand``). Below an effective 25 samples Silverman's rule of thumb is nearer, and taken.
    Where the equation has no solution `sheather_jones` is taken, then the rule of thumb. A value that far more samples
    share than any other (the zeros of rainfall) counts once; where all are rounded, the bandwidth is at least half of
    what they are rounded to. No warning is given for any of this.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
    sample_weight : array_like, shape (n_samples,), optional

    Returns
    -------
    ndarray, shape (n_features,) or (n_features, n_features)
        A matrix is a covariance, in squared units.

    Raises
    ------
    TypeError, ValueError
        As of `scott`.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=1000)
    >>> bool(auto(x) == improved_sheather_jones(x)), auto(np.c_[x, x**2]).shape
    (True, (2, 2))
    """
    X = check_samples(X)
    if X.shape[1] > 1:
        return auto_matrix(X, sample_weight)
    return select_by(X, sample_weight, "auto", univariate.automatic)


# By the names that KernelDensity takes.
SELECTORS = {
    "auto": auto,
    "scott": scott,
    "silverman": silverman,
    "isj": improved_sheather_jones,
    "improved_sheather_jones": improved_sheather_jones,
    "sheather_jones": sheather_jones,
    "sj": sheather_jones,
    "lscv": lscv,
    "lcv": lcv,
}


def select_by(
    X: ArrayLike, sample_weight: ArrayLike | None, name: str, method: Callable[[univariate.Line], univariate.Found], *,
    several: bool = True, period: float | None = None,
) -> FloatArray:
    """A bandwidth for every feature by a method of gaussum.univariate."""
    X = check_samples(X)
    d, w = X.shape[1], check_weights(sample_weight, X.shape[0])
    if d > 1 and not several:
        raise ValueError(f"X has {d} features; {name} expects one, and {name}_matrix takes several")
    spread(X, w)                # refuses constant features
    if w is not None and not w.all():
        X, w = X[w > 0], w[w > 0]
    h = np.empty(d)
    for j in range(d):
        line = univariate.Line(X[:, j], w, period)
        line = line.without_atoms() if name == "auto" else line
        few = line.n <= _FEWEST and name != "auto"
        found, reason = (None, "X has hardly more than one effective sample") if few else method(line)
        if reason is not None:
            what = "the best bandwidth short of that" if found else "Silverman's rule of thumb"
            where = f" of column {j}" if d > 1 else ""
            parallel.warn(f"bandwidth {name!r}{where}: {reason}; {what} is taken instead", BandwidthWarning)
        # from the rate of one dimension to that of d
        rate = (line.n * (d + 2) / 4.0) ** (-1.0 / (d + 4)) * (line.n * 0.75) ** 0.2 if d > 1 else 1.0
        h[j] = max((found or line.rule()) * rate * line.unit, np.finfo(np.float64).smallest_subnormal)
    return h
