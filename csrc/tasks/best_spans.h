// Which spans of a passage have the highest scores, and which window scores them. As Python's
// tasks/answer/best_spans.py.
#pragma once
#include "../base/text.h"
#include <cstddef>
#include <cstdint>
#include <vector>

namespace onelayer {

struct ScoredSpan {
    Span span;
    double score;
    size_t order; // among spans of equal scores
};

// A window of a passage: its tokens' scores as the first and the last token of the answer, `step`
// apart, and their characters.
struct SpanScores {
    const float *first, *last;
    size_t step, n_tokens;
    const Span *characters;

    double of_first(size_t token) const { return static_cast<double>(first[token * step]); }
    double of_last(size_t token) const { return static_cast<double>(last[token * step]); }
};

// From which sum of first and last character to which a window's spans are its own.
struct OwnRange {
    double from, to;
};

constexpr size_t n_best = 20;

// Appends the best spans of `longest` tokens or fewer that are the window's own, at most n_best, as
// spans of tokens, best first. Of equal scores the first in the passage comes first, the shorter
// one of two that begin together.
void find_best_spans(const SpanScores &scores, size_t longest, OwnRange own,
                     std::vector<ScoredSpan> &out);

} // namespace onelayer
