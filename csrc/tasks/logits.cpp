#include "logits.h"
#include "../base/error.h"
#include <algorithm>
#include <cmath>

namespace onelayer {

void softmax(double *x, size_t n)
{
    const double most = *std::max_element(x, x + n);
    for (size_t i = 0; i < n; i++)
        x[i] = std::exp(x[i] - most);
    const double sum = sum_pairwise(x, n);
    for (size_t i = 0; i < n; i++)
        x[i] /= sum;
}

double sigmoid(double x)
{
    return 0.5 + 0.5 * std::tanh(0.5 * x);
}

ReadLogits read_logits(const RowLogits &logits, size_t n_outputs)
{
    if (logits.n_outputs != n_outputs)
        throw BundleError("the layer has " + std::to_string(logits.n_outputs) +
                          " outputs, and the task needs " + std::to_string(n_outputs));
    const Encodings &encodings = logits.encodings;
    const auto read_at = [&](size_t row) {
        return static_cast<size_t>(encodings.cu_reads[static_cast<size_t>(encodings.cu_rows[row])]);
    };
    const size_t begin = read_at(logits.row), end = read_at(logits.row + 1);
    const float *const first = logits.logits + begin * n_outputs;
    const size_t n = (end - begin) * n_outputs;
    if (!std::all_of(first, first + n, [](float x) { return std::isfinite(x); }))
        throw BundleError("its answers are not finite numbers: its weights are damaged, or its "
                          "training diverged");
    return {first, end - begin};
}

} // namespace onelayer
