import numpy as np
from typing_extensions import disjoint_base

from gaussum.samples import Samples
from gaussum.typing import FloatArray, NDArray

@disjoint_base
class KernelSumPass:
    def __init__(
        self, sources: FloatArray, weights: FloatArray, log_weights: FloatArray, inv_bandwidth: FloatArray,
        targets: Samples, block: int, n_parts: int, own: bool = False,
        single_sources: NDArray[np.float32] | None = None, tails: bool = True,
    ) -> None: ...
    @property
    def n_parts(self) -> int: ...
    @property
    def part_size(self) -> int: ...
    @property
    def scratch_size(self) -> int: ...
    def log_density(self, first: int, last: int, out: FloatArray, scratch: FloatArray) -> None: ...
    def log_density_and_gradient(
        self, first: int, last: int, out: FloatArray, gradient: FloatArray, scratch: FloatArray
    ) -> None: ...
