"""Highest-density regions: their probability, their level, and that nothing smaller would do."""

import pickle

import numpy as np
import pytest
import scipy.stats

from gaussum import KernelDensity
from gaussum.adaptive import Breiman


def probability(kde, region):
    return kde.integrate_box(region.intervals[:, :1], region.intervals[:, 1:]).sum()


@pytest.fixture
def bimodal():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, 300), rng.normal(6, 0.5, 200), [30.0]])
    return KernelDensity(0.2).fit(x)


@pytest.mark.parametrize("p", [1e-14, 1e-9, 1e-5, 0.05, 0.5, 0.683, 0.9, 0.99, 1 - 1e-6, 1 - 1e-12])
def test_intervals_hold_the_probability_above_the_level(bimodal, p):
    region = bimodal.highest_density_region(p)
    assert probability(bimodal, region) == pytest.approx(p, rel=1e-12)
    at_ends = bimodal.score_samples(region.intervals.ravel())
    np.testing.assert_allclose(at_ends, region.log_level, rtol=1e-10, atol=1e-9)
    assert region.level == pytest.approx(np.exp(region.log_level)) and region.probability == p
    # everything above the level and nothing below it
    t = np.concatenate([np.linspace(-8, 12, 4001), np.linspace(25, 35, 1001)])
    clear = np.abs(bimodal.score_samples(t) - region.log_level) > 1e-6
    np.testing.assert_array_equal(region.contains(t[clear]), bimodal.score_samples(t[clear]) > region.log_level)
    assert (np.diff(region.intervals.ravel()) > 0).all()


def test_the_normal_distribution():
    kde = KernelDensity(2.0).fit([1.0])
    for p in (0.1, 0.5, 0.95):
        region = kde.highest_density_region(p)
        half = 2.0 * scipy.stats.norm.ppf(0.5 + p / 2)
        np.testing.assert_allclose(region.intervals, [[1 - half, 1 + half]], rtol=1e-13)
        assert region.level == pytest.approx(scipy.stats.norm(1, 2).pdf(1 + half), rel=1e-12)


def test_data_spread_over_many_bandwidths():
    x = np.array([-1e9, 0.0, 0.5, 3.0, 3.1, 1e6, 1e12])
    kde = KernelDensity(0.25).fit(x, sample_weight=[1, 2, 3, 4, 5, 6, 1e-9])
    for p in (0.3, 0.8, 0.999):
        assert probability(kde, kde.highest_density_region(p)) == pytest.approx(p, rel=1e-9)


def test_shallow_modes_are_not_overlooked():
    """Two Gaussians barely two bandwidths apart: the dip between them is a few 1e-4 of the density."""
    kde = KernelDensity(1.0).fit([-1.02, 1.02])
    top, middle = kde.score_samples([0.24, 0.0])
    assert 0 < top - middle < 1e-3
    heights = kde.score_samples(np.linspace(-0.6, 0.6, 100001))
    level = 0.5 * (heights.max() + middle)
    within = np.linspace(-1, 1, 200001)
    p = np.exp(kde.score_samples(within))[kde.score_samples(within) > level].sum() * 1e-5
    assert len(kde.highest_density_region(p).intervals) == 2
    assert len(kde.highest_density_region(2 * p).intervals) == 1


@pytest.mark.parametrize("scale, offset", [(1e-150, 0.0), (1e100, 0.0), (0.25, 1e7)])
def test_scale_and_shift(bimodal, scale, offset):
    x = np.round(bimodal.sources_.ravel() * 1024) / 1024
    a = KernelDensity(0.25).fit(x).highest_density_region(0.8)
    b = KernelDensity(0.25 * scale).fit(x * scale + offset).highest_density_region(0.8)
    np.testing.assert_allclose(b.intervals, a.intervals * scale + offset, rtol=1e-10)
    # the ends are doubles: at 1e7 they are 1e-9 apart
    assert b.log_level == pytest.approx(a.log_level - np.log(scale), rel=1e-7 if offset else 1e-12)


