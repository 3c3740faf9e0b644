// Checks a bundle's tensors, and reads them into the order of the kernels. The model is walked twice:
// to add up the memory that it takes, and to give everything its place there.
#include "layout.h"
#include "../base/error.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
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

// (rows, columns) bytes -> (N / panel, K / depth, panel, depth), where rows and columns are padded to
// K and N: the padding is zero already. Adds each column to `sums`.
template <int depth>
void lay_out_panels(const int8_t *from, int64_t rows, int64_t columns, int64_t K, int64_t panel,
                    int8_t *to, int32_t *sums)
{
    for (int64_t k = 0; k < rows; k++) {
        const int8_t *const row = from + k * columns;
        for (int64_t j = 0; j < columns; j++)
            sums[j] += row[j];
    }
    for (int64_t k = 0; k < rows; k += depth) {
        const int64_t there = std::min<int64_t>(depth, rows - k);
        const int8_t *const row = from + k * columns;
        for (int64_t first = 0; first < columns; first += panel) {
            int8_t *const out = to + first * K + k * panel;
            const int64_t n = std::min(panel, columns - first);
            if (there == depth) {
                for (int64_t j = 0; j < n; j++)
                    for (int64_t i = 0; i < depth; i++)
                        out[j * depth + i] = row[i * columns + first + j];
                continue;
            }
            for (int64_t i = 0; i < there; i++)
                for (int64_t j = 0; j < n; j++)
                    out[j * depth + i] = row[i * columns + first + j];
        }
    }
}

// The same for a set's depth.
auto lay_out_by(int64_t depth)
{
    return depth == 8 ? lay_out_panels<8> : depth == 4 ? lay_out_panels<4> : lay_out_panels<2>;
}

} // namespace

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

// Zeros that begin at a cache line; null while the memory is added up.
template <class Number> Number *Layout::take(int64_t count)
{
    constexpr size_t line = 64;
    char *const here = memory_ ? memory_->start() + used_ : nullptr;
    used_ += (static_cast<size_t>(count) * sizeof(Number) + line - 1) / line * line;
    return reinterpret_cast<Number *>(here);
}

const float *Layout::floats(const std::string &name, const std::vector<int64_t> &shape,
                            int64_t first_row)
{
    const size_t size = tensor(name, Tensor::Kind::f32, shape).bytes();
    const size_t left_out = size / static_cast<size_t>(shape[0]) * static_cast<size_t>(first_row);
    float *const to = take<float>(static_cast<int64_t>((size - left_out) / sizeof(float)));
    places_[name] = {Place::Form::same, reinterpret_cast<char *>(to), size, left_out};
    return to;
}

// (n) -> (line), with zeros at the end.
const float *Layout::padded(const std::string &name, int64_t n, int64_t line)
{
    const size_t size = tensor(name, Tensor::Kind::f32, {n}).bytes();
    float *const to = take<float>(line);
    places_[name] = {Place::Form::same, reinterpret_cast<char *>(to), size};
    return to;
}

// (rows, columns) -> (columns, line), with zeros at the end of each line.
const float *Layout::transposed(const std::string &name, int64_t rows, int64_t columns,
                                int64_t line)
{
    const size_t size = tensor(name, Tensor::Kind::f32, {rows, columns}).bytes();
    float *const to = take<float>(columns * line);
    places_[name] = {Place::Form::transposed, reinterpret_cast<char *>(to), size, 0, rows, columns,
                     line};
    return to;
}

// (rows, width), from a tensor of bytes or from one of nibbles.
const int8_t *Layout::words(const std::string &name, int64_t rows, int64_t width)
{
    int8_t *const to = take<int8_t>(rows * width);
    const auto read_to = [&](const std::string &part, int8_t *place, int64_t columns) {
        const size_t size = tensor(name + part, Tensor::Kind::i8, {rows, columns}).bytes();
        places_[name + part] = {Place::Form::same, reinterpret_cast<char *>(place), size};
    };
    if (!tensors_->count(name + ".nibbles")) {
        read_to(".weight", to, width);
        return to;
    }
    FourBitWords &packed = four_bit_words_;
    const int64_t groups = width / word_group(width);
    tensor(name + ".multipliers", Tensor::Kind::i8, {rows, groups}); // before memory is taken for it
    packed.table = to, packed.rows = rows, packed.width = width;
    packed.multipliers.resize(static_cast<size_t>(rows * groups));
    read_to(".nibbles", packed.nibbles(), width / 2);
    read_to(".multipliers", packed.multipliers.data(), groups);
    return to;
}

