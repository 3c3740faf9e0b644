/* Attention of one head of one sequence.
 *
 * Queries and keys are quantized vector by vector, so scores are exact sums of integers, as in a
 * product. Probabilities and values are rounded to bf16, and their products are summed in fp32: in
 * bf16 small probabilities keep eight significant bits, while steps of 1/255 would round many to 0.
 * Six queries are computed together, so that their scores stay in the first cache.
 */
#include "int8.h"

#define ROWS 6 /* queries computed together; TALL in int8.h bounds it */

typedef struct {
    int8_t *bytes;   /* (d / 4, padded, 4): four numbers of a key are neighbours */
    int32_t *values; /* (padded / 2, d): numbers of two keys in bf16 are neighbours */
    float *step;     /* (padded) the size of a step in each key */
    float *total;    /* (padded) step x the key's sum */
    float *bias;     /* (padded) -infinity where there is no key */
    uint8_t *query;  /* (ROWS, d) */
    Scale *scale;    /* (ROWS) */
    float *scores;   /* (ROWS, padded), then overwritten by the probabilities in bf16 */
    const float *nearby[ROWS]; /* by key, what is added to each query's scores; or NULL */
    int64_t padded;
} Room;

static int64_t pad(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

/* Bytes of a Room: see room_of. */
int64_t attention_room(int64_t n, int64_t d)
{
    return pad(n) * (3 * d + 12 + 4 * ROWS) + ROWS * d + LANES * (int64_t)sizeof(Scale);
}

/* Divides the memory among the arrays of a Room for n keys. */
static Room room_of(char *memory, int64_t n, int64_t d)
{
    Room a = {.padded = pad(n)};
    a.step = (float *)memory;
    a.total = a.step + a.padded;
    a.bias = a.total + a.padded;
    a.scores = a.bias + a.padded;
    a.scale = (Scale *)(a.scores + ROWS * a.padded);
    a.values = (int32_t *)(a.scale + LANES);
    a.bytes = (int8_t *)(a.values + d * a.padded / 2);
    a.query = (uint8_t *)(a.bytes + d * a.padded);
    return a;
}

/* Quantizes keys to signed bytes, in the order in which dot_tile reads them. A key's largest
 * absolute number becomes 127 or -127. */
static void quantize_keys(const Room *a, const float *k, int64_t ld, int64_t n, int64_t d)
{
    for (int64_t i = 0; i < n; i++, k += ld) {
        vec most = {0};
        for (int64_t j = 0; j < d; j += LANES)
            most = larger(most, larger(load(k + j), -load(k + j)));
        const float largest = maximum(most), by = largest > 0 ? 127 / largest : 0;
        for (int64_t j = 0; j < d; j += LANES) {
            const ivec steps = nearest(load(k + j) * by);
            uint8_t bytes[LANES];
            store_bytes(bytes, steps);
            for (int64_t l = 0; l < LANES; l += 4)
                memcpy(a->bytes + (j + l) * a->padded + i * 4, bytes + l, 4);
        }
        a->step[i] = largest * (1 / 127.0f);
        a->bias[i] = 0;
    }
    /* Padding up to whole vectors: a bias of -infinity gives these keys a probability of 0. */
    for (int64_t i = n; i < a->padded; i++) {
        a->step[i] = 0;
        a->bias[i] = -INFINITY;
        for (int64_t j = 0; j < d; j += 4)
            memset(a->bytes + j * a->padded + i * 4, 0, 4);
    }
    /* The sum of each key: a query's lowest number is added to every score in proportion to it. */
    for (int64_t i = 0; i < a->padded; i += LANES) {
        ivec total = {0};
        for (int64_t j = 0; j < d; j += 4)
            total = dot4(total, 0x01010101, *(const ivec *)(a->bytes + j * a->padded + i * 4));
        store(a->total + i, to_float(total) * load(a->step + i));
    }
}

/* Rounds to bf16, the upper half of an fp32; to even if two numbers are equally near. */
INLINE ivec to_bf16(vec x)
{
    const ivec bits = (ivec)x;
    return (bits + 0x7fff + (bits >> 16 & 1)) & ~0xffff;
}

/* Puts the values of two neighbouring keys into one lane, as dot2 reads them. An odd last one gets
 * a 0 for its partner. */
static void pair_values(const Room *a, const float *v, int64_t ld, int64_t n, int64_t d)
{
    for (int64_t i = 0; i < n; i += 2, v += 2 * ld)
        for (int64_t j = 0; j < d; j += LANES) {
            const ivec second = i + 1 < n ? to_bf16(load(v + ld + j)) : (ivec){0};
            const uvec first = (uvec)to_bf16(load(v + j)) >> 16;
            *(ivec *)(a->values + i / 2 * d + j) = (ivec)first | second;
        }
}

/* The scores of R queries with V * LANES keys. A query is q = low + step * bytes, so its product
 * with a key is q k = step * (bytes k) + low * (sum of k). */
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
        {
            vec more = bias;
            if (a->nearby[r])
                more += load(a->nearby[r] + key);
            store(a->scores + r * a->padded + key, to_float(acc[r][v]) * (step * a->scale[r].step) +
                                                       (total * a->scale[r].low + more));
        }
    }
}

