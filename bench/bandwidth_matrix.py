"""Bandwidth selectors in several dimensions by their error: ``python -m bench.bandwidth_matrix [n ...]``.

The integrated squared error of a kernel density estimate has a closed form where the density is a mixture of Gaussians.
The densities are the twelve of Wand and Jones (Comparison of smoothing parameterizations in bivariate kernel density
estimation, Journal of the American Statistical Association 88, 1993, 520, table 1) and four in three dimensions.
Printed is the mean error of every selector over samples of n, in units of the least mean in its row.
"""

import sys
import time

import numpy as np
from scipy.stats import multivariate_normal

from gaussum import KernelDensity
from gaussum.bandwidth import lcv_matrix, lscv_matrix, plug_in, scott, scott_matrix

CONTENDERS = {
    "scott": scott,
    "scott_matrix": scott_matrix,
    "plug_in": plug_in,
    "plug_in, diagonal": lambda X: plug_in(X, diagonal=True),
    "lscv": lscv_matrix,
    "lscv, diagonal": lambda X: lscv_matrix(X, diagonal=True),
    "lcv": lcv_matrix,
}


def _of(*components):
    """Weights, means and covariances of components given as weight, mean, standard deviations and correlation."""
    w, m, C = [], [], []
    for weight, mean, s, rho in components:
        w.append(weight)
        m.append(mean)
        C.append([[s[0] ** 2, rho * s[0] * s[1]], [rho * s[0] * s[1], s[1] ** 2]])
    return np.array(w, dtype=float) / sum(w), np.array(m, dtype=float), np.array(C, dtype=float)


def _turned(*angles):
    """A rotation in three dimensions."""
    R = np.eye(3)
    for (a, b), angle in zip(((0, 1), (1, 2), (0, 2)), angles):
        G = np.eye(3)
        G[a, a] = G[b, b] = np.cos(angle)
        G[a, b], G[b, a] = -np.sin(angle), np.sin(angle)
        R = R @ G
    return R


def _shaped(s, *angles):
    R = _turned(*angles)
    return (R * np.square(s)) @ R.T


T, H, F = (2 / 3, 2 / 3), (3 / 5, 3 / 5), (3 / 5, 7 / 10)
DENSITIES = {
    "uncorrelated normal": _of((1, (0, 0), (1 / 2, 1), 0)),
    "correlated normal": _of((1, (0, 0), (1, 1), 0.7)),
    "skewed": _of((1, (0, 0), (1, 1), 0), (1, (1 / 2, 1 / 2), T, 0), (3, (13 / 12, 13 / 12), (5 / 9, 5 / 9), 0)),
    "kurtotic": _of((2, (0, 0), (1, 2), 0.5), (1, (0, 0), (2 / 3, 1 / 3), -0.5)),
    "bimodal I": _of((1, (-1, 0), T, 0), (1, (1, 0), T, 0)),
    "bimodal II": _of((1, (-3 / 2, 0), (1 / 4, 1), 0), (1, (3 / 2, 0), (1 / 4, 1), 0)),
    "bimodal III": _of((1, (-1, 1), T, 0.6), (1, (1, -1), T, 0.6)),
    "bimodal IV": _of((1, (1, -1), T, 0.7), (1, (-1, 1), T, 0)),
    "trimodal I": _of((9, (-6 / 5, 6 / 5), H, 0.3), (9, (6 / 5, -6 / 5), H, -0.6), (2, (0, 0), (1 / 4, 1 / 4), 0.2)),
    "trimodal II": _of((1, (-6 / 5, 0), H, 0.7), (1, (6 / 5, 0), H, 0.7), (1, (0, 0), H, -0.7)),
    "trimodal III": _of((3, (-1, 0), F, 0.6), (3, (1, 2 / 3**0.5), F, 0), (1, (1, -2 / 3**0.5), F, 0)),
    "quadrimodal": _of((1, (-1, 1), T, 0.4), (3, (-1, -1), T, 0.6), (1, (1, -1), T, -0.7), (3, (1, 1), T, -0.5)),
    "3-D elongated normal": (np.ones(1), np.zeros((1, 3)), _shaped((1, 0.5, 0.1), 0.5, 0.8, 0.3)[np.newaxis]),
    "3-D kurtotic": (np.array([2, 1]) / 3, np.zeros((2, 3)), np.stack([_shaped((1, 1.5, 2), 0.4, 0.9, 0.0),
                                                                    _shaped((0.5, 0.4, 0.2), 0.0, 0.5, 0.9)])),
    "3-D bimodal": (np.ones(2) / 2, np.array([[-1.5, -1.5, 0], [1.5, 1.5, 0]]),
                    np.stack([_shaped((0.8, 0.5, 0.5), 0.6, 0.0, 0.3), _shaped((0.5, 0.5, 0.8), 0.0, 0.7, 0.2)])),
    "3-D trimodal": (np.array([2, 2, 1]) / 5, np.array([[-1.2, 0, 0], [1.2, 0.5, 0], [0, -1, 1.5]]),
                     np.stack([_shaped((0.8, 0.3, 0.5), 0.9, 0.2, 0.0), _shaped((0.3, 0.8, 0.5), 0.3, 0.4, 0.1),
                               _shaped((0.3, 0.3, 0.3))])),
}


