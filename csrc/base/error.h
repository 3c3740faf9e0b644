// Errors inside the library. They end at the C interface, which turns them into a status and a line.
#pragma once
#include <stdexcept>
#include <string>

namespace onelayer {

// What a person can put right: the message says what is wrong, and where.
struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Files that are missing, damaged, or not as export wrote them.
struct BundleError : Error {
    using Error::Error;
};

// An input that the task can't use.
struct InputError : Error {
    using Error::Error;
};

} // namespace onelayer
