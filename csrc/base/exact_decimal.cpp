#include "exact_decimal.h"
#include <algorithm>
#include <cmath>
#include <cstring>

namespace onelayer {

namespace {

constexpr int mantissa_bits = 53, least_exponent = -1021; // of fp64, for mantissas from 1/2 to 1
constexpr int too_large = 310, too_small = -330;          // powers of ten that no fp64 has

} // namespace

ExactDecimal::ExactDecimal(double number)
{
    int exponent;
    const double mantissa = std::frexp(number, &exponent);
    uint8_t reversed[20];
    int n = 0;
    for (auto rest = static_cast<uint64_t>(std::ldexp(mantissa, mantissa_bits)); rest; rest /= 10)
        reversed[n++] = static_cast<uint8_t>(rest % 10);
    while (n)
        add(reversed[--n]);
    point_ = size_;
    shift(exponent - mantissa_bits);
    round(size_);
}

void ExactDecimal::add(int digit)
{
    if (size_ < most)
        digits_[size_++] = static_cast<uint8_t>(digit);
    else
        more_ = more_ || digit;
}

// Times 2^bits, from the last digit on. What is left over becomes new digits in front.
void ExactDecimal::shift_left(int bits)
{
    uint64_t carry = 0;
    for (int i = size_; i-- > 0; carry /= 10) {
        carry += static_cast<uint64_t>(digits_[i]) << bits;
        digits_[i] = static_cast<uint8_t>(carry % 10);
    }
    int n = 0;
    for (uint64_t rest = carry; rest; rest /= 10)
        n++;
    const int kept = std::min(size_, most - n);
    for (int i = kept; i < size_; i++)
        more_ = more_ || digits_[i];
    std::memmove(digits_ + n, digits_, static_cast<size_t>(kept));
    for (int i = n; i-- > 0; carry /= 10)
        digits_[i] = static_cast<uint8_t>(carry % 10);
    size_ = kept + n, point_ += n;
}

// By 2^bits, as one divides on paper.
void ExactDecimal::shift_right(int bits)
{
    const int n = size_;
    size_ = 0;
    uint64_t rest = 0;
    for (int i = 0; i < n || rest; i++) {
        rest = rest * 10 + (i < n ? digits_[i] : 0u);
        const int digit = static_cast<int>(rest >> bits);
        rest &= (uint64_t{1} << bits) - 1;
        if (size_ || digit)
            add(digit);
        else
            point_--;
    }
}

void ExactDecimal::shift(int bits)
{
    while (bits) {
        const int some = std::clamp(bits, -most_bits, most_bits);
        if (some > 0)
            shift_left(some);
        else
            shift_right(-some);
        bits -= some;
    }
}

// Whether what follows the first digits is more than a half of the last one, or a half if that is odd.
bool ExactDecimal::rounds_up(int digits) const
{
    if (digit(digits) != 5)
        return digit(digits) > 5;
    bool above = more_;
    for (int i = digits + 1; i < size_; i++)
        above = above || digits_[i];
    return above || digit(digits - 1) % 2;
}

uint64_t ExactDecimal::nearest_integer() const
{
    uint64_t number = 0;
    for (int i = 0; i < point_; i++)
        number = number * 10 + static_cast<unsigned>(digit(i));
    return number + rounds_up(point_);
}

double ExactDecimal::value() const
{
    if (!size_ || point_ < too_small)
        return 0;
    if (point_ > too_large)
        return HUGE_VAL;
    // As a number from 1/2 to 1, times 2^exponent. Three bits are less than a digit.
    ExactDecimal scaled = *this;
    int exponent = 0;
    while (scaled.point_ > 0 || scaled.point_ < 0 || scaled.digit(0) < 5) {
        const int bits = std::clamp(3 * -scaled.point_, -most_bits, most_bits);
        scaled.shift(bits ? bits : 1);
        exponent -= bits ? bits : 1;
    }
    // The smallest numbers have fewer bits.
    const int bits = mantissa_bits - std::max(0, least_exponent - exponent);
    scaled.shift(bits);
    return std::ldexp(static_cast<double>(scaled.nearest_integer()), exponent - bits);
}

void ExactDecimal::round(int digits)
{
    if (digits < size_) {
        const bool up = rounds_up(digits);
        size_ = digits, more_ = false;
        if (up) {
            while (size_ && digits_[size_ - 1] == 9)
                size_--;
            if (size_)
                digits_[size_ - 1]++;
            else
                add(1), point_++;
        }
    }
    while (size_ && !digits_[size_ - 1])
        size_--;
}

} // namespace onelayer
