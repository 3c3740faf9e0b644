// Attention of the last layer for vectors that are read, without the keys and values of all tokens.
//
// A score is q (K x) = (q K) x, with K the part of the matrix that makes a head's keys of a token
// x. So each query is multiplied by K once, where keys take a product for every token. In the same
// way the mixed values, a sum of p (V x), are V times the sum of p x. The bias of the keys adds the
// same to all scores of a query, so it changes no probability; that of the values is added once, as
// probabilities sum to 1. What a query has become is called turned here: it is as wide as the
// model.
//
// Turned queries take the place of keys, with a lane for each head, and tokens that of queries: so
// they are quantized in the same way, and scores are exact sums of integers. Probabilities and the
// sums of p x are fp32.
#pragma once
#include "attention.h"

namespace onelayer {
namespace {

// Memory that is divided among buffers. Without a start, only their sizes are added up.
struct Memory {
    char *start;
    int64_t used;
};

// The next piece of memory, starting at a cache line.
template <class Item> INLINE Item *take(Memory *memory, int64_t count)
{
    char *here = memory->start ? memory->start + memory->used : nullptr;
    memory->used += (count * (int64_t)sizeof(Item) + 63) / 64 * 64;
    return (Item *)here;
}

// A read whose attention is computed: its query (D), and its sequence in fp32 and in bytes.
struct Reader {
    float *query;       // (D) overwritten by the mixed values
    const float *x;     // (n, D)
    const Quantized *q; // (n, D)
    const Scale *scale; // (n)
    int64_t n, position;
};

// For TALL reads, of sequences of up to n tokens.
struct ReadRoom {
    Room heads;       // of one read: turned queries in the place of keys
    float *part;      // (d) of a query
    Quantized *query; // (TALL, d) of a head
    Scale *scale;     // (TALL)
    float *turned;    // (TALL, H, D in whole units)
    float *scores;    // (n, H padded), then what becomes of them: powers of 2
    float *share;     // (H padded) 1 / the sum of a head's powers
    float *mixed;     // (H, D) of one read
    Quantized *bytes; // (H, TALL, D) the same of all
    Scale *scales;    // (H, TALL)
};

INLINE ReadRoom take_read_room(const Model *m, int64_t n, Memory *memory)
{
    const int64_t D = m->D, H = m->n_heads, d = D / H, lanes = pad(H);
    ReadRoom a = {};
    a.heads.padded = lanes;
    a.heads.bytes = take<int8_t>(memory, D * lanes);
    a.heads.step = take<float>(memory, lanes);
    a.heads.sums = take<int32_t>(memory, lanes);
    a.heads.total = take<float>(memory, lanes);
    a.heads.bias = take<float>(memory, lanes);
    a.part = take<float>(memory, d);
    a.query = take<Quantized>(memory, TALL * d);
    a.scale = take<Scale>(memory, TALL);
    a.turned = take<float>(memory, TALL * H * (D + UNIT - 1) / UNIT * UNIT);
    a.scores = take<float>(memory, n * lanes);
    a.share = take<float>(memory, lanes);
    a.mixed = take<float>(memory, H * D);
    a.bytes = take<Quantized>(memory, H * TALL * D);
    a.scales = take<Scale>(memory, H * TALL);
    return a;
}

// Multiplies each head's part of the queries by what makes its keys.
INLINE void turn_queries(const Model *m, const Matrix *qkv, const Reader *reads, int count,
                         const ReadRoom *a)
{
    const int64_t D = m->D, H = m->n_heads, d = D / H, ld = (D + UNIT - 1) / UNIT * UNIT;
    // Scores are divided by sqrt(d), and by ln 2 because powers of 2 are faster than those of e.
    const float by = 1.44269504f / __builtin_sqrtf((float)d);
    for (int64_t head = 0; head < H; head++) {
        for (int r = 0; r < count; r++) {
            const float *query = reads[r].query + head * d, *step = qkv->step + D + head * d;
            for (int64_t j = 0; j < d; j += LANES)
                store(a->part + j, load(query + j) * load(step + j));
            a->scale[r] = quantize(a->part, d, a->query + r * d);
            a->scale[r].step *= by, a->scale[r].low *= by;
        }
        for (int64_t unit = 0; unit < ld / UNIT; unit++)
            product(m->keys + head, a->query, a->scale, count, unit, a->turned + head * ld, H * ld);
    }
}

// The scores of R tokens in LANES heads from head `at` on.
template <int R>
INLINE void head_scores(const Room *a, const Quantized *x, const Scale *scale, int64_t D,
                        int64_t at, float *out)
{
    Ints acc[R][1];
    begin_sums(a->sums + at, acc);
    dot_tile<R, 1>(D, x, D, a->bytes + DEPTH * at, DEPTH * a->padded, acc);
    const Floats step = load(a->step + at), total = load(a->total + at);
    ALL for (int r = 0; r < R; r++)
        store(out + r * a->padded + at,
              fused(to_float(acc[r][0]), step * splat(scale[r].step), total * splat(scale[r].low)));
}

template <int R>
INLINE void last_head_scores(int64_t rows, const Room *a, const Quantized *x, const Scale *scale,
                             int64_t D, int64_t at, float *out)
{
    if constexpr (R > 0) {
        if (rows == R)
            head_scores<R>(a, x, scale, D, at, out);
        else
            last_head_scores<R - 1>(rows, a, x, scale, D, at, out);
    }
}

// The powers of 2 of a read's scores less the head's largest, and each head's share.
INLINE void find_shares(const Model *m, const Reader *read, const ReadRoom *a)
{
    const int64_t D = m->D, lanes = a->heads.padded;
    for (int64_t at = 0; at < lanes; at += LANES) {
        int64_t i = 0;
        for (; i + TALL <= read->n; i += TALL)
            head_scores<TALL>(&a->heads, read->q + i * D, read->scale + i, D, at,
                              a->scores + i * lanes);
        last_head_scores<TALL - 1>(read->n - i, &a->heads, read->q + i * D, read->scale + i, D, at,
                                   a->scores + i * lanes);
    }
    if (m->nearby)
        for (int64_t i = 0; i < read->n; i++)
            for (int64_t head = 0; head < m->n_heads; head++)
                a->scores[i * lanes + head] +=
                    m->nearby[head * m->nearby_width + m->longest - 1 + i - read->position];
    for (int64_t at = 0; at < lanes; at += LANES) {
        float *const scores = a->scores + at;
        Floats most = load(scores), total = splat(0.0f);
        for (int64_t i = 1; i < read->n; i++)
            most = larger(most, load(scores + i * lanes));
        for (int64_t i = 0; i < read->n; i++) {
            const Floats e = exp2_neg(load(scores + i * lanes) - most);
            store(scores + i * lanes, e);
            total = total + e;
        }
        store(a->share + at, splat(1.0f) / total);
    }
}

// V * LANES columns from column `at` on of the sums of p x, for R heads from `head` on.
template <int R, int V>
INLINE void mix_tokens_tile(const Reader *read, const ReadRoom *a, int64_t head, int64_t D,
                            int64_t at)
{
    Floats acc[R][V];
    ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < V; v++) acc[r][v] = splat(0.0f);
    const float *x = read->x + at, *p = a->scores + head;
    for (int64_t i = 0; i < read->n; i++, x += D, p += a->heads.padded) {
        Floats b[V];
        ALL for (int v = 0; v < V; v++) b[v] = load(x + v * LANES);
        ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < V; v++) acc[r][v] =
            fused(splat(p[r]), b[v], acc[r][v]);
    }
    ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < V; v++)
        store(a->mixed + (head + r) * D + at + v * LANES, acc[r][v] * splat(a->share[head + r]));
}

