// Of the options that a question offers in a context, which is right? The twin of tasks/choose.
#include "../base/decimals.h"
#include "../base/error.h"
#include "scratch.h"
#include "task_fields.h"
#include "task_kinds.h"
#include "texts.h"
#include "windows.h"
#include "written_text.h"
#include <algorithm>

namespace onelayer {

namespace {

class Choose final : public Task {
  public:
    explicit Choose(const Json &values);

    onelayer_task kind() const override { return ONELAYER_CHOOSE; }
    size_t n_outputs() const override { return 1; }
    const std::vector<std::string> &labels() const override { return labels_; }
    int64_t max_length() const override { return lengths_.longest; }

    void encode(const Row &row, const Tokenizer &tokenizer, Encodings &out) const override;
    void decode(const Row &row, const RowLogits &logits, Prediction &out) const override;
    void write(const Row &row, const Prediction &prediction, JsonWriter &out) const override;

    std::unique_ptr<Task> with_guarantees(double coverage, double abstain) const override
    {
        refuse_promises("choose", coverage, abstain);
        return std::make_unique<Choose>(*this);
    }

  private:
    std::vector<std::string> labels_; // none
    Lengths lengths_;
    double temperature_; // logits are divided by it before they become probabilities
};

Choose::Choose(const Json &values) : lengths_(read_lengths(values))
{
    temperature_ = finite_number_or(values, "temperature", 1);
    if (!(temperature_ > 0))
        throw BundleError("temperature is " + general(temperature_) +
                          ", and must be above 0");
}

// Each option makes a sequence of its own: [CLS] context [SEP] question option [SEP].
void Choose::encode(const Row &row, const Tokenizer &tokenizer, Encodings &out) const
{
    const Template &frame = tokenizer.frame;
    const int64_t room = room_beside(frame, true, lengths_.longest);
    Scratch &memory = scratch();
    Pieces &context = memory.first, &option = memory.second;
    tokenizer.encode(row.text, false, context);
    const auto n = static_cast<int64_t>(context.ids.size());
    int64_t lost = 0, whole = 0;
    for (const Text &offered : row.options) {
        memory.joined.assign(row.question.bytes());
        memory.joined += ' ';
        memory.joined += offered.bytes();
        memory.text.assign(memory.joined);
        tokenizer.encode(memory.text, false, option);
        const auto m = static_cast<int64_t>(option.ids.size());
        const auto [a, b] = truncate_longest(n, m, room);
        const TokenSlice second = {option.ids.data(), static_cast<size_t>(b)};
        append_sequence(frame, {context.ids.data(), static_cast<size_t>(a)}, &second, out);
        lost += n + m - a - b, whole += n + m;
    }
    out.end_row(static_cast<size_t>(lost), static_cast<size_t>(whole));
}

bool are_equal(const Text &a, const Text &b)
{
    if (a.size() != b.size())
        return false;
    for (size_t i = 0; i < a.size(); i++)
        if (a[i] != b[i])
            return false;
    return true;
}

void Choose::decode(const Row &row, const RowLogits &logits, Prediction &out) const
{
    const ReadLogits options = read_logits(logits, 1);
    // Python divides in single precision, too.
    const auto temperature = static_cast<float>(temperature_);
    std::vector<double> &p = out.probabilities;
    p.resize(options.n);
    std::transform(options.first, options.first + options.n, p.begin(),
                   [=](float x) { return x / temperature; });
    softmax(p.data(), p.size());
    const auto best = std::max_element(p.begin(), p.end());
    const auto index = static_cast<size_t>(best - p.begin());
    // Of an option that is there twice the first one counts.
    const auto first = std::find_if(row.options.begin(), row.options.end(), [&](const Text &one) {
        return are_equal(one, row.options[index]);
    });
    out.label = static_cast<int32_t>(first - row.options.begin());
    out.probability = *best;
}

void Choose::write(const Row &row, const Prediction &prediction, JsonWriter &out) const
{
    out.begin_object();
    out.key("index").value(int64_t{prediction.label});
    out.key("option");
    write_text(row.options[static_cast<size_t>(prediction.label)], out);
    out.key("probabilities").begin_array();
    for (const double p : prediction.probabilities)
        out.value(p);
    out.end_array();
    out.end_object();
}

} // namespace

std::unique_ptr<Task> read_choose(const Json &values)
{
    check_fields(values, "choose", {"name", "max_length", "temperature"});
    return std::make_unique<Choose>(values);
}

} // namespace onelayer
