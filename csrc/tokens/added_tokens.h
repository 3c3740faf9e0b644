// Tokens next to the model's own that are found in a text as they stand: markers for use in texts,
// such as [E1], but not special tokens.
#pragma once
#include "normalizers.h"
#include "pre_tokenizers.h"
#include "tokenizer_files.h"
#include "trie.h"
#include <vector>

namespace onelayer {

class AddedTokens {
  public:
    AddedTokens(std::vector<AddedToken> tokens, const Normalizers &normalizers);

    // Normalizes a text, and splits it at the tokens. `raw` is lost.
    void split(AlignedText &raw, const Normalizers &normalizers, SplitText &out) const;
    // The id of a token; -1 if there is no such token.
    int32_t id_of(std::string_view token) const;

  private:
    void split_at(const AlignedText &text, const Trie &patterns,
                  std::vector<SplitText::Part> &out) const;

    std::vector<AddedToken> tokens_;
    Trie raw_, normalized_; // texts to look for before and after the normalizer, and their tokens
};

} // namespace onelayer
