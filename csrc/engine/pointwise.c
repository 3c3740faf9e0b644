/* The operations between two products, row by row. */
#include "int8.h"

/* |x|: the sign bit cleared. */
INLINE vec size(vec x) { return (vec)((ivec)x & 0x7fffffff); }

/* The scale of a row from its lanewise extremes. The largest of `most` and of -`least` are found
 * together, each in one half of a vector, which saves half of the shuffles. */
INLINE Scale scale_of(vec least, vec most)
{
    const vec other = -least;
    vec x = larger(SWAP(most, other, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
                   SWAP(most, other, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
    x = larger(x, SWAP(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    x = larger(x, SWAP(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    x = larger(x, SWAP(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
    return (Scale){(x[0] + x[8]) * (1 / 255.0f), -x[8]};
}

/* x as bytes: the number of steps of `scale.step` above `scale.low`, 0 to 255. A constant row has a
 * step of 0, and all its bytes are 0. */
INLINE void store_steps(const float *x, int64_t n, Scale scale, uint8_t *q)
{
    const float by = scale.step > 0 ? 1 / scale.step : 0;
    for (int64_t j = 0; j < n; j += LANES)
        store_bytes(q + j, nearest((load(x + j) - scale.low) * by));
}

INLINE vec load_bytes(const int8_t *from)
{
#ifdef __AVX512F__
    return (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)from)));
#else
    vec x;
    for (int i = 0; i < LANES; i++)
        x[i] = from[i];
    return x;
#endif
}

/* A row of n floats -> bytes, from its smallest number (0) to its largest (255). */
Scale quantize(const float *x, int64_t n, uint8_t *q)
{
    vec least = load(x), most = least;
    for (int64_t j = LANES; j < n; j += LANES) {
        least = smaller(least, load(x + j));
        most = larger(most, load(x + j));
    }
    const Scale scale = scale_of(least, most);
    store_steps(x, n, scale, q);
    return scale;
}

/* x = LayerNorm(x + h), and its bytes; h may be NULL. The variance takes a second pass over the
 * row, because E[z^2] - mean^2 in one pass would cancel. */
Scale add_norm(float *x, const float *h, Norm norm, float eps, int64_t D, uint8_t *q)
{
    vec total = {0}, squares = {0}, least = splat(INFINITY), most = splat(-INFINITY);
    for (int64_t j = 0; j < D; j += LANES) {
        vec z = load(x + j);
        if (h)
            z += load(h + j);
        store(x + j, z);
        total += z;
    }
    const float mean = sum(total) / D;
    for (int64_t j = 0; j < D; j += LANES) {
        const vec off = load(x + j) - mean;
        squares += off * off;
    }
    const float inverse = 1 / sqrtf(sum(squares) / D + eps);
    for (int64_t j = 0; j < D; j += LANES) {
        const vec unit = (load(x + j) - mean) * inverse;
        const vec y = unit * load(norm.weight + j) + load(norm.bias + j);
        store(x + j, y);
        least = smaller(least, y), most = larger(most, y);
    }
    const Scale scale = scale_of(least, most);
    store_steps(x, D, scale, q);
    return scale;
}

/* GELU: x Phi(x) = max(x, 0) - g(|x|) with g(t) = t (1 - Phi(t)), which is small and smooth. g is a
 * polynomial of degree 14, fitted at Chebyshev nodes, with an error of at most 7e-7: a
 * ten-thousandth of a quantization step. */
#define FAR 5.3f /* beyond it g is taken as constant: it is below 1e-6 */

INLINE vec gelu(vec x)
{
    const vec t = smaller(size(x), splat(FAR)) * (2 / FAR) - 1;
    static const float g[] = {
        2.28223484e-02f, -3.54771502e-02f, -8.91417116e-02f, 1.97595760e-01f, 6.07003309e-02f,
        -4.26263541e-01f, 2.78386891e-01f, 2.90860355e-01f, -5.96272409e-01f, 3.42300445e-01f,
        1.02812365e-01f, -2.96030462e-01f, 2.10027128e-01f, -7.29855821e-02f, 1.06655313e-02f};
    vec p = splat(g[0]);
    _Pragma("GCC unroll 16") for (int i = 1; i < 15; i++) p = p * t + g[i];
    return larger(x, splat(0)) - p;
}

/* x / (1 + e^-2u) with u = sqrt(2 / pi) (x + 0.044715 x^3): GELU by tanh. */
INLINE vec gelu_new(vec x)
{
    const vec u = x * (x * x * 0.044715f + 1) * 0.79788456f;
    const vec e = exp2_neg(size(u) * (-2 * 1.44269504f)); /* e^-2|u|, which can't overflow */
    const vec half = 1 / (1 + e);
    return x * (vec)(((ivec)half & (u > 0)) | ((ivec)(e * half) & ~(u > 0)));
}

INLINE vec hyperbolic_tangent(vec x)
{
    /* (1 - e^-2|x|) / (1 + e^-2|x|), with the sign of x; this exponential can't overflow. */
    const vec e = exp2_neg(size(x) * (-2 * 1.44269504f));
    const vec y = (1 - e) / (1 + e);
    return (vec)((ivec)y | ((ivec)x & (int32_t)0x80000000));
}

void activate(float *x, int64_t n, int64_t activation)
{
    if (activation == 0)
        for (int64_t j = 0; j < n; j += LANES)
            store(x + j, gelu(load(x + j)));
    else if (activation == 1)
        for (int64_t j = 0; j < n; j += LANES)
            store(x + j, gelu_new(load(x + j)));
    else if (activation == 2)
        for (int64_t j = 0; j < n; j += LANES)
            store(x + j, larger(load(x + j), splat(0)));
    else
        for (int64_t j = 0; j < n; j += LANES)
            store(x + j, hyperbolic_tangent(load(x + j)));
}

/* The sum of a token's word, position and segment vectors, with norm: (E). */
Scale embed(const Model *m, int32_t id, int64_t position, int64_t segment, float *x, uint8_t *q)
{
    const int8_t *word = m->words + id * m->E;
    for (int64_t j = 0; j < m->E; j += LANES) {
        const vec place = load(m->positions + position * m->E + j) +
                          load(m->segments + segment * m->E + j);
        store(x + j, load_bytes(word + j) * m->word_scales[id] + place);
    }
    return add_norm(x, NULL, m->norm, m->eps, m->E, q);
}

/* y (N) = x (K) w (K, N) + bias; N is a multiple of LANES. */
static void affine(const float *x, int64_t K, const float *w, const float *bias, int64_t N, float *y)
{
    for (int64_t j = 0; j < N; j += LANES) {
        vec even = load(bias + j), odd = {0}; /* two sums, so that additions overlap */
        for (int64_t k = 0; k < K; k += 2) {
            even += x[k] * load(w + k * N + j);
            odd += x[k + 1] * load(w + (k + 1) * N + j);
        }
        store(y + j, even + odd);
    }
}

/* x (D) -> logits (C), through the pooler if there is one. `room` has D floats, and C padded to
 * whole vectors. */
void classify(const Model *m, const float *x, float *room, float *logits)
{
    const int64_t padded = (m->C + LANES - 1) / LANES * LANES;
    if (m->pooler) {
        affine(x, m->D, m->pooler, m->pooler_bias, m->D, room);
        activate(room, m->D, m->pooler_activation);
        x = room;
    }
    affine(x, m->D, m->head, m->head_bias, padded, room + m->D);
    memcpy(logits, room + m->D, (size_t)m->C * sizeof(float));
}
