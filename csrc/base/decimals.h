// Numbers as decimal text, whatever the locale: std::from_chars and std::to_chars for fp64, also
// where the standard library lacks them. (libc++ has both from version 20 on; Emscripten's is
// older, and Apple's depends on the system.)
#pragma once
#include <charconv>
#include <string>
#include <string_view>

namespace onelayer {

// Reads the number that a text begins with, as std::from_chars does: no sign "+", no white space,
// and result_out_of_range for what fp64 can't hold.
std::from_chars_result read_decimal(const char *begin, const char *end, double &out);

// Writes the shortest text that reads as this number again, in positional or scientific notation.
std::to_chars_result write_decimal(char *begin, char *end, double number, std::chars_format form);

// Writes a number to some digits, without zeros at the end, as C's %g does.
std::to_chars_result write_digits(char *begin, char *end, double number, int digits);

// A number as Python's ":g" writes it, or ":.2g".
std::string general(double number, int digits = 6);

// A number as JSON has it. What fp64 can't hold is zero or infinite, as Python reads it.
double real_of(std::string_view written);

} // namespace onelayer
