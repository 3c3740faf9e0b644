#include "unicode.h"
#include <algorithm>
#include <iterator>

namespace onelayer::unicode {

char32_t compose(char32_t first, char32_t second)
{
    if (first >= 0x1100 && first < 0x1113 && second >= 0x1161 && second < 0x1176)
        return 0xac00 + (first - 0x1100) * 588 + (second - 0x1161) * 28;
    if (first >= 0xac00 && first < 0xac00 + 11172 && (first - 0xac00) % 28 == 0 &&
        second > 0x11a7 && second < 0x11c3)
        return first + (second - 0x11a7);
    // The pairs are sorted by their first code point, then by their second one.
    const auto [from, to] = std::equal_range(std::begin(composed_first), std::end(composed_first),
                                             static_cast<uint32_t>(first));
    const auto *const seconds = composed_second + (from - composed_first);
    const auto *const end = composed_second + (to - composed_first);
    const auto *const found = std::lower_bound(seconds, end, static_cast<uint32_t>(second));
    return found != end && *found == second ? composed_whole[found - composed_second] : 0;
}

} // namespace onelayer::unicode
