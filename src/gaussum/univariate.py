"""Bandwidth selectors for samples on a line: what they minimise or solve. gaussum.bandwidth is their public face.

A selector takes a Line and returns a bandwidth in the line's own unit and, where something is to be said, a reason: why
the bandwidth is not what the method's definition asks for, or, with None as bandwidth, why there is none.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from gaussum.binned import Functionals
from gaussum.typing import FloatArray, NDArray

# What a selector returns: a bandwidth and a reason.
Found: TypeAlias = tuple[float | None, str | None]

# Bandwidths of a ladder, this ratio apart.
_RATIO = 1.2
# The least bandwidth that is looked at: half of the distance over which sqrt(n) / 2 samples lie where they are
# densest. Whatever the density, the best bandwidth is above it.
_LEAST, _DENSEST = 0.5, 0.05
# A likelihood takes two passes over the nodes of a grid; other sums over its frequencies take less.
_LIKELIHOOD_NODES = 1 << 21
# Samples are rounded, not repeated, where few gaps between neighbouring values are below this share of the median one.
_LATTICE, _FEW_GAPS = 0.1, 0.05
# The bandwidth that keeps rounded samples from standing apart, in units of what they are rounded to; and the share of
# tied samples from which on it is kept to.
_SMOOTH, _TIED = 0.5, 0.1
# An atom is a value of at least this share of the weight, and so many times as heavy as all that are none.
_ATOM, _APART = 0.1, 5.0
# Below so many samples the improved method is worse than a rule of thumb (bench/marron_wand.py, 3 to 50 samples).
_FEW = 25
# A scale from quartiles is believed from so many effective samples on, unless it is next to nothing beside the standard
# deviation.
_QUARTILES, _NO_SCALE = 4.0, 1e-302
_SQRT_2PI = math.sqrt(2.0 * math.pi)


class Line:
    """Samples on a line, sorted, and what all selectors ask of them.

    Equal samples become one that weighs as much, so that repetitions and weights are the same, unless they are equal by
    rounding: then there are as many as there were, and no bandwidth may tell the values apart.

    Parameters
    ----------
    x : ndarray, shape (n_samples,)
        Not constant.
    weight : ndarray of float64, shape (n_samples,), or None
        Positive.
    period : float, optional
        Of the line, where that is a circle, in the samples' units; they lie within one.

    Attributes
    ----------
    x : ndarray of float64
        Sorted, from the median, in multiples of `unit`.
    w : ndarray of float64
        Their weights, adding up to 1.
    n, own : float
        Effective number of samples, (sum w)^2 / sum w^2, and one over it, the weight of pairs of a sample with itself.
    pairs : float
        The weight of pairs of different samples.
    unit : float
        The lesser of the standard deviation and the range of the middle half over 1.349, in units of the samples: the
        scale by which Silverman (1986, section 3.4.2) and Sheather and Jones measure.
    normal : float
        (4 / 3 n)^(1/5): what a normal density of that scale would have as its best bandwidth.
    coarse : float
        The bandwidth below which rounded samples stand apart as spikes; 0 where few samples are tied.
    finest : float
        The least bandwidth to look at.
    """

    def __init__(self, x: NDArray[Any], weight: FloatArray | None, period: float | None = None) -> None:
        # within [-1, 1] by a power of two: no difference overflows
        _, exponent = np.frexp(np.abs(x).max())
        x = np.ldexp(x.astype(np.float64), -exponent)
        if weight is None:
            x.sort()
            w = np.full(len(x), 1.0 / len(x))
        else:
            order = np.argsort(x, kind="stable")
            x, w = x[order], weight[order] / weight.max()
            w /= w.sum()
        self._first = np.flatnonzero(np.append(True, x[1:] != x[:-1]))
        self._counts = np.diff(self._first, append=len(x))
        self._mass = np.add.reduceat(w, self._first)
        values, self.coarse = x[self._first], 0.0
        if len(values) < len(x):
            gaps = np.diff(values)
            if np.quantile(gaps, _FEW_GAPS) < _LATTICE * np.median(gaps):
                x, w = values, self._mass
            else:
                self.coarse = _SMOOTH * self._rounding(gaps)
        self.own: float = (w * w).sum()
        self.n = 1.0 / self.own
        others, k = 1.0 - w, int(w.argmax())
        others[k] = w[:k].sum() + w[k + 1 :].sum()          # 1 - w cancels where one sample outweighs all others
        self.pairs: float = (w * others).sum()
        low, middle, high = _quantiles(x, w, (0.25, 0.5, 0.75))
        about = x - middle
        about -= (w * about).sum()
        sigma, scale = math.sqrt((w * about * about).sum() / self.pairs), (high - low) / 1.349
        trusted = self.n >= _QUARTILES * (1.0 - 1e-9) and scale > _NO_SCALE * sigma
        scale = min(scale, sigma) if trusted else sigma
        self.x: FloatArray = (x - middle) / scale
        self.w: FloatArray = w
        self.coarse /= scale
        self.unit = math.ldexp(scale, int(exponent))
        self._period = None if period is None else period / self.unit
        self.normal = (4.0 / (3.0 * self.n)) ** 0.2
        k = max(1, int(math.sqrt(len(self.x)) / 2.0))
        distances = self.x[k:] - self.x[:-k]
        densest = int(_DENSEST * len(distances))
        finest = _LEAST * np.partition(distances, densest)[densest]
        self.finest = max(finest, self.coarse, 1e-15 * min(self.normal, self.x[-1] - self.x[0]))

    def _rounding(self, gaps: FloatArray) -> float:
        """What samples are rounded to: the lesser gap beside the middle one of tied samples; 0 where few are tied."""
        tied = self._counts > 1
        if self._mass[tied].sum() < _TIED:
            return 0.0
        cells = np.minimum(np.append(gaps[0], gaps), np.append(gaps, gaps[-1]))[tied]
        order = np.argsort(cells)
        cumulative = np.cumsum(self._mass[tied][order])
        middle: float = cells[order][np.searchsorted(cumulative, 0.5 * cumulative[-1])]
        return middle

    def without_atoms(self) -> "Line":
        """This line with its atoms counted once each: values that many samples share and no density explains.

        Zeros are such where something was not there to be measured.
        """
        heaviest = np.argsort(self._mass, kind="stable")[:-5:-1]
        masses = self._mass[heaviest]
        apart = np.flatnonzero((masses[:-1] > _ATOM) & (masses[:-1] > _APART * masses[1:]))
        atoms = heaviest[: apart[-1] + 1] if apart.size else heaviest[:0]
        if not atoms.size or (self._counts[atoms] == 1).any():
            return self
        if len(self.x) == len(self._mass):          # merged
            x, w = self.x, self.w.copy()
            w[atoms] = np.median(np.delete(w, atoms))
        else:
            keep = np.ones(len(self.x), dtype=bool)
            for first, count in zip(self._first[atoms], self._counts[atoms], strict=True):
                keep[first + 1 : first + count] = False
            x, w = self.x[keep], self.w[keep]
        line = Line(x, w, self._period)
        line.unit *= self.unit
        return line

    def functionals(self, **options: Any) -> Functionals:
        """Sums over pairs of these samples."""
        return Functionals(self.x, self.w, self.finest, period=self._period, **options)

    def ladder(self, finest: float, most: float, ratio: float = _RATIO) -> FloatArray:
        """Bandwidths from `finest` to `most` times the normal one, shape (n,)."""
        last = max(most * self.normal, finest * ratio**3)
        return np.geomspace(finest, last, 2 + math.ceil(math.log(last / finest) / math.log(ratio)))

    def rule(self) -> float:
        """Silverman's rule of thumb (1986, equation 3.31), but no less than rounding asks for."""
        thumb: float = 0.9 * self.n**-0.2
        return max(thumb, self.coarse)


