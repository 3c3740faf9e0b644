// Threads that share one model of the C++ library, for native_threads.py:
//
//     native_threads BUNDLE classify|pair|answer|choose
//
// Each predicts all inputs in an order of its own, one at a time or together, half of them with
// options of their own, and between them opens what is no bundle. The answers must be those of one
// thread.
#include "native_inputs.h"
#include <atomic>
#include <cstdio>
#include <functional>
#include <thread>

constexpr size_t THREADS = 4, ROUNDS = 3;

static std::atomic<size_t> wrong{0};

// The JSON of `n` rows; "" for each where the call fails.
static std::vector<std::string> answers(const onelayer_model *model, const onelayer_input *rows,
                                        size_t n)
{
    std::vector<std::string> found(n);
    onelayer_results *const results = onelayer_predict(model, rows, n);
    for (size_t i = 0; results && i < n; i++)
        if (const char *json = onelayer_json(results, i))
            found[i] = json;
    onelayer_free(results);
    return found;
}

static void compare(const std::vector<std::string> &found, const std::string *expected)
{
    for (size_t i = 0; i < found.size(); i++)
        wrong += found[i] != expected[i];
}

static void use(const onelayer_model *shared, const Inputs &inputs,
                const std::vector<std::string> &expected, size_t number)
{
    for (size_t round = 0; round < ROUNDS; round++) {
        onelayer_options options = {};
        options.threads = static_cast<int>(1 + round % 2);
        onelayer_model *const own = number % 2 ? onelayer_with(shared, &options) : nullptr;
        const onelayer_model *const model = own ? own : shared;
        wrong += number % 2 && !own;
        const size_t n = inputs.rows.size();
        if ((number + round) % 3 == 0)
            compare(answers(model, inputs.rows.data(), n), expected.data());
        for (size_t k = 0; k < n; k++) {
            const size_t i = (k + number * 3) % n;
            compare(answers(model, &inputs.rows[i], 1), &expected[i]);
            // Each thread has an error text of its own.
            const std::string name = "no bundle of " + std::to_string(number);
            wrong += onelayer_open(name.c_str(), nullptr) != nullptr;
            wrong += std::string(onelayer_error()).find(name) == std::string::npos;
        }
        if (own)
            onelayer_close(own);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    onelayer_options options = {};
    options.threads = 2;
    onelayer_model *const model = onelayer_open(argv[1], &options);
    if (!model) {
        std::fprintf(stderr, "%s\n", onelayer_error());
        return 1;
    }
    const Inputs inputs(argv[2]);
    const std::vector<std::string> expected =
        answers(model, inputs.rows.data(), inputs.rows.size());
    for (const std::string &one : expected)
        wrong += one.empty();
    std::vector<std::thread> threads;
    for (size_t number = 0; number < THREADS; number++)
        threads.emplace_back(use, model, std::cref(inputs), std::cref(expected), number);
    for (std::thread &thread : threads)
        thread.join();
    onelayer_close(model);
    if (wrong)
        std::printf("%zu answers differ\n", wrong.load());
    return wrong != 0;
}
