#include "written_text.h"
#include "scratch.h"

namespace onelayer {

void write_text(const Text &text, Span span, JsonWriter &out)
{
    if (span.begin >= span.end) {
        out.value("");
        return;
    }
    if (text.is_ascii()) {
        out.value(text.bytes(span));
        return;
    }
    std::string &utf8 = scratch().joined;
    utf8.clear();
    for (size_t i = span.begin; i < span.end; i++)
        append_utf8(utf8, text[i]);
    out.value(utf8);
}

} // namespace onelayer
