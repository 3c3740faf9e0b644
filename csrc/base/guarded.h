// How functions of the C interface call what may throw.
#pragma once
#include "../include/onelayer.h"
#include "error.h"
#include <cstring>
#include <exception>
#include <new>

namespace onelayer {

// Calls a function, and turns its exceptions into a status and a line of at most `size` bytes with
// its final zero.
template <class Function>
onelayer_status guarded_status(Function function, char *error, size_t size) noexcept
{
    const auto said = [&](onelayer_status status, const char *message) {
        if (size) {
            std::strncpy(error, message, size - 1);
            error[size - 1] = 0;
        }
        return status;
    };
    try {
        function();
        return ONELAYER_OK;
    } catch (const BundleError &found) {
        return said(ONELAYER_BAD_BUNDLE, found.what());
    } catch (const InputError &found) {
        return said(ONELAYER_BAD_INPUT, found.what());
    } catch (const std::bad_alloc &) {
        return said(ONELAYER_NO_MEMORY, "no memory");
    } catch (const std::exception &found) {
        return said(ONELAYER_FAILED, found.what());
    }
}

} // namespace onelayer
