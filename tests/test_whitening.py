"""Kernel densities with a full bandwidth matrix: against mpmath, SciPy and the same density in other coordinates."""

import copy
import pickle

import mpmath
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussum import KernelDensity
from gaussum.summation import GaussianSum
from gaussum.whitening import Whitened, check_bandwidth_matrix


def matrix(d, condition=100.0, seed=0):
    """A covariance of that condition number, its axes anywhere."""
    U = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    H = (U * np.geomspace(1, 1 / condition, d)) @ U.T
    return (H + H.T) / 2


def samples(n=300, d=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)) * np.arange(1, d + 1) + 1.0


def exact(sources, targets, H, weight=None):
    """Log densities to sixty digits."""
    d = len(H)
    weight = np.ones(len(sources)) if weight is None else weight
    with mpmath.workdps(60):
        inverse = mpmath.matrix(H.tolist()) ** -1
        norm = mpmath.sqrt(mpmath.det(mpmath.matrix(H.tolist())) * (2 * mpmath.pi) ** d)
        total = mpmath.fsum(mpmath.mpf(float(w)) for w in weight)
        for t in targets:
            terms = []
            for s, w in zip(sources, weight):
                x = mpmath.matrix([mpmath.mpf(float(a)) - mpmath.mpf(float(b)) for a, b in zip(t, s)])
                terms.append(mpmath.mpf(float(w)) * mpmath.exp(-(x.T * inverse * x)[0] / 2))
            yield mpmath.log(mpmath.fsum(terms) / total / norm)


@pytest.mark.parametrize("d, condition", [(2, 1.5), (2, 1e6), (2, 1e13), (3, 1e12), (5, 1e8)])
@pytest.mark.parametrize("offset", [0.0, 2.0**30])
def test_the_density_to_its_last_digits(d, condition, offset):
    """Correlations next to 1 and offsets cost no digits: a double Cholesky would lose half of them and more."""
    H, rng = matrix(d, condition, seed=d), np.random.default_rng(d)
    L = np.linalg.cholesky(H)
    # near each other in the metric of H, also where H is almost singular
    sources = np.round(rng.normal(size=(20, d)) @ L.T * 2.0**20) / 2.0**20 + offset
    targets = sources[:4] + np.round(rng.normal(size=(4, d)) @ L.T * 2.0**20) / 2.0**20
    weight = rng.uniform(0.1, 1, 20)
    kde = KernelDensity(H, rtol=0).fit(sources, sample_weight=weight)
    for a, e in zip(kde.score_samples(targets), exact(sources, targets, H, weight)):
        assert abs(mpmath.mpf(float(a)) - e) <= 1e-11 * max(1, abs(e))


@pytest.mark.parametrize("d", [2, 3, 6])
@pytest.mark.parametrize("weighted", [False, True])
def test_scipys_density(d, weighted):
    X, targets = samples(400, d) @ matrix(d, 20.0), samples(100, d, seed=1)
    weight = np.random.default_rng(2).uniform(size=400) if weighted else None
    reference = scipy.stats.gaussian_kde(X.T, weights=weight)
    kde = KernelDensity(reference.covariance, rtol=1e-9).fit(X, sample_weight=weight)
    np.testing.assert_allclose(kde.bandwidth_, reference.covariance, rtol=1e-13)      # which is not quite symmetric
    np.testing.assert_allclose(kde.score_samples(targets), reference.logpdf(targets.T), rtol=1e-8)


@settings(max_examples=20)
@given(d=st.integers(2, 4), seed=st.integers(0, 10**6), scale=st.integers(-300, 300), shift=st.integers(-1000, 1000))
def test_other_coordinates_are_the_same_density(d, seed, scale, shift):
    """f(Ax + b) |A| = f(x), with A H A' for H."""
    rng = np.random.default_rng(seed)
    X, targets, H = samples(60, d, seed), samples(20, d, seed + 1), matrix(d, 50.0, seed)
    A = np.linalg.qr(rng.normal(size=(d, d)))[0] * np.linspace(1, 3, d) * 2.0**scale
    b = float(shift) * 2.0**scale
    here = KernelDensity(H, rtol=0).fit(X).score_samples(targets)
    there = KernelDensity(A @ H @ A.T, rtol=0).fit(X @ A.T + b).score_samples(targets @ A.T + b)
    np.testing.assert_allclose(there + np.linalg.slogdet(A)[1], here, rtol=1e-9, atol=1e-9)


