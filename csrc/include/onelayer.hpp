// libonelayer for C++17: the interface of onelayer.h with objects that close what they open.
//
//     onelayer::Model model("runs/reviews-int8");
//     const auto results = model.predict("a fine film");
//     std::cout << results[0].label() << ' ' << results[0]->probability << '\n';
//
// What fails throws onelayer::Failure. Header-only: link to libonelayer.
#pragma once
#include "onelayer.h"
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace onelayer {
// A namespace of its own: the library has types of these names inside, which a program that is linked
// with it must not be given.
inline namespace interface {

// Why a call failed.
class Failure : public std::runtime_error {
  public:
    Failure() : std::runtime_error(onelayer_error()), status(onelayer_last_status()) {}

    const onelayer_status status;
};

inline std::string_view view(onelayer_text text) { return {text.data, text.size}; }
inline onelayer_text text_of(std::string_view text)
{
    return {text.data() ? text.data() : "", text.size()};
}

// Part of an array that the library owns.
template <class T> class Range {
  public:
    Range(const T *first, size_t n) : first_(first), n_(n) {}

    const T *begin() const { return first_; }
    const T *end() const { return first_ + n_; }
    size_t size() const { return n_; }
    bool empty() const { return n_ == 0; }
    const T &operator[](size_t i) const { return first_[i]; }

  private:
    const T *first_;
    size_t n_;
};

// A row, whose texts must live until its results are gone.
struct Input {
    std::string_view text;
    std::string_view pair;     // with `is_pair`
    std::string_view question; // for a question; `text` is its passage
    std::vector<std::string_view> options;
    bool is_pair = false;

    Input(std::string_view only) : text(only) {}
    Input(const char *only) : text(only) {}
    Input(const std::string &only) : text(only) {}

    static Input of_pair(std::string_view text, std::string_view pair)
    {
        Input input(text);
        input.pair = pair, input.is_pair = true;
        return input;
    }
    static Input of_question(std::string_view question, std::string_view passage)
    {
        Input input(passage);
        input.question = question;
        return input;
    }
    static Input of_options(std::string_view context, std::string_view question,
                            std::vector<std::string_view> options)
    {
        Input input(context);
        input.question = question, input.options = std::move(options);
        return input;
    }
};

class Results;

// What the model says of a row: a view of its results.
class Prediction {
  public:
    // The struct of onelayer.h, for all that has no shorter way here.
    const onelayer_prediction &operator*() const { return *found_; }
    const onelayer_prediction *operator->() const { return found_; }

    // The likeliest label; empty where the model abstains, and with several labels.
    std::string_view label() const { return name(found_->label); }
    // With several labels: those that reach their thresholds.
    std::vector<std::string_view> labels() const { return names(found_->labels, found_->n_labels); }
    // With `coverage`: labels that hold the right one with that chance.
    std::vector<std::string_view> label_set() const
    {
        return names(found_->label_set, found_->n_label_set);
    }
    Range<double> probabilities() const
    {
        return {found_->probabilities, found_->n_probabilities};
    }
    Range<onelayer_word> words() const { return {found_->words, found_->n_words}; }
    Range<onelayer_entity> entities() const { return {found_->entities, found_->n_entities}; }
    Range<onelayer_candidate> candidates() const
    {
        return {found_->candidates, found_->n_candidates};
    }
    // The name of a label, such as a word's.
    std::string_view name(int32_t label) const
    {
        return label < 0 ? std::string_view()
                         : view(onelayer_label(model_, static_cast<size_t>(label)));
    }

  private:
    friend class Results;
    Prediction(const onelayer_model *model, const onelayer_prediction *found)
        : model_(model), found_(found)
    {
    }

    std::vector<std::string_view> names(const int32_t *labels, size_t n) const
    {
        std::vector<std::string_view> found;
        for (size_t i = 0; i < n; i++)
            found.push_back(name(labels[i]));
        return found;
    }

    const onelayer_model *model_;
    const onelayer_prediction *found_;
};

// The part of a text that a span is about.
inline std::string_view part(std::string_view text, const onelayer_span &span)
{
    return text.substr(span.byte_begin, span.byte_end - span.byte_begin);
}

// The predictions of a call, in the order of its inputs. The model must live as long.
class Results {
  public:
    size_t size() const { return onelayer_count(results_.get()); }
    Prediction operator[](size_t i) const
    {
        if (i >= size())
            throw std::out_of_range("no such prediction");
        return {model_, onelayer_prediction_at(results_.get(), i)};
    }
    // As `onelayer predict` writes it.
    std::string_view json(size_t i)
    {
        const char *const json = onelayer_json(results_.get(), i);
        if (!json)
            throw Failure();
        return json;
    }

  private:
    friend class Model;
    struct Free {
        void operator()(onelayer_results *results) const { onelayer_free(results); }
    };

    Results(const onelayer_model *model, onelayer_results *results)
        : model_(model), results_(results)
    {
        if (!results)
            throw Failure();
    }

    const onelayer_model *model_;
    std::unique_ptr<onelayer_results, Free> results_;
};

// A model, which any number of threads may use at once.
class Model {
  public:
    // Opens a bundle: a directory, or a single file.
    explicit Model(const std::string &path, const onelayer_options &options = {})
        : Model(onelayer_open(path.c_str(), &options))
    {
    }
    // Opens a single file's bytes, which are copied.
    static Model of_bytes(std::string_view bytes, const onelayer_options &options = {})
    {
        return Model(onelayer_open_memory(bytes.data(), bytes.size(), &options));
    }
    // The same weights with other options.
    Model with(const onelayer_options &options) const
    {
        return Model(onelayer_with(model_.get(), &options));
    }

    std::string_view describe() const { return onelayer_describe(model_.get()); }
    std::vector<std::string_view> labels() const
    {
        std::vector<std::string_view> found;
        for (size_t i = 0; i < onelayer_n_labels(model_.get()); i++)
            found.push_back(view(onelayer_label(model_.get(), i)));
        return found;
    }

    Results predict(const Input &input) const { return predict(&input, 1); }
    Results predict(const std::vector<Input> &inputs) const
    {
        return predict(inputs.data(), inputs.size());
    }
    // For inputs as onelayer.h has them.
    Results predict(const onelayer_input *inputs, size_t n) const
    {
        return {model_.get(), onelayer_predict(model_.get(), inputs, n)};
    }

    const onelayer_model *get() const { return model_.get(); }

  private:
    struct Close {
        void operator()(onelayer_model *model) const { onelayer_close(model); }
    };

    explicit Model(onelayer_model *model) : model_(model)
    {
        if (!model)
            throw Failure();
    }

    Results predict(const Input *inputs, size_t n) const
    {
        std::vector<onelayer_input> found(n);
        std::vector<std::vector<onelayer_text>> options(n);
        for (size_t i = 0; i < n; i++) {
            const Input &input = inputs[i];
            found[i].text = text_of(input.text);
            if (input.is_pair)
                found[i].pair = text_of(input.pair);
            if (!input.question.empty())
                found[i].question = text_of(input.question);
            for (const std::string_view option : input.options)
                options[i].push_back(text_of(option));
            found[i].options = options[i].data(), found[i].n_options = options[i].size();
        }
        return predict(found.data(), n);
    }

    std::unique_ptr<onelayer_model, Close> model_;
};

} // namespace interface
} // namespace onelayer
