#include "aligned_text.h"
#include "unicode.h"
#include <algorithm>
#include <cstdint>

namespace onelayer {

namespace {

struct Decomposed {
    Decomposed(AlignedText::Change change, unsigned combining_class, size_t place)
        : change(change), order(uint64_t{combining_class} << 56 | place)
    {
    }

    unsigned combining_class() const { return static_cast<unsigned>(order >> 56); }

    AlignedText::Change change;
    uint64_t order; // by its combining class; marks of one class stay as they are
};

// Puts the marks since the last code point of class 0 into canonical order.
void sort_marks(std::vector<Decomposed> &all, size_t &sorted)
{
    std::sort(all.begin() + static_cast<std::ptrdiff_t>(sorted), all.end(),
              [](const Decomposed &a, const Decomposed &b) { return a.order < b.order; });
    sorted = all.size();
}

// Canonical composition (Unicode, section 3.11). What two code points become takes the place of
// both, so it leaves out one more of the text before.
void compose_all(const std::vector<Decomposed> &all, std::vector<AlignedText::Change> &out)
{
    static thread_local std::vector<AlignedText::Change> marks; // after the starter
    marks.clear();
    bool has_starter = false, has_mark = false;
    AlignedText::Change starter{};
    unsigned last_class = 0;
    const auto finish = [&] {
        if (has_starter)
            out.push_back(starter);
        out.insert(out.end(), marks.begin(), marks.end());
        marks.clear();
        has_mark = false;
    };
    for (const Decomposed &one : all) {
        const AlignedText::Change &change = one.change;
        const unsigned combining_class = one.combining_class();
        if (!has_starter && combining_class != 0) {
            out.push_back(change);
            continue;
        }
        const bool blocked = has_mark && last_class >= combining_class;
        if (has_starter && !blocked) {
            if (const char32_t whole = unicode::compose(starter.point, change.point)) {
                starter = {whole, starter.change + change.change - 1};
                continue;
            }
        }
        if (combining_class == 0) {
            finish();
            starter = change;
            has_starter = true;
            continue;
        }
        marks.push_back(change);
        has_mark = true;
        last_class = combining_class;
    }
    finish();
}

} // namespace

void AlignedText::assign(const Text &text, size_t begin, size_t end)
{
    clear();
    origin = static_cast<uint32_t>(begin);
    for (size_t i = begin; i < end; i++)
        push(text[i], {static_cast<uint32_t>(i), static_cast<uint32_t>(i + 1)});
}

void AlignedText::append(const AlignedText &other, size_t begin, size_t end)
{
    points.insert(points.end(), other.points.data() + begin, other.points.data() + end);
    source.insert(source.end(), other.source.data() + begin, other.source.data() + end);
}

void AlignedText::rewrite(const std::vector<Change> &changes)
{
    static thread_local std::vector<Span> before;
    before.swap(source);
    clear();
    size_t at = 0;
    for (const auto &[point, change] : changes) {
        // Nothing stands before the first one, so what is put in there is made of nothing.
        Span from = {origin, origin};
        if (change > 0 && at > 0)
            from = before[at - 1];
        else if (change <= 0 && !before.empty())
            from = before[std::min(at, before.size() - 1)];
        if (change <= 0)
            at = std::min(at + 1 + static_cast<size_t>(-change), before.size());
        push(point, from);
    }
}

void AlignedText::prepend(char32_t point)
{
    if (points.empty())
        return;
    points.insert(points.begin(), point);
    source.insert(source.begin(), source[0]);
}

void bring_to_normal_form(AlignedText &text, bool compatible, bool composed)
{
    // Below these all code points are in the normal form, and compose with none.
    const char32_t first = compatible ? 0xa0 : composed ? 0x300 : 0xc0;
    if (std::all_of(text.points.begin(), text.points.end(), [&](char32_t c) { return c < first; }))
        return;
    static thread_local std::vector<Decomposed> all;
    static thread_local std::vector<AlignedText::Change> changes;
    all.clear(), changes.clear();
    size_t sorted = 0;
    for (const char32_t point : text.points) {
        int change = 0;
        unicode::decompose(point, compatible, [&](char32_t part) {
            const unsigned combining_class = unicode::combining_class(part);
            if (combining_class == 0)
                sort_marks(all, sorted);
            all.push_back({{part, change}, combining_class, all.size()});
            change = 1;
        });
    }
    sort_marks(all, sorted);
    if (composed)
        compose_all(all, changes);
    else
        for (const Decomposed &one : all)
            changes.push_back(one.change);
    text.rewrite(changes);
}

} // namespace onelayer
