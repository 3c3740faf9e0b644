// The lines of a pipe, each as soon as it has arrived.
#pragma once
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace onelayer {

// What is wrong with a line of the input.
struct LineError : std::runtime_error {
    LineError(size_t number, const std::string &message)
        : std::runtime_error("stdin:" + std::to_string(number) + ": " + message)
    {
    }
};

struct Line {
    size_t number; // from 1
    std::string_view text;
};

class InputLines {
  public:
    explicit InputLines(int file) : file_(file) {}

    // Replaces `lines` by the next ones, at most as many as given: those that have arrived, and one at
    // least. Their texts are valid until the next call. False where the input ends. Throws LineError
    // for bytes that are no UTF-8, once the lines before them were given.
    bool next(size_t most, std::vector<Line> &lines);

  private:
    bool read_more();
    bool take(std::vector<Line> &lines);

    int file_;
    std::string buffer_;
    size_t at_ = 0;      // the first byte of the next line
    size_t searched_ = 0; // no line ends before it
    size_t number_ = 0;
    bool ended_ = false;
};

} // namespace onelayer
