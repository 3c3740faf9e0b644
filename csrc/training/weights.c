/* The gradients of a linear layer's weights: products and sums over a batch. */
#include "kernels.h"

#define DEPTH 256 /* tokens that are summed at once, so that a panel of x stays in the cache */
#define PANEL (3 * LANES) /* columns of x: with TALL of dy, its sums fill the registers */

TILE(tall_3, TALL, 3)
TILE(tall_2, TALL, 2)
TILE(tall_1, TALL, 1)

/* d_weight (N, K) = dy (M, N)^T x (M, K), and d_bias (N) is the sum of dy's rows. N is a multiple
 * of 8. The product is a sum over tokens of outer products of a row of dy and a row of x, so
 * nothing has to be transposed; oneDNN, which transposes, reaches two thirds of this speed.
 */
void weight_backward(const float *dy, const float *x, float *d_weight, float *d_bias, int64_t M,
                     int64_t N, int64_t K)
{
#pragma omp parallel
    {
        float *xs = scratch(DEPTH * K), *ys = scratch(DEPTH * TALL);
        for (int64_t m0 = 0; m0 < M; m0 += DEPTH) {
            const int64_t depth = M - m0 < DEPTH ? M - m0 : DEPTH;
            /* Every thread copies x into panels, which it then reads without gaps. */
            for (int64_t k = 0; k < K; k += PANEL) {
                const int64_t width = K - k < PANEL ? K - k : PANEL;
                for (int64_t m = 0; m < depth; m++)
                    for (int64_t j = 0; j < width; j += LANES)
                        store(xs + k * depth + m * width + j, load(x + (m0 + m) * K + k + j));
            }
/* A thread has the same columns n in every block of tokens, so no thread waits for another. */
#pragma omp for schedule(static) nowait
            for (int64_t n = 0; n < N; n += TALL) {
                /* TALL columns of dy are copied next to each other, and summed for the bias. */
                float totals[TALL] = {0};
                for (int64_t m = 0; m < depth; m++)
                    for (int j = 0; j < TALL; j++)
                        totals[j] += ys[m * TALL + j] = dy[(m0 + m) * N + n + j];
                for (int j = 0; j < TALL; j++)
                    d_bias[n + j] = totals[j] + (m0 ? d_bias[n + j] : 0);
                for (int64_t k = 0; k < K; k += PANEL) {
                    const int64_t width = K - k < PANEL ? K - k : PANEL;
                    /* The first block of tokens writes d_weight, later ones add to it. */
                    (width == PANEL ? tall_3 : width == 2 * LANES ? tall_2 : tall_1)(
                        depth, ys, 1, TALL, xs + k * depth, width, d_weight + n * K + k, K, m0 > 0);
                }
            }
        }
        free(xs), free(ys);
    }
}
