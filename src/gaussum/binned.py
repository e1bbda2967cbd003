"""Sums over pairs of samples on a line, for bandwidths of any size: by the power spectrum of binned samples.

What bandwidth selectors ask for is, at many bandwidths g,

    R_s(g) = sum_{i, i'} w_i w_i' (-1)^s N^(2s)(x_i - x_i'; 0, g^2)
           = 1 / (2 pi) int omega^(2s) exp(-g^2 omega^2 / 2) P(omega) domega,

    P(omega) = |sum_i w_i exp(i omega x_i)|^2,

with N^(2s) the derivative of order 2s. P comes from one Fourier transform of the samples, binned with cubic B-splines,
with the transform of the spline taken out again; each bandwidth is then one sum over frequencies. So that outliers cost
nothing, gaps beyond any kernel's reach are shortened to that reach; and so that they may be, there is a grid for every
so many octaves of bandwidths, made when asked for.
"""

import math

import numpy as np

from gaussum.binned_pass import leave_one_out, spread
from gaussum.typing import FloatArray

NODES = 12.0                # a bandwidth, at the finest of a grid
OCTAVES = 2.0               # of bandwidths that a grid serves
REACH = 9.0                 # bandwidths beyond which a kernel and its first fourteen derivatives are nothing
MOST_NODES = 1 << 22
# exp(-z^2 / 2) z^14 beyond this is below rounding
_FREQUENCIES = 10.0


class Grid:
    """Samples on a grid for bandwidths from `finest` to 2^OCTAVES as much.

    Parameters
    ----------
    x : ndarray of float64, shape (n_samples,)
        Sorted.
    w : ndarray of float64, shape (n_samples,)
        Weights that add up to 1.
    finest : float
    keep : bool
        The samples' places, for `log_likelihood`.
    period : float, optional
        Of the line, where that is a circle.
    """

    def __init__(
        self, x: FloatArray, w: FloatArray, finest: float, keep: bool = False, period: float | None = None
    ) -> None:
        from scipy import fft           # slow to load

        self.step = finest / NODES
        if period is None:
            place = places(x, finest)
            place /= self.step
            n_nodes = fft.next_fast_len(int(place[-1] + reach(finest) / self.step) + 3, real=True)
        else:
            n_nodes = fft.next_fast_len(max(math.ceil(period / self.step), 8), real=True)
            self.step = period / n_nodes
            place = np.minimum((x - x[0]) / self.step, n_nodes - 1e-9)
        counts = np.zeros(n_nodes if period is None else n_nodes + 4)
        spread(place if period is None else place + 1.0, w, counts)
        if period is not None:
            counts[:4] += counts[n_nodes:]
            counts = counts[:n_nodes]
        self._n_nodes, self._place = n_nodes, place if keep else None
        k = np.arange(1 + min(n_nodes // 2, math.ceil(_FREQUENCIES / finest * n_nodes * self.step / (2.0 * math.pi))))
        self._omega: FloatArray = k * (2.0 * math.pi / (n_nodes * self.step))
        self._transform = fft.rfft(counts)[: len(k)] / np.sinc(k / n_nodes) ** 4
        self._power = np.abs(self._transform) ** 2

    def roughness(self, s: int, g: float) -> float:
        """R_s(g), pairs of a sample with itself included."""
        z = self._omega[: self._most(g)] * g
        z *= z
        terms = self._power[: len(z)].copy()
        for _ in range(s):          # far cheaper than a power
            terms *= z
        np.exp(np.multiply(z, -0.5, out=z), out=z)
        # every frequency stands for itself and its negative, and 0 for itself alone
        terms *= z
        total = terms.sum() - 0.5 * terms[0]
        roughness: float = 2.0 * total / (self._n_nodes * self.step) * g ** (-2.0 * s)
        return roughness

    def density(self, h: float) -> FloatArray:
        """The kernel density at the nodes."""
        most = self._most(h)
        z = self._omega[:most] * h
        from scipy import fft

        nodes: FloatArray = fft.irfft(self._transform[:most] * np.exp(-0.5 * z * z), self._n_nodes) / self.step
        return nodes

    def log_likelihood(self, h: float, w: FloatArray, floor: float) -> tuple[float, float]:
        """sum_i w_i log f_(-i)(x_i) at bandwidth h, Wu's line below `floor`, and what it is to be compared with.

        The second is Wu's int l'(f) f: the integral of f where f >= floor, of f^2 / (2 floor) elsewhere.
        """
        assert self._place is not None
        nodes = self.density(h)
        under = np.minimum(nodes, floor)
        # the integrand jumps by floor / 2 where f = floor, which is somewhere between two nodes
        following = np.append(nodes[1:], nodes[0])
        low, high = np.minimum(nodes, following), np.maximum(nodes, following)
        across = (low < floor) & (high >= floor)
        above = np.count_nonzero(low >= floor) + ((high[across] - floor) / (high[across] - low[across])).sum()
        expected = self.step * (nodes.sum() - (under - under * under / (2.0 * floor)).sum() + 0.5 * floor * above)
        return leave_one_out(nodes, self._place, w, 1.0 / (math.sqrt(2.0 * math.pi) * h), floor), expected

    def _most(self, g: float) -> int:
        """The number of frequencies that count for a bandwidth."""
        return min(len(self._omega), 1 + math.ceil(_FREQUENCIES / float(g * self._omega[1])))


def reach(finest: float) -> float:
    """The reach of the widest kernel of a grid."""
    widest: float = 2.0**OCTAVES * finest
    return REACH * widest


def places(x: FloatArray, finest: float) -> FloatArray:
    """Where sorted samples lie when the gaps that no kernel of the grid spans are shortened."""
    gaps, longest = np.diff(x, prepend=x[0]), reach(finest)
    return np.cumsum(np.minimum(gaps, longest)) if (gaps > longest).any() else x - x[0]


class Functionals:
    """R_s(g) of sorted samples for bandwidths g from `finest` upward; below, its value there.

    Parameters
    ----------
    x : ndarray of float64, shape (n_samples,)
        Sorted.
    w : ndarray of float64, shape (n_samples,)
        Weights that add up to 1.
    finest : float
        Raised where the grid for it would be too long.
    keep : bool
        The samples' places in the grids, for `Grid.log_likelihood`.
    most_nodes : int
        Of a grid.
    period : float, optional
        Of the line, where that is a circle; not with `keep`.

    Attributes
    ----------
    finest : float
    """

    def __init__(
        self, x: FloatArray, w: FloatArray, finest: float, keep: bool = False, most_nodes: int = MOST_NODES,
        period: float | None = None,
    ) -> None:
        self._x, self._w, self._keep, self._period = x, w, keep, period
        self._grids: dict[int, Grid] = {}
        while (places(x, finest)[-1] + reach(finest) if period is None else period) > most_nodes * finest / NODES:
            finest *= 2.0
        self.finest = finest

    def grid(self, g: float) -> Grid:
        """The grid that serves a bandwidth."""
        level = max(0, math.floor(math.log2(g / self.finest) / OCTAVES))
        if level not in self._grids:
            finest = self.finest * 2.0 ** (OCTAVES * level)
            self._grids[level] = Grid(self._x, self._w, finest, self._keep, self._period)
        return self._grids[level]

    def roughness(self, s: int, g: float) -> float:
        """R_s(g), pairs of a sample with itself included."""
        g = max(g, self.finest)
        return self.grid(g).roughness(s, g) if g < math.inf else 0.0