Norm Layout::norm(const std::string &name, int64_t width)
{
    return {floats(name + ".weight", {width}), floats(name + ".bias", {width})};
}

Matrix Layout::matrix(const std::string &name, int64_t inputs, int64_t outputs)
{
    const std::string weight = name + ".weight";
    const size_t size = tensor(weight, Tensor::Kind::i8, {inputs, outputs}).bytes();
    const int64_t K = rounded_up(inputs, LANES), N = rounded_up(outputs, UNIT);
    int8_t *const panels = take<int8_t>(K * N);
    int32_t *const sums = take<int32_t>(N);
    places_[weight] = {Place::Form::panels, reinterpret_cast<char *>(panels), size, 0, inputs,
                       outputs, K, sums};
    const float *const step = padded(name + ".scale", outputs, N);
    float *const total = take<float>(N);
    totals_.push_back({sums, step, total, N});
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

void Layout::walk(const EncoderShape &shape)
{
    used_ = 0;
    places_.clear(), totals_.clear(), layers_.clear(), depths_.clear();
    keys_.clear(), turned_keys_.clear();
    const std::string embeddings = "encoder.embeddings";
    const int64_t D = shape.width, E = shape.embedding_width ? shape.embedding_width : D;
    Model &m = model_;
    m.D = D, m.E = E, m.F = rounded_up(shape.feed_forward, LANES), m.C = shape.outputs;
    m.n_heads = shape.heads, m.eps = shape.eps;
    m.longest = shape.longest, m.nearby_width = 2 * shape.longest - 1 + LANES;
    m.activation = shape.activation, m.pooler_activation = shape.pooler_activation;

    m.words = words(embeddings + ".word", shape.vocabulary, E);
    m.word_scales = floats(embeddings + ".word.scale", {shape.vocabulary});
    m.positions =
        floats(embeddings + ".position.weight", {shape.positions, E}, shape.first_position);
    // The kernels always add a segment's vector; a family without segments gets zeros.
    m.segments = shape.segments ? floats(embeddings + ".segment.weight", {shape.segments, E})
                                : take<float>(E);
    m.norm = norm(embeddings + ".norm", E);
    if (shape.embedding_width)
        m.widen = matrix(embeddings + ".widen", E, D);
    if (shape.distance_buckets) {
        distances_ = floats("encoder.distances.weight", {shape.distance_buckets, shape.heads});
        m.nearby = nearby_ = take<float>(shape.heads * m.nearby_width);
    }

    // Several depths can share a layer's weights.
    const std::set<int64_t> own(shape.layers.begin(), shape.layers.end());
    layers_.reserve(own.size()); // so that pointers to them stay valid
    for (int64_t number : own)
        layers_.push_back(layer("encoder.layers." + std::to_string(number)));
    for (int64_t number : shape.layers)
        depths_.push_back(&layers_[static_cast<size_t>(
            std::distance(own.begin(), own.find(number)))]);
    m.layers = depths_.data(), m.n_layers = static_cast<int64_t>(depths_.size());

    if (tensors_->count("pooler.weight")) {
        m.pooler = transposed("pooler.weight", D, D, D);
        m.pooler_bias = floats("pooler.bias", {D});
        last_qkv_ = "encoder.layers." + std::to_string(shape.layers.back()) +
                    ".attention.qkv.weight";
        const int64_t d = D / m.n_heads, N = rounded_up(D, UNIT);
        ones_ = take<float>(N);
        const float *const zeros = take<float>(N);
        for (int64_t head = 0; head < m.n_heads; head++) {
            const TurnedKeys to = {take<int8_t>(d * N), take<int32_t>(N)};
            turned_keys_.push_back(to);
            float *const total = take<float>(N);
            totals_.push_back({to.sums, ones_, total, N});
            keys_.push_back({to.weight, to.sums, ones_, total, zeros, d, N});
        }
        m.keys = keys_.data();
    }
    m.head = transposed("head.weight", m.C, D, rounded_up(m.C, LANES));
    m.head_bias = padded("head.bias", m.C, rounded_up(m.C, LANES));
}

void Layout::put(const Place &place, const char *numbers) const
{
    const int64_t rows = place.rows, columns = place.columns;
    switch (place.form) {
    case Place::Form::same:
        if (numbers != place.to)
            std::memcpy(place.to, numbers + place.left_out, place.size - place.left_out);
        return;
    case Place::Form::transposed:
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++)
                std::memcpy(place.to + (j * place.line + i) * 4, numbers + (i * columns + j) * 4,
                            4);
        return;
    case Place::Form::panels:
        lay_out_by(set_.depth)(reinterpret_cast<const int8_t *>(numbers), rows, columns, place.line,
                               set_.panel, reinterpret_cast<int8_t *>(place.to), place.sums);
        return;
    }
}

