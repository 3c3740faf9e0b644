#include "json.h"
#include "decimals.h"
#include "error.h"
#include "text.h"
#include <charconv>
#include <cmath>
#include <limits>

namespace onelayer {

namespace {
constexpr int deepest = 64; // arrays and objects within each other: a call of the parser each
}

class JsonParser {
  public:
    explicit JsonParser(std::string_view text) : text_(text) {}

    Json document()
    {
        if (!is_utf8(text_))
            throw BundleError("isn't UTF-8 text");
        if (text_.substr(0, 3) == "\xef\xbb\xbf")
            at_ = 3;
        Json found;
        value(found, 0);
        space();
        if (at_ != text_.size())
            fail("more after its end");
        return found;
    }

  private:
    [[noreturn]] void fail(const char *what) const
    {
        throw BundleError("no JSON: " + std::string(what) + " at byte " + std::to_string(at_));
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void space()
    {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' ||
                                      text_[at_] == '\n' || text_[at_] == '\r'))
            at_++;
    }

    bool word(std::string_view wanted)
    {
        if (text_.substr(at_, wanted.size()) != wanted)
            return false;
        at_ += wanted.size();
        return true;
    }

    void value(Json &out, int depth)
    {
        if (depth > deepest)
            fail("nested too deep");
        space();
        const char c = peek();
        if (c == '{') {
            object(out, depth);
        } else if (c == '[') {
            array(out, depth);
        } else if (c == '"') {
            out.kind_ = Json::Kind::string;
            string(out.string_);
        } else if (word("true")) {
            out.kind_ = Json::Kind::boolean, out.boolean_ = true;
        } else if (word("false")) {
            out.kind_ = Json::Kind::boolean, out.boolean_ = false;
        } else if (!word("null")) {
            number(out);
        }
    }

    void object(Json &out, int depth)
    {
        out.kind_ = Json::Kind::object;
        at_++;
        space();
        if (peek() == '}') {
            at_++;
            return;
        }
        for (;;) {
            space();
            if (peek() != '"')
                fail("a key is missing");
            auto &member = out.members_.emplace_back();
            string(member.first);
            space();
            if (peek() != ':')
                fail("no colon after a key");
            at_++;
            value(member.second, depth + 1);
            member.second.where_ = member.first;
            space();
            const char c = peek();
            if (c != ',' && c != '}')
                fail("an object does not end");
            at_++;
            if (c == '}')
                return;
        }
    }

    void array(Json &out, int depth)
    {
        out.kind_ = Json::Kind::array;
        at_++;
        space();
        if (peek() == ']') {
            at_++;
            return;
        }
        for (;;) {
            value(out.items_.emplace_back(), depth + 1);
            space();
            const char c = peek();
            if (c != ',' && c != ']')
                fail("an array does not end");
            at_++;
            if (c == ']')
                return;
        }
    }

    unsigned hexadecimal()
    {
        unsigned found = 0;
        if (text_.size() - at_ < 4)
            fail("a text does not end");
        for (int i = 0; i < 4; i++) {
            const char c = text_[at_++];
            const int digit = c >= '0' && c <= '9'   ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
            if (digit < 0)
                fail("a wrong escape");
            found = found << 4 | static_cast<unsigned>(digit);
        }
        return found;
    }

    void escape(std::string &out)
    {
        const char c = peek();
        at_++;
        switch (c) {
        case '"': case '\\': case '/': out += c; return;
        case 'b': out += '\b'; return;
        case 'f': out += '\f'; return;
        case 'n': out += '\n'; return;
        case 'r': out += '\r'; return;
        case 't': out += '\t'; return;
        case 'u': break;
        default: fail("a wrong escape");
        }
        char32_t point = hexadecimal();
        if (point >= 0xd800 && point < 0xdc00 && text_.substr(at_, 2) == "\\u") {
            const size_t before = at_;
            at_ += 2;
            const unsigned low = hexadecimal();
            if (low >= 0xdc00 && low < 0xe000)
                point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
            else
                at_ = before; // two halves that don't belong together
        }
        append_utf8(out, point >= 0xd800 && point < 0xe000 ? 0xfffd : point);
    }

