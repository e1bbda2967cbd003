"""Bandwidth matrices: what the selectors minimise. gaussum.bandwidth_matrix is their public face.

Samples are taken to coordinates in which their covariance is 1 (or, for a diagonal matrix, their variances are), and
so is the normal reference. There a matrix is H = exp(S), S symmetric, and descends along the gradient with respect to
S: H stays positive definite, no axis is preferred, and the bandwidth of A x is A H A' for any matrix A.

The sums run over all pairs of some thousand samples. Of more samples so many are drawn, the same every time, and the
bandwidth is taken to the size of all by its rate, n^(-2 / (d + 4)).
"""

import itertools
import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from scipy.linalg import solve_triangular

from gaussum.pairs import Pairs
from gaussum.typing import FloatArray, IndexArray, SampleArray

# Of eigenvalues and eigenvectors of S: a value, and twice its gradient.
Criterion: TypeAlias = Callable[[FloatArray, FloatArray], tuple[float, FloatArray]]

# Pairs of samples that a selector looks at, times d (d + 1) / 2 + 6, what a pair costs.
_MOST_WORK = 2e8
_BLOCK_BYTES = 1 << 20
# A correlation matrix of smaller eigenvalues, a feature, is rounding.
_SINGULAR = 1e-13
# Where a minimum is looked for: standard deviations of the kernel from this many times the plug-in's down, in this
# ratio, so often, by so many of the samples.
_WIDEST, _RATIO, _RUNGS, _FEW = 4.0, 2.0, 8, 1024
# Ratios of kernel variances to those at the start, or the plug-in's, beyond which there is no minimum.
_LEAST, _MOST = 1.0 / 1024, 1e4
# Parts of many samples, for cross-validation.
_BAGS = 8
# A plug-in is repeated where the kernel's variance changes by less than this factor in a direction, or by factors of
# this ratio in two.
_MUCH_NARROWER, _OTHER_SHAPE, _MOST_REPEATS = 0.5, 1.5, 20
# From this share of tied samples on a feature is held to be rounded.
_TIED = 0.1


class SingularError(ValueError):
    """No matrix follows samples that lie on a line or a plane."""


class Cloud:
    """Samples as the selectors see them.

    Parameters
    ----------
    X : ndarray, shape (n_samples, n_features)
    weight : ndarray of float64, shape (n_samples,), or None
    sigma : ndarray, shape (n_features,)
        Standard deviations, none of them 0.
    n_eff : float
        Effective number of samples.
    diagonal : bool
        The matrix sought is diagonal.

    Attributes
    ----------
    points : ndarray of float64, shape (n_features, n_points)
        Some or all of the samples: their mean 0, their covariance, or their variances, 1.
    w : ndarray of float64, shape (n_points,)
        Their weights, adding up to 1.
    bags : list of (points, w)
        The same for cross-validation: all samples, or several parts of more than those, with as many pairs together.
    n_eff : float
    tied : bool
        Many samples share a value in a feature.
    basis : ndarray, shape (n_parameters, n_features, n_features)
        Orthonormal symmetric matrices, of which S is a combination.

    Raises
    ------
    SingularError
        The covariance is singular and the matrix not diagonal.
    """

    def __init__(
        self, X: SampleArray, weight: FloatArray | None, sigma: FloatArray, n_eff: float, diagonal: bool = False,
    ) -> None:
        d = X.shape[1]
        self.n_eff, self.diagonal = n_eff, diagonal
        self._sigma, self._root = sigma, np.eye(d)
        mean, correlation = _mean_and_correlation(X, weight, sigma)
        if not diagonal:
            self._root = _root(correlation)
        chosen, w, n_bags = _drawn(X.shape[0], weight, d)
        self.tied = any(len(np.unique(x)) <= (1.0 - _TIED) * len(x) for x in X[chosen].T)
        z = _standardised(X[chosen].astype(np.float64), mean, sigma).T
        z = solve_triangular(self._root, z, lower=True)
        self.points, self.w = _bag(z, w, slice(_most_points(d)))
        self.bags = [_bag(z, w, slice(b, None, n_bags)) for b in range(n_bags)]
        self.basis = _basis(d, diagonal)

    def in_units(self, H: FloatArray) -> FloatArray:
        """A matrix in the units of the data; its standard deviations where it is diagonal."""
        if self.diagonal:
            return self._sigma * np.sqrt(np.diagonal(H))
        return _scaled(self._root @ H @ self._root.T, self._sigma)


