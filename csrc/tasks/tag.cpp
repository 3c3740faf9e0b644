// Each word of a text gets a label: the twin of tasks/tag.
#include "../base/error.h"
#include "task_fields.h"
#include "task_kinds.h"
#include "texts.h"
#include "viterbi.h"
#include "windows.h"
#include "written_text.h"
#include <algorithm>
#include <cmath>

namespace onelayer {

namespace {

class Tag final : public Task {
  public:
    explicit Tag(const Json &values);

    onelayer_task kind() const override { return ONELAYER_TAG; }
    size_t n_outputs() const override { return labels_->size(); }
    const std::vector<std::string> &labels() const override { return *labels_; }
    int64_t max_length() const override { return lengths_.longest; }

    void encode(const Row &row, const Tokenizer &tokenizer, Encodings &out) const override;
    void decode(const Row &row, const RowLogits &logits, Prediction &out) const override;
    void write(const Row &row, const Prediction &prediction, JsonWriter &out) const override;

    std::unique_ptr<Task> with_guarantees(double coverage, double abstain) const override
    {
        refuse_promises("tag", coverage, abstain);
        return std::make_unique<Tag>(*this);
    }

  private:
    std::shared_ptr<const std::vector<std::string>> labels_; // the tags are views of them
    Lengths lengths_;
    TagSet tags_;
    Joints joints_;
};

std::vector<char32_t> read_marks(const Json &values, std::string_view name)
{
    const std::string marks = values.string_or(name, "");
    const Text text(marks);
    std::vector<char32_t> found;
    for (size_t i = 0; i < text.size(); i++)
        found.push_back(text[i]);
    return found;
}

Tag::Tag(const Json &values)
    : labels_(std::make_shared<const std::vector<std::string>>(read_labels(values))),
      lengths_(read_lengths(values)), tags_(*labels_, read_scheme(values.at("scheme").string()))
{
    const Json &joints = values.at("joints");
    check_fields(joints, "joints", {"inner", "leading"});
    joints_ = {read_marks(joints, "inner"), read_marks(joints, "leading")};
}

// A sentence's ids, and where each word begins among them. A word that the tokenizer turns into
// nothing, such as a zero-width mark, stands there as the unknown piece, to get its label.
void place_words(const WordPieces &pieces, size_t n_words, int32_t unknown, Scratch &scratch)
{
    std::vector<int32_t> &ids = scratch.ids;
    std::vector<uint32_t> &firsts = scratch.firsts;
    ids.clear(), firsts.clear();
    const auto begin_word = [&] { firsts.push_back(static_cast<uint32_t>(ids.size())); };
    const auto add_unknown = [&] { begin_word(), ids.push_back(unknown); };
    for (size_t i = 0; i < pieces.ids.size(); i++) {
        while (firsts.size() < pieces.word_of[i])
            add_unknown();
        if (firsts.size() == pieces.word_of[i])
            begin_word();
        ids.push_back(pieces.ids[i]);
    }
    while (firsts.size() < n_words)
        add_unknown();
}

void Tag::encode(const Row &row, const Tokenizer &tokenizer, Encodings &out) const
{
    Scratch &memory = scratch();
    const Template &frame = tokenizer.frame;
    const int64_t room = room_beside(frame, false, lengths_.longest);
    if (room <= lengths_.stride)
        throw BundleError("windows of " + std::to_string(room) + " tokens can't share " +
                          std::to_string(lengths_.stride));
    const std::vector<Span> *words = &row.words;
    if (!row.has_words) {
        split_words(row.text, joints_, memory.words);
        words = &memory.words;
    }
    tokenizer.encode_words(row.text, *words, memory.pieces);
    place_words(memory.pieces, words->size(), tokenizer.unknown, memory);
    const std::vector<int32_t> &ids = memory.ids;
    const std::vector<uint32_t> &firsts = memory.firsts;

    const std::vector<Span> &windows = memory.windows;
    cut_windows(ids.size(), static_cast<size_t>(room), static_cast<size_t>(lengths_.stride),
                memory.windows);
    size_t word = 0;
    for (size_t w = 0; w < windows.size(); w++) {
        const Span window = windows[w];
        // Where two windows overlap, the middle parts them: each word is read once, in the window
        // that shows most of its surroundings.
        const size_t until =
            w + 1 < windows.size() ? (size_t{windows[w + 1].begin} + window.end) / 2 : ids.size();
        out.add_tokens(frame.before, 0);
        out.add_tokens(ids.data() + window.begin, window.end - window.begin, 0);
        out.add_tokens(frame.after, 0);
        for (; word < firsts.size() && firsts[word] < until; word++)
            out.add_read(firsts[word] - window.begin + frame.before.size(), (*words)[word]);
        out.end_sequence();
    }
    out.end_row(0, ids.size());
}

void Tag::decode(const Row &, const RowLogits &logits, Prediction &out) const
{
    Scratch &memory = scratch();
    const size_t n_labels = labels_->size();
    const ReadLogits words = read_logits(logits, n_labels);
    std::vector<double> &p = memory.probabilities, &scores = memory.scores;
    p.assign(words.first, words.first + words.n * n_labels);
    for (size_t i = 0; i < words.n; i++)
        softmax(p.data() + i * n_labels, n_labels);
    scores.resize(p.size());
    std::transform(p.begin(), p.end(), scores.begin(),
                   [](double one) { return std::log(std::max(one, 1e-300)); });
    find_best_path(tags_, scores, memory);

    const std::vector<int32_t> &path = memory.path;
    const Encodings &encodings = logits.encodings;
    const auto sequence = static_cast<size_t>(encodings.cu_rows[logits.row]);
    const Span *const spans = encodings.offsets.data() + encodings.cu_reads[sequence];
    out.words.clear();
    for (size_t i = 0; i < words.n; i++)
        out.words.push_back({spans[i], path[i]});
    out.entities.clear();
    if (tags_.is_plain() && !tags_.has_outside())
        return;
    find_entities(tags_, path, memory.entities);
    for (const EntityWords &entity : memory.entities) {
        std::vector<double> &of_words = memory.next;
        of_words.clear();
        for (size_t i = entity.first; i < entity.end; i++)
            of_words.push_back(p[i * n_labels + static_cast<size_t>(path[i])]);
        const auto n = static_cast<double>(of_words.size());
        out.entities.push_back({{spans[entity.first].begin, spans[entity.end - 1].end},
                                entity.type,
                                sum_pairwise(of_words.data(), of_words.size()) / n});
    }
}

void Tag::write(const Row &row, const Prediction &prediction, JsonWriter &out) const
{
    out.begin_object();
    out.key("text");
    write_text(row.text, out);
    out.key("words").begin_array();
    for (const auto &word : prediction.words)
        write_text(row.text, word.span, out);
    out.end_array();
    out.key("tags").begin_array();
    for (const auto &word : prediction.words)
        out.value((*labels_)[static_cast<size_t>(word.label)]);
    out.end_array();
    out.key("entities").begin_array();
    for (const auto &entity : prediction.entities) {
        out.begin_object();
        out.key("start").value(int64_t{entity.span.begin});
        out.key("end").value(int64_t{entity.span.end});
        out.key("text");
        write_text(row.text, entity.span, out);
        out.key("label").value(entity.type);
        out.key("score").value(entity.score);
        out.end_object();
    }
    out.end_array();
    out.end_object();
}

} // namespace

std::unique_ptr<Task> read_tag(const Json &values)
{
    check_fields(values, "tag", {"name", "labels", "scheme", "max_length", "stride", "joints"});
    values.at("stride");
    return std::make_unique<Tag>(values);
}

} // namespace onelayer
