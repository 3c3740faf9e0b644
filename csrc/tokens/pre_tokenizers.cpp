#include "pre_tokenizers.h"
#include "../base/error.h"
#include "normalizers.h"
#include "patterns.h"
#include "tokenizer_files.h"
#include "unicode.h"
#include <array>

namespace onelayer {

namespace {

constexpr char32_t space_mark = 0x2581; // ▁

enum class Behavior { removed, isolated, with_previous, with_next, contiguous };

Behavior read_behavior(const std::string &name)
{
    constexpr std::pair<const char *, Behavior> known[] = {
        {"Removed", Behavior::removed},
        {"Isolated", Behavior::isolated},
        {"MergedWithPrevious", Behavior::with_previous},
        {"MergedWithNext", Behavior::with_next},
        {"Contiguous", Behavior::contiguous}};
    for (const auto &[text, behavior] : known)
        if (name == text)
            return behavior;
    throw BundleError("the behavior " + shown(name) + " of a pre_tokenizer is not read");
}

// A part of a text that a rule finds, or one between those.
struct Found {
    size_t begin, end;
    bool matches;
};

// Adds the parts that a rule's findings make of a text.
void add_parts(const std::vector<Found> &all, Behavior behavior, SplitText &out)
{
    // Whether a finding forms one part with the one before it.
    const auto joins = [&](size_t i) {
        switch (behavior) {
        case Behavior::removed:
        case Behavior::isolated: return false;
        case Behavior::contiguous: return all[i].matches == all[i - 1].matches;
        case Behavior::with_previous: return all[i].matches && !all[i - 1].matches;
        case Behavior::with_next: return all[i - 1].matches && !all[i].matches;
        }
        return false;
    };
    for (size_t i = 0; i < all.size();) {
        const size_t first = i++;
        while (i < all.size() && joins(i))
            i++;
        if (behavior != Behavior::removed || !all[first].matches)
            out.add(all[first].begin, all[i - 1].end);
    }
}

// Splits every part that isn't a token by split(part, found), which tells what a rule finds in it.
template <class Split> void split_parts(SplitText &text, Behavior behavior, Split split)
{
    static thread_local std::vector<SplitText::Part> before;
    static thread_local std::vector<Found> found;
    before.swap(text.parts);
    text.parts.clear();
    for (const SplitText::Part &part : before) {
        if (part.token >= 0) {
            text.parts.push_back(part);
            continue;
        }
        found.clear();
        split(part, found);
        add_parts(found, behavior, text);
    }
}

// Finds each code point that `is` holds for.
template <class Is> void split_at(SplitText &text, Behavior behavior, Is is)
{
    const std::vector<char32_t> &points = text.text.points;
    split_parts(text, behavior, [&](const SplitText::Part &part, std::vector<Found> &found) {
        size_t from = part.begin;
        for (size_t i = from; i < part.end; i++) {
            if (!is(points[i]))
                continue;
            if (from < i)
                found.push_back({from, i, false});
            found.push_back({i, i + 1, true});
            from = i + 1;
        }
        if (from < part.end)
            found.push_back({from, part.end, false});
    });
}

void split_by(SplitText &text, const Pattern &pattern, Behavior behavior, bool invert)
{
    const char32_t *const points = text.text.points.data();
    split_parts(text, behavior, [&](const SplitText::Part &part, std::vector<Found> &found) {
        size_t from = 0;
        const size_t size = part.end - part.begin;
        Span match;
        while (from < size && pattern.find(points + part.begin, size, from, match)) {
            if (from < match.begin)
                found.push_back({part.begin + from, part.begin + match.begin, invert});
            found.push_back({part.begin + match.begin, part.begin + match.end, !invert});
            from = match.end;
        }
        if (from < size)
            found.push_back({part.begin + from, part.end, invert});
    });
}

bool is_punctuation(char32_t c) { return unicode::properties(c) & unicode::punctuation_bit; }
bool is_numeric(char32_t c) { return unicode::properties(c) & unicode::numeric_bit; }
class BertPreTokenizer final : public PreTokenizer {
  public:
    void apply(SplitText &text) const override
    {
        split_at(text, Behavior::removed, unicode::is_white);
        split_at(text, Behavior::isolated, is_punctuation);
    }
};

class WhitespaceSplit final : public PreTokenizer {
  public:
    void apply(SplitText &text) const override
    {
        split_at(text, Behavior::removed, unicode::is_white);
    }
};

// \w+|[^\w\s]+
class Whitespace final : public PreTokenizer {
  public:
    void apply(SplitText &text) const override
    {
        const std::vector<char32_t> &points = text.text.points;
        const auto kind = [&](size_t i) {
            return unicode::is_word(points[i]) ? 0 : unicode::is_white(points[i]) ? 1 : 2;
        };
        split_parts(text, Behavior::removed, [&](const SplitText::Part &part, auto &found) {
            for (size_t i = part.begin; i < part.end;) {
                const size_t first = i++;
                while (i < part.end && kind(i) == kind(first))
                    i++;
                found.push_back({first, i, kind(first) == 1});
            }
        });
    }
};

class Punctuation final : public PreTokenizer {
  public:
    explicit Punctuation(const Json &component)
        : behavior_(read_behavior(component.string_or("behavior", "Isolated")))
    {
    }
    void apply(SplitText &text) const override { split_at(text, behavior_, is_punctuation); }

