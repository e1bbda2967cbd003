"""How kernels fall off: what lets sums leave out those that are far away, as the images of `gaussum.images` are.

Distances are in bandwidths. A kernel of largest log density `log_peak` is below exp(-depth) of that from the distance
`limits(depth) ** 0.5` on. The images of a kernel at whole periods, of which one is no farther than `nearest` periods
from a query, come to no more than `share` of that one's term from `last` periods on: `negligible` says whether.
"""

import math
from dataclasses import dataclass

import numpy as np

from gaussum.typing import FloatArray


# Squares of longer distances might overflow.
_FAR = 1e150


@dataclass(frozen=True)
class GaussianDecay:
    """Of Gaussians up to `widest` times as wide as the bandwidth."""

    log_peak: float
    widest: float = 1.0

    def limits(self, depth: FloatArray) -> FloatArray:
        """r^2 from which on no kernel is above exp(-depth) of the peak."""
        return 2.0 * depth * self.widest**2

    def log_most(self, r2: FloatArray) -> FloatArray:
        """The largest log density at these r^2."""
        return self.log_peak - 0.5 * r2 / self.widest**2

    def negligible(self, share: float, last: int, nearest: float, period: float) -> bool:
        """Whether images from `last` periods on come to a share of the nearest at most."""
        u2 = 0.5 * min(period / self.widest, _FAR) ** 2
        return 2.0 * math.exp(-(last**2 - nearest**2) * u2) <= share * -math.expm1(-(2 * last + 1) * u2)

    def reach(self, share: float, nearest2: float) -> float:
        """The distance from which on a kernel is below that share of what it is at r^2 = `nearest2`."""
        return math.sqrt(nearest2 + 2.0 * self.widest**2 * math.log(1.0 / share))


@dataclass(frozen=True)
class CompactDecay:
    """Of kernels that are 0 from one bandwidth on."""

    log_peak: float

    def limits(self, depth: FloatArray) -> FloatArray:
        """1: beyond there is nothing."""
        return np.ones_like(depth)

    def log_most(self, r2: FloatArray) -> FloatArray:
        """The largest log density within reach."""
        return np.full_like(r2, self.log_peak)

    def negligible(self, share: float, last: int, nearest: float, period: float) -> bool:
        """Whether no image from `last` periods on reaches."""
        return last * period >= 1.0

    def reach(self, share: float, nearest2: float) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True)
class ExponentialDecay:
    """Of exp(-r). In several features the far images of a far query are hardly farther than the near ones."""

    log_peak: float
    n_features: int

    def limits(self, depth: FloatArray) -> FloatArray:
        """r^2 from which on a kernel is below exp(-depth) of the peak."""
        return np.maximum(depth, 0.0) ** 2

    def log_most(self, r2: FloatArray) -> FloatArray:
        """The log density at these r^2."""
        return self.log_peak - np.sqrt(r2)

    def negligible(self, share: float, last: int, nearest: float, period: float) -> bool:
        """Whether images from `last` periods on come to a share of the nearest at most, in one feature."""
        return 2.0 * math.exp(-(last - nearest) * period) <= share * -math.expm1(-period)

    def reach(self, share: float, nearest2: float) -> float:
        """None is known in advance."""
        return math.inf


Decay = GaussianDecay | CompactDecay | ExponentialDecay
