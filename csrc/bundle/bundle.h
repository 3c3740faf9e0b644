// A bundle, the result of an export: read and checked, and its weights laid out for this machine.
#pragma once
#include "../base/json.h"
#include "../engine/engine.h"
#include "../tasks/task.h"
#include "../tokens/tokenizer.h"
#include "config.h"
#include <memory>
#include <string>
#include <string_view>

namespace onelayer {

struct Bundle {
    Config config;
    std::unique_ptr<Task> task;
    std::shared_ptr<const Tokenizer> tokenizer; // these two may be parts of several bundles
    std::shared_ptr<const Engine> engine;
    JsonDocument record; // onelayer.json, or of it the layout
    const Json *layout = nullptr; // of the training file: a part of the record

    // Opens a directory, or a single file. Throws BundleError for files that are missing, damaged, or
    // not as export wrote them, and for a model that the engine doesn't compute.
    static std::unique_ptr<Bundle> open(const std::string &path);

    // Opens a single file's bytes; nothing of them is kept.
    static std::unique_ptr<Bundle> of_bytes(std::string_view bytes);
};

} // namespace onelayer
