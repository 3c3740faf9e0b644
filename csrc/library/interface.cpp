// The C interface: nothing is thrown out of it, and each failure leaves a status and a line.
#include "../base/error.h"
#include "../base/places.h"
#include "../base/text.h"
#include "../tokens/text_pieces.h"
#include "model.h"
#include "parts_interface.h"
#include "predict.h"
#include "text_batch.h"
#include <cstring>
#include <new>
#include <stdexcept>

struct onelayer_row_tokenizer {
    std::shared_ptr<const onelayer::Tokenizer> tokenizer;
};

namespace {

using namespace onelayer;

constexpr size_t longest_error = 1024;
thread_local char error_text[longest_error] = "";
thread_local onelayer_status last_status = ONELAYER_OK;

// Keeps a message as one line of UTF-8, whatever it quotes of files.
void remember(onelayer_status status, const char *message) noexcept
{
    last_status = status;
    size_t size = 0;
    try {
        const Text text(message);
        std::string character;
        for (size_t i = 0; i < text.size(); i++) {
            const char32_t c = text[i];
            const bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
            character.clear();
            append_utf8(character, control ? U' ' : c);
            if (size + character.size() >= longest_error)
                break;
            std::memcpy(error_text + size, character.data(), character.size());
            size += character.size();
        }
    } catch (...) { // no memory for the text: what there is of it is kept
    }
    error_text[size] = '\0';
}

// Calls a function whose failure gives NULL.
template <class Call> auto guarded(Call call) noexcept -> decltype(call())
{
    try {
        auto found = call();
        remember(ONELAYER_OK, "");
        return found;
    } catch (const InputError &error) {
        remember(ONELAYER_BAD_INPUT, error.what());
    } catch (const BundleError &error) {
        remember(ONELAYER_BAD_BUNDLE, error.what());
    } catch (const std::bad_alloc &) {
        remember(ONELAYER_NO_MEMORY, "no memory");
    } catch (const std::length_error &) { // of a container that can't be as large
        remember(ONELAYER_NO_MEMORY, "no memory");
    } catch (const std::exception &error) {
        remember(ONELAYER_FAILED, error.what());
    } catch (...) {
        remember(ONELAYER_FAILED, "failed");
    }
    return nullptr;
}

onelayer_model *model_of(std::shared_ptr<const Bundle> bundle, std::shared_ptr<SpareResults> spare,
                         const onelayer_options *options)
{
    auto model = std::make_unique<onelayer_model>();
    model->opened = opened(std::move(bundle), std::move(spare), options);
    model->description = description(*model->opened);
    return model.release();
}

onelayer_model *model_of(std::unique_ptr<Bundle> bundle, const onelayer_options *options)
{
    return model_of(std::shared_ptr<const Bundle>(std::move(bundle)),
                    std::make_shared<SpareResults>(), options);
}

template <class T> const T &given(const T *object, const char *what)
{
    if (!object)
        throw InputError(std::string("no ") + what + ": it is NULL");
    return *object;
}

} // namespace

