#include "tokenizer.h"
#include "../base/error.h"
#include "bert_tokenizer.h"
#include "bpe.h"
#include "marked_tokenizer.h"
#include "tokenizer_files.h"
#include "unigram.h"
#include "wordpiece.h"
#include <algorithm>

namespace onelayer {

namespace {

// WordPiece with other rules than BERT's.
class PlainTokenizer final : public Tokenizer {
  public:
    explicit PlainTokenizer(Pipeline pipeline) : pipeline_(std::move(pipeline)) {}

    void encode(const Text &text, bool with_offsets, Pieces &out) const override
    {
        out.ids.clear();
        out.offsets.clear();
        pipeline_.run(text, 0, text.size(), false, with_offsets, out);
    }

    void encode_words(const Text &text, const std::vector<Span> &words,
                      WordPieces &out) const override
    {
        static thread_local Pieces pieces;
        pieces.ids.clear();
        out.word_of.clear();
        for (size_t i = 0; i < words.size(); i++) {
            pipeline_.run(text, words[i].begin, words[i].end, false, false, pieces);
            out.word_of.resize(pieces.ids.size(), static_cast<uint32_t>(i));
        }
        out.ids.swap(pieces.ids);
    }

  private:
    Pipeline pipeline_;
};

// A tokenizer while it is read.
class Reader {
  public:
    Reader(const Json &tokenizer, const Json &config, size_t rows)
        : tokenizer_(tokenizer), model_(tokenizer.at("model")), kind_(model_.at("type").string()),
          rows_(rows), unknown_(unknown_token()), special_(config, unknown_)
    {
        check_flags(config, tokenizer.find("normalizer"));
        added_ = read_added_tokens(tokenizer, special_, rows);
    }

    std::unique_ptr<Tokenizer> read()
    {
        std::unique_ptr<Tokenizer> found = kind_ == "WordPiece" ? wordpiece() : marked();
        found->frame = read_template(tokenizer_, rows_);
        set_special_tokens(*found);
        return found;
    }

  private:
    // The model's token for what it doesn't know; empty if it has none.
    std::string unknown_token() const
    {
        if (kind_ == "WordPiece")
            return model_.at("unk_token").string();
        if (kind_ == "BPE")
            return model_.string_or("unk_token", "");
        if (kind_ != "Unigram")
            throw BundleError("a " + shown(kind_) +
                              " tokenizer, where WordPiece, BPE and Unigram are read");
        const auto pieces = model_.at("vocab").items();
        const int64_t number = model_.at("unk_id").integer();
        if (number < 0 || static_cast<uint64_t>(number) >= pieces.size())
            throw BundleError("unk_id is " + std::to_string(number) + ", and there are " +
                              std::to_string(pieces.size()) + " tokens");
        const auto piece = pieces[static_cast<size_t>(number)].items();
        if (piece.empty())
            throw BundleError("a token without a text");
        return piece[0].string();
    }

    Pipeline pipeline(std::shared_ptr<const TokenModel> model)
    {
        check_added_tokens(*model);
        Pipeline found(tokenizer_, added_, std::move(model));
        known_.push_back(found);
        return found;
    }

    std::unique_ptr<Tokenizer> wordpiece()
    {
        auto model = std::make_shared<const WordPiece>(model_, rows_);
        Pipeline steps = pipeline(model);
        const Json *const normalizer = tokenizer_.find("normalizer");
        const bool finds_tokens = std::any_of(added_.begin(), added_.end(),
                                              [](const AddedToken &one) { return !one.special; });
        if (finds_tokens || !is_type(normalizer, "BertNormalizer") ||
            !is_type(tokenizer_.find("pre_tokenizer"), "BertPreTokenizer"))
            return std::make_unique<PlainTokenizer>(std::move(steps));
        return std::make_unique<BertTokenizer>(std::move(model), BertRules(*normalizer),
                                               std::move(steps));
    }

    std::unique_ptr<Tokenizer> marked()
    {
        if (kind_ == "BPE")
            return std::make_unique<MarkedTokenizer>(
                tokenizer_, pipeline(std::make_shared<const Bpe>(model_, rows_)));
        auto model = std::make_shared<const Unigram>(model_, special_, rows_);
        // A Unigram model would find its own special tokens in a text.
        added_.erase(std::remove_if(
                         added_.begin(), added_.end(),
                         [&](const AddedToken &token) { return model->is_special(token.content); }),
                     added_.end());
        return std::make_unique<MarkedTokenizer>(tokenizer_, pipeline(std::move(model)));
    }

    static bool is_type(const Json *component, std::string_view type)
    {
        return component && component->at("type").string() == type;
    }

    // An added token that the model has, too, must have the model's id.
    void check_added_tokens(const TokenModel &model) const
    {
        for (const AddedToken &token : added_)
            if (const int32_t id = model.id_of(token.content); id >= 0 && id != token.id)
                throw BundleError("the added token " + shown(token.content) + " has the id " +
                                  std::to_string(token.id) + ", and the model's has " +
                                  std::to_string(id));
    }

    // The id of a role's token; -1 if there is none.
    int32_t id_of(SpecialTokens::Role role) const
    {
        const std::string &named = special_.named[role];
        if (!named.empty())
            return known_[0].id_of(named);
        for (const char *text : SpecialTokens::usual(role))
            if (const int32_t id = known_[0].id_of(text); id >= 0)
                return id;
        return -1;
    }

    void set_special_tokens(Tokenizer &tokenizer) const
    {
        tokenizer.unknown =
            unknown_.empty() ? id_of(SpecialTokens::unk) : known_[0].id_of(unknown_);
        const Template &frame = tokenizer.frame;
        if (tokenizer.unknown < 0 || id_of(SpecialTokens::cls) != frame.before[0] ||
            id_of(SpecialTokens::sep) != frame.after[0])
            throw BundleError("cls_token, sep_token and unk_token of tokenizer_config.json are not "
                              "those of the vocabulary and the post_processor");
        const std::array<int32_t, 3> ids = {frame.before[0], frame.after[0],
                                            id_of(SpecialTokens::pad)};
        Pieces pieces;
        for (const std::string &token : special_.texts)
            for (const std::string &text : {token, " " + token + " a", "a" + token + "a"}) {
                tokenizer.encode(Text(text), false, pieces);
                for (const int32_t id : pieces.ids)
                    if (std::find(ids.begin(), ids.end(), id) != ids.end())
                        throw BundleError("a tokenizer that takes " + shown(token) +
                                          " in a text for the real one");
            }
    }

    const Json &tokenizer_, &model_;
    std::string kind_;
    size_t rows_;
    std::string unknown_;
    SpecialTokens special_;
    std::vector<AddedToken> added_;
    std::vector<Pipeline> known_; // one, once the model is read
};

} // namespace

std::unique_ptr<Tokenizer> Tokenizer::read(const Json &tokenizer, const Json &config,
                                           size_t vocabulary)
{
    return Reader(tokenizer, config, vocabulary).read();
}

} // namespace onelayer
