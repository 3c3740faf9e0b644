#include "bert_tokenizer.h"
#include "unicode.h"

namespace onelayer {

BertTokenizer::BertTokenizer(std::shared_ptr<const WordPiece> model, const BertRules &rules,
                             Pipeline pipeline)
    : model_(std::move(model)), rules_(rules), pipeline_(std::move(pipeline))
{
    for (unsigned c = 0; c < 256; c++)
        lower_[c] =
            static_cast<unsigned char>(rules.lowercase && c >= 'A' && c <= 'Z' ? c + 32 : c);
    for (unsigned c = 0; c < 128; c++) {
        const uint32_t found = unicode::properties(c);
        classes_[c] = rules.clean && found & unicode::unclean_bit ? removed
                      : found & unicode::white_bit                ? between
                      : found & unicode::punctuation_bit          ? mark
                                                                  : in_word;
        const char text = static_cast<char>(c);
        const int32_t id = model_->id_of({&text, 1});
        mark_ids_[c] = id < 0 ? model_->unknown() : id;
    }
    unknown = model_->unknown();
}

void BertTokenizer::encode(const Text &text, bool with_offsets, Pieces &out) const
{
    out.ids.clear();
    out.offsets.clear();
    encode_span(text, 0, text.size(), with_offsets, out);
}

void BertTokenizer::encode_words(const Text &text, const std::vector<Span> &words,
                                 WordPieces &out) const
{
    static thread_local Pieces pieces;
    out.word_of.clear();
    pieces.ids.clear();
    for (size_t i = 0; i < words.size(); i++) {
        encode_span(text, words[i].begin, words[i].end, false, pieces);
        out.word_of.resize(pieces.ids.size(), static_cast<uint32_t>(i));
    }
    out.ids.swap(pieces.ids);
}

void BertTokenizer::encode_span(const Text &text, size_t begin, size_t end, bool with_offsets,
                                Pieces &out) const
{
    if (text.is_ascii()) {
        const auto *const bytes = reinterpret_cast<const unsigned char *>(text.bytes().data());
        begin = encode_ascii(bytes, begin, end, with_offsets, out);
    }
    const size_t before = out.ids.size();
    if (encode_points(text, begin, end, with_offsets, out))
        return;
    out.ids.resize(before);
    if (with_offsets)
        out.offsets.resize(before);
    pipeline_.run(text, begin, end, false, with_offsets, out);
}

// Returns where it stopped: at the end, or at the word in which a character is left out, as then
// the word's bytes don't stand side by side.
size_t BertTokenizer::encode_ascii(const unsigned char *text, size_t begin, size_t end,
                                   bool with_offsets, Pieces &out) const
{
    const auto map = [this](unsigned char c) { return lower_[c]; };
    for (size_t i = begin; i < end;) {
        switch (classes_[text[i]]) {
        case between: i++; continue;
        case mark:
            out.ids.push_back(mark_ids_[text[i]]);
            if (with_offsets)
                out.offsets.push_back({static_cast<uint32_t>(i), static_cast<uint32_t>(i + 1)});
            i++;
            continue;
        case removed: return i;
        }
        const size_t first = i;
        while (i < end && classes_[text[i]] == in_word)
            i++;
        if (i < end && classes_[text[i]] == removed)
            return first;
        const size_t before = out.ids.size();
        const auto keep = [&](int32_t id, size_t from, size_t to) {
            out.ids.push_back(id);
            if (with_offsets)
                out.offsets.push_back(
                    {static_cast<uint32_t>(first + from), static_cast<uint32_t>(first + to)});
        };
        if (i - first <= model_->longest() && model_->parts(text + first, i - first, map, keep))
            continue;
        out.ids.resize(before);
        if (with_offsets)
            out.offsets.resize(before);
        keep(model_->unknown(), 0, i - first);
    }
    return end;
}

// Returns false, with some pieces, for a text with a mark that is kept and has to be sorted among
// others: then a piece's characters depend on its neighbours.
bool BertTokenizer::encode_points(const Text &text, size_t begin, size_t end, bool with_offsets,
                                  Pieces &out) const
{
    bool sorted = true;
    static thread_local Word word;
    word.bytes.clear(), word.source.clear(), word.n_points = 0;
    for (size_t i = begin; i < end; i++) {
        const char32_t c = text[i];
        const auto source = static_cast<uint32_t>(i);
        if (c < 0x80) {
            switch (classes_[c]) {
            case removed: break;
            case between: finish(word, with_offsets, out); break;
            case mark:
                finish(word, with_offsets, out);
                out.ids.push_back(mark_ids_[c]);
                if (with_offsets)
                    out.offsets.push_back({source, source + 1});
                break;
            case in_word:
                word.bytes += static_cast<char>(lower_[c]);
                word.source.push_back(source);
                word.n_points++;
            }
            continue;
        }
        const uint32_t found = unicode::properties(c);
        if (rules_.clean && found & unicode::unclean_bit)
            continue;
        const bool alone = rules_.ideographs && found & unicode::ideograph_bit;
        if (alone)
            finish(word, with_offsets, out);
        if (rules_.strip_accents)
            unicode::decompose(c, false, [&](char32_t part) {
                const uint32_t its = unicode::properties(part);
                if (its & unicode::nonspacing_bit)
                    return;
                sorted &= its >> unicode::class_shift == 0;
                add(part, source, with_offsets, word, out);
            });
        else
            add(c, source, with_offsets, word, out);
        if (alone)
            finish(word, with_offsets, out);
    }
    finish(word, with_offsets, out);
    return sorted;
}

// Adds a code point in lower case, if that is wanted, to the word.
void BertTokenizer::add(char32_t c, uint32_t source, bool with_offsets, Word &word,
                        Pieces &out) const
{
    const auto append = [&](char32_t last) {
        const uint32_t found = unicode::properties(last);
        const bool apart = found & (unicode::white_bit | unicode::punctuation_bit);
        if (apart)
            finish(word, with_offsets, out);
        if (found & unicode::white_bit)
            return;
        append_utf8(word.bytes, last);
        word.source.resize(word.bytes.size(), source);
        word.n_points++;
        if (apart)
            finish(word, with_offsets, out);
    };
    const unsigned number = rules_.lowercase ? unicode::lower_number(c) : 0;
    if (!number)
        return append(c);
    const unicode::Points made = unicode::mapped_text(number);
    for (size_t i = 0; i < made.size; i++)
        append(static_cast<char32_t>(made.data[i]));
}

// Cuts the word, if there is one, and begins the next one.
void BertTokenizer::finish(Word &word, bool with_offsets, Pieces &out) const
{
    if (word.bytes.empty())
        return;
    const size_t before = out.ids.size(), size = word.bytes.size();
    const auto keep = [&](int32_t id, size_t from, size_t to) {
        out.ids.push_back(id);
        if (with_offsets)
            out.offsets.push_back({word.source[from], word.source[to - 1] + 1});
    };
    const auto *const bytes = reinterpret_cast<const unsigned char *>(word.bytes.data());
    if (word.n_points > model_->longest() ||
        !model_->parts(
            bytes, size, [](unsigned char c) { return c; }, keep)) {
        out.ids.resize(before);
        if (with_offsets)
            out.offsets.resize(before);
        keep(model_->unknown(), 0, size);
    }
    word.bytes.clear(), word.source.clear(), word.n_points = 0;
}

} // namespace onelayer
