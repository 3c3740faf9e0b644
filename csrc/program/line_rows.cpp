// From a line to the input of the C interface.
#include "line_rows.h"
#include "../base/error.h"
#include "../base/text.h"

namespace onelayer {

namespace {

struct TaskRoles {
    std::string_view task;
    std::vector<std::string> roles; // as the `columns.inputs` of each task
};

const TaskRoles &roles_of(std::string_view task)
{
    static const TaskRoles all[] = {
        {"classify", {"text", "pair"}},
        {"regress", {"text", "pair"}},
        {"tag", {"text"}},
        {"answer", {"question", "context"}},
        {"choose", {"context", "question", "options"}},
    };
    for (const TaskRoles &one : all)
        if (one.task == task)
            return one;
    throw BundleError("an unknown task");
}

// Whether a value is None to Python's readers, which take NaN for a gap.
bool is_missing(const Json *value)
{
    return !value || value->is_null() || (value->is_number() && value->number() != value->number());
}

// A value as Python's str gives it. `role` is for messages.
std::string as_str(const Json &value, std::string_view role)
{
    switch (value.kind()) {
    case Json::Kind::string: return value.string();
    case Json::Kind::boolean: return value.boolean() ? "True" : "False";
    case Json::Kind::array: throw InputError(std::string(role) + " is a list, not a text");
    case Json::Kind::object: throw InputError(std::string(role) + " is an object, not a text");
    default: return python_json(value);
    }
}

// A value as data/values.py's label_name gives it.
std::string as_name(const Json &value)
{
    return value.is_string() ? std::string(stripped(Text(value.text()))) : python_json(value);
}

onelayer_text kept(LineRow &row, std::string text)
{
    const std::string &there = row.texts.emplace_back(std::move(text));
    return {there.data(), there.size()};
}

// Half a character, such as \ud83d alone: UTF-8 can't hold it, and Python refuses it, too.
bool has_half_character(std::string_view line)
{
    const auto half_at = [&](size_t i) { // 1: a first half, 2: a second one
        if (i + 6 > line.size() || line[i] != '\\' || line[i + 1] != 'u' || (line[i + 2] | 32) != 'd')
            return 0;
        const char c = static_cast<char>(line[i + 3] | 32);
        return c == '8' || c == '9' || c == 'a' || c == 'b' ? 1
               : c >= 'c' && c <= 'f'                       ? 2
                                                            : 0;
    };
    for (size_t i = 0; i < line.size(); i++) {
        if (line[i] != '\\')
            continue;
        const int half = half_at(i);
        if (half == 2 || (half == 1 && half_at(i + 6) != 2))
            return true;
        i += half == 1 ? 11 : 1;
    }
    return false;
}

// A list that a text holds as JSON. Lists as Python writes them are for onelayer predict.
bool listed_in(const std::string &text, JsonDocument &out)
{
    const std::string_view inner = stripped(Text(text));
    if (inner.empty() || std::string_view("[{(").find(inner[0]) == std::string_view::npos)
        return false;
    try {
        out = Json::parse(inner);
    } catch (const BundleError &) {
        throw InputError("a list that is no JSON (onelayer predict reads Python's lists, too)");
    }
    return true;
}

bool is_ideograph(char32_t c)
{
    return (c >= 0x3000 && c <= 0x9fff) || (c >= 0xff00 && c <= 0xffef);
}

} // namespace

LineReader::LineReader(const Json &description)
    : task_(description.at("task").string()), roles_(roles_of(task_).roles)
{
    const Json &layout = description.at("layout");
    for (const auto &[role, column] : layout.at("columns").members()) {
        Column found;
        found.role = role;
        found.several = column.is_array();
        if (found.several)
            for (const Json &name : column.items())
                found.names.push_back(name.string());
        else if (!column.is_null())
            found.names.push_back(column.string());
        pairs_ = pairs_ || role == "pair";
        if (role != "label" && !found.names.empty())
            columns_.push_back(std::move(found));
    }
    if (!pairs_ && roles_.back() == "pair")
        roles_.pop_back();
    written_ = layout.boolean_or("written", false);
}

// The column of a role, if the object has it: of several columns one is enough.
const LineReader::Column *LineReader::column_in(const Json &object, std::string_view role) const
{
    for (const Column &column : columns_)
        if (column.role == role)
            for (const std::string &name : column.names)
                for (const auto &[key, value] : object.members())
                    if (key == name)
                        return &column;
    return nullptr;
}

bool LineReader::has(const Json &object, std::string_view role) const
{
    if (column_in(object, role))
        return true;
    for (const auto &[key, value] : object.members())
        if (key == role)
            return true;
    return false;
}

// The one value of a role; nullptr where it is missing.
const Json *LineReader::value_of(const Json &object, std::string_view role) const
{
    const Column *const column = column_in(object, role);
    const Json *const value = object.find(column ? column->names[0] : role);
    return is_missing(value) ? nullptr : value;
}

// The text of a role; without data where it is missing.
onelayer_text LineReader::text_of(LineRow &row, std::string_view role) const
{
    const Column *const column = column_in(*row.object, role);
    if (!column || !column->several) {
        const Json *const value = value_of(*row.object, role);
        if (!value)
            return {nullptr, 0};
        const bool flag = value->kind() == Json::Kind::boolean;
        return kept(row, flag ? python_json(*value) : as_str(*value, role));
    }
    std::string joined; // such as a title and a body: a line each
    for (const std::string &name : column->names) {
        const Json *const value = row.object->find(name);
        const bool empty = is_missing(value) || (value->is_string() && value->string().empty());
        if (!empty)
            joined += (joined.empty() ? "" : "\n") + as_str(*value, role);
    }
    return joined.empty() ? onelayer_text{nullptr, 0} : kept(row, std::move(joined));
}

void LineReader::read_options(LineRow &row) const
{
    std::vector<std::pair<const Json *, bool>> found; // and whether it may be left out
    const Column *const column = column_in(*row.object, "options");
    JsonDocument listed;
    if (column && column->several) {
        for (const std::string &name : column->names)
            found.emplace_back(row.object->find(name), true);
    } else if (const Json *value = value_of(*row.object, "options")) {
        if (value->is_string())
            value = listed_in(value->string(), listed) ? &*listed : nullptr;
        const Json *const texts = value && value->is_object() ? value->find("text") : nullptr;
        if (texts && texts->is_array())
            for (const Json &text : texts->items())
                found.emplace_back(&text, false);
        else if (value && value->is_object())
            for (const auto &[letter, text] : value->members())
                found.emplace_back(&text, true);
        else if (value && value->is_array())
            for (const Json &item : value->items())
                found.emplace_back(item.is_object() && item.find("text") ? item.find("text") : &item,
                                   false);
    }
    for (size_t i = 0; i < found.size(); i++) {
        const auto [value, may_be_missing] = found[i];
        const bool missing = is_missing(value);
        if (!missing && (value->is_array() || value->is_object()))
            throw InputError("option " + std::to_string(i + 1) + " is no text");
        std::string text = missing ? "" : as_name(*value);
        if (!text.empty())
            row.options.push_back(kept(row, std::move(text)));
        else if (!may_be_missing)
            throw InputError("option " + std::to_string(i + 1) + " is empty");
    }
    row.input.options = row.options.data(), row.input.n_options = row.options.size();
}

// Words as a text and their bytes in it. Without word of the original spacing there is one space
// between words, none between two Chinese characters.
void LineReader::read_words(const Json::Items &words, LineRow &row) const
{
    std::vector<const Json *> spaces; // what is said of the space after each word
    const Json *const spaced = value_of(*row.object, "space_after");
    std::string text;
    bool after_ideograph = false;
    size_t i = 0;
    for (const Json &item : words) {
        const bool is_word = item.is_string() || (item.is_number() && !is_missing(&item));
        if (!is_word)
            throw InputError("word " + std::to_string(i + 1) + " is not a text");
        const std::string word = item.is_string() ? item.string() : python_json(item);
        const Text points(word);
        bool space = i > 0;
        if (i > 0 && spaced) {
            if (spaces.empty())
                for (const Json &one : spaced->items())
                    spaces.push_back(&one);
            if (spaces.size() < i)
                throw InputError("space_after has fewer items than there are words");
            space = spaces[i - 1]->boolean();
        } else if (i > 0) {
            space = !(after_ideograph && points.size() && is_ideograph(points[0]));
        }
        text += space ? " " : "";
        row.words.push_back({text.size(), text.size() + word.size()});
        text += word;
        after_ideograph = points.size() && is_ideograph(points[points.size() - 1]);
        i++;
    }
    row.input.text = kept(row, std::move(text));
    row.words.reserve(1); // an empty list of words is one, too
    row.input.words = row.words.data(), row.input.n_words = row.words.size();
}

void LineReader::read_object(LineRow &row) const
{
    bool any = false;
    for (const std::string &role : roles_)
        any = any || has(*row.object, role);
    if (!any)
        throw InputError("an object without the columns that the model reads");
    onelayer_input &input = row.input;
    if (task_ == "tag") {
        const Json *value = value_of(*row.object, "text");
        JsonDocument listed;
        constexpr char ernie_mark = '\x02'; // between words, in files made for ERNIE
        if (value && value->is_string() && written_) {
            if (value->string().find(ernie_mark) != std::string::npos)
                throw InputError("words as ERNIE's files have them (onelayer predict reads them)");
            bool texts = listed_in(value->string(), listed) && listed->is_array() &&
                         !listed->items().empty();
            if (texts)
                for (const Json &item : listed->items())
                    texts = texts && item.is_string();
            value = texts ? &*listed : value;
        }
        if (value && value->is_array())
            return read_words(value->items(), row);
        input.text = text_of(row, "text");
        if (!input.text.data)
            throw InputError("no text");
        return;
    }
    for (const std::string &role : roles_) {
        if (role == "options") {
            read_options(row);
            continue;
        }
        onelayer_text &text = role == "question" ? input.question
                              : role == "pair"   ? input.pair
                                                 : input.text;
        text = text_of(row, role);
        if (!text.data && (role != "question" || has(*row.object, role)))
            throw InputError("no " + role);
    }
    if (const Json *const id = task_ == "answer" ? value_of(*row.object, "id") : nullptr)
        input.id = kept(row, as_str(*id, "id"));
}

void LineReader::read(std::string_view line, size_t number, LineRow &row) const
{
    if (line.substr(0, 1) == "{") {
        row.is_object = true;
        try {
            row.object = Json::parse(line);
        } catch (const BundleError &error) {
            throw InputError(error.what());
        }
        if (has_half_character(line))
            throw InputError("half a character: one part of a surrogate pair");
        try {
            read_object(row);
        } catch (const BundleError &error) { // a value of another type
            throw InputError(error.what());
        }
    } else {
        row.line = line;
        (roles_[0] == "question" ? row.input.question : row.input.text) = {line.data(), line.size()};
        if (pairs_)
            throw InputError("the model was trained on pairs, and this is one text "
                             "(write {\"text\": …, \"pair\": …})");
    }
    if (task_ == "answer" && !row.input.id.size)
        row.input.id = kept(row, std::to_string(number));
}

// The first line ------------------------------------------------------------------------------------

bool LineReader::fits(const std::vector<std::string> &cells) const
{
    for (const Column &column : columns_) {
        bool read = false;
        for (const std::string &role : roles_)
            read = read || role == column.role;
        for (const std::string &name : column.names) {
            bool there = !read;
            for (const std::string &cell : cells)
                there = there || cell == name;
            if (!there)
                return false;
        }
    }
    return true;
}

std::string LineReader::other_format(std::string_view first) const
{
    const Text text(first);
    const std::string_view line = stripped(text);
    if (line.substr(0, 1) == "[") {
        try {
            const JsonDocument value = Json::parse(line);
            const auto items = value->items();
            if (!(items.size() == 2 && items[0].is_string() && items[1].is_object()))
                return "a JSON document";
        } catch (const BundleError &) {
            const std::string_view rest = stripped(Text(line.substr(1)));
            const char next = rest.empty() ? '\0' : rest[0];
            if (next == '\0' || next == '[' || next == '{')
                return "a JSON document";
        }
    }
    if (line == "{" || (line.substr(0, 1) == "{" && line.find("\"paragraphs\"") != line.npos))
        return "a JSON document";
    std::string_view mark = line.substr(line.substr(0, 1) == "\"");
    if (mark.size() >= 5 && (mark.substr(0, 4) == "sep=" || mark.substr(0, 4) == "SEP=") &&
        mark.size() <= 6)
        return "a table";
    for (const char delimiter : {',', ';', '\t', '|'}) {
        std::vector<std::string> cells;
        std::string_view rest = line;
        for (;;) {
            const size_t end = rest.find(delimiter);
            std::string_view cell = stripped(Text(rest.substr(0, end)));
            if (cell.size() > 1 && cell.front() == '"' && cell.back() == '"')
                cell = stripped(Text(cell.substr(1, cell.size() - 2)));
            cells.emplace_back(cell);
            if (end == rest.npos)
                break;
            rest.remove_prefix(end + 1);
        }
        if (fits(cells))
            return "a table with the names of the model's columns";
    }
    return "";
}

} // namespace onelayer
