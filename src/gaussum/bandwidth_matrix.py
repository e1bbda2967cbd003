"""Bandwidth matrices: what the selectors minimise. gaussum.bandwidth is their public face.

Samples are taken to coordinates in which their covariance is 1 (or, for a diagonal matrix, their variances are), and
so is the normal reference. There a matrix is H = exp(S), S symmetric, and descends along the gradient with respect to
S: H stays positive definite, no axis is preferred, and the bandwidth of A x is A H A' for any matrix A.

The sums run over all pairs of at most some thousand samples. Of more samples so many are drawn, the same every time,
and the bandwidth is taken to the size of all by its rate, n^(-2 / (d + 4)).
"""

import itertools
import math

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from gaussum import parallel
from gaussum.pair_pass import PairPass

# Pairs of samples that a selector looks at, times d (d + 1) / 2 + 6, what a pair costs.
_MOST_WORK = 2e8
_BLOCK_BYTES = 1 << 20
_LANES = 32
# A correlation matrix of smaller eigenvalues, a feature, is rounding.
_SINGULAR = 1e-13
# Where a minimum is looked for: standard deviations of the kernel from this many times the normal reference's down, in
# this ratio, so often, by so many of the samples.
_WIDEST, _RATIO, _RUNGS, _FEW = 4.0, 2.0, 24, 1024
# Ratios of kernel variances to those at the start, beyond which there is no minimum.
_LEAST, _MOST = 1e-6, 1e4
_PAIR_SECONDS = 0.7e-9
_MOMENT_SECONDS = 0.3e-9


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
    n_eff : float
    basis : ndarray, shape (n_parameters, n_features, n_features)
        Orthonormal symmetric matrices, of which S is a combination.

    Raises
    ------
    ValueError
        The covariance is singular, or beyond a double.
    """

    def __init__(self, X, weight, sigma, n_eff, diagonal=False):
        d = X.shape[1]
        self.n_eff, self.diagonal = n_eff, diagonal
        self._sigma, self._root = sigma, np.eye(d)
        mean, correlation = _mean_and_correlation(X, weight, sigma)
        if not diagonal:
            self._root = _root(correlation)
        chosen, w = _drawn(X.shape[0], weight, d)
        self.w = w / w.sum()
        self._rate = (n_eff * (self.w @ self.w)) ** (-2.0 / (d + 4))
        z = _standardised(X[chosen].astype(np.float64), mean, sigma).T
        self.points = np.ascontiguousarray(solve_triangular(self._root, z, lower=True))
        self.basis = _basis(d, diagonal)

    def of_all(self, H):
        """A matrix for the points as one for all samples."""
        return H * self._rate

    def in_units(self, H):
        """A matrix in the units of the data; its standard deviations where it is diagonal."""
        if self.diagonal:
            return self._sigma * np.sqrt(np.diagonal(H))
        root = self._sigma[:, np.newaxis] * self._root
        with np.errstate(over="ignore", under="ignore"):
            H = root @ H @ root.T
        if not (np.isfinite(H).all() and (np.diagonal(H) > np.finfo(np.float64).tiny).all()):
            raise ValueError(
                f"X has standard deviations of {self._sigma.min():.3g} to {self._sigma.max():.3g}, whose squares are "
                "beyond a double; expected data in other units"
            )
        return 0.5 * H + 0.5 * H.T

    def few(self):
        """Some of the points, for a first look, and their weights."""
        chosen = np.linspace(0, len(self.w) - 1, min(_FEW, len(self.w))).astype(int)
        w = self.w[chosen]
        return np.ascontiguousarray(self.points[:, chosen]), w / w.sum()


def normal_reference(n_eff, d):
    """The factor of the covariance that is best for a normal density: Silverman's, squared."""
    return (n_eff * (d + 2) / 4.0) ** (-2.0 / (d + 4))


def covariance(X, weight, sigma, factor):
    """The samples' covariance times a factor."""
    _, correlation = _mean_and_correlation(X, weight, sigma)
    _root(correlation)
    return correlation * (math.sqrt(factor) * sigma) * (math.sqrt(factor) * sigma[:, np.newaxis])


