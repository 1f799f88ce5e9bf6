#include "bench/cuda/gpu_bench.h"

#include <algorithm>
#include <random>
#include <utility>

#include "kernels/cuda/gemm.h"

namespace lynx::bench {
namespace {

using cuda::ToStatus;

constexpr int64_t kFlushColumns = 8192;
constexpr double kSecondsPerRow = 0.1;
constexpr int kCallsMin = 7, kCallsMax = 100, kWarmUpCalls = 3;

// A pair of events round one call.
struct Span {
  cuda::UniqueEvent begin, end;
};

absl::StatusOr<cuda::UniqueEvent> TimingEvent() {
  cudaEvent_t event = nullptr;
  RETURN_IF_ERROR(ToStatus(cudaEventCreate(&event), "an event"));
  return cuda::UniqueEvent(event);
}

absl::StatusOr<Span> NewSpan() {
  Span span;
  ASSIGN_OR_RETURN(span.begin, TimingEvent());
  ASSIGN_OR_RETURN(span.end, TimingEvent());
  return span;
}

absl::StatusOr<double> Seconds(const Span& span) {
  float ms = 0;
  RETURN_IF_ERROR(ToStatus(cudaEventElapsedTime(&ms, span.begin.get(), span.end.get()),
                           "the time between two events"));
  return std::max(ms, 1e-4f) / 1e3;  // the clock ticks in half microseconds
}

// `count` values made of one block of random ones.
template <typename T>
absl::StatusOr<cuda::DeviceBuffer<T>> Repeated(const std::vector<T>& block, int64_t count,
                                               cudaStream_t stream) {
  ASSIGN_OR_RETURN(auto buffer, cuda::DeviceBuffer<T>::Create(static_cast<size_t>(count)));
  ASSIGN_OR_RETURN(const auto source, OnDevice(block, stream));
  for (size_t at = 0; at < buffer.size(); at += block.size()) {
    const size_t values = std::min(block.size(), buffer.size() - at);
    RETURN_IF_ERROR(ToStatus(cudaMemcpyAsync(buffer.data() + at, source.data(), values * sizeof(T),
                                             cudaMemcpyDeviceToDevice, stream),
                             "a copy on the device"));
  }
  RETURN_IF_ERROR(ToStatus(cudaStreamSynchronize(stream), "a copy on the device"));
  return buffer;
}

std::vector<float> RandomBlock(int64_t count) {
  std::vector<float> block(static_cast<size_t>(std::clamp<int64_t>(count, 1, 1 << 20)));
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  for (float& x : block) x = normal(rng);
  return block;
}

absl::StatusOr<std::string> DeviceName() {
  int device = 0;
  cudaDeviceProp properties;
  RETURN_IF_ERROR(ToStatus(cudaGetDevice(&device), "no GPU can be used"));
  RETURN_IF_ERROR(ToStatus(cudaGetDeviceProperties(&properties, device), "no GPU can be used"));
  return std::string(properties.name);
}

}  // namespace

absl::StatusOr<cuda::DeviceBuffer<float>> RandomFloats(int64_t count, cudaStream_t stream) {
  return Repeated(RandomBlock(count), count, stream);
}

absl::StatusOr<cuda::DeviceBuffer<bf16>> RandomBf16s(int64_t count, cudaStream_t stream) {
  const std::vector<float> block = RandomBlock(count);
  std::vector<bf16> rounded(block.size());
  std::transform(block.begin(), block.end(), rounded.begin(), [](float x) { return ToBf16(x); });
  return Repeated(rounded, count, stream);
}

absl::StatusOr<GpuBench> GpuBench::Create(const GpuBenchOptions& options) {
  GpuBench bench;
  bench.options_ = options;
  bench.report_.tiny = options.tiny;
  ASSIGN_OR_RETURN(bench.report_.device, DeviceName());
  ASSIGN_OR_RETURN(bench.stream_, cuda::NewStream());
  if (!options.tiny) {
    RETURN_IF_ERROR(bench.AllocateFlush());
  }
  return bench;
}

absl::Status GpuBench::AllocateFlush() {
  int device = 0, l2_bytes = 0;
  RETURN_IF_ERROR(ToStatus(cudaGetDevice(&device), "no GPU can be used"));
  RETURN_IF_ERROR(ToStatus(cudaDeviceGetAttribute(&l2_bytes, cudaDevAttrL2CacheSize, device),
                           "the size of L2"));
  flush_rows_ = 2 * int64_t{l2_bytes} / (kFlushColumns * static_cast<int64_t>(sizeof(bf16))) + 1;
  ASSIGN_OR_RETURN(flush_weights_, RandomBf16s(flush_rows_ * kFlushColumns, stream()));
  ASSIGN_OR_RETURN(flush_row_, RandomBf16s(kFlushColumns, stream()));
  ASSIGN_OR_RETURN(flush_out_, cuda::DeviceBuffer<float>::Create(static_cast<size_t>(flush_rows_)));
  return absl::OkStatus();
}

absl::Status GpuBench::FlushL2() {
  return ToStatus(cuda::Gemm({.a = flush_row_.data(),
                              .lda = kFlushColumns,
                              .w = flush_weights_.data(),
                              .c = flush_out_.data(),
                              .ldc = flush_rows_,
                              .m = 1,
                              .n = flush_rows_,
                              .k = kFlushColumns},
                             stream()),
                  "the product that fills L2");
}

absl::StatusOr<std::vector<double>> GpuBench::Durations(GpuCall call) {
  std::vector<double> seconds;
  // All calls are queued before the first is waited for: the device never waits for the host.
  const auto run = [&](int calls) -> absl::Status {
    std::vector<Span> spans;
    for (int i = 0; i < calls; ++i) {
      ASSIGN_OR_RETURN(spans.emplace_back(), NewSpan());
      if (flush_rows_ > 0) {
        RETURN_IF_ERROR(FlushL2());
      }
      RETURN_IF_ERROR(ToStatus(cudaEventRecord(spans.back().begin.get(), stream()), "an event"));
      RETURN_IF_ERROR(call());
      RETURN_IF_ERROR(ToStatus(cudaEventRecord(spans.back().end.get(), stream()), "an event"));
    }
    RETURN_IF_ERROR(ToStatus(cudaStreamSynchronize(stream()), "a measured kernel"));
    seconds.clear();
    for (const Span& span : spans) {
      ASSIGN_OR_RETURN(seconds.emplace_back(), Seconds(span));
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(run(tiny() ? 1 : kWarmUpCalls));
  if (tiny()) return seconds;
  const double calls = kSecondsPerRow / seconds.back();
  RETURN_IF_ERROR(run(static_cast<int>(std::clamp<double>(calls, kCallsMin, kCallsMax))));
  return seconds;
}

absl::Status GpuBench::Add(std::string kernel, std::string shape, double bytes, double operations,
                           GpuCall call) {
  if (!Wants(kernel)) return absl::OkStatus();
  absl::StatusOr<std::vector<double>> seconds = Durations(call);
  if (!seconds.ok()) {
    return absl::Status(seconds.status().code(),
                        absl::StrCat(kernel, " ", shape, ": ", seconds.status().message()));
  }
  const auto middle = seconds->begin() + static_cast<ptrdiff_t>(seconds->size() / 2);
  std::nth_element(seconds->begin(), middle, seconds->end());
  report_.rows.push_back({.kernel = std::move(kernel),
                          .shape = std::move(shape),
                          .seconds = *middle,
                          .bytes = bytes,
                          .operations = operations});
  return absl::OkStatus();
}

absl::StatusOr<GpuKernelReport> RunGpuKernelBench(const GpuBenchOptions& options) {
  ASSIGN_OR_RETURN(GpuBench bench, GpuBench::Create(options));
  RETURN_IF_ERROR(bench.MeasureRoofline());
  RETURN_IF_ERROR(AddRowOperationRows(bench));
  RETURN_IF_ERROR(AddProductRows(bench));
  RETURN_IF_ERROR(AddKvCodeRows(bench));
  RETURN_IF_ERROR(AddAttentionRows(bench));
  RETURN_IF_ERROR(AddPrefillAttentionRows(bench));
  return bench.TakeReport();
}

}  // namespace lynx::bench
