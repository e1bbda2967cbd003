"""When a pass over the samples may leave components out, and what it needs to know for that."""

import math

import numpy as np

from gaussum import parallel
from gaussum.parameters import MixtureParameters
from gaussum.samples import Samples
from gaussum.skipping_pass import SkippingPass
from gaussum.typing import FloatArray

# With fewer components there is little to leave out; with more, the table of their reaches outgrows 8 MB.
_FEWEST, _MOST = 16, 1024
# Samples a component, in all and in a part: with fewer the table costs too much, or too few share a hint.
_SAMPLES_PER_COMPONENT = 64
# The part of all pairs of samples and components below which skipping pays: as expected from the table, as measured.
_EXPECTED, _MEASURED = 0.35, 0.4
# The column of the table's counts that belongs to the radius of almost all samples of a component.
_USUAL = 1
# The expectation comes from every so many of the table's rows first: where nothing can be left out it costs little.
_PROBE = 8
# Where it does not pay, passes until it is tried again: doubled each time, up to this many.
_LONGEST_PAUSE = 32
# A skipping pass takes this part of the full pass's time, or less where components are many: enough to decide on parts.
_SHARE = 0.1


class Skipping:
    """Passes of one mixture's shape over one set of samples, which skip where it pays.

    Parameters
    ----------
    samples : gaussum.samples.Samples
    covariance_type : {"full", "tied", "diag", "spherical"}
    n_components : int
    sample_weight : ndarray of float64, shape (n_samples,), or None
    seconds : float
        What a pass over all components takes on one processor.
    n_threads : int

    Attributes
    ----------
    n_pairs : int
        Pairs of a sample and a component that the last skipping pass evaluated.
    """

    @staticmethod
    def applies(n_samples: int, n_components: int) -> bool:
        """Whether there may be anything to gain."""
        return _FEWEST <= n_components <= _MOST and n_samples >= _SAMPLES_PER_COMPONENT * n_components

    def __init__(
        self, samples: Samples, covariance_type: str, n_components: int, sample_weight: FloatArray | None,
        seconds: float, n_threads: int,
    ) -> None:
        n_parts = parallel.n_parts(samples.n, _SHARE * seconds, smallest=_SAMPLES_PER_COMPONENT * n_components)
        self._pass = SkippingPass(samples, covariance_type, n_components, sample_weight, n_parts)
        self._n_threads = n_threads
        self._table_parts = parallel.n_parts(n_components, seconds * n_components / samples.n, smallest=16)
        self._order = [np.empty(self._pass.order_size, dtype=np.intp) for _ in range(n_threads)]
        self._scratch = [
            np.empty(max(self._pass.scratch_size, self._pass.reach_scratch_size)) for _ in range(n_threads)
        ]
        self.restart()

    def restart(self) -> None:
        """Forget what passes before have shown: what follows does not depend on them."""
        self.n_pairs = 0
        self._hinted = False
        self._pass.hints[:] = 0
        self._pause = self._waiting = 0

    def add_statistics(self, parameters: MixtureParameters, total: FloatArray) -> bool:
        """Add the statistics under these parameters to `total`, a buffer; False, and nothing done, if it is no gain."""
        if self._waiting:
            self._waiting -= 1
            return False
        with np.errstate(divide="ignore"):
            log_weights = np.log(parameters.weights)
        log_peak = parameters.log_det - 0.5 * parameters.n_features * math.log(2.0 * math.pi)
        log_const = log_weights + log_peak
        log_peak[parameters.weights == 0] = -np.inf
        chol = parameters.precisions_chol
        side_by_side = chol if parameters.covariance_type == "tied" else np.moveaxis(chol, 0, -1)
        tables = np.ascontiguousarray(parameters.means.T), np.ascontiguousarray(side_by_side).ravel(), log_peak
        self._pass.separate(0, len(log_weights), _PROBE, *tables, log_const, self._scratch[0])
        if not self._promises(parameters.weights, _PROBE):
            self._wait()
            return False
        bounds = np.linspace(0, len(log_weights), self._table_parts + 1).astype(int)
        parallel.run(
            self._table_parts, self._n_threads,
            lambda part, slot: self._pass.separate(
                bounds[part], bounds[part + 1], 1, *tables, log_const, self._scratch[slot]
            ),
        )
        if not self._promises(parameters.weights, 1):
            self._wait()
            return False
        hinted, self.n_pairs = self._hinted, 0

        def work(part: int, slot: int) -> tuple[FloatArray, int]:
            own = np.zeros_like(total)
            n_pairs = self._pass.em_skipping(
                part, part + 1, parameters.buffer, log_const, log_weights, hinted, own,
                self._order[slot], self._scratch[slot],
            )
            return own, n_pairs

        def merge(result: tuple[FloatArray, int]) -> None:
            np.add(total, result[0], out=total)
            self.n_pairs += result[1]

        parallel.run(self._pass.n_parts, self._n_threads, work, merge)
        self._hinted = True
        if hinted and self.n_pairs > _MEASURED * self._pass.hints.size * len(log_weights):
            self._wait()
        elif hinted:
            self._pause = 0
        return True

    def _promises(self, weights: FloatArray, step: int) -> bool:
        """Whether samples of usual radii have few components in reach, by every `step`-th row of the table."""
        weights = weights[::step]
        return bool(weights @ self._pass.near[::step, _USUAL] < _EXPECTED * len(self._pass.near) * weights.sum())

    def _wait(self) -> None:
        self._pause = min(2 * self._pause + 1, _LONGEST_PAUSE)
        self._waiting = self._pause
