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
    before_value();
    // The shortest text that reads as that double, in positional notation for exponents from -4 to
    // 15: Python's repr.
    const double size = std::fabs(number);
    const bool positional = number == 0 || (size >= 1e-4 && size < 1e16);
    const auto form = positional ? std::chars_format::fixed : std::chars_format::scientific;
    char digits[64];
    const auto end = write_decimal(digits, digits + sizeof digits, number, form).ptr;
    const std::string_view written(digits, static_cast<size_t>(end - digits));
    text_ += written;
    if (positional && written.find('.') == std::string_view::npos)
        text_ += ".0";
    return *this;
}

JsonWriter &JsonWriter::value(double number)
{
    if (!std::isfinite(number))
        return null();
    // Python: float(f"{number:.7g}").
    char digits[64];
    const auto seven = write_digits(digits, digits + sizeof digits, number, 7);
    double rounded = 0;
    read_decimal(digits, seven.ptr, rounded);
    return exact(rounded);
}

} // namespace onelayer
