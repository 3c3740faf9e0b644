// Reads the table of a single file, and checks all that it says of places.
#include "single_file.h"
#include "../base/error.h"
#include "../base/json.h"
#include "../base/sha256.h"

namespace onelayer {

namespace {

constexpr std::string_view magic = "onelayer";
constexpr size_t head_size = 64, alignment = 64, digest_at = 16;
constexpr uint32_t newest_version = 1;
constexpr uint32_t largest_table = 1u << 20;

uint32_t number_at(std::string_view bytes, size_t at)
{
    uint32_t found = 0;
    for (size_t i = 0; i < 4; i++)
        found |= uint32_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
    return found;
}

int hexadecimal(char c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; }

// A digest in hexadecimal as its 32 bytes.
std::string raw(const std::string &digest)
{
    std::string found;
    for (size_t i = 0; i + 1 < digest.size(); i += 2)
        found += static_cast<char>(hexadecimal(digest[i]) << 4 | hexadecimal(digest[i + 1]));
    return found;
}

[[noreturn]] void damaged(const char *what)
{
    throw BundleError(std::string("truncated or damaged: ") + what +
                      " (fetch the file again, or export the run again)");
}

} // namespace

bool is_single_file(std::string_view bytes) { return bytes.substr(0, magic.size()) == magic; }

BundleFiles files_in(std::string_view bytes, std::map<std::string, std::string> &digests)
{
    if (!is_single_file(bytes))
        throw BundleError("no bundle: a single file is written by onelayer export --single-file");
    if (bytes.size() < head_size)
        damaged("no table");
    const uint32_t version = number_at(bytes, 8), length = number_at(bytes, 12);
    if (version > newest_version)
        throw BundleError("written in format " + std::to_string(version) +
                          ", and this version knows 1 (get a newer libonelayer)");
    if (version < 1 || length > largest_table || length > bytes.size() - head_size)
        damaged("its table");
    const std::string_view table = bytes.substr(head_size, length);
    if (raw(sha256(table)) != bytes.substr(digest_at, 32))
        damaged("its table");

    const Json json = Json::parse(table);
    BundleFiles found;
    size_t from = head_size + length;
    for (const Json &file : json.at("files").items()) {
        const std::string &name = file.at("name").string();
        const int64_t at = file.at("offset").integer(), size = file.at("size").integer();
        if (at < 0 || size < 0 || static_cast<uint64_t>(at) < from ||
            static_cast<uint64_t>(at) % alignment || static_cast<uint64_t>(at) > bytes.size() ||
            static_cast<uint64_t>(size) > bytes.size() - static_cast<uint64_t>(at))
            damaged("a file's place");
        const auto begin = static_cast<size_t>(at), length_of_file = static_cast<size_t>(size);
        for (size_t i = from; i < begin; i++)
            if (bytes[i])
                damaged("bytes between two files");
        if (!found.emplace(name, bytes.substr(begin, length_of_file)).second)
            damaged("two files of one name");
        digests[name] = file.at("sha256").string();
        from = begin + length_of_file;
    }
    if (from != bytes.size())
        damaged("its length");
    return found;
}

} // namespace onelayer
