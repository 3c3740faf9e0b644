#include "patterns.h"
#include "../base/error.h"
#include "tokenizer_files.h"
#include "unicode.h"
#include <algorithm>

namespace onelayer {

namespace {

using unicode::properties;

bool is_letter(char32_t c) { return properties(c) & unicode::letter_bit; }
bool is_number(char32_t c) { return properties(c) & unicode::number_bit; }
bool is_white(char32_t c) { return properties(c) & unicode::space_bit; }
bool is_break(char32_t c) { return c == '\n' || c == '\r'; }
bool is_other(char32_t c) // [^\s\p{L}\p{N}]
{
    return !(properties(c) & (unicode::letter_bit | unicode::number_bit | unicode::space_bit));
}

template <class Is> size_t run_end(const char32_t *points, size_t size, size_t i, Is is)
{
    while (i < size && is(points[i]))
        i++;
    return i;
}

// The end of an English contraction such as 've at i; i if there is none. Without case, the long s
// (U+017F) is an s.
size_t contraction_end(const char32_t *points, size_t size, size_t i, bool any_case)
{
    const auto at = [&](size_t place) -> char32_t {
        const char32_t c = place < size ? points[place] : 0;
        if (!any_case)
            return c;
        return c == 0x17f ? U's' : c >= 'A' && c <= 'Z' ? c + 32 : c;
    };
    if (at(i) != '\'')
        return i;
    const char32_t first = at(i + 1), second = at(i + 2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd')
        return i + 2;
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
        (first == 'l' && second == 'l'))
        return i + 3;
    return i;
}

// \s+(?!\S)|\s+ at i, where white space is: all of it, but for the last one if a word follows.
size_t white_end(const char32_t *points, size_t size, size_t i)
{
    const size_t end = run_end(points, size, i, is_white);
    return end < size && end - i > 1 ? end - 1 : end;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ at i.
size_t gpt2_end(const char32_t *points, size_t size, size_t i)
{
    if (const size_t end = contraction_end(points, size, i, false); end > i)
        return end;
    const size_t first = i + (points[i] == ' ' && i + 1 < size);
    if (is_letter(points[first]))
        return run_end(points, size, first, is_letter);
    if (is_number(points[first]))
        return run_end(points, size, first, is_number);
    if (is_other(points[first]))
        return run_end(points, size, first, is_other);
    return white_end(points, size, i);
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
// |\s*[\r\n]+|\s+(?!\S)|\s+ at i.
size_t llama_end(const char32_t *points, size_t size, size_t i)
{
    if (const size_t end = contraction_end(points, size, i, true); end > i)
        return end;
    const char32_t c = points[i];
    if (is_letter(c))
        return run_end(points, size, i, is_letter);
    if (is_number(c))
        return std::min(run_end(points, size, i, is_number), i + 3);
    if (!is_break(c) && i + 1 < size && is_letter(points[i + 1]))
        return run_end(points, size, i + 1, is_letter);
    const size_t first = i + (c == ' ' && i + 1 < size);
    if (is_other(points[first]))
        return run_end(points, size, run_end(points, size, first, is_other), is_break);
    const size_t end = run_end(points, size, i, is_white);
    for (size_t last = end; last > i; last--)
        if (is_break(points[last - 1]))
            return last;
    return white_end(points, size, i);
}

constexpr const char *white_regex = "\\s+";
constexpr const char *spaces_regex = " {2,}";
constexpr const char *white_or_breaks_regex = "\\s{2,}|[\\n\\r\\t]";
constexpr const char *gpt2_regex = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+"
                                   "| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
constexpr const char *llama_regex =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

} // namespace

Pattern Pattern::read(const Json &pattern)
{
    if (pattern.members().size() != 1)
        throw BundleError("a pattern that is neither a String nor a Regex");
    const auto &[kind, value] = pattern.members().front();
    const std::string &text = value.string();
    if (kind == "String" && !text.empty()) {
        Pattern found(Kind::text);
        const Text decoded(text);
        for (size_t i = 0; i < decoded.size(); i++)
            found.text_.push_back(decoded[i]);
        return found;
    }
    if (kind == "Regex") {
        constexpr std::pair<const char *, Kind> known[] = {
            {spaces_regex, Kind::spaces},
            {white_regex, Kind::white},
            {white_or_breaks_regex, Kind::white_or_breaks},
            {gpt2_regex, Kind::gpt2},
            {llama_regex, Kind::llama}};
        for (const auto &[regex, its_kind] : known)
            if (text == regex)
                return Pattern(its_kind);
    }
    throw BundleError("the pattern " + shown(text) + " is not read");
}

bool Pattern::find(const char32_t *points, size_t size, size_t from, Span &match) const
{
    const auto matched = [&match](size_t begin, size_t end) {
        match = {static_cast<uint32_t>(begin), static_cast<uint32_t>(end)};
        return true;
    };
    if (kind_ == Kind::text) {
        const auto *const found =
            std::search(points + from, points + size, text_.begin(), text_.end());
        const auto begin = static_cast<size_t>(found - points);
        return found != points + size && matched(begin, begin + text_.size());
    }
    for (size_t i = from; i < size; i++) {
        size_t end = i;
        switch (kind_) {
        case Kind::text: break;
        case Kind::spaces:
            end = run_end(points, size, i, [](char32_t c) { return c == ' '; });
            end = end - i >= 2 ? end : i;
            break;
        case Kind::white: end = run_end(points, size, i, is_white); break;
        case Kind::white_or_breaks:
            end = run_end(points, size, i, is_white);
            if (end - i == 1 && !is_break(points[i]) && points[i] != '\t')
                end = i;
            break;
        case Kind::gpt2: end = gpt2_end(points, size, i); break;
        case Kind::llama: end = llama_end(points, size, i); break;
        }
        if (end > i)
            return matched(i, end);
    }
    return false;
}

} // namespace onelayer
