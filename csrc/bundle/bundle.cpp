// Reads a bundle in the order of checkpoint/bundle.py: configuration, record, weights, tokenizer.
#include "bundle.h"
#include "../base/error.h"
#include "../base/files.h"
#include "../base/safetensors.h"
#include "../base/sha256.h"
#include "../base/zeroed_memory.h"
#include "../engine/two_engines.h"
#include "bundle_weights.h"
#include "single_file.h"
#include <set>

namespace onelayer {

namespace {

constexpr int64_t newest_record = 3;
constexpr int64_t shortest = 4; // three special tokens, and one to read

// The files of an encoder with its output layer.
struct Files {
    const char *config, *weights;
};

constexpr Files model_files = {"config.json", "onnx/model.safetensors"};
// The smaller model that answers first, where there is one.
constexpr Files first_files = {"first/config.json", "first/onnx/model.safetensors"};

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

Config config_in(const Source &source, const Files &files)
{
    const JsonDocument config = object_in(source, files.config);
    return in_file(source.place(files.config), [&] { return read_config(*config); });
}

// An engine with the weights that have this digest.
std::unique_ptr<Engine> engine_in(const Source &source, const Files &files, const Config &config,
                                  const std::string &sha256)
{
    const auto file = source.open(files.weights, largest_weights);
    return in_file(source.place(files.weights), [&] {
        Safetensors weights(*file);
        check_tensors(weights.tensors(), config);
        auto engine = Engine::of(config.shape, weights);
        // Numbers need no check, so their digest is compared after they are in their places.
        const std::string digest = weights.digest();
        check_digest(source, files.weights, digest);
        if (digest != sha256)
            throw BundleError("not as onelayer exported it: truncated, damaged or replaced "
                              "(fetch the bundle again, or export the run again)");
        return engine;
    });
}

bool chooses_an_output(const Task &task)
{
    return task.n_outputs() > 1 && (task.kind() == ONELAYER_TAG ||
                                    (task.kind() == ONELAYER_CLASSIFY && !task.multi_label()));
}

// Adds the smaller model that answers first, as the record has it.
void add_first(const Source &source, const Json &record, Bundle &bundle)
{
    const EncoderShape &shape = bundle.config.shape;
    Config config = config_in(source, first_files);
    EncoderShape &own = config.shape;
    own.outputs = shape.outputs;
    double margin = 0;
    std::string sha256;
    in_file(source.place("onelayer.json"), [&] {
        if (own.vocabulary != shape.vocabulary || own.longest != shape.longest ||
            own.segments != shape.segments)
            throw BundleError("its first model reads other tokens than the larger one");
        if (!chooses_an_output(*bundle.task))
            throw BundleError("no model answers first for this task");
        margin = record.at("margin").number();
        sha256 = record.at("sha256").string();
    });
    bundle.engine =
        two_engines(engine_in(source, first_files, config, sha256), std::move(bundle.engine),
                    static_cast<float>(margin), bundle.task->n_outputs());
}

std::unique_ptr<Bundle> read_bundle(const Source &source)
{
    auto bundle = std::make_unique<Bundle>();
    bundle->config = config_in(source, model_files);
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

    bundle->engine = engine_in(source, model_files, bundle->config, sha256_of_weights);
    if (const Json *const first = record.at("export").find("first"))
        add_first(source, *first, *bundle);
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
