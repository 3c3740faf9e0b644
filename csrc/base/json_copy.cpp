#include "json_copy.h"
#include <set>

namespace onelayer {

// Of a key that comes again Python keeps the first place and the last value.
bool write_members(const Json &object, JsonWriter &out, std::string_view replaced,
                   std::string_view replacement)
{
    bool found = false;
    std::set<std::string_view> seen;
    for (const auto &[key, first] : object.members()) {
        if (!seen.insert(key).second)
            continue;
        out.key(key);
        if (!replaced.empty() && key == replaced) {
            out.raw(replacement);
            found = true;
        } else if (const Json *const last = object.find(key)) {
            write_json(*last, out);
        } else {
            out.null();
        }
    }
    return found;
}

void write_json(const Json &value, JsonWriter &out)
{
    switch (value.kind()) {
    case Json::Kind::null: out.null(); return;
    case Json::Kind::boolean: out.value(value.boolean()); return;
    case Json::Kind::number:
        if (value.is_integer())
            out.value(value.integer());
        else if (!value.long_integer().empty())
            out.raw(value.long_integer());
        else
            out.exact(value.number());
        return;
    case Json::Kind::string: out.value(std::string_view(value.string())); return;
    case Json::Kind::array:
        out.begin_array();
        for (const Json &item : value.items())
            write_json(item, out);
        out.end_array();
        return;
    case Json::Kind::object:
        out.begin_object();
        write_members(value, out);
        out.end_object();
        return;
    }
}

} // namespace onelayer
