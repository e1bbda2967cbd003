"""The two steps of EM on given samples: compiled passes, divided among threads."""

import copy
import math
from contextlib import nullcontext
from functools import partial

import numpy as np

from gaussum import parallel
from gaussum.covariance import second_shape
from gaussum.information import ObservedInformation
from gaussum.mixture_pass import MixturePass
from gaussum.parameters import MixtureParameters
from gaussum.samples import Samples
from gaussum.single_pass import SinglePass
from gaussum.skipping import Skipping
from gaussum.statistics import SufficientStatistics

# From so many features on, LAPACK's factorisations in `maximize` would start threads of their own.
_BLAS_FEATURES = 32
_MOST_RESCUES = 10


class CollapseError(ArithmeticError):
    """A run of EM came to nothing: other starts may still do better."""


class CollapsedComponentWarning(UserWarning):
    """A component lost its samples or its covariance became singular; it was put back in play, or dropped."""


def seconds(n_samples, n_features, n_components, covariance_type):
    """The time of one pass on one processor, roughly (measured with AVX-512): enough to decide on threads and parts."""
    per_pair = 0.8e-9 + 0.14e-9 * n_features
    if covariance_type == "full":
        per_pair += 0.02e-9 * n_features * n_features
    elif covariance_type == "tied":
        # one product for all components
        per_pair += 0.02e-9 * n_features * n_features / n_components
    return n_samples * n_components * per_pair


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
        what is taken off the log-likelihood beyond the ridge's penalty.
    """

    def __init__(
        self, X, covariance_type, n_components, *, sample_weight=None, ridge=None, n_threads=None, spread=None,
        m_step=None,
    ):
        self.X = X
        self.covariance_type = covariance_type
        self.n_components = n_components
        self.sample_weight = sample_weight
        self.restart()
        self.ridge = np.zeros(X.shape[1]) if ridge is None else ridge
        work = seconds(*X.shape, n_components, covariance_type)
        samples = Samples(X)
        shape = samples, covariance_type, n_components, sample_weight, parallel.n_parts(X.shape[0], work), self.ridge
        self._pass = MixturePass(*shape)
        self._m_step = m_step
        # made when it is asked for
        self._information = None
        self._new_information = None
        if m_step is None and ObservedInformation.applies(covariance_type, n_components, X.shape[1]):
            self._new_information = partial(ObservedInformation, *shape)
        self._single = None
        if spread is not None and X.dtype == np.float32:
            self._single = SinglePass(*shape, spread[0], np.sqrt(spread[1]))
        self._second_shape = second_shape(covariance_type, n_components, X.shape[1])
        self._limit = n_threads
        self._n_threads = min(parallel.resolve_threads(n_threads, work), self._pass.n_parts)
        # little work runs in one call, much of it part by part, so that Ctrl-C is seen
        self._small = work < 0.1
        self._in_one_call = self._n_threads == 1 and self._small
        self._scratch_size = (self._single or self._pass).scratch_size
        self._scratch = [np.empty(self._scratch_size) for _ in range(self._n_threads)]
        # made by the first run: predictions need none
        self._skipping = self._new_skipping = None
        if Skipping.applies(X.shape[0], n_components):
            self._new_skipping = partial(Skipping, samples, covariance_type, n_components, sample_weight, work)

    @property
    def m_step(self):
        """The M-step that was given in place of the plain one, or None."""
        return self._m_step

    def restart(self):
        """Begin a run of EM, which does not depend on those before."""
        self.n_rescues = self.n_passes = 0
        self.exact = False

    @property
    def noise(self):
        """The rounding error of objectives, relative to their size or 1; 0 in float64, where it is negligible."""
        # errors of samples are random
        return 0.0 if self._single is None or self.exact else 2.0**-23 / math.sqrt(self.X.shape[0])

    def threads_beside(self, n_runs):
        """The threads on which to run EM so many times side by side; 1 for one run after the other."""
        work = seconds(*self.X.shape, self.n_components, self.covariance_type)
        return parallel.threads_beside(n_runs, self.X.shape[0], work, self._limit)

    def alone(self):
        """The same likelihood on one thread, with a scratch and hints of its own."""
        own = copy.copy(self)
        own._n_threads, own._in_one_call = 1, self._small
        own._scratch = [np.empty(self._scratch_size)]
        own._skipping = None
        return own

    def evaluate(self, parameters):
        """The E-step: the sufficient statistics under these parameters, about their means, and the objective.

        The objective is what EM increases: (log-likelihood - penalty) / total weight.
        """
        statistics = self.statistics(parameters)
        objective = self._pass.objective(parameters.buffer, statistics.buffer)
        if self._m_step is not None:
            objective -= self._m_step.penalty(parameters) / statistics.total_weight
        return statistics, objective

    def statistics(self, parameters):
        """The sufficient statistics under these parameters, about their means."""
        parallel.check()
        if self._new_skipping is not None and self.n_passes == 0:
            if self._skipping is None:
                self._skipping = self._new_skipping(self._n_threads)
            else:
                self._skipping.restart()
        self.n_passes += 1
        buffer = np.zeros(self._pass.statistics_size)
        if self._skipping is not None and self._skipping.add_statistics(parameters, buffer):
            return SufficientStatistics(self.covariance_type, parameters.means, buffer)
        compute = self._pass
        if self._single is not None and not self.exact and self._single.accurate(parameters.buffer):
            compute = self._single
        if self._in_one_call:
            compute.em(0, compute.n_parts, parameters.buffer, buffer, self._scratch[0])
        else:
            self._in_parts(compute, parameters.buffer, buffer)
        return SufficientStatistics(self.covariance_type, parameters.means, buffer)

    def information(self, parameters):
        """Minus the second derivatives of total weight times the objective (see ObservedInformation.at), or None.

        None where they would take too long; counted as the passes that they take the time of.
        """
        if self._new_information is None:
            return None
        if self._information is None:
            self._information = self._new_information()
        self.n_passes += self._information.cost
        return self._information.at(parameters, self._n_threads)

    def _in_parts(self, compute, parameters, total):
        def work(part, slot):
            own = np.zeros_like(total)
            compute.em(part, part + 1, parameters, own, self._scratch[slot])
            return own

        parallel.run(compute.n_parts, self._n_threads, work, lambda own: np.add(total, own, out=total))

    def partition_statistics(self, origins, responsibilities):
        """The statistics of a given partition: labels, or a function (start, stop) -> (n_components, stop - start)."""
        total = SufficientStatistics(self.covariance_type, origins)
        self._pass.partition(0, self._pass.n_parts, origins, responsibilities, total.buffer, self._scratch[0])
        return total

    def maximize(self, statistics):
        """The M-step: the parameters that maximise the expected complete log-likelihood less the penalty.

        Components that hold nothing, or whose covariance is singular, are spread over the whole data again, with
        the mass of one sample, and a CollapsedComponentWarning is given; when that has happened often since
        `n_rescues` was set to 0, they are left without weight.

        Raises
        ------
        CollapseError
            No component is left.
        """
        if self._m_step is not None:
            parameters = self._m_step.maximize(statistics)
            if not np.isfinite(parameters.log_det).all():
                self._rescue(parameters, statistics)
            return parameters
        parameters = self.blank_parameters(np.empty(self._second_shape))
        sound = self._pass.maximize(
            statistics.buffer, statistics.origins, parameters.buffer, parameters.covariances.reshape(-1),
            self._scratch[0],
        )
        if not sound:
            self._rescue(parameters, statistics)
        return parameters

    def blank_parameters(self, covariances=None):
        """Parameters of this shape, still to be filled in."""
        return MixtureParameters(
            self.covariance_type, self.n_components, self.X.shape[1], np.empty(self._pass.parameters_size), covariances
        )

    def _rescue(self, parameters, statistics):
        weights, means, covariances = parameters.weights, parameters.means, parameters.covariances
        chol, log_det = parameters.precisions_chol, parameters.log_det
        lost = np.flatnonzero(~np.isfinite(log_det))
        alive = np.setdiff1d(np.arange(len(weights)), lost)
        mass = weights[alive].sum()
        if not mass > 0.0:
            raise CollapseError("no component holds any sample, or the covariance they share is singular")
        self.n_rescues += 1
        drop = self.n_rescues > _MOST_RESCUES
        if self.n_rescues <= _MOST_RESCUES + 1:
            parallel.warn(
                f"component(s) {', '.join(map(str, lost))} collapsed (no samples left, or a singular covariance) and "
                f"{'lost their weight' if drop else 'were spread over the whole data again'}; "
                "fewer components or a larger reg_covar avoid this",
                CollapsedComponentWarning,
            )
        # the spread of the others about their mean; the lost are set down at different places within it
        center = weights[alive] @ means[alive] / mass
        variance = weights[alive] @ (means[alive] - center) ** 2 / mass
        second = statistics.second if self.covariance_type == "tied" else statistics.second[alive]
        variance += _diagonal_mass(self.covariance_type, second, means.shape[1]) / statistics.total_weight
        variance += self.ridge / statistics.total_weight
        variance[variance <= 0] = variance[variance > 0].min(initial=1.0)
        if self.covariance_type != "tied":
            means[lost] = center + np.linspace(-1, 1, len(lost) + 2)[1:-1, np.newaxis] * np.sqrt(variance)
        for k in lost:
            if self.covariance_type == "full":
                covariances[k], chol[k] = np.diag(variance), np.diag(variance**-0.5)
            elif self.covariance_type == "tied":
                covariances[:], chol[:] = np.diag(variance), np.diag(variance**-0.5)
            elif self.covariance_type == "diag":
                covariances[k], chol[k] = variance, variance**-0.5
            else:
                covariances[k], chol[k] = variance.mean(), variance.mean() ** -0.5
            if self.covariance_type == "spherical":
                log_det[k] = -0.5 * means.shape[1] * np.log(variance.mean())
            else:
                log_det[k] = -0.5 * np.log(variance).sum()
        weights[lost] = 0.0 if drop else np.maximum(weights[lost], 1.0 / self.X.shape[0])
        weights /= weights.sum()

    def exclusive_blas(self):
        """The context in which to call `maximize` and `information` again and again: small matrices want one thread."""
        full = self.covariance_type in ("full", "tied") and self.X.shape[1] >= _BLAS_FEATURES
        return parallel.single_threaded_blas() if full or self._new_information is not None else nullcontext()

    def predict(self, parameters, *, log_density=None, labels=None, resp=None, log_largest=None):
        """Fill the given arrays: log p_i, argmax_k r_ik, r_ik and log max_k r_ik."""
        def work(part, slot):
            self._pass.predict(
                part, part + 1, parameters.buffer, self._scratch[slot], log_density, labels, resp, log_largest
            )

        parallel.run(self._pass.n_parts, self._n_threads, work)


def _diagonal_mass(covariance_type, second, d):
    """The diagonal of the second moments, summed over the components."""
    if covariance_type in ("full", "tied"):
        return np.einsum("kjj->j", second.reshape(-1, d, d))
    if covariance_type == "diag":
        return second.sum(axis=0)
    return np.full(d, second.sum() / d)
