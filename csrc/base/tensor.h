// Tensors of a bundle's weights, by our names (checkpoint/parameters.py).
#pragma once
#include "error.h"
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace onelayer {

struct Tensor {
    enum class Kind { f32, i8 };
    Kind kind = Kind::f32;
    std::vector<int64_t> shape;

    size_t bytes() const
    {
        size_t found = kind == Kind::f32 ? 4 : 1;
        for (const int64_t size : shape)
            found *= static_cast<size_t>(size);
        return found;
    }
};

using Tensors = std::map<std::string, Tensor, std::less<>>;

// Tensors whose numbers are read one after another, in the order in which they lie.
class TensorReader {
  public:
    virtual ~TensorReader() = default;
    virtual const Tensors &tensors() const = 0;
    // The name of the next tensor; null after the last one.
    virtual const std::string *next() = 0;
    // The numbers of the tensor that `next` named: where they lie, or copied to `room`. They need
    // not be aligned.
    virtual const char *numbers(char *room) = 0;
};

// Tensors whose numbers are in memory, which must outlive this object.
class TensorsInMemory final : public TensorReader {
  public:
    void add(const std::string &name, Tensor tensor, const void *numbers)
    {
        tensors_[name] = std::move(tensor);
        numbers_[name] = static_cast<const char *>(numbers);
        next_ = numbers_.cbegin();
    }

    const Tensors &tensors() const override { return tensors_; }
    const std::string *next() override
    {
        if (next_ == numbers_.cend())
            return nullptr;
        named_ = next_++;
        return &named_->first;
    }
    const char *numbers(char *) override { return named_->second; }

  private:
    using Numbers = std::map<std::string, const char *>;

    Tensors tensors_;
    Numbers numbers_;
    Numbers::const_iterator next_ = numbers_.cend(), named_ = next_;
};

} // namespace onelayer
