"""The k-means kernels of every build against slow twins in extended precision; k-means itself."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaussum import initialize
from gaussum.initial_pass import KMeansPass, MomentsPass
from gaussum.samples import Samples
from kernel_access import BUILDS, LONG, accumulate_clusters, nearest_centers, seed_masses

FEATURES = [1, 2, 3, 7, 16, 40]
SAMPLES = [1, 5, 31, 32, 33, 63, 64, 65, 200, 512]
COMPONENTS = [1, 2, 5, 17]
RTOL = 1e-13

builds = pytest.mark.parametrize("build", BUILDS)


def twin_distances(X, centers):
    """|x_i - c_k|^2, shape (n, K)."""
    return ((X[:, np.newaxis].astype(LONG) - centers) ** 2).sum(axis=2)


@functools.cache
def case(n, d, K):
    """Samples, centres, weights and the twin's distances."""
    rng = np.random.default_rng([n, d, K])
    X, centers = rng.normal(size=(n, d)), rng.normal(size=(K, d))
    return X, centers, rng.uniform(0.1, 2.0, size=n), twin_distances(X, centers)


# --- nearest centres ------------------------------------------------------------------------------


@builds
@pytest.mark.parametrize("d", FEATURES)
def test_nearest_centers_agrees_with_its_twin(build, d):
    for n in SAMPLES:
        for K in COMPONENTS:
            X, centers, _, expected = case(n, d, K)
            labels, distances = nearest_centers(build, X, centers)
            np.testing.assert_array_equal(labels, expected.argmin(axis=1), err_msg=f"{n} {K}")
            np.testing.assert_allclose(distances, expected.min(axis=1).astype(float), rtol=RTOL)


@builds
def test_of_equal_distances_the_first_wins(build):
    X = np.arange(70.0)[:, np.newaxis] % 5
    centers = np.array([[9.0], [1.0], [3.0], [1.0], [3.0]])
    labels, distances = nearest_centers(build, X, centers)
    np.testing.assert_array_equal(labels, np.array([1, 1, 1, 2, 2])[np.arange(70) % 5])
    np.testing.assert_array_equal(distances, np.array([1.0, 0, 1, 0, 1])[np.arange(70) % 5])


@builds
@pytest.mark.parametrize("d", [1, 3])
def test_an_offset_costs_no_digits(build, d):
    X, centers, _, _ = case(200, d, 5)
    X, centers = X + 1e8, centers + 1e8  # rounded, then exact: the twin sees the same numbers
    expected = twin_distances(X, centers)
    labels, distances = nearest_centers(build, X, centers)
    np.testing.assert_array_equal(labels, expected.argmin(axis=1))
    np.testing.assert_allclose(distances, expected.min(axis=1).astype(float), rtol=RTOL)


