#include "unigram.h"
#include "../base/error.h"
#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>

namespace onelayer {

namespace {
constexpr double unknown_penalty = 10; // below the worst token's score, as in SentencePiece

// A score beyond the range of single precision isn't cast: that would be undefined.
bool in_single_precision(double score)
{
    return std::abs(score) <= double{std::numeric_limits<float>::max()} &&
           double{static_cast<float>(score)} == score;
}
}

Unigram::Unigram(const Json &model, const SpecialTokens &special, size_t rows)
    : falls_back_(model.boolean_or("byte_fallback", false))
{
    const auto pieces = model.at("vocab").items();
    if (pieces.empty() || pieces.size() > std::min<size_t>(rows, INT32_MAX))
        throw BundleError("a vocabulary of " + std::to_string(pieces.size()) +
                          " tokens, and the embedding table has " + std::to_string(rows) + " rows");
    const int64_t unknown = model.at("unk_id").integer();
    if (unknown < 0 || static_cast<uint64_t>(unknown) >= pieces.size())
        throw BundleError("unk_id is " + std::to_string(unknown) + ", and there are " +
                          std::to_string(pieces.size()) + " tokens");
    unknown_ = static_cast<int32_t>(unknown);
    std::vector<Trie::Entry> entries;
    std::deque<std::string> hidden; // the trie only looks at the texts
    double lowest = std::numeric_limits<double>::infinity();
    entries.reserve(pieces.size());
    exact_scores_.reserve(pieces.size());
    for (const Json &piece : pieces) {
        const auto pair = piece.items();
        if (pair.size() != 2)
            throw BundleError("a token without a score");
        const std::string_view token = pair[0].text();
        const auto id = static_cast<int32_t>(exact_scores_.size());
        const double score = pair[1].number();
        if (!std::isfinite(score) || token.empty())
            throw BundleError("token " + shown(token) + " has no score");
        exact_scores_.push_back(score);
        lowest = std::min(lowest, score);
        if (special.texts.count(token)) {
            special_[std::string(token)] = id;
            // No text that reaches the model has a space.
            entries.emplace_back(hidden.emplace_back(std::string(token) + " "), id);
        } else {
            entries.emplace_back(token, id);
        }
    }
    unknown_score_ = lowest - unknown_penalty;
    if (std::all_of(exact_scores_.begin(), exact_scores_.end(), in_single_precision)) {
        scores_.assign(exact_scores_.begin(), exact_scores_.end());
        std::vector<double>().swap(exact_scores_);
    }
    vocabulary_ = Trie(std::move(entries));
    constexpr const char *digits = "0123456789ABCDEF";
    for (unsigned byte = 0; byte < 256; byte++)
        byte_ids_[byte] =
            vocabulary_.find(std::string("<0x") + digits[byte >> 4] + digits[byte & 15] + ">");
}

int32_t Unigram::id_of(std::string_view token) const
{
    const auto found = special_.find(token);
    return found == special_.end() ? vocabulary_.find(token) : found->second;
}

void Unigram::cut(std::string_view word, size_t, std::vector<WordPart> &out) const
{
    // The best way to each byte: its score, and its last token with the byte where that begins.
    struct Best {
        double score;
        int32_t begin, id;
    };
    static thread_local std::vector<Best> bests;
    static thread_local std::vector<WordPart> path; // from the end of the word
    const size_t size = word.size();
    bests.assign(size + 1, {0, -1, 0});
    Best *const best = bests.data();
    const auto offer = [&](size_t begin, size_t end, int32_t id, double score) {
        Best &one = best[end];
        const double total = score + best[begin].score;
        if (one.begin < 0 || total > one.score)
            one = {total, static_cast<int32_t>(begin), id};
    };
    for (size_t i = 0; i < size;) {
        size_t next = i + 1;
        while (next < size && (word[next] & 0xc0) == 0x80)
            next++;
        bool has_single = false; // a token that is the character
        uint32_t state = vocabulary_.root();
        for (size_t end = i;
             end < size && vocabulary_.step(state, static_cast<unsigned char>(word[end]));) {
            end++;
            if (const int32_t id = vocabulary_.value(state); id >= 0) {
                offer(i, end, id, score_of(id));
                has_single |= end == next;
            }
        }
        if (!has_single)
            offer(i, next, unknown_, unknown_score_);
        i = next;
    }
    path.clear();
    for (auto end = static_cast<uint32_t>(size); end > 0; end = path.back().begin)
        path.push_back({best[end].id, static_cast<uint32_t>(best[end].begin), end});
    for (size_t i = path.size(); i-- > 0;) {
        if (path[i].id != unknown_) {
            out.push_back(path[i]);
            continue;
        }
        // What is unknown side by side is one piece.
        const uint32_t begin = path[i].begin;
        while (i > 0 && path[i - 1].id == unknown_)
            i--;
        add_unknown(word, begin, path[i].end, out);
    }
}

// Adds what is unknown: a token of the vocabulary after all, bytes, or the unknown token.
void Unigram::add_unknown(std::string_view word, uint32_t begin, uint32_t end,
                          std::vector<WordPart> &out) const
{
    const std::string_view text = word.substr(begin, end - begin);
    const auto byte_id = [this](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
    if (const int32_t id = vocabulary_.find(text); id >= 0) {
        out.push_back({id, begin, end});
    } else if (falls_back_ &&
               std::all_of(text.begin(), text.end(), [&](char c) { return byte_id(c) >= 0; })) {
        for (const char c : text)
            out.push_back({byte_id(c), begin, end});
    } else {
        out.push_back({unknown_, begin, end});
    }
}

} // namespace onelayer
