// Files of a bundle, which may come from anybody: none blocks the process, fills the memory, or leads
// out of its directory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace onelayer {

constexpr size_t largest_json = 32u << 20; // bytes of a JSON file; LaBSE's vocabulary takes 13 MB
constexpr size_t largest_weights =
    sizeof(size_t) > 4 ? static_cast<size_t>(uint64_t{1} << 36) : SIZE_MAX / 2;

bool is_directory(const std::string &path);
bool is_file(const std::string &path);

// Reads a regular file of at most `most` bytes. Throws BundleError, with the path.
std::string read_file(const std::string &path, size_t most);

// The path of a file in a model directory. Throws BundleError for a file that is missing or not a
// regular one, and for a link out of the directory: one may only lead to the blobs that the Hub's
// cache keeps next to its snapshots.
std::string file_in(const std::string &folder, const std::string &name);

// A file's bytes in memory: mapped where the system can map files, else read.
class MappedFile {
  public:
    // Throws BundleError, with the path.
    explicit MappedFile(const std::string &path);
    ~MappedFile();
    MappedFile(const MappedFile &) = delete;
    MappedFile &operator=(const MappedFile &) = delete;

    std::string_view bytes() const { return {data_, size_}; }

  private:
    const char *data_ = nullptr;
    size_t size_ = 0;
    std::string read_; // where nothing is mapped
};

} // namespace onelayer
