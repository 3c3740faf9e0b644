// Runs a group of whole sequences through all layers. Every member of a team runs this code, and in
// each phase takes units of rows, columns or heads until none is left. The number of units depends
// on the group alone: a late member must not read data that others are changing. A team of one takes
// every unit and never waits.
#pragma once
#include "read_attention.h"
#include "tiles.h"

namespace onelayer {
namespace {

constexpr int64_t ROWS = 8; // rows of a unit: enough work to be worth an atomic add

// Rows of activations, in fp32 and in eight bits.
struct Rows {
    float *x;     // (n, D)
    Quantized *q; // (n, D)
    Scale *scale; // (n)
    int64_t n;
};

struct Work {
    Rows all, read;          // every token; in the last layer, the vectors that are read
    float *wide;             // (T, 3 D, E or F, or R, C, in whole units)
    float *narrow;           // (T or R, D in whole units)
    Quantized *bytes;        // (T or R, D, E or F) the quantized inputs of other products than qkv
                             // and up
    Scale *scale;            // (T or R) their scales
    int64_t *tokens, *reads; // (S + 1) cumulative counts within the group
    char *rooms;             // memory of each member for attention
    int64_t room;            // bytes of one of them
};

INLINE int64_t next(Member *me, int64_t n)
{
    if (me->size > 1)
        return next_together(me, n);
    const int64_t unit = me->unit < n ? me->unit : -1;
    me->unit = unit + 1; // 0 again at the end of a phase
    return unit;
}

INLINE int64_t units(int64_t columns) { return (columns + UNIT - 1) / UNIT; }
INLINE int64_t padded(int64_t columns) { return units(columns) * UNIT; }
INLINE int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }

INLINE Rows take_rows(const Model *m, int64_t n, Memory *memory)
{
    Rows rows;
    rows.x = take<float>(memory, n * m->D);
    rows.q = take<Quantized>(memory, largest(n, FEWEST_ROWS) * m->D);
    rows.scale = take<Scale>(memory, n);
    rows.n = n;
    return rows;
}

// Places all buffers of a group in `memory`. Every member computes the same places.
Work lay_out(const Model *m, const Group *g, int members, Memory *memory)
{
    const int64_t rows = largest(g->T, g->R), widest = largest(m->D, largest(m->E, m->F));
    Work w;
    Memory of_reads = {nullptr, 0};
    if (m->keys)
        take_read_room(m, g->n, &of_reads);
    w.room = (largest(attention_room(g->n, m->D / m->n_heads), of_reads.used) + 63) / 64 * 64;
    w.all = take_rows(m, g->T, memory);
    w.read = take_rows(m, g->R, memory);
    w.wide = take<float>(memory, rows * padded(largest(largest(3 * m->D, m->C), widest)));
    w.narrow = take<float>(memory, rows * padded(m->D));
    w.bytes = take<Quantized>(memory, largest(rows, FEWEST_ROWS) * widest);
    w.scale = take<Scale>(memory, rows);
    w.tokens = take<int64_t>(memory, g->S + 1);
    w.reads = take<int64_t>(memory, g->S + 1);
    w.rooms = take<char>(memory, members * w.room);
    return w;
}

int64_t forward_room(const Model *m, const Group *g, int members)
{
    Memory sizes = {nullptr, 0};
    lay_out(m, g, members, &sizes);
    return sizes.used;
}

// Columns `from` to `to` - 1 of y = x w + bias; whole units, so perhaps a few more on either side.
INLINE void multiply(const Matrix *w, const Quantized *q, const Scale *scale, int64_t rows,
                     int64_t from, int64_t to, float *y, int64_t ldy, Member *me)
{
    const int64_t first = from / UNIT, n = rows ? units(to) - first : 0;
    for (int64_t u; (u = next(me, n)) >= 0;)
        product_by_tiles(w, q, scale, rows, first + u, y, ldy);
}

INLINE int64_t row_units(int64_t rows) { return (rows + ROWS - 1) / ROWS; }
INLINE int64_t row_end(int64_t unit, int64_t rows)
{
    return unit * ROWS + ROWS < rows ? unit * ROWS + ROWS : rows;
}

// Cumulative tokens and reads within the group, by one member while the others wait.
void count(const Batch *batch, const Group *g, const Work *w, Member *me)
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

// The embeddings of every token, in fp32 for the residual and in bytes for the first product; if
// they are narrow, that product widens them. A unit is a sequence.
void embed_all(const Model *m, const Batch *batch, const Group *g, const Work *w, Member *me)
{
    const bool narrow = m->widen.weight != nullptr;
    float *const x = narrow ? w->wide : w->all.x;
    Quantized *const q = narrow ? w->bytes : w->all.q;
    Scale *const scale = narrow ? w->scale : w->all.scale;
    for (int64_t s; (s = next(me, g->S)) >= 0;) {
        const int64_t from = batch->cu_seqlens[g->sequences[s]], n = w->tokens[s + 1] - w->tokens[s];
        for (int64_t k = 0; k < AHEAD && k < n; k++)
            fetch_word(m, batch->ids[from + k]);
        for (int64_t k = 0; k < n; k++) {
            if (k + AHEAD < n)
                fetch_word(m, batch->ids[from + k + AHEAD]);
            embed(m, batch->ids[from + k], k, batch->segments ? batch->segments[from + k] : 0,
                  x + (w->tokens[s] + k) * m->E);
        }
        const int64_t i = w->tokens[s];
        add_norms(n, x + i * m->E, nullptr, 0, m->norm, m->eps, m->E, q + i * m->E, scale + i);
    }
    if (!narrow)
        return;
    multiply(&m->widen, w->bytes, w->scale, g->T, 0, m->D, w->narrow, padded(m->D), me);
    for (int64_t u; (u = next(me, row_units(g->T))) >= 0;)
        for (int64_t i = u * ROWS; i < row_end(u, g->T); i++) {
            float *row = w->all.x + i * m->D;
            memcpy(row, w->narrow + i * padded(m->D), (size_t)m->D * sizeof *row);
            w->all.scale[i] = quantize(row, m->D, w->all.q + i * m->D);
        }
}

// Copies the vectors that are read of each sequence next to each other.
void gather(const Model *m, const Batch *batch, const Group *g, const Work *w, Member *me)
{
    for (int64_t s; (s = next(me, g->S)) >= 0;) {
        const int32_t *reads = batch->reads + batch->cu_reads[g->sequences[s]];
        for (int64_t r = w->reads[s]; r < w->reads[s + 1]; r++) {
            const int64_t i = w->tokens[s] + reads[r - w->reads[s]];
            memcpy(w->read.x + r * m->D, w->all.x + i * m->D, (size_t)m->D * sizeof(float));
            memcpy(w->read.q + r * m->D, w->all.q + i * m->D, (size_t)m->D * sizeof(Quantized));
            w->read.scale[r] = w->all.scale[i];
        }
    }
}

// Attention of all queries over the keys and values in `wide`; the mixed values go to `narrow`.
// Query rows are ldq apart, and sequence s has those from cu[s] on: those that are read if `batch`
// is given, else all. A unit is a head of a sequence.
void attend_all(const Model *m, const Group *g, const Work *w, const float *q, int64_t ldq,
                const int64_t *cu, const Batch *batch, Member *me)
{
    const int64_t d = m->D / m->n_heads, ld = padded(3 * m->D), ldo = padded(m->D);
    for (int64_t u; (u = next(me, g->S * m->n_heads)) >= 0;) {
        const int64_t s = u / m->n_heads, head = u % m->n_heads, at = head * d;
        const float *k = w->wide + w->tokens[s] * ld + m->D + at;
        Nearby nearby = {nullptr, nullptr};
        if (batch)
            nearby.read = batch->reads + batch->cu_reads[g->sequences[s]];
        if (m->nearby)
            nearby.bias = m->nearby + head * m->nearby_width + m->longest - 1;
        attend(q + cu[s] * ldq + at, ldq, cu[s + 1] - cu[s], k, k + m->D, ld,
               w->tokens[s + 1] - w->tokens[s], d, nearby, w->narrow + cu[s] * ldo + at, ldo,
               w->rooms + me->rank * w->room);
    }
}

// Attention of the last layer's reads, whose queries are in `narrow`; see read_attention.h. A unit
// is TALL reads.
void attend_all_reads(const Model *m, const Matrix *qkv, const Batch *batch, const Group *g,
                      const Work *w, Member *me)
{
    const int64_t D = m->D;
    for (int64_t u; (u = next(me, (g->R + TALL - 1) / TALL)) >= 0;) {
        Memory memory = {w->rooms + me->rank * w->room, 0};
        const ReadRoom room = take_read_room(m, g->n, &memory);
        Reader reads[TALL];
        int count = 0;
        for (int64_t s = 0, r = u * TALL; r < g->R && count < TALL; r++, count++) {
            while (w->reads[s + 1] <= r)
                s++;
            const int64_t at = w->tokens[s];
            const int64_t of_batch = batch->cu_reads[g->sequences[s]] + r - w->reads[s];
            reads[count] = {w->narrow + r * padded(D), w->all.x + at * D,
                            w->all.q + at * D,         w->all.scale + at,
                            w->tokens[s + 1] - at,     batch->reads[of_batch]};
        }
        attend_reads(m, qkv, reads, count, &room);
    }
}

// The residual and the norm: x = LayerNorm(x + narrow), and its bytes for the next product.
void add_and_norm(const Model *m, const Rows *rows, const Work *w, Norm norm, Member *me)
{
    for (int64_t u; (u = next(me, row_units(rows->n))) >= 0;) {
        const int64_t i = u * ROWS, D = m->D;
        add_norms(row_end(u, rows->n) - i, rows->x + i * D, w->narrow + i * padded(D), padded(D),
                  norm, m->eps, D, rows->q + i * D, rows->scale + i);
    }
}

// A layer after attention: output, norm, feed-forward, norm. The input of each product is quantized
// row by row first.
void close_layer(const Model *m, const Layer *layer, const Rows *rows, const Work *w, Member *me)
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

// The logits of the vectors that are read, through the pooler if there is one.
void write_logits(const Model *m, const Batch *batch, const Group *g, const Work *w, Member *me)
{
    const int64_t D = m->D, C = m->C, R = g->R, ld = (C + LANES - 1) / LANES * LANES;
    const float *x = w->read.x;
    if (m->pooler) {
        for (int64_t u; (u = next(me, R ? units(D) : 0)) >= 0;) {
            const int64_t from = u * UNIT, to = from + UNIT < D ? from + UNIT : D;
            affine(x, D, R, D, m->pooler, m->pooler_bias, D, from, to, w->narrow, D);
            for (int64_t r = 0; r < R; r++)
                activate(w->narrow + r * D + from, to - from, m->pooler_activation);
        }
        x = w->narrow;
    }
    for (int64_t u; (u = next(me, row_units(R))) >= 0;) {
        const int64_t from = u * ROWS, n = row_end(u, R) - from;
        affine(x + from * D, D, n, D, m->head, m->head_bias, ld, 0, ld, w->wide + from * ld, ld);
    }
    for (int64_t s; (s = next(me, g->S)) >= 0;) {
        float *to = batch->logits + batch->cu_reads[g->sequences[s]] * C;
        for (int64_t r = w->reads[s]; r < w->reads[s + 1]; r++, to += C)
            memcpy(to, w->wide + r * ld, (size_t)C * sizeof(float));
    }
}

void forward(const Model *m, const Batch *batch, const Group *g, char *start, Member *me)
{
    const OpenTiles tiles;
    Memory memory = {start, 0};
    const Work w = lay_out(m, g, me->size, &memory);
    const int64_t D = m->D, qkv = padded(3 * D);
    count(batch, g, &w, me);
    embed_all(m, batch, g, &w, me);
    for (int64_t depth = 0; depth + 1 < m->n_layers; depth++) {
        const Layer *layer = m->layers[depth];
        multiply(&layer->qkv, w.all.q, w.all.scale, g->T, 0, 3 * D, w.wide, qkv, me);
        attend_all(m, g, &w, w.wide, qkv, w.tokens, nullptr, me);
        close_layer(m, layer, &w.all, &w, me);
    }
    // The last layer computes only what the vectors that are read need. With a pooler that is one
    // vector of a sequence, and otherwise often all: then keys and values of all tokens pay off.
    const Layer *last = m->layers[m->n_layers - 1];
    gather(m, batch, g, &w, me);
    multiply(&last->qkv, w.read.q, w.read.scale, g->R, 0, D, w.narrow, padded(D), me);
    if (m->keys) {
        attend_all_reads(m, &last->qkv, batch, g, &w, me);
    } else {
        multiply(&last->qkv, w.all.q, w.all.scale, g->T, D, 3 * D, w.wide, qkv, me);
        attend_all(m, g, &w, w.narrow, padded(D), w.reads, batch, me);
    }
    close_layer(m, last, &w.read, &w, me);
    write_logits(m, batch, g, &w, me);
}

} // namespace
} // namespace onelayer
