"""Functions of arrays: the estimators' bits, statistics of chunks, outputs, refusals."""

import itertools
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gaussum
from gaussum import GaussianMixture, KernelDensity, SufficientStatistics
from gaussum.covariance import COVARIANCE_TYPES
from gaussum.functions import (
    Parameters, accumulate, covariances, em_step, gaussian_log_sum, log_density, m_step, part_bounds,
    precisions_cholesky, responsibilities, ridge_of,
)
from gaussum.rescue import CollapsedComponentWarning

K, D = 3, 2


def samples(n=700, d=D, dtype=np.float64, apart=4.0):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, d)) + apart * rng.integers(0, K, (n, 1))).astype(dtype)


def mixture(covariance_type, d=D, n_components=K):
    rng = np.random.default_rng(1)
    A = rng.normal(size=(n_components, d, d))
    full = A @ np.swapaxes(A, 1, 2) + np.eye(d)
    sigma = {
        "full": full, "tied": full[0], "diag": full[:, range(d), range(d)], "spherical": full[:, 0, 0],
    }[covariance_type]
    means = rng.normal(size=(n_components, d)) + 3 * np.arange(n_components)[:, None]
    return Parameters(rng.dirichlet(np.full(n_components, 5.0)), means, precisions_cholesky(sigma, covariance_type))


def log_prob(X, parameters, covariance_type):
    """log w_k N(x_i; mu_k, Sigma_k) by NumPy, from the covariances."""
    weights, means, chol = parameters
    n_components, d = means.shape
    sigma = covariances(chol, covariance_type)
    if covariance_type == "tied":
        sigma = np.broadcast_to(sigma, (n_components, d, d))
    elif covariance_type != "full":
        sigma = np.array([np.diag(np.broadcast_to(s, d)) for s in sigma])
    z = X[:, None] - means
    squares = np.einsum("nki,kij,nkj->nk", z, np.linalg.inv(sigma), z)
    return np.log(weights) - 0.5 * (squares + np.linalg.slogdet(sigma)[1] + d * np.log(2 * np.pi))


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_against_numpy(covariance_type):
    X, parameters = samples(), mixture(covariance_type)
    expected = log_prob(X, parameters, covariance_type)
    total = np.logaddexp.reduce(expected, axis=1)
    r = np.exp(expected - total[:, None])
    log_p = np.empty(len(X))
    np.testing.assert_allclose(log_density(X, *parameters, covariance_type), total, rtol=1e-12)
    resp = responsibilities(X, *parameters, covariance_type, log_density=log_p)
    np.testing.assert_allclose(resp, r, atol=1e-12)
    assert (log_p == log_density(X, *parameters, covariance_type)).all()
    weight = np.random.default_rng(2).uniform(size=len(X))
    statistics = accumulate(X, *parameters, covariance_type, sample_weight=weight)
    assert statistics.total_weight == pytest.approx(weight.sum(), rel=1e-13)
    assert statistics.log_likelihood == pytest.approx(weight @ total, rel=1e-12)
    np.testing.assert_allclose(statistics.nk, weight @ r, rtol=1e-11)
    # the M-step, by its definition
    ridge = np.array([0.1, 0.2])
    after = m_step(statistics, ridge=ridge)
    nk = weight @ r
    means = (weight[:, None] * r).T @ X / nk[:, None]
    z = X[:, None] - means
    scatter = np.einsum("nk,nki,nkj->kij", weight[:, None] * r, z, z)
    sigma = {
        "full": lambda: (scatter + np.diag(ridge)) / nk[:, None, None],
        "tied": lambda: (scatter.sum(axis=0) + np.diag(ridge)) / nk.sum(),
        "diag": lambda: (np.einsum("kii->ki", scatter) + ridge) / nk[:, None],
        "spherical": lambda: (np.einsum("kii->k", scatter) + ridge.sum()) / nk / D,
    }[covariance_type]()
    np.testing.assert_allclose(after.weights, nk / nk.sum(), rtol=1e-11)
    np.testing.assert_allclose(after.means, means, rtol=1e-10)
    np.testing.assert_allclose(covariances(after.precisions_cholesky, covariance_type), sigma, rtol=1e-9)
    both, log_likelihood = em_step(X, *parameters, covariance_type, sample_weight=weight, ridge=ridge)
    assert log_likelihood == statistics.log_likelihood
    for a, b in zip(both, after):
        assert (a == b).all()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("d", [1, 2, 5, 20])
