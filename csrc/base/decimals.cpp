#include "decimals.h"
#include <cmath>
#include <system_error>

#if defined(_LIBCPP_VERSION) && (_LIBCPP_VERSION < 200000 || defined(__APPLE__))
#define ONELAYER_OWN_DECIMALS
#endif

#if defined(ONELAYER_OWN_DECIMALS)
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#if defined(__APPLE__)
#include <xlocale.h>
#endif
#endif

namespace onelayer {

#if defined(ONELAYER_OWN_DECIMALS)

namespace {

#if defined(__APPLE__)
// NULL is the locale "C" there.
double read_in_c(const char *text, char **end)
{
    return ::strtod_l(text, end, nullptr);
}

int print_in_c(char *out, size_t size, const char *form, int digits, double number)
{
    return ::snprintf_l(out, size, nullptr, form, digits, number);
}
#else
// musl's functions, which Emscripten has, don't ask the locale.
double read_in_c(const char *text, char **end)
{
    return std::strtod(text, end);
}

int print_in_c(char *out, size_t size, const char *form, int digits, double number)
{
    return std::snprintf(out, size, form, digits, number);
}
#endif

std::to_chars_result print(char *begin, char *end, const char *form, int digits, double number)
{
    char text[512]; // the largest fp64 has 309 digits before its point
    const int size = print_in_c(text, sizeof text, form, digits, number);
    if (size < 0 || size >= static_cast<int>(sizeof text) || size > end - begin)
        return {end, std::errc::value_too_large};
    std::memcpy(begin, text, static_cast<size_t>(size));
    return {begin + size, std::errc()};
}

} // namespace

std::from_chars_result read_decimal(const char *begin, const char *end, double &out)
{
    const char *const first = begin + (begin < end && *begin == '-');
    if (first == end || !((*first >= '0' && *first <= '9') || *first == '.'))
        return {begin, std::errc::invalid_argument};
    // Only what can belong to a decimal: strtod also knows hexadecimal ones.
    const char *last = first;
    while (last < end && ((*last >= '0' && *last <= '9') || *last == '.' || *last == 'e' ||
                          *last == 'E' || *last == '+' || *last == '-'))
        last++;
    const std::string text(begin, last);
    char *stop = nullptr;
    const double found = read_in_c(text.c_str(), &stop);
    if (stop == text.c_str())
        return {begin, std::errc::invalid_argument};
    const char *const read_to = begin + (stop - text.c_str());
    bool digits = false; // of the number itself: with one that isn't 0, zero is too small a result
    for (const char *c = first; c < read_to && *c != 'e' && *c != 'E'; c++)
        digits = digits || (*c >= '1' && *c <= '9');
    if (std::isinf(found) || (found == 0 && digits))
        return {read_to, std::errc::result_out_of_range};
    out = found;
    return {read_to, std::errc()};
}

std::to_chars_result write_decimal(char *begin, char *end, double number, std::chars_format form)
{
    // The fewest digits that read as the number again; 17 always do.
    char text[64];
    int digits = 1;
    for (; digits <= 17; digits++) {
        print_in_c(text, sizeof text, "%.*e", digits - 1, number);
        if (read_in_c(text, nullptr) == number)
            break;
    }
    if (form == std::chars_format::scientific)
        return print(begin, end, "%.*e", digits - 1, number);
    const int exponent = std::atoi(std::strchr(text, 'e') + 1);
    const int decimals = digits - 1 - exponent;
    return print(begin, end, "%.*f", decimals > 0 ? decimals : 0, number);
}

std::to_chars_result write_digits(char *begin, char *end, double number, int digits)
{
    return print(begin, end, "%.*g", digits, number);
}

#else

std::from_chars_result read_decimal(const char *begin, const char *end, double &out)
{
    return std::from_chars(begin, end, out);
}

std::to_chars_result write_decimal(char *begin, char *end, double number, std::chars_format form)
{
    return std::to_chars(begin, end, number, form);
}

std::to_chars_result write_digits(char *begin, char *end, double number, int digits)
{
    return std::to_chars(begin, end, number, std::chars_format::general, digits);
}

#endif

namespace {

// A number that fp64 can't hold: zero or infinite, as Python reads it.
double beyond(std::string_view number)
{
    const bool negative = number[0] == '-';
    const size_t exponent = number.find_first_of("eE");
    const bool small = exponent == std::string_view::npos ? number[negative] == '0'
                                                          : number[exponent + 1] == '-';
    const double size = small ? 0.0 : HUGE_VAL;
    return negative ? -size : size;
}

} // namespace

double real_of(std::string_view written)
{
    double found = 0;
    const char *const end = written.data() + written.size();
    if (read_decimal(written.data(), end, found).ec == std::errc::result_out_of_range)
        return beyond(written);
    return found;
}

} // namespace onelayer
