import numpy as np
from typing_extensions import disjoint_base

from gaussum.mixture_pass import MixturePass
from gaussum.samples import Samples
from gaussum.typing import FloatArray, IndexArray, NDArray

@disjoint_base
class SkippingPass(MixturePass):
    def __init__(
        self, samples: Samples, structure: str, n_components: int, sample_weight: FloatArray | None, n_parts: int
    ) -> None: ...
    @property
    def hints(self) -> NDArray[np.uint16]: ...
    @property
    def reach(self) -> FloatArray: ...
    @property
    def near(self) -> IndexArray: ...
    @property
    def reach_scratch_size(self) -> int: ...
    @property
    def order_size(self) -> int: ...
    def separate(
        self, first: int, last: int, step: int, means: FloatArray, precisions_chol: FloatArray, log_peak: FloatArray,
        log_const: FloatArray, scratch: FloatArray,
    ) -> None: ...
    def em_skipping(
        self, first: int, last: int, parameters: FloatArray, log_const: FloatArray, log_weights: FloatArray,
        hinted: bool, statistics: FloatArray, order: IndexArray, scratch: FloatArray,
    ) -> int: ...
