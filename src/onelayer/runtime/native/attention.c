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
    float *step;     /* (padded) what 1 is worth in each key */
    float *total;    /* (padded) step x the key's sum */
    float *bias;     /* (padded) -infinity where there is no key */
    uint8_t *query;  /* (ROWS, d) */
    Scale *scale;    /* (ROWS) */
    float *scores;   /* (ROWS, padded) */
    int64_t padded;
} Room;

static int64_t pad(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

int64_t attention_room(int64_t n, int64_t d)
{
    return pad(n) * (d + 12 + 4 * ROWS) + ROWS * d + LANES * (int64_t)sizeof(Scale);
}

static Room room_of(char *memory, int64_t n, int64_t d)
{
    Room a = {.padded = pad(n)};
    a.step = (float *)memory;
    a.total = a.step + a.padded;
    a.bias = a.total + a.padded;
    a.scores = a.bias + a.padded;
    a.scale = (Scale *)(a.scores + ROWS * a.padded);
    a.bytes = (int8_t *)(a.scale + LANES);
    a.query = (uint8_t *)(a.bytes + d * a.padded);
    return a;
}

/* Rows of keys -> signed bytes in the order that dot_tile wants: 127 steps up to a key's largest
 * number, and as many down. */
static void quantize_keys(const Room *a, const float *k, int64_t ld, int64_t n, int64_t d)
{
    for (int64_t i = 0; i < n; i++, k += ld) {
        vec most = {0};
        ivec total = {0};
        for (int64_t j = 0; j < d; j += LANES)
            most = larger(most, larger(load(k + j), -load(k + j)));
        const float largest = maximum(most), by = largest > 0 ? 127 / largest : 0;
        for (int64_t j = 0; j < d; j += LANES) {
            const ivec steps = nearest(load(k + j) * by);
            uint8_t bytes[LANES];
            store_bytes(bytes, steps);
            for (int64_t l = 0; l < LANES; l += 4)
                memcpy(a->bytes + (j + l) * a->padded + i * 4, bytes + l, 4);
            total += steps << 24 >> 24;
        }
        a->step[i] = largest / 127;
        a->total[i] = a->step[i] * sum(to_float(total));
        a->bias[i] = 0;
    }
    for (int64_t i = n; i < a->padded; i++) {
        a->step[i] = a->total[i] = 0;
        a->bias[i] = -INFINITY;
        for (int64_t j = 0; j < d; j += 4)
            memset(a->bytes + j * a->padded + i * 4, 0, 4);
    }
}

INLINE void score_tile(const int R, const int V, const Room *a, int64_t at, int64_t d)
{
    ivec acc[TALL][WIDE];
    ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < V; v++) acc[r][v] = (ivec){0};
    dot_tile(R, V, d / 4, a->query, d, a->bytes + 4 * at, 4 * a->padded, acc);
    ALL for (int v = 0; v < V; v++)
    {
        const int64_t key = at + v * LANES;
        const vec step = load(a->step + key), total = load(a->total + key);
        const vec bias = load(a->bias + key);
        ALL for (int r = 0; r < R; r++)
            store(a->scores + r * a->padded + key, to_float(acc[r][v]) * (step * a->scale[r].step) +
                                                       (total * a->scale[r].low + bias));
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
            a.scale[r] = quantize(q + (i + r) * ldq, d, a.query + r * d);
            a.scale[r].step *= by, a.scale[r].low *= by;
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
