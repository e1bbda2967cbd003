"""The covariance of data, by one pass."""

import numpy as np

from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.typing import FloatArray, SampleArray


def data_covariance(
    X: SampleArray, sample_weight: FloatArray | None, mean: FloatArray, variance: FloatArray,
    n_threads: int | None = None,
) -> FloatArray:
    """The covariance matrix of samples whose means and variances are known, shape (d, d).

    Its diagonal is the given one, which may be more than nothing for constant features too.
    """
    single = MixtureParameters.from_precisions_chol("tied", np.ones(1), mean[np.newaxis], np.diag(variance**-0.5))
    data = MixtureLikelihood(X, "tied", 1, sample_weight=sample_weight, n_threads=n_threads)
    statistics = data.statistics(single)
    upper = np.triu(statistics.second, 1) / statistics.total_weight
    return upper + upper.T + np.diag(variance)
