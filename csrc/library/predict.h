// From inputs to predictions: rows, token sequences, logits, decoding.
#pragma once
#include "model.h"

namespace onelayer {

// Throws InputError, with the input's number, for one that the task can't use.
std::unique_ptr<onelayer_results> predict(std::shared_ptr<const Opened> opened,
                                          const onelayer_input *inputs, size_t n);

} // namespace onelayer
