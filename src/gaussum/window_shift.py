"""Modes of a sum of Epanechnikov kernels: mean shift with a flat window, in steps of which there are finitely many.

The gradient of such a sum leads to the mean of the sources within reach (Fukunaga and Hostetler, IEEE Trans. Inf.
Theory 21, 1975, 32), and a point that goes there, and again, climbs until its window no longer changes (Comaniciu and
Meer, IEEE Trans. PAMI 24, 2002, 603, theorem 1).
"""

from typing import Protocol

import numpy as np

from gaussum.modes import Modes, SumWithGradient, gathered, merged_places
from gaussum.typing import FloatArray, SampleArray

# A step that ends the climb, in bandwidths, and in units of the rounding of a mean.
_SHORT, _ROUNDING = 1e-9, 1e-13


class Windows(SumWithGradient, Protocol):
    """A sum whose mean shift is known, as gaussum.kernel_sum.KernelSum of Epanechnikov kernels."""

    def window_means(self, X: FloatArray, n_threads: int | None = None) -> tuple[FloatArray, FloatArray]:
        """The log density of a flat kernel, and the mean of the sources within reach, which is NaN where none is."""


def find_window_modes(
    total: Windows, X: SampleArray, weights: FloatArray | None = None, *, merge_tol: float = 0.1, max_iter: int = 500,
    n_threads: int | None = None
) -> Modes:
    """The modes that points climb to; see gaussum.mean_shift.find_modes for the arguments.

    Returns
    -------
    Modes
        A mode has converged where its window no longer changes and holds a source.
    """
    at: FloatArray = np.array(X, dtype=np.float64)
    h = total.bandwidths
    sources = total.sources()
    with np.errstate(over="ignore"):
        tol = max(_SHORT, _ROUNDING * float(((sources.max(axis=0) - sources.min(axis=0)) / h).max()))
    late, settled = np.arange(len(at)), np.zeros(len(at), dtype=bool)
    for _ in range(max_iter):
        _, mean = total.window_means(at[late], n_threads)
        empty = np.isnan(mean).any(axis=1)
        with np.errstate(invalid="ignore"):
            short = (np.abs(mean - at[late]) / h).max(axis=1) <= tol
        settled[late[short]] = True
        # a step that is rounding might lead out of the narrowest windows
        going = ~empty & ~short
        at[late[going]] = mean[going]
        late = late[going]
        if not late.size:
            break
    log_density = total.log_density(at, n_threads=n_threads)
    labels, chosen = merged_places(at / h, log_density, merge_tol)
    return gathered(total, at[chosen], log_density[chosen], settled[chosen], labels, weights, merge_tol)
