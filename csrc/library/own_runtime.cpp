// For a library that brings the C++ library with it, as a wheel's does. GCC's prints an exception
// that nobody catches before it ends the process, and for that takes 50 kB to write names; ours are
// all caught (base/guarded.h).
#if defined(ONELAYER_OWN_RUNTIME)
#include <cstdlib>

namespace __gnu_cxx {

void __verbose_terminate_handler() { std::abort(); }

} // namespace __gnu_cxx
#endif
