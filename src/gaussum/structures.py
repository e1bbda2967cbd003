"""M-steps of constrained covariances: the structures of Celeux and Govaert (1995) under mclust's names.

Sigma_k = lambda_k D_k A_k D_k^T, with a volume lambda_k, a diagonal shape A_k of determinant 1 and an orthogonal D_k,
each equal for all components (E), varying (V), or the identity (I). From scatters W_k and masses n_k, the M-step
minimises

    sum_k n_k log |Sigma_k| + tr(W_k Sigma_k^-1)

over the structure. Given the orientations it is a matter of the squares along the axes, w_kj = (D_k^T W_k D_k)_jj:

    EE    sum_k w_kj / n
    EV    lambda w_kj / g_k, with g_k = (prod_j w_kj)^(1/d) and lambda = sum_k g_k / n
    VE    lambda_k a_j: convex in the logarithms, by Newton's method
    VV    w_kj / n_k

and orientations that vary are those of the scatters. One orientation is sought by gaussum.orientation, but for EEE, a
plain M-step, and VEE, where Newton's method finds the volumes as it does for VE.

The ridge is part of each component's scatter, so what EM increases is the log-likelihood less
sum_k tr(ridge Sigma_k^-1) / 2, for constrained covariances too; tied ones, EEE, have it once.

References
----------
G. Celeux and G. Govaert, "Gaussian parsimonious clustering models", Pattern Recognition 28 (1995) 781-793.
"""

import copy
from collections.abc import Callable
from typing import Self

import numpy as np

from gaussum.covariance import kernel_type, letters
from gaussum.orientation import common_orientation, principal_axes, squares
from gaussum.parameters import MixtureParameters
from gaussum.statistics import SufficientStatistics
from gaussum.typing import FloatArray, MaskArray

# Newton's method for the volumes ends when no ratio of two of them changes by more; that before squares.
_SMALLEST_STEP = 1e-5
_MOST_STEPS = 100
# Below it, a mass has no inverse.
_SMALLEST_MASS = np.finfo(np.float64).tiny
# Of an M-step, and of d^3 operations on a matrix: where one orientation is sought, and elsewhere.
_CALL_SECONDS, _ROTATION_SECONDS, _FACTOR_SECONDS = 1e-4, 4e-8, 1e-8
# The mass that a component without weight gets when parameters are brought into a structure.
_LEAST_WEIGHT = 1e-8

_Shares = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


def structured_m_step(
    structure: str, n_components: int, n_features: int, ridge: FloatArray,
) -> "StructuredMStep | None":
    """The M-step of a covariance structure, or None where the plain one of its kernels is that.

    Parameters
    ----------
    structure : str
        One of gaussum.covariance.STRUCTURES.
    ridge : ndarray, shape (n_features,)
        Scatter added to every component's.

    Raises
    ------
    ValueError
        "E" or "V" for several features.
    """
    if structure in ("E", "V") and n_features > 1:
        raise ValueError(f"covariance_type is {structure!r}, for one feature, but X has {n_features} features")
    name = letters(structure)
    if name in ("VVV", "EEE", "VVI", "VII") or (n_features == 1 and name[0] == "V"):
        return None
    return StructuredMStep(name, n_components, n_features, ridge)