def _standardised(X, mean, sigma):
    """(x - mean) / sigma, from halves, whose difference does not overflow."""
    return (0.5 * X - 0.5 * mean) / (0.5 * sigma)


def _mean_and_correlation(X, weight, sigma):
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


def _root(correlation):
    """The Cholesky factor of the correlations, or a ValueError."""
    d = len(correlation)
    values, vectors = np.linalg.eigh(correlation)
    if values[0] < _SINGULAR * d:
        parts = ", ".join(str(j) for j in np.flatnonzero(np.abs(vectors[:, 0]) > 0.1))
        raise ValueError(
            f"X has a singular covariance: columns {parts} are linearly dependent, so no bandwidth matrix can be "
            "estimated; expected more samples or independent features, or a bandwidth of one number a feature"
        )
    return np.linalg.cholesky(correlation)


def _drawn(n, weight, d):
    """Which samples to look at, and their weights: all, or so many that their pairs are not too many.

    Systematic sampling: a sample is drawn with a probability in proportion to its weight and then has that of the
    others drawn; those so heavy that they would be drawn more than once are all there, with weights of their own.
    """
    most = int(math.sqrt(_MOST_WORK / (d * (d + 1) // 2 + 6)))
    rng = np.random.default_rng(0)
    if weight is None:
        chosen = np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False, shuffle=False))
        return chosen, np.ones(len(chosen))
    chosen = np.flatnonzero(weight)
    w = weight[chosen] / weight.max()
    if len(chosen) <= most:
        return chosen, w
    order = rng.permutation(len(chosen))
    chosen, w = chosen[order], w[order]
    chance = np.minimum(1.0, w * (most / w.sum()))
    for _ in range(30):                 # the heaviest are certain; the rest share what is left
        certain = chance >= 1.0
        rest = (most - certain.sum()) / w[~certain].sum()
        raised = np.where(certain, 1.0, np.minimum(1.0, w * rest))
        if (raised == chance).all():
            break
        chance = raised
    places = np.floor(np.cumsum(chance) + rng.random())
    taken = np.flatnonzero(np.diff(places, prepend=np.floor(places[:1] - chance[:1] + 0.5)) > 0)
    return chosen[taken], w[taken] / chance[taken]


def _basis(d, diagonal):
    basis = []
    for a in range(d):
        for b in range(a, a + 1 if diagonal else d):
            E = np.zeros((d, d))
            E[a, b] = E[b, a] = 1.0 if a == b else math.sqrt(0.5)
            basis.append(E)
    return np.array(basis)


# Pairs ------------------------------------------------------------------------------------------------


class Pairs:
    """Sums over the pairs of points, themselves apart, under exp(S).

    Parameters
    ----------
    points : ndarray of float64, shape (n_features, n_points), C order
    w : ndarray of float64, shape (n_points,)
    """

    def __init__(self, points, w):
        self.points, self.w = points, w
        self.d, self.n = points.shape
        self._seconds = self.n**2 * (_PAIR_SECONDS + _MOMENT_SECONDS * self.d * (self.d + 1) / 2)

    def moments(self, inverse_root, tails=False):
        """sum_s w_s e_ts, and the same of e_ts z z', and by which o_t / 2 their logarithms are too large.

        z = inverse_root (x_t - x_s), e_ts = exp((o_t - |z|^2) / 2); with `tails` o_t is the least |z|^2, else 0.

        Returns
        -------
        tuple of ndarrays, shapes (n,), (d (d + 1) / 2, n), (n,)
        """
        pairs, n_threads, scratch = self._pass(np.ascontiguousarray(inverse_root @ self.points))
        nearest = np.zeros(self.n)
        if tails:
            parallel.run(pairs.n_parts, n_threads, lambda part, slot: pairs.nearest(part, nearest, scratch[slot]))
        sums, moments = np.empty(self.n), np.empty((self.d * (self.d + 1) // 2, self.n))
        parallel.run(pairs.n_parts, n_threads, lambda part, slot: pairs.moments(
            part, nearest if tails else None, sums, moments, scratch[slot]
        ))
        return sums, moments, nearest

    def derivatives(self, g, radial):
        """sum_ij w_i w_j e_ij (a + b |z|^2) of 1, z z' and z z z z in turn, z = (x_i - x_j) / g: entries as PairPass's.

        A pair of a point with itself is one of them.
        """
        pairs, n_threads, scratch = self._pass(self.points / g)
        totals = np.zeros((pairs.n_monomials, _LANES))

        def work(part, slot):
            own = np.zeros_like(totals)
            pairs.derivatives(part, radial, own, scratch[slot])
            return own

        parallel.run(pairs.n_parts, n_threads, work, lambda own: np.add(totals, own, out=totals))
        return totals.sum(axis=1)

    def _pass(self, z):
        pairs = PairPass(z, self.w)
        n_threads = min(parallel.resolve_threads(None, self._seconds), pairs.n_parts)
        return pairs, n_threads, [np.empty(pairs.scratch_size) for _ in range(n_threads)]

    def square(self, lower):
        """A symmetric matrix from its lower triangle, row by row."""
        full = np.zeros((self.d, self.d))
        full[np.tril_indices(self.d)] = lower
        return full + np.tril(full, -1).T

    def least_squares(self, values, vectors):
        """Least-squares cross-validation (Bowman 1984), and twice its gradient by log H in the axes of `vectors`.

            int f^2 - 2 sum_i w_i f_-i(x_i),   f_-i without i: sum_j!=i w_j N(x_i; x_j, H) / (1 - w_i)
        """
        to_axes = vectors.T * np.exp(-0.5 * values)[:, np.newaxis]
        norm = math.exp(-0.5 * values.sum()) * (2.0 * math.pi) ** (-0.5 * self.d)
        wide, wide_moments, _ = self.moments(math.sqrt(0.5) * to_axes)
        narrow, narrow_moments, _ = self.moments(to_axes)
        to_wide = norm * 2.0 ** (-0.5 * self.d) * self.w
        to_narrow = -2.0 * norm * self.w / (1.0 - self.w)
        value = to_wide @ (wide + self.w) + to_narrow @ narrow
        slope = self.square(wide_moments @ to_wide + narrow_moments @ to_narrow)
        return value, slope - value * np.eye(self.d)

    def likelihood(self, values, vectors):
        """Minus the leave-one-out log likelihood (Duin 1976), and twice its gradient as of `least_squares`.

            - sum_i w_i log f_-i(x_i)
        """
        to_axes = vectors.T * np.exp(-0.5 * values)[:, np.newaxis]
        sums, moments, nearest = self.moments(to_axes, tails=True)
        logs = np.log(sums) - 0.5 * nearest - np.log1p(-self.w)
        value = 0.5 * values.sum() + 0.5 * self.d * math.log(2.0 * math.pi) - self.w @ logs
        return value, np.eye(self.d) - self.square(moments @ (self.w / sums))


# Minima ------------------------------------------------------------------------------------------------


def _minimum(objective, start, basis):
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

    def scaled(theta):
        values, vectors = np.linalg.eigh(np.tensordot(theta, basis, 1))
        if not low <= values[0] <= values[-1] <= high:
            return abs(first / scale) + 1.0, np.zeros(len(basis))
        value, slope = objective(centre + values, vectors)
        # the derivative of exp where S and its change do not commute (Daleckii and Krein 1965)
        half = 0.5 * (values[:, np.newaxis] - values)
        slope = 0.5 * slope * np.divide(np.sinh(half), half, out=np.ones((d, d)), where=half != 0.0)
        return value / scale, np.tensordot(basis, vectors @ slope @ vectors.T, 2) / scale

    found = minimize(scaled, np.zeros(len(basis)), jac=True, method="BFGS", options={"gtol": 1e-6, "norm": 2})
    values, vectors = np.linalg.eigh(np.tensordot(found.x, basis, 1))
    if not low + 1.0 < values[0] <= values[-1] < high - 1.0:
        return None
    return start * (vectors * np.exp(values)) @ vectors.T


def _from_ladder(cloud, name):
    """The minimum of a method of Pairs, from the widest of the local minima among multiples of 1, or None.

    Rounded or tied samples make these criteria fall without bound as the bandwidth falls; the widest minimum is the
    one meant (Hall and Marron, Journal of the Royal Statistical Society B 53, 1991, 245).
    """
    few, d = Pairs(*cloud.few()), len(cloud.points)
    scales = normal_reference(1.0 / (few.w @ few.w), d) * (_WIDEST / _RATIO ** np.arange(_RUNGS)) ** 2
    scores = []
    for scale in scales:
        scores.append(getattr(few, name)(np.full(d, math.log(scale)), np.eye(d))[0])
        if len(scores) > 2 and scores[-3] > scores[-2] < scores[-1]:
            break
    else:
        return None
    start = scales[len(scores) - 2] * ((few.w @ few.w) / (cloud.w @ cloud.w)) ** (2.0 / (d + 4))
    return _minimum(getattr(Pairs(cloud.points, cloud.w), name), start, cloud.basis)


def least_squares(cloud):
    """The matrix of least cross-validated integrated squared error for all samples, or None."""
    H = _from_ladder(cloud, "least_squares")
    return None if H is None else cloud.of_all(H)


def likelihood(cloud):
    """The matrix of largest leave-one-out likelihood for all samples, or None."""
    H = _from_ladder(cloud, "likelihood")
    return None if H is None else cloud.of_all(H)


# Plug-in -----------------------------------------------------------------------------------------------


def _identities(d):
    """The symmetric sums of d_ab x_cd over 6 terms, for a matrix x, and of d_ab d_cd over 3."""
    eye = np.eye(d)

    def six(x):
        one = np.einsum("ab,cd->abcd", eye, x)
        one = one + one.transpose(2, 3, 0, 1)
        return one + one.transpose(0, 2, 1, 3) + one.transpose(0, 3, 2, 1)

    return six, 0.5 * six(eye)


def _functional(pairs, g, laplacian):
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
    return total * (2.0 * math.pi) ** (-0.5 * d) * g ** (-d - 4.0 - 2.0 * laplacian)


def plug_in(cloud):
    """The matrix of least asymptotic error for all samples, with the density's derivatives by two stages of pilots.

    The pilots are multiples of 1, each of least asymptotic squared error of all functionals of an order together
    (Chacon and Duong, Test 19, 2010, 375), in coordinates in which the covariance is 1.
    """
    pairs = Pairs(cloud.points, cloud.w)
    d, n_pilot = pairs.d, 1.0 / (pairs.w @ pairs.w)
    # of a normal density: the sixth derivatives' pilot
    g = (2.0 ** (0.5 * d + 5.0) / ((d + 6.0) * n_pilot)) ** (1.0 / (d + 8.0))
    bias = _functional(pairs, g, laplacian=True)
    variance = _identities(d)[1] * (2.0 * math.pi) ** (-0.5 * d)
    both, square = (d + 2.0) * np.vdot(variance, bias), np.vdot(bias, bias)
    root = math.sqrt(both**2 + 8.0 * (d + 4.0) * np.vdot(variance, variance) * square)
    # both is negative: where it cancels the root, the other form of the solution
    g = (4.0 * (d + 4.0) * np.vdot(variance, variance) / (n_pilot * (root - both))) ** (1.0 / (d + 6.0))
    psi = _functional(pairs, g, laplacian=False)

    def asymptotic(values, vectors):
        """|H|^(-1/2) (4 pi)^(-d / 2) / n + H psi H / 4, and twice its gradient"""
        H = (vectors * np.exp(values)) @ vectors.T
        root = vectors * np.exp(0.5 * values)
        spread = math.exp(-0.5 * values.sum()) * (4.0 * math.pi) ** (-0.5 * d) / cloud.n_eff
        pull = np.tensordot(psi, H, 2)
        return spread + 0.25 * np.vdot(pull, H), root.T @ pull @ root - spread * np.eye(d)

    return _minimum(asymptotic, normal_reference(cloud.n_eff, d), cloud.basis)
