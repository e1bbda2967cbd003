"""Adaptive bandwidths: seconds of `fit` and `score_samples`, by the plan that is chosen, and the error of the sums.

    python -m bench.adaptive_bandwidths

Normal samples at Scott's bandwidth and as many queries, fifty of these tens of standard deviations out; medians of
three runs, and the processor's time of all threads. The error is that of the log density, with the factors as they were
found, against NumPy's log-sum-exp in the first twenty queries and twenty others.
"""

import time

import numpy as np

from gaussum import KernelDensity

CASES = [(1_000_000, 1, "abramson"), (1_000_000, 1, "breiman"), (1_000_000, 2, "abramson"), (100_000, 3, "abramson"),
         (100_000, 1, "balloon")]


def reference(kde, X):
    """Log densities by NumPy, with a factor for each source."""
    S, factors, h = kde.sources_, kde.local_factors_, np.broadcast_to(kde.bandwidth_, X.shape[1])
    terms = np.log(kde.source_weights_) - X.shape[1] * np.log(factors)
    out = np.empty(len(X))
    for i, x in enumerate(X):
        a = terms - 0.5 * (((x - S) / h / factors[:, np.newaxis]) ** 2).sum(axis=1)
        out[i] = a.max() + np.log(np.exp(a - a.max()).sum())
    return out - np.log(h).sum() - 0.5 * X.shape[1] * np.log(2 * np.pi)


def main():
    for n, d, adaptive in CASES:
        rng = np.random.default_rng(21)
        X, T = rng.normal(size=(n, d)), rng.normal(size=(n, d))
        T[:50] *= 10 + np.arange(50)[:, np.newaxis]
        some = np.append(np.arange(20), np.linspace(50, n - 1, 20).astype(int))
        rows = []
        for _ in range(3):
            times = [(time.perf_counter(), time.process_time())]
            kde = KernelDensity("scott", adaptive=adaptive).fit(X)
            times.append((time.perf_counter(), time.process_time()))
            found = kde.score_samples(T)
            times.append((time.perf_counter(), time.process_time()))
            rows.append(np.diff(times, axis=0))
        (fit, fit_cpu), (score, score_cpu) = np.median(rows, axis=0)
        error = "-"
        if hasattr(kde, "local_factors_"):
            error = f"{np.max(np.abs(found[some] - reference(kde, T[some]))):.0e}"
        print(f"{n:,} x {n:,}, d = {d}, {adaptive}: fit {fit:.2f} s (processor {fit_cpu:.2f} s), score_samples "
              f"{score:.2f} s (processor {score_cpu:.2f} s, {kde.explain(T).name}), error {error}", flush=True)


if __name__ == "__main__":
    main()
