// Reads the fields of a task from onelayer.json, with the checks of Python's tasks/__init__.py.
#pragma once
#include "../base/json.h"
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace onelayer {

// Tokens of the shortest sequence: three special tokens, and one to read.
constexpr int64_t shortest_sequence = 4;

// Throws BundleError for a field that isn't one of these, and for one that is null although its
// name here has no "?" at its end.
void check_fields(const Json &values, std::string_view owner,
                  std::initializer_list<std::string_view> names);

double finite_number(const Json &value, std::string_view name);
double finite_number_or(const Json &values, std::string_view name, double otherwise);
std::vector<double> finite_numbers(const Json &value, std::string_view name);

// The names of a layer's outputs: one or more, no two the same.
std::vector<std::string> read_labels(const Json &values);

struct Lengths {
    int64_t longest, stride; // tokens of a sequence; tokens that windows share
};

// max_length and stride, which is 0 where it is missing.
Lengths read_lengths(const Json &values);

} // namespace onelayer
