"""The M-step of some components is theirs in the M-step of all."""

import numpy as np
import pytest

from gaussum.likelihood import MixtureLikelihood
from gaussum.mixture_pass import MixturePass
from gaussum.samples import Samples

N, D, K = 1500, 3, 4


def problem(structure):
    """A pass, parameters, and their statistics as a likelihood's."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)) + rng.integers(3, size=(N, 1))
    likelihood = MixtureLikelihood(X, structure, K, n_threads=1)
    first = likelihood.partition_statistics(np.zeros((K, D)), rng.integers(K, size=N))
    compute = MixturePass(Samples(X), structure, K, None, 1, np.zeros(D))
    return compute, likelihood.maximize(first), first


@pytest.mark.parametrize("structure", ["full", "diag", "spherical"])
def test_components_one_by_one(structure):
    compute, parameters, statistics = problem(structure)
    buffer, covariances = np.full_like(parameters.buffer, np.nan), np.full_like(parameters.covariances, np.nan)
    for first, last in [(2, 4), (0, 1), (1, 2)]:
        assert compute.maximize(
            statistics.buffer, statistics.origins, buffer, covariances.reshape(-1), np.zeros(D), first, last
        )
    np.testing.assert_array_equal(buffer, parameters.buffer)
    np.testing.assert_array_equal(covariances, parameters.covariances)


@pytest.mark.parametrize("structure, first, last", [("tied", 0, 1), ("diag", 2, 2), ("diag", -1, 2), ("full", 0, 5)])
def test_components_refused(structure, first, last):
    compute, parameters, statistics = problem(structure)
    with pytest.raises(ValueError, match="components"):
        compute.maximize(
            statistics.buffer, statistics.origins, parameters.buffer, parameters.covariances.reshape(-1), np.zeros(D),
            first, last,
        )
