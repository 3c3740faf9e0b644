// SHA-256 (FIPS 180-4).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace onelayer {

// Bytes are added in any parts.
class Sha256 {
  public:
    void add(std::string_view bytes);
    // Of all that was added, in hexadecimal, as onelayer.json has it. Nothing may be added after it.
    std::string digest();

  private:
    static constexpr size_t block_size = 64;

    // The first 32 bits of the fractional parts of the square roots of the first 8 primes.
    uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint64_t size_ = 0;
    unsigned char rest_[block_size] = {}; // what fills no block yet
};

std::string sha256(std::string_view bytes);

} // namespace onelayer
