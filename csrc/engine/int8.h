// Sums of products of bytes, exact in 32 bits. One operand is unsigned: the steps of a row. The other
// is signed: DEPTH consecutive inputs of each column.
//
// Where an instruction multiplies four bytes at a time, DEPTH is 4; where it multiplies two rows of
// eight bytes by two columns, DEPTH is 8 (i8mm.h). Where it multiplies two numbers
// of 16 bits, DEPTH is 2, and a row's steps are stored in 16 bits: sums of bytes in 16 bits, as
// older processors have them, would overflow.
#pragma once
#include "vec.h"

#if DEPTH == 8
#include "i8mm.h"
#else
namespace onelayer {
namespace {

// acc (R, V vectors) += x (R, K) w. The next DEPTH inputs of w are `next` bytes further. R and V are
// constants, so that all of acc stays in registers.
template <int R, int V>
INLINE void dot_tile(int64_t K, const Quantized *x, int64_t ldx, const int8_t *w, int64_t next,
                     Ints (&acc)[R][V])
{
    for (int64_t k = 0; k < K; k += DEPTH, x += DEPTH, w += next) {
        IntPart b[V][PARTS];
        ALL for (int v = 0; v < V; v++) EACH
            b[v][i] = load_weights(w + (v * LANES + i * WIDTH) * DEPTH);
        ALL for (int r = 0; r < R; r++)
        {
            int32_t several;
            memcpy(&several, x + r * ldx, 4);
            ALL for (int v = 0; v < V; v++) EACH
                acc[r][v].part[i] = dot_part(acc[r][v].part[i], several, b[v][i]);
        }
    }
}

// Adds the next DEPTH inputs of LANES columns to the sum of each column.
INLINE Ints add_inputs(Ints sums, const int8_t *w)
{
    EACH sums.part[i] = dot_part(sums.part[i], EVERY_ONE, load_weights(w + i * WIDTH * DEPTH));
    return sums;
}

} // namespace
} // namespace onelayer
#endif

namespace onelayer {
namespace {

// What the sums begin with: 0, or what makes up for steps that are stored OFFSET too low.
template <int R, int V> INLINE void begin_sums(const int32_t *sums, Ints (&acc)[R][V])
{
    ALL for (int v = 0; v < V; v++)
    {
        const Ints first = OFFSET ? load(sums + v * LANES) * splat(OFFSET) : splat(0);
        ALL for (int r = 0; r < R; r++) acc[r][v] = first;
    }
}

} // namespace
} // namespace onelayer
