// A processor or a virtual machine may claim instructions and not do what they should, and not every
// set could be measured by those who wrote it. So a set computes a product before it is offered.
#pragma once
#include "tiles.h"

namespace onelayer {
namespace {

#ifdef PLAIN
bool works() { return true; } // plain sums, which the others are compared with
#else
// The product of random numbers with a matrix is compared with plain sums: rows that fill one tile
// and more, and 16 inputs behind those of a tile. It takes about 0.1 ms, and less in wide registers;
// it runs once, so it is compiled to be small.
__attribute__((cold)) bool works()
{
    constexpr int64_t K = 80, most = 41;
    int8_t plain[K * UNIT], weight[K * UNIT]; // by row, and as panels have them
    Quantized q[most * K];
    Scale scale[most];
    int32_t sums[UNIT] = {0}, exact[UNIT];
    float ones[UNIT], zeros[UNIT] = {0}, y[most * UNIT];
    uint32_t random = 1;
    const auto byte = [&random] {
        random = random * 1664525u + 1013904223u;
        return (int)(random >> 24);
    };
    const auto place = [](int64_t k, int64_t j) { // of a weight
        return j / PANEL * PANEL * K + (k / DEPTH * PANEL + j % PANEL) * DEPTH + k % DEPTH;
    };
    for (int64_t j = 0; j < UNIT; j++) {
        ones[j] = 1;
        for (int64_t k = 0; k < K; k++)
            sums[j] += plain[k * UNIT + j] = weight[place(k, j)] = (int8_t)(byte() - 128);
    }
    for (int64_t i = 0; i < most * K; i++)
        q[i] = (Quantized)(byte() - OFFSET);
    for (Scale &one : scale)
        one = Scale{1, 0};
    const Matrix w = {weight, sums, ones, zeros, zeros, K, UNIT};
    const OpenTiles tiles;
    for (int64_t rows = most; rows > TALL; rows -= 32) {
        for (float &one : y)
            one = 0.5f; // which no sum is
        product_by_tiles(&w, q, scale, rows, 0, y, UNIT);
        for (int64_t i = 0; i < rows; i++) {
            memset(exact, 0, sizeof exact);
            for (int64_t k = 0; k < K; k++)
                for (int64_t j = 0; j < UNIT; j++)
                    exact[j] += (q[i * K + k] + OFFSET) * plain[k * UNIT + j];
            for (int64_t j = 0; j < UNIT; j++)
                if (y[i * UNIT + j] != (float)exact[j])
                    return false;
        }
    }
    return true;
}
#endif

} // namespace
} // namespace onelayer
