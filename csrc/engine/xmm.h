// Registers of 4 floats: any processor that a compiler knows, and NEON with dot products or with
// products of matrices.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif

#define REGISTER 16
#define WIDE 1

typedef float Xmm __attribute__((vector_size(16)));
typedef int32_t XmmInt __attribute__((vector_size(16)));
#define INLINE static inline __attribute__((always_inline))

#if defined(__SSE2__)
INLINE Xmm larger_part(Xmm a, Xmm b) { return (Xmm)_mm_max_ps((__m128)a, (__m128)b); }
INLINE Xmm smaller_part(Xmm a, Xmm b) { return (Xmm)_mm_min_ps((__m128)a, (__m128)b); }
#elif defined(__wasm_simd128__)
INLINE Xmm larger_part(Xmm a, Xmm b) { return (Xmm)wasm_f32x4_pmax((v128_t)b, (v128_t)a); }
INLINE Xmm smaller_part(Xmm a, Xmm b) { return (Xmm)wasm_f32x4_pmin((v128_t)b, (v128_t)a); }
#else
INLINE Xmm larger_part(Xmm a, Xmm b)
{
    const XmmInt above = a > b;
    return (Xmm)(((XmmInt)a & above) | ((XmmInt)b & ~above));
}

INLINE Xmm smaller_part(Xmm a, Xmm b)
{
    const XmmInt below = a < b;
    return (Xmm)(((XmmInt)a & below) | ((XmmInt)b & ~below));
}
#endif

#if defined(__aarch64__)
INLINE Xmm fused_part(Xmm a, Xmm b, Xmm c)
{
    return (Xmm)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
#elif defined(__wasm_simd128__)
// WebAssembly has no such instruction, and doing without it is four times as fast. So a product is
// rounded before it is added, and logits differ from other machines' by about 1e-5, or by a step of
// eight bits where that tips a number over to the next one.
INLINE Xmm fused_part(Xmm a, Xmm b, Xmm c) { return a * b + c; }
#else
// Without an instruction for it: in double precision the product is exact. The sum is rounded to
// odd, which says that it isn't exact, so that rounding it again to single precision gives the right
// number. (S. Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums", 2008.)
typedef double Doubles __attribute__((vector_size(16)));
typedef int64_t Longs __attribute__((vector_size(16)));
typedef uint64_t Unsigned __attribute__((vector_size(16)));

INLINE Doubles odd_sum(Doubles product, Doubles c)
{
    const Doubles sum = product + c, back = sum - product;
    const Doubles error = (product - (sum - back)) + (c - back);
    // One step of the last bit, towards the error, where the sum is even and not exact. An infinite
    // sum has no error.
    const Longs bits = (Longs)sum, inexact = (error > 0) | (error < 0);
    const Longs opposite = (Longs)((Unsigned)(bits ^ (Longs)error) >> 63); // 1 if signs differ
    const Longs step = 1 - 2 * opposite;
    return (Doubles)(bits + (step & inexact & ((bits & 1) - 1)));
}

typedef float Pair __attribute__((vector_size(8)));

INLINE Doubles lower(Xmm x)
{
#if defined(__SSE2__)
    return (Doubles)_mm_cvtps_pd((__m128)x);
#else
    return __builtin_convertvector((Pair{x[0], x[1]}), Doubles);
#endif
}

INLINE Doubles upper(Xmm x)
{
    return lower(__builtin_shufflevector(x, x, 2, 3, 0, 1));
}

INLINE Xmm narrowed(Doubles low, Doubles high)
{
#if defined(__SSE2__)
    return (Xmm)_mm_movelh_ps(_mm_cvtpd_ps((__m128d)low), _mm_cvtpd_ps((__m128d)high));
#else
    const Pair a = __builtin_convertvector(low, Pair), b = __builtin_convertvector(high, Pair);
    return Xmm{a[0], a[1], b[0], b[1]};
#endif
}

// A function of its own: it is long, and called in many places.
static __attribute__((noinline)) Xmm fused_part(Xmm a, Xmm b, Xmm c)
{
    return narrowed(odd_sum(lower(a) * lower(b), lower(c)),
                    odd_sum(upper(a) * upper(b), upper(c)));
}
#endif

#if defined(PRODUCT_OF_PAIRS)
#define TALL 6 // rows of a tile: 24 of the 32 registers hold sums
#define DEPTH 8
#define OFFSET 0
typedef uint8_t Quantized;
#elif defined(DOT_PRODUCT)
// Both numbers are signed here, so steps are stored 128 too low.
#define TALL 6 // rows of a tile: 24 of the 32 registers hold sums
#define DEPTH 4
#define OFFSET 128
typedef int8_t Quantized;

INLINE XmmInt load_weights(const int8_t *w) { return (XmmInt)vld1q_s8(w); }

#define EVERY_ONE 0x01010101
INLINE XmmInt dot_part(XmmInt sum, int32_t four, XmmInt w)
{
    return (XmmInt)vdotq_s32((int32x4_t)sum, (int8x16_t)w, vreinterpretq_s8_s32(vdupq_n_s32(four)));
}
#else
#define TALL 2 // rows of a tile: 8 of the 16 registers hold sums
#define DEPTH 2
#define OFFSET 0
typedef uint16_t Quantized;
#define EVERY_ONE 0x00010001

#if defined(__SSE2__)
INLINE XmmInt load_weights(const int8_t *w)
{
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)w);
    return (XmmInt)_mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
}

