// Two engines of one vocabulary: a small one answers where it is sure, and a large one the rest.
#pragma once
#include "engine.h"

namespace onelayer {

// The first engine computes all sequences. Those with a read whose two largest logits are less than
// `margin` apart are then computed by the other one, whose logits stay. Both have `n_outputs`
// logits for a read, at least two.
std::unique_ptr<Engine> two_engines(std::shared_ptr<const Engine> first,
                                    std::shared_ptr<const Engine> rest, float margin,
                                    size_t n_outputs);

} // namespace onelayer
