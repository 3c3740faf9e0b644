// Tokenizers alone, for onelayer's tests and benchmarks. They aren't part of onelayer.h, and change
// from version to version. A function that fails writes why into `error`, a line of at most `size`
// bytes with its final zero. What a function gives is valid until the thread's next call of it.
#pragma once
#include "../include/onelayer.h"

extern "C" {

typedef struct onelayer_tokenizer onelayer_tokenizer;

// Reads the content of tokenizer.json and tokenizer_config.json. `rows` are those of the embedding
// table. Returns null on failure.
ONELAYER_API onelayer_tokenizer *onelayer_tokenizer_open(onelayer_text tokenizer,
                                                         onelayer_text config, size_t rows,
                                                         char *error, size_t size);
ONELAYER_API void onelayer_tokenizer_close(onelayer_tokenizer *tokenizer); // null is allowed

// The pieces of a text, without special tokens.
ONELAYER_API onelayer_status onelayer_tokenizer_pieces(const onelayer_tokenizer *tokenizer,
                                                       onelayer_text text,
                                                       const onelayer_piece **pieces, size_t *n,
                                                       char *error, size_t size);

// The ids of the pieces of a text's words, and the word of each. `words` has the code points at
// which each begins and ends.
ONELAYER_API onelayer_status onelayer_tokenizer_words(const onelayer_tokenizer *tokenizer,
                                                      onelayer_text text, const uint32_t *words,
                                                      size_t n_words, const int32_t **ids,
                                                      const uint32_t **word_of, size_t *n,
                                                      char *error, size_t size);

// The words of a text, as tokens/words.py splits it with Joints(inner, leading).
ONELAYER_API onelayer_status onelayer_tokenizer_split(onelayer_text text, onelayer_text inner,
                                                      onelayer_text leading,
                                                      const onelayer_span **words, size_t *n,
                                                      char *error, size_t size);

// The number of pieces of many texts, which are cut one after another.
ONELAYER_API onelayer_status onelayer_tokenizer_count(const onelayer_tokenizer *tokenizer,
                                                      const onelayer_text *texts, size_t n_texts,
                                                      int with_offsets, size_t *n, char *error,
                                                      size_t size);
}
