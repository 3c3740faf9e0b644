// Reads the header of a safetensors file; the numbers stay where they are.
#include "safetensors.h"
#include "json.h"
#include <algorithm>
#include <cstring>

namespace onelayer {

namespace {

constexpr uint64_t largest_header = 1u << 20; // BERT-Large's has 50,000 bytes
constexpr size_t most_dimensions = 8;

[[noreturn]] void damaged(const std::string &reason)
{
    throw BundleError("truncated or damaged: " + reason + " (fetch the file again)");
}

struct Part {
    uint64_t begin, end;
};

Tensor tensor_of(const std::string &name, const Json &entry, std::string_view numbers, Part &part)
{
    const std::string &kind = entry.at("dtype").string();
    if (kind != "F32" && kind != "I8")
        throw BundleError(name.substr(0, 80) + " is no tensor that export writes");
    Tensor tensor;
    tensor.kind = kind == "I8" ? Tensor::Kind::i8 : Tensor::Kind::f32;
    const auto &shape = entry.at("shape").items();
    if (shape.empty() || shape.size() > most_dimensions)
        damaged("the shape of " + name.substr(0, 80));
    // The product stays below the file's size, so it can't overflow.
    uint64_t bytes = tensor.kind == Tensor::Kind::i8 ? 1 : 4;
    for (const Json &size : shape) {
        const int64_t n = size.integer();
        if (n < 1 || static_cast<uint64_t>(n) > numbers.size() / bytes)
            damaged("the shape of " + name.substr(0, 80));
        bytes *= static_cast<uint64_t>(n);
        tensor.shape.push_back(n);
    }
    const auto &offsets = entry.at("data_offsets").items();
    if (offsets.size() != 2)
        damaged("the place of " + name.substr(0, 80));
    const int64_t begin = offsets[0].integer(), end = offsets[1].integer();
    if (begin < 0 || end < begin || static_cast<uint64_t>(end) > numbers.size() ||
        static_cast<uint64_t>(end - begin) != bytes)
        damaged("the place of " + name.substr(0, 80));
    part = {static_cast<uint64_t>(begin), static_cast<uint64_t>(end)};
    tensor.data = numbers.data() + begin;
    return tensor;
}

} // namespace

Tensors read_safetensors(std::string_view bytes)
{
    if (bytes.substr(0, 23) == "version https://git-lfs")
        throw BundleError("a Git LFS pointer, not the weights (run: git lfs pull)");
    if (bytes.size() < 8)
        damaged("no header");
    uint64_t length = 0;
    for (size_t i = 0; i < 8; i++)
        length |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    if (length > largest_header || length > bytes.size() - 8)
        damaged("a header of " + std::to_string(length) + " bytes");
    const Json header = Json::parse(bytes.substr(8, length));
    const std::string_view numbers = bytes.substr(8 + length);

    Tensors found;
    std::vector<Part> parts;
    for (const auto &[name, entry] : header.members()) {
        if (name == "__metadata__")
            continue;
        Part part;
        if (!found.emplace(name, tensor_of(name, entry, numbers, part)).second)
            damaged("it names " + name.substr(0, 80) + " twice");
        parts.push_back(part);
    }
    std::sort(parts.begin(), parts.end(), [](Part a, Part b) { return a.begin < b.begin; });
    uint64_t at = 0;
    for (const Part &part : parts) {
        if (part.begin != at)
            damaged("tensors that overlap, or a gap between them");
        at = part.end;
    }
    if (at != numbers.size())
        damaged("bytes that belong to no tensor");
    return found;
}

} // namespace onelayer
