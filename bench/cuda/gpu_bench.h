// What the parts of the GPU's kernel bench share: how a call is measured, and arrays of numbers on
// the device.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "bench/cuda/gpu_kernel_bench.h"
#include "runtime/bf16.h"
#include "runtime/cuda/cuda_buffer.h"
#include "runtime/cuda/cuda_handles.h"

namespace lynx::bench {

// Queues one call of what is measured on the bench's stream.
using GpuCall = absl::FunctionRef<absl::Status()>;

class GpuBench {
 public:
  static absl::StatusOr<GpuBench> Create(const GpuBenchOptions& options);

  cudaStream_t stream() const { return stream_.get(); }
  bool tiny() const { return options_.tiny; }
  // Whether rows of this kernel are wanted: what they need is then worth making.
  bool Wants(std::string_view kernel) const { return kernel.starts_with(options_.only); }

  // Measures `call`, which moves `bytes` and makes `operations`, and adds its row to the report.
  absl::Status Add(std::string kernel, std::string shape, double bytes, double operations,
                   GpuCall call);
  // How long each of many calls took.
  absl::StatusOr<std::vector<double>> Durations(GpuCall call);

  // Measures what the rows are compared with: first of all.
  absl::Status MeasureRoofline();
  GpuKernelReport TakeReport() { return std::move(report_); }

 private:
  GpuBench() = default;
  absl::Status AllocateFlush();
  absl::Status FlushL2();

  GpuBenchOptions options_;
  cuda::UniqueStream stream_;
  // A product of one row reads a matrix larger than L2 and writes next to nothing: what it leaves
  // in L2 is not written back while a measured kernel runs.
  int64_t flush_rows_ = 0;
  cuda::DeviceBuffer<bf16> flush_weights_, flush_row_;
  cuda::DeviceBuffer<float> flush_out_;
  GpuKernelReport report_;
};

// Numbers of a bell shape, the same every time: one random block of values, over and over.
absl::StatusOr<cuda::DeviceBuffer<bf16>> RandomBf16s(int64_t count, cudaStream_t stream);
absl::StatusOr<cuda::DeviceBuffer<float>> RandomFloats(int64_t count, cudaStream_t stream);

// `values` on the device. Synchronizes.
template <typename T>
absl::StatusOr<cuda::DeviceBuffer<T>> OnDevice(std::span<const T> values, cudaStream_t stream) {
  ASSIGN_OR_RETURN(auto buffer, cuda::DeviceBuffer<T>::Create(values.size()));
  RETURN_IF_ERROR(cuda::ToStatus(cudaMemcpyAsync(buffer.data(), values.data(), values.size_bytes(),
                                                 cudaMemcpyHostToDevice, stream),
                                 "a copy to the device"));
  RETURN_IF_ERROR(cuda::ToStatus(cudaStreamSynchronize(stream), "a copy to the device"));
  return buffer;
}
template <typename T>
absl::StatusOr<cuda::DeviceBuffer<T>> OnDevice(const std::vector<T>& values, cudaStream_t stream) {
  return OnDevice(std::span<const T>(values), stream);
}

// The rows of one part each.
absl::Status AddRowOperationRows(GpuBench& bench);
absl::Status AddProductRows(GpuBench& bench);
absl::Status AddKvCodeRows(GpuBench& bench);
absl::Status AddAttentionRows(GpuBench& bench);
absl::Status AddPrefillAttentionRows(GpuBench& bench);

}  // namespace lynx::bench
