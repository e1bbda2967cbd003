from typing_extensions import disjoint_base

from gaussum.mixture_pass import MixturePass
from gaussum.typing import FloatArray, IndexArray

@disjoint_base
class ShortEM:
    def __init__(self, mixture: MixturePass) -> None: ...
    @property
    def n_passes(self) -> int: ...
    def run(self, parameters: FloatArray, iterations: int, target: float = ...) -> float: ...
    def swaps(
        self, parameters: FloatArray, pairs: IndexArray, directions: FloatArray, after: FloatArray, iterations: int,
        target: float, most: int,
    ) -> tuple[int, float]: ...
    def swap(
        self, parameters: FloatArray, pairs: IndexArray, directions: FloatArray, after: FloatArray
    ) -> None: ...
