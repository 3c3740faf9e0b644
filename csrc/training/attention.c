/* Attention over packed sequences.
 *
 * Sequence s has queries cu_q[s]:cu_q[s + 1] and keys cu_k[s]:cu_k[s + 1]. One parallel loop goes
 * over sequences and heads; ROWS queries are computed together, so that their scores stay in the
 * cache. Only q, k and v are kept for the backward pass, which computes scores and masks again.
 */
#include "attention.h"

/* The keys for the queries from `first` to `first + rows`. Without a limit these are all. */
static Keys keys_for(const Attention *a, const Part *part, int64_t first, int64_t rows)
{
    const int64_t at = first - part->q_begin, far = at + rows + a->reach;
    const int64_t from = at > a->reach ? (at - a->reach) / LANES * LANES : 0;
    const int64_t n = (far < part->n ? far : part->n) - from;
    Keys keys = {from, n, pad(n)};
    return keys;
}

/* Adds the bias to the scores of the queries from `first` on. They aren't scaled yet, so it is
 * divided by the scale. */
static void add_bias(const Attention *a, const Part *part, float *scores, int64_t first,
                     int64_t rows, const Keys *keys)
{
    const float root = 1 / a->scale, *table = a->bias + part->head * (2 * a->longest - 1);
    for (int64_t i = 0; i < rows; i++, scores += keys->padded) {
        const float *near = table + a->longest - 1 + keys->from - place_of(a, part, first + i);
        for (int64_t j = 0; j < keys->n; j++)
            scores[j] += root * near[j];
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
    const float root = 1 / a->scale;
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
                softmax_backward(scores, dropped, grads, rows, padded, a->scale);
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
