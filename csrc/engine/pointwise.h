// The operations between two products, row by row.
#pragma once
#include "int8.h"

namespace onelayer {
namespace {

// x is about low + step q.
struct Scale {
    float step, low;
};

// The scale of a row from its lanewise extremes. The largest of `most` and of -`least` are found
// together, each in one half of a register, which saves half of the shuffles.
INLINE Scale scale_of(Floats least, Floats most)
{
    const Floats other = negative(least);
#if REGISTER == 64
    const FloatPart a = most.part[0], b = other.part[0];
    FloatPart x =
        larger_part(SWAP(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
                    SWAP(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
    x = larger_part(x, SWAP_4(x));
    x = larger_part(x, SWAP_2(x));
#elif REGISTER == 32
    const FloatPart a = larger_part(most.part[0], most.part[1]);
    const FloatPart b = larger_part(other.part[0], other.part[1]);
    FloatPart x = larger_part(SWAP(a, b, 0, 1, 2, 3, 8, 9, 10, 11),
                              SWAP(a, b, 4, 5, 6, 7, 12, 13, 14, 15));
    x = larger_part(x, SWAP_2(x));
#else
    ACROSS(most, larger_part);
    const FloatPart a = y;
    const FloatPart b = larger_part(larger_part(other.part[0], other.part[2]),
                                    larger_part(other.part[1], other.part[3]));
    FloatPart x = larger_part(SWAP(a, b, 0, 1, 4, 5), SWAP(a, b, 2, 3, 6, 7));
#endif
    x = larger_part(x, SWAP_1(x));
    const float low = 0 - x[WIDTH / 2]; /* 0 has one sign, whichever of two zeros was found */
    return Scale{(x[0] - low) * (1 / 255.0f), low};
}

// x as bytes: the number of steps of `scale.step` above `scale.low`, 0 to 255. A constant row has a
// step of 0, and all its bytes are 0.
INLINE void quantize_to(const float *x, int64_t n, Scale scale, Quantized *q)
{
    const Floats by = splat(scale.step > 0 ? 1 / scale.step : 0), low = splat(scale.low);
    for (int64_t j = 0; j < n; j += LANES)
        store_steps(q + j, bits_of(fused(load(x + j) - low, by, splat(MAGIC))));
}

// A row of n floats -> bytes, from its smallest number (0) to its largest (255).
ONE_COPY Scale quantize(const float *x, int64_t n, Quantized *q)
{
    Floats least = load(x), most = least;
    for (int64_t j = LANES; j < n; j += LANES) {
        least = smaller(least, load(x + j));
        most = larger(most, load(x + j));
    }
    const Scale scale = scale_of(least, most);
    quantize_to(x, n, scale, q);
    return scale;
}

// Rows whose norms are computed together. A row's sums and extremes each wait for the last step, and
// meanwhile the processor works on the other rows.
constexpr int ABREAST = PARTS == 1 ? 4 : PARTS == 2 ? 2 : 1;

// R rows of x = LayerNorm(x + h), and their bytes; h may be null. The variance takes a second pass
// over a row, because E[z^2] - mean^2 in one pass would cancel.
template <int R>
void add_norm(float *x, const float *h, int64_t ldh, Norm norm, float eps, int64_t D, Quantized *q,
              Scale *scale)
{
    Floats total[R], mean[R], squares[R], inverse[R], least[R], most[R];
    ALL for (int r = 0; r < R; r++) total[r] = squares[r] = splat(0.0f);
    for (int64_t j = 0; j < D; j += LANES)
        ALL for (int r = 0; r < R; r++)
        {
            Floats z = load(x + r * D + j);
            if (h)
                z = z + load(h + r * ldh + j);
            store(x + r * D + j, z);
            total[r] = total[r] + z;
        }
    ALL for (int r = 0; r < R; r++) mean[r] = splat(sum(total[r]) / (float)D);
    for (int64_t j = 0; j < D; j += LANES)
        ALL for (int r = 0; r < R; r++)
        {
            const Floats off = load(x + r * D + j) - mean[r];
            squares[r] = fused(off, off, squares[r]);
        }
    ALL for (int r = 0; r < R; r++)
    {
        inverse[r] = splat(1 / __builtin_sqrtf(sum(squares[r]) / (float)D + eps));
        least[r] = splat(INFINITY), most[r] = splat(-INFINITY);
    }
    for (int64_t j = 0; j < D; j += LANES) {
        const Floats weight = load(norm.weight + j), bias = load(norm.bias + j);
        ALL for (int r = 0; r < R; r++)
        {
            const Floats unit = (load(x + r * D + j) - mean[r]) * inverse[r];
            const Floats y = fused(unit, weight, bias);
            store(x + r * D + j, y);
            least[r] = smaller(least[r], y), most[r] = larger(most[r], y);
        }
    }
    ALL for (int r = 0; r < R; r++) scale[r] = scale_of(least[r], most[r]);
    ALL for (int r = 0; r < R; r++) quantize_to(x + r * D, D, scale[r], q + r * D);
}

// The same for any number of rows.
INLINE void add_norms(int64_t rows, float *x, const float *h, int64_t ldh, Norm norm, float eps,
                      int64_t D, Quantized *q, Scale *scale)
{
    int64_t i = 0;
    for (; i + ABREAST <= rows; i += ABREAST)
        add_norm<ABREAST>(x + i * D, h ? h + i * ldh : h, ldh, norm, eps, D, q + i * D, scale + i);
    for (; i < rows; i++)
        add_norm<1>(x + i * D, h ? h + i * ldh : h, ldh, norm, eps, D, q + i * D, scale + i);
}

// GELU: x Phi(x) = max(x, 0) - g(|x|) with g(t) = t (1 - Phi(t)), which is small and smooth. g is a
// polynomial of degree 14, fitted at Chebyshev nodes, with an error of at most 7e-7: a
// ten-thousandth of a quantization step.
constexpr float FAR = 5.3f; // beyond it g is taken as constant: it is below 1e-6

INLINE Floats gelu(Floats x)
{
    const Floats t = fused(smaller(size(x), splat(FAR)), splat(2 / FAR), splat(-1.0f));
    constexpr float g[] = {
        2.28223484e-02f, -3.54771502e-02f, -8.91417116e-02f, 1.97595760e-01f, 6.07003309e-02f,
        -4.26263541e-01f, 2.78386891e-01f, 2.90860355e-01f, -5.96272409e-01f, 3.42300445e-01f,
        1.02812365e-01f, -2.96030462e-01f, 2.10027128e-01f, -7.29855821e-02f, 1.06655313e-02f};
    Floats p = splat(g[0]);
    ALL for (int i = 1; i < 15; i++) p = fused(p, t, splat(g[i]));
    return larger(x, splat(0.0f)) - p;
}

// x / (1 + e^-2u) with u = sqrt(2 / pi) (x + 0.044715 x^3): GELU by tanh.
INLINE Floats gelu_new(Floats x)
{
    const Floats one = splat(1.0f);
    const Floats u = x * fused(x * x, splat(0.044715f), one) * splat(0.79788456f);
    const Floats e = exp2_neg(size(u) * splat(-2 * 1.44269504f)); // e^-2|u|, which can't overflow
    const Floats half = one / (one + e);
    return x * choose(above(u, splat(0.0f)), half, e * half);
}

INLINE Floats hyperbolic_tangent(Floats x)
{
    // (1 - e^-2|x|) / (1 + e^-2|x|), with the sign of x; this exponential can't overflow.
    const Floats e = exp2_neg(size(x) * splat(-2 * 1.44269504f)), one = splat(1.0f);
    const Floats y = (one - e) / (one + e);
    return from_bits(bits_of(y) | (bits_of(x) & splat(INT32_MIN)));
}

void activate(float *x, int64_t n, Activation kind)
{
    if (kind == Activation::gelu)
        for (int64_t j = 0; j < n; j += LANES)
            store(x + j, gelu(load(x + j)));
    else if (kind == Activation::gelu_new)
        for (int64_t j = 0; j < n; j += LANES)
            store(x + j, gelu_new(load(x + j)));
    else if (kind == Activation::relu)
        for (int64_t j = 0; j < n; j += LANES)
            store(x + j, larger(load(x + j), splat(0.0f)));
    else
        for (int64_t j = 0; j < n; j += LANES)
            store(x + j, hyperbolic_tangent(load(x + j)));
}

constexpr int64_t AHEAD = 4; // tokens whose words are on their way to the cache: see fetch_word

// Asks for a word's vector before it is needed: words lie anywhere in a table that is too large for
// the near caches.
INLINE void fetch_word(const Model *m, int32_t id)
{
    for (int64_t j = 0; j < m->E; j += 64)
        __builtin_prefetch(m->words + id * m->E + j);
    __builtin_prefetch(m->word_scales + id);
}

// The sum of a token's word, position and segment vectors: (E).
INLINE void embed(const Model *m, int32_t id, int64_t position, int64_t segment, float *x)
{
    const int8_t *word = m->words + id * m->E;
    const Floats scale = splat(m->word_scales[id]);
    for (int64_t j = 0; j < m->E; j += LANES) {
        const Floats place = load(m->positions + position * m->E + j) +
                             load(m->segments + segment * m->E + j);
        Ints bytes;
        EACH bytes.part[i] = extend_bytes(word + j + i * WIDTH);
        store(x + j, fused(to_float(bytes), scale, place));
    }
}

// Rows of a tile of `affine`: each has two vectors of sums, and together they take as many registers
// as the sums of a product.
constexpr int FLAT = TALL * WIDE / 2 < 6 ? TALL * WIDE / 2 : 6;

// V * LANES columns of R rows of `affine`.
template <int R, int V = 1>
INLINE void affine_tile(const float *x, int64_t ldx, int64_t K, const float *w, const float *bias,
                        int64_t N, float *y, int64_t ldy)
{
    Floats even[R][V], odd[R][V]; // two sums, so that additions overlap
    ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < V; v++)
        even[r][v] = load(bias + v * LANES), odd[r][v] = splat(0.0f);
    for (int64_t k = 0; k < K; k += 2, w += 2 * N)
        ALL for (int v = 0; v < V; v++)
        {
            const Floats first = load(w + v * LANES), second = load(w + N + v * LANES);
            ALL for (int r = 0; r < R; r++)
            {
                even[r][v] = fused(splat(x[r * ldx + k]), first, even[r][v]);
                odd[r][v] = fused(splat(x[r * ldx + k + 1]), second, odd[r][v]);
            }
        }
    ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < V; v++)
        store(y + r * ldy + v * LANES, even[r][v] + odd[r][v]);
}

template <int R>
INLINE void last_affine_tile(int64_t rows, const float *x, int64_t ldx, int64_t K, const float *w,
                             const float *bias, int64_t N, float *y, int64_t ldy)
{
    if constexpr (R > 0) {
        if (rows == R)
            affine_tile<R>(x, ldx, K, w, bias, N, y, ldy);
        else
            last_affine_tile<R - 1>(rows, x, ldx, K, w, bias, N, y, ldy);
    }
}

// Columns `from` to `to` - 1 of y (rows, ldy) = x (rows, ldx) w (K, N) + bias, in fp32; all three
// are multiples of LANES. A column's weights are read from memory once for all rows.
void affine(const float *x, int64_t ldx, int64_t rows, int64_t K, const float *w, const float *bias,
            int64_t N, int64_t from, int64_t to, float *y, int64_t ldy)
{
    int64_t j = from;
    if (rows == 1) // more columns together: memory is read in longer pieces
        for (; j + WIDE * LANES <= to; j += WIDE * LANES)
            affine_tile<1, WIDE>(x, ldx, K, w + j, bias + j, N, y + j, ldy);
    for (; j < to; j += LANES) {
        int64_t i = 0;
        for (; i + FLAT <= rows; i += FLAT)
            affine_tile<FLAT>(x + i * ldx, ldx, K, w + j, bias + j, N, y + i * ldy + j, ldy);
        last_affine_tile<FLAT - 1>(rows - i, x + i * ldx, ldx, K, w + j, bias + j, N,
                                   y + i * ldy + j, ldy);
    }
}

} // namespace
} // namespace onelayer
