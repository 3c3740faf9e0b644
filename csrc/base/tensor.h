// Tensors of a bundle's weights, by our names (checkpoint/parameters.py).
#pragma once
#include "error.h"
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace onelayer {

// A view of numbers that lie in a file or in memory. They need not be aligned.
struct Tensor {
    enum class Kind { f32, i8 };
    Kind kind = Kind::f32;
    std::vector<int64_t> shape;
    const void *data = nullptr;
};

using Tensors = std::map<std::string, Tensor, std::less<>>;

} // namespace onelayer
