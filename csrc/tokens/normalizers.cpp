#include "normalizers.h"
#include "../base/error.h"
#include "charsmap.h"
#include "patterns.h"
#include "tokenizer_files.h"
#include "unicode.h"
#include <algorithm>
#include <string_view>

namespace onelayer {

namespace {

constexpr size_t most_parts = 16; // as tokens/components.py
constexpr int deepest_sequence = 4;

void lowercase(AlignedText &text)
{
    text.expand([](char32_t point, auto emit) {
        const unsigned number = unicode::lower_number(point);
        if (!number)
            return emit(point);
        const unicode::Points made = unicode::mapped_text(number);
        for (size_t i = 0; i < made.size; i++)
            emit(static_cast<char32_t>(made.data[i]));
    });
}

class BertNormalizer final : public Normalizer {
  public:
    explicit BertNormalizer(const Json &component) : rules_(component) {}

    void apply(AlignedText &text) const override
    {
        if (rules_.clean) {
            text.filter(
                [](char32_t c) { return !(unicode::properties(c) & unicode::unclean_bit); });
            for (char32_t &c : text.points)
                c = unicode::is_white(c) ? U' ' : c;
        }
        if (rules_.ideographs)
            text.expand([](char32_t c, auto emit) {
                const bool alone = unicode::properties(c) & unicode::ideograph_bit;
                if (alone)
                    emit(U' ');
                emit(c);
                if (alone)
                    emit(U' ');
            });
        if (rules_.strip_accents) {
            bring_to_normal_form(text, false, false);
            text.filter(
                [](char32_t c) { return !(unicode::properties(c) & unicode::nonspacing_bit); });
        }
        if (rules_.lowercase)
            lowercase(text);
    }

  private:
    BertRules rules_;
};

class Lowercase final : public Normalizer {
  public:
    void apply(AlignedText &text) const override { lowercase(text); }
};

class StripAccents final : public Normalizer {
  public:
    void apply(AlignedText &text) const override
    {
        text.filter([](char32_t c) { return !(unicode::properties(c) & unicode::combining_bit); });
    }
};

class Strip final : public Normalizer {
  public:
    explicit Strip(const Json &component)
        : left_(component.at("strip_left").boolean()), right_(component.at("strip_right").boolean())
    {
    }

    void apply(AlignedText &text) const override
    {
        size_t begin = 0, end = text.size();
        while (left_ && begin < end && unicode::is_white(text.points[begin]))
            begin++;
        while (right_ && end > begin && unicode::is_white(text.points[end - 1]))
            end--;
        text.points.resize(end), text.source.resize(end);
        text.points.erase(text.points.begin(), text.points.begin() + begin);
        text.source.erase(text.source.begin(), text.source.begin() + begin);
    }

  private:
    bool left_, right_;
};

class NormalForm final : public Normalizer {
  public:
    explicit NormalForm(std::string_view name)
        : compatible_(name[2] == 'K'), composed_(name.back() == 'C')
    {
    }

    void apply(AlignedText &text) const override
    {
        bring_to_normal_form(text, compatible_, composed_);
    }

  private:
    bool compatible_, composed_;
};

// SentencePiece's cleaning for translation: control characters go, unusual spaces become spaces.
class Nmt final : public Normalizer {
  public:
    void apply(AlignedText &text) const override
    {
        text.filter([](char32_t c) {
            return !((c >= 0x01 && c <= 0x08) || c == 0x0b || (c >= 0x0e && c <= 0x1f) ||
                     c == 0x7f || c == 0x8f || c == 0x9f);
        });
        for (char32_t &c : text.points)
            if (c == 0x09 || c == 0x0a || c == 0x0c || c == 0x0d || c == 0x1680 ||
                (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                c == 0xfeff || c == 0xfffd)
                c = U' ';
    }
};

class Replace final : public Normalizer {
  public:
    explicit Replace(const Json &component) : pattern_(Pattern::read(component.at("pattern")))
    {
        const Text content(component.at("content").text());
        if (content.size() > pattern_.shortest())
            throw BundleError("a Replace that lengthens the text, to " + shown(content.bytes()));
        for (size_t i = 0; i < content.size(); i++)
            content_.push_back(content[i]);
    }

    void apply(AlignedText &text) const override
    {
        static thread_local AlignedText before;
        Span match;
        if (!pattern_.find(text.points.data(), text.size(), 0, match))
            return;
        before.points.swap(text.points), before.source.swap(text.source);
        text.clear();
        size_t from = 0;
        do {
            text.append(before, from, match.begin);
            // What is put in is made of the last code point that it replaces.
            for (const char32_t c : content_)
                text.push(c, before.source[match.end - 1]);
            from = match.end;
        } while (pattern_.find(before.points.data(), before.size(), from, match));
        text.append(before, from, before.size());
    }

  private:
    Pattern pattern_;
    std::vector<char32_t> content_;
};

class Precompiled final : public Normalizer {
  public:
    explicit Precompiled(const Json &component)
        : table_(component.at("precompiled_charsmap").text())
    {
    }

    void apply(AlignedText &text) const override { table_.apply(text); }

  private:
    Charsmap table_;
};

std::unique_ptr<const Normalizer> read_one(const Json &component)
{
    const std::string &name = component.at("type").string();
    if (name == "BertNormalizer")
        return std::make_unique<BertNormalizer>(component);
    if (name == "Lowercase")
        return std::make_unique<Lowercase>();
    if (name == "StripAccents")
        return std::make_unique<StripAccents>();
    if (name == "Strip")
        return std::make_unique<Strip>(component);
    if (name == "NFC" || name == "NFD" || name == "NFKC" || name == "NFKD")
        return std::make_unique<NormalForm>(name);
    if (name == "Nmt")
        return std::make_unique<Nmt>();
    if (name == "Replace")
        return std::make_unique<Replace>(component);
    if (name == "Precompiled")
        return std::make_unique<Precompiled>(component);
    throw BundleError("the normalizer " + shown(name) + " is not read");
}

void collect(const Json &component, const char *plural, int depth, std::vector<const Json *> &out)
{
    if (component.at("type").string() != "Sequence") {
        out.push_back(&component);
        return;
    }
    if (depth == deepest_sequence)
        throw BundleError(std::string(plural) + " nested too deeply");
    for (const Json &inner : component.at(plural).items())
        if (!inner.is_null())
            collect(inner, plural, depth + 1, out);
}

} // namespace

BertRules::BertRules(const Json &normalizer)
    : clean(normalizer.at("clean_text").boolean()),
      ideographs(normalizer.at("handle_chinese_chars").boolean()),
      lowercase(normalizer.at("lowercase").boolean())
{
    strip_accents = normalizer.boolean_or("strip_accents", lowercase);
}

std::vector<const Json *> components_of(const Json *component, const char *plural)
{
    std::vector<const Json *> found;
    if (component)
        collect(*component, plural, 0, found);
    if (found.size() > most_parts)
        throw BundleError("more than " + std::to_string(most_parts) + " " + plural);
    return found;
}

Normalizers read_normalizers(const Json *component)
{
    Normalizers found;
    for (const Json *one : components_of(component, "normalizers"))
        found.push_back(read_one(*one));
    return found;
}

} // namespace onelayer
