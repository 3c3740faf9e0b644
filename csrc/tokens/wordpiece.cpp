#include "wordpiece.h"
#include "../base/error.h"
#include "tokenizer_files.h"

namespace onelayer {

namespace {
constexpr int64_t longest_word = 1000; // as tokens/components.py
constexpr size_t longest_prefix = 100;
} // namespace

WordPiece::WordPiece(const Json &model, size_t rows)
{
    const int64_t longest = model.at("max_input_chars_per_word").integer();
    if (longest < 1 || longest > longest_word)
        throw BundleError("max_input_chars_per_word is " + std::to_string(longest) +
                          ", and must be 1 to " + std::to_string(longest_word));
    longest_ = static_cast<size_t>(longest);
    const std::string &prefix = model.at("continuing_subword_prefix").string();
    if (Text(prefix).size() > longest_prefix)
        throw BundleError("continuing_subword_prefix is longer than a mark such as ##");
    std::vector<Trie::Entry> all, rest;
    for (const auto &[token, id] : model.at("vocab").members()) {
        const int32_t number = checked_id(id, token, rows);
        all.emplace_back(token, number);
        if (token.size() > prefix.size() && token.compare(0, prefix.size(), prefix) == 0)
            rest.emplace_back(std::string_view(token).substr(prefix.size()), number);
    }
    first_ = Trie(std::move(all));
    rest_ = Trie(std::move(rest));
    const std::string &unknown = model.at("unk_token").string();
    unknown_ = first_.find(unknown);
    if (unknown_ < 0)
        throw BundleError("a vocabulary without " + shown(unknown) + ", the unk_token");
}

void WordPiece::cut(std::string_view word, size_t n_points, std::vector<WordPart> &out) const
{
    const auto size = static_cast<uint32_t>(word.size());
    const size_t before = out.size();
    const auto keep = [&out](int32_t id, size_t begin, size_t end) {
        out.push_back({id, static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
    };
    const auto *const bytes = reinterpret_cast<const unsigned char *>(word.data());
    if (n_points <= longest_ && parts(
                                    bytes, size, [](unsigned char c) { return c; }, keep))
        return;
    out.resize(before);
    out.push_back({unknown_, 0, size});
}

} // namespace onelayer
