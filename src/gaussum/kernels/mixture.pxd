# A mixture over samples, for other packages' loops: see mixture.pyx for the layouts. Public (see gaussum.h).

cdef enum:
    FULL = 0                            # structures of the covariances
    TIED = 1
    DIAG = 2
    SPHERICAL = 3


cdef Py_ssize_t second_size(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil


cdef Py_ssize_t parameters_size(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil


cdef Py_ssize_t statistics_size(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil


cdef Py_ssize_t block_size(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil


cdef Py_ssize_t part_size(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t n_samples,               # IN
) noexcept nogil


cdef Py_ssize_t block_scratch(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t ld,                      # IN
) noexcept nogil


cdef Py_ssize_t mixture_scratch(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
) noexcept nogil


cdef void block_load(
    Py_ssize_t d,                       # IN
    Py_ssize_t n,                       # IN, n <= ld
    const double *X,                    # IN (n, d), strides `row` and `column`
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t column,                  # IN in doubles
    Py_ssize_t ld,                      # IN
    double *x,                          # OUT (d, ld)
) noexcept nogil


cdef void block_log_prob(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t ld,                      # IN
    const double *x,                    # IN (d, ld)
    const double *parameters,           # IN (parameters_size(structure, d, K),)
    double *log_prob,                   # OUT (K, ld)
    double *scratch,                    # SCRATCH (block_scratch(structure, d, K, ld),)
) noexcept nogil


cdef void block_log_density(
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t ld,                      # IN
    const double *log_prob,             # IN (K, ld)
    double *log_density,                # OUT (n,)
    double *scratch,                    # SCRATCH (ld,)
) noexcept nogil


cdef void block_responsibilities(
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t ld,                      # IN
    double *log_prob,                   # INOUT (K, ld): log p_ik, then r_ik
    double *log_density,                # OUT (n,)
    double *scratch,                    # SCRATCH (ld,)
) noexcept nogil


cdef void block_weigh(
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t ld,                      # IN
    double *resp,                       # INOUT (K, ld): r_ik, then w_i r_ik
    const double *log_density,          # IN (n,)
    const double *sample_weight,        # IN (n,), or NULL: all 1
    double *statistics,                 # INOUT (2,): the first two
) noexcept nogil


cdef void block_accumulate(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN, n <= ld
    Py_ssize_t ld,                      # IN
    const double *x,                    # IN (d, ld)
    const double *resp,                 # IN (K, ld): w_i r_ik
    const double *origins,              # IN (K, d)
    double *statistics,                 # INOUT (statistics_size(structure, d, K),): all but the first two
    double *scratch,                    # SCRATCH (block_scratch(structure, d, K, ld),)
) noexcept nogil


cdef void merge_statistics(
    Py_ssize_t size,                    # IN
    const double *part,                 # IN (size,)
    double *total,                      # INOUT (size,)
) noexcept nogil


cdef Py_ssize_t mixture_maximize(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *statistics,           # IN (statistics_size(structure, d, K),)
    const double *origins,              # IN (K, d)
    const double *ridge,                # IN (d,)
    double *parameters,                 # OUT (parameters_size(structure, d, K),), not where the origins are
    double *covariances,                # OUT (second_size(structure, d, K),)
    double *scratch,                    # SCRATCH (mixture_scratch(structure, d, K),)
) noexcept nogil


cdef Py_ssize_t mixture_from_covariances(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *weights,              # IN (K,)
    const double *means,                # IN (K, d)
    const double *covariances,          # IN (second_size(structure, d, K),)
    double *parameters,                 # OUT (parameters_size(structure, d, K),)
) noexcept nogil


cdef void mixture_log_density(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN
    const double *X,                    # IN (n, d), strides `row` and `column`
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t column,                  # IN in doubles
    const double *parameters,           # IN (parameters_size(structure, d, K),)
    double *log_density,                # OUT (n,)
    double *scratch,                    # SCRATCH (mixture_scratch(structure, d, K),)
) noexcept nogil


cdef void mixture_responsibilities(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN
    const double *X,                    # IN (n, d), strides `row` and `column`
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t column,                  # IN in doubles
    const double *parameters,           # IN (parameters_size(structure, d, K),)
    double *resp,                       # OUT (n, K)
    double *log_density,                # OUT (n,), or NULL
    double *scratch,                    # SCRATCH (mixture_scratch(structure, d, K),)
) noexcept nogil


cdef void mixture_statistics(
    int structure,                      # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    Py_ssize_t n,                       # IN
    const double *X,                    # IN (n, d), strides `row` and `column`
    Py_ssize_t row,                     # IN in doubles
    Py_ssize_t column,                  # IN in doubles
    const double *sample_weight,        # IN (n,), or NULL: all 1
    const double *parameters,           # IN (parameters_size(structure, d, K),)
    double *statistics,                 # INOUT (statistics_size(structure, d, K),)
    double *scratch,                    # SCRATCH (mixture_scratch(structure, d, K),)
) noexcept nogil
