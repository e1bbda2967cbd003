"""Bandwidth selectors on Marron and Wand's fifteen normal mixtures: ``python -m bench.marron_wand [REPLICATES]``.

For every density and sample size, the integrated squared error of the kernel density at the selected bandwidth over the
least that any bandwidth has on the same sample. Errors have a closed form: with samples x_i and components k,

    int (f_h - f)^2 = 1/n^2 sum_ij N(x_i - x_j; 0, 2 h^2) - 2/n sum_ik p_k N(x_i; m_k, s_k^2 + h^2) + int f^2

(Marron and Wand, Exact mean integrated squared error, Annals of Statistics 20, 1992, 712-736, table 1).
"""

import argparse
import math
import warnings

import numpy as np
from scipy.optimize import minimize_scalar

SIZES = (100, 1_000, 10_000)
_SQRT_2PI = math.sqrt(2.0 * math.pi)


def _equal(n, means, sds):
    return [(1.0 / n, m, s) for m, s in zip(means, np.broadcast_to(sds, n))]


# (weight, mean, standard deviation) of every component
DENSITIES = {
    "Gaussian": [(1.0, 0.0, 1.0)],
    "skewed unimodal": [(1 / 5, 0.0, 1.0), (1 / 5, 1 / 2, 2 / 3), (3 / 5, 13 / 12, 5 / 9)],
    "strongly skewed": [(1 / 8, 3 * ((2 / 3) ** k - 1), (2 / 3) ** k) for k in range(8)],
    "kurtotic unimodal": [(2 / 3, 0.0, 1.0), (1 / 3, 0.0, 1 / 10)],
    "outlier": [(1 / 10, 0.0, 1.0), (9 / 10, 0.0, 1 / 10)],
    "bimodal": [(1 / 2, -1.0, 2 / 3), (1 / 2, 1.0, 2 / 3)],
    "separated bimodal": [(1 / 2, -3 / 2, 1 / 2), (1 / 2, 3 / 2, 1 / 2)],
    "skewed bimodal": [(3 / 4, 0.0, 1.0), (1 / 4, 3 / 2, 1 / 3)],
    "trimodal": [(9 / 20, -6 / 5, 3 / 5), (9 / 20, 6 / 5, 3 / 5), (1 / 10, 0.0, 1 / 4)],
    "claw": [(1 / 2, 0.0, 1.0)] + [(1 / 10, k / 2 - 1, 1 / 10) for k in range(5)],
    "double claw": [(49 / 100, -1.0, 2 / 3), (49 / 100, 1.0, 2 / 3)]
    + [(1 / 350, (k - 3) / 2, 1 / 100) for k in range(7)],
    "asymmetric claw": [(1 / 2, 0.0, 1.0)] + [(2.0 ** (1 - k) / 31, k + 1 / 2, 2.0**-k / 10) for k in range(-2, 3)],
    "asymmetric double claw": [(46 / 100, 2.0 * k - 1, 2 / 3) for k in range(2)]
    + [(1 / 300, -k / 2, 1 / 100) for k in range(1, 4)] + [(7 / 300, k / 2, 7 / 100) for k in range(1, 4)],
    "smooth comb": [(2.0 ** (5 - k) / 63, (65 - 96 * 0.5**k) / 21, 32 / 63 / 2.0**k) for k in range(6)],
    "discrete comb": [(2 / 7, (12 * k - 15) / 7, 2 / 7) for k in range(3)]
    + [(1 / 21, 2 * k / 7, 1 / 21) for k in range(8, 11)],
}


def draw(components, n, rng):
    """Samples of a mixture, shape (n,)."""
    p, m, s = np.array(components).T
    k = rng.choice(len(p), size=n, p=p)
    return rng.normal(m[k], s[k])


def density(components, x):
    """The mixture's density."""
    p, m, s = np.array(components).T
    return (p / s * np.exp(-0.5 * ((x[:, np.newaxis] - m) / s) ** 2)).sum(axis=1) / _SQRT_2PI