  private:
    Behavior behavior_;
};

class Digits final : public PreTokenizer {
  public:
    explicit Digits(const Json &component)
        : behavior_(component.at("individual_digits").boolean() ? Behavior::isolated
                                                                : Behavior::contiguous)
    {
    }
    void apply(SplitText &text) const override { split_at(text, behavior_, is_numeric); }

  private:
    Behavior behavior_;
};

class Split final : public PreTokenizer {
  public:
    explicit Split(const Json &component)
        : pattern_(Pattern::read(component.at("pattern"))),
          behavior_(read_behavior(component.at("behavior").string())),
          invert_(component.at("invert").boolean())
    {
    }
    void apply(SplitText &text) const override { split_by(text, pattern_, behavior_, invert_); }

  private:
    Pattern pattern_;
    Behavior behavior_;
    bool invert_;
};

// Copies the parts that aren't tokens into a new text, each by copy(before, part, text); those that
// are tokens as they stand.
template <class Copy> void rebuild(SplitText &text, Copy copy)
{
    static thread_local SplitText before;
    before.text.points.swap(text.text.points);
    before.text.source.swap(text.text.source);
    before.parts.swap(text.parts);
    text.clear();
    for (const SplitText::Part &part : before.parts) {
        const size_t begin = text.text.size();
        if (part.token < 0) {
            copy(before.text, part, text);
        } else {
            text.text.append(before.text, part.begin, part.end);
            text.add(begin, text.text.size(), part.token);
        }
    }
}

class Metaspace final : public PreTokenizer {
  public:
    Metaspace(const Json &component, bool unmarked) : split_(component.boolean_or("split", true))
    {
        const std::string &mark = component.at("replacement").string();
        if (mark != "▁")
            throw BundleError("a Metaspace with " + shown(mark) + " for ▁");
        const std::string scheme = component.string_or("prepend_scheme", "always");
        if (scheme != "always" && scheme != "first" && scheme != "never")
            throw BundleError("the prepend_scheme " + shown(scheme) + " is not read");
        const bool never = scheme == "never" || !component.boolean_or("add_prefix_space", true);
        marks_ = unmarked || never ? none : scheme == "first" ? first : all;
    }

    void apply(SplitText &text) const override
    {
        rebuild(text,
                [this](const AlignedText &before, const SplitText::Part &part, SplitText &out) {
                    size_t from = out.text.size();
                    const bool wanted =
                        marks_ == all ||
                        (marks_ == first && before.source[part.begin].begin == out.text.origin);
                    const char32_t opening = before.points[part.begin];
                    if (wanted && opening != U' ' && opening != space_mark)
                        out.text.push(space_mark, before.source[part.begin]);
                    const size_t copied = out.text.size();
                    out.text.append(before, part.begin, part.end);
                    for (size_t i = copied; i < out.text.size(); i++)
                        if (out.text.points[i] == U' ')
                            out.text.points[i] = space_mark;
                    for (size_t i = from + 1; split_ && i < out.text.size(); i++)
                        if (out.text.points[i] == space_mark)
                            out.add(from, i), from = i;
                    out.add(from, out.text.size());
                });
    }

