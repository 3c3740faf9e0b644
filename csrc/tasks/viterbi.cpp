#include "viterbi.h"
#include <algorithm>
#include <cmath>

namespace onelayer {

namespace {

constexpr double barred = -HUGE_VAL;

// Whether the best label of each word makes a legal sequence: most do.
bool is_legal(const TagSet &tags, const std::vector<int32_t> &path)
{
    const auto label = [&](size_t word) { return static_cast<size_t>(path[word]); };
    for (size_t i = 1; i < path.size(); i++)
        if (!tags.may_follow(label(i - 1), label(i)))
            return false;
    return tags.may_begin(label(0)) && tags.may_end(label(path.size() - 1));
}

} // namespace

void find_best_path(const TagSet &tags, const std::vector<double> &scores, Scratch &scratch)
{
    const size_t n_labels = tags.size(), n = scores.size() / n_labels;
    std::vector<int32_t> &path = scratch.path;
    path.resize(n);
    for (size_t i = 0; i < n; i++) {
        const double *const own = scores.data() + i * n_labels;
        path[i] = static_cast<int32_t>(std::max_element(own, own + n_labels) - own);
    }
    if (n == 0 || is_legal(tags, path))
        return;

    // The best sequence that ends at each label, and the label before it. Of equal ones the first.
    std::vector<double> &best = scratch.best, &next = scratch.next;
    std::vector<int32_t> &came_from = scratch.came_from;
    best.resize(n_labels), next.resize(n_labels);
    came_from.resize(scores.size());
    for (size_t b = 0; b < n_labels; b++)
        best[b] = tags.may_begin(b) ? scores[b] : barred;
    for (size_t i = 1; i < n; i++) {
        for (size_t b = 0; b < n_labels; b++) {
            double most = barred;
            size_t from = 0;
            for (size_t a = 0; a < n_labels; a++)
                if (best[a] > most && tags.may_follow(a, b))
                    most = best[a], from = a;
            next[b] = most + scores[i * n_labels + b];
            came_from[i * n_labels + b] = static_cast<int32_t>(from);
        }
        best.swap(next);
    }
    for (size_t b = 0; b < n_labels; b++)
        if (!tags.may_end(b))
            best[b] = barred;
    size_t label = static_cast<size_t>(std::max_element(best.begin(), best.end()) - best.begin());
    for (size_t i = n; i-- > 0;) {
        path[i] = static_cast<int32_t>(label);
        if (i)
            label = static_cast<size_t>(came_from[i * n_labels + label]);
    }
}

} // namespace onelayer
