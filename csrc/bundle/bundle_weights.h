// Checks that a bundle's tensors are exactly those of its model, as checkpoint/bundle_weights.py does.
#pragma once
#include "../base/tensor.h"
#include "config.h"

namespace onelayer {

// Throws BundleError for a tensor that is missing, not the model's, or of another type or size.
void check_tensors(const Tensors &tensors, const Config &config);

} // namespace onelayer
