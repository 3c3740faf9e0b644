// Byte pair encoding: a word's characters are merged in the order in which the pairs were learned.
#pragma once
#include "../base/json.h"
#include "model.h"
#include "trie.h"
#include <array>

namespace onelayer {

class Bpe final : public TokenModel {
  public:
    // Throws BundleError for a model that isn't as export writes it, or with an id from `rows` on.
    Bpe(const Json &model, size_t rows);

    void cut(std::string_view word, size_t n_points, std::vector<WordPart> &out) const override;
    int32_t id_of(std::string_view token) const override { return vocabulary_.find(token); }

  private:
    // What a pair becomes, and when: the lowest rank first.
    struct Merge {
        uint64_t pair;
        uint32_t rank;
        int32_t made; // -1: a free place
    };
    struct Symbol {
        int32_t id, previous, next; // neighbours by index; -1: none
        uint32_t size;              // bytes; 0: merged into another one
    };
    struct Candidate;

    static uint64_t pair_of(int32_t a, int32_t b)
    {
        return static_cast<uint64_t>(static_cast<uint32_t>(a)) << 32 | static_cast<uint32_t>(b);
    }
    const Merge *find(int32_t a, int32_t b) const;
    size_t place_of(uint64_t pair) const;
    void read_merges(const Json &merges);
    void read_symbols(std::string_view word, std::vector<Symbol> &out) const;
    void merge_all(std::vector<Symbol> &symbols) const;

    Trie vocabulary_;
    std::vector<Merge> merges_; // by hash, open addressing
    int32_t unknown_ = -1;
    bool fuses_unknown_, ignores_merges_, falls_back_;
    std::array<int32_t, 256> byte_ids_; // of <0x00> to <0xFF>; -1: no such token
};

} // namespace onelayer
