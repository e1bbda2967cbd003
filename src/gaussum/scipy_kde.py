"""`gaussian_kde`: the interface of `scipy.stats.gaussian_kde` on the sums of this package.

The kernel is a full matrix, the data's covariance times a squared factor. Where that is singular, directions in which
the data do not vary get a little variance of their own, so that there is a density, and a warning says so.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg, special

from gaussum import parallel
from gaussum.summation import GaussianSum
from gaussum.typing import ArrayLike, FloatArray
from gaussum.validation import check_number, check_weights
from gaussum.whitening import sum_with_matrix

# Directions with less than this share of the variance, all features scaled to 1, hold rounding alone; they get the
# other.
_NO_VARIANCE = 16.0 * np.finfo(np.float64).eps
_RIDGE = 1e-8
# The bound where none is given, unless the rounding of sums over so many samples is above it.
_RTOL = 1e-10
_ROUNDING = 8.0 * np.finfo(np.float64).eps


class gaussian_kde:
    """A kernel density estimate with Gaussian kernels: `scipy.stats.gaussian_kde`, fast from a million points on too.

    Constructor, methods, attributes, shapes and random numbers are SciPy's, and so are the values, within `rtol`.
    What differs: the log density is accurate in every tail; objects can be pickled and copied whatever the bandwidth;
    and data on a line or a plane of their space are no error. The directions in which they do not vary get 1e-8 of
    the features' variance, with a warning.

    Parameters
    ----------
    dataset : array_like, shape (d, n) or (n,)
        One column a sample.
    bw_method : {None, "scott", "silverman"}, scalar or callable, optional
        The factor that multiplies the standard deviations of the data; a callable is given this object. None is Scott's
        rule, or what a subclass has as `covariance_factor`.
    weights : array_like, shape (n,), optional
    rtol : float, optional
        Bound on the relative error of the density at every point. None is 1e-10, or 8 (n + 1000) roundings if that
        is more; 0 is the direct sum.
    n_threads : int, optional
        None means all processors. The result is the same to the last bit for any number.

    Attributes
    ----------
    dataset : ndarray, shape (d, n)
    d, n : int
    weights : ndarray, shape (n,)
        Adding up to 1.
    neff : float
        The effective number of samples, 1 / sum w^2 (Kish 1965).
    factor : float
        Of the bandwidth.
    covariance, inv_cov, cho_cov : ndarray, shape (d, d)
        Of the kernel: the data's times factor^2; its inverse; its lower Cholesky factor.
    log_det : float
        log det (2 pi covariance).

    Raises
    ------
    ValueError
        Fewer than two elements, more features than samples, NaN or infinity, bad weights, a `bw_method` that is none of
        these.
    numpy.linalg.LinAlgError
        No feature varies.

    Notes
    -----
    Others gain without changing their code where they look SciPy's class up: pandas does so whenever it plots, seaborn
    when it is imported::

        import scipy.stats, gaussum
        scipy.stats.gaussian_kde = gaussum.gaussian_kde             # then import seaborn
        seaborn._statistics.gaussian_kde = gaussum.gaussian_kde     # or, if it is imported already

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import gaussian_kde
    >>> kde = gaussian_kde(np.random.default_rng(0).normal(size=(2, 10_000)))
    >>> kde([[0.0, 1.0], [0.0, 1.0]]).round(3)
    array([0.145, 0.062])
    >>> bool(kde.logpdf([100.0, 100.0]) < -10_000)
    True
    """

    def __init__(
        self, dataset: ArrayLike, bw_method: Any = None, weights: ArrayLike | None = None, *, rtol: float | None = None,
        n_threads: int | None = None
    ) -> None:
        self.dataset = np.atleast_2d(np.asarray(dataset))
        if not self.dataset.size > 1:
            raise ValueError(f"dataset has {self.dataset.size} elements; expected at least two")
        if self.dataset.ndim != 2:
            raise ValueError(f"dataset has shape {self.dataset.shape}; expected (d, n), one column a sample")
        self.d, self.n = self.dataset.shape
        checked = None if weights is None else check_weights(np.atleast_1d(weights), self.n, name="weights")
        if checked is not None:
            self._weights = checked / checked.sum()
        if self.d > self.n:
            raise ValueError(
                f"dataset has {self.d} features and {self.n} samples, fewer than that; every column is a sample: "
                "transpose it if its rows are"
            )
        if not np.isfinite(self._data()).all():
            raise ValueError("dataset holds NaN or infinity; expected finite numbers")
        self.rtol = rtol if rtol is None else check_number(rtol, "rtol", minimum=0.0)
        self.n_threads = n_threads
        parallel.resolve_threads(n_threads)
        self.set_bandwidth(bw_method)

    def scotts_factor(self) -> float:
        """Scott's factor, neff^(-1 / (d + 4))."""
        return np.float64(math.pow(self.neff, -1.0 / (self.d + 4)))

    def silverman_factor(self) -> float:
        """Silverman's factor, (neff (d + 2) / 4)^(-1 / (d + 4))."""
        return np.float64(math.pow(self.neff * (self.d + 2.0) / 4.0, -1.0 / (self.d + 4)))

    def covariance_factor(self) -> float:
        """The factor of the bandwidth; a subclass may give another."""
        return self.scotts_factor()

    def set_bandwidth(self, bw_method: Any = None) -> None:
        """Take another bandwidth.

        Parameters
        ----------
        bw_method : {None, "scott", "silverman"}, scalar or callable
            As for the constructor; None changes nothing.
        """
        if bw_method is not None:
            self._bw_method = bw_method
            self.__dict__["covariance_factor"] = self._chosen = self._factor_by(bw_method)
        self._compute_covariance()

    def _factor_by(self, bw_method: Any) -> Callable[[], float]:
        if isinstance(bw_method, str) and bw_method == "scott":
            return self.scotts_factor
        if isinstance(bw_method, str) and bw_method == "silverman":
            return self.silverman_factor
        if np.isscalar(bw_method) and not isinstance(bw_method, str):
            scalar: Any = bw_method
            return functools.partial(float, scalar)
        if callable(bw_method):
            return functools.partial(bw_method, self)
        raise ValueError(f"bw_method is {bw_method!r}; expected 'scott', 'silverman', a scalar or a callable")

    def _compute_covariance(self) -> None:
        """The kernel's covariance, from the factor and the data's."""
        self.factor = self.covariance_factor()
        if not (np.isfinite(self.factor) and self.factor != 0):
            raise ValueError(f"the factor of the bandwidth is {self.factor}; expected a finite number other than 0")
        if not hasattr(self, "_data_cho_cov"):
            self._data_covariance, self._data_cho_cov = _regular(
                np.atleast_2d(np.cov(self._data(), rowvar=True, bias=False, aweights=self.weights))
            )
        self.covariance = self._data_covariance * self.factor**2
        self.cho_cov = self._data_cho_cov * self.factor
        self.log_det = 2.0 * np.log(np.abs(np.diag(self.cho_cov))).sum() + self.d * math.log(2.0 * math.pi)

    @property
    def inv_cov(self) -> FloatArray:
        """The inverse of the kernel's covariance, shape (d, d)."""
        inverse: FloatArray = linalg.inv(self.covariance)
        return inverse

    @property
    def weights(self) -> FloatArray:
        """The weights of the samples, shape (n,), adding up to 1."""
        if not hasattr(self, "_weights"):
            self._weights = np.full(self.n, 1.0 / self.n)
        weights: FloatArray = self._weights
        return weights

    @property
    def neff(self) -> float:
        """The effective number of samples, 1 / sum w^2."""
        if not hasattr(self, "_neff"):
            self._neff = np.float64(1.0 / (self.weights @ self.weights))
        return self._neff

    def evaluate(self, points: ArrayLike) -> FloatArray:
        """The density at points.

        Parameters
        ----------
        points : array_like, shape (d, m), or (d,) for one point
            NaN gives NaN.

        Returns
        -------
        ndarray, shape (m,)

        Raises
        ------
        ValueError
            The points have another dimension than the data.
        """
        return np.exp(self.logpdf(points))

    def __call__(self, points: ArrayLike) -> FloatArray:
        """The density at points: `evaluate`."""
        return self.evaluate(points)

    def pdf(self, x: ArrayLike) -> FloatArray:
        """The density at points: `evaluate`."""
        return self.evaluate(x)

    def logpdf(self, x: ArrayLike) -> FloatArray:
        """The log density at points, finite and accurate in every tail; shapes as of `evaluate`."""
        points = np.atleast_2d(np.asarray(x)).astype(np.float64)
        if points.ndim != 2 or points.shape[0] != self.d:
            if points.shape != (1, self.d):
                raise ValueError(f"points have dimension {points.shape[0]}, dataset has dimension {self.d}")
            points = points.reshape(self.d, 1)
        finite = np.isfinite(points).all(axis=0)
        out = np.where(np.isnan(points).any(axis=0), np.nan, -np.inf)
        if finite.any():
            out[finite] = self._log_density(self._sum_of_kernels(), points[:, finite])
        return out

    def integrate_gaussian(self, mean: ArrayLike, cov: ArrayLike) -> float:
        """The integral of the density times a Gaussian.

        Parameters
        ----------
        mean : array_like, shape (d,)
        cov : array_like, shape (d, d)

        Returns
        -------
        float

        Raises
        ------
        ValueError
            Mean or covariance have another dimension than the data.
        numpy.linalg.LinAlgError
            The sum of the covariances is not positive definite.
        """
        mean, cov = np.atleast_1d(np.squeeze(mean)), np.atleast_2d(cov)
        if mean.shape != (self.d,):
            raise ValueError(f"mean has shape {mean.shape}; expected ({self.d},)")
        if cov.shape != (self.d, self.d):
            raise ValueError(f"covariance has shape {cov.shape}; expected ({self.d}, {self.d})")
        L = linalg.cholesky(self.covariance + cov, lower=True)
        z = linalg.solve_triangular(L, self._data() - mean[:, np.newaxis], lower=True)
        log_norm = np.log(np.diag(L)).sum() + 0.5 * self.d * math.log(2.0 * math.pi)
        return np.float64(self.weights @ np.exp(-0.5 * (z * z).sum(axis=0) - log_norm))

    def integrate_box_1d(self, low: float, high: float) -> float:
        """The integral between two bounds, of a density of one dimension; ValueError where there are more."""
        if self.d != 1:
            raise ValueError(f"the density has {self.d} dimensions; integrate_box_1d is for one")
        z = (np.array([low, high], dtype=np.float64)[:, np.newaxis] - self._data()) / math.sqrt(self.covariance[0, 0])
        return np.float64(self.weights @ (special.ndtr(z[1]) - special.ndtr(z[0])))

    def integrate_box(
        self, low_bounds: ArrayLike, high_bounds: ArrayLike, maxpts: int | None = None, *,
        rng: np.random.Generator | None = None
    ) -> float:
        """The integral of the density over a box, by SciPy's `multivariate_normal`, sample by sample.

        Parameters
        ----------
        low_bounds, high_bounds : array_like, shape (d,)
        maxpts : int, optional
            Points of the integration.
        rng : numpy.random.Generator, optional
            Of its random numbers, where SciPy takes one.
        """
        from scipy.stats import multivariate_normal             # it loads half of SciPy

        low, high = np.asarray(low_bounds) - self._data().T, np.asarray(high_bounds) - self._data().T
        some = {} if rng is None else {"rng": rng}
        return np.float64(self.weights @ np.atleast_1d(
            multivariate_normal.cdf(high, lower_limit=low, cov=self.covariance, maxpts=maxpts, **some)
        ))

    def integrate_kde(self, other: Any) -> float:
        """The integral of the product with another estimate.

        Parameters
        ----------
        other : gaussian_kde
            Or SciPy's.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            The dimensions differ.
        """
        if other.d != self.d:
            raise ValueError(f"other has dimension {other.d}; expected {self.d}")
        total = self._sum_with(self.covariance + other.covariance)
        return np.float64(other.weights @ np.exp(self._log_density(total, np.asarray(other.dataset, dtype=np.float64))))

    def resample(self, size: int | None = None, seed: Any = None) -> FloatArray:
        """Draw samples, shape (d, size); for the same seed those of SciPy.

        Parameters
        ----------
        size : int, optional
            None is neff, rounded down.
        seed : None, int, numpy.random.Generator or RandomState
            None is NumPy's global state.
        """
        size = int(self.neff) if size is None else size
        if seed is None or seed is np.random:
            seed = np.random.mtrand._rand
        elif not isinstance(seed, (np.random.Generator, np.random.RandomState)):
            seed = np.random.RandomState(seed)
        noise = seed.multivariate_normal(np.zeros(self.d), self.covariance, size=size).T
        drawn: FloatArray = self.dataset[:, seed.choice(self.n, size=size, p=self.weights)] + noise
        return drawn

    def marginal(self, dimensions: ArrayLike) -> "gaussian_kde":
        """The estimate of some of the dimensions alone, with the same factor.

        Parameters
        ----------
        dimensions : int or array_like of int

        Returns
        -------
        gaussian_kde

        Raises
        ------
        ValueError
            Dimensions that are no integers, that repeat or do not exist.
        """
        dims = np.atleast_1d(dimensions)
        if not np.issubdtype(dims.dtype, np.integer):
            raise ValueError(f"dimensions holds {dims.dtype}; expected integers")
        wrong = (dims < -self.d) | (dims >= self.d)
        if wrong.any():
            raise ValueError(f"dimensions {dims[wrong]} are invalid for a distribution in {self.d} dimensions")
        if len(np.unique(dims % self.d)) != len(dims):
            raise ValueError(f"dimensions is {dims}; all have to be different")
        return gaussian_kde(self.dataset[dims % self.d], self.covariance_factor(), self.weights, rtol=self.rtol,
                            n_threads=self.n_threads)

    def _data(self) -> FloatArray:
        return np.asarray(self.dataset, dtype=np.float64)

    def _sum_of_kernels(self) -> Any:
        """The sum that is the density, of the dataset, the weights and the covariance as they are now."""
        now = self.dataset, self.weights, self.covariance
        kept = getattr(self, "_kept", None)
        if kept is None or kept[0] is not now[0] or kept[1] is not now[1] or not np.array_equal(kept[2], now[2]):
            self._kept = kept = *now, self._sum_with(self.covariance)
        return kept[3]

    def _sum_with(self, covariance: FloatArray) -> Any:
        X, weights = self._data().T, self.weights
        if not weights.all():
            X, weights = X[weights > 0], weights[weights > 0]
        return sum_with_matrix(GaussianSum, X, np.log(weights), np.asarray(covariance, dtype=np.float64))

    def _log_density(self, total: Any, points: FloatArray) -> FloatArray:
        rtol = max(_RTOL, _ROUNDING * (self.n + 1000.0)) if self.rtol is None else self.rtol
        logs: FloatArray = total.log_density(points.T, rtol=rtol, n_threads=self.n_threads)
        return logs

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__ | {"_kept": None}
        # the factor that was chosen refers to this object: it is chosen again
        if "_chosen" in state and state.get("covariance_factor") is state["_chosen"]:
            del state["covariance_factor"]
            state["_chosen"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        if state.get("_chosen", self) is None:
            self.__dict__["covariance_factor"] = self._chosen = self._factor_by(self._bw_method)


def _regular(covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A covariance of data, with a little variance and a warning where it has none, and its lower Cholesky factor."""
    scale = np.sqrt(np.diag(covariance))
    if not scale.any():
        raise np.linalg.LinAlgError("no feature of the dataset varies: there is no bandwidth")
    varies = scale > 0
    # a constant feature has no unit of its own
    scale[~varies] = math.sqrt(np.mean(scale[varies] ** 2))
    correlation = covariance / scale / scale[:, np.newaxis]
    values, vectors = np.linalg.eigh(correlation)
    flat = values <= _NO_VARIANCE * len(scale)
    if flat.any():
        parallel.warn(
            f"the dataset does not vary in {flat.sum()} of {len(scale)} directions: its covariance is singular. The "
            f"kernel gets {_RIDGE:g} of the features' variance there; the density is that within the subspace times "
            "a narrow Gaussian across it", RuntimeWarning,
        )
        values[flat] = _RIDGE
        covariance = (vectors * values) @ vectors.T * scale * scale[:, np.newaxis]
        covariance = 0.5 * (covariance + covariance.T)
    return covariance, linalg.cholesky(covariance, lower=True)
