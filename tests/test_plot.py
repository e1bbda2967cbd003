"""Pictures: what must be in them is in them, and bad arguments are named. How they look was judged by eye."""

import subprocess
import sys

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

import gaussum  # noqa: E402
from gaussum import GaussianMixture, KernelDensity, OutlierDetector, plot  # noqa: E402

TYPES = ["full", "tied", "diag", "spherical"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(1)
    return np.concatenate([rng.normal(0, 1, 300), rng.normal(6, 0.5, 200)])


@pytest.fixture(scope="module")
def X3():
    rng = np.random.default_rng(2)
    return np.concatenate([rng.normal(0, 1, (150, 3)), rng.normal(5, 1, (100, 3)) * [1.0, 2.0, 0.5]])


@pytest.fixture(scope="module")
def mixture(x):
    return GaussianMixture(2, random_state=0).fit(x)


@pytest.fixture(scope="module")
def kde(x):
    return KernelDensity(0.4).fit(x)


@pytest.fixture(scope="module")
def plane(X3):
    return GaussianMixture(2, random_state=0).fit(X3[:, :2])


def texts(legend):
    found = [t.get_text() for t in legend.get_texts()]
    return [*found, legend.get_title().get_text()]


def line(ax, label):
    return next(found for found in ax.lines if found.get_label() == label)


def ellipses(ax):
    return [p for p in ax.patches if isinstance(p, matplotlib.patches.Ellipse)]


def assert_curve(curve, estimator):
    points, values = curve.get_data()
    np.testing.assert_allclose(values, np.exp(estimator.score_samples(points)), rtol=1e-12)
    assert len(points) >= 1000


# ---- density -----------------------------------------------------------------------------------------------


def test_density_is_the_estimators(mixture, kde, x):
    for estimator in (mixture, kde):
        ax = plot.density(estimator, x)
        assert_curve(line(ax, "density"), estimator)
        assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("value", "density", "")
        assert ax.get_ylim()[1] >= line(ax, "density").get_ydata().max()
        assert texts(ax.get_legend())[:2] == ["samples (n = 500)", "density"]


@pytest.mark.parametrize("draw", [plot.density, plot.components])
def test_the_given_axes_are_used(draw, mixture, x):
    figure, (ax, other) = plt.subplots(1, 2)
    assert draw(mixture, x, ax=ax) is ax
    assert not other.has_data()
    assert plt.get_fignums() == [figure.number]
    assert draw(mixture, x) is not ax
    assert len(plt.get_fignums()) == 2


def test_histogram_counts_every_sample(mixture, x):
    ax = plot.density(mixture, x, bins=40, range=(-2, 4))
    (bars,) = (p for p in ax.patches if isinstance(p, matplotlib.patches.StepPatch))
    values, edges, _ = bars.get_data()
    assert len(values) == 40
    assert (edges[0], edges[-1]) == (-2, 4) == ax.get_xlim()
    inside = np.mean((x >= -2) & (x <= 4))
    assert np.sum(values * np.diff(edges)) == pytest.approx(inside)  # not 1
    beyond = round(500 * (1 - inside))
    assert texts(ax.get_legend())[0] == f"samples (n = 500, {beyond} beyond the axes)"


def test_fewer_samples_have_fewer_bins_by_default(mixture, x):
    def n_bins(samples, **keywords):
        ax = plot.density(mixture, samples, **keywords)
        return len(ax.patches[0].get_data()[0])

    assert n_bins(x[:50]) == 21
    assert n_bins(np.tile(x, 3)) == 80
    assert n_bins(x[:50], bins=80) == 80


def test_density_with_components(mixture, x):
    ax = plot.density(mixture, x, components=True)
    assert len(ax.collections) == 2
    assert [t.partition(":")[0] for t in texts(ax.get_legend())[2:4]] == ["component 0", "component 1"]
    for k, filled in enumerate(ax.collections):
        assert _area(filled) == pytest.approx(mixture.weights_[k], abs=0.01)


def _area(filled):
    """Of the polygon of `fill_between`, by the shoelace formula."""
    px, py = filled.get_paths()[0].vertices.T
    return abs(np.sum(px * np.roll(py, -1) - py * np.roll(px, -1))) / 2


def test_a_second_density_joins_the_first(mixture, kde, x):
    ax = plot.density(mixture, x, label="mixture")
    wide = ax.get_xlim()
    plot.density(kde, range=(-1, 1), label="kernel", ax=ax)
    assert ax.get_xlim() == wide
    assert line(ax, "mixture").get_color() != line(ax, "kernel").get_color()
    assert texts(ax.get_legend())[:3] == ["samples (n = 500)", "mixture", "kernel"]


def test_far_outliers_do_not_set_the_range(mixture, x):
    ax = plot.density(mixture, np.append(x, [1e4, -1e6]))
    low, high = ax.get_xlim()
    assert low > -10 and high < 15
    assert "2 beyond the axes" in texts(ax.get_legend())[0]


def test_ranges_without_samples(mixture, kde, plane):
    for estimator in (mixture, kde):
        low, high = plot.density(estimator).get_xlim()
        assert low < -2 and high > 7
    ax = plot.density(plane)
    assert ax.get_xlim()[0] < -1 and ax.get_xlim()[1] > 6


def test_a_narrow_component_is_not_missed(x):
    narrow = GaussianMixture(2, weights_init=[0.5, 0.5], means_init=[[0.0], [3.0]], reg_covar=0.0)
    rng = np.random.default_rng(0)
    narrow.fit(np.concatenate([rng.normal(0, 100, 300), rng.normal(3, 1e-3, 300)]))
    curve = line(plot.density(narrow, range=(-300, 300)), "density")
    peak = np.exp(narrow.score_samples(narrow.means_)).max()
    assert curve.get_ydata().max() == pytest.approx(peak, rel=1e-6)


@pytest.mark.parametrize("samples", [np.ones(20), np.zeros(1), np.full(5, 1e9)])
def test_constant_samples(samples):
    ax = plot.density(KernelDensity(0.3).fit(samples), samples)
    low, high = ax.get_xlim()
    assert low < samples[0] < high
    assert line(ax, "density").get_ydata().max() > 1


@pytest.mark.parametrize("components", [False, True])
def test_density_in_the_plane(plane, X3, components):
    ax = plot.density(plane, X3[:, :2], components=components)
    assert len(ellipses(ax)) == (4 if components else 0)
    found = texts(ax.get_legend())
    assert [f"density: densest {p}%" for p in (50, 80, 95)] == found[:3]
    assert found[3] == "samples (n = 250)"
    assert ("standard deviations" in found[-1]) == components
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("feature 0", "feature 1")


def test_regions_hold_their_probability(plane, X3):
    drawn, _ = plane.sample(20_000, random_state=0)
    ax = plot.density(plane, X3[:, :2])
    (regions,) = (c for c in ax.collections if isinstance(c, matplotlib.contour.ContourSet))
    log_density = plane.score_samples(drawn)
    for level, probability in zip(regions.levels, (0.95, 0.8, 0.5), strict=False):
        assert np.mean(np.exp(log_density) > level) == pytest.approx(probability, abs=0.02)


def test_many_samples_become_an_image(plane, X3):
    many = np.tile(X3[:, :2], (100, 1))
    ax = plot.density(plane, many)
    (image,) = (c for c in ax.collections if isinstance(c, matplotlib.collections.QuadMesh))
    assert image.get_rasterized()
    assert max(len(c.get_offsets()) for c in ax.collections) < 1000
    assert f"samples (n = {25_000:,})" in texts(ax.get_legend())
    ax = plot.components(plane, many)
    assert max(len(c.get_offsets()) for c in ax.collections) == 20_000
    assert "samples (n = 25,000, 20,000 shown)" in texts(ax.get_legend())


class Frame:
    """What a data frame offers."""

    def __init__(self, values, columns):
        self.values, self.columns, self.shape, self.ndim = values, columns, values.shape, values.ndim

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype=dtype)


