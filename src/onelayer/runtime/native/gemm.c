/* Products of quantized rows with a matrix, panel by panel: a panel of 64 columns comes from memory
 * once for all rows of a group and stays in the first cache while blocks of six rows pass.
 */
#include "int8.h"

#define BLOCK 6        /* rows: 24 of the 32 registers are sums */
#define V (PANEL / LANES)

INLINE void block(const int R, const Matrix *w, int64_t panel, const uint8_t *q, const float *scale,
                  float *y, int64_t ldy)
{
    ivec acc[TALL][WIDE];
    const int64_t column = panel * PANEL;
    ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < V; v++)
        acc[r][v] = *(const ivec *)(w->start + column + v * LANES);
    dot_tile(R, V, w->K / 4, q, w->K, w->weight + column * w->K, 4 * PANEL, acc);
    ALL for (int v = 0; v < V; v++)
    {
        const vec step = load(w->scale + column + v * LANES);
        const vec bias = load(w->bias + column + v * LANES);
        ALL for (int r = 0; r < R; r++)
            store(y + r * ldy + column + v * LANES, to_float(acc[r][v]) * (step * scale[r]) + bias);
    }
}

void product(const Matrix *w, const uint8_t *q, const float *scale, int64_t rows, int64_t first,
             int64_t last, float *y, int64_t ldy)
{
    for (int64_t panel = first; panel < last; panel++) {
        int64_t r = 0;
        for (; r + BLOCK <= rows; r += BLOCK)
            block(BLOCK, w, panel, q + r * w->K, scale + r, y + r * ldy, ldy);
        const uint8_t *rest = q + r * w->K;
        float *out = y + r * ldy;
        switch (rows - r) {
        case 1: block(1, w, panel, rest, scale + r, out, ldy); break;
        case 2: block(2, w, panel, rest, scale + r, out, ldy); break;
        case 3: block(3, w, panel, rest, scale + r, out, ldy); break;
        case 4: block(4, w, panel, rest, scale + r, out, ldy); break;
        case 5: block(5, w, panel, rest, scale + r, out, ldy); break;
        }
    }
}
