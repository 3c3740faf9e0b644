#include "calibration.h"
#include "../base/decimals.h"
#include "../base/error.h"
#include "logits.h"
#include "task_fields.h"
#include <algorithm>
#include <cmath>

namespace onelayer {

namespace {

constexpr int64_t fewest_rows = 50; // from fewer dev rows nothing is promised
constexpr double certainty_of_bound = 0.9;
constexpr int most_starts = 3;
constexpr double rows_per_start = 4;
constexpr double most_rows_needed = 100000;
constexpr int64_t quantiles = 500;
constexpr int64_t most_rows = int64_t{1} << 27; // a file that says more is damaged

// 12,345
std::string with_commas(int64_t number)
{
    std::string text = std::to_string(number);
    for (size_t at = text.size(); at > 3;)
        text.insert(at -= 3, ",");
    return text;
}

// The nearest whole number, of two the even one, as Python's round.
int64_t rounded(double number)
{
    return static_cast<int64_t>(std::nearbyint(number));
}

// Where a rising function crosses 0 between two points, or the nearer of them.
template <class Function> double crossing(Function rising, double low, double high)
{
    for (int i = 0; i < 40; i++) {
        const double middle = (low + high) / 2;
        (rising(middle) < 0 ? low : high) = middle;
    }
    return (low + high) / 2;
}

// Up to `most` of the ranks 1 to n, evenly spread.
std::vector<int64_t> ranks(int64_t n, int64_t most)
{
    std::vector<int64_t> found;
    const int64_t shown = std::min(n, most);
    const double step = shown > 1 ? static_cast<double>(n - 1) / static_cast<double>(shown - 1) : 0;
    for (int64_t i = 0; i < shown; i++) {
        const double along = static_cast<double>(i) * step + 1;
        const int64_t rank = i == shown - 1 && i ? n : static_cast<int64_t>(along);
        if (found.empty() || rank != found.back())
            found.push_back(rank);
    }
    return found;
}

// With fewer rows than these, not even all being right passes at one of `starts` starts.
int64_t fewest_to_pass(double error, int starts)
{
    const double fewest = std::log((1 - certainty_of_bound) / starts) / std::log1p(-error);
    return static_cast<int64_t>(std::ceil(std::min(fewest, 9e18)));
}

// The numbers of answered rows, rising, from which on thresholds are tested: from the fewest that
// pass without an error, to all rows.
std::vector<int64_t> starts_of(int64_t rows, double error)
{
    const auto all = static_cast<double>(rows);
    const double more = std::max(1.0, all / static_cast<double>(fewest_to_pass(error, 1)));
    const int n =
        std::min(1 + static_cast<int>(std::log(more) / std::log(rows_per_start)), most_starts);
    const auto first = static_cast<double>(std::min(rows, fewest_to_pass(error, n)));
    std::vector<int64_t> starts;
    for (int i = 0; i < n; i++)
        starts.push_back(
            rounded(first * std::pow(all / first, static_cast<double>(i) / std::max(1, n - 1))));
    return starts;
}

} // namespace

double error_bound(int64_t wrong, int64_t n, double certainty)
{
    if (wrong >= n)
        return 1;
    // The logarithms of how many ways there are to have k errors.
    std::vector<double> log_ways{0};
    for (int64_t k = 1; k <= wrong; k++)
        log_ways.push_back(log_ways.back() +
                           std::log(static_cast<double>(n + 1 - k) / static_cast<double>(k)));
    std::vector<double> chances(log_ways.size());
    const auto excess = [&](double share) {
        const double log_wrong = std::log(share), log_right = std::log1p(-share);
        for (int64_t k = 0; k <= wrong; k++)
            chances[static_cast<size_t>(k)] =
                std::exp(log_ways[static_cast<size_t>(k)] + static_cast<double>(k) * log_wrong +
                         static_cast<double>(n - k) * log_right);
        return (1 - certainty) - sum_pairwise(chances.data(), chances.size());
    };
    return crossing(excess, 1e-12, 1 - 1e-12);
}

Calibration Calibration::read(const Json &values)
{
    check_fields(values, "calibration", {"rows", "temperature", "gold", "answers"});
    Calibration found;
    found.rows_ = values.at("rows").integer();
    if (found.rows_ < 0 || found.rows_ > most_rows)
        throw BundleError("calibration has " + std::to_string(found.rows_) + " rows");
    found.temperature_ = finite_number(values.at("temperature"), "temperature");
    if (!(found.temperature_ > 0))
        throw BundleError("temperature is " + general(found.temperature_) +
                          ", and must be above 0");
    found.gold_ = finite_numbers(values.at("gold"), "gold");
    for (const Json &answered : values.at("answers").items()) {
        const auto three = answered.items();
        if (three.size() != 3)
            throw BundleError("answers of a calibration have three numbers each");
        const Answered one = {finite_number(three[0], "a confidence"), three[1].integer(),
                              three[2].integer()};
        // A wrong answer is one of the answers, and an answer one of the rows.
        if (one.wrong < 0 || one.n < 1 || one.wrong > one.n || one.n > found.rows_)
            throw BundleError("answers of a calibration have " + std::to_string(one.wrong) +
                              " errors among " + std::to_string(one.n));
        found.answers_.push_back(one);
    }
    return found;
}

void Calibration::check(const char *promise, double share) const
{
    if (!(0 < share && share < 1))
        throw InputError(std::string(promise) + " is a share between 0 and 1, not " +
                         general(share));
    if (rows_ < fewest_rows)
        throw InputError(std::string(promise) + ": " + std::to_string(rows_) +
                         " calibration rows are too few to promise anything (train with " +
                         std::to_string(fewest_rows) + " or more)");
}

double Calibration::least_in_set(double coverage) const
{
    check("coverage", coverage);
    const auto rows = static_cast<double>(rows_);
    // Of n + 1 rows in any order, the new one is among the k least likely with chance k / (n + 1).
    const int64_t k = rows_ + 1 - static_cast<int64_t>(std::ceil((rows + 1) * coverage - 1e-9));
    if (k == 0) {
        const double most = std::floor(rows / (rows + 1) * 1000) / 1000;
        const double enough = std::ceil(coverage / (1 - coverage) - 1e-9);
        throw InputError("coverage " + general(coverage) + ": " + std::to_string(rows_) +
                         " calibration rows are too few for sets that leave anything out (up to " +
                         general(most) + ", or train with " +
                         with_commas(static_cast<int64_t>(std::min(enough, 9e18))) +
                         " calibration rows)");
    }
    const std::vector<int64_t> kept = ranks(rows_, quantiles);
    if (kept.size() != gold_.size())
        throw BundleError("calibration has " + std::to_string(gold_.size()) +
                          " probabilities for " + std::to_string(rows_) + " rows");
    const auto above = std::upper_bound(kept.begin(), kept.end(), k);
    return gold_[static_cast<size_t>(above - kept.begin()) - 1];
}

double Calibration::least_confidence(double error) const
{
    check("abstain", error);
    if (const auto found = lowest_passing(error))
        return *found;
    throw InputError("abstain " + general(error) + ": the " + std::to_string(rows_) +
                     " calibration rows can't guarantee so low an error, even with few answers (" +
                     what_would_do(error) + ")");
}

// The last threshold of a fixed sequence that passes: a search that tries many, and ends at the
// first that fails. There are up to three starts, which share the doubt that is allowed.
std::optional<double> Calibration::lowest_passing(double error) const
{
    const std::vector<int64_t> starts = starts_of(rows_, error);
    std::optional<double> passed;
    double doubt = 0;
    size_t reached = 0;
    for (const Answered &answered : answers_) {
        for (; reached < starts.size() && answered.n >= starts[reached]; reached++)
            doubt += (1 - certainty_of_bound) / static_cast<double>(starts.size());
        if (doubt > 0 && error_bound(answered.wrong, answered.n, 1 - doubt) <= error)
            passed = answered.confidence;
        else
            doubt = 0;
    }
    return passed;
}

// The lowest error that these rows can guarantee, and how many rows could guarantee `error`, if
// they were like these.
std::string Calibration::what_would_do(double error) const
{
    std::string here;
    for (int64_t i = static_cast<int64_t>(std::ceil(error * 1000)); i < 1000; i++) {
        const double higher = static_cast<double>(i) / 1000;
        if (lowest_passing(higher).value_or(0) != 0) {
            here = general(higher) + " or more works here; ";
            break;
        }
    }
    for (const double factor : {1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0}) {
        const Calibration more = grown(factor);
        if (static_cast<double>(more.rows_) > most_rows_needed || !more.lowest_passing(error))
            continue;
        // To two digits.
        const double about = real_of(general(static_cast<double>(more.rows_), 2));
        return here + "about " + with_commas(static_cast<int64_t>(std::ceil(about))) +
               " calibration rows like these would do";
    }
    return here + "more calibration rows alone don't help: even the surest answers are wrong too "
                  "often";
}

// As if there were more rows, with the same shares of errors.
Calibration Calibration::grown(double factor) const
{
    Calibration more = *this;
    more.rows_ = rounded(static_cast<double>(rows_) * factor);
    for (Answered &answered : more.answers_) {
        answered.n = rounded(static_cast<double>(answered.n) * factor);
        answered.wrong = rounded(static_cast<double>(answered.wrong) * factor);
    }
    return more;
}

} // namespace onelayer
