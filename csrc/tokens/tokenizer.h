// Tokenizers of every kind: a text's ids and the code points of each piece, as Python's
// tokens/tokenizer.py gives them.
#pragma once
#include "../base/json.h"
#include "../base/text.h"
#include <cstdint>
#include <memory>
#include <vector>

namespace onelayer {

// The special tokens around a text, and around the two texts of a pair: as tokens/template.py.
struct Template {
    std::vector<int32_t> before, between, after;
    uint8_t second_segment = 1;
};

// The pieces of a text. The vectors keep their memory from text to text.
struct Pieces {
    std::vector<int32_t> ids;
    std::vector<Span> offsets; // code points; empty unless they were asked for
};

// The pieces of a text's words.
struct WordPieces {
    std::vector<int32_t> ids;
    std::vector<uint32_t> word_of; // the word of each piece
};

// Immutable after it was read, so any number of threads may use it.
class Tokenizer {
  public:
    virtual ~Tokenizer() = default;

    // Reads what export writes: tokenizer.json and tokenizer_config.json. Throws BundleError for
    // rules that aren't known, and for a damaged vocabulary.
    // `vocabulary` is the number of rows of the embedding table: no id may be outside of it.
    static std::unique_ptr<Tokenizer> read(const Json &tokenizer, const Json &config,
                                           size_t vocabulary);

    // The pieces of a text, without special tokens.
    virtual void encode(const Text &text, bool with_offsets, Pieces &out) const = 0;
    // The pieces of the words of a text, given as spans of code points.
    virtual void encode_words(const Text &text, const std::vector<Span> &words,
                              WordPieces &out) const = 0;

    Template frame; // the special tokens of a sequence
    int32_t unknown = 0;
};

// Punctuation marks at which a file's own words aren't split: tokens/words.py's Joints.
struct Joints {
    std::vector<char32_t> inner, leading;
};

// The words of a text: tokens/words.py's split_words.
void split_words(const Text &text, const Joints &joints, std::vector<Span> &out);

} // namespace onelayer
