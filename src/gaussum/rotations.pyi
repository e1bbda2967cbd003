from gaussum.typing import FloatArray

def rotate(
    rows: FloatArray, axes: FloatArray, masses: FloatArray, one_volume: bool, most_sweeps: int, smallest: float
) -> int: ...
