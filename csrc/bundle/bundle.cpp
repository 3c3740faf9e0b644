// Reads a bundle in the order of checkpoint/bundle.py: configuration, record, weights, tokenizer.
#include "bundle.h"
#include "../base/error.h"
#include "../base/files.h"
#include "../base/safetensors.h"
#include "../base/sha256.h"
#include "bundle_weights.h"
#include "single_file.h"
#include <set>

namespace onelayer {

namespace {

constexpr const char *weights_name = "onnx/model.safetensors";
constexpr int64_t newest_record = 1;
constexpr int64_t shortest = 4; // three special tokens, and one to read

// Where the files of a bundle come from.
class Source {
  public:
    virtual ~Source() = default;
    virtual std::string_view bytes(const std::string &name) = 0;
    virtual std::string place(const std::string &name) const = 0; // for messages
    virtual std::string digest(const std::string &name) = 0; // SHA-256 of these bytes
};

class Directory : public Source {
  public:
    explicit Directory(const std::string &folder) : folder_(folder)
    {
        const std::string run = folder + "/model.safetensors";
        if (is_file(run))
            throw BundleError(folder + ": a run, and no bundle (onelayer export " + folder +
                              " --int8)");
    }

    std::string_view bytes(const std::string &name) override
    {
        const bool json = name != weights_name;
        std::string &kept = read_[name];
        if (kept.empty())
            kept = read_file(file_in(folder_, name), json ? largest_json : largest_weights);
        return kept;
    }

    std::string place(const std::string &name) const override { return folder_ + "/" + name; }

    std::string digest(const std::string &name) override { return sha256(bytes(name)); }

  private:
    std::string folder_;
    std::map<std::string, std::string> read_;
};

class SingleFile : public Source {
  public:
    explicit SingleFile(std::string_view all) : files_(files_in(all, digests_)) {}

    std::string_view bytes(const std::string &name) override
    {
        const auto found = files_.find(name);
        if (found == files_.end())
            throw BundleError("holds no " + name + " (export the run again)");
        if (name != weights_name && found->second.size() > largest_json)
            throw BundleError(name + ": more than 32 MB, which no model's takes");
        if (name != weights_name) // that of the weights is compared where the record is known
            digest(name);
        return found->second;
    }

    std::string place(const std::string &name) const override { return name; }

    std::string digest(const std::string &name) override
    {
        std::string found = sha256(files_.at(name));
        if (found != digests_.at(name))
            throw BundleError(name + ": truncated or damaged (fetch the file again)");
        return found;
    }

  private:
    std::map<std::string, std::string> digests_;
    BundleFiles files_;
};

// Does what concerns one file; an error gets its place.
template <class Read> auto in_file(const std::string &place, Read read)
{
    try {
        return read();
    } catch (const BundleError &error) {
        throw BundleError(place + ": " + error.what());
    }
}

Json object_in(Source &source, const std::string &name)
{
    const std::string_view bytes = source.bytes(name);
    return in_file(source.place(name), [&] {
        Json found = Json::parse(bytes);
        if (!found.is_object())
            throw BundleError("isn't a JSON object");
        return found;
    });
}

// The precision and digest that export wrote, and the ranges of what the task says.
std::string check_record(const Json &record, int64_t longest)
{
    if (record.integer_or("format", newest_record) > newest_record)
        throw BundleError("written in another format than this version knows "
                          "(get a newer libonelayer)");
    const Json *const exported = record.find("export");
    if (!exported)
        throw BundleError("has no export record (onelayer export RUN --int8)");
    const std::string &precision = exported->at("precision").string();
    if (precision != "int8")
        throw BundleError("a bundle in " + precision.substr(0, 80) +
                          ", and the native core computes in int8 (onelayer export RUN --int8; "
                          "onelayer predict runs this one)");
    const Json &task = record.at("task");
    const int64_t length = task.at("max_length").integer(), stride = task.integer_or("stride", 0);
    if (length < shortest || length > longest)
        throw BundleError("max_length is " + std::to_string(length) + ", and the model has " +
                          std::to_string(longest) + " positions");
    if (stride < 0 || stride >= length)
        throw BundleError("stride is " + std::to_string(stride) + ", and must be below max_length " +
                          std::to_string(length));
    return exported->at("sha256").string();
}

void refuse_repeated_labels(const Task &task)
{
    const std::set<std::string_view> distinct(task.labels().begin(), task.labels().end());
    if (distinct.size() < task.labels().size())
        throw BundleError("names a label twice");
}

std::unique_ptr<Bundle> read_bundle(Source &source)
{
    auto bundle = std::make_unique<Bundle>();
    const Json config = object_in(source, "config.json");
    in_file(source.place("config.json"), [&] { bundle->config = read_config(config); });
    EncoderShape &shape = bundle->config.shape;

    const Json record = object_in(source, "onelayer.json");
    std::string sha256_of_weights;
    in_file(source.place("onelayer.json"), [&] {
        sha256_of_weights = check_record(record, shape.longest);
        bundle->task = Task::read(record.at("task"));
        refuse_repeated_labels(*bundle->task);
        bundle->layout = record.at("layout");
        bundle->layout.at("columns").members();
    });
    shape.outputs = static_cast<int64_t>(bundle->task->n_outputs());

    const Json tokenizer = object_in(source, "tokenizer.json");
    const Json tokenizer_config = object_in(source, "tokenizer_config.json");
    in_file(source.place("tokenizer.json"), [&] {
        auto found =
            Tokenizer::read(tokenizer, tokenizer_config, static_cast<size_t>(shape.vocabulary));
        if (shape.segments < 2)
            found->frame.second_segment = 0;
        bundle->tokenizer = std::move(found);
    });

    const std::string_view weights = source.bytes(weights_name);
    in_file(source.place(weights_name), [&] {
        const Tensors tensors = read_safetensors(weights);
        check_tensors(tensors, bundle->config);
        if (source.digest(weights_name) != sha256_of_weights)
            throw BundleError("not as onelayer exported it: truncated, damaged or replaced "
                              "(fetch the bundle again, or export the run again)");
        bundle->engine = Engine::of(shape, tensors);
    });
    return bundle;
}

} // namespace

std::unique_ptr<Bundle> Bundle::of_bytes(std::string_view bytes)
{
    SingleFile source(bytes);
    return read_bundle(source);
}

std::unique_ptr<Bundle> Bundle::open(const std::string &path)
{
    if (is_directory(path)) {
        Directory source(path);
        return read_bundle(source);
    }
    const MappedFile file(path);
    return in_file(path, [&] { return of_bytes(file.bytes()); });
}

} // namespace onelayer
