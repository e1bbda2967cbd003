"""Sums of Gaussians with a full covariance matrix: in whitened coordinates it is the identity.

With H = L L', points become z = L^-1 (x - c) about the sources' medians c, and

    sum_s w_s N(x; s, H) = |L|^-1 sum_s w_s N(z_x; z_s, I)

so that every plan of `gaussum.summation` serves a full matrix too.

Where the features are strongly correlated the product cancels: z is small and its terms are large. L^-1 is therefore
formed in decimal arithmetic, and the product in two parts. The leading bits of L^-1 and of x are so few that products
of theirs and sums of those are exact (Ozaki et al., Numerical Algorithms 59, 2012, 95); what remains is some 2^-25 of
them, and so is its rounding. Points are then right to their own rounding for condition numbers of H up to 1e20 and
more, at any offset.
"""

import decimal
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import numpy as np

from gaussum import parallel
from gaussum.decay import Decay
from gaussum.distribution import CorrelatedDistribution
from gaussum.plans import FreeSum, Plan
from gaussum.typing import ArrayLike, FloatArray, IndexArray, SampleArray
from gaussum.validation import check_array

# Beyond so many bandwidths the squared distance overflows: a point is as good as at this distance.
_FARTHEST = 1e160
# L^-1 has d^3 / 3 decimal operations of some 0.3 us.
_MOST_DECIMAL = 64
_DIGITS = 60
_BLOCK_BYTES = 1 << 17
_POINT_SECONDS = 12e-9              # a feature


class RoundSum(FreeSum, Protocol):
    """What is asked of a sum in whitened coordinates."""

    def steps(self, index: IndexArray, rng: np.random.Generator) -> FloatArray: ...


MakeRound: TypeAlias = Callable[[SampleArray, FloatArray, FloatArray], RoundSum]


def check_bandwidth_matrix(H: ArrayLike, d: int, name: str = "bandwidth") -> FloatArray:
    """Return a copy of `H` if it is a symmetric positive definite (d, d) matrix of float64.

    Entries may differ from their transposes by rounding; the mean of both is taken.

    Raises
    ------
    TypeError, ValueError
        `H` is no array of real finite numbers of that shape, is not symmetric or not positive definite.
    """
    H = check_array(H, name, (d, d))
    diagonal = np.diagonal(H)
    if not (diagonal > 0).all():
        j = int(np.argmin(diagonal))
        raise ValueError(
            f"{name} has {diagonal[j]:g} at row {j}, column {j}; expected a positive definite matrix, a covariance in "
            "squared units of the data, whose diagonal is positive"
        )
    scale = np.sqrt(diagonal)
    asymmetry = np.abs(H - H.T) / scale / scale[:, np.newaxis]
    if asymmetry.max() > 1e-8:
        i, j = (int(v) for v in np.unravel_index(asymmetry.argmax(), H.shape))
        raise ValueError(
            f"{name} is not symmetric: {H[i, j]:g} at row {i}, column {j} and {H[j, i]:g} at row {j}, column {i}; "
            "expected a symmetric positive definite matrix"
        )
    H = 0.5 * H + 0.5 * H.T
    _inverse_factor(H, name)
    return H


def _inverse_factor(H: FloatArray, name: str = "bandwidth") -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scales s, powers of 2, and V (leading doubles and what they leave) with V V' = (s^-1 H s^-1)^-1, V' triangular.

    Raises ValueError where H is not positive definite.
    """
    s = np.exp2(np.round(0.5 * np.log2(np.diagonal(H))))
    R, d = H / s / s[:, np.newaxis], len(H)
    if d > _MOST_DECIMAL:
        try:
            W = np.tril(np.linalg.inv(np.linalg.cholesky(R)))
        except np.linalg.LinAlgError:
            raise ValueError(_indefinite(H, R, name)) from None
        return s, W, np.zeros_like(W)
    with decimal.localcontext(prec=_DIGITS):
        # [R I] becomes [L' L^-1], row by row
        rows = np.array([[decimal.Decimal(float(v)) for v in row] for row in np.hstack([R, np.eye(d)])])
        for j in range(d):
            if not rows[j, j] > 0:
                raise ValueError(_indefinite(H, R, name))
            rows[j] /= rows[j, j].sqrt()
            rows[j + 1 :] -= np.multiply.outer(rows[j, j + 1 : d], rows[j])
        exact = rows[:, d:]
        W = exact.astype(np.float64)
        rest = (exact - np.array([[decimal.Decimal(v) for v in row] for row in W.tolist()])).astype(np.float64)
    return s, W, rest


def _indefinite(H: FloatArray, R: FloatArray, name: str) -> str:
    return (
        f"{name} is not positive definite: scaled to a diagonal of about 1 its smallest eigenvalue is "
        f"{np.linalg.eigvalsh(R)[0]:.3g}; expected a symmetric positive definite matrix"
    )


def _leading(x: FloatArray, axis: int, d: int) -> FloatArray:
    """The leading bits of numbers, on one grid along an axis: products with others' add up exactly over d terms."""
    bits = (53 - math.ceil(math.log2(d))) // 2
    exponent = np.frexp(np.abs(x).max(axis=axis, keepdims=True))[1]
    grid = np.ldexp(1.5, exponent + (52 - bits))
    leading: FloatArray = (x + grid) - grid
    return leading


