// Files by the calls of POSIX, or by those of C where the system has none.
#include "files.h"
#include "error.h"
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/stat.h>
#include <sys/types.h>

#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace onelayer {

namespace {

[[noreturn]] void fail(const std::string &path, const std::string &what)
{
    throw BundleError(path + ": " + what);
}

[[noreturn]] void fail_by_errno(const std::string &path)
{
    fail(path, std::string("can't be read: ") + std::strerror(errno));
}

// A regular file, open for reading.
class Descriptor {
  public:
    explicit Descriptor(const std::string &path) : path_(path)
    {
#if defined(_WIN32)
        file_ = ::_open(path.c_str(), _O_RDONLY | _O_BINARY);
#else
        // O_NONBLOCK: opening a pipe that nobody writes to would wait forever.
        file_ = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
#endif
        if (file_ < 0)
            fail_by_errno(path);
        struct stat status;
        if (::fstat(file_, &status) || (status.st_mode & S_IFMT) != S_IFREG) {
            close();
            fail(path, "not a regular file");
        }
        size_ = static_cast<size_t>(status.st_size);
    }
    ~Descriptor() { close(); }
    Descriptor(const Descriptor &) = delete;
    Descriptor &operator=(const Descriptor &) = delete;

    int number() const { return file_; }
    size_t size() const { return size_; }

    // Everything from here on, `most` bytes at most.
    std::string read(size_t most)
    {
        constexpr size_t block = 1u << 30; // some systems read no more in one call
        std::string found;
        if (size_ > most)
            fail(path_, "more than " + std::to_string(most >> 20) + " MB, which no model's takes");
        found.resize(size_);
        size_t have = 0;
        while (have < size_) {
            const size_t wanted = size_ - have < block ? size_ - have : block;
#if defined(_WIN32)
            const auto got = ::_read(file_, found.data() + have, static_cast<unsigned>(wanted));
#else
            const auto got = ::read(file_, found.data() + have, wanted);
            if (got < 0 && errno == EINTR)
                continue;
#endif
            if (got < 0)
                fail_by_errno(path_);
            if (got == 0)
                fail(path_, "shortened while it was read");
            have += static_cast<size_t>(got);
        }
        return found;
    }

  private:
    void close()
    {
        if (file_ < 0)
            return;
#if defined(_WIN32)
        ::_close(file_);
#else
        ::close(file_);
#endif
        file_ = -1;
    }

    const std::string &path_;
    int file_ = -1;
    size_t size_ = 0;
};

#if !defined(_WIN32)
// The path without links; empty for a link that leads nowhere.
std::string resolved(const std::string &path)
{
    char *const found = ::realpath(path.c_str(), nullptr);
    std::string copy = found ? found : "";
    std::free(found);
    return copy;
}

std::string parent_of(const std::string &path)
{
    const size_t cut = path.rfind('/');
    return cut == std::string::npos ? "" : path.substr(0, cut);
}
#endif

} // namespace

bool is_directory(const std::string &path)
{
    struct stat status;
    return !::stat(path.c_str(), &status) && (status.st_mode & S_IFMT) == S_IFDIR;
}

bool is_file(const std::string &path)
{
    struct stat status;
    return !::stat(path.c_str(), &status) && (status.st_mode & S_IFMT) == S_IFREG;
}

std::string read_file(const std::string &path, size_t most) { return Descriptor(path).read(most); }

std::string file_in(const std::string &folder, const std::string &name)
{
    const std::string path = folder + "/" + name;
    struct stat status;
#if defined(_WIN32)
    const bool there = !::stat(path.c_str(), &status);
#else
    const bool there = !::lstat(path.c_str(), &status);
    if (there && S_ISLNK(status.st_mode)) {
        const std::string home = resolved(folder), real = resolved(path);
        if (real.empty())
            fail(path, "a link that leads nowhere");
        const bool inside = real.compare(0, home.size() + 1, home + "/") == 0;
        if (!inside && parent_of(real) != parent_of(parent_of(home)) + "/blobs")
            fail(path, "a link that leads out of its directory (put the file itself there)");
    }
#endif
    if (!there)
        fail(folder, "holds no " + name + " (export the run again)");
    if (!is_file(path))
        fail(path, "not a regular file");
    return path;
}

MappedFile::MappedFile(const std::string &path)
{
    Descriptor file(path);
#if !defined(_WIN32)
    if (file.size() > 0 && file.size() <= largest_weights) {
        void *const found =
            ::mmap(nullptr, file.size(), PROT_READ, MAP_PRIVATE, file.number(), 0);
        if (found != MAP_FAILED) {
            data_ = static_cast<const char *>(found), size_ = file.size();
            return;
        }
    }
#endif
    read_ = file.read(largest_weights);
    data_ = read_.data(), size_ = read_.size();
}

MappedFile::~MappedFile()
{
#if !defined(_WIN32)
    if (data_ && data_ != read_.data())
        ::munmap(const_cast<char *>(data_), size_);
#endif
}

} // namespace onelayer
