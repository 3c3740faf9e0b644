// The pieces of a text as the C interface gives them.
#pragma once
#include "../include/onelayer.h"
#include "tokenizer.h"
#include <vector>

namespace onelayer {

// Valid until the thread's next call. Throws InputError for a text that can't be read.
const std::vector<onelayer_piece> &text_pieces(const Tokenizer &tokenizer, onelayer_text text);

} // namespace onelayer
