"""Choosing the number of components by BIC: the notebook's samples, 1 to 9 components."""

import functools
import warnings
from dataclasses import dataclass

import numpy as np

from bench import reference, solvers
from bench.timing import Contender, timed

NUMBERS = range(1, 10)
TRUE_COMPONENTS = 3
# The total log-likelihood of the best known optimum with so many.
BEST_KNOWN = -12802.841


@dataclass(frozen=True)
class SelectionCase:
    """Seconds from the samples to the choice, at a tolerance of 1e-8.

    gaussum makes five starts of every fit, and `tol` bounds what is still to gain. scikit-learn makes one, and stops
    when an iteration gains less, or after 10,000 of them. gaussum must choose the number of components that made the
    samples, at the best known likelihood.
    """

    patient: bool = True  # for scikit-learn's twenty seconds
    group = "selection"
    name = "selection-4600x1-k1to9"

    def shrunk(self):
        """gaussum alone."""
        return type(self)(patient=False)

    def contenders(self, names, threads=None):
        """The libraries that fit mixtures to a tolerance."""
        X, _ = solvers.problem(4600, 1, 4, "full")
        runs = {"gaussum": _select_gaussum, "scikit-learn": _select_sklearn}
        contenders = {}
        for name in names:
            if name in runs and (name == "gaussum" or self.patient):
                run, note = functools.partial(runs[name], threads=threads), {}
                warm = functools.partial(_warm, run, X[::100])
                contenders[name] = Contender(warm, functools.partial(_measure, run, X, note), note=note)
        return contenders

    def differences(self, name, answer):
        """Of gaussum's choice and likelihood; no peer is refused for its own."""
        chosen, total = answer
        tolerances = (0.0, 1e-2) if name == "gaussum" else (np.inf, np.inf)
        found = {
            "components chosen": abs(chosen - TRUE_COMPONENTS),
            "shortfall of the log-likelihood": max(0.0, BEST_KNOWN - total),
        }
        return {what: (value, limit) for (what, value), limit in zip(found.items(), tolerances)}


def _select_gaussum(X, numbers, threads):
    from gaussum import select_mixture

    result = select_mixture(X, numbers, n_init=5, tol=1e-8, random_state=0, n_threads=threads)
    return result.best_.n_components, {row["n_components"]: result.models[i] for i, row in enumerate(result.table)}


def _select_sklearn(X, numbers, threads):
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that have not converged
        models = {K: GaussianMixture(K, tol=1e-8, max_iter=10_000, random_state=0).fit(X) for K in numbers}
    return min(models, key=lambda K: models[K].bic(X)), models


def _warm(run, few):
    run(few, range(1, 3))


def _measure(run, X, note):
    """Seconds, and the choice with the total log-likelihood of three components, by the reference."""
    seconds, (chosen, models) = timed(run, X, NUMBERS)
    model = models[TRUE_COMPONENTS]
    p = reference.Parameters("full", model.weights_, model.means_, model.covariances_)
    note |= {"chosen": int(chosen), "iterations": int(sum(m.n_iter_ for m in models.values()))}
    return seconds, (chosen, float(np.sum(reference.log_density(X, p))))
