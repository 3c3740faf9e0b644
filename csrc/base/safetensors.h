// The safetensors format: a header in JSON that says where each tensor's numbers are, and the numbers.
#pragma once
#include "files.h"
#include "json.h"
#include "sha256.h"
#include "tensor.h"
#include <string>
#include <vector>

namespace onelayer {

// The tensors of a file, which must outlive this object. It is read once, from its first byte to its
// last, and hashed on the way.
class Safetensors final : public TensorReader {
  public:
    // Reads the header. Throws BundleError unless it is whole, each tensor has a type that export
    // writes and the size of its shape, and the tensors fill the file without gaps or overlaps.
    explicit Safetensors(const ByteSource &file);

    const Tensors &tensors() const override { return tensors_; }
    const std::string *next() override;
    const char *numbers(char *room) override;

    // SHA-256 of the file, once all tensors' numbers are read.
    std::string digest() { return sum_.digest(); }

  private:
    // A tensor's place among the numbers.
    struct Part {
        uint64_t begin, end;
        const std::string *name;
    };

    std::string_view hashed(size_t at, size_t size, char *room);
    void read_header(std::string_view header, size_t numbers);
    static Tensor tensor_of(const std::string &name, const Json &entry, size_t numbers, Part &part);

    const ByteSource &file_;
    Sha256 sum_;
    Tensors tensors_;
    std::vector<Part> parts_; // in the file's order
    size_t numbers_at_ = 0;   // where the header ends
    size_t n_named_ = 0;      // parts whose names `next` gave
};

} // namespace onelayer
