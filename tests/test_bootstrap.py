"""bootstrap_test: its p-values, its order, the same bits for any number of threads, and how it takes failures."""

import pickle
import warnings

import numpy as np
import pytest

from gaussum import GaussianMixture, bootstrap_test, select_mixture
from gaussum import bootstrap as bootstrap_module


@pytest.fixture(scope="module")
def two():
    """Two clusters on a line."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(-3, 1, 60), rng.normal(3, 1, 60)])


@pytest.fixture(scope="module")
def test_of_two(two):
    return bootstrap_test(two, n_bootstrap=39, n_init=2, random_state=0)


def test_finds_two_clusters(test_of_two, two):
    test = test_of_two
    assert test.n_components_ == 2 and test.best_.n_components == 2
    assert [row["n_components"] for row in test.table] == [1, 2]
    assert test.table[0]["p_value"] == 1 / 40 and test.table[1]["p_value"] > 0.05
    for row, replicates in zip(test.table, test.replicates, strict=True):
        k = row["n_components"]
        gain = test.models[k + 1].score_samples(two).sum() - test.models[k].score_samples(two).sum()
        assert row["statistic"] == pytest.approx(2 * gain, rel=1e-9)
        assert row["p_value"] == (1 + np.sum(replicates >= row["statistic"])) / 40
        assert len(replicates) == row["n_replicates"] == 39 and (replicates >= 0).all()
        assert row["n_failed"] == 0


def test_faithful(faithful):
    """The statistic of one component against two that mclust's log-likelihoods give, and a clear rejection."""
    test = bootstrap_test(faithful, 1, n_bootstrap=19, random_state=0)
    assert test.table[0]["statistic"] == pytest.approx(2 * (1289.79674505261 - 1130.26406828685), abs=1e-3)
    assert test.table[0]["p_value"] == 0.05 and test.n_components_ == 2


@pytest.mark.filterwarnings("ignore::gaussum.SpuriousOptimumWarning")
def test_size_and_power():
    """Of true hypotheses about one in twenty is rejected at the level 0.05; of false ones nearly all."""

    def p_values(make, sets):
        draws = (make(np.random.default_rng([s, 77])) for s in range(sets))
        params = {"n_bootstrap": 19, "n_init": 2, "tol": 1e-6}
        tests = (bootstrap_test(x, 1, random_state=s, **params) for s, x in enumerate(draws))
        return np.array([test.table[0]["p_value"] for test in tests])

    true = p_values(lambda rng: rng.normal(size=60), 40)
    # the 0.1 % points of binomial counts
    assert np.sum(true <= 0.05) <= 8 and 8 <= np.sum(true <= 0.5) <= 32
    false = p_values(lambda rng: np.concatenate([rng.normal(-2.2, 1, 40), rng.normal(2.2, 1, 40)]), 8)
    assert np.sum(false <= 0.05) >= 7


