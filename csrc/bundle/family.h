// The encoder families as data: how each one's config.json says what the engine computes. The table
// follows checkpoint/families/*.py, where the families that the engine doesn't compute are, too.
#pragma once
#include "../engine/encoder_shape.h"
#include <string_view>

namespace onelayer {

// Where a family's embeddings have a width of their own.
enum class Narrow { never, if_other, always };

struct Family {
    std::string_view model_type, title;
    std::string_view classes; // what the names of transformers' classes begin with
    // Keys of config.json.
    std::string_view width, layers, heads, feed_forward, activation;
    std::string_view eps;           // empty: 1e-12
    std::string_view usual_activation;
    int64_t padding;                // the usual token
    bool after_padding;             // the first position is the one after the padding token's number
    int64_t first_position;         // where it isn't after_padding
    int64_t segments;               // the usual number; 0: none, whatever config.json says
    int64_t buckets;                // of distances
    Narrow narrow;
    bool groups;                    // num_hidden_groups layers have weights of their own
    Activation pooler;              // before the layer that sorts and chooses texts
    bool computed;                  // whether the engine has its arithmetic
};

// The family of a config.json's model_type; nullptr for an unknown one.
const Family *family_named(std::string_view model_type);

// A key that must have a certain value, or be missing: with another one it is another model.
struct OnlyValue {
    std::string_view model_type; // empty: of all families but DistilBERT
    std::string_view key, value; // in JSON
    std::string_view reason;
};

extern const OnlyValue only_values[];
extern const size_t n_only_values;

} // namespace onelayer