def _bag(points: FloatArray, w: FloatArray, chosen: slice) -> tuple[FloatArray, FloatArray]:
    return np.ascontiguousarray(points[:, chosen]), w[chosen] / w[chosen].sum()


def normal_reference(n_eff: float, d: int) -> float:
    """The factor of the covariance that is best for a normal density: Silverman's, squared."""
    factor: float = (n_eff * (d + 2) / 4.0) ** (-2.0 / (d + 4))
    return factor


def covariance(X: SampleArray, weight: FloatArray | None, sigma: FloatArray, factor: float) -> FloatArray:
    """The samples' covariance times a factor."""
    _, correlation = _mean_and_correlation(X, weight, sigma)
    _root(correlation)
    return _scaled(factor * correlation, sigma)


def _scaled(H: FloatArray, sigma: FloatArray) -> FloatArray:
    """A symmetric matrix of standardised samples in the units of the data."""
    with np.errstate(over="ignore", under="ignore"):
        H = np.tril(H * sigma * sigma[:, np.newaxis])
        H += np.tril(H, -1).T
    if not (np.isfinite(H).all() and (np.diagonal(H) > np.finfo(np.float64).tiny).all()):
        raise ValueError(
            f"X has standard deviations of {sigma.min():.3g} to {sigma.max():.3g}, whose squares are beyond a double; "
            "expected data in other units"
        )
    return H


def _standardised(X: FloatArray, mean: FloatArray, sigma: FloatArray) -> FloatArray:
    """(x - mean) / sigma, from halves, whose difference does not overflow."""
    return (0.5 * X - 0.5 * mean) / (0.5 * sigma)


