"""A grid for the bulk of the sources where a few lie far out, which it would have to span.

In several dimensions the nodes about a few distant sources multiply over the axes. These are left to the direct sum,

    log f(x) = logaddexp(log f_bulk(x), log f_apart(x))

and the bulk to the grid. The errors of both are relative to what they add, so that the contract is the same; what is
too small in the bulk to be right to rtol is left to others, as by the grid alone.
"""

from collections.abc import Callable, Sequence

import numpy as np

from gaussum import on_grid
from gaussum.gridding import GridSum
from gaussum.layout import MOST_NODES, Layout
from gaussum.plans import sums_in_parts
from gaussum.samples import Samples
from gaussum.sum_pass import KernelSumPass
from gaussum.typing import FloatArray, IndexArray, MaskArray, SampleArray

# How many sources may stand apart, and no more than this share of all.
_APART = (8, 64, 512, 4096)
_MOST = 0.125
# The middle is the median of so many.
_FEW = 4096


class BulkLayout(Layout):
    """The nodes for most of the sources.

    Parameters
    ----------
    sources, inv_bandwidth, rtol
        As those of a Layout.
    apart : ndarray of intp
        The sources that are left out.

    Attributes
    ----------
    bulk, apart : ndarray of intp
    """

    def __init__(self, sources: FloatArray, inv_bandwidth: FloatArray, rtol: float, apart: IndexArray) -> None:
        self.apart = apart
        self.bulk: IndexArray = np.delete(np.arange(sources.shape[1]), apart)
        super().__init__(np.ascontiguousarray(sources[:, self.bulk]), inv_bandwidth, rtol)


def layout_for(sources: FloatArray, inv_bandwidth: FloatArray, rtol: float) -> Layout:
    """The nodes of all sources; where these are too many, of all but a few that lie farthest out, if that will do."""
    layout = Layout(sources, inv_bandwidth, rtol)
    if not layout.too_many or len(sources) == 1:
        return layout
    for apart in _farthest(sources, layout):
        bulk = BulkLayout(sources, inv_bandwidth, rtol, apart)
        if bulk.reason is None:
            return bulk
    return layout


def n_apart(layout: Layout) -> int:
    """How many sources the nodes leave out."""
    return len(layout.apart) if isinstance(layout, BulkLayout) else 0


def _farthest(sources: FloatArray, layout: Layout) -> list[IndexArray]:
    """The fewest sources without which a box of nodes around the others is not too large; none if there are none."""
    n, scale = sources.shape[1], layout.scale[:, np.newaxis]
    most = min(_APART[-1], int(_MOST * n))
    if most < _APART[0]:
        return []
    with np.errstate(over="ignore", invalid="ignore"):
        away = (np.abs(sources - np.median(sources[:, :: -(-n // _FEW)], axis=1)[:, np.newaxis]) * scale).max(axis=0)
        order = np.argpartition(away, n - most - 1)
        order = np.append(order[: n - most], order[n - most :][np.argsort(away[order[n - most :]], kind="stable")])
        low, high = sources[:, order[: n - most]].min(axis=1), sources[:, order[: n - most]].max(axis=1)
        for k in _APART:
            if k > most:
                break
            between = sources[:, order[n - most : n - k]]
            ends = np.column_stack([low, high, between]) if between.size else np.column_stack([low, high])
            nodes = np.prod((ends.max(axis=1) - ends.min(axis=1)) * layout.scale + 2.0 * layout.width)
            if nodes <= MOST_NODES:
                return [np.sort(order[n - k :])]
    return []


class BulkGrid:
    """The sums of given sources at any targets, where they are large enough; methods as of a GridSum.

    Parameters
    ----------
    layout : BulkLayout
    sources : ndarray of float64, shape (n_features, n_sources)
    weights : ndarray of float64, shape (n_sources,)
        Adding up to 1.
    inv_bandwidth : ndarray of float64, shape (n_features,)
    rtol : float
    pair_seconds : float
        Of a pair of the direct sum.
    n_threads : int or None
    """

    def __init__(
        self, layout: BulkLayout, sources: FloatArray, weights: FloatArray, inv_bandwidth: FloatArray, rtol: float,
        pair_seconds: float, n_threads: int | None,
    ) -> None:
        self._layout, self._inv_bandwidth, self._pair_seconds = layout, inv_bandwidth, pair_seconds
        self._grid = GridSum(layout, np.ascontiguousarray(sources[:, layout.bulk]), weights[layout.bulk], rtol,
                             n_threads)
        self._apart = np.ascontiguousarray(sources[:, layout.apart])
        self._weights = weights[layout.apart]
        with np.errstate(divide="ignore"):
            self._log_weights = np.log(self._weights)

    def log_density(
        self, X: SampleArray, out: FloatArray, *, own: FloatArray | None = None, n_threads: int | None = None,
        gradient: FloatArray | None = None,
    ) -> None:
        """As of a GridSum; with `own`, where the targets are the sources, those apart are left to others."""
        if own is not None:
            own = own.copy()
            own[self._layout.apart] = 0.0
        self._grid.log_density(X, out, own=own, n_threads=n_threads, gradient=gradient)
        if own is not None:
            out[self._layout.apart] = -np.inf

        def make_pass(block: int, n_parts: int) -> KernelSumPass:
            return KernelSumPass(self._apart, self._weights, self._log_weights, self._inv_bandwidth, Samples(X), block,
                                 n_parts, tails=False)

        more_gradient = None if gradient is None else np.empty(X.shape)
        seconds = X.shape[0] * self._weights.size * self._pair_seconds
        more = sums_in_parts(make_pass, X.shape[0], seconds, n_threads, with_gradient(more_gradient))
        total = _added(out, more)
        if gradient is not None and more_gradient is not None:
            with np.errstate(invalid="ignore", over="ignore"):
                for logs, part in ((out, gradient), (more, more_gradient)):
                    share = np.exp(logs - total)[:, np.newaxis]
                    part[:] = np.where(share > 0.0, part * share, 0.0)
                gradient += more_gradient
        out[:] = total

    def log_density_on_axes(self, axes: Sequence[FloatArray], n_threads: int | None = None) -> FloatArray:
        """As of a GridSum."""
        out = self._grid.log_density_on_axes(axes, n_threads)
        more = on_grid.product_log_density(self._apart, self._weights, self._inv_bandwidth, axes, n_threads)
        return _added(out, more)

    def tile_weights(self, nodes: int, n_threads: int | None = None) -> FloatArray:
        """Of the bulk, as of a GridSum."""
        return self._grid.tile_weights(nodes, n_threads)

    def in_tiles(self, wanted: MaskArray, nodes: int, n_threads: int | None = None) -> IndexArray:
        """The sources in wanted tiles, and those apart."""
        return np.append(self._layout.bulk[self._grid.in_tiles(wanted, nodes, n_threads)], self._layout.apart)


def with_gradient(gradient: FloatArray | None) -> Callable[[KernelSumPass, int, FloatArray, FloatArray], None] | None:
    """What sets a part's log sums, and their gradient where there is a place for it; see plans.sums_in_parts."""
    if gradient is None:
        return None

    def of(sums: KernelSumPass, part: int, out: FloatArray, scratch: FloatArray) -> None:
        sums.log_density_and_gradient(part, part + 1, out, gradient, scratch)

    return of


def _added(logs: FloatArray, more: FloatArray) -> FloatArray:
    """The logarithms of sums; minus infinity stays what it is."""
    with np.errstate(invalid="ignore"):
        return np.where(logs == -np.inf, -np.inf, np.logaddexp(logs, more))
