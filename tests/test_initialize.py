"""The starts of EM."""

import numpy as np
import pytest

from gaussum import GaussianMixture
from gaussum.covariance import COVARIANCE_TYPES
from gaussum.initialize import INIT_PARAMS, initial_parameters, variances
from gaussum.likelihood import MixtureLikelihood


def blobs(n=600, seed=0):
    rng = np.random.default_rng(seed)
    centers = np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 2000.0]])
    return centers[rng.integers(0, 3, n)] + rng.normal(size=(n, 2)) * [1, 100]


def begin(X, method, K=3, covariance_type="full", weight=None, seed=0):
    scale = np.sqrt(variances(X, weight)[1])
    rng = np.random.default_rng(seed)
    return initial_parameters(X, covariance_type, K, method, rng, scale=scale, sample_weight=weight)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("method", INIT_PARAMS)
def test_every_start_is_a_mixture(method, covariance_type):
    start = begin(blobs(), method, covariance_type=covariance_type)
    assert start.weights.sum() == pytest.approx(1, rel=1e-14)
    assert np.isfinite(start.means).all() and np.isfinite(start.buffer).all()
    again = begin(blobs(), method, covariance_type=covariance_type)
    np.testing.assert_array_equal(start.means, again.means)
    other = begin(blobs(), method, covariance_type=covariance_type, seed=1)
    assert method == "hierarchical" or not np.array_equal(start.means, other.means)


@pytest.mark.parametrize("seed", range(5))
def test_kmeans_finds_separate_groups_in_any_units(seed):
    """Distances are taken in standard deviations: the second feature's unit does not drown the first."""
    start = begin(blobs(), "kmeans", seed=seed)
    order = np.lexsort(start.means.round(-1).T)
    np.testing.assert_allclose(start.means[order], [[0, 0], [20, 0], [0, 2000]], atol=40)
    np.testing.assert_allclose(start.weights, 1 / 3, atol=0.06)


@pytest.mark.parametrize("weighted", [False, True])
def test_partition_moments(weighted):
    """One component: mean and covariance of the samples, whichever the method."""
    X = blobs()
    weight = np.random.default_rng(1).uniform(size=len(X)) if weighted else None
    for method in INIT_PARAMS:
        start = begin(X, method, K=1, weight=weight)
        np.testing.assert_allclose(start.means[0], np.average(X, axis=0, weights=weight), rtol=1e-10)
        np.testing.assert_allclose(start.covariances[0], np.cov(X.T, aweights=weight, ddof=0), rtol=1e-9)


@pytest.mark.parametrize("method", INIT_PARAMS)
@pytest.mark.parametrize("n", [200, 40_000])
def test_samples_without_weight_are_no_seeds(method, n):
    X = blobs(n)
    weight = np.ones(n)
    weight[::2] = 0
    X[::2] += 1e6
    start = begin(X, method, weight=weight)
    assert (np.abs(start.means) < 1e4).all()


def test_a_subsample_is_enough():
    X = np.random.default_rng(0).normal(size=(100_000, 1)) + 5 * (np.arange(100_000) % 2)[:, None]
    start = begin(X, "kmeans", K=2)
    np.testing.assert_allclose(np.sort(start.means.ravel()), [0, 5], atol=0.1)
    weight = np.where(np.arange(100_000) % 2, 9.0, 1.0)
    start = begin(X, "kmeans", K=2, weight=weight)
    np.testing.assert_allclose(np.sort(start.weights), [0.1, 0.9], atol=0.02)


