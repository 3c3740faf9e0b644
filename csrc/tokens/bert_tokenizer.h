// WordPiece with BERT's normalizer and pre-tokenizer, in one pass over the text.
#pragma once
#include "tokenizer.h"
#include "wordpiece.h"
#include <memory>
#include <string>

namespace onelayer {

// The flags of BertNormalizer.
struct BertRules {
    bool clean, ideographs, strip_accents, lowercase;

    explicit BertRules(const Json &normalizer);
};

class BertTokenizer final : public Tokenizer {
  public:
    BertTokenizer(std::shared_ptr<const WordPiece> model, const BertRules &rules);

    void encode(const Text &text, bool with_offsets, Pieces &out) const override;
    void encode_words(const Text &text, const std::vector<Span> &words,
                      WordPieces &out) const override;

  private:
    enum Class : uint8_t { in_word, between, mark, removed };

    // A word as it is normalized: bytes of UTF-8, and the code point of the text that each is of.
    struct Word {
        std::string bytes;
        std::vector<uint32_t> source;
        size_t n_points = 0;
    };

    size_t encode_ascii(const unsigned char *text, size_t begin, size_t end, bool with_offsets,
                        Pieces &out) const;
    void encode_points(const Text &text, size_t begin, size_t end, bool with_offsets,
                       Pieces &out) const;
    void add(char32_t c, uint32_t source, bool with_offsets, Word &word, Pieces &out) const;
    void finish(Word &word, bool with_offsets, Pieces &out) const;

    std::shared_ptr<const WordPiece> model_;
    BertRules rules_;
    uint8_t classes_[128];
    unsigned char lower_[256]; // of ASCII; other bytes are kept
    int32_t mark_ids_[128];    // of words that are one ASCII punctuation mark
};

} // namespace onelayer
