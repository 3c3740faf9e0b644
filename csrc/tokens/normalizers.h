// The normalizers of a tokenizer.json, which rewrite a text before it is split.
#pragma once
#include "../base/json.h"
#include "aligned_text.h"
#include <memory>
#include <vector>

namespace onelayer {

class Normalizer {
  public:
    virtual ~Normalizer() = default;
    virtual void apply(AlignedText &text) const = 0;
};

using Normalizers = std::vector<std::unique_ptr<const Normalizer>>;

// Reads a component, or a sequence of them; null is none. Throws BundleError for those that aren't
// known.
Normalizers read_normalizers(const Json *component);

// The flags of BertNormalizer.
struct BertRules {
    bool clean, ideographs, strip_accents, lowercase;

    explicit BertRules(const Json &normalizer);
};

// The components of a part of a tokenizer.json: itself, or those of a sequence, whose key is
// `plural`. At most 16, and sequences at most 4 deep.
std::vector<const Json *> components_of(const Json *component, const char *plural);

} // namespace onelayer
