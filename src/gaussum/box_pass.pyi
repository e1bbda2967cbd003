from typing_extensions import disjoint_base

from gaussum.typing import FloatArray, IndexArray

@disjoint_base
class BoxPass:
    def __init__(
        self, sources: FloatArray, log_weights: FloatArray, sharpness: FloatArray, starts: IndexArray,
        inv_bandwidth: FloatArray, low: FloatArray, high: FloatArray,
    ) -> None: ...
    @property
    def scratch_size(self) -> int: ...
    def log_probabilities(self, first: int, last: int, out: FloatArray, scratch: FloatArray) -> None: ...
