"""A few sources far out leave the grid to the others, under the same contract."""

import pickle

import numpy as np
import pytest

from gaussum import KernelDensity
from gaussum.layout import Layout
from gaussum.stragglers import BulkLayout, layout_for


def scattered(d, n=6000, seed=0):
    """A bulk, sources a million bandwidths away, some of them beside each other, and queries near and far."""
    rng, n_far = np.random.default_rng(seed), 30 if d == 3 else 250
    X = rng.normal(size=(n, d))
    X[:n_far] = rng.normal(size=(n_far, d)) * 3e5
    X[5:9] = X[5] + 0.1 * rng.normal(size=(4, d))
    rng.shuffle(X)
    far = X[np.abs(X).max(axis=1) > 100]
    T = np.concatenate([
        rng.normal(size=(300, d)), X[:100], far + 0.2 * rng.normal(size=far.shape), rng.normal(size=(50, d)) * 30,
        rng.normal(size=(20, d)) * 1e5, [np.full(d, 1e300), np.full(d, -1e300)],
    ])
    return X, T


def assert_within(found, exact, rtol):
    same = found == exact           # minus infinity too
    found, exact = found[~same], exact[~same]
    assert (np.abs(found - exact) <= 1.01 * rtol + 1e-13 * np.abs(exact)).all()


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9])
def test_the_contract(d, rtol):
    X, T = scattered(d)
    w = np.random.default_rng(1).exponential(size=len(X))
    kde = KernelDensity(0.3, rtol=rtol, algorithm="grid").fit(X, sample_weight=w)
    exact = KernelDensity(0.3, rtol=0).fit(X, sample_weight=w)
    assert kde.explain(T).name == "grid" and len(kde._sum._layout_for(rtol).apart) == (64 if d == 3 else 512)
    assert_within(kde.score_samples(T), exact.score_samples(T), rtol)
    assert_within(kde.score_leave_one_out(), exact.score_leave_one_out(), rtol)
    again = pickle.loads(pickle.dumps(kde)).set_params(n_threads=3)
    np.testing.assert_array_equal(again.score_samples(T), kde.set_params(n_threads=1).score_samples(T))
    T32 = T[:-2].astype(np.float32)
    assert_within(kde.score_samples(T32), exact.score_samples(T32.astype(float)), rtol)


@pytest.mark.parametrize("d", [2, 3])
def test_gradients_and_tensor_grids(d):
    X, T = scattered(d)
    kde, exact = KernelDensity(0.3, algorithm="grid").fit(X), KernelDensity(0.3, rtol=0).fit(X)
    T = T[:-2]
    (logs, gradient), (exact_logs, exact_gradient) = kde.score_and_gradient(T), exact.score_and_gradient(T)
    assert_within(logs, exact_logs, 1e-6)
    r = 1 + np.abs(exact_gradient * 0.3).max(axis=1)
    assert (np.abs(gradient - exact_gradient).max(axis=1) * 0.3 <= 1e-5 * r + 1e-13 * r**2).all()
    far = X[np.abs(X).max(axis=1) > 100]
    axes = [np.sort(np.concatenate([np.linspace(-4, 4, 21), far[:3, j], [50.0]])) for j in range(d)]
    total = kde._sum
    total._layout_for(1e-6)
    for plan in ("grid", "product"):
        total.plan_on_axes = lambda axes, rtol, n_threads=None, plan=plan: _named(plan)
        assert_within(kde.density_on_grid(axes, log=True).density, exact.density_on_grid(axes, log=True).density, 1e-6)


def _named(name):
    class Plan:
        pass

    Plan.name = name
    return Plan


def test_only_where_the_others_are_few():
    X, _ = scattered(3)
    scale = np.full(3, 1 / 0.3)
    assert isinstance(layout_for(np.ascontiguousarray(X.T), scale, 1e-6), BulkLayout)
    for other in (X[np.abs(X).max(axis=1) < 100], X[:40], np.random.default_rng(0).normal(size=(500, 3)) * 1e6):
        layout = layout_for(np.ascontiguousarray(other.T), scale, 1e-6)
        assert type(layout) is Layout
    found = layout_for(np.ascontiguousarray(X.T), scale, 1e-6)
    moved = layout_for(np.ascontiguousarray(X.T * 2.0**30), scale * 2.0**-30, 1e-6)
    np.testing.assert_array_equal(found.apart, moved.apart)
    assert set(np.flatnonzero(np.abs(X).max(axis=1) > 100)) <= set(found.apart)


def test_the_plan_says_so():
    X, T = scattered(3, n=60_000)
    kde = KernelDensity(0.3).fit(X)
    assert "64 far out, which are summed one by one" in kde.explain(np.tile(T[:300], (100, 1))).reason
