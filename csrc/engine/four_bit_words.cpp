// Multiplies out word vectors in four bits, where they lie.
#include "four_bit_words.h"
#include "../base/error.h"
#include <algorithm>

namespace onelayer {

namespace {

constexpr int64_t largest_group = 64;
constexpr int8_t largest_multiplier = 15;

} // namespace

int64_t word_group(int64_t width)
{
    int64_t group = largest_group;
    while (width % group)
        group--;
    return group;
}

void FourBitWords::multiply_out() const
{
    for (const int8_t multiplier : multipliers)
        if (multiplier < 1 || multiplier > largest_multiplier)
            throw BundleError("encoder.embeddings.word.multipliers has a number outside of 1 to 15 "
                              "(fetch the bundle again, or export the run again)");
    const int64_t half = width / 2, group = word_group(width);
    const int8_t *from = nibbles(), *multiplier = multipliers.data();
    std::vector<int8_t> row(static_cast<size_t>(half));
    // From the first row on: no row reaches the nibbles of the rows behind it.
    int8_t *to = table;
    for (int64_t i = 0; i < rows; i++, from += half) {
        std::copy(from, from + half, row.begin());
        for (int64_t j = 0; j < half; j++) {
            const int both = row[static_cast<size_t>(j)];
            to[j] = static_cast<int8_t>((both & 15) - 8);
            to[half + j] = static_cast<int8_t>(both >> 4);
        }
        for (int8_t *const end = to + width; to < end; to += group, multiplier++)
            for (int64_t j = 0; j < group; j++)
                to[j] = static_cast<int8_t>(to[j] * *multiplier);
    }
}

} // namespace onelayer
