"""Every rule for bad input: the refusal names the argument, what came, and what was expected."""

import decimal
import fractions
import math
import pickle
import re

import numpy as np
import pytest
import scipy.sparse
import sklearn.base
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from gaussum import base
from gaussum import validation as v

# Samples ---------------------------------------------------------------------------------------------

BAD_SAMPLES = {
    "none": (None, TypeError, "X is None; expected real numbers"),
    "text": ("text", TypeError, "X holds <U4 values; expected real numbers"),
    "list of text": (["1", "2"], TypeError, "X holds <U1 values"),
    "bytes": ([b"1"], TypeError, "X holds |S1 values"),
    "numbers and text": ([[1.0, "a"]], TypeError, "X holds"),
    "objects with text": (np.array([1.0, "a"], dtype=object), TypeError, "X is ndarray of shape (2,) of obj"),
    "complex": ([1j, 2.0], TypeError, "X holds complex numbers (complex128); expected real numbers"),
    "complex, zero imaginary": (np.complex64([1, 2]), TypeError, "X holds complex numbers (complex64)"),
    "objects with complex": (np.array([1.0, 1j], dtype=object), TypeError, "of objects; expected real"),
    "dates": (np.array(["2020-01-01"], dtype="M8[D]"), TypeError, "X holds datetime64[D] values"),
    "durations": (np.array([3], dtype="m8[s]"), TypeError, "X holds timedelta64[s] values"),
    "records": (np.zeros(3, dtype=[("a", float)]), TypeError, "X holds [('a', '<f8')] values"),
    "dict": ({"a": 1}, TypeError, "X is dict of objects; expected real numbers"),
    "set": ({1.0, 2.0}, TypeError, "X is set of objects"),
    "generator": ((i for i in range(3)), TypeError, "X is generator of objects"),
    "objects": ([object()], TypeError, "X is list of objects"),
    "sparse matrix": (scipy.sparse.csr_matrix(np.eye(2)), TypeError, "X is a sparse matrix; expected a"),
    "sparse array": (scipy.sparse.csr_array(np.eye(2)), TypeError, "X is a sparse matrix"),
    "masked": (np.ma.array([1.0, 2.0], mask=[0, 1]), ValueError, "X is a masked array with masked entries"),
    "ragged": ([[1.0, 2.0], [3.0]], ValueError, "X is no rectangular array of numbers"),
    "huge integer": ([10**400], ValueError, "X holds an integer beyond a double"),
    "number": (3.0, ValueError, "X has 0 dimensions, shape ()"),
    "three dimensions": (np.ones((2, 3, 4)), ValueError, "X has 3 dimensions, shape (2, 3, 4); expected"),
    "empty list": ([], ValueError, "X is empty, shape (0, 1); expected at least 1 sample"),
    "no samples": (np.empty((0, 3)), ValueError, "X is empty, shape (0, 3)"),
    "no features": (np.empty((3, 0)), ValueError, "X has no features, shape (3, 0)"),
    "nan": ([1.0, np.nan], ValueError, "X holds nan at index 1; expected finite numbers"),
    "infinity": ([[0.0, 1.0], [2.0, np.inf]], ValueError, "X holds inf at row 1, column 1"),
    "minus infinity": (np.float32([[-np.inf, 0.0]]), ValueError, "X holds -inf at row 0, column 0"),
    "missing object": (np.array([1.0, None], dtype=object), ValueError, "X holds nan at index 1"),
    "nan among integers": ([[1, 2], [math.nan, 3]], ValueError, "X holds nan at row 1, column 0"),
    "big-endian nan": (np.array([np.nan], dtype=">f8"), ValueError, "X holds nan at index 0"),
}
if np.finfo(np.longdouble).max > np.finfo(float).max:
    BAD_SAMPLES["beyond a double"] = (
        np.array([np.finfo(np.longdouble).max]),
        ValueError,
        "X holds inf at index 0; expected finite numbers",
    )


