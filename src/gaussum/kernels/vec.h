/* Registers of reals, for kernels that say themselves what stays in registers.
 *
 * real is double, or float where GAUSSUM_SINGLE is defined. A vec holds VEC_REALS of them, as many as a register of
 * the target, and has the operators + - * and the functions below; they compile to one instruction each.
 * VEC_TILE vecs of samples times TILE_COLUMNS features, or TILE_COMPONENTS components, fill the registers in an E-step;
 * VEC_SIDE x VEC_SIDE pairs of features, or VEC_AXES features times FEW components, in an M-step (all measured).
 * Compilers without vector types get vecs of one real.
 */
#ifndef GAUSSUM_VEC_H
#define GAUSSUM_VEC_H

#include "simd_math.h"

#ifdef GAUSSUM_SINGLE
typedef float gaussum_real;
#define VEC_PICK(of_double, of_single) of_single
#else
typedef double gaussum_real;
#define VEC_PICK(of_double, of_single) of_double
#endif

#define real_exp_nonpositive VEC_PICK(simd_exp_nonpositive, simd_expf_nonpositive)
#define real_log VEC_PICK(simd_log, simd_logf)
#define real_sqrt VEC_PICK(sqrt, sqrtf)
#define real_fused VEC_PICK(fused, fusedf)
#define REAL_LOWEST VEC_PICK(-DBL_MAX, -FLT_MAX)
#define REAL_INFINITY ((gaussum_real)INFINITY)

#if defined(__GNUC__) && defined(__SSE2__)
#include <immintrin.h>

/* the sum of all lanes, halves first */
static inline double sum_128d(__m128d a)
{
    return _mm_cvtsd_f64(_mm_add_sd(a, _mm_unpackhi_pd(a, a)));
}

static inline float sum_128(__m128 a)
{
    a = _mm_add_ps(a, _mm_movehl_ps(a, a));
    return _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps(a, a, 1)));
}

#ifdef __AVX__
static inline double sum_256d(__m256d a)
{
    return sum_128d(_mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1)));
}

static inline float sum_256(__m256 a)
{
    return sum_128(_mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)));
}
#endif

#ifdef __AVX512F__
static inline double sum_512d(__m512d a)
{
    return sum_256d(_mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1)));
}

static inline float sum_512(__m512 a)
{
    __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1));
    return sum_256(_mm256_add_ps(_mm512_castps512_ps256(a), high));
}
#endif
#endif

#if defined(__GNUC__) && defined(__AVX512F__)
typedef VEC_PICK(__m512d, __m512) vec;
#define vec_load VEC_PICK(_mm512_loadu_pd, _mm512_loadu_ps)
#define vec_store VEC_PICK(_mm512_storeu_pd, _mm512_storeu_ps)
#define vec_all VEC_PICK(_mm512_set1_pd, _mm512_set1_ps)
#define vec_fused VEC_PICK(_mm512_fmadd_pd, _mm512_fmadd_ps)
#define vec_sum VEC_PICK(sum_512d, sum_512)
enum { VEC_BYTES = 64, VEC_TILE = 4, VEC_SIDE = 4, TILE_COMPONENTS = 4, VEC_AXES = 2 };

#elif defined(__GNUC__) && defined(__AVX2__) && defined(__FMA__)
typedef VEC_PICK(__m256d, __m256) vec;
#define vec_load VEC_PICK(_mm256_loadu_pd, _mm256_loadu_ps)
#define vec_store VEC_PICK(_mm256_storeu_pd, _mm256_storeu_ps)
#define vec_all VEC_PICK(_mm256_set1_pd, _mm256_set1_ps)
#define vec_fused VEC_PICK(_mm256_fmadd_pd, _mm256_fmadd_ps)
#define vec_sum VEC_PICK(sum_256d, sum_256)
enum { VEC_BYTES = 32, VEC_TILE = 3, VEC_SIDE = 3, TILE_COMPONENTS = 2, VEC_AXES = 1 };

#elif defined(__GNUC__) && defined(__SSE2__)
typedef VEC_PICK(__m128d, __m128) vec;
#define vec_load VEC_PICK(_mm_loadu_pd, _mm_loadu_ps)
#define vec_store VEC_PICK(_mm_storeu_pd, _mm_storeu_ps)
#define vec_all VEC_PICK(_mm_set1_pd, _mm_set1_ps)
#define vec_fused(a, b, c) ((a) * (b) + (c))
#define vec_sum VEC_PICK(sum_128d, sum_128)
enum { VEC_BYTES = 16, VEC_TILE = 2, VEC_SIDE = 3, TILE_COMPONENTS = 2, VEC_AXES = 1 };

#elif defined(__GNUC__) && defined(__aarch64__)
#include <arm_neon.h>
typedef VEC_PICK(float64x2_t, float32x4_t) vec;
#define vec_load VEC_PICK(vld1q_f64, vld1q_f32)
#define vec_store VEC_PICK(vst1q_f64, vst1q_f32)
#define vec_all VEC_PICK(vdupq_n_f64, vdupq_n_f32)
#define vec_fused(a, b, c) VEC_PICK(vfmaq_f64, vfmaq_f32)((c), (a), (b))
#define vec_sum VEC_PICK(vaddvq_f64, vaddvq_f32)
enum { VEC_BYTES = 16, VEC_TILE = 4, VEC_SIDE = 4, TILE_COMPONENTS = 4, VEC_AXES = 2 };

#else
typedef gaussum_real vec;
#define vec_load(p) (*(p))
#define vec_store(p, a) (*(p) = (a))
#define vec_all(a) (a)
#define vec_fused(a, b, c) ((a) * (b) + (c))
#define vec_sum(a) (a)
enum { VEC_BYTES = sizeof(gaussum_real), VEC_TILE = 4, VEC_SIDE = 3, TILE_COMPONENTS = 2, VEC_AXES = 1 };
#endif

enum {
    VEC_REALS = VEC_BYTES / sizeof(gaussum_real),
    TILE = VEC_TILE * VEC_REALS,
    TILE_COLUMNS = 4,
    TILE_SUMS = VEC_TILE * TILE_COLUMNS,
    SIDE_SUMS = VEC_SIDE * VEC_SIDE,
    /* sums over samples run in this many lanes at every width, so that the order of addition is always the same */
    LANES = 64 / sizeof(gaussum_real),
    VEC_GROUPS = LANES / VEC_REALS,
    SIDE_GROUPS = (SIDE_SUMS + VEC_SIDE) * VEC_GROUPS,
    /* up to so many features, an M-step has all its sums in registers (or nearly), whatever the width */
    FEW = 4,
    FEW_SUMS = FEW * FEW,
    FEW_GROUPS = (FEW_SUMS + FEW) * VEC_GROUPS
};

#endif
