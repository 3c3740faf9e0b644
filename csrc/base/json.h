// A reader of JSON for the files of a bundle.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace onelayer {

// A value of a JSON document. Reading a member that is missing or of another type throws a
// BundleError that names it.
class Json {
  public:
    enum class Kind { null, boolean, number, string, array, object };
    using Member = std::pair<std::string, Json>;

    // Parses a whole document. Throws BundleError for what is no JSON, and where arrays and objects
    // are nested more than 64 deep. Of a repeated key the last value counts. Numbers may be NaN and
    // Infinity, which Python writes.
    static Json parse(std::string_view text);

    Kind kind() const { return kind_; }
    bool is_null() const { return kind_ == Kind::null; }
    bool is_string() const { return kind_ == Kind::string; }
    bool is_number() const { return kind_ == Kind::number; }
    bool is_integer() const { return is_integer_; } // a whole number of 64 bits
    bool is_array() const { return kind_ == Kind::array; }
    bool is_object() const { return kind_ == Kind::object; }

    // The value, of a type that must be right.
    bool boolean() const;
    double number() const;
    int64_t integer() const;
    // The digits of a whole number that 64 bits can't hold; empty for every other value.
    std::string_view long_integer() const;
    const std::string &string() const;
    const std::vector<Json> &items() const;
    const std::vector<Member> &members() const;

    // A member that must exist, or one that may be missing or null (then nullptr).
    const Json &at(std::string_view key) const;
    const Json *find(std::string_view key) const;

    // Members with defaults: `otherwise` where the member is missing or null.
    bool boolean_or(std::string_view key, bool otherwise) const;
    double number_or(std::string_view key, double otherwise) const;
    int64_t integer_or(std::string_view key, int64_t otherwise) const;
    std::string string_or(std::string_view key, std::string_view otherwise) const;

  private:
    friend class JsonParser;
    [[noreturn]] void wrong(const char *wanted) const;

    Kind kind_ = Kind::null;
    bool boolean_ = false, is_integer_ = false;
    int64_t integer_ = 0;
    double number_ = 0;
    std::string string_;
    std::vector<Json> items_;
    std::vector<Member> members_;
    std::string where_; // its key, for messages
};

} // namespace onelayer
