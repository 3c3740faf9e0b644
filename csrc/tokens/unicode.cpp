#include "unicode.h"
#include "../base/inflate.h"
#include <algorithm>
#include <iterator>
#include <memory>
#include <type_traits>

namespace onelayer::unicode {

namespace {

// Whether two neighbours stay together, as far as they alone decide it: rules 3 to 9b.
bool stay_together(Cluster a, Cluster b)
{
    const auto ends = [](Cluster c) {
        return c == cluster_control || c == cluster_cr || c == cluster_lf;
    };
    if (a == cluster_cr && b == cluster_lf)
        return true;
    if (ends(a) || ends(b))
        return false;
    switch (a) {
    case cluster_l:
        if (b == cluster_l || b == cluster_v || b == cluster_lv || b == cluster_lvt)
            return true;
        break;
    case cluster_lv:
    case cluster_v:
        if (b == cluster_v || b == cluster_t)
            return true;
        break;
    case cluster_lvt:
    case cluster_t:
        if (b == cluster_t)
            return true;
        break;
    default: break;
    }
    return b == cluster_extend || b == cluster_zwj || b == cluster_spacing || a == cluster_prepend;
}

} // namespace

// A table is packed as the lowest bytes of all its numbers, then the next ones. Each number can be
// the difference from the one before.
Tables::Tables()
{
    const std::unique_ptr<uint8_t[]> bytes(new uint8_t[sizeof(Tables)]);
    inflate(packed_tables, bytes.get());
    const uint8_t *from = bytes.get();
    each_table(*this, [&from](auto &table, bool differences) {
        using Number = std::remove_reference_t<decltype(table[0])>;
        const size_t n = std::size(table);
        for (size_t i = 0; i < n; i++)
            table[i] = from[i];
        from += n;
        for (size_t byte = 1; byte < sizeof(Number); byte++, from += n)
            for (size_t i = 0; i < n; i++)
                table[i] = static_cast<Number>(table[i] | from[i] << 8 * byte);
        for (size_t i = 1; differences && i < n; i++)
            table[i] = static_cast<Number>(table[i] + table[i - 1]);
    });
}

const Tables tables;

size_t cluster_end(const char32_t *points, size_t size, size_t i)
{
    Cluster last = cluster_other;
    size_t n_regional = 0;
    bool pictograph = false, joined = false; // a pictograph and what extends it; then a joiner
    bool consonant = false, linked = false;  // a consonant and what extends it; a linker since
    for (const size_t first = i; i < size; i++) {
        const Cluster now = cluster(points[i]);
        const Conjunct its_conjunct = conjunct(points[i]);
        if (i > first && !stay_together(last, now) &&
            !(linked && its_conjunct == conjunct_consonant) &&
            !(joined && now == cluster_pictograph) &&
            !(last == cluster_regional && now == cluster_regional && n_regional % 2))
            break;
        n_regional += now == cluster_regional;
        joined = pictograph && now == cluster_zwj;
        pictograph = now == cluster_pictograph || (pictograph && now == cluster_extend);
        linked =
            its_conjunct == conjunct_linker ? consonant : linked && its_conjunct == conjunct_extend;
        consonant =
            its_conjunct == conjunct_consonant || (consonant && its_conjunct != conjunct_none);
        last = now;
    }
    return i;
}

char32_t compose(char32_t first, char32_t second)
{
    if (first >= 0x1100 && first < 0x1113 && second >= 0x1161 && second < 0x1176)
        return 0xac00 + (first - 0x1100) * 588 + (second - 0x1161) * 28;
    if (first >= 0xac00 && first < 0xac00 + 11172 && (first - 0xac00) % 28 == 0 &&
        second > 0x11a7 && second < 0x11c3)
        return first + (second - 0x11a7);
    // The pairs are sorted by their first code point, then by their second one.
    const auto [from, to] = std::equal_range(std::begin(tables.composed_first),
                                             std::end(tables.composed_first),
                                             static_cast<uint32_t>(first));
    const auto *const seconds = tables.composed_second + (from - tables.composed_first);
    const auto *const end = tables.composed_second + (to - tables.composed_first);
    const auto *const found = std::lower_bound(seconds, end, static_cast<uint32_t>(second));
    return found != end && *found == second ? tables.composed_whole[found - tables.composed_second]
                                            : 0;
}

} // namespace onelayer::unicode
