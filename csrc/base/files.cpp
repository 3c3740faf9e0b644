// Files by the calls of POSIX, or by those of Windows. A path is UTF-8 on Windows, too.
#include "files.h"
#include "error.h"
#include "text.h"
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
#include <unistd.h>
#endif

namespace onelayer {

namespace {

[[noreturn]] void fail(const std::string &path, const std::string &what)
{
    throw BundleError(path + ": " + what);
}

std::string by_errno() { return std::string("can't be read: ") + std::strerror(errno); }

void close_file(int file)
{
#if defined(_WIN32)
    ::_close(file);
#else
    ::close(file);
#endif
}

// Reads at most `size` bytes from a place on; returns how many, or a negative number.
int64_t read_at(int file, size_t at, size_t size, char *to)
{
    constexpr size_t block = 1u << 30; // some systems read no more in one call
    const size_t wanted = size < block ? size : block;
#if defined(_WIN32)
    if (::_lseeki64(file, static_cast<int64_t>(at), SEEK_SET) < 0)
        return -1;
    return ::_read(file, to, static_cast<unsigned>(wanted));
#else
    for (;;) {
        const auto got = ::pread(file, to, wanted, static_cast<off_t>(at));
        if (got >= 0 || errno != EINTR)
            return got;
    }
#endif
}

#if defined(_WIN32)
using Status = struct _stat64;

// A path in UTF-16; empty, which is no path, where it isn't UTF-8.
std::wstring wide(const std::string &path)
{
    std::wstring found;
    if (!is_utf8(path))
        return found;
    const Text text(path);
    for (size_t i = 0; i < text.size(); i++) {
        const char32_t c = text[i];
        if (c > 0xffff)
            found += static_cast<wchar_t>(0xd7c0 + (c >> 10));
        found += static_cast<wchar_t>(c > 0xffff ? 0xdc00 | (c & 0x3ff) : c);
    }
    // A directory's name may end with a slash, except to the system; C:\ keeps its own.
    const auto is_slash = [](wchar_t c) { return c == L'/' || c == L'\\'; };
    while (found.size() > 1 && is_slash(found.back()) && found[found.size() - 2] != L':')
        found.pop_back();
    return found;
}

bool status_of(const std::string &path, Status &status)
{
    return !::_wstat64(wide(path).c_str(), &status);
}

bool status_of(int file, Status &status) { return !::_fstat64(file, &status); }
#else
using Status = struct stat;

bool status_of(const std::string &path, Status &status) { return !::stat(path.c_str(), &status); }

bool status_of(int file, Status &status) { return !::fstat(file, &status); }

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
    Status status;
    return status_of(path, status) && (status.st_mode & S_IFMT) == S_IFDIR;
}

bool is_file(const std::string &path)
{
    Status status;
    return status_of(path, status) && (status.st_mode & S_IFMT) == S_IFREG;
}

std::string file_in(const std::string &folder, const std::string &name)
{
    const std::string path = folder + "/" + name;
    Status status;
#if defined(_WIN32)
    const bool there = status_of(path, status);
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

WholeBytes::WholeBytes(const ByteSource &source)
    : room_(source.in_memory() ? nullptr : new char[source.size()]),
      bytes_(source.read(0, source.size(), room_.get()))
{
}

FileBytes::FileBytes(const std::string &path, size_t most)
{
#if defined(_WIN32)
    file_ = ::_wopen(wide(path).c_str(), _O_RDONLY | _O_BINARY);
#else
    // O_NONBLOCK: opening a pipe that nobody writes to would wait forever.
    file_ = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
#endif
    if (file_ < 0)
        fail(path, by_errno());
    Status status;
    const bool regular = status_of(file_, status) && (status.st_mode & S_IFMT) == S_IFREG;
    size_ = regular ? static_cast<size_t>(status.st_size) : 0;
    if (regular && size_ <= most)
        return;
    close_file(file_);
    if (!regular)
        fail(path, "not a regular file");
    fail(path, "more than " + std::to_string(most >> 20) + " MB, which no model's takes");
}

FileBytes::~FileBytes() { close_file(file_); }

std::string_view FileBytes::read(size_t at, size_t size, char *room) const
{
    for (size_t have = 0; have < size;) {
        const int64_t got = read_at(file_, at + have, size - have, room + have);
        if (got < 0)
            throw BundleError(by_errno());
        if (got == 0)
            throw BundleError("shortened while it was read");
        have += static_cast<size_t>(got);
    }
    return {room, size};
}

} // namespace onelayer