@pytest.mark.parametrize("offset", [0.0, 1e8, -1e12])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_variances(offset, dtype):
    X = (blobs(70_000) + offset).astype(dtype)
    weight = np.random.default_rng(2).uniform(size=len(X))
    exact = X.astype(np.longdouble)
    mean, variance = variances(X)
    np.testing.assert_allclose(mean, exact.mean(axis=0).astype(float), rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(variance, exact.var(axis=0).astype(float), rtol=1e-9, atol=1e-9)
    mean, variance = variances(X, weight)
    expected = np.average(exact, axis=0, weights=weight)
    np.testing.assert_allclose(mean, expected.astype(float), rtol=1e-12, atol=1e-10)
    expected = np.average((exact - expected) ** 2, axis=0, weights=weight)
    np.testing.assert_allclose(variance, expected.astype(float), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_variances_of_constant_and_absent_samples(weighted):
    X = np.full((3000, 3), [0.1, -1e300, 1e-310])
    weight = np.random.default_rng(3).uniform(0.5, 1, size=3000) if weighted else None
    mean, variance = variances(X, weight)
    np.testing.assert_array_equal(mean, X[0])
    np.testing.assert_array_equal(variance, 0)
    X[1::2] = [1.7e308, 1.7e308, -1.7e308]
    assert not np.isfinite(variances(X, weight)[1][1:]).any()
    absent = np.where(np.arange(3000) % 2, 0.0, 1.0 if weight is None else weight)
    mean, variance = variances(X, absent)
    np.testing.assert_array_equal(mean, X[0])
    np.testing.assert_array_equal(variance, 0)


def test_variances_in_any_layout():
    X = np.random.default_rng(4).normal(size=(3000, 4)).astype(np.float32)
    expected = variances(X.astype(np.float64))
    for same in (X, np.asfortranarray(X), np.repeat(X, 3, axis=0)[::3], X[::-1].copy()[::-1]):
        np.testing.assert_array_equal(variances(same), expected)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("d", [2, 40])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("in_order", [False, True])
def test_statistics_of_labels(covariance_type, d, weighted, in_order):
    """What labels give, in any order, responsibilities of 0 and 1 give too."""
    rng = np.random.default_rng(d)
    n, K = 3000, 6
    X, labels, origins = rng.normal(size=(n, d)), rng.integers(0, K, n), rng.normal(size=(K, d))
    if in_order:
        labels.sort()
    weight = rng.uniform(size=n) if weighted else None
    likelihood = MixtureLikelihood(X, covariance_type, K, sample_weight=weight)
    resp = (labels == np.arange(K)[:, np.newaxis]) * 1.0
    found = likelihood.partition_statistics(origins, labels)
    expected = likelihood.partition_statistics(origins, lambda start, stop: resp[:, start:stop])
    np.testing.assert_allclose(found.buffer, expected.buffer, rtol=1e-12, atol=1e-10)
    for wrong in (-1, K):
        labels[n // 2] = wrong
        with pytest.raises(ValueError, match="labels"):
            likelihood.partition_statistics(origins, labels)


@pytest.mark.parametrize("method", INIT_PARAMS)
def test_fits_from_every_start(method):
    X = blobs()
    mixture = GaussianMixture(3, init_params=method, random_state=0, n_init=3).fit(X)
    best = GaussianMixture(3, random_state=0).fit(X)
    assert mixture.converged_
    assert mixture.lower_bound_ == pytest.approx(best.lower_bound_, abs=1e-6)


def test_given_parts():
    X = blobs()
    means = [[0, 0], [20, 0], [0, 2000]]
    mixture = GaussianMixture(3, means_init=means, random_state=0).fit(X)
    np.testing.assert_allclose(mixture.means_, means, atol=30)  # in the order given
    mixture = GaussianMixture(3, weights_init=[0.2, 0.3, 0.5], random_state=0).fit(X)
    assert mixture.converged_
    mixture = GaussianMixture(3, precisions_init=[np.diag([1, 1e-4])] * 3, random_state=0).fit(X)
    assert mixture.converged_


def test_given_arrays_are_left_alone():
    X = blobs()
    means, weights = np.array([[0.0, 0], [20, 0], [0, 2000]]), np.full(3, 1 / 3)
    precisions = np.array([np.diag([1, 1e-4])] * 3)
    copies = means.copy(), weights.copy(), precisions.copy()
    GaussianMixture(3, means_init=means, weights_init=weights, precisions_init=precisions).fit(X)
    for a, b in zip((means, weights, precisions), copies):
        np.testing.assert_array_equal(a, b)
    for a in copies:
        a.setflags(write=False)
    GaussianMixture(3, means_init=copies[0], weights_init=copies[1], precisions_init=copies[2]).fit(X)
