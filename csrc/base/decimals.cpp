#include "decimals.h"
#include "exact_decimal.h"
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <system_error>

namespace onelayer {

namespace {

constexpr double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                             1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
constexpr int most_places = 22;               // fp64 has these powers of ten exactly,
constexpr int most_exact = 15;                // and all whole numbers up to these digits
constexpr int most_digits = 17;               // that an fp64 needs to be told from others
constexpr int most_at_once = 18;              // digits, so that twice as much fits 64 bits
constexpr int few_digits = 8;                 // beside them a product's error is nothing
constexpr uint64_t large = uint64_t{1} << 54; // has two bits more than an fp64 keeps
constexpr int64_t no_limit = 1000000;         // powers of ten from here on are all infinite or zero

// digits x 10^exponent, with no zeros at the end.
struct Decimal {
    uint64_t digits = 0;
    int exponent = 0;
};

Decimal trimmed(uint64_t digits, int exponent)
{
    for (; digits && digits % 10 == 0; digits /= 10)
        exponent++;
    return {digits, digits ? exponent : 0};
}

Decimal trimmed(const ExactDecimal &exact)
{
    uint64_t digits = 0;
    for (int i = 0; i < exact.size(); i++)
        digits = digits * 10 + static_cast<unsigned>(exact.digit(i));
    return trimmed(digits, exact.point() - exact.size());
}

// Places behind the point that a positive number needs for a count of digits, or for one more.
int places_for(double size, int digits)
{
    return digits - 1 - static_cast<int>(std::floor(std::log10(size)));
}

// A number times 10^places, rounded once.
double scaled(double number, int places)
{
    return places < 0 ? number / powers[-places] : number * powers[places];
}

// The nearest number with that count of digits, the even one of two.
Decimal nearest_decimal(double size, int digits)
{
    if (size > 0 && digits <= few_digits) {
        int places = places_for(size, digits);
        if (std::abs(places) < most_places) {
            if (scaled(size, places) >= powers[digits])
                places--; // the logarithm was rounded
            const double product = scaled(size, places), whole = std::floor(product);
            const double above_half = product - whole - 0.5;
            if (std::fabs(above_half) > 1e-6) // the product's error is less than a hundredth of it
                return trimmed(static_cast<uint64_t>(whole) + (above_half > 0), -places);
        }
    }
    ExactDecimal exact(size);
    exact.round(digits);
    return trimmed(exact);
}

// The shortest that reads as this number.
Decimal shortest_decimal(double size)
{
    if (size == 0)
        return {};
    // No two of at most 15 digits read as one number: if one of them does, it is the shortest.
    const int places = places_for(size, most_exact);
    const bool quick = std::abs(places) <= most_places;
    if (quick) {
        const double whole = std::nearbyint(scaled(size, places));
        if (scaled(whole, -places) == size && whole < powers[most_exact])
            return trimmed(static_cast<uint64_t>(whole), -places);
    }
    const ExactDecimal exact(size);
    ExactDecimal some = exact;
    for (int digits = quick ? most_exact : 1; digits <= most_digits; digits++) {
        some = exact;
        some.round(digits);
        if (some.value() == size)
            break;
    }
    return trimmed(some);
}

// Digits, and a point and an exponent if there are any; positional for powers of ten from -4 to
// below a limit.
std::string written(bool negative, const Decimal &number, int limit)
{
    const std::string digits = std::to_string(number.digits);
    const int size = static_cast<int>(digits.size());
    const int power = size - 1 + number.exponent; // of the first digit
    const bool positional = power >= -4 && power < limit;
    const int point = positional ? power + 1 : 1;
    std::string text(negative ? "-" : "");
    for (int i = std::min(0, point - 1); i < std::max(point, size); i++) {
        if (i == point)
            text += '.';
        text += i >= 0 && i < size ? digits[static_cast<size_t>(i)] : '0';
    }
    if (!positional) {
        text += power < 0 ? "e-" : "e+";
        text += (std::abs(power) < 10 ? "0" : "") + std::to_string(std::abs(power));
    }
    return text;
}

// With ".0" behind a whole number.
std::string as_repr(bool negative, const Decimal &number)
{
    std::string text = written(negative, number, 16);
    if (text.find_first_of(".e") == std::string::npos)
        text += ".0";
    return text;
}

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

// A number's digits as a file has them, and how far they reach behind the point.
struct Written {
    const char *end = nullptr;
    uint64_t first_digits = 0; // at most 18, from the first that isn't 0
    int64_t n = 0;             // how many there are from there
    int64_t places = 0;
    bool any = false;
};

bool is_digit(const char *c, const char *end) { return c < end && *c >= '0' && *c <= '9'; }

// Digits and a point; calls `each` for every digit from the first that isn't 0.
template <class F> Written read_digits(const char *c, const char *end, F each)
{
    Written found;
    bool behind = false;
    for (; is_digit(c, end) || (c < end && *c == '.' && !behind); c++) {
        if (*c == '.') {
            behind = true;
            continue;
        }
        const int digit = *c - '0';
        found.any = true, found.places += behind;
        if (found.n || digit)
            found.n++, each(digit);
    }
    found.end = c;
    return found;
}

Written read_written(const char *c, const char *end)
{
    uint64_t first_digits = 0;
    int n = 0;
    Written found = read_digits(c, end, [&](int digit) {
        if (n++ < most_at_once)
            first_digits = first_digits * 10 + static_cast<unsigned>(digit);
    });
    found.first_digits = first_digits;
    c = found.end;
    if (found.any && c < end && (*c == 'e' || *c == 'E')) {
        const bool sign = c + 1 < end && (c[1] == '+' || c[1] == '-');
        const bool small = sign && c[1] == '-';
        int64_t exponent = 0;
        for (const char *d = c + 1 + sign; is_digit(d, end); found.end = ++d)
            exponent = std::min(exponent * 10 + (*d - '0'), int64_t{1} << 40);
        found.places += small ? exponent : -exponent;
    }
    return found;
}

double exact_value(const char *begin, const char *end, const Written &written)
{
    ExactDecimal all;
    read_digits(begin, end, [&](int digit) { all.add(digit); });
    all.scale(static_cast<int>(std::clamp(written.n - written.places, -no_limit, no_limit)));
    return all.value();
}

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

std::from_chars_result read_decimal(const char *begin, const char *end, double &out)
{
    const bool negative = begin < end && *begin == '-';
    const Written given = read_written(begin + negative, end);
    if (!given.any)
        return {begin, std::errc::invalid_argument};
    const int places = static_cast<int>(std::clamp<int64_t>(given.places, -no_limit, no_limit));
    double found;
    if (given.n <= most_exact && std::abs(places) <= most_places)
        found = scaled(static_cast<double>(given.first_digits), -places);
    else if (given.n <= most_at_once && places >= 0 && places <= most_at_once)
        found = divided(given.first_digits, places);
    else
        found = exact_value(begin + negative, end, given);
    if (std::isinf(found) || (found == 0 && given.n))
        return {given.end, std::errc::result_out_of_range};
    out = negative ? -found : found;
    return {given.end, std::errc()};
}

std::string repr(double number)
{
    return as_repr(std::signbit(number), shortest_decimal(std::fabs(number)));
}

std::string repr(double number, int digits)
{
    const double size = std::fabs(number);
    if (size >= DBL_MIN)
        return as_repr(std::signbit(number), nearest_decimal(size, digits));
    ExactDecimal exact(size); // the smallest numbers have fewer digits than that
    exact.round(digits);
    return as_repr(std::signbit(number), shortest_decimal(exact.value()));
}

std::string general(double number, int digits)
{
    return written(std::signbit(number), nearest_decimal(std::fabs(number), digits), digits);
}

double real_of(std::string_view number)
{
    double found = 0;
    const char *const end = number.data() + number.size();
    if (read_decimal(number.data(), end, found).ec == std::errc::result_out_of_range)
        return beyond(number);
    return found;
}

} // namespace onelayer
