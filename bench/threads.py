"""EM iterations of gaussum on one thread and on more."""

import functools
import os
from dataclasses import dataclass

from bench import solvers
from bench.mixtures import EMCase, iteration_contender


def cores():
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def counts(most):
    """1, 2, 4, ... and `most`, but no more than 16 threads."""
    return sorted({*(t for t in (1, 2, 4, 8) if t < most), min(most, 16)})


def label(threads):
    """The contender's name."""
    return f"{threads} thread{'s' * (threads > 1)}"


@dataclass(frozen=True)
class ThreadsCase:
    """`case`, by gaussum alone, on every number of threads up to the cores, or to the threads asked for."""

    case: EMCase
    ends_only: bool = False  # one thread and the most, nothing between
    group = "threads"

    @property
    def name(self):
        return f"threads-{self.case.name}"

    def shrunk(self):
        return type(self)(self.case.shrunk(), self.ends_only)

    def contenders(self, names, threads=None):
        """gaussum under one name for each number of threads."""
        if "gaussum" not in names:
            return {}
        X, start = self.case.data()
        most = threads or cores()
        return {
            label(t): iteration_contender(
                functools.partial(solvers.run_estimator, "gaussum", X, start, threads=t), own_threads=True
            )
            for t in (sorted({1, most}) if self.ends_only else counts(most))
        }

    def differences(self, name, answer):
        return self.case.differences("gaussum", answer)
