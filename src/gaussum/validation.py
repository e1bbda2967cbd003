"""Checks of arguments: every refusal names the argument, what came, and what was expected."""

import math
import numbers
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from gaussum.base import shape_name
from gaussum.typing import ArrayLike, FloatArray, NDArray, RandomState, SampleArray

# Rows looked at together when the data are scanned: no temporary grows with n_samples.
_SCAN_BYTES = 1 << 20


def check_samples(
    X: ArrayLike, *, name: str = "X", n_features: int | None = None, min_samples: int = 1, finite: bool = True,
) -> SampleArray:
    """Return `X` as an (n_samples, n_features) array of float32 or float64, without a copy if it is one.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
        Real and finite. One dimension means univariate samples.
    name : str
        The argument's name, for messages.
    n_features : int, optional
        The number of features that the fitted estimator expects.
    min_samples : int
        The fewest samples that will do.
    finite : bool
        Whether to look for NaN and infinity.

    Raises
    ------
    TypeError
        `X` holds text, objects that are no numbers, or complex numbers, or is sparse.
    ValueError
        `X` is empty, has the wrong dimensions, too few samples, or holds NaN or infinity.
    """
    X = _real_array(X, name)
    if X.ndim == 1:
        if n_features is not None and n_features != 1:
            raise ValueError(
                f"{name} has one dimension, shape {X.shape}, but {n_features} features are expected: "
                f"pass shape (n_samples, {n_features}); a single sample is {name}.reshape(1, -1)"
            )
        X = X[:, np.newaxis]
    if X.ndim != 2:
        raise ValueError(
            f"{name} has {X.ndim} dimensions, shape {X.shape}; "
            "expected (n_samples, n_features), or (n_samples,) for univariate data"
        )
    if n_features is not None and X.shape[1] != n_features:
        raise ValueError(f"{name} has {X.shape[1]} features, but {n_features} features are expected")
    if X.shape[1] == 0:
        raise ValueError(f"{name} has no features, shape {X.shape}; expected at least one column")
    if X.shape[0] < min_samples:
        what = "is empty" if X.shape[0] == 0 else f"has {X.shape[0]} samples"
        raise ValueError(f"{name} {what}, shape {X.shape}; expected at least {min_samples} sample(s)")
    if finite:
        _refuse_non_finite(X, name)
    return X


def check_weights(
    sample_weight: ArrayLike | None, n_samples: int, *, name: str = "sample_weight", all_zero: bool = False,
) -> FloatArray | None:
    """Return the weights as a contiguous float64 vector, or None for None; they may be `all_zero`, or not.

    Raises
    ------
    TypeError
        The weights are no real numbers.
    ValueError
        Wrong shape, negative or non-finite values, or nothing above zero unless that is allowed.
    """
    if sample_weight is None:
        return None
    given = _real_array(sample_weight, name)
    if given.shape != (n_samples,):
        raise ValueError(f"{name} has shape {given.shape}; expected ({n_samples},), one weight a sample")
    w = np.ascontiguousarray(given, dtype=np.float64)
    _refuse_non_finite(w[:, np.newaxis], name)
    if (w < 0).any():
        i = int(np.argmax(w < 0))
        raise ValueError(f"{name} holds a negative value, {w[i]:g} at index {i}; expected weights >= 0")
    with np.errstate(over="ignore"):
        total = w.sum()
    if total == 0 and not all_zero:
        raise ValueError(f"{name} is zero everywhere; expected at least one positive weight")
    if not math.isfinite(total):
        raise ValueError(f"{name} adds up to more than a double holds; expected smaller weights")
    return w


def check_integer(value: object, name: str, *, minimum: int) -> int:
    """Return `value` as an int of at least `minimum`; TypeError or ValueError otherwise."""
    if type(value) is int and value >= minimum:
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} is {value!r}; expected an integer >= {minimum}")
    if value < minimum:
        raise ValueError(f"{name} is {value}; expected an integer >= {minimum}")
    return int(value)


def check_number(
    value: object, name: str, *, minimum: float = -math.inf, maximum: float = math.inf, open_minimum: bool = False,
    open_maximum: bool = False,
) -> float:
    """Return `value` as a finite float in the given range; TypeError or ValueError otherwise."""
    low = f"{'>' if open_minimum else '>='} {minimum:g}" if minimum > -math.inf else ""
    high = f"{'<' if open_maximum else '<='} {maximum:g}" if maximum < math.inf else ""
    expected = " ".join(["a finite number", " and ".join(filter(None, [low, high]))]).strip()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}; expected {expected}")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond a double
        number = math.inf
    if (
        not math.isfinite(number)
        or number < minimum
        or number > maximum
        or (open_minimum and number == minimum)
        or (open_maximum and number == maximum)
    ):
        raise ValueError(f"{name} is {number}; expected {expected}")
    return number


