"""gaussian_kde beside scipy.stats.gaussian_kde: the same values, shapes, random numbers and errors; and what is new."""

import copy
import pickle

import numpy as np
import pytest
import scipy.stats

from gaussum import gaussian_kde

METHODS = [None, "scott", "silverman", 0.3, np.float32(0.5), lambda kde: 0.1 * kde.n**0.2]


def dataset(d, n=300, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(d, d)) @ rng.normal(size=(d, n)) + 5.0


def both(*args, **kwargs):
    return gaussian_kde(*args, **kwargs), scipy.stats.gaussian_kde(*args, **kwargs)


def weights(n, seed=1):
    w = np.random.default_rng(seed).exponential(size=n)
    w[::7] = 0.0
    return w


@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weighted", [False, True])
def test_values(d, method, weighted):
    data, points = dataset(d), dataset(d, 150, seed=0)[:, ::2] + 0.1
    ours, theirs = both(data, method, weights(300) if weighted else None)
    for name in ("factor", "covariance", "inv_cov", "cho_cov", "log_det", "neff", "weights", "d", "n"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(ours.dataset, theirs.dataset)
    expected = theirs(points)
    assert expected.shape == (75,) and (expected > 1e-12).any()
    for found in (ours(points), ours.pdf(points), ours.evaluate(points.tolist())):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-300)
    with np.errstate(divide="ignore"):
        known = np.isfinite(theirs.logpdf(points))
        np.testing.assert_allclose(ours.logpdf(points)[known], theirs.logpdf(points)[known], rtol=1e-10)


@pytest.mark.parametrize("d", [1, 2])
def test_many_samples(d):
    """By grids and trees, within the bound, from the centre to the tails."""
    ours, theirs = both(dataset(d, 20_000))
    points = dataset(d, 400, seed=2)[:, :300] * 1.5
    np.testing.assert_allclose(ours(points), theirs(points), rtol=1e-9, atol=1e-290)
    loose = gaussian_kde(dataset(d, 20_000), rtol=1e-3)
    np.testing.assert_allclose(loose(points), theirs(points), rtol=1e-3, atol=1e-290)


@pytest.mark.parametrize("d", [1, 2])
def test_integrals(d):
    ours, theirs = both(dataset(d, 25), weights=weights(25))
    mean, cov = np.full(d, 5.2), np.eye(d) + 0.3
    np.testing.assert_allclose(ours.integrate_gaussian(mean, cov), theirs.integrate_gaussian(mean, cov), rtol=1e-12)
    low, high = np.full(d, 4.0), np.full(d, 6.5)
    np.testing.assert_allclose(
        ours.integrate_box(low, high), theirs.integrate_box(low, high), rtol=1e-12 if d == 1 else 1e-3
    )
    assert np.ndim(ours.integrate_box(low, high)) == 0
    other = dataset(d, 40, seed=3)
    for one, two in ((gaussian_kde(other), scipy.stats.gaussian_kde(other)), (theirs, theirs)):
        np.testing.assert_allclose(ours.integrate_kde(one), theirs.integrate_kde(two), rtol=1e-10)
    if d == 1:
        for a, b in ((4, 6), (-np.inf, 5), (-np.inf, np.inf), (6, 4)):
            np.testing.assert_allclose(ours.integrate_box_1d(a, b), theirs.integrate_box_1d(a, b), rtol=1e-12)


def test_scalars():
    """NumPy's, as SciPy's are: they have methods that Python's floats have not."""
    for kde in both(dataset(1, 25)) + both(dataset(1, 25), weights=weights(25)):
        for value in (kde.neff, kde.factor, kde.scotts_factor(), kde.silverman_factor(), kde.integrate_box_1d(0, 1),
                      kde.integrate_box([0], [1]), kde.integrate_gaussian(0, 1), kde.integrate_kde(kde)):
            assert type(value) is np.float64


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("seed", [3, "Generator", "RandomState"])
def test_the_same_random_numbers(d, seed):
    def made():
        return seed if seed == 3 else getattr(np.random, {"Generator": "default_rng"}.get(seed, seed))(5)

    ours, theirs = both(dataset(d), weights=weights(300))
    np.testing.assert_allclose(ours.resample(50, made()), theirs.resample(50, made()), rtol=1e-12)
    assert ours.resample(seed=made()).shape == theirs.resample(seed=made()).shape
    np.random.seed(2)
    first = ours.resample(4)
    np.random.seed(2)
    np.testing.assert_allclose(theirs.resample(4), first, rtol=1e-12)


