"""Contenders timed in interleaved rounds, and refused when their answers are wrong.

A case offers `name`, `group`, `contenders(names, threads) -> {name: Contender}` and
`differences(name, answer) -> {what: (difference, tolerance)}`.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

# Seconds: a contender that has used them in one case, and has had its fewest rounds, starts no further round there.
BUDGET = 10.0
SHORTEST = 0.1  # seconds that the runs behind one difference should take
PAUSE = 0.05  # seconds before each measurement: the idle threads of the library before it spin for some 25 ms
UNSTEADY = 1.6  # slowest round over fastest round, above which the report says so


@dataclass
class Contender:
    """One library in one case; `warm` and `measure` give an answer to check, or None where there is none."""

    warm: Callable[[], Any]  # -> answer; runs everything once: loads libraries, starts threads
    measure: Callable[[], tuple[float, Any]]  # -> seconds, answer
    fewest: int = 1  # rounds that it is given however slow it is
    note: dict = field(default_factory=dict)  # what the report should show beside the time


@dataclass
class Result:
    """What one case gave: seconds of every round for each contender, or the reason why there are none."""

    case: str
    group: str
    status: str = "agreed"  # or "WRONG"
    reasons: list[str] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    differences: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: dict[str, dict] = field(default_factory=dict)

    def median(self, name):
        """Median seconds of a contender, None where it did not run, was WRONG, or noise hides it (<= 0)."""
        value = median(self.seconds.get(name) or [0.0])
        return value if value > 0.0 else None

    def worst_difference(self):
        """The largest difference of any contender from the reference, over all that was compared."""
        return max((v for d in self.differences.values() for v in d.values()), default=float("nan"))

    def as_dict(self):
        return asdict(self) | {"median_seconds": {name: self.median(name) for name in self.seconds}}


def run_case(case, names, repeats, threads=None, budget=BUDGET):
    """Warm every contender, check its answers, time all of them in interleaved rounds, check again.

    Returns
    -------
    Result
        With status "WRONG", the reasons, and no seconds at all as soon as one answer is off.
    """
    result = Result(case.name, case.group)
    contenders = case.contenders(names, threads)
    for name, contender in contenders.items():
        try:
            _check(case, name, contender.warm(), result)
        except Exception as error:
            _refuse(result, f"{name} failed: {type(error).__name__}: {error}")
    result.seconds = {name: [] for name in contenders}
    spent = dict.fromkeys(contenders, 0.0)
    order = list(contenders)
    for _ in range(repeats):
        for name in order:
            if result.status == "WRONG":
                break
            if spent[name] >= budget and len(result.seconds[name]) >= contenders[name].fewest:
                continue
            time.sleep(PAUSE)
            try:
                wall, (seconds, answer) = timed(contenders[name].measure)
                _check(case, name, answer, result)
                result.seconds[name].append(seconds)
                spent[name] += wall
            except Exception as error:
                _refuse(result, f"{name} failed: {type(error).__name__}: {error}")
        order = order[1:] + order[:1]  # nobody always runs first, or always after the same neighbour
    if result.status == "WRONG":
        result.seconds = {}
    for name, values in result.seconds.items():
        if values and (min(values) <= 0.0 or max(values) > UNSTEADY * min(values)):
            rounds = ", ".join(f"{1e3 * value:.3g}" for value in values)
            result.reasons.append(f"{name} is unsteady, the rounds gave {rounds} ms: is the machine busy?")
    result.notes = {name: contender.note for name, contender in contenders.items()}
    return result


def _check(case, name, answer, result):
    if answer is None:
        return
    seen = result.differences.setdefault(name, {})
    for what, (difference, tolerance) in case.differences(name, answer).items():
        difference = float(difference)
        if not difference <= tolerance:  # so that nan is refused too
            _refuse(result, f"{name}: {what} differ(s) by {difference:.2g}, allowed {tolerance:.2g}")
        if not difference <= seen.get(what, -1.0):
            seen[what] = difference


def _refuse(result, reason):
    result.status = "WRONG"
    result.reasons.append(reason)


def timed(function, *args):
    """Return the seconds that ``function(*args)`` takes, and what it returns."""
    start = time.perf_counter()
    answer = function(*args)
    return time.perf_counter() - start, answer


def held_blas(threads):
    """Context that holds NumPy's and SciPy's BLAS to so many threads; None leaves them alone."""
    if threads is None:
        return contextlib.nullcontext()
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().limit(limits=threads, user_api="blas")


def faster_blas(run):
    """Run with BLAS on all cores and on one, for peers whose small products only lose by threads.

    Returns the better number of threads (None for all cores), its seconds and its answer.
    """
    trials = []
    for threads in (None, 1):
        with held_blas(threads):
            seconds, answer = timed(run)
        trials.append((seconds, threads, answer))
    seconds, threads, answer = min(trials, key=lambda trial: trial[0])
    return threads, seconds, answer


def seconds_per_iteration(run, few, many):
    """(t(many) - t(few)) / (many - few): checking the input, the first step and the last evaluation cancel.

    `run(iterations)` returns the iterations that really ran, which is what the difference is divided by. Pairs of
    runs are added up until they have taken SHORTEST.
    """
    total, difference, iterations = 0.0, 0.0, 0
    while total < SHORTEST:
        seconds_few, ran_few = timed(run, few)
        seconds_many, ran_many = timed(run, many)
        if ran_many <= ran_few:
            raise RuntimeError(f"stopped after {ran_many} of {many} iterations: nothing to measure")
        total += seconds_few + seconds_many
        difference += seconds_many - seconds_few
        iterations += ran_many - ran_few
    return difference / iterations