    void string(std::string &out)
    {
        at_++;
        for (;;) {
            const size_t from = at_;
            while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
                   static_cast<unsigned char>(text_[at_]) >= 0x20)
                at_++;
            out.append(text_, from, at_ - from);
            if (at_ == text_.size())
                fail("a text does not end");
            const char c = text_[at_++];
            if (c == '"')
                return;
            if (c != '\\')
                fail("a control character in a text");
            escape(out);
        }
    }

    void number(Json &out)
    {
        out.kind_ = Json::Kind::number;
        if (word("NaN")) {
            out.number_ = std::numeric_limits<double>::quiet_NaN();
            return;
        }
        const size_t sign = peek() == '-';
        if (text_.substr(at_ + sign, 8) == "Infinity") {
            at_ += sign + 8;
            out.number_ = sign ? -HUGE_VAL : HUGE_VAL;
            return;
        }
        const size_t from = at_;
        at_ += sign;
        const bool zero = peek() == '0';
        bool whole = true;
        if (digits() > 1 && zero)
            fail("a number with a zero before it");
        if (peek() == '.')
            at_++, whole = false, digits();
        if (peek() == 'e' || peek() == 'E') {
            at_++, whole = false;
            at_ += peek() == '+' || peek() == '-';
            digits();
        }
        const char *const begin = text_.data() + from, *const end = text_.data() + at_;
        if (whole && std::from_chars(begin, end, out.integer_).ec == std::errc()) {
            out.is_integer_ = true;
            out.number_ = static_cast<double>(out.integer_);
            return;
        }
        if (read_decimal(begin, end, out.number_).ec == std::errc::result_out_of_range)
            out.number_ = beyond(text_.substr(from, at_ - from));
        if (whole)
            out.string_.assign(begin, end);
    }

    // Passes the digits, one at least; returns how many there are.
    size_t digits()
    {
        const size_t from = at_;
        while (peek() >= '0' && peek() <= '9')
            at_++;
        if (at_ == from)
            fail("a wrong value");
        return at_ - from;
    }

    // A number that fp64 can't hold: zero or infinite, as Python reads it.
    static double beyond(std::string_view number)
    {
        const bool negative = number[0] == '-';
        const size_t exponent = number.find_first_of("eE");
        const bool small = exponent == std::string_view::npos ? number[negative] == '0'
                                                              : number[exponent + 1] == '-';
        const double size = small ? 0.0 : HUGE_VAL;
        return negative ? -size : size;
    }

    std::string_view text_;
    size_t at_ = 0;
};

Json Json::parse(std::string_view text) { return JsonParser(text).document(); }

void Json::wrong(const char *wanted) const
{
    throw BundleError((where_.empty() ? "a value" : where_) + " is not " + wanted);
}

bool Json::boolean() const
{
    if (kind_ != Kind::boolean)
        wrong("true or false");
    return boolean_;
}

double Json::number() const
{
    if (kind_ != Kind::number)
        wrong("a number");
    return number_;
}

int64_t Json::integer() const
{
    if (kind_ != Kind::number || !is_integer_)
        wrong("a whole number");
    return integer_;
}

std::string_view Json::long_integer() const
{
    return kind_ == Kind::number ? std::string_view(string_) : std::string_view();
}

const std::string &Json::string() const
{
    if (kind_ != Kind::string)
        wrong("a text");
    return string_;
}

const std::vector<Json> &Json::items() const
{
    if (kind_ != Kind::array)
        wrong("a list");
    return items_;
}

const std::vector<Json::Member> &Json::members() const
{
    if (kind_ != Kind::object)
        wrong("an object");
    return members_;
}

const Json *Json::find(std::string_view key) const
{
    const auto &all = members();
    for (auto member = all.rbegin(); member != all.rend(); ++member)
        if (member->first == key)
            return member->second.is_null() ? nullptr : &member->second;
    return nullptr;
}

const Json &Json::at(std::string_view key) const
{
    if (const Json *found = find(key))
        return *found;
    throw BundleError("without " + std::string(key));
}

bool Json::boolean_or(std::string_view key, bool otherwise) const
{
    const Json *found = find(key);
    return found ? found->boolean() : otherwise;
}

double Json::number_or(std::string_view key, double otherwise) const
{
    const Json *found = find(key);
    return found ? found->number() : otherwise;
}

int64_t Json::integer_or(std::string_view key, int64_t otherwise) const
{
    const Json *found = find(key);
    return found ? found->integer() : otherwise;
}

std::string Json::string_or(std::string_view key, std::string_view otherwise) const
{
    const Json *found = find(key);
    return found ? found->string() : std::string(otherwise);
}

} // namespace onelayer
