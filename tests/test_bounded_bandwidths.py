"""Selectors that know where the data end, or come round again."""

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermeval
from scipy.stats import beta, vonmises

from gaussum import KernelDensity, bandwidth
from gaussum.binned import Functionals

NAMES = ["auto", "isj", "sj", "lscv"]


def chosen(name, x, bounds, boundary="reflect", w=None):
    return KernelDensity(name, bounds=bounds, boundary=boundary).fit(x, sample_weight=w).bandwidth_


@pytest.mark.parametrize("s", [0, 1, 2, 5])
def test_roughness_on_a_circle(s):
    """Sums over all pairs and all their images."""
    rng = np.random.default_rng(s)
    x, period = np.sort(rng.uniform(0, 2.9, 60)), 3.0
    w = rng.exponential(size=60)
    w /= w.sum()
    f = Functionals(x, w, 0.05, period=period)
    for g in (0.05, 0.13, 0.7, 2.0):
        z = (x[:, np.newaxis, np.newaxis] - x[:, np.newaxis] + period * np.arange(-20, 21)) / g
        terms = hermeval(z, [0] * (2 * s) + [1]) * np.exp(-0.5 * z * z) / (np.sqrt(2 * np.pi) * g ** (2 * s + 1))
        exact = (-1) ** s * np.einsum("i,j,ijk->", w, w, terms)
        size = np.einsum("i,j,ijk->", w, w, np.abs(terms))
        assert abs(f.roughness(s, g) - exact) <= 1e-5 * abs(exact) + 1e-12 * size


@pytest.mark.parametrize("name", ["auto", "isj", "sj"])
def test_near_the_best_there_is(name):
    """The least integrated squared error of any bandwidth, by the samples; samples as they are give far more."""
    grid = np.linspace(0.0, 1.0, 1500, endpoint=False) + 1 / 3000
    cases = [
        (lambda rng: rng.exponential(size=1500), 8.0, lambda t: np.exp(-t), (0, None), "reflect"),
        (lambda rng: -np.abs(rng.normal(size=1500)), -5.0, lambda t: 2 * np.exp(-t * t / 2) / np.sqrt(2 * np.pi),
         (None, 0), "reflect"),
        (lambda rng: rng.beta(1, 3, size=1500), 1.0, lambda t: beta.pdf(t, 1, 3), (0, 1), "reflect"),
        (lambda rng: rng.vonmises(0, 2, size=1500) % (2 * np.pi), 2 * np.pi, lambda t: vonmises.pdf(t, 2),
         (0, 2 * np.pi), "periodic"),
    ]
    for draw, length, density, bounds, boundary in cases:
        T, ratios, before = grid * length, [], []
        for seed in range(4):
            x = draw(np.random.default_rng(seed))
            raw = float(bandwidth.SELECTORS[name](x)[0])
            found = chosen(name, x, bounds, boundary)
            ladder = [found, raw, *(abs(length) * np.geomspace(0.005, 0.3, 12))]
            errors = [
                np.sum((np.exp(KernelDensity(h, bounds=bounds, boundary=boundary).fit(x).score_samples(T))
                        - density(T)) ** 2) for h in ladder
            ]
            ratios.append(errors[0] / min(errors))
            before.append(errors[1] / min(errors))
        assert np.median(ratios) < 1.8
        if name != "sj":
            assert np.median(ratios) < 0.6 * np.median(before)


@pytest.mark.parametrize("name", NAMES)
def test_equivariance_and_weights(name):
    rng = np.random.default_rng(1)
    x = rng.exponential(size=300)
    h = chosen(name, x, (0, None))
    assert chosen(name, 10 - 4 * x, (None, 10)) == pytest.approx(4 * h, rel=1e-6)
    counts = rng.integers(0, 3, 300)
    repeated = chosen(name, np.repeat(x, counts), (0, None))
    assert chosen(name, x, (0, None), w=counts) == pytest.approx(repeated, rel=1e-9)
    angles = rng.vonmises(0, 3, size=400) % (2 * np.pi)
    h = chosen(name, angles, (0, 2 * np.pi), "periodic")
    for turn in (1.0, 3.0):
        turned = chosen(name, (angles + turn) % (2 * np.pi), (0, 2 * np.pi), "periodic")
        assert turned == pytest.approx(h, rel=1e-4)
    inner = rng.normal(50.0, 1.0, size=300)     # bounds so far away that they mean nothing
    free = float(bandwidth.SELECTORS[name](inner)[0])
    assert chosen(name, inner, (0, 100), "periodic") == pytest.approx(free, rel=1e-5)


def test_what_stays_as_it_is():
    x = np.random.default_rng(2).exponential(size=200)
    for name in ("scott", "silverman", "lcv"):
        assert chosen(name, x, (0, None)) == bandwidth.SELECTORS[name](x)[0]
    with pytest.raises(ValueError, match="X is constant in column 0"):
        KernelDensity(bounds=(0, None)).fit([1.0, 1.0])
    two = np.column_stack([x, x[::-1]])
    np.testing.assert_array_equal(
        KernelDensity(bounds=[(0, None), None]).fit(two).bandwidth_, bandwidth.auto_matrix(two, diagonal=True))


def test_bounds_far_from_all_samples():
    x = np.random.default_rng(3).exponential(size=300)
    near = chosen("auto", x, (0, None))
    for far in (1e3, 1e9, 1e307):
        assert chosen("auto", x, (0, far)) == near
    free = bandwidth.auto(x)[0]
    assert chosen("auto", x, (-1e6, 1e9)) == chosen("auto", x, (-10, 1e300), "periodic") == free
