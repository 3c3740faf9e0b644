// Looks for a bundle at which opening it or asking it crashes. An input is its four JSON files, each
// with a zero byte after it, and then the weights; `mutated_bundles --seeds FOLDER` writes good
// ones. They are put into a single file with the digests that belong to them: a wrong digest would
// end each input before it is read.
//
//     cmake -S csrc -B build/fuzz -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_C_COMPILER=clang
//           -DONELAYER_FUZZERS=ON -DONELAYER_SANITIZE=address,undefined
//     cmake --build build/fuzz && build/fuzz/fuzz_bundle FOLDER -max_total_time=600
#include "../base/sha256.h"
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <onelayer.h>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

constexpr size_t alignment = 64;
constexpr const char *json_names[] = {"config.json", "onelayer.json", "tokenizer.json",
                                      "tokenizer_config.json"};
constexpr const char *weights_name = "onnx/model.safetensors";
const std::string unsigned_digest(64, '0'); // what a seed's record has for the weights

void require(bool holds)
{
    if (!holds)
        std::abort();
}

void pad(std::string &bytes)
{
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
}

std::string little_endian(size_t number)
{
    std::string found;
    for (int i = 0; i < 4; i++)
        found += static_cast<char>(number >> (8 * i) & 0xff);
    return found;
}

std::string as_bytes(const std::string &digest)
{
    std::string found;
    for (size_t i = 0; i < digest.size(); i += 2)
        found += static_cast<char>(std::stoi(digest.substr(i, 2), nullptr, 16));
    return found;
}

// A single file, as csrc/bundle/single_file.h has it. The table's size doesn't depend on what it
// says, as all numbers in it have ten digits.
std::string packed(const std::vector<std::pair<std::string, std::string>> &files)
{
    std::string table, body;
    const auto write_table = [&](size_t begin) {
        table = R"({"files":[)";
        body.clear();
        for (const auto &[name, content] : files) {
            pad(body);
            char places[64];
            std::snprintf(places, sizeof places, R"("offset":%10zu,"size":%10zu,)",
                          begin + body.size(), content.size());
            table += R"({"name":")" + name + "\"," + places + R"("sha256":")" +
                     onelayer::sha256(content) + R"("},)";
            body += content;
        }
        table.back() = ']';
        table += '}';
    };
    write_table(0);
    std::string head(alignment + table.size(), '\0');
    pad(head);
    write_table(head.size());
    const std::string start = "onelayer" + little_endian(1) + little_endian(table.size()) +
                              as_bytes(onelayer::sha256(table));
    head.replace(0, start.size(), start);
    head.replace(alignment, table.size(), table);
    return head + body;
}

// The bundle's files with the weights' digest in the record.
std::vector<std::pair<std::string, std::string>> files_of(std::string_view input)
{
    std::vector<std::pair<std::string, std::string>> files;
    for (const char *const name : json_names) {
        const size_t size = std::min(input.find('\0'), input.size());
        files.emplace_back(name, input.substr(0, size));
        input.remove_prefix(std::min(size + 1, input.size()));
    }
    std::string &record = files[1].second;
    const std::string digest = onelayer::sha256(input);
    for (size_t at; (at = record.find(unsigned_digest)) != std::string::npos;)
        record.replace(at, digest.size(), digest);
    files.emplace_back(weights_name, input);
    return files;
}

// The last call must have said what is wrong: with the bundle, or with what was asked.
void require_refusal()
{
    const onelayer_status status = onelayer_last_status();
    require(status == ONELAYER_BAD_BUNDLE || status == ONELAYER_BAD_INPUT);
    require(*onelayer_error() != '\0');
}

void ask(const onelayer_model *model)
{
    require(std::strlen(onelayer_describe(model)) > 0);
    const onelayer_text text = onelayer_text_of("a good cat \xf0\x9f\x99\x82, \xe5\x8c\x97");
    const onelayer_text options[] = {onelayer_text_of("good"), onelayer_text_of("bad cats")};
    onelayer_input alone{}, pair{}, asked{}, chosen{};
    alone.text = pair.text = asked.text = chosen.text = text;
    pair.pair = asked.question = options[1];
    chosen.options = options, chosen.n_options = 2;
    for (const onelayer_input &input : {alone, pair, asked, chosen}) {
        onelayer_results *const results = onelayer_predict(model, &input, 1);
        if (results)
            require(onelayer_count(results) == 1 && onelayer_json(results, 0) != nullptr);
        else
            require_refusal();
        onelayer_free(results);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const std::string bundle =
        packed(files_of(std::string_view(reinterpret_cast<const char *>(data), size)));
    onelayer_options options{};
    options.threads = 1;
    onelayer_model *const model = onelayer_open_memory(bundle.data(), bundle.size(), &options);
    if (model)
        ask(model);
    else
        require_refusal();
    onelayer_close(model);
    return 0;
}
