#include "schemes.h"
#include "../base/error.h"
#include <algorithm>
#include <map>

namespace onelayer {

namespace {

constexpr std::string_view outside_tag = "O";

// What a scheme calls begin, inside, end and single, in this order.
std::string_view letters_of(Scheme scheme)
{
    switch (scheme) {
    case Scheme::iob1:
    case Scheme::iob2: return "BI";
    case Scheme::bioes: return "BIES";
    case Scheme::bmes: return "BMES";
    case Scheme::bilou: return "BILU";
    case Scheme::plain: return "";
    }
    return "";
}

// "B-PER" in role and type. In a plain scheme every tag but O is a type.
ParsedTag parse_tag(std::string_view tag, Scheme scheme)
{
    if (tag == outside_tag)
        return {'O', 0, {}};
    if (scheme == Scheme::plain)
        return {'I', 0, tag};
    const size_t role = tag.empty() ? std::string_view::npos : letters_of(scheme).find(tag[0]);
    if (role == std::string_view::npos || (tag.size() > 1 && tag[1] != '-'))
        return {'?', 0, tag};
    return {"BIES"[role], 0, tag.size() > 1 ? tag.substr(2) : std::string_view()};
}

bool is_any_of(char role, std::string_view roles)
{
    return roles.find(role) != std::string_view::npos;
}

} // namespace

Scheme read_scheme(const std::string &name)
{
    constexpr std::pair<std::string_view, Scheme> known[] = {
        {"IOB1", Scheme::iob1}, {"IOB2", Scheme::iob2},   {"BIOES", Scheme::bioes},
        {"BMES", Scheme::bmes}, {"BILOU", Scheme::bilou}, {"plain", Scheme::plain}};
    for (const auto &[its_name, scheme] : known)
        if (name == its_name)
            return scheme;
    throw BundleError("scheme can't be '" + name + "'");
}

TagSet::TagSet(const std::vector<std::string> &labels, Scheme scheme) : scheme_(scheme)
{
    std::map<std::string_view, int32_t> numbers; // of types: comparing them is quicker
    for (const std::string &label : labels) {
        ParsedTag tag = parse_tag(label, scheme);
        tag.number = numbers.emplace(tag.type, static_cast<int32_t>(numbers.size())).first->second;
        has_outside_ |= tag.role == 'O';
        tags_.push_back(tag);
    }
}

bool TagSet::follows(const ParsedTag &left, const ParsedTag &right) const
{
    if (scheme_ == Scheme::plain)
        return true;
    if (left.role == '?' || right.role == '?')
        return false;
    const bool unfinished = is_any_of(left.role, "BI");
    const bool same = unfinished && left.number == right.number;
    if (scheme_ == Scheme::iob1)
        return right.role != 'B' || same;
    if (scheme_ == Scheme::iob2)
        return right.role != 'I' || same;
    return unfinished ? is_any_of(right.role, "IE") && same : is_any_of(right.role, "OBS");
}

void find_entities(const TagSet &tags, const std::vector<int32_t> &path,
                   std::vector<EntityWords> &out)
{
    out.clear();
    const ParsedTag *open = nullptr; // the tag that began an entity
    size_t begin = 0;
    for (size_t word = 0; word < path.size(); word++) {
        const ParsedTag &tag = tags[static_cast<size_t>(path[word])];
        if (open && (is_any_of(tag.role, "BSO?") || tag.number != open->number)) {
            out.push_back({open->type, begin, word});
            open = nullptr;
        }
        if (is_any_of(tag.role, "O?"))
            continue;
        if (!open)
            open = &tag, begin = word;
        if (is_any_of(tag.role, "ES")) {
            out.push_back({open->type, begin, word + 1});
            open = nullptr;
        }
    }
    if (open)
        out.push_back({open->type, begin, path.size()});
}

} // namespace onelayer
