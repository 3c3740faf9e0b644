// The files of a tokenizer, as Python's Tokenizer.write makes them: which tokens they add, which
// are special, and what stands around a text.
#pragma once
#include "../base/json.h"
#include "tokenizer.h"
#include <array>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace onelayer {

// A token that stands next to the model's own.
struct AddedToken {
    std::string content;
    int32_t id;
    bool special;                     // a text that looks like it is ordinary text
    bool single_word, lstrip, rstrip; // how it is found in a text, if it isn't special
    bool normalized;                  // whether it is looked for after the normalizer
};

// Special tokens by role: tokens/special_tokens.py.
struct SpecialTokens {
    enum Role { cls, sep, unk, pad, mask, n_roles };
    std::array<std::string, n_roles> named;   // as tokenizer_config.json names them; else empty
    std::set<std::string, std::less<>> texts; // all that are taken for special ones

    SpecialTokens(const Json &config, std::string_view unknown);
    // The texts that may have a role.
    static const std::array<const char *, 2> &usual(Role role);
    static const char *name(Role role);
};

// The member "added_tokens".
std::vector<AddedToken> read_added_tokens(const Json &tokenizer, const SpecialTokens &special,
                                          size_t rows);

// The member "post_processor". Throws BundleError for one that no model here is trained with.
Template read_template(const Json &tokenizer, size_t rows);

// Throws BundleError where flags of tokenizer_config.json contradict the normalizer.
void check_flags(const Json &config, const Json *normalizer);

// A token's id. Throws BundleError for what is no row of the embedding table.
int32_t checked_id(const Json &id, std::string_view token, size_t rows);

// A text for a message: quoted, without control characters, and not too long.
std::string shown(std::string_view text);

} // namespace onelayer
