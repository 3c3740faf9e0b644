// Asks the processor what it has. flags.txt says how the kernels of each set are compiled.
#include "instruction_sets.h"
#include "../base/error.h"
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#if defined(__linux__)
#if defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#endif

namespace onelayer {

extern const InstructionSet kernels_plain;

namespace {

bool always() { return true; }

#if defined(__x86_64__)
struct Registers {
    unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers ask_processor(unsigned leaf, unsigned part = 0)
{
    Registers r;
    __get_cpuid_count(leaf, part, &r.a, &r.b, &r.c, &r.d); // leaves 0 where there is no such leaf
    return r;
}

bool all_bits(unsigned value, unsigned bits) { return (value & bits) == bits; }

// Bits of Intel's manual, volume 2, CPUID.
constexpr unsigned fma = 1u << 12, osxsave = 1u << 27;                      // leaf 1, ecx
constexpr unsigned avx2 = 1u << 5;                                          // leaf 7, ebx
constexpr unsigned f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
constexpr unsigned vnni512 = 1u << 11;                                      // leaf 7, ecx
constexpr unsigned tiles = 1u << 24, tiles_of_bytes = 1u << 25;             // leaf 7, edx
constexpr unsigned vnni = 1u << 4, bf16 = 1u << 5;                          // leaf 7.1, eax
constexpr unsigned ymm = 0x6, zmm = 0xe6, tmm = 0x60000;                    // of keeps

// Whether the system keeps all of these registers when it switches between threads.
bool keeps(unsigned registers)
{
    if (!all_bits(ask_processor(1).c, osxsave))
        return false;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return all_bits(low, registers);
}

Registers more_of_seven()
{
    return ask_processor(7).a >= 1 ? ask_processor(7, 1) : Registers();
}

bool has_avx2()
{
    return keeps(ymm) && all_bits(ask_processor(1).c, fma) && all_bits(ask_processor(7).b, avx2);
}

bool has_avxvnni() { return has_avx2() && all_bits(more_of_seven().a, vnni); }

bool has_avx512vnni()
{
    const Registers seven = ask_processor(7);
    return has_avx2() && keeps(zmm) && all_bits(seven.b, f | dq | bw | vl) &&
           all_bits(seven.c, vnni512);
}

bool has_avx512bf16() { return has_avx512vnni() && all_bits(more_of_seven().a, bf16); }

// Linux gives a process the tiles' registers, 8 kB for each thread, when it asks for them. No other
// system was tried.
bool may_use_tiles()
{
#if defined(__linux__)
    constexpr long request = 0x1023, registers = 18; // ARCH_REQ_XCOMP_PERM of the tiles' data
    return syscall(SYS_arch_prctl, request, registers) == 0;
#else
    return false;
#endif
}

bool has_amx()
{
    return has_avx512bf16() && all_bits(ask_processor(7).d, tiles | tiles_of_bytes) && keeps(tmm) &&
           may_use_tiles();
}
#elif defined(__aarch64__)
#if defined(__linux__)
bool has_neon() { return getauxval(AT_HWCAP) & HWCAP_ASIMDDP; }
bool has_i8mm()
{
    constexpr unsigned long bit = 1 << 13; // HWCAP2_I8MM, which older headers don't have
    return has_neon() && getauxval(AT_HWCAP2) & bit;
}
#elif defined(__APPLE__)
bool has_neon() { return true; } // as every processor of 64 bits that runs macOS
bool has_i8mm()
{
    int here = 0;
    size_t size = sizeof here;
    return !sysctlbyname("hw.optional.arm.FEAT_I8MM", &here, &size, nullptr, 0) && here;
}
#else
bool has_neon() { return false; }
bool has_i8mm() { return false; }
#endif
#endif

} // namespace

#if defined(__x86_64__)
extern const InstructionSet kernels_avx2, kernels_avxvnni, kernels_avx512vnni, kernels_avx512bf16,
    kernels_amx;
#elif defined(__aarch64__)
extern const InstructionSet kernels_neon, kernels_i8mm;
#endif

namespace {

struct Choice {
    const InstructionSet &set;
    bool (*is_here)(); // on this processor
};

// What was compiled, the fastest first.
const Choice choices[] = {
#if defined(__x86_64__)
    {kernels_amx, has_amx},
    {kernels_avx512bf16, has_avx512bf16},
    {kernels_avx512vnni, has_avx512vnni},
    {kernels_avxvnni, has_avxvnni},
    {kernels_avx2, has_avx2},
#elif defined(__aarch64__)
    {kernels_i8mm, has_i8mm},
    {kernels_neon, has_neon},
#endif
    {kernels_plain, always},
};

bool can_run(const Choice &choice) { return choice.is_here() && choice.set.works(); }

} // namespace

std::vector<const InstructionSet *> instruction_sets()
{
    std::vector<const InstructionSet *> found;
    for (const Choice &choice : choices)
        if (can_run(choice))
            found.push_back(&choice.set);
    return found;
}

// Sets before the one that is chosen are tried, and those behind it are not. So naming a set keeps a
// process from trying instructions that a machine only claims to have.
const InstructionSet &instruction_set()
{
    const char *variable = std::getenv("ONELAYER_INSTRUCTIONS");
    const std::string named = variable ? variable : "";
    for (const Choice &choice : choices)
        if ((named.empty() || named == choice.set.name) && can_run(choice))
            return choice.set;
    std::string names;
    for (const InstructionSet *set : instruction_sets())
        names += (names.empty() ? "" : ", ") + std::string(set->name);
    throw InputError("ONELAYER_INSTRUCTIONS is " + named + ", and this processor has " + names);
}

} // namespace onelayer
