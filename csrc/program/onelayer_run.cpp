// onelayer-run: predictions for the lines of a pipe, as `onelayer predict BUNDLE` writes them.
#include "../base/decimals.h"
#include "../base/error.h"
#include "../base/text.h"
#include "input_lines.h"
#include "line_rows.h"
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#define WIN32_LEAN_AND_MEAN
#if !defined(NOMINMAX)
#define NOMINMAX
#endif
#include <windows.h>
#include <shellapi.h>
#endif

namespace onelayer {

namespace {

constexpr const char *usage =
    "usage: onelayer-run BUNDLE [--threads N] [--coverage P] [--abstain P] < lines > jsonl\n"
    "\n"
    "Predicts for each line: a text, or a JSON object by column of the training file.\n"
    "\n"
    "  BUNDLE        what onelayer export --int8 wrote: a directory, or a single file\n"
    "  --threads N   the most that compute; default: one for each processor\n"
    "  --coverage P  add label sets that hold the right label this often, on average\n"
    "  --abstain P   leave doubtful rows unlabelled: this share wrong, for 90 % of dev sets\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage or data.\n";

constexpr size_t most_rows = 1024; // of a call, as prediction/predictor.py has it
constexpr int done = 0, failed = 1, wrong = 2;

struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Failure : std::runtime_error {
    Failure(onelayer_status kind, const std::string &message)
        : std::runtime_error(message), status(kind)
    {
    }
    onelayer_status status;
};

// The reader of our output closed the pipe, as head does.
struct OutputClosed {};

struct Close {
    void operator()(onelayer_model *model) const { onelayer_close(model); }
    void operator()(onelayer_results *results) const { onelayer_free(results); }
};
using Model = std::unique_ptr<onelayer_model, Close>;
using Results = std::unique_ptr<onelayer_results, Close>;

template <class T> T number_of(const char *flag, const char *text)
{
    T number{};
    const char *const end = text ? text + std::strlen(text) : nullptr;
    if (!text || text == end)
        throw UsageError(std::string(flag) + " needs a number");
    std::from_chars_result read{};
    if constexpr (std::is_floating_point_v<T>)
        read = read_decimal(text, end, number);
    else
        read = std::from_chars(text, end, number);
    if (read.ec != std::errc() || read.ptr != end)
        throw UsageError(std::string(flag) + " is '" + text + "', and must be a number");
    return number;
}

double share_of(const char *flag, const char *text)
{
    const double share = number_of<double>(flag, text);
    if (!(share > 0 && share < 1))
        throw UsageError(std::string(flag) + " is " + text + ", and must be between 0 and 1");
    return share;
}

void write(const std::string &text)
{
    if (std::fwrite(text.data(), 1, text.size(), stdout) < text.size() || std::fflush(stdout)) {
        if (errno == EPIPE)
            throw OutputClosed();
        throw std::runtime_error(std::string("stdout can't be written: ") + std::strerror(errno));
    }
}

class Pipe {
  public:
    explicit Pipe(const Model &model)
        : model_(model), reader_(*Json::parse(onelayer_describe(model.get())))
    {
    }

    // Answers all lines of the standard input.
    void run()
    {
        InputLines input(0);
        std::vector<Line> lines;
        while (input.next(most_rows, lines))
            answer(lines);
        if (unread_)
            std::fprintf(stderr,
                         "onelayer-run: the length limit leaves %zu tokens of %zu of %zu rows unread\n",
                         unread_, rows_cut_, rows_);
    }

  private:
    // Answers lines that arrived together: all before the first that is wrong.
    void answer(const std::vector<Line> &lines)
    {
        std::deque<LineRow> rows;
        std::vector<onelayer_input> inputs;
        std::vector<size_t> numbers;
        std::string error;
        size_t wrong_line = 0;
        for (const Line &line : lines) {
            if (stripped(Text(line.text)).empty())
                continue;
            if (!seen_)
                refuse_other_formats(line);
            seen_ = true;
            try {
                reader_.read(line.text, line.number, rows.emplace_back());
            } catch (const InputError &what) {
                error = what.what(), wrong_line = line.number;
                break;
            }
            inputs.push_back(rows.back().input);
            numbers.push_back(line.number);
        }
        predict(rows, inputs, numbers);
        if (wrong_line)
            throw LineError(wrong_line, error);
    }

