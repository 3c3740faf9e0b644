// Products by tiles of many shapes against plain sums, with the instructions in software. Ends with 1
// where they differ, and prints the shape. Built with -fsanitize=address, it also ends where a tile
// reads or writes beyond an array.
#include "software_amx.h"
#define PAIRS_OF_BF16
#define TILES
#include "../../../csrc/engine/zmm.h"
#include "../../../csrc/engine/self_check.h"
#include <algorithm>
#include <vector>

using namespace onelayer;

namespace {

struct Random {
    uint32_t state = 1;
    int byte()
    {
        state = state * 1664525u + 1013904223u;
        return static_cast<int>(state >> 24);
    }
};

// The bits of step (q w) + low (sum of w) + bias, in the order of all sets.
float expected(const uint8_t *q, Scale scale, const int8_t *w, int64_t K, int64_t N, float step,
               float bias)
{
    int32_t dot = 0, sum = 0;
    for (int64_t k = 0; k < K; k++)
        dot += q[k] * w[k * N], sum += w[k * N];
    const float low = __builtin_fmaf(static_cast<float>(sum) * step, scale.low, bias);
    return __builtin_fmaf(static_cast<float>(dot), step * scale.step, low);
}

bool right(int64_t rows, int64_t K, int64_t N)
{
    Random random;
    std::vector<int8_t> plain(K * N), weight(K * N);
    std::vector<int32_t> sums(N);
    std::vector<float> step(N), total(N), bias(N), y(rows * N);
    for (int64_t j = 0; j < N; j++) {
        for (int64_t k = 0; k < K; k++) {
            const auto value = static_cast<int8_t>(random.byte() - 128);
            plain[k * N + j] = value;
            sums[j] += value;
            // As layout.cpp has it: (N / 64, K / 4, 64, 4).
            weight[j / 64 * 64 * K + (k / 4 * 64 + j % 64) * 4 + k % 4] = value;
        }
        step[j] = 0.001f * static_cast<float>(random.byte() + 1);
        total[j] = static_cast<float>(sums[j]) * step[j];
        bias[j] = static_cast<float>(random.byte()) - 100;
    }
    std::vector<uint8_t> q(std::max(rows, FEWEST_ROWS) * K);
    std::vector<Scale> scale(rows);
    for (int64_t i = 0; i < rows; i++) {
        scale[i] = Scale{0.01f * static_cast<float>(random.byte()), -static_cast<float>(i)};
        for (int64_t k = 0; k < K; k++)
            q[i * K + k] = static_cast<uint8_t>(random.byte());
    }
    const Matrix w = {weight.data(), sums.data(), step.data(), total.data(), bias.data(), K, N};
    {
        const OpenTiles tiles;
        for (int64_t unit = 0; unit < N / UNIT; unit++)
            product_by_tiles(&w, q.data(), scale.data(), rows, unit, y.data(), N);
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < N; j++)
            if (y[i * N + j] !=
                expected(q.data() + i * K, scale[i], plain.data() + j, K, N, step[j], bias[j])) {
                std::printf("%ld rows, %ld inputs, %ld columns: y[%ld, %ld] is wrong\n",
                            static_cast<long>(rows), static_cast<long>(K), static_cast<long>(N),
                            static_cast<long>(i), static_cast<long>(j));
                return false;
            }
    return true;
}

} // namespace

int main()
{
    bool all = works();
    for (int64_t rows = 1; rows <= 67; rows++)
        for (int64_t K : {16, 64, 112, 208})
            all = right(rows, K, rows % 3 ? 64 : 128) && all;
    std::puts(all ? "right" : "wrong");
    return all ? 0 : 1;
}
