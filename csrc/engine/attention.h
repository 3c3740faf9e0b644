// Attention of one head of one sequence.
//
// Queries and keys are quantized vector by vector, so scores are exact sums of integers, as in a
// product. Probabilities and values are rounded to bf16, and their products are summed in fp32: in
// bf16 small probabilities keep eight significant bits, while steps of 1/255 would round many to 0.
// TALL queries are computed together, so that their scores stay in the first cache.
#pragma once
#include "gemm.h"

namespace onelayer {
namespace {

// A bias of a head's scores for the distance of a key from its query.
struct Nearby {
    const float *bias;   // that of distance 0; distances are negative, too. Padding keys read it, so
                         // LANES more follow the largest distance. Null if there is none.
    const int32_t *read; // the positions of the queries; null if all positions are
};

// Numbers in bf16: two neighbours in a lane where an instruction multiplies such pairs, and one in
// fp32 elsewhere.
#ifdef PAIRS_OF_BF16
constexpr int64_t BF16_BYTES = 2;
#else
constexpr int64_t BF16_BYTES = 4;
#endif

struct Room {
    int8_t *bytes;    // (d / DEPTH, padded, DEPTH): neighbouring numbers of a key
    char *values;     // (padded / 2, d) pairs of two keys' numbers, or (padded, d)
    float *step;      // (padded) the size of a step in each key
    int32_t *sums;    // (padded) of each key's bytes
    float *total;     // (padded) step x sum
    float *bias;      // (padded) -infinity where there is no key
    Quantized *query; // (TALL, d)
    Scale *scale;     // (TALL)
    float *scores;    // (TALL, padded), then overwritten by the probabilities in bf16
    const float *nearby[TALL]; // by key, what is added to each query's scores; or null
    int64_t padded;
};

INLINE int64_t pad(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

// Bytes of a Room: see room_of.
INLINE int64_t attention_room(int64_t n, int64_t d)
{
    return pad(n) * (d + BF16_BYTES * d + 16 + 4 * TALL) + TALL * d * (int64_t)sizeof(Quantized) +
           LANES * (int64_t)sizeof(Scale);
}

// Divides the memory among the arrays of a Room for n keys.
INLINE Room room_of(char *memory, int64_t n, int64_t d)
{
    Room a = {};
    a.padded = pad(n);
    a.step = (float *)memory;
    a.sums = (int32_t *)(a.step + a.padded);
    a.total = (float *)(a.sums + a.padded);
    a.bias = a.total + a.padded;
    a.scores = a.bias + a.padded;
    a.scale = (Scale *)(a.scores + TALL * a.padded);
    a.values = (char *)(a.scale + LANES);
    a.bytes = (int8_t *)(a.values + BF16_BYTES * d * a.padded);
    a.query = (Quantized *)(a.bytes + d * a.padded);
    return a;
}

// Quantizes keys to signed bytes, in the order in which dot_tile reads them. A key's largest
// absolute number becomes 127 or -127.
ONE_COPY void quantize_keys(const Room *a, const float *k, int64_t ld, int64_t n, int64_t d)
{
    for (int64_t row = 0; row < n; row++, k += ld) {
        Floats most = splat(0.0f);
        for (int64_t j = 0; j < d; j += LANES)
            most = larger(most, size(load(k + j)));
        const float largest = maximum(most);
        const Floats by = splat(largest > 0 ? 127 / largest : 0);
        for (int64_t j = 0; j < d; j += LANES) {
            int8_t bytes[LANES];
            store_bytes(bytes, bits_of(fused(load(k + j), by, splat(MAGIC))));
            for (int64_t l = 0; l < LANES; l += DEPTH)
                memcpy(a->bytes + (j + l) * a->padded + row * DEPTH, bytes + l, DEPTH);
        }
        a->step[row] = largest * (1 / 127.0f);
        a->bias[row] = 0;
    }
    // Padding up to whole vectors: a bias of -infinity gives these keys a probability of 0.
    for (int64_t row = n; row < a->padded; row++) {
        a->step[row] = 0;
        a->bias[row] = -INFINITY;
        for (int64_t j = 0; j < d; j += DEPTH)
            memset(a->bytes + j * a->padded + row * DEPTH, 0, DEPTH);
    }
    // The sum of each key: a query's lowest number is added to every score in proportion to it.
    for (int64_t row = 0; row < a->padded; row += LANES) {
        Ints sums = splat(0);
        for (int64_t j = 0; j < d; j += DEPTH)
            sums = add_inputs(sums, a->bytes + j * a->padded + row * DEPTH);
        store(a->sums + row, sums);
        store(a->total + row, to_float(sums) * load(a->step + row));
    }
}

// Rounds to bf16, the upper half of an fp32; to even if two numbers are equally near.
INLINE Ints to_bf16(Floats x)
{
    const Ints bits = bits_of(x);
    return (bits + splat(0x7fff) + ((bits >> 16) & splat(1))) & splat(~0xffff);
}

// The values in bf16. An odd last one gets a 0 for its partner.
INLINE void round_values(const Room *a, const float *v, int64_t ld, int64_t n, int64_t d)
{
#ifdef PAIRS_OF_BF16
    for (int64_t row = 0; row < n; row += 2, v += 2 * ld)
        for (int64_t j = 0; j < d; j += LANES) {
            const Ints second = row + 1 < n ? to_bf16(load(v + ld + j)) : splat(0);
            const Ints first = (to_bf16(load(v + j)) >> 16) & splat(0xffff);
            store((int32_t *)a->values + row / 2 * d + j, first | second);
        }
#else
    for (int64_t row = 0; row < n; row++, v += ld)
        for (int64_t j = 0; j < d; j += LANES)
            store((float *)a->values + row * d + j, from_bits(to_bf16(load(v + j))));
    if (n % 2)
        memset((float *)a->values + n * d, 0, (size_t)d * sizeof(float));
#endif
}

// The scores of R queries with V * LANES keys. A query is q = low + step * bytes, so its product
// with a key is q k = step * (bytes k) + low * (sum of k).
template <int R, int V> INLINE void score_tile(const Room *a, int64_t at, int64_t d)
{
    Ints acc[R][V];
    begin_sums(a->sums + at, acc);
    dot_tile<R, V>(d, a->query, d, a->bytes + DEPTH * at, DEPTH * a->padded, acc);
    ALL for (int v = 0; v < V; v++)
    {
        const int64_t key = at + v * LANES;
        const Floats step = load(a->step + key), total = load(a->total + key);
        const Floats bias = load(a->bias + key);
        ALL for (int r = 0; r < R; r++)
        {
            Floats more = bias;
            if (a->nearby[r])
                more = more + load(a->nearby[r] + key);
            const Floats low = fused(total, splat(a->scale[r].low), more);
            store(a->scores + r * a->padded + key,
                  fused(to_float(acc[r][v]), step * splat(a->scale[r].step), low));
        }
    }
}

// The scores of R queries with all keys from `at` on: tiles of V vectors, then of half as many.
template <int R, int V> INLINE void score_tiles(const Room *a, int64_t at, int64_t d)
{
    for (; at + V * LANES <= a->padded; at += V * LANES)
        score_tile<R, V>(a, at, d);
    if constexpr (V > 1)
        score_tiles<R, V / 2>(a, at, d);
}

// Turns a row of scores into 2^(score - largest score), in bf16, and returns 1 / their sum. The
// largest score is subtracted so that no power overflows.
INLINE float exponentials(float *row, int64_t padded)
{
    Floats most = load(row), total = splat(0.0f);
    for (int64_t j = LANES; j < padded; j += LANES)
        most = larger(most, load(row + j));
    const Floats top = splat(maximum(most));
    for (int64_t j = 0; j < padded; j += LANES) {
        const Ints e = to_bf16(exp2_neg(load(row + j) - top));
#ifdef PAIRS_OF_BF16
        store_upper_halves((int16_t *)row + j, e); // half as wide: stays behind reading
#else
        store(row + j, from_bits(e));
#endif
        total = total + from_bits(e);
    }
    return 1 / sum(total);
}

// The mixed values of R queries in V * LANES columns, from column `at` on. `share` is 1 / the sum of
// a row's powers, which makes probabilities of them. Of a pair of keys the second is added first, as
// the instruction for bf16 does, so all machines give the same bits.
template <int R, int V>
INLINE void mix_tile(const Room *a, int64_t at, int64_t n, int64_t d, const float *share,
                     float *out, int64_t ldo)
{
    Floats acc[R][V];
    ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < V; v++) acc[r][v] = splat(0.0f);
#ifdef PAIRS_OF_BF16
    const int32_t *value = (const int32_t *)a->values + at, *p = (const int32_t *)a->scores;
    for (int64_t pair = 0; pair < (n + 1) / 2; pair++, value += d) {
        Ints b[V];
        ALL for (int v = 0; v < V; v++) b[v] = load(value + v * LANES);
        ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < V; v++) EACH
            acc[r][v].part[i] =
                dot_bf16(acc[r][v].part[i], p[r * a->padded + pair], b[v].part[i]);
    }
#else
    const float *value = (const float *)a->values + at;
    for (int64_t key = 0; key < n; key += 2, value += 2 * d)
        ALL for (int second = 1; second >= 0; second--)
        {
            Floats b[V];
            ALL for (int v = 0; v < V; v++) b[v] = load(value + second * d + v * LANES);
            ALL for (int r = 0; r < R; r++)
            {
                const Floats p = splat(a->scores[r * a->padded + key + second]);
                ALL for (int v = 0; v < V; v++) acc[r][v] = add_product(p, b[v], acc[r][v]);
            }
        }
#endif
    ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < V; v++)
        store(out + r * ldo + at + v * LANES, acc[r][v] * splat(share[r]));
}

