"""Code written for scikit-learn's KernelDensity works with this one, or is told why not."""

import numpy as np
import pytest
import sklearn
import sklearn.base
import sklearn.neighbors
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from gaussum import KernelDensity
from gaussum.summation import ALGORITHMS


def test_their_parameters_are_ours():
    ours, theirs = KernelDensity().get_params(), sklearn.neighbors.KernelDensity().get_params()
    assert set(theirs) <= set(ours)
    differ = {name for name, value in theirs.items() if ours[name] != value}
    assert differ == {"bandwidth", "rtol"}


@pytest.mark.parametrize("kernel", ["gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine"])
@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree", "auto"])
def test_their_call(kernel, algorithm, faithful):
    X = faithful[:, :1]
    params = dict(
        bandwidth=0.4, algorithm=algorithm, kernel=kernel, metric="euclidean", atol=0, rtol=0, breadth_first=True,
        leaf_size=40, metric_params=None,
    )
    ours, theirs = KernelDensity(**params).fit(X), sklearn.neighbors.KernelDensity(**params).fit(X)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-10)
    assert ours.score(X) == pytest.approx(theirs.score(X), rel=1e-10)
    assert ours.bandwidth_ == theirs.bandwidth_ == 0.4
    assert ours.sample(3, random_state=0).shape == (3, 1)


def test_the_plans_that_algorithms_ask_for():
    X = np.random.default_rng(0).normal(size=(2000, 2))
    reference = KernelDensity(0.3, rtol=0).fit(X).score_samples(X)
    for algorithm, name in ALGORITHMS.items():
        kde = KernelDensity(0.3, algorithm=algorithm).fit(X)
        np.testing.assert_allclose(kde.score_samples(X), reference, rtol=0, atol=1e-6)
        plan = kde.explain(X)
        if name is not None:
            assert plan.name == name and f"algorithm={algorithm!r} asks for it" in plan.reason
            assert plan.seconds == plan.costs[name] > 0
    assert "one of boxes" in KernelDensity(0.3, algorithm="ball_tree").fit(X).explain(X).reason
    assert KernelDensity(0.3, algorithm="kd_tree", kernel="linear").fit(X).explain(X[:3]).name == "tree"
    for algorithm in ("kd_tree", "ball_tree"):
        # as scikit-learn's defaults have it: exact
        plan = KernelDensity(0.3, algorithm=algorithm, rtol=0).fit(X).explain(X)
        assert plan.name == "direct" and "rtol = 0" in plan.reason


def test_a_grid_where_there_can_be_none():
    X = np.random.default_rng(0).normal(size=(50, 4))
    with pytest.raises(ValueError, match="algorithm is 'grid', but a grid serves up to 3 features; expected 'auto'"):
        KernelDensity(0.3, algorithm="grid").fit(X).score_samples(X)
    with pytest.raises(ValueError, match="only Gaussian kernels have one, and kernel is 'tophat'"):
        KernelDensity(0.3, algorithm="grid", kernel="tophat").fit(X[:, :2])


@pytest.mark.parametrize(
    "params",
    [{"metric": "l2"}, {"metric": "minkowski"}, {"metric": "minkowski", "metric_params": {"p": 2}}, {"metric": "p"},
     {"metric_params": {}}, {"atol": 1e-3}, {"atol": 1}],
    ids=str,
)
def test_parameters_that_change_nothing(params, faithful):
    expected = KernelDensity(0.5).fit(faithful).score_samples(faithful)
    np.testing.assert_array_equal(KernelDensity(0.5, **params).fit(faithful).score_samples(faithful), expected)


@pytest.mark.parametrize("params", [{"leaf_size": 20}, {"breadth_first": False}], ids=str)
def test_parameters_that_cannot_be_followed(params, faithful):
    expected = KernelDensity(0.5).fit(faithful).score_samples(faithful)
    with pytest.warns(UserWarning, match=r"changes nothing: .* explain\(X\) tells") as caught:
        kde = KernelDensity(0.5, **params).fit(faithful)
    assert len(caught) == 1 and caught[0].filename == __file__
    np.testing.assert_array_equal(kde.score_samples(faithful), expected)