def test_columns_of_a_data_frame_label_the_axes(plane, mixture, X3, x):
    ax = plot.density(plane, Frame(X3[:, :2], ["length", "width"]))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("length", "width")
    assert plot.density(mixture, Frame(x[:, np.newaxis], ["speed"])).get_xlabel() == "speed"


# ---- components and pairs ----------------------------------------------------------------------------------


def test_components_of_one_feature(mixture, x):
    ax = plot.components(mixture, x)
    assert len(ax.collections) == 2
    assert not ax.lines
    for k, filled in enumerate(ax.collections):
        mean, deviation = mixture.means_[k, 0], np.sqrt(np.ravel(mixture.covariances_)[k])
        points, heights = filled.get_paths()[0].vertices.T
        peak = mixture.weights_[k] / (deviation * np.sqrt(2 * np.pi))
        assert heights.max() == pytest.approx(peak, rel=1e-6)
        assert points[heights.argmax()] == pytest.approx(mean, abs=1e-2 * deviation)
        assert matplotlib.colors.to_hex(filled.get_facecolor()[0]) == plot.COLORS[k].lower()
    assert f"component 0: {mixture.weights_[0]:.1%}" in texts(ax.get_legend())[1]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_ellipses_of_every_covariance_type(X3, covariance_type):
    X = X3[:, :2]
    model = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    ax = plot.components(model, X)
    found = ellipses(ax)
    assert len(found) == 4
    for k, (one, two) in enumerate([found[:2], found[2:]]):
        # the boundary of the ellipse of s standard deviations lies at Mahalanobis distance s
        for s, ellipse in ((1, one), (2, two)):
            t = np.linspace(0, 2 * np.pi, 20)
            circle = np.column_stack([np.cos(t), np.sin(t)])
            boundary = ellipse.get_patch_transform().transform(circle) - model.means_[k]
            precision = _precision(model, k)
            distance = np.sqrt(np.einsum("ij,jl,il->i", boundary, precision, boundary))
            np.testing.assert_allclose(distance, s, rtol=1e-9)
        assert matplotlib.colors.to_hex(one.get_edgecolor()) == plot.COLORS[k].lower()
    assert "1 and 2 standard deviations" in texts(ax.get_legend())[-1]


