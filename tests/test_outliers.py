"""OutlierDetector: scikit-learn's detectors as the oracle of its manners, p-values of known densities."""

import copy
import pickle

import numpy as np
import pytest
import sklearn.base
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity as SklearnKernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gaussum import GaussianMixture, KernelDensity, NotFittedError, OutlierDetector


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    clusters = rng.normal(0, 1, (150, 2)), rng.normal(5, 2, (100, 2))
    return np.concatenate([*clusters, rng.uniform(-15, 15, (10, 2))])


@pytest.fixture(scope="module")
def normal():
    """A standard normal density, fitted: its log density and its p-values are known."""
    mixture = GaussianMixture(1, covariance_type="spherical", reg_covar=0)
    x = np.array([-1.0, 1.0])
    return mixture.fit(x)


class Normal:
    """The least that is a density: fit and score_samples, standard normal; counts its fits."""

    def __init__(self):
        self.fits = 0

    def fit(self, X):
        self.fits += 1
        self.location_ = 0.0

    def score_samples(self, X):
        return stats.norm.logpdf(X).sum(axis=1)


class Weighted(Normal):
    def fit(self, X, sample_weight=None):
        super().fit(X)
        self.weights_ = sample_weight


class Flat(Normal):
    """Density zero wherever a sample is negative."""

    def score_samples(self, X):
        return np.where(X[:, 0] < 0, -np.inf, -1.0)


def densities():
    return [
        KernelDensity(),
        GaussianMixture(2, random_state=0),
        SklearnKernelDensity(bandwidth=0.5),
        SklearnMixture(2, random_state=0),
    ]


each_density = pytest.mark.parametrize(
    "density", densities(), ids=lambda e: f"{type(e).__module__.split('.')[0]}-{type(e).__name__}"
)


# As scikit-learn's detectors -------------------------------------------------------------------------


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.29, 0.5])
def test_behaves_as_scikit_learn(X, contamination):
    """IsolationForest has score_samples too, so the detector over it must do what it does by itself."""
    oracle = IsolationForest(n_estimators=20, contamination=contamination, random_state=0).fit(X)
    detector = OutlierDetector(IsolationForest(n_estimators=20, random_state=0), contamination=contamination)
    labels = detector.fit_predict(X)
    assert detector.offset_ == oracle.offset_
    assert detector.n_features_in_ == oracle.n_features_in_
    new = X[::-1] + 0.5
    np.testing.assert_array_equal(detector.score_samples(new), oracle.score_samples(new))
    np.testing.assert_array_equal(detector.decision_function(new), oracle.decision_function(new))
    np.testing.assert_array_equal(detector.predict(new), oracle.predict(new))
    np.testing.assert_array_equal(labels, oracle.predict(X))
    assert labels.dtype == oracle.predict(X).dtype


@each_density
def test_every_density(density, X):
    detector = OutlierDetector(density, contamination=0.05)
    before = copy.deepcopy(vars(density))
    assert detector.fit(X) is detector
    assert vars(density).keys() == before.keys()  # the parameter itself stays unfitted
    assert detector.estimator_ is not density
    scores = detector.score_samples(X)
    np.testing.assert_allclose(scores, detector.estimator_.score_samples(X), rtol=0)
    assert detector.offset_ == np.percentile(scores, 5)
    np.testing.assert_array_equal(detector.decision_function(X), scores - detector.offset_)
    np.testing.assert_array_equal(detector.predict(X) == -1, scores < detector.offset_)
    np.testing.assert_array_equal(detector.fit_predict(X), detector.predict(X))
    assert np.count_nonzero(detector.predict(X) == -1) == 13


def test_none_is_a_kernel_density(X):
    detector = OutlierDetector().fit(X)
    assert isinstance(detector.estimator_, KernelDensity)
    assert detector.estimator is None
    assert detector.offset_ == np.percentile(KernelDensity().fit(X).score_samples(X), 10)


@each_density
def test_a_fitted_density_is_used_as_it_is(density, X):
    fitted = copy.deepcopy(density)
    fitted.fit(X[:150])
    scores = fitted.score_samples(X)
    detector = OutlierDetector(fitted, contamination=0.1).fit(X)
    assert detector.estimator_ is fitted
    np.testing.assert_array_equal(detector.score_samples(X), scores)
    assert detector.offset_ == np.percentile(scores, 10)


