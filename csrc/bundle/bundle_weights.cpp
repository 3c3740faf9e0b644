// The names and sizes of an int8 bundle's tensors. They are the same in all families; a family's own
// names are left behind when it is exported.
#include "bundle_weights.h"
#include "../base/error.h"
#include "../engine/four_bit_words.h"

namespace onelayer {

namespace {

class Wanted {
  public:
    Wanted(const Tensors &tensors, const Config &config) : tensors_(tensors), shape_(config.shape)
    {
        const int64_t width = shape_.width;
        const int64_t narrow = shape_.embedding_width ? shape_.embedding_width : width;
        const std::string tables = "encoder.embeddings.";
        if (tensors_.count(tables + "word.nibbles"))
            in_four_bits(tables + "word", shape_.vocabulary, narrow);
        else
            quantized(tables + "word", shape_.vocabulary, narrow, shape_.vocabulary);
        fp32(tables + "position.weight", {shape_.positions, narrow});
        if (shape_.segments)
            fp32(tables + "segment.weight", {shape_.segments, narrow});
        norm(tables + "norm", narrow);
        if (shape_.embedding_width)
            linear(tables + "widen", narrow, width);
        if (shape_.distance_buckets)
            fp32("encoder.distances.weight", {shape_.distance_buckets, shape_.heads});
        for (int64_t i = 0; i < config.own_layers; i++)
            layer("encoder.layers." + std::to_string(i) + ".");
        if (tensors_.count("pooler.weight")) {
            fp32("pooler.weight", {width, width});
            fp32("pooler.bias", {width});
        }
        fp32("head.weight", {shape_.outputs, width});
        fp32("head.bias", {shape_.outputs});
        if (found_ < tensors_.size())
            name_the_others();
    }

  private:
    void layer(const std::string &name)
    {
        const int64_t width = shape_.width;
        linear(name + "attention.qkv", width, 3 * width);
        linear(name + "attention.output", width, width);
        norm(name + "attention.norm", width);
        linear(name + "feed_forward.up", width, shape_.feed_forward);
        linear(name + "feed_forward.down", shape_.feed_forward, width);
        norm(name + "feed_forward.norm", width);
    }

    void linear(const std::string &name, int64_t inputs, int64_t outputs)
    {
        quantized(name, inputs, outputs, outputs);
        fp32(name + ".bias", {outputs});
    }

    void norm(const std::string &name, int64_t width)
    {
        fp32(name + ".weight", {width});
        fp32(name + ".bias", {width});
    }

    // Steps of eight bits, and the size of a step for each row or column.
    void quantized(const std::string &name, int64_t rows, int64_t columns, int64_t scales)
    {
        want(name + ".weight", Tensor::Kind::i8, {rows, columns});
        fp32(name + ".scale", {scales});
    }

    // A table in nibbles, with a multiplier for each group of a row.
    void in_four_bits(const std::string &name, int64_t rows, int64_t columns)
    {
        want(name + ".nibbles", Tensor::Kind::i8, {rows, columns / 2});
        want(name + ".multipliers", Tensor::Kind::i8, {rows, columns / word_group(columns)});
        fp32(name + ".scale", {rows});
    }

    void fp32(const std::string &name, const std::vector<int64_t> &shape)
    {
        want(name, Tensor::Kind::f32, shape);
    }

    void want(const std::string &name, Tensor::Kind kind, const std::vector<int64_t> &shape)
    {
        const auto there = tensors_.find(name);
        if (there == tensors_.end() || there->second.kind != kind || there->second.shape != shape)
            wrong(name);
        names_.emplace(name, 0);
        found_++;
    }

    void name_the_others() const
    {
        for (const auto &[name, tensor] : tensors_)
            if (!names_.count(name))
                wrong(name);
    }

    [[noreturn]] static void wrong(const std::string &name)
    {
        throw BundleError(name.substr(0, 80) + " is not as config.json and the task have it "
                                               "(fetch the bundle again, or export the run again)");
    }

    const Tensors &tensors_;
    const EncoderShape &shape_;
    std::map<std::string, int, std::less<>> names_;
    size_t found_ = 0;
};

} // namespace

void check_tensors(const Tensors &tensors, const Config &config) { Wanted(tensors, config); }

} // namespace onelayer
