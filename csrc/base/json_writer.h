// A writer of JSON for predictions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace onelayer {

// Writes one document as Python's json.dumps(ensure_ascii=False) does: ", " and ": " as separators.
class JsonWriter {
  public:
    JsonWriter &begin_object();
    JsonWriter &end_object();
    JsonWriter &begin_array();
    JsonWriter &end_array();
    JsonWriter &key(std::string_view name);
    JsonWriter &value(std::string_view text);
    JsonWriter &value(const char *text) { return value(std::string_view(text)); }
    JsonWriter &value(bool yes);
    JsonWriter &value(int64_t number);
    // A number to the seven digits that fp32 has, as predictions are written; null if not finite.
    JsonWriter &value(double number);
    JsonWriter &null();
    // A number as Python's json.dumps writes it, to all its digits; also NaN and Infinity.
    JsonWriter &exact(double number);
    // A value that is written already.
    JsonWriter &raw(std::string_view json);

    const std::string &text() const { return text_; }
    std::string take() { return std::move(text_); }

  private:
    void before_value();

    std::string text_;
    bool first_ = true, after_key_ = false;
};

} // namespace onelayer
