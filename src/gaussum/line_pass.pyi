from typing_extensions import disjoint_base

from gaussum.typing import FloatArray, IndexArray

@disjoint_base
class LinePass:
    def __init__(
        self, sources: FloatArray, log_weights: FloatArray, sharpness: FloatArray, below: FloatArray,
        above: FloatArray, inv_bandwidth: float,
    ) -> None: ...
    @property
    def scratch_size(self) -> int: ...
    def log_densities(
        self, x: FloatArray, first: int, last: int, out: FloatArray, scratch: FloatArray
    ) -> None: ...
    def log_probabilities(
        self, low: FloatArray, high: FloatArray, first: int, last: int, out: FloatArray, scratch: FloatArray
    ) -> None: ...

@disjoint_base
class CellPass:
    def __init__(self, width: float, starts: FloatArray, offsets: IndexArray) -> None: ...
    def values(
        self, x: FloatArray, first: int, last: int, table: FloatArray, least: FloatArray, rows: IndexArray,
        out: FloatArray,
    ) -> None: ...
    def differences(
        self, low: FloatArray, high: FloatArray, first: int, last: int, table: FloatArray, signs: FloatArray,
        least: FloatArray, out: FloatArray,
    ) -> None: ...
