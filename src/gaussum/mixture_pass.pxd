# Passes of a mixture over samples: see mixture_pass.pyx.

from gaussum.samples cimport Samples

ctypedef void (*log_prob_t)(
    const double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
    const double *, const double *, const double *, double *, double *) noexcept nogil
ctypedef void (*accumulate_t)(
    const double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, const double *,
    double *, double *, double *, double *) noexcept nogil
ctypedef void (*log_prob_rows_t)(
    const double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t,
    const double *, const double *, const double *, double *, double *) noexcept nogil
ctypedef void (*accumulate_rows_t)(
    const double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, const double *,
    double *, double *, double *) noexcept nogil
ctypedef Py_ssize_t (*parameters_t)(
    Py_ssize_t, Py_ssize_t, const double *, const double *, const double *, const double *, const double *,
    double *, double *, double *, double *, double *) noexcept nogil


cdef class MixturePass:
    cdef Samples samples
    cdef log_prob_t log_prob
    cdef accumulate_t accumulate
    cdef log_prob_rows_t log_prob_rows          # of samples as they lie, or NULL
    cdef accumulate_rows_t accumulate_rows
    cdef parameters_t parameters
    cdef Py_ssize_t K, d, block, second_size, second_step
    cdef readonly Py_ssize_t n_parts, part_size, statistics_size, parameters_size, scratch_size
    cdef const double[::1] sample_weight, ridge
    cdef bint weighted, square, spherical
    cdef double *_prepare(self, const double *parameters, double *log_const, double *scratch) noexcept nogil
    cdef void block_log_prob(self, Py_ssize_t start, Py_ssize_t n, const double *parameters, const double *log_const,
                        double *x, double *log_prob, double *scratch) noexcept nogil
    cdef void block_accumulate(self, Py_ssize_t start, Py_ssize_t n, const double *x, const double *resp,
                          const double *origins, double *own, double *scratch) noexcept nogil
    cdef void _em(self, Py_ssize_t first, Py_ssize_t last, const double *parameters, double *statistics,
                  double *x) noexcept nogil
    cdef void expect(self, Py_ssize_t n, Py_ssize_t K, const double *w, double *resp, double *log_density,
                     double *spare, double *own) noexcept nogil
    cdef void _log_const(self, const double *parameters, double *log_const) noexcept nogil
    cdef _check(self, Py_ssize_t first, Py_ssize_t last, double[::1] statistics, double[::1] scratch)
    cdef _check_parameters(self, const double[::1] parameters)
