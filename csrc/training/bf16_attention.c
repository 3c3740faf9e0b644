/* Attention over packed sequences in bf16: see attention.c.
 *
 * A head of a sequence is one task. Scores of 32 queries are in fp32; probabilities, and gradients of
 * scores, are rounded to bf16 for the products. Sequences are filled up to whole blocks of 32 with
 * zeros in the thread's own memory. Backward, a probability is computed again from the logarithm of
 * its row's sum, and the sum over P dP from the output (Dao et al., 2022).
 */
#include "bf16.h"

/* `Bf16AttentionArguments` in bf16.py. Queries, keys and values of a token lie one after another. */
typedef struct {
    const bf16 *qkv;
    int64_t d, n_heads;
    const int32_t *cu;
    int64_t n_sequences;
    float scale, p;
    uint64_t seed;
} Bf16Attention;

/* One head of one sequence: n tokens, filled up to whole blocks. */
typedef struct {
    int64_t head, begin, n, padded;
} Piece;

static Piece piece_of(const Bf16Attention *a, int64_t task)
{
    const int64_t s = task / a->n_heads, n = a->cu[s + 1] - a->cu[s];
    Piece piece = {task % a->n_heads, a->cu[s], n, (n + SIDE - 1) / SIDE * SIDE};
    return piece;
}

static int64_t longest_piece(const Bf16Attention *a)
{
    int64_t most = 0;
    for (int64_t s = 0; s < a->n_sequences; s++)
        most = a->cu[s + 1] - a->cu[s] > most ? a->cu[s + 1] - a->cu[s] : most;
    return (most + SIDE - 1) / SIDE * SIDE;
}

/* 32 rows of a sequence, or those that are left of it, in 32 columns of a matrix. They begin anywhere in
 * a block: `first` of them are in it, from its row `low` on, and the others in the block `next` numbers
 * further. */
typedef struct {
    int64_t at, low, first, rows, next;
} Span;

INLINE Span span_of(int64_t width, int64_t column, const Piece *piece, int64_t i)
{
    const int64_t begin = piece->begin + i, low = begin % SIDE;
    const int64_t rows = piece->n - i < SIDE ? piece->n - i : SIDE;
    Span span = {(begin - low) * width + column * SIDE, low, SIDE - low < rows ? SIDE - low : rows, rows,
                 SIDE * width};
    return span;
}

/* The rows of a sequence from row `i` on -> a block, with zeros after the last one. */
INLINE void copy_block(const bf16 *from, int64_t width, int64_t column, const Piece *piece, int64_t i,
                       bf16 *block)
{
    const Span s = span_of(width, column, piece, i);
    memcpy(block, from + s.at + s.low * SIDE, (size_t)s.first * 64);
    memcpy(block + s.first * SIDE, from + s.at + s.next, (size_t)(s.rows - s.first) * 64);
    memset(block + s.rows * SIDE, 0, (size_t)(SIDE - s.rows) * 64);
}

/* A block -> the rows of a sequence from row `i` on. */
INLINE void write_block(const bf16 *block, int64_t width, int64_t column, const Piece *piece, int64_t i,
                        bf16 *to)
{
    const Span s = span_of(width, column, piece, i);
    memcpy(to + s.at + s.low * SIDE, block, (size_t)s.first * 64);
    memcpy(to + s.at + s.next, block + s.first * SIDE, (size_t)(s.rows - s.first) * 64);
}

/* R^T as a packed factor, (d, padded), of the sequence's rows R (n, d), which begin in `column`. */
static void pack_turned(const bf16 *from, int64_t width, int64_t column, const Piece *piece, int64_t d,
                        bf16 *to)
{
    bf16 block[BLOCK_SIZE] __attribute__((aligned(64)));
    for (int64_t i = 0; i < piece->n; i += SIDE)
        for (int64_t j = 0; j < d; j += SIDE) {
            copy_block(from, width, column + j, piece, i, block);
            turn_block(block, to + i * d + j * SIDE);
        }
}

