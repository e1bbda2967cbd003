"""What GaussianMixture may be given: every layout and kind of array, odd data, and refusals."""

import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussum import CollapsedComponentWarning, ConvergenceWarning, GaussianMixture
from gaussum.covariance import COVARIANCE_TYPES
from gaussum.starts import METHODS


def samples(n=300, d=2, seed=0):
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(size=(n, d)) + 5.0 * rng.integers(0, 2, (n, 1)), 2)


class Frame:
    """Like a data frame: an array only when asked."""

    def __init__(self, values):
        self._values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._values, dtype=dtype)


def strided(X):
    wide = np.full((2 * X.shape[0], 3 * X.shape[1]), np.nan, dtype=X.dtype)
    wide[::2, ::3] = X
    return wide[::2, ::3]


def backwards(X):
    return np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]


def read_only(X):
    X = X.copy()
    X.setflags(write=False)
    return X


def misaligned(X):
    return np.frombuffer(b"\0" + X.tobytes(), dtype=X.dtype, offset=1).reshape(X.shape)


def record(X):
    packed = np.zeros(len(X), dtype=[("tag", "i1"), ("x", X.dtype, X.shape[1:])])
    packed["x"] = X
    return packed


LAYOUTS = {
    "fortran": np.asfortranarray,
    "strided": strided,
    "backwards": backwards,
    "read-only": read_only,
    "misaligned": misaligned,
    "big-endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
    "list": np.ndarray.tolist,
    "tuples": lambda X: tuple(map(tuple, X.tolist())),
    "frame": Frame,
    "objects": lambda X: X.astype(object),
    "record field": lambda X: record(X)["x"],
    "long double": lambda X: X.astype(np.longdouble),
    "unmasked": np.ma.asarray,
    "matrix": np.asmatrix,
}


# np.matrix warns of itself
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layouts(layout, dtype):
    X = samples().astype(dtype)
    same = GaussianMixture(2, random_state=0).fit(X)
    given_X = LAYOUTS[layout](X)
    mixture = GaussianMixture(2, random_state=0).fit(given_X)
    np.testing.assert_allclose(mixture.means_, same.means_, rtol=1e-12)
    for method in ("score_samples", "predict_proba", "predict"):
        np.testing.assert_array_equal(getattr(same, method)(given_X), getattr(same, method)(X))


@pytest.mark.filterwarnings("ignore::gaussum.CollapsedComponentWarning")
@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint16, np.float16, bool])
def test_other_numbers(dtype):
    X = (np.abs(samples()) * 2).astype(dtype)
    a, b = (GaussianMixture(2, random_state=0).fit(data) for data in (X, X.astype(np.float64)))
    np.testing.assert_array_equal(a.means_, b.means_)


def test_memory_map(tmp_path):
    X = samples(5000)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    a, b = (GaussianMixture(2, random_state=0).fit(data) for data in (X, mapped))
    np.testing.assert_array_equal(a.means_, b.means_)
    np.testing.assert_array_equal(a.score_samples(mapped), a.score_samples(X))


def test_univariate_data_in_one_dimension():
    x = samples(d=1)
    a, b = (GaussianMixture(2, random_state=0).fit(data) for data in (x, x.ravel()))
    np.testing.assert_array_equal(a.means_, b.means_)
    assert b.means_.shape == (2, 1) and b.covariances_.shape == (2, 1, 1) and b.n_features_in_ == 1
    np.testing.assert_array_equal(b.predict_proba(x.ravel()), a.predict_proba(x))


def test_input_is_left_alone():
    X, weight = samples(), np.random.default_rng(0).uniform(size=300)
    copies = X.copy(), weight.copy()
    GaussianMixture(2, random_state=0).fit(X, sample_weight=weight).predict_proba(X)
    np.testing.assert_array_equal(X, copies[0])
    np.testing.assert_array_equal(weight, copies[1])


