"""The one central value: what a pass over samples leaves behind, and all that the M-step needs."""

import math

import numpy as np

from gaussum.covariance import second_shape


class SufficientStatistics:
    """Weighted moments of samples about the origins of each component, under given responsibilities.

    Merging the statistics of two sets of samples is addition, once they share origins and structure; threads, chunks
    of a file and workers of a cluster all produce and add this value.

    Parameters
    ----------
    covariance_type : {"full", "tied", "diag", "spherical"}
    origins : ndarray, shape (n_components, n_features)
        What the moments are taken about: the means of the E-step that gave the responsibilities.
    buffer : ndarray, optional
        Zeros, if it is not given.
    parameters : gaussum.parameters.MixtureParameters, optional
        Those of the E-step: M-steps that are iterations themselves begin at them.

    Attributes
    ----------
    buffer : ndarray, shape (2 + K + K d + ...,)
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

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum.statistics import SufficientStatistics
    >>> a = SufficientStatistics("diag", np.zeros((2, 3)))
    >>> (a + a).second.shape
    (2, 3)
    """

    __slots__ = ("covariance_type", "origins", "buffer", "parameters")

    def __init__(self, covariance_type, origins, buffer=None, parameters=None):
        self.covariance_type = covariance_type
        self.origins = origins
        self.parameters = parameters
        if buffer is None:
            K, d = origins.shape
            buffer = np.zeros(2 + K + K * d + math.prod(second_shape(covariance_type, K, d)))
        self.buffer = buffer

    @property
    def nk(self):
        return self.buffer[2 : 2 + len(self.origins)]

    @property
    def first(self):
        K, d = self.origins.shape
        return self.buffer[2 + K : 2 + K + K * d].reshape(K, d)

    @property
    def second(self):
        K, d = self.origins.shape
        return self.buffer[2 + K + K * d :].reshape(second_shape(self.covariance_type, K, d))

    @property
    def log_likelihood(self):
        return float(self.buffer[0])

    @property
    def total_weight(self):
        return float(self.buffer[1])

    def __iadd__(self, other):
        if self.covariance_type != other.covariance_type or not np.array_equal(self.origins, other.origins):
            raise ValueError("statistics of another covariance type or about other origins cannot be added")
        self.buffer += other.buffer
        return self

    def __add__(self, other):
        total = SufficientStatistics(self.covariance_type, self.origins, parameters=self.parameters)
        total += self
        total += other
        return total
