# Registers of reals: see vec.h. A vec has no operators, since not every compiler has them; these functions are they.

from gaussum.kernels.real cimport real

cdef extern from "vec.h" nogil:
    ctypedef struct vec:
        pass
    real real_exp_nonpositive(real)     # e^x for x <= 0
    real real_log(real)
    real real_sqrt(real)
    real real_fused(real, real, real)   # a b + c
    const real REAL_LOWEST              # the lowest finite real
    const real REAL_INFINITY
    vec vec_load(const real *)
    void vec_store(real *, vec)
    vec vec_all(real)
    vec vec_add(vec, vec)
    vec vec_sub(vec, vec)
    vec vec_mul(vec, vec)
    vec vec_fused(vec, vec, vec)        # a b + c
    vec vec_max(vec, vec)               # a > b ? a : b
    real vec_sum(vec)                   # of all its reals, halves first
    void vec_exp_nonpositive(vec *)     # e^x in place of the x <= 0 of SPAN_VECS vecs
    void vec_fold(const vec *, double *)    # VEC_FOLD sums, each of LANES lanes in VEC_GROUPS vecs, halves first
    enum:
        VEC_REALS                       # reals in a vec
        VEC_TILE                        # vecs of samples in an E-step's tile
        TILE                            # samples in it
        SPAN_VECS                       # vecs of samples whose exponentials are taken together
        SPAN                            # samples in them
        EXP_SPANS                       # 1 where that pays
        TILE_COLUMNS                    # features that a tile forms together
        TILE_COMPONENTS                 # components whose distances from a tile are taken together
        TILE_SUMS                       # VEC_TILE * TILE_COLUMNS
        VEC_SIDE                        # features on either side of an M-step's block
        VEC_AXES                        # features whose own moments an M-step sums together
        SIDE_SUMS                       # VEC_SIDE * VEC_SIDE
        LANES                           # of sums over samples
        VEC_GROUPS                      # vecs of lanes
        VEC_FOLD                        # sums over lanes that are completed together
        SIDE_FOLDS                      # SIDE_SUMS + VEC_SIDE of them, rounded up to VEC_FOLD
        SIDE_GROUPS                     # SIDE_FOLDS * VEC_GROUPS
        CENTERED                        # features up to which an E-step centres samples as it multiplies them
        WEIGHED                         # and an M-step weighs them too
        BY_ROWS                         # features from which on rows of samples are read as they lie
        FEW                             # features that an M-step sums in registers
        FEW_SUMS                        # FEW * FEW
        FEW_FOLDS                       # FEW_SUMS, rounded up to VEC_FOLD
        FEW_GROUPS                      # FEW_FOLDS * VEC_GROUPS
