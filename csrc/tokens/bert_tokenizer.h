// WordPiece with BERT's normalizer and pre-tokenizer, in one pass over the text.
#pragma once
#include "normalizers.h"
#include "pipeline.h"
#include "wordpiece.h"
#include <memory>
#include <string>

namespace onelayer {

class BertTokenizer final : public Tokenizer {
  public:
    // `pipeline` has the same rules, and no tokens that are looked for in a text.
    BertTokenizer(std::shared_ptr<const WordPiece> model, const BertRules &rules,
                  Pipeline pipeline);

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
    bool encode_points(const Text &text, size_t begin, size_t end, bool with_offsets,
                       Pieces &out) const;
    void encode_span(const Text &text, size_t begin, size_t end, bool with_offsets,
                     Pieces &out) const;
    void add(char32_t c, uint32_t source, bool with_offsets, Word &word, Pieces &out) const;
    void finish(Word &word, bool with_offsets, Pieces &out) const;

    std::shared_ptr<const WordPiece> model_;
    BertRules rules_;
    Pipeline pipeline_; // for the few texts whose marks have to be sorted
    uint8_t classes_[128];
    unsigned char lower_[256]; // of ASCII; other bytes are kept
    int32_t mark_ids_[128];    // of words that are one ASCII punctuation mark
};

} // namespace onelayer
