/* Products of quantized rows with a matrix, panel by panel. A panel of 64 columns is read from
 * memory once for all rows of a group, and stays in the first cache while blocks of six rows use
 * it.
 */
#include "int8.h"

/* R rows times a panel: exact integer sums first. With x = low + step q, the product is
 * step (q w) + low (sum of w), where w's own step is part of `step` and `total`. */
INLINE void block(const int R, const Matrix *w, int64_t panel, const uint8_t *q, const Scale *scale,
                  float *y, int64_t ldy)
{
    ivec acc[TALL][WIDE];
    const int64_t column = panel * PANEL;
    ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < WIDE; v++) acc[r][v] = (ivec){0};
    dot_tile(R, WIDE, w->K / 4, q, w->K, w->weight + column * w->K, 4 * PANEL, acc);
    ALL for (int v = 0; v < WIDE; v++)
    {
        const int64_t at = column + v * LANES;
        const vec step = load(w->step + at), total = load(w->total + at), bias = load(w->bias + at);
        ALL for (int r = 0; r < R; r++)
            store(y + r * ldy + at, to_float(acc[r][v]) * (step * scale[r].step) +
                                        (total * scale[r].low + bias));
    }
}

void product(const Matrix *w, const uint8_t *q, const Scale *scale, int64_t rows, int64_t panel,
             float *y, int64_t ldy)
{
    for (; rows >= TALL; rows -= TALL, q += TALL * w->K, scale += TALL, y += TALL * ldy)
        block(TALL, w, panel, q, scale, y, ldy);
    switch (rows) { /* R must be a constant, so that sums stay in registers */
    case 1: block(1, w, panel, q, scale, y, ldy); break;
    case 2: block(2, w, panel, q, scale, y, ldy); break;
    case 3: block(3, w, panel, q, scale, y, ldy); break;
    case 4: block(4, w, panel, q, scale, y, ldy); break;
    case 5: block(5, w, panel, q, scale, y, ldy); break;
    }
}
