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
    const auto begin = static_cast<size_t>(from.cu_seqlens[s]);
    const size_t n = static_cast<size_t>(from.cu_seqlens[s + 1]) - begin, at = to.segments.size();
    to.add_tokens(from.ids.data() + begin, n, 0);
    std::copy_n(from.segments.data() + begin, n, to.segments.data() + at);
    for (int64_t r = from.cu_reads[s]; r < from.cu_reads[s + 1]; r++)
        to.reads.push_back(from.reads[static_cast<size_t>(r)]);
    to.end_sequence();
}

// What the first engine isn't sure of, and where the other one's logits belong.
struct Unsure {
    Encodings encodings;
    std::vector<float *> places;
    std::vector<float> logits;
};

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
        static thread_local Unsure unsure; // keeps its memory
        unsure.encodings.clear(), unsure.places.clear();
        for (size_t s = 0; s < encodings.n_sequences(); s++)
            if (!is_clear(encodings, s, out)) {
                copy_sequence(encodings, s, unsure.encodings);
                for (size_t at = place(encodings, s); at < place(encodings, s + 1); at++)
                    unsure.places.push_back(out + at);
            }
        if (unsure.places.empty())
            return;
        unsure.logits.resize(unsure.places.size());
        rest_->logits(unsure.encodings, threads, unsure.logits.data());
        for (size_t i = 0; i < unsure.places.size(); i++)
            *unsure.places[i] = unsure.logits[i];
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

std::unique_ptr<Engine> two_engines(std::shared_ptr<const Engine> first,
                                    std::shared_ptr<const Engine> rest, float margin,
                                    size_t n_outputs)
{
    return std::make_unique<TwoEngines>(std::move(first), std::move(rest), margin, n_outputs);
}

} // namespace onelayer