def _quantiles(x: FloatArray, w: FloatArray, shares: Sequence[float]) -> FloatArray:
    """Quantiles of sorted samples, each at the middle of its weight; without weights R's and NumPy's own."""
    middle = np.cumsum(w) - 0.5 * w
    place = np.interp(shares, (middle - middle[0]) / (middle[-1] - middle[0]), np.arange(len(x)))
    # a neighbour may be so far away that what rounding leaves of it would be a distance
    place = np.where(np.abs(place - np.rint(place)) < 1e-9 * len(x), np.rint(place), place)
    return np.interp(place, np.arange(len(x)), x)


def sheather_jones(line: Line) -> Found:
    """The root of h = (R(K) / (n R_2(c(h))))^(1/5) (Sheather and Jones 1991, section 3)."""
    f = line.functionals()
    # R_2 and R_3 are what the paper calls S_D and T_D, at the bandwidths for a normal density of this scale
    a, b = 1.24 * line.n ** (-1.0 / 7.0), 1.23 * line.n ** (-1.0 / 9.0)
    with np.errstate(all="ignore"):
        ratio = 1.357 * (f.roughness(2, a) / f.roughness(3, b)) ** (1.0 / 7.0)

    def excess(h: float) -> float:
        best = line.pairs / (2.0 * math.sqrt(math.pi) * line.n * f.roughness(2, ratio * h ** (5.0 / 7.0)))
        log_best: float = np.log(best)
        return log_best / 5.0 - math.log(h)

    return _largest_root(line, excess, f.finest)


