"""The kernels of Gaussian gridding, every build, against their definition and against the sums that they stand for."""

import numpy as np
import pytest

from kernel_access import (
    BUILDS, gauss_contract, gauss_expand, gauss_gather, gauss_gather_moments, gauss_moments, gauss_spread,
)

builds = pytest.mark.parametrize("build", BUILDS)
axes = pytest.mark.parametrize("d", [1, 2, 3])
widths = pytest.mark.parametrize("width", [16, 24, 32])
SPACING = 0.55


def problem(d, width, n=12, seed=0):
    """Points in a grid, in units of its spacing, and the grid's shape, different on every axis."""
    rng = np.random.default_rng([seed, d, width])
    shape = tuple(width + 5 + 3 * np.arange(d))
    points = width / 2 - 1 + rng.uniform(0, 1, (n, d)) * (np.array(shape) - width)
    return points, rng.exponential(size=n), shape


def factors(points, width, shape):
    """exp(-|g - x|^2) over the nodes within the width of every point, shape (n, *shape)."""
    product = np.ones((len(points),) + (1,) * len(shape))
    for j, size in enumerate(shape):
        nodes, x = np.arange(size), points[:, j : j + 1]
        first = np.floor(x) - (width // 2 - 1)
        one = np.exp(-(((nodes - x) * SPACING) ** 2)) * ((nodes >= first) & (nodes < first + width))
        product = product * one.reshape((len(points),) + tuple(size if a == j else 1 for a in range(len(shape))))
    return product


@builds
@axes
@widths
def test_spreading(build, d, width):
    points, w, shape = problem(d, width)
    expected = np.tensordot(w, factors(points, width, shape), axes=1)
    np.testing.assert_allclose(gauss_spread(build, points, w, width, SPACING, shape), expected, rtol=1e-13, atol=0)


@builds
@axes
@widths
def test_gathering(build, d, width):
    points, w, shape = problem(d, width)
    grid = np.random.default_rng(1).exponential(size=shape)
    weights = factors(points, width, shape)
    whole = tuple(range(1, d + 1))
    expected = (weights * grid).sum(axis=whole)
    np.testing.assert_allclose(gauss_gather(build, points, width, SPACING, grid), expected, rtol=1e-13)
    expected = expected - w * (weights**2).sum(axis=whole)
    np.testing.assert_allclose(gauss_gather(build, points, width, SPACING, grid, w), expected, rtol=1e-12)


@builds
@axes
def test_both_make_the_kernel(build, d):
    points, w, shape = problem(d, 32, n=30)
    sums = gauss_gather(build, points, 32, SPACING, gauss_spread(build, points, w, 32, SPACING, shape))
    r2 = (((points[:, np.newaxis] - points) * SPACING) ** 2).sum(axis=2)
    exact = np.exp(-r2 / 2) @ w * (np.sqrt(np.pi / 2) / SPACING) ** d
    error = 2 * np.exp(-((np.pi / SPACING) ** 2) / 2)
    np.testing.assert_allclose(sums, exact, rtol=1.1 * d * error)


@builds
@axes
@widths
def test_gathering_moments(build, d, width):
    points, _, shape = problem(d, width)
    grid = np.random.default_rng(1).exponential(size=shape)
    terms = factors(points, width, shape) * grid
    sums, moments = gauss_gather_moments(build, points, width, SPACING, grid)
    np.testing.assert_allclose(sums, terms.sum(axis=tuple(range(1, d + 1))), rtol=1e-13)
    away = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) - points.reshape(-1, *[1] * d, d)
    expected = 2 * SPACING * (terms[..., np.newaxis] * away).sum(axis=tuple(range(1, d + 1)))
    np.testing.assert_allclose(moments, expected, rtol=0, atol=1e-12 * sums.max())


