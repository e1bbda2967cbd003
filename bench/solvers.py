"""The data, and what each library is asked to do with them: so many plain EM steps, or a whole fit.

All start from the same weights, means and covariances, without regularisation and without a stopping rule, on
samples in C order.
"""

import functools
import math
import time
import warnings
from dataclasses import dataclass

import numpy as np

from bench import reference
from bench.reference import Parameters


@dataclass
class Answer:
    """Parameters after `iterations` steps and the mean log-likelihood that the library itself reports."""

    parameters: Parameters
    iterations: int
    log_likelihood: float
    at_end: bool = False  # log_likelihood belongs to `parameters`, not to those of one iteration before


@functools.lru_cache(maxsize=1)
def problem(n, d, K, covariance_type, dtype="float64", spacing=None):
    """Samples (n, d) from K Gaussians, and the parameters to start from.

    The Gaussians overlap; with a `spacing`, in standard deviations, their means lie about a square grid.
    """
    if (n, d, K) == (4600, 1, 4):  # the notebook's data
        rng = np.random.RandomState(2)
        X = np.concatenate([rng.normal(0, 2, 2000), rng.normal(5, 5, 2000), rng.normal(3, 0.5, 600)])[:, None]
        means = np.quantile(X, [0.2, 0.4, 0.6, 0.8])[:, None]
    else:
        rng = np.random.default_rng(20)
        if spacing is not None:
            centres = spacing * _grid(K, rng)
        else:
            centres = _circle(K) if d == 2 else rng.normal(size=(K, d)) * (4.0 if d == 1 else 2.5 / np.sqrt(d))
        scales = np.eye(d) * rng.uniform(0.7, 1.3, (K, 1, 1)) + rng.normal(size=(K, d, d)) * 0.3 / np.sqrt(d)
        labels = rng.integers(K, size=n)
        X = rng.normal(size=(n, d))
        for k in range(K):
            X[labels == k] = X[labels == k] @ scales[k] + centres[k]
        means = centres + 0.2 * rng.normal(size=(K, d)) / np.sqrt(d)
    variances = X.var(axis=0) * 0.5 if spacing is None else np.ones(d)
    covariances = {
        "full": lambda: np.tile(np.diag(variances), (K, 1, 1)),
        "tied": lambda: np.diag(variances),
        "diag": lambda: np.tile(variances, (K, 1)),
        "spherical": lambda: np.full(K, variances.mean()),
    }[covariance_type]()
    start = Parameters(covariance_type, np.full(K, 1.0 / K), means, covariances)
    return np.ascontiguousarray(X, dtype=dtype), start


def _circle(K):
    angle = 2 * np.pi * np.arange(K) / K
    return (0.5 + 0.55 * K) * np.column_stack([np.cos(angle), np.sin(angle)])


def _grid(K, rng):
    """K points of the plane, one apart, each moved by up to a tenth."""
    side = math.ceil(math.sqrt(K))
    return np.column_stack(np.divmod(np.arange(K), side)) + rng.uniform(-0.1, 0.1, (K, 2))


def estimator(name, p, iterations, threads, dtype="float64"):
    """An unfitted GaussianMixture of gaussum or scikit-learn that will do so many plain EM steps from `p`."""
    params = dict(
        n_components=len(p.weights),
        covariance_type=p.covariance_type,
        tol=0.0,
        reg_covar=0.0,
        max_iter=iterations,
        weights_init=p.weights,
        means_init=p.means,
        precisions_init=p.precisions,
    )
    if name == "gaussum":
        from gaussum import GaussianMixture

        return GaussianMixture(**params, accelerate=False, n_threads=threads)
    from sklearn.mixture import GaussianMixture

    for key in ("weights_init", "means_init", "precisions_init"):  # of another type, they would slow the first step
        params[key] = params[key].astype(dtype)
    return GaussianMixture(**params)


def run_estimator(name, X, start, iterations, threads):
    """Fit and return the Answer."""
    model = estimator(name, start, iterations, threads, X.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ConvergenceWarning: ending at max_iter is what is asked for
        model.fit(X)
    p = Parameters(start.covariance_type, model.weights_, model.means_, model.covariances_)
    return Answer(p, model.n_iter_, model.lower_bound_, at_end=name == "gaussum")


def run_onedal(X, start, iterations):
    """The same steps by oneDAL's EM, which reports the log-likelihood before its last M-step."""
    import daal4py

    K, d = start.means.shape
    model = daal4py.em_gmm(
        K,
        fptype="float" if X.dtype == np.float32 else "double",
        maxIterations=iterations,
        accuracyThreshold=0.0,
        covarianceStorage="full" if start.covariance_type == "full" else "diagonal",
    )
    weights, means = start.weights[None].astype(X.dtype), start.means.astype(X.dtype)
    covariances = [np.ascontiguousarray(c.reshape(-1, d), dtype=X.dtype) for c in start.covariances]
    fit = model.compute(X, weights, means, covariances)
    p = Parameters(
        start.covariance_type,
        np.ravel(fit.weights),
        fit.means,
        np.stack(fit.covariances).reshape(start.covariances.shape),
    )
    return Answer(p, int(fit.nIterations[0, 0]), float(fit.goalFunction[0, 0]) / len(X))


def run_numpy(X, start, iterations):
    """The same steps in NumPy."""
    p, log_likelihood = reference.em(X, start, iterations)
    return Answer(p, iterations, log_likelihood)


def fit_gaussum(X, K, threads=None):
    """gaussum at its defaults -> parameters, iterations, the share of the time that passed before the first."""
    from gaussum import GaussianMixture

    times = [time.perf_counter()]

    def callback(iteration, objective):
        times.append(time.perf_counter())

    p, iterations, _ = _fitted(GaussianMixture(K, random_state=0, n_threads=threads), X, callback=callback)
    iteration = (times[-1] - times[1]) / max(1, len(times) - 2)
    return p, iterations, max(0.0, times[1] - times[0] - iteration) / (times[-1] - times[0])


def fit_sklearn(X, K, threads=None):
    """scikit-learn at its defaults."""
    from sklearn.mixture import GaussianMixture

    return _fitted(GaussianMixture(K, random_state=0), X)


def _fitted(model, X, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, **options)
    return Parameters("full", model.weights_, model.means_, model.covariances_), model.n_iter_, None


def fit_onedal(X, K, threads=None):
    """oneDAL at its defaults, its own initialisation included."""
    import daal4py

    start = daal4py.em_gmm_init(K, covarianceStorage="full").compute(X)
    model = daal4py.em_gmm(K, covarianceStorage="full")
    fit = model.compute(X, start.weights, start.means, start.covariances)
    p = Parameters("full", np.ravel(fit.weights), fit.means, np.stack(fit.covariances))
    return p, fit.nIterations[0, 0], None


FITS = {"gaussum": fit_gaussum, "scikit-learn": fit_sklearn, "oneDAL": fit_onedal}
