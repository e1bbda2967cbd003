"""GaussianMixture as an estimator: densities, labels, criteria, samples, and scikit-learn's conventions."""

import copy
import pickle
import tracemalloc

import mpmath
import numpy as np
import pytest
import sklearn.base
import sklearn.mixture

from gaussum import GaussianMixture, NotFittedError
from gaussum.covariance import COVARIANCE_TYPES

FITTED = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")
METHODS = ("predict", "predict_proba", "score_samples", "score", "aic", "bic", "icl", "sample")


def samples(n=400, d=2, seed=0):
    rng = np.random.default_rng(seed)
    shift = 4.0 * (np.arange(3)[:, None] == np.arange(d) % 3) + np.arange(3)[:, None]
    return (
        rng.normal(size=(n, d)) @ (np.eye(d) + 0.2 * rng.normal(size=(d, d))) + shift[rng.integers(0, 3, n)]
    )


def fitted(covariance_type="full", d=2, K=3, **params):
    params = {"random_state": 0, "tol": 1e-4} | params
    return GaussianMixture(K, covariance_type=covariance_type, **params).fit(samples(d=d))


def same_in_scikit_learn(mixture):
    """Scikit-learn's estimator with the same parameters."""
    other = sklearn.mixture.GaussianMixture(mixture.n_components, covariance_type=mixture.covariance_type)
    for name in FITTED:
        setattr(other, name, getattr(mixture, name))
    return other


# Densities -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("d", [1, 2, 3, 7, 16, 20])
def test_answers_are_scikit_learns(covariance_type, d):
    mixture = fitted(covariance_type, d)
    other = same_in_scikit_learn(mixture)
    X = samples(1500, d, seed=1)
    np.testing.assert_allclose(mixture.score_samples(X), other.score_samples(X), rtol=1e-10)
    np.testing.assert_allclose(mixture.predict_proba(X), other.predict_proba(X), rtol=1e-8, atol=1e-13)
    np.testing.assert_array_equal(mixture.predict(X), other.predict(X))
    for name in ("score", "aic", "bic"):
        value = getattr(mixture, name)(X)
        assert isinstance(value, float)
        assert value == pytest.approx(getattr(other, name)(X), rel=1e-11)
    assert mixture.n_parameters_ == other._n_parameters()


def exact_log_density(mixture, x):
    """By the definition, to fifty digits; `x` is one sample."""
    d = len(x)
    total = mpmath.mpf(0)
    for k, weight in enumerate(mixture.weights_):
        U = mixture.precisions_cholesky_
        U = U if mixture.covariance_type == "tied" else U[k]
        if mixture.covariance_type in ("diag", "spherical"):
            U = np.diag(np.broadcast_to(U, d))
        z = [mpmath.mpf(float(a)) - mpmath.mpf(float(b)) for a, b in zip(x, mixture.means_[k])]
        y = [sum(z[i] * mpmath.mpf(float(U[i, j])) for i in range(d)) for j in range(d)]
        det = mpmath.fprod(mpmath.mpf(float(U[j, j])) for j in range(d))
        total += mpmath.mpf(float(weight)) * det * mpmath.exp(-sum(v * v for v in y) / 2)
    return mpmath.log(total / mpmath.sqrt(2 * mpmath.pi) ** d)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("d", [1, 3, 17])
def test_log_densities_are_exact_however_far(covariance_type, d):
    mixture = fitted(covariance_type, d)
    direction = np.random.default_rng(5).normal(size=d)
    with mpmath.workdps(50):
        for far in (0.0, 0.5, 3.0, 40.0, 1e3, 1e8, 1e50, 1e150):
            x = mixture.means_[0] + far * direction
            actual = mixture.score_samples(x[None])[0]
            assert np.isfinite(actual)
            assert abs(mpmath.mpf(float(actual)) / exact_log_density(mixture, x) - 1) < 2e-13


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("far", [1e3, 1e150, 1e200, 1e308])
def test_responsibilities_add_up_however_far(covariance_type, far):
    mixture = fitted(covariance_type)
    resp = mixture.predict_proba([[far, -far], [far, 0]])
    np.testing.assert_allclose(resp.sum(axis=1), 1, rtol=1e-14)
    assert (resp >= 0).all()
    assert not np.isnan(mixture.icl([[far, 0]]))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize(
    "scale, offset", [(1e-6, 0), (1e6, 0), (1, 1e3), (1e3, -1e6), (1, 1e8), (1e-6, 1e8), (1e6, 1e8)]
)
def test_scaling_and_shifting(covariance_type, scale, offset):
    """log densities of s x + c are those of x less d log s; `offset` is c in spreads."""
    X = np.round(samples(800) * 1024) / 1024
    moved = scale * (X + offset)
    # with the few bits left at large offsets the samples themselves move by some 1e-8 spreads
    fits = [
        GaussianMixture(3, covariance_type=covariance_type, random_state=0, tol=1e-13, max_iter=2000).fit(
            data
        )
        for data in (X, moved)
    ]
    difference = fits[1].score_samples(moved) - fits[0].score_samples(X)
    np.testing.assert_allclose(difference, -2 * np.log(scale), atol=1e-6)
    np.testing.assert_array_equal(fits[0].predict(X), fits[1].predict(moved))


