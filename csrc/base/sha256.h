// SHA-256 (FIPS 180-4).
#pragma once
#include <string>
#include <string_view>

namespace onelayer {

// In hexadecimal, as onelayer.json has it.
std::string sha256(std::string_view bytes);

} // namespace onelayer
