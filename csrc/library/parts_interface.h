// Models made of parts, for onelayer's Python package, which has read a bundle's files by itself. It
// isn't part of onelayer.h, and changes from version to version.
#pragma once
#include "../engine/engine_interface.h"
#include "../include/onelayer.h"

extern "C" {

typedef struct onelayer_row_tokenizer onelayer_row_tokenizer;

// A tokenizer of the texts of tokenizer.json and tokenizer_config.json, for an embedding table of
// `vocabulary` rows, of a model with or without segments. NULL on failure: see onelayer_error().
ONELAYER_API onelayer_row_tokenizer *onelayer_row_tokenizer_open(onelayer_text tokenizer,
                                                                 onelayer_text config,
                                                                 size_t vocabulary, int segments);
ONELAYER_API void onelayer_row_tokenizer_close(onelayer_row_tokenizer *tokenizer);

// The pieces of many texts, without special tokens. They are valid until the thread's next call.
typedef struct onelayer_text_pieces {
    const int32_t *ids;    // of all texts, one after another
    const uint32_t *spans; // with spans: the code points at which each piece begins and ends
    const uint32_t *words; // of words: the word of each piece, counted in its text
    const size_t *ends;    // where the pieces of each text end in the arrays
} onelayer_text_pieces;

// The pieces of `n` texts in one run of bytes; `ends` is where each of them ends. NULL on failure:
// see onelayer_error().
ONELAYER_API const onelayer_text_pieces *
onelayer_row_tokenizer_pieces(const onelayer_row_tokenizer *tokenizer, onelayer_text texts,
                              const size_t *ends, size_t n, int with_spans);

// The pieces of the texts' words. `words` has the code points at which each begins and ends, and
// `word_ends` where the words of each text end in it.
ONELAYER_API const onelayer_text_pieces *
onelayer_row_tokenizer_words(const onelayer_row_tokenizer *tokenizer, onelayer_text texts,
                             const size_t *ends, size_t n, const uint32_t *words,
                             const size_t *word_ends);

// A model of an engine, a tokenizer, and the members "task" and "layout" of onelayer.json. The parts
// may be closed before the model is. NULL on failure: see onelayer_error().
ONELAYER_API onelayer_model *onelayer_model_of(const onelayer_engine *engine,
                                               const onelayer_row_tokenizer *tokenizer,
                                               onelayer_text task, onelayer_text layout,
                                               int threads);
}
