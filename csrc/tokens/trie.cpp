#include "trie.h"
#include "../base/error.h"
#include <algorithm>

namespace onelayer {

namespace {

constexpr size_t labels = 257; // cells that a state may look at from its base on

} // namespace

// Places the states, from the root on. Of the entries in a range, which share their first bytes, those
// with the same next byte are put side by side, and become the range of a child.
class Trie::Builder {
  public:
    explicit Builder(std::vector<Entry> entries) : entries_(std::move(entries))
    {
        grow(1);
        free_[0] &= ~uint64_t{1}; // the root
    }

    std::vector<uint32_t> cells()
    {
        if (!entries_.empty())
            waiting_.push_back({0, entries_.size(), 0, 0});
        while (!waiting_.empty()) {
            const Range range = waiting_.back();
            waiting_.pop_back();
            if (range.end - range.begin == 1)
                place_rest(range);
            else
                place_children(range);
        }
        cells_.resize(size_t{highest_base_} + labels);
        cells_.shrink_to_fit();
        return std::move(cells_);
    }

  private:
    struct Range {
        size_t begin, end, depth;
        uint32_t state;
    };

    // The byte of an entry after `depth` bytes, plus 1; 0 at its end.
    static unsigned key_of(const Entry &entry, size_t depth)
    {
        return depth == entry.first.size() ? 0 : 1u + static_cast<unsigned char>(entry.first[depth]);
    }

    // The states of a single entry.
    void place_rest(const Range &range)
    {
        const auto &[text, number] = entries_[range.begin];
        uint32_t state = range.state;
        for (size_t i = range.depth; i < text.size(); i++) {
            labels_.assign(1, static_cast<unsigned char>(text[i]));
            state = place(state) + labels_[0];
        }
        cells_[state] |= leaf | packed(number);
    }

    void place_children(Range range)
    {
        sort_by_key(range);
        int32_t number = -1; // of the text that ends here; the last one counts
        for (; range.begin < range.end && key_of(entries_[range.begin], range.depth) == 0;
             range.begin++)
            number = entries_[range.begin].second;
        if (range.begin == range.end) {
            cells_[range.state] |= leaf | packed(number);
            return;
        }
        labels_.clear(), starts_.clear();
        for (size_t i = range.begin; i < range.end; i++) {
            const auto label = static_cast<unsigned char>(entries_[i].first[range.depth]);
            if (labels_.empty() || labels_.back() != label)
                labels_.push_back(label), starts_.push_back(i);
        }
        const size_t children = labels_.size();
        starts_.push_back(range.end);
        if (number >= 0)
            labels_.push_back(of_number);
        const uint32_t base = place(range.state);
        for (size_t i = 0; i < children; i++)
            waiting_.push_back({starts_[i], starts_[i + 1], range.depth + 1, base + labels_[i]});
        if (number >= 0) {
            cells_[range.state] |= numbered;
            cells_[base + of_number] = nobody | packed(number);
        }
    }

    static uint32_t packed(int32_t number)
    {
        const auto bits = static_cast<uint32_t>(number);
        if (bits >> (32 - number_at))
            throw BundleError("a vocabulary has the number " + std::to_string(number));
        return bits << number_at;
    }

    // Entries with the same key keep their order.
    void sort_by_key(const Range &range)
    {
        constexpr size_t few = 16;
        const auto begin = entries_.begin() + static_cast<std::ptrdiff_t>(range.begin);
        const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(range.end);
        if (range.end - range.begin <= few) {
            for (auto one = begin + 1; one < end; ++one) {
                const Entry moved = *one;
                const unsigned key = key_of(moved, range.depth);
                auto to = one;
                for (; to > begin && key_of(to[-1], range.depth) > key; --to)
                    *to = to[-1];
                *to = moved;
            }
            return;
        }
        size_t counts[labels + 1] = {}; // of smaller keys, in the end
        for (auto one = begin; one < end; ++one)
            counts[key_of(*one, range.depth) + 1]++;
        for (size_t key = 1; key < labels + 1; key++)
            counts[key] += counts[key - 1];
        unsorted_.assign(begin, end);
        for (const Entry &one : unsorted_)
            begin[static_cast<std::ptrdiff_t>(counts[key_of(one, range.depth)]++)] = one;
    }

