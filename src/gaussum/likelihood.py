"""The two steps of EM on given samples: compiled passes, divided among threads."""

import copy
import math
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Protocol, Self

import numpy as np

from gaussum import flat, parallel
from gaussum.covariance import second_shape
from gaussum.information import ObservedInformation
from gaussum.mixture_pass import MixturePass
from gaussum.parameters import MixtureParameters
from gaussum.rescue import CollapsedComponentWarning, collapsed, drop, mend, revive
from gaussum.samples import Samples
from gaussum.single_pass import SinglePass
from gaussum.skipping import Skipping
from gaussum.statistics import SufficientStatistics
from gaussum.typing import FloatArray, IndexArray, SampleArray

# From so many features on, LAPACK's factorisations in `maximize` would start threads of their own.
_BLAS_FEATURES = 32
# Seconds for a covariance's factorisation and inverse, by the cube of its size (measured at 200).
_FACTORISING = 7e-11
# A component that goes on collapsing is one too many.
_MOST_RESCUES = 3


def seconds(n_samples: int, n_features: int, n_components: int, covariance_type: str) -> float:
    """The time of one pass on one processor, roughly (measured with AVX-512): enough to decide on threads and parts."""
    per_pair = 0.8e-9 + 0.14e-9 * n_features
    if covariance_type == "full":
        per_pair += 0.02e-9 * n_features * n_features
    elif covariance_type == "tied":
        # one product for all components
        per_pair += 0.02e-9 * n_features * n_features / n_components
    return n_samples * n_components * per_pair


class MStep(Protocol):
    """An M-step other than the plain one; see `MixtureLikelihood`."""

    def maximize(self, statistics: SufficientStatistics) -> MixtureParameters: ...

    # of what `maximize` gives, which may be more than MixtureParameters
    def penalty(self, parameters: Any, /) -> float: ...


