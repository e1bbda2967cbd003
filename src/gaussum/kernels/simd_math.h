/* exp, log and the normal tail over doubles, written so that a compiler turns a loop over them into SIMD code.
 *
 * No branches, no tables, no library calls, only operations that every instruction set from SSE2 on has as
 * vectors (so no conversion between 64-bit integers and doubles, and no arithmetic shift of 64-bit integers:
 * both are done by adding and subtracting powers of two).  Compile with
 * -O3 -fno-math-errno -fno-trapping-math -ffp-contract=off, and never with -ffast-math, which removes the
 * additions of ROUND_SHIFT that are the rounding.
 *
 * exp:  x = n ln 2 + r, |r| <= ln 2 / 2 (Cody and Waite 1980: ln 2 in two parts, n times the first is exact);
 *       e^r = 1 + r + r^2 q(r), q of degree 9, relative error of the polynomial 2^-56.6; without fused operations
 *       what 1 + r rounds off is found (Dekker 1971) and added with the rest;
 *       2^n in two factors, since n runs from -1075 to 1024.
 * log:  x = 2^k m, sqrt(1/2) <= m < sqrt(2), f = m - 1, s = f / (2 + f), z = s^2;
 *       log m = log((1 + s) / (1 - s)) = f - s (f - z R(z)) = f - (f^2 / 2 - s (f^2 / 2 + z R(z))), R of degree 6,
 *       relative error 2^-57.6.
 *
 * Both stay within one unit in the last place over their whole range, subnormal numbers included
 * (tests/test_simd_math.py measures it against mpmath).  The coefficients interpolate at Chebyshev points.
 */
#ifndef GAUSSUM_SIMD_MATH_H
#define GAUSSUM_SIMD_MATH_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

/* a b + c in one rounding where the target has an instruction for it; elsewhere fma() would be a slow call, as it is
 * with cl.exe, whose name for FMA3 is __AVX2__
 */
#if defined(_MSC_VER) && !defined(__clang__)
#pragma fp_contract(off)
#endif
#if defined(_MSC_VER) && !defined(__clang__) && defined(__AVX2__)
#include <immintrin.h>
#define GAUSSUM_FMA 1
static inline double fused(double a, double b, double c)
{
    return _mm_cvtsd_f64(_mm_fmadd_sd(_mm_set_sd(a), _mm_set_sd(b), _mm_set_sd(c)));
}

static inline float fusedf(float a, float b, float c)
{
    return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
}
#elif defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__)
#define GAUSSUM_FMA 1
#define fused(a, b, c) fma((a), (b), (c))
#define fusedf(a, b, c) fmaf((a), (b), (c))
#else
#define GAUSSUM_FMA 0
#define fused(a, b, c) ((a) * (b) + (c))
#define fusedf(a, b, c) ((a) * (b) + (c))
#endif

#define LOWEST (-DBL_MAX)

/* 1.5 2^52: adding it rounds a double of magnitude below 2^51 to an integer, which then sits in its low bits */
#define ROUND_SHIFT 6755399441055744.0

#define LOG2_E 0x1.71547652b82fep+0
/* -ln 2 in two parts; n times the first is exact */
#define MINUS_LN2 -0x1.62e42fef00000p-1
#define MINUS_LN2_REST -0x1.473de6af278edp-34
#define EXP_LOWEST -708.0

