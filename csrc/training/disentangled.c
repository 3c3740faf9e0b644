/* Attention by contents and distances (He et al., 2021) over packed sequences; see attention.c.
 *
 * A score is the sum of three products: the query with the key, the query with the key of their
 * distance, and the key with the query of their distance. A distance is the place of the key minus
 * that of the query. The tables of distances, (2 longest - 1, n_heads d), go from 1 - longest on, so
 * the rows for one query and all keys follow one another.
 */
#include "attention.h"

#define TOGETHER 4 /* queries: each is multiplied with the same keys, which are loaded once */
#define CHUNKS 4   /* of a batch's sequences: each has sums of the tables' gradients of its own */

typedef struct {
    const float *keys, *queries;        /* tables, by rows: (2 longest - 1, n_heads d) */
    float *key_columns, *query_columns; /* the same by columns: (n_heads d, stride) */
    int64_t stride;
} Distances;

/* (n, width) -> (width, stride), with zeros behind, which a padded key meets. */
static float *by_columns(const float *rows, int64_t n, int64_t width, int64_t stride)
{
    float *columns = scratch(width * stride);
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < width; j++) {
        for (int64_t i = 0; i < n; i++)
            columns[j * stride + i] = rows[i * width + j];
        memset(columns + j * stride + n, 0, (size_t)(stride - n) * 4);
    }
    return columns;
}

static Distances distances_of(const Attention *a, const float *keys, const float *queries)
{
    const int64_t n = 2 * a->longest - 1, D = a->n_heads * a->d, stride = n + LANES;
    Distances distances = {keys, queries, by_columns(keys, n, D, stride),
                           by_columns(queries, n, D, stride), stride};
    return distances;
}

/* The row of the tables for a query and its sequence's first key. */
static int64_t row_of(const Attention *a, const Part *part, int64_t query)
{
    return a->longest - 1 - place_of(a, part, query);
}

/* The scores (count, padded) of the queries from `first` on: the lanes of a vector belong to as many
 * keys, and `near` to their distances from a query. */
INLINE void scores_of(const int count, const Attention *a, const Distances *by, const Part *part,
                      int64_t first, const float *columns, float *scores)
{
    const float *q = a->q + first * a->q_stride + part->head * a->d;
    const int64_t head = part->head * a->d * by->stride;
    int64_t near[TOGETHER];
    for (int r = 0; r < count; r++)
        near[r] = head + row_of(a, part, first + r);
    for (int64_t j = 0; j < part->padded; j += LANES) {
        vec s[TOGETHER] = {{0}};
        for (int64_t c = 0; c < a->d; c++) {
            const vec key = load(columns + c * part->padded + j);
            UNROLL for (int r = 0; r < count; r++) {
                const int64_t at = near[r] + c * by->stride + j;
                s[r] += (key + load(by->key_columns + at)) * q[r * a->q_stride + c];
                s[r] += key * load(by->query_columns + at);
            }
        }
        UNROLL for (int r = 0; r < count; r++)
            store(scores + r * part->padded + j, s[r]);
    }
}

/* The probabilities (rows, padded) of the queries from `first` on. */
static void probabilities(const Attention *a, const Distances *by, const Part *part, int64_t first,
                          int64_t rows, const float *columns, float *scores)
{
    int64_t i = 0;
    for (; i + TOGETHER <= rows; i += TOGETHER)
        scores_of(TOGETHER, a, by, part, first + i, columns, scores + i * part->padded);
    for (; i < rows; i++)
        scores_of(1, a, by, part, first + i, columns, scores + i * part->padded);
    const Keys keys = {0, part->n, part->padded};
    softmax(a, scores, first - part->q_begin, rows, &keys);
}

/* out: (queries, n_heads d). */
void disentangled_forward(const Attention *a, const float *distance_keys,
                          const float *distance_queries, float *out)
{
    const int64_t d = a->d, D = a->n_heads * d, most = widest(a);
    const Distances by = distances_of(a, distance_keys, distance_queries);
#pragma omp parallel
    {
        float *columns = scratch(d * most), *scores = scratch(ROWS * most);
#pragma omp for schedule(dynamic)
        for (int64_t task = a->n_sequences * a->n_heads - 1; task >= 0; task--) {
            const Part part = part_of(a, task);
            transpose(a, &part, a->k, columns);
            for (int64_t i = part.q_begin; i < part.q_end; i += ROWS) {
                const int64_t rows = part.q_end - i < ROWS ? part.q_end - i : ROWS;
                probabilities(a, &by, &part, i, rows, columns, scores);
                if (a->p > 0)
                    drop(a, &part, i, rows, part.padded, scores, scores);
                multiply(rows, d, part.n, scores, part.padded, 1, a->v + part.kv_at, a->kv_stride,
                         out + i * D + part.head * d, D, 0);
            }
        }
        free(columns), free(scores);
    }
    free(by.key_columns), free(by.query_columns);
}

/* The gradients through the distances of `rows` queries from `first` on and of `n` keys from
 * `from` on. `grads` are those of their scores. In `by_query` and `by_key` each gradient stands in
 * the column of its distance, so what is left are products with whole rows of the tables. */
