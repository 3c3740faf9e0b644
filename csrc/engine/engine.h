// The encoder in eight bits with its output layer: token sequences in, logits out.
#pragma once
#include "../base/tensor.h"
#include "../tasks/encodings.h"
#include "encoder_shape.h"
#include <memory>

namespace onelayer {

class Engine {
  public:
    virtual ~Engine() = default;

    // Reads the tensors and lays them out for this machine's instructions. Throws BundleError for
    // tensors that are missing or not of the sizes that the shape gives them, and for a shape that
    // isn't computed.
    static std::unique_ptr<Engine> of(const EncoderShape &shape, TensorReader &reader);

    // (reads, outputs) fp32 logits, whose bits don't depend on the other rows, on the number of
    // threads, or on the x86 instructions. Throws InputError for a token or position outside of its
    // table. Any number of threads may call.
    virtual void logits(const Encodings &encodings, int threads, float *out) const = 0;

    // The instruction set in use: "avx512vnni", "avxvnni", "avx2", "neon", "plain" ...
    virtual const char *instructions() const = 0;
};

} // namespace onelayer
