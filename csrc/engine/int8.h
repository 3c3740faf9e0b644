/* Sums of products of bytes, exact in 32 bits, and of pairs in bf16.
 *
 * One operand is unsigned: the steps of a row. The other is signed: four consecutive inputs of each
 * of 16 columns in a vector. VNNI computes these 64 products in one instruction; the portable code
 * gives the same integers on any machine.
 */
#pragma once
#include "native.h"

#if defined(__AVX512VNNI__) && !defined(PLAIN)
INLINE ivec dot4(ivec sum, int32_t four, ivec w)
{
    return (ivec)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(four), (__m512i)w);
}
#else
INLINE ivec dot4(ivec sum, int32_t four, ivec w)
{
    /* Shifting left and then right again extends the sign of one byte. */
    sum += (four & 255) * (w << 24 >> 24);
    sum += (four >> 8 & 255) * (w << 16 >> 24);
    sum += (four >> 16 & 255) * (w << 8 >> 24);
    return sum + (four >> 24 & 255) * (w >> 24);
}
#endif

/* Products of pairs in bf16, summed in fp32. The upper number of a lane is added first, as the
 * instruction does, so all machines give the same bits. */
INLINE vec dot2(vec sum, int32_t two, ivec v)
{
#if defined(__AVX512BF16__) && !defined(PLAIN)
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(two), (__m512bh)v);
#else
    float first, second;
    const int32_t low = (int32_t)((uint32_t)two << 16), high = two & ~0xffff;
    memcpy(&first, &low, 4), memcpy(&second, &high, 4);
    sum += second * (vec)(v & ~0xffff);
    return sum + first * (vec)(v << 16);
#endif
}

#define ALL _Pragma("GCC unroll 16")
#define TALL 6 /* rows of a tile; with WIDE vectors each, 24 of the 32 registers hold sums */
#define WIDE 4

/* acc (R, V vectors) += x (R, 4 K4) w. The next four inputs of w are `step` bytes further. R and V
 * are constants wherever this is inlined, so that all of acc stays in registers. */
INLINE void dot_tile(const int R, const int V, int64_t K4, const uint8_t *x, int64_t ldx,
                     const int8_t *w, int64_t step, ivec acc[TALL][WIDE])
{
    for (int64_t k = 0; k < K4; k++, x += 4, w += step) {
        ivec b[WIDE];
        ALL for (int v = 0; v < V; v++) b[v] = *(const ivec *)(w + v * 4 * LANES);
        ALL for (int r = 0; r < R; r++)
        {
            int32_t four;
            memcpy(&four, x + r * ldx, 4);
            ALL for (int v = 0; v < V; v++) acc[r][v] = dot4(acc[r][v], four, b[v]);
        }
    }
}

INLINE vec to_float(ivec x) { return __builtin_convertvector(x, vec); }

/* The nearest integer of each number: adding 1.5 x 2^23 moves it to the low bits of the
 * mantissa. */
INLINE ivec nearest(vec x) { return (ivec)(x + splat(0x1.8p23f)); }

/* Stores the low byte of each number. */
INLINE void store_bytes(uint8_t *to, ivec x)
{
#ifdef __AVX512F__
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8((__m512i)x));
#else
    for (int i = 0; i < LANES; i++)
        to[i] = (uint8_t)x[i];
#endif
}

/* Stores the low half of each number. */
INLINE void store_halves(int16_t *to, ivec x)
{
#ifdef __AVX512F__
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi32_epi16((__m512i)x));
#else
    for (int i = 0; i < LANES; i++)
        to[i] = (int16_t)x[i];
#endif
}
