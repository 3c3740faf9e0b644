// Texts in JSON: what is no UTF-8 stands there as U+FFFD, as it was read.
#pragma once
#include "../base/json_writer.h"
#include "../base/text.h"

namespace onelayer {

void write_text(const Text &text, Span span, JsonWriter &out);

inline void write_text(const Text &text, JsonWriter &out)
{
    write_text(text, {0, static_cast<uint32_t>(text.size())}, out);
}

} // namespace onelayer