  private:
    enum { none, first, all } marks_;
    bool split_;
};

// The characters that stand for the 256 bytes in byte-level BPE, as GPT-2 has them: printable ones
// for themselves, the others from U+0100 on.
std::array<char32_t, 256> byte_characters()
{
    std::array<char32_t, 256> found;
    char32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
        found[byte] = printable ? byte : next++;
    }
    return found;
}

class ByteLevel final : public PreTokenizer {
  public:
    ByteLevel(const Json &component, bool unmarked)
        : prefix_(component.at("add_prefix_space").boolean() && !unmarked),
          regex_(component.boolean_or("use_regex", true))
    {
    }

    void apply(SplitText &text) const override
    {
        if (prefix_)
            rebuild(text,
                    [](const AlignedText &before, const SplitText::Part &part, SplitText &out) {
                        const size_t from = out.text.size();
                        if (before.points[part.begin] != U' ')
                            out.text.push(U' ', before.source[part.begin]);
                        out.text.append(before, part.begin, part.end);
                        out.add(from, out.text.size());
                    });
        if (regex_)
            split_by(text, pattern_, Behavior::isolated, false);
        rebuild(text,
                [this](const AlignedText &before, const SplitText::Part &part, SplitText &out) {
                    const size_t from = out.text.size();
                    for (size_t i = part.begin; i < part.end; i++) {
                        const char32_t c = before.points[i];
                        if (c < 0x80) {
                            out.text.push(characters_[c], before.source[i]);
                            continue;
                        }
                        char bytes[4];
                        const char *const bytes_end = write_utf8(bytes, c);
                        for (const char *byte = bytes; byte < bytes_end; byte++)
                            out.text.push(characters_[static_cast<unsigned char>(*byte)],
                                          before.source[i]);
                    }
                    out.add(from, out.text.size());
                });
    }

  private:
    bool prefix_, regex_;
    Pattern pattern_ = Pattern::of_gpt2();
    std::array<char32_t, 256> characters_ = byte_characters();
};

std::unique_ptr<const PreTokenizer> read_one(const Json &component, bool unmarked)
{
    const std::string &name = component.at("type").string();
    if (name == "BertPreTokenizer")
        return std::make_unique<BertPreTokenizer>();
    if (name == "WhitespaceSplit")
        return std::make_unique<WhitespaceSplit>();
    if (name == "Whitespace")
        return std::make_unique<Whitespace>();
    if (name == "Punctuation")
        return std::make_unique<Punctuation>(component);
    if (name == "Digits")
        return std::make_unique<Digits>(component);
    if (name == "Split")
        return std::make_unique<Split>(component);
    if (name == "Metaspace")
        return std::make_unique<Metaspace>(component, unmarked);
    if (name == "ByteLevel")
        return std::make_unique<ByteLevel>(component, unmarked);
    throw BundleError("the pre_tokenizer " + shown(name) + " is not read");
}

} // namespace

PreTokenizers read_pre_tokenizers(const Json *component, bool unmarked)
{
    PreTokenizers found;
    for (const Json *one : components_of(component, "pretokenizers"))
        found.push_back(read_one(*one, unmarked));
    return found;
}

WordMarks read_word_marks(const Json *component)
{
    WordMarks marks;
    for (const Json *one : components_of(component, "pretokenizers")) {
        const std::string &name = one->at("type").string();
        if (name == "ByteLevel") {
            marks.bytes = true;
            marks.first_word |= one->at("add_prefix_space").boolean();
        } else if (name == "Metaspace") {
            marks.first_word |= one->string_or("prepend_scheme", "always") != "never";
        }
    }
    return marks;
}

} // namespace onelayer
