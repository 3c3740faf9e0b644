/* Attention over packed sequences.
 *
 * Sequence s has queries cu_q[s]:cu_q[s + 1] and keys cu_k[s]:cu_k[s + 1]. One parallel loop goes
 * over sequences and heads; ROWS queries are computed together, so that their scores stay in the
 * cache. Only q, k and v are kept for the backward pass, which computes scores and masks again.
 */
#include "kernels.h"

#define ROWS 32 /* queries: their scores over 512 keys are 64 KB, and stay in the second cache */

TILE(tall_2, TALL, 2)
TILE(tall_1, TALL, 1)
TILE(row_2, 1, 2)
TILE(row_1, 1, 1)

/* C (M, N) = or += A (M, K) B (K, N), tile by tile: TALL rows, then one at a time; A has strides
 * am and ak, so it may be read transposed. */
static void multiply(int64_t M, int64_t N, int64_t K, const float *A, int64_t am, int64_t ak,
                     const float *B, int64_t ldb, float *C, int64_t ldc, int add)
{
    for (int64_t m = 0; m < M; m += M - m >= TALL ? TALL : 1) {
        const int tall = M - m >= TALL;
        const float *a = A + m * am;
        float *c = C + m * ldc;
        int64_t n = 0;
        for (; n + 2 * LANES <= N; n += 2 * LANES)
            (tall ? tall_2 : row_2)(K, a, am, ak, B + n, ldb, c + n, ldc, add);
        if (n < N)
            (tall ? tall_1 : row_1)(K, a, am, ak, B + n, ldb, c + n, ldc, add);
    }
}

/* The arguments of both passes; `AttentionArguments` in kernels.py. */
typedef struct {
    const float *q, *k, *v;
    int64_t q_stride, kv_stride; /* from token to token */
    int64_t d;                   /* width of a head */
    const int32_t *cu_q, *cu_k;
    int64_t n_sequences, n_heads;
    int64_t reach; /* keys that are farther from a query are left out; only if queries are tokens */
    const float *bias; /* (n_heads, 2 longest - 1): added to scores, by the place of the key minus that
                        * of the query, from 1 - longest on; NULL if there is none */
    int64_t longest;
    const int64_t *places; /* each query's place in its sequence; NULL if queries are tokens */
    float p; /* dropout of the probabilities */
    uint64_t seed;
} Attention;

/* One head of one sequence. */
typedef struct {
    int64_t q_begin, q_end, n, padded;
    int64_t kv_at; /* offset of its first key and value */
    int64_t head;
} Part;

/* The keys that a block of queries needs, from `from` to `from + n`, a multiple of LANES, in their
 * sequence. */
typedef struct {
    int64_t from, n, padded;
} Keys;