def check_flag(value: object, name: str) -> bool:
    """Return `value` if it is True or False; TypeError otherwise."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}; expected True or False")
    return bool(value)


def check_choice(value: object, name: str, choices: Collection[str]) -> str:
    """Return `value` if it is one of the strings `choices`; TypeError or ValueError otherwise."""
    if isinstance(value, str) and value in choices:
        return value
    expected = "one of " + ", ".join(map(repr, choices))
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shape_name(value)}; expected {expected}")
    raise ValueError(f"{name} is {value!r}; expected {expected}")


def check_array(value: ArrayLike, name: str, shape: tuple[int, ...] | None = None) -> FloatArray:
    """Return `value` as a finite C-ordered float64 array of that shape, if any; TypeError or ValueError otherwise."""
    value = _real_array(value, name)
    if shape is not None and value.shape != shape:
        raise ValueError(f"{name} has shape {value.shape}; expected {shape}")
    value = np.ascontiguousarray(value, dtype=np.float64)
    if not np.isfinite(value).all():
        raise ValueError(f"{name} holds NaN or infinity; expected finite numbers")
    return value


def check_output(out: object, name: str, shape: tuple[int, ...], inputs: Mapping[str, object]) -> None:
    """Refuse what cannot take results: `out` has to be a contiguous, writeable array of float64 that nothing else uses.

    Parameters
    ----------
    out : ndarray
    name : str
    shape : tuple of int
    inputs : dict
        Arrays, by the names for messages, that are read while `out` is written.

    Raises
    ------
    TypeError
        `out` is no array, or one of another type.
    ValueError
        Its shape is another; it is not C-contiguous or read-only; it shares memory with an input.
    """
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} is {shape_name(out)}; expected an ndarray of float64 of shape {shape}")
    if out.dtype != np.float64:
        raise TypeError(f"{name} holds {out.dtype} values; expected native float64")
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape}; expected {shape}")
    if not out.flags.c_contiguous or not out.flags.aligned:
        raise ValueError(f"{name} has strides {out.strides}; expected a C-contiguous, aligned array")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only; expected a writeable array")
    for other, array in inputs.items():
        if isinstance(array, np.ndarray) and _overlap(out, array):
            raise ValueError(f"{name} shares memory with {other}; expected memory of its own")


def _overlap(a: NDArray[Any], b: NDArray[Any]) -> bool:
    try:
        return np.shares_memory(a, b, max_work=1000)  # type: ignore[arg-type]  # NumPy's stub takes this for a switch
    except np.exceptions.TooHardError:
        return True


def check_random_state(seed: RandomState, name: str = "random_state") -> np.random.Generator:
    """Return a `numpy.random.Generator` for None, an integer, a Generator or a legacy RandomState."""
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, np.random.RandomState):
        return np.random.default_rng(seed.randint(0, 2**32, size=4, dtype=np.uint32))
    if isinstance(seed, np.random.SeedSequence):
        return np.random.default_rng(seed)
    if seed is not None:
        if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, numbers.Integral):
            raise TypeError(
                f"{name} is {seed!r}; expected None, a non-negative integer, or a numpy.random.Generator"
            )
        if seed < 0:
            raise ValueError(f"{name} is {seed}; expected a non-negative integer")
    return np.random.default_rng(seed)


def _real_array(value: ArrayLike, name: str) -> SampleArray:
    """An ndarray of native float32 or float64; anything else that is real and numeric is converted."""
    if value is None:
        raise TypeError(f"{name} is None; expected real numbers")
    if hasattr(value, "toarray") and not hasattr(value, "__array__"):
        raise TypeError(f"{name} is a sparse matrix; expected a dense array, for example {name}.toarray()")
    if np.ma.isMaskedArray(value) and np.ma.is_masked(value):
        raise ValueError(f"{name} is a masked array with masked entries; expected no missing values")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is no rectangular array of numbers: {error}") from None
    kind = array.dtype.kind
    if kind == "c":
        raise TypeError(f"{name} holds complex numbers ({array.dtype}); expected real numbers")
    if kind == "O":
        try:
            if any(isinstance(v, (str, bytes, complex, np.complexfloating)) for v in array.flat):
                raise TypeError
            array = array.astype(np.float64)
        except OverflowError:
            raise ValueError(f"{name} holds an integer beyond a double; expected smaller numbers") from None
        except (TypeError, ValueError):
            raise TypeError(f"{name} is {shape_name(value)} of objects; expected real numbers") from None
    elif kind not in "fiub":
        raise TypeError(f"{name} holds {array.dtype} values; expected real numbers")
    elif array.dtype not in (np.float32, np.float64) or not array.dtype.isnative:
        # longdouble values beyond a double become infinite and are refused as such
        single = array.dtype.kind == "f" and array.dtype.itemsize == 4
        with np.errstate(over="ignore"):
            array = array.astype(np.float32 if single else np.float64)
    # the kernels read numbers at their natural addresses
    return array if array.flags.aligned else array.copy()


def _refuse_non_finite(X: SampleArray, name: str) -> None:
    rows = max(1, _SCAN_BYTES // (X.itemsize * X.shape[1]))
    for start in range(0, X.shape[0], rows):
        finite = np.isfinite(X[start : start + rows])
        if not finite.all():
            i, j = (int(v) for v in np.argwhere(~finite)[0])
            where = f"index {start + i}" if X.shape[1] == 1 else f"row {start + i}, column {j}"
            raise ValueError(f"{name} holds {X[start + i, j]} at {where}; expected finite numbers")
