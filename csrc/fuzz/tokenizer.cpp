// Looks for a tokenizer.json or a text at which reading or cutting crashes. An input is a
// tokenizer.json, a zero byte, and a text; `tokenizer_twins --seeds FOLDER` writes good ones.
//
//     cmake -S csrc -B build/fuzz -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_C_COMPILER=clang
//           -DONELAYER_FUZZERS=ON -DONELAYER_SANITIZE=address,undefined
//     cmake --build build/fuzz && build/fuzz/fuzz_tokenizer FOLDER -max_total_time=600
#include "../tokens/tokenizer.h"
#include "../base/error.h"
#include <cstdint>
#include <cstdlib>
#include <string_view>

using namespace onelayer;

namespace {

constexpr size_t rows = 2000;
constexpr std::string_view settings =
    R"({"cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"})";
constexpr std::string_view berts =
    R"({"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]"})";

void require(bool holds)
{
    if (!holds)
        std::abort();
}

void cut(const Tokenizer &tokenizer, const Text &text)
{
    Pieces pieces;
    tokenizer.encode(text, true, pieces);
    require(pieces.ids.size() == pieces.offsets.size());
    for (size_t i = 0; i < pieces.ids.size(); i++) {
        require(pieces.ids[i] >= 0 && static_cast<size_t>(pieces.ids[i]) < rows);
        require(pieces.offsets[i].begin <= pieces.offsets[i].end);
        require(pieces.offsets[i].end <= text.size());
    }
    std::vector<Span> words;
    split_words(text, {{U'-', U'\''}, {U'@'}}, words);
    uint32_t end = 0;
    for (const Span word : words) {
        require(word.begin >= end && word.begin < word.end && word.end <= text.size());
        end = word.end;
    }
    WordPieces by_word;
    tokenizer.encode_words(text, words, by_word);
    require(by_word.ids.size() == by_word.word_of.size());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const std::string_view input(reinterpret_cast<const char *>(data), size);
    const std::string_view rules = input.substr(0, input.find('\0'));
    const std::string_view text = input.substr(rules.size() + (rules.size() < input.size()));
    try {
        const JsonDocument tokenizer = Json::parse(rules);
        for (const std::string_view config : {settings, berts}) {
            try {
                cut(*Tokenizer::read(*tokenizer, *Json::parse(config), rows), Text(text));
            } catch (const Error &) {
            }
        }
    } catch (const Error &) {
    }
    return 0;
}
