#include "places.h"
#include "error.h"
#include <string>

namespace onelayer {

namespace {
constexpr size_t largest_text = 1u << 30; // bytes
}

std::string_view bytes_of(onelayer_text text, const char *role)
{
    if (!text.data && text.size)
        throw InputError(std::string(role) + " has a size and no data");
    if (text.size > largest_text)
        throw InputError(std::string(role) + " has more than a billion bytes");
    return text.data ? std::string_view(text.data, text.size) : std::string_view();
}

} // namespace onelayer