class MixtureLikelihood:
    """The likelihood of mixtures of one shape, given samples.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (n_samples, n_features)
        Any strides; read block by block and never copied.
    covariance_type : {"full", "tied", "diag", "spherical"}
    n_components : int
    sample_weight : ndarray of float64, shape (n_samples,), or None
    ridge : ndarray, shape (n_features,), or None
        Scatter added to every covariance's numerator; None adds nothing.
    n_threads : int or None
    spread : tuple of two ndarrays of shape (n_features,), optional
        Means and variances of the features: with them, passes over float32 samples compute in float32 inside a block
        as long as `exact` is False, which it is at first, and as parameters allow it.
    m_step : object, optional
        An M-step other than the plain one, for constrained covariances or priors: its `maximize(statistics)` gives the
        MixtureParameters, log_det being NaN for a component whose covariance is singular, and its `penalty(parameters)`
        what is taken off the log-likelihood beyond the ridge's penalty. A prior has a `mass`, what it adds to that of
        a component, in samples.
    blur : ndarray, shape (n_features, n_flat), optional
        Of gaussum.flat, where the data do not vary in all directions: objectives are then those of blurred samples.
    n_parts : int, optional
        The parts that passes are divided into; by default by the size of the problem alone.
    lasting : bool
        Whether passes may learn from those before. Otherwise each is a function of its parameters alone.
    """

    def __init__(
        self, X: SampleArray, covariance_type: str, n_components: int, *, sample_weight: FloatArray | None = None,
        ridge: FloatArray | None = None, n_threads: int | None = None,
        spread: tuple[FloatArray, FloatArray] | None = None, m_step: MStep | None = None,
        blur: FloatArray | None = None, n_parts: int | None = None, lasting: bool = True,
    ) -> None:
        self.X = X
        self.covariance_type = covariance_type
        self.n_components = n_components
        self.sample_weight = sample_weight
        self.restart()
        n_samples, n_features = X.shape
        self.ridge = np.zeros(n_features) if ridge is None else ridge
        work = seconds(n_samples, n_features, n_components, covariance_type)
        samples = Samples(X)
        n_parts = n_parts or parallel.n_parts(n_samples, work)
        shape = samples, covariance_type, n_components, sample_weight, n_parts, self.ridge
        self._pass = MixturePass(*shape)
        self._m_step = m_step
        self._blur = blur
        # made when it is asked for
        self._information: ObservedInformation | None = None
        self._new_information: Callable[[], ObservedInformation] | None = None
        plain = lasting and m_step is None and blur is None
        if plain and ObservedInformation.applies(covariance_type, n_components, n_features):
            self._new_information = partial(ObservedInformation, *shape)
        self._single: SinglePass | None = None
        if spread is not None and X.dtype == np.float32:
            self._single = SinglePass(*shape, spread[0], np.sqrt(spread[1]))
        self._second_shape = second_shape(covariance_type, n_components, n_features)
        self._limit = n_threads
        self._n_threads = min(parallel.resolve_threads(n_threads, work), self._pass.n_parts)
        # little work runs in one call, much of it part by part, so that Ctrl-C is seen
        self._small = work < 0.1
        self._in_one_call = self._n_threads == 1 and self._small
        self._scratch_size = (self._single or self._pass).scratch_size
        self._scratch = [np.empty(self._scratch_size) for _ in range(self._n_threads)]
        # statistics of parts that are merged: large buffers cost more to get from the system than to clear
        self._merged: deque[FloatArray] = deque()
        # made by the first run: predictions need none
        self._skipping: Skipping | None = None
        self._new_skipping: Callable[[int], Skipping] | None = None
        if lasting and Skipping.applies(n_samples, n_components):
            self._new_skipping = partial(Skipping, samples, covariance_type, n_components, sample_weight, work)

    @property
    def m_step(self) -> MStep | None:
        """The M-step that was given in place of the plain one, or None."""
        return self._m_step

    @property
    def part_size(self) -> int:
        """Samples of a part, but for the last one."""
        return self._pass.part_size

    def restart(self) -> None:
        """Begin a run of EM, which does not depend on those before."""
        self.n_rescues = self.n_passes = 0
        self.exact = False

    @property
    def noise(self) -> float:
        """The rounding error of objectives, relative to their size or 1; 0 in float64, where it is negligible."""
        # errors of samples are random
        return 0.0 if self._single is None or self.exact else 2.0**-23 / math.sqrt(self.X.shape[0])

    @property
    def prior_mass(self) -> float:
        """What a prior adds to the mass of every component, in samples."""
        mass: float = getattr(self._m_step, "mass", 0.0)
        return mass

    def threads_beside(self, n_runs: int) -> int:
        """The threads on which to run EM so many times side by side; 1 for one run after the other."""
        n_samples, n_features = self.X.shape
        work = seconds(n_samples, n_features, self.n_components, self.covariance_type)
        return parallel.threads_beside(n_runs, n_samples, work, self._limit)

    def alone(self) -> Self:
        """The same likelihood on one thread, with a scratch and hints of its own."""
        own = copy.copy(self)
        own._n_threads, own._in_one_call = 1, self._small
        own._scratch = [np.empty(self._scratch_size)]
        own._skipping = None
        own.restart()
        return own

    def evaluate(self, parameters: MixtureParameters) -> tuple[SufficientStatistics, float]:
        """The E-step: the sufficient statistics under these parameters, about their means, and the objective.

        The objective is what EM increases: (log-likelihood - penalty) / total weight.
        """
        statistics = self.statistics(parameters)
        objective = self._pass.objective(parameters.buffer, statistics.buffer)
        if self._m_step is not None:
            objective -= self._m_step.penalty(parameters) / statistics.total_weight
        return statistics, objective

    def statistics(self, parameters: MixtureParameters) -> SufficientStatistics:
        """The sufficient statistics under these parameters, about their means."""
        parallel.check()
        if self._blur is None:
            return self._statistics(parameters)
        statistics = self._statistics(flat.blurred(parameters, self._blur))
        flat.widen(statistics, self._blur)
        statistics.parameters = parameters
        return statistics

    def _statistics(self, parameters: MixtureParameters) -> SufficientStatistics:
        if self._new_skipping is not None and self.n_passes == 0:
            if self._skipping is None:
                self._skipping = self._new_skipping(self._n_threads)
            else:
                self._skipping.restart()
        self.n_passes += 1
        buffer = np.zeros(self._pass.statistics_size)
        if self._skipping is not None and self._skipping.add_statistics(parameters, buffer):
            return SufficientStatistics(self.covariance_type, parameters.means, buffer, parameters)
        compute = self._pass
        if self._single is not None and not self.exact and self._single.accurate(parameters.buffer):
            compute = self._single
        if self._in_one_call:
            compute.em(0, compute.n_parts, parameters.buffer, buffer, self._scratch[0])
        else:
            self._in_parts(compute, parameters.buffer, buffer)
        return SufficientStatistics(self.covariance_type, parameters.means, buffer, parameters)

    def information(self, parameters: MixtureParameters) -> FloatArray | None:
        """Minus the second derivatives of total weight times the objective (see ObservedInformation.at), or None.

        None where they would take too long; counted as the passes that they take the time of.
        """
        if self._new_information is None:
            return None
        if self._information is None:
            self._information = self._new_information()
        self.n_passes += self._information.cost
        return self._information.at(parameters, self._n_threads)

    def _in_parts(self, compute: MixturePass, parameters: FloatArray, total: FloatArray) -> None:
        def work(part: int, slot: int) -> FloatArray:
            try:
                own = self._merged.pop()
                own.fill(0.0)
            except IndexError:
                own = np.zeros_like(total)
            compute.em(part, part + 1, parameters, own, self._scratch[slot])
            return own

        def merge(own: FloatArray) -> None:
            np.add(total, own, out=total)
            self._merged.append(own)

        parallel.run(compute.n_parts, self._n_threads, work, merge)

    def partition_statistics(
        self, origins: FloatArray, responsibilities: IndexArray | Callable[[int, int], FloatArray],
    ) -> SufficientStatistics:
        """The statistics of a given partition: labels, or a function (start, stop) -> (n_components, stop - start)."""
        total = SufficientStatistics(self.covariance_type, origins)
        self._pass.partition(0, self._pass.n_parts, origins, responsibilities, total.buffer, self._scratch[0])
        return total

    def maximize(self, statistics: SufficientStatistics) -> MixtureParameters:
        """The M-step: the parameters that maximise the expected complete log-likelihood less the penalty.

        Components that hold nothing, or whose covariance is singular, take half of what the heaviest of the others
        holds, and a CollapsedComponentWarning is given; when that has happened often since `restart`, they are left
        without weight.

        Raises
        ------
        CollapseError
            No component is left.
        """
        if self._m_step is not None:
            parameters = self._m_step.maximize(statistics)
        else:
            parameters = self._maximize(statistics)
        # a prior keeps components that hold nothing
        may_starve = self.prior_mass > 0.0
        lost = collapsed(parameters, self.X.shape[0], may_starve)
        if self.noise > 0.0 and statistics.parameters is not None and not np.isfinite(parameters.log_det).all():
            # float32's rounding may have made it singular
            self.exact = True
            return self.maximize(self.statistics(statistics.parameters))
        if lost.size:
            mend(parameters, lost)
            lost = collapsed(parameters, self.X.shape[0], may_starve)
        if lost.size:
            self._rescue(parameters, lost, statistics.parameters)
        return parameters

    def _maximize(self, statistics: SufficientStatistics) -> MixtureParameters:
        parameters = self.blank_parameters(np.empty(self._second_shape))
        arrays = statistics.buffer, statistics.origins, parameters.buffer, parameters.covariances.reshape(-1)
        K, d = self.n_components, self.X.shape[1]
        full = self.covariance_type == "full"
        if full and min(self._n_threads, parallel.resolve_threads(self._limit, _FACTORISING * K * d**3)) > 1:
            parallel.run(
                K, self._n_threads, lambda k, slot: self._pass.maximize(*arrays, self._scratch[slot], k, k + 1)
            )
        else:
            self._pass.maximize(*arrays, self._scratch[0])
        return parameters

    def blank_parameters(self, covariances: FloatArray | None = None) -> MixtureParameters:
        """Parameters of this shape, still to be filled in."""
        return MixtureParameters(
            self.covariance_type, self.n_components, self.X.shape[1], np.empty(self._pass.parameters_size), covariances
        )

    def _rescue(self, parameters: MixtureParameters, lost: IndexArray, before: MixtureParameters | None) -> None:
        if self.n_rescues > _MOST_RESCUES and before is not None and not before.weights[lost].any():
            # they had been left without weight
            drop(parameters, lost)
            return
        self.n_rescues += 1
        dropping = self.n_rescues > _MOST_RESCUES
        if self.n_rescues in (1, _MOST_RESCUES + 1):
            parallel.warn(
                f"component(s) {', '.join(map(str, lost))} collapsed (no samples left, or a singular covariance) and "
                f"{'lost their weight' if dropping else 'took half of what the heaviest of the others held'}; "
                "fewer components or a larger reg_covar avoid this",
                CollapsedComponentWarning,
            )
        if dropping:
            drop(parameters, lost)
        else:
            unit = np.sqrt(self.ridge)
            revive(parameters, lost, np.where(unit > 0.0, unit, 1.0))

    def log_likelihood(self, parameters: MixtureParameters, statistics: SufficientStatistics) -> float:
        """The mean log-likelihood of the samples as they are, without penalties; `statistics` are of `parameters`."""
        if self._blur is not None:
            statistics = self._statistics(parameters)
        return statistics.log_likelihood / statistics.total_weight

    def exclusive_blas(self) -> AbstractContextManager[None]:
        """The context in which to call `maximize` and `information` again and again: small matrices want one thread."""
        full = self.covariance_type in ("full", "tied") and self.X.shape[1] >= _BLAS_FEATURES
        return parallel.single_threaded_blas() if full or self._new_information is not None else nullcontext()

    def predict(
        self, parameters: MixtureParameters, *, log_density: FloatArray | None = None,
        labels: IndexArray | None = None, resp: FloatArray | None = None, log_largest: FloatArray | None = None,
    ) -> None:
        """Fill the given arrays: log p_i, argmax_k r_ik, r_ik and log max_k r_ik."""
        def work(part: int, slot: int) -> None:
            self._pass.predict(
                part, part + 1, parameters.buffer, self._scratch[slot], log_density, labels, resp, log_largest
            )

        parallel.run(self._pass.n_parts, self._n_threads, work)
