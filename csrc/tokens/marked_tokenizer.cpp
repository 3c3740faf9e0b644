#include "marked_tokenizer.h"
#include <algorithm>

namespace onelayer {

MarkedTokenizer::MarkedTokenizer(const Json &tokenizer, Pipeline pipeline)
    : pipeline_(std::move(pipeline)), unmarked_(pipeline_.unmarked(tokenizer)),
      marks_(read_word_marks(tokenizer.find("pre_tokenizer"))),
      mark_id_(pipeline_.id_of(marks_.bytes ? "Ġ" : "▁"))
{
}

void MarkedTokenizer::encode(const Text &text, bool with_offsets, Pieces &out) const
{
    out.ids.clear();
    out.offsets.clear();
    pipeline_.run(text, 0, text.size(), false, with_offsets, out);
    if (with_offsets)
        trim(text, out);
}

// Takes white space from the offsets. A mark alone has no characters, unless the text has it.
void MarkedTokenizer::trim(const Text &text, Pieces &pieces) const
{
    const char32_t mark = marks_.bytes ? 0x120 : 0x2581; // Ġ, ▁
    // Of the piece before: of a character that becomes several words each has all of it.
    uint32_t first = 0, last = 0;
    for (size_t i = 0; i < pieces.ids.size(); i++) {
        auto [begin, end] = pieces.offsets[i];
        while (begin < end && is_space(text[begin]))
            begin++;
        while (begin < end && is_space(text[end - 1]))
            end--;
        if (pieces.ids[i] == mark_id_ && !(end - begin == 1 && text[begin] == mark))
            end = begin; // it was put there, and the word's first character follows
        first = std::max(begin, first), last = std::max(end, last);
        pieces.offsets[i] = {first, last};
    }
}

void MarkedTokenizer::encode_words(const Text &text, const std::vector<Span> &words,
                                   WordPieces &out) const
{
    static thread_local Pieces pieces;
    pieces.ids.clear();
    out.word_of.clear();
    size_t blank = 0; // the text is white space up to here
    while (blank < text.size() && is_space(text[blank]))
        blank++;
    for (size_t i = 0; i < words.size(); i++) {
        const Span word = words[i];
        // Cut as they stand in the text: with a mark where white space stands before them, or where
        // the tokenizer marks a text's first word.
        const bool spaced = (word.begin > 0 && is_space(text[word.begin - 1])) ||
                            (marks_.first_word && word.begin <= blank);
        const Pipeline &steps = spaced ? pipeline_ : unmarked_;
        steps.run(text, word.begin, word.end, spaced && !marks_.first_word, false, pieces);
        out.word_of.resize(pieces.ids.size(), static_cast<uint32_t>(i));
    }
    out.ids.swap(pieces.ids);
}

} // namespace onelayer