/* R as a packed factor, (padded, d). */
static void pack_straight(const bf16 *from, int64_t width, int64_t column, const Piece *piece, int64_t d,
                          bf16 *to)
{
    bf16 block[BLOCK_SIZE] __attribute__((aligned(64)));
    for (int64_t i = 0; i < piece->n; i += SIDE)
        for (int64_t j = 0; j < d; j += SIDE) {
            copy_block(from, width, column + j, piece, i, block);
            pair_block(block, to + j * piece->padded + i * SIDE);
        }
}

/* 32 rows of a sequence, as blocks. */
static void copy_rows(const bf16 *from, int64_t width, int64_t column, const Piece *piece, int64_t i,
                      int64_t d, bf16 *to)
{
    for (int64_t j = 0; j < d; j += SIDE)
        copy_block(from, width, column + j, piece, i, to + j * SIDE);
}

/* Sums (32, d), each row times its factor, -> 32 rows of a sequence. */
static void write_rows(const float *sums, const float *factors, int64_t width, int64_t column,
                       const Piece *piece, int64_t i, int64_t d, bf16 *to)
{
    bf16 block[BLOCK_SIZE];
    for (int64_t j = 0; j < d; j += SIDE) {
        for (int64_t r = 0; r < SIDE; r++)
            for (int64_t c = 0; c < SIDE; c += LANES)
                narrow(block + r * SIDE + c, load(sums + r * d + j + c) * (factors ? factors[r] : 1));
        write_block(block, width, column + j, piece, i, to);
    }
}

/* A block's rows after the last token are zeros: they have no part in any sum. */
static void clear_rest(bf16 *x, int64_t T, int64_t width)
{
    for (int64_t t = T; t % SIDE; t++)
        for (int64_t j = 0; j < width; j += SIDE)
            memset(x + t / SIDE * SIDE * width + t % SIDE * SIDE + j * SIDE, 0, 64);
}

/* C (32, N) = A (32, K) B, where A is blocks, and C has rows of N. */
INLINE void multiply_rows(const bf16 *A, const bf16 *B, int64_t K, int64_t N, float *C)
{
    for (int64_t n = 0; n < N; n += SIDE)
        multiply_block(A, B + n * K, K, C + n, N, 0, NULL, NULL);
}

/* The first `n` of LANES lanes as they are, the others 0. */
INLINE vec first_lanes(vec x, int64_t n)
{
    static const ivec numbers = FIRST_NUMBERS;
    return n >= LANES ? x : (vec)((ivec)x & (numbers < (int32_t)n));
}

static uint32_t mask_key(const Bf16Attention *a, const Piece *piece, int64_t i)
{
    return row_key(a->seed, (uint64_t)(piece->head * a->cu[a->n_sequences] + piece->begin + i));
}

/* A row of scores -> exp(score - largest) with dropout, a row of blocks. Returns 1 / the sum before
 * dropout, and stores the logarithm of the sum to base 2. */
INLINE float exponentials(const Bf16Attention *a, const Piece *piece, int64_t i, const float *scores,
                          bf16 *to, float *log_sum)
{
    const float by = a->scale * 1.44269504f; /* 1 / ln 2: powers of two are faster */
    vec most = splat(-INFINITY), total = {0}, mask[2] = {splat(1), splat(1)};
    const int64_t n = piece->n;
    for (int64_t j = 0; j + LANES <= n; j += LANES)
        most = larger(most, load(scores + j));
    float top = maximum(most);
    for (int64_t j = n / LANES * LANES; j < n; j++)
        top = scores[j] > top ? scores[j] : top;
    top *= by;
    const Rate rate = rate_of(a->p);
    const uint32_t key = mask_key(a, piece, i);
    for (int64_t j = 0; j < piece->padded; j += 2 * LANES) {
        if (a->p > 0)
            keep(key, j, rate, mask);
        for (int v = 0; v < 2; v++) {
            const int64_t at = j + v * LANES;
            vec e = first_lanes(exp2_neg(smaller(load(scores + at) * by - top, splat(0))), n - at);
            total += e;
            narrow(to + in_block(at), e * mask[v]);
        }
    }
    const float whole = sum(total);
    *log_sum = top + log2f(whole);
    return 1 / whole;
}