class StructuredMStep:
    """The M-step of a constrained structure, for MixtureLikelihood; a function of the statistics alone.

    Where the minimum is sought by iteration it begins at the parameters that the statistics come from, and ends no
    higher than there: EM rises, whatever it starts from.

    Parameters
    ----------
    name : str
        One of gaussum.covariance.MCLUST_NAMES.
    n_components, n_features : int
    ridge : ndarray, shape (n_features,)
    """

    def __init__(self, name: str, n_components: int, n_features: int, ridge: FloatArray) -> None:
        self.name = name
        self.covariance_type = kernel_type(name)
        self.shape = n_components, n_features
        self._ridge, self._most_steps = ridge, _MOST_STEPS

    @property
    def seconds(self) -> float:
        """The time of `maximize` on one processor, roughly."""
        n_components, n_features = self.shape
        per_cube = 0.0
        if self.covariance_type == "full":
            per_cube = _ROTATION_SECONDS if self.name[1:] == "VE" else _FACTOR_SECONDS
        return _CALL_SECONDS + per_cube * n_components * n_features**3

    def maximize(self, statistics: SufficientStatistics) -> MixtureParameters:
        """The parameters that maximise the expected complete log-likelihood less the ridge's penalty.

        log_det is NaN where a covariance is singular.
        """
        masses = statistics.nk
        # a component without samples stays where it is
        shift = statistics.first / np.where(masses >= _SMALLEST_MASS, masses, np.inf)[:, np.newaxis]
        scatter, kind = statistics.second, self.covariance_type
        if kind == "spherical":
            scatter = scatter - np.einsum("kj,kj->k", statistics.first, shift)
        elif kind == "diag":
            scatter = scatter - statistics.first * shift
        else:
            scatter = scatter - statistics.first[:, :, np.newaxis] * shift[:, np.newaxis]
        means = statistics.origins + shift
        return self.of_scatters(masses, masses / masses.sum(), means, scatter, statistics.parameters)

    def of_scatters(
        self, masses: FloatArray, weights: FloatArray, means: FloatArray, scatter: FloatArray,
        start: MixtureParameters | None,
    ) -> MixtureParameters:
        """The parameters for scatters about the means, to which the ridge is added, and the masses behind them.

        Parameters
        ----------
        masses, weights : ndarray, shape (n_components,)
        means : ndarray, shape (n_components, n_features)
        scatter : ndarray
            Shape (K, d, d), of which the upper triangles count, (K, d) or (K,), by `covariance_type`.
        start : MixtureParameters or None
            Where a minimum that is sought by iteration begins.
        """
        if self.covariance_type == "spherical":
            scatter = scatter + self._ridge.sum()
        elif self.covariance_type == "diag":
            scatter = scatter + self._ridge
        else:
            scatter = _factors(scatter + np.diag(self._ridge))
        return self._fit(masses, weights, means, scatter, start)

    def penalty(self, parameters: MixtureParameters) -> float:
        """What is taken off the log-likelihood beyond the ridge's penalty: nothing."""
        return 0.0

    def in_single_steps(self) -> Self:
        """The same with one step of Newton's method in `maximize`: EM still rises, at less cost an iteration."""
        rough = copy.copy(self)
        rough._most_steps = 1
        return rough

    def project(self, parameters: MixtureParameters) -> MixtureParameters:
        """The nearest parameters of this structure: those of the M-step on samples of the given mixture."""
        masses = np.maximum(parameters.weights, _LEAST_WEIGHT)
        if self.covariance_type == "spherical":
            scatter = masses * parameters.covariances * parameters.n_features
        elif self.covariance_type == "diag":
            scatter = masses[:, np.newaxis] * parameters.covariances
        else:
            scatter = np.sqrt(masses)[:, np.newaxis, np.newaxis] * np.linalg.inv(parameters.precisions_chol)
        return self._fit(masses, parameters.weights, parameters.means, scatter)

    def _fit(
        self, masses: FloatArray, weights: FloatArray, means: FloatArray, scatter: FloatArray,
        start: MixtureParameters | None = None,
    ) -> MixtureParameters:
        """The parameters for scatters: their traces ("spherical"), diagonals ("diag"), or factors ("full")."""
        K, d = self.shape
        most_steps = _MOST_STEPS if start is None else self._most_steps
        try:
            with np.errstate(all="ignore"):
                if self.covariance_type == "spherical":
                    variances = np.full(K, scatter.sum() / (masses.sum() * d))
                    chol, log_det = variances**-0.5, -0.5 * d * np.log(variances)
                elif self.covariance_type == "diag":
                    variances = _along_axes(self.name, masses, scatter, start, most_steps)
                    chol, log_det = variances**-0.5, -0.5 * np.log(variances).sum(axis=1)
                elif self.name == "VEE":
                    chol, log_det = _one_form(masses, scatter, start, most_steps)
                else:
                    axes, squared = self._axes(masses, scatter, start)
                    variances = _along_axes(self.name, masses, squared, start, most_steps)
                    chol = _upper(axes / np.sqrt(variances)[:, np.newaxis])
                    log_det = -0.5 * np.log(variances).sum(axis=1)
        except np.linalg.LinAlgError:
            chol, log_det = np.full(scatter.shape, np.nan), np.full(K, np.nan)
        lost = ~np.isfinite(log_det)
        log_det[lost] = chol[lost] = np.nan
        if start is not None and lost.any():
            # one that was let go has whatever covariance does no harm
            gone, heaviest = lost & (start.weights == 0.0), np.argmax(masses)
            log_det[gone], chol[gone] = log_det[heaviest], chol[heaviest]
        buffer = np.concatenate([weights, log_det, means.ravel(), chol.ravel()])
        return MixtureParameters(self.covariance_type, K, d, buffer)

    def _axes(
        self, masses: FloatArray, factors: FloatArray, start: MixtureParameters | None,
    ) -> tuple[FloatArray, FloatArray]:
        """Orientations, shape (K, d, d) or (d, d), and the squares along their axes, shape (K, d)."""
        if self.name[2] == "V":
            squared, axes = principal_axes(factors)
            return axes, squared
        axes = common_orientation(factors, masses, self.name[0] == "E", _shared_axes(start))
        return axes, squares(factors, axes)


