// A text while it is normalized: its code points, and for each the part of the user's text that it
// is made of. The rules of alignment are those of the tokenizers library's NormalizedString.
#pragma once
#include "../base/text.h"
#include <vector>

namespace onelayer {

struct AlignedText {
    // A code point of a rewritten text. `change` is 0 if it stands for the next code point of the
    // text before, 1 if it is put in after the last one, and -n if it stands for the next one and n
    // more that are left out.
    struct Change {
        char32_t point;
        int change;
    };

    std::vector<char32_t> points;
    std::vector<Span> source;
    uint32_t origin = 0; // where it begins in the user's text

    size_t size() const { return points.size(); }
    void clear() { points.clear(), source.clear(); }
    void push(char32_t point, Span from) { points.push_back(point), source.push_back(from); }

    void assign(const Text &text, size_t begin, size_t end);
    void append(const AlignedText &other, size_t begin, size_t end);
    void rewrite(const std::vector<Change> &changes);
    // Puts a code point in front, unless the text is empty.
    void prepend(char32_t point);

    template <class Keep> void filter(Keep keep)
    {
        size_t kept = 0;
        for (size_t i = 0; i < points.size(); i++)
            if (keep(points[i]))
                points[kept] = points[i], source[kept++] = source[i];
        points.resize(kept), source.resize(kept);
    }
    // Replaces each code point by those that expand(point, emit) emits.
    template <class Expand> void expand(Expand expand)
    {
        static thread_local AlignedText before;
        before.points.swap(points), before.source.swap(source);
        clear();
        for (size_t i = 0; i < before.size(); i++)
            expand(before.points[i], [&](char32_t point) { push(point, before.source[i]); });
    }
};

// The normal forms of Unicode, with the alignment of the unicode-normalization-alignments crate.
void bring_to_normal_form(AlignedText &text, bool compatible, bool composed);

} // namespace onelayer
