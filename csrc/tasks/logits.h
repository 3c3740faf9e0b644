// From logits to probabilities, in double precision as Python's tasks/logits.py.
#pragma once
#include "task.h"

namespace onelayer {

// The sum of n numbers that lie `step` apart, added in the order in which numpy adds them: eight
// sums side by side, and halves of long runs by themselves. So the bits are those of Python.
template <class Number> Number sum_pairwise(const Number *x, size_t n, size_t step = 1)
{
    if (n < 8) {
        Number sum = -Number(0);
        for (size_t i = 0; i < n; i++)
            sum += x[i * step];
        return sum;
    }
    if (n > 128) {
        const size_t half = n / 2 - n / 2 % 8;
        return sum_pairwise(x, half, step) + sum_pairwise(x + half * step, n - half, step);
    }
    Number sums[8];
    size_t i = 0;
    for (; i < 8; i++)
        sums[i] = x[i * step];
    for (; i + 8 <= n; i += 8)
        for (size_t j = 0; j < 8; j++)
            sums[j] += x[(i + j) * step];
    Number sum =
        ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    for (; i < n; i++)
        sum += x[i * step];
    return sum;
}

// Replaces n logits by their softmax.
void softmax(double *x, size_t n);

double sigmoid(double x);

// The logits of a row's reads, (n, n_outputs).
struct ReadLogits {
    const float *first;
    size_t n;
};

// Throws BundleError for another number of outputs than the task has, and for logits that are no
// finite numbers.
ReadLogits read_logits(const RowLogits &logits, size_t n_outputs);

} // namespace onelayer
