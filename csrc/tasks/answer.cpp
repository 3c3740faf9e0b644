// A question is answered by a span of a passage, or by "no answer": the twin of tasks/answer.
#include "../base/error.h"
#include "best_spans.h"
#include "logits.h"
#include "scratch.h"
#include "task_fields.h"
#include "task_kinds.h"
#include "windows.h"
#include "written_text.h"
#include <algorithm>
#include <cmath>
#include <optional>

namespace onelayer {

namespace {

// The layer gives each token a score as start and as end, and [CLS] one as "not in this window"; or
// three scores: neither, start, end.
enum class SpanHead { span, three_way };

class Answer final : public Task {
  public:
    explicit Answer(const Json &values);

    onelayer_task kind() const override { return ONELAYER_ANSWER; }
    size_t n_outputs() const override { return head_ == SpanHead::span ? 2 : 3; }
    const std::vector<std::string> &labels() const override { return labels_; }
    int64_t max_length() const override { return lengths_.longest; }

    void encode(const Row &row, const Tokenizer &tokenizer, Encodings &out) const override;
    void decode(const Row &row, const RowLogits &logits, Prediction &out) const override;
    void write(const Row &row, const Prediction &prediction, JsonWriter &out) const override;

    std::unique_ptr<Task> with_guarantees(double coverage, double abstain) const override
    {
        refuse_promises("answer", coverage, abstain);
        return std::make_unique<Answer>(*this);
    }

