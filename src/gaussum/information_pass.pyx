# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Second derivatives of the log-likelihood of mixtures along axes: passes that gather their moments.

With l_ik = log w_k p_k(x_i), r_ik the responsibilities and s_ik the derivatives of l_ik (Louis 1982),

    d2/dt2 sum_i log sum_k exp(l_ik) = sum_ik r_ik (s_ik s_ik^T + l''_ik) - sum_i (sum_k r_ik s_ik)(sum_k r_ik s_ik)^T

In the coordinates of kernels/coordinates.pxd at their reference, with y_ij = (x_ij - mu_kj) u_kj, component k has the
q = 2 d + 1 derivatives s_ik = (1, y_ij, ..., 1 - y_ij^2, ...). All sums are second moments, of the s_ik under r_ik and
of the K q products r_ik s_ik, and the M-step's own kernel forms them.
"""
from libc.string cimport memset

from gaussum.kernels cimport estep, mstep
from gaussum.mixture_pass cimport MixturePass
from gaussum.samples cimport ALIGNMENT, Samples, aligned, round_up


cdef class InformationPass(MixturePass):
    """Passes of one mixture's shape over one set of samples; its parameters are one number a component and feature.

    Parameters
    ----------
    As of MixturePass, whose structure must be "diag", or any but "tied" for one feature.
    """

    cdef Py_ssize_t q
    cdef readonly Py_ssize_t moments_size

    def __init__(self, Samples samples, structure, Py_ssize_t n_components, sample_weight, Py_ssize_t n_parts, ridge):
        MixturePass.__init__(self, samples, structure, n_components, sample_weight, n_parts, ridge)
        if self.second_size != self.K * self.d:
            raise ValueError(f"structure is {structure!r}; expected one variance a component and feature")
        cdef Py_ssize_t q = 2 * self.d + 1, size = self.K * q
        self.q = q
        # of each component, then of their products: zeroth, first and second moments
        self.moments_size = self.K * (1 + q + q * q) + 1 + size + size * size
        self.scratch_size = (
            ALIGNMENT // sizeof(double) + self.block * (self.d + self.K + 3 + q + size) + round_up(self.K, 8)
            + round_up(size, 8) + max(estep.estep_scratch(self.d, self.block), mstep.mstep_scratch(size, 1, self.block))
            + round_up(self.moments_size, 8)
        )

    def moments(self, Py_ssize_t first, Py_ssize_t last, const double[::1] parameters, double[::1] moments,
                double[::1] scratch):
        """Add the moments of parts first to last - 1, under the given parameters, to `moments`."""
        self._check_parameters(parameters)
        if not 0 <= first <= last <= self.n_parts:
            raise ValueError(f"parts {first} to {last} are not within 0 to {self.n_parts}")
        if moments.shape[0] != self.moments_size or scratch.shape[0] < self.scratch_size:
            raise ValueError("moments or scratch have the wrong size")
        with nogil:
            self._moments(first, last, &parameters[0], &moments[0], aligned(scratch))

    cdef void _moments(self, Py_ssize_t first, Py_ssize_t last, const double *parameters, double *moments,
                       double *x) noexcept nogil:
        cdef Py_ssize_t part, start, stop, n, i, j, k, ld = self.block, K = self.K, d = self.d, q = self.q
        cdef double *resp = x + d * ld
        cdef double *density = resp + K * ld
        cdef double *spare = density + ld
        cdef double *weight = spare + ld
        cdef double *s = weight + ld                # (q, ld)
        cdef double *b = s + q * ld                 # (K q, ld)
        cdef double *log_const = b + K * q * ld
        cdef double *origins = log_const + round_up(K, 8)
        cdef double *own = origins + round_up(K * q, 8)
        cdef double *more = own + round_up(self.moments_size, 8)
        cdef double *at
        cdef const double *means = parameters + 2 * K
        cdef const double *chol = means + K * d
        cdef double mean, u
        self._log_const(parameters, log_const)
        memset(origins, 0, K * q * sizeof(double))
        for part in range(first, last):
            memset(own, 0, self.moments_size * sizeof(double))
            start = part * self.part_size
            stop = min(start + self.part_size, self.samples.n)
            while start < stop:
                n = min(ld, stop - start)
                self.samples.load(start, n, ld, x)
                self.log_prob(x, ld, n, d, K, means, chol, log_const, resp, more)
                estep.responsibilities(resp, ld, n, K, density, spare)
                for i in range(n):
                    weight[i] = self.sample_weight[start + i] if self.weighted else 1.0
                    s[i] = 1.0
                at = own
                for k in range(K):
                    for j in range(d):
                        mean, u = means[k * d + j], chol[k * d + j]
                        for i in range(n):
                            s[(1 + j) * ld + i] = (x[j * ld + i] - mean) * u
                            s[(1 + d + j) * ld + i] = 1.0 - s[(1 + j) * ld + i] * s[(1 + j) * ld + i]
                    for j in range(q):
                        for i in range(n):
                            b[(k * q + j) * ld + i] = resp[k * ld + i] * s[j * ld + i]
                    for i in range(n):
                        resp[k * ld + i] *= weight[i]
                    mstep.accumulate_full(s, ld, n, q, 1, resp + k * ld, origins, at, at + 1, at + 1 + q, more)
                    at += 1 + q + q * q
                mstep.accumulate_full(b, ld, n, K * q, 1, weight, origins, at, at + 1, at + 1 + K * q, more)
                start += n
            for i in range(self.moments_size):
                moments[i] += own[i]
