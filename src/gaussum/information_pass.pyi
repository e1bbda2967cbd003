from typing_extensions import disjoint_base

from gaussum.mixture_pass import MixturePass
from gaussum.typing import FloatArray

@disjoint_base
class InformationPass(MixturePass):
    @property
    def moments_size(self) -> int: ...
    def moments(
        self, first: int, last: int, parameters: FloatArray, moments: FloatArray, scratch: FloatArray
    ) -> None: ...
