"""select_mixture: the choice it makes, the table it leaves, and how it takes failures."""

import math
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaussum import GaussianMixture, criteria, select_mixture
from gaussum import selection as selection_module
from gaussum.selection import CRITERIA, SelectionResult

COLUMNS = [
    "n_components",
    "covariance_type",
    "n_parameters",
    "log_likelihood",
    "bic",
    "aic",
    "aicc",
    "icl",
    "converged",
    "n_iter",
    "error",
]


@pytest.fixture(scope="module")
def X():
    """Three clusters of the same covariance in the plane."""
    rng = np.random.default_rng(0)
    centres = np.repeat([[0, 0], [8, 0], [0, 8]], 60, axis=0)
    return centres + rng.normal(size=(180, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])


@pytest.fixture(scope="module")
def result(X):
    return select_mixture(X, range(1, 5), ["full", "tied"], random_state=0, n_init=3)


# The choice ------------------------------------------------------------------------------------------


def test_finds_the_truth(result):
    assert (result.best_.n_components, result.best_.covariance_type) == (3, "tied")
    assert result.best("icl").n_components == 3
    assert result.criterion == "bic"


def test_notebook():
    """Data made of three components: fits that have converged prefer three by BIC."""
    np.random.seed(2)
    x = np.concatenate([np.random.normal(m, s, n) for m, s, n in [(0, 2, 2000), (5, 5, 2000), (3, 0.5, 600)]])
    result = select_mixture(x, n_components=range(1, 6), random_state=0)
    assert result.best_.n_components == 3
    likelihoods = [row["log_likelihood"] for row in result.table]
    assert likelihoods[2] == pytest.approx(-12802.841, abs=2e-3)
    assert likelihoods[3] >= -12801.3
    assert (np.diff(likelihoods) > -1e-3).all()  # more components never fit worse
    assert [row["n_parameters"] for row in result.table] == [2, 5, 8, 11, 14]
    assert all(row["converged"] for row in result.table)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion(result, criterion):
    values = [row[criterion] for row in result.table]
    chosen = result.models[int(np.argmin(values))]
    assert result.best(criterion) is chosen
    again = SelectionResult(criterion, result.table, result.models)
    assert again.best_ is chosen and again.best_index_ == np.argmin(values)


def test_criterion_argument(X):
    result = select_mixture(X, [1, 2], criterion="icl", random_state=0, n_init=1)
    assert result.criterion == "icl"
    assert result.best_ is result.best("icl")


# The table -------------------------------------------------------------------------------------------


def test_table(result, X):
    assert [(r["covariance_type"], r["n_components"]) for r in result.table] == [
        (name, k) for name in ("full", "tied") for k in range(1, 5)
    ]
    assert result.best_ is result.models[result.best_index_]
    for row, model in zip(result.table, result.models, strict=True):
        assert list(row) == COLUMNS
        assert all(type(v) in (int, float, str, bool, type(None)) for v in row.values())
        p = model.n_parameters_
        total = model.score_samples(X).sum()
        assert row["n_parameters"] == p
        assert row["log_likelihood"] == pytest.approx(total, rel=1e-12)
        assert row["bic"] == pytest.approx(model.bic(X), rel=1e-12)
        assert row["aic"] == pytest.approx(model.aic(X), rel=1e-12)
        assert row["icl"] == pytest.approx(model.icl(X), rel=1e-9)
        assert row["aicc"] == pytest.approx(criteria.aicc(total, p, len(X)), rel=1e-12)
        assert row["converged"] is bool(model.converged_) and row["n_iter"] == model.n_iter_
        assert row["error"] is None


def test_text(result):
    lines = repr(result).splitlines()
    assert len(lines) == 2 + len(result.table)
    assert "bic prefers n_components=3, covariance_type='tied'" in lines[0]
    assert all(title in lines[1] for title in ("covariance", "K", "log-likelihood", "BIC", "AICC", "ICL"))
    rows = lines[2:]
    assert sum(row.count("*") for row in rows) == len(CRITERIA)  # the best of each criterion
    assert "*" in rows[result.best_index_]
    assert all(f"{r['bic']:.2f}" in row for r, row in zip(result.table, rows, strict=True))


def test_pickle(result, X):
    again = pickle.loads(pickle.dumps(result))
    assert again.table == result.table
    np.testing.assert_array_equal(again.best_.predict(X), result.best_.predict(X))


def test_blocks_of_rows(X, result, monkeypatch):
    """What is added up over blocks is what one block gives."""
    monkeypatch.setattr(selection_module, "_BLOCK_ROWS", 7)
    again = select_mixture(X, range(1, 5), ["full", "tied"], random_state=0, n_init=3)
    for row, other in zip(again.table, result.table, strict=True):
        assert [row[c] for c in CRITERIA] == pytest.approx([other[c] for c in CRITERIA], rel=1e-12)


