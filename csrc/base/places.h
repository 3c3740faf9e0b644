// Texts as the C interface takes them, and places in them as it gives them.
#pragma once
#include "../include/onelayer.h"
#include "text.h"

namespace onelayer {

// A text's bytes; `role` is what messages call it. Throws InputError for a text that has a size and
// no data, or more than a billion bytes: places inside are 32-bit numbers.
std::string_view bytes_of(onelayer_text text, const char *role);

// Places of a text in the three units. Spans come in about the order of the text, so each count of
// UTF-16 continues the last one.
class Places {
  public:
    explicit Places(const Text &text) : text_(text) {}

    onelayer_span of(Span span)
    {
        const size_t begin = utf16(span.begin);
        return {text_.byte_at(span.begin),
                text_.byte_at(span.end),
                span.begin,
                span.end,
                begin,
                utf16(span.end)};
    }

  private:
    size_t utf16(size_t point)
    {
        if (text_.is_ascii())
            return point;
        if (point < point_)
            point_ = pairs_ = 0;
        for (; point_ < point; point_++)
            pairs_ += text_[point_] > 0xffff;
        return point + pairs_;
    }

    const Text &text_;
    size_t point_ = 0, pairs_ = 0; // surrogate pairs before the point
};

} // namespace onelayer
