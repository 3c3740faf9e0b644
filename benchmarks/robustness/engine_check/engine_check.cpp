// Random models and texts through the engine, from several threads at once. For each model it prints
// a digest of the logits, and fails where they differ between instruction sets, numbers of threads,
// or a text alone and in its batch. See engine_check.py.
#include "../../../csrc/engine/engine.h"
#include "../../../csrc/engine/instruction_sets.h"
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

using namespace onelayer;

namespace {

// The same numbers on every machine.
struct Random {
    uint64_t state;

    uint32_t bits()
    {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<uint32_t>(state >> 33);
    }
    int64_t below(int64_t n) { return bits() % n; }
    float uniform() { return static_cast<float>(bits() % 65536) / 32768 - 1; }
};

struct Weights {
    std::vector<std::vector<char>> memory;
    TensorsInMemory tensors;
    Random random;

    void floats(const std::string &name, std::vector<int64_t> shape, float mean, float spread)
    {
        add<float>(name, shape, Tensor::Kind::f32, [&] { return mean + spread * random.uniform(); });
    }
    void bytes(const std::string &name, std::vector<int64_t> shape)
    {
        add<int8_t>(name, shape, Tensor::Kind::i8,
                    [&] { return static_cast<int8_t>(random.below(256) - 128); });
    }
    void matrix(const std::string &name, int64_t inputs, int64_t outputs)
    {
        bytes(name + ".weight", {inputs, outputs});
        floats(name + ".scale", {outputs}, 0.002f, 0.001f);
        floats(name + ".bias", {outputs}, 0, 0.5f);
    }
    void norm(const std::string &name, int64_t width)
    {
        floats(name + ".weight", {width}, 1, 0.5f);
        floats(name + ".bias", {width}, 0, 0.5f);
    }

