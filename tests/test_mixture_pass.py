"""A pass in pieces is the pass: parts that threads take as they come, components of an M-step one by one."""

import threading

import numpy as np
import pytest

from gaussum.likelihood import MixtureLikelihood
from gaussum.mixture_pass import MixturePass, add_rows
from gaussum.samples import Samples

N, D, K, PARTS = 6000, 3, 4, 5


def problem(structure):
    """A pass, parameters, and their statistics as a likelihood's."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)) + rng.integers(3, size=(N, 1))
    likelihood = MixtureLikelihood(X, structure, K, n_threads=1)
    first = likelihood.partition_statistics(np.zeros((K, D)), rng.integers(K, size=N))
    compute = MixturePass(Samples(X), structure, K, None, PARTS, np.zeros(D))
    assert compute.n_parts > 2
    return compute, likelihood.maximize(first), first


@pytest.mark.parametrize("structure", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("n_threads", [1, 2, 7])
def test_parts_taken_by_threads(structure, n_threads):
    compute, parameters, _ = problem(structure)
    expected, scratch = np.zeros(compute.statistics_size), np.zeros(compute.scratch_size)
    compute.em(0, compute.n_parts, parameters.buffer, expected, scratch)

    table, next_part = np.zeros((compute.n_parts, expected.size)), np.zeros(1, dtype=np.intp)
    threads = [
        threading.Thread(target=compute.em_shared, args=(next_part, parameters.buffer, table, np.zeros_like(scratch)))
        for _ in range(n_threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = np.zeros_like(expected)
    add_rows(table, total)
    np.testing.assert_array_equal(total, expected)
    # each thread has asked for one more than there is
    assert next_part[0] == compute.n_parts + n_threads


def test_parts_refused():
    compute, parameters, _ = problem("diag")
    good = {
        "next_part": np.zeros(1, dtype=np.intp), "parameters": parameters.buffer,
        "statistics": np.zeros((compute.n_parts, compute.statistics_size)), "scratch": np.zeros(compute.scratch_size),
    }
    for name, bad in {
        "next_part": [np.zeros(2, dtype=np.intp), np.full(1, -1)],
        "parameters": [parameters.buffer[1:]],
        "statistics": [good["statistics"][1:], good["statistics"][:, 1:].copy()],
        "scratch": [np.zeros(8)],
    }.items():
        for value in bad:
            with pytest.raises(ValueError, match=name):
                compute.em_shared(**good | {name: value})
    assert not good["statistics"].any()
    with pytest.raises(ValueError, match="do not fit"):
        add_rows(good["statistics"], np.zeros(3))


@pytest.mark.parametrize("structure", ["full", "diag", "spherical"])
def test_components_one_by_one(structure):
    compute, parameters, statistics = problem(structure)
    buffer, covariances = np.full_like(parameters.buffer, np.nan), np.full_like(parameters.covariances, np.nan)
    for first, last in [(2, 4), (0, 1), (1, 2)]:
        assert compute.maximize(
            statistics.buffer, statistics.origins, buffer, covariances.reshape(-1), np.zeros(D), first, last
        )
    np.testing.assert_array_equal(buffer, parameters.buffer)
    np.testing.assert_array_equal(covariances, parameters.covariances)


@pytest.mark.parametrize("structure, first, last", [("tied", 0, 1), ("diag", 2, 2), ("diag", -1, 2), ("full", 0, 5)])
def test_components_refused(structure, first, last):
    compute, parameters, statistics = problem(structure)
    with pytest.raises(ValueError, match="components"):
        compute.maximize(
            statistics.buffer, statistics.origins, parameters.buffer, parameters.covariances.reshape(-1), np.zeros(D),
            first, last,
        )
