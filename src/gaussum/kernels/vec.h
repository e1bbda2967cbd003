/* Registers of reals, for kernels that say themselves what stays in registers.
 *
 * real is double, or float where GAUSSUM_SINGLE is defined. A vec holds VEC_REALS of them, as many as a register of
 * the target, and has the functions below, which compile to one instruction each. It has no operators: gcc and clang
 * know them for registers, other compilers do not.
 * VEC_TILE vecs of samples times TILE_COLUMNS features, or TILE_COMPONENTS components, fill the registers in an E-step;
 * VEC_SIDE x VEC_SIDE pairs of features, or VEC_AXES features times FEW components, in an M-step (all measured).
 * Up to CENTERED features an E-step centres samples as it multiplies them, up to WEIGHED an M-step centres and weighs
 * them so, and not in a pass before (measured; WEIGHED shows in the last digits).
 * Where GAUSSUM_PORTABLE_VEC is defined, and on processors not named here, a vec is one real.
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

/* Compilers for Windows say _M_X64 instead of __SSE2__, and their __AVX2__ includes fused operations. */
#ifdef GAUSSUM_PORTABLE_VEC
#elif defined(__AVX512F__)
#define VEC_AVX512
#elif defined(__AVX2__) && GAUSSUM_FMA
#define VEC_AVX2
#elif defined(__SSE2__) || defined(_M_X64)
#define VEC_SSE2
#elif defined(__aarch64__) || defined(_M_ARM64)
#define VEC_NEON
#endif

#if defined(VEC_AVX512) || defined(VEC_AVX2) || defined(VEC_SSE2)
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

#if defined(VEC_AVX512) || defined(VEC_AVX2)
static inline double sum_256d(__m256d a)
{
    return sum_128d(_mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1)));
}

static inline float sum_256(__m256 a)
{
    return sum_128(_mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)));
}
#endif

#ifdef VEC_AVX512
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

#ifdef VEC_AVX512
/* Sums over lanes, halves first, of eight vecs: two are added into one, their halves, then quarters, side by side. */
static inline __m512d join_halves(__m512d a, __m512d b)
{
    return _mm512_add_pd(_mm512_shuffle_f64x2(a, b, 0x44), _mm512_shuffle_f64x2(a, b, 0xee));
}

static inline __m512d join_quarters(__m512d a, __m512d b)
{
    return _mm512_add_pd(_mm512_shuffle_f64x2(a, b, 0x88), _mm512_shuffle_f64x2(a, b, 0xdd));
}

static inline void fold_512d(const __m512d *a, double *out)
{
    __m512d even = join_quarters(join_halves(a[0], a[2]), join_halves(a[4], a[6]));
    __m512d odd = join_quarters(join_halves(a[1], a[3]), join_halves(a[5], a[7]));
    _mm512_storeu_pd(out, _mm512_add_pd(_mm512_unpacklo_pd(even, odd), _mm512_unpackhi_pd(even, odd)));
}

static inline __m512 join_halves_single(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}

static inline __m512 join_quarters_single(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

static inline void fold_512(const __m512 *a, double *out)
{
    __m512 even = join_quarters_single(join_halves_single(a[0], a[2]), join_halves_single(a[4], a[6]));
    __m512 odd = join_quarters_single(join_halves_single(a[1], a[3]), join_halves_single(a[5], a[7]));
    __m512d first = _mm512_castps_pd(even), second = _mm512_castps_pd(odd);
    __m512 pairs = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(first, second)),
                                 _mm512_castpd_ps(_mm512_unpackhi_pd(first, second)));
    __m512 sums = _mm512_add_ps(pairs, _mm512_movehdup_ps(pairs));
    __m256 packed = _mm256_castsi256_ps(_mm512_cvtepi64_epi32(_mm512_castps_si512(sums)));
    _mm512_storeu_pd(out, _mm512_cvtps_pd(packed));
}

