#include "zeroed_memory.h"
#include <cstdint>
#include <cstring>
#include <new>

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#if !defined(_WIN32) && !defined(__wasm__)
#include <sys/mman.h>
#define MAPS_MEMORY
#endif

namespace onelayer {

#ifdef MAPS_MEMORY

ZeroedMemory::ZeroedMemory(size_t size)
{
    constexpr size_t large_page = 2u << 20; // on x86, and on ARM with pages of 4 KiB
    const bool large = size >= large_page;
    size_ = large ? size + large_page : size + 1; // so that it can begin at a large page
    mapped_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped_ == MAP_FAILED)
        throw std::bad_alloc();
    start_ = static_cast<char *>(mapped_);
    if (!large)
        return;
    start_ += -reinterpret_cast<uintptr_t>(mapped_) % large_page;
#if defined(MADV_HUGEPAGE)
    // Not the last part: a whole page for it would be larger than what is needed. It is a wish, so
    // a refusal is no error.
    ::madvise(start_, size / large_page * large_page, MADV_HUGEPAGE);
#endif
}

ZeroedMemory::~ZeroedMemory() { ::munmap(mapped_, size_); }

#else

ZeroedMemory::ZeroedMemory(size_t size)
    : mapped_(::operator new(size, std::align_val_t(64))), size_(size),
      start_(static_cast<char *>(mapped_))
{
    std::memset(mapped_, 0, size);
}

ZeroedMemory::~ZeroedMemory() { ::operator delete(mapped_, std::align_val_t(64)); }

#endif

void give_back_freed()
{
#if defined(__GLIBC__)
    ::malloc_trim(0);
#endif
}

} // namespace onelayer
