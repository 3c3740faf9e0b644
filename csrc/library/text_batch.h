// Many texts cut into pieces in one call, for parts_interface.h.
#pragma once
#include "../tokens/tokenizer.h"
#include "parts_interface.h"

namespace onelayer {

// Texts in one run of bytes, and where each ends.
struct TextBatch {
    std::string_view bytes;
    const size_t *ends;
    size_t n;
};

// Words of these texts: the code points at which each begins and ends, and where those of a text
// end in the array.
struct BatchWords {
    const uint32_t *spans;
    const size_t *ends;
};

// Both are valid until the thread's next call. They throw InputError for places outside of a text.
const onelayer_text_pieces &pieces_of(const Tokenizer &tokenizer, const TextBatch &texts,
                                      bool with_spans);
const onelayer_text_pieces &pieces_of_words(const Tokenizer &tokenizer, const TextBatch &texts,
                                            const BatchWords &words);

} // namespace onelayer