@builds
@axes
def test_moments_of_the_nodes_are_those_of_the_sources(build, d):
    points, w, shape = problem(d, 32, n=30)
    _, moments = gauss_gather_moments(build, points, 32, SPACING, gauss_spread(build, points, w, 32, SPACING, shape))
    away = (points - points[:, np.newaxis]) * SPACING
    pairs = np.exp(-(away**2).sum(axis=2) / 2) * w * (np.sqrt(np.pi / 2) / SPACING) ** d
    aliases = np.exp(-((np.pi / SPACING) ** 2) / 2)
    error = np.abs(moments - np.einsum("ts,tsj->tj", pairs, away))
    bound = aliases * (2 * np.pi / SPACING + 2 * d * np.abs(away)) * pairs[..., np.newaxis]
    assert (error <= 1.1 * bound.sum(axis=1)).all()


@builds
@axes
def test_a_source_leaves_itself_out(build, d):
    """What stays is what the others give, also where that is little."""
    points, w, shape = problem(d, 24, n=20)
    together = gauss_spread(build, points, w, 24, SPACING, shape)
    sums = gauss_gather(build, points, 24, SPACING, together, w)
    for i in range(20):
        keep = np.arange(20) != i
        others = gauss_spread(build, points[keep], w[keep], 24, SPACING, shape)
        expected = gauss_gather(build, points[i : i + 1], 24, SPACING, others)[0]
        assert abs(sums[i] - expected) <= 1e-14 * (expected + w[i] * (np.sqrt(np.pi / 2) / SPACING) ** d)


@builds
def test_no_points(build):
    empty, shape = np.empty((0, 2)), (20, 24)
    assert (gauss_spread(build, empty, np.empty(0), 16, SPACING, shape) == 0).all()
    assert gauss_gather(build, empty, 16, SPACING, np.ones(shape)).shape == (0,)


@builds
@widths
@pytest.mark.parametrize("columns", [1, 2, 7, 8, 37, 513, 1100])
def test_contracting(build, width, columns):
    rng = np.random.default_rng(columns)
    grid, rows = rng.exponential(size=(width + 9, columns)), rng.exponential(size=(6, width))
    first = rng.integers(10, size=6)
    expected = [f @ grid[g : g + width] for f, g in zip(rows, first)]
    np.testing.assert_allclose(gauss_contract(build, grid, first, rows), expected, rtol=1e-13)
    assert gauss_contract(build, grid, first[:0], rows[:0]).shape == (0, columns)


@builds
@pytest.mark.parametrize("subdivisions", [8, 32])
def test_moments(build, subdivisions):
    rng = np.random.default_rng(0)
    x, w, n_cells = rng.uniform(2, 5, 200), rng.exponential(size=200), 6 * subdivisions
    x[:3] = 2.0, 3.0, 4.5                       # on the edges of cells
    cell = np.floor(x * subdivisions).astype(int)
    u = (x * subdivisions - cell - 0.5) * (SPACING / subdivisions)
    expected = rng.normal(size=(n_cells, 8))
    begun = expected.copy()
    np.add.at(expected, cell, w[:, np.newaxis] * u[:, np.newaxis] ** np.arange(8))
    found = gauss_moments(build, x, w, subdivisions, SPACING, n_cells, begun)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(gauss_moments(build, x[:0], w[:0], subdivisions, SPACING, n_cells, begun), begun)


@builds
@widths
def test_expanding(build, width):
    rng = np.random.default_rng(width)
    subdivisions, n_nodes = 8, width + 12
    moments, expansions = np.zeros((8 * n_nodes, 8)), rng.normal(size=(subdivisions, 8, width))
    used = np.arange(8 * width // 2, 8 * (width // 2 + 8))
    moments[used] = rng.normal(size=(len(used), 8))
    moments[used[3]] = 0.0                      # an empty cell
    expected = np.zeros(n_nodes)
    for c in used:
        first = c // subdivisions - (width // 2 - 1)
        expected[first : first + width] += moments[c] @ expansions[c % subdivisions]
    np.testing.assert_allclose(gauss_expand(build, moments, expansions, n_nodes), expected, rtol=1e-11, atol=1e-12)