INLINE XmmInt dot_part(XmmInt sum, int32_t two, XmmInt w)
{
    return sum + (XmmInt)_mm_madd_epi16(_mm_set1_epi32(two), (__m128i)w);
}
#elif defined(__wasm_simd128__)
INLINE XmmInt load_weights(const int8_t *w) { return (XmmInt)wasm_i16x8_load8x8(w); }

INLINE XmmInt dot_part(XmmInt sum, int32_t two, XmmInt w)
{
    return sum + (XmmInt)wasm_i32x4_dot_i16x8(wasm_i32x4_splat(two), (v128_t)w);
}
#else
INLINE XmmInt load_weights(const int8_t *w)
{
    int16_t wide[8];
    for (int i = 0; i < 8; i++)
        wide[i] = w[i];
    XmmInt x;
    memcpy(&x, wide, sizeof x);
    return x;
}

INLINE XmmInt dot_part(XmmInt sum, int32_t two, XmmInt w)
{
    // Shifting left and then right again extends the sign of the lower half.
    return sum + (two & 0xffff) * (w << 16 >> 16) + (two >> 16) * (w >> 16);
}
#endif
#endif

INLINE XmmInt extend_bytes(const int8_t *from)
{
    return XmmInt{from[0], from[1], from[2], from[3]};
}

#include "vec.h"

namespace onelayer {
namespace {

#if defined(__aarch64__)
#define add_product fused
#else
// a b + c where a and b are in bf16: their product has no more bits than fp32 keeps.
INLINE Floats add_product(Floats a, Floats b, Floats c) { return a * b + c; }
#endif

// Stores the low byte of each number.
INLINE void store_bytes(int8_t *to, Ints x)
{
    typedef int8_t Bytes __attribute__((vector_size(4)));
    EACH
    {
        const Bytes low = __builtin_convertvector(x.part[i], Bytes);
        memcpy(to + i * WIDTH, &low, sizeof low);
    }
}

#if DEPTH > 2
INLINE void store_steps(Quantized *to, Ints x)
{
    EACH x.part[i] ^= OFFSET;
    store_bytes((int8_t *)to, x);
}
#else
INLINE void store_steps(Quantized *to, Ints x)
{
    typedef int16_t Halves __attribute__((vector_size(8)));
    EACH
    {
        const Halves low = __builtin_convertvector(x.part[i], Halves); // the bytes above are 0
        memcpy(to + i * WIDTH, &low, sizeof low);
    }
}
#endif

} // namespace
} // namespace onelayer
