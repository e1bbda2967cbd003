"""Fits of every covariance structure beside mclust's: ``python -m bench.mclust [N_INIT [SEEDS]]``.

mclust's log-likelihoods are those of `tests/data/mclust_loglik.csv`. A line a seed: how many fits reach them less 1e-3
of their size, how many end higher, and how many are spurious optima, which do not count as higher, or did not converge.
"""

import csv
import sys
import time
import warnings
from importlib import resources
from pathlib import Path

import numpy as np

from gaussum import GaussianMixture

DATA = Path(__file__).parents[1] / "tests" / "data"
NEAR = 1e-3  # of mclust's log-likelihood
HIGHER = 1e-6


def main(n_init=5, seeds=4):
    with open(DATA / "mclust_loglik.csv") as file:
        rows = list(csv.DictReader(file))
    data = {name: _samples(name) for name in {row["set"] for row in rows}}
    for seed in range(seeds):
        begin, ends, short = time.perf_counter(), [], []
        for row in rows:
            ends.append(_fit(data[row["set"]], row, n_init, seed))
            if ends[-1]["reached"] < -NEAR:
                short.append(f"{row['set']} {row['model']} {row['G']} {ends[-1]['reached']:.2g}")
        seconds = time.perf_counter() - begin
        total = {key: sum(end[key] for end in ends) for key in ("higher", "spurious", "converged", "df")}
        n_iter = [end["n_iter"] for end in ends]
        print(
            f"n_init {n_init}, seed {seed}: {1 - len(short) / len(rows):.1%} of {len(rows)} fits reach mclust's, "
            f"{total['higher']} end higher, {total['spurious']} spurious, {total['converged']} converged, df of "
            f"{total['df']} right, {np.mean(n_iter):.0f} iterations on average and at most {max(n_iter)}, "
            f"{seconds:.1f} s"
        )
        for line in short:
            print(f"    short: {line}")


def _fit(X, row, n_init, seed):
    theirs = float(row["loglik"])
    mixture = GaussianMixture(int(row["G"]), covariance_type=row["model"], n_init=n_init, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mixture.fit(X)
    gain = (mixture.score_samples(X).sum() - theirs) / abs(theirs)
    return {
        "reached": gain, "higher": gain > HIGHER and not mixture.spurious_, "spurious": bool(mixture.spurious_),
        "converged": mixture.converged_, "df": mixture.n_parameters_ == int(row["df"]), "n_iter": mixture.n_iter_,
    }


def _samples(name):
    file = DATA / f"{name}.csv"
    if not file.exists():
        file = resources.files("gaussum") / "data" / f"{name}.csv"
    return np.genfromtxt(file, delimiter=",", skip_header=1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