@pytest.mark.parametrize(
    "prepare", [np.ascontiguousarray, np.asfortranarray, lambda X: X.astype(np.float32), lambda X: X[::-1]]
)
def test_big_data_are_not_copied(prepare):
    n, d, K = 400_000, 2, 8
    X = prepare(np.random.default_rng(0).normal(size=(n, d)))
    mixture = GaussianMixture(K, tol=10.0, n_threads=2, random_state=0)
    mixture.fit(X[:1000])
    tracemalloc.start()
    try:
        mixture.fit(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < n * K * 8 / 3


# Small and odd data ----------------------------------------------------------------------------------

ODD = {
    "one sample": (np.array([[3.0, -1.0]]), 1),
    "as many components as samples": (samples(6), 6),
    "more features than samples": (np.random.default_rng(0).normal(size=(5, 30)), 2),
    "one component": (samples(), 1),
    "duplicates": (np.repeat(samples(4), 50, axis=0), 4),
    "more components than distinct samples": (np.repeat(samples(3), 5, axis=0), 5),
    "all the same": (np.full((20, 2), 7.0), 3),
    "all zero": (np.zeros((20, 2)), 2),
    "a constant column": (samples() * [1, 0] + [0, 5], 2),
    "a column of zeros": (samples() * [1, 0], 2),
    "collinear columns": (samples(d=1) * [1.0, 2.0] + [0, 3], 2),
    "a far outlier": (np.concatenate([samples(), [[1e9, 1e9]]]), 3),
    "units far apart": (samples() * [1e-9, 1e9], 2),
    "tiny": (samples() * 1e-120, 2),
    "huge": (samples() * 1e120, 2),
    "two values": (np.array([0.0, 1.0] * 10), 2),
}


@pytest.mark.filterwarnings("ignore::gaussum.CollapsedComponentWarning")
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ODD)
def test_odd_data(name, covariance_type, method):
    X, K = ODD[name]
    mixture = GaussianMixture(K, covariance_type=covariance_type, init_params=method, random_state=0).fit(X)
    assert np.isfinite(mixture.means_).all() and np.isfinite(mixture.weights_).all()
    assert np.isfinite(mixture.score_samples(X)).all()
    np.testing.assert_allclose(mixture.predict_proba(X).sum(axis=1), 1, rtol=1e-12)
    assert mixture.sample(3, 0)[0].shape == (3, mixture.n_features_in_)
    low, high = X.reshape(len(X), -1).min(axis=0), X.reshape(len(X), -1).max(axis=0)
    slack = 1e-6 * np.maximum(np.abs(low), np.abs(high))
    held = mixture.weights_ > 0.5 / len(X)
    assert (mixture.means_[held] >= low - slack).all() and (mixture.means_[held] <= high + slack).all()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_one_component_is_mean_and_covariance(covariance_type):
    X = samples() + 1e6
    mixture = GaussianMixture(1, covariance_type=covariance_type, reg_covar=0).fit(X)
    S = np.cov(X.T, ddof=0)
    expected = {"full": S[None], "tied": S, "diag": np.diag(S)[None], "spherical": np.diag(S).mean()[None]}
    np.testing.assert_allclose(mixture.means_, [X.mean(axis=0)], rtol=1e-14)
    np.testing.assert_allclose(mixture.covariances_, expected[covariance_type], rtol=1e-10)


def test_reg_covar_is_a_mass_of_scatter():
    X = samples()
    mixture = GaussianMixture(1, reg_covar=30.0).fit(X)
    S = np.cov(X.T, ddof=0)
    np.testing.assert_allclose(mixture.covariances_[0], S + 30 / 300 * np.diag(np.diag(S)), rtol=1e-9)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("place", [1e3, 1e9, 1e150, 1e200])