extern "C" {

const char *onelayer_version(void) { return ONELAYER_VERSION; }

const char *onelayer_error(void) { return error_text; }

onelayer_status onelayer_last_status(void) { return last_status; }

onelayer_model *onelayer_open(const char *path, const onelayer_options *options)
{
    return guarded([&] { return model_of(Bundle::open(&given(path, "path")), options); });
}

onelayer_model *onelayer_open_memory(const void *data, size_t size, const onelayer_options *options)
{
    return guarded([&] {
        const auto *const bytes = static_cast<const char *>(data);
        return model_of(Bundle::of_bytes({&given(bytes, "data"), size}), options);
    });
}

onelayer_model *onelayer_with(const onelayer_model *model, const onelayer_options *options)
{
    return guarded([&] {
        const Opened &other = *given(model, "model").opened;
        return model_of(other.bundle, other.spare, options);
    });
}

void onelayer_close(onelayer_model *model) { delete model; }

const char *onelayer_describe(const onelayer_model *model)
{
    return guarded([&] { return given(model, "model").description.c_str(); });
}

size_t onelayer_n_labels(const onelayer_model *model)
{
    return model ? model->opened->task().labels().size() : 0;
}

onelayer_text onelayer_label(const onelayer_model *model, size_t index)
{
    if (index >= onelayer_n_labels(model))
        return {nullptr, 0};
    const std::string &label = model->opened->task().labels()[index];
    return {label.data(), label.size()};
}

onelayer_results *onelayer_predict(const onelayer_model *model, const onelayer_input *inputs,
                                   size_t n)
{
    return guarded([&] { return predict(given(model, "model").opened, inputs, n).release(); });
}

size_t onelayer_count(const onelayer_results *results) { return results ? results->n : 0; }

const onelayer_prediction *onelayer_prediction_at(const onelayer_results *results, size_t index)
{
    return index < onelayer_count(results) ? &results->predictions[index] : nullptr;
}

const char *onelayer_json(onelayer_results *results, size_t index)
{
    return guarded([&]() -> const char * {
        if (index >= onelayer_count(results))
            throw InputError("no prediction " + std::to_string(index));
        std::string &json = results->json[index];
        if (json.empty()) {
            JsonWriter out;
            results->opened->task().write(results->rows[index], results->found[index], out);
            json = out.take();
        }
        return json.c_str();
    });
}

const onelayer_piece *onelayer_tokenize(const onelayer_model *model, onelayer_text text, size_t *n)
{
    static const onelayer_piece none = {};
    *n = 0;
    return guarded([&]() -> const onelayer_piece * {
        const auto &pieces = text_pieces(*given(model, "model").opened->bundle->tokenizer, text);
        *n = pieces.size();
        return pieces.empty() ? &none : pieces.data();
    });
}

void onelayer_free(onelayer_results *results)
{
    if (!results)
        return;
    std::unique_ptr<onelayer_results> freed(results);
    // The results would keep the model alive that keeps them.
    const std::shared_ptr<const Opened> opened = std::move(freed->opened);
    try {
        opened->spare->keep(std::move(freed));
    } catch (...) { // no memory to keep it
    }
}

onelayer_row_tokenizer *onelayer_row_tokenizer_open(onelayer_text tokenizer, onelayer_text config,
                                                    size_t vocabulary, int segments)
{
    return guarded([&] {
        auto found = Tokenizer::read(*Json::parse({tokenizer.data, tokenizer.size}),
                                     *Json::parse({config.data, config.size}), vocabulary);
        if (!segments)
            found->frame.second_segment = 0;
        return new onelayer_row_tokenizer{std::move(found)};
    });
}

void onelayer_row_tokenizer_close(onelayer_row_tokenizer *tokenizer) { delete tokenizer; }

const onelayer_text_pieces *
onelayer_row_tokenizer_pieces(const onelayer_row_tokenizer *tokenizer, onelayer_text texts,
                              const size_t *ends, size_t n, int with_spans)
{
    return guarded([&] {
        const TextBatch batch = {bytes_of(texts, "texts"), ends, n};
        return &pieces_of(*given(tokenizer, "tokenizer").tokenizer, batch, with_spans != 0);
    });
}

const onelayer_text_pieces *
onelayer_row_tokenizer_words(const onelayer_row_tokenizer *tokenizer, onelayer_text texts,
                             const size_t *ends, size_t n, const uint32_t *words,
                             const size_t *word_ends)
{
    return guarded([&] {
        const TextBatch batch = {bytes_of(texts, "texts"), ends, n};
        return &pieces_of_words(*given(tokenizer, "tokenizer").tokenizer, batch,
                                {words, word_ends});
    });
}

onelayer_model *onelayer_model_of(const onelayer_engine *engine,
                                  const onelayer_row_tokenizer *tokenizer, onelayer_text task,
                                  onelayer_text layout, int threads)
{
    return guarded([&] {
        auto bundle = std::make_unique<Bundle>();
        bundle->engine = given(engine, "engine").engine;
        bundle->tokenizer = given(tokenizer, "tokenizer").tokenizer;
        bundle->task = Task::read(*Json::parse({task.data, task.size}));
        bundle->record = Json::parse({layout.data, layout.size});
        bundle->layout = &*bundle->record;
        const onelayer_options options = {0, 0, threads};
        return model_of(std::move(bundle), &options);
    });
}

} // extern "C"
