// Registers of 16 floats: AVX-512 with VNNI.
#pragma once
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" // GCC 12 warns of its own header
#endif
#include <immintrin.h>
#include <stdint.h>

#define REGISTER 64
#define TALL 6 // rows of a tile; with WIDE vectors each, 24 of the 32 registers hold sums
#define WIDE 4
#define DEPTH 4
#define OFFSET 0
typedef uint8_t Quantized;

typedef float Zmm __attribute__((vector_size(64)));
typedef int32_t ZmmInt __attribute__((vector_size(64)));
#define INLINE static inline __attribute__((always_inline))

INLINE Zmm larger_part(Zmm a, Zmm b) { return (Zmm)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE Zmm smaller_part(Zmm a, Zmm b) { return (Zmm)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE Zmm fused_part(Zmm a, Zmm b, Zmm c)
{
    return (Zmm)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}

INLINE ZmmInt load_weights(const int8_t *w) { return (ZmmInt)_mm512_loadu_si512(w); }

#define EVERY_ONE 0x01010101
INLINE ZmmInt dot_part(ZmmInt sum, int32_t four, ZmmInt w)
{
    return (ZmmInt)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(four), (__m512i)w);
}

INLINE ZmmInt extend_bytes(const int8_t *from)
{
    return (ZmmInt)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from));
}

#ifdef PAIRS_OF_BF16
// Products of pairs in bf16, summed in fp32: the upper number of a lane is added first.
INLINE Zmm dot_bf16(Zmm sum, int32_t two, ZmmInt v)
{
    return (Zmm)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(two), (__m512bh)v);
}
#else
#define add_product fused
#endif

#include "vec.h"

namespace onelayer {
namespace {

// Stores the low byte of each number.
INLINE void store_bytes(int8_t *to, Ints x)
{
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8((__m512i)x.part[0]));
}

INLINE void store_steps(Quantized *to, Ints x) { store_bytes((int8_t *)to, x); }

INLINE void store_upper_halves(int16_t *to, Ints x)
{
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi32_epi16((__m512i)(x.part[0] >> 16)));
}

} // namespace
} // namespace onelayer
