// A call of onelayer_predict, from its inputs to the structs that the caller sees.
#include "predict.h"
#include "../base/error.h"
#include "../base/places.h"
#include "rows.h"

namespace onelayer {

namespace {

template <class T> const T *at_end(const std::vector<T> &values)
{
    return values.data() + values.size();
}

// Room for all rows' parts, so that pointers to them stay valid.
void reserve_parts(onelayer_results &results)
{
    size_t words = 0, entities = 0, candidates = 0;
    for (size_t i = 0; i < results.n; i++) {
        words += results.found[i].words.size();
        entities += results.found[i].entities.size();
        candidates += results.found[i].candidates.size();
    }
    results.words.clear(), results.words.reserve(words);
    results.entities.clear(), results.entities.reserve(entities);
    results.candidates.clear(), results.candidates.reserve(candidates);
}

onelayer_prediction seen(onelayer_results &results, size_t i)
{
    const Task &task = results.opened->task();
    const Encodings &encodings = results.encodings;
    const Prediction &one = results.found[i];
    onelayer_prediction out = {};
    out.task = task.kind();
    out.label = one.label;
    out.probability = one.probability;
    out.probabilities = one.probabilities.data(), out.n_probabilities = one.probabilities.size();
    out.labels = one.labels.data(), out.n_labels = one.labels.size();
    if (one.has_label_set)
        out.label_set = one.label_set.data(), out.n_label_set = one.label_set.size();
    out.value = one.value;

    Places places(results.rows[i].text);
    out.words = at_end(results.words), out.n_words = one.words.size();
    for (const auto &word : one.words)
        results.words.push_back({places.of(word.span), word.label});
    out.entities = at_end(results.entities), out.n_entities = one.entities.size();
    for (const auto &entity : one.entities)
        results.entities.push_back(
            {places.of(entity.span), {entity.type.data(), entity.type.size()}, entity.score});
    out.candidates = at_end(results.candidates), out.n_candidates = one.candidates.size();
    for (const auto &candidate : one.candidates)
        results.candidates.push_back({places.of(candidate.span), candidate.score});

    out.answered = one.answered;
    out.no_answer = one.no_answer, out.margin = one.margin;
    out.unread = encodings.unread[i];
    const auto first = static_cast<size_t>(encodings.cu_rows[i]);
    const auto last = static_cast<size_t>(encodings.cu_rows[i + 1]);
    const auto reads = static_cast<size_t>(encodings.cu_reads[first]);
    out.n_reads = static_cast<size_t>(encodings.cu_reads[last]) - reads;
    out.n_outputs = task.n_outputs();
    out.logits = results.logits.data() + reads * out.n_outputs;
    out.text_tokens = encodings.text_tokens[i];
    out.tokens = static_cast<size_t>(encodings.cu_seqlens[last] - encodings.cu_seqlens[first]);
    return out;
}

} // namespace

std::unique_ptr<onelayer_results> predict(std::shared_ptr<const Opened> opened,
                                          const onelayer_input *inputs, size_t n)
{
    if (n && !inputs)
        throw InputError("no inputs");
    auto results = opened->spare->take();
    const Bundle &bundle = *opened->bundle;
    const Task &task = opened->task();
    results->opened = opened;
    results->n = n;
    // Rows are only added, never removed: each keeps its memory for a later call.
    if (results->rows.size() < n)
        results->rows.resize(n), results->found.resize(n), results->json.resize(n);
    for (size_t i = 0; i < n; i++)
        results->json[i].clear();

    Encodings &encodings = results->encodings;
    encodings.clear();
    for (size_t i = 0; i < n; i++) {
        read_row(inputs[i], *opened, i + 1, results->rows[i]);
        task.encode(results->rows[i], *bundle.tokenizer, encodings);
    }
    results->logits.resize(encodings.reads.size() * task.n_outputs());
    if (!results->logits.empty())
        bundle.engine->logits(encodings, opened->threads, results->logits.data());
    for (size_t i = 0; i < n; i++) {
        const RowLogits logits = {encodings, i, results->logits.data(), task.n_outputs()};
        task.decode(results->rows[i], logits, results->found[i]);
    }
    reserve_parts(*results);
    results->predictions.clear();
    for (size_t i = 0; i < n; i++)
        results->predictions.push_back(seen(*results, i));
    return results;
}

} // namespace onelayer
