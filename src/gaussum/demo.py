"""The story that `gaussum demo` replays: a mixture, its criteria, outliers, a kernel density, and real data.

Every number is computed as it runs. The samples come from NumPy's legacy generator, whose streams never
change: the data are the same everywhere.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

import gaussum
from gaussum import plot
from gaussum.bandwidth import scott
from gaussum.drawing import Density
from gaussum.files import FileError, Table, read_table
from gaussum.kde import KernelDensity
from gaussum.mixture import GaussianMixture
from gaussum.outliers import OutlierDetector
from gaussum.output import (
    Progress,
    components_table,
    describe_mixture,
    mixture_results,
    require_matplotlib,
    save_picture,
    text_table,
    write_json,
    writing,
)
from gaussum.selection import SelectionResult, select_mixture
from gaussum.typing import FloatArray, IndexArray, SampleArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# One start may end at a lower maximum of the likelihood. Scattered seeds reach maxima that k-means, whose
# partitions of one feature are much alike, misses: with two components even the highest. (Many more starts find
# components of five or six samples, whose narrow peaks buy likelihood enough for AIC, not for BIC.)
STARTS: dict[str, Any] = {"n_init": 15, "init_params": "k-means++", "random_state": 0}
TRUE_PARTS = ((2000, 0.0, 2.0), (2000, 5.0, 5.0), (600, 3.0, 0.5))  # samples, mean, standard deviation
N_OUTLIERS = 20
THRESHOLD = -9.0
BANDWIDTH = 0.15
RANGE, BINS = (-10, 20), 80


def make_samples() -> tuple[FloatArray, FloatArray, IndexArray]:
    """The samples x of three normals, y with twenty of them moved far off, and the indices of those.

    Returns
    -------
    x, y : ndarray, shape (4600,)
    true_outliers : ndarray of int, shape (20,)

    Examples
    --------
    >>> x, y, true_outliers = make_samples()
    >>> len(x), int((x != y).sum())
    (4600, 20)
    """
    draw = np.random.RandomState(2)
    x = np.concatenate([draw.normal(mean, scale, size) for size, mean, scale in TRUE_PARTS])
    draw = np.random.RandomState(0)
    true_outliers = np.sort(draw.randint(0, len(x), N_OUTLIERS))
    y = x.copy()
    y[true_outliers] += 50 * draw.randn(N_OUTLIERS)
    return x, y, true_outliers


def read_shipped(name: str) -> Table:
    """A `Table` of the data set `name` (faithful or galaxies) that comes with the package."""
    with resources.as_file(resources.files("gaussum") / "data" / f"{name}.csv") as path:
        return read_table(path)


def run(
    directory: str, *, say: Callable[[str], object] = print, progress: Progress | None = None,
    n_threads: int | None = None,
) -> dict[str, Any]:
    """Replay the story, print it, and write pictures and ``summary.json``.

    Parameters
    ----------
    directory : str
        Folder to write into; made if it is not there.
    say : callable
        Takes the text, one piece a call.
    progress : gaussum.output.Progress, optional
        Shows how far the long steps are.
    n_threads : int, optional
        Threads; all cores by default.

    Returns
    -------
    summary : dict
        What ``summary.json`` holds.

    Raises
    ------
    FileError
        The folder cannot be made or written to.
    """
    return _Story(directory, say, progress, n_threads).run()


class _Story:
    def __init__(
        self, directory: str, say: Callable[[str], object], progress: Progress | None, n_threads: int | None,
    ) -> None:
        self.directory, self.say, self.n_threads = directory, say, n_threads
        self.progress = progress or Progress(quiet=True)
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot write {directory}: {error.strerror or error}") from None
        self.summary: dict[str, Any] = {"gaussum": gaussum.__version__, "pictures": []}
        told = "a mixture, its criteria, outliers, a kernel density, and real data"
        say(f"gaussum {gaussum.__version__}: {told}")
        try:
            require_matplotlib("drawing")
            self.draws = True
        except ImportError as error:
            self.draws = False
            say(f"No pictures: {error}")

    def run(self) -> dict[str, Any]:
        x, y, true_outliers = make_samples()
        mixture = self.tell_mixture(x)
        self.tell_criteria(x)
        self.tell_outliers(y, true_outliers)
        density = self.tell_kernel_density(x, mixture)
        self.tell_new_samples(x, mixture, density)
        self.tell_faithful()
        self.tell_galaxies()
        path = os.path.join(self.directory, "summary.json")
        write_json(path, self.summary)
        pictures = self.summary["pictures"]
        self.heading("Written")
        beside = f", and {len(pictures)} pictures beside it: {', '.join(pictures)}" if pictures else ""
        self.say(path + beside)
        return self.summary

    def heading(self, text: str) -> None:
        self.say(f"\n{text}\n{'=' * len(text)}")

    def picture(self, name: str, draw: "Callable[[Axes], object]") -> None:
        if self.draws:
            with writing(os.path.join(self.directory, name)) as temporary:
                save_picture(draw, temporary)
            self.summary["pictures"].append(name)

    def fit(self, X: SampleArray, n_components: int) -> tuple[GaussianMixture, dict[str, Any]]:
        mixture = GaussianMixture(n_components, **STARTS, n_threads=self.n_threads)
        mixture.fit(X, callback=self.progress.iteration if self.progress.active else None)
        self.progress.clear()
        return mixture, mixture_results(mixture, len(X), float(mixture.score_samples(X).sum()))

    def select(
        self, X: SampleArray, numbers: Iterable[int], types: str | Sequence[str] = "full",
    ) -> SelectionResult:
        share = self.progress.share
        result = select_mixture(X, numbers, types, **STARTS, n_threads=self.n_threads, callback=share)
        self.progress.clear()
        return result

    def tell_mixture(self, x: FloatArray) -> GaussianMixture:
        self.heading("Four Gaussians fitted to x")
        n = len(x)
        truth = [[f"{size / n:.4f}", f"{mean:g}", f"{scale**2:g}"] for size, mean, scale in TRUE_PARTS]
        self.say(f"x holds {n} samples, made of three Gaussians:\n")
        self.say(text_table(["weight", "mean", "variance"], truth))
        mixture, results = self.fit(x, 4)
        self.say(f"\nthe fit, the best of {STARTS['n_init']} starts:")
        self.say(describe_mixture(mixture, ["x"], results))
        self.summary["mixture"] = results

        def draw(ax: "Axes") -> None:
            plot.density(mixture, x, bins=BINS, range=RANGE, components=True, ax=ax)
            ax.set(title="x: a mixture of four Gaussians and its components", xlabel="x")

        self.picture("mixture.png", draw)
        return mixture

    def tell_criteria(self, x: FloatArray) -> None:
        self.heading("How many components? BIC and AIC for 1 to 9")
        result = self.select(x, range(1, 10))
        preferred = {name: len(result.best(name).weights_) for name in ("bic", "aic")}
        rows = []
        for row in result.table:
            marks = [" *" if preferred[name] == row["n_components"] else "  " for name in preferred]
            values = [f"{row[name]:.2f}{mark}" for name, mark in zip(preferred, marks, strict=True)]
            smallest = len(x) * min(result.models[row["n_components"] - 1].weights_)
            rows.append(
                [str(row["n_components"]), f"{row['log_likelihood']:.3f}", *values, f"{smallest:.1f} samples"]
            )
        self.say(text_table(["components", "log-likelihood", "BIC  ", "AIC  ", "smallest component"], rows))
        chosen = f"BIC prefers {preferred['bic']} components, AIC {preferred['aic']}"
        self.say(f"\n{chosen} (marked *; smaller is better).")
        for k, model in sorted({preferred[name]: result.best(name) for name in preferred}.items()):
            self.say(f"\nthe fit of {k} components:\n{components_table(model, ['x'])}")
        self.summary["criteria"] = {"table": result.table, "preferred": preferred}

        def draw(ax: "Axes") -> None:
            plot.criteria(result, ax=ax)
            ax.set_title("x: criteria against the number of components")

        self.picture("criteria.png", draw)

    def tell_outliers(self, y: FloatArray, true_outliers: IndexArray) -> None:
        self.heading("Outliers in y")
        self.say(f"y is x with {N_OUTLIERS} samples moved by 50 times a standard normal number.")
        mixture, results = self.fit(y, 4)
        self.say(f"\n{describe_mixture(mixture, ['y'], results)}")
        detector = OutlierDetector(mixture, threshold=THRESHOLD).fit(y)
        flagged = np.flatnonzero(detector.predict(y) == -1)
        lists = {
            "true": true_outliers,
            "flagged": flagged,
            "detected": np.intersect1d(flagged, true_outliers),
            "missed": np.setdiff1d(true_outliers, flagged),
            "spurious": np.setdiff1d(flagged, true_outliers),
        }
        self.say(f"\nflagged: the samples whose log density is below {THRESHOLD:g} (samples count from 0)\n")
        for name, indices in lists.items():
            self.say(f"{name:>8} {len(indices):3d}:  {' '.join(map(str, indices))}")
        if len(lists["missed"]):
            at = np.sort(y[lists["missed"]])
            self.say(f"\nthe missed ones still lie among the rest, between {at[0]:.1f} and {at[-1]:.1f}.")
        self.summary["outliers"] = {"threshold": THRESHOLD, **lists, "mixture": results}

        def draw(ax: "Axes") -> None:
            plot.outliers(detector, y, true_outliers=true_outliers, ax=ax)
            ax.set(title=f"y: log density, and the threshold {THRESHOLD:g}", xlabel="y")

        self.picture("outliers.png", draw)

    def tell_kernel_density(self, x: FloatArray, mixture: GaussianMixture) -> KernelDensity:
        self.heading(f"A kernel density of x with bandwidth {BANDWIDTH:g}, beside the mixture")
        density = KernelDensity(BANDWIDTH, n_threads=self.n_threads).fit(x)
        grid = np.linspace(-9, 15, 9)
        columns = [np.exp(model.score_samples(grid)) for model in (mixture, density)]
        truth = sum(
            size / len(x) * np.exp(-0.5 * ((grid - mean) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
            for size, mean, scale in TRUE_PARTS
        )
        rows = [
            [f"{at:g}", *(f"{v:.5f}" for v in values)]
            for at, *values in zip(grid, truth, *columns, strict=True)
        ]
        self.say("densities:\n" + text_table(["x", "truth", "mixture", "kernel density"], rows))
        suggested = float(scott(x)[0])
        self.say(f"\nScott's rule, made for one bell, would take {suggested:.3f} and blur the narrow peak.")
        self.summary["kernel_density"] = {
            "bandwidth": BANDWIDTH,
            "scott": suggested,
            "at": grid,
            "truth": truth,
            "mixture": columns[0],
            "density": columns[1],
        }

        def draw(ax: "Axes") -> None:
            models: dict[str, Density] = {"mixture of 4": mixture, f"kernel density, bandwidth {BANDWIDTH:g}": density}
            plot.compare(models, x, bins=BINS, range=RANGE, ax=ax)
            ax.set(title="x: mixture and kernel density", xlabel="x")

        self.picture("kernel-density.png", draw)
        return density

    def tell_new_samples(self, x: FloatArray, mixture: GaussianMixture, density: KernelDensity) -> None:
        self.heading("New samples drawn from both")
        n = len(x)
        drawn = {
            "x": x,
            "from the mixture": np.ravel(mixture.sample(n, random_state=STARTS["random_state"])[0]),
            "from the kernel density": np.ravel(density.sample(n, random_state=STARTS["random_state"])),
        }
        header = ["", "samples", "mean", "variance", "5 %", "25 %", "50 %", "75 %", "95 %"]
        rows, self.summary["new_samples"] = [], {}
        for name, values in drawn.items():
            numbers = [values.mean(), values.var(), *np.percentile(values, [5, 25, 50, 75, 95])]
            rows.append([name, str(len(values)), *(f"{v:.3f}" for v in numbers)])
            self.summary["new_samples"][name] = dict(zip(header[1:], [len(values), *numbers], strict=True))
        self.say(text_table(header, rows))

        def draw(ax: "Axes") -> None:
            for color, (name, values) in zip(("#DADADA", "#0072B2", "#D55E00"), drawn.items(), strict=True):
                style = {"histtype": "step", "linewidth": 1.5} if name != "x" else {"histtype": "stepfilled"}
                weights = np.full(len(values), BINS / (len(values) * (RANGE[1] - RANGE[0])))
                ax.hist(values, bins=BINS, range=RANGE, weights=weights, color=color, label=name, **style)
            ax.set(title=f"x, and {n} new samples from each density", xlim=RANGE)
            ax.set(xlabel="x", ylabel="density")
            ax.spines[["top", "right"]].set_visible(False)
            ax.legend(frameon=False, fontsize="small")

        self.picture("new-samples.png", draw)

    def tell_faithful(self) -> None:
        self.heading("Real data: Old Faithful's eruptions, and the wait until the next, in minutes")
        table = read_shipped("faithful")
        types = ["full", "tied"]
        result = self.select(table.values, range(1, 7), types)
        n = len(table.values)
        self.say(f"{n} eruptions; each component its own covariance (full), or one for all (tied):\n")
        self.say(text_table(*_criterion_by_type(result.table, "bic", types)))
        best = result.best_
        self._tell_best("faithful", table, result)

        def draw(ax: "Axes") -> None:
            plot.density(best, table.values, components=True, ax=ax)
            ax.set(title="Old Faithful: the mixture that BIC prefers")
            ax.set(xlabel="length of the eruption (minutes)", ylabel="wait until the next (minutes)")

        self.picture("faithful.png", draw)

    def tell_galaxies(self) -> None:
        self.heading("Real data: velocities of galaxies, in 1000 km/s")
        table = read_shipped("galaxies")
        types = ["full", "tied"]
        result = self.select(table.values, range(1, 8), types)
        n = len(table.values)
        self.say(f"{n} galaxies; each component its own variance (full), or one for all (tied):\n")
        self.say(text_table(*_criterion_by_type(result.table, "bic", types)))
        self._tell_best("galaxies", table, result)
        density = KernelDensity("silverman", n_threads=self.n_threads).fit(table.values)
        self.say(f"\na kernel density by Silverman's rule takes the bandwidth {density.bandwidth_:.3f}.")
        self.summary["galaxies"]["silverman"] = density.bandwidth_

        def draw(ax: "Axes") -> None:
            models: dict[str, Density] = {
                "mixture that BIC prefers": result.best_, "kernel density, Silverman's rule": density,
            }
            plot.compare(models, table.values, bins=30, ax=ax)
            ax.set(title="Velocities of 82 galaxies", xlabel="velocity (1000 km/s)")

        self.picture("galaxies.png", draw)

    def _tell_best(self, name: str, table: Table, result: SelectionResult) -> None:
        scores = result.best_.score_samples(table.values)
        results = mixture_results(result.best_, len(table.values), float(scores.sum()))
        self.say("\nBIC prefers\n" + describe_mixture(result.best_, table.names, results))
        self.summary[name] = {"table": result.table, "preferred": results}


def _criterion_by_type(
    table: Sequence[dict[str, Any]], name: str, types: Sequence[str],
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table of one criterion: numbers of components down, covariance types across."""
    best = min(table, key=lambda row: row[name] if row[name] == row[name] else np.inf)
    rows: dict[int, dict[str, str]] = {}
    for row in table:
        mark = " *" if row is best else "  "
        rows.setdefault(row["n_components"], {})[row["covariance_type"]] = f"{row[name]:.2f}{mark}"
    cells = [[str(k), *(of[kind] for kind in types)] for k, of in rows.items()]
    return [f"components, {name.upper()}", *(f"{kind}  " for kind in types)], cells
