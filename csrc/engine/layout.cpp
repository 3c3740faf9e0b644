// Checks a bundle's tensors, and copies them into the order of the kernels.
#include "layout.h"
#include "../base/error.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <set>
#include <string>

namespace onelayer {

namespace {

constexpr int64_t farthest = 128;      // distances from here on share a bucket
constexpr int64_t most_inputs = 65536; // of a matrix: with more, a sum could leave 32 bits
// The kernels take powers of 2 of the scores and not of e, so a bias is multiplied by 1 / ln 2.
constexpr float powers_of_two = 1.44269504f;

int64_t rounded_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

std::string described(Tensor::Kind kind, const std::vector<int64_t> &shape)
{
    std::string text = kind == Tensor::Kind::f32 ? "float32 (" : "int8 (";
    for (size_t i = 0; i < shape.size(); i++)
        text += (i ? ", " : "") + std::to_string(shape[i]);
    return text + (shape.size() == 1 ? ",)" : ")");
}

void check_shape(const EncoderShape &shape)
{
    const int64_t narrow = shape.embedding_width ? shape.embedding_width : shape.width;
    for (int64_t size : {shape.vocabulary, shape.width, shape.heads, shape.feed_forward, narrow,
                         shape.longest, shape.outputs, static_cast<int64_t>(shape.layers.size())})
        if (size < 1)
            throw BundleError("a size of the encoder is below 1");
    if (shape.width % (LANES * shape.heads))
        throw BundleError("its heads are not a multiple of 16 wide");
    if (narrow % LANES)
        throw BundleError("its embeddings are not a multiple of 16 wide");
    if (std::max({shape.width, narrow, shape.feed_forward}) > most_inputs)
        throw BundleError("its layers are more than " + std::to_string(most_inputs) + " wide");
    if (shape.first_position < 0 || shape.longest > shape.positions - shape.first_position)
        throw BundleError("its table of positions is too short");
    if (shape.distance_buckets && shape.distance_buckets < 4)
        throw BundleError("its distances have fewer than 4 buckets");
    for (int64_t layer : shape.layers)
        if (layer < 0)
            throw BundleError("a layer's number is negative");
}

// The bucket of each distance from 1 - longest to longest - 1, as nn/buckets.py has it: half of
// them are for keys behind the query. In each half, half of the buckets are for one distance each,
// and the rest get wider logarithmically.
std::vector<int64_t> buckets_of_distances(int64_t longest, int64_t n_buckets)
{
    const int64_t half = n_buckets / 2, exact = half / 2, wide = half - exact;
    std::vector<int64_t> starts; // of the wide buckets after the first
    for (int64_t k = 1, n = exact; k < wide; k++) {
        // Bounds that are whole numbers must not be lost to rounding.
        const double bound = static_cast<double>(k) / static_cast<double>(wide) *
                             std::log(static_cast<double>(farthest) / static_cast<double>(exact));
        while (std::log(static_cast<double>(n) / static_cast<double>(exact)) < bound - 1e-12)
            n++;
        starts.push_back(n);
    }
    std::vector<int64_t> found;
    for (int64_t distance = 1 - longest; distance < longest; distance++) {
        const int64_t far = distance < 0 ? -distance : distance;
        int64_t bucket = far;
        if (far >= exact) {
            bucket = exact;
            for (int64_t start : starts)
                bucket += start <= far;
        }
        found.push_back(bucket + (distance > 0 ? half : 0));
    }
    return found;
}

// (K, N) bytes -> (N / panel, K / depth, panel, depth), with zeros where K or N is padded. `from` has
// `rows` rows of `columns`.
template <int depth>
void lay_out_panels(const int8_t *from, int64_t rows, int64_t columns, int64_t K, int64_t N,
                    int64_t panel, int8_t *to)
{
    for (int64_t first = 0; first < N; first += panel) {
        const int64_t n = std::max<int64_t>(0, std::min(panel, columns - first));
        for (int64_t k = 0; k < K; k += depth, to += panel * depth)
            for (int64_t i = 0; i < depth && k + i < rows; i++) {
                const int8_t *row = from + (k + i) * columns + first;
                for (int64_t j = 0; j < n; j++)
                    to[j * depth + i] = row[j];
            }
    }
}

} // namespace

void Layout::Freed::operator()(void *memory) const
{
    ::operator delete(memory, std::align_val_t(64));
}

const Tensor &Layout::tensor(const std::string &name, Tensor::Kind kind,
                             const std::vector<int64_t> &shape) const
{
    const auto found = tensors_->find(name);
    if (found == tensors_->end())
        throw BundleError(name + " is missing");
    const Tensor &tensor = found->second;
    if (tensor.kind != kind || tensor.shape != shape)
        throw BundleError(name + " is " + described(tensor.kind, tensor.shape) +
                          ", and config.json makes it " + described(kind, shape) +
                          ": config and weights are of two models");
    return tensor;
}

// Zeros that begin at a cache line.
template <class Number> Number *Layout::take(int64_t count)
{
    const size_t bytes = static_cast<size_t>(count) * sizeof(Number);
    memory_.emplace_back(::operator new(bytes, std::align_val_t(64)));
    std::memset(memory_.back().get(), 0, bytes);
    return static_cast<Number *>(memory_.back().get());
}

const float *Layout::floats(const std::string &name, const std::vector<int64_t> &shape,
                            int64_t first_row)
{
    const Tensor &one = tensor(name, Tensor::Kind::f32, shape);
    int64_t width = 1;
    for (size_t i = 1; i < shape.size(); i++)
        width *= shape[i];
    const int64_t count = (shape[0] - first_row) * width;
    float *to = take<float>(count);
    std::memcpy(to, static_cast<const char *>(one.data) + first_row * width * 4,
                static_cast<size_t>(count) * 4);
    return to;
}

// (n) -> (to), with zeros at the end.
const float *Layout::padded(const std::string &name, int64_t n, int64_t to)
{
    const Tensor &one = tensor(name, Tensor::Kind::f32, {n});
    float *found = take<float>(to);
    std::memcpy(found, one.data, static_cast<size_t>(n) * 4);
    return found;
}

// (rows, columns) -> (columns, to), with zeros at the end of each line.
const float *Layout::transposed(const std::string &name, int64_t rows, int64_t columns, int64_t to)
{
    const auto *from = static_cast<const char *>(
        tensor(name, Tensor::Kind::f32, {rows, columns}).data);
    float *found = take<float>(columns * to);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            std::memcpy(found + j * to + i, from + (i * columns + j) * 4, 4);
    return found;
}

Norm Layout::norm(const std::string &name, int64_t width)
{
    return {floats(name + ".weight", {width}), floats(name + ".bias", {width})};
}

Matrix Layout::matrix(const std::string &name, int64_t inputs, int64_t outputs)
{
    const Tensor &weight = tensor(name + ".weight", Tensor::Kind::i8, {inputs, outputs});
    const auto *from = static_cast<const int8_t *>(weight.data);
    const int64_t K = rounded_up(inputs, LANES), N = rounded_up(outputs, UNIT);
    int8_t *panels = take<int8_t>(K * N);
    (set_.depth == 4 ? lay_out_panels<4> : lay_out_panels<2>)(from, inputs, outputs, K, N,
                                                              set_.panel, panels);
    int32_t *sums = take<int32_t>(N);
    for (int64_t k = 0; k < inputs; k++)
        for (int64_t j = 0; j < outputs; j++)
            sums[j] += from[k * outputs + j];
    const float *step = padded(name + ".scale", outputs, N);
    float *total = take<float>(N);
    for (int64_t j = 0; j < N; j++)
        total[j] = static_cast<float>(sums[j]) * step[j];
    return {panels, sums, step, total, padded(name + ".bias", outputs, N), K, N};
}

Layer Layout::layer(const std::string &name)
{
    const int64_t width = model_.D, inner = feed_forward_;
    Layer layer;
    layer.qkv = matrix(name + ".attention.qkv", width, 3 * width);
    layer.output = matrix(name + ".attention.output", width, width);
    layer.attention_norm = norm(name + ".attention.norm", width);
    layer.up = matrix(name + ".feed_forward.up", width, inner);
    layer.down = matrix(name + ".feed_forward.down", inner, width);
    layer.feed_forward_norm = norm(name + ".feed_forward.norm", width);
    return layer;
}

// (heads, nearby_width) the bias of each head for each distance. Padding keys read LANES more.
const float *Layout::nearby(const EncoderShape &shape)
{
    const float *table =
        floats("encoder.distances.weight", {shape.distance_buckets, shape.heads});
    const std::vector<int64_t> buckets =
        buckets_of_distances(shape.longest, shape.distance_buckets);
    float *to = take<float>(shape.heads * model_.nearby_width);
    for (int64_t head = 0; head < shape.heads; head++)
        for (size_t i = 0; i < buckets.size(); i++)
            to[head * model_.nearby_width + static_cast<int64_t>(i)] =
                table[buckets[i] * shape.heads + head] * powers_of_two;
    return to;
}

Layout::Layout(const EncoderShape &shape, const Tensors &tensors, const InstructionSet &set)
    : tensors_(&tensors), set_(set), feed_forward_(shape.feed_forward)
{
    check_shape(shape);
    const std::string embeddings = "encoder.embeddings";
    const int64_t D = shape.width, E = shape.embedding_width ? shape.embedding_width : D;
    Model &m = model_;
    m.D = D, m.E = E, m.F = rounded_up(shape.feed_forward, LANES), m.C = shape.outputs;
    m.n_heads = shape.heads, m.eps = shape.eps;
    m.longest = shape.longest, m.nearby_width = 2 * shape.longest - 1 + LANES;
    m.activation = shape.activation, m.pooler_activation = shape.pooler_activation;

    const Tensor &words =
        tensor(embeddings + ".word.weight", Tensor::Kind::i8, {shape.vocabulary, E});
    int8_t *copy = take<int8_t>(shape.vocabulary * E);
    std::memcpy(copy, words.data, static_cast<size_t>(shape.vocabulary * E));
    m.words = copy;
    m.word_scales = floats(embeddings + ".word.scale", {shape.vocabulary});
    m.positions =
        floats(embeddings + ".position.weight", {shape.positions, E}, shape.first_position);
    // The kernels always add a segment's vector; a family without segments gets zeros.
    m.segments = shape.segments ? floats(embeddings + ".segment.weight", {shape.segments, E})
                                : take<float>(E);
    m.norm = norm(embeddings + ".norm", E);
    if (shape.embedding_width)
        m.widen = matrix(embeddings + ".widen", E, D);
    if (shape.distance_buckets)
        m.nearby = nearby(shape);

    // Several depths can share a layer's weights.
    const std::set<int64_t> own(shape.layers.begin(), shape.layers.end());
    layers_.reserve(own.size()); // so that pointers to them stay valid
    for (int64_t number : own)
        layers_.push_back(layer("encoder.layers." + std::to_string(number)));
    for (int64_t number : shape.layers)
        depths_.push_back(&layers_[static_cast<size_t>(
            std::distance(own.begin(), own.find(number)))]);
    m.layers = depths_.data(), m.n_layers = static_cast<int64_t>(depths_.size());

    if (tensors.count("pooler.weight")) {
        m.pooler = transposed("pooler.weight", D, D, D);
        m.pooler_bias = floats("pooler.bias", {D});
    }
    m.head = transposed("head.weight", m.C, D, rounded_up(m.C, LANES));
    m.head_bias = padded("head.bias", m.C, rounded_up(m.C, LANES));
    tensors_ = nullptr;
}

} // namespace onelayer