    void predict(const std::deque<LineRow> &rows, std::vector<onelayer_input> &inputs,
                 const std::vector<size_t> &numbers)
    {
        Results results(onelayer_predict(model_.get(), inputs.data(), inputs.size()));
        if (!results && onelayer_last_status() == ONELAYER_BAD_INPUT) {
            // "input N: what is wrong": the rows before it are answered first.
            const std::string message = onelayer_error();
            size_t number = 0;
            const char *const begin = message.data() + std::strlen("input ");
            const char *const end = message.data() + message.size();
            const auto read = std::from_chars(begin, end, number);
            if (message.rfind("input ", 0) != 0 || read.ec != std::errc() || end - read.ptr < 2 ||
                number < 1 || number > inputs.size())
                throw Failure(ONELAYER_BAD_INPUT, message);
            inputs.resize(number - 1);
            predict(rows, inputs, numbers);
            throw LineError(numbers[number - 1], std::string(read.ptr + 2, end));
        }
        if (!results)
            throw Failure(onelayer_last_status(), onelayer_error());
        std::string out;
        for (size_t i = 0; i < inputs.size(); i++) {
            const char *const json = onelayer_json(results.get(), i);
            if (!json)
                throw Failure(onelayer_last_status(), onelayer_error());
            out += output_line(rows[i], json);
            out += '\n';
            const size_t unread = onelayer_prediction_at(results.get(), i)->unread;
            unread_ += unread, rows_cut_ += unread > 0, rows_++;
        }
        write(out);
    }

    void refuse_other_formats(const Line &line) const
    {
        const std::string format = reader_.other_format(line.text);
        if (!format.empty())
            throw LineError(line.number, "this begins " + format +
                                             ", and onelayer-run reads a text or a JSON object a "
                                             "line (onelayer predict reads it)");
    }

    const Model &model_;
    LineReader reader_;
    bool seen_ = false; // a line that isn't blank
    size_t rows_ = 0, rows_cut_ = 0, unread_ = 0;
};

int run(int count, char **words)
{
    const char *bundle = nullptr;
    onelayer_options options = {};
    for (int i = 1; i < count; i++) {
        const std::string_view word = words[i];
        const char *const next = i + 1 < count ? words[i + 1] : nullptr;
        if (word == "--help" || word == "-h") {
            write(usage);
            return done;
        } else if (word == "--version") {
            write(std::string("onelayer-run ") + onelayer_version() + "\n");
            return done;
        } else if (word == "--threads") {
            options.threads = number_of<int>("--threads", next), i++;
            if (options.threads < 1)
                throw UsageError("--threads must be at least 1");
        } else if (word == "--coverage") {
            options.coverage = share_of("--coverage", next), i++;
        } else if (word == "--abstain") {
            options.abstain = share_of("--abstain", next), i++;
        } else if (word.substr(0, 1) == "-") {
            throw UsageError("no flag " + std::string(word) + " (onelayer-run --help)");
        } else if (bundle) {
            throw UsageError("one bundle, and its lines come by stdin (onelayer-run --help)");
        } else {
            bundle = words[i];
        }
    }
    if (!bundle)
        throw UsageError("no bundle (onelayer-run --help)");
    const Model model(onelayer_open(bundle, &options));
    if (!model)
        throw Failure(onelayer_last_status(), onelayer_error());
    Pipe(model).run();
    return done;
}

int told(int code, const std::string &message)
{
    std::fprintf(stderr, "onelayer-run: %s\n", message.c_str());
    return code;
}

int guarded(int count, char **words)
{
    try {
        return run(count, words);
    } catch (const OutputClosed &) {
        return done;
    } catch (const Failure &failure) {
        const bool theirs = failure.status == ONELAYER_BAD_BUNDLE ||
                            failure.status == ONELAYER_BAD_INPUT;
        return told(theirs ? wrong : failed, failure.what());
    } catch (const LineError &error) {
        return told(wrong, error.what());
    } catch (const UsageError &error) {
        return told(wrong, error.what());
    } catch (const std::bad_alloc &) {
        return told(failed, "no memory");
    } catch (const std::exception &error) {
        return told(failed, error.what());
    }
}

#if defined(_WIN32)
// The arguments in UTF-8: those of `main` are in the system's code page, which lacks characters.
std::vector<std::string> given_words()
{
    int count = 0;
    wchar_t **const wide = ::CommandLineToArgvW(::GetCommandLineW(), &count);
    std::vector<std::string> words;
    for (int i = 0; i < count; i++) {
        const auto convert = [&](char *to, int room) {
            return ::WideCharToMultiByte(CP_UTF8, 0, wide[i], -1, to, room, nullptr, nullptr);
        };
        std::string word(static_cast<size_t>(convert(nullptr, 0)), '\0');
        convert(word.data(), static_cast<int>(word.size()));
        words.push_back(std::move(word)); // with its final zero
    }
    ::LocalFree(wide);
    return words;
}
#endif

} // namespace

} // namespace onelayer

int main(int count, char **words)
{
#if defined(_WIN32)
    ::_setmode(0, _O_BINARY); // lines end as they do on other systems
    ::_setmode(1, _O_BINARY);
    std::vector<std::string> in_utf8 = onelayer::given_words();
    std::vector<char *> pointers;
    for (std::string &word : in_utf8)
        pointers.push_back(word.data());
    if (!pointers.empty())
        count = static_cast<int>(pointers.size()), words = pointers.data();
#endif
#if defined(SIGPIPE)
    std::signal(SIGPIPE, SIG_IGN);
#endif
    return onelayer::guarded(count, words);
}