/* out (T, heads d); log_sums (heads, T). */
void bf16_attention_forward(const Bf16Attention *a, bf16 *out, float *log_sums)
{
    const int64_t d = a->d, D = a->n_heads * d, T = a->cu[a->n_sequences], most = longest_piece(a);
    clear_rest(out, T, D);
#pragma omp parallel
    {
        bf16 *keys = memory(2 * d * most), *values = memory(2 * d * most);
        bf16 *queries = memory(2 * d * SIDE), *shares = memory(2 * SIDE * most);
        float *scores = scratch(SIDE * most), *mixed = scratch(SIDE * d);
        open_tiles();
#pragma omp for schedule(dynamic)
        for (int64_t task = a->n_sequences * a->n_heads - 1; task >= 0; task--) {
            const Piece piece = piece_of(a, task);
            const int64_t q = piece.head * d, k = q + D, v = k + D; /* columns */
            pack_turned(a->qkv, 3 * D, k, &piece, d, keys);
            pack_straight(a->qkv, 3 * D, v, &piece, d, values);
            for (int64_t i0 = 0; i0 < piece.n; i0 += SIDE) {
                float whole[SIDE] = {0};
                copy_rows(a->qkv, 3 * D, q, &piece, i0, d, queries);
                multiply_rows(queries, keys, d, piece.padded, scores);
                for (int64_t i = 0; i < SIDE && i0 + i < piece.n; i++)
                    whole[i] = exponentials(a, &piece, i0 + i, scores + i * piece.padded,
                                            shares + i * SIDE,
                                            log_sums + piece.head * T + piece.begin + i0 + i);
                multiply_rows(shares, values, piece.padded, d, mixed);
                write_rows(mixed, whole, D, q, &piece, i0, d, out);
            }
        }
        close_tiles();
        free(keys), free(values), free(queries), free(shares), free(scores), free(mixed);
    }
}

/* A row of scores and of dP' -> the probabilities after dropout P', and the gradients of the scores,
 * dS = (P' dP' - P sum(P' dP')) scale, in rows of blocks. The sum is that of dO O. */
INLINE void probability_grads(const Bf16Attention *a, const Piece *piece, int64_t i, const float *scores,
                              const float *grads, float log_sum, float dot, bf16 *shares, bf16 *slopes)
{
    const float by = a->scale * 1.44269504f;
    const Rate rate = rate_of(a->p);
    const uint32_t key = mask_key(a, piece, i);
    vec mask[2] = {splat(1), splat(1)};
    for (int64_t j = 0; j < piece->padded; j += 2 * LANES) {
        if (a->p > 0)
            keep(key, j, rate, mask);
        for (int v = 0; v < 2; v++) {
            const int64_t at = j + v * LANES;
            vec e = exp2_neg(smaller(load(scores + at) * by - log_sum, splat(0)));
            vec share = first_lanes(e, piece->n - at);
            narrow(shares + in_block(at), share * mask[v]);
            narrow(slopes + in_block(at), share * (load(grads + at) * mask[v] - dot) * a->scale);
        }
    }
}