def test_icl():
    mixture = fitted()
    X = samples()
    largest = mixture.predict_proba(X).max(axis=1)
    assert isinstance(mixture.icl(X), float)
    assert mixture.icl(X) == pytest.approx(mixture.bic(X) - 2 * np.log(largest).sum(), rel=1e-12)
    assert GaussianMixture(1).fit(X).icl(X) == pytest.approx(GaussianMixture(1).fit(X).bic(X), rel=1e-14)


def test_fit_predict():
    X = samples()
    np.testing.assert_array_equal(
        GaussianMixture(3, random_state=0).fit_predict(X), fitted(tol=1e-8).predict(X)
    )


def test_lower_bound_is_the_score():
    mixture = fitted()
    assert mixture.lower_bound_ == pytest.approx(mixture.score(samples()), rel=1e-13)


# Samples ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("d", [1, 2, 4])
def test_samples_follow_the_mixture(covariance_type, d):
    mixture = fitted(covariance_type, d)
    X, labels = mixture.sample(60_000, random_state=1)
    assert X.shape == (60_000, d) and labels.shape == (60_000,)
    assert (np.diff(labels) >= 0).all()
    np.testing.assert_allclose(np.bincount(labels) / 60_000, mixture.weights_, atol=0.01)
    for k in range(3):
        own = X[labels == k]
        covariance = mixture.covariances_ if covariance_type == "tied" else mixture.covariances_[k]
        if covariance_type in ("diag", "spherical"):
            covariance = np.diag(np.broadcast_to(covariance, d))
        scale = np.sqrt(np.diag(covariance))
        atol = max(0.05, 4 / np.sqrt(len(own)))
        np.testing.assert_allclose((own.mean(axis=0) - mixture.means_[k]) / scale, 0, atol=atol)
        np.testing.assert_allclose(
            np.atleast_2d(np.cov(own.T)) / np.outer(scale, scale),
            covariance / np.outer(scale, scale),
            atol=0.06,
        )


def test_random_states_of_sample():
    mixture = fitted()
    np.testing.assert_array_equal(mixture.sample(5, 3)[0], mixture.sample(5, np.random.default_rng(3))[0])
    np.testing.assert_array_equal(mixture.sample(5)[0], mixture.sample(5)[0])  # the estimator's own seed
    rng = np.random.default_rng(0)
    mixture = fitted(random_state=rng)
    assert not np.array_equal(mixture.sample(5)[0], mixture.sample(5)[0])
    assert mixture.sample()[0].shape == (1, 2)


# Scikit-learn's conventions --------------------------------------------------------------------------


def test_parameters():
    mixture = GaussianMixture(4, covariance_type="tied", means_init=np.zeros((4, 1)))
    params = mixture.get_params()
    assert params["n_components"] == 4 and params["covariance_type"] == "tied" and params["tol"] == 1e-8
    assert set(params) >= {
        "n_components",
        "covariance_type",
        "tol",
        "reg_covar",
        "max_iter",
        "n_init",
        "init_params",
        "weights_init",
        "means_init",
        "precisions_init",
        "random_state",
        "warm_start",
        "accelerate",
        "n_threads",
        "verbose",
    }
    assert mixture.set_params(n_components=2) is mixture and mixture.n_components == 2
    with pytest.raises(ValueError, match="components.*no parameter of GaussianMixture"):
        mixture.set_params(components=2)


def test_repr():
    assert repr(GaussianMixture()) == "GaussianMixture()"
    assert repr(GaussianMixture(3, tol=0.1)) == "GaussianMixture(n_components=3, tol=0.1)"


def test_clone():
    mixture = fitted("diag")
    clone = sklearn.base.clone(mixture)
    assert clone.get_params() == mixture.get_params()
    assert not hasattr(clone, "means_")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(duplicate):
    mixture = fitted()
    twin = duplicate(mixture)
    np.testing.assert_array_equal(twin.predict_proba(samples()), mixture.predict_proba(samples()))
    twin.fit(samples() + 1)
    assert not np.array_equal(twin.means_, mixture.means_)
    assert duplicate(GaussianMixture(2)).get_params() == GaussianMixture(2).get_params()


