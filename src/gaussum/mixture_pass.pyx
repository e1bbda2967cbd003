# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Passes of a mixture over samples: block after block through the kernels, without the GIL.

A pass works on a range of *parts*. Parts are fixed by the numbers of samples, features and components alone, and what
each contributes is formed from zero and then added in the order of the parts; so any division of the parts among
threads gives the same bits (see gaussum.parallel).
"""
from libc.math cimport INFINITY, isfinite, log
from libc.string cimport memcpy, memset

from gaussum.kernels cimport estep, mixture, mstep, rows
from gaussum.kernels.lanes cimport sum_lanes
from gaussum.samples cimport ALIGNMENT, Samples, aligned, round_up

cdef double LOG_2PI = log(2.0 * 3.141592653589793)


def all_finite(const double[::1] x):
    """Whether there is neither NaN nor infinity."""
    cdef Py_ssize_t i
    for i in range(x.shape[0]):
        if not isfinite(x[i]):
            return False
    return True


def log_determinants(structure, Py_ssize_t d, const double[::1] precisions_chol, double[::1] log_det):
    """Set log_det_k to log det U_k = sum_j log U_kjj, to the same bits as an M-step.

    Returns
    -------
    bool
        Whether every U is upper triangular and its diagonal positive and finite.
    """
    cdef Py_ssize_t i, j, k, K = log_det.shape[0]
    cdef bint square = structure in ("full", "tied"), spherical = structure == "spherical", sound = True
    cdef Py_ssize_t size = d * d if square else 1 if spherical else d
    cdef Py_ssize_t step = 0 if structure == "tied" else size
    cdef const double *u
    if K == 0 or precisions_chol.shape[0] != (size if step == 0 else K * size):
        raise ValueError("precisions_chol and log_det do not fit together")
    for k in range(K):
        u = &precisions_chol[k * step]
        log_det[k] = d * log(u[0]) if spherical else 0.0
        for i in range(0 if spherical else d):
            log_det[k] += log(u[i * (d + 1) if square else i])
            for j in range(i if square else 0):
                sound = sound and u[i * d + j] == 0.0
        sound = sound and isfinite(log_det[k])
    return sound


cdef class MixturePass:
    """Passes of one mixture's shape over one set of samples.

    Parameters
    ----------
    samples : Samples
    structure : {"full", "tied", "diag", "spherical"}
    n_components : int
    sample_weight : ndarray of float64, shape (n_samples,), or None
    n_parts : int
        Parts, all but the last of the same number of samples, a multiple of the block.
    ridge : ndarray of float64, shape (n_features,)
        Scatter added to every covariance's numerator.
    """

    def __init__(self, Samples samples, structure, Py_ssize_t n_components, sample_weight, Py_ssize_t n_parts, ridge):
        cdef Py_ssize_t d = samples.d, K = n_components
        cdef int kind
        if n_parts < 1 or K < 1:
            raise ValueError(f"n_parts is {n_parts} and n_components {K}; expected at least 1")
        if sample_weight is not None and sample_weight.shape != (samples.n,):
            raise ValueError(f"sample_weight has shape {sample_weight.shape}; expected ({samples.n},)")
        if ridge.shape != (d,):
            raise ValueError(f"ridge has shape {ridge.shape}; expected ({d},)")
        self.samples = samples
        self.K, self.d = K, d
        if structure == "full":
            kind = mixture.FULL
            self.log_prob, self.accumulate, self.parameters = (
                estep.log_prob_full, mstep.accumulate_full, mstep.parameters_full)
        elif structure == "tied":
            kind = mixture.TIED
            self.log_prob, self.accumulate, self.parameters = (
                estep.log_prob_tied, mstep.accumulate_tied, mstep.parameters_tied)
        elif structure == "diag":
            kind = mixture.DIAG
            self.log_prob, self.accumulate, self.parameters = (
                estep.log_prob_diag, mstep.accumulate_diag, mstep.parameters_diag)
        elif structure == "spherical":
            kind = mixture.SPHERICAL
            self.log_prob, self.accumulate, self.parameters = (
                estep.log_prob_spherical, mstep.accumulate_spherical, mstep.parameters_spherical)
        else:
            raise ValueError(f"structure is {structure!r}; expected 'full', 'tied', 'diag' or 'spherical'")
        self.log_prob_rows, self.accumulate_rows = NULL, NULL
        if kind in (mixture.DIAG, mixture.SPHERICAL) and rows.rows_pay(d) and samples.in_rows():
            if kind == mixture.DIAG:
                self.log_prob_rows, self.accumulate_rows = rows.log_prob_diag_rows, rows.accumulate_diag_rows
            else:
                self.log_prob_rows, self.accumulate_rows = rows.log_prob_spherical_rows, rows.accumulate_spherical_rows
        self.second_size = mixture.second_size(kind, d, K)
        self.second_step = 0 if structure == "tied" else self.second_size // K
        self.block = mixture.block_size(kind, d, K)
        self.part_size = round_up((samples.n + n_parts - 1) // n_parts, self.block)
        self.n_parts = (samples.n + self.part_size - 1) // self.part_size
        self.ridge = ridge
        self.statistics_size = mixture.statistics_size(kind, d, K)
        self.parameters_size = mixture.parameters_size(kind, d, K)
        self.scratch_size = (
            ALIGNMENT // sizeof(double) + self.block * (d + K + 2)
            + max(estep.estep_scratch(d, self.block), mstep.mstep_scratch(d, K, self.block), rows.rows_scratch(K))
            + (rows.strips_size(d, K) if self.log_prob_rows is not NULL else 0)
            + round_up(self.statistics_size, 8) + round_up(K, 8)
        )
        self.square = structure in ("full", "tied")
        self.spherical = structure == "spherical"
        self.weighted = sample_weight is not None
        if self.weighted:
            self.sample_weight = sample_weight

    def em(self, Py_ssize_t first, Py_ssize_t last, const double[::1] parameters, double[::1] statistics,
           double[::1] scratch):
        """Add the statistics of parts first to last - 1, under the given parameters, to `statistics`.

        Both are buffers: of a gaussum.parameters.MixtureParameters, and of a gaussum.statistics.SufficientStatistics
        with the means as origins.
        """
        self._check(first, last, statistics, scratch)
        self._check_parameters(parameters)
        with nogil:
            self._em(first, last, &parameters[0], &statistics[0], aligned(scratch))

    cdef void _em(self, Py_ssize_t first, Py_ssize_t last, const double *parameters, double *statistics,
                  double *x) noexcept nogil:
        cdef Py_ssize_t part, start, stop, n, i, ld = self.block, K = self.K, d = self.d
        cdef double *resp = x + d * ld
        cdef double *log_density = resp + K * ld
        cdef double *spare = log_density + ld
        cdef double *own = spare + ld
        cdef double *log_const = own + round_up(self.statistics_size, 8)
        cdef double *scratch = log_const + round_up(K, 8)
        cdef const double *means = parameters + 2 * K
        cdef const double *w
        scratch = self._prepare(parameters, log_const, scratch)
        for part in range(first, last):
            memset(own, 0, self.statistics_size * sizeof(double))
            start = part * self.part_size
            stop = min(start + self.part_size, self.samples.n)
            while start < stop:
                n = min(ld, stop - start)
                self.block_log_prob(start, n, parameters, log_const, x, resp, scratch)
                w = &self.sample_weight[start] if self.weighted else NULL
                self.expect(n, K, w, resp, log_density, spare, own)
                self.block_accumulate(start, n, x, resp, means, own, scratch)
                start += n
            for i in range(self.statistics_size):
                statistics[i] += own[i]

    cdef double *_prepare(self, const double *parameters, double *log_const, double *scratch) noexcept nogil:
        """What an E-step of every block needs; returns the scratch beyond it."""
        cdef double *means = <double *>parameters + 2 * self.K
        self._log_const(parameters, log_const)
        if self.log_prob_rows is NULL:
            return scratch
        rows.pack_strips(self.d, self.K, means, NULL if self.spherical else means + self.K * self.d, scratch)
        return scratch + rows.strips_size(self.d, self.K)

    cdef void block_log_prob(self, Py_ssize_t start, Py_ssize_t n, const double *parameters, const double *log_const,
                             double *x, double *log_prob, double *scratch) noexcept nogil:
        """log p_ik of a block of samples, which is loaded into x unless it is read as it lies; after `_prepare`"""
        cdef const double *means = parameters + 2 * self.K
        cdef const double *precisions_chol = means + self.K * self.d
        if self.log_prob_rows is not NULL:
            self.log_prob_rows(self.samples.rows_from(start), self.samples.row // <Py_ssize_t>sizeof(double),
                               self.block, n, self.d, self.K, scratch - rows.strips_size(self.d, self.K),
                               precisions_chol, log_const, log_prob, scratch)
        else:
            self.samples.load(start, n, self.block, x)
            self.log_prob(x, self.block, n, self.d, self.K, means, precisions_chol, log_const, log_prob, scratch)

    cdef void block_accumulate(self, Py_ssize_t start, Py_ssize_t n, const double *x, const double *resp,
                          const double *origins, double *own, double *scratch) noexcept nogil:
        """Adds the statistics of a block, loaded into x unless it is read as it lies."""
        cdef double *nk = own + 2
        cdef double *first = nk + self.K
        cdef double *second = first + self.K * self.d
        if self.accumulate_rows is not NULL:
            self.accumulate_rows(self.samples.rows_from(start), self.samples.row // <Py_ssize_t>sizeof(double),
                                 self.block, n, self.d, self.K, resp, origins, nk, first, second)
        else:
            self.accumulate(x, self.block, n, self.d, self.K, resp, origins, nk, first, second, scratch)

    cdef void expect(self, Py_ssize_t n, Py_ssize_t K, const double *w, double *resp, double *log_density,
                     double *spare, double *own) noexcept nogil:
        """From log p_ik to w_i r_ik in place; adds sum_i w_i log p_i and sum_i w_i to the head of `own`."""
        cdef Py_ssize_t ld = self.block
        estep.responsibilities(resp, ld, n, K, log_density, spare)
        own[0] += estep.weigh(resp, ld, n, K, log_density, w)
        own[1] += n if w == NULL else sum_lanes(w, n)

    def partition(self, Py_ssize_t first, Py_ssize_t last, const double[:, ::1] origins, resp,
                  double[::1] statistics, double[::1] scratch):
        """Add the statistics of given responsibilities: the M-step of an initial partition.

        `resp` is an array of labels, shape (n_samples,), or a function (start, stop) -> (n_components, stop - start).
        Of components, a block adds to those from its lowest to its highest label.
        """
        cdef Py_ssize_t start, stop, n, i, k, ld = self.block, K = self.K, d = self.d
        cdef Py_ssize_t low = 0, high = K - 1
        cdef double *x = aligned(scratch)
        cdef double *r = x + d * ld
        cdef double *own = r + (K + 2) * ld
        cdef double *more = own + self.statistics_size
        cdef double w
        cdef double[:, :] given
        cdef const Py_ssize_t[::1] labels
        cdef bint hard = not callable(resp)
        self._check(first, last, statistics, scratch)
        if origins.shape[0] != K or origins.shape[1] != d:
            raise ValueError(f"origins must have shape ({K}, {d})")
        if hard:
            labels = resp
            if labels.shape[0] != self.samples.n:
                raise ValueError(f"labels must have shape ({self.samples.n},)")
            for i in range(self.samples.n):
                if not 0 <= labels[i] < K:
                    raise ValueError(f"labels must be from 0 to {K - 1}")
        for part in range(first, last):
            memset(own, 0, self.statistics_size * sizeof(double))
            start = part * self.part_size
            stop = min(start + self.part_size, self.samples.n)
            while start < stop:
                n = min(ld, stop - start)
                self.samples.load(start, n, ld, x)
                if hard:
                    low = high = labels[start]
                    for i in range(1, n):
                        low, high = min(low, labels[start + i]), max(high, labels[start + i])
                else:
                    given = resp(start, start + n)
                for k in range(low, high + 1):
                    for i in range(n):
                        w = self.sample_weight[start + i] if self.weighted else 1.0
                        if hard:
                            r[k * ld + i] = w if labels[start + i] == k else 0.0
                        else:
                            r[k * ld + i] = w * given[k, i]
                for i in range(n):
                    own[1] += self.sample_weight[start + i] if self.weighted else 1.0
                self.accumulate(
                    x, ld, n, d, high - low + 1, r + low * ld, &origins[low, 0], own + 2 + low,
                    own + 2 + K + low * d, own + 2 + K + K * d + low * self.second_step, more)
                start += n
            for i in range(self.statistics_size):
                statistics[i] += own[i]

    cdef void _log_const(self, const double *parameters, double *log_const) noexcept nogil:
        """log w_k + log det U_k - d/2 log 2 pi: all of log p_ik that does not depend on the sample"""
        cdef Py_ssize_t k
        for k in range(self.K):
            log_const[k] = log(parameters[k]) + parameters[self.K + k] - 0.5 * self.d * LOG_2PI

    def maximize(self, const double[::1] statistics, const double[:, ::1] origins, double[::1] parameters,
                 double[::1] covariances, double[::1] scratch, Py_ssize_t first=0, last=None):
        """The M-step from statistics to parameters; whether every covariance is positive definite.

        Of components first to last - 1, all of them by default; "tied" has but one covariance and takes all.
        """
        cdef Py_ssize_t k, K = self.K, d = self.d, step = self.second_step, stop = K if last is None else last
        cdef const double *own = &statistics[0]
        cdef double *weights = &parameters[0]
        cdef double total = 0.0
        cdef bint sound
        self._check_parameters(parameters)
        if statistics.shape[0] != self.statistics_size or origins.shape[0] != K or origins.shape[1] != d:
            raise ValueError("statistics or origins have the wrong size")
        if covariances.shape[0] != self.second_size or scratch.shape[0] < d:
            raise ValueError("covariances or scratch have the wrong size")
        if not 0 <= first < stop <= K or (step == 0 and stop - first < K):
            raise ValueError(f"components {first} to {stop} are not within 0 to {K}, or not all of a tied covariance")
        with nogil:
            sound = not self.parameters(
                d, stop - first, own + 2 + first, own + 2 + K + first * d, own + 2 + K + K * d + first * step,
                &origins[first, 0], &self.ridge[0], weights + 2 * K + first * d, &covariances[first * step],
                weights + 2 * K + K * d + first * step, weights + K + first, &scratch[0])
            for k in range(K):
                total += own[2 + k]
            for k in range(first, stop):
                sound = sound and isfinite(weights[K + k])
                weights[k] = own[2 + k] / total
        return sound

    def objective(self, const double[::1] parameters, const double[::1] statistics):
        """(log-likelihood - penalty) / total weight; the penalty is sum_k tr(ridge Sigma_k^-1) / 2, once for "tied".
        """
        cdef Py_ssize_t i, j, rows, width
        cdef double squares, penalty = 0.0
        cdef const double *u
        self._check_parameters(parameters)
        if statistics.shape[0] != self.statistics_size:
            raise ValueError(f"statistics must have {self.statistics_size} entries")
        # a row of U a feature, or one number for all features
        rows = self.second_size // self.d if self.square else self.second_size
        width = self.d if self.square else 1
        u = &parameters[self.parameters_size - self.second_size]
        for i in range(rows):
            squares = 0.0
            for j in range(width):
                squares += u[i * width + j] * u[i * width + j]
            if self.spherical:
                for j in range(self.d):
                    penalty += self.ridge[j] * squares
            else:
                penalty += self.ridge[i % self.d] * squares
        return (statistics[0] - 0.5 * penalty) / statistics[1]

    def predict(self, Py_ssize_t first, Py_ssize_t last, const double[::1] parameters, double[::1] scratch,
                double[::1] log_density=None, Py_ssize_t[::1] labels=None, double[:, ::1] resp=None,
                double[::1] log_largest=None):
        """Fill what is given for the samples of parts first to last - 1.

        log_density : log p_i;  labels : argmax_k r_ik;  resp : r_ik, shape (n, K);  log_largest : log max_k r_ik
        """
        cdef Py_ssize_t start, stop, n, i, k, ld = self.block, K = self.K, d = self.d
        cdef double *x = aligned(scratch)
        cdef double *r = x + d * ld
        cdef double *density = r + K * ld
        cdef double *spare = density + ld
        cdef double *log_const = spare + ld
        cdef double *more = log_const + round_up(K, 8)
        cdef Py_ssize_t *label = <Py_ssize_t *>density    # read before the densities are written
        cdef bint want_density = log_density is not None, want_labels = labels is not None
        cdef bint want_resp = resp is not None, want_largest = log_largest is not None
        if scratch.shape[0] < self.scratch_size or not 0 <= first <= last <= self.n_parts:
            raise ValueError("scratch is too small, or the parts are out of range")
        self._check_parameters(parameters)
        if (
            (want_density and log_density.shape[0] != self.samples.n)
            or (want_labels and labels.shape[0] != self.samples.n)
            or (want_largest and log_largest.shape[0] != self.samples.n)
            or (want_resp and (resp.shape[0] != self.samples.n or resp.shape[1] != K))
        ):
            raise ValueError("an output has the wrong shape")
        with nogil:
            more = self._prepare(&parameters[0], log_const, more)
            start = first * self.part_size
            stop = min(last * self.part_size, self.samples.n)
            while start < stop:
                n = min(ld, stop - start)
                self.block_log_prob(start, n, &parameters[0], log_const, x, r, more)
                if want_labels or want_largest:
                    estep.most_probable(r, ld, n, K, label, spare)
                    if want_labels:
                        memcpy(&labels[start], label, n * sizeof(Py_ssize_t))
                    if want_largest:
                        memcpy(&log_largest[start], spare, n * sizeof(double))
                if want_resp:
                    estep.responsibilities(r, ld, n, K, density, spare)
                    for i in range(n):
                        for k in range(K):
                            resp[start + i, k] = r[k * ld + i]
                elif want_density or want_largest:
                    estep.log_densities(r, ld, n, K, density, spare)
                if want_density:
                    memcpy(&log_density[start], density, n * sizeof(double))
                if want_largest:
                    for i in range(n):
                        # a sample that no component reaches belongs to all alike
                        if density[i] > -INFINITY:
                            log_largest[start + i] -= density[i]
                        else:
                            log_largest[start + i] = -log(<double>K)
                start += n

    cdef _check(self, Py_ssize_t first, Py_ssize_t last, double[::1] statistics, double[::1] scratch):
        if not 0 <= first <= last <= self.n_parts:
            raise ValueError(f"parts {first} to {last} are not within 0 to {self.n_parts}")
        if statistics.shape[0] != self.statistics_size:
            raise ValueError(f"statistics must have {self.statistics_size} entries")
        if scratch.shape[0] < self.scratch_size:
            raise ValueError(f"scratch must have {self.scratch_size} entries")

    cdef _check_parameters(self, const double[::1] parameters):
        if parameters.shape[0] != self.parameters_size:
            raise ValueError(f"parameters must have {self.parameters_size} entries")
