/* The operations between matrix products: GELU, dropout, residual and LayerNorm. */
#include "kernels.h"

/* Phi for GELU, x Phi(x), by Abramowitz & Stegun 7.1.26 (error below 1.5e-7). `bell` gets the
 * exp(-x^2 / 2) in it, which the derivative Phi(x) + x phi(x) needs too.
 */
INLINE vec normal_cdf(vec x, vec *bell)
{
    vec size = (vec)((ivec)x & 0x7fffffff); /* |x|: the sign bit cleared */
    vec t = 1.0f / (1.0f + 0.23164189f * size); /* erf's argument is x / sqrt(2) */
    vec poly = splat(1.061405429f);
    poly = poly * t - 1.453152027f;
    poly = poly * t + 1.421413741f;
    poly = poly * t - 0.284496736f;
    poly = poly * t + 0.254829592f;
    *bell = exp2_neg(x * x * (-0.5f * 1.44269504f));
    vec upper = 0.5f * t * poly * *bell; /* 1 - Phi(|x|) */
    ivec negative = x < 0.0f; /* there Phi(x) = 1 - Phi(|x|) */
    return (vec)(((ivec)upper & negative) | ((ivec)(1.0f - upper) & ~negative));
}

void gelu_forward(const float *x, float *y, int64_t n)
{
#pragma omp parallel for
    for (int64_t i = 0; i < n; i += LANES) {
        vec bell, v = load(x + i);
        store(y + i, v * normal_cdf(v, &bell));
    }
}

void gelu_backward(const float *x, const float *dy, float *dx, int64_t n)
{
#pragma omp parallel for
    for (int64_t i = 0; i < n; i += LANES) {
        vec bell, v = load(x + i);
        vec cdf = normal_cdf(v, &bell);
        store(dx + i, load(dy + i) * (cdf + v * bell * 0.39894228f)); /* 1 / sqrt(2 pi) */
    }
}

/* (n, 2F) -> (n, F): the GELU of the first half of each row times the second half. */
void gated_gelu_forward(const float *h, float *y, int64_t n, int64_t F)
{
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
        const float *a = h + 2 * i * F, *b = a + F;
        for (int64_t j = 0; j < F; j += LANES) {
            vec bell, v = load(a + j);
            store(y + i * F + j, v * normal_cdf(v, &bell) * load(b + j));
        }
    }
}

void gated_gelu_backward(const float *h, const float *dy, float *dh, int64_t n, int64_t F)
{
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
        const float *a = h + 2 * i * F, *b = a + F;
        float *da = dh + 2 * i * F, *db = da + F;
        for (int64_t j = 0; j < F; j += LANES) {
            vec bell, v = load(a + j), g = load(dy + i * F + j);
            vec cdf = normal_cdf(v, &bell);
            store(da + j, g * load(b + j) * (cdf + v * bell * 0.39894228f)); /* 1 / sqrt(2 pi) */
            store(db + j, g * v * cdf);
        }
    }
}

/* (n, N) -> (n, N): turns each pair of coordinates in the first `heads` heads of a row by an angle
 * of the row's place, or by its negative; the rest is copied. A head is 2 * half wide, and a pair is
 * one coordinate of its first half and one of its second. turns holds for each place `half` cosines
 * and as many sines. half is a multiple of LANES.
 */
void rotate(const float *x, float *y, const int64_t *places, const float *turns, int64_t n,
            int64_t N, int64_t heads, int64_t half, int64_t back)
{
    const int64_t turned = 2 * half * heads;
    const float sign = back ? -1 : 1;
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
        const float *cosines = turns + places[i] * 2 * half, *sines = cosines + half;
        for (int64_t at = i * N; at < i * N + turned; at += 2 * half)
            for (int64_t j = 0; j < half; j += LANES) {
                vec a = load(x + at + j), b = load(x + at + half + j);
                vec c = load(cosines + j), s = load(sines + j) * sign;
                store(y + at + j, a * c - b * s);
                store(y + at + half + j, b * c + a * s);
            }
        memcpy(y + i * N + turned, x + i * N + turned, (N - turned) * sizeof(float));
    }
}

/* (n, D) -> (n, D). D is a multiple of 2 * LANES, here and below: a mask is drawn for two
 * vectors. */
