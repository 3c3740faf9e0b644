// Token sequences as ragged arrays: what a task's `encode` makes of rows, and the engine reads. The
// same arrays as Python's tokens/encodings.py.
#pragma once
#include "../base/text.h"
#include "../tokens/tokenizer.h"
#include <cstdint>
#include <vector>

namespace onelayer {

constexpr Span no_span = {1, 0};

struct Encodings {
    std::vector<int32_t> ids;
    std::vector<uint8_t> segments;
    std::vector<int64_t> cu_seqlens{0}; // tokens before each sequence
    std::vector<int32_t> reads;         // positions within their sequence that the layer reads
    std::vector<int64_t> cu_reads{0};   // reads before each sequence
    std::vector<int64_t> cu_rows{0};    // sequences before each row
    std::vector<Span> offsets;          // of each read, in code points; [CLS] has no_span
    std::vector<uint64_t> unread;       // of each row, the tokens that the length limit left out
    std::vector<uint64_t> text_tokens;  // of each row, those of its texts before that

    size_t n_sequences() const { return cu_seqlens.size() - 1; }
    size_t n_rows() const { return cu_rows.size() - 1; }
    // Keeps the memory.
    void clear();

    // How tasks fill them: tokens and reads of a sequence, then its end; after a row's sequences
    // the row's.
    void add_tokens(const int32_t *tokens, size_t n, uint8_t segment)
    {
        ids.insert(ids.end(), tokens, tokens + n);
        segments.insert(segments.end(), n, segment);
    }
    void add_tokens(const std::vector<int32_t> &tokens, uint8_t segment)
    {
        add_tokens(tokens.data(), tokens.size(), segment);
    }
    void add_read(size_t position, Span span)
    {
        reads.push_back(static_cast<int32_t>(position));
        offsets.push_back(span);
    }
    void end_sequence();
    void end_row(size_t left_unread, size_t tokens);
};

} // namespace onelayer
