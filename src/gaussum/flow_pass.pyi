from enum import IntEnum

import numpy as np

from gaussum.typing import FloatArray, NDArray

class Verdict(IntEnum):
    GOES_ON = 0
    ARRIVED = 1
    DERIVATIVE_IS_OLD = 2

def scratch_size(d: int) -> int: ...
def propose(
    H: FloatArray, m: FloatArray, radius: FloatArray, tol: FloatArray, p: FloatArray, newton: NDArray[np.uint8],
    first: int, last: int, scratch: FloatArray,
) -> None: ...
def judge(
    p: FloatArray, newton: NDArray[np.uint8], x_new: FloatArray, f_new: FloatArray, m_new: FloatArray,
    tol: FloatArray, near: float, good: float, bad: float, longest: float, sure: float, x: FloatArray, f: FloatArray,
    m: FloatArray, H: FloatArray, radius: FloatArray, verdict: NDArray[np.uint8], first: int, last: int,
    scratch: FloatArray,
) -> None: ...
