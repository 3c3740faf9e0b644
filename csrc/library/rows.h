// Rows of the inputs that a caller gives, checked.
#pragma once
#include "model.h"

namespace onelayer {

// Fills a row, which keeps the memory of what was in it. Throws InputError for texts that are missing
// or empty where the task needs them, and for words outside of the text.
void read_row(const onelayer_input &input, const Opened &opened, size_t number, Row &row);

} // namespace onelayer
