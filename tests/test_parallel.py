"""Threads: ordered merges, exceptions, nesting, forks and Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import threadpoolctl

from gaussum import GaussianMixture, parallel


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("n_parts", [1, 2, 20, 100])
def test_parts_are_merged_in_order(n_parts, n_threads):
    made, merged, busy = [], [], set()

    def work(part, slot):
        assert slot not in busy and 0 <= slot < n_threads
        busy.add(slot)
        time.sleep(1e-4 * (part % 3))
        made.append(part)
        busy.discard(slot)
        return part

    parallel.run(n_parts, n_threads, work, merged.append)
    assert merged == list(range(n_parts))
    assert sorted(made) == merged


def test_without_merge():
    made = []
    parallel.run(30, 3, lambda part, slot: made.append(part))
    assert sorted(made) == list(range(30))
    parallel.run(0, 3, lambda part, slot: made.append(None))
    assert None not in made


@pytest.mark.parametrize("where", ["work", "merge"])
@pytest.mark.parametrize("n_threads", [1, 4])
@pytest.mark.parametrize("at", [0, 5, 39])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_exceptions_reach_the_caller(where, n_threads, at, error):
    def fail(part, slot=None):
        if part == at:
            raise error(f"part {part}")

    def nothing(part, slot=None):
        time.sleep(1e-4)
        return part

    work, merge = (fail, nothing) if where == "work" else (nothing, fail)
    with pytest.raises(error, match=f"part {at}"):
        parallel.run(40, n_threads, work, merge)
    made = []
    parallel.run(8, 4, lambda part, slot: made.append(part))  # the pool goes on
    assert len(made) == 8


def test_nested_calls():
    made = []

    def outer(part, slot):
        parallel.run(5, 4, lambda inner, slot: made.append((part, inner)))

    parallel.run(12, 4, outer)
    assert sorted(made) == [(i, j) for i in range(12) for j in range(5)]


def test_calls_from_many_threads():
    totals = [0] * 6

    def call(number):
        def merge(part):
            totals[number] += part

        for _ in range(20):
            parallel.run(30, 2 + number, lambda part, slot: part, merge)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert totals == [20 * 435] * 6


def test_numbers_of_threads_and_parts():
    assert parallel.resolve_threads(None) == parallel.available_cpus() >= 1
    assert parallel.resolve_threads(5) == 5
    assert parallel.resolve_threads(5, seconds=1e-6) == 1
    for bad, error in (
        (0, ValueError),
        (-1, ValueError),
        (1.0, TypeError),
        ("2", TypeError),
        (True, TypeError),
    ):
        with pytest.raises(error, match="n_threads is"):
            parallel.resolve_threads(bad, seconds=1e-6)
    assert parallel.n_parts(1, 1.0) == 1
    assert parallel.n_parts(1 << 20, 0.0) == 1
    assert parallel.n_parts(1 << 20, 1.0) == 64
    assert parallel.n_parts(10**9, 1000.0) > 10_000


def blas_threads():
    """Of the libraries that were there at the first fit: SciPy's is, those of packages loaded later do not matter."""
    with parallel.single_threaded_blas():
        known = {library.filepath for library in parallel._blas.lib_controllers}
    return [
        pool["num_threads"] for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas" and pool["filepath"] in known
    ]


def test_blas_gets_its_threads_back():
    """Also when fits in several threads end in another order than they began."""
    X = np.random.default_rng(0).normal(size=(3000, 40))
    before = blas_threads()
    begun, go_on = threading.Event(), threading.Event()
    seen = []

    def long_fit():
        def wait(iteration, objective):
            begun.set()
            go_on.wait(timeout=60)

        GaussianMixture(1, random_state=0).fit(X, callback=wait)

    def during(iteration, objective):
        seen.append(blas_threads())

    other = threading.Thread(target=long_fit)

    def start_other(iteration, objective):
        if not other.ident:
            other.start()
            begun.wait(timeout=60)

    GaussianMixture(1, random_state=0).fit(X, callback=start_other)
    go_on.set()
    other.join(timeout=60)
    assert blas_threads() == before
    GaussianMixture(1, random_state=0).fit(X, callback=during)
    assert set(seen[0]) == {1}
    with pytest.raises(RuntimeError):
        GaussianMixture(1, random_state=0).fit(X, callback=lambda *a: (_ for _ in ()).throw(RuntimeError))
    assert blas_threads() == before


def python(script):
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


FORK = """
import os, numpy as np
from gaussum import GaussianMixture, KernelDensity, parallel
parallel._WORTH_A_THREAD, parallel._SHORTEST_PART = 0.0, 1e-9
X = np.random.default_rng(0).normal(size=(20000, 2))
expected = GaussianMixture(2, n_threads=3, random_state=0, tol=1e-2).fit(X).means_
child = os.fork()
if child == 0:
    status = 1
    try:
        again = GaussianMixture(2, n_threads=3, random_state=0, tol=1e-2).fit(X).means_
        KernelDensity(1.0, n_threads=4).fit(X[:100]).score_samples(X)
        status = 0 if np.array_equal(again, expected) else 2
    finally:
        os._exit(status)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(np.array_equal(GaussianMixture(2, n_threads=3, random_state=0, tol=1e-2).fit(X).means_, expected))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork():
    out, err = python(FORK).communicate(timeout=120)
    assert out.split() == ["0", "True"], err


FIT = """
import numpy as np
from gaussum import GaussianMixture, KernelDensity
X = np.random.default_rng(0).normal(size=(400_000, 3))
def say(*args):
    print("begun", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", GaussianMixture(2, random_state=0, tol=1e-2).fit(X).means_.shape, flush=True)
"""
CALLS = {
    "threads": "GaussianMixture(8, tol=0, n_threads=2, max_iter=10**6).fit(X, callback=say)",
    "one thread": "GaussianMixture(8, tol=0, n_threads=1, max_iter=10**6).fit(X, callback=say)",
    "kernel density": "say(); KernelDensity(0.1, rtol=0).fit(X).score_samples(X)",
}


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c(call):
    process = python(FIT.format(call=CALLS[call]))
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert out.splitlines()[-1:] == ["interrupted (2, 3)"], err
    assert process.returncode == 0


def test_a_fit_from_several_threads_at_once(always_threads):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8000, 2)) + 3.0 * rng.integers(0, 3, (8000, 1))
    fits = [None] * 4

    def fit(i):
        fits[i] = GaussianMixture(3, n_threads=3, random_state=0, tol=1e-5).fit(X)

    threads = [threading.Thread(target=fit, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for other in fits[1:]:
        np.testing.assert_array_equal(other.means_, fits[0].means_)