@pytest.mark.parametrize("X, error, message", BAD_SAMPLES.values(), ids=BAD_SAMPLES)
def test_bad_samples(X, error, message):
    with pytest.raises(error, match=re.escape(message)):
        v.check_samples(X)


@pytest.mark.parametrize(
    "X, n_features, message",
    [
        (np.ones((4, 3)), 2, "X has 3 features, but 2 features are expected"),
        (np.ones((4, 1)), 2, "X has 1 features, but 2 features are expected"),
        (np.ones(4), 2, "X has one dimension, shape (4,), but 2 features are expected: pass shape"),
        (np.ones(4), 4, "a single sample is X.reshape(1, -1)"),
        (np.ones((1, 4)), 1, "X has 4 features, but 1 features are expected"),
    ],
)
def test_other_number_of_features(X, n_features, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        v.check_samples(X, n_features=n_features)
    assert v.check_samples(np.ones((3, n_features)), n_features=n_features).shape == (3, n_features)


def test_too_few_samples_and_the_name():
    with pytest.raises(ValueError, match=re.escape("Y has 1 samples, shape (1, 1); expected at least 2")):
        v.check_samples([1.0], name="Y", min_samples=2)
    assert v.check_samples([1.0, 2.0], min_samples=2).shape == (2, 1)


def test_a_bad_value_is_found_wherever_it_is(monkeypatch):
    monkeypatch.setattr(v, "_SCAN_BYTES", 64)  # several blocks of rows
    for i in range(20):
        for j in range(3):
            for dtype in (np.float32, np.float64):
                X = np.zeros((20, 3), dtype=dtype)
                X[i, j] = np.nan
                with pytest.raises(ValueError, match=f"X holds nan at row {i}, column {j};"):
                    v.check_samples(X)


OTHER_DTYPES = [bool, np.int8, np.uint8, np.int64, np.uint64, np.float16, np.longdouble, ">f8", ">i4", object]


@settings(deadline=None)
@given(
    arrays(
        st.sampled_from([np.float32, np.float64]),
        array_shapes(min_dims=2, max_dims=2),
        elements=st.floats(-(2.0**99), 2.0**99, width=32),
    )
)
def test_floating_arrays_are_taken_as_they_are(X):
    X.flags.writeable = False
    for same in (X, X.T, X[::-1], X[::2, ::-1], np.asfortranarray(X)):
        checked = v.check_samples(same)
        assert type(checked) is np.ndarray and checked.dtype == X.dtype
        assert checked.strides == same.strides and np.shares_memory(checked, same)
        np.testing.assert_array_equal(checked, same)


@pytest.mark.parametrize("dtype", OTHER_DTYPES, ids=str)
def test_other_types_become_double(dtype):
    X = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    checked = v.check_samples(X)
    assert checked.dtype == np.float64 and checked.dtype.isnative
    np.testing.assert_array_equal(checked, [[0, 1], [1, 0], [1, 1]])


def test_swapped_float32_stays_single():
    checked = v.check_samples(np.array([1.5, 2.5], dtype=">f4"))
    assert checked.dtype == np.float32 and checked.dtype.isnative
    np.testing.assert_array_equal(checked[:, 0], [1.5, 2.5])


@pytest.mark.parametrize(
    "X",
    [
        [1, 2, 3],
        (1.0, 2.0, 3.0),
        range(1, 4),
        [[1], [2], [3]],
        np.matrix([[1.0], [2.0], [3.0]]),
        np.ma.array([1.0, 2.0, 3.0]),
        np.ma.array([1.0, 2.0, 3.0], mask=[0, 0, 0]),
        [decimal.Decimal(1), decimal.Decimal(2), decimal.Decimal(3)],
        [fractions.Fraction(1), 2, 3.0],
        np.array([1, 2.0, np.float32(3)], dtype=object),
    ],
    ids=lambda X: type(X).__name__,
)
def test_array_likes(X):
    checked = v.check_samples(X)
    assert type(checked) is np.ndarray and checked.dtype == np.float64
    np.testing.assert_array_equal(checked, [[1.0], [2.0], [3.0]])


def test_an_object_that_turns_into_an_array():
    class Frame:
        def __array__(self, dtype=None, copy=None):
            return np.ones((3, 2), dtype=np.float32)

    assert v.check_samples(Frame()).shape == (3, 2)


def test_memory_mapped_samples_are_not_copied(tmp_path):
    np.save(tmp_path / "X.npy", np.ones((100, 3), dtype=np.float32))
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert np.shares_memory(v.check_samples(X), X)
    assert np.shares_memory(v.check_samples(X[:, 0]), X)


# Weights ---------------------------------------------------------------------------------------------

BAD_WEIGHTS = {
    "text": (["a", "b", "c"], TypeError, "sample_weight holds <U1 values; expected real numbers"),
    "complex": ([1j, 1, 1], TypeError, "sample_weight holds complex numbers"),
    "number": (2.0, ValueError, "sample_weight has shape (); expected (3,), one weight a sample"),
    "too few": ([1.0, 1.0], ValueError, "sample_weight has shape (2,); expected (3,)"),
    "column": (np.ones((3, 1)), ValueError, "sample_weight has shape (3, 1); expected (3,)"),
    "empty": ([], ValueError, "sample_weight has shape (0,); expected (3,)"),
    "negative": ([1.0, -0.5, 1.0], ValueError, "sample_weight holds a negative value, -0.5 at index 1"),
    "nan": ([1.0, 1.0, np.nan], ValueError, "sample_weight holds nan at index 2; expected finite numbers"),
    "infinity": ([np.inf, 1.0, 1.0], ValueError, "sample_weight holds inf at index 0"),
    "zero": ([0.0, 0.0, -0.0], ValueError, "sample_weight is zero everywhere; expected at least one"),
    "zero integers": ([0, 0, 0], ValueError, "sample_weight is zero everywhere"),
    "overflow": ([1e308, 1e308, 1.0], ValueError, "sample_weight adds up to more than a double holds"),
    "sparse": (scipy.sparse.csr_matrix(np.ones((3, 1))), TypeError, "sample_weight is a sparse matrix"),
}


@pytest.mark.parametrize("weights, error, message", BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_bad_weights(weights, error, message):
    with pytest.raises(error, match=re.escape(message)):
        v.check_weights(weights, 3)


def test_the_name_of_the_weights():
    with pytest.raises(ValueError, match="source_weight is zero everywhere"):
        v.check_weights([0.0], 1, name="source_weight")


@pytest.mark.parametrize(
    "weights",
    [[1, 0, 2], np.float32([1, 0, 2]), np.array([1.0, 9, 0, 9, 2])[::2], np.array([1, 0, 2], dtype=">f8")],
)
def test_good_weights(weights):
    checked = v.check_weights(weights, 3)
    assert checked.dtype == np.float64 and checked.flags.c_contiguous
    np.testing.assert_array_equal(checked, [1, 0, 2])
    assert v.check_weights(None, 3) is None


def test_tiny_weights_are_weights():
    assert v.check_weights([5e-324, 0.0], 2).sum() > 0


# Numbers ---------------------------------------------------------------------------------------------

POSITIVE = {"minimum": 0, "open_minimum": True}
FRACTION = {"minimum": 0, "open_minimum": True, "maximum": 0.5}


@pytest.mark.parametrize(
    "value, limits, error, message",
    [
        ("1", {}, TypeError, "h is '1'; expected a finite number"),
        (None, {}, TypeError, "h is None; expected a finite number"),
        (True, {}, TypeError, "h is True"),
        (np.True_, {}, TypeError, "h is "),
        (1j, {}, TypeError, "h is 1j"),
        ([1.0], {}, TypeError, "h is [1.0]"),
        (np.ones(1), {}, TypeError, "h is array([1.])"),
        (decimal.Decimal(1), {}, TypeError, "h is Decimal('1')"),
        (math.nan, {}, ValueError, "h is nan; expected a finite number"),
        (math.inf, {}, ValueError, "h is inf"),
        (np.float32(-np.inf), {}, ValueError, "h is -inf"),
        (10**400, {}, ValueError, "h is inf; expected a finite number"),
        (0, POSITIVE, ValueError, "h is 0.0; expected a finite number > 0"),
        (-1e-300, POSITIVE, ValueError, "h is -1e-300; expected a finite number > 0"),
        (-1, {"minimum": 0}, ValueError, "h is -1.0; expected a finite number >= 0"),
        (0, FRACTION, ValueError, "h is 0.0; expected a finite number > 0 and <= 0.5"),
        (0.5000000001, FRACTION, ValueError, "h is 0.5000000001; expected a finite number > 0 and <= 0.5"),
        (1.0, {"maximum": 1, "open_maximum": True}, ValueError, "h is 1.0; expected a finite number < 1"),
    ],
)
def test_bad_numbers(value, limits, error, message):
    with pytest.raises(error, match=re.escape(message)):
        v.check_number(value, "h", **limits)


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.float64(1), np.int8(1), fractions.Fraction(1)])
def test_good_numbers(value):
    checked = v.check_number(value, "h", minimum=0, maximum=1)
    assert type(checked) is float and checked == 1.0
    assert v.check_number(0.5, "h", **FRACTION) == 0.5
    assert v.check_number(0, "h", minimum=0) == 0.0


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_without_limits(value):
    assert v.check_number(value, "h") == value


