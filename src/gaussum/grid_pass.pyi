from collections.abc import Sequence

import numpy as np
from typing_extensions import disjoint_base

from gaussum.samples import Samples
from gaussum.typing import FloatArray, IndexArray, NDArray

@disjoint_base
class GridPass:
    def __init__(
        self, width: int, spacing: float, scale: FloatArray, stretches: Sequence[FloatArray], shape: Sequence[int],
        margin: int | None = None,
    ) -> None: ...
    @property
    def scratch_size(self) -> int: ...
    @property
    def n_tiles(self) -> int: ...
    def tile_shape(self, nodes: int = 8) -> tuple[int, ...]: ...
    def tiles(self, points: Samples, first: int, last: int, out: NDArray[np.uint16]) -> None: ...
    def weigh(
        self, sources: Samples, first: int, last: int, weights: FloatArray, nodes: int, out: FloatArray
    ) -> None: ...
    def select(
        self, sources: Samples, first: int, last: int, wanted: NDArray[np.uint8], nodes: int, out: IndexArray
    ) -> int: ...
    def reach(self, points: Samples, order: IndexArray | None, first: int, last: int) -> tuple[int, int]: ...
    def spread(
        self, sources: Samples, order: IndexArray | None, weights: FloatArray, first: int, last: int, plane: int,
        planes: FloatArray, scratch: FloatArray,
    ) -> None: ...
    def moments(
        self, sources: Samples, weights: FloatArray, first: int, last: int, subdivisions: int, out: FloatArray,
        scratch: FloatArray,
    ) -> None: ...
    def expand(self, moments: FloatArray, expansions: FloatArray, grid: FloatArray) -> None: ...
    def gather(
        self, targets: Samples, order: IndexArray | None, first: int, last: int, grid: FloatArray,
        own: FloatArray | None, threshold: float, log_factor: float, out: FloatArray, scratch: FloatArray,
        gradient: FloatArray | None = None,
    ) -> None: ...

def contract(
    grid: FloatArray, nodes: IndexArray, factors: FloatArray, first: int, last: int, out: FloatArray
) -> None: ...