typedef VEC_PICK(__m512d, __m512) vec;
#define vec_fold VEC_PICK(fold_512d, fold_512)
#define vec_sum VEC_PICK(sum_512d, sum_512)
#define vec_load VEC_PICK(_mm512_loadu_pd, _mm512_loadu_ps)
#define vec_store VEC_PICK(_mm512_storeu_pd, _mm512_storeu_ps)
#define vec_all VEC_PICK(_mm512_set1_pd, _mm512_set1_ps)
#define vec_add VEC_PICK(_mm512_add_pd, _mm512_add_ps)
#define vec_sub VEC_PICK(_mm512_sub_pd, _mm512_sub_ps)
#define vec_mul VEC_PICK(_mm512_mul_pd, _mm512_mul_ps)
#define vec_fused VEC_PICK(_mm512_fmadd_pd, _mm512_fmadd_ps)
#define vec_max VEC_PICK(_mm512_max_pd, _mm512_max_ps)
#define vec_exponent(a) VEC_PICK(_mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(a), 52)),                  \
                                 _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a), 23)))
#define vec_zero_below(a, bound, b) VEC_PICK(                                                                         \
    _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(a, bound, _CMP_NLT_UQ), b),                                                \
    _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, bound, _CMP_NLT_UQ), b))
enum { VEC_BYTES = 64, VEC_TILE = 4, VEC_SIDE = 4, TILE_COMPONENTS = 4, VEC_AXES = 2, VEC_FOLD = 8 };
enum { CENTERED = 32, WEIGHED = 16 };

#elif defined(VEC_AVX2)
/* Sums over lanes of four pairs of vecs, as above. */
static inline __m256d join_halves(const __m256d *a, const __m256d *b)
{
    __m256d x = _mm256_add_pd(a[0], a[1]), y = _mm256_add_pd(b[0], b[1]);
    return _mm256_add_pd(_mm256_permute2f128_pd(x, y, 0x20), _mm256_permute2f128_pd(x, y, 0x31));
}

static inline void fold_256d(const __m256d *a, double *out)
{
    __m256d even = join_halves(a, a + 4), odd = join_halves(a + 2, a + 6);
    _mm256_storeu_pd(out, _mm256_add_pd(_mm256_unpacklo_pd(even, odd), _mm256_unpackhi_pd(even, odd)));
}

static inline __m256 join_halves_single(const __m256 *a, const __m256 *b)
{
    __m256 x = _mm256_add_ps(a[0], a[1]), y = _mm256_add_ps(b[0], b[1]);
    return _mm256_add_ps(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
}

static inline void fold_256(const __m256 *a, double *out)
{
    __m256d even = _mm256_castps_pd(join_halves_single(a, a + 4));
    __m256d odd = _mm256_castps_pd(join_halves_single(a + 2, a + 6));
    __m256 pairs = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(even, odd)),
                                 _mm256_castpd_ps(_mm256_unpackhi_pd(even, odd)));
    __m256 sums = _mm256_add_ps(pairs, _mm256_movehdup_ps(pairs));
    __m128 packed = _mm_shuffle_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps(sums, 1), 0x88);
    _mm256_storeu_pd(out, _mm256_cvtps_pd(packed));
}

typedef VEC_PICK(__m256d, __m256) vec;
#define vec_fold VEC_PICK(fold_256d, fold_256)
#define vec_sum VEC_PICK(sum_256d, sum_256)
#define vec_load VEC_PICK(_mm256_loadu_pd, _mm256_loadu_ps)
#define vec_store VEC_PICK(_mm256_storeu_pd, _mm256_storeu_ps)
#define vec_all VEC_PICK(_mm256_set1_pd, _mm256_set1_ps)
#define vec_add VEC_PICK(_mm256_add_pd, _mm256_add_ps)
#define vec_sub VEC_PICK(_mm256_sub_pd, _mm256_sub_ps)
#define vec_mul VEC_PICK(_mm256_mul_pd, _mm256_mul_ps)
#define vec_fused VEC_PICK(_mm256_fmadd_pd, _mm256_fmadd_ps)
#define vec_max VEC_PICK(_mm256_max_pd, _mm256_max_ps)
#define vec_exponent(a) VEC_PICK(_mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(a), 52)),                  \
                                 _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), 23)))