@pytest.mark.parametrize("n_threads", [2, 3, 7])
def test_the_same_bits_for_any_number_of_threads(two, n_threads, always_threads):
    params = {"n_bootstrap": 19, "n_init": 2, "random_state": 3}
    one = bootstrap_test(two, [1, 2], n_threads=1, **params)
    other = bootstrap_test(two, [1, 2], n_threads=n_threads, **params)
    assert other.table == one.table
    for a, b in zip(one.replicates, other.replicates, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_hypothesis_does_not_depend_on_the_others(test_of_two, two):
    alone = bootstrap_test(two, 2, n_bootstrap=39, n_init=2, random_state=0)
    assert alone.table[0] == test_of_two.table[1]
    fewer = bootstrap_test(two, 2, n_bootstrap=19, n_init=2, random_state=0)
    np.testing.assert_array_equal(fewer.replicates[0], alone.replicates[0][:19])


def test_the_fits_are_those_of_select_mixture(test_of_two, two):
    selected = select_mixture(two, [1, 2, 3], n_init=2, random_state=0)
    for model in selected.models:
        np.testing.assert_array_equal(test_of_two.models[model.n_components].means_, model.means_)


def test_all_rejected(two):
    test = bootstrap_test(two, [1], n_bootstrap=19, n_init=2, random_state=0)
    assert test.n_components_ == 2


def test_text_pickle_and_callback(test_of_two, two):
    text = repr(pickle.loads(pickle.dumps(test_of_two)))
    assert text.startswith("BootstrapTest: 2 components at level 0.05 (39 replicates a row)")
    assert len(text.splitlines()) == 4
    calls = []
    bootstrap_test(two, 2, n_bootstrap=19, n_init=1, random_state=0, callback=lambda *a: calls.append(a))
    assert calls == [(i + 1, 19) for i in range(19)]


def test_covariance_types(faithful):
    test = bootstrap_test(faithful, [2, 3], covariance_type="tied", n_bootstrap=19, n_init=2, random_state=0)
    assert test.best_.covariance_type == "tied"
    assert test.table[0]["p_value"] <= 0.05  # tied covariances need more components


# Failures --------------------------------------------------------------------------------------------


class Fragile(GaussianMixture):
    """Fails on samples that it has drawn, where the first is positive."""

    def fit(self, X, y=None, sample_weight=None, **kwargs):
        if self.n_components == 3 and X.X[0, 0] > Fragile.above:
            raise ValueError("bad luck")
        return super().fit(X, y, sample_weight, **kwargs)


def test_failed_replicates_count_against_rejection(two, test_of_two, monkeypatch):
    monkeypatch.setattr(bootstrap_module, "GaussianMixture", Fragile)
    Fragile.above = max(-3.0, two[0])
    with pytest.warns(UserWarning, match=r"\d+ of 39 replicates failed for 2 against 3 .*bad luck") as caught:
        test = bootstrap_test(two, 2, n_bootstrap=39, n_init=2, random_state=0)
    assert caught[0].filename == __file__
    row, replicates = test.table[0], test.replicates[0]
    failed = np.isnan(replicates)
    assert row["n_failed"] == failed.sum() > 5
    np.testing.assert_array_equal(replicates[~failed], test_of_two.replicates[1][~failed])
    assert row["p_value"] == (1 + failed.sum() + np.sum(replicates >= row["statistic"])) / 40
    assert "replicates failed" in repr(test)


class Spurious(GaussianMixture):
    def fit(self, *arguments, **options):
        super().fit(*arguments, **options)
        self.spurious_ = (0,)
        return self


def test_spurious_fits_are_counted(two, monkeypatch):
    monkeypatch.setattr(bootstrap_module, "GaussianMixture", Spurious)
    test = bootstrap_test(two, 1, n_bootstrap=19, n_init=1, random_state=0)
    assert test.table[0]["n_spurious"] == 19 and test.table[0]["spurious"]
    assert "the larger fit is spurious" in repr(test)


def test_fits_that_do_not_converge_are_counted(two):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test = bootstrap_test(two, 1, n_bootstrap=19, n_init=1, max_iter=1, random_state=0)
    assert test.table[0]["n_not_converged"] == 19


@pytest.mark.parametrize(
    "params, error, message",
    [
        ({"n_components": 0}, ValueError, "n_components is 0"),
        ({"n_components": 2.0}, TypeError, "n_components is 2.0"),
        ({"n_components": []}, ValueError, "n_components is empty"),
        ({"n_components": [2, 1]}, ValueError, r"n_components is \[2, 1\]; expected increasing"),
        ({"n_components": 12}, ValueError, "n_components is 12, .* 12 samples"),
        ({"n_components": range(1, 10**9)}, ValueError, "n_components is"),
        ({"n_bootstrap": 0}, ValueError, "n_bootstrap is 0"),
        ({"n_bootstrap": 18}, ValueError, "n_bootstrap is 18, .* expected at least 19"),
        ({"level": 0.0}, ValueError, "level is 0"),
        ({"level": "5%"}, TypeError, "level is '5%'"),
        ({"covariance_type": "round"}, ValueError, "covariance_type is 'round'"),
        ({"n_init": 0}, ValueError, "n_init is 0"),
        ({"progress": 1}, TypeError, "progress is 1"),
        ({"random_state": -1}, ValueError, "random_state is -1"),
        ({"colour": "red"}, TypeError, "colour"),
        ({"sample_weight": np.ones(12)}, TypeError, "takes no sample_weight: .* test np.repeat"),
    ],
)
def test_refusals(params, error, message):
    with pytest.raises(error, match=message):
        bootstrap_test(np.arange(12.0), **{"n_components": 1, "n_bootstrap": 19} | params)
