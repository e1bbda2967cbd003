from typing_extensions import disjoint_base

from gaussum.samples import Samples
from gaussum.typing import FloatArray, IndexArray

@disjoint_base
class VaryingSlopePass:
    def __init__(
        self, sources: FloatArray, log_weights: FloatArray, sharpness: FloatArray, starts: IndexArray,
        inv_bandwidth: FloatArray, boxes: FloatArray, totals: FloatArray, widest: FloatArray,
    ) -> None: ...
    @property
    def scratch_size(self) -> int: ...
    def log_density_and_gradient(
        self, targets: Samples, first: int, last: int, out: FloatArray, gradient: FloatArray, scratch: FloatArray
    ) -> None: ...
