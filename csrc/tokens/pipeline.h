// All steps from a text to its pieces, as a tokenizer.json lists them: added tokens, normalizers,
// pre-tokenizers, model.
#pragma once
#include "added_tokens.h"
#include "model.h"
#include "tokenizer.h"
#include <memory>

namespace onelayer {

class Pipeline {
  public:
    // Reads the rules. Throws BundleError for those that aren't known.
    Pipeline(const Json &tokenizer, std::vector<AddedToken> added,
             std::shared_ptr<const TokenModel> model);
    // The same steps, but no mark is put before a text's first word.
    Pipeline unmarked(const Json &tokenizer) const;

    // Appends the pieces of a part of a text. `spaced` puts a space before it, for which offsets
    // make no sense.
    void run(const Text &text, size_t begin, size_t end, bool spaced, bool with_offsets,
             Pieces &out) const;
    // The id of a token; -1 if there is no such token.
    int32_t id_of(std::string_view token) const;

  private:
    std::shared_ptr<const Normalizers> normalizers_;
    std::shared_ptr<const AddedTokens> added_;
    std::shared_ptr<const PreTokenizers> pre_tokenizers_;
    std::shared_ptr<const TokenModel> model_;
};

} // namespace onelayer
