# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The arithmetic of quasi-Newton steps for mixtures: coordinates, gradients and limited-memory BFGS (Nocedal 1980).

The coordinates (kernels/coordinates.pxd) are scaled by the complete-data information at the reference. With m_k the
mass of component k there, a and z are multiplied by sqrt(m_k), the triangles by sqrt(m_k), on their diagonals by
sqrt(2 m_k). What is kept is in these scaled coordinates.
"""
from libc.math cimport exp, fabs, fmax, log, sqrt
from libc.string cimport memcpy, memset

import numpy as np

from gaussum.kernels.coordinates cimport (
    factor_at, factor_from, factor_gradient, mean_at, mean_from, mean_gradient, weights_at)
from gaussum.kernels.lanes cimport dot_lanes

cdef enum Structure:
    FULL, TIED, DIAG, SPHERICAL

cdef enum:
    LEAST_MEMORY = 20                   # pairs that are kept: twice the coordinates, within these bounds
    MOST_MEMORY = 60
    LARGE = 2000                        # coordinates from which on more pairs would cost too much memory


# The least curvature, relative to the complete data's, that takes the place of one that is not positive.
cdef double FLATTEST = 1e-3
# The least eigenvalue of the observed information, relative to the complete data's, that is told from rounding.
cdef double FLATTEST_KNOWN = 1e-8


cdef class QuasiNewtonModel:
    """Where a mixture stands in its coordinates, and what BFGS knows of the curvature there.

    Parameters
    ----------
    structure : {"full", "tied", "diag", "spherical"}
    n_components : int
    ridge : ndarray, shape (n_features,)

    Attributes
    ----------
    slope : float
        The derivative of the penalised log-likelihood along the direction in which the next step goes.
    longest : float
        The largest change along that direction of the logarithm of a weight or a scale, or of a mean in four scales.
    distance : float
        The same change from the reference to here.
    gradient_norm : float
        The norm of the gradient here, over the square root of the total weight: that of the mean in coordinates of
        which a unit is the complete data's standard error for one sample.
    """

    cdef Structure structure
    cdef Py_ssize_t K, d, size, memory, n_pairs, newest
    cdef double total
    cdef const double[::1] ridge
    cdef double[::1] reference, scale, position, gradient, direction, trial, raw, product, scratch
    cdef double[:, ::1] moved, bent, inverse
    cdef bint informed
    cdef double[::1] rho
    cdef readonly double slope, longest, distance, gradient_norm

    def __init__(self, structure, Py_ssize_t n_components, ridge):
        cdef Py_ssize_t K = n_components, d = len(ridge), triangle = d * (d + 1) // 2
        self.structure = {"full": FULL, "tied": TIED, "diag": DIAG, "spherical": SPHERICAL}[structure]
        self.K, self.d, self.ridge = K, d, ridge
        factors = {FULL: (K * d * d, K * triangle), TIED: (d * d, triangle), DIAG: (K * d, K * d), SPHERICAL: (K, K)}
        chol_size, logs = factors[self.structure]
        self.size = K + K * d + logs
        self.reference = np.empty(2 * K + K * d + chol_size)
        self.scale, self.position, self.gradient, self.direction, self.trial, self.raw, self.product = np.empty(
            (7, self.size))
        self.memory = LEAST_MEMORY
        if self.size < LARGE:
            self.memory = min(max(2 * self.size, LEAST_MEMORY), MOST_MEMORY)
        self.moved, self.bent = np.empty((2, self.memory, self.size))
        self.rho = np.empty(self.memory)
        self.scratch = np.empty(max(d * d, self.memory))

    def refer(self, const double[::1] parameters, const double[::1] statistics, const double[::1] image=None):
        """Set the origin of the coordinates at these parameters, and forget all pairs.

        Takes the buffers of a MixtureParameters and of its SufficientStatistics. Returns the smallest weight but 0.
        `image` is that of the parameters which the M-step makes of the statistics: with it, the way there stands for
        the gradient, which it is to first order in these coordinates (for M-steps other than the plain one).
        """
        cdef Py_ssize_t i, k
        cdef double smallest = 1.0
        self._check(parameters, statistics)
        if image is not None:
            self._check(image)
        self.reference[:] = parameters
        self.total = statistics[1]
        self.n_pairs = self.newest = 0
        self.informed = False
        with nogil:
            self._set_scale(&statistics[2])
            for i in range(self.size):
                self.position[i] = 0.0
            if image is None:
                self._gradient(&parameters[0], &statistics[2], &self.gradient[0])
            else:
                self._locate(&image[0], &self.gradient[0])
                self._way(&parameters[0], &image[0], &self.gradient[0])
            for i in range(self.size):
                self.direction[i] = self.gradient[i]
            self._look_along()
            for k in range(self.K):
                if parameters[k] > 0.0:
                    smallest = min(smallest, parameters[k])
        return smallest

    def begin_with(self, information, double limit):
        """Take the second derivatives at the reference for what BFGS starts from, where just `refer` was called.

        `information` is minus them in the unscaled coordinates, shape (p, p). Along its eigenvectors of negative
        curvature the direction leads away from the saddle (Dauphin et al. 2014). Eigenvalues too small for a step of
        the length `limit` are raised: there the second derivatives tell little of where the maximum is.
        """
        scale = np.asarray(self.scale)
        values, vectors = np.linalg.eigh(information / (scale * scale[:, np.newaxis]))
        values = np.abs(values)
        along = vectors.T @ self.gradient
        least = FLATTEST_KNOWN
        while least < 1.0:
            self.direction = vectors @ (along / np.maximum(values, least))
            if self._extent(&self.direction[0]) <= limit:
                break
            least *= 2.0
        inverse = (vectors / np.maximum(values, least)) @ vectors.T
        # what has nothing to do with the rest keeps out of the rounding: a constant feature keeps its mean
        alone = np.flatnonzero(np.count_nonzero(information, axis=1) <= 1)
        inverse[alone] = inverse[:, alone] = 0.0
        own = np.abs(information[alone, alone]) / scale[alone] ** 2
        inverse[alone, alone] = 1.0 / np.maximum(own, least)
        self.inverse = inverse
        self.informed = True
        with nogil:
            self._newton()
            self._look_along()

    def propose(self, double length, double[::1] parameters):
        """Fill in the parameters at `length` times the direction from here; returns the smallest weight but 0."""
        cdef Py_ssize_t i
        cdef double smallest
        self._check(parameters)
        with nogil:
            for i in range(self.size):
                self.trial[i] = self.position[i] + length * self.direction[i]
                self.raw[i] = self.trial[i] / self.scale[i]
            smallest = self._point(&parameters[0])
        return smallest

    def accept(self, const double[::1] parameters, const double[::1] statistics, const double[::1] image=None):
        """Go where `propose` was last, and learn from the gradient there; returns g^T H g / 2, the gain to come.

        With `image`, as in `refer`, the parameters need not be those proposed.
        """
        cdef Py_ssize_t i
        self._check(parameters, statistics)
        if image is not None:
            self._check(image)
        with nogil:
            if image is None:
                self._gradient(&parameters[0], &statistics[2], &self.raw[0])
            else:
                self._locate(&parameters[0], &self.trial[0])
                self._locate(&image[0], &self.raw[0])
                for i in range(self.size):
                    self.raw[i] -= self.trial[i]
                self._way(&parameters[0], &image[0], &self.raw[0])
            self._learn()
            self._newton()
            self._look_along()
        return 0.5 * self.slope

    cdef _check(self, const double[::1] parameters, const double[::1] statistics=None):
        if parameters.shape[0] != self.reference.shape[0]:
            raise ValueError("the parameters do not have the shape of this model")
        if statistics is not None and statistics.shape[0] != parameters.shape[0] - self.K + 2:
            raise ValueError("the statistics do not have the shape of this model")

    cdef void _set_scale(self, const double *nk) noexcept nogil:
        """The square root of the complete-data information of every coordinate."""
        cdef Py_ssize_t j, k, K = self.K, d = self.d
        cdef double root
        cdef double *a = &self.scale[0]
        cdef double *z = a + K
        cdef double *e = z + K * d
        for k in range(K):
            # a component with next to nothing would have no scale
            root = sqrt(max(nk[k], 1e-3 * self.total / K))
            a[k] = root
            for j in range(d):
                z[k * d + j] = root
            if self.structure == FULL:
                e = _triangle_scale(d, root, e)
            elif self.structure == DIAG:
                for j in range(d):
                    e[k * d + j] = sqrt(2.0) * root
            elif self.structure == SPHERICAL:
                e[k] = sqrt(2.0 * d) * root
        if self.structure == TIED:
            _triangle_scale(d, sqrt(self.total), e)

    cdef double _point(self, double *parameters) noexcept nogil:
        """The mixture at `raw`, which is overwritten; returns the smallest weight but 0."""
        cdef Py_ssize_t j, k, K = self.K, d = self.d, square = d * d if self.structure == FULL else 0
        cdef double u
        cdef const double *z = &self.raw[K]
        cdef double *e = &self.raw[K + K * d]
        cdef const double *mean0 = &self.reference[2 * K]
        cdef const double *chol0 = mean0 + K * d
        cdef double *log_det = parameters + K
        cdef double *mean = parameters + 2 * K
        cdef double *chol = mean + K * d
        if self.structure == FULL:
            for k in range(K):
                log_det[k] = factor_at(d, e + k * (d * (d + 1) // 2), chol0 + k * square, chol + k * square)
        elif self.structure == TIED:
            log_det[0] = factor_at(d, e, chol0, chol)
            for k in range(1, K):
                log_det[k] = log_det[0]
        elif self.structure == DIAG:
            for k in range(K):
                log_det[k] = 0.0
                for j in range(d):
                    chol[k * d + j] = chol0[k * d + j] * exp(e[k * d + j])
                    log_det[k] += log(chol[k * d + j])
        else:
            for k in range(K):
                chol[k] = chol0[k] * exp(e[k])
                log_det[k] = d * log(chol[k])
        for k in range(K):
            if self.structure in (FULL, TIED):
                mean_at(d, z + k * d, mean0 + k * d, chol0 + k * square, mean + k * d)
            else:
                for j in range(d):
                    u = chol0[k * d + j] if self.structure == DIAG else chol0[k]
                    mean[k * d + j] = mean0[k * d + j] + z[k * d + j] / u
        return weights_at(K, &self.raw[0], &self.reference[0], parameters)

    cdef void _locate(self, const double *parameters, double *where) noexcept nogil:
        """The scaled coordinates of a mixture."""
        cdef Py_ssize_t i, j, k, K = self.K, d = self.d
        cdef Py_ssize_t triangle = d * (d + 1) // 2, square = d * d if self.structure == FULL else 0
        cdef double *z = where + K
        cdef double *e = z + K * d
        cdef const double *mean = parameters + 2 * K
        cdef const double *chol = mean + K * d
        cdef const double *mean0 = &self.reference[2 * K]
        cdef const double *chol0 = mean0 + K * d
        for k in range(K):
            where[k] = log(parameters[k] / self.reference[k]) if self.reference[k] > 0.0 else 0.0
        if self.structure in (FULL, TIED):
            for k in range(K):
                mean_from(d, mean + k * d, mean0 + k * d, chol0 + k * square, z + k * d)
            for k in range(K if self.structure == FULL else 1):
                factor_from(d, chol + k * square, chol0 + k * square, e + k * triangle)
        else:
            for k in range(K):
                for j in range(k * d, k * d + d):
                    z[j] = (mean[j] - mean0[j]) * (chol0[j] if self.structure == DIAG else chol0[k])
            for i in range(self.size - K - K * d):
                e[i] = log(chol[i] / chol0[i])
        for i in range(self.size):
            where[i] *= self.scale[i]

    cdef void _way(self, const double *parameters, const double *image, double *way) noexcept nogil:
        """From the difference of their scaled coordinates to what stands for the gradient.

        A component with less mass than its scale says has less of a gradient, and only differences of the weights, not
        of their logarithms, tell of one that vanishes.
        """
        cdef Py_ssize_t i, k, K = self.K, d = self.d, each = (self.size - K - K * d) // K
        cdef double held
        for k in range(K):
            held = self.total * parameters[k] / (self.scale[k] * self.scale[k])
            way[k] = self.total * (image[k] - parameters[k]) / self.scale[k]
            for i in range(d):
                way[K + k * d + i] *= held
            if self.structure != TIED:
                for i in range(each):
                    way[K + K * d + k * each + i] *= held

    cdef void _gradient(self, const double *parameters, const double *nk, double *gradient) noexcept nogil:
        """The gradient of the penalised log-likelihood at these parameters, whose statistics start with `nk`."""
        cdef Py_ssize_t i, j, k, K = self.K, d = self.d
        cdef Py_ssize_t triangle = d * (d + 1) // 2, square = d * d if self.structure == FULL else 0
        cdef Py_ssize_t logs = triangle if self.structure == FULL else d if self.structure == DIAG else 1
        cdef double ridge = 0.0, u
        cdef const double *first = nk + K
        cdef const double *second = first + K * d
        cdef const double *chol = parameters + 2 * K + K * d
        cdef const double *chol0 = &self.reference[2 * K + K * d]
        cdef double *z = gradient + K
        cdef double *e = z + K * d
        for k in range(K):
            gradient[k] = nk[k] - self.total * parameters[k]
        if self.structure in (FULL, TIED):
            for k in range(K):
                mean_gradient(d, first + k * d, chol + k * square, chol0 + k * square, z + k * d, &self.scratch[0])
        if self.structure == FULL:
            for k in range(K):
                factor_gradient(d, nk[k], second + k * square, &self.ridge[0], chol + k * square, chol0 + k * square,
                                e + k * triangle, &self.scratch[0])
        elif self.structure == TIED:
            factor_gradient(d, self.total, second, &self.ridge[0], chol, chol0, e, &self.scratch[0])
        elif self.structure == DIAG:
            for k in range(K):
                for j in range(k * d, k * d + d):
                    u = chol[j]
                    z[j] = first[j] * (u * u / chol0[j])
                    e[j] = nk[k] - (second[j] + self.ridge[j - k * d]) * (u * u)
        else:
            for j in range(d):
                ridge += self.ridge[j]
            for k in range(K):
                u = chol[k]
                for j in range(k * d, k * d + d):
                    z[j] = first[j] * (u * u / chol0[k])
                e[k] = d * nk[k] - (second[k] + ridge) * (u * u)
        if self.structure != TIED:
            for k in range(K):
                if parameters[k] == 0.0:
                    # the penalty alone would widen a component without weight for ever
                    memset(e + k * logs, 0, logs * sizeof(double))
        for i in range(self.size):
            gradient[i] /= self.scale[i]

    cdef void _learn(self) noexcept nogil:
        """Make the trial, whose gradient `raw` holds, the position; keep the pair of their changes, if it curves."""
        cdef Py_ssize_t i, pair = (self.newest + 1) % self.memory, size = self.size
        cdef double curvature, length, excess
        cdef double *gradient = &self.raw[0]
        cdef double *moved = &self.moved[pair, 0]
        cdef double *bent = &self.bent[pair, 0]
        for i in range(size):
            moved[i] = self.trial[i] - self.position[i]
            bent[i] = self.gradient[i] - gradient[i]
            self.position[i] = self.trial[i]
            self.gradient[i] = gradient[i]
        curvature, length = dot_lanes(moved, bent, size), dot_lanes(moved, moved, size)
        if curvature <= 1e-12 * dot_lanes(bent, bent, size) and length > 0.0:
            # near a saddle the gradient grows along the move: a step of the same curvature downwards leads away
            excess = fmax(-curvature, FLATTEST * length) - curvature
            for i in range(size):
                bent[i] += excess / length * moved[i]
            curvature += excess
        if curvature > 1e-12 * dot_lanes(bent, bent, size):
            self.rho[pair] = 1.0 / curvature
            self.newest = pair
            self.n_pairs = min(self.n_pairs + 1, self.memory)

    cdef void _newton(self) noexcept nogil:
        """direction <- H g by the two loops of L-BFGS; H starts from the inverse of the complete-data information,
        or of the observed one where that is known."""
        cdef Py_ssize_t i, pair, number, size = self.size
        cdef double factor
        cdef double *q = &self.direction[0]
        cdef double *factors = &self.scratch[0]
        cdef const double *bent
        cdef const double *moved
        memcpy(q, &self.gradient[0], size * sizeof(double))
        for number in range(self.n_pairs):
            pair = (self.newest - number + self.memory) % self.memory
            bent, moved = &self.bent[pair, 0], &self.moved[pair, 0]
            factor = self.rho[pair] * dot_lanes(moved, q, size)
            for i in range(size):
                q[i] -= factor * bent[i]
            factors[pair] = factor
        if self.informed:
            for i in range(size):
                self.product[i] = dot_lanes(&self.inverse[i, 0], q, size)
            memcpy(q, &self.product[0], size * sizeof(double))
        elif self.n_pairs > 0:
            bent = &self.bent[self.newest, 0]
            factor = 1.0 / (self.rho[self.newest] * dot_lanes(bent, bent, size))
            for i in range(size):
                q[i] *= factor
        for number in range(self.n_pairs - 1, -1, -1):
            pair = (self.newest - number + self.memory) % self.memory
            bent, moved = &self.bent[pair, 0], &self.moved[pair, 0]
            factor = factors[pair] - self.rho[pair] * dot_lanes(bent, q, size)
            for i in range(size):
                q[i] += factor * moved[i]

    cdef void _look_along(self) noexcept nogil:
        """The slope and the longest change along the direction; how far and how steep it is here."""
        self.slope = dot_lanes(&self.direction[0], &self.gradient[0], self.size)
        self.longest = self._extent(&self.direction[0])
        self.distance = self._extent(&self.position[0])
        self.gradient_norm = sqrt(dot_lanes(&self.gradient[0], &self.gradient[0], self.size) / self.total)

    cdef double _extent(self, const double *change) noexcept nogil:
        """The largest change of the logarithm of a weight or a scale, or of a mean in four scales."""
        cdef Py_ssize_t i, first = self.K, last = self.K + self.K * self.d
        cdef double largest = 0.0, size
        for i in range(self.size):
            size = fabs(change[i] / self.scale[i])
            largest = fmax(largest, 0.25 * size if first <= i < last else size)
        return largest


cdef inline double *_triangle_scale(Py_ssize_t d, double root, double *scale) noexcept nogil:
    """Fill in the scale of a packed triangle; returns its end."""
    cdef Py_ssize_t i, j
    for i in range(d):
        for j in range(i, d):
            scale[0] = sqrt(2.0) * root if i == j else root
            scale += 1
    return scale
