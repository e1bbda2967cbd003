"""The main job on the notebook's data and on real data, against known results."""

import numpy as np
import pytest

from gaussum import GaussianMixture, KernelDensity


def total(mixture, X):
    return float(mixture.score_samples(X).sum())


def test_the_data_are_the_known_ones(x, y, true_outliers, faithful, galaxies):
    assert x.shape == y.shape == (4600,)
    np.testing.assert_array_equal(np.flatnonzero(x != y), np.unique(true_outliers))
    assert faithful.shape == (272, 2) and galaxies.shape == (82,)
    np.testing.assert_allclose(faithful.mean(axis=0), [3.4877831, 70.8970588], rtol=1e-7)


def test_three_components_on_x(x):
    mixture = GaussianMixture(3, random_state=0).fit(x)
    assert mixture.converged_
    assert total(mixture, x) == pytest.approx(-12802.841, abs=2e-3)
    order = np.argsort(mixture.covariances_.ravel())
    np.testing.assert_allclose(mixture.means_.ravel()[order], [3, 0, 5], atol=0.35)
    np.testing.assert_allclose(np.sqrt(mixture.covariances_.ravel()[order]), [0.5, 2, 5], rtol=0.2)


@pytest.mark.parametrize("seed", range(3))
def test_four_components_on_x(x, seed):
    """Honest convergence: -12801.278 or better."""
    mixture = GaussianMixture(4, n_init=10, random_state=seed).fit(x)
    assert mixture.converged_
    assert total(mixture, x) >= -12801.2785


def test_bic_prefers_three_components(x):
    bics = [GaussianMixture(K, n_init=5, random_state=0).fit(x).bic(x) for K in range(1, 7)]
    assert int(np.argmin(bics)) + 1 == 3


def test_outliers_of_y(y, true_outliers):
    mixture = GaussianMixture(4, n_init=10, random_state=0).fit(y)
    log_density = mixture.score_samples(y)
    assert log_density.sum() == pytest.approx(-12931.156, abs=2e-3)
    flagged = np.flatnonzero(log_density < -9)
    assert len(flagged) == 15
    assert np.setdiff1d(flagged, true_outliers).tolist() == [2724, 3067]
    assert np.setdiff1d(true_outliers, flagged).tolist() == [1033, 1701, 1871, 2222, 2599, 2607, 3264]


def test_kernel_density_beside_the_mixture(x):
    grid = np.linspace(-10, 20, 301)
    kde = np.exp(KernelDensity(0.15).fit(x).score_samples(grid))
    mixture = np.exp(GaussianMixture(3, random_state=0).fit(x).score_samples(grid))
    assert np.abs(kde - mixture).sum() * 0.1 < 0.15
    assert kde.sum() * 0.1 == pytest.approx(1, abs=0.03)


# Log-likelihood and number of free parameters by mclust 6.0.0 (Scrucca, Fraley, Murphy and Raftery 2023,
# "Model-Based Clustering, Classification, and Density Estimation Using mclust in R"): models VVV, EEE, VVI
# and VII on faithful, V (full) and E (tied) on galaxies, for one to four components.
MCLUST = {
    ("faithful", "full"): [
        (-1289.79674505, 5),
        (-1130.26406829, 11),
        (-1127.19881023, 17),
        (-1111.27989091, 23),
    ],
    ("faithful", "tied"): [
        (-1289.79674505, 5),
        (-1140.18676033, 8),
        (-1126.32623647, 11),
        (-1126.37066623, 14),
    ],
    ("faithful", "diag"): [
        (-1516.70582662, 4),
        (-1147.80635268, 9),
        (-1131.94229014, 14),
        (-1118.48795223, 19),
    ],
    ("faithful", "spherical"): [
        (-2003.95203658, 3),
        (-1709.53218571, 7),
        (-1637.46706584, 11),
        (-1579.36946809, 15),
    ],
    ("galaxies", "full"): [(-240.33789120, 2), (-220.24471953, 5), (-212.08293884, 8), (-199.25449610, 11)],
    ("galaxies", "tied"): [(-240.33789120, 2), (-240.35403218, 4), (-212.35186281, 6), (-212.35141273, 8)],
}
CASES = [
    pytest.param(data, structure, K, *values, id=f"{data}-{structure}-{K}")
    for (data, structure), rows in MCLUST.items()
    for K, values in enumerate(rows, start=1)
]


@pytest.mark.parametrize("data, structure, K, log_likelihood, df", CASES)
def test_at_least_as_good_as_mclust(request, data, structure, K, log_likelihood, df):
    X = request.getfixturevalue(data)
    mixture = GaussianMixture(K, covariance_type=structure, n_init=20, random_state=0).fit(X)
    assert mixture.converged_
    assert mixture.n_parameters_ == df
    assert total(mixture, X) >= log_likelihood - 1e-4
    assert mixture.bic(X) == pytest.approx(df * np.log(len(X)) - 2 * total(mixture, X), rel=1e-12)
    if K == 1:  # a closed form
        assert total(mixture, X) == pytest.approx(log_likelihood, abs=1e-4)


def test_icl_is_mclusts(faithful):
    # VVV with two components: 2322.69746733
    mixture = GaussianMixture(2, n_init=3, random_state=0).fit(faithful)
    assert mixture.icl(faithful) == pytest.approx(2322.697, abs=0.01)
    assert mixture.bic(faithful) == pytest.approx(2322.19195930, abs=1e-3)


def test_geyser_in_two_groups(faithful):
    mixture = GaussianMixture(2, random_state=0).fit(faithful)
    short, long = np.argsort(mixture.means_[:, 0])
    np.testing.assert_allclose(mixture.means_[[short, long]], [[2.04, 54.5], [4.29, 80.0]], rtol=5e-3)
    np.testing.assert_allclose(mixture.weights_[[short, long]], [0.356, 0.644], atol=2e-3)
    labels = mixture.predict(faithful)
    assert ((faithful[:, 0] > 3.2) == (labels == long)).mean() > 0.97
