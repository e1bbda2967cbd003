"""How an EM iteration grows with the samples, the features and the components: ``python -m bench --scaling``.

Every point is a case like any other, its answers checked. A peer's curve ends where one iteration would take too long.
"""

from bench.mixtures import EMCase
from bench.timing import Result, run_case

CONTENDERS = ("gaussum", "scikit-learn", "oneDAL")
ROUNDS = 3
BUDGET = 3.0  # seconds of one contender at one point, after its fewest rounds
LONGEST = 1.0  # seconds of an iteration above which, expected from the points before, a peer's curve ends
LONGEST_QUICK = 0.05


class Curve:
    """Seconds of an EM iteration against `axis`: n, d or K, the other two given."""

    group = "scaling"

    def __init__(self, axis, values, quick=False, **fixed):
        self.axis, self.values, self.quick, self.fixed = axis, values, quick, fixed

    @property
    def name(self):
        return f"scaling-{self.axis}"

    def shrunk(self):
        """Every other point of those that are small enough, on fewer samples."""
        fixed = self.fixed | ({} if self.axis == "n" else {"n": self.fixed["n"] // 10})
        most = {"n": 100_000, "d": 50, "K": 64}[self.axis]
        return Curve(self.axis, [v for v in self.values if v <= most][::2], quick=True, **fixed)

    def run(self, names, repeats, threads=None):
        """Return a Result with notes {"curve": what is fixed, contender: {"values": [...], "seconds": [...]}}."""
        result = Result(self.name, self.group)
        longest = LONGEST_QUICK if self.quick else LONGEST
        taking_part = [name for name in CONTENDERS if name in names]
        if taking_part:
            result.notes["curve"] = {"axis": self.axis, **self.fixed}
        for value in self.values:
            if not taking_part:
                break
            case = EMCase(**(self.fixed | {self.axis: value}))
            found = run_case(case, taking_part, min(repeats, ROUNDS), threads, BUDGET)
            result.reasons += [f"{case.name}: {why}" for why in found.reasons]
            if found.status == "WRONG":
                result.status = "WRONG"
                continue
            for name in list(taking_part):
                curve = result.notes.setdefault(name, {"values": [], "seconds": []})
                if min(found.seconds.get(name) or [0.0]) > 0.0:  # one round lost in noise, and the point is none
                    curve["values"].append(value)
                    curve["seconds"].append(found.median(name))
                if name != "gaussum" and self._next(value, curve) > longest:
                    taking_part.remove(name)
                    curve["ended_at"] = longest
        if result.status == "WRONG":
            result.notes = {}
        return result

    def _next(self, value, curve):
        """Seconds that the next point would take, growing in proportion or as it did last, whichever is more."""
        later = [v for v in self.values if v > value]
        if not later or not curve["seconds"]:
            return 0.0
        growth = later[0] / value
        if len(curve["seconds"]) > 1:
            growth = max(growth, curve["seconds"][-1] / curve["seconds"][-2])
        return curve["seconds"][-1] * growth
