/* Attention of one head of one sequence.
 *
 * Queries and keys are quantized vector by vector, so scores are exact sums of integers, as in a
 * product; probabilities and values stay in fp32. Six queries are worked through at once: their
 * scores never leave the first cache.
 */
#include "int8.h"

#define ROWS 6

typedef struct {
    int8_t *bytes;   /* (d / 4, padded, 4): four numbers of each key side by side */
    float *scale;    /* (padded) */
    float *bias;     /* (padded) -infinity where there is no key */
    int32_t *start;  /* (padded) as in Matrix */
    uint8_t *query;  /* (ROWS, d) */
    float *q_scale;  /* (ROWS) */
    float *scores;   /* (ROWS, padded) */
    int64_t padded;
} Room;

static int64_t pad(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

int64_t attention_room(int64_t n, int64_t d)
{
    return pad(n) * (d + 12 + 4 * ROWS) + ROWS * d + 4 * LANES;
}

static Room room_of(char *memory, int64_t n, int64_t d)
{
    Room a = {.padded = pad(n)};
    a.scale = (float *)memory;
    a.bias = a.scale + a.padded;
    a.start = (int32_t *)(a.bias + a.padded);
    a.scores = (float *)(a.start + a.padded);
    a.q_scale = a.scores + ROWS * a.padded;
    a.bytes = (int8_t *)(a.q_scale + LANES);
    a.query = (uint8_t *)(a.bytes + d * a.padded);
    return a;
}

/* Rows of keys -> bytes in the order that dot_tile wants. */
static void quantize_keys(const Room *a, const float *k, int64_t ld, int64_t n, int64_t d)
{
    uint8_t row[d];
    for (int64_t i = 0; i < a->padded; i++) {
        a->bias[i] = i < n ? 0 : -INFINITY;
        a->scale[i] = 0, a->start[i] = 0;
        if (i < n)
            quantize(k + i * ld, d, row, a->scale + i);
        int32_t total = 0;
        for (int64_t j = 0; j < d; j += 4) {
            uint32_t four = 0x80808080; /* -128 makes bytes of q + 128 signed again */
            if (i < n)
                memcpy(&four, row + j, 4);
            four ^= 0x80808080;
            memcpy(a->bytes + j * a->padded + i * 4, &four, 4);
        }
        for (int64_t j = 0; i < n && j < d; j++)
            total += row[j];
        a->start[i] = i < n ? -128 * (total - 128 * (int32_t)d) : 0;
    }
}

INLINE void score_tile(const int R, const int V, const Room *a, int64_t at, int64_t d)
{
    ivec acc[TALL][WIDE];
    ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < V; v++)
        acc[r][v] = *(const ivec *)(a->start + at + v * LANES);
    dot_tile(R, V, d / 4, a->query, d, a->bytes + 4 * at, 4 * a->padded, acc);
    ALL for (int v = 0; v < V; v++)
    {
        const vec scale = load(a->scale + at + v * LANES), bias = load(a->bias + at + v * LANES);
        ALL for (int r = 0; r < R; r++)
            store(a->scores + r * a->padded + at + v * LANES,
                  to_float(acc[r][v]) * (scale * a->q_scale[r]) + bias);
    }
}

/* Scores -> powers of two of what they are below the row's largest; 1 / their sum. */
static float exponentials(float *row, int64_t padded)
{
    vec most = load(row), total = {0};
    for (int64_t j = LANES; j < padded; j += LANES)
        most = larger(most, load(row + j));
    const float top = maximum(most);
    for (int64_t j = 0; j < padded; j += LANES) {
        const vec e = exp2_neg(load(row + j) - top);
        store(row + j, e);
        total += e;
    }
    return 1 / sum(total);
}

INLINE void mix_tile(const int R, const int V, const Room *a, const float *v, int64_t ldv, int64_t n,
                     const float *share, float *out, int64_t ldo)
{
    vec acc[TALL][WIDE];
    ALL for (int r = 0; r < R; r++) ALL for (int i = 0; i < V; i++) acc[r][i] = splat(0);
    for (int64_t k = 0; k < n; k++, v += ldv) {
        vec b[WIDE];
        ALL for (int i = 0; i < V; i++) b[i] = load(v + i * LANES);
        ALL for (int r = 0; r < R; r++) ALL for (int i = 0; i < V; i++)
            acc[r][i] += a->scores[r * a->padded + k] * b[i];
    }
    ALL for (int r = 0; r < R; r++) ALL for (int i = 0; i < V; i++)
        store(out + r * ldo + i * LANES, acc[r][i] * share[r]);
}

/* R queries, from bytes to mixed values. */
INLINE void rows(const int R, const Room *a, const float *v, int64_t ldv, int64_t n, int64_t d,
                 float *out, int64_t ldo)
{
    float share[ROWS];
    int64_t at = 0;
    for (; at + 4 * LANES <= a->padded; at += 4 * LANES)
        score_tile(R, 4, a, at, d);
    if (a->padded - at >= 2 * LANES)
        score_tile(R, 2, a, at, d), at += 2 * LANES;
    if (a->padded > at)
        score_tile(R, 1, a, at, d);
    for (int r = 0; r < R; r++)
        share[r] = exponentials(a->scores + r * a->padded, a->padded);
    for (at = 0; at + 4 * LANES <= d; at += 4 * LANES)
        mix_tile(R, 4, a, v + at, ldv, n, share, out + at, ldo);
    for (; at + 2 * LANES <= d; at += 2 * LANES)
        mix_tile(R, 2, a, v + at, ldv, n, share, out + at, ldo);
    for (; at < d; at += LANES)
        mix_tile(R, 1, a, v + at, ldv, n, share, out + at, ldo);
}

void attend(const float *q, int64_t ldq, int64_t n_q, const float *k, const float *v, int64_t ldkv,
            int64_t n, int64_t d, float *out, int64_t ldo, void *memory)
{
    const Room a = room_of(memory, n, d);
    const float by = 1.44269504f / sqrtf((float)d); /* 1 / ln 2: powers of two are quicker */
    quantize_keys(&a, k, ldkv, n, d);
    for (int64_t i = 0; i < n_q; i += ROWS, out += ROWS * ldo) {
        const int R = n_q - i < ROWS ? (int)(n_q - i) : ROWS;
        for (int r = 0; r < R; r++) {
            quantize(q + (i + r) * ldq, d, a.query + r * d, a.q_scale + r);
            a.q_scale[r] *= by;
        }
        switch (R) {
        case 1: rows(1, &a, v, ldkv, n, d, out, ldo); break;
        case 2: rows(2, &a, v, ldkv, n, d, out, ldo); break;
        case 3: rows(3, &a, v, ldkv, n, d, out, ldo); break;
        case 4: rows(4, &a, v, ldkv, n, d, out, ldo); break;
        case 5: rows(5, &a, v, ldkv, n, d, out, ldo); break;
        default: rows(ROWS, &a, v, ldkv, n, d, out, ldo);
        }
    }
}
