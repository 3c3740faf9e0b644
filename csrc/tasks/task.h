// What a task is: rows become token sequences, and their logits become predictions, with the same
// results as the task of the same name in Python.
#pragma once
#include "../base/json.h"
#include "../base/json_writer.h"
#include "../include/onelayer.h"
#include "encodings.h"
#include <memory>
#include <string>
#include <vector>

namespace onelayer {

// An input, decoded and checked: texts that may not be empty aren't, options have no white space at
// their ends, words are in order.
struct Row {
    Text text, pair, question;
    bool has_pair = false;
    std::vector<Text> options;
    std::vector<Span> words; // code points of `text`
    bool has_words = false;
    std::string id; // of a question, in JSON
};

// What the model says of a row; only the fields of its task are filled. Spans are code points of
// `Row::text`. An entity's type is a view of the task's labels.
struct Prediction {
    struct Word {
        Span span;
        int32_t label;
    };
    struct Entity {
        Span span;
        std::string_view type;
        double score;
    };
    struct Candidate {
        Span span;
        double score;
    };

    int32_t label = -1;
    double probability = 0;
    std::vector<double> probabilities;
    std::vector<int32_t> labels, label_set;
    bool has_label_set = false;
    double value = 0;
    std::vector<Word> words;
    std::vector<Entity> entities;
    std::vector<Candidate> candidates;
    bool answered = false;
    double no_answer = 0, margin = 0;
};

// The logits of one row's reads.
struct RowLogits {
    const Encodings &encodings;
    size_t row;          // in the encodings
    const float *logits; // (all reads of the encodings, n_outputs)
    size_t n_outputs;
};

class Task {
  public:
    virtual ~Task() = default;

    // Reads the member "task" of onelayer.json: {"name": "classify", ...}, as the task's to_json
    // wrote it. Throws BundleError for a task that isn't known, and for wrong values.
    static std::unique_ptr<Task> read(const Json &task);

    virtual onelayer_task kind() const = 0;
    virtual size_t n_outputs() const = 0;
    // The names that `Prediction::label` and `labels` count; empty for a task without labels.
    virtual const std::vector<std::string> &labels() const = 0;
    virtual int64_t max_length() const = 0;
    // Whether a row can have several labels, or none.
    virtual bool multi_label() const { return false; }

    // Appends a row's sequences; none where it throws InputError for a row that the task can't use.
    virtual void encode(const Row &row, const Tokenizer &tokenizer, Encodings &out) const = 0;
    // Fills all fields of the task. Throws BundleError for logits that are no finite numbers.
    virtual void decode(const Row &row, const RowLogits &logits, Prediction &out) const = 0;
    // A prediction as a JSON object, its fields in the order of Python's dataclass.
    virtual void write(const Row &row, const Prediction &prediction, JsonWriter &out) const = 0;

    // The task with promises, 0 for none. Throws InputError where dev rows can't promise that.
    virtual std::unique_ptr<Task> with_guarantees(double coverage, double abstain) const = 0;
};

} // namespace onelayer
