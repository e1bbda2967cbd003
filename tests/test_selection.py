"""select_mixture: the choice it makes, the table it leaves, and how it takes failures."""

import math
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from gaussum import GaussianMixture, criteria, select_mixture
from gaussum import selection as selection_module
from gaussum.mixture_base import TrainingData
from gaussum.selection import CRITERIA, SelectionResult, distinct_types

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
    "spurious",
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
    # structures begin with the same partitions, so that they differ in their covariances alone
    assert [m.random_state for m in many.models[:4]] == [m.random_state for m in many.models[4:]]
    assert len({m.random_state for m in many.models}) == 4


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


# Cross-validation ------------------------------------------------------------------------------------


def test_cross_validation(X):
    result = select_mixture(X, [1, 3, 6], ["full", "tied"], criterion="cv", random_state=0, n_init=2)
    assert result.criteria == (*CRITERIA, "cv")
    assert result.best_.n_components == 3
    rows = result.table
    assert list(rows[0]) == [*COLUMNS[:8], "cv", "cv_error", *COLUMNS[8:]]
    assert result.best_index_ == np.argmax([row["cv"] for row in rows])
    assert result.best("bic") is result.models[np.argmin([row["bic"] for row in rows])]
    # unseen samples are less likely than those that were fitted
    assert all(row["cv"] < row["log_likelihood"] / len(X) for row in rows)
    assert all(0 < row["cv_error"] < 1 for row in rows)
    assert "CV" in repr(result).splitlines()[1]
    # the same numbers beside another criterion, and for a candidate alone
    beside = select_mixture(X, 3, "tied", cv=5, random_state=0, n_init=2)
    assert beside.criterion == "bic" and beside.table[0] == rows[4]


def test_cross_validation_by_hand(X):
    """One Gaussian: each fold is scored by the mean and covariance of the others."""
    result = select_mixture(X, 1, cv=4, random_state=0, reg_covar=0.0)
    # the folds, as the seed draws them
    root = np.random.default_rng(0).integers(2**32, size=4).tolist()
    order = np.random.default_rng(np.random.SeedSequence(root, spawn_key=(0,))).permutation(len(X))
    totals = []
    for part in np.array_split(order, 4):
        rest = np.delete(X, part, axis=0)
        fitted = multivariate_normal(rest.mean(axis=0), np.cov(rest.T, bias=True))
        totals.append(fitted.logpdf(X[part]))
    assert result.table[0]["cv"] == pytest.approx(np.concatenate(totals).mean(), rel=1e-9)
    error = np.std([part.mean() for part in totals], ddof=1) / 2
    assert result.table[0]["cv_error"] == pytest.approx(error, rel=1e-6)


def test_cross_validation_of_weighted_samples(X):
    """Samples of weight zero count for nothing, and a common factor changes nothing."""
    w = np.ones(len(X))
    w[::3] = 0
    far = X.copy()
    far[::3] = 1e6
    rows = [
        select_mixture(far, 2, cv=3, sample_weight=w, random_state=0).table[0],
        select_mixture(far, 2, cv=3, sample_weight=8 * w, random_state=0).table[0],
    ]
    assert rows[0]["cv"] > -10
    assert rows[1]["cv"] == pytest.approx(rows[0]["cv"], rel=1e-12)


@pytest.mark.parametrize("n_threads", [2, 3, 7])
def test_cross_validation_gives_the_same_bits(X, n_threads, always_threads):
    params = {"n_components": [1, 2, 3], "covariance_type": ["full", "diag"], "cv": 3, "random_state": 0, "n_init": 2}
    assert select_mixture(X, n_threads=n_threads, **params).table == select_mixture(X, n_threads=1, **params).table


def test_a_fold_too_small_is_told():
    x = np.arange(6.0)
    with pytest.warns(UserWarning, match="the cross-validation of 1 of 2 candidates failed: 5 full: n_components is 5"):
        result = select_mixture(x, [1, 5], cv=3, random_state=0, n_init=1)
    assert math.isnan(result.table[1]["cv"]) and result.table[1]["error"] is None
    assert result.best("cv").n_components == 1


