// Products of pairs: ARM's i8mm. An instruction multiplies two rows of eight unsigned bytes by two
// columns of eight signed ones, twice the products of one that multiplies by four. A register holds
// four sums, of both rows with both columns.
#pragma once
#include "vec.h"
#include <arm_neon.h>

namespace onelayer {
namespace {

// As in int8.h. Of an odd number of rows the last one is multiplied twice.
template <int R, int V>
INLINE void dot_tile(int64_t K, const Quantized *x, int64_t ldx, const int8_t *w, int64_t next,
                     Ints (&acc)[R][V])
{
    constexpr int PAIRS = (R + 1) / 2, COLUMNS = V * LANES / 2; // pairs of columns
    int32x4_t sums[PAIRS][COLUMNS];
    ALL for (int p = 0; p < PAIRS; p++) ALL for (int c = 0; c < COLUMNS; c++) sums[p][c] =
        vdupq_n_s32(0);
    for (int64_t k = 0; k < K; k += DEPTH, x += DEPTH, w += next) {
        uint8x16_t a[PAIRS];
        ALL for (int p = 0; p < PAIRS; p++) a[p] = vcombine_u8(
            vld1_u8(x + 2 * p * ldx), vld1_u8(x + (2 * p + 1 < R ? 2 * p + 1 : 2 * p) * ldx));
        ALL for (int c = 0; c < COLUMNS; c++)
        {
            const int8x16_t b = vld1q_s8(w + c * 2 * DEPTH);
            ALL for (int p = 0; p < PAIRS; p++) sums[p][c] = vusmmlaq_s32(sums[p][c], a[p], b);
            if (c % 2) // or GCC loads all columns first, and keeps sums in memory
                __asm__ volatile("" ::: "memory");
        }
    }
    // A row's sums are in one half of each register.
    ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < V; v++) EACH
    {
        const int c = v * LANES / 2 + 2 * i;
        const int64x2_t left = vreinterpretq_s64_s32(sums[r / 2][c]);
        const int64x2_t right = vreinterpretq_s64_s32(sums[r / 2][c + 1]);
        acc[r][v].part[i] += (IntPart)(r % 2 ? vzip2q_s64(left, right) : vzip1q_s64(left, right));
    }
}

INLINE Ints add_inputs(Ints sums, const int8_t *w)
{
    const uint8x16_t ones = vdupq_n_u8(1);
    EACH
    {
        const int8_t *const four = w + i * WIDTH * DEPTH;
        const int32x4_t left = vusdotq_s32(vdupq_n_s32(0), ones, vld1q_s8(four));
        const int32x4_t right = vusdotq_s32(vdupq_n_s32(0), ones, vld1q_s8(four + 2 * DEPTH));
        sums.part[i] += (IntPart)vpaddq_s32(left, right);
    }
    return sums;
}

} // namespace
} // namespace onelayer
