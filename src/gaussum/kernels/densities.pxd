# Densities and distribution functions as integrands: see densities.pyx. Public (see gaussum.h).

ctypedef struct gaussian_line:
    Py_ssize_t n_components
    const double *weights               # (n_components,) w_k
    const double *log_heights           # (n_components,) log(w_k / (s_k sqrt(2 pi))), -inf where w_k = 0
    const double *means                 # (n_components,) m_k
    const double *inv_scales            # (n_components,) 1 / s_k

ctypedef struct gaussian_mixture:
    int structure
    Py_ssize_t n_features
    Py_ssize_t n_components
    const double *parameters            # (parameters_size(structure, n_features, n_components),)
    double *scratch                     # (mixture_scratch(structure, n_features, n_components),), a thread's own

ctypedef struct kernel_density:
    Py_ssize_t n_features
    Py_ssize_t n_sources
    const double *sources               # (n_features, n_sources), in coordinates of W
    const double *log_heights           # (n_sources,) log(w_s / prod_j (h_j sqrt(2 pi))), log(w_s |W| / ...)
    const double *inv_bandwidth         # (n_features,) 1 / h_j; 1 in coordinates of W
    const double *origin                # (n_features,); not read where W is NULL
    const double *whitening             # (n_features, n_features) W, or NULL: points are taken as they are
    double *scratch                     # (n_features,), a thread's own; not used where W is NULL


cdef double line_density(double x, void *line) noexcept nogil
cdef double line_log_density(double x, void *line) noexcept nogil
cdef double line_cdf(double x, void *line) noexcept nogil
cdef double line_sf(double x, void *line) noexcept nogil
cdef double line_density_at(int n, double *x, void *line) noexcept nogil
cdef double line_log_density_at(int n, double *x, void *line) noexcept nogil
cdef double line_cdf_at(int n, double *x, void *line) noexcept nogil
cdef double line_sf_at(int n, double *x, void *line) noexcept nogil
cdef double mixture_density_at(int n, double *x, void *mixture) noexcept nogil
cdef double mixture_log_density_at(int n, double *x, void *mixture) noexcept nogil
cdef double kernel_density_at(int n, double *x, void *density) noexcept nogil
cdef double kernel_log_density_at(int n, double *x, void *density) noexcept nogil
