// The kernels for one instruction set. flags.txt has a line for each set: SET is its name, and the
// compiler's macros tell which registers it has.
#if defined(__AVX512VNNI__)
#if defined(__AVX512BF16__)
#define PAIRS_OF_BF16
#endif
#if defined(__AMX_INT8__) || defined(__AMXINT8__) // as older versions of clang write it
#define TILES
#endif
#include "zmm.h"
#elif defined(__AVX2__)
#if defined(__AVXVNNI__)
#define VNNI
#endif
#include "ymm.h"
#else
#if defined(__ARM_FEATURE_MATMUL_INT8)
#define PRODUCT_OF_PAIRS
#elif defined(__ARM_FEATURE_DOTPROD)
#define DOT_PRODUCT
#else
#define PLAIN
#endif
#include "xmm.h"
#endif
#include "forward.h"
#include "self_check.h"

#define JOIN(a, b) a##b
#define NAMED(set) JOIN(kernels_, set)
#define TEXT(set) #set
#define NAME_OF(set) TEXT(set)

namespace onelayer {

extern const InstructionSet NAMED(SET);
const InstructionSet NAMED(SET) = {NAME_OF(SET), PANEL, DEPTH, works, forward_room, forward};

} // namespace onelayer
