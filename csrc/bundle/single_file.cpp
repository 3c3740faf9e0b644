// Reads the table of a single file, and checks all that it says of places.
#include "single_file.h"
#include "../base/error.h"
#include "../base/json.h"
#include "../base/sha256.h"
#include <algorithm>

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

void check_zeros(const ByteSource &all, size_t begin, size_t end)
{
    char room[4096];
    while (begin < end) {
        const std::string_view some = all.read(begin, std::min(sizeof room, end - begin), room);
        if (some.find_first_not_of('\0') != std::string_view::npos)
            damaged("bytes between two files");
        begin += some.size();
    }
}

} // namespace

BundleFiles files_in(const ByteSource &all)
{
    char room[head_size];
    const std::string_view head = all.read(0, std::min(head_size, all.size()), room);
    if (head.substr(0, magic.size()) != magic)
        throw BundleError("no bundle: a single file is written by onelayer export --single-file");
    if (head.size() < head_size)
        damaged("no table");
    const uint32_t version = number_at(head, 8), length = number_at(head, 12);
    if (version > newest_version)
        throw BundleError("written in format " + std::to_string(version) +
                          ", and this version knows 1 (get a newer libonelayer)");
    if (version < 1 || length > largest_table || length > all.size() - head_size)
        damaged("its table");
    const WholeBytes table(PartOfBytes(all, head_size, length));
    if (raw(sha256(table.bytes())) != head.substr(digest_at, 32))
        damaged("its table");

    const JsonDocument json = Json::parse(table.bytes());
    BundleFiles found;
    size_t from = head_size + length;
    for (const Json &file : json->at("files").items()) {
        const std::string &name = file.at("name").string();
        const int64_t at = file.at("offset").integer(), size = file.at("size").integer();
        if (at < 0 || size < 0 || static_cast<uint64_t>(at) < from ||
            static_cast<uint64_t>(at) % alignment || static_cast<uint64_t>(at) > all.size() ||
            static_cast<uint64_t>(size) > all.size() - static_cast<uint64_t>(at))
            damaged("a file's place");
        const BundleFile one = {static_cast<size_t>(at), static_cast<size_t>(size),
                                file.at("sha256").string()};
        check_zeros(all, from, one.begin);
        from = one.begin + one.size;
        if (!found.emplace(name, one).second)
            damaged("two files of one name");
    }
    if (from != all.size())
        damaged("its length");
    return found;
}

} // namespace onelayer