def test_many_samples_by_cells(galaxies):
    x = np.random.default_rng(1).normal(size=60_000)
    kde = KernelDensity().fit(x)
    for region in kde.highest_density_region([0.5, 0.95]):
        assert probability(kde, region) == pytest.approx(region.probability, rel=1e-11)
        np.testing.assert_allclose(kde.score_samples(region.intervals.ravel()), region.log_level, atol=2e-6)


def test_several_features_by_draws(faithful):
    kde = KernelDensity("scott").fit(faithful)
    regions = kde.highest_density_region([0.5, 0.9], n_samples=20_000)
    drawn = kde.sample(20_000, 7)
    for region in regions:
        assert region.intervals is None
        assert region.contains(drawn).mean() == pytest.approx(region.probability, abs=0.015)
        np.testing.assert_array_equal(region.contains(faithful), kde.score_samples(faithful) >= region.log_level)
    again = kde.highest_density_region(0.9, n_samples=20_000)
    assert again.log_level == regions[1].log_level
    assert kde.highest_density_region(0.9, n_samples=20_000, random_state=1).log_level != again.log_level


def test_a_region_stays_as_it_is(bimodal):
    region = bimodal.highest_density_region(0.9)
    kde = KernelDensity(1.0).fit(np.random.default_rng(0).normal(size=(100, 2)))
    plane = kde.highest_density_region(0.5, n_samples=1000)
    X = np.random.default_rng(1).normal(size=(50, 2))
    before = plane.contains(X)
    kde.fit(X + 10)
    np.testing.assert_array_equal(plane.contains(X), before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(plane)).contains(X), before)
    assert region.contains([0.0, 3.5, 1e300]).tolist() == [True, False, False]


@pytest.mark.parametrize(
    "args, error, message",
    [
        ((0.0,), ValueError, "probability is 0.0; expected a finite number > 0 and < 1"),
        ((1.0,), ValueError, "probability is 1.0"),
        (([0.5, np.nan],), ValueError, "probability is nan"),
        (("half",), TypeError, "probability is 'half'"),
    ],
)
def test_refused(bimodal, args, error, message):
    with pytest.raises(error) as caught:
        bimodal.highest_density_region(*args)
    assert message in str(caught.value)
    with pytest.raises(ValueError, match="n_samples is 0"):
        bimodal.highest_density_region(0.5, n_samples=0)


@pytest.mark.parametrize("p", [1e-3, 0.3, 0.7, 1 - 1e-6])
@pytest.mark.parametrize("boundary", ["reflect", "periodic"])
@pytest.mark.parametrize("h", [2.0, 30.0, 1e100])
def test_a_uniform_density(p, boundary, h):
    """Any part will do, as long as it has the probability."""
    kde = KernelDensity(h * 4.0, bounds=(-3.0, 1.0), boundary=boundary).fit([-2.0, 0.5])
    region = kde.highest_density_region(p)
    assert probability(kde, region) == pytest.approx(p, rel=1e-11)
    assert region.log_level == pytest.approx(-np.log(4.0), abs=1e-6)
    drawn = np.random.default_rng(0).uniform(-3.0, 1.0, 10_000)
    assert region.contains(drawn).mean() == pytest.approx(p, abs=0.02)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.55, 0.8, 0.999])
def test_hills_on_a_plateau(p):
    """Half of the weight on narrow kernels in two places, half on one that is uniform along the period."""
    kde = KernelDensity(1.0, adaptive=Breiman(n_neighbors=1), bounds=(0.0, 24.0), boundary="periodic")
    kde.fit([3.0, 3.001, 15.0, 15.001, 9.0], sample_weight=[1, 1, 1, 1, 4])
    assert kde.local_factors_.max() > 40 and kde.local_factors_.min() < 1
    region = kde.highest_density_region(p)
    assert probability(kde, region) == pytest.approx(p, rel=1e-9)
    assert (np.diff(region.intervals.ravel()) > 0).all()
    # above the level all of it, below nothing
    t = np.linspace(0.0, 24.0, 2401)
    logs = kde.score_samples(t)
    inside = region.contains(t)
    assert inside[logs > region.log_level + 1e-6].all() and not inside[logs < region.log_level - 1e-6].any()
