/* Runs a group of whole sequences through all layers. Every member of a team runs this code, and in
 * each phase takes units of rows, columns or heads until none is left. The number of units depends
 * on the group alone: a late member must not read data that others are changing. A team of one
 * takes every unit and never waits.
 */
#include "native.h"

#define ROWS 8 /* rows of a unit: enough work to be worth an atomic add */

typedef struct {
    Rows all, read;         /* every token; in the last layer, the vectors that are read */
    float *wide;            /* (T, 3 D, E or F, in whole panels) */
    float *narrow;          /* (T or R, D in whole panels) */
    uint8_t *bytes;         /* (T or R, D, E or F) the quantized inputs of other products than qkv
                             * and up */
    Scale *scale;           /* (T or R) their scales */
    int64_t *tokens, *reads; /* (S + 1) cumulative counts within the group */
    char *rooms;            /* memory of each member for attention and the output layer */
    int64_t room;           /* bytes of one of them */
} Work;

static int64_t panels(int64_t columns) { return (columns + PANEL - 1) / PANEL; }
static int64_t padded(int64_t columns) { return panels(columns) * PANEL; }
static int64_t largest(int64_t a, int64_t b, int64_t c)
{
    const int64_t ab = a > b ? a : b;
    return ab > c ? ab : c;
}

/* The next piece of memory, starting at a cache line. */
static void *take(char **memory, int64_t bytes)
{
    void *here = *memory;
    *memory += (bytes + 63) / 64 * 64;
    return here;
}

static Rows take_rows(const Model *m, int64_t n, char **memory)
{
    Rows rows = {.n = n};
    rows.x = take(memory, n * m->D * 4);
    rows.q = take(memory, n * m->D);
    rows.scale = take(memory, n * sizeof(Scale));
    return rows;
}

/* Places all buffers of a group in `memory`. Every member computes the same places. */
static Work lay_out(const Model *m, const Group *g, int members, char **memory)
{
    const int64_t rows = g->T > g->R ? g->T : g->R;
    const int64_t scores = attention_room(g->n, m->D / m->n_heads), head = (m->D + padded(m->C)) * 4;
    Work w = {.room = ((scores > head ? scores : head) + 63) / 64 * 64};
    w.all = take_rows(m, g->T, memory);
    w.read = take_rows(m, g->R, memory);
    w.wide = take(memory, rows * largest(padded(3 * m->D), padded(m->E), padded(m->F)) * 4);
    w.narrow = take(memory, rows * padded(m->D) * 4);
    w.bytes = take(memory, rows * largest(m->D, m->E, m->F));
    w.scale = take(memory, rows * sizeof(Scale));
    w.tokens = take(memory, (g->S + 1) * 8);
    w.reads = take(memory, (g->S + 1) * 8);
    w.rooms = take(memory, members * w.room);
    return w;
}

int64_t forward_room(const Model *m, const Group *g, int members)
{
    char *const start = (char *)64, *end = start; /* nothing is written: only sizes are added up */
    lay_out(m, g, members, &end);
    return end - start;
}

/* Columns `from` to `to` - 1 of y = x w + bias; whole panels, so perhaps a few more on either side.
 * A unit is a panel. */
static void multiply(const Matrix *w, const uint8_t *q, const Scale *scale, int64_t rows,
                     int64_t from, int64_t to, float *y, int64_t ldy, Member *me)
{
    const int64_t first = from / PANEL, n = rows ? panels(to) - first : 0;
    for (int64_t u; (u = next(me, n)) >= 0;)
        product(w, q, scale, rows, first + u, y, ldy);
}

static int64_t row_units(int64_t rows) { return (rows + ROWS - 1) / ROWS; }
static int64_t row_end(int64_t unit, int64_t rows)
{
    return unit * ROWS + ROWS < rows ? unit * ROWS + ROWS : rows;
}

/* Cumulative tokens and reads within the group, by one member while the others wait. */
static void count(const Batch *batch, const Group *g, const Work *w, Member *me)
{
    while (next(me, 1) >= 0) {
        w->tokens[0] = w->reads[0] = 0;
        for (int64_t i = 0; i < g->S; i++) {
            const int64_t s = g->sequences[i];
            w->tokens[i + 1] = w->tokens[i] + batch->cu_seqlens[s + 1] - batch->cu_seqlens[s];
            w->reads[i + 1] = w->reads[i] + batch->cu_reads[s + 1] - batch->cu_reads[s];
        }
    }
}

/* The embeddings of every token, in fp32 for the residual and in bytes for the first product; if
 * they are narrow, that product widens them. A unit is a sequence. */
static void embed_all(const Model *m, const Batch *batch, const Group *g, const Work *w, Member *me)
{
    const int narrow = m->widen.weight != NULL;
    float *const x = narrow ? w->wide : w->all.x;
    uint8_t *const q = narrow ? w->bytes : w->all.q;
    Scale *const scale = narrow ? w->scale : w->all.scale;
    for (int64_t s; (s = next(me, g->S)) >= 0;) {
        const int64_t from = batch->cu_seqlens[g->sequences[s]];
        for (int64_t i = w->tokens[s]; i < w->tokens[s + 1]; i++) {
            const int64_t position = i - w->tokens[s];
            scale[i] =
                embed(m, batch->ids[from + position], position, batch->segments[from + position],
                      x + i * m->E, q + i * m->E);
        }
    }
    if (!narrow)
        return;
    multiply(&m->widen, w->bytes, w->scale, g->T, 0, m->D, w->narrow, padded(m->D), me);
    for (int64_t u; (u = next(me, row_units(g->T))) >= 0;)
        for (int64_t i = u * ROWS; i < row_end(u, g->T); i++) {
            float *row = w->all.x + i * m->D;
            memcpy(row, w->narrow + i * padded(m->D), (size_t)m->D * 4);
            w->all.scale[i] = quantize(row, m->D, w->all.q + i * m->D);
        }
}

