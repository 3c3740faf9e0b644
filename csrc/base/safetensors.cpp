// Reads the header of a safetensors file; the numbers stay where they are.
#include "safetensors.h"
#include <algorithm>
#include <memory>

namespace onelayer {

namespace {

constexpr uint64_t largest_header = 1u << 20; // BERT-Large's has 50,000 bytes
constexpr size_t most_dimensions = 8;

[[noreturn]] void damaged(const std::string &reason)
{
    throw BundleError("truncated or damaged: " + reason + " (fetch the file again)");
}

} // namespace

Tensor Safetensors::tensor_of(const std::string &name, const Json &entry, size_t numbers,
                              Part &part)
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
        if (n < 1 || static_cast<uint64_t>(n) > numbers / bytes)
            damaged("the shape of " + name.substr(0, 80));
        bytes *= static_cast<uint64_t>(n);
        tensor.shape.push_back(n);
    }
    const auto &offsets = entry.at("data_offsets").items();
    if (offsets.size() != 2)
        damaged("the place of " + name.substr(0, 80));
    const int64_t begin = offsets[0].integer(), end = offsets[1].integer();
    if (begin < 0 || end < begin || static_cast<uint64_t>(end) > numbers ||
        static_cast<uint64_t>(end - begin) != bytes)
        damaged("the place of " + name.substr(0, 80));
    part.begin = static_cast<uint64_t>(begin), part.end = static_cast<uint64_t>(end);
    return tensor;
}

Safetensors::Safetensors(const ByteSource &file) : file_(file)
{
    char start[23];
    const std::string_view first =
        file.read(0, std::min(sizeof start, file.size()), start);
    if (first == "version https://git-lfs")
        throw BundleError("a Git LFS pointer, not the weights (run: git lfs pull)");
    if (first.size() < 8)
        damaged("no header");
    uint64_t length = 0;
    for (size_t i = 0; i < 8; i++)
        length |= uint64_t{static_cast<unsigned char>(first[i])} << (8 * i);
    if (length > largest_header || length > file.size() - 8)
        damaged("a header of " + std::to_string(length) + " bytes");
    numbers_at_ = 8 + static_cast<size_t>(length);
    const std::unique_ptr<char[]> room(new char[numbers_at_]);
    read_header(hashed(0, numbers_at_, room.get()).substr(8), file.size() - numbers_at_);
}

void Safetensors::read_header(std::string_view text, size_t numbers)
{
    const JsonDocument header = Json::parse(text);
    for (const auto &[key, entry] : header->members()) {
        if (key == "__metadata__")
            continue;
        const std::string name(key);
        Part part;
        const auto [added, is_new] =
            tensors_.emplace(name, tensor_of(name, entry, numbers, part));
        if (!is_new)
            damaged("it names " + name.substr(0, 80) + " twice");
        part.name = &added->first;
        parts_.push_back(part);
    }
    std::sort(parts_.begin(), parts_.end(),
              [](const Part &a, const Part &b) { return a.begin < b.begin; });
    uint64_t at = 0;
    for (const Part &part : parts_) {
        if (part.begin != at)
            damaged("tensors that overlap, or a gap between them");
        at = part.end;
    }
    if (at != numbers)
        damaged("bytes that belong to no tensor");
}

const std::string *Safetensors::next()
{
    return n_named_ < parts_.size() ? parts_[n_named_++].name : nullptr;
}

const char *Safetensors::numbers(char *room)
{
    const Part &part = parts_[n_named_ - 1];
    return hashed(numbers_at_ + static_cast<size_t>(part.begin),
                  static_cast<size_t>(part.end - part.begin), room)
        .data();
}

// Reads bytes and hashes them while they are in the processor's cache.
std::string_view Safetensors::hashed(size_t at, size_t size, char *room)
{
    constexpr size_t block = 1u << 17;
    const char *first = room;
    for (size_t have = 0; have < size; have += block) {
        const std::string_view read =
            file_.read(at + have, std::min(block, size - have), room + have);
        if (have == 0)
            first = read.data();
        sum_.add(read);
    }
    return {first, size};
}

} // namespace onelayer
