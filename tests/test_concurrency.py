"""Fits side by side, and fitted objects that many Python threads share: the same bits as alone."""

import copy
import itertools
import pickle
import subprocess
import sys
import sysconfig
import threading
import warnings

import numpy as np
import pytest

import gaussum
from gaussum import BayesianGaussianMixture, GaussianMixture, KernelDensity, OutlierDetector, functions, parallel
from gaussum.base import is_fitted
from gaussum.mixture_base import TrainingData

N_THREADS = 8
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.fixture(autouse=True)
def switching():
    """Threads are switched as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(autouse=True)
def threads_for_everything(monkeypatch):
    """Small problems are divided among threads as large ones are."""
    monkeypatch.setattr(parallel, "_WORTH_A_THREAD", 0.0)
    monkeypatch.setattr(parallel, "_SHORTEST_PART", 1e-6)


def together(*calls):
    """The results of calls that begin at the same moment, each on a thread of its own."""
    results, barrier = [None] * len(calls), threading.Barrier(len(calls))

    def run(index, call):
        barrier.wait()
        try:
            results[index] = call()
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=numbered) for numbered in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(a, b)


def samples(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + 5 * rng.integers(0, 3, (n, 1))


def fits():
    """Functions that fit and give what came out, of several kinds."""
    X = samples(3000, 2)

    def mixture(**parameters):
        fitted = GaussianMixture(3, max_iter=40, tol=1e-3, random_state=0, **parameters).fit(X)
        return fitted.weights_, fitted.means_, fitted.precisions_cholesky_, fitted.lower_bounds_

    def bayesian():
        fitted = BayesianGaussianMixture(4, max_iter=500, tol=1e-3, random_state=0, n_threads=2).fit(X)
        return fitted.weights_, fitted.means_, fitted.precisions_cholesky_

    def detector():
        fitted = OutlierDetector(KernelDensity(n_threads=3), p_value=0.01, n_draws=2000, random_state=0).fit(X)
        return fitted.offset_, fitted.predict(X)

    def select():
        result = gaussum.select_mixture(X, range(1, 4), max_iter=200, tol=1e-3, random_state=0, n_threads=2)
        return result.best_.means_, result.best_.weights_

    def step():
        parameters, log_likelihood = functions.em_step(
            X, [0.5, 0.5], X[:2], np.ones((2, 2)), "diag", ridge=functions.ridge_of(X), n_threads=3
        )
        return *parameters, log_likelihood

    return [
        lambda: mixture(n_threads=2), lambda: mixture(covariance_type="VEV", n_threads=1),
        lambda: mixture(covariance_type="diag", accelerate=False, n_threads=4), lambda: mixture(n_init=3),
        bayesian, detector, select, step,
    ]


def test_fits_at_once():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calls = fits()
        alone = [call() for call in calls]
        for _ in range(2):
            for found, expected in zip(together(*calls), alone):
                assert_same(found, expected)


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_a_shared_mixture(covariance_type):
    X = samples(6000, 3)
    mixture = GaussianMixture(3, covariance_type=covariance_type, tol=1e-3, random_state=0).fit(X[:1000])
    mixture.n_threads = 2
    detector = OutlierDetector(mixture, contamination=0.1).fit(X)
    calls = [
        lambda: mixture.score_samples(X), lambda: mixture.predict(X), lambda: mixture.predict_proba(X),
        lambda: mixture.sample(500, random_state=1)[0], lambda: detector.predict(X), lambda: mixture.bic(X),
        lambda: mixture.score_samples(X[::2]), lambda: mixture.score_samples(X.astype(np.float32)),
    ]
    assert_same(together(*calls), [call() for call in calls])


@pytest.mark.parametrize("plan, n, d, bandwidth, rtol", [
    ("direct", 1500, 2, 0.5, 0.0), ("grid", 40_000, 1, 0.1, 1e-6), ("tree", 20_000, 4, 0.05, 1e-6),
])
def test_a_shared_kernel_density_by_every_plan(plan, n, d, bandwidth, rtol):
    """What is built for a plan when it is first needed is built by many at once."""
    X = samples(n, d)
    targets = samples(n // 2, d, seed=1)
    alone = KernelDensity(bandwidth, rtol=rtol, n_threads=2).fit(X)
    assert alone.explain(targets).name == plan
    expected = alone.score_samples(targets)
    shared = KernelDensity(bandwidth, rtol=rtol, n_threads=2).fit(X)
    other = targets[: n // 4]
    found = together(
        *[lambda: shared.score_samples(targets)] * 3, lambda: shared.explain(targets).name,
        lambda: shared.score_leave_one_out(), lambda: copy.deepcopy(shared).score_samples(targets),
        lambda: shared.score_samples(other),
    )
    assert_same(found[:3], [expected] * 3)
    assert found[3] == plan
    assert_same(found[4:], [alone.score_leave_one_out(), expected, alone.score_samples(other)])


def unpickled(fitted):
    return pickle.loads(pickle.dumps(fitted))


def light(d):
    """Weights, of which some are next to nothing."""
    return np.where(samples(3000, d)[:, 0] > 8.0, 1e-290, 1.0)


# What a fitted object makes at its first use: the object that has it, its name, a fit, and the use.
MADE_LATE = {
    "tree of another kernel": (
        lambda kde: kde._sum, "_tree",
        lambda: KernelDensity(0.05, kernel="cosine", algorithm="tree").fit(samples(3000, 2)),
        lambda kde: kde.score_samples(samples(500, 2, 1)),
    ),
    "sum of light sources": (
        lambda kde: kde._sum, "_light",
        lambda: KernelDensity(0.5, kernel="linear").fit(samples(3000, 1), sample_weight=light(1)),
        lambda kde: kde.score_samples(np.linspace(8.0, 12.0, 100)),
    ),
    "line": (
        lambda kde: kde._sum._distribution, "_line", lambda: KernelDensity(0.5).fit(samples(3000, 1)),
        lambda kde: kde.cdf(samples(20, 1, 1)),
    ),
    "distribution": (
        lambda kde: kde._sum, "_distribution", lambda: KernelDensity(0.5).fit(samples(300, 2)),
        lambda kde: kde.cdf(samples(20, 2, 1)),
    ),
    "cells of a line": (
        lambda kde: kde._sum.distribution().line, "_cells", lambda: KernelDensity(0.2).fit(samples(20_000, 1)),
        lambda kde: kde.cdf(samples(3000, 1, 1)),
    ),
    "classes of widths": (
        lambda kde: kde._sum, "_classes", lambda: KernelDensity(0.2, adaptive=0.5).fit(samples(20_000, 1)),
        lambda kde: kde.score_samples(samples(5000, 1, 1)),
    ),
    "grids of widths": (
        lambda kde: kde._sum, "_grids", lambda: KernelDensity(0.2, adaptive=0.5).fit(samples(20_000, 1)),
        lambda kde: kde.score_samples(samples(5000, 1, 1)),
    ),
    "tree of widths": (
        lambda kde: kde._sum, "_tree", lambda: KernelDensity(0.05, adaptive=0.5).fit(samples(20_000, 4)),
        lambda kde: kde.score_samples(samples(5000, 4, 1)),
    ),
    "tree of neighbours": (
        lambda kde: kde._sum._target_factors._neighbors, "_tree",
        lambda: unpickled(KernelDensity(0.5, adaptive="balloon").fit(samples(3000, 2))),
        lambda kde: kde.score_samples(samples(200, 2, 1)),
    ),
    "distribution of a matrix": (
        lambda kde: kde._sum, "_distribution", lambda: KernelDensity([[0.5, 0.3], [0.3, 0.4]]).fit(samples(300, 2)),
        lambda kde: kde.cdf(samples(20, 2, 1)),
    ),
    "tree of whitened samples": (
        lambda kde: kde._sum.inner, "_tree",
        lambda: KernelDensity(0.002 * (np.eye(4) + 0.5)).fit(samples(20_000, 4)),
        lambda kde: kde.score_samples(samples(5000, 4, 1)),
    ),
    "integral within bounds": (
        lambda kde: kde._sum, "_log_integral_",
        lambda: KernelDensity(0.3, bounds=(-20.0, None), boundary="linear").fit(samples(1000, 1)),
        lambda kde: kde.score_samples(samples(200, 1, 1)),
    ),
    "ratios within bounds": (
        lambda kde: kde._sum, "_log_ratios_",
        lambda: KernelDensity(0.3, bounds=[(-20.0, None), None], boundary="linear").fit(samples(300, 2)),
        lambda kde: kde.sample(200, random_state=0),
    ),
    "sum of SciPy's estimate": (
        lambda kde: kde, "_kept", lambda: gaussum.gaussian_kde(samples(3000, 2).T),
        lambda kde: kde(samples(200, 2, 1).T),
    ),
}


@pytest.mark.parametrize("made", MADE_LATE)
def test_what_is_made_at_first_use_is_the_same_for_all(made):
    owner, name, fit, use = MADE_LATE[made]
    alone, shared = fit(), fit()
    assert getattr(owner(alone), name, None) is None
    expected = use(alone)
    assert getattr(owner(alone), name) is not None
    # some use what is half made, some a copy of it
    calls = [lambda: use(shared)] * 4 + [lambda: use(copy.deepcopy(shared)), lambda: use(unpickled(shared))]
    assert_same(together(*calls), [expected] * len(calls))
    assert np.array_equal(use(shared), expected)


@pytest.mark.parametrize("adaptive", [None, 0.5])
def test_bounds_that_differ_share_a_density(adaptive):
    """A grid is kept for one bound at a time: threads that ask for different ones do not get each other's."""
    X = samples(20_000, 1)
    bounds = [1e-3, 1e-6, 1e-9] * 2
    expected = [KernelDensity(0.1, adaptive=adaptive).fit(X)._sum.log_density(X, rtol=rtol) for rtol in bounds]
    shared = KernelDensity(0.1, adaptive=adaptive).fit(X)._sum
    assert_same(together(*(lambda rtol=rtol: shared.log_density(X, rtol=rtol) for rtol in bounds)), expected)


