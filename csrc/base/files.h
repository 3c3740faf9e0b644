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

// The path of a file in a model directory. Throws BundleError for a file that is missing or not a
// regular one, and for a link out of the directory: one may only lead to the blobs that the Hub's
// cache keeps next to its snapshots.
std::string file_in(const std::string &folder, const std::string &name);

// Bytes that are read by parts.
class ByteSource {
  public:
    virtual ~ByteSource() = default;
    virtual size_t size() const = 0;
    virtual bool in_memory() const = 0;
    // `size` bytes from `at` on, which the source must have: where they lie, or copied to `room`.
    // Throws BundleError where they can't be read. Bytes in memory need no room.
    virtual std::string_view read(size_t at, size_t size, char *room) const = 0;
};

// All bytes of a source.
class WholeBytes {
  public:
    explicit WholeBytes(const ByteSource &source);

    std::string_view bytes() const { return bytes_; }

  private:
    std::unique_ptr<char[]> room_;
    std::string_view bytes_;
};

class MemoryBytes final : public ByteSource {
  public:
    // The bytes must outlive this object.
    explicit MemoryBytes(std::string_view bytes) : bytes_(bytes) {}

    size_t size() const override { return bytes_.size(); }
    bool in_memory() const override { return true; }
    std::string_view read(size_t at, size_t size, char *) const override
    {
        return bytes_.substr(at, size);
    }

  private:
    std::string_view bytes_;
};

// A file is read and not mapped: a mapped one that somebody shortens ends the process.
class FileBytes final : public ByteSource {
  public:
    // A regular file of at most `most` bytes. Throws BundleError, with the path; the errors of `read`
    // are without it.
    FileBytes(const std::string &path, size_t most);
    ~FileBytes() override;
    FileBytes(const FileBytes &) = delete;
    FileBytes &operator=(const FileBytes &) = delete;

    size_t size() const override { return size_; }
    bool in_memory() const override { return false; }
    std::string_view read(size_t at, size_t size, char *room) const override;

  private:
    int file_ = -1;
    size_t size_ = 0;
};

// A part of another source, which must outlive it.
class PartOfBytes final : public ByteSource {
  public:
    PartOfBytes(const ByteSource &whole, size_t begin, size_t size)
        : whole_(whole), begin_(begin), size_(size)
    {
    }

    size_t size() const override { return size_; }
    bool in_memory() const override { return whole_.in_memory(); }
    std::string_view read(size_t at, size_t size, char *room) const override
    {
        return whole_.read(begin_ + at, size, room);
    }

  private:
    const ByteSource &whole_;
    size_t begin_, size_;
};

} // namespace onelayer
