"""For packages that build on the compiled kernels: buffers, addresses, and integrands for SciPy.

Compiled code needs nothing from here. It takes the functions that include/gaussum.h describes

- in Cython from ``gaussum.kernels.mixture``, ``sums``, ``elementary`` and ``densities``: ``from gaussum.kernels cimport
  mixture``;
- in C and C++ from the table that ``gaussum_import()`` of gaussum.h fetches (see `gaussum.get_include`);
- in numba from `functions`, or by ``numba.extending.get_cython_function_address("gaussum.kernels.mixture", name)``.

Three small packages that do so are under tests/embedding in the sources.
"""

import ctypes
import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import LowLevelCallable

from gaussum.kde import KernelDensity
from gaussum.kernels import densities
from gaussum.mixture import GaussianMixture
from gaussum.mixture_base import relative_ridge
from gaussum.mixture_base import BaseMixture
from gaussum.typing import ArrayLike, FloatArray
from gaussum.validation import check_choice, check_number

# The compiled modules whose functions are public, in the order of the table in gaussum.h.
MODULES = ("mixture", "sums", "elementary", "densities")
# Structures of covariances, as the compiled functions number them.
STRUCTURES = {"full": 0, "tied": 1, "diag": 2, "spherical": 3}
KINDS = ("density", "log_density", "cdf", "sf")

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_C_TYPES = {"void": None, "int": ctypes.c_int, "Py_ssize_t": ctypes.c_ssize_t, "double": ctypes.c_double}


class _Line(ctypes.Structure):
    """gaussum_line"""

    _fields_ = [
        ("n_components", ctypes.c_ssize_t),
        ("weights", ctypes.c_void_p),
        ("log_heights", ctypes.c_void_p),
        ("means", ctypes.c_void_p),
        ("inv_scales", ctypes.c_void_p),
    ]


