// A text or a pair of texts gets a number: the twin of tasks/regress.
#include "../base/decimals.h"
#include "../base/error.h"
#include "scratch.h"
#include "task_fields.h"
#include "task_kinds.h"
#include "texts.h"

namespace onelayer {

namespace {

class Regress final : public Task {
  public:
    explicit Regress(const Json &values);

    onelayer_task kind() const override { return ONELAYER_REGRESS; }
    size_t n_outputs() const override { return 1; }
    const std::vector<std::string> &labels() const override { return labels_; }
    int64_t max_length() const override { return lengths_.longest; }

    void encode(const Row &row, const Tokenizer &tokenizer, Encodings &out) const override
    {
        encode_texts(row, tokenizer, lengths_.longest, lengths_.stride, pooling_, out);
    }

    void decode(const Row &, const RowLogits &logits, Prediction &out) const override
    {
        std::vector<float> &x = scratch().logits;
        pool_logits(pooling_, read_logits(logits, 1), 1, x);
        // The layer learns numbers of mean 0 and deviation 1, whatever unit the labels have.
        out.value = static_cast<double>(x[0]) * deviation_ + mean_;
    }

    void write(const Row &, const Prediction &prediction, JsonWriter &out) const override
    {
        out.begin_object().key("value").value(prediction.value).end_object();
    }

    std::unique_ptr<Task> with_guarantees(double coverage, double abstain) const override
    {
        refuse_promises("regress", coverage, abstain);
        return std::make_unique<Regress>(*this);
    }

  private:
    std::vector<std::string> labels_; // none
    Lengths lengths_;
    double mean_, deviation_;
    Pooling pooling_;
};

Regress::Regress(const Json &values) : lengths_(read_lengths(values))
{
    mean_ = finite_number_or(values, "mean", 0);
    deviation_ = finite_number_or(values, "deviation", 1);
    if (!(deviation_ > 0))
        throw BundleError("deviation is " + general(deviation_) + ", and must be above 0");
    pooling_ = read_pooling(values.string_or("pooling", "head"));
    check_pooling_scores(values);
}

} // namespace

std::unique_ptr<Task> read_regress(const Json &values)
{
    check_fields(
        values, "regress",
        {"name", "max_length", "mean", "deviation", "stride", "pooling", "pooling_scores"});
    return std::make_unique<Regress>(values);
}

} // namespace onelayer