#define vec_zero_below(a, bound, b) VEC_PICK(                                                                         \
    _mm256_andnot_pd(_mm256_cmp_pd(a, bound, _CMP_LT_OQ), b), _mm256_andnot_ps(_mm256_cmp_ps(a, bound, _CMP_LT_OQ), b))
enum { VEC_BYTES = 32, VEC_TILE = 3, VEC_SIDE = 3, TILE_COMPONENTS = 2, VEC_AXES = 1, VEC_FOLD = 4 };
enum { CENTERED = 32, WEIGHED = 16 };

#elif defined(VEC_SSE2)
typedef VEC_PICK(__m128d, __m128) vec;
#define vec_load VEC_PICK(_mm_loadu_pd, _mm_loadu_ps)
#define vec_store VEC_PICK(_mm_storeu_pd, _mm_storeu_ps)
#define vec_all VEC_PICK(_mm_set1_pd, _mm_set1_ps)
#define vec_add VEC_PICK(_mm_add_pd, _mm_add_ps)
#define vec_sub VEC_PICK(_mm_sub_pd, _mm_sub_ps)
#define vec_mul VEC_PICK(_mm_mul_pd, _mm_mul_ps)
#define vec_fused(a, b, c) vec_add(vec_mul(a, b), c)
#define vec_max VEC_PICK(_mm_max_pd, _mm_max_ps)
#define vec_sum VEC_PICK(sum_128d, sum_128)
enum { VEC_BYTES = 16, VEC_TILE = 2, VEC_SIDE = 3, TILE_COMPONENTS = 2, VEC_AXES = 1, VEC_FOLD = 1 };
enum { CENTERED = 4, WEIGHED = 12 };

#elif defined(VEC_NEON)
#include <arm_neon.h>
typedef VEC_PICK(float64x2_t, float32x4_t) vec;
#define vec_load VEC_PICK(vld1q_f64, vld1q_f32)
#define vec_store VEC_PICK(vst1q_f64, vst1q_f32)
#define vec_all VEC_PICK(vdupq_n_f64, vdupq_n_f32)
#define vec_add VEC_PICK(vaddq_f64, vaddq_f32)
#define vec_sub VEC_PICK(vsubq_f64, vsubq_f32)
#define vec_mul VEC_PICK(vmulq_f64, vmulq_f32)
#define vec_fused(a, b, c) VEC_PICK(vfmaq_f64, vfmaq_f32)(c, a, b)
#define vec_max(a, b) VEC_PICK(vbslq_f64(vcgtq_f64(a, b), a, b), vbslq_f32(vcgtq_f32(a, b), a, b))
#define vec_sum VEC_PICK(vaddvq_f64, vaddvq_f32)
enum { VEC_BYTES = 16, VEC_TILE = 4, VEC_SIDE = 4, TILE_COMPONENTS = 4, VEC_AXES = 2, VEC_FOLD = 1 };
enum { CENTERED = 32, WEIGHED = 16 };

#else
typedef gaussum_real vec;
#define vec_load(p) (*(p))
#define vec_store(p, a) (*(p) = (a))
#define vec_all(a) ((gaussum_real)(a))
#define vec_add(a, b) ((a) + (b))
#define vec_sub(a, b) ((a) - (b))
#define vec_mul(a, b) ((a) * (b))
#define vec_fused real_fused
#define vec_max(a, b) ((a) > (b) ? (a) : (b))
#define vec_sum(a) (a)
enum { VEC_BYTES = sizeof(gaussum_real), VEC_TILE = 4, VEC_SIDE = 3, TILE_COMPONENTS = 2, VEC_AXES = 1, VEC_FOLD = 1 };
enum { CENTERED = 4, WEIGHED = 12 };
#endif

