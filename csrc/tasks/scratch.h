// Memory that encode and decode use again, so that they allocate nothing once it is large enough.
#pragma once
#include "../tokens/tokenizer.h"
#include "best_spans.h"
#include "schemes.h"
#include <string>
#include <vector>

namespace onelayer {

struct Scratch {
    Pieces first, second; // of the two texts of a sequence
    WordPieces pieces;    // of a text's words
    std::vector<Span> words, windows;
    std::vector<int32_t> ids;     // of a text with an unknown piece for each word without one
    std::vector<uint32_t> firsts; // where words begin among them
    std::string joined;           // two texts as one
    Text text;
    std::vector<float> logits;
    std::vector<double> probabilities, scores, best, next;
    std::vector<int32_t> path, came_from;
    std::vector<EntityWords> entities;
    std::vector<ScoredSpan> spans, best_spans;
};

// This thread's. Whoever uses a part of it calls nobody who uses the same part.
inline Scratch &scratch()
{
    thread_local Scratch own;
    return own;
}

} // namespace onelayer
