"""Gaussian kernel density estimation."""

import numpy as np

from gaussum import bandwidth as selectors
from gaussum import parallel
from gaussum.base import Estimator, shape_name
from gaussum.mean_shift import assign, find_modes
from gaussum.summation import GaussianSum
from gaussum.support import Support
from gaussum.validation import (
    check_array, check_choice, check_flag, check_integer, check_number, check_random_state, check_samples,
    check_weights,
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
    bounds : sequence of pairs, optional
        Where each feature can lie, ``(low, high)`` with None or infinity for an open end; None in place of a pair for a
        feature without bounds. With one feature a single pair will do.
    boundary : {"reflect", "linear", "periodic"}, or a sequence of one for each feature
        What becomes of kernels at the bounds: "reflect" reflects them (Schuster 1985), so that the density has a slope
        of zero there; "linear" follows the slope, with an error of order h^2 at a bound as inside (Jones 1993; Jones
        and Foster 1996); on a "periodic" axis, as of angles or hours, what leaves at one end comes in at the other. Out
        of bounds the density is 0, and samples there are refused; periodic coordinates are wrapped. Rules for the
        bandwidth see the samples as they are, a periodic axis cut open in its widest gap. The density adds up to 1: to
        1e-9, but for "linear" in several features to some 1e-3. See `gaussum.support`.
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

    Waiting times, which are never negative, by the hour of the day, of which the last is beside the first:

    >>> rng = np.random.default_rng(0)
    >>> X = np.column_stack([rng.exponential(size=1000), rng.vonmises(3, 1, size=1000) * 12 / np.pi % 24])
    >>> kde = KernelDensity(bounds=[(0, None), (0, 24)], boundary=["linear", "periodic"]).fit(X)
    >>> bool(np.isclose(*kde.score_samples([[0.5, 0.0], [0.5, 24.0]]), rtol=1e-6))
    True
    >>> float(kde.score_samples([[-0.1, 12.0]])[0])
    -inf
    """

    def __init__(
        self, bandwidth="scott", *, kernel="gaussian", bounds=None, boundary="reflect", rtol=1e-6, n_threads=None
    ):
        self.bandwidth = bandwidth
        self.kernel = kernel
        self.bounds = bounds
        self.boundary = boundary
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
        self._support = Support.of(self.bounds, self.boundary, X.shape[1])
        if self._support is not None:
            self._support.check(X, weight)
        h = self._bandwidths(X if self._support is None else self._support.unrolled(X, weight), weight)
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
        if self._support is not None:
            return self._support.make_sum(GaussianSum, X, log_weights, h)
        return GaussianSum(X, log_weights, h)

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

    def score_and_gradient(self, X):
        """The log density at every query and its gradient, for little more than the cost of the one.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)

        Returns
        -------
        log_density : ndarray, shape (n_samples,)
            In nats.
        gradient : ndarray, shape (n_samples, n_features)
            Of the log density, in nats per unit of each feature. Bandwidth times gradient, the way to the mean of the
            sources around a query in bandwidths (Fukunaga and Hostetler 1975), is right within 2 rtol (1 + r), where r
            is the root mean square distance, in bandwidths too, of the sources that make the density there. The
            gradient is finite in the farthest tails, where it points to the nearest source.
        """
        self._check_fitted()
        X = check_samples(X, n_features=self.n_features_in_)
        return self._sum.log_density_and_gradient(X, rtol=self._rtol(), n_threads=self.n_threads)

    def gradient(self, X, *, log=True):
        """The gradient at every query, shape (n_samples, n_features).

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
        log : bool
            Of the log density, in nats per unit of each feature; else of the density itself, which is that times the
            density, and 0 in the tails where the density is below the smallest number.

        Examples
        --------
        >>> from gaussum import KernelDensity
        >>> kde = KernelDensity(2.0).fit([[0.0]])
        >>> float(kde.gradient([[3.0]])[0, 0])          # -x / h^2
        -0.75
        """
        log_density, gradient = self.score_and_gradient(X)
        if check_flag(log, "log"):
            return gradient
        with np.errstate(divide="ignore", over="ignore"):
            return np.sign(gradient) * np.exp(log_density[:, np.newaxis] + np.log(np.abs(gradient)))

    def modes(self, X=None, *, merge_tol=0.1, max_iter=500):
        """The local maxima of the density, and the one to which each sample climbs: clustering by mean shift.

        Points follow the gradient of the log density, in units of the bandwidth, as mean shift does in many small steps
        (Fukunaga and Hostetler 1975; Comaniciu and Meer 2002). Modes are right to a gradient below 1e-8 in units of
        1 / bandwidth, whatever `rtol` is.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features), optional
            Where to begin; the samples of positive weight (`sources_`) by default. A mode that no point climbs to is
            not found.
        merge_tol : float
            Modes no farther apart than so many bandwidths are one, as are those with no valley between them.
        max_iter : int
            The most steps of a point; some tens are usual.

        Returns
        -------
        gaussum.mean_shift.Modes
            `modes`, the highest first, `log_density`, `labels`, `sizes`, `weights`, `converged`.

        Examples
        --------
        >>> import numpy as np
        >>> from gaussum import KernelDensity
        >>> rng = np.random.default_rng(0)
        >>> x = np.concatenate([rng.normal(-3, 1, 300), rng.normal(3, 1, 700)])
        >>> found = KernelDensity(1.0).fit(x).modes()
        >>> found.modes.round().tolist(), found.weights.round(1).tolist()
        ([[3.0], [-3.0]], [0.7, 0.3])
        """
        self._check_fitted()
        if self._support is not None:
            raise ValueError("modes are found only without bounds; fit with bounds=None")
        weights = self.source_weights_ if X is None else None
        X = self.sources_ if X is None else check_samples(X, n_features=self.n_features_in_)
        return find_modes(self._sum, X, weights, n_threads=self.n_threads, **_climbing(merge_tol, max_iter))

    def predict_basin(self, X, modes, *, merge_tol=0.1, max_iter=500):
        """The mode to which each query climbs, shape (n_samples,), as a row of `modes`; -1 where it is none of them.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
        modes : gaussum.mean_shift.Modes or array_like, shape (n_modes, n_features)
            From `modes`.
        merge_tol, max_iter : float, int
            As of `modes`.
        """
        self._check_fitted()
        if self._support is not None:
            raise ValueError("modes are found only without bounds; fit with bounds=None")
        X = check_samples(X, n_features=self.n_features_in_)
        modes = check_samples(getattr(modes, "modes", modes), name="modes", n_features=self.n_features_in_)
        return assign(self._sum, modes, X, n_threads=self.n_threads, **_climbing(merge_tol, max_iter))

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


def _climbing(merge_tol, max_iter):
    return {
        "merge_tol": check_number(merge_tol, "merge_tol", minimum=0.0, open_minimum=True),
        "max_iter": check_integer(max_iter, "max_iter", minimum=1),
    }
