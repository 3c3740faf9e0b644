#include "task_fields.h"
#include "../base/error.h"
#include <algorithm>
#include <cmath>
#include <limits>

namespace onelayer {

void check_fields(const Json &values, std::string_view owner,
                  std::initializer_list<std::string_view> names)
{
    for (const auto &member : values.members()) {
        const std::string_view key = member.key;
        const Json &value = member.value;
        const bool known = std::any_of(names.begin(), names.end(), [&](std::string_view name) {
            const bool may_be_null = name.back() == '?';
            name.remove_suffix(may_be_null);
            return name == key && (may_be_null || !value.is_null());
        });
        if (!known)
            throw BundleError(std::string(owner) +
                              (value.is_null() ? " can't have null as " : " has no field ") + "'" +
                              std::string(key) + "'");
    }
}

double finite_number(const Json &value, std::string_view name)
{
    const double found = value.number();
    if (!std::isfinite(found))
        throw BundleError(std::string(name) + " is not a finite number");
    return found;
}

double finite_number_or(const Json &values, std::string_view name, double otherwise)
{
    const Json *const found = values.find(name);
    return found ? finite_number(*found, name) : otherwise;
}

std::vector<double> finite_numbers(const Json &value, std::string_view name)
{
    std::vector<double> found;
    for (const Json &item : value.items())
        found.push_back(finite_number(item, name));
    return found;
}

std::vector<std::string> read_labels(const Json &values)
{
    std::vector<std::string> labels;
    for (const Json &label : values.at("labels").items())
        labels.push_back(label.string());
    if (labels.empty())
        throw BundleError("has no labels");
    if (labels.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
        throw BundleError("has too many labels");
    std::vector<std::string> sorted = labels;
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end())
        throw BundleError("names a label twice: '" + *twice + "'");
    return labels;
}

Lengths read_lengths(const Json &values)
{
    constexpr int64_t longest = 1 << 30; // more would overflow where lengths are added
    const Lengths found = {values.at("max_length").integer(), values.integer_or("stride", 0)};
    if (found.longest < shortest_sequence || found.longest > longest)
        throw BundleError("max_length is " + std::to_string(found.longest) + ", and must be " +
                          std::to_string(shortest_sequence) + " or more");
    if (found.stride < 0 || found.stride >= found.longest)
        throw BundleError("stride is " + std::to_string(found.stride) +
                          ", and must be below max_length " + std::to_string(found.longest));
    return found;
}

} // namespace onelayer