static void distance_grads(const Attention *a, const Distances *by, const Part *part, int64_t first,
                           int64_t rows, int64_t from, int64_t n, const float *grads,
                           float *by_query, float *by_key, float *d_q, float *d_k, float *d_keys,
                           float *d_queries)
{
    const int64_t d = a->d, D = a->n_heads * d, across = rows + n - 1, last = first + rows - 1;
    const int64_t table = (row_of(a, part, last) + from) * D + part->head * d;
    const int64_t q_at = first * a->q_stride + part->head * d;
    const int64_t k_at = part->kv_at + from * a->kv_stride;
    memset(by_query, 0, (size_t)(rows * across) * 4);
    memset(by_key, 0, (size_t)(n * across) * 4);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++) {
            const int64_t column = rows - 1 - i + j;
            const float grad = grads[i * part->padded + from + j];
            by_query[i * across + column] = grad;
            by_key[j * across + column] = grad;
        }
    multiply(rows, d, across, by_query, across, 1, by->keys + table, D, d_q + q_at, a->q_stride, 1);
    multiply(across, d, rows, by_query, 1, across, a->q + q_at, a->q_stride, d_keys + table, D, 1);
    multiply(n, d, across, by_key, across, 1, by->queries + table, D, d_k + k_at, a->kv_stride, 1);
    multiply(across, d, n, by_key, 1, across, a->k + k_at, a->kv_stride, d_queries + table, D, 1);
}

/* The memory of a thread in the backward pass. */
typedef struct {
    float *columns, *values, *scores, *grads, *dropped, *by_query, *by_key;
} Room;

static Room room_of(const Attention *a)
{
    const int64_t most = widest(a), square = ROWS * (2 * ROWS - 1);
    float *scores = scratch(ROWS * most);
    Room room = {scratch(a->d * most), scratch(a->d * most),
                 scores, scratch(ROWS * most),
                 a->p > 0 ? scratch(ROWS * most) : scores, scratch(square), scratch(square)};
    return room;
}

static void leave(const Room *room)
{
    if (room->dropped != room->scores)
        free(room->dropped);
    free(room->columns), free(room->values), free(room->scores), free(room->grads);
    free(room->by_query), free(room->by_key);
}

/* All gradients of a head of a sequence. Those of the tables are added to what is there. */
static void part_backward(const Attention *a, const Distances *by, const Part *part,
                          const Room *room, const float *d_out, float *d_q, float *d_k, float *d_v,
                          float *d_keys, float *d_queries)
{
    const int64_t d = a->d, D = a->n_heads * d, n = part->n, padded = part->padded;
    float *grads = room->grads;
    transpose(a, part, a->k, room->columns);
    transpose(a, part, a->v, room->values);
    for (int64_t i = part->q_begin; i < part->q_end; i += ROWS) {
        const int64_t rows = part->q_end - i < ROWS ? part->q_end - i : ROWS;
        const int64_t q_at = i * a->q_stride + part->head * d;
        const float *g = d_out + i * D + part->head * d;
        const int more = i > part->q_begin;
        probabilities(a, by, part, i, rows, room->columns, room->scores);
        if (a->p > 0)
            drop(a, part, i, rows, padded, room->scores, room->dropped);
        multiply(n, d, rows, room->dropped, 1, padded, g, D, d_v + part->kv_at, a->kv_stride, more);
        multiply(rows, padded, d, g, D, 1, room->values, padded, grads, padded, 0);
        softmax_backward(room->scores, room->dropped, grads, rows, padded, a->scale);
        multiply(rows, d, n, grads, padded, 1, a->k + part->kv_at, a->kv_stride, d_q + q_at,
                 a->q_stride, 0);
        multiply(n, d, rows, grads, 1, padded, a->q + q_at, a->q_stride, d_k + part->kv_at,
                 a->kv_stride, more);
        for (int64_t from = 0; from < n; from += ROWS)
            distance_grads(a, by, part, i, rows, from, n - from < ROWS ? n - from : ROWS, grads,
                           room->by_query, room->by_key, d_q, d_k, d_keys, d_queries);
    }
}

/* d_q, d_k and d_v have the strides of q, k and v, d_keys and d_queries the shape of the tables. Each
 * chunk of sequences sums the tables' gradients apart, so the number of threads changes no result. */
void disentangled_backward(const Attention *a, const float *distance_keys,
                           const float *distance_queries, const float *d_out, float *d_q,
                           float *d_k, float *d_v, float *d_keys, float *d_queries)
{
    const int64_t size = (2 * a->longest - 1) * a->n_heads * a->d;
    const Distances by = distances_of(a, distance_keys, distance_queries);
    float *sums = calloc((size_t)(2 * CHUNKS * size), 4);
    if (!sums)
        abort();
#pragma omp parallel
    {
        const Room room = room_of(a);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < CHUNKS * a->n_heads; task++) {
            const int64_t chunk = task / a->n_heads, head = task % a->n_heads;
            float *to = sums + 2 * chunk * size;
            for (int64_t s = chunk; s < a->n_sequences; s += CHUNKS) {
                const Part part = part_of(a, s * a->n_heads + head);
                part_backward(a, &by, &part, &room, d_out, d_q, d_k, d_v, to, to + size);
            }
        }
        leave(&room);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < size; i++) {
            d_keys[i] = d_queries[i] = 0;
            for (int64_t chunk = 0; chunk < CHUNKS; chunk++) {
                d_keys[i] += sums[2 * chunk * size + i];
                d_queries[i] += sums[(2 * chunk + 1) * size + i];
            }
        }
    }
    free(sums), free(by.key_columns), free(by.query_columns);
}