@pytest.mark.parametrize("adaptive", [None, 0.5])
@pytest.mark.parametrize("interrupted", [0, 1, 2])
def test_another_bound_comes_in_between(adaptive, interrupted):
    """As if another thread's turn came just when the bound has been found to be that of the grid there is."""
    X = samples(20_000, 1)
    total = KernelDensity(0.1, adaptive=adaptive).fit(X)._sum
    expected, comparisons = total.log_density(X, rtol=1e-6), itertools.count()

    class Bound(float):
        def __ne__(self, other):
            if next(comparisons) == interrupted:
                total.log_density(X, rtol=1e-3)
            return float(self) != other

    assert np.array_equal(total.log_density(X, rtol=Bound(1e-6)), expected)
    assert next(comparisons) > 0


@pytest.mark.parametrize("random_state", [0, None])
def test_p_values_of_a_shared_detector(random_state):
    """The draws are made when they are first needed; all threads use the same."""
    X = samples(500, 1)
    detector = OutlierDetector(KernelDensity(0.3), n_draws=3000, random_state=random_state).fit(X)
    found = together(*[lambda: detector.p_values(X)] * N_THREADS)
    assert_same(found, [detector.p_values(X)] * N_THREADS)
    if random_state is not None:
        again = OutlierDetector(KernelDensity(0.3), n_draws=3000, random_state=random_state).fit(X)
        assert_same(found[:1], [again.p_values(X)])
    # and those of another fit are others
    assert not np.array_equal(detector.fit(2 * X).p_values(X), found[0])


