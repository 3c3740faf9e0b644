#include "trie.h"
#include <algorithm>

namespace onelayer {

int32_t Trie::find(std::string_view text) const
{
    uint32_t state = root;
    for (const char c : text)
        if (!step(state, static_cast<unsigned char>(c)))
            return -1;
    return value(state);
}

void Trie::build(std::vector<Entry> entries)
{
    std::stable_sort(entries.begin(), entries.end(),
                     [](const Entry &a, const Entry &b) { return a.first < b.first; });
    // A range of entries that share their first `depth` bytes, and the state of these bytes.
    struct Range {
        size_t begin, end, depth;
        uint32_t state;
    };
    cells_.assign(256, {0, nobody, -1});
    std::vector<Range> waiting;
    size_t begin = 0;
    while (begin < entries.size() && entries[begin].first.empty())
        begin++;
    empty_ = begin == entries.size();
    if (!empty_)
        waiting.push_back({begin, entries.size(), 0, root});
    std::vector<unsigned char> labels;
    std::vector<size_t> starts;
    uint32_t highest = 0;
    while (!waiting.empty()) {
        Range range = waiting.back();
        waiting.pop_back();
        // Sorted, so texts that end here come first.
        for (; range.begin < range.end && entries[range.begin].first.size() == range.depth;
             range.begin++)
            cells_[range.state].value = entries[range.begin].second;
        if (range.begin == range.end)
            continue;
        labels.clear(), starts.clear();
        for (size_t i = range.begin; i < range.end; i++) {
            const auto label = static_cast<unsigned char>(entries[i].first[range.depth]);
            if (labels.empty() || labels.back() != label)
                labels.push_back(label), starts.push_back(i);
        }
        starts.push_back(range.end);
        const uint32_t base = place(labels);
        cells_[range.state].base = base;
        highest = std::max(highest, base);
        for (size_t i = 0; i < labels.size(); i++) {
            cells_[base + labels[i]].parent = range.state;
            waiting.push_back({starts[i], starts[i + 1], range.depth + 1, base + labels[i]});
        }
    }
    cells_.resize(size_t{highest} + 256); // a step looks at any byte's cell
    cells_.shrink_to_fit();
}

// Finds a base whose cells for all of the labels are free, and makes room for any byte after it.
uint32_t Trie::place(const std::vector<unsigned char> &labels)
{
    size_t taken = 0;
    for (size_t at = std::max<size_t>(scan_from_, size_t{labels[0]} + 1);; at++) {
        const size_t base = at - labels[0];
        if (cells_.size() < base + 256)
            cells_.resize(base + 256 + cells_.size() / 2, {0, nobody, -1});
        if (cells_[at].parent != nobody) {
            taken++;
            continue;
        }
        const bool free = std::all_of(labels.begin(), labels.end(), [&](unsigned char label) {
            return cells_[base + label].parent == nobody;
        });
        if (!free)
            continue;
        if (at - scan_from_ > 64 && taken * 20 > (at - scan_from_) * 19)
            scan_from_ = at;
        return static_cast<uint32_t>(base);
    }
}

} // namespace onelayer
