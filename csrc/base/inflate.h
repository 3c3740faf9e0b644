// Unpacks "deflate" (RFC 1951), without a header.
#pragma once
#include <cstddef>
#include <cstdint>

namespace onelayer {

// Unpacks what the library itself holds, so nothing is checked: `packed` is complete, fills exactly
// what `to` has room for, and two bytes follow it that may be read. Returns the end of what was
// written.
uint8_t *inflate(const uint8_t *packed, uint8_t *to);

} // namespace onelayer