def _precision(model, k):
    covariances = np.asarray(model.covariances_)
    match model.covariance_type:
        case "full":
            return np.linalg.inv(covariances[k])
        case "tied":
            return np.linalg.inv(covariances)
    return np.eye(2) / covariances[k]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_curves_of_every_covariance_type(x, covariance_type):
    model = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(x)
    ax = plot.density(model, x, components=True)
    curve = line(ax, "density")
    tops = [np.interp(model.means_[k, 0], *curve.get_data()) for k in (0, 1)]
    for filled, top in zip(ax.collections, tops, strict=True):
        assert filled.get_paths()[0].vertices[:, 1].max() == pytest.approx(top, rel=0.02)  # far apart


def test_points_have_the_colour_of_their_component(plane, X3):
    ax = plot.components(plane, X3[:, :2])
    scatter = next(c for c in ax.collections if len(c.get_offsets()) == 250)
    expected = [plot.COLORS[k].lower() for k in plane.predict(X3[:, :2])]
    assert [matplotlib.colors.to_hex(c) for c in scatter.get_facecolors()] == expected


@pytest.mark.filterwarnings("ignore::gaussum.SpuriousOptimumWarning")
def test_one_component_and_more_than_there_are_colours(x, X3):
    assert len(plot.components(GaussianMixture(1).fit(x), x).collections) == 1
    assert len(ellipses(plot.components(GaussianMixture(1).fit(X3[:, :2])))) == 2
    many = GaussianMixture(10, random_state=0).fit(x)
    assert len(plot.density(many, x, components=True).collections) == 10


def test_pairs(X3):
    model = GaussianMixture(2, random_state=0).fit(X3)
    grid = plot.pairs(model, X3, features=["a", "b", "c"], max_points=100)
    assert grid.shape == (3, 3)
    for (row, column), ax in np.ndenumerate(grid):
        if row == column:
            curve = line(ax, "density")
            spread = np.sqrt(model.covariances_[:, row, row])
            z = (curve.get_xdata()[:, np.newaxis] - model.means_[:, row]) / spread
            expected = (model.weights_ / spread * np.exp(-0.5 * z * z)).sum(axis=1) / np.sqrt(2 * np.pi)
            np.testing.assert_allclose(curve.get_ydata(), expected, rtol=1e-12)
        else:
            assert len(ellipses(ax)) == 4
            assert sum(len(c.get_offsets()) for c in ax.collections) == 100
            np.testing.assert_allclose(ellipses(ax)[0].get_center(), model.means_[0, [column, row]])
    assert [ax.get_xlabel() for ax in grid[-1]] == ["a", "b", "c"]
    assert [ax.get_ylabel() for ax in grid[:, 0]] == ["a", "b", "c"]
    (legend,) = grid[0, 0].figure.legends
    assert "ellipses: 1 and 2 standard deviations" in texts(legend)


