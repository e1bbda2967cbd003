"""Spurious optima: high values of a likelihood that has no bound.

A component that shrinks onto a few samples, onto tied values or, in several dimensions, towards a plane through a few
of them raises the likelihood of a mixture without limit, so a higher value need not be a better fit (Day 1969;
McLachlan and Peel 2000, section 3.10). Bounds on the ratio of the components' scales exclude such optima (Hathaway
1985; Ingrassia 2004; Garcia-Escudero et al. 2015), and estimates stay consistent if the bound loosens exponentially
as samples grow in number (Tanaka and Takemura 2006). Here it loosens with the mass that a component itself holds: a
cluster may be as tight as it likes if it has the samples to show for it.

Component k, of effective mass m_k = w_k n (n is (sum w)^2 / sum w^2 for weighted samples), is called spurious if along
some axis its standard deviation is less than

    f_k / (4 max(1, m_k - q, exp((m_k - q - 1) / 5)))

of that of the others, their median weighted by mass. q samples are what a component can shrink onto without limit: d
for full covariances, otherwise 1. f_k = 1 - sqrt(d / m_k) for full covariances of m_k > d samples in more than one
dimension (the least that sampling leaves of the smallest standard deviation: Marchenko and Pastur 1967), else 1. The
axis is the one along which the component is thinnest relative to the mean covariance; where covariances are diagonal,
each feature.

So two samples close together are spurious, and so are 14 tied values at a sixtieth of the others' scale; 30 samples at
a twentieth of it are not. Nothing depends on shift or scale. Components that share one covariance are never spurious.
"""

from collections.abc import Iterator

import numpy as np

from gaussum.parameters import MixtureParameters
from gaussum.typing import FloatArray, IndexArray

# The ratio of standard deviations that is always allowed; it grows with each sample beyond those that a component can
# shrink onto, and e times for every so many of them.
_RATIO = 4.0
_E_FOLDING = 5.0


def spurious_components(
    parameters: MixtureParameters, n_samples: float, prior_mass: float = 0.0,
) -> tuple[int, ...]:
    """The components that make an optimum spurious; see the module's text.

    Parameters
    ----------
    parameters : MixtureParameters
    n_samples : float
        The effective number of samples.
    prior_mass : float
        What a prior adds to the mass of every component, in samples.

    Returns
    -------
    tuple of int
        Empty for an optimum to be trusted.

    Examples
    --------
    >>> import numpy as np
    >>> from gaussum.parameters import MixtureParameters
    >>> from gaussum.spurious import spurious_components
    >>> weights, means = np.array([0.5, 0.48, 0.02]), np.array([[0.0], [5.0], [1.0]])
    >>> pair = MixtureParameters.from_precisions_chol("diag", weights, means, np.array([[1.0], [1.0], [1e3]]))
    >>> spurious_components(pair, 100)
    (2,)
    >>> spurious_components(pair, 100_000)
    ()
    """
    structure, d = parameters.covariance_type, parameters.n_features
    held = np.flatnonzero(parameters.weights > 0.0)
    if structure == "tied" or held.size < 2:
        return ()
    weights, covariances = parameters.weights[held], parameters.covariances[held]
    mass = weights * n_samples + prior_mass
    full = structure == "full" and d > 1
    beyond = np.minimum(mass - (d if full else 1), 500.0)
    allowed = _RATIO * np.maximum(np.maximum(1.0, beyond), np.exp((beyond - 1.0) / _E_FOLDING))
    if full:
        thin = mass > d
        allowed[thin] /= 1.0 - np.sqrt(d / mass[thin])
    # the mean of all is at least half the median of the others, times their weight
    others = np.maximum(weights.sum() - weights, weights.min())
    screen = 2.0 * weights.sum() / others / allowed**2
    ratios = _ratios_of_matrices if full else _ratios_of_axes
    if not full:
        covariances = covariances.reshape(held.size, -1)
    found = ratios(weights, covariances, screen)
    return tuple(int(held[k]) for k, ratio in found if ratio * allowed[k] ** 2 < 1.0)


def _ratios_of_axes(
    weights: FloatArray, variances: FloatArray, screen: FloatArray,
) -> Iterator[tuple[int, float]]:
    """(k, the least ratio of its variances to those of the others) for the k that are below `screen`."""
    mean = weights @ variances / weights.sum()
    for k in np.flatnonzero((variances / mean).min(axis=1) < screen):
        others = np.arange(len(weights)) != k
        yield int(k), (variances[k] / _median(variances[others], weights[others])).min()


def _ratios_of_matrices(
    weights: FloatArray, covariances: FloatArray, screen: FloatArray,
) -> Iterator[tuple[int, float]]:
    """The same along the axis on which a covariance matrix is thinnest relative to the mean of all."""
    mean = (weights / weights.sum() @ covariances.reshape(len(weights), -1)).reshape(covariances[0].shape)
    # most often all are above, which one call tells
    if _are_positive_definite(covariances - screen[:, np.newaxis, np.newaxis] * mean):
        return
    unit = np.sqrt(np.diagonal(mean))
    scaled = covariances / np.outer(unit, unit)
    values, axes = np.linalg.eigh(mean / np.outer(unit, unit))
    # where even the mean is flat to rounding, all are
    sound = values > len(unit) * np.finfo(float).eps * values[-1]
    whiten = axes[:, sound] / np.sqrt(values[sound])
    for k in range(len(weights)):
        matrix = whiten.T @ scaled[k] @ whiten
        if _are_positive_definite(matrix - screen[k] * np.eye(len(matrix))):
            continue
        smallest, vectors = np.linalg.eigh(matrix)
        axis = whiten @ vectors[:, 0]
        along = np.einsum("i,kij,j->k", axis, scaled, axis)
        others = np.arange(len(weights)) != k
        yield k, max(smallest[0], 0.0) / _median(along[others, np.newaxis], weights[others])[0]


def _are_positive_definite(matrices: FloatArray) -> bool:
    """Whether one or several symmetric matrices all are."""
    try:
        np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        return False
    return True


def _median(values: FloatArray, weights: FloatArray) -> FloatArray:
    """The weighted median of every column."""
    order = np.argsort(values, axis=0, kind="stable")
    cumulative = np.cumsum(weights[order], axis=0)
    middle = np.argmax(cumulative >= 0.5 * cumulative[-1], axis=0)
    at: IndexArray = np.take_along_axis(order, middle[np.newaxis], axis=0)
    medians: FloatArray = np.take_along_axis(values, at, axis=0)[0]
    return medians


def effective_samples(sample_weight: FloatArray | None, n_samples: int) -> float:
    """Kish's effective number of samples, (sum w)^2 / sum w^2: n_samples without weights."""
    if sample_weight is None:
        return float(n_samples)
    return float(sample_weight.sum() ** 2 / (sample_weight @ sample_weight))