def _factors(scatters: FloatArray) -> FloatArray:
    """R_k with R_k^T R_k = W_k, from upper triangles."""
    try:
        # the lower triangle of the transpose is read
        return np.swapaxes(np.linalg.cholesky(np.swapaxes(scatters, -1, -2)), -1, -2)
    except np.linalg.LinAlgError:
        values, axes = np.linalg.eigh(scatters, UPLO="U")
        factors: FloatArray = np.sqrt(np.maximum(values, 0.0))[..., np.newaxis] * np.swapaxes(axes, -1, -2)
        return factors


def _along_axes(
    name: str, masses: FloatArray, w: FloatArray, start: MixtureParameters | None, most_steps: int,
) -> FloatArray:
    """Variances along the axes, shape (K, d), from the squares along them, by the letters of volume and shape."""
    total = masses.sum()
    match name[:2]:
        case "EE":
            return np.broadcast_to(w.sum(axis=0) / total, w.shape)
        case "EV":
            logs = np.log(w)
            mean = logs.mean(axis=1, keepdims=True)
            shaped: FloatArray = np.exp(logs - mean) * (np.exp(mean).sum() / total)
            return shaped
        case "VV":
            return w / masses[:, np.newaxis]

    def shares(log_volumes: FloatArray) -> tuple[FloatArray, FloatArray]:
        part = w[alive] * np.exp(-log_volumes)[:, np.newaxis]
        part /= part.sum(axis=0)
        return part, part.sum(axis=1)

    alive = masses >= _SMALLEST_MASS
    variances = np.full(w.shape, np.nan)
    log_volumes = _log_volumes(shares, masses[alive], w[alive].sum(axis=1), w.shape[1], start, alive, most_steps)
    volumes = np.exp(log_volumes)[:, np.newaxis]
    variances[alive] = volumes * ((w[alive] / volumes).sum(axis=0) / total)
    return variances


