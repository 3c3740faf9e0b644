// Tokenizers whose tokens carry a mark where white space stands before them:
// tokens/marked_words.py.
#pragma once
#include "pipeline.h"
#include "pre_tokenizers.h"

namespace onelayer {

class MarkedTokenizer final : public Tokenizer {
  public:
    MarkedTokenizer(const Json &tokenizer, Pipeline pipeline);

    void encode(const Text &text, bool with_offsets, Pieces &out) const override;
    void encode_words(const Text &text, const std::vector<Span> &words,
                      WordPieces &out) const override;

  private:
    void trim(const Text &text, Pieces &pieces) const;

    Pipeline pipeline_, unmarked_;
    WordMarks marks_;
    int32_t mark_id_; // of a mark that is a token of its own; -1 if there is none
};

} // namespace onelayer