def test_a_loop_of_steps_is_plain_em_to_the_last_bit(covariance_type, weighted, d):
    X, steps = samples(1500, d, apart=3 / np.sqrt(d)), 12
    parameters = mixture(covariance_type, d)._replace(means=X[:K])
    weight = np.random.default_rng(3).uniform(0, 20, len(X)) if weighted else None
    estimator = GaussianMixture(K, covariance_type=covariance_type, accelerate=False, tol=0.0, max_iter=steps)
    # what the estimator makes of the precisions is where the loop begins
    chol = parameters.precisions_cholesky
    precisions = chol @ np.swapaxes(chol, -1, -2) if covariance_type in ("full", "tied") else chol**2
    begin = gaussum.covariance.cholesky_of_precisions(covariance_type, precisions, "precisions")
    estimator.set_params(weights_init=parameters.weights, means_init=parameters.means, precisions_init=precisions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gaussum.ConvergenceWarning)
        estimator.fit(X, sample_weight=weight)
    assert estimator.n_iter_ == steps
    parameters = parameters._replace(precisions_cholesky=begin)
    ridge = ridge_of(X, 1e-6, sample_weight=weight)
    for n_threads in itertools.islice(itertools.cycle([None, 1, 3]), steps):
        parameters, _ = em_step(X, *parameters, covariance_type, sample_weight=weight, ridge=ridge, n_threads=n_threads)
    for found, expected in zip(parameters, (estimator.weights_, estimator.means_, estimator.precisions_cholesky_)):
        assert (found == expected).all()
    total = accumulate(X, *parameters, covariance_type, sample_weight=weight)
    assert total.log_likelihood / total.total_weight == estimator.lower_bound_
    assert (log_density(X, *parameters, covariance_type) == estimator.score_samples(X)).all()
    assert (responsibilities(X, *parameters, covariance_type) == estimator.predict_proba(X)).all()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_chunks_add_up_to_the_whole(covariance_type):
    X, parameters = samples(5000), mixture(covariance_type)
    whole = accumulate(X, *parameters, covariance_type)
    chunks = [accumulate(chunk, *parameters, covariance_type) for chunk in np.split(X, [1, 700, 701, 3000])]
    for total in (sum(chunks), sum(pickle.loads(pickle.dumps(chunk)) for chunk in reversed(chunks))):
        np.testing.assert_allclose(total.buffer, whole.buffer, rtol=1e-11)
    received = SufficientStatistics(covariance_type, parameters.means)
    for chunk in chunks:
        received.buffer[:] += chunk.buffer
    assert (received.buffer == sum(chunks).buffer).all()
    for found, expected in zip(m_step(received), m_step(whole)):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("covariance_type, n, d", [("full", 120_000, 3), ("diag", 300_000, 2), ("spherical", 900, 1)])
def test_chunks_that_are_the_parts_add_up_to_the_same_bits(covariance_type, n, d):
    X, parameters = samples(n, d), mixture(covariance_type, d)
    bounds = part_bounds(n, d, K, covariance_type)
    assert bounds[0] == 0 and bounds[-1] == n and (np.diff(bounds) > 0).all() and (n < 1000 or len(bounds) >= 3)
    total = SufficientStatistics(covariance_type, parameters.means)
    for first, last in itertools.pairwise(bounds):
        result = accumulate(X[first:last], *parameters, covariance_type, n_parts=1, out=total)
        assert result is total
    for n_threads in (1, 2, 3, 7):
        whole = accumulate(X, *parameters, covariance_type, n_threads=n_threads)
        assert (whole.buffer == total.buffer).all()


@settings(max_examples=25)
@given(st.integers(1, 400), st.integers(1, 4), st.lists(st.integers(0, 400), max_size=4), st.data())
def test_any_chunks(n, d, cuts, data):
    covariance_type = data.draw(st.sampled_from(COVARIANCE_TYPES))
    X, parameters = samples(n, d), mixture(covariance_type, d)
    chunks = [chunk for chunk in np.split(X, sorted(c for c in cuts if c < n)) if len(chunk)]
    total = sum(accumulate(chunk, *parameters, covariance_type) for chunk in chunks)
    whole = accumulate(X, *parameters, covariance_type)
    np.testing.assert_allclose(total.buffer, whole.buffer, rtol=1e-10, atol=1e-9)