BAD = {
    "manhattan": ({"metric": "manhattan"}, ValueError, "metric is 'manhattan'; expected 'euclidean'"),
    "haversine": ({"metric": "haversine"}, ValueError, "Transform the data"),
    "metric": ({"metric": 2}, TypeError, "metric is int"),
    "p": ({"metric": "minkowski", "metric_params": {"p": 1}}, ValueError, "metric_params is {'p': 1}; expected None"),
    "V": ({"metric_params": {"V": [1, 2]}}, ValueError, "one bandwidth a feature"),
    "metric_params": ({"metric_params": 3}, TypeError, "metric_params is int; expected None or a dict"),
    "atol": ({"atol": -1e-3}, ValueError, "atol is -0.001; expected a finite number >= 0"),
    "leaf_size": ({"leaf_size": 0}, ValueError, "leaf_size is 0; expected an integer >= 1"),
    "breadth_first": ({"breadth_first": 1}, TypeError, "breadth_first is 1; expected True or False"),
    "algorithm": ({"algorithm": "brute"}, ValueError, "algorithm is 'brute'; expected one of 'auto', 'direct', 'grid'"),
    "exact tree": ({"algorithm": "tree", "rtol": 0}, ValueError, "algorithm is 'tree' and rtol is 0"),
    "exact grid": ({"algorithm": "grid", "rtol": 0.0}, ValueError, "expected an rtol > 0"),
    "kernel": ({"kernel": "biweight"}, ValueError, "kernel is 'biweight'; expected one of 'gaussian', 'tophat'"),
}


@pytest.mark.parametrize("params, error, message", BAD.values(), ids=BAD)
def test_refused(params, error, message, faithful):
    with pytest.raises(error) as caught:
        KernelDensity(0.5, **params).fit(faithful)
    assert message in str(caught.value)


def test_grid_search_finds_their_bandwidth(faithful):
    grid = {"bandwidth": [0.05, 0.1, 0.2, 0.4, 0.8], "kernel": ["gaussian", "exponential"]}
    ours = GridSearchCV(KernelDensity(), grid, cv=5).fit(faithful[:, :1])
    theirs = GridSearchCV(sklearn.neighbors.KernelDensity(), grid, cv=5).fit(faithful[:, :1])
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-5
    )


def test_pipelines_and_clones(faithful):
    pipeline = make_pipeline(StandardScaler(), KernelDensity(0.3, kernel="epanechnikov"))
    pipeline.set_params(kerneldensity__bandwidth=0.5, kerneldensity__kernel="cosine").fit(
        faithful, kerneldensity__sample_weight=np.arange(1.0, 273)
    )
    kde = pipeline[-1]
    assert kde.bandwidth_ == 0.5 and pipeline.score(faithful) == kde.score(pipeline[0].transform(faithful))
    assert kde.source_weights_[1] == pytest.approx(2 * kde.source_weights_[0])
    twin = sklearn.base.clone(kde)
    assert twin.get_params() == kde.get_params() and not hasattr(twin, "bandwidth_")


# What scikit-learn's own checks ask for and this package does otherwise, for all its estimators.
OTHERWISE = {
    "check_fit1d": "one dimension is univariate samples",
    "check_n_features_in_after_fitting": "refused, in other words",
    "check_complex_data": "a TypeError, as for all that is no real number",
    "check_dtype_object": "refused, in other words",
    "check_estimators_empty_data_messages": "refused, in other words",
    "check_estimators_nan_inf": "refused, in other words",
}


@pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 6), reason="no expected_failed_checks before 1.6"
)
@pytest.mark.parametrize("kernel", ["gaussian", "tophat"])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks(kernel):
    kde = KernelDensity(0.5, kernel=kernel)
    results = check_estimator(kde, expected_failed_checks=OTHERWISE, on_skip=None, on_fail=None)
    failed = [result["check_name"] for result in results if result["status"] == "failed"]
    assert not failed and sum(result["status"] == "passed" for result in results) > 30
