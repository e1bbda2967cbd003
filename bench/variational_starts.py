"""Where variational fits end by their starts: ``python -m bench.variational_starts [SEEDS]``.

Over real and simulated data, 4 and 8 components, three structures and both priors of the weights: how many fits end
within 1e-3 of the highest mean lower bound that any of the contenders reached, how far below they end on average, and
the processor time of all.
"""

import sys
import time
import warnings

import numpy as np

from bench.optima import mixture, problems
from gaussum import BayesianGaussianMixture
from gaussum.bayesian import WEIGHT_CONCENTRATION_PRIOR_TYPES

NEAR = 1e-3
KMEANS = {"init_params": "kmeans"}
CONTENDERS = {"auto": {}, "kmeans": KMEANS, "kmeans, 3 starts": KMEANS | {"n_init": 3}}


def main(seeds=2):
    sets = {name.split()[0]: X for name, X, _, _ in problems() if not name.startswith("simulated")}
    sets |= {f"simulated {d}": mixture(seed, 1000, d, 6) for seed, d in enumerate((2, 3, 5), 100)}
    below, seconds = {name: [] for name in CONTENDERS}, dict.fromkeys(CONTENDERS, 0.0)
    for X in sets.values():
        for K in (4, 8):
            for structure in ("full", "diag", "tied"):
                for prior in WEIGHT_CONCENTRATION_PRIOR_TYPES:
                    for seed in range(seeds):
                        ends = {name: _fit(X, K, structure, prior, seed, options, seconds, name)
                                for name, options in CONTENDERS.items()}
                        for name, end in ends.items():
                            below[name].append(max(ends.values()) - end)
    for name, short in below.items():
        near = np.mean(np.array(short) < NEAR)
        print(f"{name:18s} {near:6.1%} of {len(short)} near, {np.mean(short):.4f} below, {seconds[name]:.1f} s")


def _fit(X, K, structure, prior, seed, options, seconds, name):
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = BayesianGaussianMixture(
            K, covariance_type=structure, weight_concentration_prior_type=prior, random_state=seed, tol=1e-6,
            n_threads=1, max_iter=5000, **options,
        ).fit(X)
    seconds[name] += time.process_time() - begin
    return model.lower_bound_


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