void dropout(const float *x, float *y, int64_t n, int64_t D, float p, uint64_t seed)
{
    const Rate rate = rate_of(p);
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
        const uint32_t key = row_key(seed, i);
        for (int64_t j = 0; j < D; j += 2 * LANES) {
            const int64_t at = i * D + j;
            vec mask[2];
            keep(key, j, rate, mask);
            store(y + at, load(x + at) * mask[0]);
            store(y + at + LANES, load(x + at + LANES) * mask[1]);
        }
    }
}

/* y = LayerNorm(z) with z = x + dropout(h). z and stats, the mean and 1 / deviation of each row,
 * are kept for the backward pass.
 */
void add_norm_forward(const float *x, const float *h, const float *weight, const float *bias,
                      float *z, float *y, float *stats, int64_t n, int64_t D, float eps, float p,
                      uint64_t seed)
{
    const Rate rate = rate_of(p);
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
        const uint32_t key = row_key(seed, i);
        vec total = {0}, squares = {0}, mask[2] = {splat(1), splat(1)};
        for (int64_t j = 0; j < D; j += 2 * LANES) {
            const int64_t at = i * D + j;
            if (p > 0)
                keep(key, j, rate, mask);
            vec low = load(x + at) + load(h + at) * mask[0];
            vec high = load(x + at + LANES) + load(h + at + LANES) * mask[1];
            store(z + at, low), store(z + at + LANES, high);
            total += low + high;
        }
        const float mean = sum(total) / D;
        /* A second pass over the row, which is in the cache: E[z^2] - mean^2 would cancel. */
        for (int64_t j = 0; j < D; j += LANES) {
            vec off = load(z + i * D + j) - mean;
            squares += off * off;
        }
        const float inverse = 1 / sqrtf(sum(squares) / D + eps);
        for (int64_t j = 0; j < D; j += LANES) {
            vec unit = (load(z + i * D + j) - mean) * inverse;
            store(y + i * D + j, unit * load(weight + j) + load(bias + j));
        }
        stats[2 * i] = mean, stats[2 * i + 1] = inverse;
    }
}

#define CHUNK 64 /* rows in a partial sum of d_weight and d_bias: fixed chunks give the same bits on
                  * any number of threads */

int64_t n_chunks(int64_t n) { return (n + CHUNK - 1) / CHUNK; }

/* The gradients dx, and dh if there is dropout. d_weight and d_bias are (n_chunks, D) and hold
 * zeros before; the caller sums their rows.
 */
void add_norm_backward(const float *z, const float *stats, const float *weight, const float *dy,
                       float *dx, float *dh, float *d_weight, float *d_bias, int64_t n, int64_t D,
                       float p, uint64_t seed)
{
    const Rate rate = rate_of(p);
#pragma omp parallel for
    for (int64_t i0 = 0; i0 < n; i0 += CHUNK) {
        float *dw = d_weight + i0 / CHUNK * D, *db = d_bias + i0 / CHUNK * D;
        for (int64_t i = i0; i < n && i < i0 + CHUNK; i++) {
            const float mean = stats[2 * i], inverse = stats[2 * i + 1];
            const float *zi = z + i * D, *g = dy + i * D;
            vec total = {0}, dot = {0}, mask[2];
            /* With the normed row u and g = dy * weight: dz = (g - mean(g) - u mean(g u)) / dev. */
            for (int64_t j = 0; j < D; j += LANES) {
                vec unit = (load(zi + j) - mean) * inverse, gj = load(g + j);
                store(dw + j, load(dw + j) + gj * unit);
                store(db + j, load(db + j) + gj);
                total += gj * load(weight + j), dot += gj * load(weight + j) * unit;
            }
            const float a = sum(total) / D, b = sum(dot) / D;
            const uint32_t key = row_key(seed, i);
            for (int64_t j = 0; j < D; j += LANES) {
                vec unit = (load(zi + j) - mean) * inverse;
                vec dz = (load(g + j) * load(weight + j) - a - unit * b) * inverse;
                store(dx + i * D + j, dz);
                if (p > 0) {
                    if (j % (2 * LANES) == 0) /* a mask is drawn for two vectors */
                        keep(key, j, rate, mask);
                    store(dh + i * D + j, dz * mask[j / LANES % 2]);
                }
            }
        }
    }
}