@pytest.mark.parametrize(
    "value, error",
    [
        (0, ValueError),
        (-3, ValueError),
        (2.0, TypeError),
        (np.float64(2), TypeError),
        ("2", TypeError),
        (None, TypeError),
        (True, TypeError),
        (np.True_, TypeError),
        ([2], TypeError),
        (np.array([2]), TypeError),
    ],
)
def test_bad_integers(value, error):
    with pytest.raises(error, match=re.escape(f"K is {value!r}; expected an integer >= 1")):
        v.check_integer(value, "K", minimum=1)


@pytest.mark.parametrize("value", [2, np.int8(2), np.uint64(2)])
def test_good_integers(value):
    checked = v.check_integer(value, "K", minimum=2)
    assert type(checked) is int and checked == 2


def test_choices():
    assert v.check_choice("b", "letter", ("a", "b")) == "b"
    with pytest.raises(ValueError, match="letter is 'c'; expected one of 'a', 'b'"):
        v.check_choice("c", "letter", ("a", "b"))
    others = {"NoneType": None, "int": 1, "list": ["a"], "ndarray of shape (2,)": np.zeros(2)}
    for kind, value in others.items():
        with pytest.raises(TypeError, match=re.escape(f"letter is {kind}; expected one of 'a', 'b'")):
            v.check_choice(value, "letter", ("a", "b"))


