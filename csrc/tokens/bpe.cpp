#include "bpe.h"
#include "../base/error.h"
#include "tokenizer_files.h"
#include <algorithm>
#include <string>

namespace onelayer {

// A pair that may be merged: the index of its first symbol. The order is that of a heap whose top
// has the lowest rank, and of these the first place.
struct Bpe::Candidate {
    uint32_t rank;
    int32_t at, made;

    bool operator<(const Candidate &other) const
    {
        return rank != other.rank ? rank > other.rank : at > other.at;
    }
};

Bpe::Bpe(const Json &model, size_t rows)
    : fuses_unknown_(model.boolean_or("fuse_unk", false)),
      ignores_merges_(model.boolean_or("ignore_merges", false)),
      falls_back_(model.boolean_or("byte_fallback", false))
{
    if (model.number_or("dropout", 0) != 0)
        throw BundleError("dropout is set, which cuts a text differently each time");
    for (const char *key : {"continuing_subword_prefix", "end_of_word_suffix"})
        if (!model.string_or(key, "").empty())
            throw BundleError(std::string(key) + " is not empty");
    std::vector<Trie::Entry> entries;
    for (const auto &[token, id] : model.at("vocab").members())
        entries.emplace_back(token, checked_id(id, token, rows));
    vocabulary_ = Trie(std::move(entries));
    read_merges(model.at("merges"));
    if (const std::string text = model.string_or("unk_token", ""); !text.empty()) {
        unknown_ = vocabulary_.find(text);
        if (unknown_ < 0)
            throw BundleError("a vocabulary without " + shown(text) + ", the unk_token");
    }
    constexpr const char *digits = "0123456789ABCDEF";
    for (unsigned byte = 0; byte < 256; byte++)
        byte_ids_[byte] =
            vocabulary_.find(std::string("<0x") + digits[byte >> 4] + digits[byte & 15] + ">");
}

void Bpe::read_merges(const Json &merges)
{
    const auto pairs = merges.items();
    size_t places = 16;
    while (places < 2 * pairs.size())
        places *= 2;
    merges_.assign(places, {0, 0, -1});
    std::string whole;
    uint32_t rank = 0;
    for (const Json &item : pairs) {
        const auto tokens = item.items();
        if (tokens.size() != 2)
            throw BundleError("merge " + std::to_string(rank) + " is not of two tokens");
        const std::string_view left = tokens[0].text(), right = tokens[1].text();
        whole.assign(left).append(right);
        const int32_t first = vocabulary_.find(left), second = vocabulary_.find(right),
                      made = vocabulary_.find(whole);
        if (first < 0 || second < 0 || made < 0)
            throw BundleError("merge " + std::to_string(rank) + ", of " + shown(whole) +
                              ", has a token that the vocabulary lacks");
        const uint64_t pair = pair_of(first, second);
        merges_[place_of(pair)] = {pair, rank++, made};
    }
}

// Where a pair is, or would be.
size_t Bpe::place_of(uint64_t pair) const
{
    const size_t last = merges_.size() - 1;
    size_t place = (pair * 0x9e3779b97f4a7c15u) >> 32 & last;
    while (merges_[place].made >= 0 && merges_[place].pair != pair)
        place = (place + 1) & last;
    return place;
}

const Bpe::Merge *Bpe::find(int32_t a, int32_t b) const
{
    const Merge &found = merges_[place_of(pair_of(a, b))];
    return found.made < 0 ? nullptr : &found;
}

// The symbols of a word's characters. What the vocabulary lacks becomes bytes, if that is wanted,
// or the unknown token, or nothing.
void Bpe::read_symbols(std::string_view word, std::vector<Symbol> &out) const
{
    const auto add = [&out](int32_t id, uint32_t size) {
        const auto index = static_cast<int32_t>(out.size());
        if (index)
            out.back().next = index;
        out.push_back({id, index - 1, -1, size});
    };
    uint32_t unknown_size = 0; // bytes that wait to be added as unknown
    const auto add_unknown = [&] {
        if (unknown_size)
            add(unknown_, unknown_size);
        unknown_size = 0;
    };
    for (size_t i = 0; i < word.size();) {
        size_t end = i + 1;
        while (end < word.size() && (word[end] & 0xc0) == 0x80)
            end++;
        const std::string_view character = word.substr(i, end - i);
        const auto size = static_cast<uint32_t>(end - i);
        i = end;
        if (const int32_t id = vocabulary_.find(character); id >= 0) {
            add_unknown();
            add(id, size);
            continue;
        }
        const auto byte_id = [this](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
        if (falls_back_ && std::all_of(character.begin(), character.end(),
                                       [&](char c) { return byte_id(c) >= 0; })) {
            for (const char c : character)
                add(byte_id(c), 1);
            continue;
        }
        if (unknown_ < 0)
            continue;
        if (!fuses_unknown_)
            add_unknown();
        unknown_size += size;
    }
    add_unknown();
}

void Bpe::merge_all(std::vector<Symbol> &symbols) const
{
    static thread_local std::vector<Candidate> heap;
    heap.clear();
    const auto push = [&](int32_t at) {
        if (const Merge *found = find(symbols[at].id, symbols[symbols[at].next].id)) {
            heap.push_back({found->rank, at, found->made});
            std::push_heap(heap.begin(), heap.end());
        }
    };
    for (size_t i = 0; i + 1 < symbols.size(); i++)
        push(static_cast<int32_t>(i));
    while (!heap.empty()) {
        std::pop_heap(heap.begin(), heap.end());
        const Candidate top = heap.back();
        heap.pop_back();
        Symbol &left = symbols[top.at];
        if (left.size == 0 || left.next < 0)
            continue;
        Symbol &right = symbols[left.next];
        // A symbol may have changed since its pair was noted.
        const Merge *const found = find(left.id, right.id);
        if (!found || found->made != top.made)
            continue;
        left.id = top.made;
        left.size += right.size;
        left.next = right.next;
        right.size = 0;
        if (right.next >= 0)
            symbols[right.next].previous = top.at;
        if (left.previous >= 0)
            push(left.previous);
        if (left.next >= 0)
            push(top.at);
    }
}

void Bpe::cut(std::string_view word, size_t, std::vector<WordPart> &out) const
{
    static thread_local std::vector<Symbol> symbols;
    if (ignores_merges_)
        if (const int32_t id = vocabulary_.find(word); id >= 0) {
            out.push_back({id, 0, static_cast<uint32_t>(word.size())});
            return;
        }
    symbols.clear();
    read_symbols(word, symbols);
    merge_all(symbols);
    uint32_t at = 0;
    for (const Symbol &symbol : symbols) {
        if (symbol.size == 0)
            continue;
        out.push_back({symbol.id, at, at + symbol.size});
        at += symbol.size;
    }
}

} // namespace onelayer
