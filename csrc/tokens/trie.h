// A set of byte strings, each with a number, that is walked byte by byte.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace onelayer {

// A double array: the child of a state for a byte lies at the state's base plus the byte, if the
// cell there names the state as its parent.
class Trie {
  public:
    using Entry = std::pair<std::string_view, int32_t>;
    static constexpr uint32_t root = 0;

    Trie() : Trie(std::vector<Entry>()) {}
    // Numbers must not be negative. Of entries with the same text the last one counts; an empty
    // text is left out.
    explicit Trie(std::vector<Entry> entries);

    // Goes to the child of a state; false if there is none.
    bool step(uint32_t &state, unsigned char byte) const
    {
        const uint32_t next = cells_[state].base + byte;
        if (cells_[next].parent != state)
            return false;
        state = next;
        return true;
    }
    // The number of the text that ends in a state; -1 if none does.
    int32_t value(uint32_t state) const { return cells_[state].value; }

    // The number of a text; -1 if it is not in the set.
    int32_t find(std::string_view text) const;
    bool empty() const { return empty_; }

  private:
    struct Cell {
        uint32_t base, parent;
        int32_t value;
    };
    class Builder;

    std::vector<Cell> cells_;
    bool empty_ = true;
};

} // namespace onelayer
