// The windows of a long text come together: a row's logits from those of its windows.
#pragma once
#include "logits.h"

namespace onelayer {

// All windows: the mean of their logits, or each output's highest. The first and the last window.
// The first window alone, which is what truncation leaves.
enum class Pooling { mean, max, ends, head };

// Throws BundleError for a name that isn't known.
Pooling read_pooling(const std::string &name);

// Throws BundleError where the field "pooling_scores" is no object of numbers.
void check_pooling_scores(const Json &values);

// How many of the windows that a text needs are read.
int64_t windows_read(Pooling pooling, int64_t needed);

// (windows, n_outputs) logits -> n_outputs, in single precision.
void pool_logits(Pooling pooling, const ReadLogits &windows, size_t n_outputs,
                 std::vector<float> &out);

} // namespace onelayer
