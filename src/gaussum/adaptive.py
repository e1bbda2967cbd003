"""Kernel densities whose bandwidth follows the data: narrow where samples lie densely, wide in the tails.

Sample-point estimates give each source s a factor lambda_s of the bandwidth h, and remain densities:

    f(x) = sum_s w_s N(x; s, (lambda_s h)^2)

- `Abramson`: lambda_s from a pilot density at s.
- `Breiman`: lambda_s from the distance of s to its k-th nearest neighbour.

The balloon estimate, `Balloon`, gives each query x a factor, from its distance to the k-th nearest source.

Factors have a geometric mean of 1 over the sources, so that h keeps its meaning; they have no unit and follow the data
through any shift and scale. They are settled by `fit`, with h, and `rtol` bounds the error of the sum that they define.

Where there are bounds, the pilot density knows them, and neighbours are counted with their images, reflected or a
period away: at a bound as inside, and wherever a period is cut open.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gaussum.base import shape_name
from gaussum.neighbors import NearestNeighbors
from gaussum.plans import Sum
from gaussum.summation import GaussianSum
from gaussum.typing import FloatArray, SampleArray
from gaussum.validation import check_integer, check_number
from gaussum.varying import VaryingSum
from gaussum.whitening import Whitening

# What the pilot density is right to: enough for logarithms of densities of some -1000. What a grid leaves of rounding.
_PILOT_RTOL = 1e-12
_ROUNDING = 2.0**-50
# Factors, widths and distances within these: one over a width stays a number.
_NARROWEST, _WIDEST = 1e-300, 1e300
_NARROWEST_WIDTH = 1e-307


@dataclass(frozen=True)
class Abramson:
    """A factor for each source from a pilot density there: ``lambda_s = (pilot(s) / g) ** -sensitivity``.

    The pilot is the estimate with the fixed bandwidth, the source's own term included, so that it is nowhere zero; g is
    the geometric mean of the pilot at the sources, by their weights.

    Parameters
    ----------
    sensitivity : float
        From 0, a fixed bandwidth, to 1. 1/2 is Abramson's square-root law.
    clip : (low, high) or float, optional
        Factors are kept between these; either may be None; a number c is ``(1 / c, c)``. By default they are left as
        they are.

    References
    ----------
    I. S. Abramson, On bandwidth variation in kernel estimates -- a square root law, *Annals of Statistics* 10, 1982,
    1217. B. W. Silverman, *Density Estimation*, Chapman and Hall 1986, section 5.3.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import KernelDensity
    >>> x = np.random.default_rng(0).standard_t(2, size=1000)
    >>> kde = KernelDensity(0.3, adaptive="abramson").fit(x)
    >>> bool(kde.local_factors_[np.argmax(x)] > 3 * kde.local_factors_[np.argmin(np.abs(x))])
    True
    """

    sensitivity: float = 0.5
    clip: Any = None

    def factors(
        self, X: SampleArray, log_weights: FloatArray, h: FloatArray, rtol: float, n_threads: int | None,
        pilot: Callable[[SampleArray, FloatArray, FloatArray], Sum] = GaussianSum, images: object = None
    ) -> FloatArray:
        """The factors of sources `X`, shape (n_sources,).

        Parameters
        ----------
        X, log_weights, h : ndarray
            As those of GaussianSum; `h` may be a matrix.
        rtol : float
        n_threads : int or None
        pilot : callable
            ``pilot(X, log_weights, h)`` is the sum of the fixed bandwidth.
        images : ndarray, ignored
        """
        sensitivity = check_number(self.sensitivity, "sensitivity", minimum=0.0, maximum=1.0)
        low, high = check_clip(self.clip)
        fixed = pilot(X, log_weights, h)
        pilot_rtol = 0.0 if rtol == 0.0 else max(min(rtol, _PILOT_RTOL), _ROUNDING * (len(X) + 1000.0))
        # in float64, whatever the samples are
        log_pilot = fixed.log_density(fixed.sources(), rtol=pilot_rtol, n_threads=n_threads)
        return factors_of(-sensitivity * log_pilot, np.exp(log_weights), h, low, high)


@dataclass(frozen=True)
class Breiman:
    """A factor for each source in proportion to its distance to the k-th nearest other source, in bandwidths.

    Neighbours are counted, whatever their weights. A distance of 0, among duplicates, is taken as the smallest that is
    not 0; where all are 0, so that nothing tells one place from another, factors are 1.

    Parameters
    ----------
    n_neighbors : int, optional
        k. By default the square root of the number of sources, rounded up.
    clip : (low, high) or float, optional
        As for `Abramson`.

    References
    ----------
    L. Breiman, W. Meisel and E. Purcell, Variable kernel estimates of multivariate densities, *Technometrics* 19, 1977,
    135.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import KernelDensity
    >>> from gaussum.adaptive import Breiman
    >>> x = np.random.default_rng(0).standard_t(2, size=1000)
    >>> kde = KernelDensity(0.3, adaptive=Breiman(n_neighbors=30, clip=(None, 20))).fit(x)
    >>> float(kde.local_factors_.max())
    20.0
    """

    n_neighbors: int | None = None
    clip: Any = None

    def factors(
        self, X: SampleArray, log_weights: FloatArray, h: FloatArray, rtol: float, n_threads: int | None,
        pilot: object = None, images: Callable[[FloatArray], FloatArray] | None = None
    ) -> FloatArray:
        """The factors of sources `X`, shape (n_sources,).

        Parameters
        ----------
        X, log_weights, h : ndarray
            As those of GaussianSum; `h` may be a matrix.
        rtol : ignored
        n_threads : int or None
        pilot : ignored
        images : callable, optional
            ``images(reach)`` gives images of sources, shape (n_images, n_features), that are no farther than that from
            the sources on each axis: neighbours too.
        """
        low, high = check_clip(self.clip)
        near = functools.partial(Neighborhoods, X, log_weights, h, self.n_neighbors, low, high, n_threads)
        neighbors = near()
        if images is not None:
            neighbors = near(images=images(neighbors.largest * widths_of(h)))
        return neighbors(X, True, n_threads)


@dataclass(frozen=True)
class Balloon:
    """A factor for each query in proportion to its distance to the k-th nearest source, in bandwidths.

    The estimate follows the density of the sources around each query, and is not a density: it does not integrate to 1
    (its tails may not be integrable at all), and there is no drawing of samples. `score_leave_one_out` leaves a source
    out of the sum and of its neighbours.

    Neighbours are counted, whatever their weights. Distances are no smaller than the smallest between a source and its
    k-th neighbour that is not 0; where all of those are 0, factors are 1.

    Parameters
    ----------
    n_neighbors : int, optional
        k. By default the square root of the number of sources, rounded up.
    clip : (low, high) or float, optional
        As for `Abramson`.

    References
    ----------
    D. O. Loftsgaarden and C. P. Quesenberry, A nonparametric estimate of a multivariate density function, *Annals of
    Mathematical Statistics* 36, 1965, 1049. G. R. Terrell and D. W. Scott, Variable kernel density estimation, *Annals
    of Statistics* 20, 1992, 1236.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import KernelDensity
    >>> x = np.random.default_rng(0).standard_cauchy(size=1000)
    >>> kde = KernelDensity(0.3, adaptive="balloon").fit(x)
    >>> bool(kde.score_samples([1e6])[0] > -30)          # the bandwidth grows with the distance
    True
    """

    n_neighbors: int | None = None
    clip: Any = None

    def make_sum(
        self, X: SampleArray, log_weights: FloatArray, h: FloatArray, rtol: float, n_threads: int | None
    ) -> VaryingSum:
        """The sum for sources `X`; see GaussianSum for the arguments."""
        low, high = check_clip(self.clip)
        neighbors = Neighborhoods(X, log_weights, h, self.n_neighbors, low, high, n_threads)
        return VaryingSum(X, log_weights, h, target_factors=neighbors)


Rule: TypeAlias = Abramson | Breiman | Balloon
NAMES: dict[str, type[Rule]] = {"abramson": Abramson, "breiman": Breiman, "balloon": Balloon}


def rule_for(adaptive: Any) -> Rule:
    """The rule that an argument `adaptive` stands for.

    Parameters
    ----------
    adaptive : {"abramson", "breiman", "balloon"}, float, or an Abramson, Breiman or Balloon
        A number is the sensitivity of Abramson's factors.

    Raises
    ------
    TypeError, ValueError
    """
    expected = "None, " + ", ".join(map(repr, NAMES)) + ", a number from 0 to 1, or an object of gaussum.adaptive"
    if isinstance(adaptive, str):
        if adaptive not in NAMES:
            raise ValueError(f"adaptive is {adaptive!r}; expected {expected}")
        return NAMES[adaptive]()
    if isinstance(adaptive, (int, float, np.number)):
        return Abramson(check_number(adaptive, "adaptive", minimum=0.0, maximum=1.0))
    if not isinstance(adaptive, (Abramson, Breiman, Balloon)):
        raise TypeError(f"adaptive is {shape_name(adaptive)}; expected {expected}")
    return adaptive


def adaptive_sum(
    X: SampleArray, log_weights: FloatArray, h: FloatArray, rule: Rule, rtol: float, n_threads: int | None
) -> VaryingSum:
    """The sum for sources `X` by a rule; see GaussianSum for the arguments."""
    if isinstance(rule, Balloon):
        return rule.make_sum(X, log_weights, h, rtol, n_threads)
    return VaryingSum(X, log_weights, h, rule.factors(X, log_weights, h, rtol, n_threads))


def check_clip(clip: Any) -> tuple[float, float]:
    """Return the bounds of factors, (low, high); TypeError or ValueError otherwise."""
    if clip is None:
        return 0.0, math.inf
    if isinstance(clip, (int, float, np.number)):
        high = check_number(clip, "clip", minimum=1.0)
        return 1.0 / high, high
    try:
        low, high = clip
    except (TypeError, ValueError):
        raise TypeError(f"clip is {clip!r}; expected a number >= 1 or a pair (low, high)") from None
    low = 0.0 if low is None else check_number(low, "clip[0]", minimum=0.0)
    high = math.inf if high is None else check_number(high, "clip[1]", minimum=low, open_minimum=low == 0.0)
    return low, high


def widths_of(h: FloatArray) -> FloatArray:
    """The standard deviation on each axis, of bandwidths or a covariance matrix."""
    return np.sqrt(np.diagonal(h)) if h.ndim == 2 else h


def factors_of(log_factors: FloatArray, weights: FloatArray, h: FloatArray, low: float, high: float) -> FloatArray:
    """Factors with a geometric mean of 1 by the weights, then kept within bounds."""
    return within(np.exp(log_factors - weights @ log_factors / weights.sum()), h, low, high)


def within(factors: FloatArray, h: FloatArray, low: float, high: float) -> FloatArray:
    """Factors within bounds, and within those of floating-point numbers."""
    narrowest = max(_NARROWEST, _NARROWEST_WIDTH / widths_of(h).min())
    return factors.clip(max(low, narrowest), min(max(high, narrowest), _WIDEST))


class Neighborhoods:
    """Factors in proportion to distances to the k-th nearest source, in bandwidths.

    Parameters
    ----------
    X, log_weights, h : ndarray
        As those of GaussianSum.
    n_neighbors : int or None
    low, high : float
        Bounds of the factors.
    n_threads : int or None
    images : ndarray, shape (n_images, n_features), optional
        Further neighbours.

    Attributes
    ----------
    largest : float
        The largest distance of a source to its k-th neighbour; 0 where it is alone.
    """

    def __init__(
        self, X: SampleArray, log_weights: FloatArray, h: FloatArray, n_neighbors: int | None, low: float, high: float,
        n_threads: int | None, images: FloatArray | None = None
    ) -> None:
        n = X.shape[0]
        if n_neighbors is None:
            n_neighbors = max(1, min(math.isqrt(max(n - 1, 1)) + 1, n - 1))
        elif check_integer(n_neighbors, "n_neighbors", minimum=1) >= n > 1:
            raise ValueError(f"n_neighbors is {n_neighbors}; expected an integer below the {n} sources")
        self._k, self._n, self._h, self._bounds = n_neighbors, n, h, (low, high)
        # differences before scales: an offset costs no digits
        self._origin = np.median(X.astype(np.float64, copy=False), axis=0)
        self._whitening = Whitening(np.array(X, dtype=np.float64), h) if h.ndim == 2 else None
        points = self._scaled(X)
        self._neighbors = NearestNeighbors(
            points if images is None else np.concatenate([points, self._scaled(images)])
        )
        self._smallest = 0.0
        self._unit: float | None = None
        distances = self._distances(X, True, n_threads)
        self.largest = 0.0 if distances is None else float(distances.max())
        if distances is not None and distances.any():
            self._smallest = float(distances[distances > 0].min())
            weights = np.exp(log_weights)
            logs = np.log(np.maximum(distances, self._smallest))
            self._unit = math.exp(weights @ logs / weights.sum())

    def __call__(self, X: SampleArray, own: bool, n_threads: int | None) -> FloatArray:
        """The factors at points, shape (n,); with `own` these are the sources, which are no neighbours of theirs."""
        found = None if self._unit is None else self._distances(X, own, n_threads)
        if self._unit is None or found is None:
            # nothing to tell one place from another
            return within(np.ones(X.shape[0]), self._h, *self._bounds)
        distances = np.maximum(found, self._smallest)
        with np.errstate(over="ignore"):
            return within(distances / self._unit, self._h, *self._bounds)

    def _scaled(self, X: SampleArray) -> FloatArray:
        if self._whitening is not None:
            return self._whitening.whiten(X).clip(-_WIDEST, _WIDEST)
        with np.errstate(over="ignore"):
            return ((X - self._origin) / self._h).clip(-_WIDEST, _WIDEST)

    def _distances(self, X: SampleArray, own: bool, n_threads: int | None) -> FloatArray | None:
        """To the k-th nearest; None where a source is alone."""
        if self._n == 1:
            return None
        return self._neighbors.distances(self._scaled(X), self._k + own, n_threads)
