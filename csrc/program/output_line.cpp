// Writes a row as Python's JsonlOutput does.
#include "../base/json_copy.h"
#include "line_rows.h"

namespace onelayer {

std::string python_json(const Json &value)
{
    JsonWriter out;
    write_json(value, out);
    return out.take();
}

std::string output_line(const LineRow &row, std::string_view prediction)
{
    JsonWriter out;
    bool replaced = false;
    out.begin_object();
    if (row.is_object)
        replaced = write_members(*row.object, out, "prediction", prediction);
    else
        out.key("text").value(row.line);
    if (!replaced)
        out.key("prediction").raw(prediction);
    out.end_object();
    return out.take();
}

} // namespace onelayer