void Layout::read(TensorReader &reader)
{
    // What stays as it is goes to its place at once, and the rest goes there from here.
    const auto direct = [](const Place &place) {
        return place.form == Place::Form::same && !place.left_out;
    };
    size_t largest = 0;
    for (const auto &[name, tensor] : reader.tensors()) {
        const auto found = places_.find(name);
        if (found == places_.end() || !direct(found->second))
            largest = std::max(largest, tensor.bytes());
    }
    const std::unique_ptr<char[]> room(new char[largest]);
    while (const std::string *const name = reader.next()) {
        const auto found = places_.find(*name);
        if (found == places_.end()) {
            reader.numbers(room.get());
            continue;
        }
        const Place &place = found->second;
        const char *const numbers = reader.numbers(direct(place) ? place.to : room.get());
        put(place, numbers);
        if (*name == last_qkv_)
            fill_keys(reinterpret_cast<const int8_t *>(numbers));
    }
    for (const Total &total : totals_)
        for (int64_t j = 0; j < total.n; j++)
            total.to[j] = static_cast<float>(total.sums[j]) * total.step[j];
    if (four_bit_words_.table)
        four_bit_words_.multiply_out();
}

// (D, 3 D) -> for each head (d, D): the columns that make its keys, as rows.
void Layout::fill_keys(const int8_t *qkv) const
{
    const int64_t D = model_.D, d = D / model_.n_heads;
    std::vector<int8_t> turned(static_cast<size_t>(d * D));
    const int8_t *columns = qkv + D;
    for (const TurnedKeys &to : turned_keys_) {
        for (int64_t k = 0; k < D; k++)
            for (int64_t j = 0; j < d; j++)
                turned[static_cast<size_t>(j * D + k)] = columns[k * 3 * D + j];
        lay_out_by(set_.depth)(turned.data(), d, D, d, set_.panel, to.weight, to.sums);
        columns += d;
    }
    std::fill(ones_, ones_ + D, 1.0f);
}

// (heads, nearby_width) the bias of each head for each distance. Padding keys read LANES more.
void Layout::fill_nearby(const EncoderShape &shape) const
{
    const std::vector<int64_t> buckets =
        buckets_of_distances(shape.longest, shape.distance_buckets);
    for (int64_t head = 0; head < shape.heads; head++)
        for (size_t i = 0; i < buckets.size(); i++)
            nearby_[head * model_.nearby_width + static_cast<int64_t>(i)] =
                distances_[buckets[i] * shape.heads + head] * powers_of_two;
}

Layout::Layout(const EncoderShape &shape, TensorReader &reader, const InstructionSet &set)
    : set_(set), tensors_(&reader.tensors()), feed_forward_(shape.feed_forward)
{
    check_shape(shape);
    walk(shape);
    memory_.emplace(used_);
    walk(shape);
    read(reader);
    if (shape.distance_buckets)
        fill_nearby(shape);
    tensors_ = nullptr;
    places_.clear(), totals_.clear(), turned_keys_.clear();
    four_bit_words_ = {};
}

} // namespace onelayer
