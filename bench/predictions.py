"""Predictions of a fitted mixture: log densities, labels and responsibilities of n samples."""

import functools
import warnings
from dataclasses import dataclass, replace

import numpy as np

from bench import reference, solvers
from bench.mixtures import OWN_THREADS
from bench.solvers import problem
from bench.timing import Contender, faster_blas, held_blas, timed

# method: its reference, and the name in the report
METHODS = {
    "score_samples": (reference.log_density, "score"),
    "predict": (reference.labels, "predict"),
    "predict_proba": (reference.responsibilities, "predict_proba"),
}
FITTED_SAMPLES = 20_000


@dataclass(frozen=True)
class PredictionCase:
    """Seconds of one method on n samples, under a mixture one EM step from the start."""

    n: int
    d: int
    K: int
    method: str = "score_samples"
    covariance_type: str = "full"
    group = "prediction"

    @property
    def name(self):
        return f"{METHODS[self.method][1]}-{self.n}x{self.d}-k{self.K}-{self.covariance_type}"

    def shrunk(self):
        """The same case with fewer samples, for --quick."""
        return replace(self, n=max(self.n // 20, 5000))

    def contenders(self, names, threads=None):
        """Every library's method, after one EM step on the first samples."""
        X, start = problem(self.n, self.d, self.K, self.covariance_type)
        contenders = {}
        for name in names:
            if name in ("gaussum", "scikit-learn"):
                model = solvers.estimator(name, start, 1, threads)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model.fit(X[:FITTED_SAMPLES])
                predict = getattr(model, self.method)
            elif name == "NumPy":
                predict = functools.partial(METHODS[self.method][0], p=self._fitted())
            else:
                continue
            contenders[name] = _contender(predict, X, name in OWN_THREADS)
        return contenders

    def _fitted(self):
        X, start = problem(self.n, self.d, self.K, self.covariance_type)
        return reference.em(X[:FITTED_SAMPLES], start, 1)[0]

    @functools.lru_cache(maxsize=1)
    def _expected(self):
        """Log densities, or for labels and responsibilities the latter."""
        X, _ = problem(self.n, self.d, self.K, self.covariance_type)
        scored = self.method == "score_samples"
        return (reference.log_density if scored else reference.responsibilities)(X, self._fitted())

    def differences(self, name, answer):
        """Largest differences; of labels, how much less of a sample they hold than the best component does."""
        expected = self._expected()
        if self.method == "predict":
            held = np.take_along_axis(expected, np.asarray(answer)[:, None], axis=1)[:, 0]
            return {"labels": (np.max(expected.max(axis=1) - held), 1e-8)}
        what = "log densities" if self.method == "score_samples" else "responsibilities"
        return {what: (np.max(np.abs(answer - expected)), 1e-8)}


def _contender(predict, X, own_threads):
    """Time `predict(X)`; every answer is checked."""
    note = {}

    def warm():
        if own_threads:
            return predict(X)
        note["blas_threads"], _, answer = faster_blas(lambda: predict(X))
        return answer

    def measure():
        with held_blas(note.get("blas_threads")):
            return timed(predict, X)

    return Contender(warm, measure, note=note)
