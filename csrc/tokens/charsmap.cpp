#include "charsmap.h"
#include "../base/error.h"
#include "unicode.h"
#include <algorithm>
#include <cstring>

namespace onelayer {

namespace {

constexpr size_t longest_text = 100;    // bytes that a character may become; NFKC's longest has 33
constexpr size_t longest_cluster = 5;   // bytes of a grapheme cluster that is looked for as a whole
constexpr uint32_t is_value = 1u << 31; // a unit that is a place among the texts, not a node
constexpr uint32_t has_value = 1u << 8; // a node that ends a text: its child 0 is a value

// The place to which a byte is added for a node's child.
size_t children(uint32_t node) { return size_t{node >> 10} << ((node & 512) >> 6); }

[[noreturn]] void refuse(const char *what)
{
    throw BundleError(std::string("a Precompiled table of characters that is damaged, in ") + what);
}

std::string decode_base64(std::string_view text)
{
    while (!text.empty() && text.back() == '=')
        text.remove_suffix(1);
    std::string out;
    out.reserve(text.size() * 3 / 4);
    uint32_t bits = 0;
    int n_bits = 0;
    for (const char c : text) {
        const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                          : c >= 'a' && c <= 'z' ? c - 'a' + 26
                          : c >= '0' && c <= '9' ? c - '0' + 52
                          : c == '+'             ? 62
                          : c == '/'             ? 63
                                                 : -1;
        if (value < 0)
            refuse("its base64");
        bits = bits << 6 | static_cast<uint32_t>(value);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out += static_cast<char>(bits >> n_bits & 0xff);
        }
    }
    return out;
}

} // namespace

Charsmap::Charsmap(std::string_view base64)
{
    const std::string data = decode_base64(base64);
    uint32_t size = 0;
    if (data.size() < sizeof size)
        refuse("its size");
    std::memcpy(&size, data.data(), sizeof size);
    if (size == 0 || size % 1024 || size > data.size() - sizeof size)
        refuse("its size");
    units_.resize(size / sizeof(uint32_t));
    std::memcpy(units_.data(), data.data() + sizeof size, size);
    texts_ = data.substr(sizeof size + size);
    check();
    for (unsigned c = 0; c < plain_.size(); c++) {
        const char byte = static_cast<char>(c);
        std::string_view made;
        // A carriage return is one cluster with the line feed after it.
        plain_[c] = c != '\r' && !find({&byte, 1}, made);
    }
}

// Every child and every text must lie inside of the table.
void Charsmap::check() const
{
    const size_t last_end = texts_.rfind('\0');
    for (size_t i = 0; i < units_.size(); i++) {
        const uint32_t unit = units_[i];
        if (unit & is_value)
            continue;
        const size_t child = i ^ children(unit);
        if (child >= units_.size())
            refuse("a node");
        if (!(unit & has_value))
            continue;
        const size_t place = units_[child] & ~is_value;
        if (last_end == std::string::npos || place > last_end || (texts_[place] & 0xc0) == 0x80)
            refuse("a text");
        if (texts_.find('\0', place) - place > longest_text)
            throw BundleError("a Precompiled table that makes more than " +
                              std::to_string(longest_text) + " bytes of a character");
    }
}

bool Charsmap::find(std::string_view bytes, std::string_view &made) const
{
    size_t at = children(units_[0]);
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte == 0)
            return false;
        at ^= byte;
        if (at >= units_.size() || (units_[at] & (is_value | 0xff)) != byte)
            return false;
        const uint32_t unit = units_[at];
        at ^= children(unit);
        if (unit & has_value) {
            const size_t place = units_[at] & ~is_value;
            made = std::string_view(texts_).substr(place, texts_.find('\0', place) - place);
            return true;
        }
    }
    return false;
}

size_t Charsmap::plain_end(const std::vector<char32_t> &points, size_t begin) const
{
    const size_t size = points.size();
    size_t i = begin;
    while (i < size && points[i] < plain_.size() && plain_[points[i]])
        i++;
    // What isn't ASCII may belong to the cluster of the code point before.
    return i > begin && i < size && points[i] >= plain_.size() ? i - 1 : i;
}

void Charsmap::apply(AlignedText &text) const
{
    if (plain_end(text.points, 0) == text.size())
        return;
    static thread_local std::vector<AlignedText::Change> changes;
    static thread_local std::string bytes;
    static thread_local Text made_points;
    changes.clear();
    bool modified = false;
    // Puts `made` in the place of n code points.
    const auto replace = [&](size_t n, std::string_view made) {
        made_points.assign(made);
        for (size_t i = 0; i < made_points.size(); i++)
            changes.push_back({made_points[i], i < n ? 0 : 1});
        if (made_points.size() < n && !changes.empty())
            changes.back().change -= static_cast<int>(n - made_points.size());
        modified = true;
    };
    std::string_view made;
    for (size_t i = 0;;) {
        for (const size_t end = plain_end(text.points, i); i < end; i++)
            changes.push_back({text.points[i], 0});
        if (i == text.size())
            break;
        const size_t end = unicode::cluster_end(text.points.data(), text.size(), i);
        bytes.clear();
        for (size_t k = i; k < end && bytes.size() <= longest_cluster; k++)
            append_utf8(bytes, text.points[k]);
        if (bytes.size() <= longest_cluster && find(bytes, made)) {
            replace(end - i, made);
            i = end;
        }
        for (; i < end; i++) {
            bytes.clear();
            append_utf8(bytes, text.points[i]);
            if (find(bytes, made))
                replace(1, made);
            else
                changes.push_back({text.points[i], 0});
        }
    }
    if (modified)
        text.rewrite(changes);
}

} // namespace onelayer
