// SentencePiece's table of characters, the precompiled_charsmap of a normalizer:
// tokens/charsmap.py.
#pragma once
#include "aligned_text.h"
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace onelayer {

// The format: the trie's length in bytes, the trie, texts that end with zero bytes. The trie is a
// double array of 32-bit units (darts-clone) from the bytes of a text to a place among the texts.
class Charsmap {
  public:
    // Reads base64. Throws BundleError for a table with an index outside of it.
    explicit Charsmap(std::string_view base64);

    // Replaces what the table holds: whole grapheme clusters of less than 6 bytes, and else single
    // code points, as the tokenizers library does.
    void apply(AlignedText &text) const;

  private:
    void check() const;
    // The text for the shortest beginning of some bytes that the table holds; false if there is
    // none.
    bool find(std::string_view bytes, std::string_view &made) const;

    // The end of the code points from `begin` on that stay as they are without a closer look: those
    // of ASCII that the table doesn't hold, and that are a grapheme cluster each.
    size_t plain_end(const std::vector<char32_t> &points, size_t begin) const;

    std::array<bool, 128> plain_;
    std::vector<uint32_t> units_;
    std::string texts_;
};

} // namespace onelayer
