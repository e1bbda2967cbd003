# K-means over one block: see kmeans.pyx for the mathematics.


cdef void nearest_centers(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *centers,              # IN (K, d)
    Py_ssize_t *labels,                 # OUT (n,)
    double *distances,                  # OUT (n,): squared
) noexcept nogil


cdef void seed_masses(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t n_candidates,            # IN
    const double *candidates,           # IN (n_candidates, d)
    const double *sample_weight,        # IN (n,)
    const double *mass,                 # IN (n,)
    double *masses,                     # OUT (n_candidates, ld)
    double *potentials,                 # INOUT (n_candidates,)
) noexcept nogil


cdef void accumulate_clusters(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    const Py_ssize_t *labels,           # IN (n,), from 0 to K - 1
    const double *sample_weight,        # IN (n,)
    double *nk,                         # INOUT (K,)
    double *sums,                       # INOUT (K, d)
) noexcept nogil
