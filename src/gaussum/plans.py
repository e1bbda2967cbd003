"""Plans of kernel sums: what each is expected to cost, and which is taken.

A choice depends neither on the number of threads nor on what earlier calls have built, so no bit of a result does.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from gaussum import parallel
from gaussum.decay import Decay
from gaussum.tree import build_seconds, least_seconds
from gaussum.typing import FloatArray, IndexArray, SampleArray
from gaussum.validation import check_choice

# What a tree costs before its first point; it is built, to learn what it costs, where that takes no more than this
# share of another plan.
TREE_SECONDS = 500e-6
TREE_SHARE = 0.1
# Another plan than the exact one has to promise this much.
_WORTH = 1.2
# Targets a block: with their sums and a block of sources they stay in L1 in low dimensions, in L2 above.
_BLOCK = 256
_SMALLEST_BLOCK = 32
# What may be asked for, and the plan that it is. scikit-learn's two trees are the one there is.
ALGORITHMS: dict[str, str | None] = {
    "auto": None, "direct": "direct", "grid": "grid", "tree": "tree", "kd_tree": "tree", "ball_tree": "tree",
}


class Sum(Protocol):
    """What is asked of a weighted sum of kernels."""

    def sources(self, index: IndexArray | slice = ...) -> FloatArray: ...
    def draw(self, index: IndexArray, rng: np.random.Generator) -> FloatArray: ...
    def plan(self, X: SampleArray, rtol: float = ..., *, n_threads: int | None = ...) -> "Plan": ...
    def log_density(self, X: SampleArray, *, rtol: float = ..., n_threads: int | None = ...) -> FloatArray: ...
    def leave_one_out(self, *, rtol: float = ..., n_threads: int | None = ...) -> FloatArray: ...


class FreeSum(Sum, Protocol):
    """And of one without bounds, which may be given some."""

    @property
    def decay(self) -> Decay: ...
    def distribution(self) -> Any: ...
    def log_density_without(
        self, own: IndexArray, X: FloatArray, *, rtol: float = ..., n_threads: int | None = ...
    ) -> FloatArray: ...


# ``make(X, log_weights, h)`` for samples, the logarithms of their weights, and bandwidths or a covariance matrix.
Make: TypeAlias = Callable[[SampleArray, FloatArray, FloatArray], FreeSum]


class DirectPass(Protocol):
    """What is asked of the direct sums of blocks of targets."""

    @property
    def n_parts(self) -> int: ...
    @property
    def scratch_size(self) -> int: ...
    def log_density(self, first: int, last: int, out: FloatArray, scratch: FloatArray) -> None: ...


@dataclass(frozen=True)
class Plan:
    """How a Gaussian sum will be taken.

    Attributes
    ----------
    name : {"direct", "grid", "tree", "product"}
    reason : str
    seconds : float
        Expected on one thread, what has to be built for it included.
    costs : dict
        Expected seconds of every plan that would do, by name.
    """

    name: str
    reason: str
    seconds: float
    costs: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        others = ", ".join(f"{name} {cost:.3g} s" for name, cost in self.costs.items() if name != self.name)
        return f"{self.name}: {self.reason}; about {self.seconds:.3g} s on one thread" + (
            f" ({others})" if others else ""
        )


_Pass = TypeVar("_Pass", bound=DirectPass)


def check_algorithm(algorithm: str, rtol: float) -> None:
    """Refuse an algorithm that there is not, or that only approximates where an exact sum is asked for.

    Raises
    ------
    TypeError, ValueError
    """
    check_choice(algorithm, "algorithm", tuple(ALGORITHMS))
    if rtol == 0.0 and algorithm in ("grid", "tree"):
        raise ValueError(
            f"algorithm is {algorithm!r} and rtol is 0, which asks for every pair; expected an rtol > 0, or the "
            "algorithm 'direct' or 'auto'"
        )


def direct(seconds: float) -> Plan:
    """The plan where no error is allowed."""
    return Plan("direct", "rtol = 0 asks for every pair", seconds, {"direct": seconds})


def asked_for(algorithm: str, costs: dict[str, float]) -> Plan:
    """The plan that an algorithm asks for."""
    only = "; the tree here is one of boxes" if algorithm == "ball_tree" else ""
    name = ALGORITHMS[algorithm] or "direct"
    return Plan(name, f"algorithm={algorithm!r} asks for it{only}", costs[name], costs)


def cheapest(costs: dict[str, float], reasons: dict[str, str]) -> Plan:
    """The plan that costs least.

    Parameters
    ----------
    costs : dict of str to float
        Expected seconds, of the exact plan first, which another one has to undercut by some.
    reasons : dict of str to str
        Why it would be this one.
    """
    exact = next(iter(costs))
    name = min(costs, key=lambda name: costs[name] * (1.0 if name == exact else _WORTH))
    return Plan(name, reasons[name], costs[name], costs)


def tree_may_pay(
    n_sources: int, n_targets: int, d: int, least: float, share_near: Callable[[], float] | None = None
) -> bool:
    """Whether a tree could cost less than `least`; a tree tells more, but has to be built for it.

    Parameters
    ----------
    n_sources, n_targets, d : int
    least : float
        Seconds of the best plan so far.
    share_near : callable, optional
        Gives the share of the sources that no target may leave out, where it is not clear without.
    """
    build = TREE_SECONDS + build_seconds(n_sources, d)
    if TREE_SHARE * least <= build or _WORTH * (build + least_seconds(n_sources, n_targets, d, 0.0)) >= least:
        return False
    if share_near is None:
        return True
    return _WORTH * (build + least_seconds(n_sources, n_targets, d, n_sources * share_near())) < least


def sums_in_parts(
    make_pass: Callable[[int, int], _Pass], n_targets: int, seconds: float, n_threads: int | None,
    of: Callable[[_Pass, int, FloatArray, FloatArray], None] | None = None,
) -> FloatArray:
    """The log sums of a direct pass over targets, shape (n_targets,).

    Parameters
    ----------
    make_pass : callable
        ``make_pass(block, n_parts)`` is the pass, of so many targets a block.
    n_targets : int
    seconds : float
        What that takes on one thread.
    n_threads : int or None
    of : callable, optional
        ``of(made, part, out, scratch)`` sets the log sums of a part, by that pass; its own method by default.
    """
    # few targets are divided finely, so that all threads have some; the parts do not depend on how many there are
    block = _BLOCK
    while block > _SMALLEST_BLOCK and n_targets < 16 * block:
        block //= 2
    sums = make_pass(block, parallel.n_parts(n_targets, seconds, smallest=block))
    n_threads = min(parallel.resolve_threads(n_threads, seconds), sums.n_parts)
    scratch = [np.empty(sums.scratch_size) for _ in range(n_threads)]
    out = np.empty(n_targets)

    def work(part: int, slot: int) -> None:
        if of is None:
            sums.log_density(part, part + 1, out, scratch[slot])
        else:
            of(sums, part, out, scratch[slot])

    parallel.run(sums.n_parts, n_threads, work)
    return out