template <int R, int V>
INLINE void mix_tokens_tiles(const Reader *read, const ReadRoom *a, int64_t head, int64_t D,
                             int64_t at)
{
    for (; at + V * LANES <= D; at += V * LANES)
        mix_tokens_tile<R, V>(read, a, head, D, at);
    if constexpr (V > 1)
        mix_tokens_tiles<R, V / 2>(read, a, head, D, at);
}

template <int R> void mix_tokens(const Reader *read, const ReadRoom *a, int64_t head, int64_t D)
{
    mix_tokens_tiles<R, WIDE>(read, a, head, D, 0);
}

template <int R>
INLINE void mix_last_heads(int64_t heads, const Reader *read, const ReadRoom *a, int64_t head,
                           int64_t D)
{
    if constexpr (R > 0) {
        if (heads == R)
            mix_tokens<R>(read, a, head, D);
        else
            mix_last_heads<R - 1>(heads, read, a, head, D);
    }
}

// The values of the mixed tokens: for each head, d columns of the product.
template <int R>
void mixed_values(const Model *m, const Matrix *qkv, const Reader *reads, const ReadRoom *a)
{
    const int64_t D = m->D, d = D / m->n_heads, lda = TALL * D;
    float values[R * LANES];
    for (int64_t j = 0; j < D; j += LANES) {
        const int64_t head = j / d;
        block<R, 1>(qkv, 2 * D + j, a->bytes + head * lda, a->scales + head * TALL, values, LANES);
        for (int r = 0; r < R; r++)
            store(reads[r].query + j, load(values + r * LANES));
    }
}

template <int R>
INLINE void last_mixed_values(int count, const Model *m, const Matrix *qkv, const Reader *reads,
                              const ReadRoom *a)
{
    if constexpr (R > 0) {
        if (count == R)
            mixed_values<R>(m, qkv, reads, a);
        else
            last_mixed_values<R - 1>(count, m, qkv, reads, a);
    }
}

// Attention of up to TALL reads.
void attend_reads(const Model *m, const Matrix *qkv, const Reader *reads, int count,
                  const ReadRoom *a)
{
    const int64_t D = m->D, H = m->n_heads, ld = (D + UNIT - 1) / UNIT * UNIT;
    turn_queries(m, qkv, reads, count, a);
    for (int r = 0; r < count; r++) {
        quantize_keys(&a->heads, a->turned + r * H * ld, ld, H, D);
        find_shares(m, reads + r, a);
        int64_t head = 0;
        for (; head + TALL <= H; head += TALL)
            mix_tokens<TALL>(reads + r, a, head, D);
        mix_last_heads<TALL - 1>(H - head, reads + r, a, head, D);
        for (head = 0; head < H; head++)
            a->scales[head * TALL + r] =
                quantize(a->mixed + head * D, D, a->bytes + (head * TALL + r) * D);
    }
    last_mixed_values<TALL>(count, m, qkv, reads, a);
}

} // namespace
} // namespace onelayer