def test_pairs_of_one_feature(mixture, x):
    grid = plot.pairs(mixture, x)
    assert grid.shape == (1, 1)
    assert_curve(line(grid[0, 0], "density"), mixture)


# ---- criteria ----------------------------------------------------------------------------------------------


def table(types=("full",)):
    best = {"full": 3, "tied": 4}
    return [
        {"n_components": k, "covariance_type": t, "bic": 100.0 + (k - best[t]) ** 2 + (t == "tied"),
         "aic": 90.0 + (k - 4) ** 2 + (t == "tied"), "aicc": np.nan, "icl": np.inf, "converged": k != 2}
        for t in types for k in (1, 2, 3, 4, 5)
    ]


def test_criteria():
    ax = plot.criteria(table())
    found = texts(ax.get_legend())
    assert found[:2] == ["BIC: best 3", "AIC: best 4"]
    assert "not converged" in found
    curves = [c for c in ax.lines if len(c.get_xdata()) == 5]
    assert [list(c.get_ydata()) for c in curves] == [[r[name] for r in table()] for name in ("bic", "aic")]
    stars = [c.get_xydata().tolist()[0] for c in ax.lines if c.get_marker() == "*" and len(c.get_xdata())]
    assert stars == [[3, 100], [4, 90]]
    assert ax.get_xlabel() == "number of components"


def test_criteria_of_several_covariance_types():
    ax = plot.criteria(table(["full", "tied"]), "bic")
    assert texts(ax.get_legend())[:3] == ["BIC: best 3, full", "full", "tied"]
    assert len([c for c in ax.lines if len(c.get_xdata()) == 5]) == 2


def test_criteria_skip_failed_fits():
    rows = table()
    rows[2] |= {"bic": np.nan}
    ax = plot.criteria(rows, ["bic"])
    assert texts(ax.get_legend())[0].startswith("BIC: best ")
    assert any(list(c.get_xdata()) == [1, 2, 4, 5] for c in ax.lines)


def test_criteria_of_a_selection(x):
    result = gaussum.select_mixture(x, range(1, 4), n_init=1, random_state=0)
    figure, ax = plt.subplots()
    assert plot.criteria(result, ax=ax) is ax
    best = result.best_.n_components
    assert texts(ax.get_legend())[0] == f"BIC: best {best}"
    assert isinstance(result.plot(), matplotlib.axes.Axes)


def test_criterion_that_should_be_large():
    rows = [{"n_components": k, "covariance_type": "full", "cv": -5.0 - (k - 3) ** 2, "bic": 1.0} for k in (1, 2, 3, 4)]
    ax = plot.criteria(rows, "cv")
    assert texts(ax.get_legend())[0] == "cross-validated log-likelihood: best 3"
    with pytest.raises(ValueError, match="'cv' has a scale of its own"):
        plot.criteria(rows, ("bic", "cv"))


def test_spurious_fits_are_marked():
    rows = table()
    rows[3] |= {"bic": 1.0, "spurious": True}
    ax = plot.criteria(rows, "bic")
    assert texts(ax.get_legend())[0] == "BIC: best 3"
    assert "spurious optimum" in texts(ax.get_legend())
    assert [c.get_xydata().tolist() for c in ax.lines if c.get_marker() == "x" and len(c.get_xdata())] == [[[4, 1]]]


def test_selection_panels(x):
    result = gaussum.select_mixture(x, range(1, 5), ["full", "tied"], cv=3, n_init=1, random_state=0)
    panels = result.plot_all(n_top=3)
    assert [ax.get_title().split(":")[0] for ax in panels] == [
        "BIC", "AIC", "AICc", "ICL", "cross-validated log-likelihood", "best 3 by BIC",
    ]
    assert [t.get_text() for t in panels[-1].get_yticklabels()] == [
        f"{row['n_components']}, {row['covariance_type']}" for row in result.top(3)
    ]
    for ax, name in zip(panels, result.criteria, strict=False):
        stars = [c.get_xydata()[0] for c in ax.lines if c.get_marker() == "*" and len(c.get_xdata())]
        best = result.models.index(result.best(name))
        np.testing.assert_array_equal(stars, [[result.table[best]["n_components"], result.table[best][name]]])
        low, high = ax.get_ylim()
        assert low < result.table[best][name] < high
    assert texts(panels[0].figure.legends[0])[:2] == ["full", "tied"]
    # alone: five panels and no legend of types
    alone = gaussum.select_mixture(x, range(1, 3), n_init=1, random_state=0)
    assert len(plot.selection(alone)) == 5
    by_cv = gaussum.select_mixture(x, range(1, 3), criterion="cv", n_init=1, random_state=0)
    assert by_cv.plot().get_ylabel().startswith("mean log-likelihood")


