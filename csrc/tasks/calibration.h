// What held-out rows tell of a classifier's probabilities, and what can be promised by it: the same
// promises as Python's tasks/calibration.py, where the methods and their sources stand.
#pragma once
#include "../base/json.h"
#include <cstdint>
#include <optional>
#include <vector>

namespace onelayer {

class Calibration {
  public:
    // Throws BundleError for values that export doesn't write.
    static Calibration read(const Json &values);

    double temperature() const { return temperature_; }

    // The probability from which a label is in the set, such that a new row's set holds all its
    // gold labels with the chance `coverage`. Throws InputError.
    double least_in_set(double coverage) const;

    // The confidence from which a row is answered, such that in nine of ten dev sets at most the
    // share `error` of new answers is wrong. Throws InputError.
    double least_confidence(double error) const;

  private:
    // A confidence, how many rows have it or more, and how many of those are wrong.
    struct Answered {
        double confidence;
        int64_t n, wrong;
    };

    void check(const char *promise, double share) const;
    std::optional<double> lowest_passing(double error) const;
    std::string what_would_do(double error) const;
    Calibration grown(double factor) const;

    int64_t rows_ = 0;
    double temperature_ = 1;
    std::vector<double> gold_;      // the probability of what is gold, rising, of some of the rows
    std::vector<Answered> answers_; // falling
};

// The least share of errors that makes `wrong` or fewer among n as unlikely as 1 - certainty.
double error_bound(int64_t wrong, int64_t n, double certainty);

} // namespace onelayer
