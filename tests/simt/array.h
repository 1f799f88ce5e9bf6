// A growing array for the emulator's core. No std containers there: their functions are merged by
// the linker with those of instrumented object files, and the core must never run those.
#pragma once

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>

namespace simt {

// Zeroed memory that the sanitizers do not know of. Never given back.
inline void* RawMemory(size_t bytes) {
  constexpr size_t kPage = 4096;
  const long at = syscall(SYS_mmap, 0, (bytes + kPage - 1) / kPage * kPage, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == -1) __builtin_trap();
  return reinterpret_cast<void*>(at);
}

// Of trivially copyable T. Only grows, and few times.
template <class T>
class Array {
 public:
  void push_back(T value) {
    if (size_ == capacity_) Grow();
    data_[size_++] = value;
  }
  void pop_back() { --size_; }
  void clear() { size_ = 0; }
  T& operator[](size_t i) { return data_[i]; }
  T& back() { return data_[size_ - 1]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  void Grow() {
    capacity_ = capacity_ != 0 ? capacity_ * 2 : 64;
    T* larger = static_cast<T*>(RawMemory(capacity_ * sizeof(T)));
    for (size_t i = 0; i < size_; ++i) larger[i] = data_[i];
    data_ = larger;
  }

  T* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace simt
