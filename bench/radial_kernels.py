"""Kernels other than the Gaussian: `fit` and `score_samples` of n sources at m targets, by the plan that is chosen."""

import functools
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln

from bench.kernel_density import problem
from bench.timing import Contender, timed

CHECKED_TARGETS = 200
SHAPES = {
    "tophat": lambda r: (r < 1) * 1.0,
    "epanechnikov": lambda r: np.maximum(1 - r**2, 0),
    "exponential": lambda r: np.exp(-r),
}
# of the Gaussian's bandwidth, for d = 1 and 2: Marron and Nolan's
FACTORS = {"tophat": (1.74, 2.0), "epanechnikov": (2.214, 2.4), "exponential": (0.74, 0.62)}


@dataclass(frozen=True)
class RadialCase:
    """Seconds at Scott's bandwidth times the kernel's factor.

    Tolerance: 1e-6 in the log density at two hundred targets, where the density is above 1e-9 of its largest value:
    scikit-learn's tree leaves roundings where nothing reaches.
    """

    n: int
    m: int
    d: int
    kernel: str
    group = "Kernel sum"

    @property
    def name(self):
        return f"kernels-{self.n}x{self.m}-d{self.d}-{self.kernel}"

    def shrunk(self):
        return replace(self, n=self.n // 10, m=self.m // 10)

    @property
    def operations(self):
        """Sources x targets."""
        return self.n * self.m

    def contenders(self, names, threads=None):
        """gaussum and scikit-learn."""
        sources, targets = problem(self.n, self.m, self.d)
        found = {}
        if "gaussum" in names:
            from gaussum import KernelDensity

            kde = KernelDensity(self._bandwidth(), kernel=self.kernel, n_threads=threads)
            found["gaussum"] = kde, {"plan": str(kde.fit(sources).explain(targets))}
        if "scikit-learn" in names:
            from sklearn.neighbors import KernelDensity

            found["scikit-learn"] = KernelDensity(bandwidth=self._bandwidth(), kernel=self.kernel), {}
        return {name: self._contender(kde, sources, targets, note) for name, (kde, note) in found.items()}

    def _contender(self, kde, sources, targets, note):
        some = targets[:: self._stride()]
        return Contender(
            lambda: kde.fit(sources).score_samples(some),
            lambda: self._timed(lambda: kde.fit(sources).score_samples(targets)), note=note,
        )

    def _timed(self, call):
        seconds, values = timed(call)
        return seconds, values[:: self._stride()]

    def differences(self, name, answer):
        """Largest difference of the log densities."""
        expected = self._expected()
        high = expected > expected.max() * 1e-9
        with np.errstate(divide="ignore"):
            difference = np.abs(answer - np.log(expected))[high]
        return {"log densities": (np.max(difference), 1e-6)}

    def _stride(self):
        return max(1, self.m // CHECKED_TARGETS)

    def _bandwidth(self):
        return FACTORS[self.kernel][self.d - 1] * self.n ** (-1 / (self.d + 4))

    @functools.lru_cache(maxsize=1)
    def _expected(self):
        """Densities at some of the targets, the kernel normalised by a sum over small steps."""
        sources, targets = problem(self.n, self.m, self.d)
        h, d = self._bandwidth(), self.d
        edges = np.linspace(0, 1 if self.kernel != "exponential" else 60, 2_000_001)
        r = 0.5 * (edges[1:] + edges[:-1])
        sphere = 2 * np.pi ** (d / 2) / np.exp(gammaln(d / 2))
        volume = sphere * (r ** (d - 1) * SHAPES[self.kernel](r)).sum() * (edges[1] - edges[0])
        sums = [SHAPES[self.kernel](np.linalg.norm(sources - t, axis=1) / h).sum() for t in targets[:: self._stride()]]
        return np.array(sums) / (self.n * volume * h**d)
