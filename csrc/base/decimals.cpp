#include "decimals.h"
#include <cmath>
#include <system_error>

#if !defined(ONELAYER_OWN_DECIMALS) && defined(_LIBCPP_VERSION) &&                                 \
    (_LIBCPP_VERSION < 200000 || defined(__APPLE__))
#define ONELAYER_OWN_DECIMALS
#endif

#if defined(ONELAYER_OWN_DECIMALS)
#include "exact_decimal.h"
#include <algorithm>
#include <cstring>
#include <string>
#endif

namespace onelayer {

#if defined(ONELAYER_OWN_DECIMALS)

namespace {

constexpr int most_digits = 17;                // that an fp64 needs to be told from others
constexpr int most_at_once = 18;               // digits, so that twice as much fits 64 bits
constexpr uint64_t large = uint64_t{1} << 54;  // has two bits more than an fp64 keeps
constexpr int64_t no_limit = 1000000;          // powers of ten from here on are all infinite or zero

// digits / 10^places, bit by bit: both have at most 18 digits, as most numbers in files.
double divided(uint64_t digits, int places)
{
    uint64_t power = 1;
    for (int i = 0; i < places; i++)
        power *= 10;
    uint64_t whole = digits / power, rest = digits % power;
    int exponent = 0;
    for (; rest && whole < large; exponent--) {
        rest *= 2;
        whole = whole * 2 + (rest >= power);
        rest -= rest >= power ? power : 0;
    }
    // The lowest bit stands for all that are left out: it decides how the number is rounded.
    return std::ldexp(static_cast<double>(whole | (rest != 0)), exponent);
}

bool is_digit(const char *c, const char *end) { return c < end && *c >= '0' && *c <= '9'; }

// Digits, and a point and an exponent if there are any.
std::to_chars_result write(char *begin, char *end, bool negative, const ExactDecimal &number,
                           bool scientific)
{
    const int point = scientific ? 1 : number.point();
    std::string text(negative ? "-" : "");
    for (int i = std::min(0, point - 1); i < std::max(point, number.size()); i++) {
        if (i == point)
            text += '.';
        text += static_cast<char>('0' + number.digit(i));
    }
    if (scientific) {
        const int exponent = number.size() ? number.point() - 1 : 0;
        text += exponent < 0 ? "e-" : "e+";
        text += (std::abs(exponent) < 10 ? "0" : "") + std::to_string(std::abs(exponent));
    }
    if (text.size() > static_cast<size_t>(end - begin))
        return {end, std::errc::value_too_large};
    std::memcpy(begin, text.data(), text.size());
    return {begin + text.size(), std::errc()};
}

} // namespace

std::from_chars_result read_decimal(const char *begin, const char *end, double &out)
{
    const bool negative = begin < end && *begin == '-';
    const char *c = begin + negative;
    ExactDecimal all;
    uint64_t first_digits = 0;
    int64_t n = 0, places = 0; // digits from the first that isn't 0; digits behind the point
    bool any = false, behind = false;
    for (; is_digit(c, end) || (c < end && *c == '.' && !behind); c++) {
        if (*c == '.') {
            behind = true;
            continue;
        }
        const int digit = *c - '0';
        any = true, places += behind;
        if (!n && !digit)
            continue;
        all.add(digit);
        if (++n <= most_at_once)
            first_digits = first_digits * 10 + static_cast<unsigned>(digit);
    }
    if (!any)
        return {begin, std::errc::invalid_argument};
    if (c < end && (*c == 'e' || *c == 'E')) {
        const bool sign = c + 1 < end && (c[1] == '+' || c[1] == '-');
        const bool small = sign && c[1] == '-';
        int64_t exponent = 0;
        for (const char *d = c + 1 + sign; is_digit(d, end); c = ++d)
            exponent = std::min(exponent * 10 + (*d - '0'), int64_t{1} << 40);
        places += small ? exponent : -exponent;
    }
    double found;
    if (n <= most_at_once && places >= 0 && places <= most_at_once) {
        found = divided(first_digits, static_cast<int>(places));
    } else {
        all.scale(static_cast<int>(std::clamp(n - places, -no_limit, no_limit)));
        found = all.value();
    }
    if (std::isinf(found) || (found == 0 && n))
        return {c, std::errc::result_out_of_range};
    out = negative ? -found : found;
    return {c, std::errc()};
}

std::to_chars_result write_decimal(char *begin, char *end, double number, std::chars_format form)
{
    const bool scientific = form == std::chars_format::scientific;
    const ExactDecimal all(std::fabs(number));
    ExactDecimal some = all;
    for (int digits = 1; digits <= most_digits; digits++) {
        some = all;
        some.round(digits);
        if (some.value() == std::fabs(number))
            break;
    }
    if (!scientific && some.size() < some.point()) {
        some = all; // a large whole number has all of its digits
        some.round(some.point());
    }
    return write(begin, end, std::signbit(number), some, scientific);
}

std::to_chars_result write_digits(char *begin, char *end, double number, int digits)
{
    ExactDecimal some(std::fabs(number));
    some.round(digits);
    const int exponent = some.size() ? some.point() - 1 : 0;
    return write(begin, end, std::signbit(number), some, exponent < -4 || exponent >= digits);
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

std::string general(double number, int digits)
{
    char text[64];
    return {text, write_digits(text, text + sizeof text, number, digits).ptr};
}

double real_of(std::string_view written)
{
    double found = 0;
    const char *const end = written.data() + written.size();
    if (read_decimal(written.data(), end, found).ec == std::errc::result_out_of_range)
        return beyond(written);
    return found;
}

} // namespace onelayer
