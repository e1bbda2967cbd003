"""Whole problems side by side: the same bits, warnings and lines in order, failures, nesting, Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from functools import partial

import numpy as np
import pytest

from gaussum import (
    CollapsedComponentWarning,
    ConvergenceWarning,
    GaussianMixture,
    em,
    likelihood,
    parallel,
    rescue,
    select_mixture,
    starts,
)
from gaussum.covariance import COVARIANCE_TYPES

THREADS = (1, 2, 3, 7)


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(1)
    return np.concatenate([rng.normal(0, 1, (150, 2)), rng.normal(2, 1, (150, 2)), rng.normal((4, 0), 0.5, (150, 2))])


@pytest.fixture
def used(monkeypatch):
    """The threads that ran EM, and how many of them each run could use."""
    seen = []
    maximize = em.maximize

    def watched(likelihood, *args, **kwargs):
        seen.append((threading.get_ident(), likelihood._n_threads))
        time.sleep(0.01)        # long enough for others to begin
        return maximize(likelihood, *args, **kwargs)

    monkeypatch.setattr(em, "maximize", watched)
    return seen


def same(a, b):
    assert a.lower_bounds_ == b.lower_bounds_ and a.n_iter_ == b.n_iter_
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


# Tasks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("n_tasks", [0, 1, 2, 30])
def test_every_task_is_received_here_and_once(n_tasks, n_threads):
    here, received, ordered = threading.get_ident(), [], []
    in_order = parallel.in_order(lambda outcome: ordered.append(outcome.result()))

    def receive(index, outcome):
        assert threading.get_ident() == here
        received.append(index)
        in_order(index, outcome)

    def task(i):
        time.sleep(1e-3 * (i % 3))
        return i

    parallel.side_by_side([lambda i=i: task(i) for i in range(n_tasks)], n_threads, receive)
    assert sorted(received) == ordered == list(range(n_tasks))


@pytest.mark.parametrize("n_threads", THREADS)
def test_outcomes(n_threads):
    """Exceptions are values until they are asked for, and warnings come when asked for, pointing here."""

    def good():
        parallel.warn("careful", UserWarning)
        return 1

    def bad():
        parallel.warn("about to fail", UserWarning)
        raise LookupError("lost")

    outcomes = {}
    parallel.side_by_side([good, bad, good], n_threads, outcomes.__setitem__)
    with pytest.warns(UserWarning, match="careful") as caught:
        assert outcomes[0].result() == 1
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="about to fail"), pytest.raises(LookupError, match="lost"):
        outcomes[1].result()
    with pytest.warns(UserWarning, match="careful"):
        assert outcomes[2].result() == 1


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_stops_the_others(error, n_threads):
    ended = []

    def stop():
        time.sleep(0.05)
        raise error("enough")

    def endless():
        try:
            while True:
                parallel.check()
                time.sleep(1e-3)
        finally:
            ended.append(None)

    with pytest.raises(error, match="enough"):
        parallel.side_by_side([stop] + [endless] * 5, n_threads, lambda index, outcome: None)
    assert len(ended) == n_threads - 1      # waited for; the rest never began
    made = []
    parallel.side_by_side([lambda: 5] * 4, 4, lambda index, outcome: made.append(outcome.result()))
    assert made == [5] * 4


def test_an_exception_in_the_receiver_stops_the_tasks():
    def endless():
        while True:
            parallel.check()
            time.sleep(1e-3)

    def refuse(index, outcome):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        parallel.side_by_side([lambda: 1, endless, endless], 3, refuse)


def test_tasks_within_tasks_stay_on_their_thread():
    threads = []

    def outer():
        mine = {threading.get_ident()}
        threads.append(mine)
        parallel.side_by_side([lambda: mine.add(threading.get_ident())] * 10, 8, lambda index, o: o.result())
        parallel.side_by_side([lambda: parallel.warn("from within", UserWarning)], 8, lambda index, o: o.result())
        assert parallel.resolve_threads(8) == 1
        return len(mine)

    outcomes = {}
    parallel.side_by_side([outer] * 6, 3, outcomes.__setitem__)
    for outcome in outcomes.values():
        with pytest.warns(UserWarning, match="from within"):
            assert outcome.result() == 1
    assert parallel.resolve_threads(8) == 8


def test_numpys_error_state_goes_along():
    def divide():
        return np.ones(1) / np.zeros(1)

    outcomes = {}
    with np.errstate(divide="raise"):
        parallel.side_by_side([divide] * 2, 2, outcomes.__setitem__)
    with pytest.raises(FloatingPointError):
        outcomes[0].result()


def test_when_problems_run_side_by_side():
    beside = parallel.threads_beside
    assert beside(10, 5000, 30e-6, 2) == 2          # nothing to divide
    assert beside(3, 5000, 30e-6, 16) == 3
    assert beside(1, 5000, 30e-6, 16) == 1          # nothing beside it
    assert beside(10, 5000, 30e-6, 1) == 1
    assert beside(10, 10**6, 1.0, 2) == 1           # divides well
    assert beside(2, 10**6, 5e-3, 16) == 1          # more threads than starts


# Restarts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_restarts_give_the_same_bits(X, covariance_type, weighted):
    weight = np.random.default_rng(0).uniform(size=len(X)) if weighted else None
    params = {"covariance_type": covariance_type, "n_init": 6, "random_state": 0}
    one, *others = (GaussianMixture(4, n_threads=t, **params).fit(X, sample_weight=weight) for t in THREADS)
    for other in others:
        same(other, one)


def test_restarts_of_many_features_give_the_same_bits():
    X = np.random.default_rng(0).normal(size=(600, 40)) + np.repeat(np.eye(2, 40) * 9, 300, axis=0)
    one, *others = (GaussianMixture(2, n_threads=t, n_init=4, random_state=0).fit(X) for t in THREADS)
    for other in others:
        same(other, one)


def test_small_problems_run_side_by_side(X, used):
    GaussianMixture(3, n_init=6, n_threads=3, random_state=0).fit(X)
    threads = {thread for thread, _ in used}
    assert len(used) == 6 and len(threads) == 3 and threading.get_ident() not in threads
    assert all(n == 1 for _, n in used)


@pytest.mark.parametrize("how", ["one thread", "one start", "callback", "verbose", "large"])
def test_others_run_one_after_the_other(X, how, used, monkeypatch):
    params = {"n_init": 3, "n_threads": 3, "random_state": 0}
    callback = (lambda *_: None) if how == "callback" else None
    if how == "large":
        monkeypatch.setattr(likelihood, "seconds", lambda *_: 1.0)
        X = np.tile(X, (20, 1))
    params |= {"one thread": {"n_threads": 1}, "one start": {"n_init": 1}, "verbose": {"verbose": 2}}.get(how, {})
    GaussianMixture(3, **params).fit(X, callback=callback)
    assert {thread for thread, _ in used} == {threading.get_ident()}
    if how == "large":
        assert all(n == 3 for _, n in used)


def duplicated():
    """Samples in two places, on which most components collapse."""
    return np.repeat([[0.0, 0.0], [1.0, 1.0]], 20, axis=0)


@pytest.mark.parametrize("n_threads", THREADS)
def test_warnings_come_in_the_order_of_the_starts(n_threads, monkeypatch):
    """From the calling thread, however the starts end."""
    X = np.random.default_rng(0).normal(size=(200, 1))
    maximize = em.maximize

    def fragile(own, parameters, **kwargs):
        number = numbers[parameters.means.tobytes()]
        time.sleep(0.02 * (5 - number))
        parallel.warn(f"of start {number}", CollapsedComponentWarning)
        if number in (2, 4):
            raise rescue.CollapseError(f"number {number}")
        return maximize(own, parameters, **kwargs)

    numbers = {}
    prepare = starts.prepare

    def numbered(*args, **options):
        def known(number, start):
            parameters = start()
            numbers[parameters.means.tobytes()] = number
            return parameters

        return [partial(known, i, start) for i, start in enumerate(prepare(*args, **options), 1)]

    monkeypatch.setattr(em, "maximize", fragile)
    monkeypatch.setattr(starts, "prepare", numbered)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        params = {"n_init": 5, "random_state": 0, "init_params": "random", "max_iter": 5, "tol": 0}
        GaussianMixture(2, n_threads=n_threads, **params).fit(X)
    told = [str(w.message) for w in caught]
    assert told[:-1] == [
        "of start 1",
        "of start 2",
        "start 2 failed: number 2",
        "of start 3",
        "of start 4",
        "start 4 failed: number 4",
        "of start 5",
    ]
    assert "did not converge" in told[-1]
    assert {w.filename for w in caught} == {__file__}
    kinds = [w.category for w in caught]
    assert kinds.count(ConvergenceWarning) == 3 and kinds.count(CollapsedComponentWarning) == 5


@pytest.mark.parametrize("n_threads", THREADS)
def test_all_starts_failing(X, n_threads, monkeypatch):
    def fail(*args, **kwargs):
        raise rescue.CollapseError("gone")

    monkeypatch.setattr(em, "maximize", fail)
    with pytest.warns(ConvergenceWarning) as caught, pytest.raises(ValueError, match=r"no start led .*\(gone\)"):
        GaussianMixture(2, n_init=4, n_threads=n_threads, random_state=0).fit(X)
    assert [str(w.message) for w in caught] == [f"start {i} failed: gone" for i in range(1, 5)]


@pytest.mark.parametrize("n_threads", THREADS)
def test_bad_starts_are_refused_as_ever(X, n_threads):
    with pytest.raises(ValueError, match="weights_init has the smallest entry"):
        GaussianMixture(2, n_init=4, n_threads=n_threads, weights_init=[1.0, 1.0]).fit(X)


@pytest.mark.parametrize("n_threads", THREADS)
def test_a_warning_made_an_error_comes_through(X, n_threads):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            GaussianMixture(3, n_init=4, n_threads=n_threads, random_state=0, max_iter=2).fit(X)
        with pytest.raises(CollapsedComponentWarning):
            # no sample is anywhere near one of the components
            far = {"weights_init": [0.4, 0.4, 0.2], "means_init": [[0, 0], [2, 2], [1e9, 1e9]]}
            far["precisions_init"] = [np.eye(2)] * 3
            GaussianMixture(3, n_init=4, n_threads=n_threads, random_state=0, **far).fit(X)


def test_lines_in_the_order_of_the_starts(X, capsys):
    lines = []
    for n_threads in THREADS:
        GaussianMixture(3, n_init=6, n_threads=n_threads, random_state=0, verbose=1).fit(X)
        lines.append(capsys.readouterr().out)
    assert [line.split(":")[0] for line in lines[0].splitlines()] == [f"start {i}" for i in range(1, 7)]
    assert set(lines) == {lines[0]}


# Selection -------------------------------------------------------------------------------------------


def test_selection_gives_the_same_bits(X):
    one, *others = (
        select_mixture(X, range(1, 6), ["full", "spherical"], random_state=0, n_init=3, n_threads=t) for t in THREADS
    )
    for other in others:
        assert other.table == one.table
        for a, b in zip(other.models, one.models, strict=True):
            same(a, b)


def test_candidates_run_side_by_side(X, used):
    calls, here = [], threading.get_ident()

    def progress(*args):
        assert threading.get_ident() == here
        calls.append(args)

    select_mixture(X, range(1, 6), n_init=2, n_threads=3, random_state=0, callback=progress)
    assert len({thread for thread, _ in used}) == 3 and len(used) == 10
    assert all(n == 1 for _, n in used)
    assert calls == [(i, 5) for i in range(1, 6)]


def test_restarts_run_side_by_side_where_candidates_are_few(X, used):
    select_mixture(X, 3, n_init=6, n_threads=3, random_state=0)
    threads = {thread for thread, _ in used}
    assert len(threads) == 3 and threading.get_ident() not in threads


def test_large_candidates_run_one_after_the_other(X, used, monkeypatch):
    monkeypatch.setattr(likelihood, "seconds", lambda *_: 1.0)
    select_mixture(np.tile(X, (20, 1)), [1, 2], n_init=2, n_threads=3, random_state=0, tol=1e-3)
    assert {thread for thread, _ in used} == {threading.get_ident()}
    assert {n for _, n in used} == {3}


@pytest.mark.parametrize("n_threads", THREADS)
def test_warnings_come_in_the_order_of_the_candidates(X, n_threads):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        select_mixture(X, [4, 2, 3], n_init=2, n_threads=n_threads, random_state=0, max_iter=1)
    assert len(caught) == 3 and {w.filename for w in caught} == {__file__}
    lines = []
    for k in (4, 2, 3):
        with pytest.warns(ConvergenceWarning) as alone:
            select_mixture(X, k, n_init=2, n_threads=1, random_state=0, max_iter=1)
        lines.append(str(alone[0].message))
    assert [str(w.message) for w in caught] == lines


# Ctrl-C ----------------------------------------------------------------------------------------------

SCRIPT = """
import os, numpy as np
from gaussum import GaussianMixture, em, parallel, select_mixture
X = np.random.default_rng(0).normal(size=(3000, 2))
maximize = em.maximize
def say(*args, **kwargs):
    os.write(1, b"begun\\n")
    return maximize(*args, **kwargs)
em.maximize = say
endless = {{"n_init": 4, "tol": 0, "accelerate": False, "max_iter": 10**9, "n_threads": 2, "random_state": 0}}
em._ROUNDING = -1.0
try:
    {call}
except KeyboardInterrupt:
    em._ROUNDING = 1e-15
    em.maximize = maximize
    fitted = GaussianMixture(2, n_init=3, n_threads=2, random_state=0, tol=1e-2).fit(X)
    print("interrupted", fitted.means_.shape, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
@pytest.mark.parametrize(
    "call", ["GaussianMixture(3, **endless).fit(X)", "select_mixture(X, [3, 4, 5], **endless)"]
)
def test_ctrl_c(call):
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SCRIPT.format(call=call)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout.readline() == "begun\n"
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()      # what was not interrupted would run for ever
    assert out.splitlines()[-1:] == ["interrupted (2, 2)"], err
    assert process.returncode == 0