def test_duck_typed_density(X):
    density = Normal()
    detector = OutlierDetector(density).fit(X)
    assert (density.fits, detector.estimator_.fits) == (0, 1)
    detector = OutlierDetector(detector.estimator_).fit(X)
    assert detector.estimator_.fits == 1


def test_pipelines_and_frozen_estimators(X):
    pipeline = make_pipeline(StandardScaler(), SklearnKernelDensity(bandwidth=0.3))
    detector = OutlierDetector(pipeline).fit(X)
    assert not hasattr(pipeline[0], "scale_")  # cloned to the bottom
    fitted = detector.estimator_
    assert OutlierDetector(fitted).fit(X).estimator_ is fitted
    frozen = FrozenEstimator(GaussianMixture(2, random_state=0).fit(X))
    assert OutlierDetector(frozen).fit(X).estimator_ is frozen


def test_inside_scikit_learn(X):
    """A step of a pipeline, a candidate of a search, an outlier detector by its tags."""
    detector = OutlierDetector(GaussianMixture(2, random_state=0), contamination=0.05)
    assert sklearn.base.is_outlier_detector(detector)
    pipeline = make_pipeline(StandardScaler(), detector)
    labels = pipeline.fit_predict(X)
    np.testing.assert_array_equal(pipeline.predict(X), labels)
    assert np.count_nonzero(labels == -1) == 13
    grid = {"estimator__n_components": [1, 2]}
    search = GridSearchCV(detector, grid, scoring=lambda e, X, y=None: e.score_samples(X).mean(), cv=2)
    assert search.fit(np.random.default_rng(0).permutation(X)).best_params_ == {"estimator__n_components": 2}


def test_clone_parameters_and_pickle(X):
    detector = OutlierDetector(GaussianMixture(2, random_state=3), p_value=0.01, n_draws=2000, random_state=1)
    assert sklearn.base.clone(detector).get_params()["estimator__n_components"] == 2
    detector.set_params(estimator__n_components=1, p_value=0.05)
    assert (detector.estimator.n_components, detector.p_value) == (1, 0.05)
    detector.fit(X)
    again = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(again.predict(X), detector.predict(X))
    np.testing.assert_array_equal(again.p_values(X), detector.p_values(X))
    assert not hasattr(sklearn.base.clone(detector), "offset_")


# The three rules -------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.floats(0.001, 0.5), st.integers(0, 2**32 - 1))
def test_contamination_flags_its_fraction(n, contamination, seed):
    x = np.random.default_rng(seed).standard_cauchy(n)
    flagged = np.count_nonzero(OutlierDetector(Normal(), contamination=contamination).fit_predict(x) == -1)
    assert abs(flagged - contamination * n) <= 1


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=3, max_size=30).filter(any), st.floats(0.01, 0.5))
def test_weights_are_repetitions(weights, contamination):
    """The offset is that of the repeated samples, whatever a common factor."""
    x = np.random.default_rng(len(weights)).normal(size=len(weights))
    w = np.array(weights)
    detector = OutlierDetector(Weighted(), contamination=contamination)
    offset = detector.fit(x, sample_weight=w).offset_
    repeated = stats.norm.logpdf(np.repeat(x, w))
    assert offset in repeated
    assert np.mean(repeated < offset) <= contamination + 1e-12
    assert np.mean(repeated <= offset) >= contamination - 1e-12
    # a power of two: the same bits
    assert detector.fit(x, sample_weight=w * 2.0**-20).offset_ == offset
    assert detector.fit(np.repeat(x, w), sample_weight=np.ones(w.sum())).offset_ == offset


def test_weights_reach_the_density(X):
    w = np.random.default_rng(1).exponential(size=len(X))
    detector = OutlierDetector(KernelDensity(bandwidth=0.7), contamination=0.2).fit(X, sample_weight=w)
    kde = KernelDensity(bandwidth=0.7).fit(X, sample_weight=w)
    np.testing.assert_allclose(detector.score_samples(X), kde.score_samples(X), rtol=1e-13)
    flagged = detector.predict(X) == -1
    assert w[flagged].sum() / w.sum() == pytest.approx(0.2, abs=0.02)
    assert OutlierDetector(Weighted()).fit(X).estimator_.weights_ is None
    np.testing.assert_array_equal(detector.fit_predict(X, sample_weight=w), detector.predict(X))


