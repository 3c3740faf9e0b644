// Rows of lines: a text, or a JSON object by column of the training file, as prediction/streams.py
// and data/layout.py read them.
#pragma once
#include "../base/json.h"
#include "../include/onelayer.h"
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace onelayer {

// A line's row. It owns what its input points to, so it stays where it was made.
struct LineRow {
    onelayer_input input = {};
    bool is_object = false;
    JsonDocument object;   // where the line is one
    std::string_view line; // else

    LineRow() = default;
    LineRow(const LineRow &) = delete;
    LineRow &operator=(const LineRow &) = delete;

    std::deque<std::string> texts;
    std::vector<onelayer_text> options;
    std::vector<onelayer_bytes> words;
};

class LineReader {
  public:
    // Reads what onelayer_describe gives.
    explicit LineReader(const Json &description);

    // Reads the line of a number. Throws InputError for a line that can't be used.
    void read(std::string_view line, size_t number, LineRow &row) const;

    // Why a first line shows that the input is no lines of rows; empty if it may be.
    std::string other_format(std::string_view first) const;

  private:
    struct Column {
        std::string role;
        std::vector<std::string> names;
        bool several = false;
    };

    const Column *column_in(const Json &object, std::string_view role) const;
    bool has(const Json &object, std::string_view role) const;
    const Json *value_of(const Json &object, std::string_view role) const;
    onelayer_text text_of(LineRow &row, std::string_view role) const;
    void read_object(LineRow &row) const;
    void read_words(const Json::Items &words, LineRow &row) const;
    void read_options(LineRow &row) const;
    bool fits(const std::vector<std::string> &cells) const;

    std::string task_;
    std::vector<std::string> roles_; // that the model reads
    std::vector<Column> columns_;
    bool pairs_ = false, written_ = false;
};

// The output for a row: its columns, and its prediction, which is in JSON already.
std::string output_line(const LineRow &row, std::string_view prediction);

// A value as Python's json.dumps(ensure_ascii=False) writes it.
std::string python_json(const Json &value);

} // namespace onelayer
