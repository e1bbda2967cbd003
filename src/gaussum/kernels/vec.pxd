# Registers of reals: see vec.h. To Cython a vec is a number; its operators and functions work on whole registers.

from gaussum.kernels.real cimport real

cdef extern from "vec.h" nogil:
    ctypedef double vec
    real real_exp_nonpositive(real)     # e^x for x <= 0
    real real_log(real)
    real real_sqrt(real)
    real real_fused(real, real, real)   # a b + c
    const real REAL_LOWEST              # the lowest finite real
    const real REAL_INFINITY
    vec vec_load(const real *)
    void vec_store(real *, vec)
    vec vec_all(real)
    vec vec_fused(vec, vec, vec)        # a b + c
    real vec_sum(vec)                   # of all its reals, halves first
    enum:
        VEC_REALS                       # reals in a vec
        VEC_TILE                        # vecs of samples in an E-step's tile
        TILE                            # samples in it
        TILE_COLUMNS                    # features that a tile forms together
        TILE_COMPONENTS                 # components whose distances from a tile are taken together
        TILE_SUMS                       # VEC_TILE * TILE_COLUMNS
        VEC_SIDE                        # features on either side of an M-step's block
        VEC_AXES                        # features whose own moments an M-step sums together
        SIDE_SUMS                       # VEC_SIDE * VEC_SIDE
        LANES                           # of sums over samples
        VEC_GROUPS                      # vecs of lanes
        SIDE_GROUPS                     # (SIDE_SUMS + VEC_SIDE) * VEC_GROUPS
        FEW                             # features that an M-step sums in registers
        FEW_SUMS                        # FEW * FEW
        FEW_GROUPS                      # (FEW_SUMS + FEW) * VEC_GROUPS
