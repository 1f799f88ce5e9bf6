// Device memory of tests.
#pragma once

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "runtime/cuda/cuda_buffer.h"

namespace lynx::testing {

// An array on the device between two margins. All bytes are 0xff (NaN, -1) until they are written,
// so that what a kernel leaves out and what it writes beside the array both show.
template <typename T>
class DeviceArray {
 public:
  // `shift` elements off the alignment that cudaMalloc gives.
  explicit DeviceArray(int64_t size, int64_t shift = 0)
      : size_(static_cast<size_t>(size)), begin_(static_cast<size_t>(kMargin + shift)) {
    auto buffer = cuda::DeviceBuffer<T>::Create(begin_ + size_ + kMargin);
    REQUIRE(buffer.ok());
    buffer_ = *std::move(buffer);
    Write(0, std::vector<T>(buffer_.size(), Fill()));
  }
  explicit DeviceArray(std::span<const T> values)
      : DeviceArray(static_cast<int64_t>(values.size())) {
    Write(begin_, values);
  }
  T* data() const { return buffer_.data() + begin_; }

  // What the device holds after all work on the default stream; asserts that the margins are whole.
  std::vector<T> Read() const {
    std::vector<T> all(buffer_.size());
    const cudaError_t error = cudaMemcpyAsync(all.data(), buffer_.data(), buffer_.bytes(),
                                              cudaMemcpyDeviceToHost, nullptr);
    REQUIRE(error == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(nullptr) == cudaSuccess);
    bool whole = true;
    for (size_t i = 0; i < all.size(); ++i) {
      const bool inside = i >= begin_ && i < begin_ + size_;
      if (!inside) whole &= IsFill(all[i]);
    }
    CHECK(whole);
    return {all.begin() + static_cast<int64_t>(begin_),
            all.begin() + static_cast<int64_t>(begin_ + size_)};
  }
  static bool IsFill(const T& value) {
    const T fill = Fill();
    return std::memcmp(&value, &fill, sizeof(T)) == 0;
  }

 private:
  static constexpr int64_t kMargin = 128;  // elements: keeps the alignment
  static T Fill() {
    T fill;
    std::memset(static_cast<void*>(&fill), 0xff, sizeof(T));
    return fill;
  }
  void Write(size_t at, std::span<const T> values) {
    REQUIRE(cudaMemcpyAsync(buffer_.data() + at, values.data(), values.size_bytes(),
                            cudaMemcpyHostToDevice, nullptr) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(nullptr) == cudaSuccess);
  }

  size_t size_, begin_;
  cuda::DeviceBuffer<T> buffer_;
};

template <typename T>
DeviceArray<T> OnDevice(const std::vector<T>& values) {
  return DeviceArray<T>(std::span<const T>(values));
}

}  // namespace lynx::testing
