#include "text.h"
#include <algorithm>
#include <cstring>

namespace onelayer {

namespace {

bool all_ascii(std::string_view bytes)
{
    size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
        uint64_t eight;
        std::memcpy(&eight, bytes.data() + i, 8);
        if (eight & 0x8080808080808080u)
            return false;
    }
    for (; i < bytes.size(); i++)
        if (bytes[i] & 0x80)
            return false;
    return true;
}

// One code point from p < end, and how many bytes it has. Of a broken sequence the longest part that
// could have become a character is taken.
char32_t decode(const unsigned char *p, const unsigned char *end, size_t &length)
{
    constexpr char32_t broken = 0xfffd;
    const unsigned char lead = p[0];
    length = 1;
    if (lead < 0x80)
        return lead;
    // The second byte's range excludes overlong forms, surrogates, and what is above U+10FFFF.
    unsigned char low = 0x80, high = 0xbf;
    size_t more;
    char32_t c;
    if (lead >= 0xc2 && lead <= 0xdf) {
        more = 1, c = lead & 0x1f;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        more = 2, c = lead & 0x0f;
        low = lead == 0xe0 ? 0xa0 : 0x80;
        high = lead == 0xed ? 0x9f : 0xbf;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        more = 3, c = lead & 0x07;
        low = lead == 0xf0 ? 0x90 : 0x80;
        high = lead == 0xf4 ? 0x8f : 0xbf;
    } else {
        return broken;
    }
    for (; more; more--, low = 0x80, high = 0xbf) {
        if (p + length == end || p[length] < low || p[length] > high)
            return broken;
        c = c << 6 | (p[length++] & 0x3f);
    }
    return c;
}

} // namespace

void Text::assign(std::string_view bytes)
{
    bytes_ = bytes;
    ascii_ = all_ascii(bytes);
    points_.clear();
    starts_.clear();
    if (ascii_)
        return;
    const auto *const begin = reinterpret_cast<const unsigned char *>(bytes.data());
    const auto *const end = begin + bytes.size();
    for (const unsigned char *p = begin; p < end;) {
        size_t length;
        starts_.push_back(static_cast<uint32_t>(p - begin));
        points_.push_back(decode(p, end, length));
        p += length;
    }
    starts_.push_back(static_cast<uint32_t>(bytes.size()));
}

size_t Text::utf16_at(size_t i) const
{
    if (ascii_)
        return i;
    return i + static_cast<size_t>(std::count_if(points_.begin(), points_.begin() + i,
                                                 [](char32_t c) { return c > 0xffff; }));
}

size_t Text::point_at(size_t byte) const
{
    if (ascii_)
        return byte;
    return static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), byte) -
                               starts_.begin()) - 1;
}

bool is_utf8(std::string_view bytes)
{
    if (all_ascii(bytes))
        return true;
    const auto *p = reinterpret_cast<const unsigned char *>(bytes.data());
    const auto *const end = p + bytes.size();
    while (p < end) {
        size_t length;
        // U+FFFD may stand there itself.
        if (decode(p, end, length) == 0xfffd &&
            !(length == 3 && p[0] == 0xef && p[1] == 0xbf && p[2] == 0xbd))
            return false;
        p += length;
    }
    return true;
}

std::string_view stripped(const Text &text)
{
    uint32_t begin = 0, end = static_cast<uint32_t>(text.size());
    while (begin < end && is_space(text[begin]))
        begin++;
    while (end > begin && is_space(text[end - 1]))
        end--;
    return text.bytes({begin, end});
}

char *write_long_utf8(char *out, char32_t c)
{
    if (c >= 0x10000) {
        *out++ = static_cast<char>(0xf0 | c >> 18);
        *out++ = static_cast<char>(0x80 | (c >> 12 & 0x3f));
        *out++ = static_cast<char>(0x80 | (c >> 6 & 0x3f));
    } else if (c >= 0x800) {
        *out++ = static_cast<char>(0xe0 | c >> 12);
        *out++ = static_cast<char>(0x80 | (c >> 6 & 0x3f));
    } else {
        *out++ = static_cast<char>(0xc0 | c >> 6);
    }
    *out++ = static_cast<char>(0x80 | (c & 0x3f));
    return out;
}

void append_utf8(std::string &out, char32_t c)
{
    char bytes[4];
    out.append(bytes, static_cast<size_t>(write_utf8(bytes, c) - bytes));
}

} // namespace onelayer
