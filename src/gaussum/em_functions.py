"""Steps of EM as functions of arrays: the public ones of gaussum.functions."""

import math

import numpy as np

from gaussum import arguments, covariance
from gaussum.arguments import Parameters, is_plain
from gaussum.base import shape_name
from gaussum.likelihood import MixtureLikelihood
from gaussum.mixture_base import reference_moments, relative_ridge
from gaussum.mixture_pass import all_finite
from gaussum.parameters import MixtureParameters
from gaussum.statistics import SufficientStatistics
from gaussum.typing import ArrayLike, FloatArray, IndexArray, SampleArray
from gaussum.validation import (
    check_array, check_choice, check_integer, check_number, check_output, check_samples, check_weights,
)

# A weight that counts as many.
_MOST_SAMPLES = 2.0**40


def accumulate(
    X: ArrayLike, weights: ArrayLike, means: ArrayLike, precisions_cholesky: ArrayLike,
    covariance_type: str = "full", *, sample_weight: ArrayLike | None = None, out: SufficientStatistics | None = None,
    n_parts: int | None = None, n_threads: int | None = None,
) -> SufficientStatistics:
    """The sufficient statistics of samples under a mixture: the E-step, and all that the M-step needs.

    Parameters
    ----------
    X, weights, means, precisions_cholesky, covariance_type, n_threads
        As of `log_density`. Samples are gone through once.
    sample_weight : array_like, shape (n_samples,), optional
        How often each sample counts; all may be zero.
    out : SufficientStatistics, optional
        What the statistics are added to: about the same means, which are its origins.
    n_parts : int, optional
        Parts that are added up one by one; by default by the size of the problem (see `part_bounds`). 1 for a chunk
        that is itself a part.

    Returns
    -------
    SufficientStatistics
        About `means`; `out`, if it is given.

    Raises
    ------
    ValueError, TypeError
        As by `log_density`; `out` is of another covariance type or about other origins. It is then as it was.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum.functions import accumulate
    >>> x = np.random.default_rng(0).normal(size=1000)
    >>> mixture = [0.5, 0.5], [[-1.0], [1.0]], [1.0, 1.0], "spherical"
    >>> whole = accumulate(x, *mixture)
    >>> halves = accumulate(x[500:], *mixture, out=accumulate(x[:500], *mixture))
    >>> np.allclose(halves.buffer, whole.buffer, rtol=1e-13)
    True
    """
    parameters = arguments.mixture(weights, means, precisions_cholesky, covariance_type)
    X, sample_weight = _data(X, sample_weight, parameters, all_zero=True)
    if out is not None:
        _check_statistics(out, "out")
        if out.covariance_type != covariance_type or not np.array_equal(out.origins, parameters.means):
            raise ValueError(
                f"out holds statistics for {out.covariance_type!r} and origins of shape {out.origins.shape}; expected "
                f"{covariance_type!r}, and origins that equal the means, of shape {parameters.means.shape}"
            )
        check_output(out.buffer, "out.buffer", out.buffer.shape, {"X": X, "sample_weight": sample_weight})
    if n_parts is not None:
        n_parts = check_integer(n_parts, "n_parts", minimum=1)
    likelihood = arguments.likelihood(X, parameters, sample_weight=sample_weight, n_parts=n_parts, n_threads=n_threads)
    statistics = _statistics(likelihood, parameters)
    statistics.parameters = None            # no part of the value that is added, pickled and sent
    if out is None:
        return statistics
    out += statistics
    return out


def part_bounds(n_samples: int, n_features: int, n_components: int, covariance_type: str = "full") -> IndexArray:
    """Where the parts begin and end in which `accumulate` and `em_step` add up so many samples.

    A part is added up by itself and then added to the sum of those before, in their order, so ::

        for first, last in itertools.pairwise(part_bounds(n_samples, n_features, n_components, covariance_type)):
            accumulate(X[first:last], *parameters, covariance_type, n_parts=1, out=statistics)

    gives the bits of ``accumulate(X, *parameters, covariance_type, out=statistics)``, for `statistics` that are zero.

    Returns
    -------
    ndarray of int, shape (n_parts + 1,)
        From 0 to n_samples; a function of the arguments alone.

    Examples
    --------
    >>> from gaussum.functions import part_bounds
    >>> bounds = part_bounds(1_000_000, 2, 8)
    >>> int(bounds[0]), int(bounds[-1]), len(bounds) > 2
    (0, 1000000, True)
    """
    n, d, K = (
        check_integer(value, name, minimum=1)
        for name, value in (("n_samples", n_samples), ("n_features", n_features), ("n_components", n_components))
    )
    check_choice(covariance_type, "covariance_type", covariance.COVARIANCE_TYPES)
    likelihood = MixtureLikelihood(_unread(n, d), covariance_type, K, lasting=False, n_threads=1)
    return np.append(np.arange(0, n, likelihood.part_size), n)


