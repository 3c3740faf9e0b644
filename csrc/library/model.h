// What the opaque types of onelayer.h are.
#pragma once
#include "../bundle/bundle.h"
#include "../include/onelayer.h"
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace onelayer {

#if defined(__wasm__) && !defined(__EMSCRIPTEN_PTHREADS__)
struct Mutex { // for one thread: the standard's brings texts of system errors with it
    void lock() {}
    void unlock() {}
};
#else
using Mutex = std::mutex;
#endif

// Results that were freed and wait for the next call, so that a server's calls allocate nothing once
// they are warm.
class SpareResults {
  public:
    std::unique_ptr<onelayer_results> take();
    void keep(std::unique_ptr<onelayer_results> results);

  private:
    static constexpr size_t most = 64;      // as there may be threads that call
    static constexpr size_t most_rows = 64; // a batch for a file would hold its memory for nothing

    Mutex mutex_;
    std::vector<std::unique_ptr<onelayer_results>> spare_;
};

// An opened bundle with its options. Models that share weights share the bundle.
struct Opened {
    std::shared_ptr<const Bundle> bundle;
    std::shared_ptr<SpareResults> spare;
    std::unique_ptr<Task> promising; // the task with the promises that were asked for
    int threads = 1;
    bool pairs = false; // whether it was trained on pairs of texts

    const Task &task() const { return promising ? *promising : *bundle->task; }
};

// Throws BundleError, and InputError for options that are out of range.
std::shared_ptr<const Opened> opened(std::shared_ptr<const Bundle> bundle,
                                     std::shared_ptr<SpareResults> spare,
                                     const onelayer_options *options);

// What onelayer_describe gives.
std::string description(const Opened &opened);

} // namespace onelayer

struct onelayer_model {
    std::shared_ptr<const onelayer::Opened> opened;
    std::string description;
};

struct onelayer_results {
    std::shared_ptr<const onelayer::Opened> opened; // alive though the model may be closed
    size_t n = 0;
    std::vector<onelayer::Row> rows;
    onelayer::Encodings encodings;
    std::vector<float> logits; // (all reads, outputs)
    std::vector<onelayer::Prediction> found;

    // What the caller sees. The arrays hold those of all rows, one after another.
    std::vector<onelayer_prediction> predictions;
    std::vector<onelayer_word> words;
    std::vector<onelayer_entity> entities;
    std::vector<onelayer_candidate> candidates;
    std::vector<std::string> json; // empty until it is asked for
};