# Candidates and seeds --------------------------------------------------------------------------------


def test_a_candidate_does_not_depend_on_the_others(X):
    params = {"random_state": 5, "n_init": 1, "init_params": "random_from_data"}
    many = select_mixture(X, [1, 2, 3, 4], ["diag", "full"], **params)
    few = select_mixture(X, [4, 3], "full", **params)
    alone = select_mixture(X, 3, "full", **params)
    assert many.table[6] == few.table[1] == alone.table[0]
    np.testing.assert_array_equal(many.models[6].means_, alone.best_.means_)
    assert len({m.random_state for m in many.models}) == 8


@pytest.mark.filterwarnings("ignore::gaussum.SpuriousOptimumWarning")
def test_random_state(X):
    def likelihood(seed):
        result = select_mixture(X, 4, random_state=seed, n_init=1, init_params="random")
        return result.table[0]["log_likelihood"]

    assert likelihood(1) == likelihood(1) == likelihood(np.int64(1))
    assert likelihood(np.random.default_rng(1)) == likelihood(1)
    select_mixture(X, 1, random_state=np.random.RandomState(0))
    select_mixture(X, 1)


@pytest.mark.parametrize(
    "numbers", [2, np.int64(2), [2], (2,), {2}, np.array([2]), range(2, 3), iter([2]), [2, 2]]
)
def test_numbers_of_components(X, numbers):
    result = select_mixture(X, numbers, random_state=0, n_init=1)
    assert [row["n_components"] for row in result.table] == [2]
    assert type(result.table[0]["n_components"]) is int


@pytest.mark.parametrize("types", ["diag", ["diag"], ("diag",), np.array(["diag"]), iter(["diag"])])
def test_covariance_types(X, types):
    result = select_mixture(X, 2, types, random_state=0, n_init=1)
    assert [row["covariance_type"] for row in result.table] == ["diag"]


def test_parameters_reach_the_mixture(X):
    result = select_mixture(X, 2, n_init=2, n_threads=1, tol=1e-4, init_params="random", random_state=0)
    mixture = result.best_
    assert (mixture.n_init, mixture.n_threads, mixture.tol, mixture.init_params) == (2, 1, 1e-4, "random")
    assert isinstance(mixture, GaussianMixture)


def test_callback(X):
    calls = []
    select_mixture(X, [1, 2], ["full", "diag"], n_init=1, callback=lambda *a: calls.append(a))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_univariate_and_layouts(X):
    x = X[:, 0]
    expected = select_mixture(x, 2, random_state=0).table[0]
    wide = np.repeat(x, 2)
    for same in (x[:, np.newaxis], x.tolist(), wide[::2]):
        row = select_mixture(same, 2, random_state=0).table[0]
        assert row["log_likelihood"] == pytest.approx(expected["log_likelihood"], rel=1e-9)
    single = select_mixture(x.astype(np.float32), 2, random_state=0).table[0]
    assert single["log_likelihood"] == pytest.approx(expected["log_likelihood"], rel=1e-5)


# Weights ---------------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_weights_are_repetitions(seed):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(40, 2)), rng.integers(1, 4, size=40)
    weighted = select_mixture(X, 1, ["full", "spherical"], sample_weight=w).table
    repeated = select_mixture(np.repeat(X, w, axis=0), 1, ["full", "spherical"]).table
    for row, other in zip(weighted, repeated, strict=True):
        for column in ("log_likelihood", *CRITERIA):
            assert row[column] == pytest.approx(other[column], rel=1e-7)


def test_zero_weights_count_for_nothing(X):
    w = np.ones(len(X))
    w[60:] = 0
    far = X.copy()
    far[60:] = 1e6
    row = select_mixture(far, 1, sample_weight=w).table[0]
    expected = select_mixture(X[:60], 1).table[0]
    for column in ("log_likelihood", *CRITERIA):
        assert row[column] == pytest.approx(expected[column], rel=1e-9)


# Failures --------------------------------------------------------------------------------------------


class Fragile(GaussianMixture):
    """Fails with two components."""

    def fit(self, X, y=None, sample_weight=None, **kwargs):
        if self.n_components == 2:
            raise FloatingPointError("two is too many")
        return super().fit(X, y, sample_weight, **kwargs)


class Broken(GaussianMixture):
    def fit(self, X, y=None, sample_weight=None, **kwargs):
        raise RuntimeError("no luck")


class Silent(GaussianMixture):
    def fit(self, X, y=None, sample_weight=None, **kwargs):
        raise KeyboardInterrupt