def improved_sheather_jones(line: Line, stages: int = 7) -> Found:
    """The fixed point of Botev, Grotowski and Kroese (2010, equation 30 and algorithm 1)."""
    f = line.functionals()

    def excess(h: float) -> float:
        g = h
        for s in range(stages, 1, -1):
            # the estimate is itself a density of bandwidth g: pairs are sqrt(2) g apart
            roughness = f.roughness(s, math.sqrt(2.0) * g)
            if s > 2:
                moment = math.prod(range(1, 2 * s - 2, 2)) / _SQRT_2PI
                factor = (1.0 + 0.5 ** (s - 0.5)) / 3.0
                g = (2.0 * factor * moment / (line.n * roughness)) ** (1.0 / (2.0 * s + 1.0))
        best = 1.0 / (2.0 * math.sqrt(math.pi) * line.n * roughness)
        log_best: float = np.log(best)
        return log_best / 5.0 - math.log(h)

    return _largest_root(line, excess, f.finest)


def automatic(line: Line) -> Found:
    """The improved method where it is good; see gaussum.bandwidth.auto."""
    if line.n < _FEW:
        return line.rule(), None
    h, _ = improved_sheather_jones(line)
    if h is None or h <= line.coarse:           # of rounded samples it sees the rounding first
        other, _ = sheather_jones(line)
        h = max(h or 0.0, other or line.rule())
    return h, None


def _largest_root(line: Line, excess: Callable[[float], float], finest: float) -> Found:
    """The largest bandwidth, of at most a few times the normal one, at which `excess` falls through 0."""
    ladder = line.ladder(finest, 3.0)
    with np.errstate(all="ignore"):         # where there is no roughness left there is no sign either
        below = excess(ladder[-1])
        for i in range(len(ladder) - 2, -1, -1):
            here = excess(ladder[i])
            if here >= 0.0 > below:
                from scipy.optimize import brentq           # slow to load

                return math.exp(brentq(lambda u: excess(math.exp(u)), *np.log(ladder[i : i + 2]), xtol=1e-13)), None
            below = here
    if below < 0.0 and line.coarse > 0.0:
        return line.coarse, None
    if below < 0.0 and finest > line.finest:
        return finest, "its solution is narrower than a grid over samples that spread so far resolves"
    return None, "its equation has no solution"


def least_squares(line: Line) -> Found:
    """The least of int f^2 - 2 sum_i w_i f_(-i)(x_i) (Rudemo 1982; Bowman 1984)."""
    f = line.functionals()

    def score(h: float) -> float:
        own = line.own / (_SQRT_2PI * h)
        return f.roughness(0, math.sqrt(2.0) * h) - 2.0 * (f.roughness(0, h) - own) / line.pairs

    def slope(u: float) -> float:
        # by the heat equation, d/dg R_0(g) = -g R_1(g)
        h = math.exp(u)
        own = line.own / (_SQRT_2PI * h**3)
        return (f.roughness(1, h) - own) / line.pairs - f.roughness(1, math.sqrt(2.0) * h)

    ladder = line.ladder(f.finest, 4.0)
    scores = np.array([score(h) for h in ladder])
    best = _lowest_inside(scores)
    if best is None:
        end = "ever smaller" if scores[0] < scores[-1] else "ever larger"
        return None, f"its score falls for {end} bandwidths"
    low, high = np.log(ladder[best - 1]), np.log(ladder[best + 1])
    if slope(low) < 0.0 < slope(high):
        from scipy.optimize import brentq               # slow to load

        h = math.exp(brentq(slope, low, high, xtol=1e-13))
    else:                       # more than one turn between neighbours of the ladder
        h = ladder[best]
    if scores[0] < scores[best]:
        return h, "its score is lower still for the least bandwidths, as ties and noise make it"
    return h, None


def likelihood(line: Line) -> Found:
    """The largest of Wu's robust leave-one-out likelihood (2019)."""
    f = line.functionals(keep=True, most_nodes=_LIKELIHOOD_NODES)
    # what the density of a normal sample of this size has at its outermost
    floor = math.sqrt(0.5 * math.log(max(line.n, 2.0))) / line.n

    def score(u: float) -> float:
        h = math.exp(u)
        log_likelihood, expected = f.grid(h).log_likelihood(h, line.w, floor)
        return expected - log_likelihood

    ladder = np.log(line.ladder(f.finest, 8.0, 1.4))
    scores = np.array([score(u) for u in ladder])
    best = _lowest_inside(scores)
    if best is None:
        end = "smaller" if scores[0] < scores[-1] else "larger"
        return None, f"its likelihood rises for ever {end} bandwidths"
    bounds = ladder[best - 1], ladder[best + 1]
    from scipy.optimize import minimize_scalar          # slow to load

    h = math.exp(minimize_scalar(score, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)
    if scores[0] < scores[best]:
        return h, "its likelihood is higher still for the least bandwidths, as ties and noise make it"
    return h, None


def _lowest_inside(scores: FloatArray) -> int | None:
    """The index of the lowest of the minima that are not at an end, or None."""
    inside = np.flatnonzero((scores[1:-1] <= scores[:-2]) & (scores[1:-1] <= scores[2:])) + 1
    return int(inside[np.argmin(scores[inside])]) if inside.size else None