def test_whether_it_is_fitted_while_something_is_made():
    """As if another thread added an attribute just when one is looked at."""
    detector = OutlierDetector(KernelDensity())

    class Name(str):
        def endswith(self, suffix):
            detector._made = None
            return str.endswith(self, suffix)

    vars(detector)[Name("_looked_at")] = None
    assert not is_fitted(detector)
    assert detector._made is None


def test_what_fits_share_is_made_once():
    data, made = TrainingData(samples(10, 1), None), []
    found = together(*[lambda: data.shared("key", lambda: made.append(1) or object())] * N_THREADS)
    assert made == [1] and len(set(map(id, found))) == 1


def test_pools_of_different_sizes_at_once():
    """Threads that ask for more than there are get a larger pool; none waits for another's."""

    def total(n_threads):
        parts = []
        parallel.run(200, n_threads, lambda part, slot: part, parts.append)
        return parts

    for found in together(*(lambda n_threads=n: total(n_threads) for n in (1, 2, 3, 5, 8, 13, 2, 4))):
        assert found == list(range(200))


def test_blas_has_its_threads_back():
    def use():
        for _ in range(20):
            with parallel.single_threaded_blas():
                assert {lib["num_threads"] for lib in parallel._blas.select(user_api="blas").info()} <= {1}

    with parallel.single_threaded_blas():
        pass
    before = parallel._blas.info()
    together(*[use] * N_THREADS)
    assert parallel._blas.info() == before


@pytest.mark.skipif(not FREE_THREADED, reason="an interpreter with the GIL")
def test_the_gil_stays_off():
    code = "import sys, gaussum; gaussum.GaussianMixture(2).fit([1.0, 2.0, 5.0, 6.0]); assert not sys._is_gil_enabled()"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)
