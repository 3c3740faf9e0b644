// WordPiece: a word becomes the longest token that it begins with, then the longest that continues
// it, until its end. A word for which this fails is unknown as a whole.
#pragma once
#include "../base/json.h"
#include "model.h"
#include "trie.h"

namespace onelayer {

class WordPiece final : public TokenModel {
  public:
    // Throws BundleError for a model that isn't as export writes it, or with an id from `rows` on.
    WordPiece(const Json &model, size_t rows);

    void cut(std::string_view word, size_t n_points, std::vector<WordPart> &out) const override;
    int32_t id_of(std::string_view token) const override { return first_.find(token); }

    int32_t unknown() const { return unknown_; }
    size_t longest() const { return longest_; } // code points; a longer word is unknown

    // Calls emit(id, begin, end) for each part, with bytes of the word. `map` changes a byte before
    // it is looked up. Returns false, after some calls perhaps, where the word is unknown.
    template <class Map, class Emit>
    bool parts(const unsigned char *word, size_t size, Map map, Emit emit) const
    {
        const Trie *trie = &first_;
        for (size_t begin = 0; begin < size;) {
            uint32_t state = trie->root();
            int32_t best = -1;
            size_t best_end = begin;
            for (size_t i = begin; i < size && trie->step(state, map(word[i]));) {
                i++;
                if (const int32_t found = trie->value(state); found >= 0)
                    best = found, best_end = i;
            }
            if (best < 0)
                return false;
            emit(best, begin, best_end);
            begin = best_end;
            trie = &rest_;
        }
        return true;
    }

  private:
    Trie first_, rest_; // the tokens, and those with the mark ## without it
    int32_t unknown_ = -1;
    size_t longest_ = 0;
};

} // namespace onelayer