/* Turns a row of scores into 2^(score - largest score), in bf16, and returns 1 / their sum. The
 * largest score is subtracted so that no power overflows. */
static float exponentials(float *row, int64_t padded)
{
    int16_t *const probabilities = (int16_t *)row; /* half as wide: stays behind reading */
    vec most = load(row), total = {0};
    for (int64_t j = LANES; j < padded; j += LANES)
        most = larger(most, load(row + j));
    const float top = maximum(most);
    for (int64_t j = 0; j < padded; j += LANES) {
        const ivec e = to_bf16(exp2_neg(load(row + j) - top));
        store_halves(probabilities + j, e >> 16);
        total += (vec)e;
    }
    return 1 / sum(total);
}

/* The mixed values of R queries in V * LANES columns, from column `at` on. `share` is 1 / the sum
 * of a row's powers, which makes probabilities of them. */
INLINE void mix_tile(const int R, const int V, const Room *a, int64_t at, int64_t n, int64_t d,
                     const float *share, float *out, int64_t ldo)
{
    vec acc[TALL][WIDE];
    ALL for (int r = 0; r < R; r++) ALL for (int i = 0; i < V; i++) acc[r][i] = splat(0);
    const int32_t *v = a->values + at, *p = (const int32_t *)a->scores;
    for (int64_t pair = 0; pair < (n + 1) / 2; pair++, v += d) {
        ivec b[WIDE];
        ALL for (int i = 0; i < V; i++) b[i] = *(const ivec *)(v + i * LANES);
        ALL for (int r = 0; r < R; r++) ALL for (int i = 0; i < V; i++)
            acc[r][i] = dot2(acc[r][i], p[r * a->padded + pair], b[i]);
    }
    ALL for (int r = 0; r < R; r++) ALL for (int i = 0; i < V; i++)
        store(out + r * ldo + at + i * LANES, acc[r][i] * share[r]);
}

/* R queries, from bytes to mixed values. Tiles of four vectors come first, then two and one for the
 * rest: padded and d are only multiples of LANES. */
INLINE void rows(const int R, const Room *a, int64_t n, int64_t d, float *out, int64_t ldo)
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
        mix_tile(R, 4, a, at, n, d, share, out, ldo);
    for (; at + 2 * LANES <= d; at += 2 * LANES)
        mix_tile(R, 2, a, at, n, d, share, out, ldo);
    for (; at < d; at += LANES)
        mix_tile(R, 1, a, at, n, d, share, out, ldo);
}

void attend(const float *q, int64_t ldq, int64_t n_q, const float *k, const float *v, int64_t ldkv,
            int64_t n, int64_t d, Nearby nearby, float *out, int64_t ldo, void *memory)
{
    Room a = room_of(memory, n, d);
    /* Scores are divided by sqrt(d), and by ln 2 because powers of 2 are faster than those of e. */
    const float by = 1.44269504f / sqrtf((float)d);
    quantize_keys(&a, k, ldkv, n, d);
    pair_values(&a, v, ldkv, n, d);
    for (int64_t i = 0; i < n_q; i += ROWS, out += ROWS * ldo) {
        const int R = n_q - i < ROWS ? (int)(n_q - i) : ROWS;
        for (int r = 0; r < R; r++) {
            a.scale[r] = quantize(q + (i + r) * ldq, d, a.query + r * d);
            a.scale[r].step *= by, a.scale[r].low *= by;
            /* The distance of key 0 from a query is minus the query's position. */
            if (nearby.bias)
                a.nearby[r] = nearby.bias - (nearby.read ? nearby.read[i + r] : i + r);
        }
        switch (R) { /* R must be a constant, so that sums stay in registers */
        case 1: rows(1, &a, n, d, out, ldo); break;
        case 2: rows(2, &a, n, d, out, ldo); break;
        case 3: rows(3, &a, n, d, out, ldo); break;
        case 4: rows(4, &a, n, d, out, ldo); break;
        case 5: rows(5, &a, n, d, out, ldo); break;
        default: rows(ROWS, &a, n, d, out, ldo);
        }
    }
}
