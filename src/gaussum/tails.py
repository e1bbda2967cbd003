"""Distributions on a line: both tails right to rounding, and quantiles, from the probabilities of intervals.

A distribution is described by its smaller tail at a point: the logarithm, and which of the two it is. The other follows
without loss.
"""

import math
from collections.abc import Callable

import numpy as np

from gaussum.typing import FloatArray, IndexArray, MaskArray

# Roots: points that enclose quantiles before the search; steps, of which bisections alone would take some 1100.
_KNOTS = 2048
_STEPS = 3000
_EPS = 2.0**-52


class Tails:
    """The distribution of one feature; a base for those that know the probabilities of intervals.

    Attributes
    ----------
    x : ndarray of float64
        Places of the samples, ascending.
    support : tuple of float
        The ends, which are the quantiles of 0 and 1.
    groups : list of (ndarray, float, float)
        The places of samples of like bandwidths, ascending, and the smallest and the largest of these bandwidths.
    """

    x: FloatArray
    groups: list[tuple[FloatArray, float, float]]
    support: tuple[float, float] = (-math.inf, math.inf)

    @property
    def line(self) -> "Tails":
        """The distribution of the only feature: this."""
        return self

    def log_boxes(self, low: FloatArray, high: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of the probability of every box of one feature; see gaussum.distribution.Distribution."""
        return self.log_intervals(low[:, 0].copy(), high[:, 0].copy(), n_threads)

    def log_bound(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """What the logarithms of the probabilities of boxes of one feature come to at most, by their distance."""
        return np.zeros(low.shape[0])

    def n_images(self, column: int, length: float) -> int:
        """The cells on either side, as long as the support, whose images count to rounding."""
        raise NotImplementedError

    def log_intervals(self, low: FloatArray, high: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of the probability of every interval.

        Parameters
        ----------
        low, high : ndarray of float64, shape (n_intervals,)
            low <= high, infinities too.
        n_threads : int or None

        Returns
        -------
        ndarray of float64, shape (n_intervals,)
        """
        raise NotImplementedError

    def log_tails(self, x: FloatArray, n_threads: int | None = None) -> tuple[FloatArray, MaskArray]:
        """The logarithm of a tail at every point, the smaller one or one below 3/4, and whether it is the upper one.

        Parameters
        ----------
        x : ndarray of float64, shape (n_targets,)
            Infinities too.
        n_threads : int or None

        Returns
        -------
        log_tail : ndarray of float64, shape (n_targets,)
        upper : ndarray of bool, shape (n_targets,)
        """
        lower = self.log_intervals(np.full(x.size, -np.inf), x, n_threads)
        higher = self.log_intervals(x, np.full(x.size, np.inf), n_threads)
        return np.minimum(lower, higher), higher < lower

    def log_lower(self, x: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of the distribution function at every point."""
        log_tail, upper = self.log_tails(x, n_threads)
        return _on_side(log_tail, upper, np.zeros_like(upper))

    def log_upper(self, x: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of 1 less the distribution function at every point."""
        log_tail, upper = self.log_tails(x, n_threads)
        return _on_side(log_tail, upper, np.ones_like(upper))

    def quantiles(self, log_q: FloatArray, upper: MaskArray, n_threads: int | None = None) -> FloatArray:
        """Where a tail has that logarithm.

        Parameters
        ----------
        log_q : ndarray of float64, shape (n,)
            At most log(1/2); minus infinity too.
        upper : ndarray of bool, shape (n,)
            Whether it is that of the upper tail.
        n_threads : int or None

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        out = np.where(upper, self.support[1], self.support[0])
        which = np.flatnonzero(log_q > -np.inf)
        if which.size == 0:
            return out
        log_q, upper = log_q[which], upper[which]
        sign = np.where(upper, -1.0, 1.0)

        def excess(x: FloatArray, index: IndexArray) -> FloatArray:
            """Increasing in x; 0 at the quantile."""
            log_tail, is_upper = self.log_tails(x, n_threads)
            with np.errstate(invalid="ignore"):
                out: FloatArray = sign[index] * (_on_side(log_tail, is_upper, upper[index]) - log_q[index])
            return out

        low, high = self._enclosed(log_q, upper, n_threads)
        out[which] = increasing_root(excess, low, high, _EPS * np.maximum(1.0, np.abs(log_q)))
        return out

    def _ends(self, log_q: FloatArray, upper: MaskArray) -> tuple[FloatArray, FloatArray]:
        """Points on both sides of quantiles, however far from them."""
        return np.full(log_q.size, self.support[0]), np.full(log_q.size, self.support[1])

    def _enclosed(
        self, log_q: FloatArray, upper: MaskArray, n_threads: int | None
    ) -> tuple[FloatArray, FloatArray]:
        """Finite points on both sides of quantiles."""
        limit = np.finfo(np.float64).max
        low, high = self._ends(log_q, upper)
        low, high = low.clip(max(self.support[0], -limit), limit), high.clip(-limit, min(self.support[1], limit))
        if log_q.size < 8:
            return low, high
        knots = np.unique(self.x[np.linspace(0, self.x.size - 1, _KNOTS).astype(np.intp)])
        log_tail, is_upper = self.log_tails(knots, n_threads)
        for side in (False, True):
            values = _on_side(log_tail, is_upper, np.full(knots.size, side))
            mine = upper == side
            # ascending but for rounding, which a margin allows for
            values = np.maximum.accumulate(values if not side else -values)
            aim, margin = (log_q if not side else -log_q)[mine], 1e-12 * np.maximum(1.0, np.abs(log_q[mine]))
            above = np.searchsorted(values, aim + margin, side="right")
            below = np.searchsorted(values, aim - margin) - 1
            high[mine] = np.where(above < knots.size, np.minimum(knots[above.clip(max=knots.size - 1)], high[mine]),
                                  high[mine])
            low[mine] = np.where(below >= 0, np.maximum(knots[below.clip(min=0)], low[mine]), low[mine])
        return low, high


def running_sums(weights: FloatArray) -> FloatArray:
    """0 and the running sums, of rows of running sums: with an error that grows with the root of their number."""
    n = weights.size
    side = math.isqrt(n - 1) + 1
    rows = np.zeros((side, side))
    rows.ravel()[:n] = weights
    rows = np.cumsum(rows, axis=1)
    rows[1:] += np.cumsum(rows[:-1, -1])[:, np.newaxis]
    return np.append(0.0, np.minimum(rows.ravel()[:n], 1.0))


def sorted_sources(x: FloatArray, log_weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sources in ascending order, those in one place as one, and the logarithms of their weights."""
    if (log_weights == log_weights[0]).all():
        x = np.sort(x)
    else:
        order = np.argsort(x, kind="stable")
        x, log_weights = x[order], log_weights[order]
    begin = np.flatnonzero(np.append(True, x[1:] != x[:-1]))
    if begin.size < x.size:
        x, log_weights = x[begin], np.logaddexp.reduceat(log_weights, begin)
    return x, np.ascontiguousarray(log_weights)


def gaussian_images(relative: float, nearest2: float = 1.0) -> int:
    """The cells on either side whose images count beside the nearest, of Gaussians so wide, in lengths of a cell.

    A source's image c cells away is at least c - 1 cells from it, the nearest one no farther than the root of
    `nearest2`; what is left out comes to less than exp(-40) of that.
    """
    return math.ceil(1.0 + math.sqrt(nearest2 + 80.0 * relative * relative))


def octaves(sharpness: FloatArray) -> list[IndexArray]:
    """The sources of each octave of sharpness, in their order."""
    octave = np.frexp(sharpness)[1]
    return [np.flatnonzero(octave == k) for k in np.unique(octave)]


def _on_side(log_tail: FloatArray, upper: MaskArray, wanted: MaskArray) -> FloatArray:
    """The logarithm of the wanted tail, from that of one of the two."""
    out = log_tail.copy()
    other = upper != wanted
    with np.errstate(divide="ignore"):
        out[other] = np.log1p(-np.exp(np.minimum(log_tail[other], 0.0)))
    return out


def increasing_root(
    function: Callable[[FloatArray, IndexArray], FloatArray], low: FloatArray, high: FloatArray, tolerance: FloatArray
) -> FloatArray:
    """The roots of increasing functions, side by side, between bounds that enclose them.

    Chandrupatla's method (Advances in Engineering Software 28, 1997, 145): inverse quadratic interpolation where it is
    sound, bisection elsewhere, within the bounds throughout.

    Parameters
    ----------
    function : callable
        ``function(x, index)``: the values of functions `index` at `x`, both of shape (n,).
    low, high : ndarray of float64, shape (n_functions,)
    tolerance : ndarray of float64, shape (n_functions,)
        A value no larger than this is that of a root.

    Returns
    -------
    ndarray, shape (n_functions,)
    """
    root = np.empty(low.size)
    if not low.size:
        return root
    index = np.arange(low.size)
    a, b = low.copy(), high.copy()              # b is the newest point, a the one on the other side
    fa, fb = np.full(low.size, -np.inf), np.full(low.size, np.inf)      # at first known by their signs alone
    c, fc = a, fa
    t = np.full(low.size, 0.5)
    for _ in range(_STEPS):
        x = a * (1.0 - t) + b * t
        # no step may end outside, nor on an end
        least, most = np.minimum(a, b), np.maximum(a, b)
        x = np.clip(x, np.nextafter(least, np.inf), np.nextafter(most, -np.inf)).clip(least, most)
        f = function(x, index)
        same = np.sign(f) == np.sign(fa)
        c, fc = np.where(same, a, b), np.where(same, fa, fb)
        b, fb = np.where(same, b, a), np.where(same, fb, fa)
        a, fa = x, f
        done = (np.abs(f) <= tolerance[index]) | (np.nextafter(np.minimum(a, b), np.inf) >= np.maximum(a, b))
        if done.any():
            root[index[done]] = x[done]
            keep = ~done
            index, a, b, c, fa, fb, fc = (v[keep] for v in (index, a, b, c, fa, fb, fc))
        if index.size == 0:
            break
        with np.errstate(all="ignore"):
            xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
            sound = (phi * phi < xi) & ((1.0 - phi) ** 2 < 1.0 - xi)
            t = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
            t = np.where(sound & np.isfinite(t), t, 0.5)
    root[index] = a
    return root
