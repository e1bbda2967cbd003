"""What a kernel density costs, and how far off it is, by every plan and every peer: ``python -m bench --sums``.

Seconds of fit and score together against samples, bandwidth and features, with as many targets as sources, both from
one normal distribution, the bandwidth in units of Scott's. Every point has its error: the largest of the log density at
a hundred targets, the fifty farthest out among them, against the direct log-sum-exp. Peers are asked for the accuracy
of gaussum's default and are not refused for missing it; the picture shows what they reach.

Where a point would take too long, and the time of a target does not depend on how many there are, a part of them is
timed and scaled up (the point is not whole); where that would take too long too, and in all other cases, the curve
ends.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench import reference
from bench.kernel_density import problem
from bench.timing import UNSTEADY, Contender, Result, run_case, timed

RTOL = 1e-6
KDEPY_DEPTH = 1e-12         # of a kernel's height, where KDEpy's tree cuts it off; less it refuses
UNDERFLOW = 1e-290          # densities below are not worth a logarithm
FARTHEST, SPREAD = 50, 50   # targets whose answers are checked
PART, FEWEST = 100, 200     # one target in so many, but so many targets, where all would take too long
FFT_AXES = 3                # beyond, a grid of as many points as targets is too coarse for any use
WARM = 300                  # samples
ROUNDS = 3
BUDGET = 1.0                # seconds of one contender at one point, after its first round
LONGEST = 4.0               # seconds that a point may be expected to take
LONGEST_QUICK = 0.1


@dataclass(frozen=True)
class Way:
    """One library's way to a kernel density.

    ``make(sources, bandwidth, threads)`` fits and returns the function of the targets that gives log densities.
    """

    package: str
    make: Callable
    by_target: bool = False     # half the targets take half the time
    most: float = math.inf      # samples, with more of which it is not tried
    on_grid: bool = False       # the targets have to be the points of a regular grid


def ways(names):
    """Every Way of the packages named, by its own name; "gaussum" is the plan that it chooses."""
    found = {}
    if "gaussum" in names:
        from gaussum.summation import ALGORITHMS

        plans = [plan for plan in dict.fromkeys(ALGORITHMS.values()) if plan]
        found["gaussum"] = Way("gaussum", functools.partial(_gaussum, algorithm="auto"))
        for plan in plans:
            make = functools.partial(_gaussum, algorithm=plan)
            found[plan] = Way("gaussum", make, by_target=plan == "direct")
    peers = {
        "scikit-learn": Way("scikit-learn", _sklearn, by_target=True),
        "SciPy": Way("SciPy", _scipy, by_target=True),
        "mlpack": Way("mlpack", _mlpack),
        "KDEpy naive": Way("KDEpy", _kdepy_naive, most=30_000),
        "KDEpy tree": Way("KDEpy", _kdepy_tree, by_target=True),
        "KDEpy FFT": Way("KDEpy", _kdepy_fft, on_grid=True),
    }
    return found | {name: way for name, way in peers.items() if way.package in names}


@dataclass(frozen=True)
class SumCase:
    """One point of the curves: n sources and targets in d dimensions, at `h` times Scott's bandwidth.

    Tolerances: `RTOL` in the log density for gaussum, none for the others, of which the error is kept.
    """

    n: int
    d: int
    h: float = 1.0
    parted: frozenset = frozenset()     # ways of which only a part of the targets is timed
    taking_part: tuple = ()             # ways; all of them if there are none
    group = "sums"

    @property
    def name(self):
        return f"sums-{self.n}-d{self.d}-h{self.h:.3g}"

    @property
    def part(self):
        """One target in so many is a part of them that tells the time of all."""
        return max(1, min(PART, self.n // FEWEST))

    @property
    def bandwidth(self):
        """The samples have unit variances."""
        return self.h * self.n ** (-1 / (self.d + 4))

    def contenders(self, names, threads=None):
        """Every way that applies."""
        contenders = {}
        for name, way in ways(names).items():
            if (self.taking_part and name not in self.taking_part) or not self.applies(name, way):
                continue
            measure = functools.partial(self.measure, way, threads, self.part if name in self.parted else 1)
            note = {"plan": self._explain("auto").name} if name == "gaussum" else {}
            contenders[name] = Contender(functools.partial(self._warm, way, threads), measure, note=note)
        return contenders

    def applies(self, name, way):
        """Whether there is such a plan for these sources, or a peer that would end."""
        if self.n > way.most or way.on_grid and self.d > FFT_AXES:
            return False
        if way.package != "gaussum" or name in ("gaussum", "direct"):
            return True
        try:
            self._explain(name)
        except ValueError:
            return False
        return True

    def _explain(self, algorithm):
        from gaussum import KernelDensity

        sources, targets = self._problem()
        kde = KernelDensity(self.bandwidth, algorithm=algorithm, rtol=RTOL).fit(sources)
        return kde.explain(targets if algorithm == "auto" else targets[:1])

    def _warm(self, way, threads):
        """Load and compile what there is to; no answer."""
        sources, targets = (x[:WARM] for x in self._problem())
        if way.on_grid:
            targets = _grid(sources, WARM, self.d)[1]
        with np.errstate(all="ignore"):
            way.make(sources, self.bandwidth, threads)(targets)

    def measure(self, way, threads=None, part=1):
        """Seconds of fit and score, as if of all the targets, and the log densities at those that are checked."""
        sources, targets = self._problem()
        index = self._checked()
        if way.on_grid:
            axes, targets = _grid(sources, self.n, self.d)
            index = _nearest(axes, self._problem()[1][index])
        with np.errstate(all="ignore"):
            seconds_fit, score = timed(way.make, sources, self.bandwidth, threads)
            seconds, values = timed(score, np.ascontiguousarray(targets[::part]))
            checked = np.ravel(values)[index] if part == 1 else np.ravel(score(targets[index]))
        return seconds_fit + part * seconds, (way, checked)

    def differences(self, name, answer):
        """Largest difference of the log densities at a hundred targets; infinite where there is none."""
        way, values = answer
        with np.errstate(invalid="ignore"):
            error = np.max(np.abs(values - self._expected(way.on_grid)))
        if way.package == "gaussum":
            return {"log densities": (error, RTOL)}
        return {"log densities": (np.inf if np.isnan(error) else error, np.inf)}

    def _problem(self):
        return problem(self.n, self.n, self.d)

    @functools.lru_cache(maxsize=1)
    def _checked(self):
        """Places of the targets whose answers are checked: those farthest out, and others evenly."""
        _, targets = self._problem()
        farthest = np.argsort(np.einsum("ij,ij->i", targets, targets))[-FARTHEST:]
        return np.append(farthest, np.linspace(0, self.n - 1, SPREAD).astype(int))

    @functools.lru_cache(maxsize=2)
    def _expected(self, on_grid):
        """At the targets that are checked, or at the points of the grid nearest to them."""
        sources, targets = self._problem()
        points = targets[self._checked()]
        if on_grid:
            axes, grid = _grid(sources, self.n, self.d)
            points = grid[_nearest(axes, points)]
        return reference.kernel_log_density(sources, points, self.bandwidth)


class SumCurve:
    """Seconds and errors against `axis`: n, h (in units of Scott's bandwidth) or d, the others given."""

    group = "sums"

    def __init__(self, axis, values, quick=False, **fixed):
        self.axis, self.values, self.quick, self.fixed = axis, values, quick, fixed

    @property
    def name(self):
        return f"sums-{self.axis}" + "".join(f"-{key}{value}" for key, value in self.fixed.items())

    def shrunk(self):
        """Every other point of those that are small enough, on fewer samples."""
        fixed = self.fixed | ({"n": self.fixed["n"] // 10} if "n" in self.fixed else {})
        most = 100_000 if self.axis == "n" else math.inf
        return SumCurve(self.axis, [v for v in self.values if v <= most][::2], quick=True, **fixed)

    def run(self, names, repeats, threads=None):
        """Return a Result with notes {"curve": what is fixed, way: {"values", "seconds", "errors", "whole"}}.

        Of gaussum there are "plans" too.
        """
        result = Result(self.name, self.group)
        there = ways(names)
        taking_part, unsteady, points = list(there), 0, 0
        if taking_part:
            result.notes["curve"] = {"axis": self.axis, **self.fixed}
        for value in self.values:
            case = SumCase(**(self.fixed | {self.axis: value}))
            expected = {name: self._expected(case, there[name], result.notes.get(name), threads)
                        for name in taking_part if case.applies(name, there[name])}
            parted = {name for name, seconds in expected.items() if name != "gaussum" and seconds > self._longest}
            ended = {name for name in parted if not there[name].by_target or expected[name] > case.part * self._longest}
            taking_part = [name for name in taking_part if name not in ended]
            if not taking_part:
                break
            case = SumCase(**(self.fixed | {self.axis: value}), parted=frozenset(parted - ended),
                           taking_part=tuple(taking_part))
            found = run_case(case, names, min(repeats, ROUNDS), threads, BUDGET)
            if found.status == "WRONG":
                result.status = "WRONG"
                result.reasons += [f"{case.name}: {why}" for why in found.reasons]
            for name, seconds in found.seconds.items():
                unsteady += max(seconds) > UNSTEADY * min(seconds)
                points += 1
                self._keep(result.notes, name, value, found, name not in parted)
        if unsteady:
            result.reasons.append(f"{unsteady} of {points} points are unsteady: is the machine busy?")
        if result.status == "WRONG":
            result.notes = {}
        return result

    @staticmethod
    def _keep(notes, name, value, found, whole):
        """A point of the curve."""
        note = notes.setdefault(name, {"values": [], "seconds": [], "errors": [], "whole": []})
        note["values"].append(value)
        note["seconds"].append(found.median(name))
        note["errors"].append(float(found.differences[name]["log densities"]))
        note["whole"].append(whole)
        if name == "gaussum":
            note.setdefault("plans", []).append(found.notes[name]["plan"])

    @property
    def _longest(self):
        return LONGEST_QUICK if self.quick else LONGEST

    def _expected(self, case, way, note, threads):
        """Seconds that the point will take, by the points before, or by a few targets."""
        if note is None:
            if not way.by_target or case.part == 1:
                return 0.0
            case._warm(way, threads)
            return case.measure(way, threads, case.part)[0]
        seconds, growth = note["seconds"], 1.0
        if self.axis == "n":
            growth = case.n / note["values"][-1]
        if len(seconds) > 1:
            growth = max(growth, seconds[-1] / seconds[-2])
        return seconds[-1] * growth


def _grid(sources, n_points, d):
    """About so many points of a regular grid around the sources: the axes, and all points, shape (n_points, d)."""
    size = round(n_points ** (1 / d))
    margin = 0.01 * np.ptp(sources, axis=0)
    axes = [np.linspace(x.min() - m, x.max() + m, size) for x, m in zip(sources.T, margin)]
    return axes, np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, d)


def _nearest(axes, targets):
    """Places of the points of a regular grid nearest to targets."""
    places = [np.rint((t - axis[0]) / (axis[1] - axis[0])).astype(int).clip(0, len(axis) - 1)
              for axis, t in zip(axes, targets.T)]
    return np.ravel_multi_index(places, [len(axis) for axis in axes])


def _gaussum(sources, bandwidth, threads, algorithm):
    from gaussum import KernelDensity

    return KernelDensity(bandwidth, algorithm=algorithm, rtol=RTOL, n_threads=threads).fit(sources).score_samples


def _sklearn(sources, bandwidth, threads):
    from sklearn.neighbors import KernelDensity

    return KernelDensity(bandwidth=bandwidth, rtol=RTOL).fit(sources).score_samples


def _scipy(sources, bandwidth, threads):
    """The logarithm of `evaluate`, which is faster than `logpdf`, which takes what underflows.

    `bandwidth` multiplies a covariance of 1.
    """
    from scipy.stats import gaussian_kde

    kde = gaussian_kde(sources.T, bw_method=bandwidth)

    def score(targets):
        density = kde.evaluate(targets.T)
        lost = density < UNDERFLOW
        out = np.log(density)
        if lost.any():
            out[lost] = kde.logpdf(targets[lost].T)
        return out

    return score


def _mlpack(sources, bandwidth, threads):
    """Two trees of its default kind; without copies it would reorder the caller's rows."""
    import mlpack

    def score(targets):
        found = mlpack.kde(reference=sources, query=targets, bandwidth=bandwidth, rel_error=RTOL, copy_all_inputs=True)
        return np.log(found["predictions"])

    return score


def _kdepy_tree(sources, bandwidth, threads):
    from KDEpy import TreeKDE

    density, depth = TreeKDE(bw=bandwidth).fit(sources), KDEPY_DEPTH / (math.sqrt(2 * math.pi) * bandwidth)
    return lambda targets: np.log(density.evaluate(targets, eps=depth))


def _kdepy_naive(sources, bandwidth, threads):
    from KDEpy import NaiveKDE

    density = NaiveKDE(bw=bandwidth).fit(sources)
    return lambda targets: np.log(density.evaluate(targets))


def _kdepy_fft(sources, bandwidth, threads):
    from KDEpy import FFTKDE

    density = FFTKDE(bw=bandwidth).fit(sources)
    return lambda grid: np.log(density.evaluate(grid))
