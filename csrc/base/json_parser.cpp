// From a text to the values of a document.
#include "json.h"
#include "decimals.h"
#include "error.h"
#include "text.h"
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

namespace onelayer {

namespace {
constexpr int deepest = 64; // arrays and objects within each other: a call of the parser each
} // namespace

class JsonParser {
  public:
    explicit JsonParser(std::string_view text) : text_(text) {}

    JsonDocument document()
    {
        if (!is_utf8(text_))
            throw BundleError("isn't UTF-8 text");
        if (uint64_t{text_.size()} > UINT32_MAX)
            fail("more than 4 GB");
        if (text_.substr(0, 3) == "\xef\xbb\xbf")
            at_ = 3;
        found_.values_.clear();
        found_.values_.reserve(text_.size() / 16 + 8);
        add(Json::Kind::null);
        value(0);
        space();
        if (at_ != text_.size())
            fail("more after its end");
        return std::move(found_);
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

    Json &add(Json::Kind kind)
    {
        found_.values_.push_back(Json());
        found_.values_.back().kind_ = kind;
        return found_.values_.back();
    }

    void value(int depth)
    {
        if (depth > deepest)
            fail("nested too deep");
        space();
        const char c = peek();
        if (c == '{') {
            object(depth);
        } else if (c == '[') {
            array(depth);
        } else if (c == '"') {
            string(Json::Form::other);
        } else if (word("true")) {
            add(Json::Kind::boolean).boolean_ = true;
        } else if (word("false")) {
            add(Json::Kind::boolean).boolean_ = false;
        } else if (word("null")) {
            add(Json::Kind::null);
        } else {
            number();
        }
    }

    // What an array or object at an index holds is added.
    void close(size_t index, size_t count)
    {
        Json &outer = found_.values_[index];
        outer.size_ = static_cast<uint32_t>(found_.values_.size() - index);
        outer.count_ = count;
    }

    void object(int depth)
    {
        const size_t index = found_.values_.size();
        add(Json::Kind::object);
        at_++;
        space();
        if (peek() == '}') {
            at_++;
            return close(index, 0);
        }
        for (size_t count = 1;; count++) {
            space();
            if (peek() != '"')
                fail("a key is missing");
            string(Json::Form::key);
            space();
            if (peek() != ':')
                fail("no colon after a key");
            at_++;
            value(depth + 1);
            space();
            const char c = peek();
            if (c != ',' && c != '}')
                fail("an object does not end");
            at_++;
            if (c == '}')
                return close(index, count);
        }
    }

    void array(int depth)
    {
        const size_t index = found_.values_.size();
        add(Json::Kind::array);
        at_++;
        space();
        if (peek() == ']') {
            at_++;
            return close(index, 0);
        }
        for (size_t count = 1;; count++) {
            value(depth + 1);
            space();
            const char c = peek();
            if (c != ',' && c != ']')
                fail("an array does not end");
            at_++;
            if (c == ']')
                return close(index, count);
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

    // The end of characters that stand for themselves.
    size_t end_of_plain(size_t at) const
    {
        const char *const text = text_.data();
        const size_t size = text_.size();
        while (at < size && text[at] != '"' && text[at] != '\\' &&
               static_cast<unsigned char>(text[at]) >= 0x20)
            at++;
        return at;
    }

    void string(Json::Form form)
    {
        at_++;
        const size_t end = end_of_plain(at_);
        std::string_view whole = text_.substr(at_, end - at_);
        at_ = end;
        if (peek() == '"') {
            at_++;
        } else {
            unescaped_.assign(whole);
            finish_string();
            whole = unescaped_;
        }
        Json &out = add(Json::Kind::string);
        out.form_ = form;
        keep(whole, out);
    }

    // Reads on where a text has an escape, or doesn't end.
    void finish_string()
    {
        for (;;) {
            const size_t from = at_;
            at_ = end_of_plain(from);
            unescaped_.append(text_, from, at_ - from);
            if (at_ == text_.size())
                fail("a text does not end");
            const char c = text_[at_++];
            if (c == '"')
                return;
            if (c != '\\')
                fail("a control character in a text");
            escape(unescaped_);
        }
    }

    // Copies a value's characters. They never move, unlike the values.
    void keep(std::string_view characters, Json &out)
    {
        constexpr size_t block = 1u << 16;
        if (characters.size() > left_) {
            // No more than all that is still to come.
            left_ = std::max(characters.size(), std::min(block, text_.size()));
            found_.characters_.emplace_back(new char[left_]);
            room_ = found_.characters_.back().get();
        }
        if (!characters.empty())
            std::memcpy(room_, characters.data(), characters.size());
        out.characters_ = room_;
        out.size_ = static_cast<uint32_t>(characters.size());
        room_ += characters.size(), left_ -= characters.size();
    }

    void number()
    {
        const auto add_real = [this](double number) {
            Json &out = add(Json::Kind::number);
            out.form_ = Json::Form::real, out.real_ = number;
        };
        if (word("NaN"))
            return add_real(std::numeric_limits<double>::quiet_NaN());
        const size_t sign = peek() == '-';
        if (text_.substr(at_ + sign, 8) == "Infinity") {
            at_ += sign + 8;
            return add_real(sign ? -HUGE_VAL : HUGE_VAL);
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
        const std::string_view written = text_.substr(from, at_ - from);
        if (!whole)
            return add_real(real_of(written));
        Json &out = add(Json::Kind::number);
        const char *const end = written.data() + written.size();
        if (std::from_chars(written.data(), end, out.integer_).ec == std::errc()) {
            out.form_ = Json::Form::integer;
        } else {
            out.form_ = Json::Form::digits;
            keep(written, out);
        }
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

    std::string_view text_;
    size_t at_ = 0;
    JsonDocument found_;
    std::string unescaped_;
    char *room_ = nullptr; // for characters: what is left of the last block
    size_t left_ = 0;
};

JsonDocument Json::parse(std::string_view text) { return JsonParser(text).document(); }

} // namespace onelayer
