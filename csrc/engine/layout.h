// A model's weights, laid out as the kernels read them.
#pragma once
#include "../base/tensor.h"
#include "../base/zeroed_memory.h"
#include "encoder_shape.h"
#include "four_bit_words.h"
#include "model.h"
#include <optional>
#include <vector>

namespace onelayer {

class Layout {
  public:
    // Reads the tensors, one at a time, and puts them in order for an instruction set. Throws
    // BundleError for tensors that are missing or not of the sizes that the shape gives them, and
    // for a shape that isn't computed.
    Layout(const EncoderShape &shape, TensorReader &reader, const InstructionSet &set);

    const Model &model() const { return model_; }

  private:
    // Where a tensor's numbers go: as they are, (rows, columns) -> (columns, line), or into the
    // panels of a matrix of `line` inputs.
    struct Place {
        enum class Form { same, transposed, panels };
        Form form;
        char *to;
        size_t size;         // bytes of the tensor
        size_t left_out = 0; // of them, at its beginning
        int64_t rows = 0, columns = 0, line = 0;
        int32_t *sums = nullptr; // (columns)
    };
    struct Total {
        const int32_t *sums;
        const float *step;
        float *to;
        int64_t n;
    };

    void walk(const EncoderShape &shape);
    const Tensor &tensor(const std::string &name, Tensor::Kind kind,
                         const std::vector<int64_t> &shape) const;
    template <class Number> Number *take(int64_t count);
    const float *floats(const std::string &name, const std::vector<int64_t> &shape,
                        int64_t first_row = 0);
    const float *padded(const std::string &name, int64_t n, int64_t line);
    const float *transposed(const std::string &name, int64_t rows, int64_t columns, int64_t line);
    const int8_t *words(const std::string &name, int64_t rows, int64_t width);
    Norm norm(const std::string &name, int64_t width);
    Matrix matrix(const std::string &name, int64_t inputs, int64_t outputs);
    Layer layer(const std::string &name);
    void read(TensorReader &reader);
    void put(const Place &place, const char *numbers) const;
    void fill_keys(const int8_t *qkv) const;
    void fill_nearby(const EncoderShape &shape) const;

    const InstructionSet &set_;
    Model model_ = {};
    std::vector<Layer> layers_;
    std::vector<const Layer *> depths_;
    std::vector<Matrix> keys_; // a head's
    std::optional<ZeroedMemory> memory_;

    // While it is laid out.
    const Tensors *tensors_;
    struct TurnedKeys {
        int8_t *weight;
        int32_t *sums;
    };
    int64_t feed_forward_; // as the tensors have it, before padding
    size_t used_ = 0;      // bytes of the memory
    std::map<std::string, Place, std::less<>> places_;
    std::vector<Total> totals_;
    FourBitWords four_bit_words_; // empty where words have a byte for each number
    std::string last_qkv_; // the weights that `keys_` are made of
    std::vector<TurnedKeys> turned_keys_; // of each head
    float *ones_ = nullptr;
    const float *distances_ = nullptr; // (buckets, heads) the bias by distance
    float *nearby_ = nullptr;          // what becomes of it: see Model
};

} // namespace onelayer
