// SentencePiece's Unigram: of all ways to cut a word into tokens, the one whose scores add up to
// most.
#pragma once
#include "../base/json.h"
#include "model.h"
#include "tokenizer_files.h"
#include "trie.h"
#include <array>
#include <map>
#include <string>

namespace onelayer {

class Unigram final : public TokenModel {
  public:
    // Throws BundleError for a model that isn't as export writes it, or with more tokens than rows.
    // No text is cut into the special tokens.
    Unigram(const Json &model, const SpecialTokens &special, size_t rows);

    void cut(std::string_view word, size_t n_points, std::vector<WordPart> &out) const override;
    int32_t id_of(std::string_view token) const override;
    bool is_special(std::string_view token) const { return special_.find(token) != special_.end(); }

  private:
    double score_of(int32_t id) const
    {
        const auto i = static_cast<size_t>(id);
        return exact_scores_.empty() ? double{scores_[i]} : exact_scores_[i];
    }
    void add_unknown(std::string_view word, uint32_t begin, uint32_t end,
                     std::vector<WordPart> &out) const;

    Trie vocabulary_;
    // By id; in single precision where that holds all of them, as SentencePiece's own are in it.
    std::vector<float> scores_;
    std::vector<double> exact_scores_;
    double unknown_score_;
    int32_t unknown_;
    bool falls_back_;
    std::array<int32_t, 256> byte_ids_;                   // of <0x00> to <0xFF>; -1: no such token
    std::map<std::string, int32_t, std::less<>> special_; // those of the vocabulary
};

} // namespace onelayer
