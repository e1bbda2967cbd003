from typing_extensions import disjoint_base

from gaussum.samples import Samples
from gaussum.typing import FloatArray, IndexArray

CODES: dict[str, int]

@disjoint_base
class RadialPass:
    def __init__(
        self, kernel: str, reach: float, scale: FloatArray, weights: FloatArray, log_weights: FloatArray,
        blocks: FloatArray, starts: IndexArray, boxes: FloatArray | None = None, moments: FloatArray | None = None,
        unit: float = 1.0,
    ) -> None: ...
    @property
    def kernel(self) -> int: ...
    @property
    def d(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def n_blocks(self) -> int: ...
    @property
    def scratch_size(self) -> int: ...
    def log_density(
        self, targets: Samples, order: IndexArray, first: int, last: int, own: IndexArray | None, log_rtol: float,
        same: float, out: FloatArray, scratch: FloatArray,
    ) -> int: ...