def test_bootstrap_panels(x):
    test = gaussum.bootstrap_test(x, [1, 2, 3], n_bootstrap=19, n_init=1, random_state=0)
    panels = test.plot()
    assert len(panels) == len(test.table)
    for ax, row in zip(panels, test.table, strict=True):
        assert ax.get_title().startswith(f"{row['n_components']} against {row['n_components'] + 1}: p = ")
        assert [c for c in ax.lines if list(c.get_xdata()) == [row["statistic"]] * 2]
    figure, axes = plt.subplots(1, len(test.table))
    assert (plot.bootstrap(test, axes=axes) == np.ravel(axes)).all()


def test_entropy_of_a_merging(x):
    mixture = GaussianMixture(5, random_state=0).fit(x)
    merging = gaussum.merge_components(mixture, x)
    figure, ax = plt.subplots()
    assert merging.plot(ax=ax) is ax
    assert any(list(c.get_ydata()) == merging.entropies.tolist() for c in ax.lines)
    assert f"elbow: {merging.n_clusters_} clusters" in texts(ax.get_legend())
    mixed = np.concatenate([x[:300], 2 * x[:300]])
    pair = gaussum.merge_components(GaussianMixture(2, random_state=0).fit(mixed), mixed)
    assert pair.n_clusters_ == 1 and "one cluster: they overlap" in texts(plot.entropy(pair).get_legend())
    assert plot.entropy(pair).get_ylabel().startswith("entropy")


# ---- outliers ----------------------------------------------------------------------------------------------


def counts(ax):
    words = [t.split(" (") for t in texts(ax.get_legend()) if t.endswith(")")]
    return {name: int(number.rstrip(")").replace(",", "")) for name, number in words}


def test_outliers_of_a_detector(x):
    detector = OutlierDetector(KernelDensity(0.4), contamination=0.05).fit(x)
    ax = plot.outliers(detector, x)
    flagged = int(np.sum(detector.predict(x) == -1))
    assert counts(ax) == {"ordinary": 500 - flagged, "outliers": flagged}
    assert f"threshold {detector.offset_:.4g}" in texts(ax.get_legend())
    drawn = np.concatenate([c.get_offsets() for c in ax.collections])
    assert len(drawn) == 500
    np.testing.assert_allclose(drawn[:, 1], detector.score_samples(drawn[:, 0]), rtol=1e-12)
    assert ax.lines[0].get_ydata()[0] == detector.offset_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("value", "log density")


def test_detected_missed_and_spurious(mixture, x):
    samples = np.append(x, [50.0, -60.0, 11.0])
    threshold = mixture.score_samples([10.0])[0]
    truth = np.array([500, 501, 0, 0, 1])
    ax = plot.outliers(mixture, samples, threshold=threshold, true_outliers=truth)
    assert counts(ax) == {"ordinary": 498, "detected": 2, "missed": 2, "spurious": 1}
    by_name = {c.get_label().split(" (")[0]: np.asarray(c.get_offsets()) for c in ax.collections}
    assert sorted(by_name["missed"][:, 0]) == sorted(samples[[0, 1]])
    assert by_name["spurious"][0, 0] == 11.0
    assert by_name["detected"][:, 0].max() == 50.0
    markers = [c.get_paths()[0].vertices.tolist() for c in ax.collections if "(" in c.get_label()][1:]
    assert markers[0] != markers[1] != markers[2]  # told apart without colour


def test_no_outliers_at_all(mixture, x):
    ax = plot.outliers(mixture, x, threshold=-1e6, true_outliers=[])
    assert counts(ax) == {"ordinary": 500, "detected": 0, "missed": 0, "spurious": 0}


