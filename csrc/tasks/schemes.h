// Tagging schemes: how a label per word says where entities begin and end. As Python's
// tasks/tag/schemes.py.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace onelayer {

// IOB1 writes B only between two entities of one type that touch, IOB2 at every begin. BIOES, BMES
// and BILOU also mark ends and single words. Plain tags have no prefixes.
enum class Scheme { iob1, iob2, bioes, bmes, bilou, plain };

// Throws BundleError for a name that isn't known.
Scheme read_scheme(const std::string &name);

// A tag in the words of BIOES, whatever its scheme; the role is '?' where it has no such.
struct ParsedTag {
    char role;
    int32_t number;        // of its type, counted from 0 in a set of labels
    std::string_view type; // a view of the label
};

// The labels of a model, and which may follow each other.
class TagSet {
  public:
    // The labels must outlive this object.
    TagSet(const std::vector<std::string> &labels, Scheme scheme);

    size_t size() const { return tags_.size(); }
    const ParsedTag &operator[](size_t label) const { return tags_[label]; }
    bool is_plain() const { return scheme_ == Scheme::plain; }
    // Whether some label stands outside of every entity.
    bool has_outside() const { return has_outside_; }

    // What is legal; the edge of a sentence is as good as O.
    bool may_follow(size_t left, size_t right) const { return follows(tags_[left], tags_[right]); }
    bool may_begin(size_t label) const { return follows(edge, tags_[label]); }
    bool may_end(size_t label) const { return follows(tags_[label], edge); }

  private:
    static constexpr ParsedTag edge = {'O', -1, {}};
    bool follows(const ParsedTag &left, const ParsedTag &right) const;

    Scheme scheme_;
    std::vector<ParsedTag> tags_;
    bool has_outside_ = false;
};

// An entity of a sentence: its type, the first word, and the word after the last.
struct EntityWords {
    std::string_view type;
    size_t first, end;
};

// The entities of a sentence. Illegal sequences are read as conlleval does: an inside with nothing
// to continue begins an entity. Plain tags: each run of one tag other than O.
void find_entities(const TagSet &tags, const std::vector<int32_t> &path,
                   std::vector<EntityWords> &out);

} // namespace onelayer
