# exp and log of numbers in a row: see elementary.pyx. Public (see gaussum.h).


cdef void exp_array(
    Py_ssize_t n,                       # IN
    const double *x,                    # IN (n,)
    double *out,                        # OUT (n,), may be x
) noexcept nogil


cdef void log_array(
    Py_ssize_t n,                       # IN
    const double *x,                    # IN (n,)
    double *out,                        # OUT (n,), may be x
) noexcept nogil
