// A decimal number with all of its digits, for numbers that fp64's own operations can't round.
#pragma once
#include <cstdint>

namespace onelayer {

// 0.d1d2d3... x 10^point, and `more` if digits other than 0 were left out behind. Digits are enough
// for every fp64: the longest has 767.
class ExactDecimal {
  public:
    ExactDecimal() = default;
    // All digits of a finite number that isn't negative.
    explicit ExactDecimal(double number);

    // Adds a digit behind the others.
    void add(int digit);
    // Multiplies by 10^exponent.
    void scale(int exponent) { point_ += exponent; }
    // The nearest fp64, the even one of two; infinite if none is as large.
    double value() const;
    // Keeps as many digits, rounded to the nearest, to even from the middle; and no zeros at the end.
    void round(int digits);

    int size() const { return size_; }
    // Zero before the first digit and behind the last one.
    int digit(int i) const { return i >= 0 && i < size_ ? digits_[i] : 0; }
    int point() const { return point_; }

  private:
    static constexpr int most = 800, most_bits = 59; // of a shift: ten times as much fits 64 bits

    void shift_left(int bits);
    void shift_right(int bits);
    void shift(int bits); // by any number of them
    bool rounds_up(int digits) const;
    uint64_t nearest_integer() const;

    uint8_t digits_[most] = {};
    int size_ = 0, point_ = 0;
    bool more_ = false;
};

} // namespace onelayer
