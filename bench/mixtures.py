"""Gaussian mixtures: one EM iteration, whole fits at the defaults.

After the same number of plain EM steps every contender's parameters must agree with `reference.em`.
"""

import functools
from dataclasses import dataclass, replace

import numpy as np

from bench import reference, solvers
from bench.solvers import problem
from bench.timing import Contender, faster_blas, held_blas, seconds_per_iteration, timed

CHECK_ITERATIONS = 3
# above, plain NumPy is a reference only: scikit-learn's products are the better NumPy, and patience ends
PLAIN_FEATURES, PLAIN_COMPONENTS = 16, 64
# the others are given BLAS on one core or on all, whichever is faster
OWN_THREADS = ("gaussum", "gaussum float64", "oneDAL")
TARGET_SECONDS = 0.2  # the measured iterations should take about this long, but be 3 to 400
LONG_ITERATION, VERY_LONG = 0.5, 2.0  # seconds; of those one iteration is enough to measure, of these one round too
MANY = 200_000  # samples from which on a tenth of them shows how many threads of BLAS are faster
# rounds of differences: after two, one slow first iteration made scikit-learn look three times as fast as it is
ROUNDS, ROUNDS_LONG = 5, 3
REACHED = "log-likelihoods reached"
# what float32 may cost in parameters and mean log-likelihood; scikit-learn also sums in it, and loses 1e-3 and 2e-4 in
# a million samples
SINGLE, PEER_SINGLE = (1e-3, 1e-5), (1e-2, 1e-3)


