"""Where features meet: starts side by side and hints, float32 and thin data, structures and components let go."""

import warnings

import numpy as np
import pytest

from gaussum import (
    BayesianGaussianMixture, CollapsedComponentWarning, ConvergenceWarning, GaussianMixture, merge_components,
    select_mixture,
)
from gaussum.covariance import MCLUST_NAMES
from gaussum.likelihood import MixtureLikelihood
from gaussum.parameters import MixtureParameters
from gaussum.starts import METHODS
from gaussum.structures import structured_m_step

each_structure = pytest.mark.parametrize("structure", MCLUST_NAMES)
hard = pytest.mark.filterwarnings("ignore::gaussum.ConvergenceWarning", "ignore::gaussum.CollapsedComponentWarning")


def blobs(n=600, d=2, seed=0):
    rng = np.random.default_rng(seed)
    mixing = np.eye(d) + 0.4 * rng.normal(size=(d, d))
    return rng.normal(size=(n, d)) @ mixing + 5.0 * rng.integers(0, 3, (n, 1)) * (1 + np.arange(d) % 2)


def test_a_likelihood_alone_begins_anew():
    """Starts in turn and side by side give the same bits: neither sees what the run before left."""
    X = blobs().astype(np.float32)
    likelihood = MixtureLikelihood(X, "diag", 2, spread=(np.zeros(2), np.ones(2)))
    likelihood.exact, likelihood.n_passes, likelihood.n_rescues = True, 7, 2
    own = likelihood.alone()
    assert (own.exact, own.n_passes, own.n_rescues) == (False, 0, 0)


@pytest.mark.parametrize("prior_type", ["dirichlet_process", "dirichlet_distribution"])
def test_sticks_in_another_order_leave_no_trace_of_threads(prior_type, always_threads):
    """Enough components for passes that skip, whose hints differ from one likelihood to the next."""
    X = blobs(3000, 3)
    fits = [
        BayesianGaussianMixture(
            18, covariance_type="tied", weight_concentration_prior_type=prior_type, n_init=2, tol=1e-3, random_state=1,
            n_threads=n_threads,
        ).fit(X)
        for n_threads in (1, 2, 7)
    ]
    for other in fits[1:]:
        assert other.lower_bounds_ == fits[0].lower_bounds_
        np.testing.assert_array_equal(other.covariances_, fits[0].covariances_)


@pytest.mark.parametrize("structure", ["spherical", "diag", "full", "tied", "VEE", "EEI"])
@pytest.mark.parametrize("offset", [0.0, -1e6, 3e7])
def test_converged_by_the_gradient(structure, offset):
    """Where offsets hide what a plain step gains, a fit goes on all the same."""
    X = np.round(blobs(800) * 1024) / 1024
    mixture = GaussianMixture(3, covariance_type=structure, random_state=0).fit(1e3 * (X + offset))
    assert mixture.converged_
    assert mixture.gradient_norm_ < 1e-8 + 1e-14 * abs(offset)
    np.testing.assert_allclose(
        mixture.score_samples(1e3 * (X + offset)) + 2 * np.log(1e3),
        GaussianMixture(3, covariance_type=structure, random_state=0).fit(X).score_samples(X), atol=1e-6,
    )


