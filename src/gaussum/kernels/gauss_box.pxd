# Probabilities of boxes under Gaussians: see gauss_box.pyx for the mathematics.


cdef void box_log_sum(
    const double *sources,              # IN (d, lds)
    Py_ssize_t lds,                     # IN
    Py_ssize_t n_sources,               # IN
    const double *log_weights,          # IN (n_sources,)
    const double *sharpness,            # IN (n_sources,), within a factor of 2 where intervals may be narrow
    const double *low,                  # IN (d,) may be -inf
    const double *high,                 # IN (d,) may be inf; low_j <= high_j
    Py_ssize_t d,                       # IN
    const double *inv_bandwidth,        # IN (d,)
    double *largest,                    # INOUT (1,): m, at first the lowest double
    double *sum,                        # INOUT (1,): P exp(-m), at first 0
    double *scratch,                    # SCRATCH (3 * n_sources,)
) noexcept nogil
