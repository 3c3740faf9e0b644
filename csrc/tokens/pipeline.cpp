#include "pipeline.h"
#include <string>

namespace onelayer {

Pipeline::Pipeline(const Json &tokenizer, std::vector<AddedToken> added,
                   std::shared_ptr<const TokenModel> model)
    : model_(std::move(model))
{
    auto normalizers =
        std::make_shared<const Normalizers>(read_normalizers(tokenizer.find("normalizer")));
    added_ = std::make_shared<const AddedTokens>(std::move(added), *normalizers);
    normalizers_ = std::move(normalizers);
    pre_tokenizers_ = std::make_shared<const PreTokenizers>(
        read_pre_tokenizers(tokenizer.find("pre_tokenizer"), false));
}

Pipeline Pipeline::unmarked(const Json &tokenizer) const
{
    Pipeline other = *this;
    other.pre_tokenizers_ = std::make_shared<const PreTokenizers>(
        read_pre_tokenizers(tokenizer.find("pre_tokenizer"), true));
    return other;
}

int32_t Pipeline::id_of(std::string_view token) const
{
    const int32_t found = added_->id_of(token);
    return found < 0 ? model_->id_of(token) : found;
}

void Pipeline::run(const Text &text, size_t begin, size_t end, bool spaced, bool with_offsets,
                   Pieces &out) const
{
    static thread_local AlignedText raw;
    static thread_local SplitText split;
    static thread_local std::string bytes;
    static thread_local std::vector<uint32_t> points; // the code point of each byte
    static thread_local std::vector<WordPart> parts;
    raw.assign(text, begin, end);
    if (spaced) {
        raw.points.insert(raw.points.begin(), U' ');
        raw.source.insert(raw.source.begin(), Span{raw.origin, raw.origin});
    }
    added_->split(raw, *normalizers_, split);
    for (const auto &rule : *pre_tokenizers_)
        rule->apply(split);
    const std::vector<Span> &source = split.text.source;
    for (const SplitText::Part &part : split.parts) {
        if (part.token >= 0) {
            out.ids.push_back(part.token);
            if (with_offsets)
                out.offsets.push_back({source[part.begin].begin, source[part.end - 1].end});
            continue;
        }
        const size_t n_points = part.end - part.begin;
        if (bytes.size() < 4 * n_points)
            bytes.resize(4 * n_points), points.resize(4 * n_points, 0);
        char *bytes_end = bytes.data();
        for (uint32_t i = part.begin, *point = points.data(); i < part.end; i++)
            for (bytes_end = write_utf8(bytes_end, split.text.points[i]);
                 point - points.data() < bytes_end - bytes.data();)
                *point++ = i;
        parts.clear();
        model_->cut({bytes.data(), static_cast<size_t>(bytes_end - bytes.data())}, n_points, parts);
        for (const WordPart &found : parts) {
            out.ids.push_back(found.id);
            if (with_offsets)
                out.offsets.push_back(
                    {source[points[found.begin]].begin, source[points[found.end - 1]].end});
        }
    }
}

} // namespace onelayer
