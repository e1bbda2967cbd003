"""What is asked of a density as a distribution: tails, quantiles, boxes, moments, marginals, conditionals, regions."""

import numbers
from collections.abc import Sequence
from typing import Self

import numpy as np

from gaussum import slices
from gaussum.box_arguments import check_boxes, check_extended, check_features
from gaussum.distribution import HasBoxes, distribution_of
from gaussum.fitted import Fitted
from gaussum.folded import Axis
from gaussum.regions import HighestDensityRegion, highest_density_regions
from gaussum.tails import Tails
from gaussum.typing import ArrayLike, FloatArray, RandomState
from gaussum.validation import check_array


class Probabilities(Fitted):
    """Methods of a fitted kernel density that ask for probabilities: its sum knows its distribution."""

    def cdf(self, X: ArrayLike) -> FloatArray:
        """The distribution function: the probability of values no larger than each query in every feature.

            F(x) = sum_s w_s prod_j Phi((x_j - s_j) / h_j)

        In one feature the relative error is below 1e-12, of 1 - F too, wherever the logarithm is below 100 in size;
        farther out the logarithm has that relative error. A million queries on a million samples take a fraction of a
        second. In several features every sample is looked at for every query.

        With bounds it is that of the density as it is, 0 at a lower bound and 1 at an upper one, also on a periodic
        axis, whose period it begins with at the lower bound (to 1e-9 with the boundary "linear", for one feature
        alone). Widths that differ, and every kernel in one feature, have their own distribution functions, to the same
        error; with them, all samples near a query are looked at. Under a covariance matrix see `integrate_box`.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features), or (n_samples,) for one feature
            Infinities too.

        Returns
        -------
        ndarray of float64, shape (n_samples,)

        Raises
        ------
        NotFittedError, TypeError, ValueError
            Queries that make no sense; a density whose boxes are not known: a balloon estimate and, in several
            features, other kernels than the Gaussian and the boundary "linear".

        Examples
        --------
        >>> from gaussum import KernelDensity
        >>> KernelDensity(1.0).fit([0.0]).cdf([-20.0, 0.0, 20.0])
        array([2.75362412e-89, 5.00000000e-01, 1.00000000e+00])
        """
        probability: FloatArray = np.exp(self.log_cdf(X))
        return probability

    def log_cdf(self, X: ArrayLike) -> FloatArray:
        """The logarithm of `cdf`, accurate where that underflows and where it is near 1; shape (n_samples,)."""
        queries = self._queries(X)
        if queries.shape[1] == 1:
            return self._line().log_lower(queries[:, 0].copy(), self.n_threads)
        return self._distribution().log_boxes(np.full_like(queries, -np.inf), queries, self.n_threads)

    def sf(self, X: ArrayLike) -> FloatArray:
        """The survival function ``1 - cdf`` of one feature, accurate where it is small; shape (n_samples,)."""
        probability: FloatArray = np.exp(self.log_sf(X))
        return probability

    def log_sf(self, X: ArrayLike) -> FloatArray:
        """The logarithm of `sf`, accurate where that underflows and where it is near 1; shape (n_samples,)."""
        line = self._line()
        return line.log_upper(self._queries(X)[:, 0].copy(), self.n_threads)

    def quantile(self, q: ArrayLike) -> float | FloatArray:
        """Where the distribution function of one feature has the value `q`: its exact inverse.

        Parameters
        ----------
        q : float or array_like, within 0 and 1
            0 and 1 give the ends: bounds, those of kernels that end somewhere, or infinity. See `isf` for quantiles
            nearer to 1 than doubles are.

        Returns
        -------
        float or ndarray of the shape of `q`
            Non-decreasing in `q`; the least such place where a gap between kernels leaves several.

        Raises
        ------
        NotFittedError, TypeError, ValueError

        Examples
        --------
        >>> from gaussum import KernelDensity
        >>> kde = KernelDensity(1.0).fit([-1.0, 1.0])
        >>> kde.quantile([0.0, 0.5, 1.0]).tolist()
        [-inf, 0.0, inf]
        """
        return self._quantiles(q, False)

    def ppf(self, q: ArrayLike) -> float | FloatArray:
        """`quantile` under SciPy's name."""
        return self.quantile(q)

    def isf(self, q: ArrayLike) -> float | FloatArray:
        """Where the survival function of one feature has the value `q`, however small; see `quantile`."""
        return self._quantiles(q, True)

    def median(self) -> float | FloatArray:
        """The median of one feature, a float."""
        return self.quantile(0.5)

    @property
    def mean_(self) -> FloatArray:
        """The mean of the density without bounds, that of the samples; shape (n_features,)."""
        sources, log_weights, _, _ = self._unbounded()
        mean: FloatArray = np.exp(log_weights) @ (sources - sources[0]) + sources[0]
        return mean

    @property
    def covariance_(self) -> FloatArray:
        """The covariance, without bounds: that of the samples, divided by their number, plus that of the kernels."""
        sources, log_weights, bandwidth, factors = self._unbounded()
        away, weights = sources - self.mean_, np.exp(log_weights)
        wider = 1.0 if factors is None else float(weights @ factors**2)
        covariance: FloatArray = (away.T * weights) @ away + wider * slices.covariance(bandwidth, self.n_features_in_)
        return covariance

    def integrate_box(self, low: ArrayLike, high: ArrayLike, *, log: bool = False) -> float | FloatArray:
        """The probability of boxes, right to a relative 1e-12 however far out or narrow they are.

        On a periodic axis an interval goes round, and is the whole where it is as long as the period; an infinite end
        is the end of the period. With a covariance matrix of three features or more the probability is an integral
        over d - 1 further variables (Dunnett and Sobel 1955), by a rule to rounding where that takes no more than some
        1e8 pairs of a sample and a node a box, as in three features mostly; beyond, by 8192 points of a Sobol'
        sequence, with an absolute error of some 1e-5, up to 1e-3 under strong correlations.

        Parameters
        ----------
        low, high : float or array_like, shape (n_features,) or (n_boxes, n_features), or (n_boxes,) for one feature
            The ends, each minus infinity to infinity, ``low <= high``; a number stands for all features.
        log : bool
            Return logarithms, which do not underflow.

        Returns
        -------
        float or ndarray of shape (n_boxes,)

        Raises
        ------
        NotFittedError, TypeError, ValueError

        Examples
        --------
        >>> import numpy as np
        >>> from gaussum import KernelDensity
        >>> kde = KernelDensity(1.0).fit([[0.0, 0.0]])
        >>> round(kde.integrate_box([0.0, -np.inf], [np.inf, 0.0]), 12)
        0.25
        """
        distribution, d = self._distribution(), self.n_features_in_
        first, last, shape = check_boxes(low, high, d)
        out = distribution.log_boxes(first, last, self.n_threads).reshape(shape)
        out = out if log else np.exp(out)
        return out if shape else float(out)

    def marginal(self, features: int | Sequence[int]) -> Self:
        """The density of some features alone, exactly; also of Gaussians with bounds, "linear" ones excepted.

        Parameters
        ----------
        features : int or sequence of ints
            In the order that the new density has them.

        Returns
        -------
        KernelDensity
            Fitted, with this one's parameters and the bandwidths of the features, and its local factors if any.

        Raises
        ------
        NotFittedError, TypeError, ValueError

        Examples
        --------
        >>> from gaussum import KernelDensity
        >>> kde = KernelDensity([1.0, 2.0]).fit([[0.0, 5.0], [1.0, 6.0]])
        >>> kde.marginal(1).sources_.tolist()
        [[5.0], [6.0]]
        """
        sources, log_weights, bandwidth, factors, _ = self._gaussians()
        d = self.n_features_in_
        chosen = check_features([features] if isinstance(features, numbers.Integral) else features, d)
        weights = np.exp(log_weights - log_weights.max())
        return self._like(chosen, sources[:, chosen], weights, slices.part(bandwidth, chosen, d), factors)

    def conditional(self, given: dict[int, float]) -> Self:
        """The density of the other features where some have given values, exactly, however unlikely those are.

        Of Gaussians, of one width or one a sample; with bounds too, "linear" ones and those under a matrix excepted.

        Parameters
        ----------
        given : dict of int to float
            Feature and value.

        Returns
        -------
        KernelDensity
            Fitted on the samples that still weigh something, in the order of the features that remain, with this one's
            parameters and their bandwidths.

        Raises
        ------
        NotFittedError, TypeError, ValueError

        Examples
        --------
        >>> from gaussum import KernelDensity
        >>> kde = KernelDensity(1.0).fit([[0.0, 5.0], [100.0, 6.0]])
        >>> kde.conditional({0: 90.0}).sources_.tolist()
        [[6.0]]
        """
        sources, log_weights, bandwidth, factors, axes = self._gaussians()
        d = self.n_features_in_
        if axes and np.ndim(bandwidth) == 2:
            raise ValueError("bandwidth is a matrix and there are bounds; expected one of them for this method")
        if not isinstance(given, dict):
            raise TypeError(f"given is {type(given).__name__}; expected a dict of features and their values")
        features = check_features(list(given), d)
        if len(features) == d:
            raise ValueError(f"given names all {d} features; expected at least one to remain")
        values = check_array(list(given.values()), "the values of given", (len(features),))
        keep, sources, weights, bandwidth = slices.conditional(
            sources, log_weights, bandwidth, features, values, factors, axes
        )
        rest = [j for j in range(d) if j not in features]
        return self._like(rest, sources, weights, bandwidth, None if factors is None else factors[keep])

    def highest_density_region(
        self, probability: float | Sequence[float], *, n_samples: int = 100_000, random_state: RandomState = 0
    ) -> HighestDensityRegion | list[HighestDensityRegion]:
        """The smallest region that has a given probability: where the density is above a level.

        In one feature with Gaussian kernels, of one width or adaptive, with or without bounds, the region is a number
        of intervals, found exactly: their probability, by the distribution function, is the one asked for; of a plateau
        they take as much as is missing, from the left. Else a plateau is part of the region or not as a whole, and the
        level is a quantile of the density at random draws (Hyndman 1996), with an error of the order of
        ``sqrt(probability * (1 - probability) / n_samples)`` in the probability.

        Parameters
        ----------
        probability : float or sequence of floats
            Above 0 and below 1.
        n_samples : int
            Draws, in several features.
        random_state : None, int, numpy.random.Generator or RandomState
            Of the draws.

        Returns
        -------
        HighestDensityRegion or list of them
            `probability`, `level`, `log_level`, `intervals`, of shape (n_intervals, 2), in one feature, else None, and
            ``contains(X)``: see gaussum.regions.

        Raises
        ------
        NotFittedError, TypeError, ValueError

        References
        ----------
        R. J. Hyndman, Computing and graphing highest density regions, The American Statistician 50, 1996, 120.

        Examples
        --------
        >>> from gaussum import KernelDensity
        >>> region = KernelDensity(1.0).fit([0.0]).highest_density_region(0.95)
        >>> region.intervals.round(6)
        array([[-1.959964,  1.959964]])
        >>> region.contains([0.0, 2.0])
        array([ True, False])
        """
        self._check_fitted()
        return highest_density_regions(self, probability, n_samples, random_state)

    def _gaussians(self) -> tuple[FloatArray, FloatArray, float | FloatArray, FloatArray | None, Sequence[Axis]]:
        """The sources, the logarithms of their weights, the bandwidth, its factors or None, and the bounded axes.

        Of a sum of one Gaussian a sample, which may have images.
        """
        self._check_fitted()
        axes: Sequence[Axis] = () if self._support is None else self._support.axes
        factors = getattr(self._sum, "factors", None)
        for name, plain in (
            ("kernel", self.kernel == "gaussian"), ("adaptive", self.adaptive is None or factors is not None),
            ("boundary", not any(axis.boundary == "linear" for axis in axes)),
        ):
            if not plain:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; expected Gaussian kernels of one width, or of one a sample, "
                    "with bounds that reflect or are periodic if there are any, for this method"
                )
        with np.errstate(divide="ignore"):
            return self.sources_, np.log(self.source_weights_), self.bandwidth_, factors, axes

    def _unbounded(self) -> tuple[FloatArray, FloatArray, float | FloatArray, FloatArray | None]:
        """The same where there are no bounds, without them."""
        sources, log_weights, bandwidth, factors, axes = self._gaussians()
        if axes:
            raise ValueError(f"bounds is {self.bounds!r}; expected None for the moments of the density")
        return sources, log_weights, bandwidth, factors

    def _distribution(self) -> HasBoxes:
        self._check_fitted()
        return distribution_of(self._sum)

    def _line(self) -> Tails:
        distribution = self._distribution()
        if self.n_features_in_ != 1:
            raise ValueError(
                f"the density has {self.n_features_in_} features, but this is for one; see marginal and integrate_box"
            )
        return distribution.line

    def _queries(self, X: ArrayLike) -> FloatArray:
        self._check_fitted()
        return check_extended(X, "X", self.n_features_in_)

    def _quantiles(self, q: ArrayLike, upper: bool) -> float | FloatArray:
        line = self._line()
        q = np.asarray(q)
        if q.dtype.kind not in "fiu":
            raise TypeError(f"q holds {q.dtype} values; expected numbers within 0 and 1")
        q = q.astype(np.float64)
        if not ((q >= 0.0) & (q <= 1.0)).all():
            raise ValueError(f"q holds {q[~((q >= 0.0) & (q <= 1.0))].flat[0]:g}; expected numbers within 0 and 1")
        flat = q.ravel()
        far = flat > 0.5
        with np.errstate(divide="ignore"):
            log_q = np.log(np.where(far, 1.0 - flat, flat))
        out = line.quantiles(log_q, far != upper, self.n_threads)
        order = np.argsort(flat, kind="stable")
        # ascending but for rounding
        out[order] = np.minimum.accumulate(out[order]) if upper else np.maximum.accumulate(out[order])
        return float(out[0]) if q.ndim == 0 else out.reshape(q.shape)

    def _like(
        self, features: list[int], sources: FloatArray, weights: FloatArray, bandwidth: float | FloatArray,
        factors: FloatArray | None,
    ) -> Self:
        """A density with this one's parameters on other sources, which have some of its features."""
        params = self.get_params(deep=False) | {"bandwidth": bandwidth}
        if self._support is not None:
            bounds = {axis.feature: (axis.low, axis.high) for axis in self._support.axes}
            kinds = {axis.feature: axis.boundary for axis in self._support.axes}
            params["bounds"] = [bounds.get(j) for j in features]
            params["boundary"] = [kinds.get(j, "reflect") for j in features]
        density = type(self)(**(params | {"adaptive": None}))
        density.fit(sources, sample_weight=None if (weights == weights[0]).all() else weights)
        if factors is not None:
            # of the kernels as they are: nothing is settled anew
            density.set_params(adaptive=self.adaptive)
            h = np.asarray(density.bandwidth_)
            density._sum = density._sum_of_factors(
                sources, np.log(density.source_weights_), h if h.ndim == 2 else np.resize(h, len(features)), factors
            )
        return density
