// A user's text: its code points, and where each of them stands in bytes and in UTF-16.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace onelayer {

// A part of a text, or of a sequence of tokens. Ends are exclusive. Spans of texts count code points
// everywhere inside the library, as Python does.
struct Span {
    uint32_t begin = 0, end = 0;

    bool operator==(const Span &other) const { return begin == other.begin && end == other.end; }
};

// Decodes UTF-8. What is no UTF-8 becomes U+FFFD: one for each maximal part of a sequence that
// could have become a character (Unicode 16, section 3.9), as Python's errors="replace" does.
class Text {
  public:
    Text() = default;
    explicit Text(std::string_view bytes) { assign(bytes); }

    // Decodes other bytes, which must outlive this object; keeps the memory of the last ones.
    void assign(std::string_view bytes);

    std::string_view bytes() const { return bytes_; }
    // Whether byte i is code point i.
    bool is_ascii() const { return ascii_; }
    size_t size() const { return ascii_ ? bytes_.size() : points_.size(); }
    char32_t operator[](size_t i) const
    {
        return ascii_ ? static_cast<unsigned char>(bytes_[i]) : points_[i];
    }
    // The byte at which a code point begins; the number of bytes for i = size().
    size_t byte_at(size_t i) const { return ascii_ ? i : starts_[i]; }
    // The same in units of UTF-16.
    size_t utf16_at(size_t i) const;
    // The code point that contains a byte.
    size_t point_at(size_t byte) const;
    std::string_view bytes(Span span) const
    {
        const size_t begin = byte_at(span.begin);
        return bytes_.substr(begin, byte_at(span.end) - begin);
    }

  private:
    std::string_view bytes_;
    bool ascii_ = true;
    std::vector<char32_t> points_;  // empty where all is ASCII
    std::vector<uint32_t> starts_;  // (size + 1) bytes; empty where all is ASCII
};

bool is_utf8(std::string_view bytes);

// White space, as Python's str.isspace and str.strip know it.
inline bool is_space(char32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

// A text without the white space at its ends.
std::string_view stripped(const Text &text);

// Writes a code point that isn't ASCII as UTF-8. Returns the end of its bytes.
char *write_long_utf8(char *out, char32_t c);

// Writes a code point as UTF-8, at most four bytes. Returns their end.
inline char *write_utf8(char *out, char32_t c)
{
    if (c >= 0x80)
        return write_long_utf8(out, c);
    *out = static_cast<char>(c);
    return out + 1;
}

void append_utf8(std::string &out, char32_t c);

} // namespace onelayer
