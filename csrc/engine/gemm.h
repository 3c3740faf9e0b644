// Products of quantized rows with a matrix. Its panels are read from memory once for all rows of a
// group, and stay in a near cache while blocks of TALL rows use them.
#pragma once
#include "pointwise.h"

namespace onelayer {
namespace {

constexpr int64_t PANEL = WIDE * LANES;

// Columns that a block of rows meets before the next block comes. The weights of one panel stay in
// the first cache, which quick products need. Where steps take 16 bits, products are slow enough for
// weights from the second cache, while all rows of a group outgrow it: these are read once for a
// unit's columns.
constexpr int64_t MET = DEPTH == 2 ? UNIT : PANEL;

// Adds the inputs from `from` on to the exact sums of R rows and V * LANES columns of a panel, and
// computes y. With x = low + step q, the product is step (q w) + low (sum of w), where w's own step
// is part of `step` and `total`.
template <int R, int V>
INLINE void finish(const Matrix *w, int64_t column, int64_t from, const Quantized *q,
                   const Scale *scale, Ints (&acc)[R][V], float *y, int64_t ldy)
{
    const int64_t inside = column % PANEL; // 0 for a whole panel
    dot_tile<R, V>(w->K - from, q + from, w->K,
                   w->weight + (column - inside) * w->K + from * PANEL + inside * DEPTH,
                   PANEL * DEPTH, acc);
    ALL for (int v = 0; v < V; v++)
    {
        const int64_t at = column + v * LANES;
        const Floats step = load(w->step + at), total = load(w->total + at);
        const Floats bias = load(w->bias + at);
        ALL for (int r = 0; r < R; r++)
        {
            const Floats low = fused(total, splat(scale[r].low), bias);
            store(y + r * ldy + v * LANES,
                  fused(to_float(acc[r][v]), step * splat(scale[r].step), low));
        }
    }
}

// R rows times V * LANES columns of a panel, from `column` on.
template <int R, int V = WIDE>
void block(const Matrix *w, int64_t column, const Quantized *q, const Scale *scale, float *y,
           int64_t ldy)
{
    Ints acc[R][V];
    begin_sums(w->sums + column, acc);
    finish(w, column, 0, q, scale, acc, y, ldy);
}

// The last rows, fewer than TALL. R must be a constant, so that sums stay in registers.
template <int R>
INLINE void last_block(int64_t rows, const Matrix *w, int64_t column, const Quantized *q,
                       const Scale *scale, float *y, int64_t ldy)
{
    if constexpr (R > 0) {
        if (rows == R)
            block<R>(w, column, q, scale, y, ldy);
        else
            last_block<R - 1>(rows, w, column, q, scale, y, ldy);
    }
}

// The columns of a unit of y (rows, ldy) = x w + bias.
void product(const Matrix *w, const Quantized *q, const Scale *scale, int64_t rows, int64_t unit,
             float *y, int64_t ldy)
{
    for (int64_t from = unit * UNIT; from < (unit + 1) * UNIT; from += MET) {
        int64_t i = 0;
        for (; i + TALL <= rows; i += TALL)
            for (int64_t column = from; column < from + MET; column += PANEL)
                block<TALL>(w, column, q + i * w->K, scale + i, y + i * ldy + column, ldy);
        for (int64_t column = from; column < from + MET; column += PANEL)
            last_block<TALL - 1>(rows - i, w, column, q + i * w->K, scale + i,
                                 y + i * ldy + column, ldy);
    }
}

} // namespace
} // namespace onelayer