def drawn(density, n, rng):
    """Samples of a mixture, shape (n, d)."""
    weights, means, covariances = density
    k = rng.choice(len(weights), n, p=weights)
    roots = np.linalg.cholesky(covariances)
    return means[k] + np.einsum("nij,nj->ni", roots[k], rng.standard_normal((n, means.shape[1])))


def squared_error(density, X, H):
    """int (f_H - f)^2 of the kernel density of samples X, exactly."""
    weights, means, covariances = density
    H = np.diag(np.square(H)) if np.ndim(H) == 1 else H
    own = np.exp(KernelDensity(2.0 * H, rtol=1e-9).fit(X).score_samples(X)).mean()
    cross = sum(w * multivariate_normal(m, C + H).pdf(X).mean() for w, m, C in zip(weights, means, covariances))
    true = sum(
        w * v * multivariate_normal(m, C + D).pdf(q)
        for w, m, C in zip(weights, means, covariances) for v, q, D in zip(weights, means, covariances)
    )
    return own - 2.0 * cross + true


def compared(n, repeats, contenders=CONTENDERS, densities=DENSITIES):
    """Mean errors, shape (n_densities, n_contenders), and seconds of each contender together."""
    errors, seconds = np.zeros((len(densities), len(contenders))), np.zeros(len(contenders))
    for i, density in enumerate(densities.values()):
        rng = np.random.default_rng([n, i])
        for _ in range(repeats):
            X = drawn(density, n, rng)
            for k, selector in enumerate(contenders.values()):
                start = time.perf_counter()
                H = selector(X)
                seconds[k] += time.perf_counter() - start
                errors[i, k] += squared_error(density, X, H) / repeats
    return errors, seconds


def main(sizes, repeats=20):
    for n in sizes:
        errors, seconds = compared(n, repeats)
        ratios = errors / errors.min(axis=1, keepdims=True)
        print(f"\nn = {n}, {repeats} samples each\n")
        print("| density | " + " | ".join(CONTENDERS) + " |\n|---|" + "--:|" * len(CONTENDERS))
        means = {f"{d}-D, geometric mean": np.exp(np.log(ratios[rows]).mean(axis=0))
                 for d, rows in ((2, slice(12)), (3, slice(12, None)))}
        for name, row in [*zip(DENSITIES, ratios), *means.items()]:
            print(f"| {name} | " + " | ".join(f"{v:.2f}" for v in row) + " |")
        print("| ms a sample | " + " | ".join(f"{1e3 * s / repeats / len(DENSITIES):.3g}" for s in seconds) + " |")


if __name__ == "__main__":
    main([int(n) for n in sys.argv[1:]] or [200, 1000])
