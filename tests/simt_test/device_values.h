// Device memory for tests of the emulation.
#pragma once

#include <catch2/catch.hpp>
#include <vector>

#include "fake_cuda.h"

namespace lynx::testing {

template <class T>
class DeviceValues {
 public:
  explicit DeviceValues(size_t count) : count_(count) {
    REQUIRE(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)) == cudaSuccess);
  }
  DeviceValues(size_t count, int byte) : DeviceValues(count) {
    REQUIRE(cudaMemset(data_, byte, count * sizeof(T)) == cudaSuccess);
  }
  explicit DeviceValues(const std::vector<T>& values) : DeviceValues(values.size()) {
    const cudaError_t error =
        cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice);
    REQUIRE(error == cudaSuccess);
  }
  ~DeviceValues() { cudaFree(data_); }
  DeviceValues(const DeviceValues&) = delete;
  DeviceValues& operator=(const DeviceValues&) = delete;

  T* data() const { return data_; }
  // After all work on the default stream.
  std::vector<T> Read() const {
    std::vector<T> values(count_);
    const cudaError_t error =
        cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost);
    REQUIRE(error == cudaSuccess);
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t count_ = 0;
};

}  // namespace lynx::testing
