#include "windows.h"
#include <algorithm>

namespace onelayer {

void cut_windows(size_t n, size_t size, size_t stride, std::vector<Span> &out)
{
    const auto add = [&out](size_t begin, size_t end) {
        out.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
    };
    out.clear();
    if (n <= size)
        return add(0, n);
    for (size_t begin = 0; begin < n - size; begin += size - stride)
        add(begin, begin + size);
    add(n - size, n);
}

int64_t windows_needed(int64_t length, int64_t size, int64_t stride)
{
    const int64_t step = std::max<int64_t>(size - std::min(stride, size / 2), 1);
    return 1 + (length - size + step - 1) / step; // rounded up; a size is no more than its length
}

std::pair<int64_t, int64_t> truncate_longest(int64_t first, int64_t second, int64_t limit)
{
    // A text is cut to half of the limit only if the other one needs the other half.
    const int64_t half = limit / 2;
    return {std::min(first, std::max(half, limit - second)),
            std::min(second, std::max(limit - half, limit - first))};
}

} // namespace onelayer