class _Mixture(ctypes.Structure):
    """gaussum_mixture"""

    _fields_ = [
        ("structure", ctypes.c_int),
        ("n_features", ctypes.c_ssize_t),
        ("n_components", ctypes.c_ssize_t),
        ("parameters", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
    ]


class _KernelDensity(ctypes.Structure):
    """gaussum_kernel_density"""

    _fields_ = [
        ("n_features", ctypes.c_ssize_t),
        ("n_sources", ctypes.c_ssize_t),
        ("sources", ctypes.c_void_p),
        ("log_heights", ctypes.c_void_p),
        ("inv_bandwidth", ctypes.c_void_p),
        ("origin", ctypes.c_void_p),
        ("whitening", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
    ]


def functions() -> dict[str, Callable[..., Any]]:
    """The compiled functions, callable from Python and from numba's compiled code.

    Returns
    -------
    dict
        From the names in gaussum.h, in its order, to ctypes functions. Pointers are addresses (``a.ctypes``, in numba
        too): of float64 in C order, as long as gaussum.h says; nothing is checked. Calls release the GIL.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import embed
    >>> x = np.array([0.0, 1.0])
    >>> embed.functions()["exp_array"](2, x.ctypes, x.ctypes)
    >>> x.round(3)
    array([1.   , 2.718])
    """
    found: dict[str, Callable[..., Any]] = {}
    for module in MODULES:
        for name, capsule in importlib.import_module(f"gaussum.kernels.{module}").__pyx_capi__.items():
            signature = _capsule_name(capsule)
            result, arguments = signature.decode().rstrip(")").split(" (", 1)
            kinds: list[Any] = [
                ctypes.c_void_p if argument.endswith("*") else _C_TYPES[argument] for argument in arguments.split(", ")
            ]
            found[name] = ctypes.CFUNCTYPE(_C_TYPES[result], *kinds)(_capsule_pointer(capsule, signature))
    return found


def parameters(mixture: BaseMixture) -> tuple[int, FloatArray]:
    """The parameters of a fitted mixture as one buffer: weights, log determinants, means, precisions' factors.

    Parameters
    ----------
    mixture : GaussianMixture or BayesianGaussianMixture
        Fitted; of the latter the expected parameters.

    Returns
    -------
    structure : int
        Of the covariances, as in `STRUCTURES`.
    buffer : ndarray of float64, shape (parameters_size(structure, n_features, n_components),)
        A copy, in the layout of gaussum.h.

    Raises
    ------
    TypeError
        Something that is no mixture.
    NotFittedError
        A mixture that is not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import GaussianMixture, embed
    >>> mixture = GaussianMixture(2, random_state=0).fit(np.random.default_rng(0).normal(size=(100, 3)))
    >>> structure, buffer = embed.parameters(mixture)
    >>> structure, buffer.size, bool((buffer[:2] == mixture.weights_).all())
    (0, 28, True)
    """
    if not isinstance(mixture, BaseMixture):
        raise TypeError(f"mixture is {type(mixture).__name__}; expected a fitted GaussianMixture")
    mixture._check_fitted()
    own = BaseMixture._parameters(mixture)
    return STRUCTURES[own.covariance_type], own.buffer.copy()


def training_data(
    X: ArrayLike, sample_weight: ArrayLike | None = None, *, reg_covar: float = 1e-6,
) -> tuple[FloatArray, FloatArray | None, FloatArray]:
    """What EM works on when GaussianMixture fits: for loops whose results are to be the same.

        ridge_j = reg_covar * (mean weight) * (variance of feature j)

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
    sample_weight : array_like, shape (n_samples,), optional
    reg_covar : float
        At least 1e-13 is taken.

    Returns
    -------
    X : ndarray of float64, shape (n_samples, n_features), C order
    sample_weight : ndarray of float64, shape (n_samples,), or None
        Times a power of two that brings the mean of those that are not 0 near 1.
    ridge : ndarray of float64, shape (n_features,)
        The scatter that is added to every covariance's numerator.

    Raises
    ------
    ValueError, TypeError
        Data that GaussianMixture refuses.

    Examples
    --------
    >>> from gaussum import embed
    >>> X, sample_weight, ridge = embed.training_data([[0, 0], [2, 20]], reg_covar=0.5)
    >>> ridge.tolist()
    [0.5, 50.0]
    """
    check_number(reg_covar, "reg_covar", minimum=0.0)
    mixture = GaussianMixture()
    X, weight = mixture._check_data(X, sample_weight)
    variance = mixture._reference_moments(X, weight)[1]
    return np.ascontiguousarray(X, dtype=np.float64), weight, relative_ridge(reg_covar, weight, variance)


def low_level_callable(estimator: BaseMixture | KernelDensity, kind: str = "density") -> LowLevelCallable:
    """A fitted density as an integrand for SciPy's compiled integrators.

    Parameters
    ----------
    estimator : GaussianMixture, BayesianGaussianMixture or KernelDensity
        Fitted. What it is now is copied; fitting it again changes nothing. A BayesianGaussianMixture is taken for the
        mixture of its expected parameters, whose density adds up to 1.
    kind : {"density", "log_density", "cdf", "sf"}
        The distribution function and what is left of it, 1 - cdf, are there for one feature.

    Returns
    -------
    scipy.LowLevelCallable
        `double f(double x, void *)` for one feature, to be integrated by `scipy.integrate.quad`;
        `double f(int n, double *x, void *)` for more, the first n_features numbers being the point, by `nquad`.
        Of more than one feature, it may be called by one thread at a time.

    Raises
    ------
    TypeError
        Something that is no density, or no fitted one.
    ValueError
        An unknown kind, a distribution function of several features, or a density that is no plain sum of Gaussians.

    Examples
    --------
    >>> import numpy as np, scipy
    >>> from gaussum import KernelDensity, embed
    >>> kde = KernelDensity(0.5).fit(np.array([0.0, 1.0, 5.0]))
    >>> round(scipy.integrate.quad(embed.low_level_callable(kde), -10, 2)[0], 6)
    0.659073
    """
    check_choice(kind, "kind", KINDS)
    if not isinstance(estimator, (BaseMixture, KernelDensity)):
        raise TypeError(
            f"estimator is {type(estimator).__name__}; expected a fitted GaussianMixture, BayesianGaussianMixture or "
            "KernelDensity"
        )
    estimator._check_fitted()
    d = estimator.n_features_in_
    if d > 1 and kind in ("cdf", "sf"):
        raise ValueError(f"kind is {kind!r}, but there are {d} features; expected 'density' or 'log_density'")
    if isinstance(estimator, BaseMixture):
        if d == 1:
            return _callable(f"line_{kind}", *_line_of_mixture(estimator))
        return _callable(f"mixture_{kind}_at", *_mixture(estimator))
    _check_plain(estimator)
    if d == 1:
        return _callable(f"line_{kind}", *_line_of_kernels(estimator))
    return _callable(f"kernel_{kind}_at", *_kernels(estimator))


def _callable(name: str, data: ctypes.Structure, *arrays: FloatArray) -> LowLevelCallable:
    """A LowLevelCallable of one of gaussum.kernels.densities that holds its data and their arrays."""
    pointer: Any = ctypes.cast(ctypes.pointer(data), ctypes.c_void_p)
    pointer.held = data, arrays
    return LowLevelCallable.from_cython(densities, name, pointer)


def _line(weights: FloatArray, means: FloatArray, inv_scales: FloatArray) -> tuple[Any, ...]:
    """gaussum_line, and its arrays"""
    means, inv_scales = np.array(means, dtype=np.float64), np.array(inv_scales, dtype=np.float64)
    weights = np.array(weights, dtype=np.float64)
    with np.errstate(divide="ignore"):
        log_heights = np.log(weights) + np.log(inv_scales) - _LOG_SQRT_2PI
    arrays = weights, log_heights, means, inv_scales
    return _Line(weights.size, *(a.ctypes.data for a in arrays)), *arrays


def _line_of_mixture(mixture: BaseMixture) -> tuple[Any, ...]:
    inv_scales = np.broadcast_to(np.ravel(mixture.precisions_cholesky_), mixture.weights_.shape)
    return _line(mixture.weights_, np.ravel(mixture.means_), inv_scales)


def _line_of_kernels(kde: KernelDensity) -> tuple[Any, ...]:
    scales = np.broadcast_to(kde.bandwidth_ * getattr(kde, "local_factors_", 1.0), kde.source_weights_.shape)
    return _line(kde.source_weights_, np.ravel(kde.sources_), 1.0 / scales)


def _mixture(mixture: BaseMixture) -> tuple[Any, ...]:
    """gaussum_mixture, and its arrays"""
    structure, buffer = parameters(mixture)
    K, d = mixture.means_.shape
    scratch = np.empty(functions()["mixture_scratch"](structure, d, K))
    return _Mixture(structure, d, K, buffer.ctypes.data, scratch.ctypes.data), buffer, scratch


def _kernels(kde: KernelDensity) -> tuple[Any, ...]:
    """gaussum_kernel_density, and its arrays"""
    d, h, sources = kde.n_features_in_, np.asarray(kde.bandwidth_), np.asarray(kde.sources_, dtype=np.float64)
    more: tuple[FloatArray, ...] = ()
    if h.ndim == 2:
        origin = sources.mean(axis=0)
        whitening = np.ascontiguousarray(np.linalg.inv(np.linalg.cholesky(h)).T)
        log_det = np.log(np.diagonal(whitening)).sum()
        sources, inv_bandwidth = (sources - origin) @ whitening, np.ones(d)
        more = origin, whitening, np.empty(d)
    else:
        inv_bandwidth = np.array(np.broadcast_to(1.0 / h, d))
        log_det = np.log(inv_bandwidth).sum()
    log_heights = np.log(kde.source_weights_) + (log_det - d * _LOG_SQRT_2PI)
    arrays = np.array(sources.T, order="C"), log_heights, inv_bandwidth, *more
    return _KernelDensity(d, len(sources), *(a.ctypes.data for a in arrays)), *arrays


def _check_plain(kde: KernelDensity) -> None:
    """Refuse kernel densities whose terms are no Gaussians of the same covariance, or, on a line, of any."""
    if getattr(kde, "kernel", "gaussian") != "gaussian":
        raise ValueError(f"estimator has kernel={kde.kernel!r}; expected 'gaussian'")
    if getattr(kde, "bounds", None) is not None:
        raise ValueError("estimator has bounds; expected a density on the whole space")
    local = hasattr(kde, "local_factors_")
    if (local or getattr(kde, "adaptive", None) is not None) and (kde.n_features_in_ > 1 or not local):
        raise ValueError("estimator has local bandwidths; expected one for all, or one a source and one feature")


_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.restype, _capsule_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype, _capsule_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
