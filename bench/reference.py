"""EM for Gaussian mixtures and Gaussian sums in plain NumPy and SciPy: the yardstick, and a contender itself.

Blocks of samples keep every array small enough for the cache and the memory small; BLAS does the products.
"""

import functools
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

BLOCK = 8192


@dataclass
class Parameters:
    """weights (K,), means (K, d), covariances (K, d, d) | (d, d) | (K, d) | (K,) by `covariance_type`."""

    covariance_type: str
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @functools.cached_property  # so that no contender is timed while inverting
    def precisions(self):
        """Inverse covariances in the same shape."""
        if self.covariance_type in ("full", "tied"):
            return np.linalg.inv(self.covariances)
        return 1.0 / self.covariances


def full_covariances(p):
    """(K, d, d) covariances, or (K, d) variances where the structure has no correlations."""
    K, d = p.means.shape
    if p.covariance_type == "tied":
        return np.broadcast_to(p.covariances, (K, d, d))
    if p.covariance_type == "spherical":
        return np.repeat(p.covariances[:, None], d, axis=1)
    return p.covariances


def whitening(p):
    """(K, d, d) or (K, d) factors W with y = (x - mean) W standard normal, and log sqrt det W W^T."""
    covariances = full_covariances(p)
    if covariances.ndim == 2:
        return 1.0 / np.sqrt(covariances), -0.5 * np.log(covariances).sum(axis=1)
    factors = np.linalg.cholesky(covariances)
    eye = np.eye(p.means.shape[1])
    W = np.stack([solve_triangular(L, eye, lower=True).T for L in factors])
    return W, np.log(np.einsum("kjj->kj", W)).sum(axis=1)


def log_joint(X, p, W, log_det):
    """log w_k N(x_i; m_k, S_k), shape (K, n)."""
    out = np.empty((len(p.means), len(X)))
    for k, mean in enumerate(p.means):
        Y = X - mean
        Y = Y @ W[k] if W[k].ndim == 2 else Y * W[k]
        np.einsum("ij,ij->i", Y, Y, out=out[k])
    out *= -0.5
    out += (np.log(p.weights) + log_det - 0.5 * X.shape[1] * np.log(2 * np.pi))[:, None]
    return out


def log_sum_exp(a):
    """log sum_k exp a_ki, shape (n,)."""
    top = a.max(axis=0)
    return np.log(np.exp(a - top).sum(axis=0)) + top


def log_density(X, p):
    """Log density of the mixture at every sample, shape (n,)."""
    return _by_blocks(log_sum_exp, X, p)


def labels(X, p):
    """The component that holds most of every sample, shape (n,)."""
    return _by_blocks(lambda log_prob: log_prob.argmax(axis=0), X, p)


def responsibilities(X, p):
    """How much of every sample each component holds, shape (n, K)."""
    return _by_blocks(lambda log_prob: np.exp(log_prob - log_sum_exp(log_prob)).T, X, p)


def _by_blocks(function, X, p):
    """function(log w_k N(x_i; m_k, S_k), shape (K, rows)) of all blocks, one after the other."""
    W, log_det = whitening(p)
    blocks = (X[i : i + BLOCK] for i in range(0, len(X), BLOCK))
    return np.concatenate([function(log_joint(block, p, W, log_det)) for block in blocks])


def em(X, p, iterations):
    """Plain EM: one E-step and one M-step an iteration (Dempster, Laird and Rubin 1977).

    Returns the parameters and the mean log-likelihood under those of one iteration before.
    """
    for _ in range(iterations):
        p, log_likelihood = em_step(X, p)
    return p, log_likelihood


def em_step(X, p):
    """One E-step and one M-step; second moments are about the means before the step, so nothing cancels."""
    K, d = p.means.shape
    W, log_det = whitening(p)
    correlated = p.covariance_type in ("full", "tied")
    total, nk, first = 0.0, np.zeros(K), np.zeros((K, d))
    second = np.zeros((K, d, d) if correlated else (K, d))
    for i in range(0, len(X), BLOCK):
        block = X[i : i + BLOCK]
        resp = log_joint(block, p, W, log_det)
        norm = log_sum_exp(resp)
        total += norm.sum()
        resp = np.exp(resp - norm)
        nk += resp.sum(axis=1)
        for k, mean in enumerate(p.means):
            Y = block - mean
            first[k] += resp[k] @ Y
            second[k] += (Y * resp[k][:, None]).T @ Y if correlated else resp[k] @ (Y * Y)
    shift = first / nk[:, None]
    if correlated:
        covariances = second / nk[:, None, None] - shift[:, :, None] * shift[:, None, :]
    else:
        covariances = second / nk[:, None] - shift**2
    if p.covariance_type == "tied":
        covariances = np.tensordot(nk, covariances, axes=1) / len(X)
    if p.covariance_type == "spherical":
        covariances = covariances.mean(axis=1)
    return Parameters(p.covariance_type, nk / len(X), p.means + shift, covariances), total / len(X)


def kernel_log_density(sources, targets, bandwidth):
    """Log of the kernel density estimate at every target, shape (m,); squares by one matrix product."""
    n, d = sources.shape
    centre = sources.mean(axis=0)  # near the origin the expanded square loses least
    Y, T = (sources - centre) / bandwidth, (targets - centre) / bandwidth
    half = 0.5 * np.einsum("ij,ij->i", Y, Y)
    rows = max(1, 2**20 // n)
    out = np.empty(len(T))
    for i in range(0, len(T), rows):
        block = T[i : i + rows]
        logs = block @ Y.T - half  # (rows, n)
        top = logs.max(axis=1)
        logs -= top[:, None]
        np.exp(logs, out=logs)
        out[i : i + rows] = np.log(logs.sum(axis=1)) + top - 0.5 * (block**2).sum(axis=1)
    return out - np.log(n) - d * np.log(bandwidth * np.sqrt(2 * np.pi))
