// Checks token sequences and computes their logits.
#include "engine.h"
#include "../base/error.h"
#include "instruction_sets.h"
#include "layout.h"
#include "pool.h"
#include <algorithm>
#include <string>
#include <vector>

namespace onelayer {

namespace {

[[noreturn]] void refuse(const char *what, int64_t limit)
{
    throw InputError("a " + std::string(what) + " outside of the model's " + std::to_string(limit));
}

class Int8Engine : public Engine {
  public:
    Int8Engine(const EncoderShape &shape, TensorReader &reader)
        : set_(instruction_set()), layout_(shape, reader, set_), vocabulary_(shape.vocabulary),
          segments_(shape.segments)
    {
    }

    void logits(const Encodings &encodings, int threads, float *out) const override
    {
        check(encodings);
        const size_t n = encodings.n_sequences();
        if (!n)
            return;
        // The kernels form groups from sequences sorted by length, the longest first.
        static thread_local std::vector<int64_t> order; // keeps its memory
        order.resize(n);
        for (size_t i = 0; i < n; i++)
            order[i] = static_cast<int64_t>(i);
        const int64_t *starts = encodings.cu_seqlens.data();
        std::sort(order.begin(), order.end(), [starts](int64_t a, int64_t b) {
            const int64_t by = (starts[a + 1] - starts[a]) - (starts[b + 1] - starts[b]);
            return by ? by > 0 : a < b;
        });
        Batch batch;
        batch.ids = encodings.ids.data();
        batch.segments = segments_ > 1 ? encodings.segments.data() : nullptr;
        batch.cu_seqlens = starts;
        batch.reads = encodings.reads.data();
        batch.cu_reads = encodings.cu_reads.data();
        batch.order = order.data();
        batch.n_sequences = static_cast<int64_t>(n);
        batch.logits = out;
        run_batch(set_, layout_.model(), batch, threads);
    }

    const char *instructions() const override { return set_.name; }

  private:
    // The kernels check nothing.
    void check(const Encodings &encodings) const
    {
        const Model &m = layout_.model();
        for (int32_t id : encodings.ids)
            if (id < 0 || id >= vocabulary_)
                refuse("token", vocabulary_);
        if (segments_ > 1)
            for (uint8_t segment : encodings.segments)
                if (segment >= segments_)
                    refuse("segment", segments_);
        for (size_t s = 0; s < encodings.n_sequences(); s++) {
            const int64_t length = encodings.cu_seqlens[s + 1] - encodings.cu_seqlens[s];
            if (length < 1 || length > m.longest)
                refuse("position", m.longest);
            for (int64_t r = encodings.cu_reads[s]; r < encodings.cu_reads[s + 1]; r++) {
                const int32_t read = encodings.reads[static_cast<size_t>(r)];
                if (read < 0 || read >= length)
                    throw InputError("a vector is read that its sequence doesn't have");
            }
        }
    }

    const InstructionSet &set_;
    Layout layout_;
    int64_t vocabulary_, segments_;
};

} // namespace

std::unique_ptr<Engine> Engine::of(const EncoderShape &shape, TensorReader &reader)
{
    return std::make_unique<Int8Engine>(shape, reader);
}

} // namespace onelayer
