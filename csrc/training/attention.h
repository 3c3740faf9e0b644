/* What attention with and without vectors of distances shares: its arguments, blocks of queries and
 * their keys, softmax, dropout, and products of any size.
 */
#pragma once
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

/* The arguments of a forward and a backward pass; `AttentionArguments` in kernels.py. */
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
    float scale; /* of the scores */
    float p;     /* dropout of the probabilities */
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

/* Scores (rows, padded) of queries from the sequence's place `at` on -> probabilities, in place; 0
 * for padding and for keys out of reach. */
static void softmax(const Attention *a, float *scores, int64_t at, int64_t rows, const Keys *keys)
{
    const float by = a->scale * 1.44269504f; /* 1 / ln 2: powers of two are faster */
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