    // Finds a base whose cells for all of the labels are free, and makes them the state's children.
    uint32_t place(uint32_t state)
    {
        const uint32_t base = free_base();
        if (base >> (32 - base_at))
            throw BundleError("a vocabulary has too many texts");
        cells_[state] |= base << base_at;
        highest_base_ = std::max(highest_base_, base);
        used_[base / 64] |= uint64_t{1} << base % 64;
        for (const uint32_t label : labels_) {
            cells_[base + label] = label;
            free_[(base + label) / 64] &= ~(uint64_t{1} << (base + label) % 64);
        }
        return base;
    }

    // Tries 64 bases at once: those for which the cell of the first label lies in the same word.
    uint32_t free_base()
    {
        const size_t first = labels_[0];
        size_t taken = 0;
        for (size_t word = scan_from_;; word++) {
            grow(word + 1);
            uint64_t fit = free_[word];
            if (word * 64 < first) // no base is negative
                fit &= first - word * 64 < 64 ? ~uint64_t{0} << (first - word * 64) : 0;
            for (size_t i = 1; i < labels_.size() && fit; i++)
                fit &= bits_from(free_, word * 64 + labels_[i] - first);
            if (fit)
                fit &= ~used_from(word, first);
            taken += 64 - static_cast<size_t>(__builtin_popcountll(free_[word]));
            if (!fit)
                continue;
            // What is nearly full isn't looked at again.
            const size_t scanned = (word - scan_from_) * 64;
            if (scanned > 64 && taken * 20 > scanned * 19)
                scan_from_ = word;
            return static_cast<uint32_t>(word * 64 + static_cast<size_t>(__builtin_ctzll(fit)) -
                                         first);
        }
    }

    static uint64_t bits_from(const std::vector<uint64_t> &bits, size_t at)
    {
        const size_t word = at / 64, bit = at % 64;
        return bit ? bits[word] >> bit | bits[word + 1] << (64 - bit) : bits[word];
    }

    // Which of the bases whose first children lie in a word are used; the first may be negative.
    uint64_t used_from(size_t word, size_t first) const
    {
        return word * 64 < first && first - word * 64 < 64 ? used_[0] << (first - word * 64)
               : word * 64 < first                         ? 0
                                                           : bits_from(used_, word * 64 - first);
    }

    // Makes room for the bases in this number of words, and for any byte after them.
    void grow(size_t words)
    {
        const size_t needed = words + labels / 64 + 2;
        if (free_.size() >= needed)
            return;
        free_.resize(needed + needed / 2, ~uint64_t{0});
        used_.resize(free_.size());
        cells_.resize(free_.size() * 64, nobody);
    }

    std::vector<Entry> entries_, unsorted_;
    std::vector<uint32_t> cells_;
    std::vector<uint64_t> free_, used_; // a bit for each cell, and for each base
    std::vector<Range> waiting_;
    std::vector<uint32_t> labels_; // of the state that is placed
    std::vector<size_t> starts_;
    size_t scan_from_ = 0; // words before it are hardly ever free
    uint32_t highest_base_ = 0;
};

Trie::Trie(std::vector<Entry> entries)
{
    entries.erase(std::remove_if(entries.begin(), entries.end(),
                                 [](const Entry &entry) { return entry.first.empty(); }),
                  entries.end());
    empty_ = entries.empty();
    cells_ = Builder(std::move(entries)).cells();
}

int32_t Trie::find(std::string_view text) const
{
    uint32_t state = root();
    for (const char c : text)
        if (!step(state, static_cast<unsigned char>(c)))
            return -1;
    return value(state);
}

} // namespace onelayer
