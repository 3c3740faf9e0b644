// How long texts are cut: the same windows as Python's tokens/encodings.py gives.
#pragma once
#include "../base/text.h"
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace onelayer {

// Spans of at most `size` items that cover n items; neighbours share `stride` items. The last span
// ends with the last item, so it may share more. `size` is above `stride`.
void cut_windows(size_t n, size_t size, size_t stride, std::vector<Span> &out);

// How many windows of `size` tokens cover a text if they are spread evenly and neighbours share at
// least `stride` tokens, or half a window if that is less.
int64_t windows_needed(int64_t length, int64_t size, int64_t stride);

// The numbers of tokens to keep of two texts so that together they fit a limit: one at a time is
// taken from the longer text, from the first of two equally long ones.
std::pair<int64_t, int64_t> truncate_longest(int64_t first, int64_t second, int64_t limit);

} // namespace onelayer
