# The number type of blocks: double, or float in the kernels for single precision, which are compiled with
# GAUSSUM_SINGLE. Other packages see double.

cdef extern from *:
    """
    #ifdef GAUSSUM_SINGLE
    typedef float gaussum_real;
    #else
    typedef double gaussum_real;
    #endif
    """
    ctypedef double real "gaussum_real"
