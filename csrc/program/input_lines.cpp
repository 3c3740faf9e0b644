// Reads what has arrived, and cuts it into lines.
#include "input_lines.h"
#include "../base/text.h"
#include <cerrno>
#include <cstring>

#if defined(_WIN32)
#include <io.h>
#else
#include <unistd.h>
#endif

namespace onelayer {

namespace {

constexpr size_t block = 1 << 16;
constexpr size_t longest_line = 1 << 22; // characters; anything longer is another kind of file

void check(size_t number, std::string_view line)
{
    if (line.find('\0') != std::string_view::npos)
        throw LineError(number, "a NUL byte, which no text has (is this a text file?)");
    const Text text(line);
    if (text.is_ascii())
        return;
    for (size_t i = 0; i < text.size(); i++)
        if (text[i] == 0xfffd && line.substr(text.byte_at(i), 3) != "\xef\xbf\xbd")
            throw LineError(number, "not valid UTF-8 at character " + std::to_string(i + 1) +
                                        " (iconv -t UTF-8 converts other encodings)");
}

} // namespace

bool InputLines::read_more()
{
    // What was given to the caller is no longer needed.
    buffer_.erase(0, at_);
    searched_ -= at_;
    at_ = 0;
    if (buffer_.size() > 4 * longest_line)
        throw LineError(number_ + 1, "a line longer than 4,194,304 characters");
    const size_t had = buffer_.size();
    buffer_.resize(had + block);
    for (;;) {
#if defined(_WIN32)
        const auto got = ::_read(file_, buffer_.data() + had, block);
#else
        const auto got = ::read(file_, buffer_.data() + had, block);
        if (got < 0 && errno == EINTR)
            continue;
#endif
        if (got < 0)
            throw std::runtime_error(std::string("stdin can't be read: ") + std::strerror(errno));
        buffer_.resize(had + static_cast<size_t>(got));
        return got > 0;
    }
}

bool InputLines::take(std::vector<Line> &lines)
{
    const size_t end = buffer_.find('\n', searched_);
    if (end == std::string::npos && !(ended_ && at_ < buffer_.size())) {
        searched_ = buffer_.size();
        return false;
    }
    const size_t stop = end == std::string::npos ? buffer_.size() : end;
    std::string_view line(buffer_.data() + at_, stop - at_);
    if (number_ == 0 && line.substr(0, 3) == "\xef\xbb\xbf")
        line.remove_prefix(3);
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n'))
        line.remove_suffix(1);
    if (!lines.empty()) { // lines before a wrong one are answered first
        try {
            check(number_ + 1, line);
        } catch (const LineError &) {
            return false;
        }
    } else {
        check(number_ + 1, line);
    }
    lines.push_back({++number_, line});
    at_ = searched_ = end == std::string::npos ? stop : stop + 1;
    return true;
}

bool InputLines::next(size_t most, std::vector<Line> &lines)
{
    lines.clear();
    for (;;) {
        while (lines.size() < most && take(lines)) {
        }
        if (!lines.empty() || ended_)
            return !lines.empty();
        ended_ = !read_more();
    }
}

} // namespace onelayer
