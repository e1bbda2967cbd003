"""Where numbers run out: samples beyond the range of doubles, collinear features, components without weight."""

import numpy as np
import pytest

import kernel_access as ka
from gaussum import GaussianMixture, likelihood
from gaussum.covariance import COVARIANCE_TYPES
from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.quasi_newton import QuasiNewtonModel

# Samples without weight ------------------------------------------------------------------------------


@pytest.mark.parametrize("build", ka.BUILDS)
def test_weights_of_zero_win_over_nan(build):
    rng = np.random.default_rng(0)
    resp, log_density, weight = rng.dirichlet(np.ones(3), 70).T.copy(), rng.normal(size=70), rng.uniform(size=70)
    lost = [5, 40, 69]
    weight[lost] = 0
    expected, total = resp * weight, weight @ log_density
    resp[:, lost], log_density[lost] = np.nan, [np.nan, -np.inf, np.nan]
    assert ka.functions(build)["weigh"](resp, 70, 70, 3, log_density, weight) == pytest.approx(total, rel=1e-13)
    np.testing.assert_array_equal(resp, expected)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_samples_without_weight_may_be_as_large_as_numbers_go(covariance_type):
    rng = np.random.default_rng(0)
    mixing = 0.05 * np.array([[1, 0.9, 0.3], [0, 0.5, -0.4], [0, 0, 0.1]])
    X = np.concatenate([rng.normal(size=(300, 3)) @ mixing, rng.normal(size=(300, 3)) @ mixing + 3])
    huge = np.finfo(float).max * np.array([[1, 1, 1], [1, -1, 1], [-1, 1, 1]])
    params = {"covariance_type": covariance_type, "random_state": 0}
    weight = np.r_[np.ones(600), np.zeros(3)]
    with_huge = GaussianMixture(2, **params).fit(np.concatenate([X, huge]), sample_weight=weight)
    np.testing.assert_allclose(with_huge.means_, GaussianMixture(2, **params).fit(X).means_, rtol=1e-6)