def test_a_diagonal_matrix_is_a_vector():
    X, targets = samples(d=3), samples(50, 3, seed=1)
    h = np.array([0.5, 2.0, 0.25])
    kde = KernelDensity(np.diag(h**2)).fit(X)
    np.testing.assert_array_equal(kde.score_samples(targets), KernelDensity(h).fit(X).score_samples(targets))
    assert kde.bandwidth_.shape == (3, 3)


def test_one_feature():
    x = samples(d=1)
    kde, twin = KernelDensity([[0.25]]).fit(x), KernelDensity(0.5).fit(x)
    np.testing.assert_array_equal(kde.score_samples(x), twin.score_samples(x))
    np.testing.assert_array_equal(kde.bandwidth_, [[0.25]])


def test_shapes_of_two_by_two():
    X = samples()
    assert KernelDensity([1.0, 2.0]).fit(X).bandwidth_.shape == (2,)
    assert KernelDensity([[1.0, 0.5], [0.5, 2.0]]).fit(X).bandwidth_.shape == (2, 2)


@pytest.mark.parametrize("d", [2, 4])
def test_rtol_near_and_far_by_every_plan(d):
    X, H = samples(20_000, d), matrix(d) * 0.05
    targets = np.concatenate([samples(2000, d, seed=1), samples(20, d, seed=2) * 30, samples(4, d, seed=3) * 1e5])
    kde = KernelDensity(H, rtol=0).fit(X)
    direct, names = kde.score_samples(targets), set()
    for rtol in (1e-3, 1e-6, 1e-9):
        kde.set_params(rtol=rtol)
        names.add(kde.explain(np.tile(targets, (10, 1))).name)
        np.testing.assert_allclose(kde.score_samples(targets), direct, rtol=1e-13, atol=rtol)
    assert names == ({"grid"} if d == 2 else {"tree"})


def test_leave_one_out():
    X, H = samples(200, 3), matrix(3)
    weight = np.random.default_rng(0).uniform(0.1, 1, 200)
    kde = KernelDensity(H).fit(X, sample_weight=weight)
    found = kde.score_leave_one_out()
    for i in range(0, 200, 20):
        others = np.arange(200) != i
        left = KernelDensity(H, rtol=0).fit(X[others], sample_weight=weight[others])
        np.testing.assert_allclose(found[i], left.score_samples(X[i : i + 1])[0], rtol=1e-9, atol=1e-6)


def test_drawn_samples():
    X, H = samples(50, 2), np.array([[4.0, -2.4], [-2.4, 2.25]])
    drawn = KernelDensity(H).fit(X).sample(100_000, 0)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(X.T, bias=True) + H, rtol=0.03)
    np.testing.assert_array_equal(drawn, KernelDensity(H).fit(X).sample(100_000, 0))


@pytest.mark.parametrize("d", [2, 5])
def test_the_same_bits_for_any_number_of_threads(d, always_threads):
    X, targets, H = samples(40_000, d), samples(30_000, d, seed=1), matrix(d)
    sums = Whitened(GaussianSum, X, np.full(len(X), -np.log(len(X))), H)
    first = sums.whiten(targets, 1)
    for n_threads in (2, 3, 7):
        np.testing.assert_array_equal(sums.whiten(targets, n_threads), first)
    answers = [KernelDensity(H, n_threads=t).fit(X).score_samples(targets[:500]) for t in (1, 2, 3, 7)]
    for other in answers[1:]:
        np.testing.assert_array_equal(other, answers[0])


def test_layouts_and_single_precision(tmp_path):
    X, H = np.round(samples(500) * 64) / 64, matrix(2)
    expected = KernelDensity(H).fit(X).score_samples(X)
    wide = np.zeros((1000, 6))
    wide[::2, ::3] = X
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for other in (X.astype(np.float32), np.asfortranarray(X), wide[::2, ::3], mapped):
        kde = KernelDensity(H).fit(other)
        np.testing.assert_array_equal(kde.score_samples(other), expected)
        np.testing.assert_array_equal(kde.sources_, X)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda k: pickle.loads(pickle.dumps(k))])
def test_copies(duplicate):
    X, H = samples(), matrix(2)
    kde = KernelDensity(H).fit(X)
    expected = kde.score_samples(X)
    twin = duplicate(kde)
    X[:], H[:] = 0, 9
    for k in (kde, twin):
        np.testing.assert_array_equal(k.score_samples(samples()), expected)
        np.testing.assert_array_equal(k.sources_, samples())


