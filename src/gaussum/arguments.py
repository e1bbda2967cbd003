"""What the functions of arrays take: a mixture as three arrays, data, and arrays for results; all of it checked."""

import math
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from gaussum import covariance
from gaussum.likelihood import MixtureLikelihood
from gaussum.mixture_pass import all_finite, log_determinants
from gaussum.parameters import MixtureParameters
from gaussum.typing import ArrayLike, FloatArray, SampleArray
from gaussum.validation import check_array, check_choice, check_output

# Weights may miss 1 by as much.
_OFF_ONE = 1e-6
_FLOAT64 = np.dtype(np.float64)


class Parameters(NamedTuple):
    """The parameters of a mixture, in the order in which all functions take them.

    Attributes
    ----------
    weights : ndarray, shape (n_components,)
        Not negative, adding up to 1.
    means : ndarray, shape (n_components, n_features)
    precisions_cholesky : ndarray
        The upper triangular U of Sigma^-1 = U U^T, as scikit-learn's: shape (K, d, d) for "full", (d, d) for "tied";
        1 / sigma, shape (K, d) for "diag" and (K,) for "spherical".
    """

    weights: FloatArray
    means: FloatArray
    precisions_cholesky: FloatArray


def mixture(
    weights: ArrayLike, means: ArrayLike, precisions_cholesky: ArrayLike, covariance_type: str,
) -> MixtureParameters:
    """The parameters in the kernels' form, checked."""
    check_choice(covariance_type, "covariance_type", covariance.COVARIANCE_TYPES)
    chol = precisions_cholesky
    if not (is_plain(weights) and is_plain(means) and is_plain(chol)):
        weights, means, chol = _numbers(weights, means, chol)
    if means.ndim != 2 or means.size == 0:
        raise ValueError(f"means has shape {means.shape}; expected (n_components, n_features)")
    K, d = means.shape
    shape = covariance.second_shape(covariance_type, K, d)
    if weights.shape != (K,):
        raise ValueError(f"weights has shape {weights.shape}; expected {(K,)} for means of shape {(K, d)}")
    if chol.shape != shape:
        raise ValueError(
            f"precisions_cholesky has shape {chol.shape}; expected {shape} for {covariance_type!r} and means of shape "
            f"{(K, d)}"
        )
    parameters = MixtureParameters.from_precisions_chol(covariance_type, weights, means, chol)
    finite = all_finite(parameters.buffer)
    if not finite:
        _numbers(weights, means, chol)
    if not finite or d > 1:
        check_factors(covariance_type, d, chol)
    shares = weights.tolist()
    if min(shares) < 0.0 or abs(math.fsum(shares) - 1.0) > _OFF_ONE:
        raise ValueError(
            f"weights has the smallest entry {min(shares):g} and adds up to {math.fsum(shares):g}; "
            "expected weights >= 0 that add up to 1"
        )
    return parameters


def _numbers(weights: ArrayLike, means: ArrayLike, precisions_cholesky: ArrayLike) -> list[FloatArray]:
    """The three as finite arrays."""
    names = "weights", "means", "precisions_cholesky"
    return [check_array(a, name) for a, name in zip((weights, means, precisions_cholesky), names)]


def is_plain(a: object) -> TypeGuard[FloatArray]:
    """Whether it can be used as it is, once its shape and values have been checked."""
    return type(a) is np.ndarray and a.dtype is _FLOAT64 and a.flags.c_contiguous


def check_factors(covariance_type: str, d: int, factors: FloatArray) -> None:
    """Refuse what is no U of U U^T."""
    square = covariance_type in ("full", "tied")
    log_det = np.empty(1 if covariance_type == "tied" else len(factors))
    if not log_determinants(covariance_type, d, np.ascontiguousarray(factors).ravel(), log_det):
        raise ValueError(
            "precisions_cholesky holds what is no factor of a precision; expected "
            + ("upper triangular matrices with positive diagonals, as precisions_cholesky() of covariances gives"
               if square else "positive numbers")
        )


def by_type(values: ArrayLike, name: str, covariance_type: str) -> FloatArray:
    """Covariances or factors as an array of the dimensions of their type."""
    check_choice(covariance_type, "covariance_type", covariance.COVARIANCE_TYPES)
    values = check_array(values, name)
    expected = {"full": "(K, d, d)", "tied": "(d, d)", "diag": "(K, d)", "spherical": "(K,)"}[covariance_type]
    square = covariance_type in ("full", "tied")
    if values.ndim != expected.count(",") + (covariance_type != "spherical") or values.size == 0 or (
        square and values.shape[-1] != values.shape[-2]
    ):
        raise ValueError(f"{name} has shape {values.shape}; expected {expected} for {covariance_type!r}")
    return values


def likelihood(X: SampleArray, parameters: MixtureParameters, **options: Any) -> MixtureLikelihood:
    """The likelihood for one pass over samples."""
    return MixtureLikelihood(X, parameters.covariance_type, parameters.n_components, lasting=False, **options)


def output(out: FloatArray | None, name: str, shape: tuple[int, ...], inputs: dict[str, Any]) -> FloatArray:
    """The array for a result: a new one, or the given one if it will do."""
    if out is None:
        return np.empty(shape)
    check_output(out, name, shape, inputs)
    return out