class SquaredError:
    """The integrated squared error of one sample's kernel density, as a function of its bandwidth."""

    def __init__(self, components, x):
        from gaussum.binned import Functionals

        self._x, self._components = np.sort(x), np.array(components)
        self._pairs = Functionals(self._x, np.full(len(x), 1.0 / len(x)), 1e-3)
        p, m, s = self._components.T
        variance = s[:, np.newaxis] ** 2 + s**2
        self._own = float(p @ _normal(m[:, np.newaxis] - m, variance) @ p)

    def __call__(self, h):
        cross = sum(p * _normal(self._x - m, s * s + h * h).mean() for p, m, s in self._components)
        return self._pairs.roughness(0, math.sqrt(2.0) * h) - 2.0 * cross + self._own

    def least(self):
        """The bandwidth of least error, and that error: the best of a ladder, refined."""
        ladder = np.geomspace(3e-3, 2.0, 40)
        errors = [self(h) for h in ladder]
        i = int(np.clip(np.argmin(errors), 1, len(ladder) - 2))
        found = minimize_scalar(lambda u: self(math.exp(u)), bounds=np.log(ladder[[i - 1, i + 1]]), method="bounded")
        return math.exp(found.x), float(found.fun)


def _normal(x, variance):
    return np.exp(-0.5 * x * x / variance) / (_SQRT_2PI * np.sqrt(variance))


def selectors():
    """Name -> bandwidth of samples; those of other libraries where they are installed."""
    from gaussum import bandwidth

    names = [name for name in bandwidth.SELECTORS if name not in ("improved_sheather_jones", "sj")]
    found = {name: lambda x, rule=bandwidth.SELECTORS[name]: float(rule(x)[0]) for name in names}
    found["scikit-learn 'scott'"] = lambda x: len(x) ** -0.2
    try:
        from KDEpy.bw_selection import improved_sheather_jones
    except ImportError:
        return found
    return found | {"KDEpy ISJ": lambda x: float(improved_sheather_jones(x[:, np.newaxis]))}


def measure(replicates, sizes=SIZES, densities=DENSITIES, seed=1992):
    """Ratios of errors, {(density, n): {selector: ndarray of shape (replicates,)}}; NaN where a selector fails."""
    chosen, ratios = selectors(), {}
    for number, (name, components) in enumerate(densities.items()):
        for n in sizes:
            found = {selector: np.full(replicates, np.nan) for selector in chosen}
            for r in range(replicates):
                x = draw(components, n, np.random.default_rng([seed, number, n, r]))
                error = SquaredError(components, x)
                least = error.least()[1]
                for selector, rule in chosen.items():
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        try:
                            found[selector][r] = error(rule(x)) / least
                        except ValueError:
                            continue
            ratios[name, n] = found
    return ratios


def table(ratios, average=np.mean):
    """Markdown: a row a density and size, then the geometric means over the densities; NaN where one failed."""
    names = list(next(iter(ratios.values())))
    rows = ["| n | density | " + " | ".join(names) + " |", "|--:|---|" + "--:|" * len(names)]
    sizes = sorted({n for _, n in ratios})
    means = {}
    for n in sizes:
        values = {key[0]: [average(found[name]) for name in names] for key, found in ratios.items() if key[1] == n}
        for key, row in values.items():
            rows.append(f"| {n:,} | {key} | " + " | ".join(f"{value:.2f}" for value in row) + " |")
        means[n] = np.exp(np.mean(np.log(list(values.values())), axis=0))
    for n in sizes:
        rows.append(f"| {n:,} | all fifteen | " + " | ".join(f"{value:.2f}" for value in means[n]) + " |")
    overall = np.exp(np.mean(np.log(list(means.values())), axis=0))
    return "\n".join([*rows, "| all | all fifteen | " + " | ".join(f"{value:.2f}" for value in overall) + " |"])


def main(argv=None):
    parser = argparse.ArgumentParser("python -m bench.marron_wand", description=__doc__.splitlines()[0])
    parser.add_argument("replicates", nargs="?", type=int, default=40)
    parser.add_argument("--median", action="store_true", help="median of the ratios over the replicates, not mean")
    args = parser.parse_args(argv)
    print(table(measure(args.replicates), np.median if args.median else np.mean))


if __name__ == "__main__":
    main()
