# cython: language_level=3
"""The table of functions that include/gaussum.h declares, filled once, as the capsule gaussum._C_API.

The header has the rules for change; tests/embedding/abi.txt is what has been released.
"""
from cpython.pycapsule cimport PyCapsule_New

from gaussum.kernels cimport densities, elementary, mixture, sums

cdef extern from "gaussum.h":
    const Py_ssize_t GAUSSUM_ABI_VERSION

    ctypedef struct gaussum_api:
        Py_ssize_t abi_version
        Py_ssize_t size
        Py_ssize_t (*second_size)(int, Py_ssize_t, Py_ssize_t) noexcept nogil
        Py_ssize_t (*parameters_size)(int, Py_ssize_t, Py_ssize_t) noexcept nogil
        Py_ssize_t (*statistics_size)(int, Py_ssize_t, Py_ssize_t) noexcept nogil
        Py_ssize_t (*block_size)(int, Py_ssize_t, Py_ssize_t) noexcept nogil
        Py_ssize_t (*part_size)(int, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        Py_ssize_t (*block_scratch)(int, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        Py_ssize_t (*mixture_scratch)(int, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*block_load)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, Py_ssize_t, Py_ssize_t, double *) noexcept nogil
        void (*block_log_prob)(int, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *,
            const double *, double *, double *) noexcept nogil
        void (*block_log_density)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, double *, double *) noexcept nogil
        void (*block_responsibilities)(Py_ssize_t, Py_ssize_t, Py_ssize_t, double *, double *, double *) noexcept nogil
        void (*block_weigh)(Py_ssize_t, Py_ssize_t, Py_ssize_t, double *, const double *, const double *,
            double *) noexcept nogil
        void (*block_accumulate)(int, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *,
            const double *, const double *, double *, double *) noexcept nogil
        void (*merge_statistics)(Py_ssize_t, const double *, double *) noexcept nogil
        Py_ssize_t (*mixture_maximize)(int, Py_ssize_t, Py_ssize_t, const double *, const double *,
            const double *, double *, double *, double *) noexcept nogil
        Py_ssize_t (*mixture_from_covariances)(int, Py_ssize_t, Py_ssize_t, const double *, const double *,
            const double *, double *) noexcept nogil
        void (*mixture_log_density)(int, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t,
            Py_ssize_t, const double *, double *, double *) noexcept nogil
        void (*mixture_responsibilities)(int, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t,
            Py_ssize_t, const double *, double *, double *, double *) noexcept nogil
        void (*mixture_statistics)(int, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t,
            Py_ssize_t, const double *, const double *, double *, double *) noexcept nogil
        Py_ssize_t (*sum_scratch)(Py_ssize_t) noexcept nogil
        void (*gaussian_sum)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, Py_ssize_t, const double *,
            Py_ssize_t, const double *, Py_ssize_t, Py_ssize_t, const double *, double *, double *) noexcept nogil
        void (*gaussian_log_sum)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, Py_ssize_t, const double *,
            Py_ssize_t, const double *, Py_ssize_t, Py_ssize_t, const double *, double *, double *) noexcept nogil
        void (*exp_array)(Py_ssize_t, const double *, double *) noexcept nogil
        void (*log_array)(Py_ssize_t, const double *, double *) noexcept nogil
        double (*line_density)(double, void *) noexcept nogil
        double (*line_log_density)(double, void *) noexcept nogil
        double (*line_cdf)(double, void *) noexcept nogil
        double (*line_sf)(double, void *) noexcept nogil
        double (*line_density_at)(int, double *, void *) noexcept nogil
        double (*line_log_density_at)(int, double *, void *) noexcept nogil
        double (*line_cdf_at)(int, double *, void *) noexcept nogil
        double (*line_sf_at)(int, double *, void *) noexcept nogil
        double (*mixture_density_at)(int, double *, void *) noexcept nogil
        double (*mixture_log_density_at)(int, double *, void *) noexcept nogil
        double (*kernel_density_at)(int, double *, void *) noexcept nogil
        double (*kernel_log_density_at)(int, double *, void *) noexcept nogil

cdef gaussum_api TABLE

TABLE.abi_version = GAUSSUM_ABI_VERSION
TABLE.size = sizeof(gaussum_api)
TABLE.second_size = mixture.second_size
TABLE.parameters_size = mixture.parameters_size
TABLE.statistics_size = mixture.statistics_size
TABLE.block_size = mixture.block_size
TABLE.part_size = mixture.part_size
TABLE.block_scratch = mixture.block_scratch
TABLE.mixture_scratch = mixture.mixture_scratch
TABLE.block_load = mixture.block_load
TABLE.block_log_prob = mixture.block_log_prob
TABLE.block_log_density = mixture.block_log_density
TABLE.block_responsibilities = mixture.block_responsibilities
TABLE.block_weigh = mixture.block_weigh
TABLE.block_accumulate = mixture.block_accumulate
TABLE.merge_statistics = mixture.merge_statistics
TABLE.mixture_maximize = mixture.mixture_maximize
TABLE.mixture_from_covariances = mixture.mixture_from_covariances
TABLE.mixture_log_density = mixture.mixture_log_density
TABLE.mixture_responsibilities = mixture.mixture_responsibilities
TABLE.mixture_statistics = mixture.mixture_statistics
TABLE.sum_scratch = sums.sum_scratch
TABLE.gaussian_sum = sums.gaussian_sum
TABLE.gaussian_log_sum = sums.gaussian_log_sum
TABLE.exp_array = elementary.exp_array
TABLE.log_array = elementary.log_array
TABLE.line_density = densities.line_density
TABLE.line_log_density = densities.line_log_density
TABLE.line_cdf = densities.line_cdf
TABLE.line_sf = densities.line_sf
TABLE.line_density_at = densities.line_density_at
TABLE.line_log_density_at = densities.line_log_density_at
TABLE.line_cdf_at = densities.line_cdf_at
TABLE.line_sf_at = densities.line_sf_at
TABLE.mixture_density_at = densities.mixture_density_at
TABLE.mixture_log_density_at = densities.mixture_log_density_at
TABLE.kernel_density_at = densities.kernel_density_at
TABLE.kernel_log_density_at = densities.kernel_log_density_at

_C_API = PyCapsule_New(&TABLE, "gaussum._C_API", NULL)
