// A reader of JSON for the files of a bundle.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace onelayer {

class JsonDocument;

// A value of a JSON document, which holds it: values are neither copied nor made for themselves.
// Reading a member that is missing or of another type throws a BundleError that names it.
class Json {
  public:
    enum class Kind : uint8_t { null, boolean, number, string, array, object };
    class Items;
    class Members;
    struct Member;

    // Parses a whole document. Throws BundleError for what is no JSON, and where arrays and objects
    // are nested more than 64 deep. Of a repeated key the last value counts. Numbers may be NaN and
    // Infinity, which Python writes. The text need not outlive the document.
    static JsonDocument parse(std::string_view text);

    Json(const Json &) = delete;
    Json(Json &&) = default; // within the document while it grows
    Json &operator=(const Json &) = delete;

    Kind kind() const { return kind_; }
    bool is_null() const { return kind_ == Kind::null; }
    bool is_string() const { return kind_ == Kind::string; }
    bool is_number() const { return kind_ == Kind::number; }
    // A whole number of 64 bits.
    bool is_integer() const { return is_number() && form_ == Form::integer; }
    bool is_array() const { return kind_ == Kind::array; }
    bool is_object() const { return kind_ == Kind::object; }

    // The value, of a type that must be right.
    bool boolean() const;
    double number() const;
    int64_t integer() const;
    // The digits of a whole number that 64 bits can't hold; empty for every other value.
    std::string_view long_integer() const;
    std::string_view text() const; // as long as the document is there
    std::string string() const { return std::string(text()); }
    Items items() const;
    Members members() const;

    // A member that must exist, or one that may be missing or null (then nullptr).
    const Json &at(std::string_view key) const;
    const Json *find(std::string_view key) const;

    // Members with defaults: `otherwise` where the member is missing or null.
    bool boolean_or(std::string_view key, bool otherwise) const;
    double number_or(std::string_view key, double otherwise) const;
    int64_t integer_or(std::string_view key, int64_t otherwise) const;
    std::string string_or(std::string_view key, std::string_view otherwise) const;

  private:
    friend class JsonDocument;
    friend class JsonParser;
    // How a number is held; and a text that is a key.
    enum class Form : uint8_t { other, integer, real, digits, key };

    Json() {}
    [[noreturn]] void wrong(const char *wanted) const;
    bool is_key() const { return kind_ == Kind::string && form_ == Form::key; }
    bool has_inner() const { return kind_ == Kind::array || kind_ == Kind::object; }
    // The value after this one and all that it holds.
    const Json *next() const { return this + (has_inner() ? size_ : 1); }
    std::string_view characters() const { return {characters_, size_}; }

    Kind kind_ = Kind::null;
    Form form_ = Form::other;
    uint32_t size_ = 0; // bytes of a text; values of an array or object, itself and keys included
    union {
        bool boolean_;
        int64_t integer_ = 0;
        double real_;
        const char *characters_;
        size_t count_; // of items or members
    };
};

// The items of an array. To get one by its number takes as long as there are values before it.
class Json::Items {
  public:
    class Iterator {
      public:
        explicit Iterator(const Json *at) : at_(at) {}
        const Json &operator*() const { return *at_; }
        Iterator &operator++()
        {
            at_ = at_->next();
            return *this;
        }
        bool operator!=(const Iterator &other) const { return at_ != other.at_; }

      private:
        const Json *at_;
    };

    explicit Items(const Json &array) : array_(array) {}
    Iterator begin() const { return Iterator(&array_ + 1); }
    Iterator end() const { return Iterator(array_.next()); }
    size_t size() const { return array_.count_; }
    bool empty() const { return size() == 0; }
    const Json &front() const { return (&array_)[1]; }
    const Json &operator[](size_t i) const;

  private:
    const Json &array_;
};

struct Json::Member {
    std::string_view key;
    const Json &value;
};

class Json::Members {
  public:
    class Iterator {
      public:
        explicit Iterator(const Json *at) : at_(at) {}
        Member operator*() const { return {at_->characters(), at_[1]}; }
        Iterator &operator++()
        {
            at_ = at_[1].next();
            return *this;
        }
        bool operator!=(const Iterator &other) const { return at_ != other.at_; }

      private:
        const Json *at_; // a key; its value comes next
    };

    explicit Members(const Json &object) : object_(object) {}
    Iterator begin() const { return Iterator(&object_ + 1); }
    Iterator end() const { return Iterator(object_.next()); }
    size_t size() const { return object_.count_; }
    Member front() const { return *begin(); }

  private:
    const Json &object_;
};

// All values of a document side by side in the order of its text, 16 bytes each: a vocabulary has a
// quarter of a million pairs.
class JsonDocument {
  public:
    JsonDocument(); // null
    const Json &operator*() const { return values_[1]; }
    const Json *operator->() const { return &values_[1]; }

  private:
    friend class JsonParser;

    std::vector<Json> values_; // one that is no key, so that each value has one before it; the rest
    std::vector<std::unique_ptr<char[]>> characters_;
};

} // namespace onelayer