def test_a_bad_component_does_not_end_a_fit(covariance_type, place):
    """A component that starts where no sample is comes back, or stays out of the way."""
    X = samples()
    mixture = GaussianMixture(3, covariance_type=covariance_type, means_init=[[0, 0], [5, 5], [place, place]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapsedComponentWarning)
        mixture.fit(X)
    assert np.isfinite(mixture.score(X))
    assert mixture.score(X) > GaussianMixture(1, covariance_type=covariance_type).fit(X).score(X)


def test_a_component_without_weight_comes_back():
    with pytest.warns(CollapsedComponentWarning, match=r"component\(s\) 0 collapsed"):
        mixture = GaussianMixture(2, weights_init=[0, 1], random_state=0).fit(samples())
    assert (mixture.weights_ > 0).all()


@settings(max_examples=40)
@given(
    st.integers(1, 30),
    st.integers(1, 4),
    st.sampled_from(COVARIANCE_TYPES),
    st.sampled_from(METHODS),
    st.integers(0, 2**32),
    st.data(),
)
def test_small_grids_of_integers(n, d, covariance_type, method, seed, data):
    """Ties, duplicates and constant columns of every kind."""
    X = np.random.default_rng(seed).integers(0, 3, size=(n, d))
    K = data.draw(st.integers(1, min(n, 5)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapsedComponentWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture = GaussianMixture(
            K, covariance_type=covariance_type, init_params=method, random_state=0, max_iter=100
        ).fit(X)
    assert np.isfinite(mixture.score_samples(X)).all()


# Refusals --------------------------------------------------------------------------------------------

X = samples(20)
ONES = np.ones(20)
BAD_FITS = {
    "nan": ({}, (np.where(X > 6, np.nan, X),), ValueError, "X holds nan at row"),
    "infinity": ({}, ([1.0, np.inf],), ValueError, "X holds inf at index 1"),
    "empty": ({}, (np.empty((0, 2)),), ValueError, "X is empty"),
    "empty list": ({}, ([],), ValueError, "X is empty"),
    "three dimensions": ({}, (np.ones((2, 2, 2)),), ValueError, "X has 3 dimensions"),
    "a number": ({}, (1.0,), ValueError, "X has 0 dimensions"),
    "text": ({}, (["a", "b"],), TypeError, "X holds <U1"),
    "complex": ({}, ([1j],), TypeError, "X holds complex numbers"),
    "none": ({}, (None,), TypeError, "X is None"),
    "sparse": ({}, (scipy.sparse.csr_matrix(np.eye(3)),), TypeError, "X is a sparse matrix"),
    "overflow": ({}, (X * 1e200,), ValueError, "X is so large in column 0"),
    "overflow of the range": ({}, ([-1.7e308, 1.7e308],), ValueError, "X is so large in column 0"),
    "underflow": ({}, (X * 1e-200,), ValueError, "X is so small in column 0"),
    "K above n": ({"n_components": 21}, (X,), ValueError, "n_components is 21, but X has 20 samples"),
    "K above the weighted": (
        {"n_components": 3},
        (X, None, np.r_[1, 1, np.zeros(18)]),
        ValueError,
        "n_components is 3, but X has 2 samples of positive weight",
    ),
    "K zero": ({"n_components": 0}, (X,), ValueError, "n_components is 0; expected an integer >= 1"),
    "K negative": ({"n_components": -1}, (X,), ValueError, "n_components is -1"),
    "K a float": ({"n_components": 2.0}, (X,), TypeError, "n_components is 2.0"),
    "K a bool": ({"n_components": True}, (X,), TypeError, "n_components is True"),
    "covariance type": (
        {"covariance_type": "round"},
        (X,),
        ValueError,
        "covariance_type is 'round'; expected one",
    ),
    "covariance type none": ({"covariance_type": None}, (X,), TypeError, "covariance_type is NoneType"),
    "init_params": ({"init_params": "x"}, (X,), ValueError, "init_params is 'x'; expected one of 'auto'"),
    "tol": ({"tol": -1e-3}, (X,), ValueError, "tol is -0.001; expected a finite number >= 0"),
    "tol nan": ({"tol": np.nan}, (X,), ValueError, "tol is nan"),
    "tol text": ({"tol": "1"}, (X,), TypeError, "tol is '1'"),
    "reg_covar": ({"reg_covar": -1}, (X,), ValueError, "reg_covar is -1"),
    "max_iter": ({"max_iter": 0}, (X,), ValueError, "max_iter is 0; expected an integer >= 1"),
    "n_init": ({"n_init": 0}, (X,), ValueError, "n_init is 0"),
    "n_threads": ({"n_threads": 0}, (X,), ValueError, "n_threads is 0"),
    "n_threads float": ({"n_threads": 1.5}, (X,), TypeError, "n_threads is 1.5"),
    "random_state": ({"random_state": -1}, (X,), ValueError, "random_state is -1"),
    "random_state text": ({"random_state": "a"}, (X,), TypeError, "random_state is 'a'"),
    "weights negative": (
        {},
        (X, None, -ONES),
        ValueError,
        "sample_weight holds a negative value, -1 at index 0",
    ),
    "weights zero": ({}, (X, None, 0 * ONES), ValueError, "sample_weight is zero everywhere"),
    "weights nan": ({}, (X, None, np.nan * ONES), ValueError, "sample_weight holds nan at index 0"),
    "weights short": ({}, (X, None, ONES[:3]), ValueError, "sample_weight has shape (3,); expected (20,)"),
    "weights text": ({}, (X, None, ["a"] * 20), TypeError, "sample_weight holds <U1"),
    "weights_init shape": (
        {"weights_init": [1.0]},
        (X,),
        ValueError,
        "weights_init has shape (1,); expected (2,)",
    ),
    "weights_init sum": (
        {"weights_init": [0.5, 0.6]},
        (X,),
        ValueError,
        "weights_init has the smallest entry",
    ),
    "weights_init sign": (
        {"weights_init": [-0.5, 1.5]},
        (X,),
        ValueError,
        "weights_init has the smallest entry -0.5",
    ),
    "means_init shape": (
        {"means_init": [[1.0], [2.0]]},
        (X,),
        ValueError,
        "means_init has shape (2, 1); expected (2, 2)",
    ),
    "means_init nan": ({"means_init": np.full((2, 2), np.nan)}, (X,), ValueError, "means_init holds NaN"),
    "precisions_init shape": (
        {"precisions_init": np.eye(2)},
        (X,),
        ValueError,
        "precisions_init has shape (2, 2)",
    ),
    "precisions_init sign": (
        {"precisions_init": [-np.eye(2)] * 2},
        (X,),
        ValueError,
        "precisions_init is not positive",
    ),
    "precisions_init symmetry": (
        {"precisions_init": [[[1.0, 0.5], [0.0, 1.0]]] * 2},
        (X,),
        ValueError,
        "precisions_init is not symmetric",
    ),
    "precisions_init of tied": (
        {"precisions_init": np.zeros((2, 2)), "covariance_type": "tied"},
        (X,),
        ValueError,
        "precisions_init is not",
    ),
    "precisions_init of diag": (
        {"precisions_init": np.zeros((2, 2)), "covariance_type": "diag"},
        (X,),
        ValueError,
        "precisions_init holds 0",
    ),
    "precisions_init of spherical": (
        {"precisions_init": [1.0, -2.0], "covariance_type": "spherical"},
        (X,),
        ValueError,
        "precisions_init holds -2",
    ),
}


@pytest.mark.parametrize("params, args, error, message", BAD_FITS.values(), ids=BAD_FITS)
def test_refused_fits(params, args, error, message):
    with pytest.raises(error) as caught:
        GaussianMixture(**{"n_components": 2} | params).fit(*args)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "score_samples", "score", "aic", "bic", "icl"]
)
@pytest.mark.parametrize(
    "data, error, message",
    [
        (np.ones((3, 4)), ValueError, "X has 4 features, but 2 features are expected"),
        (np.ones(3), ValueError, "X has one dimension, shape (3,), but 2 features are expected"),
        (np.empty((0, 2)), ValueError, "X is empty"),
        ([[np.nan, 1.0]], ValueError, "X holds nan at row 0, column 0"),
        ([["a", "b"]], TypeError, "X holds <U1"),
        ([[1j, 2.0]], TypeError, "X holds complex"),
    ],
)
def test_refused_predictions(method, data, error, message):
    mixture = GaussianMixture(2, random_state=0).fit(X)
    with pytest.raises(error) as caught:
        getattr(mixture, method)(data)
    assert message in str(caught.value)


def test_refused_samples():
    mixture = GaussianMixture(2, random_state=0).fit(X)
    with pytest.raises(ValueError, match="n_samples is 0; expected an integer >= 1"):
        mixture.sample(0)
    with pytest.raises(TypeError, match="n_samples is 2.5"):
        mixture.sample(2.5)
    with pytest.raises(TypeError, match="random_state is 'a'"):
        mixture.sample(2, "a")


def test_a_refused_fit_changes_nothing():
    mixture = GaussianMixture(2, random_state=0).fit(X)
    means = mixture.means_
    with pytest.raises(ValueError):
        mixture.fit(X * np.nan)
    assert mixture.means_ is means
