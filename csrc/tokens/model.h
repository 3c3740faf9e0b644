// What a tokenizer's model is: it cuts the words that the rules before it leave.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace onelayer {

// A piece of a word, as bytes of it.
struct WordPart {
    int32_t id;
    uint32_t begin, end;
};

class TokenModel {
  public:
    virtual ~TokenModel() = default;

    // Appends the parts of a word, which isn't empty and is UTF-8 of `n_points` code points.
    virtual void cut(std::string_view word, size_t n_points, std::vector<WordPart> &out) const = 0;
    // The id of a token; -1 if there is no such token.
    virtual int32_t id_of(std::string_view token) const = 0;
};

} // namespace onelayer