def test_samples_are_read_where_they_lie(tmp_path):
    X, parameters = samples(3000), mixture("full")
    wide = np.zeros((3000, 2 * D + 1))
    wide[:, ::2][:, :D] = X
    mapped = np.memmap(tmp_path / "x", dtype=np.float64, mode="w+", shape=X.shape)
    mapped[:] = X
    read_only = X.copy()
    read_only.setflags(write=False)
    ridge = ridge_of(X)
    expected, log_likelihood = em_step(X, *parameters, ridge=ridge)
    for layout in (np.asfortranarray(X), wide[:, : 2 * D : 2], X[::-1].copy()[::-1], mapped, read_only):
        again, other = em_step(layout, *parameters, ridge=ridge)
        assert other == log_likelihood and all((a == b).all() for a, b in zip(again, expected))
        assert (log_density(layout, *parameters) == log_density(X, *parameters)).all()
    single = X.astype(np.float32)
    as_double, found = em_step(single.astype(np.float64), *parameters), em_step(single, *parameters)
    assert found[1] == as_double[1] and all((a == b).all() for a, b in zip(found[0], as_double[0]))


def test_results_and_statistics_are_of_their_own():
    X, (weights, means, chol) = samples(), mixture("diag")
    mine = means.copy()
    statistics = accumulate(X, weights, mine, chol, "diag")
    mine += 1.0
    assert (statistics.origins == means).all()
    after, _ = em_step(X, weights, mine, chol, "diag")
    assert not any(np.shares_memory(a, b) for a in after for b in (weights, mine, chol))
    empty = SufficientStatistics("diag", mine)
    mine *= 2.0
    assert (empty.origins == mine / 2.0).all()


def test_gaussian_log_sum():
    rng = np.random.default_rng(4)
    sources, X, h = rng.normal(size=(300, D)), np.append(rng.normal(size=(50, D)), [[1e3, -1e3]], axis=0), [0.3, 0.5]
    weights = rng.uniform(0, 9, 300)
    weights[:20] = 0
    with np.errstate(divide="ignore"):
        terms = np.log(weights) - 0.5 * (((X[:, None] - sources) / h) ** 2).sum(axis=2)
    expected = np.logaddexp.reduce(terms, axis=1) - np.log(h).sum() - D / 2 * np.log(2 * np.pi)
    out = np.empty(51)
    for rtol in (0.0, 1e-6):
        assert gaussian_log_sum(X, sources, weights, h, rtol=rtol, out=out) is out
        np.testing.assert_allclose(out, expected, rtol=0, atol=1e-6 if rtol else 1e-11 * abs(expected).max())
    assert (gaussian_log_sum(X, sources, None, 0.4) == KernelDensity(0.4).fit(sources).score_samples(X)).all()


def test_extremes():
    far = [1e300, -1e300, 0.0]
    found = log_density(far, [1.0], [[0.0]], [1.0], "spherical")
    assert found.tolist()[:2] == [-np.inf, -np.inf] and found[2] == pytest.approx(-0.5 * np.log(2 * np.pi))
    # large parameters, whose squares overflow, are no error
    assert log_density([1e200], [1.0], [[1e200]], [1.0], "spherical")[0] == pytest.approx(-0.5 * np.log(2 * np.pi))
    with pytest.raises(ValueError, match="X has a log-likelihood of -inf"):
        em_step(far, [1.0], [[0.0]], [1.0], "spherical")
    # weights of any size
    x, weight = [-1.0, 1.0], np.array([1.0, 1.0])
    for size in (1e-200, 1e200):
        found, _ = em_step(x, [1.0], [[0.5]], [1.0], "spherical", sample_weight=size * weight)
        assert found.precisions_cholesky[0] == pytest.approx(1.0, rel=1e-14)
        found = m_step(accumulate(x, [1.0], [[0.5]], [1.0], "spherical", sample_weight=size * weight))
        assert found.precisions_cholesky[0] == pytest.approx(1.0, rel=1e-14)
    # zero weights: nothing to add, and nothing to maximise
    nothing = accumulate([1.0, 2.0], [1.0], [[0.0]], [1.0], "spherical", sample_weight=[0, 0])
    assert not nothing.buffer.any()
    with pytest.raises(ValueError, match="statistics are of a weight of 0 .*expected finite"):
        m_step(nothing)
    with pytest.raises(ValueError, match="sample_weight is zero everywhere"):
        em_step([1.0, 2.0], [1.0], [[0.0]], [1.0], "spherical", sample_weight=[0, 0])
    # a component without weight, and one sample
    assert (responsibilities([3.0], [1.0, 0.0], [[0.0], [3.0]], [1.0, 1.0], "spherical") == [1.0, 0.0]).all()


