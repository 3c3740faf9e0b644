#include "tokenizer_interface.h"
#include "../base/guarded.h"
#include "../base/places.h"
#include "text_pieces.h"
#include "tokenizer.h"

using namespace onelayer;

struct onelayer_tokenizer {
    std::unique_ptr<const Tokenizer> tokenizer;
};

namespace {

// Memory that a thread keeps between calls. It isn't inside the functions that need it: Clang allows
// a DLL's functions no such variables.
struct KeptWords {
    Text decoded;
    std::vector<Span> spans;
    WordPieces pieces;
    std::vector<onelayer_span> places;
};
thread_local KeptWords kept_words;

std::vector<char32_t> points_of(onelayer_text marks)
{
    const Text text(bytes_of(marks, "a joint"));
    std::vector<char32_t> points;
    for (size_t i = 0; i < text.size(); i++)
        points.push_back(text[i]);
    return points;
}

} // namespace

onelayer_tokenizer *onelayer_tokenizer_open(onelayer_text tokenizer, onelayer_text config,
                                            size_t rows, char *error, size_t size)
{
    onelayer_tokenizer *opened = nullptr;
    guarded_status(
        [&] {
            const JsonDocument rules = Json::parse(bytes_of(tokenizer, "tokenizer.json"));
            const JsonDocument settings = Json::parse(bytes_of(config, "tokenizer_config.json"));
            auto made = std::make_unique<onelayer_tokenizer>();
            made->tokenizer = Tokenizer::read(*rules, *settings, rows);
            opened = made.release();
        },
        error, size);
    return opened;
}

void onelayer_tokenizer_close(onelayer_tokenizer *tokenizer) { delete tokenizer; }

onelayer_status onelayer_tokenizer_pieces(const onelayer_tokenizer *tokenizer, onelayer_text text,
                                          const onelayer_piece **pieces, size_t *n, char *error,
                                          size_t size)
{
    return guarded_status(
        [&] {
            const auto &found = text_pieces(*tokenizer->tokenizer, text);
            *pieces = found.data(), *n = found.size();
        },
        error, size);
}

onelayer_status onelayer_tokenizer_words(const onelayer_tokenizer *tokenizer, onelayer_text text,
                                         const uint32_t *words, size_t n_words, const int32_t **ids,
                                         const uint32_t **word_of, size_t *n, char *error,
                                         size_t size)
{
    return guarded_status(
        [&] {
            auto &[decoded, spans, pieces, _] = kept_words;
            decoded.assign(bytes_of(text, "text"));
            spans.clear();
            for (size_t i = 0; i < n_words; i++) {
                const Span span = {words[2 * i], words[2 * i + 1]};
                if (span.begin > span.end || span.end > decoded.size())
                    throw InputError("word " + std::to_string(i + 1) + " is outside of the text");
                spans.push_back(span);
            }
            tokenizer->tokenizer->encode_words(decoded, spans, pieces);
            *ids = pieces.ids.data(), *word_of = pieces.word_of.data(), *n = pieces.ids.size();
        },
        error, size);
}

onelayer_status onelayer_tokenizer_split(onelayer_text text, onelayer_text inner,
                                         onelayer_text leading, const onelayer_span **words,
                                         size_t *n, char *error, size_t size)
{
    return guarded_status(
        [&] {
            auto &[decoded, spans, _, found] = kept_words;
            decoded.assign(bytes_of(text, "text"));
            split_words(decoded, {points_of(inner), points_of(leading)}, spans);
            Places places(decoded);
            found.clear();
            for (const Span span : spans)
                found.push_back(places.of(span));
            *words = found.data(), *n = found.size();
        },
        error, size);
}

onelayer_status onelayer_tokenizer_count(const onelayer_tokenizer *tokenizer,
                                         const onelayer_text *texts, size_t n_texts,
                                         int with_offsets, size_t *n, char *error, size_t size)
{
    return guarded_status(
        [&] {
            Text decoded;
            Pieces pieces;
            *n = 0;
            for (size_t i = 0; i < n_texts; i++) {
                decoded.assign(bytes_of(texts[i], "text"));
                tokenizer->tokenizer->encode(decoded, with_offsets != 0, pieces);
                *n += pieces.ids.size();
            }
        },
        error, size);
}
