"""Densities as mean shift asks for them: defined everywhere, with a gradient, in units of a bandwidth.

A density with bounds goes on beyond them as its images do: even about a bound where it is reflected, so that its
gradient turns round there, and periodic where it is periodic. Points that climb it never leave the support but for the
length of a step, and are folded back.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from gaussum.typing import FloatArray


class Axis(Protocol):
    """A bounded feature, as gaussum.support.Axis."""

    @property
    def feature(self) -> int:
        """Which."""

    @property
    def low(self) -> float:
        """Minus infinity where there is no bound."""

    @property
    def high(self) -> float:
        """Infinity where there is no bound."""

    @property
    def boundary(self) -> str:
        """The kind: "reflect" or "periodic"."""

    def fold(self, x: FloatArray) -> FloatArray:
        """The values within the bounds of which given ones are images."""


class NewPlan(NamedTuple):
    """The plan of a sum that chooses anew each time."""

    name: str = "auto"


class Extension:
    """A density with a unit of length and, perhaps, bounds; see gaussum.modes.SumWithGradient.

    Parameters
    ----------
    total : the sum that is the density
    bandwidths : ndarray of float64, shape (n_features,)
        The unit of each feature.
    axes : sequence of gaussum.support.Axis
        The bounded ones, reflected or periodic.

    Attributes
    ----------
    bandwidths : as given
    periods : ndarray of float64, shape (n_features,), or None
        In bandwidths, 0 where there is none; None where no feature has one.
    """

    def __init__(self, total: Any, bandwidths: FloatArray, axes: Sequence[Axis] = ()) -> None:
        self._total, self.bandwidths, self._axes = total, bandwidths, axes
        self.periods: FloatArray | None = None
        if any(axis.boundary == "periodic" for axis in axes):
            self.periods = np.zeros(len(bandwidths))
            for axis in axes:
                if axis.boundary == "periodic":
                    self.periods[axis.feature] = (axis.high - axis.low) / bandwidths[axis.feature]

    def sources(self) -> FloatArray:
        """The sources, shape (n_sources, n_features)."""
        sources: FloatArray = self._total.sources()
        return sources

    def fold(self, X: FloatArray) -> FloatArray:
        """Points within the bounds of which those given are images."""
        X = X.copy()
        for axis in self._axes:
            X[:, axis.feature] = axis.fold(X[:, axis.feature])
        return X

    def plan(self, X: FloatArray, rtol: float = 0.0, *, n_threads: int | None = None) -> NewPlan:
        """The sum plans for itself."""
        return NewPlan()

    def log_density(self, X: FloatArray, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """The log density at every row of `X`, shape (n_targets,)."""
        logs: FloatArray = self._total.log_density(self.fold(X), rtol=rtol, n_threads=n_threads)
        return logs

    def log_density_and_gradient(
        self, X: FloatArray, *, rtol: float = 0.0, n_threads: int | None = None, plan: str | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """The same, and its gradient, shape (n_targets, n_features)."""
        logs, gradient = self._total.log_density_and_gradient(self.fold(X), rtol=rtol, n_threads=n_threads)
        for axis in self._axes:
            if axis.boundary == "reflect":
                gradient[:, axis.feature] *= _turned(axis, X[:, axis.feature])
        return logs, gradient


def _turned(axis: Axis, x: FloatArray) -> FloatArray:
    """The derivative of the folded coordinate by the coordinate, 1 or -1."""
    length = axis.high - axis.low
    if np.isinf(length):
        return np.where((x < axis.low) | (x > axis.high), -1.0, 1.0)
    return np.where(np.mod(x - axis.low, 2.0 * length) > length, -1.0, 1.0)
