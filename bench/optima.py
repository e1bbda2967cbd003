"""How good the optima are that whole fits at the defaults end in, and how long they take: ``--cases optima``.

The best known mean log-likelihoods are in `optima.json`, from a long search: ``python -m bench.optima SECONDS`` goes on
with it, for so many seconds a problem. What a contender finds above them counts too. The likelihood of a mixture is
unbounded, and its highest maxima often have a component on a few samples (spurious optima): so every
problem has two best values, over all maxima and over those without such a component (`gaussum.spurious`).
"""

import functools
import json
import sys
import warnings
from importlib import resources
from pathlib import Path

import numpy as np

from bench.solvers import problem
from bench.timing import Result, held_blas, timed

KNOWN = Path(__file__).with_name("optima.json")
NEAR = 1e-3  # of the best known mean log-likelihood
SEEDS = 3
CONTENDERS = ("gaussum", "scikit-learn")
SEARCH = ("auto", "small-em", "k-means++", "random_from_data", "auto", "whitened", "random_from_data", "hierarchical")


class OptimaCase:
    """Whole fits of many small problems at each library's defaults."""

    group = "optima"
    name = "optima"

    def __init__(self, seeds=SEEDS, every=1):
        self.seeds, self.every = seeds, every

    def shrunk(self):
        return OptimaCase(seeds=1, every=6)

    def run(self, names, repeats, threads=None):
        """Return a Result with notes {contender: {set of problems: what it reached there}}."""
        result = Result(self.name, self.group)
        known = json.loads(KNOWN.read_text())
        found = {name: {} for name in CONTENDERS if name in names}
        for name, fits in found.items():
            for key, X, K, structure in problems()[:: self.every]:
                # small problems: the peer's BLAS is faster on one thread
                with held_blas(None if name == "gaussum" else 1):
                    fits[key] = [fit(name, X, K, structure, seed, threads) for seed in range(self.seeds)]
        for fits in found.values():
            for key, outcomes in fits.items():
                for _, reached, spurious in outcomes:
                    _note(known, key, reached, spurious)
        for name, fits in found.items():
            result.notes[name] = _summary(fits, known)
        return result


def fit(name, X, K, structure, seed, threads=None, **options):
    """Seconds of a fit at the defaults, its mean log-likelihood, and whether it is a spurious optimum."""
    if name == "gaussum":
        from gaussum import GaussianMixture

        options["n_threads"] = threads
    else:
        from sklearn.mixture import GaussianMixture
    mixture = GaussianMixture(K, covariance_type=structure, random_state=seed, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds, _ = timed(mixture.fit, X)
    return seconds, float(mixture.score(X)), _is_spurious(mixture, structure, len(X))


def _is_spurious(mixture, structure, n):
    try:
        from gaussum.parameters import MixtureParameters
        from gaussum.spurious import spurious_components
    except ImportError:
        return False
    arrays = mixture.weights_, mixture.means_, mixture.precisions_cholesky_
    parameters = MixtureParameters.from_precisions_chol(structure, *map(np.ascontiguousarray, arrays))
    return bool(spurious_components(parameters, n))


def _note(known, key, reached, spurious):
    best = known.setdefault(key, {})
    for which in ("any",) if spurious else ("any", "sound"):
        best[which] = max(best.get(which, -np.inf), reached)


def _summary(fits, known):
    """For every set of problems: fits, parts of them near the best of both kinds, with spurious; milliseconds."""
    groups = {}
    for key, outcomes in fits.items():
        best = known[key]
        for group in (key.split()[0], "all"):
            rows = groups.setdefault(group, [])
            for seconds, reached, spurious in outcomes:
                sound = not spurious and reached >= best.get("sound", np.inf) - NEAR
                rows.append((sound, reached >= best["any"] - NEAR, spurious, 1e3 * seconds))
    columns = ("sound", "any", "spurious", "milliseconds")
    return {
        group: {"fits": len(rows)} | dict(zip(columns, np.mean(rows, axis=0).tolist()))
        for group, rows in groups.items()
    }


@functools.lru_cache(maxsize=1)
def problems():
    """(name, X, n_components, covariance_type): real data, the notebook's and simulated mixtures."""
    sets = {"faithful": _shipped("faithful"), "galaxies": _shipped("galaxies").reshape(-1, 1)}
    sets |= {"diabetes": _csv(Path(__file__).parent.parent / "tests" / "data" / "diabetes.csv")}
    sets |= {"notebook": problem(4600, 1, 4, "full")[0]}
    found = []
    for name, X in sets.items():
        for structure in ("full", "diag") if X.shape[1] > 1 else ("full",):
            found += [(f"{name} K={K} {structure}", X, K, structure) for K in range(2, 10)]
    seed = 0
    for d in (2, 3, 5, 10):
        for K in (3, 5, 8):
            for n in (max(300, 20 * K * d), 2000):
                seed += 1
                structure = "diag" if seed % 6 == 0 else "full"
                found.append((f"simulated {seed}: {n}x{d} K={K} {structure}", mixture(seed, n, d, K), K, structure))
    for n, d, K in ((20_000, 2, 8), (20_000, 5, 6)):
        seed += 1
        found.append((f"simulated {seed}: {n}x{d} K={K} full", mixture(seed, n, d, K), K, "full"))
    return found


def mixture(seed, n, d, K):
    """Samples (n, d) of elongated, overlapping Gaussians of unequal sizes, in odd units."""
    rng = np.random.default_rng(seed)
    gap, elongation = (2.0, 2.75, 4.0)[seed % 3], (3.0, 10.0, 25.0)[seed // 3 % 3]
    weights = np.maximum(rng.dirichlet(np.full(K, 2.0)), 0.03)
    labels = rng.choice(K, n, p=weights / weights.sum())
    means = gap * rng.normal(size=(K, d))
    X = rng.normal(size=(n, d))
    for k in range(K):
        axes, _ = np.linalg.qr(rng.normal(size=(d, d)))
        lengths = elongation ** rng.uniform(-0.5, 0.5, d) * rng.uniform(0.6, 1.6)
        X[labels == k] = means[k] + (X[labels == k] * lengths) @ axes.T
    return X * np.exp(rng.uniform(-3, 3, d))


def _shipped(name):
    return _csv(resources.files("gaussum") / "data" / f"{name}.csv")


def _csv(path):
    return np.genfromtxt(path, delimiter=",", skip_header=1)


def search(seconds):
    """Go on with the search for the best optima, from where the file is, for so many seconds a problem."""
    known = json.loads(KNOWN.read_text()) if KNOWN.exists() else {}
    for key, X, K, structure in problems():
        spent, best = 0.0, known.setdefault(key, {})
        number = best.setdefault("fits", 0)
        while spent < seconds:
            options = {"init_params": SEARCH[number % len(SEARCH)], "max_iter": 1000}
            took, reached, spurious = fit("gaussum", X, K, structure, 1000 + number, 1, **options)
            _note(known, key, reached, spurious)
            spent, number = spent + took, number + 1
        best["fits"] = number
    KNOWN.write_text(json.dumps(known, indent=1))


if __name__ == "__main__":
    search(float(sys.argv[1]))
