"""Gaussian kernel density estimation."""

import numpy as np

from gaussum import bandwidth as selectors
from gaussum import parallel
from gaussum.adaptive import sum_maker
from gaussum.base import Estimator, shape_name
from gaussum.validation import (
    check_array, check_choice, check_integer, check_number, check_random_state, check_samples, check_weights,
)

# Below this its inverse overflows.
_SMALLEST_BANDWIDTH = 1.0 / np.finfo(np.float64).max

SELECTORS = {"scott": selectors.scott, "silverman": selectors.silverman}


class KernelDensity(Estimator):
    """A kernel density estimate: one Gaussian on every sample (Rosenblatt 1956; Parzen 1962).

        f(x) = sum_s w_s prod_j N(x_j; s_j, h_j^2),   sum_s w_s = 1

    Parameters
    ----------
    bandwidth : float, {"scott", "silverman"} or array_like of shape (n_features,)
        The standard deviation of the Gaussians, in the units of the data: one number for every feature, one number a
        feature, or a rule that gives one number a feature (see gaussum.bandwidth; both rules take the scale of
        the data and the weights into account, where scikit-learn's rules take neither).
    kernel : {"gaussian"}
    adaptive : {"abramson", "breiman", "balloon"}, float or object, optional
        A bandwidth that follows the data, narrow where samples lie densely and wide in the tails: `bandwidth_` times a
        factor for each source, from a pilot density ("abramson"; a number is its sensitivity, by default 0.5) or from
        its k-th nearest neighbour ("breiman"); or a factor for each query ("balloon", which does not integrate to 1).
        Objects of `gaussum.adaptive` say more. None is the fixed bandwidth.
    rtol : float
        Bound on the relative error of the density at every query, near or far. Within it the cheapest plan is taken:
        the direct sum, a grid (up to three features), or a tree; see `explain`. 0 is the direct sum: in float32 where
        samples and queries are, with its rounding.
    n_threads : int, optional
        None means all processors. The result is the same to the last bit for any number.

    Attributes
    ----------
    bandwidth_ : float or ndarray of shape (n_features,)
        A float when there is one feature or one number was given.
    sources_ : ndarray, shape (n_sources, n_features)
        The samples of positive weight.
    source_weights_ : ndarray, shape (n_sources,)
        Their weights, adding up to 1.
    local_factors_ : ndarray, shape (n_sources,)
        Of the bandwidth at each source, with a geometric mean of 1; if the sources have factors.
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

    def __init__(self, bandwidth="scott", *, kernel="gaussian", adaptive=None, rtol=1e-6, n_threads=None):
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.adaptive = adaptive
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
        self.bandwidth_ = float(h[0]) if X.shape[1] == 1 or np.ndim(self.bandwidth) == 0 and not isinstance(
            self.bandwidth, str
        ) else h
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
        return sum_maker(self.adaptive, self.rtol, self.n_threads)(X, log_weights, h)

    @property
    def sources_(self):
        """The samples of positive weight, shape (n_sources, n_features)."""
        self._check_fitted()
        return self._sum.sources()

    @property
    def local_factors_(self):
        """The factors of the bandwidth at the sources, shape (n_sources,); AttributeError where there are none."""
        self._check_fitted()
        factors = getattr(self._sum, "factors", None)
        if factors is None:
            raise AttributeError(f"with adaptive={self.adaptive!r} no source has a factor of its own")
        return factors

    def _bandwidths(self, X, weight):
        d = X.shape[1]
        if isinstance(self.bandwidth, str):
            check_choice(self.bandwidth, "bandwidth", tuple(SELECTORS))
            return SELECTORS[self.bandwidth](X, weight)
        if np.ndim(self.bandwidth) == 0:
            if not isinstance(self.bandwidth, (int, float, np.number)):
                raise TypeError(
                    f"bandwidth is {shape_name(self.bandwidth)}; expected a number > 0, 'scott', 'silverman', "
                    f"or an array of shape ({d},)"
                )
            h = check_number(self.bandwidth, "bandwidth", minimum=0.0, open_minimum=True)
            if h < _SMALLEST_BANDWIDTH:
                raise ValueError(f"bandwidth is {h:g}; expected a number of at least {_SMALLEST_BANDWIDTH:g}")
            return np.full(d, h)
        h = check_array(self.bandwidth, "bandwidth", (d,)).copy()
        if (h < _SMALLEST_BANDWIDTH).any():
            raise ValueError(f"bandwidth holds {h.min():g}; expected numbers of at least {_SMALLEST_BANDWIDTH:g}")
        return h

    def score_samples(self, X):
        """The log density at every query, shape (n_samples,), in nats; finite and accurate in the farthest tails."""
        self._check_fitted()
        X = check_samples(X, n_features=self.n_features_in_)
        return self._sum.log_density(X, rtol=self._rtol(), n_threads=self.n_threads)

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
