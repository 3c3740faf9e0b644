// Which kernels this processor can run.
#pragma once
#include "model.h"
#include <string>
#include <vector>

namespace onelayer {

// The sets that were compiled and that this processor has, the fastest first; "plain" is the last.
std::vector<const InstructionSet *> instruction_sets();

// The fastest set, or the one that the environment variable ONELAYER_INSTRUCTIONS names. Throws
// InputError if this processor doesn't have that one.
const InstructionSet &instruction_set();

} // namespace onelayer
