"""Densities on tensor grids: the same contract as at any points, by products, by the nodes of a grid, by a tree."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussum import KernelDensity, gridding
from gaussum.axes import points
from gaussum.bandwidth import scott
from gaussum.cell_moments import rest
from gaussum.gridding import GridSum
from gaussum.layout import Layout
from gaussum.on_grid import counting, product_log_density
from gaussum.samples import Samples
from test_summation import KINDS, assert_within, by_definition, data, gaussian_sum

PLANS = ["product", "grid", "tree"]


def all_points(axes):
    return points(axes, np.arange(np.prod([len(axis) for axis in axes])))


def axes_over(S, rng, sizes=(19, 7, 5, 3)):
    """Unsorted and unequally spaced points: among the sources, on them, and far away on both sides."""
    axes = []
    for x, size in zip(S.T, sizes):
        axis = rng.uniform(x.min() - 2, x.max() + 2, size)
        axis[:2] = x[rng.integers(len(x), size=2)]
        axis[-1] = x.max() + 10.0 ** rng.uniform(0, 7)
        axis[-2] = x.min() - 10.0 ** rng.uniform(0, 3)
        axes.append(axis)
    return axes


def by_plan(total, name, axes, rtol, n_threads=2):
    """The log sums on a tensor grid by a plan, as a vector."""
    total.plan_on_axes = lambda *args, **kwargs: type("Plan", (), {"name": name})
    return total.log_density_on_axes(axes, rtol=rtol, n_threads=n_threads).ravel() - total._log_norm


def possible(total, name, d, rtol):
    if name == "product":
        return d > 1
    return rtol > 0 and (name == "tree" or total._layout_for(rtol).reason is None)


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_every_plan_near_and_far(name, kind, d):
    rng = np.random.default_rng(d)
    S = data(kind, 300, d, rng)
    axes = axes_over(S, rng)
    for h in (0.05, 0.5, 5.0):
        total, w = gaussian_sum(S, h, rng.exponential(size=300) ** 3)
        for rtol in (0.0, 1e-3, 1e-6, 1e-10):
            if possible(total, name, d, rtol):
                found = by_plan(total, name, axes, rtol)
                assert_within(found, by_definition(S, w, h, all_points(axes)), rtol)


@pytest.mark.parametrize("name", PLANS)
@given(
    kind=st.sampled_from(KINDS), n=st.integers(1, 300), d=st.integers(1, 3), log_h=st.floats(-3, 2),
    log_rtol=st.floats(-10, -1), heavy=st.floats(0, 20), seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40)
def test_any_data(name, kind, n, d, log_h, log_rtol, heavy, seed):
    rng = np.random.default_rng(seed)
    S, h, rtol = data(kind, n, d, rng), 10.0**log_h * rng.uniform(0.5, 2, d), 10.0**log_rtol
    total, w = gaussian_sum(S, h, rng.exponential(size=n) ** heavy + 1e-300)
    if possible(total, name, d, rtol):
        axes = axes_over(S, rng, (9, 7, 5))
        assert_within(by_plan(total, name, axes, rtol), by_definition(S, w, h, all_points(axes)), rtol)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_many_sources_by_the_plan_that_is_chosen(d):
    """Enough of them that the nodes of a grid pay, and in one dimension cells; tails to a hundred bandwidths."""
    rng = np.random.default_rng(d)
    n = (400_000, 60_000, 60_000)[d - 1]
    S, axes = rng.normal(size=(n, d)), [np.linspace(-9, 9, (700, 90, 30)[d - 1])] * d
    kde = KernelDensity(scott(S)).fit(S)
    axes = axes if d > 1 else axes[0]
    assert kde.explain_on_grid(axes).name == ("grid", "grid", "tree")[d - 1]
    if d == 3:
        kde._sum.plan_on_axes = lambda *args, **kwargs: type("Plan", (), {"name": "grid"})
    log_density, found = kde.density_on_grid(axes, log=True)
    some = rng.integers(log_density.size, size=200)
    exact = KernelDensity(scott(S), rtol=0).fit(S).score_samples(points(found, some))
    assert exact.min() < -900 and exact.max() > -8
    assert_within(log_density.ravel()[some], exact, 1e-6)


@pytest.mark.parametrize("rtol", [1e-2, 1e-6, 1e-9])
def test_cells_are_as_good_as_sources(rtol):
    """Nodes by way of cells are those that the sources make, to an eighth of rtol, and so are leave-one-out sums."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=150_000), np.round(rng.normal(60, 1, 49_999), 2), [1e5]])
    w = rng.exponential(size=len(x))
    w /= w.sum()
    layout = Layout(x[np.newaxis], np.array([1 / 0.5]), rtol)
    assert layout.subdivisions > 0
    cells = GridSum(layout, x[np.newaxis], w, rtol, 2)
    assert cells.tile_weights(8).sum() == pytest.approx(1.0, rel=1e-12)
    layout = Layout(x[np.newaxis], np.array([1 / 0.5]), rtol)
    layout.subdivisions = 0
    sources = GridSum(layout, x[np.newaxis], w, rtol, 2)
    np.testing.assert_allclose(cells.tile_weights(8), sources.tile_weights(8), rtol=1e-12)
    # nodes at the very end of a source's reach are compared with the others, as they count among others only
    np.testing.assert_allclose(cells._grid, sources._grid, rtol=0.125 * rtol, atol=1e-18 * sources._grid.max())
    own = GridSum(layout, x[np.newaxis], w, rtol, 2)
    own._grid = cells._grid
    a, b = np.empty(len(x)), np.empty(len(x))
    own.log_density(x[:, np.newaxis], a, own=w)
    sources.log_density(x[:, np.newaxis], b, own=w)
    both = np.isfinite(a) & np.isfinite(b)
    assert both.mean() > 0.9
    np.testing.assert_allclose(a[both], b[both], atol=rtol)