def test_bandwidths_change():
    ours, theirs = both(dataset(3))
    points = dataset(3, 20, seed=4)
    before = ours(points)
    for method in (0.05, "silverman", None, ours.factor / 3.0):
        ours.set_bandwidth(method)
        theirs.set_bandwidth(method)
        np.testing.assert_allclose(ours(points), theirs(points), rtol=1e-10)
        assert method is None or np.abs(ours(points) - before).max() > 1e-3 * before.max()
    for kde in (ours, theirs):
        kde.set_bandwidth(bw_method=kde.factor * 2)         # seaborn's way
        kde.covariance_factor = lambda: 0.7                 # what many have pasted
        kde._compute_covariance()
    np.testing.assert_allclose(ours(points), theirs(points), rtol=1e-10)


def test_subclasses():
    class Wide(gaussian_kde):
        def covariance_factor(self):
            return 2.0 * self.scotts_factor()

    class Own(gaussian_kde):
        def _compute_covariance(self):
            self.factor, self.covariance = 1.0, np.array([[0.25]])

    kde = Wide(dataset(1))
    assert kde.factor == pytest.approx(2 * gaussian_kde(dataset(1)).factor)
    kde.set_bandwidth("scott")
    assert kde.factor == pytest.approx(gaussian_kde(dataset(1)).factor)
    expected = scipy.stats.norm(dataset(1)[0], 0.5).pdf(5.0).mean()
    assert Own(dataset(1))(5.0)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dims", [0, [1], [2, 0], [-1], np.array([0, 1, 2])])
def test_marginals(dims):
    ours, theirs = both(dataset(3), 0.4, weights(300))
    a, b = ours.marginal(dims), theirs.marginal(dims)
    assert isinstance(a, gaussian_kde)
    points = dataset(a.d, 30, seed=6)
    np.testing.assert_allclose(a(points), b(points), rtol=1e-10)


def constant(kde):
    return 0.3


@pytest.mark.parametrize("method", [None, "silverman", 0.25, constant])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda k: pickle.loads(pickle.dumps(k))])
def test_copies(method, duplicate):
    kde = gaussian_kde(dataset(2), method, weights(300))
    points = dataset(2, 30, seed=5)
    expected = kde(points)
    twin = duplicate(kde)
    np.testing.assert_array_equal(twin(points), expected)
    twin.set_bandwidth(2.0)
    np.testing.assert_array_equal(kde(points), expected)
    fresh = duplicate(kde)
    fresh.set_bandwidth(None)
    np.testing.assert_array_equal(fresh(points), expected)


def test_shapes():
    one, two = gaussian_kde([1.0, 2.0, 4.0]), gaussian_kde(dataset(2))
    assert one(2.0).shape == one([2.0]).shape == (1,) and one([1, 2, 3]).shape == (3,)
    assert two([5.0, 5.0]).shape == two([[5.0], [5.0]]).shape == (1,)
    assert two(np.empty((2, 0))).shape == (0,)
    points = np.array([[5.0, np.nan, np.inf, 5.0], [5.0, 1.0, 1.0, -np.inf]])
    assert two(points)[2:].tolist() == [0, 0] and np.isnan(two(points)[1]) and two(points)[0] > 0
    assert two.logpdf(points)[2] == -np.inf
    ints = gaussian_kde(np.array([1, 5, 7], dtype=np.int8))
    np.testing.assert_allclose(ints([4]), scipy.stats.gaussian_kde([1, 5, 7])([4]), rtol=1e-10)


def test_log_densities_in_the_tails():
    kde = gaussian_kde(dataset(2))
    far = np.array([[1e3, -1e6], [1e3, 2e5]])
    distance = [np.min([(t - s) @ kde.inv_cov @ (t - s) for s in kde.dataset.T]) for t in far.T]
    np.testing.assert_allclose(kde.logpdf(far), -0.5 * np.array(distance), rtol=1e-3)
    assert (kde(far) == 0).all()


@pytest.mark.parametrize(
    "args",
    [([1.0],), (np.ones((3, 2)),), ([1.0, np.nan],), ([1.0, 2.0], "scot"), ([1.0, 2.0], [1, 2]),
     ([1.0, 2.0], None, [1.0, 2.0, 3.0]), ([1.0, 2.0], None, [[1.0, 2.0]]), ([1.0, 2.0], None, [1.0, -2.0])],
)
def test_what_scipy_refuses(args):
    with pytest.raises(ValueError):
        scipy.stats.gaussian_kde(*args)
    with pytest.raises(ValueError):
        gaussian_kde(*args)


@pytest.mark.parametrize("data", [np.ones(5), np.ones((2, 5))])
def test_nothing_varies(data):
    for kind in (scipy.stats.gaussian_kde, gaussian_kde):
        with pytest.raises(np.linalg.LinAlgError):
            kind(data)


