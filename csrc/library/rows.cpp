// Checks inputs as the `row` of each task in Python does.
#include "rows.h"
#include "../base/error.h"
#include "../base/places.h"

namespace onelayer {

namespace {

void read_text(onelayer_text text, const char *role, bool may_be_empty, Text &out)
{
    if (!may_be_empty && !text.data)
        throw InputError(std::string("no ") + role);
    out.assign(bytes_of(text, role));
    if (!may_be_empty && stripped(out).empty())
        throw InputError(std::string(role) + " is empty");
}

void read_words(const onelayer_input &input, Row &row)
{
    row.words.clear();
    row.has_words = input.words != nullptr;
    if (!row.has_words)
        return;
    size_t from = 0;
    for (size_t i = 0; i < input.n_words; i++) {
        const onelayer_bytes word = input.words[i];
        if (word.begin < from || word.end < word.begin || word.end > input.text.size)
            throw InputError("word " + std::to_string(i + 1) +
                             " is outside of the text, or before the last word");
        from = word.end;
        row.words.push_back({static_cast<uint32_t>(row.text.point_at(word.begin)),
                             static_cast<uint32_t>(row.text.point_at(word.end))});
    }
}

void read_options(const onelayer_input &input, Row &row)
{
    if (input.n_options < 2 || !input.options)
        throw InputError("two or more options are needed");
    row.options.resize(input.n_options);
    for (size_t i = 0; i < input.n_options; i++) {
        Text &option = row.options[i];
        option.assign(bytes_of(input.options[i], "an option"));
        const std::string_view inner = stripped(option);
        if (inner.empty())
            throw InputError("option " + std::to_string(i + 1) + " is empty");
        if (inner.size() < option.bytes().size())
            option.assign(inner);
    }
}

} // namespace

void read_row(const onelayer_input &input, const Opened &opened, size_t number, Row &row)
{
    const onelayer_task kind = opened.task().kind();
    const bool may_be_empty = kind != ONELAYER_ANSWER && kind != ONELAYER_CHOOSE;
    try {
        row.has_pair = row.has_words = false;
        read_text(input.text, may_be_empty ? "text" : "context", may_be_empty, row.text);
        switch (kind) {
        case ONELAYER_CLASSIFY:
        case ONELAYER_REGRESS:
            row.has_pair = input.pair.data != nullptr;
            if (row.has_pair != opened.pairs)
                throw InputError(opened.pairs
                                     ? "the model was trained on pairs, and this is one text"
                                     : "a pair, and the model was trained on single texts");
            row.pair.assign(bytes_of(input.pair, "pair"));
            break;
        case ONELAYER_TAG: read_words(input, row); break;
        case ONELAYER_ANSWER:
            read_text(input.question, "question", false, row.question);
            row.id = input.id.size ? std::string(bytes_of(input.id, "id")) : std::to_string(number);
            break;
        case ONELAYER_CHOOSE:
            read_text(input.question, "question", !input.question.data, row.question);
            read_options(input, row);
            break;
        }
    } catch (const InputError &error) {
        throw InputError("input " + std::to_string(number) + ": " + error.what());
    }
}

} // namespace onelayer