def _mean_and_correlation(
    X: SampleArray, weight: FloatArray | None, sigma: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Means and correlations, shapes (d,) and (d, d), by two passes over blocks of rows."""
    d = X.shape[1]
    rows = max(1, _BLOCK_BYTES // (8 * d))
    mean = X[0 if weight is None else int(np.argmax(weight))].astype(np.float64)
    for _ in range(2):                  # from a sample, then from the mean: nothing cancels
        total, first, second = 0.0, np.zeros(d), np.zeros((d, d))
        for start in range(0, X.shape[0], rows):
            block = X[start : start + rows].astype(np.float64)
            w = np.ones(len(block)) if weight is None else weight[start : start + rows] / weight.max()
            z = _standardised(block[w > 0], mean, sigma)
            w = w[w > 0]
            total, first, second = total + w.sum(), first + w @ z, second + (z.T * w) @ z
        centre, mean = mean, mean + first / total * sigma
    second -= np.outer(first, first) / total
    scale = np.sqrt(np.diagonal(second))
    correlation = second / scale / scale[:, np.newaxis]
    np.fill_diagonal(correlation, 1.0)
    return centre, correlation


def _root(correlation: FloatArray) -> FloatArray:
    """The Cholesky factor of the correlations, or a ValueError."""
    d = len(correlation)
    values, vectors = np.linalg.eigh(correlation)
    if values[0] < _SINGULAR * d:
        parts = ", ".join(str(j) for j in np.flatnonzero(np.abs(vectors[:, 0]) > 0.1))
        raise SingularError(
            f"X has a singular covariance: columns {parts} are linearly dependent, so no bandwidth matrix can be "
            "estimated; expected more samples or independent features, or a bandwidth of one number a feature"
        )
    return np.asarray(np.linalg.cholesky(correlation), dtype=np.float64)


def _drawn(n: int, weight: FloatArray | None, d: int) -> tuple[IndexArray, FloatArray, int]:
    """Which samples to look at, their weights, and in how many bags: all, or so many that their pairs are not too many.

    Systematic sampling: a sample is drawn with a probability in proportion to its weight and then has that of the
    others drawn; those so heavy that they would be drawn more than once are all there, with weights of their own.
    """
    chosen = np.arange(n) if weight is None else np.flatnonzero(weight)
    w = np.ones(n) if weight is None else weight[chosen] / weight.max()
    most = _most_points(d)
    if len(chosen) <= most:
        return chosen, w, 1
    order = np.random.default_rng(0).permutation(len(chosen))
    chosen, w = chosen[order], w[order]
    bags = min(_BAGS, int((len(chosen) / most) ** 2))
    for bags in (bags, 1):
        chance = _chances(w, bags * int(most / math.sqrt(bags)))
        if chance.max() < 1.0:          # those that are certain would be in one bag alone
            break
    places = np.floor(np.cumsum(chance) + 0.5)
    taken = np.flatnonzero(np.diff(places, prepend=0.0) > 0)
    return chosen[taken], w[taken] / chance[taken], bags


def _most_points(d: int) -> int:
    return int(math.sqrt(_MOST_WORK / (d * (d + 1) // 2 + 6)))


def _chances(w: FloatArray, n: int) -> FloatArray:
    """Probabilities in proportion to weights, n in all; the heaviest are certain, the others share the rest."""
    chance: FloatArray = w * (n / w.sum())
    while (chance > 1.0).any():
        certain = chance >= 1.0
        chance = np.where(certain, 1.0, w * ((n - certain.sum()) / w[~certain].sum()))
    return chance


def _basis(d: int, diagonal: bool) -> FloatArray:
    basis = []
    for a in range(d):
        for b in range(a, a + 1 if diagonal else d):
            E = np.zeros((d, d))
            E[a, b] = E[b, a] = 1.0 if a == b else math.sqrt(0.5)
            basis.append(E)
    return np.array(basis)


# Minima ------------------------------------------------------------------------------------------------


def _minimum(objective: Criterion, start: float, basis: FloatArray) -> FloatArray | None:
    """The H = exp(S) about start times 1 that makes an objective least, or None.

    Parameters
    ----------
    objective : callable
        Of eigenvalues and eigenvectors of S; returns a value and twice the gradient with respect to log H: that in the
        axes of the eigenvectors, were they to commute.
    """
    d, centre = basis.shape[1], math.log(start)
    first, _ = objective(np.full(d, centre), np.eye(d))
    scale = abs(first) or 1.0
    low, high = math.log(_LEAST), math.log(_MOST)

    def scaled(theta: FloatArray) -> tuple[float, FloatArray]:
        values, vectors = np.linalg.eigh(np.tensordot(theta, basis, 1))
        if not low <= values[0] <= values[-1] <= high:
            return abs(first / scale) + 1.0, np.zeros(len(basis))
        value, slope = objective(centre + values, vectors)
        # the derivative of exp where S and its change do not commute (Daleckii and Krein 1965)
        half = 0.5 * (values[:, np.newaxis] - values)
        slope = 0.5 * slope * np.divide(np.sinh(half), half, out=np.ones((d, d)), where=half != 0.0)
        return value / scale, np.tensordot(basis, vectors @ slope @ vectors.T, 2) / scale

    from scipy.optimize import minimize             # slow to load

    found = minimize(scaled, np.zeros(len(basis)), jac=True, method="BFGS", options={"gtol": 1e-5, "norm": 2})
    values, vectors = np.linalg.eigh(np.tensordot(found.x, basis, 1))
    if not low + 1.0 < values[0] <= values[-1] < high - 1.0:
        return None
    H: FloatArray = start * (vectors * np.exp(values)) @ vectors.T
    return H


def _cross_validated(cloud: Cloud, name: str) -> FloatArray | None:
    """The minimum of a method of Pairs for all samples, from the widest of those in a ladder, or None.

    The ladder has multiples of the plug-in matrix, in whose coordinates clusters are round. Rounded or tied samples
    make these criteria fall without bound as the bandwidth falls; the widest minimum is the one meant (Hall and Marron,
    Journal of the Royal Statistical Society B 53, 1991, 245), and none far below the plug-in is believed.

    Of many samples several bags are drawn and the mean of their criteria taken: much less varies than with one of as
    many pairs (Hall and Robinson, Biometrika 96, 2009, 175).
    """
    d = len(cloud.points)
    T = np.linalg.cholesky(plug_in(cloud) / normal_reference(cloud.n_eff, d))
    bags = [Pairs(np.ascontiguousarray(solve_triangular(T, points, lower=True)), w) for points, w in cloud.bags]
    n_pilot = float(np.mean([1.0 / (bag.w @ bag.w) for bag in bags]))

    def criterion(values: FloatArray, vectors: FloatArray) -> tuple[float, FloatArray]:
        both = [getattr(bag, name)(values, vectors) for bag in bags]
        return sum(value for value, _ in both) / len(bags), sum(slope for _, slope in both) / len(bags)

    few = Pairs(*_few(bags[0]))
    reference = normal_reference(1.0 / float(few.w @ few.w), d)
    scales, scores = reference * (_WIDEST / _RATIO ** np.arange(_RUNGS)) ** 2, []
    for scale in scales:
        scores.append(getattr(few, name)(np.full(d, math.log(scale)), np.eye(d))[0])
        if len(scores) > 2 and scores[-3] > scores[-2] < scores[-1]:
            break
    else:
        return None
    to_pilot = normal_reference(n_pilot, d) / reference
    H = _minimum(criterion, to_pilot * scales[len(scores) - 2], cloud.basis)
    if H is None or np.linalg.eigvalsh(H)[0] < _LEAST * normal_reference(n_pilot, d):
        return None
    found: FloatArray = (n_pilot / cloud.n_eff) ** (2.0 / (d + 4)) * T @ H @ T.T
    return found


def _few(bag: Pairs) -> tuple[FloatArray, FloatArray]:
    chosen = np.linspace(0, bag.n - 1, min(_FEW, bag.n)).astype(int)
    return np.ascontiguousarray(bag.points[:, chosen]), bag.w[chosen] / bag.w[chosen].sum()


def least_squares(cloud: Cloud) -> FloatArray | None:
    """The matrix of least cross-validated integrated squared error, or None."""
    return _cross_validated(cloud, "least_squares")


def likelihood(cloud: Cloud) -> FloatArray | None:
    """The matrix of largest leave-one-out likelihood, or None."""
    return _cross_validated(cloud, "likelihood")


# Plug-in -----------------------------------------------------------------------------------------------


def _identities(d: int) -> tuple[Callable[[FloatArray], FloatArray], FloatArray]:
    """The symmetric sums of d_ab x_cd over 6 terms, for a matrix x, and of d_ab d_cd over 3."""
    eye = np.eye(d)

    def six(x: FloatArray) -> FloatArray:
        one: FloatArray = np.einsum("ab,cd->abcd", eye, x)
        one = one + one.transpose(2, 3, 0, 1)
        return one + one.transpose(0, 2, 1, 3) + one.transpose(0, 3, 2, 1)

    return six, 0.5 * six(eye)


def _functional(pairs: Pairs, g: float, laplacian: bool) -> FloatArray:
    """sum_ij w_i w_j D^4 N(x_i - x_j; 0, g^2), an array (d, d, d, d), or that of the Laplacian of N.

    For a function F of r = |x|^2 / 2 it is D^4 = F'''' xxxx + F''' (6 terms of d_ab x_c x_d) + F'' (3 of d_ab d_cd).
    """
    d = pairs.d
    # of F'', F''' and F'''': numbers and factors of |x|^2 before exp(-|x|^2 / 2)
    radial = [[-d - 4, 1], [d + 6, -1], [-d - 8, 1]] if laplacian else [[1, 0], [-1, 0], [1, 0]]
    totals = pairs.derivatives(g, np.array(radial, dtype=np.float64))
    zeroth, second, fourth = np.split(totals, [1, 1 + d * (d + 1) // 2])
    falling = [index for index in np.ndindex((d,) * 4) if list(index) == sorted(index, reverse=True)]
    full = np.empty((d,) * 4)
    for index, value in zip(falling, fourth):
        for permuted in itertools.permutations(index):
            full[permuted] = value
    six, three = _identities(d)
    total = full + six(pairs.square(second)) + zeroth * three
    total *= (2.0 * math.pi) ** (-0.5 * d)
    total *= g ** (-d - 4.0 - 2.0 * laplacian)
    return total


def _asymptotic_minimum(pairs: Pairs, n_eff: float, basis: FloatArray) -> FloatArray:
    """The matrix of least asymptotic error for samples like a normal density's of covariance 1, or clusters of such."""
    d, n_pilot = pairs.d, 1.0 / (pairs.w @ pairs.w)
    # of a normal density: the sixth derivatives' pilot
    g = (2.0 ** (0.5 * d + 5.0) / ((d + 6.0) * n_pilot)) ** (1.0 / (d + 8.0))
    bias = _functional(pairs, g, laplacian=True)
    variance = _identities(d)[1] * (2.0 * math.pi) ** (-0.5 * d)
    both, square = (d + 2.0) * np.vdot(variance, bias), np.vdot(bias, bias)
    root = math.sqrt(both**2 + 8.0 * (d + 4.0) * np.vdot(variance, variance) * square)
    # the form of the solution in which nothing cancels, as `both` is negative
    g = (4.0 * (d + 4.0) * np.vdot(variance, variance) / (n_pilot * (root - both))) ** (1.0 / (d + 6.0))
    psi = _functional(pairs, g, laplacian=False)
    constant = (4.0 * math.pi) ** (-0.5 * d) / n_eff

    def asymptotic(values: FloatArray, vectors: FloatArray) -> tuple[float, FloatArray]:
        """|H|^(-1/2) (4 pi)^(-d / 2) / n + H psi H / 4, and twice its gradient"""
        H = (vectors * np.exp(values)) @ vectors.T
        root = vectors * np.exp(0.5 * values)
        spread, pull = constant * math.exp(-0.5 * values.sum()), np.tensordot(psi, H, 2)
        return spread + 0.25 * np.vdot(pull, H), root.T @ pull @ root - spread * np.eye(d)

    # the best multiple of 1 first
    start = (d * constant / np.einsum("aabb", psi)) ** (2.0 / (d + 4))
    H = _minimum(asymptotic, start, basis)
    return start * np.eye(d) if H is None else H


def plug_in(cloud: Cloud) -> FloatArray:
    """The matrix of least asymptotic error for all samples, with the density's derivatives by two stages of pilots.

    The pilots are multiples of 1, each of least asymptotic squared error of all functionals of an order together
    (Chacon and Duong, Test 19, 2010, 375), in coordinates in which the covariance is 1. That is the wrong metric where
    the samples lie in clusters: so all is done once more with the covariance of that normal density whose best matrix
    has been found, and on while that is far narrower, or of another shape. Tied samples would have that go on without
    end, as would small changes of the size alone where there are many features and few samples.
    """
    d = len(cloud.points)
    T, H = np.eye(d), np.eye(d)
    for repeats in range(1 if cloud.tied else _MOST_REPEATS):
        pairs = Pairs(np.ascontiguousarray(solve_triangular(T, cloud.points, lower=True)), cloud.w)
        found = _asymptotic_minimum(pairs, cloud.n_eff, cloud.basis)
        H = T @ found @ T.T
        change = found / normal_reference(cloud.n_eff, d)
        ratios = np.linalg.eigvalsh(change)
        if repeats > 0 and ratios[0] > _MUCH_NARROWER and ratios[-1] < _OTHER_SHAPE * ratios[0]:
            break
        T = T @ np.linalg.cholesky(change)
    return H