def _one_form(
    masses: FloatArray, factors: FloatArray, start: MixtureParameters | None, most_steps: int,
) -> tuple[FloatArray, FloatArray]:
    """U_k and log det U_k of Sigma_k = lambda_k C, the minimum over lambda_k and C."""
    K, d = factors.shape[:2]

    def form(log_volumes: FloatArray) -> tuple[FloatArray, FloatArray]:
        scaled = factors[alive] * np.exp(-0.5 * log_volumes)[:, np.newaxis, np.newaxis]
        root: FloatArray = np.linalg.qr(scaled.reshape(-1, d), mode="r")  # type: ignore[assignment]  # "r" is no pair
        return scaled, root

    def shares(log_volumes: FloatArray) -> tuple[FloatArray, FloatArray]:
        scaled, root = form(log_volumes)
        whitened = scaled @ np.linalg.inv(root)
        return (np.swapaxes(whitened, 1, 2) @ whitened).reshape(len(scaled), -1), np.square(whitened).sum(axis=(1, 2))

    alive = masses >= _SMALLEST_MASS
    traces = np.square(factors[alive]).sum(axis=(1, 2))
    log_volumes = np.full(K, np.nan)
    log_volumes[alive] = _log_volumes(shares, masses[alive], traces, d, start, alive, most_steps)
    root = form(log_volumes[alive])[1] / np.sqrt(masses.sum())
    upper = _upper(np.linalg.inv(root))
    log_det = np.log(np.diagonal(upper)).sum() - 0.5 * d * log_volumes
    return upper * np.exp(-0.5 * log_volumes)[:, np.newaxis, np.newaxis], log_det


def _log_volumes(
    shares: _Shares, masses: FloatArray, traces: FloatArray, d: int, start: MixtureParameters | None,
    alive: MaskArray, most_steps: int,
) -> FloatArray:
    """The log lambda_k, but for a common summand, of the least d sum_k n_k log lambda_k + n log |sum_k W_k / lambda_k|.

    `shares(log_volumes)` gives X_k = C^-1/2 (W_k / lambda_k) C^-1/2 for C = sum_k W_k / lambda_k, raveled, or their
    diagonals where nothing else is left, and their traces. The gradient is d n_k / n - tr X_k, the Hessian
    diag(tr X_k) - tr(X_k X_l): a Newton step along which no two volumes change their ratio by more than e lowers the
    objective.
    """
    target = d * masses / masses.sum()
    first = np.log(traces / masses) if start is None else -2.0 / d * start.log_det[alive]
    log_volumes: FloatArray = first - first.mean()
    for _ in range(most_steps):
        x, t = shares(log_volumes)
        root = np.sqrt(t)
        x /= root[:, np.newaxis]
        # a common summand changes nothing: the direction is filled in
        hessian = np.eye(len(t)) - x @ x.T + np.outer(root, root) / d
        step = np.linalg.solve(hessian, (t - target) / root) / root
        reach = np.ptp(step)
        log_volumes += step / max(reach, 1.0)
        if not reach > _SMALLEST_STEP:
            break
    return log_volumes


def _shared_axes(parameters: MixtureParameters | None) -> FloatArray | None:
    """The axes that the covariances of parameters share; None for no parameters."""
    if parameters is None:
        return None
    K, d = parameters.n_components, parameters.n_features
    roots = np.swapaxes(parameters.precisions_chol, 1, 2)
    # unlike weights: axes of one covariance do not hide those of another
    scale = (1.0 + np.arange(K) * 0.6180339887498949 % 1.0) / np.sqrt(np.square(roots).sum(axis=(1, 2)))
    return principal_axes((roots * scale[:, np.newaxis, np.newaxis]).reshape(-1, d))[1]


def _upper(roots: FloatArray) -> FloatArray:
    """Upper triangular U, diagonal positive, with U U^T = G G^T for every G."""
    lower = np.swapaxes(np.linalg.qr(np.swapaxes(roots[..., ::-1, :], -1, -2), mode="r"), -1, -2)
    upper = lower[..., ::-1, ::-1]
    positive: FloatArray = upper * np.sign(np.diagonal(upper, axis1=-2, axis2=-1))[..., np.newaxis, :]
    return positive
