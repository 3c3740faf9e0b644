// A model's weights as the kernels read them, and the batches that they compute.
//
// Letters of shapes: T tokens, S sequences and R reads (vectors that the output layer reads) of a
// group; D model width, E width of the embeddings, F feed-forward width, C outputs; K inputs and N
// outputs of a matrix; n keys of a sequence, d width of a head. D, E, d and F are multiples of LANES,
// N is padded to whole UNITs.
//
// Activations are quantized row by row when they are computed, in 255 steps from a row's smallest
// number to its largest: x is about low + step q. So a product is step (q w) + low (sum of w's
// column). The sums q w are exact integers, and everything else is computed for a row or a sequence
// alone. Therefore a text's logits have the same bits in any batch and on any number of threads.
//
// This header is compiled for each instruction set, so it has no functions and no standard classes:
// the linker would keep one set's copy of them for all.
#pragma once
#include "activation.h"
#include <stdint.h>

namespace onelayer {

constexpr int LANES = 16; // floats of a vector, in as many registers as they take
constexpr int64_t UNIT = 64; // columns of a matrix that one thread computes at a time

struct Matrix {
    const int8_t *weight;  // (N / panel, K / depth, panel, depth): see InstructionSet
    const int32_t *sums;   // (N) of each column
    const float *step;     // (N) the size of a step in each column
    const float *total;    // (N) step x the column's sum
    const float *bias;     // (N)
    int64_t K, N;
};

struct Norm {
    const float *weight, *bias; // (D)
};

struct Layer {
    Matrix qkv, output;
    Norm attention_norm;
    Matrix up, down;
    Norm feed_forward_norm;
};

struct Model {
    const int8_t *words;      // (V, E)
    const float *word_scales; // (V)
    const float *positions;   // (P, E) from the first token's on
    const float *segments;    // (segments, E)
    Norm norm;
    Matrix widen;              // (E, D); without weight if E is D
    const float *nearby;       // (n_heads, nearby_width): see Nearby; null without such a bias
    const Matrix *keys; // (n_heads) of (d, D): what makes the last layer's keys, without its steps,
                        // with inputs and outputs exchanged; null without a pooler
    const Layer *const *layers; // one for each depth; several can share their weights
    const float *pooler, *pooler_bias; // (D, D) inputs by outputs, (D); null without a pooler
    const float *head, *head_bias;     // (D, C padded to LANES), (C padded)
    int64_t n_layers, n_heads, D, E, F, C;
    int64_t longest, nearby_width;
    Activation activation, pooler_activation;
    float eps;
};

// The arrays of `Encodings`.
struct Batch {
    const int32_t *ids;        // (N)
    const uint8_t *segments;   // (N); null: all are 0
    const int64_t *cu_seqlens; // (S + 1)
    const int32_t *reads;      // (R)
    const int64_t *cu_reads;   // (S + 1)
    const int64_t *order;      // (S) the sequences, longest first
    int64_t n_sequences;
    float *logits; // (R, C)
};

// S sequences, T tokens together and at most n each, that are computed together; R vectors are read.
struct Group {
    const int64_t *sequences;
    int64_t S, T, R, n;
};

// A thread of a team that computes one group together, phase by phase. Each takes the next unit of
// the phase when it is free. A member whose core had other work comes late and finds fewer units
// left, so the others don't wait for it.
struct Team;
struct Member {
    Team *team;
    int size; // threads of the team
    int rank;
    int64_t phase, unit;
};

// The next of a phase's n units, or -1 when all n are done: see pool.cpp.
int64_t next_together(Member *me, int64_t n);

// The kernels for one kind of processor: the same code (forward.h), compiled for its
// registers.
struct InstructionSet {
    const char *name;
    // How a matrix is stored: `panel` columns together, in which `depth` inputs of a column are
    // neighbours, as one instruction multiplies them.
    int64_t panel, depth;
    // Whether products are right: false where the instructions don't do what they should.
    bool (*works)();
    // Bytes that `forward` needs.
    int64_t (*forward_room)(const Model *m, const Group *g, int members);
    // Runs a group through all layers and writes its logits. All members of a team call it.
    void (*forward)(const Model *m, const Batch *batch, const Group *g, char *memory, Member *me);
};

} // namespace onelayer
