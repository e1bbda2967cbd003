# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The arithmetic of variational Bayes for mixtures: statistics -> posterior -> what the E-step reads; the divergence.

The prior, and the posterior q, which has the same form (Bishop 2006, section 10.2; Blei and Jordan 2006):

    pi ~ Dirichlet(a, ..., a),   or   pi_k = v_k prod_{l<k} (1 - v_l), v_k ~ Beta(1, a)   (a Dirichlet process)
    mu_k | Lambda_k ~ N(m_0, (beta_0 Lambda_k)^-1),   Lambda_k ~ Wishart(nu_0, C^-1)

All structures are this one model; they differ in what q(Lambda_k) = Wishart(nu_k, B_k^-1) may be. "tied": the same for
all components; "diag" and "spherical": B_k is diagonal, or a multiple of the identity. These families are closed under
the update, since natural parameters stay in a linear space, so every update is the best within its family.

A posterior is kept as the parameters of a mixture, means m_k and covariances Sigma_k = B_k / nu_k, and four rows of
`hyper`: a_k and b_k of the Beta posteriors of the sticks, or of the margins of the Dirichlet; beta_k; nu_k.
"""
from libc.float cimport DBL_EPSILON, DBL_MIN
from libc.math cimport fmax, lgamma, log, sqrt

import numpy as np

from gaussum.kernels.lapack cimport inverse_cholesky

cdef enum Structure:
    FULL, TIED, DIAG, SPHERICAL

NAMES = "full", "tied", "diag", "spherical"
STRUCTURES = {"full": FULL, "tied": TIED, "diag": DIAG, "spherical": SPHERICAL}


cdef double digamma(double x) noexcept nogil:
    """psi(x) = psi(x + 1) - 1/x, and for large x the asymptotic series; x > 0"""
    cdef double y, below = 0.0
    while x < 12.0:
        below += 1.0 / x
        x += 1.0
    y = 1.0 / (x * x)
    return log(x) - 0.5 / x - below - y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y * (
        1.0 / 240 - y * (1.0 / 132 - y * (691.0 / 32760))))))


cdef double digammas(double nu, Py_ssize_t d) noexcept nogil:
    """sum_j psi((nu - j) / 2), j = 0, ..., d - 1"""
    cdef Py_ssize_t j
    cdef double total = 0.0
    for j in range(d):
        total += digamma(0.5 * (nu - j))
    return total


cdef double log_gammas(double nu, Py_ssize_t d) noexcept nogil:
    """sum_j log Gamma((nu - j) / 2), j = 0, ..., d - 1"""
    cdef Py_ssize_t j
    cdef double total = 0.0
    for j in range(d):
        total += lgamma(0.5 * (nu - j))
    return total


cdef double log_beta(double a, double b) noexcept nogil:
    """log B(a, b)"""
    return lgamma(a) + lgamma(b) - lgamma(a + b)


cdef double log_det_of(
    Structure structure, Py_ssize_t k, Py_ssize_t d,    # IN
    const double *chol,                 # IN
) noexcept nogil:
    """log det U_k"""
    cdef Py_ssize_t j
    cdef double total = 0.0
    if structure == SPHERICAL:
        return d * log(chol[k])
    for j in range(d):
        if structure == DIAG:
            total += log(chol[k * d + j])
        else:
            total += log(chol[(k * d * d if structure == FULL else 0) + j * d + j])
    return total


cdef void expect(
    bint sticks, Py_ssize_t K, Py_ssize_t d,            # IN
    const double *hyper,                # IN (4, K)
    double *weights,                    # OUT (K,)
    double *log_det,                    # INOUT (K,): log det U_k, then what makes log p_ik the expected one
) noexcept nogil:
    """w_k = E pi_k,   log w_k + log_det_k = E log pi_k + (E log det Lambda_k - d / beta_k) / 2

    With Sigma_k = B_k / nu_k, E log det Lambda_k = 2 log det U_k + sum_j psi((nu_k - j) / 2) - d log(nu_k / 2).
    """
    cdef Py_ssize_t k
    cdef double a, b, nu, total = 0.0, left = 1.0, log_left = 0.0
    for k in range(K):
        a = hyper[k]
        b = hyper[K + k]
        nu = hyper[3 * K + k]
        weights[k] = left * a / (a + b)
        total += weights[k]
        log_det[k] += log_left + digamma(a) - digamma(a + b)
        log_det[k] += 0.5 * (digammas(nu, d) - d * log(0.5 * nu) - d / hyper[2 * K + k])
        if sticks:
            left *= b / (a + b)
            log_left += digamma(b) - digamma(a + b)
    for k in range(K):
        weights[k] = fmax(weights[k] / total, DBL_MIN)
        log_det[k] -= log(weights[k])


cdef bint factor(
    double *covariance,                 # INOUT (d, d): the upper triangle of Sigma, then all of it
    double *chol,                       # OUT (d, d)
    Py_ssize_t d,                       # IN
) noexcept nogil:
    """Upper triangular U with U U^T = Sigma^-1; whether there is one.

    What rounding took from a thin Sigma, which the prior makes positive definite, is put back on its diagonal.
    """
    cdef Py_ssize_t j, l
    cdef double more = 0.0
    while more < 1.0:
        for j in range(d):
            for l in range(j, d):
                chol[j * d + l] = covariance[j * d + l]
            chol[j * d + j] *= 1.0 + more
        if inverse_cholesky(chol, d) == 0:
            for j in range(d):
                covariance[j * d + j] *= 1.0 + more
                for l in range(j):
                    covariance[j * d + l] = covariance[l * d + j]
            return True
        more = fmax(DBL_EPSILON, 4.0 * more)
    return False


def expected_parameters(structure, Py_ssize_t d, bint sticks, const double[:, ::1] hyper, double[::1] parameters):
    """Fill in weights and log_det where means and factors of a posterior are: a buffer of a MixtureParameters.

    The E-step under these parameters is that of variational Bayes: log p_ik = E log(pi_k N(x_i; mu_k, Lambda_k^-1)).
    """
    cdef Structure kind = STRUCTURES[structure]
    cdef Py_ssize_t k, K = hyper.shape[1]
    if hyper.shape[0] != 4 or d < 1 or parameters.shape[0] != 2 * K + K * d + _chol_size(kind, K, d):
        raise ValueError("hyper or parameters have the wrong size")
    for k in range(K):
        parameters[K + k] = log_det_of(kind, k, d, &parameters[2 * K + K * d])
    expect(sticks, K, d, &hyper[0, 0], &parameters[0], &parameters[K])


cdef Py_ssize_t _chol_size(Structure structure, Py_ssize_t K, Py_ssize_t d):
    return (1 if structure == TIED else K) * (1 if structure == SPHERICAL else d if structure == DIAG else d * d)


cdef class VariationalStep:
    """A prior, and what it makes of statistics.

    Parameters
    ----------
    structure : {"full", "tied", "diag", "spherical"}
    n_components : int
    sticks : bool
        Whether the weights have a Dirichlet process prior.
    concentration, mean_precision, degrees_of_freedom : float
        a, beta_0 and nu_0.
    mean : ndarray, shape (n_features,)
        m_0.
    covariance : ndarray, shape (d, d), (d, d), (d,) or (1,) by structure
        C, its diagonal, or what C is a multiple of the identity by.
    """

    cdef Structure structure
    cdef Py_ssize_t K, d, chol_size
    cdef bint sticks
    cdef double concentration, mean_precision, degrees_of_freedom
    cdef double log_det                 # of C
    cdef const double[::1] mean, covariance
    cdef const double[:, ::1] root      # upper triangular R with R^T R = C

    def __init__(self, structure, Py_ssize_t n_components, bint sticks, *, double concentration,
                 double mean_precision, mean, double degrees_of_freedom, covariance):
        cdef Py_ssize_t d = len(mean)
        self.structure = STRUCTURES[structure]
        self.K, self.d, self.sticks = n_components, d, sticks
        self.chol_size = _chol_size(self.structure, n_components, d)
        shape = {"diag": (d,), "spherical": (1,)}.get(structure, (d, d))
        if covariance.shape != shape:
            raise ValueError(f"covariance has shape {covariance.shape}; expected {shape}")
        self.concentration, self.mean_precision = concentration, mean_precision
        self.degrees_of_freedom = degrees_of_freedom
        self.mean, self.covariance = mean, covariance.ravel()
        if len(shape) == 2:
            root = np.ascontiguousarray(np.linalg.cholesky(covariance).T)
            self.root, variances = root, np.diagonal(root) ** 2
        else:
            variances = np.broadcast_to(covariance, d)
        self.log_det = np.log(variances).sum()

    def update(self, const double[::1] statistics, const double[:, ::1] origins, double[::1] parameters,
               double[::1] covariances, double[:, ::1] hyper):
        """The posterior that maximises the lower bound, given statistics about origins; whether it is finite.

        Takes the buffers of a SufficientStatistics and of a MixtureParameters, which is filled in.
        """
        cdef Py_ssize_t K = self.K, d = self.d
        cdef const double *nk = &statistics[2]
        cdef bint sound
        self._check(parameters, hyper)
        if (
            statistics.shape[0] != 2 + K + K * d + self.chol_size or covariances.shape[0] != self.chol_size
            or origins.shape[0] != K or origins.shape[1] != d
        ):
            raise ValueError("statistics, origins or covariances have the wrong size")
        with nogil:
            self._masses(nk, &hyper[0, 0])
            self._means(nk, nk + K, &origins[0, 0], &hyper[2, 0], &parameters[2 * K])
            sound = self._covariances(nk, nk + K, nk + K + K * d, &origins[0, 0], &hyper[3, 0], &covariances[0],
                                      &parameters[2 * K + K * d])
        expected_parameters(NAMES[self.structure], d, self.sticks, hyper, parameters)
        return sound

    cdef void _masses(
        self,
        const double *nk,               # IN (K,)
        double *hyper,                  # OUT (4, K)
    ) noexcept nogil:
        """beta_k = beta_0 + n_k,   nu_k = nu_0 + n_k, or nu_0 + sum_k n_k / K for "tied"

        a_k = a + n_k and b_k = sum_{l!=k} a_l, or for sticks a_k = 1 + n_k and b_k = a + sum_{l>k} n_l.
        """
        cdef Py_ssize_t k, K = self.K
        cdef double total = 0.0, after = 0.0
        for k in range(K):
            total += nk[k]
        for k in range(K - 1, -1, -1):
            hyper[k] = nk[k] + (1.0 if self.sticks else self.concentration)
            hyper[K + k] = self.concentration + after
            hyper[2 * K + k] = self.mean_precision + nk[k]
            hyper[3 * K + k] = self.degrees_of_freedom + (total / K if self.structure == TIED else nk[k])
            after += nk[k]
        if not self.sticks:
            total += K * self.concentration
            for k in range(K):
                hyper[K + k] = total - hyper[k]

    cdef void _means(
        self,
        const double *nk,               # IN (K,)
        const double *first,            # IN (K, d)
        const double *origins,          # IN (K, d)
        const double *beta,             # IN (K,)
        double *means,                  # OUT (K, d)
    ) noexcept nogil:
        """m_k = o_k + (beta_0 (m_0 - o_k) + f_k) / beta_k"""
        cdef Py_ssize_t j, k, d = self.d
        for k in range(self.K):
            for j in range(d):
                means[k * d + j] = origins[k * d + j] + (
                    self.mean_precision * (self.mean[j] - origins[k * d + j]) + first[k * d + j]) / beta[k]

    cdef double _scatter(
        self,
        double nk,                      # IN
        const double *first,            # IN (d,)
        const double *origin,           # IN (d,)
        Py_ssize_t j, Py_ssize_t l,     # IN
    ) noexcept nogil:
        """From second moments about o_k to those about xbar_k, and those of the means:

        -f_kj f_kl / n_k + beta_0 n_k / (beta_0 + n_k) (xbar_kj - m_0j)(xbar_kl - m_0l)
        """
        if not nk > 0.0:
            return 0.0
        return self.mean_precision * nk / (self.mean_precision + nk) * (
            origin[j] - self.mean[j] + first[j] / nk) * (origin[l] - self.mean[l] + first[l] / nk
            ) - first[j] * (first[l] / nk)

    cdef bint _covariances(
        self,
        const double *nk,               # IN (K,)
        const double *first,            # IN (K, d)
        const double *second,           # IN, as in SufficientStatistics
        const double *origins,          # IN (K, d)
        const double *nu,               # IN (K,)
        double *covariances,            # OUT
        double *chol,                   # OUT
    ) noexcept nogil:
        """Sigma_k = (C + scatter_k) / nu_k; the mean of scatters for "tied", of diagonals for "spherical" """
        cdef Py_ssize_t j, k, l, d = self.d, K = self.K
        cdef double total
        cdef bint sound = True
        if self.structure == TIED:
            self._matrix(0, K, nk, first, second, origins, nu[0], covariances)
            return factor(covariances, chol, d)
        for k in range(K):
            if self.structure == FULL:
                self._matrix(k, k + 1, nk, first, second + k * d * d, origins, nu[k], covariances + k * d * d)
                sound = factor(covariances + k * d * d, chol + k * d * d, d) and sound
            elif self.structure == DIAG:
                for j in range(d):
                    l = k * d + j
                    total = second[l] + self._scatter(nk[k], first + k * d, origins + k * d, j, j)
                    covariances[l] = (self.covariance[j] + fmax(total, 0.0)) / nu[k]
                    chol[l] = 1.0 / sqrt(covariances[l])
            else:
                total = second[k]
                for j in range(d):
                    total += self._scatter(nk[k], first + k * d, origins + k * d, j, j)
                covariances[k] = (self.covariance[0] + fmax(total / d, 0.0)) / nu[k]
                chol[k] = 1.0 / sqrt(covariances[k])
        return sound

    cdef void _matrix(
        self,
        Py_ssize_t start, Py_ssize_t stop,  # IN
        const double *nk,               # IN (K,)
        const double *first,            # IN (K, d)
        const double *second,           # IN (d, d), upper triangle: of components start to stop - 1
        const double *origins,          # IN (K, d)
        double nu,                      # IN
        double *covariance,             # OUT (d, d), upper triangle
    ) noexcept nogil:
        """Sigma = (C + scatter / (stop - start)) / nu"""
        cdef Py_ssize_t j, k, l, d = self.d
        cdef double total
        for j in range(d):
            for l in range(j, d):
                total = second[j * d + l]
                for k in range(start, stop):
                    total += self._scatter(nk[k], first + k * d, origins + k * d, j, l)
                if j == l:
                    total = fmax(total, 0.0)
                covariance[j * d + l] = (self.covariance[j * d + l] + total / (stop - start)) / nu

    def divergence(self, const double[::1] parameters, const double[:, ::1] hyper, double[::1] scratch):
        """The Kullback-Leibler divergence of a posterior from the prior.

        The lower bound is the sum of the samples' log sum_k exp(log p_ik) less this.  `scratch` has n_features entries.
        """
        cdef double total
        self._check(parameters, hyper)
        if scratch.shape[0] < self.d:
            raise ValueError("scratch is too small")
        with nogil:
            total = self._of_weights(&hyper[0, 0]) + self._of_components(
                &hyper[2, 0], &hyper[3, 0], &parameters[2 * self.K], &parameters[2 * self.K + self.K * self.d],
                &scratch[0])
        return total

    cdef double _of_weights(
        self,
        const double *hyper,            # IN (2, K)
    ) noexcept nogil:
        """KL of Beta(a_k, b_k) from Beta(1, a), summed:  log B(1, a) - log B(a_k, b_k)
            + (a_k - 1) (psi(a_k) - psi(a_k + b_k)) + (b_k - a) (psi(b_k) - psi(a_k + b_k))

        KL of Dirichlet(a_1, ..., a_K) from Dirichlet(a, ..., a), with A = sum_k a_k:
            log Gamma(A) - log Gamma(K a) + sum_k log Gamma(a) - log Gamma(a_k) + (a_k - a) (psi(a_k) - psi(A))
        """
        cdef Py_ssize_t k, K = self.K
        cdef double a, b, prior = self.concentration, total = 0.0
        for k in range(K):
            a = hyper[k]
            b = hyper[K + k]
            if self.sticks:
                total += log_beta(1.0, prior) - log_beta(a, b) + (a - 1.0) * (digamma(a) - digamma(a + b))
                total += (b - prior) * (digamma(b) - digamma(a + b))
            else:
                total += lgamma(prior) - lgamma(a) + (a - prior) * (digamma(a) - digamma(a + b))
        if not self.sticks:
            total += lgamma(hyper[0] + hyper[K]) - lgamma(K * prior)
        return total

    cdef double _of_components(
        self,
        const double *beta,             # IN (K,)
        const double *nu,               # IN (K,)
        const double *means,            # IN (K, d)
        const double *chol,             # IN
        double *scratch,                # SCRATCH (d,)
    ) noexcept nogil:
        """KL of q(mu_k, Lambda_k) from the prior, summed:

        (d log(beta_k / beta_0) + d beta_0 / beta_k - d + beta_0 |(m_k - m_0) U_k|^2) / 2
            + nu_0 (log det B_k - log det C) / 2 + (|R U_k|^2 - nu_k d) / 2
            + log Gamma_d(nu_0 / 2) - log Gamma_d(nu_k / 2) + (nu_k - nu_0) / 2 sum_j psi((nu_k - j) / 2)
        """
        cdef Py_ssize_t k, d = self.d
        cdef double ratio, log_det, twice = 0.0, shared = 0.0
        cdef double nu_0 = self.degrees_of_freedom
        for k in range(self.K):
            ratio = self.mean_precision / beta[k]
            twice += d * (ratio - 1.0 - log(ratio))
            twice += self.mean_precision * self._distance2(k, means + k * d, chol, scratch)
            if k == 0 or self.structure != TIED:
                log_det = d * log(nu[k]) - 2.0 * log_det_of(self.structure, k, d, chol) - self.log_det
                shared = nu_0 * log_det + self._trace(k, chol, scratch) - nu[k] * d
                shared += 2.0 * (log_gammas(nu_0, d) - log_gammas(nu[k], d)) + (nu[k] - nu_0) * digammas(nu[k], d)
            twice += shared
        return 0.5 * twice

    cdef double _distance2(
        self,
        Py_ssize_t k,                   # IN
        const double *mean,             # IN (d,)
        const double *chol,             # IN
        double *scratch,                # SCRATCH (d,)
    ) noexcept nogil:
        """|(m_k - m_0) U_k|^2"""
        cdef Py_ssize_t j, l, d = self.d
        cdef const double *u = chol + (k * d * d if self.structure == FULL else 0)
        cdef double z, total = 0.0
        for j in range(d):
            scratch[j] = 0.0
        for j in range(d):
            z = mean[j] - self.mean[j]
            if self.structure == DIAG:
                scratch[j] = z * chol[k * d + j]
            elif self.structure == SPHERICAL:
                scratch[j] = z * chol[k]
            else:
                for l in range(j, d):
                    scratch[l] += z * u[j * d + l]
        for j in range(d):
            total += scratch[j] * scratch[j]
        return total

    cdef double _trace(
        self,
        Py_ssize_t k,                   # IN
        const double *chol,             # IN
        double *scratch,                # SCRATCH (d,)
    ) noexcept nogil:
        """|R U_k|^2 = tr(C U_k U_k^T)"""
        cdef Py_ssize_t j, l, m, d = self.d
        cdef const double *u = chol + (k * d * d if self.structure == FULL else 0)
        cdef double r, total = 0.0
        if self.structure == SPHERICAL:
            return d * self.covariance[0] * chol[k] * chol[k]
        for j in range(d):
            if self.structure == DIAG:
                total += self.covariance[j] * chol[k * d + j] * chol[k * d + j]
                continue
            for m in range(j, d):
                scratch[m] = 0.0
            for l in range(j, d):
                r = self.root[j, l]
                for m in range(l, d):
                    scratch[m] += r * u[l * d + m]
            for m in range(j, d):
                total += scratch[m] * scratch[m]
        return total

    cdef int _check(self, const double[::1] parameters, const double[:, ::1] hyper) except -1:
        if parameters.shape[0] != 2 * self.K + self.K * self.d + self.chol_size:
            raise ValueError("parameters do not have the shape of this mixture")
        if hyper.shape[0] != 4 or hyper.shape[1] != self.K:
            raise ValueError(f"hyper must have shape (4, {self.K})")
        return 0
