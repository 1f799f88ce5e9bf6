// Owning, fixed-size memory aligned to 64 bytes (a cache line and a zmm register).
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>

#include "runtime/status.h"

namespace lynx {

inline constexpr size_t kBufferAlignment = 64;

template <typename T>
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // Uninitialised memory for `count` elements.
  explicit AlignedBuffer(size_t count) : size_(count) {
    size_t bytes = (count * sizeof(T) + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
    if (bytes == 0) return;
    data_.reset(static_cast<T*>(std::aligned_alloc(kBufferAlignment, bytes)));
    LYNX_CHECK(data_ != nullptr);
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return size_; }
  std::span<T> span() { return {data(), size_}; }
  std::span<const T> span() const { return {data(), size_}; }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
  size_t size_ = 0;
};

}  // namespace lynx
