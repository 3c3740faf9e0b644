/* AdamW (Loshchilov & Hutter, 2019), with the arithmetic of PyTorch's. */
#include "kernels.h"

/* The numbers that change with the step t. */
typedef struct {
    float decay;     /* 1 - lr * weight_decay */
    float step_size; /* lr / (1 - beta1^t) */
    float root;      /* sqrt(1 - beta2^t) */
} Step;

/* Parameters with their two moments. */
typedef struct {
    float *weights, *means, *squares;
    double beta1, beta2; /* in fp32, 1 - 0.999 would have a relative error of 5e-5 */
    float eps;
    int32_t decays; /* whether weight decay applies */
} Moments;

/* The compiler makes one instruction of this loop. */
INLINE vec square_root(vec x)
{
    vec y;
    for (int i = 0; i < LANES; i++)
        y[i] = sqrtf(x[i]);
    return y;
}

/* Weights w with moments m and v after one step: decay first, then
 * w - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps). */
INLINE vec moved(const Moments *a, const Step *step, vec w, vec m, vec v)
{
    const float decay = a->decays ? step->decay : 1;
    return w * decay - step->step_size * m / (square_root(v) / step->root + a->eps);
}

/* One step of LANES elements; the gradient is multiplied by `scale`, which clips it. */
INLINE void learn(const Moments *a, int64_t at, const Step *step, vec grad, float scale)
{
    vec m = load(a->means + at), v = load(a->squares + at);
    grad *= scale;
    m += (float)(1 - a->beta1) * (grad - m);
    v = v * (float)a->beta2 + (float)(1 - a->beta2) * grad * grad;
    store(a->means + at, m), store(a->squares + at, v);
    store(a->weights + at, moved(a, step, load(a->weights + at), m, v));
}

/* A parameter of n numbers with its gradient; `Learned` in kernels.py. */
typedef struct {
    Moments moments;
    const float *grad;
    int64_t n;
} Learned;

#define PIECE (1 << 14) /* numbers that a thread takes at a time: fixed, so that sums have the same bits
                         * on any number of threads */

/* The sum of the squares of n numbers; the last ones fill no vector. */
static double squares_of(const float *x, int64_t n)
{
    vec total = {0};
    float rest = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        total += load(x + i) * load(x + i);
    for (; i < n; i++)
        rest += x[i] * x[i];
    return (double)sum(total) + rest;
}

static int64_t pieces_of(const Learned *one) { return (one->n + PIECE - 1) / PIECE; }

/* The norm of all gradients together. */
double gradient_norm(const Learned *all, int64_t count)
{
    double whole = 0;
    int64_t most = 0;
    for (int64_t k = 0; k < count; k++)
        most += pieces_of(all + k);
    double *sums = (double *)scratch(2 * most);
#pragma omp parallel
    {
        double *own = sums;
        for (int64_t k = 0; k < count; own += pieces_of(all + k), k++)
#pragma omp for schedule(static) nowait
            for (int64_t i = 0; i < pieces_of(all + k); i++) {
                const int64_t left = all[k].n - i * PIECE;
                own[i] = squares_of(all[k].grad + i * PIECE, left < PIECE ? left : PIECE);
            }
    }
    for (int64_t i = 0; i < most; i++)
        whole += sums[i];
    free(sums);
    return sqrt(whole);
}

/* The numbers from `from` to `to`; the last ones, which fill no vector, in a padded copy. */
static void learn_piece(const Learned *one, const Step *step, float scale, int64_t from, int64_t to)
{
    const Moments *a = &one->moments;
    for (; from + LANES <= to; from += LANES)
        learn(a, from, step, load(one->grad + from), scale);
    if (from == to)
        return;
    const size_t rest = (size_t)(to - from) * 4;
    float end[4][LANES] = {{0}};
    float *parts[3] = {a->weights + from, a->means + from, a->squares + from};
    for (int k = 0; k < 3; k++)
        memcpy(end[k], parts[k], rest);
    memcpy(end[3], one->grad + from, rest);
    Moments b = *a;
    b.weights = end[0], b.means = end[1], b.squares = end[2];
    learn(&b, 0, step, load(end[3]), scale);
    for (int k = 0; k < 3; k++)
        memcpy(parts[k], end[k], rest);
}

/* One step of all parameters; gradients are multiplied by `scale`, which clips them. */
void adamw(const Learned *all, int64_t count, const Step *step, float scale)
{
#pragma omp parallel
    for (int64_t k = 0; k < count; k++)
#pragma omp for schedule(static) nowait
        for (int64_t from = 0; from < all[k].n; from += PIECE)
            learn_piece(all + k, step, scale, from, from + PIECE < all[k].n ? from + PIECE : all[k].n);
}

/* Catches up rows of a table that had no gradient in steps `seen[row]` to `now`. Moments and decay
 * change them in every step; here all missed steps are computed at once, in registers. So a step
 * only touches the rows of the words in its batch.
 */
void adamw_catch_up(const Moments *a, const Step *steps, const int64_t *rows, int64_t n_rows,
                    int64_t D, int32_t *seen, int32_t now)
{
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t r = 0; r < n_rows; r++) {
        const int32_t from = seen[rows[r]];
        seen[rows[r]] = now;
        for (int64_t at = rows[r] * D; from < now && at < (rows[r] + 1) * D; at += LANES) {
            vec w = load(a->weights + at), m = load(a->means + at), v = load(a->squares + at);
            if (maximum(v) > 0) { /* the arithmetic of single steps, so the bits are the same */
                for (int32_t t = from; t < now; t++) {
                    m += (float)(1 - a->beta1) * (0 - m);
                    v = v * (float)a->beta2;
                    w = moved(a, steps + t, w, m, v);
                }
                store(a->means + at, m), store(a->squares + at, v);
            } else if (a->decays) { /* never had a gradient: both moments are 0 */
                for (int32_t t = from; t < now; t++)
                    w = w * steps[t].decay;
            }
            store(a->weights + at, w);
        }
    }
}

/* One step for rows that are up to date; grads (n_rows, D). */
void adamw_rows(const Moments *a, const Step *step, const int64_t *rows, int64_t n_rows,
                int64_t D, int32_t *seen, const float *grads, float scale)
{
#pragma omp parallel for
    for (int64_t r = 0; r < n_rows; r++) {
        seen[rows[r]]++;
        for (int64_t j = 0; j < D; j += LANES)
            learn(a, rows[r] * D + j, step, load(grads + r * D + j), scale);
    }
}

/* (n, D) -> (n_rows, D): sums the gradients of each word over its tokens. The rows of x that make
 * sum r are order[cu[r]:cu[r + 1]], added first to last, so that the bits don't depend on the
 * threads.
 */
void sum_rows(const float *x, const int64_t *order, const int64_t *cu, int64_t n_rows, int64_t D,
              float *sums)
{
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t j = 0; j < D; j += LANES) {
            vec total = {0};
            for (int64_t i = cu[r]; i < cu[r + 1]; i++)
                total += load(x + order[i] * D + j);
            store(sums + r * D + j, total);
        }
}
