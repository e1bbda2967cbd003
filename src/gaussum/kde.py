"""Kernel density estimation."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import numpy as np

from gaussum import parallel, radial
from gaussum.adaptive import Balloon, adaptive_sum, rule_for
from gaussum.axes import OnGrid, check_axes, log_density_on_axes, plan_on_axes
from gaussum.base import Estimator
from gaussum.conventions import LEAF_SIZE, check_conventions
from gaussum.kernel_sum import KernelSum
from gaussum.plans import Plan
from gaussum.probabilities import Probabilities
from gaussum.selectors import Bandwidth, settled
from gaussum.slopes import Slopes
from gaussum.spread import log_weight_of_others
from gaussum.summation import GaussianSum, check_algorithm
from gaussum.support import Support
from gaussum.typing import ArrayLike, FloatArray, RandomState, SampleArray
from gaussum.validation import (
    check_choice, check_flag, check_integer, check_number, check_random_state, check_samples,
    check_weights,
)
from gaussum.varying import VaryingSum
from gaussum.whitening import kernel_sum
from gaussum.width_classes import sum_by_widths


class KernelDensity(Probabilities, Slopes, Estimator):
    """A kernel density estimate: one kernel on every sample, a Gaussian by default (Rosenblatt 1956; Parzen 1962).

        f(x) = sum_s w_s prod_j h_j^-1 K(r_s),   r_s^2 = sum_j ((x_j - s_j) / h_j)^2,   sum_s w_s = 1

    The parameters are those of scikit-learn's KernelDensity and `n_threads`. What differs: bandwidths by rule know the
    scale of the data and their weights, where scikit-learn's are a factor alone; the error of a density is bounded by
    `rtol` in the farthest tails too; the cosine kernel is a density in every dimension, where scikit-learn's is one in
    odd dimensions only; samples are drawn from every kernel.

    Parameters
    ----------
    bandwidth : float, array_like of shape (n_features,) or (n_features, n_features), str or callable
        The scale h of the kernels, in the units of the data, for the Gaussian the standard deviation, for kernels that
        end somewhere the distance where they end: one number for every feature, or one a feature. A matrix is the
        Gaussians' covariance, in squared units, symmetric and positive definite: for one feature [[h**2]] is the
        number h. A name is that of a selector of gaussum.bandwidth: "auto" (the default: improved Sheather-Jones for
        one feature, a plug-in matrix for several), "scott", "silverman", "isj", "sheather_jones" or "sj" give numbers;
        "scott_matrix" and "silverman_matrix" a matrix; "auto", "plug_in", "lscv" and "lcv" a matrix where there are
        several features and no bounds. They give the Gaussian's bandwidth; that of another kernel is the one that
        smooths as much (gaussum.radial.canonical_factor). A function of the samples, shape (n_samples, n_features), and
        their weights (or None) returns a number, one a feature, or a matrix. All selectors take the scale of the data
        and the weights into account, where scikit-learn's "scott" and "silverman" take neither.
    algorithm : {"auto", "direct", "grid", "tree", "kd_tree", "ball_tree"}
        How sums are taken. "auto" takes what is expected to cost least, see `explain`; others ask for that plan. There
        is one tree here, of boxes, and "kd_tree" and "ball_tree" ask for it. Results differ by `rtol` at most.
    kernel : {"gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine"}
        K(r) in proportion to exp(-r^2 / 2), 1, 1 - r^2, exp(-r), 1 - r, or cos(pi r / 2). All but the Gaussian and the
        exponential are 0 from r = 1 on: where no sample is so near, log densities are -inf.
    metric : {"euclidean", "l2", "minkowski"}
        Distances are Euclidean; "minkowski" is with p = 2.
    atol : float
        Accepted, a number of at least 0, and loosens nothing: errors are within `rtol` alone, whatever `atol` allows
        beside it.
    bounds : sequence of pairs, optional
        Where each feature can lie, ``(low, high)`` with None or infinity for an open end; None in place of a pair for a
        feature without bounds. With one feature a single pair will do.
    boundary : {"reflect", "linear", "periodic"}, or a sequence of one for each feature
        What becomes of kernels at the bounds: "reflect" reflects them (Schuster 1985), so that the density has a slope
        of zero there; "linear" follows the slope, with an error of order h^2 at a bound as inside (Jones 1993; Jones
        and Foster 1996), for Gaussians of one width along the axes alone; on a "periodic" axis, as of angles or hours,
        what leaves at one end comes in at the other. Under a matrix a reflected kernel has correlations of the other
        sign. Out of bounds the density is 0, and samples there are refused; periodic coordinates are wrapped. For one
        feature "auto", "isj", "sj" and "lscv" know of bounds and periods; other rules see the samples as they are, a
        periodic axis cut open in its widest gap. The density adds up to 1: to 1e-9, but for "linear" in several
        features to some 1e-3. See `gaussum.support`.
    adaptive : {"abramson", "breiman", "balloon"}, float or object, optional
        A bandwidth that follows the data, narrow where samples lie densely and wide in the tails: `bandwidth_` times a
        factor for each source, from a pilot density ("abramson"; a number is its sensitivity, by default 0.5) or from
        its k-th nearest neighbour ("breiman"); or a factor for each query ("balloon", which does not integrate to 1,
        and takes no bounds). Objects of `gaussum.adaptive` say more. None is the fixed bandwidth.
    rtol : float
        Bound on the relative error of the density at every query, near or far. Within it the cheapest plan is taken:
        the direct sum, a grid (up to three features), or a tree; see `explain`. 0 is the direct sum: in float32 where
        samples and queries are and the kernel is Gaussian, with its rounding.
    breadth_first : True
        Accepted: how a tree is gone through is fixed here, and anything else gives a warning.
    leaf_size : 40
        Accepted, as `breadth_first`.
    metric_params : dict, optional
        None, or {"p": 2} of "minkowski".
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
    >>> KernelDensity(kernel="epanechnikov").fit(x).score_samples([1000.0])
    array([-inf])

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
        self, bandwidth: Bandwidth = "auto", *, algorithm: str = "auto", kernel: str = "gaussian",
        metric: str = "euclidean", atol: float = 0.0, rtol: float = 1e-6, breadth_first: bool = True,
        leaf_size: int = LEAF_SIZE, metric_params: dict[str, Any] | None = None, bounds: Any = None,
        boundary: str | Sequence[str] = "reflect", adaptive: Any = None, n_threads: int | None = None
    ) -> None:
        self.bandwidth = bandwidth
        self.algorithm = algorithm
        self.kernel = kernel
        self.metric = metric
        self.atol = atol
        self.bounds = bounds
        self.boundary = boundary
        self.adaptive = adaptive
        self.rtol = rtol
        self.breadth_first = breadth_first
        self.leaf_size = leaf_size
        self.metric_params = metric_params
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
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
        check_choice(self.kernel, "kernel", radial.KERNELS)
        check_algorithm(self.algorithm, self._rtol())
        check_conventions(self)
        self._check_combination()
        self._support = Support.of(self.bounds, self.boundary, X.shape[1])
        spread, ends = X, None
        if self._support is not None:
            self._support.check(X, weight)
            spread, ends = self._support.unrolled(X, weight), self._support.ends(X.shape[1])
        h, single = settled(
            self.bandwidth, spread, weight, kernel=self.kernel, along_axes=self._support is not None, ends=ends
        )
        self._check_boundary(h.ndim == 2)
        parallel.resolve_threads(self.n_threads)
        if weight is not None and not weight.all():
            X, weight = X[weight > 0], weight[weight > 0]
        self.bandwidth_ = float(h[0]) if h.ndim == 1 and (single or len(h) == 1) else h
        self.n_features_in_ = X.shape[1]
        if weight is None:
            self.source_weights_ = np.full(X.shape[0], 1.0 / X.shape[0])
            log_weights = np.full(X.shape[0], -np.log(X.shape[0]))
        else:
            self.source_weights_ = weight / weight.sum()
            log_weights = np.log(weight) - np.log(weight.sum())
        self._log_weights = log_weights
        self._sum = self._make_sum(X, log_weights, h)
        return self

    def _check_combination(self) -> None:
        """Refuse what cannot be had together."""
        if self.adaptive is not None and self.algorithm != "auto":
            raise ValueError(f"algorithm is {self.algorithm!r}; expected 'auto' with adaptive bandwidths")
        if self.adaptive is not None and self.kernel != "gaussian":
            raise ValueError(f"kernel is {self.kernel!r}; expected 'gaussian', as adaptive is given")

    def _make_sum(self, X: SampleArray, log_weights: FloatArray, h: FloatArray) -> Any:
        """The sum that is the density."""
        if self.kernel != "gaussian":
            make: Any = partial(KernelSum, kernel=self.kernel, algorithm=self.algorithm)
        elif self.adaptive is None:
            weights = None if self._support else self.source_weights_
            make = partial(GaussianSum, algorithm=self.algorithm, weights=weights)
        elif self._support is None:
            make = partial(adaptive_sum, rule=rule_for(self.adaptive), rtol=self.rtol, n_threads=self.n_threads)
        else:
            return self._bounded_adaptive_sum(self._support, X, log_weights, h)
        if self._support is None:
            return kernel_sum(make, X, log_weights, h)
        return self._support.make_sum(partial(kernel_sum, make), X, log_weights, h, float(self.kernel == "gaussian"))

    def _bounded_adaptive_sum(self, support: Support, X: SampleArray, log_weights: FloatArray, h: FloatArray) -> Any:
        """The sum of Gaussians that differ in width, by factors that know the bounds."""
        rule = rule_for(self.adaptive)
        if isinstance(rule, Balloon):
            raise ValueError(
                f"adaptive is {self.adaptive!r}, a width for each query; expected 'abramson' or 'breiman' with bounds"
            )
        X = support.folded(X)
        factors = rule.factors(
            X, log_weights, h, self.rtol, self.n_threads,
            pilot=partial(support.make_sum, partial(kernel_sum, GaussianSum)), images=partial(support.images, X)
        )
        return self._sum_of_factors(X, log_weights, h, factors)

    def _sum_of_factors(
        self, X: SampleArray, log_weights: FloatArray, h: FloatArray, factors: FloatArray
    ) -> Any:
        """The sum of Gaussians with these factors of the bandwidth."""
        support = self._support
        if support is None:
            return kernel_sum(partial(VaryingSum, factors=factors), X, log_weights, h)

        def make(X: SampleArray, log_weights: FloatArray, factors: FloatArray) -> Any:
            make = partial(kernel_sum, partial(VaryingSum, factors=factors))
            return support.make_sum(make, X, log_weights, h, narrowest=float(factors.min()))

        total = sum_by_widths(make, support.folded(X), log_weights, factors, support.widest_period(h))
        total.factors = factors
        return total

    def _check_boundary(self, matrix: bool) -> None:
        """Refuse a boundary that is for Gaussians of one width along the axes alone."""
        if self._support is None or not self._support.linear:
            return
        given = f"kernel is {self.kernel!r}" if self.kernel != "gaussian" else (
            f"adaptive is {self.adaptive!r}" if self.adaptive is not None else "bandwidth is a matrix"
        )
        if matrix or not given.startswith("bandwidth"):
            j = self._support.linear[0].feature
            raise ValueError(f"boundary is 'linear' for feature {j}; expected 'reflect' or 'periodic', as {given}")

    @property
    def sources_(self) -> FloatArray:
        """The samples of positive weight, shape (n_sources, n_features)."""
        self._check_fitted()
        sources: FloatArray = self._sum.sources()
        return sources

    @property
    def local_factors_(self) -> FloatArray:
        """The factors of the bandwidth at the sources, shape (n_sources,); AttributeError where there are none."""
        self._check_fitted()
        factors = getattr(self._sum, "factors", None)
        if factors is None:
            raise AttributeError(f"with adaptive={self.adaptive!r} no source has a factor of its own")
        out: FloatArray = factors
        return out

    def score_samples(self, X: ArrayLike) -> FloatArray:
        """The log density at every query, shape (n_samples,), in nats, accurate in the farthest tails.

        It is finite, but for kernels that end somewhere, -inf where none reaches, and from some 1e154 bandwidths on,
        where it is beyond a double.
        """
        self._check_fitted()
        X = check_samples(X, n_features=self.n_features_in_)
        log_density: FloatArray = self._sum.log_density(X, rtol=self._rtol(), n_threads=self.n_threads)
        return log_density

    def density_on_grid(self, axes: Any = None, *, log: bool = False) -> OnGrid:
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

    def explain_on_grid(self, axes: Any = None) -> Plan:
        """How `density_on_grid` would find the density: a plan as of `explain`, or "product", of one table an axis."""
        self._check_fitted()
        plan: Plan = plan_on_axes(self._sum, self._axes(axes), self._rtol(), self.n_threads)
        return plan

    def _axes(self, axes: Any) -> list[FloatArray]:
        def bounds() -> tuple[FloatArray, FloatArray, FloatArray]:
            sources, h = self._sum.sources(), np.asarray(self.bandwidth_)
            h = np.sqrt(np.diagonal(h)) if h.ndim == 2 else np.broadcast_to(h, sources.shape[1])
            return sources.min(axis=0), sources.max(axis=0), h

        points: list[FloatArray] = check_axes(axes, self.n_features_in_, bounds)
        return points

    def score_leave_one_out(self) -> FloatArray:
        """The log density at every source (`sources_`) by the others, shape (n_sources,), in nats.

        What leave-one-out cross-validation adds up. A source leaves its own term out of its sum, and the weights of the
        others are divided by their total; a source alone has a density of 0 by the others.
        """
        self._check_fitted()
        log_density = self._sum.leave_one_out(rtol=self._rtol(), n_threads=self.n_threads)
        rest = log_weight_of_others(self._log_weights)
        with np.errstate(invalid="ignore"):
            return np.where(log_density == -np.inf, -np.inf, log_density - rest)

    def explain(self, X: ArrayLike) -> Plan:
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
        plan: Plan = self._sum.plan(X, self._rtol(), n_threads=self.n_threads)
        return plan

    def _rtol(self) -> float:
        return check_number(self.rtol, "rtol", minimum=0.0)

    def score(self, X: ArrayLike, y: object = None) -> float:
        """The total log density of the samples, in nats (the total, as in scikit-learn's KernelDensity)."""
        return float(self.score_samples(X).sum())

    def sample(self, n_samples: int = 1, random_state: RandomState | None = None) -> FloatArray:
        """Draw new samples: a source by its weight, and a step drawn from its kernel.

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
        samples: FloatArray = self._sum.draw(drawn.clip(0, len(cumulative) - 1), rng)
        return samples
