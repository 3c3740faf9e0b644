// The functions between two products of an encoder.
#pragma once

namespace onelayer {

enum class Activation { gelu, gelu_new, relu, tanh };

} // namespace onelayer
