#include "best_spans.h"
#include <algorithm>
#include <cmath>

namespace onelayer {

void find_best_spans(const SpanScores &scores, size_t longest, OwnRange own,
                     std::vector<ScoredSpan> &out)
{
    out.clear();
    const auto add = [&](size_t a, size_t b, double score) {
        if (out.size() == n_best)
            out.pop_back();
        const auto worse = [score](const ScoredSpan &one) { return one.score < score; };
        const auto at = std::find_if(out.begin(), out.end(), worse);
        out.insert(at, {{static_cast<uint32_t>(a), static_cast<uint32_t>(b)}, score, 0});
    };
    for (size_t a = 0; a < scores.n_tokens; a++) {
        const double first = scores.of_first(a), begin = scores.characters[a].begin;
        const size_t end = std::min(scores.n_tokens, a + longest);
        for (size_t b = a; b < end; b++) {
            const double score = first + scores.of_last(b);
            if (out.size() == n_best && score <= out.back().score)
                continue;
            const double centre = begin + scores.characters[b].end;
            if (centre >= own.from && centre < own.to)
                add(a, b, score);
        }
    }
}

} // namespace onelayer
