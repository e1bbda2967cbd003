"""Distribution functions on a line: cells against sweeps, sweeps against every source, and their inverse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_ndtr

from gaussum import line as line_module
from gaussum.cells import Cells
from gaussum.line import Line
from gaussum.tails import increasing_root


def by_definition(x, log_weights, h, t, upper=False):
    """The logarithm of a tail, by a log-sum-exp with SciPy."""
    z = (t[:, None] - x) / h
    return np.logaddexp.reduce(log_weights + log_ndtr(-z if upper else z), axis=1)


def weights(n, rng, spread=1.0):
    w = rng.exponential(size=n) ** spread
    return np.log(w / w.sum())


def swept(line, low, high):
    return line._swept(*(np.broadcast_to(e, np.broadcast_shapes(np.shape(low), np.shape(high))).astype(float).copy()
                         for e in (low, high)), 1)


RNG = np.random.default_rng(8)
SOURCES = {
    "normal": RNG.normal(size=4000),
    "offset": RNG.normal(size=4000) + 1e8,
    "uniform": RNG.uniform(-1, 1, 4000),
    "clusters": np.concatenate([RNG.normal(0, 1, 2000), RNG.normal(1e6, 1e-2, 2000)]),
    "outliers": np.concatenate([RNG.normal(size=4000), [1e6, -1e9, 1e300]]),
    "lattice": RNG.integers(0, 3000, 60000) / 500.0,
    "one place": np.append(np.full(3000, 0.25), 7.0),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("h", [1.0, 0.3, 0.03])
@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_cells_and_sweeps_agree(name, h, spread, monkeypatch):
    """Relative to either tail, wherever the cells answer; and they do answer where most samples are."""
    monkeypatch.setattr(line_module, "_CELL_PAIRS", 0.0)
    rng = np.random.default_rng(3)
    x = SOURCES[name]
    line = Line(x, weights(x.size, rng, spread), h)
    t = np.concatenate([rng.choice(x, 500) + h * rng.normal(size=500) * 2, rng.uniform(-8, 8, 200), [1e300, -1e300]])
    upper = rng.random(t.size) < 0.5
    expected = swept(line, np.where(upper, t, -np.inf), np.where(upper, np.inf, t))
    actual = np.where(upper, line.log_upper(t, 1), line.log_lower(t, 1))
    with np.errstate(invalid="ignore"):
        error = np.abs(actual - expected) / np.maximum(1.0, np.abs(expected))
    assert ((error < 1e-12) | (actual == expected)).all()
    served = 0.0 if line._cells.empty else np.isfinite(line._cells.tails(t)[0]).mean()
    assert served > 0.25 or name == "one place" or h == 0.03


@pytest.mark.parametrize("name", SOURCES)
def test_sweeps_are_the_sum_over_all(name):
    rng = np.random.default_rng(4)
    x, h = SOURCES[name][::4], 0.2
    log_weights = weights(x.size, rng, 2.0)
    line = Line(x, log_weights, h)
    t = np.concatenate([rng.choice(x, 60), rng.choice(x, 60) + 3 * rng.normal(size=60), rng.choice(x, 20) - 300 * h])
    for upper in (False, True):
        # from the sources as doubles have them: z itself is rounded where it is large
        expected = by_definition(x, log_weights, h, t, upper)
        actual = swept(line, t, np.inf) if upper else swept(line, -np.inf, t)
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)
    r2 = ((t[:, None] - x) / h) ** 2
    expected = np.logaddexp.reduce(log_weights - 0.5 * r2, axis=1) - np.log(h) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(line.log_densities(t, 1, n_points=1), expected, rtol=1e-12, atol=1e-12)


def test_sources_on_the_edges_of_cells():
    """Cells are as wide as a power of two: multiples of it, and their neighbours among doubles, on both sides of 0."""
    edges = np.arange(-40, 41) * 0.25
    x = np.concatenate([edges, np.nextafter(edges, 99), np.nextafter(edges, -99)])
    x = np.concatenate([x, np.random.default_rng(0).uniform(-10, 10, 3000)])
    line = Line(x, np.full(x.size, -np.log(x.size)), 0.7)
    cells = Cells(line.x, line._weights, line._below, line._above, 0.7)
    t = x[:400]
    tail, sign = cells.tails(t)
    assert np.isfinite(tail).mean() > 0.95
    expected = np.exp(swept(line, np.where(sign > 0, -np.inf, t), np.where(sign > 0, t, np.inf)))
    np.testing.assert_allclose(tail[np.isfinite(tail)], expected[np.isfinite(tail)], rtol=1e-13)
    density = cells.densities(t)
    z = (t[:, None] - line.x) / 0.7
    expected = (line._weights * np.exp(-0.5 * z * z)).sum(axis=1) / 0.7 / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(density[np.isfinite(density)], expected[np.isfinite(density)], rtol=1e-12)


@pytest.mark.parametrize("width", [1e-9, 1e-3, 0.3, 3.0])
def test_intervals_by_cells(width, monkeypatch):
    monkeypatch.setattr(line_module, "_CELL_PAIRS", 0.0)
    rng = np.random.default_rng(5)
    x = rng.normal(size=5000)
    line = Line(x, weights(5000, rng), 0.3)
    low = np.append(rng.normal(size=300) * 2, np.arange(-8, 9) * 0.125 - width / 3)
    actual = line.log_intervals(low, low + width, 1)
    np.testing.assert_allclose(actual, swept(line, low, low + width), rtol=1e-12, atol=3e-12)
    found = np.isfinite(line._cells.differences(low, low + width))[np.abs(low) < 2.0]
    assert found.all() if width < 0.1 else not found.all()


def test_the_same_bits_for_any_number_of_threads(always_threads):
    rng = np.random.default_rng(6)
    x, t = rng.normal(size=20000), rng.normal(size=3000) * 2
    q = rng.uniform(size=3000)
    results = []
    for n_threads in (1, 2, 3, 7):
        line = Line(x, weights(20000, np.random.default_rng(1)), 0.1)
        results.append(np.concatenate([
            line.log_lower(t, n_threads), line.log_intervals(t, t + 0.01, n_threads), line.log_lower(t[:20], n_threads),
            line.quantiles(np.log(q / 2), q < 0.3, n_threads),
        ]))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=12), st.floats(1e-3, 1e3), st.floats(-30, 30),
       st.floats(0, 10))
def test_intervals_add_up(x, h, low, width):
    line = Line(np.array(x), np.full(len(x), -np.log(len(x))), h)
    parts = line.log_intervals(np.array([-np.inf, low, low + width]), np.array([low, low + width, np.inf]), 1)
    assert np.exp(parts).sum() == pytest.approx(1.0, rel=1e-13)
    assert np.exp(line.log_lower(np.array([low + width]))[0]) == pytest.approx(np.exp(parts[:2]).sum(), rel=1e-12)


@pytest.mark.parametrize("power", [1.0, 3.0, 7.0])
def test_roots(power):
    wanted = np.array([-3.0, 0.0, 1e-8, 0.3, 2.0])

    def function(x, index):
        return np.sign(x - wanted[index]) * np.abs(x - wanted[index]) ** power

    root = increasing_root(function, np.full(5, -7.0), np.full(5, 11.0), np.zeros(5))
    np.testing.assert_allclose(root, wanted, rtol=1e-15, atol=1e-45)
    # a step has no root, but a place
    root = increasing_root(lambda x, index: np.where(x < 0.1, -1.0, 1.0), np.zeros(1), np.ones(1), np.zeros(1))
    assert root[0] == pytest.approx(0.1, abs=1e-15)
