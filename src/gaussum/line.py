"""Distribution functions of sums of Gaussians on a line, and their inverse, right to rounding in both tails.

A distribution is described by its smaller tail at a point: the logarithm, and which of the two it is. The other follows
without loss.
"""

import math

import numpy as np
from scipy.special import ndtri_exp

from gaussum import parallel
from gaussum.cells import Cells
from gaussum.line_pass import LinePass

# From so many points on cells pay, and from so many pairs.
_CELL_POINTS = 64
_CELL_PAIRS = 1e7
_PAIR_SECONDS = 1.5e-9
_POINT_SECONDS = 300e-9
# Tails of which no more than this share is taken away leave a difference right to 1e-12.
_SHARE = 0.9
# Roots: points that enclose quantiles before the search; steps, of which bisections alone would take some 1100.
_KNOTS = 2048
_STEPS = 3000
_EPS = 2.0**-52


class Line:
    """The distribution of a sum of Gaussians on a line.

    Parameters
    ----------
    x : ndarray of float64, shape (n_sources,)
    log_weights : ndarray of float64, shape (n_sources,)
        Logarithms of weights that add up to 1.
    bandwidth : float
    """

    def __init__(self, x, log_weights, bandwidth):
        if (log_weights == log_weights[0]).all():
            x = np.sort(x)
        else:
            order = np.argsort(x, kind="stable")
            x, log_weights = x[order], log_weights[order]
        begin = np.flatnonzero(np.append(True, x[1:] != x[:-1]))
        if begin.size < x.size:                         # sources in one place are one
            x, log_weights = x[begin], np.logaddexp.reduceat(log_weights, begin)
        self.x, self.bandwidth = x, bandwidth
        self._log_weights = np.ascontiguousarray(log_weights)
        self._weights = np.exp(log_weights)
        self._below = _sums(self._weights)
        self._above = _sums(self._weights[::-1])[::-1].copy()
        self._pass = LinePass(x, self._log_weights, self._below, self._above, 1.0 / bandwidth)
        self._cells = None

    def _cells_for(self, n_points):
        """The cells, where they pay; whether they do does not depend on what earlier calls have built."""
        if n_points < _CELL_POINTS or n_points * self.x.size < _CELL_PAIRS:
            return None
        if self._cells is None:
            self._cells = Cells(self.x, self._weights, self._below, self._above, self.bandwidth)
        return None if self._cells.empty else self._cells

    def log_tails(self, x, n_threads=None):
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
        cells = self._cells_for(x.size)
        if cells is None:
            log_tail, upper = np.full(x.size, np.nan), np.empty(x.size, dtype=bool)
        else:
            tail, sign = cells.tails(x, n_threads)
            log_tail, upper = np.log(tail), sign < 0.0
        late = np.flatnonzero(np.isnan(log_tail))
        if late.size:
            upper[late] = self._below[np.searchsorted(self.x, x[late])] > 0.5
            low, high = np.where(upper[late], x[late], -np.inf), np.where(upper[late], np.inf, x[late])
            log_tail[late] = self._swept(low, high, n_threads)
        return log_tail, upper

    def log_lower(self, x, n_threads=None):
        """The logarithm of the distribution function at every point."""
        log_tail, upper = self.log_tails(x, n_threads)
        return _on_side(log_tail, upper, np.zeros_like(upper))

    def log_upper(self, x, n_threads=None):
        """The logarithm of 1 less the distribution function at every point."""
        log_tail, upper = self.log_tails(x, n_threads)
        return _on_side(log_tail, upper, np.ones_like(upper))

    def log_intervals(self, low, high, n_threads=None):
        """The logarithm of the probability of every interval.

        Parameters
        ----------
        low, high : ndarray of float64, shape (n_intervals,)
            low <= high, infinities too.
        n_threads : int or None
        """
        out = np.full(low.size, np.nan)
        (a, a_upper), (b, b_upper) = self.log_tails(low, n_threads), self.log_tails(high, n_threads)
        one_side = a_upper == b_upper
        small, large = np.where(a_upper, b, a), np.where(a_upper, a, b)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            apart = one_side & ((small - large < math.log(_SHARE)) | (small == -np.inf))
            out[apart] = (large + np.log1p(-np.exp(small - large)))[apart]
            both = np.exp(a) + np.exp(b)
            across = ~a_upper & b_upper & (both < _SHARE)
            out[across] = np.log1p(-both[across])
        out[(large == -np.inf) & one_side] = np.nan      # too far out for a double, or not: see below
        out[low == high] = -np.inf
        cells = self._cells_for(low.size)
        late = np.flatnonzero(np.isnan(out))
        if cells is not None and late.size:
            with np.errstate(divide="ignore"):
                out[late] = np.log(cells.differences(low[late], high[late], n_threads))
            late = late[np.isnan(out[late])]
        if late.size:
            out[late] = self._swept(low[late], high[late], n_threads)
        return np.minimum(out, 0.0)

    def log_densities(self, x, n_threads=None, *, n_points=None):
        """The log density at every point, right to rounding.

        Parameters
        ----------
        x : ndarray of float64, shape (n_targets,)
        n_threads : int or None
        n_points : int, optional
            Take the means that are best for so many points.
        """
        cells = self._cells_for(x.size if n_points is None else n_points)
        out = np.full(x.size, np.nan) if cells is None else np.log(cells.densities(x, n_threads))
        late = np.flatnonzero(np.isnan(out))
        if late.size:
            points, found = x[late], np.empty(late.size)
            self._sweep(late.size, n_threads, lambda first, last, scratch: self._pass.log_densities(
                points, first, last, found, scratch
            ))
            out[late] = found - math.log(self.bandwidth) - 0.5 * math.log(2.0 * math.pi)
        return out

    def _swept(self, low, high, n_threads):
        """The logarithm of the probability of every interval, source by source."""
        out = np.empty(low.size)
        self._sweep(low.size, n_threads, lambda first, last, scratch: self._pass.log_probabilities(
            low, high, first, last, out, scratch
        ))
        return out

    def _sweep(self, n, n_threads, work):
        """Call ``work(first, last, scratch)`` for parts of 0 to n - 1."""
        seconds = n * (_POINT_SECONDS + self.x.size * _PAIR_SECONDS)
        n_parts = parallel.n_parts(n, seconds, smallest=1)
        n_threads = min(parallel.resolve_threads(n_threads, seconds), n_parts)
        scratch = [np.empty(self._pass.scratch_size) for _ in range(n_threads)]
        parallel.run(n_parts, n_threads, lambda part, slot: work(
            part * n // n_parts, (part + 1) * n // n_parts, scratch[slot]
        ))

    def quantiles(self, log_q, upper, n_threads=None):
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
        out = np.where(upper, np.inf, -np.inf)
        which = np.flatnonzero(log_q > -np.inf)
        if which.size == 0:
            return out
        log_q, upper = log_q[which], upper[which]
        sign = np.where(upper, -1.0, 1.0)

        def excess(x, index):
            """Increasing in x; 0 at the quantile."""
            log_tail, is_upper = self.log_tails(x, n_threads)
            return sign[index] * (_on_side(log_tail, is_upper, upper[index]) - log_q[index])

        low, high = self._enclosed(log_q, upper, sign, n_threads)
        out[which] = increasing_root(excess, low, high, _EPS * np.maximum(1.0, np.abs(log_q)))
        return out

    def _enclosed(self, log_q, upper, sign, n_threads):
        """Points on both sides of quantiles."""
        # those of a Gaussian at either end of the sources, and a little more
        z = sign * ndtri_exp(log_q)
        with np.errstate(over="ignore"):
            low = self.x[0] + self.bandwidth * (z - 1e-6 * np.maximum(1.0, np.abs(z))) - _EPS * abs(self.x[0])
            high = self.x[-1] + self.bandwidth * (z + 1e-6 * np.maximum(1.0, np.abs(z))) + _EPS * abs(self.x[-1])
        limit = np.finfo(np.float64).max
        low, high = np.maximum(low, -limit), np.minimum(high, limit)
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


def _sums(weights):
    """0 and the running sums, of rows of running sums: with an error that grows with the root of their number."""
    n = weights.size
    side = math.isqrt(n - 1) + 1
    rows = np.zeros((side, side))
    rows.ravel()[:n] = weights
    rows = np.cumsum(rows, axis=1)
    rows[1:] += np.cumsum(rows[:-1, -1])[:, np.newaxis]
    return np.append(0.0, np.minimum(rows.ravel()[:n], 1.0))


def _on_side(log_tail, upper, wanted):
    """The logarithm of the wanted tail, from that of one of the two."""
    out = log_tail.copy()
    other = upper != wanted
    with np.errstate(divide="ignore"):
        out[other] = np.log1p(-np.exp(np.minimum(log_tail[other], 0.0)))
    return out


def increasing_root(function, low, high, tolerance):
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
