"""Kernel densities on grids: gaussum, KDEpy's FFT at the same points, and seaborn's plots on gaussian_kde."""

import functools
import importlib.util
from dataclasses import dataclass, replace

import numpy as np

from bench import reference
from bench.kernel_density import problem
from bench.timing import Contender, timed

RTOL = 1e-6
CHECKED = 100
# KDEpy bins, so its errors are absolute: of the highest density, and what is allowed of that.
BINNING = 0.02


@dataclass(frozen=True)
class GridCase:
    """Seconds of fitting n samples and of the densities at `size` points on each of d axes.

    Tolerances: `RTOL` in the log density for gaussum, at a hundred points, against the direct sum; for KDEpy, which
    bins, a share of the highest density, and its own error is reported.
    """

    n: int
    d: int
    size: int
    group = "kernel density on a grid"

    @property
    def name(self):
        return f"grid-{self.n}-d{self.d}-{self.size}"

    def shrunk(self):
        return replace(self, n=self.n // 10)

    def contenders(self, names, threads=None):
        """gaussum, and KDEpy where it is installed."""
        makers = {"gaussum": self._gaussum, "KDEpy": self._kdepy}
        return {name: make(threads) for name, make in makers.items() if name in names}

    def _gaussum(self, threads):
        from gaussum import KernelDensity

        sources, axes = self._problem()
        kde = KernelDensity(self._bandwidth(), rtol=RTOL, n_threads=threads)
        note = {"plan": str(kde.fit(sources).explain_on_grid(axes))}

        def run():
            return kde.fit(sources).density_on_grid(axes, log=True).density.ravel()

        return Contender(run, lambda: timed(run), note=note)

    def _kdepy(self, threads):
        from KDEpy import FFTKDE

        sources, axes = self._problem()
        points = self._points(axes, np.arange(self.size**self.d))

        def run():
            return FFTKDE(bw=self._bandwidth(), kernel="gaussian").fit(sources).evaluate(points)

        return Contender(run, lambda: timed(run))

    def differences(self, name, answer):
        index, expected = self._expected()
        if name == "gaussum":
            return {"log densities": (np.max(np.abs(answer[index] - expected)), RTOL)}
        error = np.max(np.abs(np.ravel(answer)[index] - np.exp(expected)))
        return {"densities, of the highest": (error / np.exp(expected.max()), BINNING)}

    def _bandwidth(self):
        return self.n ** (-1 / (self.d + 4))

    @functools.lru_cache(maxsize=1)
    def _problem(self):
        sources, _ = problem(self.n, 1, self.d)
        margin = 4.0 * self._bandwidth()
        return sources, [np.linspace(x.min() - margin, x.max() + margin, self.size) for x in sources.T]

    def _points(self, axes, index):
        places = np.unravel_index(index, [self.size] * self.d)
        return np.ascontiguousarray(np.stack([axis[place] for axis, place in zip(axes, places)], axis=1))

    @functools.lru_cache(maxsize=1)
    def _expected(self):
        """Places all over the grid, half of them about its middle, and the log densities there."""
        sources, axes = self._problem()
        rng = np.random.default_rng(0)
        index = rng.integers(self.size**self.d, size=CHECKED)
        middle = rng.normal(self.size / 2, self.size / 16, (self.d, CHECKED // 2)).astype(int)
        index[: CHECKED // 2] = np.ravel_multi_index(middle, [self.size] * self.d)
        return index, reference.kernel_log_density(sources, self._points(axes, index), self._bandwidth())


@dataclass(frozen=True)
class PlotCase:
    """Seconds of seaborn's kernel density of n samples, in one or two dimensions, as its plots take it.

    With SciPy's gaussian_kde and with gaussum's. Tolerance: 1e-8 of the highest density, against SciPy's.
    """

    n: int
    d: int
    group = "seaborn's kdeplot"

    @property
    def name(self):
        return f"kdeplot-{self.n}-d{self.d}"

    def shrunk(self):
        return replace(self, n=self.n // 10)

    def contenders(self, names, threads=None):
        if importlib.util.find_spec("seaborn") is None:
            return {}
        import scipy.stats

        kinds = {"SciPy": scipy.stats.gaussian_kde}
        if "gaussum" in names:
            import gaussum

            kinds["gaussum"] = functools.partial(gaussum.gaussian_kde, n_threads=threads)
        made = {name: functools.partial(self._plot, kind) for name, kind in kinds.items() if name in names}
        return {name: Contender(run, functools.partial(timed, run)) for name, run in made.items()}

    def _plot(self, kind):
        import seaborn._statistics

        before, seaborn._statistics.gaussian_kde = seaborn._statistics.gaussian_kde, kind
        try:
            density, _ = seaborn._statistics.KDE()(*self._data())
            return density
        finally:
            seaborn._statistics.gaussian_kde = before

    def _data(self):
        x, y = np.random.default_rng(4).multivariate_normal([0, 0], [[1, 0.7], [0.7, 2]], self.n).T
        return (x, y)[: self.d]

    @functools.lru_cache(maxsize=1)
    def _expected(self):
        """SciPy's densities at some of the points seaborn chooses."""
        import scipy.stats
        import seaborn._statistics

        data = self._data()
        support = seaborn._statistics.KDE().define_support(*data)
        points = np.atleast_2d(support) if self.d == 1 else np.stack([a.ravel() for a in np.meshgrid(*support)])
        index = np.linspace(0, points.shape[1] - 1, CHECKED).astype(int)
        return index, scipy.stats.gaussian_kde(np.array(data))(points[:, index])

    def differences(self, name, answer):
        index, expected = self._expected()
        error = np.max(np.abs(np.ravel(answer)[index] - expected)) / np.max(answer)
        return {"densities, of the highest": (error, 1e-8)}
