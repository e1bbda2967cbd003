"""Gaussian kernel density estimation."""

from typing import NamedTuple

import numpy as np

from gaussum import bandwidth as selectors
from gaussum import parallel
from gaussum.axes import check_axes, log_density_on_axes, plan_on_axes
from gaussum.base import Estimator, shape_name
from gaussum.summation import GaussianSum
from gaussum.validation import (
    check_array, check_choice, check_flag, check_integer, check_number, check_random_state, check_samples,
    check_weights,
)
from gaussum.whitening import check_bandwidth_matrix, sum_with_matrix

# Below this its inverse overflows.
_SMALLEST_BANDWIDTH = 1.0 / np.finfo(np.float64).max

SELECTORS = {"scott": selectors.scott, "silverman": selectors.silverman}


class OnGrid(NamedTuple):
    """What `KernelDensity.density_on_grid` gives.

    Attributes
    ----------
    density : ndarray, shape (n_1, ..., n_d)
        Or its logarithm, if that was asked for.
    axes : list of ndarrays, shape (n_j,)
        The points of every axis, in the units of the data.
    """

    density: np.ndarray
    axes: list


class KernelDensity(Estimator):
    """A kernel density estimate: one Gaussian on every sample (Rosenblatt 1956; Parzen 1962).

        f(x) = sum_s w_s prod_j N(x_j; s_j, h_j^2),   sum_s w_s = 1

    Parameters
    ----------
    bandwidth : float, {"scott", "silverman"} or array_like of shape (n_features,) or (n_features, n_features)
        A number or a vector is the standard deviation of the Gaussians, in the units of the data, for every feature or
        one a feature. A matrix is their covariance, in squared units, symmetric and positive definite: for one feature
        [[h**2]] is the number h. Or a rule that gives one number a feature (see gaussum.bandwidth; both rules take the
        scale of the data and the weights into account, where scikit-learn's rules take neither).
    kernel : {"gaussian"}
    rtol : float
        Bound on the relative error of the density at every query, near or far. Within it the cheapest plan is taken:
        the direct sum, a grid (up to three features), or a tree; see `explain`. 0 is the direct sum: in float32 where
        samples and queries are, with its rounding.
    n_threads : int, optional
        None means all processors. The result is the same to the last bit for any number.

    Attributes
    ----------
    bandwidth_ : float or ndarray of shape (n_features,) or (n_features, n_features)
        Standard deviations, a float when there is one feature or one number was given; or a covariance matrix.
    sources_ : ndarray, shape (n_sources, n_features)
        The samples of positive weight.
    source_weights_ : ndarray, shape (n_sources,)
        Their weights, adding up to 1.
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import KernelDensity
    >>> x = np.random.default_rng(0).normal(size=1000)
    >>> kde = KernelDensity().fit(x)
    >>> round(float(np.exp(kde.score_samples([0.0]))[0]), 1)
    0.4
    >>> bool(kde.score_samples([1000.0])[0] < -1e6)      # far away, and still finite
    True
    """

    def __init__(self, bandwidth="scott", *, kernel="gaussian", rtol=1e-6, n_threads=None):
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.rtol = rtol
        self.n_threads = n_threads

    def fit(self, X, y=None, sample_weight=None):
        """Keep the samples and settle the bandwidth.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features) or (n_samples,)
        y : ignored
        sample_weight : array_like, shape (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            Data or parameters that make no sense; a constant feature with a bandwidth by rule.
        """
        X = check_samples(X)
        weight = check_weights(sample_weight, X.shape[0])
        check_choice(self.kernel, "kernel", ("gaussian",))
        check_number(self.rtol, "rtol", minimum=0.0)
        h = self._bandwidths(X, weight)
        parallel.resolve_threads(self.n_threads)
        if weight is not None and not weight.all():
            X, weight = X[weight > 0], weight[weight > 0]
        one = X.shape[1] == 1 or np.ndim(self.bandwidth) == 0 and not isinstance(self.bandwidth, str)
        self.bandwidth_ = float(h[0]) if one and h.ndim == 1 else h
        self.n_features_in_ = X.shape[1]
        if weight is None:
            self.source_weights_ = np.full(X.shape[0], 1.0 / X.shape[0])
            log_weights = np.full(X.shape[0], -np.log(X.shape[0]))
        else:
            self.source_weights_ = weight / weight.sum()
            log_weights = np.log(weight) - np.log(weight.sum())
        self._sum = self._make_sum(X, log_weights, h)
        return self

    def _make_sum(self, X, log_weights, h):
        """The sum that is the density."""
        if h.ndim == 2:
            return sum_with_matrix(X, log_weights, h)
        return GaussianSum(X, log_weights, h, self.source_weights_)

    @property
    def sources_(self):
        """The samples of positive weight, shape (n_sources, n_features)."""
        self._check_fitted()
        return self._sum.sources()

    def _bandwidths(self, X, weight):
        d = X.shape[1]
        if isinstance(self.bandwidth, str):
            check_choice(self.bandwidth, "bandwidth", tuple(SELECTORS))
            return SELECTORS[self.bandwidth](X, weight)
        if np.ndim(self.bandwidth) == 0:
            if not isinstance(self.bandwidth, (int, float, np.number)):
                raise TypeError(
                    f"bandwidth is {shape_name(self.bandwidth)}; expected a number > 0, 'scott', 'silverman', "
                    f"or an array of shape ({d},) or ({d}, {d})"
                )
            h = check_number(self.bandwidth, "bandwidth", minimum=0.0, open_minimum=True)
            if h < _SMALLEST_BANDWIDTH:
                raise ValueError(f"bandwidth is {h:g}; expected a number of at least {_SMALLEST_BANDWIDTH:g}")
            return np.full(d, h)
        if np.ndim(self.bandwidth) == 2:
            return check_bandwidth_matrix(self.bandwidth, d)
        h = check_array(self.bandwidth, "bandwidth", (d,)).copy()
        if (h < _SMALLEST_BANDWIDTH).any():
            raise ValueError(f"bandwidth holds {h.min():g}; expected numbers of at least {_SMALLEST_BANDWIDTH:g}")
        return h

    def score_samples(self, X):
        """The log density at every query, shape (n_samples,), in nats; finite and accurate in the farthest tails."""
        self._check_fitted()
        X = check_samples(X, n_features=self.n_features_in_)
        return self._sum.log_density(X, rtol=self._rtol(), n_threads=self.n_threads)

    def density_on_grid(self, axes=None, *, log=False):
        """The density at all points of a tensor grid, to the same `rtol` at each of them, however small it is.

        Nothing is binned and no point moves. What the points of a row share is computed once: from a million samples,
        a few thousand points on a line or a few hundred thousand in a plane cost little more than reading the samples.
        A bandwidth that is a matrix does not factor over the axes: there the points are taken one by one, as by
        `score_samples`.

        Parameters
        ----------
        axes : None, int, or a sequence with one entry a feature
            An entry is a number of points (spaced evenly from four bandwidths below the data to four above), a tuple
            ``(low, high, n)`` (evenly spaced, both ends included), or the points themselves, array_like of shape
            (n_j,), in any order and with any spacing. With one feature the entry may stand alone. An int is the
            number of points on every axis; None is 1024, 256, 64 or 24 for one to four features.
        log : bool
            Give log densities, which are finite and accurate where densities are 0.

        Returns
        -------
        OnGrid
            ``density``, shape (n_1, ..., n_d), and ``axes``, a list of the points of every axis.

        Raises
        ------
        TypeError, ValueError
            An entry is none of these, or holds NaN or infinity.

        Examples
        --------
        >>> import numpy as np
        >>> from gaussum import KernelDensity
        >>> X = np.random.default_rng(0).normal(size=(100_000, 2))
        >>> density, (x, y) = KernelDensity().fit(X).density_on_grid([(-3, 3, 121), (-8, 8, 161)])
        >>> density.shape
        (121, 161)
        >>> round(float(density.sum() * (x[1] - x[0]) * (y[1] - y[0])), 2)
        1.0
        """
        self._check_fitted()
        axes, log = self._axes(axes), check_flag(log, "log")
        log_density = log_density_on_axes(self._sum, axes, self._rtol(), self.n_threads)
        return OnGrid(log_density if log else np.exp(log_density, out=log_density), axes)

    def explain_on_grid(self, axes=None):
        """How `density_on_grid` would find the density: a plan as of `explain`, or "product", of one table an axis."""
        self._check_fitted()
        return plan_on_axes(self._sum, self._axes(axes), self._rtol(), self.n_threads)

    def _axes(self, axes):
        def bounds():
            sources, h = self._sum.sources(), np.asarray(self.bandwidth_)
            h = np.sqrt(np.diagonal(h)) if h.ndim == 2 else np.broadcast_to(h, sources.shape[1])
            return sources.min(axis=0), sources.max(axis=0), h

        return check_axes(axes, self.n_features_in_, bounds)

    def score_leave_one_out(self):
        """The log density at every source (`sources_`) by the others, shape (n_sources,), in nats.

        What leave-one-out cross-validation adds up. A source leaves its own term out of its sum, and the weights of the
        others are divided by their total; a source alone has a density of 0 by the others.
        """
        self._check_fitted()
        log_density = self._sum.leave_one_out(rtol=self._rtol(), n_threads=self.n_threads)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(log_density == -np.inf, -np.inf, log_density - np.log1p(-self.source_weights_))

    def explain(self, X):
        """How `score_samples` would find the density at `X`, why so, and what it is expected to cost.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)

        Returns
        -------
        gaussum.summation.Plan
            `name` ("direct", "grid" or "tree"), `reason`, `seconds` on one thread, and `costs`, those of all plans
            considered; as text it is one line.

        Examples
        --------
        >>> import numpy as np
        >>> from gaussum import KernelDensity
        >>> x = np.random.default_rng(0).normal(size=100_000)
        >>> KernelDensity().fit(x).explain(x).name
        'grid'
        """
        self._check_fitted()
        X = check_samples(X, n_features=self.n_features_in_)
        return self._sum.plan(X, self._rtol(), n_threads=self.n_threads)

    def _rtol(self):
        return check_number(self.rtol, "rtol", minimum=0.0)

    def score(self, X, y=None):
        """The total log density of the samples, in nats (the total, as in scikit-learn's KernelDensity)."""
        return float(self.score_samples(X).sum())

    def sample(self, n_samples=1, random_state=None):
        """Draw new samples: a source by its weight, and Gaussian noise of the bandwidth.

        Parameters
        ----------
        n_samples : int
        random_state : None, int, numpy.random.Generator or RandomState

        Returns
        -------
        ndarray, shape (n_samples, n_features)
        """
        self._check_fitted()
        n_samples = check_integer(n_samples, "n_samples", minimum=1)
        rng = check_random_state(random_state)
        cumulative = np.cumsum(self.source_weights_)
        drawn = np.searchsorted(cumulative, rng.random(n_samples) * cumulative[-1], side="right")
        return self._sum.draw(drawn.clip(0, len(cumulative) - 1), rng)