static inline double bits_to_double(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint64_t double_to_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* 2^n for the n, -1022 <= n <= 1023, in the low twelve bits of `bits`; the others do not matter */
static inline double power_of_two(uint64_t bits)
{
    return bits_to_double((bits + 1023) << 52);
}

/* the coefficients of q, highest power first, as arguments of STEP one by one */
#define EXP_STEPS(STEP)                                                                                               \
    STEP(0x1.289d4ef9cbb00p-22)                                                                                       \
    STEP(0x1.71de0685ad6d0p-19)                                                                                       \
    STEP(0x1.a019ad6a32379p-16)                                                                                       \
    STEP(0x1.a01a01a9edf08p-13)                                                                                       \
    STEP(0x1.6c16c17c100f3p-10)                                                                                       \
    STEP(0x1.11111111106dbp-7)                                                                                        \
    STEP(0x1.5555555553424p-5)                                                                                        \
    STEP(0x1.5555555555555p-3)                                                                                        \
    STEP(0.5)
#define EXP_FIRST 0x1.af472aa318e7bp-26
#define HORNER(c) q = fused(q, r, c);

/* e^r for |r| <= ln 2 / 2 */
static inline double exp_reduced(double r)
{
    double q = EXP_FIRST;
    EXP_STEPS(HORNER)
#if GAUSSUM_FMA
    return fused(r, fused(r, q, 1.0), 1.0);
#else
    double sum = 1.0 + r;
    double lost = (1.0 - sum) + r;
    return sum + (r * r * q + lost);
#endif
}

static inline double simd_exp(double x)
{
    double shifted = fused(x, LOG2_E, ROUND_SHIFT);
    double n = shifted - ROUND_SHIFT;
    double r = fused(n, MINUS_LN2, x);
    r = fused(n, MINUS_LN2_REST, r);
    uint64_t bits = double_to_bits(shifted);        /* the last of them are n */
    uint64_t half = bits >> 1;
    double result = exp_reduced(r) * power_of_two(half) * power_of_two(bits - half);

    /* beyond these bounds all of the above is noise; NaN fails both comparisons and stays */
    result = x < -746.0 ? 0.0 : result;
    return x > 710.0 ? INFINITY : result;
}

/* e^x for x <= 0, and 0 below -708, where results stop being normal numbers: most of simd_exp's cost in one factor */
static inline double simd_exp_nonpositive(double x)
{
    /* n + 1023 in the low bits, an exponent as it stands */
    double shifted = fused(x, LOG2_E, ROUND_SHIFT + 1023.0);
    double n = shifted - (ROUND_SHIFT + 1023.0);
    double r = fused(n, MINUS_LN2, x);
    r = fused(n, MINUS_LN2_REST, r);
    double result = exp_reduced(r) * bits_to_double(double_to_bits(shifted) << 52);
    return x < EXP_LOWEST ? 0.0 : result;
}

static inline double simd_log(double x)
{
    /* subnormal numbers are brought up by 2^54 */
    double subnormal = x < 0x1p-1022 ? 1.0 : 0.0;
    double y = x < 0x1p-1022 ? x * 0x1p54 : x;

    /* k + 2^11 = the exponent of y / sqrt(1/2), in unsigned arithmetic */
    const uint64_t sqrt_half = 0x3fe6a09e667f3bcdULL;
    uint64_t k_bits = (double_to_bits(y) - sqrt_half + ((uint64_t)2048 << 52)) >> 52;
    double m = bits_to_double(double_to_bits(y) - ((k_bits - 2048) << 52));
    double k = bits_to_double(0x4330000000000000ULL | k_bits) - (0x1p52 + 2048.0) - 54.0 * subnormal;

    double f = m - 1.0;
    double s = f / (2.0 + f);
    double z = s * s;
    double R = 0x1.2b59b713616c9p-3;
    R = fused(R, z, 0x1.39fe42e9740a7p-3);
    R = fused(R, z, 0x1.7462b58e46ebep-3);
    R = fused(R, z, 0x1.c71c62e26208bp-3);
    R = fused(R, z, 0x1.2492492df3ba9p-2);
    R = fused(R, z, 0x1.99999999952ccp-2);
    R = fused(R, z, 0x1.5555555555558p-1);
    double h = 0.5 * f * f;
    double rest = fused(-s, fused(z, R, h), fused(k, -0x1.473de6af278edp-34, h));
    double result = fused(k, 0x1.62e42fef00000p-1, f - rest);

    result = x == INFINITY ? INFINITY : result;
    result = x == 0.0 ? -INFINITY : result;
    return x >= 0.0 ? result : NAN;
}

/* exp(x^2 / 2) Q(x) for x >= 0, Q(x) the weight of the standard normal distribution above x: one polynomial of degree
 * 23 in t = 8 / (x + 4) - 1, times 1 / (x + 4) (a substitution of Schonfelder, Mathematics of Computation 32, 1978,
 * 1232); a relative error below 1e-15 on all of the half-line. The coefficients interpolate at Chebyshev points.
 */
#define TAIL_SHIFT 4.0
#define TAIL_FIRST 0x1.07d58224242cap-33
#define TAIL_STEPS(STEP)                                                                                              \
    STEP(-0x1.d02cb8b1ac85ap-30) STEP(0x1.42e7f2a5297d6p-31) STEP(0x1.14091d7a7bfdbp-26)                              \
    STEP(-0x1.3292d28458470p-26) STEP(-0x1.525f7cf09539fp-24) STEP(0x1.571caa08fddd7p-23)                             \
    STEP(0x1.1c4173fea8d65p-22) STEP(-0x1.1316b229f2be2p-20) STEP(-0x1.4f852d0cd4ca3p-21)                             \
    STEP(0x1.8d6480ccf6bf9p-18) STEP(0x1.7fa62c0d1463bp-21) STEP(-0x1.26d18d992c1c2p-15)                              \
    STEP(-0x1.000b3fd28b8b2p-19) STEP(0x1.e4a43156c4563p-13) STEP(0x1.17a4a08efb4f6p-13)                              \
    STEP(-0x1.ab825feed60c0p-10) STEP(-0x1.c81719be71757p-9) STEP(0x1.ee2761054501fp-8)                               \
    STEP(0x1.eec4cc3e39776p-5) STEP(0x1.7dff2bff68080p-3) STEP(0x1.8c6dbf2cfc388p-2)                                  \
    STEP(0x1.373e3a893c28cp-1) STEP(0x1.82b4bb8c94dcdp-1)
#define TAIL_HORNER(c) q = fused(q, t, c);

static inline double simd_upper_tail(double x)
{
    double r = 1.0 / (x + TAIL_SHIFT);
    double t = fused(2.0 * TAIL_SHIFT, r, -1.0);
    double q = TAIL_FIRST;
    TAIL_STEPS(TAIL_HORNER)
    return q * r;
}

/* exp and log for floats: a polynomial of degree 6 with a relative error of 2^-26.5, and the series of log in s.
 * Both stay within one unit in the last place; exp within 1.24 without fused operations (every float was tried).
 */

#define ROUND_SHIFTF 12582912.0f                    /* 1.5 2^23 */
#define LOG2_EF 0x1.715476p+0f
#define MINUS_LN2F -0x1.63p-1f
#define MINUS_LN2F_REST 0x1.bd0106p-13f
#define EXPF_LOWEST -87.0f
#define EXPF_FIRST 0x1.6d110ap-10f
#define EXPF_STEPS(STEP) STEP(0x1.120b6ep-7f) STEP(0x1.55551ap-5f) STEP(0x1.5554dcp-3f) STEP(0.5f)
#define HORNERF(c) q = fusedf(q, r, c);

static inline float bits_to_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t float_to_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* e^x for x <= 0, and 0 below -87, where results stop being normal numbers */
static inline float simd_expf_nonpositive(float x)
{
    float shifted = fusedf(x, LOG2_EF, ROUND_SHIFTF + 127.0f);
    float n = shifted - (ROUND_SHIFTF + 127.0f);
    float r = fusedf(n, MINUS_LN2F, x);
    r = fusedf(n, MINUS_LN2F_REST, r);

    float q = EXPF_FIRST;
    EXPF_STEPS(HORNERF)
    float p = fusedf(r, fusedf(r, q, 1.0f), 1.0f);
    float result = p * bits_to_float(float_to_bits(shifted) << 23);
    return x < EXPF_LOWEST ? 0.0f : result;
}

/* log x of normal numbers, and of 0; NaN stays */
static inline float simd_logf(float x)
{
    const uint32_t sqrt_half = 0x3f3504f3u;
    uint32_t k_bits = (float_to_bits(x) - sqrt_half + (256u << 23)) >> 23;
    float m = bits_to_float(float_to_bits(x) - ((k_bits - 256u) << 23));
    float k = bits_to_float(0x4b000000u | k_bits) - (0x1p23f + 256.0f);

    float f = m - 1.0f;
    float s = f / (2.0f + f);
    float z = s * s;
    float R = 0x1.c71c72p-3f;
    R = fusedf(R, z, 0x1.24924ap-2f);
    R = fusedf(R, z, 0x1.99999ap-2f);
    R = fusedf(R, z, 0x1.555556p-1f);
    float h = 0.5f * f * f;
    float rest = fusedf(-s, fusedf(z, R, h), fusedf(k, 0x1.bd0106p-13f, h));
    float result = fusedf(k, 0x1.63p-1f, f - rest);
    result = x == 0.0f ? -INFINITY : result;
    return x >= 0.0f ? result : NAN;
}

#endif
