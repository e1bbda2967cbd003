"""Covariance structures: the shapes of their parameters, the number of free ones, and their inverses."""

import numpy as np

from gaussum.typing import FloatArray

# Those that kernels serve.
COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")

# Sigma_k = lambda_k D_k A_k D_k^T: the letters say whether the volumes lambda_k, the shapes A_k (diagonal, of
# determinant 1) and the orientations D_k (orthogonal) are equal, varying, or the identity (Celeux and Govaert 1995).
MCLUST_NAMES = (
    "EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV",
)
_LETTERS = {"full": "VVV", "tied": "EEE", "diag": "VVI", "spherical": "VII", "E": "EEE", "V": "VVV"}

# Every name of a structure that mixtures know; E and V are mclust's for a single feature.
STRUCTURES = (*COVARIANCE_TYPES, *MCLUST_NAMES, "E", "V")


def letters(structure: str) -> str:
    """Whether volumes, shapes and orientations are (E)qual, (V)arying or the (I)dentity: a name of mclust's.

    Examples
    --------
    >>> from gaussum.covariance import letters
    >>> letters("diag"), letters("VEV")
    ('VVI', 'VEV')
    """
    return _LETTERS.get(structure, structure)


def kernel_type(structure: str) -> str:
    """The covariance type whose kernels serve a structure, and whose shapes its covariances have.

    Examples
    --------
    >>> from gaussum.covariance import kernel_type
    >>> kernel_type("VEI"), kernel_type("VEV"), kernel_type("tied")
    ('diag', 'full', 'tied')
    """
    name = letters(structure)
    if name.endswith("II"):
        return "spherical"
    if name.endswith("I"):
        return "diag"
    return "tied" if name == "EEE" else "full"


def second_shape(covariance_type: str, n_components: int, n_features: int) -> tuple[int, ...]:
    """The shape of the covariances, of their inverses and of the second moments.

    Examples
    --------
    >>> from gaussum.covariance import second_shape
    >>> second_shape("tied", 4, 3)
    (3, 3)
    """
    match covariance_type:
        case "full":
            return n_components, n_features, n_features
        case "tied":
            return n_features, n_features
        case "diag":
            return n_components, n_features
        case "spherical":
            return (n_components,)
    raise KeyError(covariance_type)


def n_parameters(structure: str, n_components: int, n_features: int) -> int:
    """Free parameters of a mixture: weights, means and covariances.

    Examples
    --------
    >>> from gaussum.covariance import n_parameters
    >>> n_parameters("full", 3, 1), n_parameters("VEV", 3, 2)
    (8, 15)
    """
    volume, shape, orientation = tuple(letters(structure))
    times = {"I": 0, "E": 1, "V": n_components}
    covariances = times[volume] + times[shape] * (n_features - 1)
    covariances += times[orientation] * (n_features * (n_features - 1) // 2)
    return covariances + n_components * n_features + n_components - 1


def precisions(covariance_type: str, precisions_chol: FloatArray) -> FloatArray:
    """U U^T for every U: the inverses of the covariances."""
    if covariance_type in ("full", "tied"):
        return precisions_chol @ np.swapaxes(precisions_chol, -1, -2)
    return precisions_chol**2


def cholesky_of_precisions(covariance_type: str, matrices: FloatArray, name: str) -> FloatArray:
    """Upper triangular U with U U^T = P for every matrix P; square roots for "diag" and "spherical".

    Raises
    ------
    ValueError
        A matrix is not symmetric and positive definite, or a number is not positive; `name` is the argument to name.
    """
    if covariance_type in ("diag", "spherical"):
        if (matrices <= 0).any():
            raise ValueError(f"{name} holds {matrices.min():g}; expected positive numbers")
        return np.sqrt(matrices)
    _check_symmetric(matrices, name)
    try:
        # U U^T with upper U is the Cholesky factor of the matrix with both axes reversed
        reversed_chol = np.linalg.cholesky(matrices[..., ::-1, ::-1])
    except np.linalg.LinAlgError:
        raise ValueError(f"{name} is not positive definite; expected symmetric positive definite matrices") from None
    return np.ascontiguousarray(reversed_chol[..., ::-1, ::-1])


def cholesky_of_covariances(covariance_type: str, matrices: FloatArray, name: str) -> FloatArray:
    """Upper triangular U with U U^T = Sigma^-1 for every matrix Sigma; 1 / sigma for "diag" and "spherical".

    Raises
    ------
    ValueError
        As by `cholesky_of_precisions`.
    """
    if covariance_type in ("diag", "spherical"):
        return 1.0 / cholesky_of_precisions(covariance_type, matrices, name)
    _check_symmetric(matrices, name)
    try:
        inverse = np.linalg.inv(np.linalg.cholesky(matrices))
    except np.linalg.LinAlgError:
        raise ValueError(f"{name} is not positive definite; expected symmetric positive definite matrices") from None
    return np.ascontiguousarray(np.triu(np.swapaxes(inverse, -1, -2)))


def _check_symmetric(matrices: FloatArray, name: str) -> None:
    if not np.allclose(matrices, np.swapaxes(matrices, -1, -2), rtol=1e-6, atol=1e-12 * np.abs(matrices).max()):
        raise ValueError(f"{name} is not symmetric; expected symmetric positive definite matrices")


def covariances_of(covariance_type: str, precisions_chol: FloatArray) -> FloatArray:
    """(U U^T)^-1 for every U."""
    if covariance_type in ("diag", "spherical"):
        return 1.0 / precisions_chol**2
    inverse = np.linalg.inv(precisions_chol)
    covariances: FloatArray = np.swapaxes(inverse, -1, -2) @ inverse
    return covariances


def factors_of_covariances(covariance_type: str, precisions_chol: FloatArray) -> FloatArray:
    """Lower triangular L = U^-T, L L^T = Sigma, or standard deviations: what sampling needs."""
    if covariance_type in ("full", "tied"):
        return np.swapaxes(np.linalg.inv(precisions_chol), -1, -2)
    return 1.0 / precisions_chol
