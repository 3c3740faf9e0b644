// From config.json to the shape of an encoder.
#include "config.h"
#include "../base/decimals.h"
#include "../base/error.h"

namespace onelayer {

namespace {

// Sizes of a table that no model has. Tensors are compared with the sizes before anything is made of
// them, so the bounds only keep products of sizes from overflowing.
constexpr int64_t largest_size = 1 << 24, most_layers = 1000;

std::string shown(const Json &value)
{
    if (value.is_string())
        return "'" + value.string().substr(0, 80) + "'";
    if (value.is_number())
        return general(value.number());
    return "of another type";
}

int64_t size_at(const Json &config, std::string_view key, int64_t usual, int64_t least = 1,
                int64_t most = largest_size)
{
    const Json *const found = config.find(key);
    if (!found && usual < least)
        throw BundleError(std::string(key) + " is missing");
    const int64_t size = found ? found->integer() : usual;
    if (size < least || size > most)
        throw BundleError(std::string(key) + " is " + std::to_string(size) +
                          ", and must be from " + std::to_string(least) + " to " +
                          std::to_string(most));
    return size;
}

Activation activation_named(std::string_view key, std::string_view name)
{
    if (name == "gelu")
        return Activation::gelu;
    if (name == "gelu_new" || name == "gelu_pytorch_tanh")
        return Activation::gelu_new;
    if (name == "relu")
        return Activation::relu;
    throw BundleError(std::string(key) + " is '" + std::string(name.substr(0, 80)) +
                      "'; known are gelu, gelu_new, gelu_pytorch_tanh, relu");
}

float eps_of(const Json &config, std::string_view key)
{
    const double eps = key.empty() ? 1e-12 : config.number_or(key, 1e-12);
    if (!(eps > 0 && eps < 1))
        throw BundleError(std::string(key) + " must be between 0 and 1");
    return static_cast<float>(eps);
}

bool is(const Json &value, std::string_view json)
{
    const JsonDocument wanted = Json::parse(json);
    if (value.kind() != wanted->kind())
        return false;
    switch (value.kind()) {
    case Json::Kind::boolean: return value.boolean() == wanted->boolean();
    case Json::Kind::number: return value.number() == wanted->number();
    case Json::Kind::string: return value.text() == wanted->text();
    default: return false;
    }
}

void refuse_others(const Json &config, const Family &family)
{
    for (const char *code : {"auto_map", "custom_pipelines", "trust_remote_code"}) {
        const Json *const found = config.find(code);
        if (found && !(found->kind() == Json::Kind::boolean && !found->boolean()))
            throw BundleError(std::string(code) + " names code, and none of a model's is run");
    }
    for (size_t i = 0; i < n_only_values; i++) {
        const OnlyValue &only = only_values[i];
        const bool concerned = only.model_type.empty() ? family.model_type != "distilbert"
                                                       : only.model_type == family.model_type;
        const Json *const found = concerned ? config.find(only.key) : nullptr;
        if (found && !is(*found, only.value))
            throw BundleError(std::string(only.key) + " is " + shown(*found) + ", and " +
                              std::string(only.reason));
    }
}

// The activation of the layer before the output layer, as the class of transformers has it.
Activation pooler_of(const Json &config, const Family &family)
{
    const Json *const classes = config.find("architectures");
    if (!classes || classes->items().empty() || !classes->items().front().is_string())
        return Activation::tanh;
    const std::string &name = classes->items().front().string();
    const std::string start(family.classes);
    const bool has_head = name == start + "ForSequenceClassification" ||
                          name == start + "ForMultipleChoice";
    return has_head ? family.pooler : Activation::tanh;
}

} // namespace

Config read_config(const Json &config)
{
    Config found;
    const std::string model_type = config.string_or("model_type", "bert");
    const Family *const family = family_named(model_type);
    if (!family)
        throw BundleError("model_type is '" + model_type.substr(0, 80) + "', which isn't known");
    if (!family->computed)
        throw BundleError("the native core doesn't compute " + std::string(family->title) +
                          "'s attention (onelayer predict and onelayer serve run this bundle)");
    refuse_others(config, *family);

    EncoderShape &shape = found.shape;
    found.family = family;
    shape.vocabulary = size_at(config, "vocab_size", 0);
    shape.width = size_at(config, family->width, 0);
    shape.heads = size_at(config, family->heads, 0);
    shape.feed_forward = size_at(config, family->feed_forward, 0);
    if (shape.width % shape.heads)
        throw BundleError("a width of " + std::to_string(shape.width) + " can't be shared by " +
                          std::to_string(shape.heads) + " attention heads");
    const std::string activation = config.string_or(family->activation, family->usual_activation);
    shape.activation = activation_named(family->activation, activation);
    shape.pooler_activation = pooler_of(config, *family);
    shape.eps = eps_of(config, family->eps);

    const int64_t padding = size_at(config, "pad_token_id", family->padding, 0);
    if (padding >= shape.vocabulary)
        throw BundleError("pad_token_id is outside the vocabulary");
    shape.first_position = family->after_padding ? padding + 1 : family->first_position;
    shape.positions = size_at(config, "max_position_embeddings", 512);
    shape.longest = shape.positions - shape.first_position;
    if (shape.longest < 1)
        throw BundleError("max_position_embeddings leaves no place for a token");
    shape.segments =
        family->segments ? size_at(config, "type_vocab_size", family->segments, 1, 256) : 0;
    shape.distance_buckets = family->buckets;
    if (family->narrow != Narrow::never) {
        const int64_t width = size_at(config, "embedding_size", 128);
        const bool other = family->narrow == Narrow::always || width != shape.width;
        shape.embedding_width = other ? width : 0;
    }

    const int64_t layers = size_at(config, family->layers, 0, 1, most_layers);
    found.own_layers =
        family->groups ? size_at(config, "num_hidden_groups", 1, 1, most_layers) : layers;
    for (int64_t depth = 0; depth < layers; depth++)
        shape.layers.push_back(depth * found.own_layers / layers);
    return found;
}

} // namespace onelayer
