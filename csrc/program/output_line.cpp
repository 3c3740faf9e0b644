// Writes a row as Python's JsonlOutput does.
#include "../base/json_writer.h"
#include "line_rows.h"
#include <set>

namespace onelayer {

namespace {

void write(const Json &value, JsonWriter &out);

// Of a key that comes again Python keeps the first place and the last value.
void write_members(const Json &object, std::string_view without, JsonWriter &out,
                   std::string_view replacement, bool &replaced)
{
    std::set<std::string_view> seen;
    for (const auto &[key, first] : object.members()) {
        if (!seen.insert(key).second)
            continue;
        out.key(key);
        if (!without.empty() && key == without) {
            out.raw(replacement);
            replaced = true;
            continue;
        }
        const Json *const last = object.find(key);
        if (last)
            write(*last, out);
        else
            out.null();
    }
}

void write(const Json &value, JsonWriter &out)
{
    bool none = false;
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
            write(item, out);
        out.end_array();
        return;
    case Json::Kind::object:
        out.begin_object();
        write_members(value, "", out, "", none);
        out.end_object();
        return;
    }
}

} // namespace

std::string python_json(const Json &value)
{
    JsonWriter out;
    write(value, out);
    return out.take();
}

std::string output_line(const LineRow &row, std::string_view prediction)
{
    JsonWriter out;
    bool replaced = false;
    out.begin_object();
    if (row.is_object)
        write_members(row.object, "prediction", out, prediction, replaced);
    else
        out.key("text").value(row.line);
    if (!replaced)
        out.key("prediction").raw(prediction);
    out.end_object();
    return out.take();
}

} // namespace onelayer
