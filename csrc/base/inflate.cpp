#include "inflate.h"
#include <cstring>

namespace onelayer {

namespace {

constexpr int most_bits = 15; // of a code
constexpr int n_literals = 288, n_distances = 30, n_lengths = 19;
constexpr int quick_bits = 9; // of codes that are looked up; the few longer ones are counted out
constexpr int end_of_block = 256;

// The symbols of a Huffman code, ordered by the lengths of their codes.
struct Code {
    uint16_t of_length[most_bits + 1]; // how many codes have this length
    uint16_t symbols[n_literals];
    // By the next bits of the data, the first one lowest: the symbol << 4, and the length of its
    // code; 0 where the code is longer.
    uint16_t quick[1 << quick_bits];

    Code(const uint8_t *lengths, int n) : of_length{}, quick{}
    {
        for (int i = 0; i < n; i++)
            of_length[lengths[i]]++;
        of_length[0] = 0;
        uint16_t next[most_bits + 2] = {};
        for (int length = 1; length <= most_bits; length++)
            next[length + 1] = static_cast<uint16_t>(next[length] + of_length[length]);
        for (int i = 0; i < n; i++)
            if (lengths[i])
                symbols[next[lengths[i]]++] = static_cast<uint16_t>(i);
        int index = 0;
        for (int length = 1, number = 0; length <= quick_bits; length++, number <<= 1)
            for (int k = 0; k < of_length[length]; k++, number++, index++) {
                int reversed = 0;
                for (int bit = 0; bit < length; bit++)
                    reversed |= (number >> bit & 1) << (length - 1 - bit);
                for (; reversed < 1 << quick_bits; reversed += 1 << length)
                    quick[reversed] = static_cast<uint16_t>(symbols[index] << 4 | length);
            }
    }
};

class Inflater {
  public:
    Inflater(const uint8_t *from, uint8_t *to) : from_(from), to_(to) {}

    uint8_t *run()
    {
        for (bool last = false; !last;) {
            last = bits(1);
            switch (bits(2)) {
            case 0: copy_stored(); break;
            case 1: read_fixed(); break;
            default: read_dynamic(); break;
            }
        }
        return to_;
    }

  private:
    // The next n bits as a number, the first as its lowest.
    unsigned bits(int n)
    {
        for (; n_held_ < n; n_held_ += 8)
            held_ |= static_cast<uint32_t>(*from_++) << n_held_;
        const unsigned found = held_ & ((1u << n) - 1);
        held_ >>= n, n_held_ -= n;
        return found;
    }

    // Codes of one length are consecutive numbers, and follow those of the length before.
    int symbol(const Code &code)
    {
        for (; n_held_ < most_bits; n_held_ += 8)
            held_ |= static_cast<uint32_t>(*from_++) << n_held_;
        if (const int found = code.quick[held_ & ((1 << quick_bits) - 1)]) {
            held_ >>= found & 15, n_held_ -= found & 15;
            return found >> 4;
        }
        int number = 0, first = 0, index = 0, length = 1;
        for (uint32_t rest = held_;; rest >>= 1, length++) {
            number = number << 1 | static_cast<int>(rest & 1);
            first <<= 1;
            const int count = code.of_length[length];
            if (number - first < count)
                break;
            index += count, first += count;
        }
        held_ >>= length, n_held_ -= length;
        return code.symbols[index + number - first];
    }

    void copy_stored()
    {
        from_ -= n_held_ / 8; // those of the current byte are padding
        held_ = 0, n_held_ = 0;
        const size_t size = from_[0] | static_cast<size_t>(from_[1]) << 8;
        std::memcpy(to_, from_ + 4, size);
        from_ += 4 + size, to_ += size;
    }

    void read_fixed()
    {
        uint8_t lengths[n_literals], distances[n_distances];
        std::memset(lengths, 8, 144), std::memset(lengths + 144, 9, 112);
        std::memset(lengths + 256, 7, 24), std::memset(lengths + 280, 8, 8);
        std::memset(distances, 5, sizeof distances);
        read_block(Code(lengths, n_literals), Code(distances, n_distances));
    }

    // The lengths of both codes are coded themselves.
    void read_dynamic()
    {
        static constexpr uint8_t order[n_lengths] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                     11, 4,  12, 3, 13, 2, 14, 1, 15};
        uint8_t lengths[n_literals + n_distances + 2] = {};
        const int n_first = static_cast<int>(bits(5)) + 257;
        const int n = n_first + static_cast<int>(bits(5)) + 1;
        const int n_coded = static_cast<int>(bits(4)) + 4;
        for (int i = 0; i < n_coded; i++)
            lengths[order[i]] = static_cast<uint8_t>(bits(3));
        const Code of_lengths(lengths, n_lengths);
        for (int i = 0; i < n;) {
            const int found = symbol(of_lengths);
            if (found < 16) {
                lengths[i++] = static_cast<uint8_t>(found);
                continue;
            }
            const uint8_t repeated = found == 16 ? lengths[i - 1] : 0;
            unsigned times = found == 16 ? 3 + bits(2) : found == 17 ? 3 + bits(3) : 11 + bits(7);
            while (times--)
                lengths[i++] = repeated;
        }
        read_block(Code(lengths, n_first), Code(lengths + n_first, n - n_first));
    }

    // A number whose symbols have more bits the larger it is: `per` symbols for each count of bits.
    unsigned number(int symbol, int per)
    {
        if (symbol < 2 * per)
            return static_cast<unsigned>(symbol);
        const int more = symbol / per - 1;
        return (static_cast<unsigned>(per + symbol % per) << more) + bits(more);
    }

    // Literals, and repetitions of what was written before.
    void read_block(const Code &literals, const Code &distances)
    {
        for (int found; (found = symbol(literals)) != end_of_block;) {
            if (found < end_of_block) {
                *to_++ = static_cast<uint8_t>(found);
                continue;
            }
            constexpr int first = 257, longest = 285;
            const unsigned length = found == longest ? 258 : 3 + number(found - first, 4);
            const uint8_t *before = to_ - 1 - number(symbol(distances), 2);
            for (unsigned i = 0; i < length; i++)
                *to_++ = *before++;
        }
    }

    const uint8_t *from_;
    uint8_t *to_;
    uint32_t held_ = 0; // bits that were read and not used
    int n_held_ = 0;
};

} // namespace

uint8_t *inflate(const uint8_t *packed, uint8_t *to) { return Inflater(packed, to).run(); }

} // namespace onelayer