def test_float32_costs_no_component():
    """A covariance that float32's rounding makes singular is formed again in float64."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(200, 6)) + 4 * rng.integers(0, 3, (200, 1))).astype(np.float32)
    X[:, 2] = np.float32(5e5) + np.where(X[:, 0] > 4, np.float32(0.03125), np.float32(0))
    options = {"covariance_type": "tied", "reg_covar": 0.0, "random_state": 0, "init_params": "hierarchical"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", CollapsedComponentWarning)
        fits = [GaussianMixture(12, **options).fit(data) for data in (X, X.astype(np.float64))]
    assert fits[0].lower_bound_ == pytest.approx(fits[1].lower_bound_, abs=1e-6)


@hard
@each_structure
@pytest.mark.parametrize("init_params", ["auto", "random"])
def test_samples_all_alike(structure, init_params):
    """Components starve until nothing is left to divide by."""
    X = np.full((12, 16), 1.7)
    mixture = GaussianMixture(5, covariance_type=structure, init_params=init_params, random_state=0, max_iter=60).fit(X)
    assert np.isfinite(mixture.score_samples(X)).all() and np.isfinite(mixture.covariances_).all()


@pytest.mark.parametrize("structure", [name for name in MCLUST_NAMES if name not in ("VVV", "EEE", "VVI", "VII")])
def test_a_component_without_samples_has_a_covariance(structure):
    """So that the gradient of a fit that let it go is a number."""
    X, d = blobs(200, 3), 3
    kind = structured_m_step(structure, 3, d, np.full(d, 1e-6))
    likelihood = MixtureLikelihood(X, kind.covariance_type, 3, m_step=kind)
    chol = {"full": np.tile(np.eye(d), (3, 1, 1)), "diag": np.ones((3, d)), "spherical": np.ones(3)}
    first = MixtureParameters.from_precisions_chol(
        kind.covariance_type, np.array([0.6, 0.4, 0.0]), X[:3], chol[kind.covariance_type]
    )
    after = kind.maximize(likelihood.statistics(first))
    assert np.isfinite(after.buffer).all()
    assert after.weights[2] == 0.0


@hard
@pytest.mark.parametrize("accelerate", [True, False])
def test_a_structure_converges_after_it_let_a_component_go(accelerate):
    X = np.round(blobs(600, 2, seed=3) * 1024) / 1024
    X[:, 0] = 2 * X[:, 1]
    mixture = GaussianMixture(4, covariance_type="VEE", init_params="random", accelerate=accelerate)
    for seed in range(2):
        mixture.set_params(random_state=seed).fit(X)
        assert mixture.converged_ and np.isfinite(mixture.gradient_norm_), seed


def hard_data(rng):
    n, d = int(rng.choice([1, 2, 3, 5, 8, 20, 60])), int(rng.choice([1, 2, 3, 8]))
    X = rng.normal(size=(n, d)) @ (np.eye(d) + 0.5 * rng.normal(size=(d, d))) + 3 * rng.integers(0, 3, (n, 1))
    if rng.random() < 0.3:
        X = X[rng.integers(0, max(1, n // 3), n)]
    if rng.random() < 0.2:
        X[:, rng.integers(d)] = rng.choice([0.0, 1e5, -3e-4])
    if rng.random() < 0.2 and d > 1:
        X[:, 0] = X[:, 1:] @ rng.normal(size=d - 1)
    if rng.random() < 0.2:
        X[rng.integers(n)] += 1e6
    if rng.random() < 0.3:
        X = X * 10.0 ** rng.uniform(-6, 6, d)
    if rng.random() < 0.2:
        X = X + X.std(axis=0) * 10.0 ** rng.uniform(0, 8, d)
    return X.astype(np.float32) if rng.random() < 0.25 else X


@hard
@pytest.mark.parametrize("seed", range(60))
def test_hard_data(seed):
    """Nothing but numbers, the same for any number of threads, whatever the data."""
    rng = np.random.default_rng(seed)
    X = hard_data(rng)
    n, weight = len(X), None
    K = int(min(n, rng.choice([1, 2, 3, n])))
    if rng.random() < 0.3:
        weight = rng.integers(0, 4, n) * 10.0 ** rng.uniform(-5, 5)
        weight[0] += 1.0
        K = min(K, np.count_nonzero(weight))
    if seed % 5 == 0:
        kind = BayesianGaussianMixture
        options = {"covariance_type": str(rng.choice(["full", "tied", "diag", "spherical"]))}
    else:
        kind = GaussianMixture
        options = {"covariance_type": str(rng.choice(MCLUST_NAMES)), "init_params": str(rng.choice(METHODS))}
        if options["covariance_type"] in ("VVV", "EEE", "VVI", "VII") and rng.random() < 0.5:
            options["prior"] = "default"
    options |= {"n_init": 2, "max_iter": 40, "random_state": seed}
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        fits = [kind(K, n_threads=t, **options).fit(X, sample_weight=weight) for t in (1, 3)]
    categories = {warning.category for warning in given}
    assert all(issubclass(c, (ConvergenceWarning, CollapsedComponentWarning)) for c in categories)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "lower_bounds_"):
        values = np.asarray(getattr(fits[0], name))
        assert np.isfinite(values).all(), name
        np.testing.assert_array_equal(values, getattr(fits[1], name))
    assert np.isfinite(fits[0].score_samples(X)).all() and np.isfinite(fits[0].predict_proba(X)).all()
    bounds = np.array(fits[0].lower_bounds_)
    if not categories - {ConvergenceWarning}:
        assert (np.diff(bounds) > -(1e-8 if X.dtype == np.float64 else 1e-4) * np.maximum(1, abs(bounds[1:]))).all()
    merging = merge_components(fits[0], X, sample_weight=weight)
    assert np.isfinite(merging.entropies).all()


@hard
@pytest.mark.parametrize("seed", range(8))
def test_selection_from_hard_data(seed):
    X = hard_data(np.random.default_rng(1000 + seed))
    numbers = sorted({1, min(2, len(X)), min(5, len(X))})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        results = [
            select_mixture(X, numbers, "all", n_init=1, random_state=0, max_iter=30, n_threads=t) for t in (1, 3)
        ]
    assert all(row["error"] is None for row in results[0].table)
    assert repr(results[0].table) == repr(results[1].table)


def test_cross_validation_keeps_quiet_of_spurious_folds():
    """Held-out samples judge them; a candidate must not fail where warnings are errors."""
    X = np.random.default_rng(0).normal(size=(60, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        table = select_mixture(X, range(1, 7), criterion="cv", cv=3, n_init=2, random_state=0).table
    assert all(np.isfinite(row["cv"]) for row in table)
