// The safetensors format: a header in JSON that says where each tensor's numbers are, and the numbers.
#pragma once
#include "tensor.h"
#include <string_view>

namespace onelayer {

// The tensors of a file's bytes, which must outlive them. Throws BundleError unless the header is
// whole, each tensor has a type that export writes and the size of its shape, and the tensors fill
// the file without gaps or overlaps.
Tensors read_safetensors(std::string_view bytes);

} // namespace onelayer
