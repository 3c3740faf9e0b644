#include "tokenizer.h"
#include "../base/error.h"
#include "bert_tokenizer.h"
#include "tokenizer_files.h"
#include "wordpiece.h"
#include <algorithm>

namespace onelayer {

namespace {

bool is_type(const Json *component, std::string_view type)
{
    return component && component->at("type").string() == type;
}

std::unique_ptr<Tokenizer> read_wordpiece(const Json &tokenizer, const SpecialTokens &special,
                                          size_t rows)
{
    auto model = std::make_shared<const WordPiece>(tokenizer.at("model"), rows);
    const Json *const normalizer = tokenizer.find("normalizer");
    const std::vector<AddedToken> added = read_added_tokens(tokenizer, special, rows);
    for (const AddedToken &token : added)
        if (!token.special)
            throw BundleError("the added token " + shown(token.content) + " is not read");
    if (!is_type(normalizer, "BertNormalizer"))
        throw BundleError("a WordPiece tokenizer without BertNormalizer is not read");
    if (!is_type(tokenizer.find("pre_tokenizer"), "BertPreTokenizer"))
        throw BundleError("a WordPiece tokenizer without BertPreTokenizer is not read");
    return std::make_unique<BertTokenizer>(std::move(model), BertRules(*normalizer));
}

// Throws BundleError for a tokenizer that finds the tokens of its frame in a text.
void refuse_leaking(const Tokenizer &tokenizer, const SpecialTokens &special)
{
    const Template &frame = tokenizer.frame;
    Pieces pieces;
    for (const std::string &token : special.texts) {
        for (const std::string &bytes : {token, " " + token + " a", "a" + token + "a"}) {
            tokenizer.encode(Text(bytes), false, pieces);
            for (const int32_t id : pieces.ids)
                if (id == frame.before[0] || id == frame.after[0])
                    throw BundleError("a tokenizer that takes " + shown(token) +
                                      " in a text for the real one");
        }
    }
}

} // namespace

std::unique_ptr<Tokenizer> Tokenizer::read(const Json &tokenizer, const Json &config,
                                           size_t vocabulary)
{
    const Json &model = tokenizer.at("model");
    const std::string &kind = model.at("type").string();
    if (kind != "WordPiece")
        throw BundleError("a " + shown(kind) + " tokenizer is not read, only WordPiece");
    check_flags(config, tokenizer.find("normalizer"));
    const SpecialTokens special(config, model.at("unk_token").string());
    auto found = read_wordpiece(tokenizer, special, vocabulary);
    found->frame = read_template(tokenizer, vocabulary);
    refuse_leaking(*found, special);
    return found;
}

} // namespace onelayer
