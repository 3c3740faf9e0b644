// The engine alone, for onelayer's Python package: from token sequences to logits. It isn't part of
// onelayer.h, and changes from version to version.
#pragma once
#include "../include/onelayer.h"
#include "engine.h"

struct onelayer_engine {
    std::shared_ptr<const onelayer::Engine> engine; // a model may have it, too
};

extern "C" {

typedef struct onelayer_engine onelayer_engine;

typedef struct {
    int64_t vocabulary, width, heads, feed_forward;
    const int64_t *layers; // of each depth, the number of the layer whose weights it has
    int64_t n_layers;
    int64_t embedding_width, positions, first_position, longest, segments, distance_buckets;
    int64_t activation, pooler_activation; // gelu, gelu_new, relu, tanh
    int64_t outputs;
    float eps;
} onelayer_engine_shape;

typedef struct {
    const char *name;
    int32_t is_float; // fp32, or else int8
    int32_t rank;     // numbers of `shape`
    int64_t shape[2];
    const void *data; // contiguous
} onelayer_engine_tensor;

// The arrays of tokens/encodings.py.
typedef struct {
    const int32_t *ids;
    const uint8_t *segments;
    const int64_t *cu_seqlens;
    const int32_t *reads;
    const int64_t *cu_reads;
    int64_t n_sequences;
} onelayer_engine_batch;

// An engine with a copy of the tensors. On failure it returns null and writes why into `error`, a
// line of at most `size` bytes with its final zero.
ONELAYER_API onelayer_engine *onelayer_engine_open(const onelayer_engine_shape *shape,
                                                   const onelayer_engine_tensor *tensors,
                                                   size_t n_tensors, char *error, size_t size);

// An engine of two for one vocabulary, as in two_engines.h; these may be closed before it is. On
// failure it returns null and writes why into `error`.
ONELAYER_API onelayer_engine *onelayer_engine_of_two(const onelayer_engine *first,
                                                     const onelayer_engine *rest, float margin,
                                                     size_t n_outputs, char *error, size_t size);

// Writes (reads, outputs) logits to `out`. On failure it writes why into `error`.
ONELAYER_API onelayer_status onelayer_engine_logits(const onelayer_engine *engine,
                                                    const onelayer_engine_batch *batch, int threads,
                                                    float *out, char *error, size_t size);

ONELAYER_API const char *onelayer_engine_instructions(const onelayer_engine *engine);

// Whether ONELAYER_INSTRUCTIONS can be used on this processor; else it writes why into `error`.
ONELAYER_API onelayer_status onelayer_engine_check(char *error, size_t size);

// The instruction sets of this processor, the fastest first, separated by spaces.
ONELAYER_API const char *onelayer_engine_sets(void);

ONELAYER_API void onelayer_engine_close(onelayer_engine *engine); // null is allowed
}
