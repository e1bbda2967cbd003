"""One orientation for several scatters: the common principal axes of Flury (1984).

For scatters W_k = R_k^T R_k and an orthogonal D, the axes hold the squares a_kj = (D^T W_k D)_jj. Sought is the D with
the least

    sum_k n_k sum_j log a_kj                    volumes that vary (VVE), or
    d n log sum_k (prod_j a_kj)^(1/d)           one volume (EVE).

Both are concave in the squares, so the tangent at the present ones lies above them; it is, but for a constant,
sum_k m_k sum_j a_kj(D) / a_kj with m_k = n_k, or (prod_j a_kj)^(1/d). Browne and McNicholas (2014) majorise that once
more, by a function linear in D. In the plane of two axes there is no need to: its minimum is the last eigenvector of a
2 x 2 matrix (Flury and Gautschi 1986). Where the scatters nearly share their axes, this is Newton's method. No rotation
raises the objective.
"""

import numpy as np

from gaussum.rotations import rotate
from gaussum.typing import FloatArray

_MOST_SWEEPS = 30
# The objective is flat at its minimum: a rotation by so much changes its last digit.
_SMALLEST_SINE = 1e-8
# Orientations to begin with, at most, when none is given.
_STARTS = 3


def common_orientation(
    factors: FloatArray, masses: FloatArray, one_volume: bool, start: FloatArray | None = None,
) -> FloatArray:
    """An orthogonal D, shape (d, d), at a minimum of the objective of the module's text.

    Parameters
    ----------
    factors : ndarray, shape (K, d, d)
        R_k with R_k^T R_k = W_k.
    masses : ndarray, shape (K,)
    one_volume : bool
    start : ndarray, shape (d, d), optional
        An orientation that the result is no worse than. Without it, the axes of the sum of the scatters and of each
        scatter are tried.

    References
    ----------
    B. N. Flury, "Common principal components in k groups", Journal of the American Statistical Association 79 (1984)
    892-898. B. N. Flury and W. Gautschi, "An algorithm for simultaneous orthogonal transformation of several positive
    definite symmetric matrices to nearly diagonal form", SIAM Journal on Scientific and Statistical Computing 7 (1986)
    169-184. R. P. Browne and P. D. McNicholas, "Estimating common principal components in high dimensions", Advances in
    Data Analysis and Classification 8 (2014) 217-226.
    """
    if start is not None:
        starts = [start]
    else:
        d = factors.shape[-1]
        starts = [principal_axes(factors.reshape(-1, d))[1], *principal_axes(factors)[1]]
        starts.sort(key=lambda axes: _objective(squares(factors, axes), masses, one_volume))
    ends = [_rotate(factors, masses, one_volume, axes) for axes in starts[:_STARTS]]
    return min(ends, key=lambda end: end[0])[1]


def principal_axes(factors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues and eigenvectors (columns) of R^T R for every R; small eigenvalues keep their digits."""
    _, scales, axes = np.linalg.svd(factors, full_matrices=False)
    return scales**2, np.swapaxes(axes, -1, -2)


def squares(factors: FloatArray, axes: FloatArray) -> FloatArray:
    """(D^T W_k D)_jj, shape (K, d)."""
    rotated = factors @ axes
    squared: FloatArray = np.einsum("kij,kij->kj", rotated, rotated)
    return squared


def _objective(a: FloatArray, masses: FloatArray, one_volume: bool) -> float:
    logs = np.log(a)
    value: float
    if one_volume:
        value = a.shape[1] * masses.sum() * np.log(np.exp(logs.mean(axis=1)).sum())
    else:
        value = masses @ logs.sum(axis=1)
    return value


def _rotate(
    factors: FloatArray, masses: FloatArray, one_volume: bool, axes: FloatArray,
) -> tuple[float, FloatArray]:
    """Sweeps over all planes until they rest: the objective and the orientation."""
    before = _objective(squares(factors, axes), masses, one_volume)
    rows = np.ascontiguousarray(np.swapaxes(factors @ axes, 1, 2))
    turned = np.array(axes.T, order="C")
    rotate(rows, turned, np.ascontiguousarray(masses), one_volume, _MOST_SWEEPS, _SMALLEST_SINE)
    after = _objective(np.einsum("kji,kji->kj", rows, rows), masses, one_volume)
    return (after, turned.T) if after < before else (before, axes)
