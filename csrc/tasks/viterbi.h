// The likeliest legal sequence of labels, as Python's tasks/tag/viterbi.py finds it.
#pragma once
#include "schemes.h"
#include "scratch.h"

namespace onelayer {

// (n, labels) scores -> n labels of the highest sum among the legal sequences (Viterbi, 1967), in
// `path` of the scratch.
void find_best_path(const TagSet &tags, const std::vector<double> &scores, Scratch &scratch);

} // namespace onelayer