/* Copies the vectors that are read of each sequence next to each other. */
static void gather(const Model *m, const Batch *batch, const Group *g, const Work *w, Member *me)
{
    for (int64_t s; (s = next(me, g->S)) >= 0;) {
        const int32_t *reads = batch->reads + batch->cu_reads[g->sequences[s]];
        for (int64_t r = w->reads[s]; r < w->reads[s + 1]; r++) {
            const int64_t i = w->tokens[s] + reads[r - w->reads[s]];
            memcpy(w->read.x + r * m->D, w->all.x + i * m->D, (size_t)m->D * 4);
            memcpy(w->read.q + r * m->D, w->all.q + i * m->D, (size_t)m->D);
            w->read.scale[r] = w->all.scale[i];
        }
    }
}

/* Attention of all queries over the keys and values in `wide`; the mixed values go to `narrow`.
 * Query rows are ldq apart, and sequence s has those from cu[s] on: those that are read if `batch`
 * is given, else all. A unit is a head of a sequence. */
static void attend_all(const Model *m, const Group *g, const Work *w, const float *q, int64_t ldq,
                       const int64_t *cu, const Batch *batch, Member *me)
{
    const int64_t d = m->D / m->n_heads, ld = padded(3 * m->D), ldo = padded(m->D);
    for (int64_t u; (u = next(me, g->S * m->n_heads)) >= 0;) {
        const int64_t s = u / m->n_heads, head = u % m->n_heads, at = head * d;
        const float *k = w->wide + w->tokens[s] * ld + m->D + at;
        Nearby nearby = {NULL, batch ? batch->reads + batch->cu_reads[g->sequences[s]] : NULL};
        if (m->nearby)
            nearby.bias = m->nearby + head * m->nearby_width + m->longest - 1;
        attend(q + cu[s] * ldq + at, ldq, cu[s + 1] - cu[s], k, k + m->D, ld,
               w->tokens[s + 1] - w->tokens[s], d, nearby, w->narrow + cu[s] * ldo + at, ldo,
               w->rooms + me->rank * w->room);
    }
}

/* The residual and the norm: x = LayerNorm(x + narrow), and its bytes for the next product. */
static void add_and_norm(const Model *m, const Rows *rows, const Work *w, Norm norm, Member *me)
{
    for (int64_t u; (u = next(me, row_units(rows->n))) >= 0;)
        for (int64_t i = u * ROWS; i < row_end(u, rows->n); i++)
            rows->scale[i] = add_norm(rows->x + i * m->D, w->narrow + i * padded(m->D), norm,
                                      m->eps, m->D, rows->q + i * m->D);
}

/* A layer after attention: output, norm, feed-forward, norm. The input of each product is quantized
 * row by row first. */
static void close_layer(const Model *m, const Layer *layer, const Rows *rows, const Work *w,
                        Member *me)
{
    const int64_t n = rows->n, D = m->D, F = m->F;
    for (int64_t u; (u = next(me, row_units(n))) >= 0;)
        for (int64_t i = u * ROWS; i < row_end(u, n); i++)
            w->scale[i] = quantize(w->narrow + i * padded(D), D, w->bytes + i * D);
    multiply(&layer->output, w->bytes, w->scale, n, 0, D, w->narrow, padded(D), me);
    add_and_norm(m, rows, w, layer->attention_norm, me);
    multiply(&layer->up, rows->q, rows->scale, n, 0, F, w->wide, padded(F), me);
    for (int64_t u; (u = next(me, row_units(n))) >= 0;)
        for (int64_t i = u * ROWS; i < row_end(u, n); i++) {
            float *x = w->wide + i * padded(F);
            activate(x, F, m->activation);
            w->scale[i] = quantize(x, F, w->bytes + i * F);
        }
    multiply(&layer->down, w->bytes, w->scale, n, 0, D, w->narrow, padded(D), me);
    add_and_norm(m, rows, w, layer->feed_forward_norm, me);
}

void forward(const Model *m, const Batch *batch, const Group *g, char *memory, Member *me)
{
    const Work w = lay_out(m, g, me->team->size, &memory);
    const int64_t D = m->D, qkv = padded(3 * D);
    count(batch, g, &w, me);
    embed_all(m, batch, g, &w, me);
    for (const Layer *layer = m->layers; layer < m->layers + m->n_layers - 1; layer++) {
        multiply(&layer->qkv, w.all.q, w.all.scale, g->T, 0, 3 * D, w.wide, qkv, me);
        attend_all(m, g, &w, w.wide, qkv, w.tokens, NULL, me);
        close_layer(m, layer, &w.all, &w, me);
    }
    /* The last layer computes keys and values of all tokens, and all else only for the vectors that
     * are read. */
    const Layer *last = m->layers + m->n_layers - 1;
    gather(m, batch, g, &w, me);
    multiply(&last->qkv, w.all.q, w.all.scale, g->T, D, 3 * D, w.wide, qkv, me);
    multiply(&last->qkv, w.read.q, w.read.scale, g->R, 0, D, w.narrow, padded(D), me);
    attend_all(m, g, &w, w.narrow, padded(D), w.reads, batch, me);
    close_layer(m, last, &w.read, &w, me);
    for (int64_t s; (s = next(me, g->S)) >= 0;)
        for (int64_t r = w.reads[s]; r < w.reads[s + 1]; r++) {
            const int64_t at = batch->cu_reads[g->sequences[s]] + r - w.reads[s];
            classify(m, w.read.x + r * D, (float *)(w.rooms + me->rank * w.room),
                     batch->logits + at * m->C);
        }
}
