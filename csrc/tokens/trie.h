// A set of byte strings, each with a number, that is walked byte by byte.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace onelayer {

// A double array: the child of a state for a byte lies at the state's base plus the byte, if the cell
// there has that byte as its label. No two states have the same base.
//
// A cell takes four bytes, as a vocabulary of a quarter of a million tokens has 800,000 of them. The
// lowest nine bits are the label, or `nobody` where no byte leads. A leaf has its number in the rest.
// Another state has its base there, and its number, if any, lies at its base plus `of_number`.
class Trie {
  public:
    using Entry = std::pair<std::string_view, int32_t>;

    Trie() : Trie(std::vector<Entry>()) {}
    // Numbers must not be negative. Of entries with the same text the last one counts; an empty
    // text is left out. Throws BundleError for more texts than cells of 32 bits can hold.
    explicit Trie(std::vector<Entry> entries);

    // Where a walk begins. A state is what its cell holds: all that the next step needs.
    uint32_t root() const { return cells_[0]; }
    // Goes to the child of a state; false if there is none.
    bool step(uint32_t &state, unsigned char byte) const
    {
        if (state & leaf)
            return false;
        const uint32_t next = cells_[(state >> base_at) + byte];
        if ((next & label_bits) != byte)
            return false;
        state = next;
        return true;
    }
    // The number of the text that ends in a state; -1 if none does.
    int32_t value(uint32_t state) const
    {
        if (state & leaf)
            return static_cast<int32_t>(state >> number_at);
        if (state & numbered)
            return static_cast<int32_t>(cells_[(state >> base_at) + of_number] >> number_at);
        return -1;
    }

    // The number of a text; -1 if it is not in the set.
    int32_t find(std::string_view text) const;
    bool empty() const { return empty_; }

  private:
    static constexpr uint32_t label_bits = 0x1ff, nobody = 0x100, of_number = 0x100;
    static constexpr uint32_t leaf = 1u << 9, numbered = 1u << 10;
    static constexpr unsigned number_at = 10, base_at = 11; // the lowest bit of each
    class Builder;

    std::vector<uint32_t> cells_;
    bool empty_ = true;
};

} // namespace onelayer