def m_step(
    statistics: SufficientStatistics, *, ridge: ArrayLike | None = None, n_samples: int | None = None,
) -> Parameters:
    """The M-step: the parameters that maximise the expected log-likelihood, less the ridge's penalty.

    The new weights are n_k / n, the new means o_k + first_k / n_k, and with the ridge D the new covariances
    (second_k + D) / n_k - first_k first_k^T / n_k^2, or their sum over the components, weighted by n_k / n, where they
    are tied (D then counts once); see `SufficientStatistics`. As in `GaussianMixture`, components that hold nothing, or
    whose covariance is singular, take half of what the heaviest of the others holds, with a CollapsedComponentWarning.

    Parameters
    ----------
    statistics : SufficientStatistics
    ridge : array_like, shape (n_features,), optional
        Scatter added to every covariance's numerator (see `ridge_of`); zero by default.
    n_samples : int, optional
        How many samples they are of; by default as many as their weight. A component of less than 1e-8 / n_samples of
        the weight holds nothing.

    Returns
    -------
    Parameters

    Raises
    ------
    ValueError, TypeError
        Arguments that make no sense; statistics that are not finite, or of nothing.
    gaussum.rescue.CollapseError
        No component is left.

    Examples
    --------
    >>> from gaussum.functions import accumulate, m_step
    >>> statistics = accumulate([-2.0, -1.0, 1.0, 2.0], [1.0], [[0.0]], [1.0], "spherical")
    >>> m_step(statistics).precisions_cholesky ** -2
    array([2.5])
    """
    _check_statistics(statistics, "statistics")
    finite = all_finite(statistics.buffer) and all_finite(statistics.origins.ravel())
    if not finite or statistics.total_weight <= 0.0:
        raise ValueError(
            f"statistics are of a weight of {statistics.total_weight:g} and a log-likelihood of "
            f"{statistics.log_likelihood:g}; expected finite statistics, about finite origins, of a weight > 0"
        )
    if n_samples is None:
        n_samples = max(1, round(min(statistics.total_weight, _MOST_SAMPLES)))
    else:
        n_samples = check_integer(n_samples, "n_samples", minimum=1)
    K, d = statistics.origins.shape
    likelihood = MixtureLikelihood(
        _unread(n_samples, d), statistics.covariance_type, K, ridge=_ridge(ridge, d), lasting=False, n_threads=1
    )
    return _maximize(likelihood, statistics)


def em_step(
    X: ArrayLike, weights: ArrayLike, means: ArrayLike, precisions_cholesky: ArrayLike,
    covariance_type: str = "full", *, sample_weight: ArrayLike | None = None, ridge: ArrayLike | None = None,
    n_threads: int | None = None,
) -> tuple[Parameters, float]:
    """One step of EM (Dempster, Laird and Rubin 1977): one pass over the samples, and an M-step.

    A loop of steps from the same parameters, with the `ridge_of` its `reg_covar`, is
    ``GaussianMixture(accelerate=False)`` to the last bit, with three exceptions. Of 16 or more components the estimator
    may leave out those far from a sample, and float32 samples it computes with in float32 until the end is near: there
    the two agree to the rounding of that. And components that collapse again and again it drops, while steps go on
    reviving them.

    Parameters
    ----------
    X, weights, means, precisions_cholesky, covariance_type, n_threads
        As of `log_density`.
    sample_weight : array_like, shape (n_samples,), optional
        How often each sample counts.
    ridge
        As of `m_step`.

    Returns
    -------
    parameters : Parameters
        After the step.
    log_likelihood : float
        sum_i w_i log p_i before it; from step to step, this less half of sum_k tr(ridge Sigma_k^-1) (once, where they
        are tied) never falls.

    Raises
    ------
    ValueError, TypeError
        As by `accumulate` and `m_step`.
    gaussum.rescue.CollapseError
        No component is left.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum.functions import em_step, precisions_cholesky
    >>> rng = np.random.default_rng(0)
    >>> x = np.concatenate([rng.normal(-2, 1, 500), rng.normal(4, 2, 500)])
    >>> mixture = [0.5, 0.5], [[-1.0], [1.0]], precisions_cholesky([[[1.0]], [[1.0]]])
    >>> for _ in range(100):
    ...     mixture, log_likelihood = em_step(x, *mixture)
    >>> mixture.means.ravel().round(0)
    array([-2.,  4.])
    """
    parameters = arguments.mixture(weights, means, precisions_cholesky, covariance_type)
    X, sample_weight = _data(X, sample_weight, parameters)
    likelihood = arguments.likelihood(
        X, parameters, sample_weight=sample_weight, ridge=_ridge(ridge, X.shape[1]), n_threads=n_threads
    )
    statistics = _statistics(likelihood, parameters)
    if not math.isfinite(statistics.log_likelihood):
        raise ValueError(
            f"X has a log-likelihood of {statistics.log_likelihood}; expected samples whose distances from the means, "
            "in standard deviations, have squares that a double holds"
        )
    return _maximize(likelihood, statistics), statistics.log_likelihood


