"""The types that signatures name: what a caller may pass, what kernels and statistics hold."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ArrayLike", "FloatArray", "IndexArray", "MaskArray", "NDArray", "RandomState", "SampleArray"]

# Statistics, parameters and results.
FloatArray: TypeAlias = NDArray[np.float64]
# Data, in the precision they came in: float32 or float64.
SampleArray: TypeAlias = NDArray[np.floating[Any]]
IndexArray: TypeAlias = NDArray[np.intp]
MaskArray: TypeAlias = NDArray[np.bool_]
# What `random_state` may be: see gaussum.validation.check_random_state.
RandomState: TypeAlias = int | np.random.SeedSequence | np.random.Generator | np.random.RandomState | None
