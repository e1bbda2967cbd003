"""Fits follow the data's scale and place: log densities of s x + c are those of x less d log s."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussum import GaussianMixture
from gaussum.covariance import COVARIANCE_TYPES

# spurious optima are followed as faithfully as others
pytestmark = pytest.mark.filterwarnings("ignore::gaussum.CollapsedComponentWarning")


def clusters(n, d, K, seed):
    """Samples with ten bits behind the point, so that shifts by whole numbers up to 1e8 are exact."""
    rng = np.random.default_rng(seed)
    centers = 4.0 * rng.normal(size=(K, d))
    mixing = np.eye(d) + 0.3 * rng.normal(size=(K, d, d))
    labels = rng.integers(K, size=n)
    X = centers[labels] + np.einsum("nij,nj->ni", mixing[labels], rng.normal(size=(n, d)))
    return np.round(X * 1024) / 1024


def differences(X, moved, scale, weight=None, **params):
    """How far the log densities of a fit to moved data are from where they should be."""
    fits = [GaussianMixture(random_state=0, **params).fit(data, sample_weight=weight) for data in (X, moved)]
    return np.abs(fits[1].score_samples(moved) - fits[0].score_samples(X) + np.sum(np.log(scale))).max()


@settings(max_examples=40, derandomize=True)
@given(
    st.sampled_from(COVARIANCE_TYPES),
    st.integers(1, 4),
    st.integers(1, 3),
    st.floats(-6, 6),
    st.sampled_from([0.0, 7.0, 1e4, -1e6, 1e8, -1e8]),
    st.booleans(),
    st.integers(0, 50),
)
def test_scale_and_offset(covariance_type, d, K, log_scale, offset, weighted, seed):
    X = clusters(500, d, K, seed)
    weight = np.random.default_rng(seed).uniform(0.2, 2, 500) if weighted else None
    s = 10.0**log_scale
    moved = s * (X + offset)
    assert differences(X, moved, [s] * d, weight, n_components=K, covariance_type=covariance_type) < 1e-6


@settings(max_examples=15, derandomize=True)
@given(st.sampled_from(["full", "diag"]), st.lists(st.floats(-6, 6), min_size=2, max_size=4), st.integers(0, 50))
def test_scales_of_single_features(covariance_type, log_scales, seed):
    s = 10.0 ** np.array(log_scales)
    X = clusters(500, len(s), 3, seed)
    assert differences(X, X * s, s, n_components=3, covariance_type=covariance_type) < 1e-6


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("scale, offset", [(1e-6, 0), (1e6, 1e4), (1, 1e8)])
def test_with_a_constant_feature(covariance_type, scale, offset):
    X = np.c_[clusters(500, 2, 3, 3), np.full(500, 5.0)]
    moved = scale * (X + offset)
    assert differences(X, moved, [scale] * 3, n_components=3, covariance_type=covariance_type) < 1e-6


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("scale, offset", [(1e-6, 0), (1e6, 1e6), (1, 1e8)])
def test_under_a_prior(covariance_type, scale, offset):
    X = clusters(500, 2, 3, 3)
    moved = scale * (X + offset)
    params = {"n_components": 3, "covariance_type": covariance_type, "prior": "default"}
    assert differences(X, moved, [scale] * 2, **params) < 1e-5


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("scale, offset", [(2.0**-20, 0), (2.0**20, 0), (1, 512)])
def test_in_float32(covariance_type, scale, offset):
    X = clusters(500, 2, 3, 3).astype(np.float32)
    moved = np.float32(scale) * (X + np.float32(offset))
    assert moved.dtype == np.float32
    assert differences(X, moved, [scale] * 2, n_components=3, covariance_type=covariance_type) < 1e-4


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("power", [-30, 20])
def test_the_same_start_wins(seed, power):
    """Among restarts, some of which end in the same optimum, scaling changes no choice: labels stay."""
    X = clusters(400, 2, 3, seed)
    params = {"n_components": 3, "n_init": 6, "random_state": seed, "init_params": "random_from_data"}
    fits = [GaussianMixture(**params).fit(data) for data in (X, np.ldexp(X, power))]
    np.testing.assert_array_equal(fits[0].predict(X), fits[1].predict(np.ldexp(X, power)))
