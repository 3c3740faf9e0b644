#include "text_pieces.h"
#include "../base/places.h"

namespace onelayer {

const std::vector<onelayer_piece> &text_pieces(const Tokenizer &tokenizer, onelayer_text text)
{
    static thread_local Text decoded;
    static thread_local Pieces pieces;
    static thread_local std::vector<onelayer_piece> found;
    decoded.assign(bytes_of(text, "text"));
    tokenizer.encode(decoded, true, pieces);
    Places places(decoded);
    found.clear();
    for (size_t i = 0; i < pieces.ids.size(); i++)
        found.push_back({places.of(pieces.offsets[i]), pieces.ids[i]});
    return found;
}

} // namespace onelayer
