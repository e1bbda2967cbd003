from typing_extensions import disjoint_base

from gaussum.mixture_pass import MixturePass
from gaussum.samples import Samples
from gaussum.typing import FloatArray

@disjoint_base
class SinglePass(MixturePass):
    def __init__(
        self, samples: Samples, structure: str, n_components: int, sample_weight: FloatArray | None, n_parts: int,
        ridge: FloatArray, origin: FloatArray, scale: FloatArray,
    ) -> None: ...
    def accurate(self, parameters: FloatArray) -> bool: ...
