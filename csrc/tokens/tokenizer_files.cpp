#include "tokenizer_files.h"
#include "../base/error.h"
#include <algorithm>

namespace onelayer {

namespace {

// Special tokens side by side, or a text, in a post-processor.
struct FramePart {
    std::string text; // "A" or "B"; empty for tokens
    std::vector<int32_t> ids;
    int64_t segment;

    bool operator==(const FramePart &other) const
    {
        return text == other.text && ids == other.ids && segment == other.segment;
    }
};

[[noreturn]] void refuse_template()
{
    throw BundleError("the post_processor is neither [CLS] A [SEP] B [SEP] nor "
                      "<s> A </s></s> B </s>");
}

std::vector<FramePart> frame_parts(const Json &processor, std::string_view name, size_t rows)
{
    std::vector<FramePart> parts;
    for (const Json &piece : processor.at(name).items()) {
        if (piece.members().size() != 1)
            refuse_template();
        const auto &[kind, about] = piece.members().front();
        FramePart part{"", {}, about.at("type_id").integer()};
        const std::string &id = about.at("id").string();
        if (kind == "Sequence") {
            part.text = id;
        } else {
            for (const Json &number : processor.at("special_tokens").at(id).at("ids").items())
                part.ids.push_back(checked_id(number, id, rows));
        }
        FramePart *const last = parts.empty() ? nullptr : &parts.back();
        if (last && part.text.empty() && last->text.empty() && last->segment == part.segment)
            last->ids.insert(last->ids.end(), part.ids.begin(), part.ids.end());
        else
            parts.push_back(std::move(part));
    }
    return parts;
}

} // namespace

const std::array<const char *, 2> &SpecialTokens::usual(Role role)
{
    static constexpr std::array<const char *, 2> texts[n_roles] = {{"[CLS]", "<s>"},
                                                                   {"[SEP]", "</s>"},
                                                                   {"[UNK]", "<unk>"},
                                                                   {"[PAD]", "<pad>"},
                                                                   {"[MASK]", "<mask>"}};
    return texts[role];
}

const char *SpecialTokens::name(Role role)
{
    static constexpr const char *names[n_roles] = {"cls_token", "sep_token", "unk_token",
                                                   "pad_token", "mask_token"};
    return names[role];
}

SpecialTokens::SpecialTokens(const Json &config, std::string_view unknown)
{
    const auto named_as = [&config](std::string_view key) -> std::string {
        const Json *const token = config.find(key);
        if (!token)
            return "";
        return token->is_object() ? token->at("content").string() : token->string();
    };
    for (int i = 0; i < n_roles; i++) {
        const Role role = static_cast<Role>(i);
        named[i] = named_as(name(role));
        for (const char *text : usual(role))
            texts.emplace(text);
    }
    texts.insert(named.begin(), named.end());
    for (const char *key : {"bos_token", "eos_token"})
        texts.insert(named_as(key));
    texts.emplace(unknown);
    texts.erase("");
}

std::vector<AddedToken> read_added_tokens(const Json &tokenizer, const SpecialTokens &special,
                                          size_t rows)
{
    std::vector<AddedToken> tokens;
    const Json *const found = tokenizer.find("added_tokens");
    if (!found)
        return tokens;
    for (const Json &token : found->items()) {
        const std::string &content = token.at("content").string();
        if (content.empty())
            continue;
        tokens.push_back({content, checked_id(token.at("id"), content, rows),
                          special.texts.count(content) > 0, token.boolean_or("single_word", false),
                          token.boolean_or("lstrip", false), token.boolean_or("rstrip", false),
                          token.boolean_or("normalized", false)});
    }
    return tokens;
}

Template read_template(const Json &tokenizer, size_t rows)
{
    const Json &processor = tokenizer.at("post_processor");
    if (processor.at("type").string() != "TemplateProcessing")
        throw BundleError("the post_processor " + shown(processor.at("type").string()) +
                          " is not read, only TemplateProcessing");
    const auto single = frame_parts(processor, "single", rows);
    const auto pair = frame_parts(processor, "pair", rows);
    if (pair.size() != 5 || pair[1].text != "A" || pair[3].text != "B")
        refuse_template();
    const auto &before = pair[0], &first = pair[1], &between = pair[2], &second = pair[3],
               &after = pair[4];
    std::vector<int32_t> twice = after.ids;
    twice.insert(twice.end(), after.ids.begin(), after.ids.end());
    const bool segments_known = before.segment == 0 && first.segment == 0 && between.segment == 0 &&
                                second.segment == after.segment &&
                                (second.segment == 0 || second.segment == 1);
    const bool tokens_known = before.ids.size() == 1 && after.ids.size() == 1 &&
                              (between.ids == after.ids || between.ids == twice) &&
                              before.ids != after.ids;
    const std::vector<FramePart> wanted = {before, first, {"", after.ids, 0}};
    if (!segments_known || !tokens_known || single != wanted)
        refuse_template();
    return {before.ids, between.ids, after.ids, static_cast<uint8_t>(second.segment)};
}

void check_flags(const Json &config, const Json *normalizer)
{
    if (!normalizer || normalizer->at("type").string() != "BertNormalizer")
        return;
    constexpr const char *flags[][2] = {{"do_lower_case", "lowercase"},
                                        {"strip_accents", "strip_accents"},
                                        {"tokenize_chinese_chars", "handle_chinese_chars"}};
    for (const auto &[flag, rule] : flags) {
        const Json *const wanted = config.find(flag), *const found = normalizer->find(rule);
        if (wanted && (!found || wanted->boolean() != found->boolean()))
            throw BundleError(std::string(flag) + " of tokenizer_config.json differs from " + rule +
                              " of tokenizer.json");
    }
}

int32_t checked_id(const Json &id, std::string_view token, size_t rows)
{
    const int64_t number = id.integer();
    if (number < 0 || static_cast<uint64_t>(number) >= std::min<uint64_t>(rows, INT32_MAX))
        throw BundleError("token " + shown(token) + " has the id " + std::to_string(number) +
                          ", and the embedding table has " + std::to_string(rows) + " rows");
    return static_cast<int32_t>(number);
}

std::string shown(std::string_view text)
{
    constexpr size_t longest = 80;
    const bool cut = text.size() > longest;
    size_t size = cut ? longest : text.size();
    while (cut && size && (text[size] & 0xc0) == 0x80) // within a character
        size--;
    std::string out = "'";
    for (const char c : text.substr(0, size))
        out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    return out + (cut ? "...'" : "'");
}

} // namespace onelayer
