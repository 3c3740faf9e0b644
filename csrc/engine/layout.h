// A model's weights, laid out as the kernels read them.
#pragma once
#include "../base/tensor.h"
#include "encoder_shape.h"
#include "model.h"
#include <memory>
#include <vector>

namespace onelayer {

class Layout {
  public:
    // Copies the tensors, and puts them in order for an instruction set. Throws BundleError for
    // tensors that are missing or not of the sizes that the shape gives them, and for a shape that
    // isn't computed.
    Layout(const EncoderShape &shape, const Tensors &tensors, const InstructionSet &set);

    const Model &model() const { return model_; }

  private:
    struct Freed {
        void operator()(void *memory) const;
    };

    const Tensor &tensor(const std::string &name, Tensor::Kind kind,
                         const std::vector<int64_t> &shape) const;
    template <class Number> Number *take(int64_t count);
    const float *floats(const std::string &name, const std::vector<int64_t> &shape,
                        int64_t first_row = 0);
    const float *padded(const std::string &name, int64_t n, int64_t to);
    const float *transposed(const std::string &name, int64_t rows, int64_t columns, int64_t to);
    Norm norm(const std::string &name, int64_t width);
    Matrix matrix(const std::string &name, int64_t inputs, int64_t outputs);
    Layer layer(const std::string &name);
    const float *nearby(const EncoderShape &shape);

    const Tensors *tensors_; // while they are copied
    const InstructionSet &set_;
    Model model_ = {};
    int64_t feed_forward_ = 0; // as the tensors have it, before padding
    std::vector<std::unique_ptr<void, Freed>> memory_;
    std::vector<Layer> layers_;
    std::vector<const Layer *> depths_;
};

} // namespace onelayer
