from collections.abc import Sequence

from typing_extensions import disjoint_base

from gaussum.grid_pass import GridPass
from gaussum.samples import Samples
from gaussum.tree_pass import TreePass
from gaussum.typing import FloatArray, IndexArray

@disjoint_base
class VaryingSumPass:
    def __init__(
        self, sources: FloatArray, log_weights: FloatArray, sharpness: FloatArray, inv_bandwidth: FloatArray,
        targets: Samples, block: int, n_parts: int, own: bool = False,
    ) -> None: ...
    @property
    def n_parts(self) -> int: ...
    @property
    def part_size(self) -> int: ...
    @property
    def scratch_size(self) -> int: ...
    def log_density(self, first: int, last: int, out: FloatArray, scratch: FloatArray) -> None: ...

@disjoint_base
class VaryingTreePass(TreePass):
    def __init__(
        self, sources: FloatArray, weights: FloatArray, log_weights: FloatArray, sharpness: FloatArray,
        log_peak: float, order: IndexArray, inv_bandwidth: FloatArray, boxes: FloatArray, leaves: FloatArray,
        nodes: FloatArray, ranges: FloatArray, by_target: bool,
    ) -> None: ...

@disjoint_base
class VaryingGridPass(GridPass):
    def __init__(
        self, width: int, spacing: float, scale: FloatArray, stretches: Sequence[FloatArray], shape: Sequence[int],
        margin: int | None, reach: int, narrowness: FloatArray,
    ) -> None: ...
    def add(
        self, targets: Samples, order: IndexArray | None, first: int, last: int, grid: FloatArray, factor: float,
        error: float, sums: FloatArray, errors: FloatArray, scratch: FloatArray,
    ) -> None: ...
