#include "json_writer.h"
#include "decimals.h"
#include <cmath>

namespace onelayer {

void JsonWriter::before_value()
{
    if (!first_ && !after_key_)
        text_ += ", ";
    first_ = after_key_ = false;
}

JsonWriter &JsonWriter::begin_object()
{
    before_value();
    text_ += '{';
    first_ = true;
    return *this;
}

JsonWriter &JsonWriter::end_object()
{
    text_ += '}';
    first_ = false;
    return *this;
}

JsonWriter &JsonWriter::begin_array()
{
    before_value();
    text_ += '[';
    first_ = true;
    return *this;
}

JsonWriter &JsonWriter::end_array()
{
    text_ += ']';
    first_ = false;
    return *this;
}

JsonWriter &JsonWriter::key(std::string_view name)
{
    value(name);
    text_ += ": ";
    after_key_ = true;
    return *this;
}

JsonWriter &JsonWriter::value(std::string_view text)
{
    before_value();
    text_ += '"';
    for (const char c : text) {
        switch (c) {
        case '"': text_ += "\\\""; break;
        case '\\': text_ += "\\\\"; break;
        case '\n': text_ += "\\n"; break;
        case '\r': text_ += "\\r"; break;
        case '\t': text_ += "\\t"; break;
        case '\b': text_ += "\\b"; break;
        case '\f': text_ += "\\f"; break;
        default:
            if (static_cast<unsigned char>(c) < 0x20) {
                text_ += c < 0x10 ? "\\u000" : "\\u001";
                text_ += "0123456789abcdef"[c % 16];
            } else {
                text_ += c;
            }
        }
    }
    text_ += '"';
    return *this;
}

JsonWriter &JsonWriter::value(bool yes)
{
    before_value();
    text_ += yes ? "true" : "false";
    return *this;
}

JsonWriter &JsonWriter::value(int64_t number)
{
    before_value();
    text_ += std::to_string(number);
    return *this;
}

JsonWriter &JsonWriter::null()
{
    before_value();
    text_ += "null";
    return *this;
}

JsonWriter &JsonWriter::raw(std::string_view json)
{
    before_value();
    text_ += json;
    return *this;
}

JsonWriter &JsonWriter::exact(double number)
{
    if (std::isnan(number))
        return raw("NaN");
    if (std::isinf(number))
        return raw(number < 0 ? "-Infinity" : "Infinity");
    return raw(repr(number));
}

JsonWriter &JsonWriter::value(double number)
{
    if (!std::isfinite(number))
        return null();
    return raw(repr(number, 7));
}

} // namespace onelayer
