"""The one central value: what a pass over samples leaves behind, and all that the M-step needs."""

import math
from typing import Self

import numpy as np

from gaussum.base import shape_name
from gaussum.covariance import COVARIANCE_TYPES, second_shape
from gaussum.parameters import MixtureParameters
from gaussum.typing import ArrayLike, FloatArray
from gaussum.validation import check_choice, check_samples


class SufficientStatistics:
    """Weighted moments of samples about the origins of each component, under given responsibilities.

    Merging the statistics of two sets of samples is addition, once they share origins and structure; threads, chunks
    of a file and workers of a cluster all produce and add this value. It pickles, and `buffer` is all of it that
    changes: a worker may send that alone, and the receiver makes ``SufficientStatistics(covariance_type, means,
    buffer)`` of it, or adds it to the buffer of its own.

    Parameters
    ----------
    covariance_type : {"full", "tied", "diag", "spherical"}
    origins : array_like, shape (n_components, n_features)
        Copied. What the moments are taken about: the means of the E-step that gave the responsibilities.
    buffer : ndarray of float64, shape (2 + K + K d + ...,), C-contiguous, optional
        Used as it is, not copied. Zeros, if it is not given.
    parameters : gaussum.parameters.MixtureParameters, optional
        Those of the E-step: M-steps that are iterations themselves begin at them.

    Attributes
    ----------
    buffer : ndarray of float64, shape (2 + K + K d + ...,)
        All of the numbers below, one after the other; they are views of it.
    log_likelihood : float
        sum_i w_i log p_i
    total_weight : float
        sum_i w_i
    nk : ndarray, shape (n_components,)
        sum_i w_i r_ik
    first : ndarray, shape (n_components, n_features)
        sum_i w_i r_ik (x_i - o_k)
    second : ndarray
        sum_i w_i r_ik (x_i - o_k)(x_i - o_k)^T in the upper triangles, shape (K, d, d), for "full"; its sum over the
        components, (d, d), for "tied"; its diagonals, (K, d), for "diag"; its traces, (K,), for "spherical".

    Raises
    ------
    ValueError, TypeError
        Origins or a buffer that do not fit; what is added is about other origins, or of another covariance type.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum import SufficientStatistics
    >>> a = SufficientStatistics("diag", np.zeros((2, 3)))
    >>> (a + a).second.shape
    (2, 3)
    >>> sum([a, a, a])
    SufficientStatistics('diag', n_components=2, n_features=3, total_weight=0)
    """

    __slots__ = ("covariance_type", "origins", "buffer", "parameters")

    def __init__(
        self, covariance_type: str, origins: ArrayLike, buffer: FloatArray | None = None,
        parameters: MixtureParameters | None = None,
    ) -> None:
        if parameters is None:
            # an E-step's own are known to fit
            check_choice(covariance_type, "covariance_type", COVARIANCE_TYPES)
            origins = np.array(check_samples(origins, name="origins", finite=False), dtype=np.float64, order="C")
        self.covariance_type = covariance_type
        self.origins: FloatArray = np.asarray(origins)
        self.parameters = parameters
        if buffer is None:
            buffer = np.zeros(self._size())
        elif parameters is None:
            self._check_buffer(buffer)
        self.buffer = buffer

    def _size(self) -> int:
        K, d = self.origins.shape
        size: int = 2 + K + K * d + math.prod(second_shape(self.covariance_type, K, d))
        return size

    def _check_buffer(self, buffer: object) -> None:
        if not isinstance(buffer, np.ndarray) or buffer.dtype != np.float64:
            kind = f" of {buffer.dtype}" if isinstance(buffer, np.ndarray) else ""
            raise TypeError(f"buffer is {shape_name(buffer)}{kind}; expected an ndarray of float64")
        if buffer.shape != (self._size(),) or not buffer.flags.c_contiguous:
            raise ValueError(
                f"buffer has shape {buffer.shape} and strides {buffer.strides}; expected ({self._size()},), contiguous,"
                f" for {self.covariance_type!r} and origins of shape {self.origins.shape}"
            )

    @property
    def nk(self) -> FloatArray:
        return self.buffer[2 : 2 + len(self.origins)]

    @property
    def first(self) -> FloatArray:
        K, d = self.origins.shape
        return self.buffer[2 + K : 2 + K + K * d].reshape(K, d)

    @property
    def second(self) -> FloatArray:
        K, d = self.origins.shape
        return self.buffer[2 + K + K * d :].reshape(second_shape(self.covariance_type, K, d))

    @property
    def log_likelihood(self) -> float:
        return float(self.buffer[0])

    @property
    def total_weight(self) -> float:
        return float(self.buffer[1])

    def __iadd__(self, other: "SufficientStatistics") -> Self:
        if not isinstance(other, SufficientStatistics):
            return NotImplemented
        if self.covariance_type != other.covariance_type or not np.array_equal(self.origins, other.origins):
            raise ValueError("statistics of another covariance type or about other origins cannot be added")
        self.buffer += other.buffer
        return self

    def __add__(self, other: "SufficientStatistics") -> "SufficientStatistics":
        if not isinstance(other, SufficientStatistics):
            return NotImplemented
        total = SufficientStatistics(self.covariance_type, self.origins, self.buffer.copy(), self.parameters)
        total += other
        return total

    def __radd__(self, other: int) -> "SufficientStatistics":
        # the start of Python's sum
        if not (isinstance(other, int) and other == 0):
            return NotImplemented
        return SufficientStatistics(self.covariance_type, self.origins, self.buffer.copy(), self.parameters)

    def __repr__(self) -> str:
        K, d = self.origins.shape
        return (f"{type(self).__name__}({self.covariance_type!r}, n_components={K}, n_features={d}, "
                f"total_weight={self.total_weight:g})")
