from gaussum.typing import FloatArray, IndexArray

def add_integrals(
    kernel: int, sources: FloatArray, weights: FloatArray, inv_bandwidth: float, low: FloatArray, high: FloatArray,
    begin: IndexArray, end: IndexArray, first: int, last: int, out: FloatArray,
) -> None: ...
def decaying_sums(sources: FloatArray, weights: FloatArray, inv_bandwidth: float, out: FloatArray) -> None: ...