static int64_t pad(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

static Part part_of(const Attention *a, int64_t task)
{
    const int64_t s = task / a->n_heads, head = task % a->n_heads, n = a->cu_k[s + 1] - a->cu_k[s];
    Part part = {a->cu_q[s], a->cu_q[s + 1], n, pad(n), a->cu_k[s] * a->kv_stride + head * a->d,
                 head};
    return part;
}

/* The keys for the queries from `first` to `first + rows`. Without a limit these are all. */
static Keys keys_for(const Attention *a, const Part *part, int64_t first, int64_t rows)
{
    const int64_t at = first - part->q_begin, far = at + rows + a->reach;
    const int64_t from = at > a->reach ? (at - a->reach) / LANES * LANES : 0;
    const int64_t n = (far < part->n ? far : part->n) - from;
    Keys keys = {from, n, pad(n)};
    return keys;
}

/* The keys of the longest sequence, padded, for which scratch memory is made. */
static int64_t widest(const Attention *a)
{
    int64_t most = 0;
    for (int64_t s = 0; s < a->n_sequences; s++)
        most = a->cu_k[s + 1] - a->cu_k[s] > most ? a->cu_k[s + 1] - a->cu_k[s] : most;
    return pad(most);
}

/* Keys or values of one head, (n, d) -> (d, padded), zeros for the padding. The lanes of a
 * vector then belong to as many keys, and a score needs no sum across lanes. */
static void transpose(const Attention *a, const Part *part, const float *rows, float *columns)
{
    for (int64_t j = 0; j < a->d; j++) {
        for (int64_t i = 0; i < part->n; i++)
            columns[j * part->padded + i] = rows[part->kv_at + i * a->kv_stride + j];
        for (int64_t i = part->n; i < part->padded; i++)
            columns[j * part->padded + i] = 0;
    }
}

/* The place in its sequence of a query. */
static int64_t place_of(const Attention *a, const Part *part, int64_t query)
{
    return a->places ? a->places[query] : query - part->q_begin;
}

/* Adds the bias to the scores of the queries from `first` on. They aren't scaled yet, so it is
 * divided by the scale. */
static void add_bias(const Attention *a, const Part *part, float *scores, int64_t first,
                     int64_t rows, const Keys *keys)
{
    const float root = sqrtf((float)a->d), *table = a->bias + part->head * (2 * a->longest - 1);
    for (int64_t i = 0; i < rows; i++, scores += keys->padded) {
        const float *near = table + a->longest - 1 + keys->from - place_of(a, part, first + i);
        for (int64_t j = 0; j < keys->n; j++)
            scores[j] += root * near[j];
    }
}

/* Scores (rows, padded) of queries from the sequence's place `at` on -> probabilities, in place; 0
 * for padding and for keys out of reach. */
static void softmax(const Attention *a, float *scores, int64_t at, int64_t rows, const Keys *keys)
{
    const float scale = 1 / sqrtf((float)a->d);
    const float by = scale * 1.44269504f; /* 1 / ln 2: powers of two are faster */
    for (int64_t i = 0; i < rows; i++) {
        float *row = scores + i * keys->padded;
        /* A padded key must not be the maximum, and its exponential must be 0. */
        const int64_t place = at + i - keys->from, end = place + a->reach + 1;
        for (int64_t j = 0; j < place - a->reach; j++)
            row[j] = -INFINITY;
        for (int64_t j = end < keys->n ? end : keys->n; j < keys->padded; j++)
            row[j] = -INFINITY;
        vec most = load(row), total = {0};
        for (int64_t j = LANES; j < keys->padded; j += LANES)
            most = larger(most, load(row + j));
        /* The maximum is subtracted so that no exponential overflows; the largest is 1. */
        const float top = maximum(most) * by;
        for (int64_t j = 0; j < keys->padded; j += LANES) {
            vec e = exp2_neg(load(row + j) * by - top);
            store(row + j, e);
            total += e;
        }
        const float share = 1 / sum(total);
        for (int64_t j = 0; j < keys->padded; j += LANES)
            store(row + j, load(row + j) * share);
    }
}

/* The probabilities (rows, padded) of the queries from `first` on; `columns` holds the keys of the
 * whole sequence, (d, part->padded). */
static void probabilities(const Attention *a, const Part *part, int64_t first, int64_t rows,
                          const Keys *keys, const float *columns, float *scores)
{
    const float *q = a->q + first * a->q_stride + part->head * a->d;
    multiply(rows, keys->padded, a->d, q, a->q_stride, 1, columns + keys->from, part->padded,
             scores, keys->padded, 0);
    if (a->bias)
        add_bias(a, part, scores, first, rows, keys);
    softmax(a, scores, first - part->q_begin, rows, keys);
}

/* Applies dropout to the probabilities of `rows` queries from query `first` on; `to` may be
 * `from`. */
static void drop(const Attention *a, const Part *part, int64_t first, int64_t rows, int64_t padded,
                 const float *from, float *to)
{
    const Rate rate = rate_of(a->p);
    /* Every query of every head has its own row in the mask, so threads don't change the result. */
    const uint64_t row = (uint64_t)(part->head * a->cu_q[a->n_sequences] + first);
    for (int64_t i = 0; i < rows; i++, from += padded, to += padded) {
        const uint32_t key = row_key(a->seed, row + i);
        for (int64_t j = 0; j < padded; j += 2 * LANES) {
            vec mask[2];
            keep(key, j, rate, mask);
            store(to + j, load(from + j) * mask[0]);
            if (j + LANES < padded)
                store(to + j + LANES, load(from + j + LANES) * mask[1]);
        }
    }
}

/* out: (queries, n_heads * d). */
void attention_forward(const Attention *a, float *out)
{
    const int64_t d = a->d, D = a->n_heads * d, most = widest(a);
#pragma omp parallel
    {
        float *columns = scratch(d * most), *scores = scratch(ROWS * most);
#pragma omp for schedule(dynamic)
        /* The longest sequences are last in a batch. They start first, so that threads finish at
         * about the same time. */
        for (int64_t task = a->n_sequences * a->n_heads - 1; task >= 0; task--) {
            const Part part = part_of(a, task);
            transpose(a, &part, a->k, columns);
            for (int64_t i = part.q_begin; i < part.q_end; i += ROWS) {
                const int64_t rows = part.q_end - i < ROWS ? part.q_end - i : ROWS;
                const Keys keys = keys_for(a, &part, i, rows);
                const float *v = a->v + part.kv_at + keys.from * a->kv_stride;
                probabilities(a, &part, i, rows, &keys, columns, scores);
                if (a->p > 0)
                    drop(a, &part, i, rows, keys.padded, scores, scores);
                multiply(rows, d, keys.n, scores, keys.padded, 1, v, a->kv_stride,
                         out + i * D + part.head * d, D, 0);
            }
        }
        free(columns), free(scores);
    }
}

/* The gradient of the scores, written over dP'. With dropped probabilities P' = P * mask and
 * dP' = dO V^T it is dS = (P' dP' - P sum(P' dP')) * scale. */
static void softmax_backward(const float *probs, const float *dropped, float *grads, int64_t rows,
                             int64_t padded, float scale)
{
    for (int64_t i = 0; i < rows; i++, probs += padded, dropped += padded, grads += padded) {
        vec dot = {0};
        for (int64_t j = 0; j < padded; j += LANES) {
            vec x = load(dropped + j) * load(grads + j);
            store(grads + j, x);
            dot += x;
        }
        const float total = sum(dot);
        for (int64_t j = 0; j < padded; j += LANES)
            store(grads + j, (load(grads + j) - load(probs + j) * total) * scale);
    }
}

/* Where the gradients of a head's bias from one sequence of n keys are summed: 2 n - 1 numbers. All
 * of them together take two for each token and head. */
static float *bias_sums(const Attention *a, float *sums, const Part *part, int64_t task)
{
    return sums + 2 * (a->cu_k[task / a->n_heads] * a->n_heads + part->head * part->n);
}

/* Adds the gradients of scores to those of the bias. They were multiplied by the scale. */
static void add_bias_grads(const Attention *a, const Part *part, const float *grads, int64_t first,
                           int64_t rows, const Keys *keys, float *sums)
{
    const float root = sqrtf((float)a->d);
    for (int64_t i = 0; i < rows; i++, grads += keys->padded) {
        float *near = sums + part->n - 1 + keys->from - place_of(a, part, first + i);
        for (int64_t j = 0; j < keys->n; j++)
            near[j] += root * grads[j];
    }
}

/* The sums of all sequences, in the order of the batch, whatever the number of threads. */
static void sum_bias_grads(const Attention *a, float *sums, float *d_bias)
{
#pragma omp parallel for schedule(static)
    for (int64_t head = 0; head < a->n_heads; head++)
        for (int64_t s = 0; s < a->n_sequences; s++) {
            const int64_t task = s * a->n_heads + head;
            const Part part = part_of(a, task);
            const float *from = bias_sums(a, sums, &part, task);
            float *to = d_bias + head * (2 * a->longest - 1) + a->longest - part.n;
            for (int64_t i = 0; i < 2 * part.n - 1; i++)
                to[i] += from[i];
        }
}

/* d_q, d_k and d_v have the strides of q, k and v; d_bias, zeros that are added to, has the shape of
 * the bias. Scores and masks are computed again. */
void attention_backward(const Attention *a, const float *d_out, float *d_q, float *d_k, float *d_v,
                        float *d_bias)
{
    const int64_t d = a->d, D = a->n_heads * d, most = widest(a);
    float *sums = a->bias ? scratch(2 * a->n_heads * a->cu_k[a->n_sequences]) : NULL;
#pragma omp parallel
    {
        float *columns = scratch(d * most), *values = scratch(d * most);
        float *scores = scratch(ROWS * most), *grads = scratch(ROWS * most);
        float *dropped = a->p > 0 ? scratch(ROWS * most) : scores;
#pragma omp for schedule(dynamic)
        for (int64_t task = a->n_sequences * a->n_heads - 1; task >= 0; task--) {
            const Part part = part_of(a, task);
            /* The first `summed` keys have part of their sums dK and dV over blocks of queries. */
            int64_t summed = 0;
            float *near = a->bias ? bias_sums(a, sums, &part, task) : NULL;
            if (near)
                memset(near, 0, (size_t)(2 * part.n - 1) * 4);
            transpose(a, &part, a->k, columns);
            transpose(a, &part, a->v, values);
            for (int64_t i = part.q_begin; i < part.q_end; i += ROWS) {
                const int64_t rows = part.q_end - i < ROWS ? part.q_end - i : ROWS;
                const int64_t q_at = i * a->q_stride + part.head * d;
                const float *g = d_out + i * D + part.head * d;
                const Keys keys = keys_for(a, &part, i, rows);
                const int64_t padded = keys.padded, at = part.kv_at + keys.from * a->kv_stride;
                const int64_t old = summed - keys.from, fresh = keys.n - old;
                const int64_t fresh_at = at + old * a->kv_stride;
                probabilities(a, &part, i, rows, &keys, columns, scores);
                if (a->p > 0)
                    drop(a, &part, i, rows, padded, scores, dropped);
                /* dV = P'^T dO */
                multiply(old, d, rows, dropped, 1, padded, g, D, d_v + at, a->kv_stride, 1);
                multiply(fresh, d, rows, dropped + old, 1, padded, g, D, d_v + fresh_at,
                         a->kv_stride, 0);
                /* dP' = dO V^T */
                multiply(rows, padded, d, g, D, 1, values + keys.from, part.padded, grads, padded,
                         0);
                softmax_backward(scores, dropped, grads, rows, padded, 1 / sqrtf((float)d));
                if (near)
                    add_bias_grads(a, &part, grads, i, rows, &keys, near);
                /* dQ = dS K, dK = dS^T Q */
                multiply(rows, d, keys.n, grads, padded, 1, a->k + at, a->kv_stride, d_q + q_at,
                         a->q_stride, 0);
                multiply(old, d, rows, grads, 1, padded, a->q + q_at, a->q_stride, d_k + at,
                         a->kv_stride, 1);
                multiply(fresh, d, rows, grads + old, 1, padded, a->q + q_at, a->q_stride,
                         d_k + fresh_at, a->kv_stride, 0);
                summed = keys.from + keys.n;
            }
        }
        free(columns), free(values), free(scores), free(grads);
        if (dropped != scores)
            free(dropped);
    }
    if (a->bias) {
        sum_bias_grads(a, sums, d_bias);
        free(sums);
    }
}