  private:
    std::vector<std::string> labels_; // none
    Lengths lengths_;
    int64_t max_answer_tokens_;
    SpanHead head_;
    std::optional<double> no_answer_threshold_; // none: there always is an answer
};

Answer::Answer(const Json &values) : lengths_(read_lengths(values))
{
    max_answer_tokens_ = values.at("max_answer_tokens").integer();
    if (max_answer_tokens_ < 1)
        throw BundleError("max_answer_tokens is " + std::to_string(max_answer_tokens_) +
                          ", and must be above 0");
    const std::string head = values.string_or("span_head", "span");
    if (head != "span" && head != "three-way")
        throw BundleError("span_head can't be '" + head + "'");
    head_ = head == "span" ? SpanHead::span : SpanHead::three_way;
    if (const Json *const threshold = values.find("no_answer_threshold"))
        no_answer_threshold_ = finite_number(*threshold, "no_answer_threshold");
}

void Answer::encode(const Row &row, const Tokenizer &tokenizer, Encodings &out) const
{
    const Template &frame = tokenizer.frame;
    Scratch &memory = scratch();
    Pieces &question = memory.first, &passage = memory.second;
    tokenizer.encode(row.question, false, question);
    tokenizer.encode(row.text, true, passage);
    const auto between = static_cast<int64_t>(frame.between.size());
    const int64_t most = std::max<int64_t>(lengths_.longest / 2 - between + 1, 0);
    const size_t kept = std::min(question.ids.size(), static_cast<size_t>(most));
    const size_t before = frame.before.size() + kept + frame.between.size();
    const int64_t room = lengths_.longest - static_cast<int64_t>(before + frame.after.size());
    if (room < 1 && !passage.ids.empty())
        throw BundleError("max_length " + std::to_string(lengths_.longest) +
                          " leaves no room for a passage beside the question");
    std::vector<Span> &windows = memory.windows;
    cut_windows(passage.ids.size(), static_cast<size_t>(std::max<int64_t>(room, 0)),
                static_cast<size_t>(std::min(lengths_.stride, room / 2)), windows);
    for (const Span window : windows) {
        out.add_tokens(frame.before, 0);
        out.add_tokens(question.ids.data(), kept, 0);
        out.add_tokens(frame.between, 0);
        out.add_tokens(passage.ids.data() + window.begin, window.end - window.begin,
                       frame.second_segment);
        out.add_tokens(frame.after, frame.second_segment);
        if (head_ == SpanHead::span)
            out.add_read(0, no_span);
        for (size_t i = window.begin; i < window.end; i++)
            out.add_read(before + i - window.begin, passage.offsets[i]);
        out.end_sequence();
    }
    out.end_row(question.ids.size() - kept, question.ids.size() + passage.ids.size());
}

// The span without white space at its ends, which a token may begin or end with.
Span trimmed(const Text &text, Span span)
{
    Span found = span;
    while (found.begin < found.end && is_space(text[found.begin]))
        found.begin++;
    while (found.begin < found.end && is_space(text[found.end - 1]))
        found.end--;
    return found;
}

// Of equal spans the one that was found first stays, with the highest of their scores.
void merge_equal(std::vector<ScoredSpan> &spans)
{
    std::sort(spans.begin(), spans.end(), [](const ScoredSpan &a, const ScoredSpan &b) {
        if (!(a.span == b.span))
            return a.span.begin != b.span.begin ? a.span.begin < b.span.begin
                                                : a.span.end < b.span.end;
        return a.order < b.order;
    });
    size_t n = 0;
    for (const ScoredSpan &one : spans) {
        if (n && spans[n - 1].span == one.span)
            spans[n - 1].score = std::max(spans[n - 1].score, one.score);
        else
            spans[n++] = one;
    }
    spans.resize(n);
}

void Answer::decode(const Row &row, const RowLogits &logits, Prediction &out) const
{
    const ReadLogits all = read_logits(logits, n_outputs());
    const Encodings &encodings = logits.encodings;
    const auto first = static_cast<size_t>(encodings.cu_rows[logits.row]);
    const auto last = static_cast<size_t>(encodings.cu_rows[logits.row + 1]);
    const size_t skipped = head_ == SpanHead::span ? 1 : 0; // the read of [CLS]
    const auto begin_of = [&](size_t sequence) {
        return static_cast<size_t>(encodings.cu_reads[sequence]);
    };
    Scratch &memory = scratch();
    std::vector<ScoredSpan> &spans = memory.spans, &best = memory.best_spans;
    std::vector<float> &differences = memory.logits;
    spans.clear();
    double null = 0;
    OwnRange own = {-HUGE_VAL, HUGE_VAL};
    for (size_t w = first; w < last; w++) {
        const float *const x = all.first + (begin_of(w) - begin_of(first)) * n_outputs();
        const size_t n = begin_of(w + 1) - begin_of(w) - skipped;
        const Span *const characters = encodings.offsets.data() + begin_of(w) + skipped;
        const double of_null = head_ == SpanHead::span ? static_cast<double>(x[0] + x[1]) : 0;
        null = w == first ? of_null : std::min(null, of_null);
        if (n == 0)
            continue; // a passage of characters that the tokenizer leaves out
        SpanScores scores = {x + 2, x + 3, 2, n, characters};
        if (head_ == SpanHead::three_way) {
            // The log-odds of a span against all tokens being neither: other tokens cancel out.
            differences.clear();
            for (size_t i = 0; i < n; i++)
                for (const size_t end : {1, 2})
                    differences.push_back(x[3 * i + end] - x[3 * i]);
            scores.first = differences.data(), scores.last = differences.data() + 1;
        }
        // Where two windows overlap, the middle parts them: a span is scored once, where most of
        // its surroundings are seen.
        own.to = HUGE_VAL;
        if (w + 1 < last)
            own.to = static_cast<double>(characters[n - 1].end) +
                     static_cast<double>(encodings.offsets[begin_of(w + 1) + skipped].begin);
        find_best_spans(scores, static_cast<size_t>(max_answer_tokens_), own, best);
        own.from = own.to;
        for (const ScoredSpan &one : best) {
            const Span found =
                trimmed(row.text, {characters[one.span.begin].begin, characters[one.span.end].end});
            if (found.begin < found.end)
                spans.push_back({found, one.score, spans.size()});
        }
    }
    merge_equal(spans);
    std::sort(spans.begin(), spans.end(), [](const ScoredSpan &a, const ScoredSpan &b) {
        return a.score > b.score || (a.score == b.score && a.order < b.order);
    });
    spans.resize(std::min(spans.size(), n_best));

    // Probabilities among the candidates and "no answer", if that is possible.
    const bool may_be_none = no_answer_threshold_ || spans.empty();
    std::vector<double> &p = memory.probabilities;
    p.clear();
    if (may_be_none)
        p.push_back(null);
    for (const ScoredSpan &one : spans)
        p.push_back(one.score);
    softmax(p.data(), p.size());
    out.no_answer = may_be_none ? p[0] : 0;
    out.candidates.clear();
    for (size_t i = 0; i < spans.size(); i++)
        out.candidates.push_back({spans[i].span, p[i + may_be_none]});
    out.margin = spans.empty() ? HUGE_VAL : null - spans[0].score;
    out.answered = !spans.empty() && !(no_answer_threshold_ && out.margin > *no_answer_threshold_);
}

void Answer::write(const Row &row, const Prediction &prediction, JsonWriter &out) const
{
    const auto put_span = [&](Span span) {
        out.key("text");
        write_text(row.text, span, out);
        out.key("start").value(int64_t{span.begin});
        out.key("end").value(int64_t{span.end});
    };
    out.begin_object();
    out.key("id").value(std::string_view(row.id));
    if (prediction.answered) {
        put_span(prediction.candidates[0].span);
    } else {
        out.key("text").value("");
        out.key("start").null();
        out.key("end").null();
    }
    out.key("score").value(prediction.answered ? prediction.candidates[0].score
                                               : prediction.no_answer);
    out.key("no_answer_score").value(prediction.no_answer);
    out.key("margin").value(prediction.margin);
    out.key("candidates").begin_array();
    for (const auto &candidate : prediction.candidates) {
        out.begin_object();
        put_span(candidate.span);
        out.key("score").value(candidate.score);
        out.end_object();
    }
    out.end_array();
    out.end_object();
}

} // namespace

std::unique_ptr<Task> read_answer(const Json &values)
{
    check_fields(
        values, "answer",
        {"name", "max_length", "stride", "max_answer_tokens", "span_head", "no_answer_threshold?"});
    values.at("stride");
    return std::make_unique<Answer>(values);
}

} // namespace onelayer