def test_other_refusals():
    kde = gaussian_kde(dataset(2))
    theirs = scipy.stats.gaussian_kde(dataset(2))
    for name, args in (("evaluate", ([1.0, 2.0, 3.0],)), ("integrate_gaussian", ([1.0], np.eye(2))),
                       ("integrate_gaussian", ([1.0, 2.0], np.eye(3))), ("integrate_box_1d", (0, 1)),
                       ("integrate_kde", (gaussian_kde([1.0, 2.0]),)), ("marginal", (2,)), ("marginal", ([0, 0],)),
                       ("marginal", (0.5,))):
        for one in (kde, theirs):
            with pytest.raises(ValueError):
                getattr(one, name)(*args)
    with pytest.raises(np.linalg.LinAlgError):
        kde.integrate_gaussian([1.0, 2.0], -100 * np.eye(2))
    with pytest.raises(ValueError, match="rtol is -1"):
        gaussian_kde([1.0, 2.0], rtol=-1)
    with pytest.raises(ValueError, match="the factor of the bandwidth is 0"):
        gaussian_kde([1.0, 2.0], 0.0)


@pytest.mark.parametrize("scale", [1.0, 1e-150, 1e150])
def test_data_on_a_line(scale):
    """The density is that along the line, times a narrow Gaussian across it."""
    x = np.random.default_rng(0).normal(size=400)
    with pytest.warns(RuntimeWarning, match="does not vary in 1 of 2 directions: its covariance is singular"):
        kde = gaussian_kde(scale * np.stack([x, 2.0 * x]))
    t = np.linspace(-3, 3, 50)
    along = gaussian_kde(x, kde.factor)(t)
    found = kde(scale * np.stack([t, 2.0 * t]))
    np.testing.assert_allclose(found / found.max(), along / along.max(), rtol=1e-6)
    assert kde.logpdf(scale * np.array([0.0, 1.0])) < -1e4
    line = kde.resample(2000, 1)
    assert np.abs(line[1] - 2.0 * line[0]).max() < 1e-2 * scale


def test_a_constant_feature_and_duplicates():
    x = np.random.default_rng(0).normal(size=300)
    with pytest.warns(RuntimeWarning, match="does not vary in 1 of 3"):
        kde = gaussian_kde(np.stack([x, np.full(300, 7.0), x**2]))
    assert np.isfinite(kde(kde.dataset)).all() and (kde(kde.dataset) > 0).all()
    with pytest.warns(RuntimeWarning):
        pickle.loads(pickle.dumps(gaussian_kde(np.ones((2, 4)) * [[1, 2, 3, 3]])))(np.ones((2, 1)))


def test_seaborns_plots(monkeypatch):
    """kdeplot, in one and two dimensions, cumulative too, draws the same curves."""
    pytest.importorskip("matplotlib").use("Agg")
    seaborn = pytest.importorskip("seaborn")
    import matplotlib.pyplot as plt
    from seaborn import _statistics

    x, y = dataset(2, 400)

    def curves():
        figure, axes = plt.subplots(1, 3)
        seaborn.kdeplot(x=x, ax=axes[0], weights=np.abs(x), bw_adjust=0.5)
        seaborn.kdeplot(x=x, ax=axes[1], cumulative=True)
        seaborn.kdeplot(x=x, y=y, ax=axes[2], gridsize=40, levels=4)
        lines = [line.get_xydata() for line in axes[0].lines + axes[1].lines]
        paths = [path.vertices for part in axes[2].collections for path in part.get_paths()]
        plt.close(figure)
        assert len(lines) == 2 and paths
        return lines + paths

    expected = curves()
    calls = []

    class Counted(gaussian_kde):
        def evaluate(self, points):
            calls.append(np.shape(points))
            return super().evaluate(points)

    monkeypatch.setattr(_statistics, "gaussian_kde", Counted)
    for a, b in zip(curves(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    assert calls == [(200,), (2, 1600)]


def test_pandas_plots(monkeypatch):
    pytest.importorskip("matplotlib").use("Agg")
    pandas = pytest.importorskip("pandas")
    import matplotlib.pyplot as plt

    series = pandas.Series(dataset(1, 500)[0])

    def curve():
        figure, axis = plt.subplots()
        series.plot.kde(ax=axis, bw_method=0.2)
        data = axis.lines[0].get_xydata()
        plt.close(figure)
        return data

    expected = curve()
    monkeypatch.setattr(scipy.stats, "gaussian_kde", gaussian_kde)
    np.testing.assert_allclose(curve(), expected, rtol=1e-9, atol=1e-300)
