// What is known of a code point: properties, decompositions, lower case, compositions. The tables
// hold what the tokenizers library and Python make of every code point (make_unicode_tables.py).
#pragma once
#include <cstddef>
#include <cstdint>

namespace onelayer::unicode {

#include "unicode_tables.inc"

// Unpacked when the library is loaded.
extern const Tables tables;

// Some code points, or none.
struct Points {
    const uint32_t *data;
    size_t size;
};

constexpr char32_t last_point = 0x10ffff, last_mapped = 0x2ffff;

inline uint32_t properties(char32_t c)
{
    const unsigned block = tables.property_index[c >> 7];
    return tables.property_sets[tables.property_values[block << 7 | (c & 127)]];
}
// Rust's char::is_whitespace.
inline bool is_white(char32_t c) { return properties(c) & white_bit; }
inline bool is_word(char32_t c) { return properties(c) & word_bit; }
inline unsigned combining_class(char32_t c) { return properties(c) >> class_shift; }

// The kinds of words.py, in the order of the tables.
enum Kind : uint8_t { letter_kind, mark_kind, joiner_kind, alone_kind, symbol_kind, space_kind };
inline Kind kind(char32_t c) { return static_cast<Kind>(properties(c) >> kind_shift & 7); }

// What a code point is in grapheme clusters (Unicode annex 29).
inline Cluster cluster(char32_t c)
{
    return static_cast<Cluster>(properties(c) >> cluster_shift & 15);
}
inline Conjunct conjunct(char32_t c)
{
    return static_cast<Conjunct>(properties(c) >> conjunct_shift & 3);
}
// The end of the extended grapheme cluster that begins at i < size.
size_t cluster_end(const char32_t *points, size_t size, size_t i);

// The number of a text that a code point is mapped to; 0: to itself.
inline unsigned number_in(const uint8_t *index, const uint16_t *values, char32_t c)
{
    return c > last_mapped ? 0 : values[index[c >> 6] << 6 | (c & 63)];
}
inline unsigned lower_number(char32_t c)
{
    return number_in(tables.lowercase_index, tables.lowercase_values, c);
}
inline unsigned canonical_number(char32_t c)
{
    return number_in(tables.canonical_index, tables.canonical_values, c);
}
inline unsigned compatible_number(char32_t c)
{
    const unsigned found = number_in(tables.compatible_index, tables.compatible_values, c);
    return found ? found : canonical_number(c);
}
inline Points mapped_text(unsigned number)
{
    return {tables.mapped_texts + number + 1, tables.mapped_texts[number]};
}

// Calls `emit` with each code point of the full decomposition (Unicode, section 3.12, for Hangul).
template <class Emit> void decompose(char32_t c, bool compatible, Emit emit)
{
    if (c < 0x80)
        return emit(c);
    if (c >= 0xac00 && c < 0xac00 + 11172) {
        const char32_t syllable = c - 0xac00;
        emit(0x1100 + syllable / 588);
        emit(0x1161 + syllable % 588 / 28);
        if (syllable % 28)
            emit(0x11a7 + syllable % 28);
        return;
    }
    const unsigned number = compatible ? compatible_number(c) : canonical_number(c);
    if (!number)
        return emit(c);
    const Points made = mapped_text(number);
    for (size_t i = 0; i < made.size; i++)
        emit(static_cast<char32_t>(made.data[i]));
}

// The code point that two become in a composition; 0 if they stay two.
char32_t compose(char32_t first, char32_t second);

} // namespace onelayer::unicode