def test_a_component_that_collapses_is_put_back():
    with pytest.warns(CollapsedComponentWarning, match="component.*1 collapsed"):
        after, _ = em_step(samples(100, 1), [0.9, 0.1], [[4.0], [1e9]], [0.3, 0.3], "spherical")
    assert np.isfinite(np.concatenate([a.ravel() for a in after])).all() and after.weights.min() > 0.1


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_covariances_and_back(covariance_type):
    chol = mixture(covariance_type, 4).precisions_cholesky
    again = precisions_cholesky(covariances(chol, covariance_type), covariance_type)
    np.testing.assert_allclose(again, chol, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_samples_that_are_not_finite_are_found(bad, dtype, covariance_type):
    """A pass that they go through shows it, in whatever lane they lie."""
    for n, i, d in ((1, 0, 1), (40, 33, 2), (700, 699, 3), (200, 100, 20)):
        X, parameters = samples(n, d, dtype), mixture(covariance_type, d)
        X[i, d - 1] = bad
        total = SufficientStatistics(covariance_type, parameters.means)
        where = f"X holds {bad} at " + (f"index {i}" if d == 1 else f"row {i}, column {d - 1}")
        for call in (
            lambda: em_step(X, *parameters, covariance_type),
            lambda: accumulate(X, *parameters, covariance_type, out=total),
            lambda: accumulate(X, *parameters, covariance_type, sample_weight=np.arange(n) % 2),
            lambda: log_density(X, *parameters, covariance_type),
        ):
            with pytest.raises(ValueError, match=where):
                call()
        assert not total.buffer.any()


GOOD = {"X": samples(50), **mixture("full")._asdict(), "covariance_type": "full"}
OUT = np.empty((50, 2))
READ_ONLY = np.empty(50)
READ_ONLY.setflags(write=False)


@pytest.mark.parametrize("change, error, words", [
    ({"X": samples(50, 3)}, ValueError, "X has 3 features, but 2 features are expected"),
    ({"X": np.empty((0, 2))}, ValueError, "X is empty"),
    ({"X": None}, TypeError, "X is None"),
    ({"X": [["a", "b"]]}, TypeError, "X holds <U1 values"),
    ({"means": np.zeros(3)}, ValueError, r"means has shape \(3,\); expected \(n_components, n_features\)"),
    ({"means": np.full((3, 2), np.nan)}, ValueError, "means holds NaN or infinity"),
    ({"weights": [0.5, 0.5]}, ValueError, r"weights has shape \(2,\); expected \(3,\)"),
    ({"weights": [0.5, 0.7, -0.2]}, ValueError, "weights has the smallest entry -0.2 and adds up to 1"),
    ({"weights": [1.0, 1.0, 1.0]}, ValueError, "adds up to 3; expected weights >= 0 that add up to 1"),
    ({"weights": [1.0, np.inf, 0.0]}, ValueError, "weights holds NaN or infinity"),
    ({"weights": "abc"}, TypeError, "weights holds <U3 values"),
    ({"precisions_cholesky": np.eye(2)}, ValueError, r"precisions_cholesky has shape \(2, 2\); expected \(3, 2, 2\)"),
    ({"precisions_cholesky": np.ones((3, 2, 2))}, ValueError, "precisions_cholesky .* upper triangular"),
    ({"precisions_cholesky": -np.array([np.eye(2)] * 3)}, ValueError, "precisions_cholesky .* positive diagonals"),
    ({"precisions_cholesky": np.zeros((3, 2, 2))}, ValueError, "precisions_cholesky .* positive diagonals"),
    ({"covariance_type": "VVV"}, ValueError, "covariance_type is 'VVV'; expected one of 'full'"),
    ({"covariance_type": 3}, TypeError, "covariance_type is int"),
    ({"n_threads": 0}, ValueError, "n_threads is 0"),
])
@pytest.mark.parametrize("function", [log_density, responsibilities, accumulate, em_step])
def test_bad_arguments(function, change, error, words):
    with pytest.raises(error, match=words):
        function(**GOOD | change)


@pytest.mark.parametrize("out, error, words", [
    (np.empty(50, np.float32), TypeError, "out holds float32 values; expected native float64"),
    (np.empty(50, ">f8"), TypeError, "out holds >f8 values"),
    ([0.0] * 50, TypeError, "out is list; expected an ndarray of float64"),
    (np.empty(49), ValueError, r"out has shape \(49,\); expected \(50,\)"),
    (OUT[:, 0], ValueError, "out has strides .*expected a C-contiguous"),
    (READ_ONLY, ValueError, "out is read-only"),
    (GOOD["X"].ravel()[20:70], ValueError, "out shares memory with X"),
])
def test_bad_outputs(out, error, words):
    before = GOOD["X"].copy()
    with pytest.raises(error, match=words):
        log_density(**GOOD, out=out)
    with pytest.raises(error, match=words.replace("out ", "log_density ", 1)):
        responsibilities(**GOOD, log_density=out)
    if isinstance(out, np.ndarray) and not np.shares_memory(out, GOOD["X"]):
        with pytest.raises(error, match=words):
            gaussian_log_sum(GOOD["X"], GOOD["X"], None, 1.0, out=out)
    assert (GOOD["X"] == before).all()


def test_outputs():
    X, parameters = GOOD["X"], mixture("full")
    both = np.empty(4 * 50)
    with pytest.raises(ValueError, match="log_density shares memory with out"):
        responsibilities(**GOOD, out=both[:150].reshape(50, 3), log_density=both[149:199])
    out, log_p = both[:150].reshape(50, 3), both[150:]
    assert responsibilities(**GOOD, out=out, log_density=log_p) is out
    assert (log_p == log_density(**GOOD)).all() and (out == responsibilities(**GOOD)).all()
    # a column of the table beside those that are read
    table = np.asfortranarray(np.column_stack([X, np.zeros(50)]))
    assert (log_density(table[:, :2], *parameters, out=table[:, 2]) == log_p).all()
    assert (table[:, :2] == X).all()


def test_bad_statistics():
    parameters = mixture("full")
    other = parameters._replace(means=parameters.means + 1)
    statistics = accumulate(GOOD["X"], *other)
    before = statistics.buffer.copy()
    for call, error, words in (
        (lambda: accumulate(**GOOD, out=statistics), ValueError, "out holds .* for 'full' .*origins that equal"),
        (lambda: accumulate(**GOOD, out=SufficientStatistics("diag", parameters.means)), ValueError, "for 'diag'"),
        (lambda: accumulate(**GOOD, out=np.zeros(23)), TypeError, "out is ndarray of shape .*expected SufficientStat"),
        (lambda: accumulate(**GOOD, n_parts=0), ValueError, "n_parts is 0"),
        (lambda: m_step(np.zeros(5)), TypeError, "statistics is ndarray"),
        (lambda: m_step(statistics, ridge=[1.0]), ValueError, r"ridge has shape \(1,\); expected \(2,\)"),
        (lambda: m_step(statistics, ridge=[1.0, -1.0]), ValueError, "ridge holds -1"),
        (lambda: m_step(statistics, n_samples=0.5), TypeError, "n_samples is 0.5"),
        (lambda: m_step(SufficientStatistics("full", [[0.0]])), ValueError, "expected finite statistics, .* > 0"),
        (lambda: statistics + 1, TypeError, "unsupported operand"),
        (lambda: 1 + statistics, TypeError, "unsupported operand"),
        (lambda: SufficientStatistics("VVV", [[0.0]]), ValueError, "covariance_type is 'VVV'"),
        (lambda: m_step(SufficientStatistics("full", [[np.nan]], np.ones(5))), ValueError, "about finite origins"),
        (lambda: SufficientStatistics("full", [[0.0]], np.zeros(4)), ValueError, r"buffer has shape .*expected \(5,\)"),
        (lambda: SufficientStatistics("full", [[0.0]], [0.0] * 5), TypeError, "buffer is list"),
        (lambda: gaussian_log_sum([0.0], [0.0], None, 0.0), ValueError, "bandwidths holds 0"),
        (lambda: gaussian_log_sum([0.0], [0.0], None, -1.0), ValueError, "bandwidths is -1"),
        (lambda: gaussian_log_sum([0.0], [0.0], [0.0], 1.0), ValueError, "weights is zero everywhere"),
        (lambda: gaussian_log_sum([0.0], [0.0], None, 1.0, rtol=-1), ValueError, "rtol is -1"),
        (lambda: precisions_cholesky(np.eye(2)), ValueError, r"covariances has shape \(2, 2\); expected \(K, d, d\)"),
        (lambda: precisions_cholesky([[1.0, 2.0], [2.0, 1.0]], "tied"), ValueError, "covariances is not positive def"),
        (lambda: precisions_cholesky([[1.0, 2.0], [0.0, 1.0]], "tied"), ValueError, "covariances is not symmetric"),
        (lambda: precisions_cholesky([0.0], "spherical"), ValueError, "covariances holds 0"),
        (lambda: covariances([[1.0, 0.0], [1.0, 1.0]], "tied"), ValueError, "precisions_cholesky .* upper triangular"),
        (lambda: ridge_of([1.0, 2.0], -1.0), ValueError, "reg_covar is -1"),
        (lambda: part_bounds(0, 1, 1), ValueError, "n_samples is 0"),
    ):
        with pytest.raises(error, match=words):
            call()
    assert (statistics.buffer == before).all()
