"""How far samples spread, and as how many they count."""

import math
from collections.abc import Iterator

import numpy as np

from gaussum.typing import ArrayLike, FloatArray, SampleArray
from gaussum.validation import check_samples, check_weights

# Rows looked at together: no temporary grows with n_samples x n_features.
_BLOCK_BYTES = 1 << 20


class BandwidthWarning(UserWarning):
    """A selector has no answer for these data, or a doubtful one; the message says what is taken instead."""


def spread(X: ArrayLike, sample_weight: ArrayLike | None) -> tuple[FloatArray, float]:
    """Standard deviation of every feature, shape (n_features,), and the effective number of samples.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
    sample_weight : array_like, shape (n_samples,), or None

    Raises
    ------
    TypeError, ValueError
        Bad samples or weights; fewer than two samples with a weight; a constant feature.
    """
    X = check_samples(X)
    w = check_weights(sample_weight, X.shape[0])
    if w is not None:
        w = w / w.max()  # so that no square overflows
    n_weighted = X.shape[0] if w is None else np.count_nonzero(w)
    if n_weighted < 2:
        what = "" if w is None else " with a positive weight"
        raise ValueError(
            f"X has one sample{what}; no bandwidth can be estimated from it: give a number as bandwidth"
        )
    total, n_eff, divisor = _weight_sums(w, X.shape[0])

    # Sums about a sample, then about the mean, both in units of the range: nothing cancels or overflows.
    low, high = np.full(X.shape[1], np.inf), np.full(X.shape[1], -np.inf)
    for block, _ in _blocks(X, w):
        low = np.minimum(low, block.min(axis=0))
        high = np.maximum(high, block.max(axis=0))
    if (low == high).any():
        j = int(np.argmax(low == high))
        raise ValueError(
            f"X is constant in column {j}, {low[j]:g}; no bandwidth can be estimated from it: "
            "give a number as bandwidth"
        )
    half = high / 2 - low / 2  # half the range cannot overflow
    half[half == 0] = np.finfo(np.float64).smallest_subnormal
    shift = low + half
    mean = shift + half * (sum(_weighed(wb, (block - shift) / half) for block, wb in _blocks(X, w)) / total)
    first = second = np.zeros(X.shape[1])
    for block, wb in _blocks(X, w):
        z = (block - mean) / half
        first = first + _weighed(wb, z)
        second = second + _weighed(wb, z * z)
    return half * np.sqrt((second - first * first / total) / divisor), n_eff


def _weighed(w: FloatArray, z: FloatArray) -> FloatArray:
    """``sum_i w_i z_ij``, without BLAS, whose threads cost more than so small a product."""
    sums: FloatArray = np.einsum("i,ij->j", w, z)
    return sums


def _weight_sums(w: FloatArray | None, n_samples: int) -> tuple[float, float, float]:
    """``sum w``, ``(sum w)^2 / sum w^2`` and ``sum w - sum w^2 / sum w``."""
    if w is None:
        return float(n_samples), float(n_samples), n_samples - 1.0
    # The heaviest sample apart: the last expression would cancel when it outweighs all others.
    k = int(w.argmax())
    rest = w[:k].sum() + w[k + 1 :].sum()
    squares = w[:k] @ w[:k] + w[k + 1 :] @ w[k + 1 :]
    total = w[k] + rest
    return total, total**2 / (w[k] ** 2 + squares), (w[k] * rest + (total * rest - squares)) / total


def _blocks(X: SampleArray, w: FloatArray | None) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Blocks of rows as float64 with their weights, without samples of zero weight."""
    rows = max(1, _BLOCK_BYTES // (8 * X.shape[1]))
    for start in range(0, X.shape[0], rows):
        block = X[start : start + rows].astype(np.float64, copy=False)
        if w is None:
            yield block, np.ones(block.shape[0])
            continue
        wb = w[start : start + rows]
        if not wb.all():
            block, wb = block[wb > 0], wb[wb > 0]
        if wb.size:
            yield block, wb


def log_weight_of_others(log_weights: FloatArray) -> FloatArray:
    """log sum_{s != i} w_s for every i, shape (n,), of weights that add up to 1.

    Where one weighs nearly all, the others are added up: 1 - w_i would be what rounding leaves.
    """
    with np.errstate(divide="ignore"):
        logs = np.log1p(-np.exp(log_weights))
    heaviest = int(log_weights.argmax())
    if log_weights[heaviest] > -math.log(2.0):
        others = np.delete(log_weights, heaviest)
        logs[heaviest] = np.logaddexp.reduce(others)            # -inf if there are none
    return logs
