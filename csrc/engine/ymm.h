// Registers of 8 floats: AVX2 with FMA, and with VNNI where the processor has it.
#pragma once
#include <immintrin.h>
#include <stdint.h>

#define REGISTER 32
#define TALL 6 // rows of a tile: 12 of the 16 registers hold sums
#define WIDE 1
#define OFFSET 0

typedef float Ymm __attribute__((vector_size(32)));
typedef int32_t YmmInt __attribute__((vector_size(32)));
#define INLINE static inline __attribute__((always_inline))

INLINE Ymm larger_part(Ymm a, Ymm b) { return (Ymm)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE Ymm smaller_part(Ymm a, Ymm b) { return (Ymm)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE Ymm fused_part(Ymm a, Ymm b, Ymm c)
{
    return (Ymm)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#define add_product fused

#ifdef VNNI
#define DEPTH 4
typedef uint8_t Quantized;

INLINE YmmInt load_weights(const int8_t *w)
{
    return (YmmInt)_mm256_loadu_si256((const __m256i *)w);
}

#define EVERY_ONE 0x01010101
INLINE YmmInt dot_part(YmmInt sum, int32_t four, YmmInt w)
{
    return (YmmInt)_mm256_dpbusd_avx_epi32((__m256i)sum, _mm256_set1_epi32(four), (__m256i)w);
}
#else
#define DEPTH 2
typedef uint16_t Quantized;

INLINE YmmInt load_weights(const int8_t *w)
{
    return (YmmInt)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)w));
}

#define EVERY_ONE 0x00010001
INLINE YmmInt dot_part(YmmInt sum, int32_t two, YmmInt w)
{
    return sum + (YmmInt)_mm256_madd_epi16(_mm256_set1_epi32(two), (__m256i)w);
}
#endif

INLINE YmmInt extend_bytes(const int8_t *from)
{
    return (YmmInt)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)from));
}

#include "vec.h"

namespace onelayer {
namespace {

// The low byte of each number, in 16 bits. Instructions pack within each half of a register, so the
// quarters are put in order afterwards.
INLINE __m256i low_bytes(Ints x)
{
    const __m256i byte = _mm256_set1_epi32(255);
    const __m256i packed = _mm256_packus_epi32(_mm256_and_si256((__m256i)x.part[0], byte),
                                               _mm256_and_si256((__m256i)x.part[1], byte));
    return _mm256_permute4x64_epi64(packed, 0xd8);
}

// Stores the low byte of each number.
INLINE void store_bytes(int8_t *to, Ints x)
{
    const __m256i halves = low_bytes(x);
    _mm_storeu_si128((__m128i *)to, _mm_packus_epi16(_mm256_castsi256_si128(halves),
                                                     _mm256_extracti128_si256(halves, 1)));
}

#ifdef VNNI
INLINE void store_steps(Quantized *to, Ints x) { store_bytes((int8_t *)to, x); }
#else
INLINE void store_steps(Quantized *to, Ints x)
{
    _mm256_storeu_si256((__m256i *)to, low_bytes(x));
}
#endif

} // namespace
} // namespace onelayer
