#include "pooling.h"
#include "../base/error.h"
#include "task_fields.h"
#include <algorithm>

namespace onelayer {

Pooling read_pooling(const std::string &name)
{
    if (name == "mean")
        return Pooling::mean;
    if (name == "max")
        return Pooling::max;
    if (name == "ends")
        return Pooling::ends;
    if (name == "head")
        return Pooling::head;
    throw BundleError("pooling can't be '" + name + "'");
}

void check_pooling_scores(const Json &values)
{
    if (const Json *const scores = values.find("pooling_scores"))
        for (const auto &[name, score] : scores->members())
            finite_number(score, "a score of pooling " + std::string(name));
}

int64_t windows_read(Pooling pooling, int64_t needed)
{
    switch (pooling) {
    case Pooling::head: return std::min<int64_t>(needed, 1);
    case Pooling::ends: return std::min<int64_t>(needed, 2);
    default: return needed;
    }
}

void pool_logits(Pooling pooling, const ReadLogits &windows, size_t n_outputs,
                 std::vector<float> &out)
{
    const float *const first = windows.first;
    const float *const last = first + (windows.n - 1) * n_outputs;
    out.assign(first, first + n_outputs);
    if (windows.n == 1 || pooling == Pooling::head)
        return;
    for (size_t c = 0; c < n_outputs; c++) {
        if (pooling == Pooling::ends) {
            out[c] = (first[c] + last[c]) / 2;
        } else if (pooling == Pooling::max) {
            for (size_t w = 1; w < windows.n; w++)
                out[c] = std::max(out[c], first[w * n_outputs + c]);
        } else {
            // numpy's reduceat takes the first number, and adds the sum of the others.
            const float others = sum_pairwise(first + n_outputs + c, windows.n - 1, n_outputs);
            out[c] = (first[c] + others) / static_cast<float>(windows.n);
        }
    }
}

} // namespace onelayer
