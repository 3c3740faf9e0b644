#include "texts.h"
#include "../base/error.h"
#include "scratch.h"
#include "windows.h"
#include <algorithm>

namespace onelayer {

int64_t room_beside(const Template &frame, bool paired, int64_t max_length)
{
    const size_t special =
        frame.before.size() + (paired ? frame.between.size() : 0) + frame.after.size();
    const int64_t room = max_length - static_cast<int64_t>(special);
    if (room < 0)
        throw BundleError("max_length " + std::to_string(max_length) +
                          " leaves no room for a text beside the special tokens");
    return room;
}

void append_sequence(const Template &frame, TokenSlice first, const TokenSlice *second,
                     Encodings &out)
{
    const uint8_t segment = second ? frame.second_segment : 0;
    out.add_tokens(frame.before, 0);
    out.add_tokens(first.tokens, first.n, 0);
    if (second) {
        out.add_tokens(frame.between, 0);
        out.add_tokens(second->tokens, second->n, segment);
    }
    out.add_tokens(frame.after, segment);
    out.add_read(0, no_span);
    out.end_sequence();
}

void encode_texts(const Row &row, const Tokenizer &tokenizer, int64_t max_length, int64_t stride,
                  Pooling pooling, Encodings &out)
{
    const Template &frame = tokenizer.frame;
    Pieces &first = scratch().first, &second = scratch().second;
    const int64_t room = room_beside(frame, row.has_pair, max_length);
    tokenizer.encode(row.text, false, first);
    second.ids.clear();
    if (row.has_pair)
        tokenizer.encode(row.pair, false, second);
    const auto n = static_cast<int64_t>(first.ids.size()),
               m = static_cast<int64_t>(second.ids.size());
    const auto [a, b] = truncate_longest(n, m, room);
    const int64_t needed = std::max(windows_needed(n, a, stride), windows_needed(m, b, stride));
    const int64_t read = windows_read(pooling, needed);
    for (int64_t w = 0; w < read; w++) {
        const int64_t gaps = std::max<int64_t>(read - 1, 1);
        const TokenSlice of_second = {second.ids.data() + (m - b) * w / gaps,
                                      static_cast<size_t>(b)};
        append_sequence(frame, {first.ids.data() + (n - a) * w / gaps, static_cast<size_t>(a)},
                        row.has_pair ? &of_second : nullptr, out);
    }
    const int64_t lost = std::max<int64_t>(n - a * read, 0) + std::max<int64_t>(m - b * read, 0);
    out.end_row(static_cast<size_t>(lost), static_cast<size_t>(n + m));
}

} // namespace onelayer
