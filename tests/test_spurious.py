"""Spurious optima are told apart from clusters, and kept out of restarts and of selection."""

import warnings

import numpy as np
import pytest

from gaussum import GaussianMixture, SpuriousOptimumWarning, mixture, select_mixture
from gaussum.covariance import second_shape
from gaussum.parameters import MixtureParameters
from gaussum.spurious import effective_samples, spurious_components

FREE = ("full", "diag", "spherical")
quiet = pytest.mark.filterwarnings("ignore::gaussum.CollapsedComponentWarning", "ignore::gaussum.ConvergenceWarning")


def at_truth(X, labels, covariance_type, **params):
    """A fit that starts from the components of given labels."""
    K, d = labels.max() + 1, X.shape[1]
    covariances = np.array([np.cov(X[labels == k].T, ddof=0).reshape(d, d) + 1e-12 * np.eye(d) for k in range(K)])
    precisions = {
        "full": lambda: np.linalg.inv(covariances),
        "diag": lambda: 1 / np.diagonal(covariances, axis1=1, axis2=2),
        "spherical": lambda: d / np.trace(covariances, axis1=1, axis2=2),
    }[covariance_type]()
    return GaussianMixture(
        K, covariance_type=covariance_type, weights_init=np.bincount(labels) / len(X), precisions_init=precisions,
        means_init=[X[labels == k].mean(axis=0) for k in range(K)], random_state=0, **params,
    ).fit(X)


def scene(d, small, seed, n=3000):
    """Two clusters, and a third of the given samples about a place beside them; with labels."""
    rng = np.random.default_rng(seed)
    labels = np.r_[rng.integers(0, 2, n - len(small)), np.full(len(small), 2)]
    centers = np.zeros((3, d))
    centers[1, 0], centers[2] = 6.0, 3.0
    X = centers[labels] + rng.normal(size=(n, d))
    X[labels == 2] = centers[2] + small
    return X, labels


@quiet
@pytest.mark.parametrize("covariance_type", FREE)
@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n, m, scale", [(3000, 30, 0.05), (3000, 30, 0.01), (1000, 30, 0.05), (3000, 300, 1e-5)])
def test_small_tight_clusters_are_clusters(covariance_type, d, seed, n, m, scale):
    X, labels = scene(d, scale * np.random.default_rng(seed).normal(size=(m, d)), seed, n)
    fitted = at_truth(X, labels, covariance_type)
    assert fitted.spurious_ == () and fitted.weights_[2] * n == pytest.approx(m, rel=0.4)


@quiet
@pytest.mark.parametrize("covariance_type", FREE)
@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("m, scale", [(1, 0.0), (2, 1e-3), (2, 1e-6), (3, 1e-3), (4, 0.0), (8, 1e-4)])
def test_near_duplicates_are_spurious(covariance_type, d, seed, m, scale):
    X, labels = scene(d, scale * np.random.default_rng(seed).normal(size=(m, d)), seed, 300)
    assert 2 in at_truth(X, labels, covariance_type).spurious_


@quiet
def test_points_on_a_line_are_spurious():
    rng = np.random.default_rng(0)
    X, labels = scene(3, rng.normal(size=(7, 1)) * [1, 1, 0] + 1e-4 * rng.normal(size=(7, 3)), 0, 500)
    assert at_truth(X, labels, "full").spurious_ == (2,)


@pytest.mark.parametrize("covariance_type", FREE)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_bound(covariance_type, scale):
    d, K, n = 2, 4, 1000
    weights = np.array([0.4, 0.3, 0.29, 0.01])
    beyond = 10 - (d if covariance_type == "full" else 1)
    bound = 4 * max(beyond, np.exp((beyond - 1) / 5)) / (1 - np.sqrt(d / 10) if covariance_type == "full" else 1)
    for ratio, expected in ((0.98 * bound, ()), (1.02 * bound, (3,))):
        unit = np.eye(d) if covariance_type == "full" else 1.0
        chol = np.broadcast_to(unit, second_shape(covariance_type, K, d)).copy()
        chol[3] *= ratio
        shape = covariance_type, weights, np.zeros((K, d))
        assert spurious_components(MixtureParameters.from_precisions_chol(*shape, chol / scale), n) == expected
        # in one of the features alone
        if covariance_type != "spherical":
            chol = chol.copy()
            chol[3, 0] /= ratio
            assert spurious_components(MixtureParameters.from_precisions_chol(*shape, chol / scale), n) == expected


def test_thin_in_all_components_is_not_spurious():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(3, 3)) @ np.diag([1, 1e-2, 1e-5])
    U = np.linalg.cholesky(np.linalg.inv(mixing @ mixing.T)[::-1, ::-1])[::-1, ::-1]
    chol = np.array([U, 1.5 * U, 0.7 * U])
    parameters = MixtureParameters.from_precisions_chol("full", np.array([0.5, 0.49, 0.01]), np.zeros((3, 3)), chol)
    assert spurious_components(parameters, 1000) == ()


def test_equal_covariances_and_single_components_are_never_spurious():
    for structure, chol in (("tied", np.eye(2)), ("full", np.tile(np.eye(2), (2, 1, 1)))):
        parameters = MixtureParameters.from_precisions_chol(structure, np.array([0.999, 0.001]), np.zeros((2, 2)), chol)
        assert spurious_components(parameters, 1000) == ()
    assert GaussianMixture(1).fit([1.0, 1.0, 1.0, 1.0 + 1e-9]).spurious_ == ()


