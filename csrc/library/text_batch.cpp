#include "text_batch.h"
#include "../base/error.h"
#include <string>

namespace onelayer {

namespace {

// What a batch gave. The vectors keep their memory from batch to batch.
struct FoundTokens {
    std::vector<int32_t> ids;
    std::vector<Span> spans;
    std::vector<uint32_t> words;
    std::vector<size_t> ends;
    onelayer_text_pieces view = {};

    void clear()
    {
        ids.clear(), spans.clear(), words.clear(), ends.clear();
    }

    const onelayer_text_pieces &seen()
    {
        static_assert(sizeof(Span) == 2 * sizeof(uint32_t));
        view = {ids.data(), reinterpret_cast<const uint32_t *>(spans.data()), words.data(),
                ends.data()};
        return view;
    }
};

thread_local FoundTokens found;
thread_local Text decoded;

template <class T> void append(std::vector<T> &to, const std::vector<T> &from)
{
    to.insert(to.end(), from.begin(), from.end());
}

// Decodes each text and calls `split` with its number.
template <class Split> void for_each_text(const TextBatch &texts, Split split)
{
    found.clear();
    size_t begin = 0;
    for (size_t i = 0; i < texts.n; i++) {
        const size_t end = texts.ends[i];
        if (end < begin || end > texts.bytes.size())
            throw InputError("text " + std::to_string(i + 1) + " is outside of the batch");
        decoded.assign(texts.bytes.substr(begin, end - begin));
        split(i);
        found.ends.push_back(found.ids.size());
        begin = end;
    }
}

} // namespace

const onelayer_text_pieces &pieces_of(const Tokenizer &tokenizer, const TextBatch &texts,
                                      bool with_spans)
{
    static thread_local Pieces pieces;
    for_each_text(texts, [&](size_t) {
        tokenizer.encode(decoded, with_spans, pieces);
        append(found.ids, pieces.ids);
        if (with_spans)
            append(found.spans, pieces.offsets);
    });
    return found.seen();
}

const onelayer_text_pieces &pieces_of_words(const Tokenizer &tokenizer, const TextBatch &texts,
                                            const BatchWords &words)
{
    static thread_local WordPieces pieces;
    static thread_local std::vector<Span> spans;
    size_t word = 0;
    for_each_text(texts, [&](size_t i) {
        spans.clear();
        for (; word < words.ends[i]; word++) {
            const Span span = {words.spans[2 * word], words.spans[2 * word + 1]};
            if (span.begin > span.end || span.end > decoded.size())
                throw InputError("word " + std::to_string(word + 1) + " is outside of its text");
            spans.push_back(span);
        }
        tokenizer.encode_words(decoded, spans, pieces);
        append(found.ids, pieces.ids);
        append(found.words, pieces.word_of);
    });
    return found.seen();
}

} // namespace onelayer
