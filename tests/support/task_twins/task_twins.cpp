// The tasks by themselves, for tests: JSON and arrays in, JSON out. The pieces of texts are given, so
// that no tokenizer is needed. All sources are compiled as one, which is quickest.
#include "../../../csrc/base/decimals.cpp"
#include "../../../csrc/base/exact_decimal.cpp"
#include "../../../csrc/base/inflate.cpp"
#include "../../../csrc/base/json.cpp"
#include "../../../csrc/base/json_parser.cpp"
#include "../../../csrc/base/json_writer.cpp"
#include "../../../csrc/base/text.cpp"
#include "../../../csrc/tasks/answer.cpp"
#include "../../../csrc/tasks/best_spans.cpp"
#include "../../../csrc/tasks/calibration.cpp"
#include "../../../csrc/tasks/choose.cpp"
#include "../../../csrc/tasks/classify.cpp"
#include "../../../csrc/tasks/encodings.cpp"
#include "../../../csrc/tasks/logits.cpp"
#include "../../../csrc/tasks/pooling.cpp"
#include "../../../csrc/tasks/regress.cpp"
#include "../../../csrc/tasks/schemes.cpp"
#include "../../../csrc/tasks/tag.cpp"
#include "../../../csrc/tasks/task.cpp"
#include "../../../csrc/tasks/task_fields.cpp"
#include "../../../csrc/tasks/texts.cpp"
#include "../../../csrc/tasks/viterbi.cpp"
#include "../../../csrc/tasks/windows.cpp"
#include "../../../csrc/tasks/written_text.cpp"
#include "../../../csrc/tokens/unicode.cpp"
#include "../../../csrc/tokens/words.cpp"
#include <map>

using namespace onelayer;

namespace {

std::string said;

struct GivenPieces final : Tokenizer {
    std::map<std::string, Pieces, std::less<>> texts;
    std::map<std::string, std::pair<std::vector<Span>, WordPieces>, std::less<>> worded;

    void encode(const Text &text, bool with_offsets, Pieces &out) const override
    {
        const auto found = texts.find(text.bytes());
        if (found == texts.end())
            throw Error("no pieces are given for '" + std::string(text.bytes()) + "'");
        out = found->second;
        if (!with_offsets)
            out.offsets.clear();
    }

    void encode_words(const Text &text, const std::vector<Span> &words,
                      WordPieces &out) const override
    {
        const auto found = worded.find(text.bytes());
        if (found == worded.end() || !(found->second.first == words))
            throw Error("no pieces are given for these words");
        out = found->second.second;
    }
};

struct Batch {
    std::vector<std::string> bytes; // what the rows' texts are views of
    std::vector<Row> rows;
    Encodings encodings;
};

std::vector<Span> spans_of(const Json &pairs)
{
    std::vector<Span> found;
    for (const Json &pair : pairs.items())
        found.push_back({static_cast<uint32_t>(pair.items()[0].integer()),
                         static_cast<uint32_t>(pair.items()[1].integer())});
    return found;
}

template <class Number> std::vector<Number> numbers_of(const Json &items)
{
    std::vector<Number> found;
    for (const Json &item : items.items())
        found.push_back(static_cast<Number>(item.integer()));
    return found;
}

GivenPieces tokenizer_of(const Json &given)
{
    GivenPieces made;
    made.frame.before = numbers_of<int32_t>(given.at("before"));
    made.frame.between = numbers_of<int32_t>(given.at("between"));
    made.frame.after = numbers_of<int32_t>(given.at("after"));
    made.frame.second_segment = static_cast<uint8_t>(given.at("second_segment").integer());
    made.unknown = static_cast<int32_t>(given.at("unknown").integer());
    for (const auto &[text, pieces] : given.at("texts").members())
        made.texts[std::string(text)] = {numbers_of<int32_t>(pieces.at("ids")), spans_of(pieces.at("offsets"))};
    for (const auto &[text, words] : given.at("words").members())
        made.worded[std::string(text)] = {
            spans_of(words.at("spans")),
            {numbers_of<int32_t>(words.at("ids")), numbers_of<uint32_t>(words.at("word_of"))}};
    return made;
}

void read_rows(const Json &rows, Batch &batch)
{
    size_t n = 0;
    for (const Json &row : rows.items())
        n += 3 + (row.find("options") ? row.at("options").items().size() : 0);
    batch.bytes.reserve(n); // so that no text moves
    const auto text = [&](const Json &row, const char *role) {
        return Text(batch.bytes.emplace_back(row.string_or(role, "")));
    };
    for (const Json &values : rows.items()) {
        Row &row = batch.rows.emplace_back();
        row.text = text(values, "text");
        row.pair = text(values, "pair");
        row.has_pair = values.find("pair");
        row.question = text(values, "question");
        row.id = values.string_or("id", "");
        if (const Json *const options = values.find("options"))
            for (const Json &option : options->items())
                row.options.push_back(Text(batch.bytes.emplace_back(option.string())));
        row.has_words = values.find("words");
        if (row.has_words)
            row.words = spans_of(values.at("words"));
    }
}

template <class Numbers> void put(JsonWriter &out, const char *name, const Numbers &numbers)
{
    out.key(name).begin_array();
    for (const auto number : numbers)
        out.value(static_cast<int64_t>(number));
    out.end_array();
}

// The result of a function, or null and what went wrong in twin_said().
template <class Function> auto caught(Function function) -> decltype(function())
{
    said.clear();
    try {
        return function();
    } catch (const BundleError &error) {
        said = std::string("bundle: ") + error.what();
    } catch (const InputError &error) {
        said = std::string("input: ") + error.what();
    } catch (const std::exception &error) {
        said = std::string("failed: ") + error.what();
    }
    return nullptr;
}

} // namespace