def test_the_rest_of_the_series():
    with mpmath.workdps(40):
        for v, u in ((6.7, 0.035), (0.5, 0.05), (8.9, 0.02)):
            for sign in (-1, 1):
                series = mpmath.taylor(lambda z: mpmath.exp(-2 * v * z - z * z), 0, 7)
                z = sign * mpmath.mpf(u)
                found = mpmath.fsum(c * z**k for k, c in enumerate(series))
                error = abs(found - mpmath.exp(-2 * v * z - z * z))
                assert error <= rest(v, u) * (1 + 1e-9)
            assert rest(v, u) < 10 * error


@pytest.mark.parametrize("d", [1, 2, 3])
def test_what_does_not_count_is_less_than_the_bound(d):
    rng = np.random.default_rng(d)
    S = np.concatenate([rng.normal(size=(20_000, d)), [[9.0] * d]])
    total, w = gaussian_sum(S, 0.3)
    layout, grid = total._layout_for(1e-6), total._grid_for(1e-6, 1)
    axes = [np.linspace(4.0, 40.0, 12)] * d
    index = counting(layout, grid, axes, np.ones([12] * d, dtype=bool), 1e-7, 1)
    assert 0 < len(index) < len(S) // 10
    T = all_points(axes)
    some = rng.integers(len(T), size=100)
    exact = by_definition(S, w, 0.3, T[some])
    assert (np.abs(by_definition(S[index], w[index], 0.3, T[some]) - exact) < 1e-7 + 1e-14 * np.abs(exact)).all()


