// The patterns that a Replace or Split may have: a text, or one of the regular expressions of
// published encoders.
#pragma once
#include "../base/json.h"
#include "../base/text.h"
#include <vector>

namespace onelayer {

class Pattern {
  public:
    // Reads {"String": ...} or {"Regex": ...}. Throws BundleError for other regular expressions
    // than those that tokens/components.py knows.
    static Pattern read(const Json &pattern);
    // The one of GPT-2, which byte-level BPE has without saying it.
    static Pattern of_gpt2() { return Pattern(Kind::gpt2); }

    // Finds the first match in points[from, size). Matches are never empty.
    bool find(const char32_t *points, size_t size, size_t from, Span &match) const;
    // The least number of code points that a match has.
    size_t shortest() const { return kind_ == Kind::text ? text_.size() : 1; }

  private:
    enum class Kind { text, spaces, white, white_or_breaks, gpt2, llama };

    explicit Pattern(Kind kind) : kind_(kind) {}

    Kind kind_;
    std::vector<char32_t> text_;
};

} // namespace onelayer
