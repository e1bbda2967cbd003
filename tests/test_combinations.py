"""What the parts of a kernel density do together: matrices, kernels, adaptive widths, bounds."""

import itertools

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from gaussum import KernelDensity, bandwidth

H = np.array([[1.0, 0.7, -0.2], [0.7, 2.0, 0.4], [-0.2, 0.4, 0.5]])


def samples(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ np.linalg.cholesky(H[:d, :d]).T * 2 + 5


def by_definition(X, T, C):
    return np.log(np.mean([multivariate_normal.pdf(T, s, C) for s in X], axis=0))


# A matrix as bandwidth -------------------------------------------------------------------------------


def test_gradients_under_a_matrix():
    X = samples(200, 3)
    kde = KernelDensity(H, rtol=0).fit(X)
    log_density, gradient = kde.score_and_gradient(X[:20])
    np.testing.assert_allclose(log_density, by_definition(X, X[:20], H), rtol=1e-12)
    for j in range(3):
        step = np.zeros(3)
        step[j] = 1e-5
        slope = (kde.score_samples(X[:20] + step) - kde.score_samples(X[:20] - step)) / 2e-5
        np.testing.assert_allclose(gradient[:, j], slope, atol=1e-8)
    far = np.array([[1e5, -1e5, 3e5]])
    np.testing.assert_allclose(kde.gradient(far), np.linalg.solve(H, (X[:1] - far).T).T, rtol=1e-3)
    assert np.isfinite(kde.gradient([[1e300, 1e300, -1e300]])).all()


def test_modes_under_a_matrix():
    rng = np.random.default_rng(1)
    C = np.array([[1.0, 0.9], [0.9, 1.0]])
    L = np.linalg.cholesky(C)
    centres = np.array([[0.0, 0.0], [3.0, -3.0], [8.0, 8.0]])
    truth = np.repeat([0, 1, 2], [300, 200, 100])
    X = centres[truth] + 0.7 * rng.normal(size=(600, 2)) @ L.T
    kde = KernelDensity(0.5 * C).fit(X)
    found = kde.modes()
    assert len(found.modes) == 3 and found.converged.all()
    assert np.abs(kde.gradient(found.modes)).max() < 1e-5
    np.testing.assert_allclose(kde.score_samples(found.modes), found.log_density, atol=1e-5)
    for k in range(3):
        label = np.bincount(found.labels[truth == k]).argmax()
        assert np.mean(found.labels[truth == k] == label) > 0.95
        np.testing.assert_allclose(found.modes[label], centres[k], atol=0.4)
    np.testing.assert_array_equal(kde.predict_basin(X[:50], found), found.labels[:50])


@pytest.mark.parametrize("correlation", [0.3, -0.6, 0.95, -0.999])
def test_boxes_under_a_matrix(correlation):
    C = np.array([[1.0, 2 * correlation], [2 * correlation, 4.0]])
    X = samples(6, 2, seed=3)
    kde = KernelDensity(C).fit(X, sample_weight=np.arange(1.0, 7.0))
    w = np.arange(1.0, 7.0) / 21
    low = np.array([[4.0, 3.0], [-np.inf, -np.inf], [5.0, -np.inf], [0.0, 12.0], [6.0, 6.0]])
    high = np.array([[6.0, 5.0], [5.0, 5.0], [np.inf, 4.0], [3.0, np.inf], [6.0, 9.0]])
    exact = [
        sum(wi * multivariate_normal(s, C, allow_singular=False).cdf(b, lower_limit=a) for wi, s in zip(w, X))
        for a, b in zip(low[:4], high[:4])
    ]
    np.testing.assert_allclose(kde.integrate_box(low, high), [*exact, 0.0], rtol=1e-5, atol=1e-8)
    assert kde.integrate_box(-np.inf, np.inf) == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(kde.cdf(X[:3]), [kde.integrate_box([-np.inf] * 2, x) for x in X[:3]], rtol=1e-11)


def test_boxes_under_a_matrix_to_many_digits():
    """The orthant probability 1/4 + arcsin(r) / (2 pi), the same far out in a tail, and far from all samples."""
    for r in (0.1, 0.5, 0.9, 0.999, -0.9):
        kde = KernelDensity(np.array([[1.0, 3 * r], [3 * r, 9.0]])).fit([[0.0, 0.0]])
        exact = 0.25 + np.arcsin(r) / (2 * np.pi)
        assert kde.integrate_box([0.0, 0.0], [np.inf, np.inf]) == pytest.approx(exact, rel=1e-12)
        parts = [kde.integrate_box([a, 20.0], [a + 1, 30.0]) for a in np.arange(-40.0, 40.0)]
        assert sum(parts) == pytest.approx(KernelDensity(3.0).fit([0.0]).integrate_box(20.0, 30.0), rel=1e-11)
        log = kde.integrate_box([50.0, -np.inf], [np.inf, np.inf], log=True)
        assert log == pytest.approx(KernelDensity(1.0).fit([0.0]).log_sf([50.0])[0], rel=1e-12)


def test_marginals_and_conditionals_under_a_matrix():
    X = samples(40, 3)
    kde = KernelDensity(H, rtol=0).fit(X)
    part = X[:, [2, 0]]
    np.testing.assert_allclose(
        kde.marginal([2, 0]).score_samples(part), by_definition(part, part, H[np.ix_([2, 0], [2, 0])]), rtol=1e-12)
    given = kde.conditional({1: 4.0})
    T = X.copy()
    T[:, 1] = 4.0
    joint, alone = kde.score_samples(T), kde.marginal(1).score_samples([4.0])
    np.testing.assert_allclose(given.score_samples(X[:, [0, 2]]), joint - alone, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(kde.mean_, X.mean(axis=0))
    np.testing.assert_allclose(kde.covariance_, np.cov(X.T, bias=True) + H)
    assert kde.integrate_box(-np.inf, np.inf) == pytest.approx(1.0, rel=1e-12)


def test_the_default_follows_correlations():
    X = np.random.default_rng(5).normal(size=(400, 2)) @ [[1.0, 0.98], [0.0, 0.2]]
    kde = KernelDensity().fit(X)
    assert kde.bandwidth_.shape == (2, 2)
    np.testing.assert_array_equal(kde.bandwidth_, bandwidth.auto(X))
    np.testing.assert_allclose(kde.score_samples(X), by_definition(X, X, kde.bandwidth_), atol=2e-6)
    total = kde.integrate_box(-np.inf, np.inf)
    assert total == pytest.approx(1.0, rel=1e-12) and kde.highest_density_region(0.5).contains(X).mean() > 0.4


# Adaptive widths and other kernels with a matrix ----------------------------------------------------


@pytest.mark.parametrize("adaptive", ["abramson", "breiman", "balloon"])
def test_adaptive_under_a_matrix(adaptive):
    """Whitening first, then the factors: as in whitened coordinates."""
    X = samples(300, 2)
    C = H[:2, :2]
    L = np.linalg.cholesky(C)
    kde = KernelDensity(C, adaptive=adaptive).fit(X)
    plain = KernelDensity(1.0, adaptive=adaptive).fit(np.linalg.solve(L, X.T).T)
    np.testing.assert_allclose(
        kde.score_samples(X), plain.score_samples(np.linalg.solve(L, X.T).T) - np.log(np.diag(L)).sum(), atol=3e-6)
    if adaptive != "balloon":
        np.testing.assert_allclose(kde.local_factors_, plain.local_factors_, rtol=1e-6)
        drawn = kde.sample(20_000, random_state=0)
        np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=0.1)


@pytest.mark.parametrize("kernel", ["tophat", "epanechnikov", "exponential", "linear", "cosine"])
def test_other_kernels_under_a_matrix(kernel):
    X = samples(100, 2)
    C = H[:2, :2]
    L = np.linalg.cholesky(C)
    kde = KernelDensity(C, kernel=kernel).fit(X)
    plain = KernelDensity(1.0, kernel=kernel).fit(np.linalg.solve(L, X.T).T)
    np.testing.assert_allclose(
        kde.score_samples(X), plain.score_samples(np.linalg.solve(L, X.T).T) - np.log(np.diag(L)).sum(), atol=3e-6)
    if kernel != "exponential":
        away = (kde.sample(500, random_state=1)[:, np.newaxis] - X).transpose(0, 2, 1)
        assert np.sqrt((np.linalg.solve(L, away) ** 2).sum(axis=1)).min(axis=1).max() <= 1.0


# What is refused ------------------------------------------------------------------------------------


PARTS = {
    "kernel": {"kernel": "tophat"}, "adaptive": {"adaptive": "abramson"}, "bounds": {"bounds": [(0, None), None]},
    "algorithm": {"algorithm": "tree"},
}


SERVED = [{"kernel", "algorithm"}, {"bounds", "algorithm"}, {"kernel", "bounds"}, {"adaptive", "bounds"}]


@pytest.mark.parametrize("one, other", list(itertools.combinations(PARTS, 2)))
def test_pairs_are_served_or_refused(one, other):
    X = np.abs(samples(50, 2))
    kde = KernelDensity(0.5, **PARTS[one], **PARTS[other])
    if {one, other} in SERVED:
        assert np.isfinite(kde.fit(X).score_samples(X)).all()
    else:
        with pytest.raises(ValueError, match=f"{one}|{other}"):
            kde.fit(X)


def test_matrices_and_bounds():
    X = np.abs(samples(50, 2))
    bounds = [(0, None), None]
    np.testing.assert_array_equal(KernelDensity(H[:2, :2], bounds=bounds).fit(X).bandwidth_, H[:2, :2])
    kde = KernelDensity("scott_matrix", bounds=bounds).fit(X)
    np.testing.assert_array_equal(kde.bandwidth_, bandwidth.scott_matrix(X))
    kde = KernelDensity(bounds=bounds).fit(X)
    np.testing.assert_array_equal(kde.bandwidth_, bandwidth.auto_matrix(X, diagonal=True))
    diagonal = KernelDensity(np.diag([0.25, 0.09]), bounds=bounds).fit(X)
    np.testing.assert_array_equal(
        diagonal.score_samples(X), KernelDensity([0.5, 0.3], bounds=bounds).fit(X).score_samples(X))


@pytest.mark.parametrize(
    "params, gradient, climbed",
    [
        ({"kernel": "tophat"}, "kernel is 'tophat', which has no gradient", "kernel='tophat' is not climbed"),
        ({"adaptive": "balloon"}, "a balloon estimate, which has no gradient", "adaptive='balloon' is not climbed"),
    ],
)
def test_no_slopes(params, gradient, climbed):
    kde = KernelDensity(1.0, **params).fit(samples(20, 2))
    with pytest.raises(ValueError, match=gradient):
        kde.gradient([[0.0, 0.0]])
    with pytest.raises(ValueError, match=climbed):
        kde.modes()