def test_effective_samples():
    assert effective_samples(None, 7) == 7
    assert effective_samples(np.array([2.0, 2.0, 0.0]), 3) == pytest.approx(2)


@quiet
def test_weights_count():
    X, labels = scene(2, 0.05 * np.random.default_rng(0).normal(size=(30, 2)), 0)
    light = np.where(labels == 2, 0.05, 1.0)
    params = {"means_init": [[0, 0], [6, 0], [3, 3]], "random_state": 0}
    start = at_truth(X, labels, "full")
    params |= {"precisions_init": start.precisions_, "weights_init": start.weights_}
    assert GaussianMixture(3, **params).fit(X).spurious_ == ()
    assert GaussianMixture(3, **params).fit(X, sample_weight=7 * light).spurious_ == (2,)


# Restarts --------------------------------------------------------------------------------------------


def faithful_fits(faithful, K, n_init, covariance_type="diag"):
    return [
        GaussianMixture(K, covariance_type=covariance_type, n_init=n_init, random_state=s, init_params=method)
        for s in range(6) for method in ("k-means++", "random_from_data")
    ]


@quiet
@pytest.mark.parametrize("K", [7, 8])
def test_restarts_prefer_what_is_not_spurious(faithful, K, monkeypatch):
    """On these data, with their tied values, spurious optima have the highest likelihoods by far."""
    with monkeypatch.context() as patch:
        patch.setattr(mixture, "_FEWEST_STARTS", 1)
        single = [m.fit(faithful) for m in faithful_fits(faithful, K, 1)]
    many = [m.fit(faithful) for m in faithful_fits(faithful, K, 6)]
    assert not any(m.spurious_ for m in many)
    assert all(min(m.covariances_[:, j]) > 1e-3 * np.median(m.covariances_[:, j]) for m in many for j in range(2))
    assert min(m.bic(faithful) for m in many) > min(m.bic(faithful) for m in single if m.spurious_) - 200


@quiet
def test_more_starts_where_all_are_spurious(faithful, monkeypatch):
    """One start that is asked for is five where each ends in a spurious optimum, and the first sound one is kept."""
    for s in range(6):
        params = {"covariance_type": "diag", "random_state": s, "init_params": "k-means++"}
        five = [GaussianMixture(8, n_init=n, **params).fit(faithful) for n in (1, 2, 3, 4, 5)]
        monkeypatch.setattr(mixture, "_FEWEST_STARTS", 1)
        alone = [GaussianMixture(8, n_init=n, **params).fit(faithful) for n in (1, 2, 3, 4, 5)]
        monkeypatch.undo()
        first = next(n for n, m in enumerate(alone) if not m.spurious_)
        assert five[0].lower_bound_ == alone[first].lower_bound_ and five[0].spurious_ == ()
        assert five[4].lower_bound_ == alone[4].lower_bound_


def test_starts_that_are_spurious_are_marked(faithful, capsys):
    params = {"covariance_type": "diag", "n_init": 12, "random_state": 5, "init_params": "k-means++"}
    fitted = GaussianMixture(8, verbose=1, **params).fit(faithful)
    lines = capsys.readouterr().out.splitlines()
    reached = [float(line.split("mean log-likelihood ")[1].split(",")[0]) for line in lines]
    spurious = [line.endswith("spurious") for line in lines]
    assert len(lines) == 12 and 0 < sum(spurious) < 12
    assert fitted.lower_bound_ == pytest.approx(max(r for r, s in zip(reached, spurious) if not s), rel=1e-8)


def test_galaxies(galaxies):
    """Two components of two velocities each: the fit of six that EM likes best."""
    with pytest.warns(SpuriousOptimumWarning, match=r"each of the 10 starts ended in a spurious optimum: component"):
        six = GaussianMixture(6, n_init=10, random_state=0, init_params="kmeans").fit(galaxies)
    small = six.weights_ * 82 < 2.5
    assert set(six.spurious_) == set(np.flatnonzero(small)) and small.sum() == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        three = GaussianMixture(3, n_init=10, random_state=0).fit(galaxies)
    assert three.spurious_ == () and (three.weights_ * 82).min() == pytest.approx(3, abs=0.1)


def test_a_spurious_fit_is_told_of():
    X = np.r_[np.random.default_rng(0).normal(size=(60, 2)), [[30.0, 0.0]]]
    with pytest.warns(SpuriousOptimumWarning, match="each of the 5 starts ended in a spurious optimum"):
        fitted = GaussianMixture(2, random_state=0).fit(X)
    assert len(fitted.spurious_) == 1


# Selection -------------------------------------------------------------------------------------------


def test_selection_prefers_what_is_not_spurious(galaxies):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = select_mixture(galaxies, range(2, 8), n_init=1, random_state=1, init_params="kmeans")
    spurious = [model.spurious_ != () for model in result.models]
    assert any(spurious)
    assert result.best_.spurious_ == ()
    assert result.table[result.best_index_]["bic"] == min(
        row["bic"] for row, bad in zip(result.table, spurious) if not bad
    )


def test_selection_among_the_spurious(galaxies):
    with pytest.warns(SpuriousOptimumWarning, match="every candidate ended in a spurious optimum"):
        result = select_mixture(galaxies, [6], random_state=0, n_init=3, init_params="kmeans")
    assert result.best_.spurious_