@dataclass(frozen=True)
class EMCase:
    """Seconds of one plain EM iteration.

    With float32 data, gaussum takes part a second time on the same numbers in float64.
    """

    n: int
    d: int
    K: int
    covariance_type: str = "full"
    dtype: str = "float64"
    spacing: float | None = None

    @property
    def group(self):
        if self.dtype != "float64":
            return f"EM iteration, {self.dtype}"
        return "EM iteration" if self.spacing is None else "EM iteration, means on a grid"

    @property
    def name(self):
        suffix = "" if self.dtype == "float64" else f"-{self.dtype}"
        suffix += "" if self.spacing is None else f"-spacing{self.spacing:g}"
        return f"em-{self.n}x{self.d}-k{self.K}-{self.covariance_type}{suffix}"

    def shrunk(self):
        """The same case with fewer samples, for --quick."""
        n = max(self.n // 20, min(self.n, 4600))
        K = min(self.K, 64, max(2, n // (4 * self.d)))  # enough samples for every covariance matrix
        return replace(self, n=n, K=K)

    @property
    def operations(self):
        """Samples x components."""
        return self.n * self.K

    def data(self):
        """Samples and the parameters to start from."""
        return problem(self.n, self.d, self.K, self.covariance_type, self.dtype, self.spacing)

    def contenders(self, names, threads=None):
        """Every library that knows the covariance structure, all from the same start."""
        X, start = self.data()
        runs = self._runs(names, X, start, threads)
        trials = self._runs(names, X[: self.n // 10], start, threads) if self.n >= MANY else runs
        return {name: iteration_contender(run, name in OWN_THREADS, trials[name]) for name, run in runs.items()}

    def _runs(self, names, X, start, threads):
        """{name: function (iterations) -> Answer}"""
        runs = {}
        for name in names:
            if name in ("gaussum", "scikit-learn"):
                runs[name] = functools.partial(solvers.run_estimator, name, X, start, threads=threads)
            elif name == "oneDAL" and self.covariance_type in ("full", "diag"):
                runs[name] = functools.partial(solvers.run_onedal, X, start)
            elif name == "NumPy" and self.d <= PLAIN_FEATURES and self.K <= PLAIN_COMPONENTS:
                runs[name] = functools.partial(solvers.run_numpy, X, start)
        if "gaussum" in runs and X.dtype == np.float32:
            run = functools.partial(solvers.run_estimator, "gaussum", X.astype(float), start, threads=threads)
            runs["gaussum float64"] = run
        return runs

    @functools.lru_cache(maxsize=1)
    def _expected(self):
        """Parameters and log-likelihoods that every contender must reach after CHECK_ITERATIONS."""
        X, start = self.data()
        X = X.astype(float, copy=False)
        p, before = reference.em(X, start, CHECK_ITERATIONS)
        return p, before, np.mean(reference.log_density(X, p)), X.std(axis=0)

    def differences(self, name, answer):
        """Parameters in units of the data's standard deviation, mean log-likelihood as it is.

        float32 is held to the likelihood of its parameters, on the same numbers in float64.
        """
        expected, before, after, sd = self._expected()
        got, single = answer.parameters, self.dtype == "float32" and name not in ("gaussum float64", "NumPy")
        tolerance, allowed = (SINGLE if name == "gaussum" else PEER_SINGLE) if single else (1e-8, 0.0)
        shapes = {"full": np.outer(sd, sd), "tied": np.outer(sd, sd), "diag": sd**2}
        scale = shapes.get(self.covariance_type, np.mean(sd**2))
        scaled = {
            "weights": got.weights - expected.weights,
            "means": (got.means - expected.means) / sd,
            "covariances": (got.covariances - expected.covariances) / scale,
            "log-likelihoods": answer.log_likelihood - (after if answer.at_end else before),
            "iterations": answer.iterations - CHECK_ITERATIONS,
        }
        found = {what: (np.max(np.abs(value)), tolerance) for what, value in scaled.items()}
        if single:
            reached = np.mean(reference.log_density(self.data()[0], got))
            found[REACHED] = (abs(reached - after), allowed)
        return found


def iteration_contender(run, own_threads, trial=None):
    """Time single iterations of `run(iterations) -> Answer` by the difference of a short and a long run.

    `trial` does the same on samples enough to choose the threads of BLAS.
    """
    note, trial = {}, trial or run

    def warm():
        trial(1)  # loads libraries and starts threads
        if not own_threads:
            note["blas_threads"] = faster_blas(lambda: trial(CHECK_ITERATIONS))[0]
        with held_blas(note.get("blas_threads")):
            seconds, answer = timed(run, CHECK_ITERATIONS)
        step = seconds / CHECK_ITERATIONS
        note["iterations"] = int(np.clip(TARGET_SECONDS / step, 3, 400))
        if step > LONG_ITERATION:
            note["iterations"], contender.fewest = 1, ROUNDS_LONG if step < VERY_LONG else 1
        return answer

    def measure():
        with held_blas(note.get("blas_threads")):
            return seconds_per_iteration(lambda count: run(count).iterations, 1, 1 + note["iterations"]), None

    contender = Contender(warm, measure, fewest=ROUNDS, note=note)
    return contender


@dataclass(frozen=True)
class FitCase:
    """Seconds of a whole fit at each library's defaults, and the mean log-likelihood it reaches.

    gaussum must reach the likelihood that EM reaches from near the truth. The peers stop where their defaults
    say; the report shows how far they come.
    """

    n: int
    d: int
    K: int
    group = "whole fit"

    @property
    def name(self):
        return f"fit-{self.n}x{self.d}-k{self.K}"

    def shrunk(self):
        """The same case with fewer samples, for --quick."""
        return type(self)(max(self.n // 20, 4600), self.d, self.K)

    def contenders(self, names, threads=None):
        """Every library's whole fit, warmed on a few samples."""
        X, _ = problem(self.n, self.d, self.K, "full")
        small = np.ascontiguousarray(X[:: max(1, self.n // 2000)])
        contenders = {}
        for name in names:
            if name in solvers.FITS:
                run, note = functools.partial(solvers.FITS[name], K=self.K, threads=threads), {}
                few = X[: self.n // 10] if name not in OWN_THREADS else None
                warm = functools.partial(_warm_fit, run, small, few, note)
                contenders[name] = Contender(warm, functools.partial(_fit, run, X, note), note=note)
        return contenders

    @functools.lru_cache(maxsize=1)
    def _expected(self):
        """Mean log-likelihood after 30 EM steps from near the truth."""
        X, start = problem(self.n, self.d, self.K, "full")
        few = X[:: max(1, self.n // 50_000)]
        return np.mean(reference.log_density(X, reference.em(few, start, 30)[0]))

    def differences(self, name, answer):
        """How far the likelihood reached stays below the expected one; no peer is refused for that."""
        tolerance = 1e-3 if name == "gaussum" else np.inf
        return {"shortfall of the mean log-likelihood": (max(0.0, self._expected() - answer), tolerance)}


def _warm_fit(run, small, few, note):
    """Load everything; choose the threads of a peer's BLAS on a tenth of the samples."""
    run(small)
    if few is not None:
        note["blas_threads"] = faster_blas(lambda: run(few))[0]


def _fit(run, X, note):
    """Seconds and likelihood of one fit, which are noted too."""
    with held_blas(note.get("blas_threads")):
        seconds, (p, iterations, initialisation) = timed(run, X)
    reached = float(np.mean(reference.log_density(X, p)))
    note |= {"mean_log_likelihood": reached, "iterations": int(iterations)}
    if initialisation is not None:
        note["initialisation_share"] = initialisation
    return seconds, reached
