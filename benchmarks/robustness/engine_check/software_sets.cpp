// In place of instruction_sets.cpp: the set "amx" with its instructions in software, and "plain".
#include "software_amx.h"
#define SET amx
#include "../../../csrc/engine/kernels.cpp"
#include "../../../csrc/engine/instruction_sets.h"

namespace onelayer {

extern const InstructionSet kernels_plain;

std::vector<const InstructionSet *> instruction_sets() { return {&kernels_amx, &kernels_plain}; }

const InstructionSet &instruction_set()
{
    const std::string named = std::getenv("ONELAYER_INSTRUCTIONS");
    return named == kernels_amx.name ? kernels_amx : kernels_plain;
}

} // namespace onelayer