def sum_with_matrix(make: MakeRound, X: SampleArray, log_weights: FloatArray, covariance: FloatArray) -> FreeSum:
    """The weighted sum of kernels of one covariance matrix; where that is diagonal, without whitening.

    Parameters as of Whitened.
    """
    variances = np.diagonal(covariance)
    if np.count_nonzero(covariance) == len(variances):
        return make(X, log_weights, np.sqrt(variances))
    return Whitened(make, X, log_weights, covariance)


def kernel_sum(make: MakeRound, X: SampleArray, log_weights: FloatArray, h: FloatArray) -> FreeSum:
    """The sum for bandwidths, or for a covariance matrix; parameters as of Whitened, `h` being either."""
    return sum_with_matrix(make, X, log_weights, h) if h.ndim == 2 else make(X, log_weights, h)


class Whitening:
    """Coordinates in which kernels of one covariance matrix are round.

    Parameters
    ----------
    X : ndarray of float64, shape (n_samples, n_features)
        Whose medians are the origin.
    covariance : ndarray of float64, shape (n_features, n_features)

    Attributes
    ----------
    log_det : float
        The logarithm of the determinant of L.
    colour, inverse : ndarray, shape (n_features, n_features)
        L, and L^-1 after a division by `scale`.
    scale : ndarray, shape (n_features,)
    """

    def __init__(self, X: FloatArray, covariance: FloatArray) -> None:
        self._centre = np.median(X, axis=0)
        self.scale, W, rest = _inverse_factor(covariance)
        leading = _leading(W, 1, len(W))
        self._factors = leading, W - leading + rest
        self.inverse = W
        # of each feature by itself: no product to overflow
        self.log_det = float(np.log(self.scale).sum() - np.log(np.diagonal(W)).sum())
        self.colour = self.scale[:, np.newaxis] * np.linalg.inv(W)

    def whiten(self, X: SampleArray, n_threads: int | None = None) -> FloatArray:
        """L^-1 (x - c) for every row of `X`, shape (n, n_features), right to its own rounding.

        Parameters
        ----------
        X : ndarray of float32 or float64, shape (n, n_features)
        n_threads : int or None
        """
        n, d = X.shape
        out = np.empty((d, n))
        size = max(1, _BLOCK_BYTES // (8 * d))
        n_blocks = -(-n // size)

        def block(part: int, slot: int) -> None:
            rows = slice(part * size, (part + 1) * size)
            self._whiten(X[rows].T.astype(np.float64, order="C"), out[:, rows])

        seconds = n * d * _POINT_SECONDS
        with parallel.single_threaded_blas():
            parallel.run(n_blocks, parallel.resolve_threads(n_threads, seconds), block)
        return out.T

    def _whiten(self, x: FloatArray, out: FloatArray) -> None:
        """L^-1 (x - c) of points feature by feature."""
        half, c = 2.0 / self.scale[:, np.newaxis], 0.5 * self._centre[:, np.newaxis]
        with np.errstate(over="ignore", invalid="ignore"):
            x *= 0.5                    # so that no difference overflows
            y = x - c
            b = y - x
            low = ((x - (y - b)) - (c + b)) * half
            y *= half
        if not np.abs(y).max(initial=0.0) <= _FARTHEST:
            far = ~(np.abs(y) <= _FARTHEST)
            y[far] = np.copysign(_FARTHEST, y[far])
            low[far] = 0.0
        leading, rest = self._factors
        high = _leading(y, 0, len(y))
        low += y - high
        np.matmul(leading, high, out=out)
        out += leading @ low + rest @ y

    def unwhiten(self, Y: FloatArray) -> FloatArray:
        """The points whose whitened coordinates these are, shape (n, n_features)."""
        return self._centre + Y @ self.colour.T


class Whitened:
    """A normalised weighted sum of kernels of one covariance matrix on given sources; methods as of GaussianSum.

    Parameters
    ----------
    make : callable
        ``make(X, log_weights, bandwidths)`` is the sum in whitened coordinates: of Gaussians, for a covariance.
    X : ndarray of float32 or float64, shape (n_sources, n_features)
    log_weights : ndarray of float64, shape (n_sources,)
        Logarithms of weights that add up to 1.
    covariance : ndarray of float64, shape (n_features, n_features)
        Symmetric and positive definite, see `check_bandwidth_matrix`; in squared units of the data.
    """

    def __init__(self, make: MakeRound, X: SampleArray, log_weights: FloatArray, covariance: FloatArray) -> None:
        self._covariance = covariance
        self._distribution: CorrelatedDistribution | None = None
        self._points = np.array(X, dtype=np.float64, order="C")
        self._whitening = Whitening(self._points, covariance)
        # of Gaussians of one width it has more to tell: log_weights, and gradients
        self._sum: Any = make(self.whiten(self._points), log_weights, np.ones(len(covariance)))

    def whiten(self, X: SampleArray, n_threads: int | None = None) -> FloatArray:
        """L^-1 (x - c) for every row of `X`, shape (n, n_features)."""
        return self._whitening.whiten(X, n_threads)

    @property
    def decay(self) -> Decay:
        """How its kernels fall off."""
        decay = self._sum.decay
        lowered: Decay = replace(decay, log_peak=decay.log_peak - self.log_det)
        return lowered

    def sources(self, index: IndexArray | slice = slice(None)) -> FloatArray:
        """The sources themselves, shape (n_sources, n_features), or those at an index."""
        return self._points[index]

    def draw(self, index: IndexArray, rng: np.random.Generator) -> FloatArray:
        """A sample of the kernel of each source of an index, shape (n_samples, n_features)."""
        centres = self.sources(index)
        drawn: FloatArray = centres + self._sum.steps(index, rng) @ self._whitening.colour.T
        return drawn

    def plan(self, X: SampleArray, rtol: float = 0.0, *, n_threads: int | None = None) -> Plan:
        """The plan for targets, as of GaussianSum, in whitened coordinates."""
        plan: Plan = self._sum.plan(self.whiten(X, n_threads), rtol, n_threads=n_threads)
        return plan

    def log_density(self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """log sum_s w_s N(x; s, H) for every row of `X`, shape (n_targets,)."""
        logs: FloatArray = self._sum.log_density(self.whiten(X, n_threads), rtol=rtol, n_threads=n_threads)
        return logs - self.log_det

    @property
    def factors(self) -> FloatArray | None:
        """Of the bandwidths at the sources, where they have some."""
        return getattr(self._sum, "factors", None)

    def __getstate__(self) -> dict[str, Any]:
        # what can be made again is not kept
        return self.__dict__ | {"_distribution": None}

    def distribution(self) -> CorrelatedDistribution:
        """The distribution functions of a sum of Gaussians, a gaussum.distribution.CorrelatedDistribution."""
        if self._distribution is None:
            inner = self._sum.distribution()
            self._distribution = CorrelatedDistribution(
                np.ascontiguousarray(self._points.T), inner.log_weights, self._covariance, inner.factors
            )
        return self._distribution

    @property
    def inner(self) -> Any:
        """The sum in whitened coordinates."""
        return self._sum

    @property
    def log_det(self) -> float:
        """The logarithm of the determinant of L: what the log density is less than that in whitened coordinates."""
        return self._whitening.log_det

    def unwhiten(self, Y: FloatArray) -> FloatArray:
        """The points whose whitened coordinates these are, shape (n, n_features)."""
        return self._whitening.unwhiten(Y)

    def log_density_and_gradient(
        self, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """log f and its gradient for every row of `X`, as of GaussianSum."""
        logs, gradient = self._sum.log_density_and_gradient(self.whiten(X, n_threads), rtol=rtol, n_threads=n_threads)
        with np.errstate(over="ignore"):
            gradient = np.nan_to_num(gradient @ self._whitening.inverse / self._whitening.scale)
        return logs - self.log_det, gradient

    def leave_one_out(self, *, rtol: float = 0.0, n_threads: int | None = None) -> FloatArray:
        """log sum_{s != i} w_s N(x_i; s, H) at every source i; the weights stay as they are."""
        logs: FloatArray = self._sum.leave_one_out(rtol=rtol, n_threads=n_threads) - self.log_det
        return logs

    def log_density_without(
        self, own: IndexArray, X: SampleArray, *, rtol: float = 0.0, n_threads: int | None = None
    ) -> FloatArray:
        """The same at every row of `X` by the sources but one, `own`, shape (n_targets,)."""
        X = self.whiten(X, n_threads)
        logs: FloatArray = self._sum.log_density_without(own, X, rtol=rtol, n_threads=n_threads) - self.log_det
        return logs
