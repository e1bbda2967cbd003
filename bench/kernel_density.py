"""Gaussian sums: log of a kernel density estimate of n sources at m targets, bandwidth given; direct, and planned.

The sources are whitened: SciPy's bandwidth multiplies the data's covariance, and so is the same number here.
"""

import functools
from dataclasses import dataclass, replace

import numpy as np

from bench import reference
from bench.timing import Contender, faster_blas, held_blas, timed

CHECKED_TARGETS = 2000


@dataclass(frozen=True)
class KDECase:
    """Seconds of `score_samples` on m targets.

    Tolerance: 1e-9 in the log density. scikit-learn's tree, at its defaults, adds and subtracts bounds that
    cancel for far targets in many dimensions: it is allowed `tree_tolerance`; the report has the difference.
    """

    n: int
    m: int
    d: int
    bandwidth: float
    tree_tolerance: float = 1e-9
    dtype: str = "float64"
    group = "Gaussian sum"

    @property
    def name(self):
        return f"kde-{self.n}x{self.m}-d{self.d}" + ("" if self.dtype == "float64" else f"-{self.dtype}")

    def shrunk(self):
        """The same case with fewer sources and targets, for --quick."""
        n, m = max(self.n // 10, 2000), max(self.m // 10, 2000)
        return replace(self, n=n, m=m)

    @property
    def operations(self):
        """Sources x targets."""
        return self.n * self.m

    def contenders(self, names, threads=None):
        """Every library's estimate of the same density; only `score_samples` is timed."""
        sources, targets = (x.astype(self.dtype) for x in problem(self.n, self.m, self.d))
        h = self.bandwidth
        density = {
            "gaussum": lambda: _gaussum(sources, h, threads),
            "scikit-learn": lambda: _sklearn(sources, h),
            "SciPy": lambda: _scipy(sources, h),
            "NumPy": lambda: functools.partial(reference.kernel_log_density, sources, bandwidth=h),
        }
        contenders = {}
        for name in names:
            if name in density:
                score = density[name]()
                note = {}
                choose = note if name == "NumPy" else None
                few = functools.partial(_some, score, targets, self._stride(), choose)
                contenders[name] = Contender(few, functools.partial(_all, score, targets, note), note=note)
        return contenders

    def _stride(self):
        return max(1, self.m // CHECKED_TARGETS)

    @functools.lru_cache(maxsize=1)
    def _expected(self):
        """Log densities at every so many of the targets."""
        sources, targets = (x.astype(self.dtype).astype(float) for x in problem(self.n, self.m, self.d))
        return reference.kernel_log_density(sources, targets[:: self._stride()], self.bandwidth)

    def differences(self, name, answer):
        """Largest difference of the log densities at every so many of the targets."""
        stride, values = answer
        expected = self._expected()
        found = values if stride == self._stride() else values[:: self._stride()]
        if found.shape != expected.shape:
            return {"shapes": (np.inf, 0.0)}
        tolerance = self.tree_tolerance if name == "scikit-learn" else 1e-9 if self.dtype == "float64" else 1e-5
        return {"log densities": (np.max(np.abs(found - expected)), tolerance)}


@dataclass(frozen=True)
class PlannedCase:
    """Seconds of `fit` and `score_samples` together, by the plan that is chosen, at Scott's bandwidth times `factor`.

    Fifty of the targets are thrown tens of standard deviations out. Tolerance: `rtol` in the log density, against the
    direct sum at those fifty and at as many others. Others would take hours.
    """

    n: int
    m: int
    d: int
    factor: float = 1.0
    rtol: float = 1e-6
    group = "Gaussian sum, planned"

    @property
    def name(self):
        scale = "" if self.factor == 1.0 else f"-h{self.factor:g}"
        return f"sum-{self.n}x{self.m}-d{self.d}{scale}"

    def shrunk(self):
        return replace(self, n=self.n // 10, m=self.m // 10)

    @property
    def operations(self):
        """Sources x targets."""
        return self.n * self.m

    def contenders(self, names, threads=None):
        """gaussum alone."""
        if "gaussum" not in names:
            return {}
        from gaussum import KernelDensity

        sources, targets = self._problem()
        kde = KernelDensity(self._bandwidth(), rtol=self.rtol, n_threads=threads)
        note = {"plan": str(KernelDensity(self._bandwidth(), rtol=self.rtol).fit(sources).explain(targets))}
        return {"gaussum": Contender(lambda: kde.fit(sources).score_samples(targets),
                                     lambda: timed(lambda: kde.fit(sources).score_samples(targets)), note=note)}

    def differences(self, name, answer):
        """Largest difference of the log densities at a hundred targets."""
        return {"log densities": (np.max(np.abs(answer[self._checked()] - self._expected())), self.rtol)}

    def _problem(self):
        sources, targets = problem(self.n, self.m, self.d)
        targets = targets.copy()
        targets[:50] *= 10 + np.arange(50)[:, np.newaxis]
        return sources, targets

    def _bandwidth(self):
        return self.factor * self.n ** (-1 / (self.d + 4))

    def _checked(self):
        return np.append(np.arange(50), np.linspace(50, self.m - 1, 50).astype(int))

    @functools.lru_cache(maxsize=1)
    def _expected(self):
        sources, targets = self._problem()
        return reference.kernel_log_density(sources, targets[self._checked()], self._bandwidth())


def _some(score, targets, stride, note):
    """Every so many of the targets; where there is a note, choose the threads of BLAS on them."""
    few = np.ascontiguousarray(targets[::stride])
    if note is None:
        return stride, score(few)
    note["blas_threads"], _, values = faster_blas(lambda: score(few))
    return stride, values


def _all(score, targets, note):
    """Seconds, and (stride 1, values) to check."""
    with held_blas(note.get("blas_threads")):
        seconds, values = timed(score, targets)
    return seconds, (1, values)


@functools.lru_cache(maxsize=1)
def problem(n, m, d):
    """Sources (n, d) with sample mean 0 and covariance 1; targets (m, d) from the same distribution."""
    rng = np.random.default_rng(21)
    X = rng.normal(size=(n, d))
    X -= X.mean(axis=0)
    L = np.linalg.cholesky(np.cov(X.T).reshape(d, d))
    return np.ascontiguousarray(np.linalg.solve(L, X.T).T), rng.normal(size=(m, d))


def _gaussum(sources, bandwidth, threads):
    from gaussum import KernelDensity

    return KernelDensity(bandwidth, rtol=0.0, n_threads=threads).fit(sources).score_samples


def _sklearn(sources, bandwidth):
    from sklearn.neighbors import KernelDensity

    return KernelDensity(bandwidth=bandwidth).fit(sources).score_samples


def _scipy(sources, bandwidth):
    """`evaluate` and then a logarithm: faster than `logpdf`, and as accurate where nothing underflows."""
    from scipy.stats import gaussian_kde

    density = gaussian_kde(sources.T, bw_method=bandwidth)
    return lambda targets: np.log(density.evaluate(targets.T))