def test_products_to_forty_digits():
    rng = np.random.default_rng(0)
    S, w = rng.normal(size=(40, 2)), rng.dirichlet(np.ones(40))
    axes = [np.array([0.0, -3.0, 30.0]), np.array([1.0, 12.0])]
    h = np.array([0.7, 1.3])
    found = product_log_density(np.ascontiguousarray(S.T), w, 1 / h, axes, 1).ravel()
    with mpmath.workdps(40):
        for value, t in zip(found, all_points(axes)):
            exact = mpmath.log(mpmath.fsum(
                mpmath.mpf(a) * mpmath.exp(-sum(((mpmath.mpf(p) - q) / mpmath.mpf(r)) ** 2
                                                for p, q, r in zip(t, s, h)) / 2)
                for a, s in zip(w, S)
            ))
            # what may have lost terms is left to others
            assert exact < -600 and value == -np.inf or abs(exact - value) < 1e-13 * max(1, abs(exact))


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("rtol", [0.0, 1e-6])
def test_the_same_bits_for_any_number_of_threads(d, rtol, always_threads):
    rng = np.random.default_rng(d)
    S = rng.normal(size=((200_000, 3000, 3000)[d - 1] if rtol else 500, d))
    found = [
        KernelDensity(0.3, rtol=rtol, n_threads=t).fit(S).density_on_grid([(-9.0, 9.0, (900, 600, 21)[d - 1])] * d)[0]
        for t in (1, 2, 3, 7)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


# --- axes -----------------------------------------------------------------------------------------


def test_forms_of_axes(faithful):
    kde = KernelDensity([0.3, 6.0]).fit(faithful)
    low, high = faithful.min(axis=0) - 4 * kde.bandwidth_, faithful.max(axis=0) + 4 * kde.bandwidth_
    density, axes = kde.density_on_grid()
    assert density.shape == (256, 256)
    for axis, a, b in zip(axes, low, high):
        np.testing.assert_allclose(axis, np.linspace(a, b, 256), rtol=1e-14)
    # nearly all of it is there
    step = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    assert density.sum() * step == pytest.approx(1, abs=2e-4)
    assert kde.density_on_grid(7).density.shape == (7, 7)
    mixed = kde.density_on_grid([5, (60, 70, 3)], log=True)
    assert mixed.density.shape == (5, 3) and mixed.axes[1].tolist() == [60, 65, 70]
    T = all_points(mixed.axes)
    np.testing.assert_allclose(mixed.density.ravel(), kde.score_samples(T), rtol=2e-6)
    listed = kde.density_on_grid([[3.0, 2.0, 3.0], np.array([70, 50], dtype=np.int16)])
    np.testing.assert_allclose(listed.density.ravel(), np.exp(kde.score_samples(all_points(listed.axes))), rtol=2e-6)
    assert listed.density[0].tolist() == listed.density[2].tolist()
    assert kde.density_on_grid([1, (50, 50, 1)]).axes[1].tolist() == [50]


def test_forms_of_one_axis(galaxies):
    kde = KernelDensity(800.0, rtol=0).fit(galaxies)
    expected = np.exp(kde.score_samples(np.linspace(9e3, 35e3, 5)))
    forms = [(9e3, 35e3, 5), [(9e3, 35e3, 5)], np.linspace(9e3, 35e3, 5), [np.linspace(9e3, 35e3, 5)],
             np.linspace(9e3, 35e3, 5).tolist(), np.repeat(np.linspace(9e3, 35e3, 5), 2)[::2]]
    for form in forms:
        np.testing.assert_array_equal(kde.density_on_grid(form).density, expected)
    assert kde.density_on_grid().density.shape == (1024,)
    assert kde.density_on_grid([9]).density.shape == kde.density_on_grid(9).density.shape == (9,)
    assert kde.density_on_grid(np.array([2e4])).density.shape == (1,)


BAD = {
    "entries": ([4, 4, 4], ValueError, "axes has 3 entries; expected 2"),
    "text": ("ab", TypeError, "axes is str; expected a number of points or 2 axes"),
    "number": (2.5, TypeError, "axes is float"),
    "zero": (0, ValueError, "axes is 0; expected an integer >= 1"),
    "entry": ([4, 2.5], TypeError, "axes[1] is 2.5; expected a number of points, a tuple (low, high, n), or points"),
    "none": ([4, None], TypeError, "axes[1] is None"),
    "flag": ([True, 4], TypeError, "axes[0] is True"),
    "order": ([4, (1, 0, 5)], ValueError, "axes[1] is (1, 0, 5); expected (low, high, n) with low < high"),
    "equal": ([4, (1, 1, 5)], ValueError, "axes[1] is (1, 1, 5)"),
    "count": ([4, (0, 1, 2.0)], TypeError, "axes[1][2] is 2.0; expected an integer >= 1"),
    "infinite": ([4, (0, np.inf, 5)], ValueError, "axes[1][1] is inf"),
    "nan": ([4, [0.0, np.nan]], ValueError, "axes[1] holds nan at index 1"),
    "empty": ([4, []], ValueError, "axes[1] is empty"),
    "matrix": ([4, np.ones((2, 2))], ValueError, "axes[1] has 2 features"),
}


@pytest.mark.parametrize("axes, error, message", BAD.values(), ids=BAD)
def test_refused_axes(faithful, axes, error, message):
    with pytest.raises(error) as caught:
        KernelDensity(1.0).fit(faithful).density_on_grid(axes)
    assert message in str(caught.value)


def test_what_else_is_refused(faithful):
    kde = KernelDensity(1.0)
    with pytest.raises(ValueError, match="not fitted"):
        kde.density_on_grid()
    with pytest.raises(TypeError, match="log is 1; expected True or False"):
        kde.fit(faithful).density_on_grid(3, log=1)
    with pytest.raises(ValueError, match="axes is None, for 5 features; expected the number of points"):
        kde.fit(np.ones((3, 5))).density_on_grid()
    assert kde.density_on_grid(2).density.shape == (2,) * 5


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 5000])
def test_the_ends_of_the_range(d, n):
    """Points no double can square the distance of, and one source: no warning, no NaN."""
    S = np.random.default_rng(0).normal(size=(n, d))
    kde = KernelDensity(0.5).fit(S)
    axis = np.array([0.1, 1e300, -1e300, 1e6])
    log_density = kde.density_on_grid([axis] * d, log=True).density
    assert not np.isnan(log_density).any()
    np.testing.assert_allclose(log_density.ravel(), kde.score_samples(all_points([axis] * d)), rtol=1e-6)
    assert (kde.density_on_grid([(-1.7e308, 1.7e308, 3)] * d).density >= 0).all()


