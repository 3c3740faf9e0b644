// Word vectors in four bits, as src/onelayer/engines/native/four_bit_words.py writes them.
#pragma once
#include <cstdint>
#include <vector>

namespace onelayer {

// How many numbers of a row share a multiplier: as many as fit into groups of one size, up to 64.
int64_t word_group(int64_t width);

// A table whose nibbles lie in its second half until they are multiplied out.
struct FourBitWords {
    int8_t *table = nullptr; // (rows, width)
    int64_t rows = 0, width = 0;
    std::vector<int8_t> multipliers; // (rows, groups)

    int8_t *nibbles() const { return table ? table + rows * (width / 2) : nullptr; }

    // Makes each byte of the table the product of its nibble and its multiplier. Throws BundleError
    // for a multiplier outside of 1 to 15, with which a product could leave eight bits.
    void multiply_out() const;
};

} // namespace onelayer
