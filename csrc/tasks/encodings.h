// Token sequences as ragged arrays: what a task's `encode` makes of rows, and the engine reads. The
// same arrays as Python's tokens/encodings.py.
#pragma once
#include "../base/text.h"
#include "../tokens/tokenizer.h"
#include <cstdint>
#include <vector>

namespace onelayer {

struct Encodings {
    std::vector<int32_t> ids;
    std::vector<uint8_t> segments;
    std::vector<int64_t> cu_seqlens{0}; // tokens before each sequence
    std::vector<int32_t> reads;         // positions within their sequence that the layer reads
    std::vector<int64_t> cu_reads{0};   // reads before each sequence
    std::vector<int64_t> cu_rows{0};    // sequences before each row
    std::vector<Span> offsets;          // of each read, in code points; [CLS]: none (begin > end)
    std::vector<uint64_t> unread;       // of each row, the tokens that the length limit left out

    size_t n_sequences() const { return cu_seqlens.size() - 1; }
    size_t n_rows() const { return cu_rows.size() - 1; }
    void clear();
};

constexpr Span no_span = {1, 0};

} // namespace onelayer
