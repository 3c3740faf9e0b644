// Asks the processor what it has. flags.txt says how the kernels of each set are compiled.
//
// A set for AMX belongs in front of the others: kernels with tiles of 16 rows, and the system's
// permission to use the tile registers.
#include "instruction_sets.h"
#include "../base/error.h"
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace onelayer {

extern const InstructionSet kernels_plain;

#if defined(__x86_64__)
extern const InstructionSet kernels_avx2, kernels_avxvnni, kernels_avx512vnni, kernels_avx512bf16;

namespace {

struct Registers {
    unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers ask_processor(unsigned leaf, unsigned part)
{
    Registers r;
    __get_cpuid_count(leaf, part, &r.a, &r.b, &r.c, &r.d); // leaves 0 where there is no such leaf
    return r;
}

// Which registers the system keeps when it switches between threads, one bit for each kind.
unsigned kept_registers()
{
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

bool all_bits(unsigned value, unsigned bits) { return (value & bits) == bits; }

// Bits of Intel's manual, volume 2, CPUID.
constexpr unsigned fma = 1u << 12, osxsave = 1u << 27;                      // leaf 1, ecx
constexpr unsigned avx2 = 1u << 5;                                          // leaf 7, ebx
constexpr unsigned f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
constexpr unsigned vnni512 = 1u << 11;                                      // leaf 7, ecx
constexpr unsigned vnni = 1u << 4, bf16 = 1u << 5;                          // leaf 7.1, eax
constexpr unsigned ymm = 0x6, zmm = 0xe6;                                   // of kept_registers

} // namespace
#endif

std::vector<const InstructionSet *> instruction_sets()
{
    std::vector<const InstructionSet *> found;
#if defined(__x86_64__)
    const Registers one = ask_processor(1, 0), seven = ask_processor(7, 0);
    const Registers more = seven.a >= 1 ? ask_processor(7, 1) : Registers();
    const unsigned kept = one.c & osxsave ? kept_registers() : 0;
    const bool has_avx2 = all_bits(kept, ymm) && all_bits(one.c, fma) && all_bits(seven.b, avx2);
    const bool has_512 = has_avx2 && all_bits(kept, zmm) && all_bits(seven.b, f | dq | bw | vl) &&
                         all_bits(seven.c, vnni512);
    if (has_512 && all_bits(more.a, bf16))
        found.push_back(&kernels_avx512bf16);
    if (has_512)
        found.push_back(&kernels_avx512vnni);
    if (has_avx2 && all_bits(more.a, vnni))
        found.push_back(&kernels_avxvnni);
    if (has_avx2)
        found.push_back(&kernels_avx2);
#elif defined(__aarch64__)
    extern const InstructionSet kernels_neon;
#if defined(__linux__)
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP)
        found.push_back(&kernels_neon);
#elif defined(__APPLE__)
    found.push_back(&kernels_neon); // every Apple processor of 64 bits that runs macOS has it
#endif
#endif
    found.push_back(&kernels_plain);
    return found;
}

const InstructionSet &instruction_set()
{
    const std::vector<const InstructionSet *> found = instruction_sets();
    const char *named = std::getenv("ONELAYER_INSTRUCTIONS");
    if (!named || !*named)
        return *found.front();
    std::string names;
    for (const InstructionSet *set : found) {
        if (set->name == std::string(named))
            return *set;
        names += (names.empty() ? "" : ", ") + std::string(set->name);
    }
    throw InputError("ONELAYER_INSTRUCTIONS is " + std::string(named) +
                     ", and this processor has " + names);
}

} // namespace onelayer
