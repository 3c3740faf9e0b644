// The words of a text: tokens/words.py.
#include "tokenizer.h"
#include "unicode.h"

namespace onelayer {

namespace {

using unicode::Kind;

bool is_alphanumeric(char32_t c) { return unicode::properties(c) & unicode::alphanumeric_bit; }

bool is_mark(Kind kind) { return kind == unicode::mark_kind || kind == unicode::joiner_kind; }

// The end of the word that begins at i, which isn't white space. Marks and joiners may come first;
// those that nothing follows are a word, too.
size_t word_end(const Text &text, size_t i)
{
    const size_t size = text.size();
    const auto skip_marks = [&] {
        while (i < size && is_mark(unicode::kind(text[i])))
            i++;
    };
    skip_marks();
    if (i == size)
        return i;
    switch (unicode::kind(text[i])) {
    case unicode::symbol_kind:
        // An emoji or symbol, with others that a joiner connects.
        for (i++; i < size;) {
            const Kind kind = unicode::kind(text[i]);
            if (is_mark(kind))
                i++;
            else if (kind == unicode::symbol_kind && text[i - 1] == 0x200d)
                i++;
            else
                break;
        }
        break;
    case unicode::alone_kind:
        i++;
        skip_marks();
        break;
    case unicode::letter_kind:
        for (i++; i < size && (unicode::kind(text[i]) == unicode::letter_kind ||
                               is_mark(unicode::kind(text[i])));)
            i++;
        break;
    default: break; // white space follows the marks
    }
    return i;
}

// Whether a word is a part of `marks`: a mark, as a rule.
bool holds(const std::vector<char32_t> &marks, const Text &text, Span word)
{
    const size_t size = word.end - word.begin;
    for (size_t i = 0; i + size <= marks.size(); i++) {
        size_t same = 0;
        while (same < size && marks[i + same] == text[word.begin + same])
            same++;
        if (same == size)
            return true;
    }
    return false;
}

// Joins, in place, the words that a mark of `joints` connects.
void join(const Text &text, const Joints &joints, std::vector<Span> &words)
{
    size_t kept = 0;
    bool open_ended = false; // whether the next word belongs to the last one
    for (size_t i = 0; i < words.size(); i++) {
        const Span word = words[i];
        const bool before =
            kept && words[kept - 1].end == word.begin && is_alphanumeric(text[word.begin - 1]);
        const bool after = i + 1 < words.size() && words[i + 1].begin == word.end &&
                           is_alphanumeric(text[word.end]);
        const bool inside = before && after && holds(joints.inner, text, word);
        if (open_ended || inside)
            words[kept - 1].end = word.end;
        else
            words[kept++] = word;
        open_ended = inside || (after && holds(joints.leading, text, word));
    }
    words.resize(kept);
}

} // namespace

void split_words(const Text &text, const Joints &joints, std::vector<Span> &out)
{
    out.clear();
    for (size_t i = 0; i < text.size();) {
        if (unicode::kind(text[i]) == unicode::space_kind) {
            i++;
            continue;
        }
        const size_t end = word_end(text, i);
        out.push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(end)});
        i = end;
    }
    if (!joints.inner.empty() || !joints.leading.empty())
        join(text, joints, out);
}

} // namespace onelayer
