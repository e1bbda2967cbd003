"""Growth of the peak resident memory during one fit, beside the size of an n_samples x n_components array.

``python -m bench.memory NAME N D K`` measures one library in a process of its own and prints JSON.
"""

import ctypes
import json
import subprocess
import sys
import warnings

from bench import solvers
from bench.timing import Result

TOLERATED_MB = 32.0  # gaussum must stay below this, and below the n x K array


class MemoryCase:
    """Peak megabytes above the data; gaussum and scikit-learn begin with their own initialisation."""

    group = "memory"

    def __init__(self, n, d, K):
        self.n, self.d, self.K = n, d, K

    @property
    def name(self):
        return f"memory-{self.n}x{self.d}-k{self.K}"

    def shrunk(self):
        return MemoryCase(self.n // 4, self.d, self.K)

    def run(self, names, repeats, threads=None):
        """Return a Result whose notes hold the megabytes; gaussum above its limit is WRONG."""
        result = Result(self.name, self.group)
        array = self.n * self.K * 8 / 1e6
        for name in names:
            if name not in ("gaussum", "scikit-learn", "oneDAL"):
                continue
            arguments = [name, self.n, self.d, self.K]
            command = [sys.executable, "-m", "bench.memory", *map(str, arguments)]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                result.status = "WRONG"
                result.reasons.append(f"{name} failed: {run.stderr.strip().splitlines()[-1:]}")
                continue
            growth = json.loads(run.stdout)["growth_mb"]
            result.notes[name] = {"peak_growth_mb": growth, "samples_by_components_mb": array}
            if name == "gaussum" and growth is not None and growth > min(TOLERATED_MB, array):
                result.status = "WRONG"
                result.reasons.append(f"peak grew by {growth:.1f} MB, allowed {min(TOLERATED_MB, array):.1f}")
        return result


def _resident(key):
    """A value of /proc/self/status in MB."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(key + ":")) * 1024 / 1e6


def measure(name, n, d, K):
    """Megabytes by which the peak rose above what was resident before the fit; None where it is not told."""
    X, start = solvers.problem(n, d, K, "full")
    fit = {
        "gaussum": lambda X: _few_iterations("gaussum", X, K),
        "scikit-learn": lambda X: _few_iterations("scikit-learn", X, K),
        "oneDAL": lambda X: solvers.run_onedal(X, start, 3),
    }[name]
    fit(X[:5000].copy())  # libraries loaded, threads started
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before would hide as much new memory
        with open("/proc/self/clear_refs", "w") as clear:
            clear.write("5")  # resets the peak to what is resident now
        before = _resident("VmRSS")
        fit(X)
        return _resident("VmHWM") - before
    except (OSError, AttributeError):
        return None


def _few_iterations(name, X, K):
    if name == "gaussum":
        from gaussum import GaussianMixture
    else:
        from sklearn.mixture import GaussianMixture
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        GaussianMixture(K, max_iter=3, random_state=0).fit(X)


if __name__ == "__main__":
    print(json.dumps({"growth_mb": measure(sys.argv[1], *map(int, sys.argv[2:]))}))