def test_outliers_beyond_the_axes_stay_on_their_edge(mixture, x):
    samples = np.append(x, [1e9])
    ax = plot.outliers(mixture, samples, threshold=-9)
    assert "1 beyond the axes, drawn on the edge" in texts(ax.get_legend())
    assert ax.get_xlim()[1] < 1e3
    low, high = ax.get_ylim()
    assert low > -100
    (red,) = (c for c in ax.collections if c.get_label() == "outliers (1)")
    assert red.get_offsets().tolist() == [[ax.get_xlim()[1], low]]


def test_outliers_in_the_plane_and_above(plane, X3):
    threshold = np.percentile(plane.score_samples(X3[:, :2]), 5)
    ax = plot.outliers(plane, X3[:, :2], threshold=threshold)
    assert counts(ax) == {"ordinary": 237, "outliers": 13}
    (contour,) = (c for c in ax.collections if isinstance(c, matplotlib.contour.ContourSet))
    assert list(contour.levels) == [threshold]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("feature 0", "feature 1")

    space = GaussianMixture(2, random_state=0).fit(X3)
    ax = plot.outliers(space, X3, threshold=-8)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("sample index", "log density")
    drawn = np.concatenate([c.get_offsets() for c in ax.collections])
    assert sorted(drawn[:, 0]) == list(range(250))


def test_many_ordinary_samples_are_thinned_but_no_outlier(mixture, x):
    samples = np.append(np.tile(x, 50), np.full(30, 20.0))
    ax = plot.outliers(mixture, samples, threshold=-12)
    assert counts(ax) == {"ordinary": 25_000, "outliers": 30}
    assert [len(c.get_offsets()) for c in ax.collections] == [20_000, 30]
    assert ax.collections[0].get_rasterized()


# ---- compare -----------------------------------------------------------------------------------------------


def test_compare(mixture, kde, x):
    figure, ax = plt.subplots()
    assert plot.compare({"mixture": mixture, "kernel": kde}, x, ax=ax) is ax
    assert_curve(line(ax, "mixture"), mixture)
    assert_curve(line(ax, "kernel"), kde)
    assert len({c.get_color() for c in ax.lines}) == 2
    assert texts(ax.get_legend())[:3] == ["samples (n = 500)", "mixture", "kernel"]
    assert len(plot.compare({"mixture": mixture, "kernel": kde}).lines) == 2


# ---- legends -----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::gaussum.SpuriousOptimumWarning")
def test_legends_cover_no_curve(mixture, kde, x):
    many = GaussianMixture(8, random_state=0).fit(x)
    for ax in (plot.density(mixture, x), plot.density(many, x, components=True),
               plot.compare({"a": mixture, "b": kde}, x), plot.criteria(table(["full", "tied"]))):
        ax.figure.canvas.draw()
        box = ax.get_legend().get_window_extent()
        for curve in ax.lines:
            if curve.get_transform() == ax.transData and len(curve.get_xdata()):
                assert not box.count_contains(ax.transData.transform(curve.get_xydata()))