# Arrays ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, error, message",
    [
        ([1.0, 2.0], ValueError, "means_init has shape (2,); expected (2, 1)"),
        (np.ones((1, 2)), ValueError, "means_init has shape (1, 2); expected (2, 1)"),
        ([[1.0], [np.nan]], ValueError, "means_init holds NaN or infinity; expected finite numbers"),
        ([["a"], ["b"]], TypeError, "means_init holds <U1 values"),
        ([[1j], [0]], TypeError, "means_init holds complex numbers"),
        (None, TypeError, "means_init is None"),
    ],
)
def test_bad_arrays(value, error, message):
    with pytest.raises(error, match=re.escape(message)):
        v.check_array(value, "means_init", (2, 1))


@pytest.mark.parametrize("value", [[[1], [2]], np.float32([[1], [2]]), np.array([[1.0, 9], [2, 9]])[:, :1]])
def test_good_arrays(value):
    checked = v.check_array(value, "means_init", (2, 1))
    assert checked.dtype == np.float64 and checked.flags.c_contiguous
    np.testing.assert_array_equal(checked, [[1], [2]])


# Random states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seed, error, message",
    [
        (-1, ValueError, "random_state is -1; expected a non-negative integer"),
        (1.0, TypeError, "random_state is 1.0; expected None, a non-negative integer, or a numpy.random"),
        ("seed", TypeError, "random_state is 'seed'"),
        (True, TypeError, "random_state is True"),
        ([1, 2], TypeError, "random_state is [1, 2]"),
    ],
)
def test_bad_random_states(seed, error, message):
    with pytest.raises(error, match=re.escape(message)):
        v.check_random_state(seed)