def test_cross_validation_that_was_not_asked_for(result):
    with pytest.raises(ValueError, match="criterion is 'cv', which was not computed; .* cv=5"):
        result.best("cv")
    assert "cv" not in result.table[0]


# All structures, the best few, frames ----------------------------------------------------------------


def test_all_structures(X):
    types = distinct_types(2)
    result = select_mixture(X, [1, 3], "all", random_state=0, n_init=1)
    assert [row["covariance_type"] for row in result.table] == [name for name in types for _ in range(2)]
    assert len(types) == len(set(types)) >= 4
    flat = select_mixture(X[:, 0], 2, "all", random_state=0, n_init=1)
    assert [row["n_parameters"] for row in flat.table] == [4, 5]  # one variance, or two


def test_what_structures_share_changes_nothing(X, monkeypatch):
    params = {"n_components": range(1, 5), "covariance_type": "all", "random_state": 0, "n_init": 3}
    made = []
    shared = TrainingData.shared

    def counted(self, key, make):
        return shared(self, key, lambda: (made.append(key), make())[1])

    monkeypatch.setattr(TrainingData, "shared", counted)
    once = select_mixture(X, **params).table
    # moments, correlations, the starts of each kind of kernel, and those that are searched for under a constraint
    assert len(made) == len(set(made)) == 2 + 4 * 3 * 4 + 10 * 3 * 2
    assert {"moments", "correlation"} <= set(made)
    monkeypatch.setattr(TrainingData, "shared", lambda self, key, make: make())
    assert select_mixture(X, **params).table == once


def test_top(result):
    rows = result.top(3)
    values = sorted(row["bic"] for row in result.table)
    assert [row["bic"] for row in rows] == values[:3]
    assert [row["difference"] for row in rows] == [v - values[0] for v in values[:3]]
    assert len(result.top(100)) == 8
    assert result.top(1, "icl")[0]["icl"] == min(row["icl"] for row in result.table)
    for bad, message in ((0, "n is 0"), (2.0, "n is 2.0")):
        with pytest.raises((ValueError, TypeError), match=message):
            result.top(bad)
    with pytest.raises(ValueError, match="criterion is 'dic'"):
        result.top(2, "dic")


def test_top_by_cross_validation(X):
    result = select_mixture(X, [1, 2, 3], cv=3, random_state=0, n_init=1)
    rows = result.top(3, "cv")
    assert [row["cv"] for row in rows] == sorted((row["cv"] for row in result.table), reverse=True)
    assert rows[0]["difference"] == 0 < rows[1]["difference"] < rows[2]["difference"]


def test_frame(result):
    pytest.importorskip("pandas")
    frame = result.to_frame()
    assert list(frame.columns) == COLUMNS and len(frame) == 8
    assert frame["bic"].idxmin() == result.best_index_


class Shrunk(GaussianMixture):
    """With three components a fit that is called spurious."""

    def fit(self, *arguments, **options):
        super().fit(*arguments, **options)
        self.spurious_ = (2,) if self.n_components == 3 else ()
        return self


def test_spurious_optima_are_not_preferred(X, monkeypatch):
    monkeypatch.setattr(selection_module, "GaussianMixture", Shrunk)
    result = select_mixture(X, range(1, 5), random_state=0, n_init=2)
    row = result.table[2]
    assert row["spurious"] is True and row["bic"] == min(r["bic"] for r in result.table)
    assert result.best_.n_components != 3
    assert all(r["n_components"] != 3 for r in result.top(10))
    assert repr(result).splitlines()[4].endswith("spurious")
    with pytest.warns(UserWarning, match="every candidate ended in a spurious optimum"):
        assert select_mixture(X, 3, random_state=0, n_init=1).best_.n_components == 3


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
        ({"n_components": range(1, 10**9)}, ValueError, "n_components is 999999999"),
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
        ({"cv": 1}, ValueError, "cv is 1; expected an integer >= 2"),
        ({"cv": 7}, ValueError, "cv is 7; expected at most the number of samples, 6"),
        ({"cv": True}, TypeError, "cv is True"),
        ({"covariance_type": ["all"]}, ValueError, "covariance_type is 'all'"),
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
