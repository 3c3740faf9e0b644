/* Vectors of LANES floats, dropout masks, and small matrix products.
 *
 * The code uses GCC's vector extensions, which clang has too: the compiler maps them to the
 * registers of the machine. Tensors are contiguous fp32 unless a row stride is given; strides count
 * floats. Widths are multiples of 16. No result depends on the number of threads.
 */
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

/* A vector is a register: GCC keeps wider ones in memory, which costs ten times the time. TALL rows of
 * a tile times three vectors are as many sums as there are registers for. */
#if defined(__AVX512F__)
#define LANES 16
#define TALL 8
#define FIRST_NUMBERS {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
#elif defined(__AVX2__)
#define LANES 8
#define TALL 4
#define FIRST_NUMBERS {0, 1, 2, 3, 4, 5, 6, 7}
#else
#define LANES 4
#define TALL 8
#define FIRST_NUMBERS {0, 1, 2, 3}
#endif
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t uvec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec x) { *(vec *)p = x; }
INLINE vec splat(float x) { return x - (vec){0}; }
#if defined(__AVX512F__) /* compilers don't turn the portable form below into one instruction */
INLINE vec larger(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vec smaller(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
#elif defined(__AVX2__)
INLINE vec larger(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vec smaller(vec a, vec b) { return (vec)_mm256_min_ps((__m256)a, (__m256)b); }
#else
INLINE vec larger(vec a, vec b) { return (vec)(((ivec)a & (a > b)) | ((ivec)b & ~(a > b))); }
INLINE vec smaller(vec a, vec b) { return (vec)(((ivec)a & (a < b)) | ((ivec)b & ~(a < b))); }
#endif

/* Combines lane i with lane i ^ 8, then i ^ 4, i ^ 2, i ^ 1: a sum or maximum over 16 lanes takes
 * four steps, always in the same order. */
#define SWAP __builtin_shufflevector
#if LANES == 16
#define ACROSS(x, OF)                                                                 \
    x = OF(x, SWAP(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));      \
    x = OF(x, SWAP(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));      \
    x = OF(x, SWAP(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));      \
    x = OF(x, SWAP(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14))
#elif LANES == 8
#define ACROSS(x, OF)                                \
    x = OF(x, SWAP(x, x, 4, 5, 6, 7, 0, 1, 2, 3));   \
    x = OF(x, SWAP(x, x, 2, 3, 0, 1, 6, 7, 4, 5));   \
    x = OF(x, SWAP(x, x, 1, 0, 3, 2, 5, 4, 7, 6))
#else
#define ACROSS(x, OF)                    \
    x = OF(x, SWAP(x, x, 2, 3, 0, 1));   \
    x = OF(x, SWAP(x, x, 1, 0, 3, 2))
#endif
#define PLUS(a, b) ((a) + (b))

INLINE float sum(vec x)
{
    ACROSS(x, PLUS);
    return x[0];
}

INLINE float maximum(vec x)
{
    ACROSS(x, larger);
    return x[0];
}

/* 2^x for x <= 0, with a relative error of 3e-7; 0 below -126. */
INLINE vec exp2_neg(vec x)
{
    const vec shift = splat(0x1.8p23f);
    x = larger(x, splat(-127.0f));
    vec rounded = x + shift; /* at 1.5 x 2^23 a float has no bits for fractions: x is rounded */
    vec f = x - (rounded - shift); /* in [-1/2, 1/2] */
    vec p = splat(1.5403530e-4f); /* 2^f by its minimax polynomial of degree 6 */
    p = p * f + 1.3333558e-3f;
    p = p * f + 9.6181291e-3f;
    p = p * f + 5.5504109e-2f;
    p = p * f + 2.4022651e-1f;
    p = p * f + 6.9314718e-1f;
    p = p * f + 1.0f;
    /* Adding to the exponent field multiplies by 2^integer. Below -126 the field would wrap around,
     * so the result is set to 0 there. */
    ivec exponent = (ivec)rounded << 23;
    return (vec)(((ivec)p + exponent) & (x > -126.0f));
}

/* Memory that a thread needs during one kernel; the caller frees it. */
INLINE float *scratch(int64_t floats)
{
    float *p = aligned_alloc(64, (size_t)(floats * 4 + 63) / 64 * 64);
    if (!p)
        abort();
    return p;
}

/* Dropout -------------------------------------------------------------------------------------
 * A mask is a function of (seed, row, column): the backward pass computes it again instead of
 * keeping it in memory. An integer hash ("lowbias32", C. Wellons, 2018) gives 32 bits, 16 for each
 * of two elements LANES apart, so the rate is exact to 1/65536.
 */
typedef struct {
    uint32_t threshold; /* an element whose 16 bits are below it is dropped */
    float scale;        /* of the elements that are kept: 1 / (1 - p) */
} Rate;

INLINE Rate rate_of(float p)
{
    Rate rate = {(uint32_t)lrintf(p * 65536), 1 / (1 - p)};
    return rate;
}

#define MIX(x) x ^= x >> 16, x *= 0x7feb352du, x ^= x >> 15, x *= 0x846ca68bu, x ^= x >> 16

/* The hash of seed and row, mixed with the column in `keep`. All 64 bits of both count. */
INLINE uint32_t row_key(uint64_t seed, uint64_t row)
{
    uint32_t key = (uint32_t)row;
    MIX(key);
    key ^= (uint32_t)seed;
    MIX(key);
    key += (uint32_t)(seed >> 32) + 0x9e3779b9u * (uint32_t)(row >> 32);
    MIX(key);
    return key;
}

/* The mask of columns `at` to `at + 2 * LANES`, as two vectors of 0 or 1 / (1 - p). The low halves
 * of LANES hashes decide the first vector, the high halves the second. */
INLINE void keep(uint32_t key, uint32_t at, Rate rate, vec mask[2])
{
    static const uvec steps = FIRST_NUMBERS;
    uvec x = (steps + at) * 0x9e3779b1u + key;
    MIX(x);
    vec scale = splat(rate.scale);
    mask[0] = (vec)((ivec)scale & (ivec)((x & 0xffff) >= rate.threshold));
    mask[1] = (vec)((ivec)scale & (ivec)((x >> 16) >= rate.threshold));
}

/* Matrix products -------------------------------------------------------------------------------
 * TILE(NAME, R, V): a function for C (R, V * LANES) = or += A (R, K) B (K, V * LANES), with all of C
 * in registers. B and C are stored by rows; A has any strides, A[r * ar + k * ak]: with ar = 1 it is
 * read transposed.
 */
#define UNROLL _Pragma("GCC unroll 8")
#define TILE(NAME, R, V)                                                                     \
    static void NAME(int64_t K, const float *A, int64_t ar, int64_t ak, const float *B,      \
                     int64_t ldb, float *C, int64_t ldc, int add)                            \
    {                                                                                        \
        vec c[R][V], b[V];                                                                   \
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++)                \
            c[r][v] = add ? load(C + r * ldc + v * LANES) : splat(0);                        \
        for (int64_t k = 0; k < K; k++) {                                                    \
            UNROLL for (int v = 0; v < V; v++) b[v] = load(B + k * ldb + v * LANES);         \
            UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++)            \
                c[r][v] += A[r * ar + k * ak] * b[v];                                        \
        }                                                                                    \
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int v = 0; v < V; v++)                \
            store(C + r * ldc + v * LANES, c[r][v]);                                         \
    }
