#include "json.h"
#include "decimals.h"
#include "error.h"

namespace onelayer {

JsonDocument::JsonDocument()
{
    values_.push_back(Json());
    values_.push_back(Json());
}

void Json::wrong(const char *wanted) const
{
    const Json &before = this[-1]; // its key, if it has one
    const bool named = before.is_key() && before.size_ > 0;
    throw BundleError(std::string(named ? before.characters() : "a value") + " is not " + wanted);
}

bool Json::boolean() const
{
    if (kind_ != Kind::boolean)
        wrong("true or false");
    return boolean_;
}

double Json::number() const
{
    if (kind_ != Kind::number)
        wrong("a number");
    return form_ == Form::integer ? static_cast<double>(integer_)
           : form_ == Form::real  ? real_
                                  : real_of(characters());
}

int64_t Json::integer() const
{
    if (!is_integer())
        wrong("a whole number");
    return integer_;
}

std::string_view Json::long_integer() const
{
    return is_number() && form_ == Form::digits ? characters() : std::string_view();
}

std::string_view Json::text() const
{
    if (kind_ != Kind::string)
        wrong("a text");
    return characters();
}

Json::Items Json::items() const
{
    if (kind_ != Kind::array)
        wrong("a list");
    return Items(*this);
}

Json::Members Json::members() const
{
    if (kind_ != Kind::object)
        wrong("an object");
    return Members(*this);
}

const Json &Json::Items::operator[](size_t i) const
{
    const Json *found = &front();
    while (i-- > 0)
        found = found->next();
    return *found;
}

const Json *Json::find(std::string_view key) const
{
    const Json *last = nullptr;
    for (const auto &[name, value] : members())
        if (name == key)
            last = &value;
    return last && !last->is_null() ? last : nullptr;
}

const Json &Json::at(std::string_view key) const
{
    if (const Json *found = find(key))
        return *found;
    throw BundleError("without " + std::string(key));
}

bool Json::boolean_or(std::string_view key, bool otherwise) const
{
    const Json *found = find(key);
    return found ? found->boolean() : otherwise;
}

double Json::number_or(std::string_view key, double otherwise) const
{
    const Json *found = find(key);
    return found ? found->number() : otherwise;
}

int64_t Json::integer_or(std::string_view key, int64_t otherwise) const
{
    const Json *found = find(key);
    return found ? found->integer() : otherwise;
}

std::string Json::string_or(std::string_view key, std::string_view otherwise) const
{
    const Json *found = find(key);
    return std::string(found ? found->text() : otherwise);
}

} // namespace onelayer
