import numpy as np
from typing_extensions import disjoint_base

from gaussum.typing import SampleArray

FLOAT32: np.dtype[np.float32]
FLOAT64: np.dtype[np.float64]

@disjoint_base
class Samples:
    def __init__(self, X: SampleArray) -> None: ...
    @property
    def n(self) -> int: ...
    @property
    def d(self) -> int: ...
    @property
    def array(self) -> SampleArray: ...