@builds
@pytest.mark.parametrize("n", [1, 32, 70])
def test_distances_that_overflow_and_underflow(build, n):
    X = np.zeros((n, 2))
    X[n // 2] = 1e200
    labels, distances = nearest_centers(build, X, np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert (np.delete(labels, n // 2) == 1).all() and (np.delete(distances, n // 2) == 0).all()
    assert labels[n // 2] == 0 and distances[n // 2] == np.inf
    labels, distances = nearest_centers(build, X, np.array([[np.inf, 0.0], [1e200, 1e200]]))
    assert labels[n // 2] == 1 and distances[n // 2] == 0
    assert (np.delete(labels, n // 2) == 0).all() and (np.delete(distances, n // 2) == np.inf).all()
    labels, distances = nearest_centers(build, X * 1e-380, np.full((3, 2), 1e-180))
    assert (labels == 0).all() and (distances == 0).all()


@builds
@pytest.mark.parametrize("d", FEATURES)
def test_a_sample_does_not_depend_on_its_block(build, d):
    X, centers, weight, _ = case(200, d, 5)
    labels, distances = nearest_centers(build, X, centers)
    mass = weight * distances * 1.5
    masses, _ = seed_masses(build, X, centers, weight, mass)
    for ld in (200, 208, 512):
        for found, expected in zip(nearest_centers(build, X, centers, ld=ld), (labels, distances), strict=True):
            np.testing.assert_array_equal(found, expected)
    for i in range(0, 200, 7):
        alone = slice(i, i + 1)
        label, distance = nearest_centers(build, X[alone], centers)
        assert label[0] == labels[i] and distance[0] == distances[i]
        found, _ = seed_masses(build, X[alone], centers, weight[alone], mass[alone])
        np.testing.assert_array_equal(found[:, 0], masses[:, i])


# --- masses of seeds ------------------------------------------------------------------------------


@builds
@pytest.mark.parametrize("d", FEATURES)
def test_seed_masses_agree_with_their_twin(build, d):
    for n in SAMPLES:
        for T in COMPONENTS:
            X, candidates, weight, distances = case(n, d, T)
            mass = np.random.default_rng(n).permutation((weight[:, np.newaxis] * distances)[:, 0].astype(float))
            mass[n // 2] = np.inf
            expected = np.minimum(mass, (weight[:, np.newaxis] * distances).T)
            masses, potentials = seed_masses(build, X, candidates, weight, mass, np.arange(T) * 1.0)
            np.testing.assert_allclose(masses, expected.astype(float), rtol=RTOL, err_msg=f"{n} {T}")
            expected = np.arange(T) + expected.sum(axis=1)
            np.testing.assert_allclose(potentials, expected.astype(float), rtol=RTOL)


@builds
def test_the_first_seed_and_infinite_masses(build):
    X, candidates, weight, distances = case(65, 3, 2)
    masses, potentials = seed_masses(build, X, candidates, weight, np.full(65, np.inf))
    np.testing.assert_allclose(masses, (weight * distances.T).astype(float), rtol=RTOL)
    masses, potentials = seed_masses(build, X * 1e200, candidates, weight, np.full(65, np.inf))
    assert (masses == np.inf).all() and (potentials == np.inf).all()


# --- clusters -------------------------------------------------------------------------------------


@builds
@pytest.mark.parametrize("d", FEATURES)
def test_clusters_agree_with_their_twin(build, d):
    for n in SAMPLES:
        for K in COMPONENTS:
            X, centers, weight, distances = case(n, d, K)
            labels = distances.argmin(axis=1)
            one = (labels[:, np.newaxis] == np.arange(K)) * weight[:, np.newaxis].astype(LONG)
            nk, sums = accumulate_clusters(build, X, labels, weight, (np.ones(K), centers))
            np.testing.assert_allclose(nk, (1 + one.sum(axis=0)).astype(float), rtol=RTOL)
            bound = RTOL * (np.abs(centers) + one.T @ np.abs(X)).astype(float)
            assert (np.abs(sums - (centers + one.T @ X)) <= bound).all(), (n, K)


@pytest.mark.skipif(not {"v3", "v4"} <= set(BUILDS), reason="needs two builds with fused multiply-add")
@pytest.mark.parametrize("d", FEATURES)
def test_the_same_bits_at_every_vector_width(d):
    for n in SAMPLES:
        X, centers, weight, _ = case(n, d, 5)
        labels, distances = nearest_centers("v3", X, centers)
        arguments = [
            (nearest_centers, (X, centers)),
            (seed_masses, (X, centers, weight, weight * distances)),
            (accumulate_clusters, (X, labels, weight, (np.zeros(5), np.zeros((5, d))))),
        ]
        for kernel, given_ in arguments:
            for a, b in zip(kernel("v3", *given_), kernel("v4", *given_), strict=True):
                np.testing.assert_array_equal(a, b)


# --- k-means --------------------------------------------------------------------------------------


def kmeans(X, K, weight=None, n_threads=1):
    return initialize._KMeans(X, np.zeros(X.shape[1]), np.ones(X.shape[1]), weight, K, n_threads)


@given(st.integers(1, 90), st.integers(1, 6), st.integers(1, 8), st.booleans(), st.integers(0, 2**32 - 1))
def test_the_inertia_falls(n, d, K, weighted, seed):
    rng = np.random.default_rng(seed)
    # few distinct values: ties, doubles and empty clusters
    X = rng.integers(0, 4, size=(n, d)) * 1.0
    K = min(K, n)
    weight = rng.uniform(0.1, 3, n) if weighted else None
    clusters = kmeans(X, K, weight)
    centers = clusters.seeds(rng)
    assert all((center == X).all(axis=1).any() for center in centers), "seeds are samples"
    before = np.inf
    for _ in range(8):
        inertia = clusters.assign(centers)
        assert inertia <= before * (1 + 1e-14) + 1e-13
        before, centers = inertia, clusters.means
        assert set(clusters.labels) == set(range(K)), "an empty cluster"
        w = np.ones(n) if weight is None else weight
        members = [clusters.labels == k for k in range(K)]
        expected = [np.average(X[own], axis=0, weights=w[own]) for own in members]
        np.testing.assert_allclose(centers, expected, atol=1e-13)


def test_lloyd_stops_early_but_not_too_early():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(5000, 2)) + 2.5 * rng.integers(0, 3, size=(5000, 2))
    clusters = kmeans(X, 9)
    centers = clusters.seeds(rng)
    clusters.lloyd(centers, 100)
    inertia = clusters.assign(clusters.means)
    for _ in range(300):
        clusters.assign(clusters.means)
    assert clusters.assign(clusters.means) <= inertia < 1.01 * clusters.assign(clusters.means)


def test_an_empty_cluster_takes_the_farthest_sample():
    X = np.array([[0.0], [1.0], [2.0], [50.0], [60.0]])
    clusters = kmeans(X, 4)
    inertia = clusters.assign(np.array([[1.0], [1e9], [52.0], [-1e200]]))
    assert inertia == 1 + 0 + 1 + 4 + 64
    np.testing.assert_array_equal(clusters.labels, [3, 0, 0, 2, 1])
    np.testing.assert_array_equal(clusters.means, [[1.5], [60], [50], [0]])


def test_identical_samples_share_the_clusters():
    clusters = kmeans(np.ones((5, 2)), 4)
    clusters.lloyd(clusters.seeds(np.random.default_rng(0)), 10)
    assert sorted(np.bincount(clusters.labels)) == [1, 1, 1, 2]
    np.testing.assert_array_equal(clusters.means, np.ones((4, 2)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_threads", [2, 3, 7])
def test_the_same_bits_for_any_number_of_threads(n_threads, weighted, always_threads):
    X = np.random.default_rng(4).normal(size=(9000, 3))
    weight = np.random.default_rng(5).uniform(size=9000) if weighted else None

    def run(threads):
        clusters = kmeans(X, 6, weight, threads)
        assert clusters._pass.n_parts > 3
        clusters.lloyd(clusters.seeds(np.random.default_rng(6)), 50)
        return clusters.labels, clusters.means, *initialize.variances(X + 5, weight, n_threads=threads)

    for a, b in zip(run(1), run(n_threads), strict=True):
        np.testing.assert_array_equal(a, b)


# --- what the passes refuse -----------------------------------------------------------------------


def test_passes_refuse_what_does_not_fit():
    x, ones, labels = np.ones((2, 5)), np.ones(5), np.zeros(5, dtype=np.intp)
    steps = KMeansPass(x, ones, 1)
    for bad in [(x, np.ones(6), 1), (x, ones[:0], 1), (x, ones, 0), (x[:, ::2], np.ones(3), 1), (x[:0], ones, 1)]:
        with pytest.raises(ValueError):
            KMeansPass(*bad)
    for part, centers, n_labels, size in [(1, 3, 5, 10), (-1, 3, 5, 10), (0, 3, 4, 10), (0, 3, 5, 9), (0, 0, 5, 1)]:
        with pytest.raises(ValueError):
            steps.assign(part, np.ones((centers, 2)), labels[:n_labels], ones.copy(), np.zeros(size))
    with pytest.raises(ValueError):
        steps.assign(0, np.ones((3, 1)), labels, ones.copy(), np.zeros(10))
    for size in (0, 10):
        with pytest.raises(ValueError):
            steps.clusters(0, labels, np.zeros(size))
    for n, rows, row, sums in [(4, 3, 5, 3), (5, 2, 5, 3), (5, 3, 6, 3), (5, 3, 5, 2)]:
        with pytest.raises(ValueError):
            steps.seed_masses(0, np.ones((3, 2)), np.ones(n), np.ones((rows, row)), np.zeros(sums))
    moments = MomentsPass(Samples(np.ones((5, 2))), None, 1)
    scratch = np.empty(moments.scratch_size)
    for part, origin, out, size in [(1, 2, 5, 0), (0, 1, 5, 0), (0, 2, 4, 0), (0, 2, 5, 1)]:
        with pytest.raises(ValueError):
            moments.moments(part, np.ones(origin), np.zeros(out), scratch[size:])
    for bad in [(np.ones(4), 1), (None, 0)]:
        with pytest.raises(ValueError):
            MomentsPass(Samples(np.ones((5, 2))), *bad)
