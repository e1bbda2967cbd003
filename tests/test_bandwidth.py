"""Bandwidth rules: SciPy as the oracle, and the properties a bandwidth must have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import gaussian_kde

from gaussum import bandwidth

RULES = [bandwidth.scott, bandwidth.silverman]
both = pytest.mark.parametrize("rule", RULES)
seeds = st.integers(0, 2**32 - 1)


def samples(seed, n=50, d=3):
    return np.random.default_rng(seed).normal(size=(n, d)) * np.logspace(0, 3, d)


@both
@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_scipy(rule, d, weighted):
    X = samples(d, n=300, d=d)
    w = np.random.default_rng(9).exponential(size=300) if weighted else None
    kde = gaussian_kde(X.T, bw_method=rule.__name__, weights=w)
    expected = kde.factor * np.sqrt(np.diag(np.atleast_2d(np.cov(X.T, aweights=w))))
    np.testing.assert_allclose(rule(X, w), expected, rtol=1e-12)
    np.testing.assert_allclose(rule(X, w), np.sqrt(np.diag(kde.covariance)), rtol=1e-12)


@both
def test_by_hand(rule):
    # two samples, standard deviation sqrt(2)
    factor = {"scott": 2 ** (-1 / 5), "silverman": 1.5 ** (-1 / 5)}[rule.__name__]
    np.testing.assert_allclose(rule([1.0, 3.0]), [np.sqrt(2) * factor], rtol=1e-15)


@both
@settings(deadline=None)
@given(seed=seeds, scale=st.floats(1e-100, 1e100), shift=st.floats(-1e3, 1e3))
def test_scales_with_the_data(rule, seed, scale, shift):
    X = samples(seed)
    np.testing.assert_allclose(rule(X * scale), rule(X) * scale, rtol=1e-12)
    np.testing.assert_allclose(rule(X + shift), rule(X), rtol=1e-10)


@both
@settings(deadline=None)
@given(seed=seeds, scale=st.floats(1e-200, 1e200))
def test_a_common_factor_of_the_weights_changes_nothing(rule, seed, scale):
    X, w = samples(seed), np.random.default_rng(seed).exponential(size=50)
    np.testing.assert_allclose(rule(X, w * scale), rule(X, w), rtol=1e-12)


@both
@settings(deadline=None)
@given(seed=seeds, weight=st.floats(1e-3, 1e3))
def test_equal_weights_are_no_weights(rule, seed, weight):
    X = samples(seed)
    np.testing.assert_allclose(rule(X, np.full(50, weight)), rule(X), rtol=1e-12)


@both
@settings(deadline=None)
@given(seed=seeds, junk=st.floats(-1e300, 1e300))
def test_zero_weights_count_for_nothing(rule, seed, junk):
    X, rng = samples(seed), np.random.default_rng(seed)
    w = rng.exponential(size=50)
    at = rng.integers(0, 51, size=7)
    more, zeros = np.insert(X, at, junk, axis=0), np.insert(w, at, 0.0)
    np.testing.assert_allclose(rule(more, zeros), rule(X, w), rtol=1e-12)


@both
@settings(deadline=None)
@given(arrays(np.int64, 30, elements=st.integers(0, 4)).filter(lambda w: np.count_nonzero(w) > 2))
def test_weights_are_repetitions_up_to_the_effective_size(rule, weights):
    """Repeated samples have the same spread about the mean; the divisor and the size differ as documented."""
    X = samples(1, n=30, d=1)
    w, n = weights.astype(float), weights.sum()
    n_eff = n**2 / (w @ w)
    ratio = rule(X, w) / rule(np.repeat(X, weights, axis=0))
    expected = np.sqrt((n - 1) / (n - w @ w / n)) * (n_eff / n) ** (-1 / 5)
    np.testing.assert_allclose(ratio, [expected], rtol=1e-12)


@both
def test_permutation_of_samples_and_features(rule):
    X, rng = samples(3), np.random.default_rng(3)
    w, order, columns = rng.exponential(size=50), rng.permutation(50), [2, 0, 1]
    np.testing.assert_allclose(rule(X[order][:, columns], w[order]), rule(X, w)[columns], rtol=1e-13)


@both
@pytest.mark.parametrize("offset", [1e8, -1e8])
def test_an_offset_loses_nothing(rule, offset):
    # multiples of 1/16 stay exact under the shift
    X = np.round(samples(4, n=40_000, d=2)[:, :1] * 16) / 16
    w = np.random.default_rng(4).exponential(size=len(X))
    np.testing.assert_allclose(rule(X + offset), rule(X), rtol=1e-12)
    np.testing.assert_allclose(rule(X + offset, w), rule(X, w), rtol=1e-12)


@both
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e307])
def test_extreme_scales(rule, scale):
    x = np.array([-1.0, 0.25, 0.5, 1.0])
    np.testing.assert_allclose(rule(x * scale) / scale, rule(x), rtol=1e-12)


@both
def test_one_dominant_weight(rule):
    """n_eff tends to 1 and the variance to half the squared distance: no cancellation on the way."""
    for tiny in (1e-9, 1e-18, 1e-100):
        factor = {"scott": 1.0, "silverman": 0.75 ** (-1 / 5)}[rule.__name__]
        np.testing.assert_allclose(rule([0.0, 1.0], [1.0, tiny]), [np.sqrt(0.5) * factor], rtol=1e-8)
        np.testing.assert_allclose(rule([0.0, 1.0], [tiny, 1.0]), [np.sqrt(0.5) * factor], rtol=1e-8)


@both
def test_layouts(rule, tmp_path):
    """float32, Fortran order, strides, read-only and memory-mapped data, over several blocks of rows."""
    X = samples(5, n=60_000, d=4).astype(np.float32).astype(np.float64)
    w = np.random.default_rng(5).exponential(size=len(X))
    expected = rule(X, w)
    wide = np.zeros((2 * len(X), 8))
    wide[::2, ::2] = X
    np.save(tmp_path / "X.npy", X)
    read_only = X.copy()
    read_only.flags.writeable = False
    for same in [
        X.astype(np.float32),
        np.asfortranarray(X),
        wide[::2, ::2],
        X[::-1][::-1],
        read_only,
        np.load(tmp_path / "X.npy", mmap_mode="r"),
        X.astype(">f8"),
    ]:
        np.testing.assert_allclose(rule(same, w), expected, rtol=1e-12)
    np.testing.assert_allclose(rule(X[:, 0], w), rule(X[:, :1], w), rtol=0)
    np.testing.assert_allclose(rule(X[::-1], w[::-1]), expected, rtol=1e-12)


@both
def test_integers(rule):
    np.testing.assert_allclose(rule([1, 2, 5]), rule([1.0, 2.0, 5.0]), rtol=0)


@both
@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, (8, 2), elements=st.floats(-1e300, 1e300, allow_subnormal=False)))
def test_positive_or_refused(rule, X):
    if (X == X[0]).all(axis=0).any():
        with pytest.raises(ValueError, match="constant in column"):
            rule(X)
    else:
        h = rule(X)
        assert (h > 0).all() and np.isfinite(h).all()


@both
@pytest.mark.parametrize(
    "X, weights, message",
    [
        ([3.0], None, "X has one sample; .*give a number as bandwidth"),
        ([3.0, 4.0], [0.0, 1.0], "X has one sample with a positive weight; .*give a number as bandwidth"),
        ([[1.0, 7.0], [2.0, 7.0]], None, "X is constant in column 1, 7; .*give a number as bandwidth"),
        ([0.1] * 10, None, "X is constant in column 0"),
        ([1.0, 2.0, 2.0], [0.0, 1.0, 1.0], "X is constant in column 0, 2"),
        ([1.0, np.nan], None, "X holds nan at index 1"),
        ([1.0, 2.0], [1.0], "sample_weight has shape"),
        ([1.0, 2.0], [-1.0, 1.0], "sample_weight holds a negative value"),
        ([1.0, 2.0], [0.0, 0.0], "sample_weight is zero everywhere"),
    ],
)
def test_refusals(rule, X, weights, message):
    with pytest.raises(ValueError, match=message):
        rule(X, weights)
