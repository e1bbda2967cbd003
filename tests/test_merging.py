"""merge_components: the steps against a slow twin, clusters that are not Gaussian, new samples, weights."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import xlogy

from gaussum import GaussianMixture, NotFittedError, merge_components, merging


def entropy(t, w):
    return -float((w[:, np.newaxis] * xlogy(t, t)).sum())


def slow_merging(t, w):
    """Every union of every step tried anew: the clusters at each step, and the entropies."""
    groups = [(k,) for k in range(t.shape[1])]
    steps, entropies = [list(groups)], [entropy(t, w)]
    while len(groups) > 1:
        found = []
        for a in range(len(groups)):
            for b in range(a + 1, len(groups)):
                rest = [g for i, g in enumerate(groups) if i not in (a, b)]
                tried = sorted([*rest, tuple(sorted(groups[a] + groups[b]))])
                found.append((entropy(np.stack([t[:, g].sum(axis=1) for g in tried], axis=1), w), tried))
        best, groups = min(found, key=lambda pair: pair[0])
        steps.append(groups)
        entropies.append(best)
    return steps[::-1], np.array(entropies[::-1])


@pytest.fixture(scope="module")
def cross():
    """A cross, one cluster though no Gaussian, and two Gaussian clusters."""
    rng = np.random.default_rng(1)
    arms = [rng.normal(size=(200, 2)) * scale for scale in ([3, 0.3], [0.3, 3])]
    others = [rng.normal(size=(100, 2)) * 0.5 + centre for centre in ([8, 6], [-8, 6])]
    return np.concatenate([*arms, *others])


@pytest.fixture(scope="module")
def mixture(cross):
    return GaussianMixture(4, n_init=3, random_state=0).fit(cross)


class Given:
    """A mixture of which only the probabilities are known: rows of the table that the samples number."""

    def __init__(self, table):
        self.table = table
        self.table_ = table

    def predict_proba(self, X):
        return self.table[np.asarray(X)[:, 0].astype(int)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.booleans())
def test_steps_are_those_of_a_slow_twin(seed, K, weighted):
    rng = np.random.default_rng(seed)
    t = rng.dirichlet(np.full(K, 0.3), size=60)
    w = rng.integers(0, 4, size=60).astype(float) if weighted else np.ones(60)
    w[0] = 1.0
    merging = merge_components(Given(t), np.arange(60.0), sample_weight=w if weighted else None)
    steps, entropies = slow_merging(t, w)
    np.testing.assert_allclose(merging.entropies, entropies, rtol=1e-9, atol=1e-9)
    assert [merging.groups(n) for n in range(1, K + 1)] == steps
    assert (np.diff(merging.entropies) >= -1e-9).all()


def test_a_cross_is_one_cluster(mixture, cross):
    merging = merge_components(mixture, cross)
    assert merging.n_clusters_ == 3
    truth = np.repeat([0, 1, 2], [400, 100, 100])
    clusters = merging.clusters()
    labels = clusters.predict(cross)
    table = np.zeros((3, 3), dtype=int)
    np.add.at(table, (truth, labels), 1)
    assert sorted(table.max(axis=1)) == [100, 100, 400]  # each cluster whole, under one label
    np.testing.assert_array_equal(clusters.score_samples(cross), mixture.score_samples(cross))


def test_a_banana_is_one_cluster():
    rng = np.random.default_rng(3)
    angle = rng.uniform(0.2, np.pi - 0.2, 600)
    banana = 6 * np.column_stack([np.cos(angle), np.sin(angle)]) + 0.3 * rng.normal(size=(600, 2))
    X = np.concatenate([banana, rng.normal(size=(300, 2)) * 0.6])
    mixture = GaussianMixture(6, n_init=5, random_state=0).fit(X)
    labels = merge_components(mixture, X).clusters(2).predict(X)
    first = np.bincount(labels[:600], minlength=2)
    second = np.bincount(labels[600:], minlength=2)
    assert first.max() >= 597 and second.max() >= 297 and first.argmax() != second.argmax()


def test_new_samples(mixture, cross):
    merging = merge_components(mixture, cross)
    new = np.random.default_rng(5).normal(size=(50, 2)) * 5
    resp = mixture.predict_proba(new)
    for n in range(1, 5):
        clusters = merging.clusters(n)
        expected = np.stack([resp[:, group].sum(axis=1) for group in map(list, clusters.groups)], axis=1)
        np.testing.assert_allclose(clusters.predict_proba(new), expected, rtol=1e-14)
        np.testing.assert_array_equal(clusters.predict(new), expected.argmax(axis=1))
        assert clusters.n_clusters == n
        assert sorted(k for group in clusters.groups for k in group) == list(range(4))
    np.testing.assert_array_equal(merging.clusters(4).predict(new), mixture.predict(new))


def test_weights_are_repetitions(mixture, cross):
    w = np.random.default_rng(0).integers(0, 3, size=len(cross))
    weighted = merge_components(mixture, cross, sample_weight=w)
    repeated = merge_components(mixture, np.repeat(cross, w, axis=0))
    np.testing.assert_allclose(weighted.entropies, repeated.entropies, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(weighted.merged_weights, repeated.merged_weights, rtol=1e-9)
    assert weighted.merges == repeated.merges
    assert weighted.merged_weights[0] == pytest.approx(w.sum())


def test_blocks_change_nothing(mixture, cross, monkeypatch):
    whole = merge_components(mixture, cross)
    monkeypatch.setattr(merging, "_BLOCK_NUMBERS", 1)
    parts = merge_components(mixture, np.asfortranarray(cross))
    np.testing.assert_allclose(parts.entropies, whole.entropies, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(parts.clusters(2).predict(cross), whole.clusters(2).predict(cross))


def test_elbow():
    def elbow(entropies):
        result = merging.ComponentMerging(None, [], entropies[::-1], [], np.ones(len(entropies)))
        return result.n_clusters_

    assert elbow([0.0]) == 1
    assert elbow([0.0, 5.0]) == 2
    assert elbow([0.0, 1.0, 50.0]) == 2
    assert elbow([0, 1, 2, 3, 50, 100, 150]) == 4
    assert elbow([0, 0, 0, 10, 20, 30]) == 3


def test_clusters_that_overlap_entirely_are_one():
    """Concentric Gaussians of like scales; the elbow alone cannot say so."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 2)) * np.where(rng.random((1000, 1)) < 0.5, 1.0, 2.0)
    merging = merge_components(GaussianMixture(2, n_init=3, random_state=0).fit(X), X)
    assert merging.n_clusters_ == 1 < merging.elbow()
    assert merging.certainties[0] == 1.0 and merging.certainties[1] < 0.5
    assert set(merging.clusters().predict(X)) == {0}
    assert "overlap too much for more than 1 cluster" in repr(merging)