def test_weights_for_a_density_without(X):
    with pytest.raises(TypeError, match="sample_weight"):
        OutlierDetector(SklearnMixture()).fit(X, sample_weight=np.ones(len(X)))


def test_threshold(normal):
    detector = OutlierDetector(normal, threshold=stats.norm.logpdf(2.0)).fit([0.0])
    assert detector.offset_ == stats.norm.logpdf(2.0)
    np.testing.assert_array_equal(detector.predict([0.0, 1.9, 2.1, -1.9, -2.1, 1e6]), [1, 1, -1, 1, -1, -1])
    assert OutlierDetector(normal, threshold=-9).fit([0.0]).offset_ == -9.0
    np.testing.assert_array_equal(OutlierDetector(normal, threshold=-9).fit_predict([0.0, 9.0]), [1, -1])


@pytest.mark.parametrize("p_value", [0.001, 0.05, 0.5])
def test_p_value_is_the_rate_of_flags(normal, p_value):
    detector = OutlierDetector(normal, p_value=p_value, random_state=0).fit([0.0])
    # the highest-density region of a normal density is |x| <= z
    spread = 5 * np.sqrt(p_value * (1 - p_value) / detector.n_draws)
    region = stats.norm.isf(np.array([p_value + spread, p_value - spread]) / 2)
    assert stats.norm.logpdf(region[1]) < detector.offset_ < stats.norm.logpdf(region[0])


def test_p_values_of_a_normal_density(normal):
    x = np.array([0.0, 0.5, 1.0, -1.0, 2.0, -3.0, 50.0])
    detector = OutlierDetector(normal, threshold=-3, random_state=0).fit([0.0])
    p = detector.p_values(x)
    np.testing.assert_allclose(p, 2 * stats.norm.sf(abs(x)), atol=5 * 0.5 / np.sqrt(1e5))
    assert p[-1] == 1 / 100_001  # never zero
    assert p[0] <= 1
    np.testing.assert_array_equal(detector.p_values(x), p)  # the draws are kept


def test_p_values_agree_with_the_flags(X):
    detector = OutlierDetector(GaussianMixture(2, random_state=0), p_value=0.02, n_draws=5000, random_state=0)
    flagged = detector.fit_predict(X) == -1
    p = detector.p_values(X)
    assert flagged.any() and not flagged.all()
    assert (p[flagged] < 0.0205).all() and (p[~flagged] > 0.0195).all()


@each_density
def test_p_value_of_every_density(density, X):
    params = {"p_value": 0.05, "n_draws": 3000}
    detectors = [OutlierDetector(density, **params, random_state=seed).fit(X) for seed in (0, 0, 1)]
    offsets = [d.offset_ for d in detectors]
    assert offsets[0] == offsets[1] != offsets[2] or isinstance(density, SklearnMixture)  # seeds itself
    new = detectors[0].estimator_.sample(1000)
    new = new[0] if isinstance(new, tuple) else new
    assert 0.01 < np.mean(detectors[0].predict(new) == -1) < 0.1
    assert ((0 < detectors[0].p_values(new)) & (detectors[0].p_values(new) <= 1)).all()


def test_a_generator_moves_on(normal):
    rng = np.random.default_rng(0)
    detector = OutlierDetector(normal, p_value=0.1, n_draws=500, random_state=rng)
    assert detector.fit([0.0]).offset_ != detector.fit([0.0]).offset_


