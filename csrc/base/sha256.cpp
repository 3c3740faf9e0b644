// SHA-256 in plain C++, and by the processor's own instructions where it has them: a bundle's weights
// are hashed each time it is opened, and that is most of the time it takes.
#include "sha256.h"
#include <algorithm>
#include <cstring>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>
#include <immintrin.h>
#define ONELAYER_SHA_NI 1
#endif

namespace onelayer {

namespace {

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
alignas(64) constexpr uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

uint32_t rotated(uint32_t x, int by) { return x >> by | x << (32 - by); }

void add_blocks(uint32_t state[8], const unsigned char *bytes, size_t blocks)
{
    for (; blocks; blocks--, bytes += 64) {
        uint32_t w[64];
        for (size_t i = 0; i < 16; i++)
            w[i] = uint32_t{bytes[4 * i]} << 24 | uint32_t{bytes[4 * i + 1]} << 16 |
                   uint32_t{bytes[4 * i + 2]} << 8 | bytes[4 * i + 3];
        for (size_t i = 16; i < 64; i++) {
            const uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) + w[i - 7] +
                   (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
        }
        uint32_t s[8];
        std::memcpy(s, state, sizeof s);
        for (size_t i = 0; i < 64; i++) {
            const uint32_t e = s[4], a = s[0];
            const uint32_t one = s[7] + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) +
                                 ((e & s[5]) ^ (~e & s[6])) + constants[i] + w[i];
            const uint32_t two = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) +
                                 ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
            s[7] = s[6], s[6] = s[5], s[5] = e, s[4] = s[3] + one;
            s[3] = s[2], s[2] = s[1], s[1] = a, s[0] = one + two;
        }
        for (size_t i = 0; i < 8; i++)
            state[i] += s[i];
    }
}

#if ONELAYER_SHA_NI
bool has_instructions()
{
    unsigned a, b, c, d;
    const bool sse41 = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) && (c & bit_SSSE3);
    return sse41 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

__attribute__((target("sha,sse4.1,ssse3"))) void add_blocks_sha(uint32_t state[8],
                                                                const unsigned char *bytes,
                                                                size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    // The instructions keep the state as (a b e f) and (c d g h), highest first.
    __m128i t = _mm_shuffle_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i *>(state)), 0xb1); // c d a b
    __m128i cdgh = _mm_shuffle_epi32(
        _mm_loadu_si128(reinterpret_cast<const __m128i *>(state + 4)), 0x1b); // e f g h
    __m128i abef = _mm_alignr_epi8(t, cdgh, 8);
    cdgh = _mm_blend_epi16(cdgh, t, 0xf0);
    for (; blocks; blocks--, bytes += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w[4];
        for (int i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(
                _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes + 16 * i)), swap);
        for (int i = 0; i < 16; i++) { // four rounds each
            const __m128i now = w[i % 4];
            __m128i sum = _mm_add_epi32(
                now, _mm_load_si128(reinterpret_cast<const __m128i *>(constants + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
            if (i < 12) { // the words of the rounds four further on
                __m128i next = _mm_sha256msg1_epu32(now, w[(i + 1) % 4]);
                next = _mm_add_epi32(next, _mm_alignr_epi8(w[(i + 3) % 4], w[(i + 2) % 4], 4));
                w[i % 4] = _mm_sha256msg2_epu32(next, w[(i + 3) % 4]);
            }
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    t = _mm_shuffle_epi32(abef, 0x1b);    // f e b a
    cdgh = _mm_shuffle_epi32(cdgh, 0xb1); // d c h g
    _mm_storeu_si128(reinterpret_cast<__m128i *>(state), _mm_blend_epi16(t, cdgh, 0xf0));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(state + 4), _mm_alignr_epi8(cdgh, t, 8));
}
#endif

using AddBlocks = void (*)(uint32_t *, const unsigned char *, size_t);

AddBlocks fastest()
{
#if ONELAYER_SHA_NI
    if (has_instructions())
        return add_blocks_sha;
#endif
    return add_blocks;
}

} // namespace

void Sha256::add(std::string_view bytes)
{
    static const AddBlocks add_all = fastest();
    const auto *data = reinterpret_cast<const unsigned char *>(bytes.data());
    size_t left = bytes.size(), have = size_ % block_size;
    size_ += left;
    if (have) {
        const size_t more = std::min(block_size - have, left);
        std::memcpy(rest_ + have, data, more);
        data += more, left -= more, have += more;
        if (have < block_size)
            return;
        add_all(state_, rest_, 1);
    }
    const size_t blocks = left / block_size;
    add_all(state_, data, blocks);
    if (left % block_size)
        std::memcpy(rest_, data + blocks * block_size, left % block_size);
}

std::string Sha256::digest()
{
    // What is left, a one bit, zeros, and the number of bits: one block, or two.
    const size_t rest = size_ % block_size, blocks = rest + 9 > block_size ? 2 : 1;
    const uint64_t bits = size_ * 8;
    std::string last(reinterpret_cast<const char *>(rest_), rest);
    last += '\x80';
    last.resize(blocks * block_size - 8);
    for (int shift = 56; shift >= 0; shift -= 8)
        last += static_cast<char>(bits >> shift);
    size_ -= rest;
    add(last);
    std::string found;
    for (const uint32_t word : state_)
        for (int shift = 28; shift >= 0; shift -= 4)
            found += "0123456789abcdef"[word >> shift & 15];
    return found;
}

std::string sha256(std::string_view bytes)
{
    Sha256 sum;
    sum.add(bytes);
    return sum.digest();
}

} // namespace onelayer
