# Samples on a line and a regular grid: see line.pyx for the mathematics.


cdef void line_spread(
    const double *place,                # IN (n,) in steps from the first node, 0 <= place < n_nodes - 2
    const double *w,                    # IN (n,)
    Py_ssize_t n,                       # IN
    Py_ssize_t n_nodes,                 # IN
    double *nodes,                      # INOUT (n_nodes,)
) noexcept nogil


cdef double line_leave_one_out(
    const double *place,                # IN (n,) in steps from the first node, 0 <= place < n_nodes - 2
    const double *w,                    # IN (n,), < 1
    Py_ssize_t n,                       # IN
    const double *nodes,                # IN (n_nodes,)
    Py_ssize_t n_nodes,                 # IN
    double own,                         # IN
    double floor,                       # IN > 0
    double *others,                     # SCRATCH (n,)
) noexcept nogil
