"""Modes are the maxima that a slow mean shift finds, and every point is in the basin of the one that it climbs to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussum import KernelDensity, flow_pass
from test_summation import KINDS, data


def slow_shift(S, w, h, X, steps=20_000):
    """Where mean shift by its definition brings every point of X."""
    X = X.copy()
    for _ in range(steps):
        a = -0.5 * (((X[:, np.newaxis] - S) / h) ** 2).sum(axis=2)
        a = np.exp(a - a.max(axis=1, keepdims=True)) * w
        new = a @ S / a.sum(axis=1, keepdims=True)
        moved = np.abs((new - X) / h).max()
        X = new
        if moved < 1e-7:
            return X
    raise AssertionError("the twin does not converge")


def slope_and_curvature(S, w, h, x):
    """h times the gradient and its derivative, at one point, from the definition."""
    z = (S - x) / h
    p = w * np.exp(-0.5 * ((z**2).sum(axis=1) - (z**2).sum(axis=1).min()))
    p = p / p.sum()
    mean = p @ z
    return mean, (z * p[:, np.newaxis]).T @ z - np.outer(mean, mean) - np.eye(len(x))


def assert_maxima(kde, found):
    S, w, h = kde.sources_, kde.source_weights_, np.broadcast_to(kde.bandwidth_, kde.n_features_in_)
    assert found.converged.all()
    for x in found.modes:
        slope, curvature = slope_and_curvature(S, w, h, x)
        assert np.linalg.norm(slope) < 1e-8 * (1 + 1e-7 * np.abs(x / h).max())
        assert np.linalg.eigvalsh(curvature)[-1] < 1e-4
    np.testing.assert_allclose(found.log_density, kde.score_samples(found.modes), atol=3e-6, rtol=1e-12)
    assert (np.diff(found.log_density) <= 0).all()
    n_modes = len(found.modes)
    np.testing.assert_array_equal(found.sizes, np.bincount(found.labels, minlength=n_modes))
    assert (found.sizes > 0).all() and found.weights.sum() == pytest.approx(1)


def mixture(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(size=(n // 2, d)), 0.5 * rng.normal(size=(n - n // 2, d)) + 2.5])


# --- steps ----------------------------------------------------------------------------------------


def proposed(H, m, radius):
    n, d = m.shape
    p, newton = np.empty((n, d)), np.empty(n, dtype=np.uint8)
    flow_pass.propose(H, m, np.full(n, radius), np.zeros(n), p, newton, 0, n, np.empty(flow_pass.scratch_size(d)))
    return p, newton.astype(bool)


@pytest.mark.parametrize("d", [1, 2, 3, 7])
def test_steps_are_those_of_the_linear_field(d):
    rng = np.random.default_rng(d)
    A, m = rng.normal(size=(50, d, d)), rng.normal(size=(50, d))
    concave = -A @ A.transpose(0, 2, 1) - 0.1 * np.eye(d)
    p, newton = proposed(concave, m, 1e6)
    assert newton.all()
    np.testing.assert_allclose(p, -np.linalg.solve(concave, m[..., np.newaxis])[..., 0], rtol=1e-9, atol=1e-12)
    for H in (concave, A + A.transpose(0, 2, 1)):
        p, newton = proposed(H, m, 0.3)
        length = np.linalg.norm(p, axis=1)
        assert (length <= 0.3 * (1 + 1e-12)).all() and (length[~newton] > 0.05).all()
        # on the way that the field x' = m + H x takes from 0: m + H p = exp(t H) m for some t
        curvature, axes = np.linalg.eigh(H)
        c = np.einsum("nij,ni->nj", axes, m)
        ratio = 1 + curvature * np.einsum("nij,ni->nj", axes, p) / c
        with np.errstate(invalid="ignore", divide="ignore"):
            t = np.log(ratio) / curvature
        whole = ~newton & (length < 0.3 * (1 - 1e-9))           # not cut to the radius
        np.testing.assert_allclose(t[whole], t[whole][:, :1] + np.zeros(d), rtol=1e-6)
        assert whole.sum() > 20


# --- against the definition -----------------------------------------------------------------------


@pytest.mark.parametrize("d, h", [(1, 0.3), (2, 0.35), (2, 0.2), (4, 0.6)])
def test_the_modes_and_basins_of_slow_mean_shift(d, h):
    X = mixture(300, d)
    kde = KernelDensity(h).fit(X)
    found = kde.modes()
    assert_maxima(kde, found)
    ends = slow_shift(X, np.full(300, 1 / 300), h, X)
    distances = np.sqrt((((ends[:, np.newaxis] - found.modes) / h) ** 2).sum(axis=2))
    assert (distances.min(axis=1) < 0.05).all()
    labels = distances.argmin(axis=1)
    assert len(np.unique(labels)) == len(found.modes) > 1
    assert np.mean(labels == found.labels) >= 0.98


@pytest.mark.parametrize("h", [0.2, 0.7, 1.5])
def test_one_feature_is_divided_at_the_minima(galaxies, h):
    kde = KernelDensity(h).fit(galaxies)
    grid = np.linspace(galaxies.min() - h, galaxies.max() + h, 200_001)
    f = kde.score_samples(grid)
    peaks = grid[1:-1][(f[1:-1] > f[:-2]) & (f[1:-1] > f[2:])]
    valleys = grid[1:-1][(f[1:-1] < f[:-2]) & (f[1:-1] < f[2:])]
    found = kde.modes()
    assert_maxima(kde, found)
    np.testing.assert_allclose(np.sort(found.modes[:, 0]), peaks, atol=1.5 * (grid[1] - grid[0]))
    sure = np.abs(galaxies[:, np.newaxis] - valleys).min(axis=1) > 0.01 * h
    rank = np.argsort(np.argsort(found.modes[:, 0]))
    np.testing.assert_array_equal(rank[found.labels][sure], np.searchsorted(valleys, galaxies)[sure])


def test_old_faithful(faithful):
    kde = KernelDensity("silverman").fit(faithful)
    found = kde.modes()
    assert_maxima(kde, found)
    # short waits after short eruptions, long after long
    np.testing.assert_allclose(found.modes[:2], [[4.4, 80], [2.0, 54]], rtol=0.05)
    np.testing.assert_array_equal(found.labels[faithful[:, 1] > 75], 0)
    assert np.mean(found.labels[faithful[:, 1] < 60] == 1) > 0.95


@given(
    kind=st.sampled_from(KINDS), n=st.integers(1, 60), d=st.integers(1, 4), log_h=st.floats(-1.5, 1),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=30)
def test_any_data(kind, n, d, log_h, seed):
    rng = np.random.default_rng(seed)
    X, w = data(kind, n, d, rng), rng.exponential(size=n)
    kde = KernelDensity(10.0**log_h * rng.uniform(0.5, 2, d)).fit(X, sample_weight=w)
    found = kde.modes()
    assert_maxima(kde, found)
    # nobody goes down
    assert (found.log_density[found.labels] >= kde.score_samples(X) - 1e-5).all()


# --- modes that are known -------------------------------------------------------------------------


def test_two_gaussians_are_one_hill_up_to_two_bandwidths():
    for apart, n_modes in ((1.9, 1), (2.2, 2), (30.0, 2)):
        kde = KernelDensity(1.0).fit([[0.0, 5.0], [apart, 5.0]])
        found = kde.modes()
        assert len(found.modes) == n_modes
        assert_maxima(kde, found)
    np.testing.assert_allclose(np.sort(found.modes, axis=0), [[0.0, 5.0], [30.0, 5.0]], atol=1e-8)


def test_who_begins_on_a_saddle_does_not_stay():
    kde = KernelDensity(1.0).fit([[-2.0, 0.0], [2.0, 0.0]])
    found = kde.modes([[0.0, 0.0], [0.0, 7.0], [-0.1, 0.0]])
    assert len(found.modes) == 2
    assert_maxima(kde, found)
    assert found.labels[0] == found.labels[1] != found.labels[2]


def test_isolated_samples_are_modes():
    X = 100.0 * np.random.default_rng(0).permutation(50)[:, np.newaxis]
    found = KernelDensity(1.0).fit(X, sample_weight=1.0 + np.arange(50)).modes()
    np.testing.assert_allclose(found.modes, X[::-1], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(found.labels, np.arange(50)[::-1])
    np.testing.assert_allclose(found.weights, np.arange(50, 0, -1) / 1275)


@pytest.mark.parametrize("spacing", [0.1, 0.5])
def test_a_flat_ridge_is_one_mode(spacing):
    """The ripple of a lattice is below rounding: nothing on it is a mode of its own."""
    X = np.stack([np.arange(300) * spacing, np.zeros(300)], axis=1)
    found = KernelDensity(1.0).fit(X).modes()
    assert len(found.modes) == 1 and found.sizes[0] == 300


def test_a_flat_ring_is_one_mode():
    angle = np.arange(5000) * (2 * np.pi / 5000)
    found = KernelDensity(0.1).fit(np.stack([np.cos(angle), np.sin(angle)], axis=1)).modes()
    assert len(found.modes) == 1 and found.converged.all()
    assert 0.99 < np.linalg.norm(found.modes) < 1.0


def test_who_nearly_stops_in_a_hollow_goes_on():
    """Many samples, evenly spread: gradients are small everywhere, and begin below any tolerance."""
    X = np.random.default_rng(0).uniform(size=(30_000, 1))
    kde = KernelDensity("scott").fit(X)
    found = kde.modes()
    assert_maxima(kde, found)
    f = kde.score_samples(np.linspace(-0.1, 1.1, 20_001))
    assert len(found.modes) == np.count_nonzero((f[1:-1] > f[:-2]) & (f[1:-1] > f[2:]))


def test_duplicates_and_one_source():
    found = KernelDensity(0.5).fit(np.repeat([[1.0, 2.0], [8.0, 9.0]], 500, axis=0)).modes()
    np.testing.assert_allclose(found.modes[np.argsort(found.modes[:, 0])], [[1, 2], [8, 9]], atol=1e-9)
    np.testing.assert_array_equal(found.sizes, [500, 500])
    found = KernelDensity(1e-3).fit([[1e6]]).modes()
    assert found.modes == [[1e6]] and found.labels == [0] and found.weights == [1.0]


# --- beginnings -----------------------------------------------------------------------------------


def test_weights_of_zero_are_not_there():
    X, w = mixture(400, 2), np.ones(400)
    w[::3] = 0.0
    kde = KernelDensity(0.4).fit(X, sample_weight=w)
    found, other = kde.modes(), KernelDensity(0.4).fit(X[w > 0]).modes()
    np.testing.assert_allclose(found.modes, other.modes, atol=1e-8)
    np.testing.assert_array_equal(found.labels, other.labels)


def test_far_beginnings():
    kde = KernelDensity(0.5).fit(mixture(200, 2))
    found = kde.modes([[1e300, 1e300], [-1e300, 0.0], [50.0, -3e5]])
    assert_maxima(kde, found)


def test_new_points_find_their_basins():
    X = mixture(2000, 2)
    kde = KernelDensity(0.4).fit(X)
    found = kde.modes()
    np.testing.assert_array_equal(kde.predict_basin(X[:100], found), found.labels[:100])
    np.testing.assert_array_equal(kde.predict_basin(found.modes, found.modes), np.arange(len(found.modes)))
    assert (kde.predict_basin(X[:10], found.modes + 5.0) == -1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layouts_and_types_of_the_samples(dtype):
    X = mixture(500, 2).astype(dtype)
    found = KernelDensity(0.4).fit(np.asfortranarray(X)).modes()
    other = KernelDensity(0.4).fit(X.astype(float)).modes()
    np.testing.assert_allclose(found.modes, other.modes, atol=1e-9)
    np.testing.assert_array_equal(found.labels, other.labels)


# --- invariances ----------------------------------------------------------------------------------


def test_modes_follow_shift_and_scale():
    X = np.round(mixture(1000, 2) * 2**20) / 2**20
    plain = KernelDensity(0.25).fit(X).modes()
    for scale, shift in ((2.0**200, 0.0), (2.0**-200, 0.0), (1.0, 2.0**20)):
        found = KernelDensity(0.25 * scale).fit(X * scale + shift).modes()
        np.testing.assert_allclose((found.modes - shift) / scale, plain.modes, atol=1e-7)
        assert np.mean(found.labels == plain.labels) > 0.999


def test_the_same_bits_for_any_number_of_threads(always_threads):
    X = mixture(3000, 2)
    found = [KernelDensity(0.3, n_threads=t).fit(X).modes() for t in (1, 2, 3, 7)]
    for other in found[1:]:
        np.testing.assert_array_equal(other.modes, found[0].modes)
        np.testing.assert_array_equal(other.labels, found[0].labels)
        np.testing.assert_array_equal(other.log_density, found[0].log_density)


def test_too_few_steps_are_told():
    X = mixture(300, 2)
    found = KernelDensity(0.1).fit(X).modes(X + 5.0, max_iter=1)
    assert not found.converged.all() and len(found.labels) == 300


def test_refusals():
    kde = KernelDensity(1.0)
    with pytest.raises(ValueError, match="not fitted"):
        kde.modes()
    kde.fit([[0.0, 1.0]])
    with pytest.raises(ValueError, match="merge_tol is 0.0; expected a finite number > 0"):
        kde.modes(merge_tol=0.0)
    with pytest.raises(TypeError, match="max_iter is 1.5"):
        kde.modes(max_iter=1.5)
    with pytest.raises(ValueError, match="2 features"):
        kde.modes([[1.0]])
    with pytest.raises(ValueError, match="modes has 1 features"):
        kde.predict_basin([[0.0, 1.0]], [[1.0]])


@pytest.mark.parametrize("params", [
    {}, {"adaptive": "abramson"}, {"bounds": (0, 1)}, {"bounds": (0, 1), "boundary": "periodic"},
    {"kernel": "epanechnikov"},
], ids=str)
def test_bandwidths_below_the_rounding_of_coordinates(params):
    x = np.array([0.1, 0.2, 0.2, 0.5, 0.9])
    kde = KernelDensity(1e-30, **params).fit(x)
    found = kde.modes()
    np.testing.assert_allclose(np.sort(found.modes[:, 0]), np.unique(x), rtol=1e-14)
    assert found.modes[0, 0] == pytest.approx(0.2, rel=1e-14) and found.converged.all()
    np.testing.assert_array_equal(kde.predict_basin(x, found), found.labels)
    with pytest.raises(ValueError, match="bandwidth is so narrow .* expected at most 1e"):
        KernelDensity(1e-200, **params).fit(x).modes()
