// The engine's functions for Python. No exception leaves them.
#include "engine_interface.h"
#include "../base/error.h"
#include "../base/guarded.h"
#include "engine.h"
#include "instruction_sets.h"
#include "two_engines.h"
#include <string>

using onelayer::guarded_status;

namespace {

// Not inside the function that needs it: Clang allows a DLL's functions no such variables.
thread_local onelayer::Encodings kept_encodings; // keeps its memory

} // namespace

onelayer_engine *onelayer_engine_open(const onelayer_engine_shape *shape,
                                      const onelayer_engine_tensor *tensors, size_t n_tensors,
                                      char *error, size_t size)
{
    onelayer_engine *opened = nullptr;
    guarded_status(
        [&] {
            onelayer::EncoderShape own;
            own.vocabulary = shape->vocabulary, own.width = shape->width;
            own.heads = shape->heads, own.feed_forward = shape->feed_forward;
            own.layers.assign(shape->layers, shape->layers + shape->n_layers);
            own.embedding_width = shape->embedding_width;
            own.positions = shape->positions, own.first_position = shape->first_position;
            own.longest = shape->longest, own.segments = shape->segments;
            own.distance_buckets = shape->distance_buckets;
            own.activation = static_cast<onelayer::Activation>(shape->activation);
            own.pooler_activation = static_cast<onelayer::Activation>(shape->pooler_activation);
            own.outputs = shape->outputs, own.eps = shape->eps;
            onelayer::TensorsInMemory given;
            for (size_t i = 0; i < n_tensors; i++) {
                const onelayer_engine_tensor &one = tensors[i];
                onelayer::Tensor tensor;
                if (!one.is_float)
                    tensor.kind = onelayer::Tensor::Kind::i8;
                tensor.shape.assign(one.shape, one.shape + one.rank);
                given.add(one.name, std::move(tensor), one.data);
            }
            std::unique_ptr<onelayer_engine> made(new onelayer_engine);
            made->engine = onelayer::Engine::of(own, given);
            opened = made.release();
        },
        error, size);
    return opened;
}

onelayer_engine *onelayer_engine_of_two(const onelayer_engine *first, const onelayer_engine *rest,
                                        float margin, size_t n_outputs, char *error, size_t size)
{
    onelayer_engine *opened = nullptr;
    guarded_status(
        [&] {
            std::unique_ptr<onelayer_engine> made(new onelayer_engine);
            made->engine =
                onelayer::two_engines(first->engine, rest->engine, margin, n_outputs);
            opened = made.release();
        },
        error, size);
    return opened;
}

onelayer_status onelayer_engine_logits(const onelayer_engine *engine,
                                       const onelayer_engine_batch *batch, int threads, float *out,
                                       char *error, size_t size)
{
    return guarded_status(
        [&] {
            onelayer::Encodings &encodings = kept_encodings;
            const int64_t n = batch->n_sequences;
            const int64_t tokens = batch->cu_seqlens[n], reads = batch->cu_reads[n];
            encodings.ids.assign(batch->ids, batch->ids + tokens);
            encodings.segments.assign(batch->segments, batch->segments + tokens);
            encodings.cu_seqlens.assign(batch->cu_seqlens, batch->cu_seqlens + n + 1);
            encodings.reads.assign(batch->reads, batch->reads + reads);
            encodings.cu_reads.assign(batch->cu_reads, batch->cu_reads + n + 1);
            engine->engine->logits(encodings, threads, out);
        },
        error, size);
}

const char *onelayer_engine_instructions(const onelayer_engine *engine)
{
    return engine->engine->instructions();
}

onelayer_status onelayer_engine_check(char *error, size_t size)
{
    return guarded_status([] { onelayer::instruction_set(); }, error, size);
}

const char *onelayer_engine_sets(void)
{
    static const std::string names = [] {
        std::string found;
        for (const onelayer::InstructionSet *set : onelayer::instruction_sets())
            found += (found.empty() ? "" : " ") + std::string(set->name);
        return found;
    }();
    return names.c_str();
}

void onelayer_engine_close(onelayer_engine *engine) { delete engine; }