def test_minus_infinity():
    """A density of zero is below any offset; an offset of minus infinity is refused."""
    x = np.array([-1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    np.testing.assert_array_equal(OutlierDetector(Flat(), threshold=-5).fit_predict(x), [-1, 1, 1, 1, 1, 1])
    with pytest.raises(ValueError, match="contamination quantile of the log density is"):
        OutlierDetector(Flat(), contamination=0.5).fit(-x)


def test_layouts(X):
    scores = OutlierDetector(random_state=0).fit(X).score_samples(X)
    for same in (np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], X.tolist()):
        np.testing.assert_allclose(OutlierDetector().fit(same).score_samples(same), scores, rtol=1e-12)
    np.testing.assert_allclose(
        OutlierDetector().fit(X[:, 0]).decision_function(X[:, 0]),
        OutlierDetector().fit(X[:, :1]).decision_function(X[:, :1]),
        rtol=0,
    )


# Refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params, error, message",
    [
        ({"contamination": 0}, ValueError, "contamination is 0.0; expected a finite number > 0 and <= 0.5"),
        ({"contamination": 0.51}, ValueError, "contamination is 0.51"),
        ({"contamination": np.nan}, ValueError, "contamination is nan"),
        ({"contamination": "auto"}, TypeError, "contamination is 'auto'"),
        ({"contamination": True}, TypeError, "contamination is True"),
        ({"threshold": np.inf}, ValueError, "threshold is inf"),
        ({"threshold": "low"}, TypeError, "threshold is 'low'"),
        ({"p_value": 0.0}, ValueError, "p_value is 0.0; expected a finite number > 0 and < 1"),
        ({"p_value": 1.0}, ValueError, "p_value is 1.0"),
        ({"p_value": [0.1]}, TypeError, "p_value is"),
        ({"p_value": 0.001, "n_draws": 9999}, ValueError, "n_draws is 9999; expected at least 10000"),
        ({"p_value": 0.5, "n_draws": 0}, ValueError, "n_draws is 0"),
        ({"n_draws": 1e5}, TypeError, "n_draws is 100000.0"),
        ({"contamination": 0.1, "threshold": -9}, ValueError, "contamination and threshold are given"),
        ({"threshold": -9, "p_value": 0.1}, ValueError, "threshold and p_value are given"),
        ({"p_value": 0.1, "random_state": -1}, ValueError, "random_state is -1"),
        ({"p_value": 0.1, "random_state": "x"}, TypeError, "random_state is 'x'"),
        ({"estimator": 3}, TypeError, "estimator is int; expected a density"),
        ({"estimator": KernelDensity}, TypeError, "estimator is the class KernelDensity"),
        ({"estimator": StandardScaler()}, TypeError, "estimator is StandardScaler; expected a density"),
        ({"estimator": Normal(), "p_value": 0.1}, TypeError, "estimator is Normal, which has no sample"),
    ],
)
def test_bad_parameters(X, params, error, message):
    with pytest.raises(error, match=message):
        OutlierDetector(**params).fit(X)


@pytest.mark.parametrize(
    "X, weights, error, message",
    [
        ([1.0, np.nan], None, ValueError, "X holds nan at index 1"),
        ([], None, ValueError, "X is empty"),
        ([["a"]], None, TypeError, "X holds"),
        (np.ones((2, 2, 2)), None, ValueError, "X has 3 dimensions"),
        ([1j, 2.0], None, TypeError, "X holds complex numbers"),
        ([1.0, 2.0], [1.0], ValueError, "sample_weight has shape"),
        ([1.0, 2.0], [1.0, -1.0], ValueError, "sample_weight holds a negative value"),
        ([1.0, 2.0], [0, 0], ValueError, "sample_weight is zero everywhere"),
    ],
)
def test_bad_samples(X, weights, error, message):
    for fit in (OutlierDetector().fit, OutlierDetector().fit_predict):
        with pytest.raises(error, match=message):
            fit(X, sample_weight=weights)


@pytest.mark.parametrize("method", ["predict", "decision_function", "score_samples", "p_values"])
def test_methods_before_fit_and_other_features(X, method):
    with pytest.raises(NotFittedError, match="OutlierDetector is not fitted yet"):
        getattr(OutlierDetector(), method)(X)
    detector = OutlierDetector().fit(X)
    with pytest.raises(ValueError, match="X has 3 features, but 2 features are expected"):
        getattr(detector, method)(np.ones((4, 3)))
    with pytest.raises(ValueError, match="X has one dimension"):
        getattr(detector, method)(np.ones(4))


def test_fitted_density_with_other_features(X):
    with pytest.raises(ValueError, match="X has 1 features, but 2 features are expected"):
        OutlierDetector(KernelDensity().fit(X)).fit(X[:, :1])
