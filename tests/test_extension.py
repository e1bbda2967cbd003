"""Gradients, modes and basins of densities with bounds, adaptive widths and Epanechnikov kernels."""

import numpy as np
import pytest

from gaussum import KernelDensity
from gaussum.extension import Extension
from gaussum.support import Axis

RNG = np.random.default_rng(7)
CENTRES = np.array([[0.0, 0.0], [4.0, 4.5]])
TRUTH = np.repeat([0, 1], [150, 100])
X = CENTRES[TRUTH] + RNG.normal(size=(250, 2))
C = np.array([[0.5, 0.2], [0.2, 0.4]])


def slopes(kde, T, eps=1e-5):
    steps = eps * np.eye(T.shape[1])
    return np.stack([(kde.score_samples(T + e) - kde.score_samples(T - e)) / (2 * eps) for e in steps], axis=1)


# Gradients ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 4])
@pytest.mark.parametrize("adaptive", ["abramson", "breiman"])
def test_gradients_of_adaptive_widths(d, adaptive):
    S = np.random.default_rng(d).standard_t(3, size=(300, d))
    for bandwidth in (0.4, np.eye(d) * 0.2 + 0.1):
        kde = KernelDensity(bandwidth, adaptive=adaptive, rtol=0).fit(S, sample_weight=np.arange(1.0, 301.0))
        T = S[:30] + 0.1
        log_density, gradient = kde.score_and_gradient(T)
        np.testing.assert_allclose(log_density, kde.score_samples(T), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(gradient, slopes(kde, T), rtol=1e-6, atol=1e-7)


def test_gradients_of_adaptive_widths_far_out():
    kde = KernelDensity(0.5, adaptive="abramson").fit(X)
    widest = 0.5 * kde.local_factors_.max()
    far = np.array([[1e6, -1e6]])
    np.testing.assert_allclose(kde.gradient(far), -far / widest**2, rtol=1e-3)
    for most in (1e160, 1e300):
        gradient = kde.gradient([[most, -most]])
        assert np.isfinite(gradient).all() and np.sign(gradient).tolist() == [[-1, 1]]
    alone = KernelDensity(2.0, adaptive="abramson").fit([[1.0], [1.0]])
    assert alone.gradient([[4.0]])[0, 0] == pytest.approx(-0.75, rel=1e-14)


@pytest.mark.parametrize("bandwidth", [0.8, [0.8, 1.5], C])
def test_gradients_of_epanechnikov_kernels(bandwidth):
    kde = KernelDensity(bandwidth, kernel="epanechnikov", rtol=0).fit(X, sample_weight=np.arange(1.0, 251.0))
    T = X[:40] + 0.013
    log_density, gradient = kde.score_and_gradient(T)
    np.testing.assert_array_equal(log_density, kde.score_samples(T))
    np.testing.assert_allclose(gradient, slopes(kde, T, 1e-7), rtol=1e-5, atol=1e-5)
    if np.ndim(bandwidth) < 2:
        assert not kde.gradient([[50.0, 50.0]]).any()


def test_the_same_bits_for_any_number_of_threads(always_threads):
    for params in ({"adaptive": 0.5}, {"kernel": "epanechnikov"}, {"bounds": [(-9, 9), None]}):
        found = []
        for n_threads in (1, 2, 3, 7):
            kde = KernelDensity(1.0, n_threads=n_threads, **params).fit(X)
            modes = kde.modes()
            found.append(np.concatenate([kde.gradient(X).ravel(), modes.modes.ravel(), modes.labels]))
        for other in found[1:]:
            np.testing.assert_array_equal(found[0], other)


# Modes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [
    {"adaptive": "abramson"}, {"bandwidth": C, "adaptive": "breiman"}, {"bounds": [(-9, None), (-9, 9)]},
    {"bounds": [None, (-3, 9)], "boundary": "periodic"}, {"bandwidth": 2.0, "kernel": "epanechnikov"},
    {"bandwidth": 9 * C, "kernel": "epanechnikov"},
], ids=str)
def test_two_hills(params):
    kde = KernelDensity(**({"bandwidth": 0.8} | params)).fit(X)
    found = kde.modes()
    assert found.converged.all() and (np.diff(found.log_density) <= 0).all()
    assert found.sizes.sum() == len(X) and found.weights.sum() == pytest.approx(1.0)
    labels = [np.bincount(found.labels[TRUTH == k]).argmax() for k in (0, 1)]
    np.testing.assert_allclose(found.modes[labels], CENTRES, atol=0.7)
    assert np.mean(found.labels == np.array(labels)[TRUTH]) > 0.95
    assert np.abs(kde.gradient(found.modes)).max() < 1e-7
    np.testing.assert_allclose(kde.score_samples(found.modes), found.log_density, atol=2e-6)
    # nothing near is higher
    near = found.modes[:, np.newaxis] + 0.02 * RNG.normal(size=(20, 2))
    assert (kde.score_samples(near.reshape(-1, 2)).reshape(-1, 20).max(axis=1) <= found.log_density + 1e-6).all()
    np.testing.assert_array_equal(kde.predict_basin(X[:60], found), found.labels[:60])
    assert kde.predict_basin([found.modes[0]], [[77.0, 77.0]]).tolist() == [-1]


