// Reads a bundle in the order of checkpoint/bundle.py: configuration, record, weights, tokenizer.
#include "bundle.h"
#include "../base/error.h"
#include "../base/files.h"
#include "../base/safetensors.h"
#include "../base/sha256.h"
#include "../base/zeroed_memory.h"
#include "bundle_weights.h"
#include "single_file.h"
#include <set>

namespace onelayer {

namespace {

constexpr const char *weights_name = "onnx/model.safetensors";
constexpr int64_t newest_record = 2;
constexpr int64_t shortest = 4; // three special tokens, and one to read

// Where the files of a bundle come from.
class Source {
  public:
    virtual ~Source() = default;
    // A file of the bundle, of at most `most` bytes.
    virtual std::unique_ptr<ByteSource> open(const std::string &name, size_t most) const = 0;
    virtual std::string place(const std::string &name) const = 0; // for messages
    // SHA-256 that a file has according to the source itself; null where it says none.
    virtual const std::string *digest(const std::string &name) const = 0;
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

    std::unique_ptr<ByteSource> open(const std::string &name, size_t most) const override
    {
        return std::make_unique<FileBytes>(file_in(folder_, name), most);
    }

    std::string place(const std::string &name) const override { return folder_ + "/" + name; }

    const std::string *digest(const std::string &) const override { return nullptr; }

  private:
    std::string folder_;
};

class SingleFile : public Source {
  public:
    explicit SingleFile(const ByteSource &all) : all_(all), files_(files_in(all)) {}

    std::unique_ptr<ByteSource> open(const std::string &name, size_t most) const override
    {
        const auto found = files_.find(name);
        if (found == files_.end())
            throw BundleError("holds no " + name + " (export the run again)");
        if (found->second.size > most)
            throw BundleError(name + ": more than " + std::to_string(most >> 20) +
                              " MB, which no model's takes");
        return std::make_unique<PartOfBytes>(all_, found->second.begin, found->second.size);
    }

    std::string place(const std::string &name) const override { return name; }

    const std::string *digest(const std::string &name) const override
    {
        return &files_.at(name).sha256;
    }

  private:
    const ByteSource &all_;
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

void check_digest(const Source &source, const std::string &name, const std::string &found)
{
    const std::string *const wanted = source.digest(name);
    if (wanted && *wanted != found)
        throw BundleError("truncated or damaged (fetch the file again)");
}

JsonDocument object_in(const Source &source, const std::string &name)
{
    const auto file = source.open(name, largest_json);
    return in_file(source.place(name), [&] {
        const WholeBytes whole(*file);
        if (source.digest(name))
            check_digest(source, name, sha256(whole.bytes()));
        JsonDocument found = Json::parse(whole.bytes());
        if (!found->is_object())
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

std::unique_ptr<Tokenizer> read_tokenizer(const Source &source, const EncoderShape &shape)
{
    const JsonDocument tokenizer = object_in(source, "tokenizer.json");
    const JsonDocument config = object_in(source, "tokenizer_config.json");
    return in_file(source.place("tokenizer.json"), [&] {
        auto found = Tokenizer::read(*tokenizer, *config, static_cast<size_t>(shape.vocabulary));
        if (shape.segments < 2)
            found->frame.second_segment = 0;
        return found;
    });
}

std::unique_ptr<Bundle> read_bundle(const Source &source)
{
    auto bundle = std::make_unique<Bundle>();
    const JsonDocument config = object_in(source, "config.json");
    in_file(source.place("config.json"), [&] { bundle->config = read_config(*config); });
    EncoderShape &shape = bundle->config.shape;

    bundle->record = object_in(source, "onelayer.json");
    const Json &record = *bundle->record;
    std::string sha256_of_weights;
    in_file(source.place("onelayer.json"), [&] {
        sha256_of_weights = check_record(record, shape.longest);
        bundle->task = Task::read(record.at("task"));
        refuse_repeated_labels(*bundle->task);
        bundle->layout = &record.at("layout");
        bundle->layout->at("columns").members();
    });
    shape.outputs = static_cast<int64_t>(bundle->task->n_outputs());

    bundle->tokenizer = read_tokenizer(source, shape);
    give_back_freed();

    const auto file = source.open(weights_name, largest_weights);
    in_file(source.place(weights_name), [&] {
        Safetensors weights(*file);
        check_tensors(weights.tensors(), bundle->config);
        bundle->engine = Engine::of(shape, weights);
        // Numbers need no check, so their digest is compared after they are in their places.
        const std::string digest = weights.digest();
        check_digest(source, weights_name, digest);
        if (digest != sha256_of_weights)
            throw BundleError("not as onelayer exported it: truncated, damaged or replaced "
                              "(fetch the bundle again, or export the run again)");
    });
    return bundle;
}

} // namespace

std::unique_ptr<Bundle> Bundle::of_bytes(std::string_view bytes)
{
    const MemoryBytes all(bytes);
    return read_bundle(SingleFile(all));
}

std::unique_ptr<Bundle> Bundle::open(const std::string &path)
{
    if (is_directory(path))
        return read_bundle(Directory(path));
    const FileBytes file(path, largest_weights);
    return in_file(path, [&] { return read_bundle(SingleFile(file)); });
}

} // namespace onelayer
