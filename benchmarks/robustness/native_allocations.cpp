// How often onelayer_predict asks for memory, for native_allocations.py:
//
//     native_allocations BUNDLE classify|pair|answer|choose THREADS
//
// Every call of malloc and its like in this process is counted, so it needs glibc.
#include "native_inputs.h"
#include <atomic>
#include <cstdio>
#include <cstdlib>

static std::atomic<size_t> asked{0};

extern "C" {
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    asked++;
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    asked++;
    return __libc_calloc(n, size);
}

void *realloc(void *block, size_t size)
{
    asked++;
    return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    asked++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    asked++;
    *block = __libc_memalign(alignment, size);
    return *block ? 0 : 12;
}
}

// Calls for all inputs, one at a time; with their JSON if that is wanted. Ends the program where
// one fails.
static void predict_each(const onelayer_model *model, const std::vector<onelayer_input> &inputs,
                         bool with_json)
{
    for (const onelayer_input &input : inputs) {
        onelayer_results *const results = onelayer_predict(model, &input, 1);
        if (!results || (with_json && !onelayer_json(results, 0))) {
            std::fprintf(stderr, "%s\n", onelayer_error());
            std::exit(1);
        }
        onelayer_free(results);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    onelayer_options options = {};
    options.threads = std::atoi(argv[3]);
    onelayer_model *const model = onelayer_open(argv[1], &options);
    if (!model) {
        std::fprintf(stderr, "%s\n", onelayer_error());
        return 1;
    }
    const Inputs inputs(argv[2]);
    // The memory grows to what the longest text needs, in the first rounds.
    for (int round = 0; round < 3; round++)
        predict_each(model, inputs.rows, true);
    const auto count = [&](bool with_json) {
        const size_t before = asked;
        predict_each(model, inputs.rows, with_json);
        return static_cast<double>(asked - before) / static_cast<double>(inputs.rows.size());
    };
    const double alone = count(false), with_json = count(true);
    std::printf("%.2f %.2f\n", alone, with_json);
    onelayer_close(model);
    return 0;
}
