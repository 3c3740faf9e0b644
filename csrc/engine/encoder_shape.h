// The sizes and rules of an encoder that the engine can compute; config.json of a bundle tells them.
#pragma once
#include "activation.h"
#include <cstdint>
#include <vector>

namespace onelayer {

struct EncoderShape {
    int64_t vocabulary = 0, width = 0, heads = 0, feed_forward = 0;
    std::vector<int64_t> layers; // of each depth, the number of the layer whose weights it has: ALBERT
                                 // shares them
    int64_t embedding_width = 0; // 0: that of the model
    int64_t positions = 0, first_position = 0; // rows of the position table, and the first token's
    int64_t longest = 0;          // tokens of a sequence, at most
    int64_t segments = 0;         // rows of the segment table; 0: none
    int64_t distance_buckets = 0; // MPNet's bias by distance; 0: none
    float eps = 1e-12f;
    Activation activation = Activation::gelu, pooler_activation = Activation::tanh;
    int64_t outputs = 0;
};

} // namespace onelayer