@pytest.mark.parametrize(
    "make",
    [
        lambda: 7,
        lambda: np.int32(7),
        lambda: 2**200,
        lambda: np.random.SeedSequence(7),
        lambda: np.random.RandomState(7),
    ],
    ids=["int", "int32", "long", "SeedSequence", "RandomState"],
)
def test_seeds_repeat(make):
    first, second = (v.check_random_state(make()).normal(size=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_generators_are_shared():
    rng = np.random.default_rng(0)
    assert v.check_random_state(rng) is rng
    state = np.random.RandomState(0)
    assert v.check_random_state(state).random() != v.check_random_state(state).random()
    assert v.check_random_state(None).random() != v.check_random_state(None).random()


# The base of the estimators --------------------------------------------------------------------------


class Leaf(base.Estimator):
    def __init__(self, size=1, *, colour=None):
        self.size = size
        self.colour = colour

    def fit(self, X):
        self.height_ = 3
        return self

    def height(self):
        self._check_fitted()
        return self.height_


class Branch(base.Estimator):
    def __init__(self, leaf=None, *, weights=None):
        self.leaf = leaf
        self.weights = weights


def test_parameters():
    branch = Branch(Leaf(2))
    assert branch.get_params(deep=False) == {"leaf": branch.leaf, "weights": None}
    assert branch.get_params() == branch.get_params(deep=False) | {"leaf__size": 2, "leaf__colour": None}
    assert branch.set_params(leaf__colour="red", weights=[1]) is branch
    assert (branch.leaf.colour, branch.weights) == ("red", [1])
    branch.set_params(leaf=Leaf(5), leaf__size=6)
    assert branch.leaf.size == 6
    assert Branch(Leaf).get_params() == {"leaf": Leaf, "weights": None}  # a class has no parameters to show


def test_unknown_parameter():
    message = "'sise' is no parameter of Leaf; expected one of size, colour"
    with pytest.raises(ValueError, match=message):
        Leaf().set_params(sise=3)
    with pytest.raises(ValueError, match=message):
        Branch(Leaf()).set_params(leaf__sise=3)


def test_text():
    assert repr(Leaf()) == "Leaf()"
    assert repr(Leaf(size=3)) == "Leaf(size=3)"
    branch = Branch(Leaf(colour="red"), weights=np.ones(2))
    assert repr(branch) == "Branch(leaf=Leaf(colour='red'), weights=array([1., 1.]))"


def test_fitted_state():
    leaf = Leaf()
    assert not base.is_fitted(leaf)
    with pytest.raises(base.NotFittedError, match="this Leaf is not fitted yet; call fit with data"):
        leaf.height()
    for kind in (ValueError, AttributeError):  # as scikit-learn's
        with pytest.raises(kind):
            leaf.height()
    assert base.is_fitted(leaf.fit(None)) and leaf.height() == 3
    assert pickle.loads(pickle.dumps(leaf)).height() == 3


@pytest.mark.parametrize("clone", [base.clone, sklearn.base.clone])
def test_clone(clone):
    branch = Branch(Leaf(4).fit(None), weights=(1, 2))
    again = clone(branch)
    assert type(again) is Branch and again.weights == (1, 2)
    assert again.leaf is not branch.leaf and again.leaf.size == 4 and not base.is_fitted(again.leaf)


def test_names_for_messages():
    assert base.shape_name(np.ones((2, 3))) == "ndarray of shape (2, 3)"
    assert base.shape_name(None) == "NoneType"
