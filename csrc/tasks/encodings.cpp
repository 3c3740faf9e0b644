#include "encodings.h"

namespace onelayer {

void Encodings::clear()
{
    ids.clear();
    segments.clear();
    reads.clear();
    offsets.clear();
    unread.clear();
    text_tokens.clear();
    for (auto *counts : {&cu_seqlens, &cu_reads, &cu_rows})
        counts->assign(1, 0);
}

void Encodings::end_sequence()
{
    cu_seqlens.push_back(static_cast<int64_t>(ids.size()));
    cu_reads.push_back(static_cast<int64_t>(reads.size()));
}

void Encodings::end_row(size_t left_unread, size_t tokens)
{
    cu_rows.push_back(static_cast<int64_t>(n_sequences()));
    unread.push_back(left_unread);
    text_tokens.push_back(tokens);
}

} // namespace onelayer
