// Writes JSON that was read, as Python's json.dumps writes what its json.loads gives.
#pragma once
#include "json.h"
#include "json_writer.h"

namespace onelayer {

void write_json(const Json &value, JsonWriter &out);

// An object's members, without its brackets. The one named `replaced`, if any, gets `replacement`,
// which is JSON already; returns whether there was one.
bool write_members(const Json &object, JsonWriter &out, std::string_view replaced = {},
                   std::string_view replacement = {});

} // namespace onelayer