@pytest.mark.parametrize("distance, clusters", [(1.0, 1), (1.7, 1), (2.4, 2), (4.0, 2), (8.0, 2)])
def test_two_gaussians_are_two_clusters_from_two_standard_deviations(distance, clusters):
    """Where their density has two modes; the certainty is the mutual information, by quadrature, in bits."""
    grid = np.linspace(-9, distance + 9, 20_001)
    densities = np.exp(-0.5 * (grid - np.array([[0.0], [distance]])) ** 2)
    t = (densities / densities.sum(axis=0)).T
    weight = densities.sum(axis=0)
    expected = 1 - entropy(t, weight) / (weight.sum() * np.log(2))
    merging = merge_components(Given(t), np.arange(20_001.0), sample_weight=weight)
    assert merging.n_clusters_ == clusters
    np.testing.assert_allclose(merging.certainties, [1.0, expected], rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_certainties_are_relative_entropies(seed, K):
    rng = np.random.default_rng(seed)
    t, w = rng.dirichlet(np.full(K, 0.3), size=60), rng.uniform(0.1, 1, 60)
    merging = merge_components(Given(t), np.arange(60.0), sample_weight=w)
    for n in range(2, K + 1):
        u = np.stack([t[:, list(group)].sum(axis=1) for group in merging.groups(n)], axis=1)
        shares = w @ u / w.sum()
        expected = 1 - entropy(u, w) / (-w.sum() * xlogy(shares, shares).sum())
        assert merging.certainties[n - 1] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_empty_components_are_no_clusters():
    t = np.zeros((20, 3))
    t[:, 1] = 1.0
    merging = merge_components(Given(t), np.arange(20.0))
    assert merging.n_clusters_ == 1 and merging.certainties.tolist() == [1.0, 0.0, 0.0]


def test_single_component_and_text(cross):
    alone = merge_components(GaussianMixture(1).fit(cross), cross)
    assert alone.n_clusters_ == 1 and alone.merges == [] and alone.entropies.tolist() == [0.0]
    assert set(alone.clusters().predict(cross)) == {0}
    assert "1 components" in repr(alone)


def test_text_and_pickle(mixture, cross):
    merging = pickle.loads(pickle.dumps(merge_components(mixture, cross)))
    assert "the elbow suggests 3 clusters" in repr(merging)
    assert len(repr(merging).splitlines()) == 5
    assert "3 clusters of components" in repr(merging.clusters())


def test_scikit_learn_mixtures(cross):
    mixtures = pytest.importorskip("sklearn.mixture")
    model = mixtures.GaussianMixture(4, random_state=0, n_init=3).fit(cross)
    assert merge_components(model, cross).n_clusters_ == 3


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda m, X: merge_components(GaussianMixture(2), X), NotFittedError, "mixture is not fitted"),
        (lambda m, X: merge_components("mixture", X), TypeError, "mixture is str"),
        (lambda m, X: merge_components(GaussianMixture, X), TypeError, "mixture is type"),
        (lambda m, X: merge_components(m, X[:, 0]), ValueError, "X has one dimension"),
        (lambda m, X: merge_components(m, [[0.0, np.nan]]), ValueError, "X holds nan"),
        (lambda m, X: merge_components(m, X, sample_weight=[1.0]), ValueError, "sample_weight has shape"),
        (lambda m, X: merge_components(m, X).clusters(0), ValueError, "n_clusters is 0"),
        (lambda m, X: merge_components(m, X).clusters(5), ValueError, "n_clusters is 5; .* 4 components"),
        (lambda m, X: merge_components(m, X).groups(1.5), TypeError, "n_clusters is 1.5"),
        (lambda m, X: merge_components(m, X).clusters(2).predict(X[:, :1]), ValueError, "X has 1 features"),
    ],
)
def test_refusals(call, error, words, mixture, cross):
    with pytest.raises(error, match=words):
        call(mixture, cross)