/* d_qkv has the layout of qkv. `out` and `log_sums` are those of the forward pass. */
void bf16_attention_backward(const Bf16Attention *a, const bf16 *out, const float *log_sums,
                             const bf16 *d_out, bf16 *d_qkv)
{
    const int64_t d = a->d, D = a->n_heads * d, T = a->cu[a->n_sequences], most = longest_piece(a);
    clear_rest(d_qkv, T, 3 * D);
#pragma omp parallel
    {
        bf16 *turned_keys = memory(2 * d * most), *turned_values = memory(2 * d * most);
        bf16 *keys = memory(2 * d * most), *packed = memory(2 * d * most);
        bf16 *queries = memory(2 * d * SIDE), *outs = memory(2 * d * SIDE);
        bf16 *grads_out = memory(2 * d * SIDE);
        bf16 *shares = memory(2 * SIDE * most), *slopes = memory(2 * SIDE * most);
        bf16 *all_shares = memory(2 * most * most), *all_slopes = memory(2 * most * most);
        float *scores = scratch(SIDE * most), *grads = scratch(SIDE * most), *sums = scratch(SIDE * d);
        open_tiles();
#pragma omp for schedule(dynamic)
        for (int64_t task = a->n_sequences * a->n_heads - 1; task >= 0; task--) {
            const Piece piece = piece_of(a, task);
            const int64_t n = piece.n, padded = piece.padded;
            const int64_t q = piece.head * d, k = q + D, v = k + D; /* columns */
            pack_turned(a->qkv, 3 * D, k, &piece, d, turned_keys);
            pack_turned(a->qkv, 3 * D, v, &piece, d, turned_values);
            pack_straight(a->qkv, 3 * D, k, &piece, d, keys);
            for (int64_t i0 = 0; i0 < n; i0 += SIDE) {
                copy_rows(a->qkv, 3 * D, q, &piece, i0, d, queries);
                copy_rows(d_out, D, q, &piece, i0, d, grads_out);
                copy_rows(out, D, q, &piece, i0, d, outs);
                multiply_rows(queries, turned_keys, d, padded, scores);
                multiply_rows(grads_out, turned_values, d, padded, grads);
                for (int64_t i = 0; i < SIDE; i++) {
                    if (i0 + i >= n) { /* no query: nothing is added for it */
                        for (int64_t j = 0; j < padded; j += SIDE) {
                            memset(shares + i * SIDE + in_block(j), 0, 64);
                            memset(slopes + i * SIDE + in_block(j), 0, 64);
                        }
                        continue;
                    }
                    vec dot = {0};
                    for (int64_t j = 0; j < d; j += LANES)
                        dot += widen(grads_out + i * SIDE + in_block(j)) *
                               widen(outs + i * SIDE + in_block(j));
                    probability_grads(a, &piece, i0 + i, scores + i * padded, grads + i * padded,
                                      log_sums[piece.head * T + piece.begin + i0 + i], sum(dot),
                                      shares + i * SIDE, slopes + i * SIDE);
                }
                multiply_rows(slopes, keys, padded, d, sums); /* dQ = dS K */
                write_rows(sums, NULL, 3 * D, q, &piece, i0, d, d_qkv);
                for (int64_t j = 0; j < padded; j += SIDE) {
                    const int64_t turned = j * padded + i0 * SIDE;
                    transpose_block(shares + j * SIDE, all_shares + turned);
                    transpose_block(slopes + j * SIDE, all_slopes + turned);
                }
            }
            pack_straight(a->qkv, 3 * D, q, &piece, d, packed); /* dK = dS^T Q */
            for (int64_t i = 0; i < n; i += SIDE) {
                multiply_rows(all_slopes + i * padded, packed, padded, d, sums);
                write_rows(sums, NULL, 3 * D, k, &piece, i, d, d_qkv);
            }
            pack_straight(d_out, D, q, &piece, d, packed); /* dV = P'^T dO */
            for (int64_t i = 0; i < n; i += SIDE) {
                multiply_rows(all_shares + i * padded, packed, padded, d, sums);
                write_rows(sums, NULL, 3 * D, v, &piece, i, d, d_qkv);
            }
        }
        close_tiles();
        free(turned_keys), free(turned_values), free(keys), free(packed), free(queries), free(grads_out);
        free(outs), free(shares), free(slopes), free(all_shares), free(all_slopes);
        free(scores), free(grads), free(sums);
    }
}