def ridge_of(
    X: ArrayLike, reg_covar: float = 1e-6, *, sample_weight: ArrayLike | None = None, n_threads: int | None = None,
) -> FloatArray:
    """The ridge with which `GaussianMixture(reg_covar=...)` fits these samples: it has their scale.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_features) or (n_samples,)
    reg_covar : float
        The mass of the ridge, in samples of average weight. Below 1e-13 it is that, which rounding asks for.
    sample_weight : array_like, shape (n_samples,), optional
    n_threads : int, optional

    Returns
    -------
    ndarray, shape (n_features,)
        reg_covar times the average weight and the variances of the features.

    Raises
    ------
    ValueError, TypeError
        Arguments that make no sense.

    Examples
    --------
    >>> from gaussum.functions import ridge_of
    >>> float(ridge_of([-1.0, 1.0], 0.5)[0])
    0.5
    """
    X = check_samples(X)
    sample_weight = check_weights(sample_weight, X.shape[0])
    reg_covar = check_number(reg_covar, "reg_covar", minimum=0.0)
    return relative_ridge(reg_covar, sample_weight, reference_moments(X, sample_weight, n_threads)[1])


def _data(
    X: ArrayLike, sample_weight: ArrayLike | None, parameters: MixtureParameters, *, all_zero: bool = False,
) -> tuple[SampleArray, FloatArray | None]:
    """Samples and weights; without weights, `_statistics` tells whether the samples are finite."""
    X = check_samples(X, n_features=parameters.n_features, finite=sample_weight is not None)
    return X, check_weights(sample_weight, X.shape[0], all_zero=all_zero)


def _statistics(likelihood: MixtureLikelihood, parameters: MixtureParameters) -> SufficientStatistics:
    statistics = likelihood.statistics(parameters)
    if not math.isfinite(statistics.log_likelihood):
        # a pass that NaN or infinity go through comes to neither: they are looked for only now
        check_samples(likelihood.X)
    return statistics


def _maximize(likelihood: MixtureLikelihood, statistics: SufficientStatistics) -> Parameters:
    with likelihood.exclusive_blas():
        parameters = likelihood.maximize(statistics)
    return Parameters(parameters.weights, parameters.means, parameters.precisions_chol)


def _unread(n_samples: int, n_features: int) -> FloatArray:
    """So many samples that take no memory, where nothing but their number counts."""
    return np.broadcast_to(np.float64(0.0), (n_samples, n_features))


def _ridge(ridge: ArrayLike | None, n_features: int) -> FloatArray | None:
    if ridge is None:
        return None
    if not is_plain(ridge) or ridge.shape != (n_features,) or not all_finite(ridge):
        ridge = check_array(ridge, "ridge", (n_features,))
    if min(ridge.tolist()) < 0.0:
        raise ValueError(f"ridge holds {ridge.min():g}; expected numbers >= 0")
    return ridge


def _check_statistics(statistics: SufficientStatistics, name: str) -> None:
    if not isinstance(statistics, SufficientStatistics):
        raise TypeError(f"{name} is {shape_name(statistics)}; expected SufficientStatistics")