@pytest.mark.parametrize("d", [1, 2])
def test_scale_and_shift(d):
    S = np.random.default_rng(0).normal(size=(2000, d))
    axes = [np.linspace(-4, 4, 40)] * d
    a = KernelDensity(0.25).fit(S).density_on_grid(axes, log=True).density
    b = KernelDensity(0.25 * 2.0**20).fit(S * 2.0**20).density_on_grid(
        [axis * 2.0**20 for axis in axes], log=True
    ).density
    np.testing.assert_allclose(b, a - 20 * d * np.log(2), rtol=1e-12)


def test_plans_are_explained():
    rng = np.random.default_rng(0)
    few = KernelDensity(0.3, rtol=0).fit(rng.normal(size=(500, 2)))
    assert few.explain_on_grid().name == "product" and "500 sources x 65,536 points" in str(few.explain_on_grid())
    assert KernelDensity(0.3).fit(rng.normal(size=(100_000, 2))).explain_on_grid().name == "grid"
    scattered = KernelDensity(1e-4).fit(rng.normal(size=(50_000, 3)))
    assert scattered.explain_on_grid(40).name == "tree"
    # what was computed before does not tell
    kde = KernelDensity(0.05).fit(rng.normal(size=(20_000, 3)))
    before = kde.explain_on_grid(30).name
    kde.density_on_grid(30)
    assert kde.explain_on_grid(30).name == before


def test_float32_and_memory_maps(tmp_path, faithful):
    np.save(tmp_path / "axis.npy", np.linspace(1, 6, 20).astype(np.float32))
    axis = np.load(tmp_path / "axis.npy", mmap_mode="r")
    kde = KernelDensity([0.2, 4.0]).fit(faithful.astype(np.float32))
    found = kde.density_on_grid([axis, (40, 100, 9)])
    assert found.axes[0].dtype == np.float64 and found.density.dtype == np.float64
    expected = kde.score_samples(all_points(found.axes))
    np.testing.assert_allclose(np.log(found.density.ravel()), expected, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_grids_visited_in_order(d, monkeypatch):
    """As large grids are, point by point and on tensor grids: the same sums within their bound."""
    rng = np.random.default_rng(d)
    S = rng.normal(size=(5000, d))
    axes = [np.linspace(-4, 4, 12)] * d
    T = all_points(axes)
    before, w = gaussian_sum(S, 0.4)
    unordered = by_plan(before, "grid", axes, 1e-9)
    monkeypatch.setattr(gridding, "_ORDERED_NODES", 0)
    total, w = gaussian_sum(S, 0.4)
    grid = total._grid_for(1e-9, 1)
    assert gridding.visiting_order(grid._layout, grid._pass, Samples(T), 1) is not None
    np.testing.assert_allclose(by_plan(total, "grid", axes, 1e-9), unordered, rtol=0, atol=2e-9)
    assert_within(total._by("grid", T, 1e-9, None, 2), by_definition(S, w, 0.4, T), 1e-9)
