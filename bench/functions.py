"""What a step of EM as a function costs beside an iteration of the estimator: ``python -m bench.functions [REPEATS]``.

On one thread, in the process's own time; both begin at the same parameters and take as many steps.
"""

import sys
import time
import warnings

import numpy as np

from gaussum import GaussianMixture
from gaussum.functions import em_step, ridge_of

CASES = ((4600, 1, 4, "full"), (4600, 2, 4, "full"), (4600, 4, 8, "full"), (4600, 4, 8, "diag"),
         (100_000, 4, 8, "full"))
STEPS_SECONDS = 0.05


def main(repeats=7):
    for n, d, K, covariance_type in CASES:
        rng = np.random.default_rng(0)
        X = rng.normal(size=(n, d)) + 3 * rng.integers(0, 3, (n, 1))
        steps = max(5, int(STEPS_SECONDS / (n * K * (1 + d) * 1e-9)))
        options = {"covariance_type": covariance_type, "n_threads": 1, "accelerate": False, "tol": 0.0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            begin = GaussianMixture(K, max_iter=3, random_state=0, init_params="kmeans", **options).fit(X)
            mixture = GaussianMixture(
                K, max_iter=steps, weights_init=begin.weights_, means_init=begin.means_,
                precisions_init=begin.precisions_, **options,
            )
            times = np.array([(_estimator(mixture, X), _functions(begin, X, steps)) for _ in range(repeats)])
        estimator, function = np.median(times, axis=0) * 1e6
        print(
            f"{n:,} x {d}, K = {K}, {covariance_type}: iteration {estimator:.1f} us, em_step {function:.1f} us, "
            f"ratio {np.median(times[:, 1] / times[:, 0]):.2f}"
        )


def _estimator(mixture, X):
    begin = time.process_time()
    mixture.fit(X)
    return (time.process_time() - begin) / mixture.n_iter_


def _functions(fitted, X, steps):
    begin = time.process_time()
    parameters, ridge = (fitted.weights_, fitted.means_, fitted.precisions_cholesky_), ridge_of(X)
    for _ in range(steps):
        parameters, _ = em_step(X, *parameters, fitted.covariance_type, ridge=ridge, n_threads=1)
    return (time.process_time() - begin) / steps


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
