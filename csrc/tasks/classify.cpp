// A text or a pair of texts gets one label, or several: the twin of tasks/classify.
#include "../base/error.h"
#include "calibration.h"
#include "scratch.h"
#include "task_fields.h"
#include "task_kinds.h"
#include "texts.h"
#include <algorithm>
#include <numeric>

namespace onelayer {

namespace {

class Classify final : public Task {
  public:
    explicit Classify(const Json &values);

    onelayer_task kind() const override { return ONELAYER_CLASSIFY; }
    size_t n_outputs() const override { return labels_.size(); }
    const std::vector<std::string> &labels() const override { return labels_; }
    int64_t max_length() const override { return lengths_.longest; }
    bool multi_label() const override { return multi_label_; }

    void encode(const Row &row, const Tokenizer &tokenizer, Encodings &out) const override
    {
        encode_texts(row, tokenizer, lengths_.longest, lengths_.stride, pooling_, out);
    }
    void decode(const Row &row, const RowLogits &logits, Prediction &out) const override;
    void write(const Row &row, const Prediction &prediction, JsonWriter &out) const override;
    std::unique_ptr<Task> with_guarantees(double coverage, double abstain) const override;

  private:
    void find_set(Prediction &out) const;

    std::vector<std::string> labels_;
    Lengths lengths_;
    bool multi_label_;
    std::vector<double> thresholds_; // with several labels: from which probability each is given
    Pooling pooling_;
    std::optional<Calibration> calibration_;
    std::optional<double> least_in_set_;     // the probability from which a label is in the set
    std::optional<double> least_confidence_; // the probability from which there is an answer
};

Classify::Classify(const Json &values)
    : labels_(read_labels(values)), lengths_(read_lengths(values))
{
    multi_label_ = values.boolean_or("multi_label", false);
    pooling_ = read_pooling(values.string_or("pooling", "head"));
    check_pooling_scores(values);
    const Json *const threshold = values.find("threshold");
    if (threshold && threshold->is_array())
        thresholds_ = finite_numbers(*threshold, "threshold");
    else
        thresholds_.assign(labels_.size(), finite_number_or(values, "threshold", 0.5));
    if (thresholds_.size() != labels_.size())
        throw BundleError("threshold has " + std::to_string(thresholds_.size()) + " numbers for " +
                          std::to_string(labels_.size()) + " labels");
    if (const Json *const calibration = values.find("calibration"))
        calibration_ = Calibration::read(*calibration);
    if (const Json *const least = values.find("least_in_set"))
        least_in_set_ = finite_number(*least, "least_in_set");
    if (const Json *const least = values.find("least_confidence"))
        least_confidence_ = finite_number(*least, "least_confidence");
}

void Classify::decode(const Row &, const RowLogits &logits, Prediction &out) const
{
    std::vector<float> &x = scratch().logits;
    pool_logits(pooling_, read_logits(logits, labels_.size()), labels_.size(), x);
    // Python divides in single precision, too.
    const float temperature = calibration_ ? static_cast<float>(calibration_->temperature()) : 1.0f;
    std::vector<double> &p = out.probabilities;
    p.resize(x.size());
    std::transform(x.begin(), x.end(), p.begin(), [=](float one) { return one / temperature; });
    out.labels.clear();
    out.label = -1;
    out.probability = 0;
    if (multi_label_) {
        std::transform(p.begin(), p.end(), p.begin(), sigmoid);
        for (size_t i = 0; i < p.size(); i++)
            if (p[i] >= thresholds_[i])
                out.labels.push_back(static_cast<int32_t>(i));
        return find_set(out);
    }
    softmax(p.data(), p.size());
    const auto best = std::max_element(p.begin(), p.end());
    const auto label = static_cast<int32_t>(best - p.begin());
    out.probability = *best;
    if (!least_confidence_ || *best >= *least_confidence_)
        out.label = label;
    find_set(out);
    if (out.has_label_set && out.label_set.empty()) // which would be of no use
        out.label_set.push_back(label);
}

// The labels whose probability is high enough, likeliest first.
void Classify::find_set(Prediction &out) const
{
    const std::vector<double> &p = out.probabilities;
    out.has_label_set = least_in_set_.has_value();
    out.label_set.clear();
    if (!least_in_set_)
        return;
    for (size_t i = 0; i < p.size(); i++)
        if (p[i] >= *least_in_set_)
            out.label_set.push_back(static_cast<int32_t>(i));
    std::sort(out.label_set.begin(), out.label_set.end(), [&p](int32_t a, int32_t b) {
        const double of_a = p[static_cast<size_t>(a)], of_b = p[static_cast<size_t>(b)];
        return of_a > of_b || (of_a == of_b && a < b);
    });
}

void Classify::write(const Row &, const Prediction &prediction, JsonWriter &out) const
{
    const auto names = [&](const std::vector<int32_t> &labels) {
        out.begin_array();
        for (const int32_t label : labels)
            out.value(labels_[static_cast<size_t>(label)]);
        out.end_array();
    };
    out.begin_object();
    if (multi_label_) {
        out.key("labels");
        names(prediction.labels);
    } else {
        out.key("label");
        if (prediction.label < 0)
            out.null();
        else
            out.value(labels_[static_cast<size_t>(prediction.label)]);
        out.key("probability").value(prediction.probability);
    }
    out.key("probabilities").begin_object();
    for (size_t i = 0; i < labels_.size(); i++)
        out.key(labels_[i]).value(prediction.probabilities[i]);
    out.end_object();
    if (prediction.has_label_set) {
        out.key("label_set");
        names(prediction.label_set);
    }
    out.end_object();
}

std::unique_ptr<Task> Classify::with_guarantees(double coverage, double abstain) const
{
    auto promising = std::make_unique<Classify>(*this);
    if (coverage == 0 && abstain == 0)
        return promising;
    if (!calibration_)
        throw InputError("the model has no calibration that coverage and abstain could rely on "
                         "(only runs of onelayer train have one)");
    if (abstain != 0 && multi_label_)
        throw InputError("abstain is for one label a row, and this model gives several");
    promising->least_in_set_.reset();
    promising->least_confidence_.reset();
    if (coverage != 0)
        promising->least_in_set_ = calibration_->least_in_set(coverage);
    if (abstain != 0)
        promising->least_confidence_ = calibration_->least_confidence(abstain);
    return promising;
}

} // namespace

std::unique_ptr<Task> read_classify(const Json &values)
{
    check_fields(values, "classify",
                 {"name", "labels", "max_length", "multi_label", "threshold", "stride", "pooling",
                  "pooling_scores", "calibration?", "least_in_set?", "least_confidence?"});
    return std::make_unique<Classify>(values);
}

} // namespace onelayer
