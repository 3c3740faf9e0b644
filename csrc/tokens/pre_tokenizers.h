// The pre-tokenizers of a tokenizer.json, which split a normalized text into the words that the
// model cuts.
#pragma once
#include "../base/json.h"
#include "aligned_text.h"
#include <memory>
#include <vector>

namespace onelayer {

// A normalized text, and the parts of it that are still to be cut.
struct SplitText {
    struct Part {
        uint32_t begin, end;
        int32_t token; // the added token that it is; -1: a part to cut
    };
    AlignedText text;
    std::vector<Part> parts;

    void clear() { text.clear(), parts.clear(); }
    // Adds a part, unless it is empty.
    void add(size_t begin, size_t end, int32_t token = -1)
    {
        if (begin < end)
            parts.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end), token});
    }
};

class PreTokenizer {
  public:
    virtual ~PreTokenizer() = default;
    virtual void apply(SplitText &text) const = 0;
};

// What marks the beginning of a word: tokens/marked_words.py.
struct WordMarks {
    bool bytes = false;      // Ġ, as tokens are bytes; else ▁
    bool first_word = false; // a text's first word is marked, too, without white space before it
};

using PreTokenizers = std::vector<std::unique_ptr<const PreTokenizer>>;

// Reads a component, or a sequence of them; null is none. Throws BundleError for those that aren't
// known. `unmarked`: no mark is put before a text's first word.
PreTokenizers read_pre_tokenizers(const Json *component, bool unmarked);
WordMarks read_word_marks(const Json *component);

} // namespace onelayer
