// Reads config.json: an encoder's family and sizes, all checked, as checkpoint/config.py does.
#pragma once
#include "../base/json.h"
#include "family.h"

namespace onelayer {

struct Config {
    const Family *family = nullptr;
    EncoderShape shape;
    int64_t own_layers = 0; // layers with weights of their own
};

// Throws BundleError, with the key, for values that are missing or wrong, for what would make it
// another model, and for a family that the engine doesn't compute.
Config read_config(const Json &config);

} // namespace onelayer