#define SEEN __attribute__((visibility("default")))

extern "C" {

SEEN const char *twin_said()
{
    return said.c_str();
}

SEEN void *twin_open(const char *task)
{
    return caught([&] { return Task::read(*Json::parse(task)).release(); });
}

SEEN void *twin_promising(const Task *task, double coverage, double abstain)
{
    return caught([&] { return task->with_guarantees(coverage, abstain).release(); });
}

SEEN void twin_close(Task *task)
{
    delete task;
}

// What the rows are as tokens, in twin_said().
SEEN void *twin_encode(const Task *task, const char *rows, const char *pieces)
{
    return caught([&] {
        auto batch = std::make_unique<Batch>();
        read_rows(*Json::parse(rows), *batch);
        const GivenPieces tokenizer = tokenizer_of(*Json::parse(pieces));
        Encodings &encodings = batch->encodings;
        for (const Row &row : batch->rows)
            task->encode(row, tokenizer, encodings);
        JsonWriter out;
        out.begin_object();
        put(out, "ids", encodings.ids);
        put(out, "segments", encodings.segments);
        put(out, "cu_seqlens", encodings.cu_seqlens);
        put(out, "reads", encodings.reads);
        put(out, "cu_reads", encodings.cu_reads);
        put(out, "cu_rows", encodings.cu_rows);
        put(out, "unread", encodings.unread);
        put(out, "text_tokens", encodings.text_tokens);
        out.key("offsets").begin_array();
        for (const Span span : encodings.offsets)
            out.value(int64_t{span.begin}).value(int64_t{span.end});
        out.end_array().end_object();
        said = out.take();
        return batch.release();
    });
}

SEEN void twin_free(Batch *batch)
{
    delete batch;
}

// All predictions as a JSON array, in twin_said().
SEEN Batch *twin_decode(const Task *task, Batch *batch, const float *logits)
{
    return caught([&] {
        JsonWriter out;
        Prediction prediction; // one for all, as the library reuses them
        out.begin_array();
        for (size_t i = 0; i < batch->rows.size(); i++) {
            task->decode(batch->rows[i], {batch->encodings, i, logits, task->n_outputs()},
                         prediction);
            task->write(batch->rows[i], prediction, out);
        }
        out.end_array();
        said = out.take();
        return batch;
    });
}
}