enum {
    VEC_REALS = VEC_BYTES / sizeof(gaussum_real),
    TILE = VEC_TILE * VEC_REALS,
    /* vecs of samples whose exponentials are taken together */
    SPAN_VECS = 4,
    SPAN = SPAN_VECS * VEC_REALS,
    TILE_COLUMNS = 4,
    TILE_SUMS = VEC_TILE * TILE_COLUMNS,
    SIDE_SUMS = VEC_SIDE * VEC_SIDE,
    /* sums over samples run in this many lanes at every width, so that the order of addition is always the same */
    LANES = 64 / sizeof(gaussum_real),
    VEC_GROUPS = LANES / VEC_REALS,
    /* VEC_FOLD sums over lanes are completed together */
    SIDE_FOLDS = (SIDE_SUMS + VEC_SIDE + VEC_FOLD - 1) / VEC_FOLD * VEC_FOLD,
    SIDE_GROUPS = SIDE_FOLDS * VEC_GROUPS,
    /* from so many features on, and where a vec holds all lanes, rows of samples are read as they lie, and squares along
       the axes are added in lanes wherever the samples lie (measured; shows in the last digits) */
    BY_ROWS = 256,
    /* up to so many features, an M-step has all its sums in registers (or nearly), whatever the width */
    FEW = 4,
    FEW_SUMS = FEW * FEW,
    FEW_FOLDS = (FEW_SUMS + VEC_FOLD - 1) / VEC_FOLD * VEC_FOLD,
    FEW_GROUPS = FEW_FOLDS * VEC_GROUPS
};

#ifndef vec_fold
/* *out = the sum of the lanes of VEC_GROUPS vecs, halves first */
static inline void vec_fold(const vec *a, double *out)
{
    vec groups[VEC_GROUPS];
    memcpy(groups, a, sizeof groups);
    for (int half = VEC_GROUPS / 2; half > 0; half /= 2)
        for (int g = 0; g < half; g++)
            groups[g] = vec_add(groups[g], groups[g + half]);
    *out = vec_sum(groups[0]);
}
#endif

#ifdef vec_exponent
enum { EXP_SPANS = 1 };
#else
enum { EXP_SPANS = 0 };
#endif

/* e^x for SPAN_VECS vecs, x <= 0: bit by bit what real_exp_nonpositive gives */
static inline void vec_exp_nonpositive(vec *x)
{
#ifdef vec_exponent
    /* step by step for all of them: each step waits for the one before, and processors do not look far enough ahead */
    const vec shift = vec_all(VEC_PICK(ROUND_SHIFT + 1023.0, ROUND_SHIFTF + 127.0f));
    vec shifted[SPAN_VECS], r[SPAN_VECS], q[SPAN_VECS];
    for (int i = 0; i < SPAN_VECS; i++)
        shifted[i] = vec_fused(x[i], vec_all(VEC_PICK(LOG2_E, LOG2_EF)), shift);
    for (int i = 0; i < SPAN_VECS; i++)
        r[i] = vec_fused(vec_sub(shifted[i], shift), vec_all(VEC_PICK(MINUS_LN2, MINUS_LN2F)), x[i]);
    for (int i = 0; i < SPAN_VECS; i++)
        r[i] = vec_fused(vec_sub(shifted[i], shift), vec_all(VEC_PICK(MINUS_LN2_REST, MINUS_LN2F_REST)), r[i]);
    for (int i = 0; i < SPAN_VECS; i++)
        q[i] = vec_all(VEC_PICK(EXP_FIRST, EXPF_FIRST));
#define VEC_HORNER(c)                                                                                                 \
    for (int i = 0; i < SPAN_VECS; i++)                                                                                \
        q[i] = vec_fused(q[i], r[i], vec_all(c));
    VEC_PICK(EXP_STEPS, EXPF_STEPS)(VEC_HORNER)
    VEC_HORNER((gaussum_real)1.0)
    VEC_HORNER((gaussum_real)1.0)
    for (int i = 0; i < SPAN_VECS; i++)
        x[i] = vec_zero_below(x[i], vec_all(VEC_PICK(EXP_LOWEST, EXPF_LOWEST)),
                              vec_mul(q[i], vec_exponent(shifted[i])));
#else
    /* without such instructions a loop over numbers is as good */
    gaussum_real spare[SPAN];
    for (int i = 0; i < SPAN_VECS; i++)
        vec_store(spare + i * VEC_REALS, x[i]);
    for (int i = 0; i < SPAN; i++)
        spare[i] = real_exp_nonpositive(spare[i]);
    for (int i = 0; i < SPAN_VECS; i++)
        x[i] = vec_load(spare + i * VEC_REALS);
#endif
}

#endif