def test_a_mode_at_a_bound():
    x = np.random.default_rng(0).exponential(size=300)
    kde = KernelDensity(0.4, bounds=(0, None)).fit(x)
    found = kde.modes()
    assert found.modes[0, 0] == pytest.approx(0.0, abs=1e-6) and found.sizes[0] > 200 and found.converged.all()
    assert kde.score_samples([0.0])[0] == pytest.approx(found.log_density[0], abs=1e-6)
    # without bounds it is inside
    assert KernelDensity(0.4).fit(x).modes().modes[0, 0] > 0.2


def test_hills_and_basins_go_round_a_period():
    rng = np.random.default_rng(1)
    hours = np.concatenate([rng.normal(23.9, 1, 200), rng.normal(12, 1, 100)]) % 24
    kde = KernelDensity(0.7, bounds=(0, 24), boundary="periodic").fit(hours)
    found = kde.modes()
    assert len(found.modes) == 2 and found.sizes.tolist() == [200, 100]
    assert (found.modes[0, 0] + 12) % 24 == pytest.approx(12, abs=0.5)
    # a mode just before midnight is one just after it
    for shift in (-1e-3, 1e-3):
        others = (found.modes + shift) % 24
        np.testing.assert_array_equal(kde.predict_basin([22.0, 2.0, 13.0], others), [0, 0, 1])
    # turned by half a day, all the same
    turned = KernelDensity(0.7, bounds=(0, 24), boundary="periodic").fit((hours + 12) % 24).modes()
    np.testing.assert_allclose((turned.modes + 12) % 24, found.modes % 24, atol=1e-5)
    np.testing.assert_array_equal(turned.labels, found.labels)


def test_a_uniform_axis_has_one_hill():
    kde = KernelDensity([0.5, 90.0], bounds=[None, (0, 24)], boundary=["reflect", "periodic"]).fit(np.abs(X))
    assert len(kde.modes().modes) <= len(KernelDensity(0.5).fit(np.abs(X[:, 0])).modes().modes)


def test_flat_windows_by_definition():
    """Mean shift as it is written: the mean of the samples within reach, again and again."""
    x, h = np.sort(np.random.default_rng(2).normal(size=80) * 3), 0.9
    kde = KernelDensity(h, kernel="epanechnikov").fit(x)
    at = x.copy()
    for _ in range(500):
        at = np.array([x[np.abs(x - t) < h].mean() for t in at])
    found = kde.modes(merge_tol=1e-6)
    arrived = found.modes[found.labels, 0]
    np.testing.assert_allclose(arrived, at, atol=1e-8)
    assert len(found.modes) == len(np.unique(at.round(7))) and found.converged.all()
    far = kde.modes([[100.0], [x[0]]])
    assert far.log_density[far.labels[0]] == -np.inf and not far.converged[far.labels[0]]


def test_an_extension_is_even_and_periodic():
    kde = KernelDensity(0.5, bounds=[(-9, 9), (-3, 8)], boundary=["reflect", "periodic"]).fit(X)
    axes = [Axis(0, -9.0, 9.0, "reflect"), Axis(1, -3.0, 8.0, "periodic")]
    density = Extension(kde._sum, np.full(2, 0.5), axes)
    T = X[:20]
    f, m = density.log_density_and_gradient(T, rtol=1e-10)
    for image, sign in ((T * [-1, 1] + [18, 0], [-1, 1]), (T + [36, 0], [1, 1]), (T + [0, 22], [1, 1])):
        g, n = density.log_density_and_gradient(image, rtol=1e-10)
        np.testing.assert_allclose(g, f, rtol=1e-9)
        np.testing.assert_allclose(n * sign, m, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(density.fold(image), T, atol=1e-13)


@pytest.mark.parametrize("params, match", [
    ({"kernel": "cosine"}, "kernel='cosine' is not climbed here; expected Gaussian kernels"),
    ({"bounds": [(-9, 9), None], "boundary": "linear"}, "bounds=.* is not climbed here"),
])
def test_what_is_not_climbed(params, match):
    kde = KernelDensity(1.0, **params).fit(X)
    for of in (kde.modes, lambda: kde.predict_basin(X, X[:1])):
        with pytest.raises(ValueError, match=match):
            of()


def test_points_out_of_bounds_are_not_climbed():
    kde = KernelDensity(0.2, bounds=[(0, 1), (0, 1)], boundary=["reflect", "periodic"]).fit([[0.1, 0.2], [0.8, 0.7]])
    modes = kde.modes([[0.0, 5.2], [1.0, -0.3]])
    assert modes.labels.tolist() == kde.modes().labels.tolist()
    for climb in (kde.modes, lambda X: kde.predict_basin(X, modes)):
        with pytest.raises(ValueError, match=r"X holds 1 samples outside the bounds of feature 0, .* 1.5 in row 1"):
            climb([[0.5, 0.5], [1.5, 0.5]])
