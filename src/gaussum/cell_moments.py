"""Moments of cells: on one axis, sources in a cell much smaller than a bandwidth are told by a few of their moments.

A cell's sources lie at c + u, and a node at distance v from its centre c gets

    sum_s w_s exp(-(v + u_s)^2) = sum_k e_k(v) sum_s w_s u_s^k

by Taylor's series in u, whose coefficients are Hermite functions, as in the fast Gauss transform (Greengard and Strain,
SIAM J. Sci. Stat. Comput. 12, 1991, 79). The error is relative for every pair of a source and a node.
"""

import numpy as np

from gaussum.typing import FloatArray

MOMENTS = 8
SUBDIVISIONS = (8, 16, 32)
# Seconds of a source, and of a cell, on one thread; and the sources a cell from which on cells pay.
_SOURCE_SECONDS = 5e-9
_CELL_SECONDS = 60e-9
_FILLED = 16
# Cells so fine, in bandwidths, that a source may take itself out: its own term is right to 1e-13.
_FINE = 0.1
_EPS = 2.0**-53


def subdivisions(n_sources: int, n_nodes: int, spacing: float, reach: float, rtol: float) -> int:
    """Cells a spacing, so that an eighth of rtol is enough for the rest of the series; 0 where cells do not pay.

    Parameters
    ----------
    n_sources, n_nodes : int
    spacing, reach : float
        Of the nodes, and how far they are from the sources that they serve, in bandwidths.
    rtol : float
    """
    if rtol < 8.0 * _EPS * (n_sources + 1000.0):
        return 0
    for count in SUBDIVISIONS:
        cell = spacing / count
        if n_sources >= _FILLED * count * n_nodes and cell <= _FINE and rest(reach, 0.5 * cell) <= 0.125 * rtol:
            return count
    return 0


def seconds(n_sources: int, n_cells: int) -> float:
    """Of bringing sources to the nodes by way of cells, on one thread."""
    return n_sources * _SOURCE_SECONDS + n_cells * _CELL_SECONDS


def expansions(count: int, width: int, spacing: float) -> FloatArray:
    """The coefficients e_k of the nodes that each of `count` cells a spacing reaches, shape (count, MOMENTS, width)."""
    places = (np.arange(count) + 0.5) / count + (width // 2 - 1)
    v = (places[:, np.newaxis] - np.arange(width)) * spacing
    out = np.zeros((count, MOMENTS, width))
    out[:, 0] = np.exp(-v * v)
    for k in range(1, MOMENTS):
        before = out[:, k - 2] if k > 1 else 0.0
        out[:, k] = (-2.0 / k) * (v * out[:, k - 1] + before)
    return out


def rest(distance: float, u: float) -> float:
    """What the moments beyond those that are kept may come to, relative to exp(-v^2), |v| <= distance, |u| <= u.

    exp(-(v + u)^2) = exp(-v^2) exp(-2 v u - u^2), whose series in u has coefficients no larger than that of
    exp(2 v u + u^2), all of which are positive.
    """
    before, term, total = 0.0, 1.0, 0.0
    for k in range(1, 8 * MOMENTS):
        before, term = term, (2.0 * distance * u * term + 2.0 * u * u * before) / k
        total += term if k >= MOMENTS else 0.0
    return total
