"""Distributions, slices, gradients and modes of bounded densities of other kernels, widths and matrices."""

import numpy as np
import pytest

from gaussum import KernelDensity

INF = np.inf
RNG = np.random.default_rng(3)
X = np.concatenate([RNG.exponential(size=14), RNG.normal(3.5, 0.2, 6)]).clip(0.01, 4.8)
PLANE = RNG.uniform(0.05, 2.95, size=(25, 2))
C = np.array([[0.3, 0.2], [0.2, 0.4]])
ONE = [
    *({"kernel": kernel, "bounds": (0, 5), "boundary": boundary} for boundary in ("reflect", "periodic")
      for kernel in ("tophat", "epanechnikov", "exponential", "linear", "cosine")),
    {"kernel": "exponential", "bounds": (0, None)}, {"kernel": "cosine", "bounds": (None, 5)},
    *({"adaptive": adaptive, "bounds": (0, high), "boundary": boundary}
      for adaptive in ("abramson", "breiman")
      for boundary, high in (("reflect", 5), ("periodic", 5), ("reflect", None))),
]


def by_rule(kde, low, high):
    x, h = kde.sources_.ravel(), kde.bandwidth_
    images = np.concatenate([x, -x, 10 - x, x + 5, x - 5, x + 10, x - 10, 10 + x, -10 - x])
    breaks = np.concatenate([images, images - h, images + h, np.linspace(low, high, 300)])
    edges = np.unique(np.append(breaks[(breaks > low) & (breaks < high)], [low, high]))
    u, w = np.polynomial.legendre.leggauss(12)
    half = 0.5 * np.diff(edges)
    t = ((edges[:-1] + half)[:, None] + half[:, None] * u).clip(low, high)
    return half @ (np.exp(kde.score_samples(t.ravel())).reshape(t.shape) @ w)


@pytest.mark.parametrize("params", ONE, ids=str)
@pytest.mark.parametrize("h", [0.3, 2.0])
def test_the_distribution_function_is_the_integral_of_the_density(params, h):
    kde = KernelDensity(h, rtol=1e-13, **params).fit(X)
    low = -40 * h if kde.bounds[0] is None else 0.0
    t = np.array([0.05, 0.5, 1.0, 2.5, 4.9])
    expected = np.cumsum([by_rule(kde, a, b) for a, b in zip([low, *t[:-1]], t)])
    np.testing.assert_allclose(kde.cdf(t), expected, rtol=1e-9)
    np.testing.assert_allclose(kde.cdf(kde.quantile([0.01, 0.3, 0.9])), [0.01, 0.3, 0.9], rtol=1e-12)
    assert kde.integrate_box(-INF, INF) == pytest.approx(1.0, rel=1e-12)
    if kde.kernel == "gaussian":
        for region in kde.highest_density_region([0.3, 0.9]):
            ends = region.intervals
            assert np.sum(kde.integrate_box(ends[:, 0], ends[:, 1])) == pytest.approx(region.probability, rel=1e-10)


TWO = [
    {"bandwidth": 0.4, "adaptive": "abramson", "bounds": [(0, 3), None]},
    {"bandwidth": [2.0, 0.3], "adaptive": "breiman", "bounds": [(0, 3), (0, None)],
     "boundary": ["periodic", "reflect"]},
    {"bandwidth": C, "bounds": [(0, 3), None]}, {"bandwidth": C, "bounds": [(0, 3)] * 2, "boundary": "periodic"},
    {"bandwidth": C, "bounds": [(0, None), (0, 3)], "adaptive": "abramson"},
]


def by_grid(kde, low, high, n=120):
    u, w = np.polynomial.legendre.leggauss(n)
    axes = [0.5 * (a + b) + 0.5 * (b - a) * u for a, b in zip(low, high)]
    points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    return np.prod(0.5 * np.subtract(high, low)) * (np.multiply.outer(w, w).ravel() @ np.exp(kde.score_samples(points)))


@pytest.mark.parametrize("params", TWO, ids=str)
def test_boxes_marginals_and_gradients(params):
    kde = KernelDensity(rtol=1e-12, **params).fit(PLANE)
    low, high = [0.1, 0.4], [1.7, 2.8]
    assert kde.integrate_box(low, high) == pytest.approx(by_grid(kde, low, high), rel=1e-9)
    assert kde.integrate_box(-INF, INF) == pytest.approx(1.0, rel=1e-11)
    T = PLANE[:10]
    for j in (0, 1):
        part = kde.marginal(j)
        box = [[0.2 if i == j else -INF for i in (0, 1)], [1.1 if i == j else INF for i in (0, 1)]]
        assert part.integrate_box(0.2, 1.1) == pytest.approx(kde.integrate_box(*box), rel=1e-10)
        if np.ndim(kde.bandwidth_) < 2:
            S = T.copy()
            S[:, j] = 0.7
            given = kde.conditional({j: 0.7}).score_samples(T[:, 1 - j])
            np.testing.assert_allclose(given, kde.score_samples(S) - part.score_samples([0.7]), atol=1e-9)
    steps = 1e-5 * np.eye(2)
    slopes = np.stack([(kde.score_samples(T + e) - kde.score_samples(T - e)) / 2e-5 for e in steps], axis=1)
    np.testing.assert_allclose(kde.gradient(T), slopes, atol=1e-5)
    found = kde.modes()
    assert found.converged.all() and np.abs(kde.gradient(found.modes)).max() < 1e-6
    np.testing.assert_array_equal(kde.predict_basin(PLANE, found), found.labels)


@pytest.mark.parametrize("h", [0.3, 30.0, 1e6, 1e100, 1e300])
@pytest.mark.parametrize("n", [1, 4])
def test_quantiles_of_wide_kernels_at_one_bound(h, n):
    """The corrected density is that of the kernels less a good part of them: no tail of theirs need reach so far."""
    q = np.concatenate([[1e-12, 1e-3, 1 - 1e-9], np.linspace(0.01, 0.99, 20)])
    x = np.array([0.3, 0.1, 2.0, 0.7])[:n]
    for kde in (KernelDensity(h, bounds=(0, None), boundary="linear").fit(x),
                KernelDensity(h, bounds=(None, 0), boundary="linear").fit(-x)):
        np.testing.assert_allclose(kde.cdf(kde.quantile(q)), q, rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(kde.sf(kde.isf(q)), q, rtol=1e-10, atol=1e-15)
        for single in (0.1, 0.9):
            assert kde.cdf([kde.quantile(single)])[0] == pytest.approx(single, rel=1e-10)
