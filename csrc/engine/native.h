/* The encoder in eight bits over packed tokens, for CPUs.
 *
 * Letters of shapes: T tokens, S sequences and R reads (vectors that the output layer reads) of a
 * group; D model width, E width of the embeddings, F feed-forward width, C outputs; K inputs and N
 * outputs of a matrix; n keys of a sequence, d width of a head. D, E, d and F are multiples of LANES,
 * N is padded to whole PANELs.
 *
 * Activations are quantized row by row when they are computed, in 255 steps from a row's smallest
 * number to its largest: x is about low + step q. So a product is step (q w) + low (sum of w's
 * column). The sums q w are exact integers, and everything else is computed for a row or a sequence
 * alone. Therefore a text's logits have the same bits in any batch and on any number of threads.
 */
#pragma once
#include "../vector.h"
#include <stdatomic.h>

#define PANEL 64 /* columns of a matrix that are stored together: four vectors */

typedef struct {
    const int8_t *weight; /* (N / PANEL, K / 4, PANEL, 4) */
    const float *step;    /* (N) the size of a step in each column */
    const float *total;   /* (N) step x the column's sum */
    const float *bias;    /* (N) */
    int64_t K, N;
} Matrix;

typedef struct {
    const float *weight, *bias; /* (D) */
} Norm;

typedef struct {
    Matrix qkv, output;
    Norm attention_norm;
    Matrix up, down;
    Norm feed_forward_norm;
} Layer;

typedef struct {
    const int8_t *words;      /* (V, E) */
    const float *word_scales; /* (V) */
    const float *positions;   /* (P, E) from the first token's on */
    const float *segments;    /* (segments, E) */
    Norm norm;
    Matrix widen;         /* (E, D); without weight if E is D */
    const float *nearby;  /* (n_heads, nearby_width): see Nearby; NULL without such a bias */
    const Layer *layers;  /* one for each depth; several can share their weights */
    const float *pooler, *pooler_bias; /* (D, D) inputs by outputs, (D); NULL without a pooler */
    const float *head, *head_bias;     /* (D, C padded to LANES), (C padded) */
    int64_t n_layers, n_heads, D, E, F, C;
    int64_t longest, nearby_width;
    int64_t activation, pooler_activation; /* indices in ACTIVATIONS of native_engine.py */
    float eps;
} Model;

/* The arrays of `Encodings` in tokens/encodings.py. */
typedef struct {
    const int32_t *ids;        /* (N) */
    const uint8_t *segments;   /* (N) */
    const int64_t *cu_seqlens; /* (S + 1) */
    const int32_t *reads;      /* (R) */
    const int64_t *cu_reads;   /* (S + 1) */
    const int64_t *order;      /* (S) the sequences, longest first */
    int64_t n_sequences;
    float *logits; /* (R, C) */
} Batch;

/* Threads that compute one group together, phase by phase. Each takes the next unit of the phase
 * when it is free. A member whose core had other work comes late and finds fewer units left, so the
 * others don't wait for it. */
typedef struct {
    int size;
    atomic_llong taken; /* phase << 32 | the number of its units that are taken */
    atomic_llong done;  /* the number of the phase's units that are done */
} Team;

typedef struct {
    Team *team;
    int rank;
    int64_t phase, unit;
} Member;

/* The next of a phase's n units, or -1 when all n are done: `while ((u = next(me, n)) >= 0)`. */
int64_t next_together(Member *me, int64_t n);

INLINE int64_t next(Member *me, int64_t n)
{
    if (me->team->size > 1)
        return next_together(me, n);
    const int64_t unit = me->unit < n ? me->unit : -1;
    me->unit = unit + 1; /* 0 again at the end of a phase */
    return unit;
}

/* x is about low + step q. */
typedef struct {
    float step, low;
} Scale;

/* Rows of activations, in fp32 and in eight bits. */
typedef struct {
    float *x;     /* (n, D) */
    uint8_t *q;   /* (n, D) */
    Scale *scale; /* (n) */
    int64_t n;
} Rows;

/* gemm.c: a panel of y (rows, ldy) = x w + bias. */
void product(const Matrix *w, const uint8_t *q, const Scale *scale, int64_t rows, int64_t panel,
             float *y, int64_t ldy);

/* pointwise.c: a row each. */
Scale quantize(const float *x, int64_t n, uint8_t *q);
Scale add_norm(float *x, const float *h, Norm norm, float eps, int64_t D, uint8_t *q);
void activate(float *x, int64_t n, int64_t activation);
Scale embed(const Model *m, int32_t id, int64_t position, int64_t segment, float *x, uint8_t *q);
void classify(const Model *m, const float *x, float *room, float *logits);

/* A bias of a head's scores for the distance of a key from its query. */
typedef struct {
    const float *bias;   /* that of distance 0; distances are negative, too. Padding keys read it, so
                          * LANES more follow the largest distance. NULL if there is none. */
    const int32_t *read; /* the positions of the queries; NULL if all positions are */
} Nearby;

/* attention.c: one head of one sequence; `room` is attention_room(n, d) bytes. */
void attend(const float *q, int64_t ldq, int64_t n_q, const float *k, const float *v, int64_t ldkv,
            int64_t n, int64_t d, Nearby nearby, float *out, int64_t ldo, void *room);
int64_t attention_room(int64_t n, int64_t d);

/* encoder.c: all layers for S sequences, T tokens together and at most n each; R vectors are read.
 * `memory` has forward_room bytes. */
typedef struct {
    const int64_t *sequences;
    int64_t S, T, R, n;
} Group;

int64_t forward_room(const Model *m, const Group *g, int members);
void forward(const Model *m, const Batch *batch, const Group *g, char *memory, Member *me);

/* pool.c: a batch on `threads` threads, the caller's included. */
int run(const Model *m, const Batch *batch, int threads, int64_t group_tokens);
