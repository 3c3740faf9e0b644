// Numbers as decimal text, whatever the locale and the standard library: those that read and write
// fp64 bring 160 kB of tables with them, and some of today's can't.
#pragma once
#include <charconv>
#include <string>
#include <string_view>

namespace onelayer {

// Reads the number that a text begins with, as std::from_chars does: no sign "+", no white space.
// What fp64 can't hold is zero or infinite, with result_out_of_range.
std::from_chars_result read_decimal(const char *begin, const char *end, double &out);

// A finite number as Python's repr writes it: the shortest text that reads as this number again.
std::string repr(double number);

// The same of a number that is rounded to some digits, 15 at most: repr(float(f"{number:.7g}")).
std::string repr(double number, int digits);

// A finite number as Python's ":g" writes it, or ":.2g".
std::string general(double number, int digits = 6);

// The number that a JSON document has, as Python reads it.
double real_of(std::string_view written);

} // namespace onelayer
