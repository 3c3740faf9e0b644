// Computes with one engine, and again with another what isn't clear.
#include "two_engines.h"
#include <algorithm>
#include <vector>

namespace onelayer {

namespace {

// The distance of the two largest of some logits.
float distance(const float *logits, size_t n)
{
    float largest = std::max(logits[0], logits[1]), next = std::min(logits[0], logits[1]);
    for (size_t i = 2; i < n; i++) {
        next = std::max(next, std::min(largest, logits[i]));
        largest = std::max(largest, logits[i]);
    }
    return largest - next;
}

void copy_sequence(const Encodings &from, size_t s, Encodings &to)
{
    const int64_t begin = from.cu_seqlens[s], end = from.cu_seqlens[s + 1];
    to.ids.insert(to.ids.end(), from.ids.begin() + begin, from.ids.begin() + end);
    to.segments.insert(to.segments.end(), from.segments.begin() + begin, from.segments.begin() + end);
    to.reads.insert(to.reads.end(), from.reads.begin() + from.cu_reads[s],
                    from.reads.begin() + from.cu_reads[s + 1]);
    to.end_sequence();
}

class TwoEngines : public Engine {
  public:
    TwoEngines(std::shared_ptr<const Engine> first, std::shared_ptr<const Engine> rest,
               float margin, size_t n_outputs)
        : first_(std::move(first)), rest_(std::move(rest)), margin_(margin), n_outputs_(n_outputs)
    {
    }

    void logits(const Encodings &encodings, int threads, float *out) const override
    {
        first_->logits(encodings, threads, out);
        // These keep their memory.
        static thread_local Encodings unsure;
        static thread_local std::vector<size_t> sequences;
        static thread_local std::vector<float> found;
        unsure.clear(), sequences.clear();
        for (size_t s = 0; s < encodings.n_sequences(); s++)
            if (!is_clear(encodings, s, out)) {
                copy_sequence(encodings, s, unsure);
                sequences.push_back(s);
            }
        if (sequences.empty())
            return;
        found.resize(unsure.reads.size() * n_outputs_);
        rest_->logits(unsure, threads, found.data());
        const float *next = found.data();
        for (const size_t s : sequences) {
            const size_t begin = place(encodings, s), end = place(encodings, s + 1);
            std::copy_n(next, end - begin, out + begin);
            next += end - begin;
        }
    }

    const char *instructions() const override { return rest_->instructions(); }

  private:
    // Where the logits of a sequence begin.
    size_t place(const Encodings &encodings, size_t s) const
    {
        return static_cast<size_t>(encodings.cu_reads[s]) * n_outputs_;
    }

    // Whether the two largest logits of each read are far apart; not where one is no number.
    bool is_clear(const Encodings &encodings, size_t s, const float *logits) const
    {
        for (size_t at = place(encodings, s); at < place(encodings, s + 1); at += n_outputs_)
            if (!(distance(logits + at, n_outputs_) >= margin_))
                return false;
        return true;
    }

    std::shared_ptr<const Engine> first_, rest_;
    float margin_;
    size_t n_outputs_;
};

} // namespace

std::shared_ptr<const Engine> two_engines(std::shared_ptr<const Engine> first,
                                          std::shared_ptr<const Engine> rest, float margin,
                                          size_t n_outputs)
{
    return std::make_shared<TwoEngines>(std::move(first), std::move(rest), margin, n_outputs);
}

} // namespace onelayer
