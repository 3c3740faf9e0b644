#include "added_tokens.h"
#include "unicode.h"
#include <algorithm>
#include <string>

namespace onelayer {

namespace {

// The longest pattern at a code point: its number, or -1; and its end.
int32_t longest_at(const std::vector<char32_t> &points, size_t i, const Trie &patterns, size_t &end)
{
    char bytes[4];
    uint32_t state = patterns.root();
    int32_t found = -1;
    while (i < points.size()) {
        const char *const bytes_end = write_utf8(bytes, points[i++]);
        for (const char *byte = bytes; byte < bytes_end; byte++)
            if (!patterns.step(state, static_cast<unsigned char>(*byte)))
                return found;
        if (const int32_t number = patterns.value(state); number >= 0)
            found = number, end = i;
    }
    return found;
}

void normalize(const Normalizers &normalizers, AlignedText &text)
{
    for (const auto &normalizer : normalizers)
        normalizer->apply(text);
}

} // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizers &normalizers)
    : tokens_(std::move(tokens))
{
    std::vector<std::string> texts(tokens_.size());
    std::vector<Trie::Entry> raw, normalized;
    for (size_t i = 0; i < tokens_.size(); i++) {
        const std::string &content = tokens_[i].content;
        if (!tokens_[i].normalized) {
            raw.emplace_back(content, static_cast<int32_t>(i));
            continue;
        }
        AlignedText text;
        const Text decoded(content);
        text.assign(decoded, 0, decoded.size());
        normalize(normalizers, text);
        for (const char32_t c : text.points)
            append_utf8(texts[i], c);
        normalized.emplace_back(texts[i], static_cast<int32_t>(i));
    }
    raw_ = Trie(std::move(raw));
    normalized_ = Trie(std::move(normalized));
}

int32_t AddedTokens::id_of(std::string_view token) const
{
    for (const AddedToken &one : tokens_)
        if (one.content == token)
            return one.id;
    return -1;
}

// Adds the parts of a text: tokens, and what is between them.
void AddedTokens::split_at(const AlignedText &text, const Trie &patterns,
                           std::vector<SplitText::Part> &out) const
{
    const std::vector<char32_t> &points = text.points;
    const size_t size = points.size();
    const auto add = [&out](size_t begin, size_t end, int32_t token) {
        if (begin < end)
            out.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end), token});
    };
    size_t rest = 0; // where what isn't added yet begins
    for (size_t i = 0; i < size && !patterns.empty();) {
        size_t end = i;
        const int32_t number = longest_at(points, i, patterns, end);
        if (number < 0) {
            i++;
            continue;
        }
        size_t begin = i;
        i = end;
        const AddedToken &token = tokens_[static_cast<size_t>(number)];
        if (token.special)
            continue; // it is ordinary text, and no other token is looked for within it
        if (token.single_word &&
            ((begin > 0 && unicode::is_word(points[begin - 1])) ||
             (end < size && unicode::is_word(points[end]))))
            continue;
        while (token.lstrip && begin > rest && unicode::is_white(points[begin - 1]))
            begin--;
        while (token.rstrip && end < size && unicode::is_white(points[end]))
            end++;
        add(rest, begin, -1);
        add(begin, end, token.id);
        rest = end;
    }
    add(rest, size, -1);
}

void AddedTokens::split(AlignedText &raw, const Normalizers &normalizers, SplitText &out) const
{
    static thread_local std::vector<SplitText::Part> outer, inner;
    static thread_local AlignedText piece;
    out.clear();
    out.text.origin = raw.origin;
    outer.clear();
    split_at(raw, raw_, outer);
    for (const SplitText::Part &part : outer) {
        const size_t begin = out.text.size();
        if (part.token >= 0) {
            out.text.append(raw, part.begin, part.end);
            out.add(begin, out.text.size(), part.token);
            continue;
        }
        AlignedText &text = outer.size() == 1 ? raw : piece;
        if (&text == &piece) {
            piece.clear();
            piece.append(raw, part.begin, part.end);
            piece.origin = piece.source[0].begin;
        }
        normalize(normalizers, text);
        inner.clear();
        split_at(text, normalized_, inner);
        out.text.append(text, 0, text.size());
        for (const SplitText::Part &found : inner)
            out.add(begin + found.begin, begin + found.end, found.token);
    }
}

} // namespace onelayer