    // The numbers lie one byte behind an aligned place: tensors of a file aren't aligned.
    template <class Number, class Draw>
    void add(const std::string &name, std::vector<int64_t> shape, Tensor::Kind kind, Draw draw)
    {
        int64_t count = 1;
        for (int64_t size : shape)
            count *= size;
        memory.emplace_back(static_cast<size_t>(count) * sizeof(Number) + 1);
        char *to = memory.back().data() + 1;
        for (int64_t i = 0; i < count; i++) {
            const Number number = draw();
            std::memcpy(to + i * static_cast<int64_t>(sizeof number), &number, sizeof number);
        }
        tensors.add(name, {kind, std::move(shape)}, to);
    }
};

EncoderShape shape_of(int kind)
{
    EncoderShape shape;
    shape.vocabulary = 40, shape.width = 96, shape.heads = kind == 1 ? 6 : 2;
    shape.feed_forward = 200, shape.longest = 90, shape.positions = 92, shape.first_position = 2;
    shape.layers = kind == 2 ? std::vector<int64_t>{0, 0} : std::vector<int64_t>{0, 1};
    shape.embedding_width = kind == 2 ? 32 : 0;
    shape.segments = kind == 1 ? 0 : 2;
    shape.distance_buckets = kind == 1 ? 32 : 0;
    shape.activation = static_cast<Activation>(kind % 4);
    shape.outputs = kind == 3 ? 70 : 3;
    return shape;
}

void fill(Weights &w, const EncoderShape &s, bool pooled)
{
    const std::string embeddings = "encoder.embeddings";
    const int64_t narrow = s.embedding_width ? s.embedding_width : s.width;
    w.bytes(embeddings + ".word.weight", {s.vocabulary, narrow});
    w.floats(embeddings + ".word.scale", {s.vocabulary}, 0.02f, 0.01f);
    w.floats(embeddings + ".position.weight", {s.positions, narrow}, 0, 1);
    if (s.segments)
        w.floats(embeddings + ".segment.weight", {s.segments, narrow}, 0, 1);
    w.norm(embeddings + ".norm", narrow);
    if (s.embedding_width)
        w.matrix(embeddings + ".widen", narrow, s.width);
    if (s.distance_buckets)
        w.floats("encoder.distances.weight", {s.distance_buckets, s.heads}, 0, 1);
    for (int i = 0; i < 2; i++) {
        const std::string layer = "encoder.layers." + std::to_string(i);
        w.matrix(layer + ".attention.qkv", s.width, 3 * s.width);
        w.matrix(layer + ".attention.output", s.width, s.width);
        w.norm(layer + ".attention.norm", s.width);
        w.matrix(layer + ".feed_forward.up", s.width, s.feed_forward);
        w.matrix(layer + ".feed_forward.down", s.feed_forward, s.width);
        w.norm(layer + ".feed_forward.norm", s.width);
    }
    if (pooled) {
        w.floats("pooler.weight", {s.width, s.width}, 0, 0.1f);
        w.floats("pooler.bias", {s.width}, 0, 0.1f);
    }
    w.floats("head.weight", {s.outputs, s.width}, 0, 0.1f);
    w.floats("head.bias", {s.outputs}, 0, 0.1f);
}

void add_text(Encodings &texts, Random &random, const EncoderShape &shape, int64_t length)
{
    for (int64_t i = 0; i < length; i++) {
        const auto id = static_cast<int32_t>(random.below(shape.vocabulary));
        texts.add_tokens(&id, 1, shape.segments && i > length / 2);
        if (i % 5 == 0)
            texts.add_read(static_cast<size_t>(i), no_span);
    }
    texts.end_sequence();
    texts.end_row(0, static_cast<size_t>(length));
}

std::vector<float> logits(const Engine &engine, const EncoderShape &shape, const Encodings &texts,
                          int threads)
{
    std::vector<float> out(texts.reads.size() * static_cast<size_t>(shape.outputs));
    engine.logits(texts, threads, out.data());
    return out;
}

bool same(const std::vector<float> &a, const std::vector<float> &b)
{
    return a.size() == b.size() && !std::memcmp(a.data(), b.data(), a.size() * sizeof(float));
}

// One model in one instruction set. Returns whether all ways of computing it agree with `expected`,
// which the first set fills.
bool check(int kind, const InstructionSet &set, int64_t most, std::vector<float> &expected)
{
    setenv("ONELAYER_INSTRUCTIONS", set.name, 1);
    const EncoderShape shape = shape_of(kind);
    Weights weights{{}, {}, {static_cast<uint64_t>(kind) + 1}};
    fill(weights, shape, kind % 2 == 0);
    const std::unique_ptr<Engine> engine = Engine::of(shape, weights.tensors);
    weights.memory.clear(); // the engine has a copy
    Encodings batch;
    std::vector<Encodings> alone(static_cast<size_t>(most));
    for (int64_t length = 1; length <= most; length++) {
        Random for_batch{static_cast<uint64_t>(length)}, for_one = for_batch;
        add_text(batch, for_batch, shape, length);
        add_text(alone[static_cast<size_t>(length) - 1], for_one, shape, length);
    }
    const std::vector<float> found = logits(*engine, shape, batch, 1);
    if (expected.empty())
        expected = found;
    std::atomic<int> wrong{!same(found, expected)};
    std::vector<std::thread> callers; // some compute alone, some with the pool's threads
    for (int threads : {1, 3, 1, 2})
        callers.emplace_back([&, threads] {
            wrong += !same(logits(*engine, shape, batch, threads), expected);
            std::vector<float> one_by_one;
            for (const Encodings &text : alone)
                for (float value : logits(*engine, shape, text, threads))
                    one_by_one.push_back(value);
            wrong += !same(one_by_one, expected);
        });
    for (std::thread &caller : callers)
        caller.join();
    return !wrong;
}

} // namespace

int main(int count, char **arguments)
{
    const int64_t most = count > 1 ? std::atoi(arguments[1]) : 70;
    bool all = true;
    for (int kind = 0; kind < 4; kind++) {
        std::vector<float> expected;
        for (const InstructionSet *set : instruction_sets()) {
            const bool good = check(kind, *set, most, expected);
            uint32_t digest = 2166136261u;
            for (float value : expected) {
                uint32_t bits;
                std::memcpy(&bits, &value, sizeof bits);
                digest = (digest ^ bits) * 16777619u;
            }
            std::printf("model %d, %s: %08x%s\n", kind, set->name, digest,
                        good ? "" : ", and not all logits are the same");
            all = all && good;
        }
    }
    return all ? 0 : 1;
}
