#include "encodings.h"

namespace onelayer {

void Encodings::clear()
{
    ids.clear();
    segments.clear();
    reads.clear();
    offsets.clear();
    unread.clear();
    for (auto *counts : {&cu_seqlens, &cu_reads, &cu_rows})
        counts->assign(1, 0);
}

} // namespace onelayer