template <int R, int V>
INLINE void mix_tiles(const Room *a, int64_t at, int64_t n, int64_t d, const float *share,
                      float *out, int64_t ldo)
{
    for (; at + V * LANES <= d; at += V * LANES)
        mix_tile<R, V>(a, at, n, d, share, out, ldo);
    if constexpr (V > 1)
        mix_tiles<R, V / 2>(a, at, n, d, share, out, ldo);
}

// R queries, from bytes to mixed values.
template <int R> void rows(const Room *a, int64_t n, int64_t d, float *out, int64_t ldo)
{
    float share[R];
    score_tiles<R, WIDE>(a, 0, d);
    for (int r = 0; r < R; r++)
        share[r] = exponentials(a->scores + r * a->padded, a->padded);
    mix_tiles<R, WIDE>(a, 0, n, d, share, out, ldo);
}

template <int R>
INLINE void last_rows(int count, const Room *a, int64_t n, int64_t d, float *out, int64_t ldo)
{
    if constexpr (R > 0) {
        if (count == R)
            rows<R>(a, n, d, out, ldo);
        else
            last_rows<R - 1>(count, a, n, d, out, ldo);
    }
}

// Attention of n_q queries over n keys; `memory` is attention_room(n, d) bytes.
void attend(const float *q, int64_t ldq, int64_t n_q, const float *k, const float *v, int64_t ldkv,
            int64_t n, int64_t d, Nearby nearby, float *out, int64_t ldo, char *memory)
{
    Room a = room_of(memory, n, d);
    // Scores are divided by sqrt(d), and by ln 2 because powers of 2 are faster than those of e.
    const float by = 1.44269504f / __builtin_sqrtf((float)d);
    quantize_keys(&a, k, ldkv, n, d);
    round_values(&a, v, ldkv, n, d);
    for (int64_t at = 0; at < n_q; at += TALL, out += TALL * ldo) {
        const int count = n_q - at < TALL ? (int)(n_q - at) : TALL;
        for (int r = 0; r < count; r++) {
            a.scale[r] = quantize(q + (at + r) * ldq, d, a.query + r * d);
            a.scale[r].step *= by, a.scale[r].low *= by;
            // The distance of key 0 from a query is minus the query's position.
            if (nearby.bias)
                a.nearby[r] = nearby.bias - (nearby.read ? nearby.read[at + r] : at + r);
        }
        last_rows<TALL>(count, &a, n, d, out, ldo);
    }
}

} // namespace
} // namespace onelayer