@pytest.mark.parametrize("method", METHODS)
def test_not_fitted(method):
    with pytest.raises(NotFittedError, match="GaussianMixture is not fitted yet; call fit"):
        getattr(GaussianMixture(2), method)(*([] if method == "sample" else [samples()]))
    assert issubclass(NotFittedError, ValueError) and issubclass(NotFittedError, AttributeError)


def test_fitted_attributes():
    for covariance_type, shape in {
        "full": (3, 2, 2),
        "tied": (2, 2),
        "diag": (3, 2),
        "spherical": (3,),
    }.items():
        mixture = fitted(covariance_type)
        assert mixture.weights_.shape == (3,) and mixture.means_.shape == (3, 2)
        assert (
            mixture.covariances_.shape
            == mixture.precisions_.shape
            == mixture.precisions_cholesky_.shape
            == shape
        )
        assert mixture.weights_.sum() == pytest.approx(1, rel=1e-14)
        assert mixture.n_features_in_ == 2
        assert isinstance(mixture.converged_, bool) and isinstance(mixture.n_iter_, int)
        assert isinstance(mixture.lower_bound_, float) and isinstance(mixture.n_parameters_, int)
        if len(shape) > 1 and shape[-2:] == (2, 2):
            np.testing.assert_allclose(
                mixture.precisions_ @ mixture.covariances_, np.broadcast_to(np.eye(2), shape), atol=1e-12
            )
            assert (np.tril(mixture.precisions_cholesky_, -1) == 0).all()
        else:
            np.testing.assert_allclose(mixture.precisions_ * mixture.covariances_, 1, rtol=1e-12)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_parameters_set_by_hand(covariance_type):
    """Without a fit, as scikit-learn allows: weights, means and the factors of the precisions suffice."""
    model = fitted(covariance_type)
    by_hand = GaussianMixture(3, covariance_type=covariance_type)
    by_hand.weights_, by_hand.means_ = model.weights_, model.means_
    by_hand.precisions_cholesky_ = model.precisions_cholesky_
    X = samples(50)
    for method in ("predict", "predict_proba", "score_samples", "score", "aic", "bic", "icl"):
        np.testing.assert_array_equal(getattr(by_hand, method)(X), getattr(model, method)(X))
    with pytest.raises(ValueError, match="X has 3 features"):
        by_hand.predict(np.ones((4, 3)))


def test_changed_attributes_count():
    mixture = fitted()
    before = mixture.score_samples(samples())
    mixture.means_ = mixture.means_ + 1.0
    np.testing.assert_allclose(mixture.score_samples(samples() + 1.0), before, rtol=1e-10)
    mixture.weights_ = [1.0, 0.0, 0.0]
    assert (mixture.predict(samples()) == 0).all()


def test_changed_parameters_do_not_count_before_the_next_fit():
    mixture = fitted()
    resp = mixture.predict_proba(samples())
    mixture.set_params(n_components=5)
    np.testing.assert_array_equal(mixture.predict_proba(samples()), resp)


def test_in_a_pipeline_and_a_search():
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipe = make_pipeline(StandardScaler(), GaussianMixture(3, random_state=0)).fit(samples())
    assert pipe.predict(samples()).shape == (400,)
    search = GridSearchCV(GaussianMixture(random_state=0), {"n_components": [1, 3]}, cv=3).fit(samples())
    assert search.best_params_ == {"n_components": 3}


def test_zero_weights_cost_no_copy():
    X = np.random.default_rng(0).normal(size=(400_000, 8)).astype(np.float32)
    peaks = []
    for step in (len(X), 7):
        weight = np.ones(len(X))
        weight[1::step] = 0 if step == 7 else 1
        tracemalloc.start()
        GaussianMixture(2, random_state=0, tol=1e-2).fit(X, sample_weight=weight)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + X.nbytes / 2


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_fitted_mixture_keeps_its_structure(covariance_type):
    X = np.random.default_rng(0).normal(size=(100, 2))
    mixture = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(X)
    expected, bic = mixture.score_samples(X), mixture.bic(X)
    for other in COVARIANCE_TYPES:
        mixture.set_params(covariance_type=other, n_components=3)
        np.testing.assert_array_equal(mixture.score_samples(X), expected)
        assert mixture.sample(3, 0)[0].shape == (3, 2) and mixture.bic(X) == bic