def test_one_failure_does_not_end_the_others(X, monkeypatch):
    monkeypatch.setattr(selection_module, "GaussianMixture", Fragile)
    calls = []
    with pytest.warns(UserWarning, match="1 of 3 fits failed: 2 full: two is too many") as caught:
        result = select_mixture(X, [1, 2, 3], random_state=0, callback=lambda *a: calls.append(a))
    assert caught[0].filename == __file__
    row = result.table[1]
    assert list(row) == COLUMNS
    assert row["error"] == "two is too many"
    assert all(math.isnan(row[c]) for c in ("log_likelihood", *CRITERIA))
    assert row["n_parameters"] is row["converged"] is row["n_iter"] is None
    assert result.models[1] is None and result.best_.n_components == 3
    assert calls[-1] == (3, 3)
    text = repr(result).splitlines()[3]
    assert text.endswith("failed") and "nan" in text


def test_all_failing_raises(X, monkeypatch):
    monkeypatch.setattr(selection_module, "GaussianMixture", Broken)
    with pytest.raises(ValueError, match="none of the 2 fits succeeded; the first: no luck") as caught:
        select_mixture(X, [1, 2])
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_interrupt_is_no_failure(X, monkeypatch):
    monkeypatch.setattr(selection_module, "GaussianMixture", Silent)
    with pytest.raises(KeyboardInterrupt):
        select_mixture(X, [1, 2])


def test_fits_that_do_not_converge_are_marked(X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = select_mixture(X, 4, max_iter=1, n_init=1, random_state=0)
    assert result.table[0]["converged"] is False
    assert "not converged" in repr(result)


def test_aicc_of_few_samples():
    x = np.array([0.0, 1.0, 3.0, 4.5, 7.0])
    result = select_mixture(x, [1, 2], random_state=0)
    assert result.table[1]["aicc"] == math.inf  # five parameters
    assert result.best("aicc").n_components == 1
    with pytest.raises(ValueError, match="criterion 'aicc' is finite for no candidate"):
        select_mixture(x, 2, criterion="aicc", random_state=0)


# Refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params, error, message",
    [
        ({"n_components": 0}, ValueError, "n_components is 0; expected an integer >= 1"),
        ({"n_components": [1, -2]}, ValueError, "n_components is -2"),
        ({"n_components": 2.0}, TypeError, "n_components is 2.0"),
        ({"n_components": "3"}, TypeError, "n_components is '3'"),
        ({"n_components": None}, TypeError, "n_components is None"),
        ({"n_components": []}, ValueError, "n_components is empty"),
        ({"n_components": [1, 7]}, ValueError, "n_components is 7; .* number of samples, 6"),
        ({"n_components": 2, "sample_weight": [1, 0, 0, 0, 0, 0]}, ValueError, "n_components is 2; .* 1"),
        ({"covariance_type": []}, ValueError, "covariance_type is empty"),
        ({"covariance_type": 3}, TypeError, "covariance_type is int; expected one of"),
        ({"covariance_type": ["full", None]}, TypeError, "covariance_type is NoneType"),
        ({"covariance_type": "round"}, ValueError, "covariance_type is 'round'; expected one of 'full'"),
        ({"covariance_type": ["full", "round"]}, ValueError, "covariance_type is 'round'"),
        ({"criterion": "BIC"}, ValueError, "criterion is 'BIC'; expected one of 'bic'"),
        ({"criterion": 1}, TypeError, "criterion is int"),
        ({"sample_weight": [1.0]}, ValueError, "sample_weight has shape"),
        ({"sample_weight": [-1.0] * 6}, ValueError, "sample_weight holds a negative value"),
        ({"random_state": "x"}, TypeError, "random_state is 'x'"),
        ({"n_init": 0}, ValueError, "n_init is 0"),
        ({"tol": -1.0}, ValueError, "tol is -1"),
        ({"colour": "red"}, TypeError, "colour"),
    ],
)
def test_bad_parameters(params, error, message):
    with pytest.raises(error, match=message):
        select_mixture(np.arange(6.0), **{"n_components": [1, 2]} | params)


@pytest.mark.parametrize(
    "X, error, message",
    [
        ([1.0, np.inf], ValueError, "X holds inf at index 1"),
        (np.empty((0, 2)), ValueError, "X is empty"),
        (["a", "b"], TypeError, "X holds"),
        ([1j, 2.0], TypeError, "X holds complex numbers"),
        (None, TypeError, "X is None"),
    ],
)
def test_bad_samples(X, error, message):
    with pytest.raises(error, match=message):
        select_mixture(X, 1)


def test_unknown_criterion_of_a_result(result):
    with pytest.raises(ValueError, match="criterion is 'dic'"):
        result.best("dic")


def test_plot(result):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert result.plot(ax=ax) is ax