# ---- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda m, x, p: plot.density(GaussianMixture(2)), gaussum.NotFittedError, "estimator is not fitted"),
        (lambda m, x, p: plot.density("kde", x), TypeError, "estimator is str"),
        (lambda m, x, p: plot.density(m, "text"), TypeError, "X holds"),
        (lambda m, x, p: plot.density(m, [0.0, np.nan]), ValueError, "X holds nan"),
        (lambda m, x, p: plot.density(p, x), ValueError, "X has one dimension"),
        (lambda m, x, p: plot.density(m, x, bins=0), ValueError, "bins is 0"),
        (lambda m, x, p: plot.density(m, x, bins=8.5), TypeError, "bins is 8.5"),
        (lambda m, x, p: plot.density(m, x, range=(3, 1)), ValueError, "range is .* expected low < high"),
        (lambda m, x, p: plot.density(m, x, range=(3, np.inf)), ValueError, "range holds NaN or infinity"),
        (lambda m, x, p: plot.density(p, range=(0, 1)), ValueError, r"range has shape \(2,\)"),
        (lambda m, x, p: plot.density(KernelDensity(1.0).fit(x), x, components=True), TypeError, "weights_"),
        (lambda m, x, p: plot.components(KernelDensity(1.0).fit(x)), TypeError, "mixture .* weights_"),
        (lambda m, x, p: plot.components(GaussianMixture(2)), gaussum.NotFittedError, "mixture is not"),
        (lambda m, x, p: plot.pairs(p, np.ones((3, 2)), features=["a"]), ValueError, "features .* 2 names"),
        (lambda m, x, p: plot.pairs(p, np.ones((3, 2)), features="ab"), ValueError, "features is 'ab'"),
        (lambda m, x, p: plot.pairs(p, np.ones((3, 2)), max_points=0), ValueError, "max_points is 0"),
        (lambda m, x, p: plot.pairs(p, None), TypeError, "X"),
        (lambda m, x, p: plot.criteria(table(), "dic"), ValueError, "criteria is 'dic'"),
        (lambda m, x, p: plot.criteria(table(), ()), ValueError, "criteria is empty"),
        (lambda m, x, p: plot.criteria(table(), "aicc"), ValueError, "result holds no finite 'aicc'"),
        (lambda m, x, p: plot.criteria(table(), "icl"), ValueError, "result holds no finite 'icl'"),
        (lambda m, x, p: plot.criteria(m), TypeError, "result is GaussianMixture"),
        (lambda m, x, p: plot.selection(table()), TypeError, "result is list; expected a SelectionResult"),
        (lambda m, x, p: plot.bootstrap(m), TypeError, "test is GaussianMixture"),
        (lambda m, x, p: plot.entropy(m), TypeError, "merging is GaussianMixture"),
        (lambda m, x, p: plot.outliers(m, x), ValueError, "threshold is None"),
        (lambda m, x, p: plot.outliers(m, x, threshold=np.nan), ValueError, "threshold is nan"),
        (lambda m, x, p: plot.compare({}, x), ValueError, "estimators is empty"),
        (lambda m, x, p: plot.compare([m], x), TypeError, "estimators is list"),
        (lambda m, x, p: plot.compare({"a": m, "b": p}), ValueError, r"estimators\['b'\] has 2 features"),
    ],
)
def test_refusals_name_the_argument(call, error, words, mixture, x, plane):
    with pytest.raises(error, match=words):
        call(mixture, x, plane)
    assert not plt.get_fignums()  # nothing half-drawn


@pytest.mark.parametrize(
    "indices, error, words",
    [
        ([500], ValueError, "holds 500; expected indices from 0 to 499"),
        ([3, -1], ValueError, "holds -1"),
        ([0.5], TypeError, "holds float64"),
        (np.zeros(500, dtype=bool), TypeError, "holds bool"),
        ([[1]], ValueError, r"has shape \(1, 1\)"),
    ],
)
def test_refusals_of_true_outliers(indices, error, words, mixture, x):
    with pytest.raises(error, match=f"true_outliers {words}"):
        plot.outliers(mixture, x, threshold=-9, true_outliers=indices)


def test_more_than_two_features_are_sent_to_pairs(X3):
    model = GaussianMixture(2, random_state=0).fit(X3)
    for draw, name in ((plot.density, "estimator"), (plot.components, "mixture")):
        with pytest.raises(ValueError, match=f"{name} has 3 features.*pairs"):
            draw(model, X3)


def test_a_density_that_does_not_tell_its_range():
    class Flat:
        def score_samples(self, X):
            return np.zeros(len(X))

    with pytest.raises(ValueError, match="X and range are None"):
        plot.density(Flat())
    assert plot.density(Flat(), range=(0, 1)).get_xlim() == (0, 1)


def test_importing_gaussum_loads_no_matplotlib():
    code = "import sys, gaussum; gaussum.plot; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_the_extra_is_named(monkeypatch, mixture):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"gaussum\[plot\]"):
        plot.density(mixture)


def test_settings_are_left_alone(mixture, x):
    before = dict(matplotlib.rcParams)
    plot.density(mixture, x, components=True)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("samples", [np.ones(20), np.ones((20, 2)), np.zeros((1, 3))])
def test_outliers_of_constant_samples(samples):
    kde = KernelDensity(0.3).fit(samples)
    ax = plot.outliers(kde, samples, threshold=kde.score_samples(samples)[0])
    assert counts(ax) == {"ordinary": len(samples), "outliers": 0}
