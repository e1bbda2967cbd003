"""Probabilities of half-lines, intervals and boxes under a sum of Gaussians.

The Gaussians have one bandwidth a feature, or a covariance, and each may have a factor of it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from scipy.special import logsumexp, ndtri

from gaussum import parallel
from gaussum.box_pass import BoxPass
from gaussum.line import Line
from gaussum.tails import Tails, gaussian_images, octaves
from gaussum.typing import FloatArray, IndexArray, MaskArray

_PAIR_SECONDS = 0.6e-9
_FEATURE_SECONDS = 1.5e-9
# Sources that are taken together: with their exponents they stay in L1.
_BLOCK = 256
# Of the trapezoidal rule in standard deviations: its reach, and its step for a Gaussian, with errors below rounding.
_REACH, _STEP = 8.5, 0.75
# Farther from all sources, in standard deviations, boxes are not looked for.
_FARTHEST = 1e4
# What a correlation leaves of a variance, at least.
_LEAST_REST = 1e-8
_LISTED = 1 << 16
# From three features on: nodes of the rule that are always taken, and pairs of a node and a source; else this many
# points of a Sobol' sequence.
_NODES, _PAIRS = 1 << 13, 1 << 27
_LOG2_POINTS = 13


class HasBoxes(Protocol):
    """What knows the probabilities of boxes."""

    @property
    def line(self) -> Tails:
        """The distribution of one feature."""

    def log_boxes(self, low: FloatArray, high: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of the probability of every box."""

    def log_bound(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """What these logarithms come to at most."""

    def n_images(self, column: int, length: float) -> int:
        """The cells on either side of an axis of that length whose images count to rounding."""


class Sum(Protocol):
    """A sum that is a density, and knows its integrals."""

    def distribution(self) -> HasBoxes:
        """Its distribution; ValueError where that has no form that is known."""


_MADE: WeakKeyDictionary[Any, HasBoxes] = WeakKeyDictionary()


def distribution_of(total: Sum) -> HasBoxes:
    """The distribution of a sum, made once."""
    if total not in _MADE:
        _MADE[total] = total.distribution()
    return _MADE[total]


class Distribution:
    """The distribution that belongs to a sum of Gaussians.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources), C order
    log_weights : ndarray of float64, shape (n_sources,)
        Logarithms of weights that add up to 1.
    bandwidths : ndarray of float64, shape (n_features,)
    factors : ndarray of float64, shape (n_sources,), optional
        Of the bandwidths at each source.

    Attributes
    ----------
    sources, log_weights, bandwidths, factors : as given
    """

    def __init__(
        self, sources: FloatArray, log_weights: FloatArray, bandwidths: FloatArray, factors: FloatArray | None = None
    ) -> None:
        self.sources, self.log_weights, self.bandwidths, self.factors = sources, log_weights, bandwidths, factors
        self._line: Line | None = None
        self._low, self._high = sources.min(axis=1), sources.max(axis=1)
        self._widest = bandwidths if factors is None else bandwidths * factors.max()
        self._blocks: tuple[FloatArray, FloatArray, FloatArray, IndexArray] | None = None

    @property
    def line(self) -> Line:
        """That of one feature, a gaussum.line.Line."""
        if self._line is None:
            self._line = Line(self.sources[0], self.log_weights, float(self.bandwidths[0]), self.factors)
        return self._line

    def moved(self, by: FloatArray) -> "Distribution":
        """That of sources which are moved by so much, shape (n_features, n_sources)."""
        return Distribution(self.sources + by, self.log_weights, self.bandwidths, self.factors)

    def log_bound(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """What the logarithms of the probabilities of boxes come to at most, by their distance from all sources."""
        with np.errstate(over="ignore"):
            away = np.maximum(np.maximum(low - self._high, self._low - high), 0.0) / self._widest
            out: FloatArray = -0.5 * (away * away).sum(axis=1)
        return out

    def n_images(self, column: int, length: float) -> int:
        """The cells on either side of an axis of that length whose images count to rounding."""
        return gaussian_images(float(self._widest[column]) / length)

    def log_boxes(self, low: FloatArray, high: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of the probability of every box, right to rounding however far out or narrow it is.

        Parameters
        ----------
        low, high : ndarray of float64, shape (n_boxes, n_features)
            low <= high, infinities too.
        n_threads : int or None

        Returns
        -------
        ndarray of float64, shape (n_boxes,)
        """
        if low.shape[1] == 1:
            return self.line.log_boxes(low, high, n_threads)
        sources, log_weights, sharpness, starts = self._in_blocks()
        boxes = BoxPass(sources, log_weights, sharpness, starts, 1.0 / self.bandwidths, np.ascontiguousarray(low),
                        np.ascontiguousarray(high))
        n = low.shape[0]
        seconds = n * self.log_weights.size * (_PAIR_SECONDS + low.shape[1] * _FEATURE_SECONDS)
        n_parts = parallel.n_parts(n, seconds, smallest=1)
        n_threads = min(parallel.resolve_threads(n_threads, seconds), n_parts)
        scratch = [np.empty(boxes.scratch_size) for _ in range(n_threads)]
        out = np.empty(n)
        parallel.run(n_parts, n_threads, lambda part, slot: boxes.log_probabilities(
            part * n // n_parts, (part + 1) * n // n_parts, out, scratch[slot]
        ))
        return np.minimum(out, 0.0)

    def _in_blocks(self) -> tuple[FloatArray, FloatArray, FloatArray, IndexArray]:
        """Sources, logarithms of weights, sharpness, and where blocks start: in a block widths are alike."""
        if self._blocks is None:
            n = self.log_weights.size
            if self.factors is None:
                self._blocks = self.sources, self.log_weights, np.ones(n), np.append(np.arange(0, n, _BLOCK), n)
            else:
                sharpness = 1.0 / self.factors
                parts = octaves(sharpness)
                order, ends = np.concatenate(parts), np.cumsum([part.size for part in parts])
                starts = [np.arange(end - part.size, end, _BLOCK) for part, end in zip(parts, ends)]
                self._blocks = (np.ascontiguousarray(self.sources[:, order]), self.log_weights[order],
                                sharpness[order], np.concatenate([*starts, [n]]))
        return self._blocks


class CorrelatedDistribution:
    """The distribution that belongs to a sum of Gaussians of one covariance.

    With V V^T + D the covariance, D diagonal, each Gaussian is one of covariance D that is moved by V u, where u is
    standard normal (Dunnett and Sobel, Biometrika 42, 1955, 258; for several u: Genz and Bretz, Computation of
    Multivariate Normal and t Probabilities, 2009, section 2.3):

        P(box) = int phi(u) P_D(box - V u) du,

    by the trapezoidal rule, whose error falls as fast as the Fourier transform of what is integrated. D is as large as
    it can be with all entries the same in units of the variances, and V has one column less than there are features.
    Where that makes too many nodes, the mean over the points of a Sobol' sequence takes the place of the rule: its
    absolute error is some 1e-5, up to 1e-3 where features are strongly correlated.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_features, n_sources), C order
    log_weights : ndarray of float64, shape (n_sources,)
    covariance : ndarray of float64, shape (n_features, n_features)
    factors : ndarray of float64, shape (n_sources,), optional
        Of the bandwidth at each source, the root of its factor of the covariance.
    """

    def __init__(
        self, sources: FloatArray, log_weights: FloatArray, covariance: FloatArray, factors: FloatArray | None = None
    ) -> None:
        self._sources, self._log_weights, self._factors = sources, log_weights, factors
        self._sd = np.sqrt(np.diagonal(covariance))
        values, vectors = np.linalg.eigh(covariance / self._sd / self._sd[:, np.newaxis])
        self._rest = rest = max(float(values[0]), _LEAST_REST)
        self._widest = self._sd if factors is None else self._sd * factors.max()
        correlated = values - rest > _LEAST_REST * rest
        values, vectors = values[correlated], vectors[:, correlated]
        # the direction of an axis is nothing that a result should depend on
        largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))]
        self._shifts = (self._sd[:, np.newaxis] * vectors * (np.sqrt(values - rest) * np.sign(largest))).T
        self._steps = _STEP * np.sqrt(rest / values)
        # how far the middle of what is integrated moves with the box, in standard deviations of either
        self._tilts = np.sqrt(len(self._sd) * (values - rest)) / values
        self._low, self._high = sources.min(axis=1), sources.max(axis=1)
        self._along_axes = Distribution(sources, log_weights, self._sd * math.sqrt(rest), factors)

    @property
    def line(self) -> Tails:
        """There is none: a covariance is of several features."""
        raise NotImplementedError

    def log_bound(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """What the logarithms of the probabilities of boxes come to at most, by the distance along one axis."""
        return -0.5 * self._away(low, high) ** 2

    def n_images(self, column: int, length: float) -> int:
        """The cells on either side of an axis of that length whose images count to rounding."""
        # a kernel that leans may be far from the nearest image in its own measure
        relative = float(self._widest[column]) / length
        return gaussian_images(relative, len(self._widest) / self._rest)

    def log_boxes(self, low: FloatArray, high: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of the probability of every box, shape (n_boxes,); see `Distribution.log_boxes`."""
        out = np.empty(low.shape[0])
        away = self._away(low, high).clip(0.0, _FARTHEST)
        # boxes that are as far away take the same nodes
        order = np.argsort(away, kind="stable")
        first = 0
        while first < len(order):
            near = away[order[first:]] <= away[order[first]] + 1.0
            last = first + int(np.count_nonzero(near))
            index = order[first:last]
            out[index] = self._integrated(low[index], high[index], away[index[-1]], n_threads)
            first = last
        return np.minimum(out, 0.0)

    def _away(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """The largest distance of boxes from all sources along an axis, in standard deviations, at least 0."""
        with np.errstate(over="ignore"):
            away = (np.maximum(low - self._high, self._low - high) / self._widest).max(axis=1)
        out: FloatArray = away.clip(min=0.0)
        return out

    def _integrated(self, low: FloatArray, high: FloatArray, away: float, n_threads: int | None) -> FloatArray:
        out = np.full(len(low), -np.inf)
        for u, log_shares in self._nodes(away, max(1, _LISTED // len(low))):
            moved = u @ self._shifts
            if self._factors is None:
                shape, moved = (len(u), len(low)), moved[:, np.newaxis]
                logs = self._along_axes.log_boxes(
                    (low - moved).reshape(-1, low.shape[1]), (high - moved).reshape(-1, low.shape[1]), n_threads
                ).reshape(shape)
            else:
                # the wider a Gaussian, the farther it moves
                logs = np.stack([
                    self._along_axes.moved(np.multiply.outer(by, self._factors)).log_boxes(low, high, n_threads)
                    for by in moved
                ])
            out = np.logaddexp(out, logsumexp(logs + log_shares[:, np.newaxis], axis=0))
        return out

    def _nodes(self, away: float, size: int) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Nodes u, shape (n, n_columns), and the logarithms of their shares, so many at a time."""
        halves = np.ceil((_REACH + away * self._tilts) / self._steps)
        n_columns = len(halves)
        if n_columns == 0:
            yield np.zeros((1, 0)), np.zeros(1)
            return
        if n_columns > 1 and np.prod(2 * halves + 1) > max(_NODES, _PAIRS // self._log_weights.size):
            from scipy.stats import qmc             # slow to load

            points = qmc.Sobol(n_columns, scramble=False).random_base2(_LOG2_POINTS) + 0.5 ** (_LOG2_POINTS + 1)
            u, log_shares = ndtri(points), np.full(1 << _LOG2_POINTS, -_LOG2_POINTS * math.log(2.0))
            for first in range(0, len(u), size):
                yield u[first : first + size], log_shares[first : first + size]
            return
        sizes = (2 * halves + 1).astype(np.intp)
        log_step = float(np.log(self._steps).sum()) - 0.5 * n_columns * math.log(2.0 * math.pi)
        for first in range(0, int(sizes.prod()), size):
            places = np.unravel_index(np.arange(first, min(first + size, int(sizes.prod()))), sizes)
            k = np.stack(places, axis=1) - halves
            # the corners of this block are farther out than its sides
            u = (k * self._steps)[((k / halves) ** 2).sum(axis=1) <= 1.0]
            if len(u):
                yield u, log_step - 0.5 * (u * u).sum(axis=1)


class Mixed(Tails):
    """The distribution of a density that is a sum of several.

    Parameters
    ----------
    parts : sequence of distributions
    log_shares : ndarray of float64, shape (n_parts,)
        The logarithms of what each has of the whole.
    """

    def __init__(self, parts: Sequence[HasBoxes], log_shares: FloatArray) -> None:
        self._parts, self._log_shares = parts, log_shares

    @property
    def line(self) -> Tails:
        """The distribution of one feature."""
        lines = [part.line for part in self._parts]
        self.support = lines[0].support
        self.x = np.sort(np.concatenate([line.x for line in lines]))
        self.groups = [group for line in lines for group in line.groups]
        return self

    def log_bound(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """What the logarithms of the probabilities of boxes come to at most."""
        bound: FloatArray = np.max([part.log_bound(low, high) for part in self._parts], axis=0)
        return bound

    def n_images(self, column: int, length: float) -> int:
        """The cells on either side of an axis of that length whose images count to rounding."""
        return max(part.n_images(column, length) for part in self._parts)

    def log_boxes(self, low: FloatArray, high: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of the probability of every box, shape (n_boxes,)."""
        logs: FloatArray = np.logaddexp.reduce([
            part.log_boxes(low, high, n_threads) + share for part, share in zip(self._parts, self._log_shares)
        ])
        return np.minimum(logs, 0.0)

    def log_intervals(self, low: FloatArray, high: FloatArray, n_threads: int | None = None) -> FloatArray:
        """The logarithm of the probability of every interval; see Tails."""
        return self.log_boxes(low[:, np.newaxis], high[:, np.newaxis], n_threads)

    def _ends(self, log_q: FloatArray, upper: MaskArray) -> tuple[FloatArray, FloatArray]:
        """A quantile lies between those of the parts."""
        ends = [part.line._ends(log_q, upper) for part in self._parts]
        return np.min([low for low, _ in ends], axis=0), np.max([high for _, high in ends], axis=0)
