// A text or a pair of texts, read at [CLS]: the way in of classify and regress.
#pragma once
#include "pooling.h"

namespace onelayer {

// A part of a text's tokens.
struct TokenSlice {
    const int32_t *tokens;
    size_t n;
};

// Appends the sequence of a text, or of two, with the special tokens around them; [CLS] is read.
void append_sequence(const Template &frame, TokenSlice first, const TokenSlice *second,
                     Encodings &out);

// Appends a row's text, or its pair. What is too long for one sequence is read in windows, as many
// of them as `pooling` looks at: of a pair each has as much of both texts as truncating the longer
// one would leave. They are spread evenly from the beginning to the end.
void encode_texts(const Row &row, const Tokenizer &tokenizer, int64_t max_length, int64_t stride,
                  Pooling pooling, Encodings &out);

// The tokens of a sequence beside the special ones. Throws BundleError where even
// those don't fit.
int64_t room_beside(const Template &frame, bool paired, int64_t max_length);

} // namespace onelayer