@pytest.mark.parametrize("unit", [1e-150, 1e-100, 1.0, 1e100, 1e150])
def test_extreme_units(unit):
    X, targets, H = samples(30), samples(10, seed=1), matrix(2)
    here = KernelDensity(H).fit(X).score_samples(targets)
    there = KernelDensity(H * unit * unit).fit(X * unit).score_samples(targets * unit)
    np.testing.assert_allclose(there + 2 * np.log(unit), here, rtol=1e-10, atol=1e-10)


def test_units_of_the_features_far_apart():
    X, targets, H, units = samples(30), samples(10, seed=1), matrix(2), np.array([1e-140, 1e140])
    here = KernelDensity(H).fit(X).score_samples(targets)
    there = KernelDensity(H * units * units[:, None]).fit(X * units).score_samples(targets * units)
    np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-9)


def test_queries_at_the_ends_of_the_doubles():
    kde = KernelDensity(matrix(2) * 1e-6).fit(samples())
    ends = np.array([[1e300, 1e300], [-1e300, 1e300], [1.7e308, -1.7e308], [1e300, 0.0]])
    assert (kde.score_samples(ends) == -np.inf).all()
    far = kde.score_samples([[1e150, -1e150], [1e100, 3.0]])
    assert np.isfinite(far).all()
    for a, e in zip(far, exact(samples()[:1], [[1e150, -1e150], [1e100, 3.0]], matrix(2) * 1e-6)):
        assert float(e) == pytest.approx(a, rel=1e-12)
    np.testing.assert_allclose(
        KernelDensity(matrix(2)).fit([[1.7e308, 1.0], [-1.7e308, 1.0]]).score_samples([[1.7e308, 1.0]]),
        -np.log(2) - np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(matrix(2))[1], rtol=1e-12,
    )


def test_one_source_and_duplicates():
    H = matrix(3)
    peak = -0.5 * (3 * np.log(2 * np.pi) + np.linalg.slogdet(H)[1])
    for X in ([[1.0, 2.0, 3.0]], np.tile([1.0, 2.0, 3.0], (1000, 1))):
        np.testing.assert_allclose(KernelDensity(H).fit(X).score_samples([[1.0, 2.0, 3.0]]), peak, rtol=1e-12)


def test_many_features():
    """Beyond those whose factor is made in decimals."""
    d = 70
    H, X = matrix(d, 10.0), samples(20, d)
    expected = scipy.stats.multivariate_normal(X[0], H).logpdf(X[1])
    assert KernelDensity(H).fit(X[:1]).score_samples(X[1:2])[0] == pytest.approx(expected, rel=1e-10)
    with pytest.raises(ValueError, match="bandwidth is not positive definite"):
        check_bandwidth_matrix(H - 0.5 * np.eye(d) * np.diag(H).min(), d)


@pytest.mark.parametrize("bandwidth, error, message", [
    (np.eye(3), ValueError, "bandwidth has shape (3, 3); expected (2, 2)"),
    (np.ones((1, 2)), ValueError, "bandwidth has shape (1, 2); expected (2, 2)"),
    (np.ones((2, 2, 2)), ValueError, "bandwidth has shape (2, 2, 2)"),
    ([[1.0, np.nan], [np.nan, 1.0]], ValueError, "bandwidth holds NaN or infinity"),
    ([[1.0, 0.5], [0.4, 1.0]], ValueError, "bandwidth is not symmetric: 0.5 at row 0, column 1 and 0.4 at row 1"),
    ([[1.0, 2.0], [2.0, 1.0]], ValueError, "bandwidth is not positive definite: "),
    ([[1.0, 1.0], [1.0, 1.0]], ValueError, "bandwidth is not positive definite: "),
    ([[0.0, 0.0], [0.0, 1.0]], ValueError, "bandwidth has 0 at row 0, column 0; expected a positive definite matrix"),
    ([[1.0, 0.0], [0.0, -2.0]], ValueError, "bandwidth has -2 at row 1, column 1"),
    (np.eye(2) * 1j, TypeError, "bandwidth holds complex numbers"),
    ([["a", "b"], ["c", "d"]], TypeError, "bandwidth holds <U1 values"),
])
def test_refusals(bandwidth, error, message):
    with pytest.raises(error) as caught:
        KernelDensity(bandwidth).fit(samples())
    assert message in str(caught.value)
