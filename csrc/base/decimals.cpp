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
constexpr int most_places = 22;               // fp64 has these powers of ten exactly
constexpr int most_digits = 17;               // that an fp64 needs to be told from others
constexpr int most_at_once = 18;              // digits, so that twice as much fits 64 bits
constexpr int few_digits = 8;                 // beside them a product's error is nothing
constexpr uint64_t large = uint64_t{1} << 54; // has two bits more than an fp64 keeps
constexpr int no_places = 1000;               // of zero: more than any number needs
constexpr int most_exponent = 100000000;      // that is read: no text has as many digits
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

// A rounded number has no zeros at the end already.
Decimal decimal_of(const ExactDecimal &exact)
{
    uint64_t digits = 0;
    for (int i = 0; i < exact.size(); i++)
        digits = digits * 10 + static_cast<unsigned>(exact.digit(i));
    return {digits, digits ? exact.point() - exact.size() : 0};
}

// A number times 10^places, rounded once.
double scaled(double number, int places)
{
    return places < 0 ? number / powers[-places] : number * powers[places];
}

// Places behind the point with which a positive number has that count of digits, unless they are
// too many for `scaled`.
int places_for(double size, int digits)
{
    int exponent;
    std::frexp(size, &exponent);
    // A power of ten that is no more than the number's, and at most one less.
    const int power = static_cast<int>(std::floor((exponent - 1) * 0.30102999));
    const int places = digits - 1 - power;
    const bool one_more = std::abs(places) <= most_places && scaled(size, places) >= powers[digits];
    return places - one_more;
}

// The nearest number with that count of digits, the even one of two.
Decimal nearest_decimal(double size, int digits)
{
    const int places = size > 0 ? places_for(size, digits) : no_places;
    if (digits <= few_digits && std::abs(places) <= most_places) {
        const double product = scaled(size, places), whole = std::floor(product);
        const double above_half = product - whole - 0.5;
        if (std::fabs(above_half) > 1e-6) // the product's error is less than a hundredth of it
            return trimmed(static_cast<uint64_t>(whole) + (above_half > 0), -places);
    }
    ExactDecimal exact(size);
    exact.round(digits);
    return decimal_of(exact);
}

// The shortest that reads as this number.
Decimal shortest_decimal(double size)
{
    const ExactDecimal exact(size);
    ExactDecimal some = exact;
    for (int digits = 1; digits <= most_digits; digits++) {
        some = exact;
        some.round(digits);
        if (some.value() == size)
            break;
    }
    return decimal_of(some);
}

char to_digit(uint64_t value) { return static_cast<char>('0' + value); }

// Digits, and a point and an exponent if there are any; positional for powers of ten from -4 to
// below a limit, and then with an end behind a whole number.
std::string written(bool negative, const Decimal &number, int limit, const char *end = "")
{
    char digits[20];
    int at = sizeof digits;
    for (uint64_t rest = number.digits; rest || at == sizeof digits; rest /= 10)
        digits[--at] = to_digit(rest % 10);
    const int size = static_cast<int>(sizeof digits) - at;
    const int power = size - 1 + number.exponent; // of the first digit
    const bool positional = power >= -4 && power < limit;
    const int point = positional ? power + 1 : 1;
    std::string text(negative ? "-" : "");
    for (int i = std::min(0, point - 1); i < std::max(point, size); i++) {
        if (i == point)
            text += '.';
        text += i >= 0 && i < size ? digits[at + i] : '0';
    }
    if (positional && point >= size) {
        text += end;
    } else if (!positional) {
        const unsigned exponent = static_cast<unsigned>(std::abs(power));
        text += power < 0 ? "e-" : "e+";
        for (unsigned unit = exponent < 100 ? 10 : 100; unit; unit /= 10)
            text += to_digit(exponent / unit % 10);
    }
    return text;
}

std::string as_repr(bool negative, const Decimal &number)
{
    return written(negative, number, 16, ".0");
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

// Digits, a point and an exponent. From the first digit that isn't 0 on, all of them go to `all`, too.
Written read_written(const char *c, const char *end, ExactDecimal *all = nullptr)
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
        if (!found.n && !digit)
            continue;
        if (found.n++ < most_at_once)
            found.first_digits = found.first_digits * 10 + static_cast<unsigned>(digit);
        if (all)
            all->add(digit);
    }
    found.end = c;
    if (found.any && c < end && (*c == 'e' || *c == 'E')) {
        const bool sign = c + 1 < end && (c[1] == '+' || c[1] == '-');
        const bool small = sign && c[1] == '-';
        int exponent = 0;
        for (const char *d = c + 1 + sign; is_digit(d, end); found.end = ++d)
            exponent = std::min(exponent * 10 + (*d - '0'), most_exponent);
        found.places += small ? exponent : -exponent;
    }
    return found;
}

double exact_value(const char *begin, const char *end)
{
    ExactDecimal all;
    const Written given = read_written(begin, end, &all);
    all.scale(static_cast<int>(std::clamp(given.n - given.places, -no_limit, no_limit)));
    return all.value();
}

} // namespace

std::from_chars_result read_decimal(const char *begin, const char *end, double &out)
{
    const bool negative = begin < end && *begin == '-';
    const Written given = read_written(begin + negative, end);
    if (!given.any)
        return {begin, std::errc::invalid_argument};
    const bool few = given.n <= most_at_once && given.places >= 0 && given.places <= most_at_once;
    const double found = few ? divided(given.first_digits, static_cast<int>(given.places))
                             : exact_value(begin + negative, end);
    out = negative ? -found : found;
    const bool beyond = std::isinf(found) || (found == 0 && given.n);
    return {given.end, beyond ? std::errc::result_out_of_range : std::errc()};
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

double real_of(std::string_view written)
{
    double found = 0;
    read_decimal(written.data(), written.data() + written.size(), found);
    return found;
}

} // namespace onelayer
