// Large pieces of memory, from the system and back to it.
#pragma once
#include <cstddef>

namespace onelayer {

// All zeros at first. It begins at a cache line. On Linux most of it is in large pages where the system has them: they are
// there after a few faults instead of thousands, and addresses in them are translated faster.
class ZeroedMemory {
  public:
    // Throws std::bad_alloc.
    explicit ZeroedMemory(size_t size);
    ~ZeroedMemory();
    ZeroedMemory(const ZeroedMemory &) = delete;
    ZeroedMemory &operator=(const ZeroedMemory &) = delete;

    char *start() const { return start_; }

  private:
    void *mapped_ = nullptr;
    [[maybe_unused]] size_t size_ = 0; // of what is mapped
    char *start_ = nullptr;
};

// Gives back what was freed. glibc keeps it for later allocations, and after a large vocabulary was
// read, that is more than what is left of it.
void give_back_freed();

} // namespace onelayer
