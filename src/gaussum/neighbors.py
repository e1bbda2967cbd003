"""Distances to the k-th nearest of given points.

On an axis the k nearest are k in a row of the sorted points, found by bisection; in more dimensions by SciPy's tree.
"""



from typing import Any

import numpy as np

from gaussum import parallel
from gaussum.typing import FloatArray

# Points looked at together.
_BLOCK = 1 << 16
# Coordinates beyond this would overflow when squared.
_LARGE = 1e150
_SMALLER = 2.0**-560


class NearestNeighbors:
    """Euclidean distances from any points to given ones.

    Parameters
    ----------
    points : ndarray of float64, shape (n_points, n_features)
    """

    def __init__(self, points: FloatArray) -> None:
        self._points = points
        self._tree: Any = None
        self._sorted: FloatArray | None = np.sort(points[:, 0]) if points.shape[1] == 1 else None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tree": None}

    def distances(self, X: FloatArray, k: int, n_threads: int | None = None) -> FloatArray:
        """The k-th smallest distance from each row of `X`, shape (n,); a point itself is at a distance of 0.

        Parameters
        ----------
        X : ndarray of float64, shape (n, n_features)
        k : int
            From 1 to n_points.
        n_threads : int or None
        """
        out, n = np.empty(X.shape[0]), X.shape[0]
        n_blocks = -(-n // _BLOCK)
        if self._sorted is not None:
            ordered = self._sorted

            def block(part: int, slot: int) -> None:
                rows = slice(part * _BLOCK, (part + 1) * _BLOCK)
                out[rows] = _on_axis(ordered, X[rows, 0], k)

            parallel.run(n_blocks, parallel.resolve_threads(n_threads, n * 5e-7), block)
            return out
        far = np.abs(X).max(axis=1, initial=0.0) > _LARGE
        if far.any():
            out[far] = [self._from_afar(x, k) for x in X[far]]
            out[~far] = self._in_space(X[~far], k, n_threads)
            return out
        return self._in_space(X, k, n_threads)

    def _in_space(self, X: FloatArray, k: int, n_threads: int | None) -> FloatArray:
        if self._tree is None:
            from scipy.spatial import cKDTree           # slow to load

            self._tree = cKDTree(np.clip(self._points, -_LARGE, _LARGE))
        distances: FloatArray = self._tree.query(X, [k], workers=parallel.resolve_threads(n_threads))[0][:, 0]
        return distances

    def _from_afar(self, x: FloatArray, k: int) -> float:
        r = np.linalg.norm((self._points * _SMALLER) - x * _SMALLER, axis=1)
        return float(np.partition(r, k - 1)[k - 1] / _SMALLER)


def _on_axis(s: FloatArray, x: FloatArray, k: int) -> FloatArray:
    """The k-th smallest distance from sorted points: bisection for the first of the k nearest."""
    place = np.searchsorted(s, x)
    low, high = np.clip(place - k, 0, len(s) - k), np.clip(place, 0, len(s) - k)
    while (low < high).any():
        middle = (low + high) // 2
        # at the end of the search there may be no point after the k nearest
        up = (low < high) & (x - s[middle] > s[np.minimum(middle + k, len(s) - 1)] - x)
        low, high = np.where(up, middle + 1, low), np.where(up, high, np.minimum(middle, high))
    distances: FloatArray = np.maximum(np.abs(x - s[low]), np.abs(s[low + k - 1] - x))
    return distances
