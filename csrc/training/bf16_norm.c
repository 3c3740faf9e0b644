/* Dropout, residual and LayerNorm over bf16 matrices in blocks, with fp32 inside: see pointwise.c.
 *
 * Blocks are read one after another, as they lie in memory, so what is summed over a row is kept for 32
 * rows at a time, as vectors.
 */
#include "bf16.h"

#define VECTORS (SIDE / LANES) /* of a block's row */

/* The masks of the numbers in a block's row, if there is dropout. */
INLINE void draw(uint32_t key, int64_t column, float p, Rate rate, vec mask[VECTORS])
{
    if (p > 0)
        for (int v = 0; v < VECTORS; v += 2)
            keep(key, (uint32_t)(column + v * LANES), rate, mask + v);
}

/* y = LayerNorm(z) with z = x + dropout(h). The normed rows u (n, D), before weight and bias, and
 * 1 / deviation of each row are kept for the backward pass. n and D are multiples of 32.
 */
void bf16_add_norm_forward(const bf16 *x, const bf16 *h, const float *weight, const float *bias,
                           bf16 *u, bf16 *y, float *inverses, int64_t n, int64_t D, float eps, float p,
                           uint64_t seed)
{
    const Rate rate = rate_of(p);
#pragma omp parallel
    {
        float *z = scratch(SIDE * D);
#pragma omp for schedule(static)
        for (int64_t i0 = 0; i0 < n; i0 += SIDE) {
            vec sums[SIDE], mask[VECTORS];
            uint32_t keys[SIDE];
            float means[SIDE];
            for (int r = 0; r < SIDE; r++)
                sums[r] = splat(0), keys[r] = row_key(seed, i0 + r);
            for (int v = 0; v < VECTORS; v++)
                mask[v] = splat(1);
            for (int64_t j = 0; j < D; j += SIDE)
                for (int r = 0; r < SIDE; r++) {
                    draw(keys[r], j, p, rate, mask);
                    for (int v = 0; v < VECTORS; v++) {
                        const int64_t at = j * SIDE + r * SIDE + v * LANES;
                        vec both = widen(x + i0 * D + at) + widen(h + i0 * D + at) * mask[v];
                        store(z + at, both);
                        sums[r] += both;
                    }
                }
            for (int r = 0; r < SIDE; r++)
                means[r] = sum(sums[r]) / D, sums[r] = splat(0);
            for (int64_t j = 0; j < D; j += SIDE)
                for (int r = 0; r < SIDE; r++)
                    for (int v = 0; v < VECTORS; v++) {
                        vec off = load(z + j * SIDE + r * SIDE + v * LANES) - means[r];
                        sums[r] += off * off;
                    }
            for (int r = 0; r < SIDE; r++)
                inverses[i0 + r] = 1 / sqrtf(sum(sums[r]) / D + eps);
            for (int64_t j = 0; j < D; j += SIDE)
                for (int r = 0; r < SIDE; r++)
                    for (int v = 0; v < VECTORS; v++) {
                        const int64_t at = j * SIDE + r * SIDE + v * LANES, column = j + v * LANES;
                        vec unit = (load(z + at) - means[r]) * inverses[i0 + r];
                        narrow(u + i0 * D + at, unit);
                        narrow(y + i0 * D + at, unit * load(weight + column) + load(bias + column));
                    }
        }
        free(z);
    }
}

/* The gradients dx, and dh if there is dropout. d_weight and d_bias are (n / 32, D): the caller sums
 * their rows, which are those of the blocks.
 */
void bf16_add_norm_backward(const bf16 *u, const float *inverses, const float *weight, const bf16 *dy,
                            bf16 *dx, bf16 *dh, float *d_weight, float *d_bias, int64_t n, int64_t D,
                            float p, uint64_t seed)
{
    const Rate rate = rate_of(p);
#pragma omp parallel for schedule(static)
    for (int64_t i0 = 0; i0 < n; i0 += SIDE) {
        vec totals[SIDE], dots[SIDE], mask[VECTORS];
        uint32_t keys[SIDE];
        float means[SIDE], shares[SIDE];
        for (int r = 0; r < SIDE; r++)
            totals[r] = splat(0), dots[r] = splat(0), keys[r] = row_key(seed, i0 + r);
        for (int v = 0; v < VECTORS; v++)
            mask[v] = splat(1);
        /* With g = dy * weight: dz = (g - mean(g) - u mean(g u)) / deviation. */
        for (int64_t j = 0; j < D; j += SIDE)
            for (int v = 0; v < VECTORS; v++) {
                const int64_t column = j + v * LANES;
                vec w = load(weight + column), dw = {0}, db = {0};
                for (int r = 0; r < SIDE; r++) {
                    const int64_t at = i0 * D + j * SIDE + r * SIDE + v * LANES;
                    vec g = widen(dy + at), product = g * widen(u + at);
                    dw += product, db += g;
                    totals[r] += g * w, dots[r] += product * w;
                }
                store(d_weight + i0 / SIDE * D + column, dw);
                store(d_bias + i0 / SIDE * D + column, db);
            }
        for (int r = 0; r < SIDE; r++)
            means[r] = sum(totals[r]) / D, shares[r] = sum(dots[r]) / D;
        for (int64_t j = 0; j < D; j += SIDE)
            for (int r = 0; r < SIDE; r++) {
                draw(keys[r], j, p, rate, mask);
                for (int v = 0; v < VECTORS; v++) {
                    const int64_t at = i0 * D + j * SIDE + r * SIDE + v * LANES;
                    vec g = widen(dy + at) * load(weight + j + v * LANES);
                    vec dz = (g - means[r] - widen(u + at) * shares[r]) * inverses[i0 + r];
                    narrow(dx + at, dz);
                    if (p > 0)
                        narrow(dh + at, dz * mask[v]);
                }
            }
    }
}
