from typing_extensions import disjoint_base

from gaussum.typing import FloatArray

NAMES: tuple[str, ...]
STRUCTURES: dict[str, int]

def expected_parameters(
    structure: str, d: int, sticks: bool, hyper: FloatArray, parameters: FloatArray
) -> None: ...

@disjoint_base
class VariationalStep:
    def __init__(
        self, structure: str, n_components: int, sticks: bool, *, concentration: float, mean_precision: float,
        mean: FloatArray, degrees_of_freedom: float, covariance: FloatArray,
    ) -> None: ...
    def update(
        self, statistics: FloatArray, origins: FloatArray, parameters: FloatArray, covariances: FloatArray,
        hyper: FloatArray,
    ) -> bool: ...
    def divergence(self, parameters: FloatArray, hyper: FloatArray, scratch: FloatArray) -> float: ...
